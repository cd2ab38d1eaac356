"""What is known of a value while the graph is built: numbers, and dims as they stand.

Shapes are computed by nodes like all else. Where an operator needs one, the nodes that it comes
from are evaluated: by NumPy, where no input or state is among them, and on arrays of objects where
symbolic dims are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.errors import StaticnetError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.node import Node
from staticnet.ir.types import TupleType
from staticnet.ops.base import Constant, Size
from staticnet.ops.evaluate import evaluate
from staticnet.ops.state import Placeholder, Variable

Array = np.ndarray[Any, Any]
MAX_ELEMENTS = 1 << 20
MAX_TERMS = 64
_MOVES = {
    "reshape", "concat", "slice", "take", "broadcast_to", "permute_dims", "flip", "where", "add",
    "subtract", "multiply", "negative", "floor_divide", "sum", "prod", "equal", "not_equal", "pad",
    "take_along_axis", "logical_not", "logical_and", "logical_or", "item", "remainder",
}  # fmt: skip


class Knowledge:
    """The values that are known, of one building of a graph."""

    def __init__(self) -> None:
        self._values: dict[Node, Array | None] = {}

    def __call__(self, value: Any) -> Array | None:
        """An array of numbers or, where dims are symbolic, of objects; None if not known."""
        if not isinstance(value, Node):
            return np.asarray(value.numpy()) if hasattr(value, "numpy") else np.asarray(value)
        pending = [value]
        while pending:
            node = pending[-1]
            if node in self._values:
                pending.pop()
                continue
            missing = [] if _is_leaf(node) else [x for x in node.inputs if x not in self._values]
            if missing:
                pending += missing
            else:
                self._values[node] = self._evaluated(node)
        return self._values[value]

    def _evaluated(self, node: Node) -> Array | None:
        op = node.op
        if isinstance(op, Constant):
            return op.value.array
        if isinstance(node, Variable):
            return None if node.array is None else node.value
        if isinstance(op, Placeholder) or isinstance(node.type, TupleType):
            return None
        if isinstance(op, Size):
            number = size_of(op.shape)
            return _objects(number) if isinstance(number, Dim) else np.asarray(number, np.int64)
        size = node.type.size
        if not isinstance(size, int) or size > MAX_ELEMENTS:
            return None
        operands = [self._values[x] for x in node.inputs]
        if any(x is None for x in operands):
            return None
        return _computed(node, operands)


def _is_leaf(node: Node) -> bool:
    return isinstance(node.op, Placeholder | Constant | Size) or isinstance(node, Variable)


def _is_small(x: Any) -> bool:
    """Whether an entry is no number beyond 64 bits, and no polynomial of many terms or factors."""
    if isinstance(x, Dim):
        return len(x.terms) <= MAX_TERMS and all(len(m) <= MAX_TERMS for m, _ in x.terms)
    return -(2**63) <= x < 2**63


def _objects(number: Any) -> Array:
    array = np.empty((), object)
    array[()] = number
    return array


def _computed(node: Node, operands: Sequence[Any]) -> Array | None:
    symbolic = any(x.dtype == object for x in operands)
    try:
        if not symbolic:
            return np.asarray(evaluate(node, operands))
        return _on_objects(node, operands)
    except (StaticnetError, TypeError, ValueError, ArithmeticError):
        return None  # a dim that no polynomial is, or what fails when it runs


def _on_objects(node: Node, operands: Sequence[Any]) -> Array | None:
    """The value of a node from arrays with dims among their elements."""
    name = node.op.name
    if name == "cast":
        return operands[0] if node.dtype.kind in "iu" else None
    if name not in _MOVES:
        return None
    op: Any = node.op
    value = np.asarray(op.eval(np, *operands), None if node.dtype.kind == "b" else object)
    if not all(_is_small(x) for x in value.flat):
        return None
    if value.dtype == object and not any(isinstance(x, Dim) for x in value.flat):
        return value.astype(node.dtype)
    return value


def sources(value: Any) -> list[str]:
    """The names of the placeholders and variables that a value comes from."""
    if not isinstance(value, Node):
        return []
    seen, pending, found = {value}, [value], []
    while pending:
        node = pending.pop()
        if isinstance(node.op, Placeholder):
            found.append(node.op.label)
        for x in node.inputs:
            if x not in seen:
                seen.add(x)
                pending.append(x)
    return sorted(found)
