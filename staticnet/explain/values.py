"""Values of nodes at a point, by the reference rules of their ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, topological
from staticnet.ir.types import TupleType
from staticnet.ops.evaluate import evaluate


def evaluated(nodes: Sequence[Node], values: Mapping[Node, Any]) -> list[Any]:
    """The values of nodes, from those of inputs; variables have their own.

    Raises:
        ExecutionError: if an op fails; names its line.
    """
    return [table[node] for table in (all_values(nodes, values),) for node in nodes]


def all_values(nodes: Sequence[Node], values: Mapping[Node, Any]) -> dict[Node, Any]:
    """The values of nodes and of all that they need."""
    known: dict[Node, Any] = dict(values)
    for node in topological(nodes, lambda node: node not in values):
        if node in known:
            continue
        if node.op.is_input:
            known[node] = np.asarray(getattr(node, "value"))  # noqa: B009
            continue
        made = evaluate(node, [known[x] for x in node.inputs])
        known[node] = made if isinstance(made, tuple) else np.asarray(made)
    return known


def is_float(node: Node) -> bool:
    """Whether a node has one value, and that is floating-point."""
    return not isinstance(node.type, TupleType) and is_floating(node.dtype)
