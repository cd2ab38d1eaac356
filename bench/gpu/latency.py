"""What a person and a host wait for on a GPU, and what its streams gain:

    python -m bench.gpu.latency

- the host's time of a captured step of `mlp`, its feeds on the host and on the device;
- the first step of `mlp` in a fresh process, with an empty cache and with a full one;
- a step of `mlp` on one stream, on as many as the estimate takes, and as one kernel, by batch;
- a training step of an LSTM over 50 steps, its loops launch by launch and as kernels that stay;
- a `while_loop` of 50 steps as one kernel, as a node that the device asks, and by the host's looks.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.environment import ROOT
from bench.report import duration
from bench.workloads import mlp

WARM_UP, BLOCKS, CALLS = 20, 20, 20
BATCHES = (64, 256, 1024)
LENGTH, LSTMS = 50, ((8, 128), (50, 128), (16, 512))
FIRST = """
import time, cupy; cupy.zeros(1).sum().get()
from bench.workloads import mlp
data = mlp.make_data(0)
start = time.perf_counter(); step = mlp.staticnet_step(data, "cuda")
float(step(data["x"][:64], data["y"][:64])); print(time.perf_counter() - start)
"""


def host_seconds(step: Callable[..., Any], feeds: Sequence[Any], synchronize: Any) -> float:
    """The median seconds for which a call holds its caller; the device is idle when it begins."""
    for _ in range(WARM_UP):
        step(*feeds)
    times = []
    for _ in range(BLOCKS):
        synchronize()
        start = time.perf_counter()
        for _ in range(CALLS):
            step(*feeds)
        times.append((time.perf_counter() - start) / CALLS)
    return statistics.median(times)


def device_seconds(step: Callable[..., Any], feeds: Sequence[Any], cupy: Any) -> float:
    """The least seconds of a step by the device's events, over some blocks of calls."""
    found = []
    for _ in range(BLOCKS):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        for _ in range(CALLS):
            step(*feeds)
        end.record()
        end.synchronize()
        found.append(cupy.cuda.get_elapsed_time(start, end) * 1e-3 / CALLS)
    return min(found)


def first_seconds() -> list[float]:
    """Seconds of a first step in a fresh process: with an empty cache, and with a full one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "STATICNET_CACHE": cache, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", FIRST]
        runs = [
            subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
            for _ in range(2)
        ]
    return [float(run.stdout.split()[-1]) for run in runs]


def on_streams(most: int, data: Any, batch: int) -> Any:
    """The step of `mlp` on at most so many streams; 0 is for one kernel."""
    from staticnet.codegen.cuda import choice, streams

    before = streams.MOST_STREAMS, choice.LEAST_GAIN
    streams.MOST_STREAMS, choice.LEAST_GAIN = most, 1.0 if most else -math.inf
    try:
        step = mlp.staticnet_step(data, "cuda", batch)
        step.specialize()
        return step
    finally:
        streams.MOST_STREAMS, choice.LEAST_GAIN = before


def lstm(stays: bool, batch: int, units: int) -> tuple[Any, list[Any]]:
    """A training step of an LSTM, with its loops as kernels or launch by launch, and its feeds."""
    import staticnet as sn
    from staticnet.codegen.cuda import choice, loops

    x = sn.placeholder((batch, LENGTH, units), name="x")
    loss = sn.mean(sn.square(sn.nn.LSTM(units, units, batch_first=True)(x)[0]))
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    before = loops.LEAST_GAIN, choice.LEAST_GAIN
    loops.LEAST_GAIN, choice.LEAST_GAIN = -math.inf if stays else math.inf, 1.0
    try:
        step = sn.function(x, loss, updates=updates, device="cuda")
        step.specialize()
    finally:
        loops.LEAST_GAIN, choice.LEAST_GAIN = before
    return step, [np.zeros((batch, LENGTH, units), np.float32)]


def newton(way: str) -> tuple[Any, list[Any]]:
    """Steps of a root's iteration until all are small, as a kernel, as a node or by the host."""
    import staticnet as sn
    from staticnet.codegen.cuda import choice, whiles

    x = sn.placeholder((64, 64), name="x")
    first = (sn.constant(np.int32(0)), x * 0 + 1)
    _, root = sn.while_loop(
        lambda c: (c[0] < LENGTH) & (sn.max(sn.abs(c[1] * c[1] - x)) >= 0.0),
        lambda c: (c[0] + 1, (c[1] + x / c[1]) / 2),
        first,
    )
    before = whiles.LEAST_GAIN, choice.LEAST_GAIN
    whiles.LEAST_GAIN, choice.LEAST_GAIN = -math.inf if way == "kernel" else math.inf, 1.0
    try:
        step = sn.function(x, root, device="cuda")
        made = step.specialize().executable
        made.by_host = made.by_host or way == "host"
    finally:
        whiles.LEAST_GAIN, choice.LEAST_GAIN = before
    return step, [np.ones((64, 64), np.float32)]


def of_host(cupy: Any, data: Any) -> None:
    """Print the host's time of a captured step."""
    step = mlp.staticnet_step(data, "cuda")
    synchronize = cupy.cuda.get_current_stream().synchronize
    host = [data[name][: mlp.BATCH] for name in "xy"]
    there = [cupy.asarray(x) for x in host]
    for place, feeds in (("host", host), ("device", there)):
        took = host_seconds(step, feeds, synchronize)
        print(f"host time of a captured step, feeds on the {place}: {duration(took)}")


def of_first(cupy: Any, data: Any) -> None:
    """Print the time of a first step."""
    cold, warm = first_seconds()
    print(f"first step: {duration(cold)} with an empty cache, {duration(warm)} with a full one")


def of_streams(cupy: Any, data: Any) -> None:
    """Print the time of a step on one stream, on several and as one kernel."""
    for batch in BATCHES:
        feeds = [cupy.asarray(data[name][:batch]) for name in "xy"]
        steps = {most: on_streams(most, data, batch) for most in (0, 1, 4)}
        took = {most: device_seconds(step, feeds, cupy) for most, step in steps.items()}
        used = steps[4].specialize().executable.program.streams
        print(
            f"batch {batch}: {duration(took[1])} on one stream, {duration(took[4])} on {used}, "
            f"{duration(took[0])} as one kernel"
        )


def of_loops(cupy: Any, data: Any) -> None:
    """Print the time of an LSTM's step in both ways."""
    for batch, units in LSTMS:
        took = {}
        for stays in (False, True):
            made, given = lstm(stays, batch, units)
            took[stays] = device_seconds(made, [cupy.asarray(x) for x in given], cupy)
        print(
            f"LSTM of {units} units, batch {batch}: {duration(took[False])} launch by launch, "
            f"{duration(took[True])} with loops that are kernels"
        )


def of_whiles(cupy: Any, data: Any) -> None:
    """Print the time of a `while_loop` in each way."""
    for way in ("kernel", "node", "host"):
        made, given = newton(way)
        took = device_seconds(made, [cupy.asarray(x) for x in given], cupy)
        print(f"while_loop of {LENGTH} steps as {way}: {duration(took)}")


def main() -> int:
    """Measure and print; -> how many of the parts failed, which ends none of the others."""
    import cupy

    data, failed = mlp.make_data(0), 0
    for part in (of_host, of_first, of_streams, of_loops, of_whiles):
        try:
            part(cupy, data)
        except Exception:
            traceback.print_exc()
            failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
