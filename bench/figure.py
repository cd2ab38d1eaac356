"""A Markdown page and a plot of results."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.program import OURS

Record = dict[str, Any]
Draw = Callable[[Any], None]  # onto matplotlib's axes
NOTES = (
    "A median is that of the rounds' medians. `vs best other, same mode` is it over the fastest",
    "other contender's, with its 95 % bootstrap interval over rounds; an interval that spans 1 is",
    "no difference. `call` feeds NumPy arrays and takes the loss of every step; `run` makes many",
    "steps at once, and `run vs best other's call` is its time a step over that of the fastest",
    "other contender that is called for each. `into` writes to memory that exists, `fresh` to a",
    "new array. Rates count the bytes that a kernel must move. A copy moves as many within as much",
    "memory, and shares are of the copy with the best median: `copy.stream` stores around the",
    "caches, the others also read the lines that they write.",
)
COLOURS = {OURS: "tab:blue", "torch": "tab:orange", "torch.compile": "tab:green", "jax": "tab:red"}
MODES = {"into": ("tab:blue", "o"), "fresh": ("tab:purple", "s")}
PANEL = (3.9, 3.2)  # inches


def markdown(records: Sequence[Record]) -> str:
    """Environment, table, first calls and how to read them, as a page."""
    header, cells = report.table(records)
    lines = [
        "# Benchmark",
        "",
        *_sittings(records),
        "",
        *NOTES,
        *report.cautions(records),
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells),
    ]
    calls = report.first_calls(records)
    if calls:
        lines += ["", "## First call and memory", "", *(f"- {line}" for line in calls)]
    return "\n".join([*lines, ""])


def _sittings(records: Sequence[Record]) -> list[str]:
    """When and where each was measured: a sitting begins with its environment."""
    machines: dict[str, list[str]] = {}
    for i, about in enumerate(records):
        if about["kind"] != "environment":
            continue
        after = itertools.takewhile(lambda r: r["kind"] != "environment", records[i + 1 :])
        names = ", ".join(dict.fromkeys(r["workload"] for r in after if r["kind"] == "result"))
        dirty = " with changes" if about["dirty"] else ""
        versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
        machine = (
            f"{about['cpu']}, {about['cores']} cores, {about['threads']} threads for each "
            f"contender, {report.human(about['ram_bytes'] or 0)} of memory, {about['os']}.  \n"
            f"Python {about['python']}; {versions}."
        )
        told = f"{about['date']}, commit {about['commit']}{dirty}: {names}.  "
        machines.setdefault(machine, []).append(told)
    return [line for machine, told in machines.items() for line in (*told, machine)]


def plot(records: Sequence[Record], path: Path) -> None:
    """Write a picture of the results."""
    draw(records).savefig(path, dpi=110)


def draw(records: Sequence[Record]) -> Any:
    """Networks: time a step. Kernels: ratio to the best other and rates, over size."""
    from matplotlib.figure import Figure

    rows = [row for row in report.rows(records) if row.status == "ok"]
    lines = _bars_of_networks(rows), *_lines_of_kernels(rows)
    panels = [line for line in lines if line]
    across = max((len(line) for line in panels), default=1)
    down = max(len(panels), 1)
    figure = Figure(figsize=(PANEL[0] * across, PANEL[1] * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    for i, line in enumerate(panels):
        for ax, fill in zip(axes[i], line, strict=False):
            ax.set_axis_on()
            fill(ax)
    return figure


def _bars_of_networks(rows: Sequence[report.Row]) -> list[Draw]:
    """A panel for each network and mode."""
    panels: dict[tuple[str, str], list[report.Row]] = {}
    for row in rows:
        if not row.size:
            panels.setdefault((row.workload, row.mode), []).append(row)
    return [functools.partial(_bars, rows=panel) for panel in panels.values()]


def _lines_of_kernels(rows: Sequence[report.Row]) -> list[list[Draw]]:
    """Three lines of panels, a column for each kernel: ratios, then the rates of each mode."""
    kernels = [row for row in rows if row.size]
    columns = {
        name: [row for row in kernels if row.workload == name]
        for name in dict.fromkeys(row.workload for row in kernels)
    }
    drawn = [[functools.partial(_ratios, rows=column) for column in columns.values()]]
    for mode in dict.fromkeys(row.mode for row in kernels):
        drawn.append(
            [functools.partial(_rates, rows=column, mode=mode) for column in columns.values()]
        )
    return drawn


def _bars(ax: Any, rows: Sequence[report.Row]) -> None:
    ax.set_title(f"{rows[0].workload}, {rows[0].mode}: time a step")
    medians = [row.median * 1e6 for row in rows]
    errors = [
        [max(row.median - row.low, 0) * 1e6 for row in rows],
        [max(row.high - row.median, 0) * 1e6 for row in rows],
    ]
    names = [row.contender for row in rows]
    colours = [COLOURS[OURS] if name == OURS else "0.75" for name in names]
    bars = ax.barh(names, medians, xerr=errors, color=colours, ecolor="0.35")
    labels = [f" {report.duration(row.median)}" for row in rows]
    ax.bar_label(bars, labels, label_type="center", fontsize="small")
    if max(medians) > 10 * min(medians):
        ax.set_xscale("log")
        ax.set_xlim(left=min(medians) / 4)
    ax.invert_yaxis()
    ax.set_xlabel("microseconds (median and quartiles)")


def _ratios(ax: Any, rows: Sequence[report.Row]) -> None:
    """staticnet's time over the best other's, with its interval, by size."""
    ax.set_title(f"{rows[0].workload}: {OURS} / best other")
    for mode, (colour, marker) in MODES.items():
        own = [r for r in rows if (r.contender, r.mode) == (OURS, mode) and r.same_mode]
        if not own:
            continue
        ratios = [r.same_mode.ratio for r in own if r.same_mode]
        sizes = [r.size for r in own]
        ax.plot(sizes, [r.value for r in ratios], color=colour, marker=marker, label=mode)
        low, high = [r.low for r in ratios], [r.high for r in ratios]
        ax.fill_between(sizes, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.axhline(1.0, color="black", linewidth=1.5)
    _by_size(ax, rows)
    ax.set_yscale("log", base=2)
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    bottom, top = ax.get_ylim()
    ax.set_ylim(min(bottom, 0.5), max(top, 2))
    ax.axhspan(ax.get_ylim()[0], 1.0, color="tab:green", alpha=0.08, linewidth=0)
    ax.set_ylabel("time ratio (below 1: faster)")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small")


def _rates(ax: Any, rows: Sequence[report.Row], mode: str) -> None:
    """Every contender's rate by size; the best copy's beside them."""
    own = [row for row in rows if row.mode == mode]
    copies = [row for row in rows if report.is_copy(row.contender)]
    if not own:
        ax.set_axis_off()
        return
    ax.set_title(f"{own[0].workload}, {mode}")
    for contender in dict.fromkeys(row.contender for row in own if row not in copies):
        line = [row for row in own if row.contender == contender]
        rates = [(row.flops_per_second or row.bytes_per_second) / 1e9 for row in line]
        colour = COLOURS.get(contender)
        ax.plot([r.size for r in line], rates, label=contender, color=colour, marker="o", ms=4)
    best: dict[int, float] = {}
    for row in copies:
        best[row.size] = max(best.get(row.size, 0.0), row.bytes_per_second / 1e9)
    if best:
        ax.plot(list(best), list(best.values()), "--", color="0.4", label="best copy")
    _by_size(ax, rows)
    ax.set_yscale("log")
    ax.set_ylabel("GFLOP/s" if own[0].flops_per_second else "GB/s")
    ax.legend(fontsize="x-small")


def _by_size(ax: Any, rows: Sequence[report.Row]) -> None:
    """A logarithmic axis with a tick at every other size, all sizes of the kernel in view."""
    sizes = sorted({row.size for row in rows})
    ax.set_xscale("log", base=2)
    ax.set_xlim(sizes[0] / 2, sizes[-1] * 2)
    ax.set_xticks(sizes[::2], [report.human(size) for size in sizes[::2]], fontsize="small")
    ax.grid(alpha=0.3)
    ax.set_xlabel("size of one array")
