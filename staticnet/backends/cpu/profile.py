"""Times each launch of a compiled step, by a build of the same program that reads the clock."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.backends.cpu.executable import CpuExecutable
from staticnet.backends.cpu.rates import rates
from staticnet.backends.parts import plan_parts
from staticnet.backends.profile import Lap, Profile, make_profile, repeat_runs
from staticnet.backends.rates import PRODUCTS
from staticnet.codegen.resources import kernel_text

Array = np.ndarray[Any, Any]
_CLOCK_READS = 1000
_one_at_a_time = threading.Lock()  # a program's marks are global


def profile(executable: CpuExecutable, feeds: Sequence[Any], repeat: int | None) -> Profile:
    """The median times of a step's launches; its variables stay as they are.

    Raises:
        ExecutionError: if the step fails on these feeds.
    """
    timed = _TimedExecutable(executable)
    with _one_at_a_time:
        runs = repeat_runs(lambda: timed.time(feeds), repeat)
        marks, laps = map(np.array, zip(*runs, strict=True))
    plan = executable.plan
    parts, shown = plan_parts(plan, PRODUCTS)
    dtypes = {part.dtype for part in parts if part.dtype}
    return make_profile(
        plan.graph.name, "cpu", parts, marks[:, shown].tolist(), timed.timer(),
        rates(executable.compiler, dtypes), timed.medians(laps),
    )  # fmt: skip


class _TimedExecutable(CpuExecutable):
    """A program that notes the time after each launch, on variables of its own.

    Of each launch in a loop it sums what it takes in all steps, and counts them.
    """

    def __init__(self, plain: CpuExecutable) -> None:
        clock = kernel_text("profile.h")
        super().__init__(plain.plan, plain.compiler, clock)
        self._state = self._turns.alone(self._copy_state)
        self._marks = np.zeros(len(self.plan.steps) + 3, np.int64)
        self._laps = np.zeros((len(self.program.laps), 2), np.int64)

    def _copy_state(self) -> list[Any]:
        return [np.array(v.host_array(), order="C") for v in self._variables]

    def _hold_state(self) -> None:
        for i, array in enumerate(self._state, self._inputs):
            self._table[i] = array.ctypes.data
        for name, room in (("sn_marks", self._marks), ("sn_laps", self._laps)):
            ctypes.c_void_p.in_dll(self._library, name).value = room.ctypes.data

    def time(self, feeds: Sequence[Any]) -> tuple[Array, Array]:
        """Seconds of one step, copies before, launches, copies after; those in loops, counted."""
        self._laps[:] = 0
        self.run(feeds)
        return np.diff(self._marks) * 1e-9, self._laps * (1e-9, 1.0)

    def medians(self, laps: Array) -> dict[str, Lap]:
        """Of each launch in a loop, by its first kernel; a row a run."""
        rows = np.median(laps, axis=0).tolist()
        return {name: Lap(*row) for name, row in zip(self.program.laps, rows, strict=True)}

    def timer(self) -> float:
        """Seconds that reading the clock takes."""
        read = self._library.sn_time_marks
        read.restype, read.argtypes = ctypes.c_int64, (ctypes.c_int64,)
        return min(int(read(_CLOCK_READS)) for _ in range(5)) / _CLOCK_READS * 1e-9
