"""Times each launch of a compiled step, by a build of the same program that reads the clock."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.backends.cpu.executable import CpuExecutable
from staticnet.backends.cpu.rates import rates
from staticnet.backends.profile import Part, Profile, make_profile, repeat_runs
from staticnet.backends.rates import PRODUCTS
from staticnet.codegen.resources import kernels_path
from staticnet.plan.explain import KernelAccount, explain
from staticnet.plan.plan import Plan
from staticnet.plan.roles import Role, role

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
    parts = [_copies("copies before", plan, True), *_launches(plan)]
    parts.append(_copies("copies after", plan, False))
    shown = [i for i, part in enumerate(parts) if part.kind != "copy" or part.bytes]
    parts = [parts[i] for i in shown]
    dtypes = {part.dtype for part in parts if part.dtype}
    return make_profile(
        plan.graph.name, "cpu", parts, times[:, shown].tolist(), timed.timer(),
        rates(executable.compiler, dtypes),
    )  # fmt: skip


class _TimedExecutable(CpuExecutable):
    """A program that notes the time after each launch, on variables of its own."""

    def __init__(self, plain: CpuExecutable) -> None:
        clock = (kernels_path() / "profile.h").read_text(encoding="utf-8")
        super().__init__(plain.plan, plain.compiler, clock)
        self._state = [np.array(v.device_array(), order="C") for v in self._variables]
        self._marks = np.zeros(len(self.plan.steps) + 3, np.int64)

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


def _launches(plan: Plan) -> list[Part]:
    kernels = explain(plan).kernels
    return [
        _launch(i, [kernel for kernel in kernels if kernel.launch == i])
        for i in range(plan.launches)
    ]


def _launch(number: int, kernels: Sequence[KernelAccount]) -> Part:
    kinds = dict.fromkeys(kernel.space for kernel in kernels)
    products = [
        kernel.nodes[0].dtype.name
        for kernel in kernels
        if role(kernel.nodes[0]) is Role.LIBRARY and kernel.nodes[0].dtype.name in PRODUCTS
    ]
    return Part(
        f"launch {number}",
        ", ".join(kinds),
        sum(kernel.bytes for kernel in kernels),
        sum(kernel.flops for kernel in kernels),
        tuple(dict.fromkeys(line for kernel in kernels for line in kernel.lines)),
        products[0] if products else "",
    )


def _copies(name: str, plan: Plan, before: bool) -> Part:
    copies = [*plan.first_copies, *plan.saved.items()] if before else plan.last_copies
    nodes = [node for node, _ in copies]
    lines = tuple(dict.fromkeys(str(node.provenance) for node in nodes))
    return Part(name, "copy", sum(2 * int(node.type.nbytes) for node in nodes), 0, lines)
