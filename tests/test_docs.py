"""The documents that can run do."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import staticnet as sn
from staticnet.ir.value import FUNCTIONS

ROOT = Path(__file__).parents[1]
INTERNAL = {"getitem"}
ROOMS = (sn, sn.nn, sn.nn.utils.rnn, sn.linalg)


def test_the_tour_runs_and_prints_what_it_did(golden: Callable[[str, str], None]) -> None:
    command = [sys.executable, str(ROOT / "docs" / "tour.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    told, _, trained = done.stdout.partition("\n11. ")
    golden("tour.txt", told)
    assert re.match(r"Loss: 0\.\d+ -> 0\.0\d+; accuracy 0\.9", trained)


def test_public_functions_are_exported_and_documented() -> None:
    for name, function in FUNCTIONS.items():
        assert function.__doc__, name
        if name not in INTERNAL:
            assert any(hasattr(room, name) for room in ROOMS), name
    for name in sn.__all__:
        assert hasattr(sn, name)


def test_the_decision_records_are_numbered() -> None:
    numbers = [file.name[:4] for file in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))]
    assert numbers == [f"{i:04}" for i in range(1, len(numbers) + 1)]


def public(module: ModuleType) -> set[Any]:
    """The functions and classes that a module names as its own."""
    values = [getattr(module, name) for name in module.__all__]
    return {value for value in values if inspect.isclass(value) or inspect.isroutine(value)}


def test_every_public_name_is_on_a_page_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    names = importlib.import_module("public_names")
    told = "\n".join(file.read_text("utf-8") for file in (ROOT / "docs" / "api").glob("*.rst"))
    asked = re.findall(r"^\.\. public:: (\S+) ?(\S*)$", told, re.MULTILINE)
    assert len(asked) == len(set(asked)) > 15
    shown = {
        names.named(module)[name]
        for module, topic in asked
        for name in names.of_topic(module, topic)
    }
    rooms = (sn, sn.nn, sn.nn.functional, sn.optim, sn.linalg, sn.dynamic, sn.features)
    for module in (*rooms, sn.train, sn.train.callbacks, sn.train.data, sn.train.metrics):
        assert public(module) <= shown, module.__name__
    errors = [v for v in vars(sn.errors).values() if inspect.isclass(v)]
    assert {error for error in errors if issubclass(error, sn.errors.StaticnetError)} <= shown
    inside = re.findall(r"^   (\w+)$", (ROOT / "docs/api/index.rst").read_text(), re.MULTILINE)
    assert sorted([*inside, "index"]) == sorted(f.stem for f in (ROOT / "docs/api").glob("*.rst"))


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing(tmp_path: Path) -> None:
    for name in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(name, reason='needs pip install ".[docs]"')
    command = ["-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees"), "-c",
               str(ROOT / "docs" / "site"), str(ROOT), str(tmp_path / "site")]  # fmt: skip
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 80
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//|<link[^>]* href="https?://'
    )
    assert [page.name for page in pages if loaded.search(page.read_text("utf-8"))] == []
    styles = "".join(f.read_text("utf-8") for f in (tmp_path / "site").rglob("*.css"))
    assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", styles)
