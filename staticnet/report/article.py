"""Articles: headings, paragraphs, pictures and tables as one HTML file that loads nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.report.png import png
from staticnet.report.shell import html_page, part

Array = np.ndarray[Any, Any]
_NUMBER = re.compile(r"[-−]?\d+(\.\d*)?%?")
Part = str  # of a page: markup that is safe to put into it


def page(title: str, parts: Iterable[Part]) -> str:
    """An HTML page of parts, one below the other, in the colours of the other pages."""
    body = "\n".join(["<main>", f"<h1>{escape(title)}</h1>", *parts, "</main>"])
    return html_page(title, part("page.css") + part("article.css"), body, "article")


def heading(text: str, level: int = 2) -> Part:
    """The head of a section; of one within a section at level 3."""
    return f"<h{level}>{escape(text)}</h{level}>"


def chapter(text: str) -> Part:
    """The head of a section to which `contents` leads."""
    return f'<h2 id="{_address(text)}">{escape(text)}</h2>'


def contents(names: Iterable[str]) -> Part:
    """What leads to chapters."""
    items = "".join(f'<li><a href="#{_address(name)}">{escape(name)}</a></li>' for name in names)
    return f'<nav aria-label="Contents"><ol class="contents">{items}</ol></nav>'


def formula(mathml: str) -> Part:
    """A formula in a line of its own, as the inside of a MathML element."""
    return f'<p class="formula"><math display="block">{mathml}</math></p>'


def paragraph(text: str) -> Part:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def markup(html: str) -> Part:
    """HTML that is put in as it is."""
    return html


def wide(html: str, name: str) -> Part:
    """HTML that may be wider than the page, and scrolls then; `name` is read out."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">{html}</div>'
    )


def image(pixels: Array, name: str, scale: int = 1) -> Part:
    """Pixels as a picture, each as a square of `scale` dots; `name` is read out in its place.

    pixels: uint8, or floats in [0, 1], [h, w] or [h, w, 3]
    """
    height, width = pixels.shape[:2]
    data = base64.b64encode(png(pixels)).decode("ascii")
    return (
        f'<img src="data:image/png;base64,{data}" width="{scale * width}" '
        f'height="{scale * height}" alt="{escape(name)}">'
    )


def file_image(file: Path, name: str) -> Part:
    """A PNG file as a picture, in its own size or as wide as the page."""
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<img class="drawn" src="data:image/png;base64,{data}" alt="{escape(name)}">'


def figure(inner: Part, caption: str = "") -> Part:
    """A picture, or several, with what is said of it."""
    said = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{inner}{said}</figure>"


def row(figures: Iterable[Part]) -> Part:
    """Figures beside each other, as many as the page is wide."""
    return f'<div class="figures">{"".join(figures)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Part:
    """A table; numbers stand on the right."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(map(_cell, cells))}</tr>" for cells in rows)
    return (
        f'<div class="scroll" tabindex="0"><table class="plain"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def pictures(head: Sequence[str], rows: Iterable[tuple[str, Sequence[Part]]]) -> Part:
    """A table of pictures under what they show, each row behind its name."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("", *head))
    body = ""
    for name, cells in rows:
        shown = "".join(f"<td>{cell}</td>" for cell in cells)
        body += f'<tr><th scope="row">{escape(name)}</th>{shown}</tr>'
    return (
        f'<div class="scroll" tabindex="0"><table class="plain pictures"><thead><tr>{heads}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _address(text: str) -> str:
    return "-".join(re.findall(r"\w+", text.lower()))


def _cell(value: Any) -> str:
    if isinstance(value, int | np.integer):
        return f'<td class="number">{value:,}</td>'
    if isinstance(value, float | np.number):
        return f'<td class="number">{value:,.4g}</td>'
    kind = ' class="number"' if _NUMBER.fullmatch(str(value)) else ""
    return f"<td{kind}>{escape(str(value))}</td>"
