"""An op declared again: the same call is the same op, and texts tell ops of one name apart."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ParseError

X = sn.placeholder((3,), name="x")
FLOAT = np.dtype("float32")
scale = 3


def graph_of(op: Any) -> sn.Graph:
    return sn.Graph("main", [X], [op(X)])


def value_of(graph: sn.Graph) -> Any:
    return sn.function(X, graph.outputs[0], device="numpy")(np.ones(3, "f"))[0]


def pick(
    x: Any,
    *,
    by: int = 2,
    deep: bool = False,
    axes: tuple[int, ...] = (),
    to: np.dtype[Any] = FLOAT,
) -> Any:
    return x * by


CALLS: dict[str, Callable[[], Any]] = {
    "functions": lambda: sn.custom_op("cell", lambda x: x * 2, lambda x: x),
    "a form": lambda: sn.custom_op("cell", lambda x: x * 2, scalar="{0} * 2"),
    "rules": lambda: sn.custom_op("cell", lambda x: x * 2, vjp=lambda y, g, x: g * 2, flops=3),
    "attributes": lambda: sn.custom_op("cell", pick, lambda x, **given: x),
    "a global": lambda: sn.custom_op("cell", lambda x: x * scale, lambda x: x),
    "a built-in function": lambda: sn.custom_op("cell", np.square),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_same_call_is_the_same_op(call: Callable[[], Any]) -> None:
    op = call()
    again = call()
    assert again.op_class is op.op_class
    assert again.op() == op.op()
    assert graph_of(again) is graph_of(op)


def test_any_other_call_is_another_op() -> None:
    def scaled(by: int) -> Any:
        return sn.custom_op("scaled_by", lambda x: x * by, lambda x: x)

    ops = [scaled(2), scaled(5), *(call() for call in CALLS.values())]
    ops.append(sn.custom_op("scaled_by", np.square, flops=4))
    ops.append(sn.custom_op("scaled_by", np.square, vjp=lambda y, g, x: 2 * g * x))
    ops.append(sn.custom_op("scaled_by", np.square, dtypes="any"))
    assert len({op.op_class for op in ops}) == len(ops)
    assert [value_of(graph_of(op)) for op in ops[:2]] == [2, 5]


def test_a_text_says_which_op_it_means() -> None:
    first = sn.custom_op("tells", lambda x: x * 2, lambda x: x)
    one = graph_of(first)
    early = str(one)
    assert "= tells(%x)" in early
    second = sn.custom_op("tells", lambda x: x * 3, lambda x: x)
    two = graph_of(second)
    assert "tells@1(%x)" in str(one)
    assert "tells@2(%x)" in str(two)
    for graph, value in ((one, 2), (two, 3)):
        assert sn.parse(str(graph)) is graph
        assert copy.deepcopy(graph) is graph
        assert value_of(graph) == value
    for op in (first.op(), second.op()):
        assert pickle.loads(pickle.dumps(op)) == op == copy.deepcopy(op)
    lines = r"tells@1 \(tests/test_own_ops_again.py:\d+\), tells@2 \(tests/test_own_ops_again.py:"
    with pytest.raises(ParseError, match=rf"line 2: tells is declared 2 times, as {lines}.*write"):
        sn.parse(early)
    with pytest.raises(ParseError, match=rf"tells@3 is not declared; of this .* {lines}"):
        sn.parse(early.replace("tells", "tells@3"))


def test_in_loops_and_explanations() -> None:
    ops = [sn.custom_op("inner", lambda x: x * 2, lambda x: x),
           sn.custom_op("inner", lambda x: x * 3, lambda x: x)]  # fmt: skip
    c, ys = sn.scan(lambda c, x: (ops[0](c), ops[1](x)), sn.ones(()), X)
    graph = sn.Graph("main", [X], [c, ys])
    assert sn.parse(str(graph)) is graph
    assert "inner@2" in str(sn.function(X, [c, ys], device="numpy").explain())


def test_classes_are_told_apart() -> None:
    made = []
    for by in (2, 3):

        @dataclass(frozen=True)
        class Scaled(sn.Op, name="scaled_class"):
            steps: int

            def infer(self, x: Any) -> Any:
                return x

            def eval(self, xp: Any, x: Any, by: int = by) -> Any:
                return x * by

        made.append(sn.Graph("main", [X], [Scaled(1)(X)]))  # type: ignore[call-arg]
    for number, graph in enumerate(made, 1):
        assert f"scaled_class@{number}(%x, steps=1)" in str(graph)
        assert sn.parse(str(graph)) is graph
        assert value_of(graph) == number + 1
