"""docs/layers.md tells which of PyTorch's layers and functions there are not."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from staticnet import nn
from staticnet.errors import StaticnetError

torch = pytest.importorskip("torch")
PAGE = (Path(__file__).parents[1] / "docs" / "layers.md").read_text(encoding="utf-8")
# parts of PyTorch's own machinery that its namespaces show
INNER = re.compile(
    r"Lazy|DataParallel|Container|_$|_with_indices|boolean_dispatch|has_torch|handle_torch|native|"
    r"assert_|_mm$"
)


def listed(title: str, what: str) -> set[str]:
    """The names in a paragraph of a section."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    (paragraph,) = [p for p in section.split("\n\n") if p.strip().startswith(what)]
    return set(re.findall(r"`([A-Za-z_0-9]+)`", paragraph.split(" (`")[0]))


def here(module: ModuleType, name: str) -> bool:
    try:
        return hasattr(module, name)
    except StaticnetError:
        return False


def test_layers_that_are_missing_are_listed() -> None:
    theirs = {
        name
        for name, layer in inspect.getmembers(torch.nn, inspect.isclass)
        if issubclass(layer, torch.nn.Module) and not INNER.search(name)
    }
    assert len(theirs) > 100
    assert {name for name in theirs if not here(nn, name)} == listed("Not here", "Layers:")


def test_functions_that_are_missing_are_listed() -> None:
    theirs = {
        name
        for name, f in inspect.getmembers(torch.nn.functional, callable)
        if not name.startswith("_") and not inspect.isclass(f) and not INNER.search(name)
    } - {"Optional"}
    assert len(theirs) > 100
    missing = {name for name in theirs if not here(nn.functional, name)}
    assert missing == listed("Not here", "Functions:")


def test_what_is_only_here_is_here() -> None:
    for name in listed("Only here", "Augmentations"):
        assert here(nn, name)
        assert not hasattr(torch.nn, name)
