"""The how-to in docs/extending.md: its code runs in order and says what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

COMPILES = True
NAME = "docs/extending.md"
FILE = Path(__file__).parents[1] / NAME
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


def said_by(code: str, line: int, names: dict[str, Any]) -> str:
    """What code prints, or the error that it ends with; its lines are the document's."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            exec(compile("\n" * line + code, NAME, "exec", dont_inherit=True), names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return shown.getvalue().rstrip()


def test_the_how_to_does_what_it_says(request: pytest.FixtureRequest) -> None:
    text = FILE.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "extending"}
    found = []
    for block in BLOCK.finditer(text):
        line = text[: block.start(1)].count("\n")
        found.append((block, said_by(block[1], line, names)))
    if request.config.getoption("--update-golden"):
        for block, said in reversed(found):
            if block[2] is not None:
                text = text[: block.start(2)] + said + "\n" + text[block.end(2) :]
        FILE.write_text(text, encoding="utf-8")
        return
    for block, said in found:
        assert said == (block[2] or "").rstrip(), block[1]
    assert sum("Error: " in said for _, said in found) == 8
