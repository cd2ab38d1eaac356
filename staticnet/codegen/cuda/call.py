"""A CUDA function with the arguments of one call of it, before it has a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from staticnet.codegen.launches import Address, Argument
from staticnet.ir.node import Node

Locate = Callable[[Node], Address]


@dataclass(frozen=True)
class Call:
    """A function by its declared parameters and body, its launch, and what it is given.

    In the body, `block` of `blocks` blocks works; `error` and `site` tell a failure.
    """

    parameters: tuple[str, ...]
    body: tuple[str, ...]
    arguments: tuple[Argument, ...]
    blocks: int
    threads: int
    may_fail: bool = False
    scratch_bytes: int = 0
