"""State that is written, read, passed on or swapped beside symbolic dims, on every device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, DeviceError

COMPILES = True
X, Z = np.arange(12.0).reshape(4, 3), np.array([0.5, 0.25, 0.125])
STATE = {"w": np.array([1.0, 2, 3]), "v": np.array([4.0, 5, 6]), "u": np.array([7.0, 8, 9])}

# outputs and updates, written for staticnet and for NumPy: f(module, x, z, w, v, u)
PROGRAMS: dict[str, Callable[..., tuple[list[Any], dict[str, Any]]]] = {
    "written only": lambda m, x, z, w, v, u: ([m.sum(x)], {"w": v}),
    "written only, computed": lambda m, x, z, w, v, u: ([m.sum(x)], {"w": m.sum(x, axis=0)}),
    "written and returned": lambda m, x, z, w, v, u: (
        [m.sum(x, axis=0)], {"w": m.sum(x, axis=0), "v": m.sum(x, axis=0)}
    ),
    "swapped": lambda m, x, z, w, v, u: ([m.sum(x)], {"w": v, "v": w}),
    "rotated, no outputs": lambda m, x, z, w, v, u: ([], {"w": v, "v": u, "u": w}),
    "one by another": lambda m, x, z, w, v, u: ([m.sum(x * w)], {"w": v, "v": u + 1}),
    "an input": lambda m, x, z, w, v, u: ([z, x, z], {"w": z, "v": z}),
    "a view of an input": lambda m, x, z, w, v, u: ([m.sum(x)], {"w": z[::-1], "v": m.flip(w)}),
    "itself": lambda m, x, z, w, v, u: ([w, w], {"w": w, "v": w}),
    "old values returned": lambda m, x, z, w, v, u: ([w * 2, v, x, x], {"w": w + 1, "v": w}),
    "numbers": lambda m, x, z, w, v, u: ([], {"w": m.zeros((3,), "float64"), "v": v}),
    "no updates": lambda m, x, z, w, v, u: ([w, v, x, m.reshape(x, -1)], {}),
    "nothing": lambda m, x, z, w, v, u: ([], {}),
}  # fmt: skip


def build(name: str, device: str) -> tuple[Any, dict[str, Any]]:
    """The compiled program, and its variables by name."""
    x, z = sn.placeholder(("b", 3), "float64", "x"), sn.placeholder((3,), "float64", "z")
    state = {key: sn.variable(value, key) for key, value in STATE.items()}
    outputs, updates = PROGRAMS[name](sn, x, z, *state.values())
    named = {state[key]: value for key, value in updates.items()}
    return sn.function([x, z], outputs, updates=named, device=device), state


def follow(name: str, device: str) -> None:
    """Three steps, of two sizes, do what NumPy does."""
    f, state = build(name, device)
    values = dict(STATE)
    for x in (X, X + 1, X[:2]):
        wanted, updates = PROGRAMS[name](np, x, Z, *values.values())
        values |= updates
        for got, right in zip(f(x, Z), wanted, strict=True):
            np.testing.assert_array_equal(got.get() if device == "cuda" else got, right)
        for key, variable in state.items():
            np.testing.assert_array_equal(variable.value, values[key], key)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_steps(name: str, device: str) -> None:
    follow(name, device)


@pytest.mark.parametrize("name", PROGRAMS)
def test_steps_on_a_gpu(name: str, gpu: Any) -> None:
    follow(name, "cuda")


@pytest.mark.parametrize(
    ("device", "name"), [*(("numpy", name) for name in PROGRAMS), ("cpu", "written only")]
)
def test_everything_is_told(device: str, name: str, tmp_path: Path) -> None:
    f, _ = build(name, device)
    f(X, Z)
    bytes_of = f.memory_analysis()
    assert bytes_of.peak.at(b=4) == f.memory_analysis(b=4).peak  # type: ignore[union-attr]
    assert f.max_dim("b", bytes=bytes_of.peak.at(b=9)) == 9  # type: ignore[union-attr]
    assert str(f.explain(b=4)) == str(f.explain())
    assert f.plan.launches == f.cost_analysis(b=4).launches
    assert f.export_c(tmp_path / "step.c", b=4)
    assert f.report(tmp_path / "step.html", X, Z).exists()
    assert f.profile(X, Z, repeat=1)
    assert sn.parse(f.as_text()) is f.graph
    for node in f.graph.nodes:
        assert f.probe(node, X, Z)
    for after in ("dce", "infer_shape", "fusion", "schedule", "plan_memory"):
        assert f.as_text(after, b=4)
    try:
        assert f.source(b=4)
    except DeviceError:
        assert device == "numpy"


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_dims_that_no_feed_has(device: str) -> None:
    """Nothing tells their numbers at a call: an error says which are missing."""
    w = sn.variable(np.float64(0), "w")
    f = sn.function([], sn.sum(sn.arange(sn.Dim("n"))), updates={w: w + 1}, device=device)
    with pytest.raises(ArgumentError, match=r"symbolic dims are \['n'\]"):
        f()
    assert w.value == 0
