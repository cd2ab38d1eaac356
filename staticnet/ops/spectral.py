"""Eigenvalues of symmetric matrices, and singular values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.ir.dim import Dim
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.base import items
from staticnet.ops.creation import eye
from staticnet.ops.linalg import matmul
from staticnet.ops.matrices import (
    MatrixOp,
    check_matrix,
    check_square,
    lesser,
    on_host,
    symmetric_part,
    turned,
)
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.selection import where
from staticnet.ops.shape import expand_dims

_NO_RESULT = "the iteration has not converged: the matrix has NaN or infinity"


@dataclass(frozen=True)
class Eigh(MatrixOp, name="eigh"):
    """(w, V): x = V diag(w) V', w ascending, V orthogonal. x is taken to be symmetric.

    Vectors of equal eigenvalues are an arbitrary basis: derivatives are those of functions that do
    not depend on it.
    x: [*b, n, n] -> w: [*b, n], V: [*b, n, n]

    M. B. Giles: "Collected matrix derivative results for forward and reverse mode algorithmic
    differentiation", 2008, section 3.1.
    """

    several = True
    may_fail = True
    problem = _NO_RESULT

    def infer(self, *operands: TensorType) -> TensorType:
        (x,) = operands
        check_square(x)
        return TupleType((x.with_shape(x.shape[:-1]), x))

    def eval(self, xp: Any, x: Any) -> Any:
        return on_host(xp, lambda x: tuple(np.linalg.eigh(_finite(x))), x)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        (w, v), (gw, gv) = items(y), g
        vt = matrix_transpose(v)
        inner = 0 if gw is None else _diagonal_matrix(gw)
        if gv is not None:
            inner = inner + matmul(vt, gv) * _reciprocal(_differences(w))
        return (symmetric_part(matmul(matmul(v, inner), vt)),)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        (x,) = operands
        return 9 * x.size * x.shape[-1]


@dataclass(frozen=True)
class Svd(MatrixOp, name="svd"):
    """(U, s, V'): x = U diag(s) V', s descending and not negative, U and V' orthonormal.

    With `full` U and V' are square; k is the lesser of m, n. Vectors of equal values, and those
    beyond k, are an arbitrary basis: derivatives are those of functions that do not depend on it.
    x: [*b, m, n] -> U: [*b, m, k], s: [*b, k], V': [*b, k, n]; full: [*b, m, m], …, [*b, n, n]

    Z.-Q. Wan, S.-X. Zhang: "Automatic differentiation for complex valued SVD", 2019.
    """

    full: bool
    several = True
    may_fail = True
    problem = _NO_RESULT

    def infer(self, *operands: TensorType) -> TensorType:
        (x,) = operands
        check_matrix(x)
        *batch, m, n = x.shape
        k = lesser(m, n)
        rows, columns = (m, n) if self.full else (k, k)
        shapes = ((*batch, m, rows), (*batch, k), (*batch, columns, n))
        return TupleType(tuple(x.with_shape(shape) for shape in shapes))

    def eval(self, xp: Any, x: Any) -> Any:
        def svd(x: Any) -> Any:
            return tuple(np.linalg.svd(_finite(x), full_matrices=self.full))

        return on_host(xp, svd, x)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        (u, s, vt), (gu, gs, gvt) = items(y), g
        rows, columns = expand_dims(s, -2), expand_dims(s, -1)
        factor = _reciprocal(_differences(s) * (rows + columns))
        k = s.shape[-1]
        u1, v1 = u[..., :k], matrix_transpose(vt)[..., :k]
        inner = 0 if gs is None else _diagonal_matrix(gs)
        total: Any = 0
        if gu is not None:
            inner = inner + _skew(matmul(matrix_transpose(u1), gu[..., :k])) * factor * rows
            moved = _moved(u, gu, k) * _reciprocal(rows)
            total = matmul(moved, matrix_transpose(v1))
        if gvt is not None:
            gv = matrix_transpose(gvt)
            inner = inner + _skew(matmul(matrix_transpose(v1), gv[..., :k])) * factor * columns
            moved = _moved(matrix_transpose(vt), gv, k) * _reciprocal(rows)
            total = total + matmul(u1, matrix_transpose(moved))
        return (total + matmul(matmul(u1, inner), matrix_transpose(v1)),)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        (x,) = operands
        return 22 * x.size * lesser(*x.shape[-2:])


def _finite(x: Any) -> Any:
    if not np.isfinite(x).all():
        raise np.linalg.LinAlgError
    return x


def _moved(q: Any, g: Any, k: Any) -> Any:
    """The part of a gradient by orthonormal columns that moves the space of the first k."""
    first = q[..., :k]
    moved = g[..., :k] - matmul(first, matmul(matrix_transpose(first), g[..., :k]))
    return moved if q.shape[-1] == k else moved + turned(q, g, k)


def _differences(w: Any) -> Any:
    """y[i, j] = w[j] - w[i]."""
    return expand_dims(w, -2) - expand_dims(w, -1)


def _reciprocal(x: Any) -> Any:
    """y = 1 / x, and 0 where x is 0."""
    zero = x == 0
    return where(zero, 0, 1 / where(zero, 1, x))


def _skew(x: Any) -> Any:
    return x - matrix_transpose(x)


def _diagonal_matrix(x: Any) -> Any:
    """y[i, j] = x[i] where i == j, else 0.  x: [*b, n] -> y: [*b, n, n]"""
    return where(eye(x.shape[-1], dtype=bool), expand_dims(x, -1), 0)
