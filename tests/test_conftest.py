"""When the tests run on all cores."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from budget import CASES

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("args", "option", "held", "processes"),
    [
        ([HERE], {"numprocesses": None}, {}, "auto"),
        ([Path(__file__)], {"numprocesses": None}, {}, None),
        ([f"{__file__}::test_all"], {"numprocesses": None}, {}, None),
        ([HERE], {"numprocesses": 0}, {}, 0),
        ([HERE], {"numprocesses": None}, {"workerinput": {}}, None),
    ],
    ids=["a folder", "a file", "a test", "-n0", "in a worker, which starts none"],
)
def test_workers(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch,
    args: list[Any], option: dict[str, Any], held: dict[str, Any], processes: Any,
) -> None:  # fmt: skip
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    (conftest,) = (
        plugin
        for plugin in request.config.pluginmanager.get_plugins()
        if Path(getattr(plugin, "__file__", None) or "") == HERE / "conftest.py"
    )
    given = SimpleNamespace(**{"dist": "no"} | option)
    conftest.pytest_cmdline_main(
        SimpleNamespace(option=given, args=[str(arg) for arg in args], **held)
    )
    assert given.numprocesses == processes


def test_without_xdist(request: pytest.FixtureRequest) -> None:
    (hook,) = (
        plugin.pytest_cmdline_main
        for plugin in request.config.pluginmanager.get_plugins()
        if Path(getattr(plugin, "__file__", None) or "") == HERE / "conftest.py"
    )
    option = SimpleNamespace()
    hook(SimpleNamespace(option=option, args=[str(HERE)]))
    assert vars(option) == {}


@pytest.mark.parametrize("name", CASES)
def test_what_the_budget_names_is_there(name: str) -> None:
    file, *_, function = name.split("::")
    assert f"def {function}(" in (Path(__file__).parent / file).read_text(encoding="utf-8")


def test_no_file_leaves_jax_in_64_bits() -> None:
    """`with jax.enable_x64(True)` ends; what a setting changes, later tests of the process see."""
    setting = "jax_enable_" + "x64"
    assert [f.name for f in HERE.glob("*.py") if setting in f.read_text(encoding="utf-8")] == []
