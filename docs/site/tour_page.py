"""`{tour}`: docs/tour.py as a page, each stage with its prose, its code and what it printed."""

from __future__ import annotations

import re
from pathlib import Path

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
SOURCE, PRINTED = ROOT / "docs" / "tour.py", ROOT / "tests" / "golden" / "tour.txt"
RULER = re.compile(r"^# -{20,}\n", re.MULTILINE)
STAGE = re.compile(r"# (\d+)\. (.*?[.:])(?: |\n)")


def page(source: str, printed: str) -> str:
    """The page in Markdown: a section for each stage of the file."""
    _, *stages = RULER.split(source)
    return "\n".join(_stage(stage, printed) for stage in stages)


def _stage(text: str, printed: str) -> str:
    lines = text.rstrip().split("\n")
    opening = STAGE.match(" ".join(["#", *_words(lines)]) + " ")
    assert opening is not None, text
    number, title = opening[1], opening[2]
    parts = [f"## {number}. {title.rstrip('.:')}\n"]
    for kind, block in _runs(lines):
        if kind == "code":
            parts.append(f"```python\n{block}\n```\n")
        else:
            prose = re.sub(rf"^{number}\. {re.escape(title)} ?", "", block.replace("\n", " "))
            parts.append(prose + "\n" if prose.strip() else "")
    said = re.search(rf"^{number}\. ?(.*?)(?=^\d+\. |\Z)", printed, re.MULTILINE | re.DOTALL)
    if said and said[1].strip():
        parts.append(f"```text\n{said[1].rstrip()}\n```\n")
    return "\n".join(parts)


def _words(lines: list[str]) -> list[str]:
    """The words of the comment that a stage begins with."""
    words: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        words += line[1:].split()
    return words


def _runs(lines: list[str]) -> list[tuple[str, str]]:
    """Comments at the left edge, a paragraph each, and the code between them."""
    runs: list[tuple[str, list[str]]] = []
    for line in lines:
        kind = "prose" if line.startswith("#") else "code"
        text = line[1:].strip() if kind == "prose" else line
        if kind == "prose" and not text:
            runs.append(("prose", []))
        elif runs and runs[-1][0] == kind:
            runs[-1][1].append(text)
        else:
            runs.append((kind, [text]))
    joined = [(kind, "\n".join(block).strip("\n")) for kind, block in runs]
    return [(kind, block) for kind, block in joined if block.strip()]


class Tour(SphinxDirective):
    """The stages, as sections."""

    def run(self) -> list[Node]:
        """Made anew whenever the tour or what it prints is another."""
        self.env.note_dependency(str(SOURCE))
        self.env.note_dependency(str(PRINTED))
        text = page(SOURCE.read_text(encoding="utf-8"), PRINTED.read_text(encoding="utf-8"))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """The directive."""
    app.add_directive("tour", Tour)
    return {"parallel_read_safe": True}
