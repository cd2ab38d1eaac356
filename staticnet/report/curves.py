"""Curves of numbers as one SVG, in the colours of the page around it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
WIDTH, HEIGHT = 560, 280
LEFT, RIGHT, TOP, BOTTOM = 72, 16, 30, 44
COLOURS = ("var(--forward)", "var(--backward)", "var(--update)", "var(--quiet)")
DASHES = ("", "7 4", "2 3", "9 3 2 3")
TICKS = 4


def curves(
    name: str,
    lines: Mapping[str, tuple[Any, Any]],
    x: str,
    y: str,
    points: Mapping[str, tuple[Any, Any]] | None = None,
    log: bool = False,
) -> str:
    """Lines, and points, of (xs, ys) each, with a legend and named axes; `log` is of y alone."""
    every = [*lines.values(), *(points or {}).values()]
    xs, ys = (np.concatenate([np.asarray(pair[i], float) for pair in every]) for i in (0, 1))
    ys = _heights(ys, log)
    box = (*_range(xs), *_range(ys))
    parts = [_axes(box, x, y, log)]
    for shown in (points or {}).values():
        parts += [
            f'<circle cx="{u:.1f}" cy="{v:.1f}" r="3" fill="{COLOURS[3]}"/>'
            for u, v in _places(shown, box, log)
        ]
    for i, shown in enumerate(lines.values()):
        places = " ".join(f"{u:.1f},{v:.1f}" for u, v in _places(shown, box, log))
        parts.append(
            f'<polyline points="{places}" fill="none" stroke="{COLOURS[i % 4]}" '
            f'stroke-width="2.5" stroke-dasharray="{DASHES[i % 4]}"/>'
        )
    parts.append(_legend(lines))
    return (
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(name)}">{"".join(parts)}</svg>'
    )


def _heights(y: Any, log: bool) -> Array:
    values = np.asarray(y, float)
    return np.log10(np.maximum(values, 1e-12)) if log else values


def _range(values: Array) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _places(pair: tuple[Any, Any], box: tuple[float, ...], log: bool) -> list[tuple[float, float]]:
    left, right, low, high = box
    u = LEFT + (np.asarray(pair[0], float) - left) / (right - left) * (WIDTH - LEFT - RIGHT)
    v = HEIGHT - BOTTOM - (_heights(pair[1], log) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
    return list(zip(u.tolist(), v.tolist(), strict=True))


def _axes(box: tuple[float, ...], x: str, y: str, log: bool) -> str:
    left, right, low, high = box
    made = []
    for tick in _ticks(low, high, 1.0 if log else 0.0):
        v = HEIGHT - BOTTOM - (tick - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        told = f"1e{tick:.0f}" if log else f"{tick:.3g}"
        made += [
            f'<path d="M{LEFT},{v:.1f}H{WIDTH - RIGHT}" stroke="var(--line)"/>',
            _text(LEFT - 8, v + 4, told, "end"),
        ]
    for tick in _ticks(left, right):
        u = LEFT + (tick - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        made.append(_text(u, HEIGHT - BOTTOM + 18, f"{tick:.3g}", "middle"))
    made += [_text(LEFT - 8, 14, y, "start"), _text(WIDTH - RIGHT, HEIGHT - 6, x, "end")]
    return "".join(made)


def _ticks(low: float, high: float, least: float = 0.0) -> list[float]:
    """Round numbers in a range: some TICKS multiples of 1, 2 or 5 times a power of ten."""
    wanted = max((high - low) / TICKS, least)
    power = 10.0 ** np.floor(np.log10(wanted))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= wanted * 0.999)
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [i * step for i in range(first, last + 1)]


def _legend(lines: Mapping[str, Any]) -> str:
    made, at = [], float(WIDTH - RIGHT)
    for i, name in reversed(list(enumerate(lines))):
        at -= 9.5 * len(name) + 4
        made += [
            _text(at, 16, name, "start"),
            f'<path d="M{at - 30:g},12h24" stroke="{COLOURS[i % 4]}" stroke-width="2.5" '
            f'stroke-dasharray="{DASHES[i % 4]}"/>',
        ]
        at -= 52
    return "".join(made)


def _text(u: float, v: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{u:.1f}" y="{v:.1f}" text-anchor="{anchor}" fill="var(--ink)" '
        f'font-size="13">{escape(text)}</text>'
    )
