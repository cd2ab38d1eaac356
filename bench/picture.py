"""How long the page of a large graph takes until its picture is there.

    python -m bench.picture [--nodes 10000] [--times 7] [--out bench/results/picture.json]

The graph has 10,000 nodes by default, in no modules; its boxes are closed. Needs Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

import staticnet as sn
from bench import environment
from staticnet.report import graph_html

MAKERS = (sn.add, sn.multiply, sn.subtract, sn.maximum)


def graph_of(size: int) -> sn.Graph:
    """Elementwise nodes that read others not far above them."""
    rng = np.random.default_rng(0)
    nodes = [sn.placeholder((2,), name="x")]
    while len(nodes) < size:
        a, b = (nodes[-1 - rng.integers(min(len(nodes), 40))] for _ in range(2))
        node = MAKERS[rng.integers(len(MAKERS))](a, b)
        if all(node is not other for other in nodes[-50:]):
            nodes.append(node)
    return sn.Graph("big", nodes[:1], nodes[1:])


def main() -> None:
    """Open the page several times, and print the median of the seconds."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    graph = graph_of(options.nodes)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    seconds = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        file.write_text(graph_html(graph), encoding="utf-8")
        size = file.stat().st_size
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(options.times):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(file.as_uri(), wait_until="commit")
            page.wait_for_selector("#view svg .item", state="attached")
            seconds.append(page.evaluate("performance.now()") / 1000)
            page.close()
        browser.close()
    spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
    print(f"{len(graph.nodes):,} nodes, {size / 1e6:.1f} MB: {median(seconds):.2f} s ({spread}),")
    if options.out:
        record = {"nodes": len(graph.nodes), "bytes": size, "seconds": seconds}
        made = {"about": environment.describe(2), "records": [record]}
        options.out.write_text(json.dumps(made) + "\n", encoding="utf-8")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
