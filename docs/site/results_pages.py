"""`{results} FILE`: a table of what was measured from bench/results, ours beside the best other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bench import memory, report
from bench.program import OURS

FOLDER = Path(__file__).parents[2] / "bench" / "results"
MEASURED = {"flops", "fma", "nodes", "peak_bytes", "compile_seconds"}  # no part of a case's name
HEADER = ("what", "staticnet", "fastest other", "its time", "ratio")


def table(file: Path) -> str:
    """The file's results in Markdown, below where and when they were measured."""
    first = json.loads(file.read_text(encoding="utf-8").split("\n", 1)[0])
    header: tuple[str, ...] = HEADER
    rows: Iterator[tuple[str, ...]]
    if "records" not in first:
        records = report.read(file)
        about, rows = records[0], _reported(records)
    elif any("rss_growth" in record for record in first["records"]):
        about, header, rows = first["about"], memory.HEADER, iter(memory.table(first["records"]))
    else:
        about, rows = first["about"], _samples(first["records"])
    lines = [" | ".join(header), " | ".join(["---"] * len(header)), *(" | ".join(r) for r in rows)]
    return "\n".join([_about(about), "", *(f"| {line} |" for line in lines), ""])


def _about(record: dict[str, Any]) -> str:
    peers = ("numpy", "torch", "jax")
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in peers)
    return (
        f"{record['cpu']}, {record['threads']} threads, {record['date'][:10]}, commit "
        f"{record['commit'][:7]}; {versions}."
    )


def _reported(records: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The rows of a file of `staticnet bench`."""
    rows = [row for row in report.rows(records) if row.status == "ok"]
    times = {(r.workload, r.size, r.mode, r.contender): r.median for r in rows}
    for row in rows:
        compared = row.same_mode
        if row.contender != OURS or compared is None:
            continue
        size = f" {report.human(row.size)}" if row.size else ""
        theirs = times[row.workload, row.size, row.mode, compared.other]
        ratio = compared.ratio
        yield (
            f"{row.workload}{size}, {row.mode}",
            report.duration(row.median),
            compared.other,
            report.duration(theirs),
            f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        )


def _samples(records: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The rows of a file of samples: `{"seconds": {contender: [times]}, what it is of}`."""
    for record in records:
        middle = {name: median(times) for name, times in record["seconds"].items() if times}
        others = {name: time for name, time in middle.items() if name not in (OURS, "fma")}
        if not others or OURS not in middle:
            continue
        best = min(others, key=lambda name: others[name])
        ours = middle[OURS]
        told = (report.duration(ours), best, report.duration(others[best]))
        yield (_case(record), *told, f"{ours / others[best]:.2f}")


def _case(record: dict[str, Any]) -> str:
    """What a record is of, in one line."""
    known = {name: v for name, v in record.items() if name not in MEASURED}
    flat = {**known.pop("shape", {}), **known} if isinstance(record.get("shape"), dict) else known
    return ", ".join(
        v if isinstance(v, str) else f"{name} {v}"
        for name, v in flat.items()
        if isinstance(v, (str, int))
    )


class Results(SphinxDirective):
    """The table of one file."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """Made anew whenever the file is another."""
        file = FOLDER / self.arguments[0]
        self.env.note_dependency(str(file))
        return self.parse_text_to_nodes(table(file))


def setup(app: Sphinx) -> dict[str, bool]:
    """The directive."""
    app.add_directive("results", Results)
    return {"parallel_read_safe": True}
