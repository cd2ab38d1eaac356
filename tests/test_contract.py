"""The numerics contract: each pass keeps what it declares, and a pass that does not is named."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from random_graphs import graphs
from test_passes import FILES, MARK, settings
from test_properties import steady

import staticnet as sn
from staticnet.compilation import PIPELINE
from staticnet.errors import ArgumentError, FeedError, VerifyError
from staticnet.function import PRECISIONS
from staticnet.ir.dtype import is_floating
from staticnet.ir.types import fixed
from staticnet.ops.base import constant
from staticnet.oracle import check_numerics
from staticnet.oracle.contract import CHOICES, OPTIONS
from staticnet.passes.algebraic_simplify import RULES
from staticnet.passes.manager import Context, Pass, run_passes
from staticnet.rewrite.driver import keep, rebuild, rewrite
from staticnet.rewrite.pattern import APPROXIMATES, EXACT, REASSOCIATES, Rule, algebraic

SIZE = 4  # of symbolic dims, where a golden file names none
NUMERICS = ("fast", "exact")


def line() -> int:
    """The caller's line."""
    return sys._getframe(1).f_lineno


def values_for(graph: sn.Graph, dims: dict[str, int]) -> list[Any]:
    """Feeds for a graph; its variables get values, too."""
    rng = np.random.default_rng(0)

    def drawn(node: Any) -> Any:
        shape = fixed(node.type.substitute(dict.fromkeys(graph.symbols, SIZE) | dims).shape)
        if is_floating(node.dtype):
            return rng.uniform(0.1, 2, shape).astype(node.dtype)
        return rng.integers(0, 2, shape).astype(node.dtype)

    for v in graph.variables:
        v.value = drawn(v)  # type: ignore[attr-defined]
    return [drawn(x) for x in graph.inputs]


@pytest.mark.parametrize("numerics", NUMERICS)
@pytest.mark.parametrize("file", FILES, ids=[f"{f.parent.name}/{f.stem}" for f in FILES])
def test_golden_graphs(file: Path, numerics: str) -> None:
    text = file.read_text(encoding="utf-8").partition(MARK)[0].rstrip()
    options = settings(text)
    dims = options.pop("dims")
    options["numerics"] = numerics
    if numerics == "exact":
        options.pop("precision", None)
    graph = sn.parse(text)
    kept = check_numerics(graph, values_for(graph, dims), **options)
    assert all(each.ulps == 0 for each in kept if each.numerics is EXACT)


@steady
@given(graphs("float32"))
def test_random_graphs(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, feeds = case
    note(str(graph))
    for numerics in NUMERICS:
        check_numerics(graph, feeds, numerics=numerics)


def in_another_order(node: Any) -> Any:
    """The same in real numbers, and rounded elsewhere: what a pass that reassociates may do."""
    name, xs = node.op.name, node.inputs
    if not is_floating(node.dtype):
        return node
    if name == "divide":
        return xs[0] * (1 / xs[1])
    if name == "add" and xs[0].op.name == "add":
        return xs[0].inputs[0] + (xs[0].inputs[1] + xs[1])
    if name == "sum":
        return sn.sum(sn.flip(xs[0], node.op.axes), node.op.axes, keepdims=node.op.keepdims)
    if name == "hypot":
        return sn.sqrt(sn.square(xs[0]) + sn.square(xs[1]))
    if name == "matmul":
        return sn.matrix_transpose(sn.matrix_transpose(xs[1]) @ sn.matrix_transpose(xs[0]))
    return node


def each_node(change: Any, numerics: Any, name: str = "each_node") -> Pass:
    """A pass that puts `change(node)` in each node's place."""

    def run(graph: sn.Graph, context: Context) -> sn.Graph:
        def replace(node: Any, inputs: Any) -> Any:
            node = keep(node, inputs)
            return sn.broadcast_to(change(node), node.shape)

        return rebuild(graph, name, replace)

    return Pass(name, run, numerics)


@steady
@given(st.sampled_from(["float32", "float64"]).flatmap(lambda dtype: graphs(dtype, 20)))
def test_rounding_elsewhere_is_accepted(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, feeds = case
    note(str(graph))
    check_numerics(graph, feeds, [each_node(in_another_order, REASSOCIATES)])


def training_graph() -> tuple[sn.Graph, list[Any]]:
    rng = np.random.default_rng(2)
    x, y = sn.placeholder(("n", 20), name="x"), sn.placeholder(("n",), "int64", name="y")
    sn.nn.manual_seed(5)
    model = sn.nn.Sequential(
        sn.nn.Linear(20, 16), sn.nn.GELU(), sn.nn.Dropout(0.2), sn.nn.Linear(16, 10)
    )
    loss = sn.nn.cross_entropy(model(x), y)
    updates = sn.optim.AdamW(lr=1e-2).minimize(loss, model.parameters())
    graph = sn.function([x, y], loss, updates=updates, device="numpy").graph
    return graph, [rng.normal(size=(32, 20)).astype("f"), rng.integers(0, 10, 32)]


@pytest.mark.parametrize(
    "options",
    [{}, {"numerics": "exact"}, {"precision": "bfloat16"}, {"precision": "float16"}],
    ids=str,
)
def test_a_training_step(options: dict[str, Any]) -> None:
    graph, feeds = training_graph()
    before = {v: v.value for v in graph.variables}  # type: ignore[attr-defined]
    kept = check_numerics(graph, feeds, **options)
    names = [p.name for p in PIPELINE]
    assert [each.name for each in kept] == names
    found = {each.name: each for each in kept}
    assert found["algebraic_simplify"].rules
    assert found["cse"].ulps == found["dce"].ulps == found["infer_shape"].ulps == 0
    moved = max(each.ulps for each in kept)
    if "numerics" in options:
        assert moved == 0
    if "precision" in options:
        assert moved == found["precision"].ulps > 1000
    assert all(np.array_equal(value, v.value) for v, value in before.items())  # type: ignore[attr-defined]


# --- passes that break their promise -----------------------------------------------------------


def rules_pass(rule: Rule, declared: Any = APPROXIMATES) -> Pass:
    """A pass of one rule, which selects by numerics as `algebraic_simplify` does."""

    def run(graph: sn.Graph, context: Context) -> sn.Graph:
        return rewrite(graph, [*RULES, rule], "broken", context.notes)

    return Pass("broken", run, declared, selects=True)


@algebraic(lambda x: sn.sin(x), EXACT)
def almost_the_same(x: Any) -> Any:
    return sn.cos(x - np.pi / 2) * 1.0000001


@algebraic(lambda x: sn.tan(x), REASSOCIATES)
def a_little_more(x: Any) -> Any:
    return sn.sin(x) / sn.cos(x) * 1.0001


def broken_graph() -> tuple[sn.Graph, list[Any], int]:
    x = sn.placeholder(("n", 3), name="x")
    y = sn.exp(x) * 1 + 0
    inner = sn.sin(y) + sn.tan(x) / 3
    here = line() - 1
    outer = sn.tanh(sn.sin(inner)) * 2
    feeds = [np.random.default_rng(0).uniform(0.2, 1, (5, 3)).astype("f")]
    return sn.Graph("broken", [x], [sn.sum(outer), outer]), feeds, here


def test_a_rule_that_is_not_exact_is_named() -> None:
    graph, feeds, here = broken_graph()
    with pytest.raises(VerifyError) as caught:
        check_numerics(graph, feeds, [rules_pass(almost_the_same)], numerics="exact")
    text = str(caught.value)
    assert text.startswith("broken promises to be exact, but changes sin f32[n,3] (")
    assert f"test_contract.py:{here}) by almost_the_same: " in text
    assert "becomes" in text
    assert text.endswith("ulp away")


def test_a_times_that_is_not_one() -> None:
    """One factor of 1.0000001 in a long graph: less than an ulp or two, and noticed."""

    @algebraic(lambda x: sn.relu(x), EXACT)
    def times_almost_one(x: Any) -> Any:
        return sn.maximum(x, 0) * 1.0000001

    x = sn.placeholder((8,), name="x")
    y = sn.relu(x * 3)
    here = line() - 1
    graph = sn.Graph("g", [x], [sn.sum(y * 2)])
    feeds = [np.linspace(0.1, 1, 8, dtype="f")]
    with pytest.raises(VerifyError, match=rf"relu .*:{here}\) by times_almost_one: .* 1 ulp away"):
        check_numerics(graph, feeds, [rules_pass(times_almost_one)], numerics="exact")
    check_numerics(graph, feeds, [rules_pass(times_almost_one)])


def test_a_rule_that_moves_more_than_rounding() -> None:
    graph, feeds, here = broken_graph()
    with pytest.raises(VerifyError) as caught:
        check_numerics(graph, feeds, [*PIPELINE, rules_pass(a_little_more)])
    text = str(caught.value)
    assert text.startswith("broken promises to be approximates, but changes tan f32[5,3] (")
    assert f"test_contract.py:{here}) by a_little_more: " in text
    assert "; in float64 it is " in text
    check_numerics(graph, feeds, [rules_pass(a_little_more)], ulps=1e4)


def test_an_identity_that_cancels() -> None:
    """tanh x = 1 - 2 / (e**2x + 1) in real numbers; near 0 it loses all digits."""

    def change(node: Any) -> Any:
        if node.op.name != "tanh":
            return node
        return 1 - 2 / (sn.exp(2 * node.inputs[0]) + 1)

    x = sn.placeholder((3,), name="x")
    graph = sn.Graph("g", [x], [sn.tanh(x) * 3])
    pipeline = [each_node(change, APPROXIMATES)]
    check_numerics(graph, [np.float32([0.5, 1, 2])], pipeline)
    with pytest.raises(VerifyError, match=r"changes tanh f32\[3\] .* at \[1\]; in float64 it is"):
        check_numerics(graph, [np.float32([0.5, 1e-4, 2])], pipeline)


@pytest.mark.parametrize("x", [800.0, 90.0, np.nan], ids=["inf", "inf in float32", "nan"])
def test_what_is_not_finite_stays_so(x: float) -> None:
    def change(node: Any) -> Any:
        return sn.where(node < 1e30, node, 7) if node.op.name == "exp" else node

    y = sn.exp(sn.placeholder((1,), name="x"))
    graph = sn.Graph("g", [y.inputs[0]], [y])
    with pytest.raises(VerifyError, match=r"changes exp f32\[1\] .* becomes np.float32\(7.0\)"):
        check_numerics(graph, [np.float32([x])], [each_node(change, APPROXIMATES)])
    finite = np.float32([min(x, 60) if x == x else 60])
    check_numerics(graph, [finite], [each_node(change, APPROXIMATES)])


def test_an_exact_pass_is_held_to_it_in_fast_compilation() -> None:
    def change(node: Any) -> Any:
        return node * constant(np.float32(1 + 2**-23)) if node.op.name == "tanh" else node

    graph, feeds, _ = broken_graph()
    with pytest.raises(VerifyError, match=r"^nudge promises to be exact, but changes tanh f32"):
        check_numerics(graph, feeds, [*PIPELINE, each_node(change, EXACT, "nudge")])


def test_an_update_is_held_too() -> None:
    w = sn.variable(np.float32([1, 2, 3]), "w")
    graph = sn.Graph("g", [], [], ((w, sn.sin(w)),))
    with pytest.raises(VerifyError, match=r"sin f32\[3\] .* by almost_the_same"):
        check_numerics(graph, [], [rules_pass(almost_the_same)], numerics="exact")
    assert w.value.tolist() == [1, 2, 3]


def test_what_depends_on_its_users_is_found_at_the_root() -> None:
    """A pass may change a node only where it is the whole output: no other root shows it."""

    def run(graph: sn.Graph, context: Context) -> sn.Graph:
        if len(graph.outputs) > 1 or graph.outputs[0].op.name != "exp":
            return graph
        return sn.Graph(graph.name, graph.inputs, [graph.outputs[0] * 2])

    x = sn.placeholder((3,), name="x")
    graph = sn.Graph("g", [x], [sn.exp(x)])
    feeds = [np.ones(3, "f")]
    with pytest.raises(VerifyError, match=r"^twice promises to be exact, but changes exp f32\[3\]"):
        check_numerics(graph, feeds, [Pass("twice", run)])


def test_cancellation_is_not_held_against_a_pass() -> None:
    """Sums of many terms that cancel lose digits in any order; the oracle knows how many."""
    x = sn.placeholder((1000, 4), name="x")
    total = sn.sum(sn.sum(x, 0), 0)
    values = np.random.default_rng(0).normal(size=(500, 4)).astype("f") * 1e4
    feeds = [np.concatenate([values, -values + 1e-3])]
    kept = check_numerics(sn.Graph("g", [x], [total]), feeds)
    moved = {each.name: each.ulps for each in kept}["algebraic_simplify"]
    assert moved > 100


def test_comparisons_that_rounding_decides() -> None:
    x = sn.placeholder((50,), name="x")
    nearly_zero = sn.square(x) ** 0.5 - sn.abs(x)
    graph = sn.Graph("g", [x], [sn.sign(nearly_zero), nearly_zero > 0])
    check_numerics(graph, [np.random.default_rng(0).normal(size=50).astype("f")])


def test_bad_feeds() -> None:
    graph, feeds, _ = broken_graph()
    with pytest.raises(FeedError, match="x: .*float64"):
        check_numerics(graph, [feeds[0].astype("d")])
    with pytest.raises(FeedError, match=r"1 feeds for the 0 placeholders of g; .*order: none"):
        check_numerics(sn.Graph("g", [], [constant(np.ones(2, "f"))]), feeds)


def test_too_few_and_too_many_feeds() -> None:
    x, y = sn.placeholder((2,), name="x"), sn.placeholder((2,), name="y")
    here = line() - 1
    graph = sn.Graph("g", [x, y], [x + y])
    one = np.ones(2, "f")
    with pytest.raises(FeedError) as caught:
        check_numerics(graph, [one])
    text = str(caught.value)
    assert text.startswith("check_numerics: 1 feeds for the 2 placeholders of g; y f32[2], ")
    assert f"test_contract.py:{here}, is not fed; give one each, in this order: x, y" in text
    with pytest.raises(FeedError, match=r"3 feeds for the 2 placeholders of g; give one each"):
        check_numerics(graph, [one, one, one])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numerics": "wrong"}, "numerics 'wrong': use one of exact, fast"),
        ({"precision": "f16"}, "precision 'f16': use one of float32, tf32, bfloat16, float16"),
        ({"foo": 3}, "'foo' is no option; beside numerics and ulps there are precision, disabled"),
        ({"dims": {"n": 3}}, "'dims' is no option"),
        ({"disabled": ["csee"]}, "'csee' is no pass; the passes are .*'cse'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    graph, feeds, _ = broken_graph()
    with pytest.raises(ArgumentError, match=message):
        check_numerics(graph, feeds, **options)


def test_the_options_are_those_of_run_passes() -> None:
    named = inspect.signature(run_passes).parameters.values()
    keywords = {p.name for p in named if p.kind is p.KEYWORD_ONLY}
    assert {*OPTIONS, "dims", "numerics"} == keywords
    assert set(CHOICES["precision"]) == set(PRECISIONS)


def test_a_pass_that_is_left_out() -> None:
    graph, feeds, _ = broken_graph()
    broken = rules_pass(a_little_more)
    kept = check_numerics(graph, feeds, [*PIPELINE, broken], disabled=["broken", "cse"])
    assert [each.name for each in kept if each.rules] == ["algebraic_simplify"]
    with pytest.raises(VerifyError, match="^broken promises"):
        check_numerics(graph, feeds, [*PIPELINE, broken], disabled=["cse"])
