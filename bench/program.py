"""What is timed: a workload, and one contender's program for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]

CHECK_STEPS = 20
CONTENDERS = ("staticnet", "torch", "torch.compile", "jax", "copy.numpy", "copy.torch")
OURS = "staticnet"


@dataclass(frozen=True)
class Mode:
    """One way of using a program: `repeat(n)` is timed, `check(n)` gives what must be right.

    A repetition makes `steps` steps; seconds are reported for one step.
    """

    repeat: Callable[[int], Any]
    check: Callable[[int], Array]
    steps: int = 1


@dataclass(frozen=True)
class Program:
    """A contender's modes, by name, and what it can tell of its memory in bytes."""

    modes: Mapping[str, Mode]
    memory: Callable[[], dict[str, int]] = dict


Build = Callable[[Arrays, str], Program]


def _nothing(size: int) -> int:
    return 0


@dataclass(frozen=True)
class Workload:
    """A task that every contender must do alike.

    `reference` gives, in float64, what the checks of each mode must give: the mode's `check(1)`
    followed by its `check(CHECK_STEPS - 1)`, except for `run`, checked once after all others.
    `size` is the bytes of one array of a kernel, and 0 for a network.
    """

    name: str
    about: str
    make_data: Callable[[int], dict[str, Array]]
    reference: Callable[[Arrays], Mapping[str, Array]]
    contenders: Mapping[str, Build]
    rtol: float
    atol: float
    sizes: tuple[int, ...] = (0,)
    quick_sizes: tuple[int, ...] = (0,)
    bytes_moved: Callable[[int], int] = _nothing
    flops: Callable[[int], int] = _nothing
    footprint: Callable[[int], int] = field(default=_nothing)
