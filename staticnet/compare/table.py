"""A comparison's rows as text: for a terminal, and for what is none."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.compare.result import SAME
from staticnet.report.units import format_bytes, format_seconds, two_digits

HEADER = (
    "contender", "time a step", "95 % interval", "speed-up", "verdict", "launches", "alloc.",
    "moved", "peak", "in kernels", "outside", "compile", "pays after", "ulp",
)  # fmt: skip


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row as text, in HEADER's order."""
    v = row["values"]
    return (
        row["name"],
        format_seconds(v["time"]),
        _told(v["time_interval"], lambda x: " to ".join(map(format_seconds, x))),
        _told(v["speedup"], two_digits),
        v["verdict"],
        _told(v["launches"], str),
        _told(v["allocations"], str),
        _told(v["bytes_moved"], format_bytes),
        _told(v["peak"], format_bytes),
        _told(v["device"], format_seconds),
        _told(v["host"], format_seconds),
        _told(v["compile"], format_seconds),
        _told(v["payback"], lambda x: x if isinstance(x, str) else f"{x:,}"),
        _told(v["ulp"], lambda x: f"{x:.2g}"),
    )


def shown(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], str]:
    """The rows of programs of their own; and in one line those that are the step with all passes.

    The line is "" if there are none.
    """
    same = [row["name"] for row in rows if row["values"]["verdict"] == SAME]
    passes = ", ".join(name.removeprefix("without ") for name in same)
    line = f"these passes change nothing here, the program is the same without: {passes}"
    return [row for row in rows if row["name"] not in same], line if same else ""


def _told(value: Any, text: Any) -> str:
    return "–" if value is None else str(text(value))


def plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns padded to one width, as lines."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def lines(data: Mapping[str, Any]) -> list[str]:
    """A comparison as text: what there is to doubt, the figures, and how to read them."""
    rows, same = shown(data["rows"])
    table = plain(HEADER, list(map(cells, rows)))
    return [data["name"], *data["warnings"], "", *table, "", *filter(None, [same, *data["notes"]])]


def show(comparison: Any) -> None:
    """Print a comparison: drawn on a terminal, plain elsewhere."""
    if not sys.stdout.isatty():
        print(comparison)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows, same = shown(comparison.data["rows"])
    table = Table(*HEADER, title=Text(comparison.data["name"]))
    for row in rows:
        table.add_row(*map(Text, cells(row)), style=_style(row))
    console = Console()
    for warning in comparison.data["warnings"]:
        console.print(warning, markup=False, style="bold yellow")
    console.print(table)
    for note in filter(None, [same, *comparison.data["notes"]]):
        console.print(note, markup=False)


def _style(row: Mapping[str, Any]) -> str | None:
    return "bold" if row["name"] in ("dynamic", "static, all passes") else None
