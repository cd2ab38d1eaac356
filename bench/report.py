"""Tables, Markdown and a plot, from a file of results alone.

python -m bench.report FILE [--markdown OUT.md] [--plot OUT.png] [--against OLD]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import stats
from bench.program import OURS

Record = dict[str, Any]
ENOUGH = 6
HEADER = ("workload", "size", "mode", "contender", "median", "quartiles", "rate", "vs best other")


@dataclass(frozen=True)
class Row:
    """What is told of one workload, size, mode and contender."""

    workload: str
    size: int
    mode: str
    contender: str
    status: str
    reason: str
    low: float = 0.0
    median: float = 0.0
    high: float = 0.0
    ratio: stats.Interval | None = None
    against: str = ""
    bytes_per_second: float = 0.0
    flops_per_second: float = 0.0
    share_of_copy: float | None = None

    def cells(self) -> tuple[str, ...]:
        """The row as text, in HEADER's order."""
        size = human(self.size) if self.size else ""
        start = (self.workload, size, self.mode, self.contender)
        if self.status != "ok":
            return (*start, self.status.upper(), "", "", " ".join(self.reason.split())[:70])
        spread = f"{duration(self.low)} - {duration(self.high)}"
        return (*start, duration(self.median), spread, self._rate(), self._comparison())

    def _rate(self) -> str:
        if self.flops_per_second:
            return f"{self.flops_per_second / 1e9:.1f} GFLOP/s"
        if not self.bytes_per_second:
            return ""
        share = f" ({self.share_of_copy:.0%} of copy)" if self.share_of_copy is not None else ""
        return f"{self.bytes_per_second / 1e9:.1f} GB/s{share}"

    def _comparison(self) -> str:
        if self.ratio is None:
            return ""
        r = self.ratio
        numbers = f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}] of {self.against}"
        return f"{stats.verdict(r)}: {numbers}"


def read(path: Path) -> list[Record]:
    """The records of a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def rows(records: Iterable[Record]) -> list[Row]:
    """One row for each result line, in the file's order of workloads and sizes."""
    results = [r for r in records if r["kind"] == "result"]
    groups: dict[tuple[str, int, str], list[Record]] = {}
    for record in results:
        key = (record["workload"], record["size"], record["mode"])
        groups.setdefault(key, []).append(record)
    return [
        _row(record, group, _copy_bandwidth(results, record))
        for group in groups.values()
        for record in sorted(group, key=lambda r: r["contender"] != OURS)
    ]


def _row(record: Record, group: Sequence[Record], copy: float | None) -> Row:
    names = ("workload", "size", "mode", "contender", "status", "reason")
    start = {name: record[name] for name in names}
    if record["status"] != "ok":
        return Row(**start)
    low, median, high = stats.quartiles(record["samples"])
    is_copy = record["contender"].startswith("copy")
    others = [
        r
        for r in group
        if r["status"] == "ok" and r is not record and not r["contender"].startswith("copy")
    ]
    ratio, against = None, ""
    if others and not is_copy:
        ratio = stats.ratio_to_best(record["samples"], [r["samples"] for r in others])
        best = min(others, key=lambda r: stats.median_interval(r["samples"]).value)
        against = best["contender"]
    bandwidth = record["bytes"] / median
    return Row(
        **start,
        low=low,
        median=median,
        high=high,
        ratio=ratio,
        against=against,
        bytes_per_second=bandwidth,
        flops_per_second=record["flops"] / median,
        share_of_copy=bandwidth / copy if copy and not is_copy else None,
    )


def _copy_bandwidth(results: Sequence[Record], record: Record) -> float | None:
    """The best copy's bytes a second for the workload and size of a record."""
    found = [
        r["bytes"] / stats.quartiles(r["samples"])[1]
        for r in results
        if r["contender"].startswith("copy")
        and r["status"] == "ok"
        and (r["workload"], r["size"]) == (record["workload"], record["size"])
    ]
    return max(found, default=None)


def show(records: Sequence[Record], say: Callable[[str], None]) -> None:
    """Print the tables: drawn on a terminal, plain elsewhere."""
    cells = [row.cells() for row in rows(records)]
    if sys.stdout.isatty():
        _rich(cells)
    else:
        say("\n".join(plain(HEADER, cells)))
    fewest = min(
        (len(r["samples"]) for r in records if r.get("status") == "ok" and "samples" in r),
        default=ENOUGH,
    )
    if fewest < ENOUGH:
        say(f"{fewest} rounds are too few for intervals to be trusted; use {ENOUGH} or more")
    say("\n".join(first_calls(records)))


def _rich(cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*HEADER)
    for i, row in enumerate(cells):
        last = i + 1 == len(cells) or cells[i + 1][:3] != row[:3]
        style = "bold" if row[3] == OURS else None
        table.add_row(*row, style=style, end_section=last)
    Console().print(table)


def plain(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Columns padded to one width, as lines."""
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [header, ["-" * width for width in widths], *cells]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def first_calls(records: Iterable[Record]) -> list[str]:
    """Compile times and memory, a line each."""
    lines = []
    for r in records:
        if r["kind"] != "first_call":
            continue
        start = f"{r['workload']} first call, {r['cache']} cache, {r['contender']}: "
        if r["status"] != "ok":
            lines.append(f"{start}{r['status']}: {' '.join(r['reason'].split())[:100]}")
            continue
        told = {"resident growth": r["memory"]["rss_growth"]} | r["memory"]["reported"]
        memory = ", ".join(f"{name} {human(size)}" for name, size in told.items())
        times = f"{r['first_call_s']:.2f} s (and {r['import_s']:.2f} s of import)"
        lines.append(f"{start}{times}; {memory}")
    return lines


def changes(old: Iterable[Record], new: Iterable[Record]) -> list[tuple[Record, Any, Any]]:
    """Results whose medians' intervals do not overlap: the new record, the old and new median."""

    def key(r: Record) -> tuple[Any, ...]:
        return r["workload"], r["size"], r["mode"], r["contender"]

    before = {key(r): r for r in old if r["kind"] == "result" and r["status"] == "ok"}
    found = []
    for record in new:
        if record["kind"] != "result" or record["status"] != "ok" or key(record) not in before:
            continue
        was = stats.median_interval(before[key(record)]["samples"])
        now = stats.median_interval(record["samples"])
        if was.high < now.low or now.high < was.low:
            found.append((record, was, now))
    return found


def show_changes(old: Sequence[Record], new: Sequence[Record], say: Callable[[str], None]) -> None:
    """Print what became slower, then what became faster."""
    for name in ("cpu", "threads", "python", "versions"):
        if old[0].get(name) != new[0].get(name):
            say(f"not the same {name}: {old[0].get(name)} before, {new[0].get(name)} now")
    found = changes(old, new)
    for title, slower in (("slower", True), ("faster", False)):
        chosen = [c for c in found if (c[2].value > c[1].value) == slower]
        say(f"{title} than before: {len(chosen)}")
        for r, was, now in chosen:
            size = f" {human(r['size'])}" if r["size"] else ""
            what = f"{r['workload']}{size} {r['mode']} {r['contender']}"
            factor = max(now.value / was.value, was.value / now.value)
            times = f"{duration(was.value)} -> {duration(now.value)}"
            say(f"  {what}: {times} ({factor:.2f}x {title})")


def human(size: int) -> str:
    """Bytes in the largest binary unit that leaves at least 1."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if abs(size) >= scale:
            return f"{size / scale:.4g} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """Seconds with three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of a file, and write what else is asked for."""
    from bench import figure

    parser = argparse.ArgumentParser(prog="python -m bench.report")
    parser.add_argument("file", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args(arguments)
    records = read(options.file)
    show(records, print)
    if options.markdown:
        options.markdown.write_text(figure.markdown(records))
    if options.plot:
        figure.plot(records, options.plot)
    if options.against:
        show_changes(read(options.against), records, print)


if __name__ == "__main__":
    main()
