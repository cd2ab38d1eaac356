"""The pages of explanations: steps that play, blocks and formulas whose parts can be clicked.

Without its script a page shows all steps at once; it loads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from staticnet.report.page import page_style
from staticnet.report.shell import html_page


def page(title: str, sections: Mapping[str, str], told: Mapping[int, str], steps: int) -> str:
    """One page: sections of HTML by their titles, what each node tells, and how many steps play."""
    body = "".join(
        f'<section aria-labelledby="s{i}"><h2 id="s{i}">{escape(name)}</h2>{section}</section>'
        for i, (name, section) in enumerate(sections.items())
    )
    data = json.dumps({"told": told, "steps": steps}, ensure_ascii=False).replace("<", "\\u003c")
    shown = Template(_file("explain.html")).substitute(
        title=escape(title), sections=body, data=data, script=_file("explain.js")
    )
    return html_page(title, page_style() + _file("explain.css"), shown)


def style() -> str:
    """The style of pictures in a notebook, where the page's own is not."""
    return _file("explain.css")


PLAYER = """<div class="player" role="group" aria-label="Steps">
<button type="button" id="first" aria-label="First step">|◀</button>
<button type="button" id="previous" aria-label="Step back">◀</button>
<button type="button" id="play">Play</button>
<button type="button" id="next" aria-label="Step on">▶</button>
<button type="button" id="last" aria-label="Last step">▶|</button>
<input type="range" id="at" min="0" aria-label="Step">
<output id="where"></output>
</div>"""
KEYS = """<p class="keys">Left and right step, Home and End go to the ends, the space bar plays.
A click, or Enter, on a part shows its rule.</p>"""


@cache
def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
