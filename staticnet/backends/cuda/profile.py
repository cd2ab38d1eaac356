"""Times each launch of a step by CUDA events, launch by launch and not as a captured graph."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from staticnet.backends.cuda.commands import Bound
from staticnet.backends.cuda.descriptor import TYPES
from staticnet.backends.cuda.executable import CudaExecutable
from staticnet.backends.cuda.rates import rates
from staticnet.backends.parts import plan_parts
from staticnet.backends.profile import Profile, make_profile, repeat_runs

TIMER_EVENTS = 1000


def profile(executable: CudaExecutable, feeds: Sequence[Any], repeat: int | None) -> Profile:
    """The median times of a step's launches; its variables are put back after each run.

    Those of a step that is one kernel are timed apart, which takes longer than the step does.

    Raises:
        ExecutionError: if the step fails on these feeds.
    """
    executable = executable.apart()
    plan, device = executable.plan, executable.device
    times, timer = executable.alone(
        lambda: (repeat_runs(lambda: _time(executable, feeds), repeat), _timer(executable))
    )
    parts, shown = plan_parts(plan, TYPES)
    rows = [[row[i] for i in shown] for row in times]
    reached = rates(device, {part.dtype for part in parts if part.dtype})
    return make_profile(plan.graph.name, "cuda", parts, rows, timer, reached)


def _time(executable: CudaExecutable, feeds: Sequence[Any]) -> list[float]:
    """Seconds of one step: copies before, launches, copies after."""
    device, cuda = executable.device, executable.device.cupy.cuda
    stream = device.stream()
    saved = executable.save_state(stream)
    executable.send(feeds, stream)
    marks = [cuda.Event() for _ in range(len(executable.plan.steps) + 3)]
    marks[0].record(stream)
    for mark, group in zip(marks[1:], _by_step(executable), strict=True):
        for command in group:
            command.enqueue(stream)
        mark.record(stream)
    executable.finish(stream)
    executable.restore_state(saved, stream)
    executable.synchronize()
    return [cuda.get_elapsed_time(a, b) * 1e-3 for a, b in itertools.pairwise(marks)]


def _by_step(executable: CudaExecutable) -> list[list[Bound]]:
    """The commands before the first step of the plan, of each step, and after the last."""
    groups: list[list[Bound]] = [[] for _ in range(len(executable.plan.steps) + 2)]
    for command in executable.commands:
        groups[command.step + 1].append(command)
    return groups


def _timer(executable: CudaExecutable) -> float:
    """Seconds between two events with nothing between them."""
    device, cuda = executable.device, executable.device.cupy.cuda
    stream = device.stream()
    marks = [cuda.Event() for _ in range(TIMER_EVENTS)]
    for mark in marks:
        mark.record(stream)
    stream.synchronize()
    return float(cuda.get_elapsed_time(marks[0], marks[-1])) * 1e-3 / (TIMER_EVENTS - 1)
