"""What is timed: a workload, and one contender's program for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

CHECK_STEPS = 20
OURS = "staticnet"
COPIES = ("copy.numpy", "copy.c", "copy.stream")
COPY_MEMORY = 512 << 20  # bytes; far out of any cache, more would only take longer to touch
CONTENDERS = (OURS, "torch", "torch.compile", "jax", *COPIES)


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
    followed by its `check(check_steps - 1)`, except for `run`, checked once after all others.
    `size` is the bytes of one array of a kernel, and 0 for a network. `make_data` gives the same
    numbers in every process; `parameters` are the names of a network's weights in it: its model's,
    or others in the model's order. All of these give bytes, but `flops`:

    - `bytes_moved`: what a call reads and writes at least; the rates told are of these.
    - `working_set`: the memory that a call touches at least. Where it is not 0, copies that touch
      and move as much are timed beside the kernel.
    - `footprint`: what a contender holds between calls, inputs included, at most.
    - `scratch`: what it needs besides while it is built or called, at most.
    """

    name: str
    about: str
    make_data: Callable[[int], dict[str, Array]]
    reference: Callable[[Arrays], Mapping[str, Array]]
    contenders: Mapping[str, Build]
    rtol: float
    atol: float
    check_steps: int = CHECK_STEPS
    parameters: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (0,)
    quick_sizes: tuple[int, ...] = (0,)
    bytes_moved: Callable[[int], int] = _nothing
    flops: Callable[[int], int] = _nothing
    working_set: Callable[[int], int] = _nothing
    footprint: Callable[[int], int] = _nothing
    scratch: Callable[[int], int] = _nothing

    def runs(self, contender: str) -> bool:
        """Whether a contender is one of this workload's."""
        if contender in COPIES:
            return self.working_set(self.sizes[0]) > 0
        return contender in self.contenders

    def holds(self, contender: str, size: int) -> int:
        """About the bytes that a contender holds between calls."""
        if contender in COPIES:
            return min(self.working_set(size), COPY_MEMORY)
        return self.footprint(size)

    def needs(self, size: int) -> int:
        """About the most bytes that a contender that is no copy has at once."""
        return self.footprint(size) + self.scratch(size)
