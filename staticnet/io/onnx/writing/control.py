"""Ops that hold graphs: ONNX's `Scan`, `Loop` and `If`; a call is written in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticnet.control.call import Checkpoint, CustomJvp, CustomVjp
from staticnet.control.cond import Cond
from staticnet.control.parts import applied
from staticnet.control.scan import Scan
from staticnet.control.while_loop import WhileLoop
from staticnet.io.onnx.writing.arrays import flipped
from staticnet.io.onnx.writing.body import Body
from staticnet.io.onnx.writing.table import composes, writes
from staticnet.io.onnx.writing.tensors import value_info
from staticnet.ir.dtype import BOOL, INT64
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.types import TensorType

_INDEX, _GOES_ON = TensorType(INT64, ()), TensorType(BOOL, ())


@composes(Checkpoint, CustomVjp, CustomJvp)
def _call(node: Node) -> Any:
    return applied(node.op.graphs["body"], node.inputs)


@writes(Scan)
def _scan(body: Body, node: Node) -> list[str]:
    op = node.op
    assert isinstance(op, Scan)
    own, ys = op.carries + op.xs, len(op.body.outputs) - op.carries
    if not op.xs:
        return _counted(body, node, op)
    inner, inputs = body.inner(op.body, [*[None] * own, *node.inputs[own:]])
    inner.write(op.body.outputs)
    graph = inner.graph("step", inputs, _results(inner, op.body.outputs))
    turned = int(op.reverse)
    made = body(
        "Scan", *node.inputs[:own], results=len(op.body.outputs), body=graph,
        num_scan_inputs=op.xs, scan_input_directions=[turned] * op.xs,
        scan_output_directions=[turned] * ys if ys else None,
    )  # fmt: skip
    return [made] if isinstance(made, str) else list(made)


def _counted(body: Body, node: Node, op: Scan) -> list[str]:
    """A scan over nothing is a loop of so many steps."""
    carries = node.inputs[: op.carries]
    inner, inputs = body.inner(op.body, [*[None] * op.carries, *node.inputs[op.carries :]])
    inner.write(op.body.outputs)
    step, on = _loop_inputs(inner)
    goes = inner("Identity", on.name)
    results = [value_info(goes, _GOES_ON), *_results(inner, op.body.outputs)]
    graph = inner.graph("step", [step, on, *inputs], results)
    (length,) = op.length
    made = body(
        "Loop", body.scalar(length), None, *carries, results=len(op.body.outputs), body=graph
    )
    names = [made] if isinstance(made, str) else list(made)
    rows = names[op.carries :]
    return names[: op.carries] + [flipped(body, y, [0]) if op.reverse else y for y in rows]


@writes(WhileLoop)
def _while_loop(body: Body, node: Node) -> list[str]:
    op = node.op
    assert isinstance(op, WhileLoop)
    captured = node.inputs[op.carries :]
    (begins,) = applied(op.test, node.inputs)
    body.write([begins])
    inner, inputs = body.inner(op.body, [*[None] * op.carries, *captured])
    after = applied(op.body, op.body.inputs)
    (goes,) = applied(op.test, [*after, *op.body.inputs[op.carries :]])
    inner.write([*after, goes])
    step, on = _loop_inputs(inner)
    graph = inner.graph("step", [step, on, *inputs], _results(inner, [goes, *after]))
    made = body("Loop", None, begins, *node.inputs[: op.carries], results=op.carries, body=graph)
    return [made] if isinstance(made, str) else list(made)


@writes(Cond)
def _cond(body: Body, node: Node) -> list[str]:
    op, (pred, *given) = node.op, node.inputs
    assert isinstance(op, Cond)
    branches = {
        f"{what}_branch": _branch(body, f"{what}_branch", graph, given)
        for what, graph in (("then", op.then), ("else", op.other))
    }
    made = body("If", pred, results=len(op.then.outputs), **branches)
    return [made] if isinstance(made, str) else list(made)


def _branch(body: Body, name: str, graph: Graph, given: Sequence[Node]) -> Any:
    inner, _ = body.inner(graph, given)
    inner.write(graph.outputs)
    return inner.graph(name, [], _results(inner, graph.outputs))


def _results(inner: Body, outputs: Sequence[Node]) -> list[Any]:
    return [inner.result(node) for node in outputs]


def _loop_inputs(inner: Body) -> tuple[Any, Any]:
    """The number of the step, and whether it is made."""
    fresh = inner.model.fresh
    return value_info(fresh("step"), _INDEX), value_info(fresh("on"), _GOES_ON)
