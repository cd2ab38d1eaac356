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
from staticnet.backends.profile import Profile, make_profile, repeat_runs
from staticnet.backends.rates import PRODUCTS
from staticnet.codegen.resources import kernel_text

_CLOCK_READS = 1000
_one_at_a_time = threading.Lock()  # a program's marks are global


def profile(executable: CpuExecutable, feeds: Sequence[Any], repeat: int | None) -> Profile:
    """The median times of a step's launches; its variables stay as they are.

    Raises:
        ExecutionError: if the step fails on these feeds.
    """
    timed = _TimedExecutable(executable)
    with _one_at_a_time:
        times = np.array(repeat_runs(lambda: timed.time(feeds), repeat))
    plan = executable.plan
    parts, shown = plan_parts(plan, PRODUCTS)
    dtypes = {part.dtype for part in parts if part.dtype}
    return make_profile(
        plan.graph.name, "cpu", parts, times[:, shown].tolist(), timed.timer(),
        rates(executable.compiler, dtypes),
    )  # fmt: skip


class _TimedExecutable(CpuExecutable):
    """A program that notes the time after each launch, on variables of its own."""

    def __init__(self, plain: CpuExecutable) -> None:
        clock = kernel_text("profile.h")
        super().__init__(plain.plan, plain.compiler, clock)
        self._state = self._turns.alone(self._copy_state)
        self._marks = np.zeros(len(self.plan.steps) + 3, np.int64)

    def _copy_state(self) -> list[Any]:
        return [np.array(v.host_array(), order="C") for v in self._variables]

    def _hold_state(self) -> None:
        for i, array in enumerate(self._state, self._inputs):
            self._table[i] = array.ctypes.data
        marks = ctypes.c_void_p.in_dll(self._library, "sn_marks")
        marks.value = self._marks.ctypes.data

    def time(self, feeds: Sequence[Any]) -> np.ndarray[Any, Any]:
        """Seconds of one step: copies before, launches, copies after."""
        self.run(feeds)
        return np.diff(self._marks) * 1e-9

    def timer(self) -> float:
        """Seconds that reading the clock takes."""
        read = self._library.sn_time_marks
        read.restype, read.argtypes = ctypes.c_int64, (ctypes.c_int64,)
        return min(int(read(_CLOCK_READS)) for _ in range(5)) / _CLOCK_READS * 1e-9
