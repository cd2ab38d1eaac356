"""One index a row is a comparison that fuses: cross entropy's kernels, its memory, its failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower
from tolerance import close

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan

COMPILES = True
TOKENS, WIDTH, CLASSES = 512, 64, 1000
ROWS = [(5, 7), (600, 33), (3, 700), (2, 40_000), (140, 17_000), (1, 1)]
needs_cc = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


def head(labels: str = "int64", precision: str = "float32") -> Plan:
    """A language model's last product and loss, with the gradients of both operands."""
    x = sn.placeholder((TOKENS, WIDTH), name="x")
    y = sn.placeholder((TOKENS,), labels, name="y")
    w = sn.variable(np.zeros((CLASSES, WIDTH), "f"), "w")
    loss = sn.nn.cross_entropy(x @ w.T, y)
    outputs = [loss, *sn.grad(loss, [x, w])]
    f = sn.function([x, y], outputs, precision=precision, device="numpy")
    return make_plan(lower(f))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_gradient_of_the_logits_is_written_over_them(precision: str) -> None:
    plan = head(precision=precision)
    wide = [n for n in plan.blocks if n.shape == (TOKENS, CLASSES)]
    assert [n.op.name for n in wide if n not in plan.over] == ["matmul"]
    (gradient,) = (n for n in wide if n in plan.over)
    group = plan.fusion.group_of[gradient]
    assert {"max", "exp", "sum", "log", "take_along_axis"} <= {n.op.name for n in group.nodes}
    assert not any("scatter" in n.op.name for n in plan.graph.nodes)
    logits = int(gradient.type.nbytes)
    beside = 2 * TOKENS * WIDTH * 4 + 2 * CLASSES * WIDTH * 4
    assert logits < plan.arena_bytes < logits + beside


def test_labels_that_cannot_be_ignored_are_not_counted() -> None:
    counted, all_count = head("int64"), head("uint16")
    assert len(counted.launched) == len(all_count.launched) + 1
    assert not any(n.op.name == "not_equal" for n in all_count.graph.nodes)


def losses(dtype: str = "float32") -> tuple[Any, list[Any]]:
    """Losses of logits that the step makes, and gradients of what it makes them of."""
    inputs, outputs, feeds = list[Any](), list[Any](), list[Any]()
    rng = np.random.default_rng(0)
    for i, (rows, classes) in enumerate(ROWS):
        x = sn.placeholder((rows, classes), dtype, f"x{i}")
        y = sn.placeholder((rows,), "int64", f"y{i}")
        made = sn.nn.cross_entropy(sn.tanh(x) * 3, y)
        inputs += [x, y]
        outputs += [made, *sn.grad(made, [x])]
        feeds += [rng.normal(size=(rows, classes)).astype(dtype), rng.integers(0, classes, rows)]
        if rows > 1:
            feeds[-1][0] = -100
    return sn.function(inputs, outputs, device="numpy"), feeds


def wanted(feeds: list[Any]) -> list[Any]:
    """The same by the definition, in float64."""
    found = list[Any]()
    for x, y in zip(feeds[::2], feeds[1::2], strict=True):
        tanh = np.tanh(x.astype(np.float64))
        powers = np.exp(3 * tanh)
        p = powers / powers.sum(1, keepdims=True)
        counted = y != -100
        rows = np.arange(len(y))[counted]
        found.append(-np.log(p[rows, y[rows]]).mean())
        p[rows, y[rows]] -= 1
        found.append(p * counted[:, None] / counted.sum() * 3 * (1 - tanh**2))
    return found


@needs_cc
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_it_is_the_definition(device: str) -> None:
    f, feeds = losses()
    f = sn.function(f.graph.inputs, f.graph.outputs, device=device)
    for got, right in zip(f(*feeds), wanted(feeds), strict=True):
        np.testing.assert_allclose(got, right, rtol=2e-5, atol=1e-6 * np.abs(right).max())


@needs_shim
def test_it_is_the_definition_on_a_gpu(tmp_path: Path) -> None:
    f, feeds = losses()
    machine = Machine(lower(f), tmp_path, arena=True)
    failed, outputs, _ = machine.run(feeds, [])
    assert not failed
    for got, right in zip(outputs, f(*feeds), strict=True):
        close(got, right, 1e-4)


@needs_cc
@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("label", [7, -1, -99, 2**40])
@pytest.mark.parametrize("asked", ["loss", "gradient"])
def test_a_label_that_is_no_class_fails_the_run(device: str, label: int, asked: str) -> None:
    x, y = sn.placeholder((4, 7), name="x"), sn.placeholder((4,), "int64", name="y")
    loss = sn.nn.cross_entropy(x, y, reduction="sum")
    f = sn.function([x, y], loss if asked == "loss" else sn.grad(loss, [x]), device=device)
    labels = np.array([1, label, 0, -100])
    with pytest.raises(sn.errors.ExecutionError, match="index"):
        f(np.zeros((4, 7), "f"), labels)


@pytest.mark.parametrize("device", ["numpy", pytest.param("cpu", marks=needs_cc)])
def test_a_scatter_of_one_index_a_row(device: str) -> None:
    """Negative indices count from the end; what was there is added to, NaN and infinity too."""
    x = sn.placeholder((3, "n", 2), "float64", name="x")
    i, u = sn.placeholder((3, 1, 2), "int32", name="i"), sn.placeholder((3, 1, 2), "float64")
    f = sn.function([x, i, u], sn.scatter_add_along_axis(x, i, u, 1), device=device)
    given = np.arange(24.0).reshape(3, 4, 2)
    given[0] = np.nan
    given[1, 2] = np.inf
    places = np.array([[[0, -1]], [[2, 3]], [[-4, 1]]], np.int32)
    updates = np.array([[[1.0, np.inf]], [[np.inf, 2]], [[-0.0, 3]]])
    right = given.copy()
    for a in range(3):
        for b in range(2):
            right[a, places[a, 0, b], b] += updates[a, 0, b]
    np.testing.assert_array_equal(f(given, places, updates), right)
    with pytest.raises(sn.errors.ExecutionError):
        f(given, places + 4, updates)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_square_is_reduced_along_its_own_axis(device: str) -> None:
    """Down few columns, and across what another kernel reads transposed: all sizes are equal."""
    x, i = sn.placeholder((3, 3), "float64", "x"), sn.placeholder((3,), "int64", "i")
    labels = sn.where(i >= 0, i, 0)
    powers = sn.exp(x * 2)
    outputs = [
        sn.any(sn.expand_dims(labels, -1) == sn.arange(3), 0),
        x / sn.sum(x * x, -1, keepdims=True) + powers.T,
        sn.sum(sn.cos(sn.sum(powers * x, -1, keepdims=True)) * powers.T + x, -1),
        (x + powers.T) / sn.sum(x + powers.T, -1, keepdims=True) + powers,
    ]
    a, k = np.arange(9.0).reshape(3, 3) / 7 + 0.1, np.array([2, 0, -1])
    e = np.exp(2 * a)
    wanted = [
        [True, False, True],
        a / (a * a).sum(-1, keepdims=True) + e.T,
        (np.cos((e * a).sum(-1, keepdims=True)) * e.T + a).sum(-1),
        (a + e.T) / (a + e.T).sum(-1, keepdims=True) + e,
    ]
    for y, want in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(sn.function([x, i], y, device=device)(a, k), want, 1e-12)
