"""Tables, Markdown and a plot, from a file of results alone.

python -m bench.report FILE [--markdown OUT.md] [--plot OUT.png] [--against OLD [--tolerance 1.10]]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.program import OURS
from staticnet.compare import stats
from staticnet.compare.table import plain

Record = dict[str, Any]
SHOWN = 6
HEADER = (
    *("workload", "size", "mode", "contender", "median", "quartiles", "rate"),
    "vs best other, same mode",
    "run vs best other's call",
)


@dataclass(frozen=True)
class Comparison:
    """A contender's time over that of the fastest other."""

    ratio: stats.Interval
    other: str

    def text(self) -> str:
        """Verdict, ratio, interval, and who the other is."""
        r = self.ratio
        bounds = f"[{_number(r.low)}, {_number(r.high)}]"
        return f"{stats.verdict(r)}: {_number(r.value)} {bounds} of {self.other}"


@dataclass(frozen=True)
class Row:
    """What is told of one workload, size, mode and contender.

    `same_mode` compares with the best other; of `run`, `with_calls` does with the best other that
    is called step by step. `share_of_copy` is the bandwidth over that of the best copy, `copy`.
    """

    workload: str
    size: int
    mode: str
    contender: str
    status: str
    reason: str
    low: float = 0.0
    median: float = 0.0
    high: float = 0.0
    same_mode: Comparison | None = None
    with_calls: Comparison | None = None
    bytes_per_second: float = 0.0
    flops_per_second: float = 0.0
    share_of_copy: float | None = None
    copy: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row as text, in HEADER's order."""
        size = human(self.size) if self.size else ""
        start = (self.workload, size, self.mode, self.contender)
        if self.status != "ok":
            return (*start, self.status.upper(), "", "", " ".join(self.reason.split())[:70], "")
        spread = f"{duration(self.low)} - {duration(self.high)}"
        compared = [c.text() if c else "" for c in (self.same_mode, self.with_calls)]
        return (*start, duration(self.median), spread, self._rate(), *compared)

    def _rate(self) -> str:
        if self.flops_per_second:
            return f"{self.flops_per_second / 1e9:.1f} GFLOP/s"
        if not self.bytes_per_second:
            return ""
        told = f"{self.bytes_per_second / 1e9:.1f} GB/s"
        return told if self.share_of_copy is None else f"{told} ({self.share()} of {self.copy})"

    def share(self) -> str:
        """The share of the copy, in percent."""
        return f"{self.share_of_copy or 0:.0%}"


def _number(x: float) -> str:
    """Two decimals, more below 0.1."""
    return f"{x:.2f}" if x >= 0.1 else f"{x:.2g}"


def read(path: Path) -> list[Record]:
    """The records of a file of results; a last one that was broken off is none."""
    *lines, last = path.read_text().split("\n")
    found = [json.loads(line) for line in lines if line.strip()]
    with contextlib.suppress(json.JSONDecodeError):
        found += [json.loads(last)] if last.strip() else []
    return found


def rows(records: Iterable[Record]) -> list[Row]:
    """One row for each result line, in the file's order of workloads and sizes."""
    places: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        if record["kind"] == "result":
            places.setdefault((record["workload"], record["size"]), []).append(record)
    return [
        _row(record, place)
        for place in places.values()
        for mode in dict.fromkeys(record["mode"] for record in place)
        for record in sorted(place, key=lambda r: r["contender"] != OURS)
        if record["mode"] == mode
    ]


def _row(record: Record, place: Sequence[Record]) -> Row:
    """`place` holds all results of the same workload and size."""
    names = ("workload", "size", "mode", "contender", "status", "reason")
    start = {name: record[name] for name in names}
    if record["status"] != "ok":
        return Row(**start)
    low, median, high = stats.quartiles(record["samples"])
    rates = {
        "low": low,
        "median": median,
        "high": high,
        "bytes_per_second": record["bytes"] / median,
        "flops_per_second": record["flops"] / median,
    }
    if is_copy(record["contender"]):
        return Row(**start, **rates)
    copy, bandwidth = _best_copy(place)
    return Row(
        **start,
        **rates,
        same_mode=_compare(record, place, record["mode"]),
        with_calls=_compare(record, place, "call") if record["mode"] == "run" else None,
        share_of_copy=rates["bytes_per_second"] / bandwidth if bandwidth else None,
        copy=copy,
    )


def _compare(record: Record, place: Sequence[Record], mode: str) -> Comparison | None:
    """With the fastest other contender in a mode, if there is one."""
    others = {
        r["contender"]: r["samples"]
        for r in place
        if r["status"] == "ok"
        and r["mode"] == mode
        and r["contender"] != record["contender"]
        and not is_copy(r["contender"])
    }
    if not others:
        return None
    ratio = stats.ratio_to_best(record["samples"], list(others.values()))
    return Comparison(ratio, min(others, key=lambda c: stats.median(others[c])))


def _best_copy(place: Sequence[Record]) -> tuple[str, float]:
    """The copy with the least median, and its bytes a second; 0 if there is none."""
    found = {
        r["contender"]: r["bytes"] / stats.median(r["samples"])
        for r in place
        if is_copy(r["contender"]) and r["status"] == "ok"
    }
    return max(found.items(), key=lambda item: item[1], default=("", 0.0))


def is_copy(contender: str) -> bool:
    """Whether a contender is a copy, of this version or of an older one."""
    return contender.startswith("copy.")


def table(records: Iterable[Record]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and cells; a last column that is empty throughout is left out."""
    cells = [row.cells() for row in rows(records)]
    if any(row[-1] for row in cells):
        return HEADER, cells
    return HEADER[:-1], [row[:-1] for row in cells]


def show(records: Sequence[Record], say: Callable[[str], None]) -> None:
    """Print the tables: drawn on a terminal, plain elsewhere."""
    header, cells = table(records)
    if sys.stdout.isatty():
        _rich(header, cells)
    else:
        say("\n".join(plain(header, cells)))
    for line in (*cautions(records), *first_calls(records)):
        say(line)


def cautions(records: Sequence[Record]) -> list[str]:
    """What to know before believing the table: few rounds, warm-ups cut short, outliers."""
    return [*few_rounds(records), *unsettled(records), *outliers(records)]


def few_rounds(records: Iterable[Record]) -> list[str]:
    """A line on where there were too few rounds, if there are such places."""
    places = {
        describe(r["workload"], r["size"]): len(r["samples"])
        for r in records
        if r["kind"] == "result" and r["status"] == "ok" and len(r["samples"]) < stats.ENOUGH
    }
    if not places:
        return []
    named = ", ".join(f"{place} ({rounds})" for place, rounds in places.items())
    return [f"fewer than {stats.ENOUGH} rounds are too few for intervals to be trusted: {named}"]


def unsettled(records: Iterable[Record]) -> list[str]:
    """A line on what was still changing when its warm-up ended, if there is any."""
    named = [_named(r) for r in _timed(records) if not r.get("warm_up", {}).get("settled", True)]
    return [f"still changing when the warm-up ended: {_first(named)}"] if named else []


def outliers(records: Iterable[Record]) -> list[str]:
    """A line on whose samples are often far too slow: something else ran, or it is uneven."""
    found = [(stats.outliers(r["samples"]), r) for r in _timed(records)]
    many = [(o.share, o.worst, _named(r)) for o, r in found if o.share > stats.OFTEN]
    told = [
        f"{name} ({share:.0%} of the samples, the slowest {worst:.1f} medians)"
        for share, worst, name in sorted(many, reverse=True)
    ]
    return [f"many outliers: {_first(told)}"] if told else []


def _first(names: Sequence[str]) -> str:
    """The first SHOWN names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _timed(records: Iterable[Record]) -> list[Record]:
    return [r for r in records if r["kind"] == "result" and r["status"] == "ok"]


def _named(record: Record) -> str:
    place = describe(record["workload"], record["size"], record["mode"])
    return f"{place} {record['contender']}"


def _rich(header: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header)
    for i, row in enumerate(cells):
        last = i + 1 == len(cells) or cells[i + 1][:3] != row[:3]
        style = "bold" if row[3] == OURS else None
        table.add_row(*row, style=style, end_section=last)
    Console().print(table)


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


def describe(workload: str, size: int, mode: str = "") -> str:
    """A place in the table, in words."""
    return " ".join(part for part in (workload, human(size) if size else "", mode) if part)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of a file, write what else is asked for; 1 if it is worse than another."""
    from bench import changes, figure

    parser = argparse.ArgumentParser(prog="python -m bench.report")
    parser.add_argument("file", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--tolerance", type=float, default=changes.TOLERANCE)
    options = parser.parse_args(arguments)
    records = read(options.file)
    show(records, print)
    if options.markdown:
        options.markdown.write_text(figure.markdown(records))
    if options.plot:
        figure.plot(records, options.plot)
    if options.against:
        return int(changes.show(read(options.against), records, print, options.tolerance))
    return 0


if __name__ == "__main__":
    sys.exit(main())
