"""Runs the suite: every contender in a process of its own, their rounds interleaved.

For each workload and size: data and initial weights are drawn once; each contender builds its
program and is checked against the float64 reference; those that are right are warmed up and then
take turns, in an order that rotates from round to round. This process imports no framework.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import environment, report
from bench.client import Client, WorkerError
from bench.first_call import measure_first_calls
from bench.kernels import COPY_LIMIT
from bench.program import CONTENDERS, Array, Workload
from bench.workloads import SUITES, WORKLOADS

MEMORY_LIMIT = 6 << 30
WARM_UP_LIMIT = 12  # in rounds
BUSY = 0.5
QUICK_CONTENDERS = tuple(c for c in CONTENDERS if c != "torch.compile")
Record = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to run, and how long."""

    suite: str = "cpu"
    workloads: Sequence[str] = ()
    contenders: Sequence[str] = ()
    rounds: int = 10
    seconds: float = 0.08
    device: str = "auto"
    quick: bool = False
    out: Path | None = None
    against: Path | None = None
    threads: int = 0

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
    """Records, kept and written as they come, one line of JSON each."""

    def __init__(self, out: Path | None, say: Callable[[str], None]) -> None:
        self.records: list[Record] = []
        self.say = say
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
        self._file = out.open("w") if out is not None else None

    def add(self, record: Record) -> None:
        """Keep a record; the file is complete up to it even if the run is broken off."""
        self.records.append(record)
        if self._file is not None:
            print(json.dumps(record), file=self._file, flush=True)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


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
    if settings.against is not None:
        report.show_changes(report.read(settings.against), log.records, say)
    return log.records


def _workload(workload: Workload, settings: Settings, threads: int, log: Log) -> None:
    """All sizes of one workload, in one set of workers."""
    named = [c for c in settings.runners if c in workload.contenders]
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
                log.add(_line(workload, size, "", c, "missing", reason))
            _size(workload, size, clients, settings, log)


def _size(
    workload: Workload, size: int, clients: dict[str, Client], settings: Settings, log: Log
) -> None:
    """Prepare, check, warm up and time all contenders at one size."""
    needed = workload.footprint(size) * sum(not c.startswith("copy") for c in clients)
    limit = min(MEMORY_LIMIT, environment.memory("MemAvailable") or MEMORY_LIMIT)
    if needed > limit:
        reason = f"all contenders together need about {needed / 2**30:.1f} GiB"
        for c in clients:
            log.add(_line(workload, size, "", c, "skipped", reason))
        return
    started = time.perf_counter()
    with _data(workload, size) as (path, expected):
        prepared = _prepare(workload, size, clients, path, expected, log)
    names = dict.fromkeys(mode for lines in prepared.values() for mode in lines)
    for mode in names:
        lines = {c: lines[mode] for c, lines in prepared.items() if mode in lines}
        _time(clients, mode, lines, settings, log)
    label = f" {report.human(size)}" if size else ""
    log.say(f"  {workload.name}{label}: {time.perf_counter() - started:.1f} s")


@contextlib.contextmanager
def _data(workload: Workload, size: int) -> Iterator[tuple[str, dict[str, Array]]]:
    """The path of the inputs and initial weights, and what the checks must give."""
    arrays = workload.make_data(size)
    expected = {name: np.asarray(x).ravel() for name, x in workload.reference(arrays).items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, **arrays)
        del arrays
        yield str(path), expected


def _prepare(
    workload: Workload,
    size: int,
    clients: dict[str, Client],
    path: str,
    expected: dict[str, Array],
    log: Log,
) -> dict[str, dict[str, Record]]:
    """Each contender's lines to be timed, by mode; the others' are logged as wrong or failed."""
    prepared: dict[str, dict[str, Record]] = {}
    for c, client in clients.items():
        try:
            answer = client.ask("prepare", data=path)
        except WorkerError as error:
            status = "missing" if "CxxCompiler" in str(error) else "failed"
            log.add(_line(workload, size, "", c, status, str(error)))
            continue
        prepared[c] = {}
        for mode, values in answer["checks"].items():
            line = _line(workload, size, mode, c, "ok", "")
            line["first_call_s"] = answer["first_call_s"][mode]
            line["steps"] = answer["steps"][mode]
            if c.startswith("copy"):
                line["bytes"] = min(line["bytes"], COPY_LIMIT)
            else:
                line["check"] = compare(np.array(values), expected[mode], workload)
            if line.get("check", {}).get("right", True):
                prepared[c][mode] = line
            else:
                log.add(line | {"status": "wrong", "reason": line["check"]["text"]})
    return prepared


def compare(values: Array, expected: Array, workload: Workload) -> Record:
    """Whether |values - expected| <= atol + rtol * |expected|, and by how much it is missed."""
    about: Record = {"values": len(values), "rtol": workload.rtol, "atol": workload.atol}
    if values.shape != expected.shape:
        return about | {"right": False, "text": f"{len(values)} values, not {len(expected)}"}
    error = np.abs(values - expected)
    allowed = workload.atol + workload.rtol * np.abs(expected)
    worst = float(np.max(error / allowed)) if np.isfinite(error).all() else float("inf")
    at = int(np.argmax(np.where(np.isfinite(error), error / allowed, np.inf)))
    text = f"value {at} is {values[at]:.7g}; the reference says {expected[at]:.7g}"
    # JSON has no infinity
    shown = round(worst, 4) if np.isfinite(worst) else None
    return about | {"right": worst <= 1, "share_of_tolerance": shown, "text": text}


def _time(
    clients: dict[str, Client],
    mode: str,
    lines: dict[str, Record],
    settings: Settings,
    log: Log,
) -> None:
    """Warm up, then the rounds; each contender's line is logged when all have ended."""
    kernels = all(line["size"] for line in lines.values())
    seconds = settings.seconds / 2 if kernels else settings.seconds
    limit = 0.2 if settings.quick else WARM_UP_LIMIT * seconds
    for c, line in list(lines.items()):
        with _failing(c, lines, log):
            line |= clients[c].ask("warm", mode=mode, seconds=seconds, limit=limit)
            line["samples"] = []
    for i in range(settings.rounds):
        running = list(lines)
        for c in running[i % max(len(running), 1) :] + running[: i % max(len(running), 1)]:
            with _failing(c, lines, log):
                calls = lines[c]["calls"]
                answer = clients[c].ask("round", mode=mode, seconds=seconds, calls=calls)
                lines[c]["samples"].append(answer["samples"])
    for line in lines.values():
        log.add(line)


@contextlib.contextmanager
def _failing(contender: str, lines: dict[str, Record], log: Log) -> Iterator[None]:
    """A contender that fails here is logged as failed and leaves the race."""
    try:
        yield
    except WorkerError as error:
        log.add(lines.pop(contender) | {"status": "failed", "reason": str(error), "samples": []})


def _line(
    workload: Workload, size: int, mode: str, contender: str, status: str, reason: str
) -> Record:
    return {
        "kind": "result",
        "workload": workload.name,
        "size": size,
        "mode": mode,
        "contender": contender,
        "status": status,
        "reason": reason,
        "bytes": workload.bytes_moved(size),
        "flops": workload.flops(size),
    }
