"""Pages of the documentation: their Python runs in order and says what stands below it.

All blocks of a page share their names. Those marked with a library, "```python torch", have names
of their own and need that library, and their page is a slow test, as one with "```python slow".
What such a library warns of is its own affair.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import staticnet as sn

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```python(?: (\w+))?\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.md") if BLOCK.search(p.read_text("utf-8")))
ERRORS = {"docs/extending.md": 8}  # that a page shows; on all others one is a mistake


def pages() -> list[Any]:
    slow = [pytest.mark.slow]
    return [
        pytest.param(
            page,
            id=page.relative_to(ROOT).as_posix(),
            marks=slow if "```python " in page.read_text("utf-8") else [],
        )
        for page in PAGES
    ]


def keras_backend() -> str | None:
    """What Keras can compute by; without being told it takes TensorFlow, installed or not."""
    known = ("tensorflow", "torch", "jax")
    return next((name for name in known if importlib.util.find_spec(name) is not None), None)


def said_by(code: str, name: str, line: int, names: dict[str, Any], library: str | None) -> str:
    """What code prints, or the error that it ends with; its lines are the document's."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown), warnings.catch_warnings():
            if library:
                warnings.simplefilter("ignore")
            exec(compile("\n" * line + code, name, "exec", dont_inherit=True), names)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "\n".join(line.rstrip() for line in shown.getvalue().rstrip().splitlines())


@pytest.mark.parametrize("page", pages())
def test_a_page_does_what_it_says(
    page: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sn.manual_seed(0)
    if "KERAS_BACKEND" not in os.environ and (backend := keras_backend()) is not None:
        monkeypatch.setenv("KERAS_BACKEND", backend)
    text, name = page.read_text("utf-8"), page.relative_to(ROOT).as_posix()
    spaces: dict[str, dict[str, Any]] = {}
    found = []
    for block in BLOCK.finditer(text):
        library = block[1] if block[1] != "slow" else None
        if library and importlib.util.find_spec(library) is None:
            continue
        names = spaces.setdefault(library or "", {"__name__": page.stem})
        line = text[: block.start(2)].count("\n")
        found.append((block, said_by(block[2], name, line, names, library)))
    assert sum("Error: " in said for _, said in found) == ERRORS.get(name, 0), found
    if request.config.getoption("--update-golden"):
        for block, said in reversed(found):
            if block[3] is not None:
                text = text[: block.start(3)] + said + "\n" + text[block.end(3) :]
        page.write_text(text, "utf-8")
        return
    for block, said in found:
        assert block[3] is None or said == block[3].rstrip(), block[2]
