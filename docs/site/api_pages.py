"""`.. public:: module [topic]`: what a module offers, each name with its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from docutils.nodes import Node
from public_names import named, of_topic
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# Classes whose methods are called by users; of the others the class says it all.
OPEN = (
    "Function Graph Variable Dim Trainer History Callback Module Metric Tensor Optimizer "
    "CMAES OpenES PGPE DE"
)


class Public(SphinxDirective):
    """The names of a module, or of a topic of it, one after another."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[Node]:
        """The entries, by autodoc."""
        module, topic = self.arguments[0], "".join(self.arguments[1:])
        names = named(module)
        return self.parse_text_to_nodes(
            "\n".join(
                line
                for name in of_topic(module, topic)
                for line in entry(module, name, names[name])
            )
        )


def entry(module: str, name: str, value: Any) -> Iterator[str]:
    """The lines that have autodoc show a name."""
    if not inspect.isclass(value):
        yield f".. autofunction:: {module}.{name}"
    else:
        yield f".. autoclass:: {module}.{name}"
        if name in OPEN.split():
            yield "   :members:"
            yield "   :inherited-members: object"
    yield ""


def as_markup(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """A docstring of plain text, with `code` and indented examples, as reStructuredText."""
    lines[:] = [line for block in _blocks(lines) for line in (*_marked(block), "")]


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for line in (*lines, ""):
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []


def _marked(block: list[str]) -> list[str]:
    if all(line.startswith("    ") for line in block):
        return ["::", "", *block]
    text = _escaped("\n".join(block)).split("\n")
    if text[0] in ("Raises:", "Warns:") or not any(line.startswith(" ") for line in text):
        return text
    return [f"  {line}" if line.startswith(" ") else f"* {line}" for line in text]


def _escaped(text: str) -> str:
    """Code between backticks as it is, and no other mark."""
    parts = re.split(r"(`[^`]+`)", text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"\\ `{part}`\\ "
        else:
            parts[i] = re.sub(r"([\\*|`_])", r"\\\1", part)
    return "".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """The directive, and docstrings before napoleon reads their sections."""
    app.add_directive("public", Public)
    app.connect("autodoc-process-docstring", as_markup, priority=400)
    return {"parallel_read_safe": True}
