"""Many arrays in one: `sn.stack` on the CPU beside `np.stack`, in turns in one process.

    python -m bench.concat [--pieces 256] [--rounds 200] [--out bench/results/concat.json]

Each round times both, in an order drawn anew; a line an axis has the medians, their quartiles and
the ratio of the medians with its 95 % bootstrap interval over rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from bench import environment
from bench.report import duration
from staticnet.compare import stats

SHAPE = (32, 128)


def contenders(pieces: int, axis: int) -> dict[str, Callable[[], Any]]:
    """Both ways to stack the same arrays; they give the same."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=SHAPE).astype("float32") for _ in range(pieces)]
    nodes = [sn.placeholder(SHAPE, name=f"x{i}") for i in range(pieces)]
    f = sn.function(nodes, sn.stack(nodes, axis), device="cpu")
    np.testing.assert_array_equal(f(*arrays), np.stack(arrays, axis))
    return {"staticnet": lambda: f(*arrays), "numpy": lambda: np.stack(arrays, axis)}


def race(
    ways: dict[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each way, a round after the other."""
    rng = np.random.default_rng(1)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name in rng.permutation(list(ways)):
            start = clock()
            ways[name]()
            times[name].append(clock() - start)
    return times


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pieces", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    about = environment.describe(2)
    records = []
    for axis in range(len(SHAPE) + 1):
        times = race(contenders(options.pieces, axis), options.rounds)
        rounds = {name: [[seconds] for seconds in samples] for name, samples in times.items()}
        ratio = stats.ratio_to_best(rounds["staticnet"], [rounds["numpy"]])
        told = [
            f"{name} {duration(middle)} ({duration(low)} to {duration(high)})"
            for name, each in rounds.items()
            for low, middle, high in [stats.quartiles(each)]
        ]
        bounds = f"[{ratio.low:.2f}, {ratio.high:.2f}]"
        print(f"axis {axis}: {', '.join(told)}, ratio {ratio.value:.2f} {bounds}")
        records.append({"pieces": options.pieces, "shape": SHAPE, "axis": axis, "seconds": times})
    if options.out:
        options.out.write_text(json.dumps({"about": about, "records": records}) + "\n")


if __name__ == "__main__":
    main()
