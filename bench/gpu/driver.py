"""Runs the GPU's suite: each contender in a process of its own, their rounds interleaved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from bench import environment
from bench.client import Client, WorkerError
from bench.driver import Log, Settings, expected
from bench.gpu import report
from bench.gpu.workloads import REPLAYED, WORKLOADS
from bench.program import Workload
from bench.rounds import Race, new_line

CONTENDERS = ("staticnet", "torch", "torch.compile", REPLAYED, "jax")
MODULE = "bench.gpu.worker"
EXTRA = {"JAX_PLATFORMS": "cuda,cpu", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
DEVICES = ("auto", "cuda")
WARM_UP = 2.0  # seconds, at most, of each contender
Record = dict[str, Any]


class GpuRace(Race):
    """A race that keeps the device's seconds beside the wall clock's."""

    def _round(self, c: str, seconds: float) -> None:
        for mode, line in self.lines[c].items():
            calls = line["calls"]
            answer = self.clients[c].ask("round", mode=mode, seconds=seconds, calls=calls)
            line["samples"].append(answer["samples"])
            line.setdefault("device", []).append(answer["device"])


def run(settings: Settings, say: Callable[[str], None] = print) -> list[Record]:
    """Run the suite, print its table, and give the records that are also in the file.

    Raises:
        WorkerError: if staticnet itself cannot start on the GPU.
    """
    threads = settings.threads or 2
    log = Log(settings.out, say)
    try:
        log.add(environment.describe(threads))
        with _client("mlp", "staticnet", threads) as client:
            client.ready()
            log.add(client.ask("rates"))
        say(report.rates(log.records))
        for name in settings.workloads or WORKLOADS:
            _workload(WORKLOADS[name], settings, threads, log)
    finally:
        log.close()
    say(report.table(log.records))
    return log.records


def _client(workload: str, contender: str, threads: int) -> Client:
    return Client(workload, contender, "cuda", threads, EXTRA, MODULE)


def _workload(workload: Workload, settings: Settings, threads: int, log: Log) -> None:
    named = [c for c in settings.contenders or CONTENDERS if c in workload.contenders]
    absent: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        clients = {}
        for c in named:
            if reason := environment.missing(c):
                absent[c] = reason
                continue
            clients[c] = stack.enter_context(_client(workload.name, c, threads))
        for c, client in list(clients.items()):  # they start side by side
            try:
                client.ready()
            except WorkerError as error:
                absent[c] = str(error)
                del clients[c]
        for size in workload.sizes[-1:] if settings.quick else workload.sizes:
            started = time.perf_counter()
            for c, reason in absent.items():
                log.add(new_line(workload, size, "", c, "missing", reason))
            race = GpuRace(workload, size, clients, expected(workload, size), log.add)
            race.together(settings.rounds, settings.seconds, WARM_UP)
            for client in clients.values():
                with contextlib.suppress(WorkerError):  # it has been reported
                    client.ask("release")
            log.say(f"  {workload.name} {size or ''}: {time.perf_counter() - started:.1f} s")
