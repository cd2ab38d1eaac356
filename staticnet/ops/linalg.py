"""Products: matmul is the primitive; tensordot, einsum, outer and vecdot are built from it."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, integer, size_of
from staticnet.ir.dtype import BOOL, FLOAT32
from staticnet.ir.types import Shape, TensorType
from staticnet.ir.value import Value
from staticnet.ops.arguments import (
    NUMBERS,
    as_sequence,
    broadcast_shapes,
    check_kind,
    normalize_axis,
)
from staticnet.ops.base import ALL, TensorOp, apply, function, promoted
from staticnet.ops.batching import align, aligned
from staticnet.ops.creation import eye
from staticnet.ops.movement import matrix_transpose, moveaxis, permute_dims
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, expand_dims, reshape, squeeze, sum, sum_to_shape
from staticnet.ops.widening import rounded_once


class Matmul(TensorOp, name="matmul"):
    """z[.., i, j] = sum over k of x[.., i, k] * y[.., k, j], leading axes broadcast.

    x: [*b, m, k], y: [*b, k, n] -> z: [*b, m, n]
    """

    same_dtype: ClassVar[slice] = ALL
    arity = 2

    def infer(self, *operands: TensorType) -> TensorType:
        x, y = operands
        check_kind(x.dtype, NUMBERS)
        if x.dtype != y.dtype or x.ndim < 2 or y.ndim < 2:
            raise ShapeError("takes two stacks of matrices of one dtype")
        if x.shape[-1] != y.shape[-2]:
            raise ShapeError(f"inner dimensions differ: {x.shape[-1]} and {y.shape[-2]}")
        batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
        return x.with_shape((*batch, x.shape[-2], y.shape[-1]))

    def eval(self, xp: Any, x: Any, y: Any) -> Any:
        if x.shape[-2] == 1 or y.shape[-1] == 1:  # a library's sums follow how memory lies
            x, y = xp.ascontiguousarray(x), xp.ascontiguousarray(y)
        return xp.matmul(x, y)

    def vjp(self, z: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        dx = dy = None
        if x.requires_grad:
            dx = sum_to_shape(apply(self, g, matrix_transpose(y)), x.shape)
        if y.requires_grad:
            dy = sum_to_shape(apply(self, matrix_transpose(x), g), y.shape)
        return dx, dy

    def jvp(self, z: Any, operands: Any, tangents: Any) -> Any:
        (x, y), (dx, dy) = operands, tangents
        parts = [] if dx is None else [apply(self, dx, y)]
        parts += [] if dy is None else [apply(self, x, dy)]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def batch(self, size: int | Dim, batched: tuple[bool, ...], x: Any, y: Any) -> Any:
        if batched == (True, False):
            x = x if y.ndim == 2 else aligned(x, y.ndim)
            return matmul(x, y)  # the examples are rows of one product
        if batched == (False, True) and x.ndim == 2 and y.shape[-1] == 1:
            return expand_dims(matmul(squeeze(y, -1), matrix_transpose(x)), -1)
        x, y = align(batched, (x, y))
        return x * y if x.shape[-1] == 1 else apply(self, x, y)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size * operands[0].shape[-1] * 2


@function
def matmul(x: Any, y: Any) -> Value:
    """z = x @ y: stacks of matrices with leading axes broadcast; a vector is a row or a column.

    x: [*b, m, k], y: [*b, k, n] -> z: [*b, m, n]; x: [k] gives [*b, n], y: [k] gives [*b, m]

    Raises:
        ShapeError: if inner dimensions differ, leading ones do not broadcast, or one is a scalar.
    """
    x, y = promoted("matmul", x, y)
    if x.ndim == 0 or y.ndim == 0:
        raise ShapeError("a scalar is no matrix; multiply with *")
    if x.ndim == 1:
        return squeeze(matmul(expand_dims(x, 0), y), -1 if y.ndim == 1 else -2)
    if y.ndim == 1:
        return squeeze(matmul(x, expand_dims(y, 1)), -1)
    if y.ndim == 2 and x.ndim > 2 and x.shape[-1] == y.shape[0]:
        rows = reshape(x, (size_of(x.shape[:-1]), x.shape[-1]))  # one large product, not many
        return reshape(apply(Matmul(), rows, y), (*x.shape[:-1], y.shape[1]))
    return apply(Matmul(), x, y)


@function
@rounded_once(2)
def vecdot(x: Any, y: Any, axis: int = -1) -> Value:
    """z = sum of x * y along `axis`, in their dtype.  x: [*s, n], y: [*s, n] -> z: [*s]

    Raises:
        ShapeError: if they differ in length along `axis`; the others broadcast.
    """
    x, y = promoted("vecdot", x, y)
    places = normalize_axis(axis, x.ndim), normalize_axis(axis, y.ndim)
    lengths = x.shape[places[0]], y.shape[places[1]]
    if lengths[0] != lengths[1]:
        raise ShapeError(f"lengths along axis {axis} differ: {lengths[0]} and {lengths[1]}")
    z = moveaxis(x, places[0], -1) * moveaxis(y, places[1], -1)
    return sum(z, -1, dtype=z.dtype)


@function
def outer(x: Any, y: Any) -> Value:
    """z[i, j] = x[i] * y[j].  x: [m], y: [n] -> z: [m, n]"""
    x, y = promoted("outer", x, y)
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(f"takes two vectors, not {x.ndim} and {y.ndim} axes")
    return expand_dims(x, 1) * expand_dims(y, 0)


@function
def tensordot(x: Any, y: Any, axes: Any = 2) -> Value:
    """z = the sum over paired axes: the last `axes` of x with the first of y, or (axes_x, axes_y).

    Raises:
        ShapeError: if paired axes differ in length or number, or one is named twice.
    """
    x, y = promoted("tensordot", x, y)
    count = integer(axes)
    if count is not None:
        if not 0 <= count <= min(x.ndim, y.ndim):
            raise ShapeError(f"axes = {count} does not fit {x.ndim} and {y.ndim} axes")
        pairs = ([x.ndim - count + i for i in range(count)], list(range(count)))
    else:
        if len(as_sequence(axes)) != 2:
            raise ShapeError(f"axes must be a number or a pair of sequences, not {axes!r:.60}")
        left, right = (as_sequence(part) for part in axes)
        pairs = (
            [normalize_axis(axis, x.ndim) for axis in left],
            [normalize_axis(axis, y.ndim) for axis in right],
        )
    if any(len(set(axes)) != len(axes) for axes in pairs):
        raise ShapeError(f"paired axes {pairs[0]} or {pairs[1]} name an axis twice")
    if [x.shape[i] for i in pairs[0]] != [y.shape[i] for i in pairs[1]]:
        raise ShapeError(f"paired axes {pairs[0]} and {pairs[1]} differ in number or length")
    letters = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    x_labels = [next(letters) for _ in range(x.ndim)]
    y_labels = [
        x_labels[pairs[0][pairs[1].index(i)]] if i in pairs[1] else next(letters)
        for i in range(y.ndim)
    ]
    kept = [c for c in x_labels if c not in y_labels] + [c for c in y_labels if c not in x_labels]
    return _contract_all([(x, x_labels), (y, y_labels)], kept)


@function
def einsum(subscripts: str, *operands: Any) -> Value:
    """z = Einstein's sum, `einsum("bij,bjk->bik", x, y)`, with `...` and implicit output.

    Of bools, a product is `and` and a sum is `or`.
    Several operands are contracted in NumPy's greedy order when all dims are fixed.

    Raises:
        ArgumentError: if the subscripts are malformed.
        ShapeError: if they do not fit the operands.
    """
    values = promoted("einsum", *operands)
    if values and all(x.dtype == BOOL for x in values):  # a sum of floats >= 0 never wraps to 0
        return einsum(subscripts, *(astype(x, FLOAT32) for x in values)) != 0
    if not isinstance(subscripts, str):
        raise ArgumentError(f"subscripts must be a string, not {subscripts!r:.60}")
    inputs, output = _parse_subscripts(subscripts.replace(" ", ""), values)
    terms = [_diagonals(x, labels) for x, labels in zip(values, inputs, strict=True)]
    _check_lengths(terms, output)
    for path in _contraction_order(terms, output)[:-1]:
        chosen = [terms[i] for i in path]
        terms = [term for i, term in enumerate(terms) if i not in path]
        needed = {c for _, labels in terms for c in labels} | set(output)
        kept = list(dict.fromkeys(c for _, labels in chosen for c in labels if c in needed))
        terms.append((_contract_all(chosen, kept), kept))
    return _contract_all(terms, output)


Term = tuple[Value, list[str]]


def _parse_subscripts(text: str, values: list[Value]) -> tuple[list[list[str]], list[str]]:
    if not values or not re.fullmatch(r"[a-zA-Z.,]*(->[a-zA-Z.]*)?", text):
        raise ArgumentError(f"malformed subscripts {text!r}")
    left, arrow, right = text.partition("->")
    words = left.split(",")
    if len(words) != len(values):
        raise ArgumentError(f"{text!r} names {len(words)} operands, {len(values)} are given")
    widths = [x.ndim - len(w.replace("...", "")) for w, x in zip(words, values, strict=True)]
    dots = max((n for n, w in zip(widths, words, strict=True) if "..." in w), default=0)
    for word, width in zip(words, widths, strict=True):
        if width < 0 or (width > 0 and "..." not in word) or "." in word.replace("...", "", 1):
            raise ShapeError(f"{word!r} in {text!r} does not fit its operand")
    inputs = [_expand_dots(w, n) for w, n in zip(words, widths, strict=True)]
    if not arrow:
        flat = [c for labels in inputs for c in labels]
        named = sorted(c for c in set(flat) if flat.count(c) == 1 and c.isalpha())
        return inputs, [str(i) for i in range(dots, 0, -1)] + named
    output = _expand_dots(right, dots)
    if len(set(output)) != len(output) or set(output) - {c for labels in inputs for c in labels}:
        raise ArgumentError(f"the output of {text!r} repeats a label or names a new one")
    return inputs, output


def _expand_dots(word: str, width: int) -> list[str]:
    """The labels of a word; the axes that `...` stands for are numbered from the last one."""
    before, dots, after = word.partition("...")
    return [*before, *(str(i) for i in range(width, 0, -1) if dots), *after]


def _diagonals(x: Value, labels: list[str]) -> Term:
    """Take the diagonal of every repeated label."""
    for label in [c for c in dict.fromkeys(labels) if labels.count(c) > 1]:
        while labels.count(label) > 1:
            i, j = [at for at, c in enumerate(labels) if c == label][:2]
            x = moveaxis(x, (i, j), (-2, -1))
            if x.shape[-1] != x.shape[-2]:
                raise ShapeError(f"label {label!r} has lengths {x.shape[-2]} and {x.shape[-1]}")
            x = sum(where(eye(x.shape[-1], dtype=bool), x, 0), -1)
            labels = [c for at, c in enumerate(labels) if at not in (i, j)] + [label]
    return x, labels


def _check_lengths(terms: list[Term], output: list[str]) -> None:
    lengths: dict[str, int | Dim] = {}
    for x, labels in terms:
        for label, dim in zip(labels, x.shape, strict=True):
            if lengths.setdefault(label, dim) == 1:
                lengths[label] = dim
            if dim not in (1, lengths[label]):
                raise ShapeError(f"label {label!r} has lengths {lengths[label]} and {dim}")


def _contraction_order(terms: list[Term], output: list[str]) -> list[tuple[int, ...]]:
    if len(terms) <= 2 or not all(isinstance(d, int) for x, _ in terms for d in x.shape):
        return (
            [(0, 1)] * (len(terms) - 1) + [(0,)] if len(terms) > 2 else [tuple(range(len(terms)))]
        )
    number = {c: i for i, c in enumerate(dict.fromkeys(c for _, ls in terms for c in ls))}
    arguments: list[Any] = []
    for x, labels in terms:
        arguments += [np.broadcast_to(np.float32(0), x.shape), [number[c] for c in labels]]  # type: ignore[arg-type]
    path = np.einsum_path(*arguments, [number[c] for c in output], optimize="greedy")[0]
    return [tuple(step) for step in path[1:]]


def _contract_all(terms: list[Term], output: list[str]) -> Value:
    while len(terms) > 2:
        needed = set(output) | {c for _, labels in terms[2:] for c in labels}
        kept = [c for c in dict.fromkeys(terms[0][1] + terms[1][1]) if c in needed]
        terms = [(_contract_pair(terms[0], terms[1], kept), kept), *terms[2:]]
    if len(terms) == 2:
        return _contract_pair(terms[0], terms[1], output)
    x, labels = terms[0]
    summed = tuple(i for i, c in enumerate(labels) if c not in output)
    kept = [c for c in labels if c in output]
    return permute_dims(sum(x, summed, dtype=x.dtype), [kept.index(c) for c in output])


def _contract_pair(a: Term, b: Term, output: list[str]) -> Value:
    """One matmul: batch labels stand in both and in the output, summed ones in both only."""
    (x, xl), (y, yl) = _sum_private(a, [*b[1], *output]), _sum_private(b, [*a[1], *output])
    batch = [c for c in xl if c in yl and c in output]
    inner = [c for c in xl if c in yl and c not in output]
    left, right = [c for c in xl if c not in yl], [c for c in yl if c not in xl]
    size: dict[str, int | Dim] = {}
    for value, labels in ((x, xl), (y, yl)):
        for c, d in zip(labels, value.shape, strict=True):
            size[c] = d if size.get(c, 1) == 1 else size[c]

    def shape(labels: list[str]) -> Shape:
        return tuple(size[c] for c in labels)

    xm = _arrange(x, xl, batch, left, inner, shape)
    ym = _arrange(y, yl, batch, inner, right, shape)
    z = reshape(matmul(xm, ym), shape(batch + left + right))
    order = batch + left + right
    return permute_dims(z, [order.index(c) for c in output])


def _sum_private(term: Term, others: list[str]) -> Term:
    x, labels = term
    private = tuple(i for i, c in enumerate(labels) if c not in others)
    if private:
        x = sum(x, private, dtype=x.dtype)
    return x, [c for c in labels if c in others]


def _arrange(
    x: Value, labels: list[str], batch: list[str], rows: list[str], columns: list[str], shape: Any
) -> Value:
    """x as a stack of matrices [batch, rows, columns]."""
    order = batch + rows + columns
    full = broadcast_to(permute_dims(x, [labels.index(c) for c in order]), shape(order))
    merged = (*shape(batch), size_of(shape(rows)), size_of(shape(columns)))
    return reshape(full, merged)
