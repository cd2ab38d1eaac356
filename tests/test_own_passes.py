"""A user's own passes: at any place of the pipeline, inspected like the house's, named if wrong."""

from __future__ import annotations

import functools
import re
import sys
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, MemoryLimitError, VerifyError
from staticnet.passes import keep, rebuild

COMPILES = True
NAMES = [p.name for p in sn.PIPELINE]


def line() -> int:
    """The caller's line."""
    return sys._getframe(1).f_lineno


def tanh_to_sin(graph: sn.Graph) -> sn.Graph:
    """Wrong as a pass, and visible in the result."""

    def replace(node: Any, inputs: Any) -> Any:
        return sn.sin(inputs[0]) if node.op.name == "tanh" else keep(node, inputs)

    return rebuild(graph, "tanh_to_sin", replace)


def small(shape: Any = (3,)) -> tuple[Any, Any]:
    x = sn.placeholder(shape, name="x")
    return x, sn.tanh(x) * 1


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("place", [0, 3, NAMES.index("infer_shape"), len(NAMES)])
@pytest.mark.parametrize("shape", [(3,), ("n",)])
def test_at_any_place(device: str, place: int, shape: Any) -> None:
    x, y = small(shape)
    passes = (*sn.PIPELINE[:place], tanh_to_sin, *sn.PIPELINE[place:])
    f = sn.function(x, y, passes=passes, device=device)
    feed = np.linspace(-2, 2, 3, dtype="f")
    np.testing.assert_allclose(f(feed), np.sin(feed), rtol=1e-6)
    dims = {"n": 3} if shape == ("n",) else {}
    assert [r.name for r in f.passes(**dims)].index("tanh_to_sin") == place
    assert "sin(" in f.as_text(after="tanh_to_sin", **dims)
    assert "tanh(" in f.as_text()


def test_it_can_be_left_out_reordered_and_removed() -> None:
    x, y = small()
    passes = (tanh_to_sin, *sn.PIPELINE)
    f = sn.function(x, y, passes=passes, disabled_passes=["tanh_to_sin"], device="numpy")
    assert "tanh(" in f.as_text(after="remat")
    needed = [p for p in sn.PIPELINE if p.name == "infer_shape"]
    only = sn.function(x, y, passes=needed)
    assert [r.name for r in only.passes()] == ["infer_shape"]
    assert "multiply" in only.as_text(after="infer_shape")
    with pytest.raises(ArgumentError, match="'cse' is no pass"):
        sn.function(x, y, passes=needed, disabled_passes=["cse"])


def test_exact_compilation_leaves_out_what_is_not() -> None:
    x, y = small()
    rounds = sn.Pass("rounds", tanh_to_sin, numerics="approximates")
    f = sn.function(x, y, passes=(*sn.PIPELINE, rounds), numerics="exact", device="numpy")
    assert "rounds" not in [r.name for r in f.passes()]
    fast = sn.function(x, y, passes=(*sn.PIPELINE, rounds), device="numpy")
    assert [r.name for r in fast.passes()][-1] == "rounds"


def test_a_pass_may_take_the_context_and_note_what_it_did() -> None:
    class Counting:
        __name__ = "counting"

        def __call__(self, graph: sn.Graph, context: sn.passes.Context) -> sn.Graph:
            context.notes["seen"] += len(graph.nodes)
            return graph

    x, y = small()
    f = sn.function(x, y, passes=(*sn.PIPELINE, Counting()), device="numpy")
    assert f.passes()[-1].notes == {"seen": 2}
    partial = sn.Pass("partial", functools.partial(lambda n, graph: graph, 1))
    assert partial.where is not None
    assert "test_own_passes.py" in str(partial)


def test_a_memory_limit_holds_with_own_passes() -> None:
    x = sn.placeholder((1000,), name="x")
    y = sn.sum(sn.sin(x) @ sn.cos(x))
    passes = (*sn.PIPELINE, tanh_to_sin)
    with pytest.raises(MemoryLimitError, match="the limit is 100"):
        sn.function(x, y, passes=passes, memory_limit=100, device="cpu")
    without = [p for p in sn.PIPELINE if p.name != "remat"]
    with pytest.raises(MemoryLimitError) as caught:
        sn.function(x, y, passes=without, memory_limit=100, device="cpu")
    assert "computed again" not in str(caught.value)


def test_check_numerics_holds_own_passes_to_what_they_declare() -> None:
    x, y = small(("n", 3))
    w = sn.variable(np.ones(3, "f"), "w")
    f = sn.function(
        x, y * w, updates={w: w + 1}, passes=(*sn.PIPELINE, tanh_to_sin), device="numpy"
    )
    where = tanh_to_sin.__code__.co_firstlineno
    feed = np.linspace(-2, 2, 6, dtype="f").reshape(2, 3)
    with pytest.raises(VerifyError) as caught:
        f.check_numerics(feed)
    text = str(caught.value)
    assert text.startswith("tanh_to_sin promises to be exact, but changes tanh f32[2,3] (")
    assert f"test_own_passes.py:{where}; " in text
    honest = sn.function(x, y * w, device="numpy")
    assert [kept.name for kept in honest.check_numerics(x=feed)] == NAMES
    np.testing.assert_array_equal(w.value, np.ones(3))


def looped() -> tuple[Any, Any]:
    x = sn.placeholder((5, 3), name="x")
    last, ys = sn.scan(lambda c, u: (sn.tanh(c) + u, sn.exp(c) * u), x[0], x)
    return x, sn.sum(last) + sn.sum(ys)


def test_it_runs_on_the_bodies_of_loops() -> None:
    x, y = looped()
    f = sn.function(x, y, passes=(*sn.PIPELINE, tanh_to_sin), device="numpy")
    assert "sin(" in f.as_text(after="tanh_to_sin")
    feed = np.linspace(-1, 1, 15, dtype="f").reshape(5, 3)
    with pytest.raises(VerifyError, match="tanh_to_sin promises to be exact, but changes item"):
        f.check_numerics(feed)
    honest = sn.function(x, [y, *sn.grad(y, x)], device="numpy")
    assert len(honest.check_numerics(feed)) == len(sn.PIPELINE)


def test_what_is_rounded_in_a_loop_may_be_rounded_elsewhere() -> None:
    def move_sum(graph: sn.Graph) -> sn.Graph:
        def replace(node: Any, inputs: Any) -> Any:
            if node.op.name == "add" and inputs[0].op.name == "add":
                (a, b), c = inputs[0].inputs, inputs[1]
                return a + (b + c)
            return keep(node, inputs)

        return rebuild(graph, "move_sum", replace)

    x = sn.placeholder((50, 3), name="x")
    last, _ = sn.scan(lambda c, u: ((c + u) + u * 3, None), sn.zeros((3,)), x)
    feed = np.random.default_rng(0).normal(size=(50, 3)).astype("f")
    passes = (sn.Pass("move_sum", move_sum, "reassociates"), *sn.PIPELINE)
    f = sn.function(x, last, passes=passes, device="numpy")
    assert f.check_numerics(feed)[0].ulps > 0


def passes_of(change: Any) -> tuple[Any, ...]:
    def broken(graph: Any) -> Any:
        return change(graph)

    return (*sn.PIPELINE, broken)


def ill_typed(graph: sn.Graph) -> sn.Graph:
    from staticnet.ir.node import Node
    from staticnet.ir.types import TensorType

    (y,) = graph.outputs
    wrong = Node(y.op, y.inputs, TensorType(y.dtype, (7,)))
    return sn.Graph(graph.name, graph.inputs, [sn.sum(wrong)], graph.updates)


def with_parts(graph: sn.Graph, **parts: Any) -> sn.Graph:
    known = {name: getattr(graph, name) for name in ("name", "inputs", "outputs", "updates")}
    return sn.Graph(*(known | parts).values())


def reshaped(graph: sn.Graph) -> sn.Graph:
    return with_parts(graph, outputs=[sn.reshape(graph.outputs[0], (1, 3))])


def cast(graph: sn.Graph) -> sn.Graph:
    return with_parts(graph, outputs=[sn.astype(graph.outputs[0], "float64")])


def dropped(graph: sn.Graph) -> sn.Graph:
    return with_parts(graph, outputs=[sn.sum(graph.variables[0]) + sn.zeros(3)], inputs=[])


def reads_elsewhere(graph: sn.Graph) -> sn.Graph:
    return with_parts(graph, outputs=[graph.outputs[0] + sn.placeholder((3,), name="z")])


def updates_more(graph: sn.Graph) -> sn.Graph:
    kept = next(v for v in graph.variables if v not in dict(graph.updates))
    return with_parts(graph, updates=(*graph.updates, (kept, kept + 1)))


def raises(graph: sn.Graph) -> sn.Graph:
    raise KeyError("missing")


def symbolic(graph: sn.Graph) -> sn.Graph:
    n = sn.Dim("n")
    return with_parts(graph, outputs=[graph.outputs[0] + sn.sum(sn.ones((n,)))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (reshaped, r"changes the type of output 0 from f32\[3\] to f32\[1,3\]: "),
        (cast, r"changes the type of output 0 from f32\[3\] to f64\[3\]: "),
        (dropped, r"changes the inputs from x f32\[3\] to none"),
        (lambda g: with_parts(g, outputs=[]), "makes 0 outputs of 1"),
        (lambda g: with_parts(g, updates=()), r"drops the update of the variable w f32\[3\] \("),
        (updates_more, r"updates the variable kept f32\[3\] \(.*, which the graph only reads"),
        (reads_elsewhere, "failed: GraphError: .*is not an input"),
        (raises, "failed: KeyError: 'missing'"),
        (lambda g: None, "must return a Graph, not None"),
        (lambda g: g.outputs, r"must return a Graph, not \(tanh\(x\) \* w"),
        (symbolic, r"brings in the symbolic dims \['n'\]"),
        (ill_typed, r"the op infers f32\[3\]"),
    ],
)
def test_a_wrong_pass_is_named_with_its_line(change: Any, message: str) -> None:
    x, y = small()
    w, kept = sn.variable(np.ones(3, "f"), "w"), sn.variable(np.ones(3, "f"), "kept")
    passes = passes_of(change)
    with pytest.raises(VerifyError, match=message) as caught:
        sn.function(x, y * w * kept, updates={w: w + 1}, passes=passes, device="numpy")
    where = passes[-1].__code__.co_firstlineno
    assert f"the pass broken (tests/test_own_passes.py:{where})" in str(caught.value)


def test_an_identity_update_may_go_and_a_new_variable_come() -> None:
    x, y = small()
    w = sn.variable(np.ones(3, "f"), "w")
    calls = sn.variable(np.zeros((), "f"), "calls")

    def count_calls(graph: sn.Graph) -> sn.Graph:
        return with_parts(graph, updates=((calls, calls + 1),))

    f = sn.function(x, y * w, updates={w: w}, passes=(*sn.PIPELINE, count_calls), device="numpy")
    f(np.zeros(3, "f"))
    f(np.zeros(3, "f"))
    assert calls.value == 2


INFER = sn.PIPELINE[NAMES.index("infer_shape")]
REMAT = sn.PIPELINE[NAMES.index("remat")]


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ([], "infer_shape is missing"),
        ([p for p in sn.PIPELINE if p is not INFER], "infer_shape is missing"),
        ([REMAT, INFER], "remat plans memory and must come after infer_shape"),
        ([*sn.PIPELINE, tanh_to_sin, tanh_to_sin], "2 of them are named 'tanh_to_sin': tanh_to_"),
        ([*sn.PIPELINE, "dce"], "'dce' is neither an sn.Pass, nor a rule, nor a"),
        ([*sn.PIPELINE, 3], "3 is neither"),
        ("dce", "must be a sequence"),
        (None, "must be a sequence"),
        ([*sn.PIPELINE, lambda graph: graph], r"Pass: the name .* not '<lambda>'"),
        ([*sn.PIPELINE, lambda: None], "Pass: the name"),
        ([*sn.PIPELINE, line], r"Pass line: run must be a function of \(graph, context\)"),
    ],
)
def test_pipelines_that_cannot_run(passes: Any, message: str) -> None:
    x, y = small()
    with pytest.raises(ArgumentError, match=message):
        sn.function(x, y, passes=passes, device="numpy")


def test_a_pass_named_like_the_planner_part() -> None:
    x, y = small()
    with pytest.raises(ArgumentError, match="'fusion' is the name of a part of planning"):
        sn.function(x, y, passes=(*sn.PIPELINE, sn.Pass("fusion", tanh_to_sin)), device="numpy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", tanh_to_sin), "the name must be"),
        ((3, tanh_to_sin), "the name must be"),
        (("a b", tanh_to_sin), "the name must be"),
        (("p", 3), "run must be a function"),
        (("p", lambda a, b, c: a), "run must be a function"),
        (("p", tanh_to_sin, "rounds"), "'rounds': use one of 'exact', 'reassociates', 'approx"),
        (("p", tanh_to_sin, None), "use one of"),
    ],
)
def test_passes_that_are_none(arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sn.Pass(*arguments)


def test_the_house_has_no_lines() -> None:
    assert [p.where for p in sn.PIPELINE] == [None] * len(sn.PIPELINE)
    assert re.fullmatch(r"\w+", str(sn.PIPELINE[0]))


def test_a_pass_does_not_change_its_graph_in_place() -> None:
    def careless(graph: sn.Graph) -> sn.Graph:
        graph.outputs = graph.outputs[:1]
        return graph

    x = sn.placeholder((3,), name="x")
    with pytest.raises(VerifyError, match=r"the pass careless \(tests/.*a graph does not change"):
        sn.function(x, [x + 1, x + 2], passes=(careless, *sn.PIPELINE), device="numpy")
