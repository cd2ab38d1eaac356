"""Runs the GPU's suite: each contender in a process of its own, their rounds interleaved.

`torch.compile` searches for its kernels, for minutes a network, and JAX for those of large ones. So
they come last, when all else has been measured: the processes of one of them compile side by side,
and are timed when none compiles any more. What does not fit the limit is recorded as cut off; a run
that resumes measures that, and keeps the rest.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench import environment
from bench import report as cpu_report
from bench.client import Client, WorkerError
from bench.driver import Log, Settings, expected
from bench.gpu import report
from bench.gpu.networks import NETWORKS_OF_THE_GPU
from bench.gpu.workloads import REPLAYED, WORKLOADS
from bench.program import Workload
from bench.rounds import Race, new_line
from staticnet.compare.process import NoAnswerError

LATE = "torch.compile"
CONTENDERS = ("staticnet", "torch", REPLAYED, "jax", LATE)
COMPILERS = ("jax", LATE)  # in the order in which they are measured last
LARGE = frozenset(network.name for network in NETWORKS_OF_THE_GPU)  # that JAX, too, compiles late
MODULE = "bench.gpu.worker"
EXTRA = {
    "JAX_PLATFORMS": "cuda,cpu",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",  # else float32 is multiplied as TF32
    "TORCHINDUCTOR_COMPILE_THREADS": "4",  # of each of the processes that compile side by side
}
DEVICES = ("auto", "cuda")
WARM_UP = 0.5  # seconds, at most, of each contender and mode
START_SECONDS, COMPILE_SECONDS = 60.0, 200.0  # at most, of a contender, and of torch.compile
TURN_SECONDS = 4.0  # that a compiled contender takes to be timed, about
GRACE = 10.0  # seconds beyond the limit for what has begun
Record = dict[str, Any]


def is_late(name: str, contender: str) -> bool:
    """Whether a contender of a workload compiles beside others, when all else is measured."""
    return contender == LATE or (contender == "jax" and name in LARGE)


class Budget:
    """What is left of a limit in seconds; 0 is no limit."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._end = time.monotonic() + limit if limit else math.inf

    def left(self) -> float:
        """Seconds that are left; 0 if none are."""
        return max(0.0, self._end - time.monotonic())


class GpuClient(Client):
    """A client that answers within the budget, and can be asked to prepare ahead."""

    def __init__(self, workload: str, contender: str, threads: int, budget: Budget) -> None:
        super().__init__(workload, contender, "cuda", threads, EXTRA, MODULE)
        self._budget = budget
        self._prepared: dict[str, Any] | None = None

    def ready(self, timeout: float = START_SECONDS) -> dict[str, Any]:
        """Wait until the libraries are imported."""
        return super().ready(min(timeout, self._budget.left() + GRACE))

    def ask(self, do: str, timeout: float = START_SECONDS, **command: Any) -> dict[str, Any]:
        """Send one command and wait for its answer, which `wait` may have had."""
        if do == "prepare" and self._prepared is not None:
            answer, self._prepared = self._prepared, None
            return answer
        return super().ask(do, min(timeout, self._budget.left() + GRACE), **command)

    def wait(self, timeout: float) -> None:
        """Wait for the answer to a "prepare" that was sent."""
        self._prepared = self.ready(timeout)


class GpuRace(Race):
    """A race that keeps the device's seconds beside the wall clock's."""

    def _round(self, c: str, seconds: float) -> None:
        for mode, line in self.lines[c].items():
            calls = line["calls"]
            answer = self.clients[c].ask("round", mode=mode, seconds=seconds, calls=calls)
            line["samples"].append(answer["samples"])
            line.setdefault("device", []).append(answer["device"])


@dataclass(frozen=True)
class Unit:
    """A workload at some sizes, and who takes part."""

    workload: Workload
    sizes: tuple[int, ...]
    contenders: tuple[str, ...]


def known(settings: Settings) -> list[Record]:
    """The records of the file to go on with, but those of what was cut off, failed or missing."""
    if not settings.resume or settings.out is None or not settings.out.is_file():
        return []
    again = ("cut off", "failed", "missing")
    return [r for r in cpu_report.read(settings.out) if r.get("status") not in again]


def plan(settings: Settings, done: Sequence[Record] = ()) -> tuple[list[Unit], list[Unit]]:
    """What is measured first, and what is compiled side by side and measured last.

    What is `done` is left out; the others of a workload then take turns without it.
    """
    first, last = list[Unit](), list[Unit]()
    have = {(r["workload"], r["size"], r["contender"]) for r in done if r["kind"] == "result"}
    for name in settings.workloads or WORKLOADS:
        workload = WORKLOADS[name]
        named = [c for c in settings.contenders or CONTENDERS if c in workload.contenders]
        for size in workload.sizes[-1:] if settings.quick else workload.sizes:
            left = [c for c in named if (name, size, c) not in have]
            early = tuple(c for c in left if not is_late(name, c))
            before = first[-1] if first else None
            if before and before.workload is workload and before.contenders == early:
                first[-1] = replace(before, sizes=(*before.sizes, size))
            elif early:
                first.append(Unit(workload, (size,), early))
            last += [Unit(workload, (size,), (c,)) for c in left if is_late(name, c)]
    return first, last


def run(settings: Settings, say: Callable[[str], None] = print) -> list[Record]:
    """Run the suite, print its table, and give the records that are also in the file.

    Raises:
        WorkerError: if staticnet itself cannot start on the GPU.
    """
    done = known(settings)
    suite = _Suite(settings, Log(settings.out, say, done), done)
    try:
        suite.run()
    finally:
        suite.log.close()
    say(report.table(suite.log.records))
    return suite.log.records


class _Suite:
    """What is the same for all units of a run."""

    def __init__(self, settings: Settings, log: Log, done: Sequence[Record]) -> None:
        self.settings, self.log, self.done = settings, log, done
        self.threads = settings.threads or 2
        self.budget = Budget(settings.limit)

    def run(self) -> None:
        log = self.log
        if not self.done:
            log.add(environment.describe(self.threads))
        if not any(record["kind"] == "gpu" for record in self.done):
            with self._client("mlp", "staticnet") as client:
                client.ready()
                log.add(client.ask("rates"))
        log.say(report.rates(log.records))
        first, last = plan(self.settings, self.done)
        for unit in first:
            self._interleaved(unit)
        for c in COMPILERS:
            self._compiled(c, [unit for unit in last if unit.contenders == (c,)])

    def _client(self, workload: str, contender: str) -> GpuClient:
        return GpuClient(workload, contender, self.threads, self.budget)

    def _interleaved(self, unit: Unit) -> None:
        """All that take part start side by side, and take turns."""
        if not self.budget.left():
            self._cut(unit, unit.sizes)
            return
        with contextlib.ExitStack() as stack:
            clients = {}
            for c in unit.contenders:
                if reason := environment.missing(c):
                    self._skip(unit, c, reason)
                else:
                    clients[c] = stack.enter_context(self._client(unit.workload.name, c))
            for c, client in list(clients.items()):
                try:
                    client.ready()
                except WorkerError as error:
                    self._skip(unit, c, str(error))
                    del clients[c]
            for number, size in enumerate(unit.sizes):
                if not self.budget.left():
                    self._cut(unit, unit.sizes[number:])
                    return
                self._race(unit.workload, size, clients)

    def _compiled(self, c: str, units: Sequence[Unit]) -> None:
        """Each in a process; all compile side by side, and are then timed one after the other."""
        if reason := environment.missing(c) if units else None:
            for unit in units:
                self._skip(unit, c, reason)
            return
        with contextlib.ExitStack() as stack:
            started = [
                (unit, stack.enter_context(self._client(unit.workload.name, c)))
                for unit in units
                if self.budget.left() or self._cut(unit, unit.sizes)
            ]
            waiting = [pair for pair in started if self._begins(*pair)]
            bound = min(COMPILE_SECONDS, self.budget.left() - TURN_SECONDS * len(waiting))
            end = time.monotonic() + bound
            for unit, client in [pair for pair in waiting if self._compiles(*pair, end, bound)]:
                self._race(unit.workload, *unit.sizes, {c: client})

    def _begins(self, unit: Unit, client: GpuClient) -> bool:
        """Whether a process has started; then it has been asked to compile."""
        try:
            client.ready()
            client.send("prepare", size=unit.sizes[0], steps=unit.workload.check_steps)
        except WorkerError as error:
            self._skip(unit, client.contender, str(error))
            return False
        return True

    def _compiles(self, unit: Unit, client: GpuClient, end: float, bound: float) -> bool:
        """Whether it compiled in time."""
        try:
            client.wait(max(0.0, end - time.monotonic()))
        except NoAnswerError:
            self._cut(unit, unit.sizes, f"it had not compiled after {max(0.0, bound):.0f} s")
            return False
        except WorkerError as error:
            self._skip(unit, client.contender, str(error), "failed")
            return False
        return True

    def _race(self, workload: Workload, size: int, clients: dict[str, GpuClient]) -> None:
        """Check and time those that started."""
        settings, started = self.settings, time.perf_counter()
        race = GpuRace(workload, size, clients, expected(workload, size), self.log.add)
        race.together(settings.rounds, settings.seconds, WARM_UP)
        for client in clients.values():
            with contextlib.suppress(WorkerError):  # it has been reported
                client.ask("release")
        took = time.perf_counter() - started
        self.log.say(f"  {workload.name} {size or ''} {', '.join(clients)}: {took:.1f} s")

    def _skip(self, unit: Unit, c: str, reason: str, status: str = "missing") -> None:
        for size in unit.sizes:
            self.log.add(new_line(unit.workload, size, "", c, status, reason))

    def _cut(self, unit: Unit, sizes: tuple[int, ...], reason: str = "") -> bool:
        """Record and say what is not measured. -> False, as it is not"""
        reason = reason or f"the limit of {self.budget.limit:.0f} s had passed"
        for size in sizes:
            for c in unit.contenders:
                self.log.add(new_line(unit.workload, size, "", c, "cut off", reason))
            name = f"{unit.workload.name} {size or ''}".strip()
            self.log.say(f"  {name} {', '.join(unit.contenders)}: cut off: {reason}")
        return False
