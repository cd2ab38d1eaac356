"""`constant_folding`: compute once, while compiling, what depends on no input and no state.

The NumPy reference computes it, so the bits are those of a run. Values above 16 KiB stay
expressions: a broadcast zero or a ramp is cheaper to make than to load.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.errors import ExecutionError
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.op import symbols_of_op
from staticnet.ir.types import TupleType
from staticnet.ops.base import Constant, constant
from staticnet.ops.creation import Iota
from staticnet.ops.evaluate import evaluate
from staticnet.ops.shape import BroadcastTo
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import keep, rebuild

MAX_FOLDED_BYTES = 1 << 14
MAX_WORK_BYTES = 1 << 20
_CHEAP = (Constant, Iota, BroadcastTo)


def constant_folding(graph: Graph, context: Context) -> Graph:
    """The graph with small input-free expressions replaced by their values."""
    known: dict[Node, Any] = {}

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        node = keep(node, inputs)
        value = _value(node, known)
        if value is None:
            return node
        known[node] = value
        if isinstance(node.op, _CHEAP) or value.nbytes > MAX_FOLDED_BYTES:
            return node
        context.notes[f"folded {node.op.name}"] += 1
        folded = _literal(value)
        known[folded] = value
        return folded

    return rebuild(graph, "constant_folding", replace)


def _literal(value: np.ndarray[Any, Any]) -> Node:
    """The value as a constant; if it is one number everywhere, as that number broadcast."""
    first = value.reshape(-1)[:1].tobytes()
    if value.ndim and value.size and value.tobytes() == first * value.size:
        return build(BroadcastTo(value.shape), (constant(value.reshape(-1)[0]),))
    return constant(value)


def _value(node: Node, known: dict[Node, Any]) -> np.ndarray[Any, Any] | None:
    if node.op.name in ("placeholder", "variable") or isinstance(node.type, TupleType):
        return None
    size = node.type.nbytes
    if not isinstance(size, int) or size > MAX_WORK_BYTES or symbols_of_op(node.op):
        return None
    if any(operand not in known for operand in node.inputs):
        return None
    try:
        return np.asarray(evaluate(node, [known[operand] for operand in node.inputs]))
    except ExecutionError:
        return None  # it fails when it runs, with the user's line


CONSTANT_FOLDING = Pass("constant_folding", constant_folding)
