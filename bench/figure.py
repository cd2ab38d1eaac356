"""A Markdown page and a plot of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import report

Record = dict[str, Any]


def markdown(records: Sequence[Record]) -> str:
    """Environment, table, first calls and how to read them, as a page."""
    about = records[0]
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    dirty = " with changes" if about["dirty"] else ""
    lines = [
        "# Benchmark",
        "",
        f"{about['date']}, commit {about['commit']}{dirty}.  ",
        f"{about['cpu']}, {about['cores']} cores, {about['threads']} threads for each contender, "
        f"{report.human(about['ram_bytes'] or 0)} of memory, {about['os']}.  ",
        f"Python {about['python']}; {versions}.",
        "",
        "A median is that of the rounds' medians; `vs best other` is it over the fastest other",
        "contender's, with its 95 % bootstrap interval over rounds. An interval that spans 1 is",
        "no difference.",
        "",
        "| " + " | ".join(report.HEADER) + " |",
        "|" + "---|" * len(report.HEADER),
    ]
    for row in report.rows(records):
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in row.cells()) + " |")
    calls = report.first_calls(records)
    if calls:
        lines += ["", "## First call and memory", "", *(f"- {line}" for line in calls)]
    return "\n".join([*lines, ""])


def plot(records: Sequence[Record], path: Path) -> None:
    """Kernels: bytes or operations a second over size; networks: seconds a step. A panel each."""
    from matplotlib.figure import Figure

    rows = [row for row in report.rows(records) if row.status == "ok"]
    panels = list(dict.fromkeys((row.workload, row.mode) for row in rows))
    across = min(3, max(1, len(panels)))
    down = max(1, -(-len(panels) // across))
    figure = Figure(figsize=(5 * across, 3.6 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for ax, (workload, mode) in zip(axes, panels, strict=False):
        chosen = [row for row in rows if (row.workload, row.mode) == (workload, mode)]
        ax.set_title(f"{workload}, {mode}")
        if chosen[0].size:
            _curves(ax, chosen)
        else:
            _bars(ax, chosen)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    figure.savefig(path, dpi=120)


def _curves(ax: Any, rows: Sequence[report.Row]) -> None:
    for contender in dict.fromkeys(row.contender for row in rows):
        own = [row for row in rows if row.contender == contender]
        rates = [(row.flops_per_second or row.bytes_per_second) / 1e9 for row in own]
        copy = contender.startswith("copy")
        style = {"linestyle": "--", "color": "0.6"} if copy else {"marker": "o"}
        ax.plot([row.size for row in own], rates, label=contender, **style)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlabel("bytes of one array")
    ax.set_ylabel("GFLOP/s" if rows[0].flops_per_second else "GB/s")
    ax.legend(fontsize="small")


def _bars(ax: Any, rows: Sequence[report.Row]) -> None:
    names = [row.contender for row in rows]
    medians = [row.median * 1e6 for row in rows]
    below = [(row.median - row.low) * 1e6 for row in rows]
    above = [(row.high - row.median) * 1e6 for row in rows]
    ax.barh(names, medians, xerr=[np.maximum(below, 0), np.maximum(above, 0)], color="0.7")
    ax.invert_yaxis()
    ax.set_xlabel("microseconds a step (quartiles)")
