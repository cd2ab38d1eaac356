"""The page on which ways over landscapes are played: one file that loads nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from staticnet.report import article
from staticnet.report.png import png

Array = np.ndarray[Any, Any]
BANDS = 18  # of heights, as a map has
DEEP, HIGH = np.array([255, 250, 225]) / 255, np.array([120, 150, 185]) / 255


def paths_page(title: str, landscapes: Sequence[dict[str, Any]]) -> str:
    """One HTML page of `paths`."""
    return article.page(title, [paths(landscapes)])


def paths(landscapes: Sequence[dict[str, Any]]) -> article.Part:
    """What plays ways over landscapes, once in a page; each landscape has these:

    name, formula, said   texts
    extent                left, right, low, high
    optima                [[x, y]]
    steps                 how many there are at most
    surface               array [n, n] of heights, the highest y first
    ways                  [{name, points: [[x, y]], values: [number]}], the start first; the
                          last one is that of the search
    ellipses              [[a, b, angle]] of the search at each of its points
    populations           [[[x, y]]] of each of its generations
    """
    folder = Path(__file__).parent
    shown = [{**each, "surface": _picture(each["surface"])} for each in landscapes]
    data = json.dumps(shown, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Template((folder / "paths.html").read_text(encoding="utf-8")).substitute(
        style=(folder / "paths.css").read_text(encoding="utf-8"),
        data=data,
        script=(folder / "paths.js").read_text(encoding="utf-8"),
    )


def _picture(heights: Array) -> str:
    """Heights in bands, as a data URI: from the lowest, light, to the highest, blue."""
    above = np.log1p(99 * (heights - heights.min()) / max(float(np.ptp(heights)), 1e-300))
    share = np.floor(above / np.log(100) * BANDS) / BANDS
    pixels = DEEP + (HIGH - DEEP) * np.clip(share, 0, 1)[..., None]
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
