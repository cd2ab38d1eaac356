"""The float64 reference: the declared graph in double precision, op by op on the NumPy backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.backends.numpy import NumpyBackend
from staticnet.compare.model import Feed
from staticnet.ir.dtype import FLOAT64, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.op import Op
from staticnet.ir.types import TupleType
from staticnet.ops.base import Constant, constant
from staticnet.ops.selection import Cast
from staticnet.ops.state import Placeholder, Variable, placeholder, variable


def reference_losses(graph: Graph, feeds: Sequence[Feed], steps: int) -> list[float]:
    """The losses of a training step in float64, from the variables' present values.

    The graph's own variables stay as they are; the feeds come round again.
    """
    wide = widened(graph)
    run = NumpyBackend().build(wide).run
    dtypes = [node.dtype for node in wide.inputs]
    losses = []
    for i in range(steps):
        feed = feeds[i % len(feeds)]
        arrays = [x.astype(dtype) for x, dtype in zip(feed, dtypes, strict=True)]
        losses.append(float(run(arrays)[0]))
    return losses


def widened(graph: Graph) -> Graph:
    """The same graph with every floating-point value in float64, on variables of its own.

    Constants and initial values are those of the graph, exactly; so are random draws: they are
    integers until they are cast.
    """
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        new[node] = _wide(node, tuple(new[operand] for operand in node.inputs))
    return Graph(
        graph.name,
        [new[node] for node in graph.inputs],
        [new[node] for node in graph.outputs],
        tuple((new[target], new[value]) for target, value in graph.updates),
    )


def _wide(node: Node, inputs: tuple[Node, ...]) -> Node:
    op = node.op.with_graphs(widened)
    if isinstance(node.type, TupleType):
        return build(_wide_op(op), inputs)
    floating = is_floating(node.dtype)
    if isinstance(node, Variable):
        value = node.value
        return variable(value.astype(np.float64) if floating else value, node.name, node.trainable)
    if isinstance(op, Placeholder):
        return placeholder(node.shape, FLOAT64, op.label) if floating else node
    if isinstance(op, Constant):
        made: Any = constant(op.value.array.astype(np.float64)) if floating else node
        return made
    if isinstance(op, Cast) and floating:
        return inputs[0] if inputs[0].dtype == FLOAT64 else build(Cast(FLOAT64), inputs)
    return build(_wide_op(op) if floating else op, inputs)


def _wide_op(op: Op) -> Op:
    """The op with a floating `dtype` among its attributes replaced."""
    changed: Any = op
    names = {field.name for field in dataclasses.fields(changed)}
    return dataclasses.replace(changed, dtype=FLOAT64) if "dtype" in names else op
