"""The `library` pass: what it makes one node of, what it must not, and that the bits stay."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from random_graphs import graphs

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.numpy import NumpyBackend
from staticnet.compilation import PIPELINE
from staticnet.errors import ArgumentError, CompileError, DTypeError, ParseError, ShapeError
from staticnet.function import BACKENDS
from staticnet.ir.dtype import DTYPES, is_floating
from staticnet.ops.base import apply
from staticnet.ops.evaluate import evaluate
from staticnet.ops.library import EPILOGUES, MatmulEpilogue
from staticnet.passes.library import library
from staticnet.passes.manager import Context, run_passes

GOLDEN = sorted((Path(__file__).parent / "golden" / "library").glob("*.sn"))
F = sn.nn.functional
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")


class Offering(NumpyBackend):
    """NumPy as a device whose library has every epilogue."""

    epilogues = EPILOGUES


@pytest.fixture
def offering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "numpy", Offering())


def fused(graph: sn.Graph, **options: Any) -> sn.Graph:
    return library(graph, Context(epilogues=EPILOGUES, **options))


def epilogues(graph: sn.Graph) -> list[str]:
    """The epilogues of a graph's nodes, and "none" for plain products."""
    found = [n for n in graph.nodes if n.op.name in ("matmul", "matmul_epilogue")]
    return [n.op.epilogue(len(n.inputs)) if n.op.name != "matmul" else "none" for n in found]  # type: ignore[attr-defined]


def run(graph: sn.Graph, feeds: list[Any]) -> list[Any]:
    return NumpyBackend().build(graph).run(feeds)


X, W, B = (sn.placeholder(s, name=n) for s, n in [((6, 5), "x"), ((4, 5), "w"), ((4,), "b")])
DATA = [np.random.default_rng(7).normal(size=x.shape).astype("f") for x in (X, W, B)]  # type: ignore[arg-type]


def of(*outputs: Any) -> sn.Graph:
    return sn.Graph("g", [X, W, B], outputs)


def gelu(x: Any) -> Any:
    return F.gelu(x, "tanh")


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (lambda: F.linear(X, W, B), ["bias"]),
        (lambda: sn.relu(F.linear(X, W, B)), ["relu_bias"]),
        (lambda: gelu(F.linear(X, W, B)), ["gelu_bias"]),
        (lambda: sn.relu(X @ W.T), ["relu"]),
        (lambda: gelu(X @ W.T), ["gelu"]),
        (lambda: sn.relu(B + X @ W.T), ["relu_bias"]),
        (lambda: X @ W.T + sn.broadcast_to(B, (6, 4)), ["bias"]),
        (lambda: X @ W.T + sn.reshape(B, (1, 4)), ["bias"]),
        (lambda: F.linear(sn.reshape(X, (2, 3, 5)), W, B), ["bias"]),
        (lambda: sn.relu(F.linear(X[0], W, B)), ["relu_bias"]),
        (lambda: sn.relu(F.linear(sn.relu(F.linear(X, W, B)), W.T)), ["relu_bias", "relu"]),
        (lambda: sn.relu(sn.reshape(X @ W.T, (4, 6))), ["relu"]),
        (lambda: sn.reshape(X @ W[:1].T, (1, 6)) + B[:1], ["bias"]),
        # what must stay as it is
        (lambda: sn.reshape(X @ W.T, (24, 1)) + B, ["none"]),
        (lambda: F.gelu(F.linear(X, W, B)), ["bias"]),
        (lambda: X @ W.T + 1, ["none"]),
        (lambda: X @ W.T + B[0], ["none"]),
        (lambda: X @ W.T + X[:, :1], ["none"]),
        (lambda: X @ W.T + X[:, :4], ["none"]),
        (lambda: X[:1, :] @ W.T + X[:, :4], ["none"]),
        (lambda: sn.reshape(X @ W.T, (4, 6)) + X[0, 0], ["none"]),
        (lambda: sn.reshape(X @ W.T, (6, 2, 2)) + B[:2], ["none"]),
        (lambda: (X @ W.T).T + X[:, 0], ["none"]),
        (lambda: sn.tanh(X @ W.T) + B, ["none"]),
    ],
)
def test_what_becomes_one_node(build: Any, wanted: list[str]) -> None:
    graph = of(build())
    after = fused(graph)
    assert epilogues(after) == wanted
    assert [y.type for y in after.outputs] == [y.type for y in graph.outputs]
    for a, b in zip(run(after, DATA), run(graph, DATA), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_value_that_others_need_stays_out_of_the_node() -> None:
    product = X @ W.T
    before = product + B
    after = sn.relu(before)
    assert epilogues(fused(of(after, before))) == ["bias"]
    assert epilogues(fused(of(after, product))) == ["none"]
    assert epilogues(fused(of(after, sn.tanh(before)))) == ["bias"]
    assert epilogues(fused(of(after, sn.sum(product)))) == ["none"]
    assert epilogues(fused(of(gelu(before), before))) == ["bias"]
    assert epilogues(fused(of(gelu(product) + product))) == ["none"]
    row = X[:1] @ W.T
    assert epilogues(fused(of(row + row))) == ["none"]
    assert epilogues(fused(of(row + row[0]))) == ["none"]
    w = sn.variable(np.zeros((6, 4), "f"))
    updated = sn.Graph("g", [X, W, B], [after], ((w, before),))
    assert epilogues(fused(updated)) == ["bias"]


def test_relu_trains_fused_and_gelu_keeps_what_its_gradient_needs() -> None:
    for activation, wanted in ((sn.relu, "relu_bias"), (gelu, "bias")):
        y = activation(F.linear(X, W, B))
        graph = of(y, *sn.grad(sn.sum(y * y), [W, B]))
        assert epilogues(fused(graph)) == [wanted, "none"]


def test_only_what_is_offered() -> None:
    graph = of(sn.relu(F.linear(X, W, B)))
    assert library(graph, Context()) is graph
    for offered, wanted in [("bias", ["bias"]), ("relu", ["none"]), ("relu_bias", ["relu_bias"])]:
        assert epilogues(library(graph, Context(epilogues=frozenset({offered})))) == wanted


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
@pytest.mark.parametrize("offered", [EPILOGUES, frozenset({"bias"}), frozenset()])
def test_it_is_idempotent(file: Path, offered: frozenset[str]) -> None:
    graph = sn.parse(file.read_text(encoding="utf-8").partition("// after ")[0])
    context = Context(epilogues=offered, products=frozenset({"float32", "float64"}))
    once = library(graph, context)
    assert library(once, context) is once


def test_lines_of_all_that_it_covers() -> None:
    x, b = sn.placeholder((3, 3), name="lines"), sn.placeholder((3,), name="bias")
    first = inspect.currentframe().f_lineno  # type: ignore[union-attr]
    product = x @ x
    before = product + b
    graph = sn.Graph("g", [x, b], [sn.relu(before)])
    (y,) = fused(graph).outputs
    assert y.op.name == "matmul_epilogue"
    assert [line.line - first for line in y.provenance.lines] == [1, 2, 3]
    assert y.provenance.made_by == "library"


steady = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@st.composite
def with_layers(draw: Any, dtype: str) -> tuple[sn.Graph, list[Any]]:
    """A random graph, and layers on what it computes: some fit the library, some not quite."""
    graph, feeds = draw(graphs(dtype, steps=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    outputs = list(graph.outputs)
    for y in graph.outputs:
        if y.ndim == 0 or 0 in y.shape:
            continue
        n = y.shape[-1]
        w = sn.constant(rng.normal(size=(3, n)).astype(dtype))
        b = sn.constant(rng.normal(size=draw(st.sampled_from([3, (1, 3), 1]))).astype(dtype))
        z = F.linear(y, w) + b
        z = draw(st.sampled_from([sn.relu, gelu, sn.tanh, lambda z: z]))(z)
        outputs += draw(st.sampled_from([[z], [z, z.T if z.ndim == 2 else z + 1]]))
    return sn.Graph("layers", graph.inputs, outputs), feeds


@steady
@given(with_layers("float32"))
def test_float32_keeps_its_bits(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, feeds = case
    note(str(graph))
    after = fused(graph, numerics="exact")
    assert sn.parse(str(after)) is after
    for a, b in zip(run(after, feeds), run(graph, feeds), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@steady
@given(data=st.data())
def test_a_16_bit_product_widened_has_its_bits(dtype: str, data: Any) -> None:
    graph, feeds = data.draw(with_layers(dtype))
    note(str(graph))
    wide, _ = run_passes(graph, PIPELINE, products=frozenset({"float32"}))
    narrow, _ = run_passes(graph, PIPELINE)
    assert not [n for n in wide.nodes if n.op.name == "matmul" and n.dtype == dtype]
    for a, b in zip(run(wide, feeds), run(narrow, feeds), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [d for d in DTYPES.values() if is_floating(d)], ids=str)
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("shapes", [((6, 5), (5, 4)), ((2, 1, 6, 5), (3, 5, 4))])
def test_expanded_it_has_the_same_bits(dtype: Any, activation: str, shapes: Any) -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=s).astype(dtype) for s in (*shapes, (4,))]
    xs = [sn.placeholder(a.shape, dtype, f"x{i}") for i, a in enumerate(arrays)]
    node = apply(MatmulEpilogue(activation), *xs)
    graph = sn.Graph("g", xs, [node])
    plain = library(graph, Context())
    assert epilogues(plain) == ["none"]
    wanted = evaluate(node, arrays)
    assert wanted.dtype == dtype
    np.testing.assert_array_equal(run(plain, arrays)[0], wanted)


def test_exact_numerics_fuse_no_16_bit_product() -> None:
    x, b = sn.placeholder((3, 3), "bfloat16", "x"), sn.placeholder((3,), "bfloat16", "b")
    graph = sn.Graph("g", [x, b], [sn.relu(x @ x + b)])
    assert fused(graph, numerics="exact") is graph
    assert epilogues(fused(graph)) == ["relu_bias"]


def test_a_function_asks_its_backend(offering: None) -> None:
    y = gelu(F.linear(sn.relu(F.linear(X, W, B)), W.T))
    f = sn.function([X, W, B], y, device="numpy")
    assert epilogues(sn.parse(f.as_text(after="library"))) == ["relu_bias", "gelu"]
    plain = sn.function([X, W, B], y, device="numpy", disabled_passes=["library"])
    np.testing.assert_array_equal(f(*DATA), plain(*DATA))


def test_bfloat16_products_take_their_epilogues(offering: None) -> None:
    y = F.linear(sn.relu(F.linear(X, W, B)), W.T)
    f = sn.function([X, W, B], y, device="numpy", precision="bfloat16")
    graph = sn.parse(f.as_text(after="library"))
    assert epilogues(graph) == ["relu_bias", "none"]
    casts = [n for n in graph.nodes if n.op.name == "cast"]
    assert [str(n.dtype) for n in casts] == ["bfloat16"] * 3 + ["float32"]  # none between the two
    wanted = sn.function([X, W, B], y, device="numpy", disabled_passes=["library"])(*DATA)
    assert np.max(np.abs(f(*DATA) - wanted)) < 2**-6 * np.max(np.abs(wanted))


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (lambda y: y + B, "none"), (lambda y: sn.relu(y + B), "none"), (sn.relu, "relu"),
        (lambda y: sn.relu(y + B) @ W, "relu_bias"), (lambda y: gelu(y + B) @ W, "gelu_bias"),
    ],
)  # fmt: skip
def test_a_sum_that_float32_holds_is_not_float16s(tail: Any, found: str, offering: None) -> None:
    """In bfloat16, whose range is float32's, it is, as under autocast."""
    for precision, name in (("float16", found), ("bfloat16", None)):
        f = sn.function([X, W, B], tail(X @ W.T), device="numpy", precision=precision)
        first = epilogues(sn.parse(f.as_text(after="library")))[0]
        assert first == name if name else first != "none"
        if found == "none":
            got = f(*DATA[:2], np.full(4, 1e5, "f"))
            assert np.max(np.abs(got - 1e5)) < 400


PARSED = """graph parsed(%x: f32[6,5], %w: f32[5,4], %b: f32[4]) {
  %0: f32[6,4] = matmul_epilogue(%x, %w, %b, activation="relu")
  return %0
}"""


@pytest.mark.parametrize("device", ["numpy", pytest.param("cpu", marks=needs_compiler)])
def test_a_graph_that_holds_the_op_runs_where_the_library_lacks_it(device: str) -> None:
    graph = sn.parse(PARSED)
    f = sn.function(graph.inputs, graph.outputs, device=device)
    x, w, b = DATA
    (y,) = f(x, w.T, b)
    np.testing.assert_allclose(y, np.maximum(x @ w.T + b, 0), rtol=1e-5, atol=1e-6)
    assert "matmul_epilogue" not in f.as_text(after="library")


def test_left_out_the_op_runs_on_numpy_and_the_cpu_says_what_to_do() -> None:
    graph = sn.parse(PARSED)
    options: Any = {"disabled_passes": ["library"]}
    f = sn.function(graph.inputs, graph.outputs, device="numpy", **options)
    assert "matmul_epilogue" in f.as_text(after="dce")
    assert f(DATA[0], DATA[1].T, DATA[2])[0].shape == (6, 4)
    with pytest.raises(CompileError, match="take 'library' out of disabled_passes"):
        sn.function(graph.inputs, graph.outputs, device="cpu", **options)


def test_bad_operands() -> None:
    relu = MatmulEpilogue("relu")
    with pytest.raises(ArgumentError, match="must be one of none, relu, gelu, not 'swish'"):
        MatmulEpilogue("swish")
    with pytest.raises(ArgumentError, match="neither bias nor activation it is a matmul"):
        apply(MatmulEpilogue("none"), X, W.T)
    with pytest.raises(ArgumentError, match="not 1 operands"):
        apply(relu, X)
    with pytest.raises(ShapeError, match=r"the bias must be f32\[4\], not f32\[1,4\]"):
        apply(relu, X, W.T, sn.reshape(B, (1, 4)))
    with pytest.raises(ShapeError, match="inner dimensions differ"):
        apply(relu, X, W, B)
    with pytest.raises(DTypeError, match="floating-point"):
        apply(relu, *(sn.placeholder((2, 2), "int32", n) for n in "pq"))
    with pytest.raises(ParseError, match="swish"):
        sn.parse(PARSED.replace('"relu"', '"swish"'))


def test_flops_are_those_of_the_product_and_one_for_each_op_after_it() -> None:
    node = apply(MatmulEpilogue("gelu"), X, W.T, B)
    assert node.op.flops(node.type, *[x.type for x in node.inputs]) == 6 * 4 * (2 * 5 + 2)
