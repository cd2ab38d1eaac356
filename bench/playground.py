"""The playground as it is used: frames in Chromium, many tabs, and clicks for an hour.

    python -m bench.playground frames [--seconds 10] [--panels]
    python -m bench.playground tabs [--tabs 8] [--seconds 5] [--rounds 5]
    python -m bench.playground clicks [--minutes 60]

`frames` counts what the page draws while it trains; with `--panels` it shows code, graph and
the derivative of a weight meanwhile. `tabs` has many connections ask for frames as a page does, and
tells the steps a second of all beside those of as many threads that do nothing but train. `clicks`
clicks at random, and tells the memory of server and page, the threads, and what the page logs as an
error.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

PACES = ("epoch", "full")
FRAME = 1 / 60
COUNT = """
(() => {
  window.drawn = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    if (text === '{"kind":"drawn"}') window.drawn.push(performance.now());
    return send.call(this, text);
  };
})()
"""


@contextmanager
def served() -> Iterator[tuple[str, int]]:
    """A server in a process of its own.  -> its address, and the process' id"""
    command = [sys.executable, "-m", "staticnet", "playground", "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+/", process.stdout.readline())
        assert found, "the server did not say where it is"
        yield found.group(), process.pid
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def browsed() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )


def compiled(page: Any) -> None:
    """Wait until the step is there."""
    page.locator("#cost", has_text=re.compile("s$")).wait_for()


def frames(options: argparse.Namespace) -> dict[str, Any]:
    """Frames a second in a page that trains, for each pace, second by second."""
    found: dict[str, Any] = {}
    with served() as (address, _), browsed() as browser:
        for pace in PACES:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.add_init_script(COUNT)
            page.goto(f"{address}#pace={pace}")
            compiled(page)
            if options.panels:
                for name in ("code", "graph"):
                    page.click(f"#{name}-panel summary")
                page.locator("#code pre").wait_for()
                page.locator(".weights button").first.click()
                page.evaluate("scrollTo(0, 0)")
            page.click("#play")
            page.wait_for_timeout(2000)
            page.evaluate("drawn.length = 0")
            page.wait_for_timeout(1000 * options.seconds)
            times = np.array(page.evaluate("drawn")) / 1000
            steps = page.inner_text("#per-second")
            page.close()
            each = [int(n) for n in np.bincount((times - times[0]).astype(int))][: options.seconds]
            gaps = np.diff(times) * 1000
            print(
                f"{pace}: {np.median(each):.0f} frames a second (least {min(each)}), longest gap "
                f"{gaps.max():.0f} ms, {steps} steps a second"
            )
            found[pace] = {"frames": each, "gaps_ms": [round(x, 2) for x in gaps.tolist()]}
    return found


class Tab(threading.Thread):
    """A connection that asks for frames as a page does, and hears how fast its session trains."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address.rstrip("/")
        self.steps = 0.0
        self.ready, self.ended = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        """Train at full speed, and ask for a frame after each, until `ended`."""
        from websockets.sync.client import connect

        tab = f"{self.address.replace('http', 'ws')}/tab"
        with connect(tab, origin=self.address, max_size=None) as connection:  # type: ignore[arg-type]
            connection.send(json.dumps({"kind": "open", "query": "pace=full", "serial": 1}))
            names: list[str] = []
            while not self.ended.is_set():
                heard = connection.recv()
                if not isinstance(heard, str):
                    self.steps = np.frombuffer(heard[: 8 * len(names)])[names.index("steps")]
                    time.sleep(FRAME)
                    connection.send('{"kind": "drawn"}')
                    continue
                message = json.loads(heard)
                names = message.get("numbers", names)
                if message["kind"] == "compiled":
                    for kind in ("drawn", "drawn", "play"):
                        connection.send(json.dumps({"kind": kind}))
                    self.ready.set()


def alone(count: int, seconds: float) -> float:
    """Steps a second of threads that do nothing but train a default network each."""
    from staticnet.playground.config import Config
    from staticnet.playground.data import sample
    from staticnet.playground.engines import Compiled
    from staticnet.playground.model import Model

    state = Config()
    points = sample(state.dataset, state.noise, state.split, state.seed)
    engines = [Compiled(Model(state)) for _ in range(count)]
    steps = [0] * count

    def train(i: int, until: float) -> None:
        while time.perf_counter() < until:
            steps[i] += engines[i].advance(points.train, points.train_labels, 400, seconds)

    for limit in (0.5, seconds):
        steps[:] = [0] * count
        start = time.perf_counter()
        threads = [threading.Thread(target=train, args=(i, start + limit)) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(steps) / (time.perf_counter() - start)


def tabs(options: argparse.Namespace) -> dict[str, Any]:
    """Steps a second of all tabs of a server, and of as many threads without one, in turns."""
    found: dict[str, list[float]] = {"tabs": [], "threads": []}
    with served() as (address, _):
        for _ in range(options.rounds):
            open_tabs = [Tab(address) for _ in range(options.tabs)]
            for tab in open_tabs:
                tab.ready.wait(60)
            time.sleep(1.0)
            before, start = sum(tab.steps for tab in open_tabs), time.perf_counter()
            time.sleep(options.seconds)
            made, took = sum(tab.steps for tab in open_tabs) - before, time.perf_counter() - start
            for tab in open_tabs:
                tab.ended.set()
                tab.join()
            found["tabs"].append(made / took)
            time.sleep(0.5)
            found["threads"].append(alone(options.tabs, options.seconds))
    ratios = np.divide(found["tabs"], found["threads"])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    print(
        f"{options.tabs} tabs: {np.median(found['tabs']):,.0f} steps a second, threads alone "
        f"{np.median(found['threads']):,.0f}; ratio {middle:.2f} ({low:.2f} to {high:.2f})"
    )
    return found


def memory(process: int) -> tuple[float, int]:
    """MiB that a process holds, and its threads."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    numbers = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", text, re.MULTILINE))
    return int(numbers["VmRSS"]) / 1024, int(numbers["Threads"])


def click(page: Any, rng: np.random.Generator) -> None:
    """Choose something, or click somewhere; the page itself picks what is there at that moment."""
    kind, at, which = rng.integers(4), rng.random(), rng.random()
    page.evaluate(
        """([kind, at, which]) => {
          const seen = (e) => e.getClientRects().length && !e.disabled;
          if (kind === 0) {
            const selects = [...document.querySelectorAll("#settings select")].filter(seen);
            const select = selects[Math.floor(at * selects.length)];
            const options = [...select.options].filter((option) => !option.disabled);
            select.value = options[Math.floor(which * options.length)].value;
            select.dispatchEvent(new Event("change", { bubbles: true }));
          } else if (kind === 1 && which < 0.3) {
            const sliders = [...document.querySelectorAll("#sliders input")];
            const slider = sliders[Math.floor(at * sliders.length)];
            slider.value = Number(slider.min) + which / 0.3 * (slider.max - slider.min);
            slider.dispatchEvent(new Event("change", { bubbles: true }));
          } else {
            const all = [...document.querySelectorAll("button, input, summary")].filter(seen)
              .filter((e) => e.type !== "range" && e.type !== "number");
            all[Math.floor(at * all.length)].click();
          }
        }""",
        [int(kind), at, which],
    )


def clicks(options: argparse.Namespace) -> dict[str, Any]:
    """Clicks for so many minutes; each minute the memory of server and page, and the threads."""
    rng, faults, rows = np.random.default_rng(options.seed), [], []

    def fault(text: str) -> None:
        faults.append(text)
        print("error:", text, flush=True)

    with served() as (address, process), browsed() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: fault(f"{error}"))
        page.on("console", lambda message: fault(f"{message.text} {message.location}"))
        page.goto(address)
        compiled(page)
        tools = page.context.new_cdp_session(page)
        start, done = time.monotonic(), 0
        while time.monotonic() < start + 60 * options.minutes:
            click(page, rng)
            page.wait_for_timeout(1000 * options.pause)
            done += 1
            if time.monotonic() > start + 60 * len(rows):
                tools.send("HeapProfiler.collectGarbage")
                heap = tools.send("Runtime.getHeapUsage")["usedSize"] / 2**20
                rows.append([done, *memory(process), heap])
                print(
                    f"{len(rows) - 1} min: {done} clicks, server {rows[-1][1]:.0f} MiB, "
                    f"{rows[-1][2]} threads, page {heap:.1f} MiB, {len(faults)} errors, "
                    f"{page.inner_text('#said')!r}",
                    flush=True,
                )
        page.goto("about:blank")
        time.sleep(5)
        left = memory(process)
    print(
        f"{done} clicks, {len(faults)} errors; after the tab {left[0]:.0f} MiB, {left[1]} threads"
    )
    return {"rows": rows, "faults": faults, "left": left}


WAYS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "frames": frames, "tabs": tabs, "clicks": clicks,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=list(WAYS))
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tabs", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between two clicks")
    parser.add_argument("--panels", action="store_true", help="frames with all panels open")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    found = WAYS[options.way](options)
    if options.out:
        options.out.write_text(json.dumps({options.way: found}) + "\n")


if __name__ == "__main__":
    main()
