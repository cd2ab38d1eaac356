"""Runs the suite: every contender in a process of its own, their rounds interleaved.

For each workload and size, each contender draws the same inputs and initial weights from the
workload's seed, builds its program and is checked against the float64 reference; those that are
right take turns (`rounds.py`). This process imports no framework.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from bench import environment, report
from bench.client import Client, WorkerError
from bench.first_call import measure_first_calls
from bench.program import CONTENDERS, COPIES, Array, Workload
from bench.rounds import LARGE, WARM_UP_LIMIT, Race, new_line
from bench.workloads import SUITES, WORKLOADS

ASSUMED_MEMORY = 8 << 30  # where the system does not tell
TOGETHER, ALONE = 0.9, 0.95  # shares of the available memory that are taken
BUSY = 0.5
DEVICES = ("auto", "cpu", "numpy")
QUICK_CONTENDERS = tuple(c for c in CONTENDERS if c != "torch.compile")
Record = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to run, and how long."""

    suite: str = "cpu"
    workloads: Sequence[str] = ()
    contenders: Sequence[str] = ()
    modes: Sequence[str] = ()
    rounds: int = 10
    seconds: float = 0.08
    device: str = "auto"
    quick: bool = False
    out: Path | None = None
    threads: int = 0
    limit: float = 0.0  # seconds of the GPU's suite; 0 is none
    resume: bool = False  # the GPU's suite: what `out` has is not measured again

    @property
    def names(self) -> tuple[str, ...]:
        """The workloads to run."""
        return tuple(self.workloads) or SUITES[self.suite]

    @property
    def runners(self) -> tuple[str, ...]:
        """The contenders to run."""
        chosen = QUICK_CONTENDERS if self.quick else CONTENDERS
        return tuple(self.contenders) or chosen


class Log:
    """Records, kept and written as they come, one line of JSON each.

    Those that are `known` come first. What the file held before is replaced when they are written,
    so that no moment is without them. A disk that takes no more ends no run.
    """

    def __init__(
        self, out: Path | None, say: Callable[[str], None], known: Sequence[Record] = ()
    ) -> None:
        self.records: list[Record] = []
        self.say = say
        self._file: TextIO | None = None
        if out is None:
            self.records += known
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = out.with_name(f"{out.name}.new")
        self._file = beside.open("w")
        for record in known:
            self.add(record)
        if self._file is not None:
            os.replace(beside, out)

    def add(self, record: Record) -> None:
        """Keep a record; the file is complete up to it even if the run is broken off."""
        self.records.append(record)
        if self._file is None:
            return
        try:
            print(json.dumps(record), file=self._file, flush=True)
        except OSError as error:
            self.say(f"{self._file.name}: {error}; what comes now is shown, and not written")
            self.close()

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what it could not write is told
                file.close()


def run(settings: Settings, say: Callable[[str], None] = print) -> list[Record]:
    """Run the suite, print its tables, and give the records that are also in the file."""
    threads = settings.threads or min(2, os.cpu_count() or 1)
    log = Log(settings.out, say)
    try:
        about = environment.describe(threads)
        about["settings"] = {
            "device": settings.device,
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "quick": settings.quick,
        }
        log.add(about)
        if (about["load"] or 0) > BUSY:
            say(f"other processes are running (load {about['load']}): medians will not be fair")
        for name in settings.names:
            say(f"{name}: {WORKLOADS[name].about}")
            _workload(WORKLOADS[name], settings, threads, log)
        if "mlp" in settings.names and not settings.quick:
            say("first call and memory of mlp: fresh processes, one after the other")
            for record in measure_first_calls(settings.runners, settings.device, threads):
                log.add(record)
    finally:
        log.close()
    report.show(log.records, say)
    return log.records


def _workload(workload: Workload, settings: Settings, threads: int, log: Log) -> None:
    """All sizes of one workload, in one set of workers."""
    named = [c for c in settings.runners if workload.runs(c)]
    absent = {c: reason for c in named if (reason := environment.missing(c))}
    present = [c for c in named if c not in absent]
    with contextlib.ExitStack() as stack:
        clients = {}
        for c in present:
            client = Client(workload.name, c, settings.device, threads)
            clients[c] = stack.enter_context(client)
        for c, client in list(clients.items()):
            try:
                client.ready()
            except WorkerError as error:
                absent[c] = str(error)
                del clients[c]
        for size in workload.quick_sizes if settings.quick else workload.sizes:
            for c, reason in absent.items():
                log.add(new_line(workload, size, "", c, "missing", reason))
            _size(workload, size, clients, settings, log)


def _size(
    workload: Workload, size: int, clients: dict[str, Client], settings: Settings, log: Log
) -> None:
    """Check and time all contenders at one size: together if they fit, else in turn."""
    available = environment.memory("MemAvailable") or ASSUMED_MEMORY
    copies = sum(workload.holds(c, size) for c in clients if c in COPIES)
    fitting = {}
    for c, client in clients.items():
        needed = copies if c in COPIES else copies + workload.needs(size)
        if needed <= ALONE * available:
            fitting[c] = client
            continue
        reason = f"it needs {gib(needed)} of memory; {gib(available)} is available"
        log.add(new_line(workload, size, "", c, "skipped", reason))
    if not fitting:
        return
    started = time.perf_counter()
    label = f" {report.human(size)}" if size else ""

    def tell(line: str) -> None:
        seconds = time.perf_counter() - started
        print(f"  {workload.name}{label}, {seconds:.0f} s: {line}", file=sys.stderr, flush=True)

    tell("steps of the reference")
    values = expected(workload, size)
    race = Race(workload, size, fitting, values, log.add, tell, modes=settings.modes)
    held = sum(workload.holds(c, size) for c in fitting)
    if held + workload.scratch(size) > TOGETHER * available:
        how = "in turn"
        race.in_turn(settings.rounds)
    elif size >= LARGE:
        how = "together"
        race.few_together(settings.rounds)
    else:
        how = "together"
        seconds = settings.seconds / 2 if size else settings.seconds
        limit = 0.2 if settings.quick else WARM_UP_LIMIT * seconds
        race.together(settings.rounds, seconds, limit)
    for client in fitting.values():
        with contextlib.suppress(WorkerError):  # it has been reported
            client.ask("release")
    log.say(f"  {workload.name}{label}, {how}: {time.perf_counter() - started:.1f} s")


def expected(workload: Workload, size: int) -> dict[str, Array]:
    """What the checks of each mode must give. The inputs are drawn for this and dropped."""
    given = workload.reference(workload.make_data(size))
    return {name: np.asarray(x).ravel() for name, x in given.items()}


def gib(size: int) -> str:
    """Bytes, to a tenth of a GiB."""
    return f"{size / 2**30:.1f} GiB"
