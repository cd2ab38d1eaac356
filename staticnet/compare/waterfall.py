"""The picture: time a step from dynamic execution down, and what leaving each pass out costs."""

from __future__ import annotations

import importlib.util
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.compare.result import DYNAMIC, MANY, PEER, WITHOUT
from staticnet.compare.table import shown
from staticnet.errors import DependencyError
from staticnet.ir.hints import install
from staticnet.report.units import format_seconds

INK, QUIET, BLUE, GREEN, GREY = "#010101", "#020202", "#0072b2", "#00795a", "#9aa4b0"
# drawn in colours of its own, written in those of the page that shows it
_PAGE_COLOURS = {INK: "currentColor", QUIET: "var(--quiet, #57606a)"}
_ROW = 0.34  # inches
_THAN_ALL = " than all passes"


def draw(comparison: Mapping[str, Any]) -> Any:
    """A matplotlib figure of two panels; dots are medians, lines their 95 % intervals.

    Passes that change nothing have no dot: they are named below.

    Raises:
        DependencyError: if matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise DependencyError(f"matplotlib, which draws it, not found; {install('examples')}")
    from matplotlib.figure import Figure

    kinds = {c["name"]: c for c in comparison["raw"]["contenders"]}
    different, same = shown(comparison["rows"])
    rows = [dict(row, kind=kinds[row["name"]]["kind"]) for row in different]
    steps = [row for row in rows if row["kind"] != WITHOUT]
    left_out = [row for row in rows if row["kind"] == WITHOUT]
    heights = [len(steps) + 2.2, len(left_out) + 2.2]
    figure = Figure(figsize=(9, _ROW * sum(heights) + 0.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=heights)
    _times(upper, steps)
    _effects(lower, left_out)
    figure.suptitle(comparison["name"], color=INK, parse_math=False)
    for ax in (upper, lower):
        _finish(ax)
    if same:
        figure.supxlabel(textwrap.fill(same, 110), color=INK, fontsize="small", parse_math=False)
    return figure


def _times(ax: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """A dot a contender; the scale is logarithmic where they differ much."""
    times = [row["values"]["time"] for row in rows]
    largest, least = max(times, default=1.0), min(times, default=1.0)
    scale, unit = _unit(largest)
    colours = {DYNAMIC: GREY, PEER: GREY, MANY: GREEN}
    for i, row in enumerate(rows):
        values = row["values"]
        label = format_seconds(values["time"])
        verdict = values["verdict"].replace(_THAN_ALL, "")
        colour = colours.get(row["kind"], BLUE)
        low, high = values["time_interval"] or [values["time"]] * 2
        _dot(ax, i, [values["time"] * scale, low * scale, high * scale], colour,
             f"{label}, {verdict}" if verdict else label)  # fmt: skip
    ax.set_yticks(range(len(rows)), [row["name"] for row in rows])
    if largest > 8 * least:
        ax.set_xscale("log")
        ax.set_xlim(least * scale / 3, largest * scale * 30)
        ax.xaxis.set_major_formatter("{x:g}")
    else:
        ax.set_xlim(0, largest * scale * 1.6)
    ax.set_xlabel(f"{unit} a step; ratios are to all passes where no other is named")


def _effects(ax: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """What a step takes without each pass, over what it takes with all."""
    lows, highs = [1.0], [1.0]
    for i, row in enumerate(rows):
        values = row["values"]
        ratio = values["of_all"] or 1.0
        low, high = values["of_all_interval"] or [ratio, ratio]
        colour = BLUE if low > 1 or high < 1 else GREY
        _dot(ax, i, [ratio, low, high], colour, values["verdict"].replace(_THAN_ALL, ""))
        lows.append(low)
        highs.append(high)
    ax.set_yticks(range(len(rows)), [row["name"] for row in rows])
    ax.axvline(1.0, color=QUIET, linewidth=1)
    ax.set_xlim(min(0.9, min(lows) - 0.05), 1 + 1.5 * max(max(highs) - 1, 0.3))
    ax.set_xlabel("time without the pass, over that with all")


def _dot(ax: Any, at: int, bounds: Sequence[float], colour: str, label: str) -> None:
    """A median with its interval, and what is said of it to the right."""
    value, low, high = bounds
    ax.plot([low, high], [at, at], color=INK, linewidth=1.2)
    ax.plot([value], [at], "o", color=colour, markersize=6)
    ax.annotate(label, (max(high, value), at), (7, 0), textcoords="offset points", va="center",
                color=INK, fontsize="small")  # fmt: skip


def _unit(seconds: float) -> tuple[float, str]:
    for scale, unit in ((1.0, "seconds"), (1e3, "milliseconds")):
        if seconds * scale >= 1:
            return scale, unit
    return 1e6, "microseconds"


def _finish(ax: Any) -> None:
    ax.invert_yaxis()
    ax.tick_params(colors=INK)
    ax.xaxis.label.set_color(INK)
    ax.patch.set_alpha(0)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(QUIET)


def as_svg(figure: Any) -> str:
    """A figure as an <svg> that a page can hold: text as text, its ids its own, no background."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "waterfall"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'id="([^"]+)"', r'id="waterfall-\1"', text)
    text = re.sub(r'href="#([^"]+)"', r'href="#waterfall-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", r"url(#waterfall-\1)", text)
    for drawn, written in _PAGE_COLOURS.items():
        text = text.replace(drawn, written)
    return text
