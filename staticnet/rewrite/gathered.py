"""Rules about products of gathered rows, `table[indices] @ w`: an embedding before a layer.

Where a table has fewer rows than are gathered of it, its rows are multiplied once, each, and their
products are gathered; what is summed over the gathered rows is first added up for each row of the
table. Then none of a layer's three products behind an embedding, forward and back, has as many
rows as there are examples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from staticnet.ir.dtype import FLOAT32, FLOAT64, INT64
from staticnet.ir.node import Node
from staticnet.ir.value import Value
from staticnet.ops.arguments import ANY, FLOATS
from staticnet.ops.base import apply, constant
from staticnet.ops.creation import zeros
from staticnet.ops.indexing import ScatterAdd, Take, scatter_add, take
from staticnet.ops.linalg import Matmul, matmul
from staticnet.ops.movement import PermuteDims, concat, matrix_transpose, permute_dims
from staticnet.ops.selection import astype
from staticnet.ops.shape import Reshape, reshape
from staticnet.rewrite.pattern import EXACT, REASSOCIATES, is_number, structural

LEAST = 2  # rows gathered for each of the table, from which on it pays


class Gathered(NamedTuple):
    """Rows of a table.  table: [v, d], indices: int [*j] -> [*j, d]"""

    table: Node
    indices: Value


def _rows(x: Any) -> Value:
    """For the examples: some rows of a table of one.  x: [*s] -> [3, 1]"""
    return take(_table(x), constant([0, -1, 0], INT64), 0)


def _plane(x: Any) -> Value:
    """For the examples: rows on two axes.  x: [*s] -> [1, 3, 1]"""
    return take(_table(x), constant([[0, -1, 0]], INT64), 0)


def _table(x: Any) -> Value:
    """For the examples: the first element, or 1.  x: [*s] -> [1, 1]"""
    return reshape(concat([reshape(x, (-1,)), astype([1], x.dtype)])[:1], (1, 1))


@structural(Reshape, lambda x: reshape(_rows(x), (1, 3, 1)), EXACT, ANY)
def reshape_of_gathered(node: Node) -> Value | None:
    """Gathered rows in another shape: the indices in that shape."""
    (x,) = node.inputs
    if not _is_gathered(x) or not _keeps_rows(node):
        return None
    return apply(x.op, x.inputs[0], reshape(x.inputs[1], node.shape[:-1]))


@structural(PermuteDims, lambda x: permute_dims(_plane(x), (1, 0, 2)), EXACT, ANY)
def permute_of_gathered(node: Node) -> Value | None:
    """Gathered rows in another order: the indices in that order."""
    (x,) = node.inputs
    if not _is_gathered(x) or not _keeps_rows(node) or not isinstance(node.op, PermuteDims):
        return None
    return apply(x.op, x.inputs[0], permute_dims(x.inputs[1], node.op.axes[:-1]))


def _is_gathered(x: Node) -> bool:
    return x.op == Take(0) and x.inputs[0].ndim == 2


@structural(Matmul, lambda x: matmul(_rows(x), _table(x)), REASSOCIATES, FLOATS)
def product_of_gathered(node: Node) -> Value | None:
    """E[i] w = (E w)[i]."""
    x, w = node.inputs
    found = _gathered(x) if node.ndim == 2 else None
    if found is None:
        return None
    return apply(Take(0), matmul(found.table, w), found.indices)


@structural(
    Matmul,
    lambda x: matmul(_rows(x).T, _rows(x)),
    REASSOCIATES,
    FLOATS,
    domain="rows of the table that are not gathered are finite",
)
def sum_over_gathered(node: Node) -> Value | None:
    """x' E[i] = s' E, where s are the sums of the rows of x at equal indices; as well E[i]' x."""
    if node.ndim != 2 or node.dtype not in (FLOAT32, FLOAT64):
        return None
    x, y = node.inputs
    right = _gathered(y)
    if right is not None:
        return matmul(matrix_transpose(_summed(matrix_transpose(x), right)), right.table)
    left = _gathered(x.inputs[0]) if x.op == PermuteDims((1, 0)) else None
    if left is not None:
        return matmul(matrix_transpose(left.table), _summed(y, left))
    return None


@structural(
    ScatterAdd,
    lambda x: scatter_add(_table(x), constant([0, -1, 0], INT64), matmul(_rows(x), _table(x))),
    REASSOCIATES,
    FLOATS,
)
def scatter_of_product(node: Node) -> Value | None:
    """The rows of x w, added up at equal indices, are the sums of those of x, times w."""
    base, updates, indices = node.inputs
    if node.op != ScatterAdd(0) or node.ndim != 2:
        return None
    places: Value = indices
    while isinstance(updates.op, Reshape | PermuteDims):
        (below,) = updates.inputs
        if not _keeps_rows(updates):
            return None
        if isinstance(updates.op, PermuteDims):
            places = permute_dims(places, tuple(map(int, np.argsort(updates.op.axes[:-1]))))
        else:
            places = reshape(places, below.shape[:-1])
        updates = below
    if not isinstance(updates.op, Matmul) or updates.ndim != 2 or not _pays(node, updates):
        return None
    x, w = updates.inputs
    product = matmul(_summed(x, Gathered(node, places)), w)
    return product if is_number(base, 0.0) or is_number(base, -0.0) else base + product


def _gathered(x: Node) -> Gathered | None:
    """The table and the indices of a matrix of many gathered rows."""
    if not _is_gathered(x) or not _pays(x.inputs[0], x):
        return None
    return Gathered(*x.inputs)


def _keeps_rows(node: Node) -> bool:
    """Whether what moves elements moves whole rows: those along the last axis."""
    (x,) = node.inputs
    if not x.ndim or not node.ndim:
        return False
    if isinstance(node.op, PermuteDims):
        return node.op.axes[-1] == x.ndim - 1
    return node.shape[-1] == x.shape[-1] != 0


def _pays(table: Node, rows: Node) -> bool:
    """Whether so many rows are gathered that the table's are fewer by far."""
    few, size, width = table.shape[0], rows.type.size, rows.shape[-1]
    if not (isinstance(few, int) and isinstance(size, int) and isinstance(width, int)):
        return False
    return width > 0 and size // width >= LEAST * max(few, 1)


def _summed(x: Value, found: Gathered) -> Value:
    """The rows of x at each index, added up.  x: [r, m], indices: [r] -> [v, m]"""
    nothing = zeros((found.table.shape[0], x.shape[1]), x.dtype)
    return scatter_add(nothing, found.indices, x)


GATHERED_RULES = (
    reshape_of_gathered,
    permute_of_gathered,
    product_of_gathered,
    sum_over_gathered,
    scatter_of_product,
)
