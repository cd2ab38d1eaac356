"""LU and QR: factorisations in finitely many steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import INT64
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.base import apply, items
from staticnet.ops.creation import tril
from staticnet.ops.linalg import matmul
from staticnet.ops.matrices import MatrixOp, check_matrix, check_square, lesser, on_host, turned
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.triangular import TriangularSolve


@dataclass(frozen=True)
class Lu(MatrixOp, name="lu"):
    """(LU, p, s): x[:, p] = L U, L lower triangular, U upper triangular with a diagonal of 1.

    LU has L below and on the diagonal and U above it; p is a permutation, s is its sign, 1 or -1.
    Each column is chosen for the row's greatest pivot, so LAPACK takes x as it lies, by rows. It
    never fails: of a singular x a pivot on L's diagonal is 0. No derivative goes through it: what
    is made of it takes x, too, and is differentiated by that.
    x: [*b, n, n] -> LU: [*b, n, n], p: int64 [*b, n], s: [*b]
    """

    differentiable = False
    several = True

    def infer(self, *operands: TensorType) -> TensorType:
        (x,) = operands
        check_square(x)
        places = x.with_shape(x.shape[:-1]).with_dtype(INT64)
        return TupleType((x, places, x.with_shape(x.shape[:-2])))

    def eval(self, xp: Any, x: Any) -> Any:
        return on_host(xp, _lu, x)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        (x,) = operands
        return 2 * x.size * x.shape[-1] // 3


def _lu(x: Any) -> Any:
    from scipy.linalg.lapack import get_lapack_funcs

    (getrf,) = get_lapack_funcs(("getrf",), (x,))
    n = x.shape[-1]
    stack = x.reshape(-1, n, n) if x.size else x.reshape(0, n, n)
    lu, pivots = np.empty_like(stack, order="C"), np.empty(stack.shape[:2], np.int64)
    for i, matrix in enumerate(stack):  # by rows it is its transpose by columns
        transposed, pivots[i], _ = getrf(matrix.T)
        lu[i] = transposed.T
    places, rows = np.broadcast_to(np.arange(n), pivots.shape).copy(), np.arange(len(stack))
    for j in range(n):
        k = pivots[:, j]
        places[rows, j], places[rows, k] = places[rows, k], places[rows, j].copy()
    sign = 1 - 2 * (np.count_nonzero(pivots != np.arange(n), axis=-1) % 2)
    batch = x.shape[:-2]
    signs = sign.reshape(batch) if x.size else np.ones(batch)
    return lu.reshape(x.shape), places.reshape(x.shape[:-1]), signs.astype(x.dtype)


@dataclass(frozen=True)
class Qr(MatrixOp, name="qr"):
    """(Q, R): x = Q R, Q's columns are orthonormal, R is upper triangular.

    With `complete` Q is square; its last columns are an arbitrary basis of what is left, and
    derivatives are those of functions that do not depend on it.
    x: [*b, m, n], m >= n -> Q: [*b, m, n], R: [*b, n, n]; complete: [*b, m, m], [*b, m, n]

    S. F. Walter, L. Lehmann, L. Lamm: "On evaluating higher-order derivatives of the QR
    decomposition of tall matrices with full column rank in forward and reverse mode algorithmic
    differentiation", 2012.
    """

    complete: bool
    several = True

    def infer(self, *operands: TensorType) -> TensorType:
        (x,) = operands
        check_matrix(x)
        *batch, m, n = x.shape
        if lesser(m, n) != n:
            raise ShapeError(f"takes matrices with no fewer rows than columns, not {x}")
        k = m if self.complete else n
        return TupleType((x.with_shape((*batch, m, k)), x.with_shape((*batch, k, n))))

    def eval(self, xp: Any, x: Any) -> Any:
        def qr(x: Any) -> Any:
            return tuple(np.linalg.qr(x, "complete" if self.complete else "reduced"))

        return on_host(xp, qr, x)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        (q, r), (gq, gr) = items(y), g
        n = x.shape[-1]
        q1, r = q[..., :n], r[..., :n, :]
        middle = 0 if gr is None else matmul(r, matrix_transpose(gr[..., :n, :]))
        total: Any = 0
        if gq is not None:
            middle = middle - matmul(matrix_transpose(gq[..., :n]), q1)
            total = gq[..., :n] if q.shape[-1] == n else gq[..., :n] + turned(q, gq, n)
        symmetric = tril(middle) + matrix_transpose(tril(middle, k=-1))
        total = total + matmul(q1, symmetric)
        solve = TriangularSolve(True, False, False)
        return (matrix_transpose(apply(solve, r, matrix_transpose(total))),)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        (x,) = operands
        return 4 * x.size * x.shape[-1]
