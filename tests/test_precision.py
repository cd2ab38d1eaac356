"""`precision=`: what the pass does to types, bits and training, against an oracle and PyTorch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from random_graphs import graphs

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.compilation import PIPELINE
from staticnet.errors import ArgumentError
from staticnet.ir.dtype import BFLOAT16, FLOAT16, FLOAT32
from staticnet.ops.evaluate import evaluate
from staticnet.passes.manager import Context
from staticnet.passes.precision import cast, cast_below_views, precision

HALVES = ("bfloat16", "float16")
GOLDEN = sorted((Path(__file__).parent / "golden" / "precision").glob("*.sn"))
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
F = sn.nn.functional


def classifier(**options: Any) -> tuple[Any, list[Any]]:
    """A training step of two layers on sixteen classes of noisy points, and its data."""
    rng = np.random.default_rng(0)
    batch = sn.Dim("batch")
    x, y = sn.placeholder((batch, 20), name="x"), sn.placeholder((batch,), "int64", "y")
    shapes = {"w1": (32, 20), "b1": (32,), "w2": (16, 32), "b2": (16,)}
    w = {
        name: sn.variable((rng.normal(size=s) / s[-1] ** 0.5).astype("f"), name)
        for name, s in shapes.items()
    }
    hidden = sn.relu(F.linear(x, w["w1"], w["b1"]))
    loss = sn.nn.cross_entropy(F.linear(hidden, w["w2"], w["b2"]), y)
    updates = sn.optim.Adam(lr=1e-2).minimize(loss)
    f = sn.function([x, y], loss, updates, **options)
    labels = rng.integers(0, 16, 256)
    points = rng.normal(size=(16, 20))[labels] + 0.3 * rng.normal(size=(256, 20))
    return f, [points.astype("f"), labels]


def products(text: str) -> list[Any]:
    return [node for node in sn.parse(text).nodes if node.op.name == "matmul"]


@pytest.mark.parametrize("name", HALVES)
def test_every_product_of_a_training_step_takes_the_compute_type(name: str) -> None:
    f, _ = classifier(device="numpy", precision=name)
    before, after = f.graph, sn.parse(f.as_text(after="precision"))
    found = products(str(after))
    assert len(found) == 5  # two forward, two for weights, one for the hidden layer
    assert {x.dtype.name for node in found for x in (node, *node.inputs)} == {name}
    assert [y.type for y in after.outputs] == [y.type for y in before.outputs]
    assert [(w.type, v.type) for w, v in after.updates] == [
        (w.type, v.type) for w, v in before.updates
    ]
    taken = ("matmul", "cast", "permute_dims", "take_along_axis")  # of a product: in its type
    others = [n for n in after.nodes if n.op.name not in taken]
    assert {n.dtype.name for n in others} <= {"float32", "int64", "int32", "bool"}


@pytest.mark.parametrize("name", HALVES)
def test_a_concatenation_of_products_stays_narrow(name: str) -> None:
    """With the bits of one that is wide; where a part is wide, the whole is."""
    x, *w = (sn.placeholder((6, 6), name=n) for n in "xuvw")
    parts = [sn.matrix_transpose(x @ w[0]), sn.reshape(x @ w[1], (3, 12))[:, :6], x @ w[2]]
    whole = sn.concat(parts, 0)
    viewed = sn.sum(sn.reshape(whole, (3, -1)), 1)
    outputs = [sn.sum(whole, 0), whole @ w[0], viewed]
    f = sn.function([x, *w], outputs, device="numpy", precision=name)
    after = sn.parse(f.as_text(after="precision"))
    assert {n.dtype.name for n in after.nodes if n.op.name == "reshape"} == {name}
    (joined,) = (node for node in after.nodes if node.op.name == "concat")
    assert joined.dtype.name == name
    feeds = [np.random.default_rng(0).normal(size=(6, 6)).astype("f") for _ in range(4)]
    apart = sn.function([x, *w], parts, device="numpy", precision=name)(*feeds)
    summed, multiplied, viewed = f(*feeds)
    together = np.concatenate(apart)
    np.testing.assert_array_equal(summed, together.sum(0))
    np.testing.assert_array_equal(viewed, together.reshape(3, -1).sum(1))
    narrow = together.astype(name).astype("f") @ feeds[1].astype(name).astype("f")
    np.testing.assert_array_equal(multiplied, narrow.astype(name).astype("f"))
    g = sn.function([x, *w], sn.concat([*parts, w[0]], 0), device="numpy", precision=name)
    (joined,) = (n for n in sn.parse(g.as_text(after="precision")).nodes if n.op.name == "concat")
    assert joined.dtype.name == "float32"


def test_what_several_products_use_is_cast_once() -> None:
    f, _ = classifier(device="numpy", precision="bfloat16")
    graph = sn.parse(f.as_text(after="precision", batch=8))
    made = [n.inputs[0] for n in graph.nodes if n.op.name == "cast" and n.dtype == BFLOAT16]
    # x, w1, hidden, w2 and the two gradients of pre-activations
    assert len(made) == len(set(made)) == 6
    assert all(not node.op.moves for node in made)


def test_float32_and_tf32_leave_the_graph_alone(caplog: pytest.LogCaptureFixture) -> None:
    plain, data = classifier(device="numpy")
    with caplog.at_level(logging.INFO, "staticnet"):
        tf32, _ = classifier(device="numpy", precision="tf32")
        assert tf32(*data) == plain(*data)
    told = [r for r in caplog.records if "tf32" in r.message]
    assert [r.levelname for r in told] == ["INFO"]
    assert "device numpy has no such units; it computes in float32" in told[0].message
    assert products(tf32.as_text(after="precision"))[0].dtype == FLOAT32


@pytest.mark.parametrize("name", ["tf32", *HALVES])
def test_exact_numerics_contradict_it(name: str) -> None:
    x = sn.placeholder((2, 2), name="x")
    with pytest.raises(ArgumentError, match=rf"{name}.*use numerics='fast' or precision='float32'"):
        sn.function(x, x @ x, precision=name, numerics="exact")


def test_it_can_be_left_out() -> None:
    f, _ = classifier(device="numpy", precision="bfloat16", disabled_passes=["precision"])
    assert {n.dtype for n in products(f.as_text(after="library"))} == {FLOAT32}


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
@pytest.mark.parametrize("name", HALVES)
def test_it_is_idempotent(file: Path, name: str) -> None:
    graph = sn.parse(file.read_text(encoding="utf-8").partition("// after ")[0])
    once = precision(graph, Context(precision=name))
    assert once is not graph
    assert precision(once, Context(precision=name)) is once


def test_casts_that_lose_nothing_collapse_and_others_stay() -> None:
    b, f = sn.placeholder((2,), "bfloat16", "b"), sn.placeholder((2,), "float32", "f")
    i = sn.placeholder((2,), "int32", "i")
    assert cast(sn.astype(b, "float32"), BFLOAT16) is b
    assert cast(sn.astype(b, "float64"), BFLOAT16) is b
    assert cast(f, FLOAT32) is f
    for there, dtype in [
        (sn.astype(f, "bfloat16"), FLOAT32),
        (sn.astype(b, "float16"), BFLOAT16),
        (sn.astype(b, "int32"), BFLOAT16),
        (sn.astype(i, "float32"), BFLOAT16),
    ]:
        assert cast(there, dtype).inputs == (there,)


def test_casts_go_below_a_long_chain_of_views() -> None:
    x = sn.placeholder((2, 3), name="x")
    y = sn.tanh(x)
    for _ in range(3000):
        y = sn.flip(sn.permute_dims(y, (1, 0)), 0)
    below = cast_below_views(y, FLOAT16)
    while below.op.moves:
        (below,) = below.inputs
    assert (below.op.name, below.inputs[0].op.name) == ("cast", "tanh")


steady = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def rounded(x: Any, dtype: Any) -> Any:
    return x.astype(dtype).astype(np.float32)


def by_definition(graph: sn.Graph, feeds: list[Any], dtype: Any) -> list[Any]:
    """The graph's values if every product rounds its operands and its float32 sum to `dtype`."""
    values = dict(zip(graph.inputs, feeds, strict=True))
    with np.errstate(all="ignore"):
        for node in graph.nodes[len(feeds) :]:
            operands = [values[x] for x in node.inputs]
            if node.op.name == "matmul" and node.dtype == FLOAT32:
                x, y = (rounded(operand, dtype) for operand in operands)
                values[node] = rounded(x @ y, dtype)
            else:
                values[node] = evaluate(node, operands)
    return [values[y] for y in graph.outputs]


@pytest.mark.parametrize("name", HALVES)
@steady
@given(case=graphs("float32"))
def test_it_rounds_the_products_and_nothing_else(
    name: str, case: tuple[sn.Graph, list[Any]]
) -> None:
    graph, feeds = case
    note(str(graph))
    wanted = by_definition(graph, feeds, sn.constant(0, name).dtype)
    others = [p.name for p in PIPELINE if p.name != "precision"]
    f = sn.function(
        graph.inputs, graph.outputs, device="numpy", precision=name, disabled_passes=others
    )
    for a, b in zip(f(*feeds), wanted, strict=True):
        np.testing.assert_array_equal(a, b)


SMOOTH = ("tanh", "sin", "sigmoid")  # at most 1, as their slopes: float16 does not overflow
LINEAR = ("permute_dims", "reshape", "broadcast_to", "flip", "sum", "constant", "size", "cast")


@st.composite
def smooth_graphs(draw: Any) -> tuple[sn.Graph, list[Any]]:
    """Up to three products with smooth functions, sums and views between them, and gradients."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    n = draw(st.integers(1, 9))
    inputs = [sn.placeholder((n, n), name=f"x{i}") for i in range(2)]
    pool: list[Any] = [*inputs]
    for _ in range(draw(st.integers(1, 3))):
        x, y = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
        z = getattr(sn, draw(st.sampled_from(SMOOTH)))(x @ (y.T if draw(st.booleans()) else y) / n)
        views = [lambda z: z, lambda z: z.T, lambda z: sn.flip(z, 0), lambda z: sn.mean(z, 0)]
        pool.append(z + draw(st.sampled_from(views))(z))
    feeds = [rng.uniform(-1, 1, (n, n)).astype("f") for _ in inputs]
    loss = sn.mean(pool[-1] * pool[-1])
    grads = sn.grad(loss, inputs, allow_unused=True)
    return sn.Graph("smooth", inputs, [pool[-1], loss, *grads]), feeds


def with_bounds(graph: sn.Graph, feeds: list[Any], name: str) -> list[tuple[Any, Any]]:
    """The float64 values of a graph's outputs, and how far rounding its products can move them.

    Running error analysis: Higham, "Accuracy and stability of numerical algorithms", 3.3.
    """
    unit, tiny = {"bfloat16": (2**-8, 0.0), "float16": (2**-11, 2**-25)}[name]
    value = {x: feed.astype(np.float64) for x, feed in zip(graph.inputs, feeds, strict=True)}
    error = {x: np.zeros(feed.shape) for x, feed in zip(graph.inputs, feeds, strict=True)}
    for node in graph.nodes[len(feeds) :]:
        v, e = [value[x] for x in node.inputs], [error[x] for x in node.inputs]
        z = np.asarray(evaluate(node, v))
        size = [np.abs(x) for x in v]
        op = node.op.name
        if op == "matmul":
            e = [d + unit * (x + d) + tiny for d, x in zip(e, size, strict=True)]
            moved = size[0] @ e[1] + e[0] @ size[1] + e[0] @ e[1]
            moved = moved + unit * (np.abs(z) + moved) + tiny
        elif op == "multiply":
            moved = size[0] * e[1] + e[0] * size[1] + e[0] * e[1]
        elif op == "divide":
            moved = (e[0] + np.abs(z) * e[1]) / (size[1] - e[1])
        elif op in ("add", "subtract"):
            moved = e[0] + e[1]
        elif op in (*SMOOTH, "cos", "negative"):
            moved = e[0]
        else:
            assert op in LINEAR, op
            moved = np.asarray(evaluate(node, e)) if e else np.zeros(z.shape)
        value[node], error[node] = z, moved + 2**-20 * np.abs(z)
    return [(value[y], error[y]) for y in graph.outputs]


@pytest.mark.parametrize("name", HALVES)
@steady
@given(case=smooth_graphs())
def test_values_and_gradients_stay_near_float64(
    name: str, case: tuple[sn.Graph, list[Any]]
) -> None:
    graph, feeds = case
    note(str(graph))
    f = sn.function(graph.inputs, graph.outputs, device="numpy", precision=name)
    for got, (wanted, bound) in zip(f(*feeds), with_bounds(graph, feeds, name), strict=True):
        assert got.dtype == np.float32
        assert np.all(np.abs(got - wanted) <= bound)


@needs_compiler
@pytest.mark.parametrize("name", HALVES)
@settings(steady, max_examples=5)
@given(case=smooth_graphs())
def test_the_cpu_agrees_with_numpy(name: str, case: tuple[sn.Graph, list[Any]]) -> None:
    """Each is within the bound of the true value."""
    graph, feeds = case
    note(str(graph))
    got, wanted = (
        sn.function(graph.inputs, graph.outputs, device=device, precision=name)(*feeds)
        for device in ("cpu", "numpy")
    )
    for a, b, (_, bound) in zip(got, wanted, with_bounds(graph, feeds, name), strict=True):
        assert a.dtype == b.dtype
        assert np.all(np.abs(a - b) <= 2 * bound)


@pytest.mark.parametrize("device", ["numpy", pytest.param("cpu", marks=needs_compiler)])
def test_training_reaches_the_loss_of_float32(device: str) -> None:
    final = {}
    for name in ("float32", *HALVES):
        f, data = classifier(device=device, precision=name)
        losses = f.run(200, *data, batch_size=64, shuffle=True, seed=1)
        assert losses.dtype == np.float32
        final[name] = float(np.mean(losses[-8:]))
        assert losses[0] > 2
    assert final["float32"] < 0.05
    for name in HALVES:
        assert final[name] == pytest.approx(final["float32"], rel=0.1)


@needs_compiler
def test_the_cpu_multiplies_16_bit_matrices_with_blas() -> None:
    """Rounded operands in float32 have the bits of 16-bit products, and BLAS takes them."""
    f, data = classifier(device="cpu", precision="bfloat16")
    f(*data)
    source = f.specialize(batch=256).executable.program.source
    assert "sn_call_gemm_f32(" in source
    assert "sn_product_bf16" not in source


def ulp(x: Any) -> Any:
    """The distance of bfloat16 numbers around x."""
    return np.spacing(np.abs(x).astype(ml_dtypes.bfloat16)).astype(np.float64)


def test_a_linear_layer_against_pytorch_autocast() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    rng = np.random.default_rng(3)
    values = [rng.normal(size=s).astype("f") for s in ((32, 100), (50, 100), (50,))]
    x, w, b = [sn.placeholder(v.shape, name=n) for v, n in zip(values, "xwb", strict=True)]
    y = F.linear(x, w)
    loss = sn.sum(y * y)
    f = sn.function([x, w, b], [y, F.linear(x, w, b), *sn.grad(loss, [x, w])], precision="bfloat16")
    product, biased, dx, dw = f(*values)
    tx, tw, tb = [torch.tensor(v, requires_grad=True) for v in values]
    with torch.autocast("cpu", torch.bfloat16):
        ty = torch.nn.functional.linear(tx, tw)
        tbiased = torch.nn.functional.linear(tx, tw, tb).detach().float().numpy()
    (ty.float() ** 2).sum().backward()
    wanted = ty.detach().float().numpy()
    assert np.all(np.abs(product - wanted) <= ulp(wanted))
    # ours rounds the product, PyTorch the bias and the sum: half an ulp each
    halves = ulp(product) / 2 + ulp(values[2]) / 2 + ulp(tbiased) / 2
    assert np.all(np.abs(biased - tbiased) <= halves + 1e-6)
    for ours, theirs in ((dx, tx.grad.numpy()), (dw, tw.grad.numpy())):
        assert np.max(np.abs(ours - theirs)) <= 2**-7 * np.max(np.abs(theirs))
