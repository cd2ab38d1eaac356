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

SHAPE = (32, 128)


def contenders(pieces: int, axis: int) -> dict[str, Callable[[], Any]]:
    """Both ways to stack the same arrays; they give the same."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=SHAPE).astype("float32") for _ in range(pieces)]
    nodes = [sn.placeholder(SHAPE, name=f"x{i}") for i in range(pieces)]
    f = sn.function(nodes, sn.stack(nodes, axis), device="cpu")
    np.testing.assert_array_equal(f(*arrays), np.stack(arrays, axis))
    return {"staticnet": lambda: f(*arrays), "numpy": lambda: np.stack(arrays, axis)}


def race(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, a round after the other."""
    rng = np.random.default_rng(1)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name in rng.permutation(list(ways)):
            start = time.perf_counter()
            ways[name]()
            times[name].append(time.perf_counter() - start)
    return times


def interval(times: dict[str, list[float]]) -> tuple[float, float, float]:
    """staticnet's median by NumPy's, and 95 % of what resampled rounds give."""
    a, b = (np.array(times[name]) for name in ("staticnet", "numpy"))
    drawn = np.random.default_rng(2).integers(len(a), size=(2000, len(a)))
    ratios = np.median(a[drawn], 1) / np.median(b[drawn], 1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(np.median(a) / np.median(b)), float(low), float(high)


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
        ratio, low, high = interval(times)
        told = [
            f"{name} {duration(m)} ({duration(a)} to {duration(b)})"
            for name, samples in times.items()
            for a, m, b in [np.percentile(samples, [25, 50, 75])]
        ]
        print(f"axis {axis}: {', '.join(told)}, ratio {ratio:.2f} [{low:.2f}, {high:.2f}]")
        records.append({"pieces": options.pieces, "shape": SHAPE, "axis": axis, "seconds": times})
    if options.out:
        options.out.write_text(json.dumps({"about": about, "records": records}) + "\n")


if __name__ == "__main__":
    main()
