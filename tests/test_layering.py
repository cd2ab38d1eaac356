"""The house: each room imports only from rooms listed above it, and no import runs in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

import staticnet

ROOT = Path(staticnet.__file__).parent
ROOMS = (
    ("errors",),
    ("files", "flags"),
    ("ir",),
    ("ops",),
    ("linalg", "spatial", "attention"),
    ("autodiff",),
    ("control",),
    ("rewrite",),
    ("passes",),
    ("plan",),
    ("codegen",),
    ("backends",),
    ("declaration", "epochs", "feeds", "cost", "state_dict"),
    ("report",),
    ("compilation",),
    ("specialization",),
    ("oracle",),
    ("rules",),
    ("inspection",),
    ("function",),
    ("checks",),
    ("nn",),
    ("optim",),
    ("dynamic",),
    ("explain",),
    ("features",),
    ("io",),
    ("train",),
    ("compare",),
    ("playground",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(ROOMS) for name in names}
MODULES = {
    ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): file
    for file in ROOT.rglob("*.py")
}


@cache
def imports(module: str) -> frozenset[str]:
    """The project's modules that one of them imports, at its top or inside a function."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return frozenset(name for name in found if name in MODULES)


# the front door imports every room, and what runs the package imports the front door
ENTRANCES = ("staticnet", "staticnet.__main__")


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_its_place() -> None:
    rooms = {room(name) for name in MODULES if name not in ENTRANCES} - {"kernels"}
    assert rooms == set(RANK)


@pytest.mark.parametrize("module", sorted(set(MODULES) - set(ENTRANCES)))
def test_imports_only_downwards(module: str) -> None:
    for target in imports(module):
        if target == "staticnet":
            assert RANK[room(module)] > RANK["optim"], f"{module} imports the front door"
        elif room(target) != room(module):
            assert RANK[room(target)] < RANK[room(module)], f"{module} imports {target}"


def test_no_circles() -> None:
    graph = nx.DiGraph((a, b) for a in MODULES for b in imports(a) if b != "staticnet")
    assert list(nx.simple_cycles(graph)) == []


def test_only_flags_reads_the_environment() -> None:
    readers = [n for n, file in MODULES.items() if "os.environ" in file.read_text(encoding="utf-8")]
    assert readers == ["staticnet.flags"]


def test_what_not_every_program_needs_is_imported_late() -> None:
    code = (
        "import sys, staticnet\n"
        "heavy = 'scipy cupy torch jax matplotlib sklearn networkx rich safetensors'.split()\n"
        "heavy += [f'staticnet.{name}' for name in 'features io train explain cli'.split()]\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    run = [sys.executable, "-c", code]
    output = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert output.stdout.strip() == "[]"


def test_what_comes_late_is_there() -> None:
    code = (
        "import staticnet as sn\n"
        "assert set(sn.__all__) <= set(dir(sn))\n"
        "print(sn.train.Trainer.__name__, sn.derive.__name__, sn.io.__name__)\n"
    )
    run = [sys.executable, "-c", code]
    output = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert output.stdout.split() == ["Trainer", "derive", "staticnet.io"]
