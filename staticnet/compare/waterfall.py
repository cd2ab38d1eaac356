"""The picture: time a step from dynamic execution down, and what leaving each pass out costs."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.compare.result import DYNAMIC, MANY, PEER, WITHOUT
from staticnet.errors import DependencyError
from staticnet.ir.hints import install
from staticnet.report.units import format_seconds

INK, QUIET, BLUE, GREEN, GREY = "#010101", "#020202", "#0072b2", "#00795a", "#9aa4b0"
# drawn in colours of its own, written in those of the page that shows it
_PAGE_COLOURS = {INK: "currentColor", QUIET: "var(--quiet, #57606a)"}
_BAR = 0.34  # inches
_THAN_ALL = " than all passes"


def draw(comparison: Mapping[str, Any]) -> Any:
    """A matplotlib figure of two panels; bars are medians, lines their 95 % intervals.

    Raises:
        DependencyError: if matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise DependencyError(f"matplotlib, which draws it, not found; {install('examples')}")
    from matplotlib.figure import Figure

    kinds = {c["name"]: c for c in comparison["raw"]["contenders"]}
    rows = [dict(row, kind=kinds[row["name"]]["kind"]) for row in comparison["rows"]]
    steps = [row for row in rows if row["kind"] != WITHOUT]
    left_out = [row for row in rows if row["kind"] == WITHOUT]
    heights = [len(steps) + 2.2, len(left_out) + 2.2]
    figure = Figure(figsize=(9, _BAR * sum(heights)), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=heights)
    _times(upper, steps)
    _effects(lower, left_out)
    figure.suptitle(comparison["name"], color=INK, parse_math=False)
    for ax in (upper, lower):
        _finish(ax)
    return figure


def _times(ax: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """A bar a contender; the scale is logarithmic where they differ much."""
    times = [row["values"]["time"] for row in rows]
    largest = max(times, default=1.0)
    scale, unit = _unit(largest)
    names = [row["name"] for row in rows]
    colours = {DYNAMIC: GREY, PEER: GREY, MANY: GREEN}
    ax.barh(
        names,
        [t * scale for t in times],
        xerr=_errors([row["values"]["time_interval"] for row in rows], times, scale),
        color=[colours.get(row["kind"], BLUE) for row in rows],
        ecolor=INK,
    )
    for i, row in enumerate(rows):
        high = row["values"]["time_interval"][1] * scale
        ax.annotate(_label(row["values"]), (high, i), (5, 0), textcoords="offset points",
                    va="center", color=INK, fontsize="small")  # fmt: skip
    least = min(times, default=1.0)
    if largest > 8 * least:
        ax.set_xscale("log")
        ax.set_xlim(least * scale / 3, largest * scale * 30)
        ax.xaxis.set_major_formatter("{x:g}")
    else:
        ax.set_xlim(0, largest * scale * 1.6)
    ax.set_xlabel(f"{unit} a step; ratios are to all passes where no other is named")


def _label(values: Mapping[str, Any]) -> str:
    time, verdict = format_seconds(values["time"]), values["verdict"].replace(_THAN_ALL, "")
    return f"{time}, {verdict}" if verdict else time


def _effects(ax: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """What a step takes without each pass, over what it takes with all."""
    known = [row["values"]["of_all"] is not None for row in rows]
    same = [row["values"]["verdict"].startswith("the same program") for row in rows]
    ratios = [
        row["values"]["of_all"] if k and not s else 1.0
        for row, k, s in zip(rows, known, same, strict=True)
    ]
    bounds = [
        row["values"]["of_all_interval"] if k and not s else [1.0, 1.0]
        for row, k, s in zip(rows, known, same, strict=True)
    ]
    clear = [low > 1 or high < 1 for low, high in bounds]
    ax.barh(
        [row["name"] for row in rows],
        [r - 1 for r in ratios],
        left=1,
        xerr=_errors(bounds, ratios, 1.0),
        color=[BLUE if c else GREY for c in clear],
        ecolor=INK,
    )
    ax.axvline(1.0, color=QUIET, linewidth=1)
    for i, (row, (_, high)) in enumerate(zip(rows, bounds, strict=True)):
        verdict = row["values"]["verdict"]
        text = "the same program" if same[i] else verdict.replace(_THAN_ALL, "")
        ax.annotate(text, (max(high, 1.0), i), (5, 0), textcoords="offset points", va="center",
                    color=INK, fontsize="small")  # fmt: skip
    low = min((b[0] for b in bounds), default=1.0)
    high = max((b[1] for b in bounds), default=1.0)
    ax.set_xlim(min(0.9, low - 0.05), 1 + 1.5 * max(high - 1, 0.3))
    ax.set_xlabel("time without the pass, over that with all")


def _errors(
    bounds: Sequence[Sequence[float]], values: Sequence[float], scale: float
) -> list[list[float]]:
    pairs = list(zip(bounds, values, strict=True))
    low = [max(0.0, v - b[0]) * scale for b, v in pairs]
    return [low, [max(0.0, b[1] - v) * scale for b, v in pairs]]


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
