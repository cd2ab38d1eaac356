"""Three ways to evaluate a graph op by op: as declared, in float64, and with random rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from staticnet.ir.dtype import FLOAT64, DType, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, topological
from staticnet.ir.types import TupleType
from staticnet.ops.evaluate import evaluate, evaluating
from staticnet.ops.indexing import ScatterAdd, ScatterAddAlongAxis
from staticnet.ops.library import MatmulAdd, MatmulEpilogue
from staticnet.ops.linalg import Matmul
from staticnet.ops.reduction import Prod, Scan
from staticnet.ops.selection import Cast
from staticnet.ops.shape import Sum
from staticnet.ops.state import Variable

_ACCUMULATES = (Sum, Prod, Scan, Matmul, MatmulAdd, MatmulEpilogue, ScatterAdd, ScatterAddAlongAxis)
_finfo: Any = ml_dtypes.finfo


def epsilon(dtype: DType) -> float:
    """The relative distance of neighbours at 1; 0 for integers and bools."""
    return float(_finfo(dtype).eps) if is_floating(dtype) else 0.0


def ulp(x: Any, dtype: DType) -> Any:
    """The distance of neighbours in a dtype at x; 0 for integers and bools.  x: [*s] -> y: [*s]"""
    if not is_floating(dtype):
        return np.zeros(np.shape(x))
    return np.maximum(epsilon(dtype) * np.abs(x), float(_finfo(dtype).smallest_subnormal))


class Declared:
    """Each op in its own dtype, as the NumPy backend computes it; `dims` are the symbolic dims'."""

    def __init__(self, dims: Mapping[str, int]) -> None:
        self.dims = dict(dims)

    def leaf(self, node: Node, array: Any) -> Any:
        """What was fed, or a variable's value."""
        return array

    def result(self, node: Node, operands: Sequence[Any]) -> Any:
        """The value of a node.

        Raises:
            ExecutionError: naming the op, its operands and the user's line.
        """
        op = node.op.substitute(self.dims)
        if op is not node.op:
            made = Node(op, node.inputs, node.type)
            made.provenance = node.provenance
            node = made
        if not node.op.graphs:
            return evaluate(node, operands)
        with evaluating(self.result):
            return evaluate(node, operands)


class Wide(Declared):
    """Each floating-point op in float64."""

    def leaf(self, node: Node, array: Any) -> Any:
        """What was fed, or a variable's value, widened."""
        return array.astype(np.float64) if is_floating(node.dtype) else array

    def result(self, node: Node, operands: Sequence[Any]) -> Any:
        """The value of a node; a cast from one floating-point dtype to another does nothing."""
        if isinstance(node.type, TupleType):
            return _widened(super().result(node, operands))
        if isinstance(node.op, Cast) and is_floating(node.dtype):
            value = operands[0]
        else:
            value = np.asarray(super().result(node, operands))
        return value.astype(np.float64) if is_floating(node.dtype) else value


def _widened(arrays: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        x.astype(np.float64) if is_floating(x.dtype) else x for x in map(np.asarray, arrays)
    )


class Rounding(Wide):
    """Float64 between ops, where each result is rounded up or down in its dtype, by chance.

    What its dtype can hold stays as it is. The operands of what accumulates are moved by up to an
    epsilon, as if each term were rounded. `narrow` is a dtype that all are rounded to at least.
    """

    def __init__(self, dims: Mapping[str, int], seed: int, narrow: DType | None = None) -> None:
        super().__init__(dims)
        self._rng = np.random.default_rng(seed)
        self._narrow = narrow

    def leaf(self, node: Node, array: Any) -> Any:
        """What was fed, or a variable's value, rounded if all is."""
        return self._round(super().leaf(node, array), node.dtype)

    def result(self, node: Node, operands: Sequence[Any]) -> Any:
        """The value of a node, rounded; several are, where one of them is read."""
        if isinstance(node.type, TupleType):
            return super().result(node, operands)
        if isinstance(node.op, _ACCUMULATES) and is_floating(node.dtype):
            step = epsilon(self._dtype(node.dtype))
            operands = [self._moved(x, step) if x.dtype == np.float64 else x for x in operands]
        return self._round(super().result(node, operands), node.dtype)

    def _dtype(self, own: DType) -> DType:
        narrow = self._narrow
        return own if narrow is None or epsilon(own) >= epsilon(narrow) else narrow

    def _round(self, x: Any, own: DType) -> Any:
        if not is_floating(own):
            return x
        dtype = self._dtype(own)
        if dtype == FLOAT64:
            return self._moved(x, epsilon(dtype) / 2)
        with np.errstate(all="ignore"):
            near = x.astype(dtype)
            side = np.where(x > near.astype(np.float64), np.inf, -np.inf).astype(dtype)
            other = np.nextafter(near, side)
            exact = near.astype(np.float64) == x
        up = self._rng.random(x.shape) < 0.5
        return np.where(exact | up | ~np.isfinite(near), near, other).astype(np.float64)

    def _moved(self, x: Any, step: float) -> Any:
        return x * (1 + step * self._rng.uniform(-1, 1, x.shape))


def values(
    arithmetic: Declared, graph: Graph, arrays: Sequence[Any], wanted: Sequence[Node]
) -> list[Any]:
    """The values of nodes of a graph, whose inputs are fed `arrays`; variables are only read.

    Raises:
        StateError: if a variable has no value yet.
        ExecutionError: if an op fails.
    """
    feeds = dict(zip(graph.inputs, arrays, strict=True))
    found: dict[Node, Any] = {}
    for node in topological(wanted):
        if node in feeds:
            found[node] = arithmetic.leaf(node, feeds[node])
        elif isinstance(node, Variable):
            origin = node.origin  # of a copy that a pass keeps as state
            held = node.value if origin is None else origin.value.astype(node.dtype)
            found[node] = arithmetic.leaf(node, held)
        else:
            found[node] = arithmetic.result(node, [found[x] for x in node.inputs])
    return [np.asarray(found[node]) for node in wanted]
