"""What every page begins and ends with: one HTML file that loads nothing."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from string import Template


def html_page(title: str, style: str, body: str, kind: str = "") -> str:
    """A page of a body of HTML; `kind` is the body's class."""
    return Template(part("shell.html")).substitute(
        title=escape(title),
        style=style,
        attributes=f' class="{kind}"' if kind else "",
        body=body.rstrip("\n"),
    )


@cache
def part(name: str) -> str:
    """The text of a file that pages are made of."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
