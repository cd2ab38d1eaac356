"""Batching rules of ops that hold graphs: a graph is batched where it differs by example.

A loop or a condition that goes another way for each example computes all ways for all of them and
selects. Where a way may fail, as an index may that only some examples use, or run for ever, as a
loop in it may, the examples run one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from staticnet.control.batching import batch_nodes
from staticnet.control.parts import Carry, Given, Parts, applied, needed
from staticnet.control.trace import close, numbered, parameters
from staticnet.control.traced import substitute
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BOOL
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build, dependents
from staticnet.ir.op import Op
from staticnet.ir.types import TensorType
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.base import items
from staticnet.ops.batching import aligned, spread, spread_all
from staticnet.ops.movement import moveaxis
from staticnet.ops.selection import where

if TYPE_CHECKING:
    from staticnet.control.cond import Cond
    from staticnet.control.scan import Scan
    from staticnet.control.while_loop import WhileLoop

Batched = Sequence[bool]


class _Examples:
    """A graph's inputs for all examples: new placeholders of those that differ, and the others."""

    def __init__(self, inputs: Sequence[Node], size: int | Dim, batched: Batched) -> None:
        self.size = size
        self.batched = list(batched)
        self.inputs = list(inputs)
        for i, own in enumerate(batched):
            if own:
                type_ = inputs[i].type
                wide = type_.with_shape((size, *type_.shape))
                (self.inputs[i],) = parameters("many", [wide])
        pairs = zip(inputs, self.inputs, batched, strict=True)
        self._known = {x: many for x, many, own in pairs if own}

    def of(self, outputs: Sequence[Node]) -> tuple[list[bool], list[Any]]:
        """Which outputs differ by example, and all of them, those for all examples."""
        found = batch_nodes(outputs, self._known, self.size)
        values = [y if many is None else many for y, many in zip(outputs, found, strict=True)]
        return [many is not None for many in found], values


def _differing(graph: Graph, batched: Batched) -> list[bool]:
    """Which outputs of a graph differ by example, if these inputs do."""
    own = [x for x, differs in zip(graph.inputs, batched, strict=True) if differs]
    found = dependents(graph.nodes, own)
    return [node in found for node in graph.outputs]


def _carried(body: Graph, carries: int, batched: Batched) -> list[bool]:
    """Which inputs of a loop's body ever differ: a carry does, once its next value does."""
    before: list[bool] = []
    own = list(batched)
    while own != before:
        before = own
        pairs = zip(own, _differing(body, own)[:carries], strict=False)
        own = [*(now or after for now, after in pairs), *own[carries:]]
    return own


def _spread(size: int | Dim, wanted: Batched, batched: Batched, values: Sequence[Any]) -> list[Any]:
    """The values, those for all examples that are wanted so."""
    rows = zip(wanted, batched, values, strict=True)
    return [spread(size, own, x) if many else x for many, own, x in rows]


def scan(op: Scan, size: int | Dim, batched: Batched, operands: Sequence[Any]) -> list[Any]:
    """A scan whose step is that of all examples.  x: [size, T, *s] -> y: [size, T, *r]"""
    c, x = op.carries, op.carries + op.xs
    own = _carried(op.body, c, batched)
    examples = _Examples(op.body.inputs, size, own)
    inputs = examples.inputs
    differs, outputs = examples.of(op.body.outputs)
    first = _spread(size, own[:c], batched[:c], operands[:c])
    after = _spread(size, own[:c], differs[:c], outputs[:c])
    rows: list[Any] = [
        moveaxis(v, 0, 1) if o else v for o, v in zip(own[c:x], operands[c:x], strict=True)
    ]
    parts = Parts(
        op,
        [Carry(*each) for each in zip(first, inputs[:c], after, strict=True)],
        [Given(*each) for each in zip(rows, inputs[c:x], strict=True)],
        [Given(*each) for each in zip(operands[x:], inputs[x:], strict=True)],
        outputs[c:],
    )
    last, ys = parts.build()
    stacked = [moveaxis(y, 1, 0) if o else y for o, y in zip(differs[c:], ys, strict=True)]
    return spread_all(size, [*own[:c], *differs[c:]], [*last, *stacked])


def while_loop(op: WhileLoop, size: int | Dim, batched: Batched, operands: Sequence[Any]) -> Any:
    """A loop that runs while any example's test holds; those whose test fails stay as they are.

    c: [size, *s] -> [size, *s]
    """
    c = len(op.body.outputs)
    own = _carried(op.body, c, batched)
    if any(_differing(op.test, own)):
        return _masked(op, size, batched, operands)
    examples = _Examples(op.body.inputs, size, own)
    differs, outputs = examples.of(op.body.outputs)
    after = _spread(size, own[:c], differs, outputs)
    test = applied(op.test, examples.inputs)
    first = _spread(size, own[:c], batched[:c], operands[:c])
    labels = numbered("c", examples.inputs[:c]) | numbered("k", examples.inputs[c:])
    graphs, _ = close({"test": test, "body": after}, labels)
    last = items(build(type(op)(*graphs), (*first, *operands[c:])))
    return spread_all(size, own[:c], last)


def _masked(op: WhileLoop, size: int | Dim, batched: Batched, operands: Sequence[Any]) -> Any:
    """The loop that carries, beside the carries, which examples still run."""
    if not (_is_total(op.test) and _is_total(op.body)):
        return _one_by_one(op, batched, operands)
    c = len(op.body.outputs)
    own = [True] * c + list(batched[c:])
    examples = _Examples(op.body.inputs, size, own)
    inputs = examples.inputs
    _, after = examples.of(applied(op.body, op.body.inputs))
    (running,) = parameters("running", [TensorType(BOOL, (size,))])
    ndims = [x.ndim for x in op.body.inputs[:c]]
    pairs = zip(ndims, after, inputs, strict=False)
    new: list[Any] = [where(aligned(running, ndim), y, x) for ndim, y, x in pairs]
    (holds,), (test,) = examples.of(applied(op.test, op.body.inputs))
    test = spread(size, holds, test)
    first = spread_all(size, batched[:c], operands[:c])
    begins: Any
    goes_on: Any
    (begins,) = substitute([test], dict(zip(inputs, [*first, *operands[c:]], strict=True)))
    (goes_on,) = substitute([test], dict(zip(inputs, new, strict=False)))
    labels = numbered("c", [*inputs[:c], running]) | numbered("k", inputs[c:])
    graphs, _ = close({"test": [FUNCTIONS["any"](running)], "body": [*new, goes_on]}, labels)
    return items(build(type(op)(*graphs), (*first, begins, *operands[c:])))[:c]


def cond(op: Cond, size: int | Dim, batched: Batched, operands: Sequence[Any]) -> Any:
    """A cond of what the branches are for all examples; if predicates differ, both and a choice.

    pred: bool [] or [size], x: [size, *s] -> y: [size, *t]
    """
    if not batched[0]:
        return _one_way(op, size, batched, operands)
    if not (_is_total(op.then) and _is_total(op.other)):
        return _one_by_one(op, batched, operands)
    pred, *given = operands
    pairs = list(zip(op.then.inputs, given, batched[1:], strict=True))
    known = {x: value for x, value, own in pairs if own}
    shared = {x: value for x, value, own in pairs if not own}
    branches = []
    for graph in (op.then, op.other):
        outputs = applied(graph, op.then.inputs)
        found = batch_nodes(outputs, known, size)
        nodes: list[Any] = [
            y if many is None else many for y, many in zip(outputs, found, strict=True)
        ]
        branches.append(substitute(nodes, shared))
    ndims = [y.ndim for y in op.then.outputs]
    return [where(aligned(pred, n), a, b) for n, a, b in zip(ndims, *branches, strict=True)]


def _one_way(op: Cond, size: int | Dim, batched: Batched, operands: Sequence[Any]) -> Any:
    """The cond where one predicate is that of all examples."""
    examples = _Examples(op.then.inputs, size, batched[1:])
    then, other = (examples.of(applied(graph, op.then.inputs)) for graph in (op.then, op.other))
    wanted = [a or b for a, b in zip(then[0], other[0], strict=True)]
    branches = [_spread(size, wanted, *branch) for branch in (then, other)]
    given = dict(zip(examples.inputs, operands[1:], strict=True))
    read = needed([y for branch in branches for y in branch], given)
    own = [x for x in given if x in read]
    names = dict(zip(("then", "other"), branches, strict=True))
    graphs, _ = close(names, numbered("x", own))
    results = items(build(type(op)(*graphs), (operands[0], *(given[x] for x in own))))
    return spread_all(size, wanted, results)


def _is_total(graph: Graph) -> bool:
    """Whether a graph has a value for all operands: none of its ops fails or runs for ever."""
    return not any(
        node.op.may_fail
        or node.op.name == "while_loop"
        or not all(map(_is_total, node.op.graphs.values()))
        for node in graph.nodes
    )


def _one_by_one(op: Op, batched: Batched, operands: Sequence[Any]) -> Any:
    """The results of each example after those of the one before."""
    pairs = list(zip(batched, operands, strict=True))

    def one(_: None, rows: Sequence[Any]) -> tuple[None, Any]:
        row = iter(rows)
        return None, items(build(op, tuple([next(row) if own else x for own, x in pairs])))

    return FUNCTIONS["scan"](one, None, [x for own, x in pairs if own])[1]
