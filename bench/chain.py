"""What a node costs the compiler: a chain of N nodes through every stage.

    python bench/chain.py [N]

Prints microseconds a node for building, printing, parsing, differentiating and the whole pipeline
(median of the repeats and their range), and checks that nothing recurses.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.compilation import PIPELINE
from staticnet.passes.manager import run_passes

REPEATS = 3


def build(n: int) -> sn.Graph:
    """tanh and products in turn: no two nodes are equal, no rule removes them."""
    x = sn.placeholder((4,), "float32", name="x")
    y: Any = x
    for _ in range(n // 2):
        y = sn.tanh(y) * x
    return sn.Graph("chain", [x], [y])


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    gc.collect()
    start = time.perf_counter()
    result = act()
    return result, time.perf_counter() - start


def measure(n: int) -> dict[str, float]:
    """Microseconds a node of each stage; the graph is dropped afterwards and built anew."""
    seconds: dict[str, float] = {}
    graph, seconds["build"] = timed(lambda: build(n))
    nodes = len(graph.nodes)
    text, seconds["print"] = timed(lambda: str(graph))
    parsed, seconds["parse"] = timed(lambda: sn.parse(text))
    assert parsed is graph
    x, y = graph.inputs[0], graph.outputs[0]
    (dx,), seconds["differentiate"] = timed(lambda: sn.grad(sn.sum(y), [x]))
    both = sn.Graph("chain", [x], [y, dx])
    (after, _), pipeline = timed(lambda: run_passes(both, PIPELINE))
    assert len(after.nodes) >= nodes
    per_node = {stage: 1e6 * value / nodes for stage, value in seconds.items()}
    return per_node | {"pipeline": 1e6 * pipeline / len(both.nodes)}


def main(n: int) -> None:
    samples = [measure(n) for _ in range(REPEATS)]
    print(f"chain of {n} nodes, numpy {np.__version__}, python {sys.version.split()[0]}")
    for stage in samples[0]:
        values = sorted(sample[stage] for sample in samples)
        print(f"{stage:>14}: {statistics.median(values):7.1f} us a node  {json.dumps(values)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
