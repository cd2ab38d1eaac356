"""What the host does for a GPU, on a machine that has none: compiling a network, and calling it.

    python -m bench.gpu.host [NETWORK ...] [--out FILE]

A network is compiled in a fresh process, with an empty cache (cold) and with what that left (warm).
Its parts are told in seconds: what is imported; the declaration, whose weights are drawn; passes;
the plan; the program's text; NVRTC, or what it made before; all else, as CuPy's calls, which do
nothing here (`stand_in.py`). Then a call's microseconds, with small feeds: what a GPU's driver
adds, a launch of a graph and an allocation for each output, is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from bench.environment import ROOT, describe

NETWORKS = (
    "mlp", "cifar_bn", "char_lstm", "resnet50", "vit_b16", "gpt2_124m", "gpt2_124m_float8",
)  # fmt: skip
PARTS = ("import", "declaration", "passes", "plan", "text", "kernels", "rest")
COMPILED = PARTS[2:]
CALLS, BLOCKS = 500, 21
ROUNDS = 3


class Clock:
    """Seconds by part, those of what a part calls left out."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inner = [0.0]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done here is of a part."""
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - start
            self.seconds[name] += whole - self._inner.pop()
            self._inner[-1] += whole

    def calls(self, owner: Any, name: str, part: str) -> Any:
        """Meanwhile, calls of a function are of a part."""
        act: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(part):
                return act(*arguments, **options)

        return mock.patch.object(owner, name, timed)


def parts_of(network: str) -> dict[str, float]:
    """Seconds of each part, in this process, which has imported nothing yet."""
    clock = Clock()
    with clock.part("import"):
        import staticnet.backends.cuda.executable as executable
        from bench.gpu.networks import NETWORKS_OF_THE_GPU
        from bench.gpu.stand_in import no_gpu
        from bench.workloads import mlp
        from staticnet.backends.cuda import CudaBackend
        from staticnet.backends.cuda.device import Device
        from staticnet.compilation import Compilation
    with (
        no_gpu(),
        clock.calls(Compilation, "compile", "passes"),
        clock.calls(Compilation, "plan", "plan"),
        clock.calls(executable, "write_cuda_program", "text"),
        clock.calls(Device, "load", "kernels"),
        clock.calls(CudaBackend, "build", "rest"),
        clock.part("declaration"),
    ):
        if network == "mlp":
            step = mlp.staticnet_step(mlp.make_data(0), "cuda")
        else:
            (made,) = (each for each in NETWORKS_OF_THE_GPU if each.name == network)
            step = made.staticnet_step({"x": _tokens_or_pixels(made.is_text)}, "cuda")
        step.specialize()
    return clock.seconds


def _tokens_or_pixels(is_text: bool) -> Any:
    import numpy as np

    return np.empty(0, "int64" if is_text else "float32")


def call_seconds() -> dict[str, float]:
    """Medians of a call of `playground` and `mlp`, feeds on the host and on the device."""
    import numpy as np

    from bench.gpu.stand_in import no_gpu
    from bench.workloads import mlp, playground

    found = {}
    with no_gpu() as cupy:
        for network in (playground, mlp):
            data = network.make_data(0)
            step = network.staticnet_step(data, "cuda")
            host = [np.ascontiguousarray(data[name][: network.BATCH]) for name in "xy"]
            there = [cupy.ndarray(x.shape, x.dtype) for x in host]
            for place, feeds in (("host", host), ("device", there)):
                name = f"{network.__name__.rpartition('.')[2]}, feeds on the {place}"
                found[name] = _median(step, feeds)
    return found


def _median(step: Callable[..., Any], feeds: list[Any]) -> float:
    times = []
    for _ in range(BLOCKS):
        start = time.perf_counter()
        for _ in range(CALLS):
            step(*feeds)
        times.append((time.perf_counter() - start) / CALLS)
    return statistics.median(times[1:])


def measured(network: str) -> Iterator[dict[str, Any]]:
    """A record of a cold and of a warm start, each in a process of its own."""
    with tempfile.TemporaryDirectory() as cache:
        settings = {"STATICNET_CACHE": cache, "STATICNET_TUNE": "0", "PYTHONPATH": str(ROOT)}
        for start in ("cold", "warm"):
            run = subprocess.run(
                [sys.executable, "-m", "bench.gpu.host", "--one", network], cwd=ROOT,
                env={**os.environ, **settings}, check=True, capture_output=True, text=True,
            )  # fmt: skip
            parts = json.loads(run.stdout.splitlines()[-1])
            yield {"kind": "host", "network": network, "start": start, "seconds": parts}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="a file for the samples")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(parts_of(given.one)))
        return
    os.environ["STATICNET_TUNE"] = "0"
    records: list[dict[str, Any]] = [describe(1)]
    for _ in range(given.rounds):
        for network in given.networks:
            records += measured(network)
        records.append({"kind": "call", "seconds": call_seconds()})
    if given.out:
        about, *samples = records
        text = json.dumps({"about": about, "samples": samples}) + "\n"
        given.out.write_text(text, encoding="utf-8")
    print(table(records))


def table(records: list[dict[str, Any]]) -> str:
    """Medians of all rounds as Markdown."""
    by: dict[tuple[str, str], list[dict[str, float]]] = {}
    calls: dict[str, list[float]] = {}
    for record in records:
        if record["kind"] == "host":
            by.setdefault((record["network"], record["start"]), []).append(record["seconds"])
        elif record["kind"] == "call":
            for name, seconds in record["seconds"].items():
                calls.setdefault(name, []).append(seconds)
    lines = [f"| network | start | {' | '.join(PARTS)} | compiled |", "|---" * 10 + "|"]
    for (network, start), rounds in by.items():
        cells = [statistics.median(x[part] for x in rounds) for part in PARTS]
        compiled = statistics.median(sum(x[part] for part in COMPILED) for x in rounds)
        lines.append(
            f"| {network} | {start} | "
            + " | ".join(f"{s:.2f} s" for s in (*cells, compiled))
            + " |"
        )
    lines += ["", "| call | |", "|---|---|"]
    lines += [f"| {name} | {statistics.median(x) * 1e6:.1f} µs |" for name, x in calls.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
