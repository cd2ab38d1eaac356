"""A process that holds one contender: `python -m bench.worker WORKLOAD CONTENDER DEVICE`.

It reads commands as lines of JSON and answers each with one line:

| command | answer |
|---|---|
| `{"do": "prepare", "size": N, "steps": K}` | checks of K steps, first-call seconds per mode |
| the same with `"modes": [M]` | of these modes alone |
| `{"do": "warm", "mode": M, "seconds": S, "limit": L}` | how it warmed up; calls per sample |
| `{"do": "round", "mode": M, "seconds": S, "calls": K}` | `samples`: seconds a step, K calls each |
| `{"do": "few", "mode": M, "seconds": S, "calls": K, "check": B}` | K `samples`, of a call each |
| `{"do": "memory"}` | how far the resident size has grown, and what the program says |
| `{"do": "release"}` | drops the program and its buffers |
| `{"do": "quit"}` | none |

The inputs are drawn here, from the workload's seed: no process holds them for another. An
exception is answered as `{"error": text}`. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import numpy as np

from bench.copies import copy_program
from bench.program import COPIES, Mode, Program, Workload
from bench.resident import Growth, give_back

SIZES_COMPILED = 64
MODULES = {
    "staticnet": "staticnet",
    "torch": "torch",
    "torch.compile": "torch",
    "jax": "jax",
}


class Worker:
    """The state between commands: the program, if one is prepared."""

    def __init__(self, workload: Workload, contender: str, device: str) -> None:
        self.workload, self.contender, self.device = workload, contender, device
        self.program: Program | None = None
        self.growth = Growth()

    def prepare(self, size: int, steps: int, modes: Sequence[str] = ()) -> dict[str, Any]:
        """Build the program; run and time what is checked. The first step includes building.

        Of all its modes, or of those that are named.
        """
        self.release()
        program, start = self._build(size)
        chosen = {k: mode for k, mode in program.modes.items() if not modes or k in modes}
        self.program = dataclasses.replace(program, modes=chosen)
        self.growth.mark()
        checks: dict[str, list[float]] = {}
        first: dict[str, float] = {}
        for name, mode in self.program.modes.items() if steps else ():
            values, ended = run_check(name, mode, steps)
            checks[name], first[name] = values, ended - start
            start = time.perf_counter()
        return {"checks": checks, "first_call_s": first, "steps": self._steps()}

    def _build(self, size: int) -> tuple[Program, float]:
        """The program, which alone still holds its inputs, and when its building began."""
        if self.contender in COPIES:
            held = self.workload.holds(self.contender, size)
            moved = self.workload.bytes_moved(size)
            return copy_program(self.contender, moved, held), time.perf_counter()
        arrays = self.workload.make_data(size)
        self.growth = Growth()
        start = time.perf_counter()
        return self.workload.contenders[self.contender](arrays, self.device), start

    def acts(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """What can be asked of it."""
        return {
            "prepare": self.prepare,
            "memory": self.memory,
            "warm": self.warm,
            "round": self.round,
            "few": self.few,
            "release": self.release,
        }

    def release(self) -> dict[str, Any]:
        """Drop the program and give its memory back."""
        self.program = None
        give_back()
        return {}

    def memory(self) -> dict[str, Any]:
        """How far the resident size grew when it was built and stepped; what the program says."""
        assert self.program is not None
        return {**self.growth.told(), "reported": self.program.memory()}

    def warm(self, mode: str, seconds: float, limit: float) -> dict[str, Any]:
        """Repeat until the times agree, or `limit` seconds have passed."""
        return _timing().warm_up(self._mode(mode).repeat, seconds, limit)

    def round(self, mode: str, seconds: float, calls: int) -> dict[str, Any]:
        """As many samples as fit in `seconds`, at least one, after one that is not recorded.

        Unless that takes as long as COLD rounds: then it is the only one.
        """
        timing = _timing()
        first = self._samples(mode, 0, calls, 1)
        if first["samples"][0] * calls * self._mode(mode).steps > timing.COLD * seconds:
            return first
        return self._samples(mode, seconds, calls, 2 * timing.SAMPLES)

    def few(self, mode: str, seconds: float, calls: int, check: bool) -> dict[str, Any]:
        """A call unrecorded, then `calls` of a sample each, fewer if `seconds` are over.

        If `check`, what the first call gives is in the answer.
        """
        chosen = self._mode(mode)
        answer: dict[str, Any] = {}
        if check:
            answer["check"] = chosen.check(1).tolist()
        else:
            chosen.repeat(1)
        return answer | self._samples(mode, seconds, 1, calls)

    def _samples(self, mode: str, seconds: float, calls: int, most: int) -> dict[str, Any]:
        chosen = self._mode(mode)
        return {"samples": _timing().samples(chosen.repeat, seconds, calls, most, chosen.steps)}

    def _mode(self, name: str) -> Mode:
        assert self.program is not None, "prepare comes first"
        return self.program.modes[name]

    def _steps(self) -> dict[str, int]:
        assert self.program is not None
        return {name: mode.steps for name, mode in self.program.modes.items()}


def run_check(name: str, mode: Mode, steps: int) -> tuple[list[float], float]:
    """What must be right, and when the first call had ended."""
    if name == "run":
        values = mode.check(steps)
        return values.tolist(), time.perf_counter()
    values = mode.check(1)
    ended = time.perf_counter()
    if steps > 1:
        values = np.concatenate([values, mode.check(steps - 1)])
    return values.tolist(), ended


def _timing() -> Any:
    """staticnet's loops, imported when the time of that import has been taken."""
    return importlib.import_module("staticnet.compare.timing")


def pin(threads: int) -> None:
    """Restrict this process to as many CPUs as it may have threads; torch is told, too."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(worker: Worker, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until the end."""
    acts = worker.acts()
    for line in commands:
        command = json.loads(line)
        act = command.pop("do")
        if act == "quit":
            return
        try:
            answer = acts[act](**command)
        except Exception as error:  # the parent reports it and goes on with the others
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(answer), file=answers, flush=True)


def main(workload: str, contender: str, device: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    threads = int(os.environ["OMP_NUM_THREADS"])
    pin(threads)
    from bench.workloads import WORKLOADS

    start = time.perf_counter()
    if contender in MODULES:
        module = importlib.import_module(MODULES[contender])
        if module.__name__ == "torch":
            module.set_num_threads(threads)
    imported = time.perf_counter() - start
    if contender == "torch.compile":
        # a function is compiled anew for each size; past the limit of 8 it would fail
        importlib.import_module("torch._dynamo").config.recompile_limit = SIZES_COMPILED
    worker = Worker(WORKLOADS[workload], contender, device)
    print(json.dumps({"ready": True, "import_s": imported}), file=answers, flush=True)
    serve(worker, sys.stdin, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
