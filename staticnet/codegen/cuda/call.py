"""A CUDA function with the arguments of one call of it, before it has a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from staticnet.codegen.cuda.statements import indent
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


def function(parameters: Iterable[str], body: Iterable[str]) -> str:
    """A function's text, with NAME for its name."""
    return "\n".join([f"NAME({', '.join(parameters)}) {{", *indent(body), "}\n"])


def device_function(call: Call) -> str:
    """The text of a call's function for calls from kernels."""
    failing = ["int *error", "int site"] if call.may_fail else []
    parameters = ["int block", "int blocks", *call.parameters, *failing]
    return "static __device__ void " + function(parameters, call.body)
