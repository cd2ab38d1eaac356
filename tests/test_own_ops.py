"""Ops of a user's own: on every device, with every pass, and named where they are wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everywhere import DEVICES, grad_of, on
from own_ops import Turn, blend, bump, cube, first, halve, polar, softsign

import staticnet as sn
from staticnet.control.batching import batch_nodes
from staticnet.errors import (
    ArgumentError,
    ParseError,
)
from staticnet.ir.op import OPS
from staticnet.ir.own_ops import OWN_OPS

COMPILES = True
X = np.random.default_rng(0).normal(size=(4, 3)).astype("f")


def turned(x: Any) -> Any:
    return Turn(1, (1, 1), np.dtype("float32"))(x)


BUILDS = {
    "fused": lambda x: softsign(x * 2) + blend(x, 3 * x) * bump(x),
    "host": lambda x: first(softsign(x) * 2, count=2) * 3,
    "host elementwise": lambda x: halve(x + 1) * sn.tanh(halve(x)),
    "class": lambda x: turned(x) * x,
    "two on the host": lambda x: halve(turned(halve(x)) * 2),
    "several results": lambda x: polar(x, x + 2)[0] * polar(x, x + 2)[1],
    "one of several": lambda x: polar(x * 2, x + 2)[1] + 1,
    "by a jvp alone": lambda x: cube(x) * x,
}
NUMPY: dict[str, Any] = {
    "fused": lambda x: 2 * x / (1 + np.abs(2 * x)) + 2.5 * x * np.exp(-x * x),
    "host": lambda x: 6 * (x / (1 + np.abs(x)))[:, :2],
    "host elementwise": lambda x: (x + 1) / 2 * np.tanh(x / 2),
    "class": lambda x: np.roll(x, 2, 1) * x,
    "two on the host": lambda x: np.roll(x / 2, 2, 1),
    "several results": lambda x: np.hypot(x, x + 2) * np.arctan2(x + 2, x),
    "one of several": lambda x: np.arctan2(x + 2, 2 * x) + 1,
    "by a jvp alone": lambda x: x**4,
}


def numeric_gradient(f: Any, x: Any) -> Any:
    x, step = x.astype("d"), 1e-5
    found = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        found[at] = (f(x + moved).sum() - f(x - moved).sum()) / (2 * step)
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", BUILDS)
def test_values_and_gradients_everywhere(name: str, device: str, tmp_path: Path) -> None:
    y, g = on(device, tmp_path, grad_of(BUILDS[name]), X)
    np.testing.assert_allclose(y, NUMPY[name](X), rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(g, numeric_gradient(NUMPY[name], X), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("device", ["cpu", "dynamic", "cuda"])
def test_dtypes(device: str, dtype: str, tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        return [softsign(x), blend(x, x), halve(x), first(x, count=2)]

    x = X.astype(sn.placeholder((), dtype).dtype)
    wanted = on("numpy", tmp_path, build, x)
    for got, want in zip(on(device, tmp_path, build, x), wanted, strict=True):
        assert got.dtype == want.dtype == x.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), ()])
def test_sizes(device: str, shape: Any) -> None:
    x = sn.placeholder(shape, name="x")
    outputs = [softsign(x), halve(x)] + ([first(x, count=2)] if shape else [])
    f = sn.function(x, outputs, device=device)
    feed = np.ones(shape, "f")
    for y, node in zip(f(feed), outputs, strict=True):
        np.testing.assert_array_equal(y, np.full(node.shape, 0.5 if y.shape == shape else 1.0))


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_symbolic_dims_and_many_steps(device: str) -> None:
    x = sn.placeholder(("n", 3), name="x")
    w = sn.variable(np.ones(3, "f"), "w")
    y = sn.sum(halve(x * w))
    f = sn.function(x, y, updates={w: halve(w)}, device=device)
    data = np.arange(24, dtype="f").reshape(8, 3)
    got = f.run(4, data, batch_size=2)
    wanted = [data[2 * i : 2 * i + 2].sum() * 0.5 ** (i + 1) for i in range(4)]
    np.testing.assert_allclose(got, wanted)
    np.testing.assert_allclose(w.value, 0.5**4)


def test_derivatives_of_any_order() -> None:
    x = sn.placeholder((), "float64", "x")
    y = softsign(x) * bump(x)
    for _ in range(3):
        (y,) = sn.grad(y, x)
    t = sn.jvp([cube(x) * softsign(x)], [x], [sn.ones((), "float64")])[0]
    f = sn.function(x, [y, t], device="numpy")
    at, h = 0.7, 1e-2

    def own(v: float) -> float:
        return v / (1 + abs(v)) * float(np.exp(-v * v))

    third = (own(at + 2 * h) - 2 * own(at + h) + 2 * own(at - h) - own(at - 2 * h)) / (2 * h**3)
    first_order = 3 * at**2 * at / (1 + at) + at**3 / (1 + at) ** 2
    got = f(np.float64(at))
    np.testing.assert_allclose(got[0], third, rtol=2e-3)
    np.testing.assert_allclose(got[1], first_order, rtol=1e-12)


def test_a_forward_rule_is_transposed() -> None:
    x = sn.placeholder((3,), "float64", "x")
    y = sn.sum(cube(x) * x)
    (g,) = sn.grad(y, x)
    (h,) = sn.grad(sn.sum(g), x)
    a = np.array([0.5, -1.0, 2.0])
    got = sn.function(x, [g, h], device="numpy")(a)
    np.testing.assert_allclose(got[0], 4 * a**3)
    np.testing.assert_allclose(got[1], 12 * a**2)


def test_the_fake_gpu_waits_for_the_host(gpu: Any) -> None:
    x = sn.placeholder((4, 3), name="x")
    w = sn.variable(np.ones(3, "f"), "w")
    f = sn.function(x, halve(softsign(x) * w) + 1, updates={w: halve(w)}, device="cuda")
    soft = X / (1 + np.abs(X))
    for scale in (1.0, 0.5, 0.25):
        np.testing.assert_allclose(f(X).get(), soft * scale / 2 + 1, rtol=1e-6)
    assert gpu.count("begin capture") == 0
    stacked = f.run(2, np.concatenate([X, X]), batch_size=4)
    np.testing.assert_allclose(stacked.get()[1], soft / 16 / 2 + 1, rtol=1e-6)
    assert "Python: halve f32[4,3]" in str(f._backend.program(f.plan))
    assert f.plan.host_syncs == 2


@pytest.mark.slow
def test_the_fake_gpu_times_the_host(gpu: Any) -> None:
    x = sn.placeholder((4, 3), name="x")
    assert "halve" in str(sn.function(x, halve(x) * 2, device="cuda").profile(X, repeat=1))


def test_explain_and_the_plan_say_where_it_runs() -> None:
    x = sn.placeholder((4, 3), name="x")
    f = sn.function(x, halve(softsign(x) * 2) * 2, device="cpu")
    text = str(f.explain())
    assert (
        "on the host: halve is a Python call between kernels (declared on tests/own_ops.py:" in text
    )
    assert "with a scalar form it would fuse" in text
    assert text.count("on the host") == 1
    assert f.plan.launches == 3
    assert f.plan.host_syncs == 1
    fused = sn.function(x, softsign(x) * 2 + blend(x, x), device="cpu")
    assert fused.plan.launches == 1
    assert fused.plan.host_syncs == 0
    assert "0.25f * t0 + 7.5e-1f * t0" in fused.source()
    assert f.cost_analysis().launches == 3


def test_export_needs_a_scalar_form(tmp_path: Path) -> None:
    x = sn.placeholder((4, 3), name="x")
    sn.function(x, softsign(x), device="numpy").export_c(tmp_path / "a.c")
    with pytest.raises(ArgumentError, match=r"halve \(declared on .*own_ops.py:\d+\) runs in Py"):
        sn.function(x, halve(x), device="numpy").export_c(tmp_path / "b.c")


def test_text_and_copies() -> None:
    x = sn.placeholder((4, 3), name="x")
    graph = sn.function(x, [first(turned(x), count=2), halve(x)], device="numpy").graph
    text = str(graph)
    assert "first_columns(%0, count=2, keep=True)" in text
    assert "turn_axis(%x, axis=1, steps=(1, 1), dtype=f32)" in text
    assert sn.parse(text) is graph
    assert copy.deepcopy(graph) is graph
    with pytest.raises(ParseError, match="unknown op 'halved'; if it is one of your own, run the"):
        sn.parse(text.replace("halve(", "halved("))
    assert "halve" in OWN_OPS
    assert "halve" not in OPS


def test_passes_see_it_like_any_op() -> None:
    x = sn.placeholder((4, 3), name="x")
    twice = softsign(x) * 1 + softsign(x)
    f = sn.function(x, [twice, halve(sn.constant(np.ones(3, "f")))], device="cpu")
    assert f.as_text(after="remat").count("softsign") == 1
    assert "halve(" not in f.as_text(after="constant_folding")
    f.check_numerics(X)
    half = sn.function(x, halve(x) @ sn.ones((3, 2)), device="cpu", precision="bfloat16")
    np.testing.assert_allclose(half(X), X @ np.ones((3, 2)) / 2, atol=2e-2)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_shape_rule_meets_the_shapes_that_were_called(device: str) -> None:
    """No rewrite of broadcasts and reshapes applies an op to operands that its rule refuses."""

    def matrices(x: Any, y: Any) -> Any:
        assert x.ndim == 2
        assert x.shape == y.shape
        return x

    op = sn.custom_op("of_matrices", lambda x, y: x + 2 * y, matrices, scalar="{0} + 2 * {1}")
    number, vector, matrix = (sn.placeholder(s, name=f"r{len(s)}") for s in ((), (3,), (2, 3)))
    many = sn.broadcast_to(number, (2, 3))
    outputs = [
        op(many, many * 2), op(vector[None], sn.reshape(vector * 2, (1, 3))),
        op(matrix, sn.broadcast_to(vector, (2, 3))), op(matrix, many),
    ]  # fmt: skip
    f = sn.function([number, vector, matrix], outputs, device=device)
    for y, right in zip(
        f(np.float32(2), np.ones(3, "f"), np.full((2, 3), 3, "f")), (10, 5, 5, 7), strict=True
    ):
        np.testing.assert_array_equal(y, np.full(y.shape, right, "f"))


def test_batches() -> None:
    x = sn.placeholder((2, 3), name="x")
    xs = sn.placeholder((5, 2, 3), name="xs")
    scaled = sn.custom_op(
        "scaled_rows", lambda x, s: x * s, lambda x, s: x, vectorized=False,
        vjp=lambda y, g, x, s: (g * s, None),
    )  # fmt: skip
    s = sn.constant(np.float32(3))
    outputs: list[Any] = [softsign(x), first(x, count=2), turned(x), scaled(x, s)]
    made = batch_nodes(outputs, {x: xs}, 5)
    feed = np.random.default_rng(1).normal(size=(5, 2, 3)).astype("f")
    got = sn.function(xs, made, device="numpy")(feed)  # type: ignore[arg-type]
    one = sn.function(x, outputs, device="numpy")
    for i in range(5):
        for whole, wanted in zip(got, one(feed[i]), strict=True):
            np.testing.assert_array_equal(whole[i], wanted)
    empty = batch_nodes(outputs, {x: sn.placeholder((0, 2, 3), name="none")}, 0)
    assert [y.shape for y in empty if y is not None] == [(0, 2, 3), (0, 2, 2), (0, 2, 3), (0, 2, 3)]
    many = sn.placeholder(("n", 2, 3), name="many")
    looped = batch_nodes(outputs, {x: many}, many.shape[0])
    for whole, wanted in zip(sn.function(many, looped, device="numpy")(feed), got, strict=True):  # type: ignore[arg-type]
        np.testing.assert_array_equal(whole, wanted)


def test_vectorized_ops_take_all_examples_at_once() -> None:
    seen = []

    def norm(x: Any) -> Any:
        seen.append(x.shape)
        return np.sqrt((x * x).sum(-1))

    row_norm = sn.custom_op("row_norm", norm, lambda x: x.with_shape(x.shape[:-1]), vectorized=True)
    x, xs = sn.placeholder((3,), name="x"), sn.placeholder(("n", 3), name="xs")
    (y,) = batch_nodes([row_norm(x)], {x: xs}, xs.shape[0])  # type: ignore[list-item]
    got = sn.function(xs, y, device="numpy")(np.full((5, 3), 2, "f"))  # type: ignore[arg-type]
    np.testing.assert_allclose(got, np.sqrt(12), rtol=1e-6)
    assert seen == [(5, 3)]


def looped(x: Any) -> list[Any]:
    c, ys = sn.scan(lambda c, u: (halve(c) + u, softsign(c) * halve(u)), x[0], x)
    y = sn.cond(sn.sum(x) > 0, halve, sn.tanh, x)
    z = sn.while_loop(lambda c: sn.sum(c) > 0.1, halve, sn.abs(x))
    r, angle = sn.vmap(lambda r: polar(r, halve(r)))(x)
    return [c, ys, y, z, sn.vmap(lambda r: halve(r) * softsign(r))(x), r, angle]


def test_in_loops_and_conditions(gpu: Any) -> None:
    x = sn.placeholder((4, 3), name="x")
    wanted = sn.function(x, looped(x), device="numpy")(X)
    for device in ("cpu", "cuda"):
        f = sn.function(x, looped(x), device=device)
        for _ in range(2):
            for got, want in zip(f(X), wanted, strict=True):
                value = got if device == "cpu" else got.get()
                np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match="export_c: halve .* runs in Python"):
        sn.function(x, looped(x)[0], device="numpy").export_c("none.c")
