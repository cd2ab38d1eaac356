"""What a person waits for: the import, the doctor, and a large page, written and opened.

    python -m bench.latency [--nodes 5000] [--rounds 5]

The least time of some rounds is shown. The last line is the time that a profile finds in a training
step's parts, by the time of the step itself. Opening needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from bench.report import duration
from bench.training import batches
from bench.workloads import mlp
from staticnet.plan.planner import make_plan
from staticnet.report import document, document_page

DRAWN = "new Promise((done) => requestAnimationFrame(() => setTimeout(() => done())))"


def least(act: Callable[[], Any], rounds: int) -> float:
    """The least seconds that an act took."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return min(times)


def python(*arguments: str) -> Callable[[], Any]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def large_graph(nodes: int) -> sn.Graph:
    """Elementwise nodes that read others not far above them."""
    rng = np.random.default_rng(0)
    made = [sn.placeholder((2,), name="x")]
    for i in range(nodes - 1):
        a, b = (made[-1 - rng.integers(min(len(made), 40))] for _ in range(2))
        made.append((sn.add, sn.multiply, sn.subtract, sn.maximum)[i % 4](a, b))
    return sn.Graph("large", made[:1], made[1:])


def opening(text: str, rounds: int) -> float | None:
    """The least seconds until Chromium has drawn a page; None without it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        file.write_text(text, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        return least(lambda: (page.goto(file.as_uri()), page.evaluate(DRAWN)), rounds)


def profiled_share(rounds: int) -> float:
    """The seconds of a profile by those of a step, both medians."""
    data = mlp.make_data(0)
    step = mlp.staticnet_step(data, "auto")
    feeds = batches(data, mlp.BATCH)[0]
    times = [least(lambda: step(*feeds), 1) for _ in range(10 * rounds)]
    return float(step.profile(*feeds, repeat=10 * rounds).seconds / statistics.median(times))


def measure(nodes: int, rounds: int) -> Iterator[tuple[str, str]]:
    """What is waited for, and how long."""
    yield "import staticnet", duration(least(python("-c", "import staticnet"), rounds))
    yield "staticnet doctor", duration(least(python("-m", "staticnet", "doctor"), rounds))
    graph = large_graph(nodes)
    told = document(graph, make_plan(graph))
    yield f"a page of {nodes} nodes", duration(least(lambda: document_page(told), rounds))
    opened = opening(document_page(told), rounds)
    yield "opening it", "needs Chromium" if opened is None else duration(opened)
    yield "profile / step of mlp", f"{profiled_share(rounds):.2f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    for what, found in measure(options.nodes, options.rounds):
        print(f"{what:24} {found}", flush=True)


if __name__ == "__main__":
    main()
