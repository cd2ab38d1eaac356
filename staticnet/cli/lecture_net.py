"""A trained network as a picture: each unit's surface over the plane, each weight as a line."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from staticnet.report.article import Part
from staticnet.report.pixels import BLUE, ORANGE, signed
from staticnet.report.png import png

Array = np.ndarray[Any, Any]
TILE, GAP, SPACING, LEFT, TOP = 56, 14, 150, 60, 26
WIDEST = 8.0  # of a line


def net_picture(
    name: str,
    features: Sequence[str],
    columns: Sequence[Sequence[Array]],
    weights: Sequence[Array],
    heads: Sequence[str],
) -> Part:
    """An SVG of the features, the hidden units and the output, column by column.

    columns: surfaces [n, n] of each unit, 1 blue and -1 orange; weights: of each column but the
    first [units, units before]; heads: what each column is called
    """
    rows = max(map(len, columns))
    height = TOP + rows * (TILE + GAP)
    places = [
        [(LEFT + i * SPACING, TOP + (rows - len(column)) * (TILE + GAP) / 2 + j * (TILE + GAP))
         for j in range(len(column))]
        for i, column in enumerate(columns)
    ]  # fmt: skip
    parts = [_line(places[i][k], places[i + 1][j], float(w[j, k]))
             for i, w in enumerate(weights) for j, k in np.ndindex(*w.shape)]  # fmt: skip
    for column, corners in zip(columns, places, strict=True):
        parts += [_tile(surface, corner) for surface, corner in zip(column, corners, strict=True)]
    parts += [
        f'<text x="{x - 8}" y="{y + TILE / 2 + 5:g}" text-anchor="end">{escape(feature)}</text>'
        for feature, (x, y) in zip(features, places[0], strict=True)
    ]
    parts += [
        f'<text x="{LEFT + i * SPACING + TILE / 2:g}" y="16" text-anchor="middle">{head}</text>'
        for i, head in enumerate(map(escape, heads))
    ]
    width = LEFT + (len(columns) - 1) * SPACING + TILE + 20
    return (
        f'<svg class="net" width="{width}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(name)}">{"".join(parts)}</svg>'
    )


def _line(start: tuple[float, float], end: tuple[float, float], weight: float) -> str:
    x, y, u, v = start[0] + TILE, start[1] + TILE / 2, end[0], end[1] + TILE / 2
    middle = (x + u) / 2
    r, g, b = (round(255 * c) for c in (BLUE if weight > 0 else ORANGE))
    width = min(WIDEST, max(0.5, 3 * abs(weight)))
    return (
        f'<path d="M{x:g},{y:g}C{middle:g},{y:g} {middle:g},{v:g} {u:g},{v:g}" fill="none" '
        f'stroke="rgb({r} {g} {b})" stroke-width="{width:.2g}"/>'
    )


def _tile(surface: Array, corner: tuple[float, float]) -> str:
    data = base64.b64encode(png(signed(-surface))).decode("ascii")
    box = f'x="{corner[0]:g}" y="{corner[1]:g}" width="{TILE}" height="{TILE}"'
    return (
        f'<image href="data:image/png;base64,{data}" {box} preserveAspectRatio="none"/>'
        f'<rect {box} fill="none" stroke="var(--ink)"/>'
    )
