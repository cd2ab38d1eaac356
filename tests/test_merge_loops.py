"""`merge_loops`: what is left of the loops of a derivative, with the same bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_control_derivatives import PROGRAMS, H, V, W, X, inputs, rnn

import staticnet as sn
from staticnet.ir.verify import verify
from staticnet.passes.manager import Context
from staticnet.passes.merge_loops import merge_loops


def loops(graph: sn.Graph) -> Counter[str]:
    """How many loops and conditions there are, those inside others included."""
    found: Counter[str] = Counter()
    for node in graph.nodes:
        for held in node.op.graphs.values():
            found += loops(held)
        found[node.op.name] += bool(node.op.graphs)
    return +found


def merged(outputs: list[Any], nodes: list[Any], arrays: Any) -> sn.Graph:
    """The graph after the pass alone, which gives the same bits and has nothing more to do."""
    graph = sn.Graph("g", nodes, outputs)
    after = merge_loops(graph, Context())
    verify(after)
    assert sn.parse(str(after)) is after
    assert merge_loops(after, Context()) is after
    runs = [
        sn.function(
            list(g.inputs), list(g.outputs), device="numpy", numerics="exact", passes=[INFER]
        )
        for g in (graph, after)
    ]
    for a, b in zip(*(run(*arrays) for run in runs), strict=True):
        np.testing.assert_array_equal(a, b)
    return after


INFER = next(p for p in sn.PIPELINE if p.name == "infer_shape")


def test_a_training_step_has_one_loop_there_and_one_back() -> None:
    arrays = (H, X, W, V)
    nodes = inputs(arrays)
    loss = rnn(sn.scan, False, True)(*nodes)
    assert loops(merged([loss, *sn.grad(loss, nodes)], nodes, arrays)) == {"scan": 2}
    assert loops(merged([loss, *sn.grad(loss, [nodes[2]])], nodes, arrays)) == {"scan": 2}


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives_keep_their_bits(name: str) -> None:
    program, arrays = PROGRAMS[name]
    nodes = inputs(list(map(np.asarray, arrays)))
    by = [x for x in nodes if x.dtype.kind == "f"]
    loss = program(*nodes)
    grads = sn.grad(loss, by)
    after = merged([loss, *grads], nodes, arrays)
    assert sum(loops(after).values()) <= 2 * sum(loops(sn.Graph("g", nodes, [loss])).values())
    merged([loss, *grads, *sn.jvp(grads, by, by)], nodes, arrays)


def test_loops_that_need_one_another_stay_apart() -> None:
    nodes = inputs((X,))
    (x,) = nodes

    def sums(x: Any) -> Any:
        return sn.scan(lambda c, x: (c + x, c), sn.zeros((2, 3), "float64"), x)

    total, running = sums(x)
    _, again = sn.scan(lambda c, x: (c + x, c), total, x)
    assert loops(merged([again, running], nodes, (X,))) == {"scan": 2}


CASES: list[tuple[str, Callable[..., list[Any]], dict[str, int]]] = [
    ("same", lambda x, h: [_sum(x, h), _sum(x, h, 1)], {"scan": 1}),
    ("other start", lambda x, h: [_sum(x, h), _sum(x, h * 2)], {"scan": 1}),  # they read one x
    ("nothing in common", lambda x, h: [_sum(x, h), _sum(x * 2, h * 2)], {"scan": 2}),
    ("other way", lambda x, h: [_sum(x, h), _sum(x, h, reverse=True)], {"scan": 2}),
    ("an x", lambda x, h: [sn.map(lambda x: x, x)], {}),
    ("the same at each step", lambda x, h: [sn.map(lambda x: h * 2, x)], {}),
    ("a carry that stays", lambda x, h: [sn.scan(lambda c, x: (c, x), h, x)[0]], {}),
    ("equal conditions", lambda x, h: [_if(h, 2.0), _if(h, 3.0)], {"cond": 1}),
    ("equal branches", lambda x, h: [sn.cond(sn.sum(h) > 0, lambda: h, lambda: h)], {}),
]


def _sum(x: Any, h: Any, at: int = 0, reverse: bool = False) -> Any:
    return sn.scan(lambda c, x: (c + x, c * x), h, x, reverse=reverse)[at]


def _if(h: Any, by: float) -> Any:
    return sn.cond(sn.sum(h) > 0, lambda h: h * by, lambda h: h - by, h)


@pytest.mark.parametrize(("build", "left"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_is_left(build: Callable[..., list[Any]], left: dict[str, int]) -> None:
    nodes = inputs((X, H))
    assert loops(merged(build(*nodes), nodes, (X, H))) == left
