"""A comparison's rows as text: for a terminal, and for what is none."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.report.units import format_bytes, format_seconds

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
        " to ".join(map(format_seconds, v["time_interval"])),
        _told(v["speedup"], lambda x: f"{x:.3g}"),
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


def show(comparison: Any) -> None:
    """Print a comparison: drawn on a terminal, plain elsewhere."""
    if not sys.stdout.isatty():
        print(comparison)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*HEADER, title=Text(comparison.data["name"]))
    for row in comparison.data["rows"]:
        table.add_row(*map(Text, cells(row)), style=_style(row))
    console = Console()
    console.print(table)
    for note in comparison.data["notes"]:
        console.print(note, markup=False)


def _style(row: Mapping[str, Any]) -> str | None:
    if row["values"]["verdict"].startswith("the same program"):
        return "dim"
    return "bold" if row["name"] in ("dynamic", "static, all passes") else None
