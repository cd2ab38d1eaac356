"""Triangular matrices: systems of them, and Cholesky's factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from staticnet.errors import ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.types import TensorType
from staticnet.ops.base import ALL, apply
from staticnet.ops.creation import eye, tril, triu
from staticnet.ops.linalg import matmul
from staticnet.ops.matrices import (
    MatrixOp,
    apart,
    check_matrix,
    check_square,
    each_matrix,
    on_host,
    side_by_side,
    symmetric_part,
)
from staticnet.ops.movement import matrix_transpose


@dataclass(frozen=True)
class TriangularSolve(MatrixOp, name="triangular_solve"):
    """x, where T x = b, or T' x = b if `transposed`; T is the upper or the lower triangle of a.

    With `unit` T's diagonal is 1, whatever a's is; else a 0 in it fails.
    a: [*b, n, n], b: [*b, n, k] -> x: [*b, n, k]
    """

    upper: bool
    transposed: bool
    unit: bool
    same_dtype: ClassVar[slice] = ALL
    arity = 2
    may_fail = True
    problem = "the matrix is singular: a diagonal element is 0"
    failure = "sn.linalg.pinv(a) @ b is a least-squares solution, of singular matrices too"

    def infer(self, *operands: TensorType) -> TensorType:
        a, b = operands
        check_square(a)
        check_matrix(b)
        if a.dtype != b.dtype or a.shape[:-1] != b.shape[:-1]:
            raise ShapeError(f"takes {a} with right sides of as many rows, not {b}")
        return b

    def eval(self, xp: Any, a: Any, b: Any) -> Any:
        from scipy.linalg.lapack import get_lapack_funcs

        def solve(t: Any, y: Any) -> Any:  # by rows t is its transpose by columns
            x, info = trtrs(
                t.T, y, lower=int(self.upper), trans=int(not self.transposed),
                unitdiag=int(self.unit),
            )  # fmt: skip
            if info:
                raise np.linalg.LinAlgError
            return x

        (trtrs,) = get_lapack_funcs(("trtrs",), dtype=b.dtype)
        return on_host(xp, lambda a, b: each_matrix(solve, b, a, b), a, b)

    def vjp(self, x: Any, g: Any, a: Any, b: Any) -> tuple[Any, ...]:
        db = apply(TriangularSolve(self.upper, not self.transposed, self.unit), a, g)
        if not a.requires_grad:
            return None, db
        pair = (x, db) if self.transposed else (db, x)
        return -self.triangle(matmul(pair[0], matrix_transpose(pair[1]))), db

    def jvp(self, x: Any, operands: Any, tangents: Any) -> Any:
        (a, _), (da, db) = operands, tangents
        moved = None if db is None else db
        if da is not None:
            triangle = self.triangle(da)
            part = matmul(matrix_transpose(triangle) if self.transposed else triangle, x)
            moved = -part if moved is None else moved - part
        return apply(self, a, moved)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        """Many right sides of one matrix are columns of one."""
        a, b = operands
        if batched[0]:
            return super().batch(size, batched, a, b)
        return apart(apply(self, a, side_by_side(b)), size, b.shape[-1])

    def triangle(self, a: Any) -> Any:
        """The elements of a that the solution depends on, the others 0."""
        return triu(a, k=int(self.unit)) if self.upper else tril(a, k=-int(self.unit))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size * result.shape[-2]


@dataclass(frozen=True)
class Cholesky(MatrixOp, name="cholesky"):
    """L, lower triangular, where x = L L' and L's diagonal is positive.

    x is taken to be symmetric, and fails unless it is positive definite.
    x: [*b, n, n] -> L: [*b, n, n]
    """

    may_fail = True
    problem = "the matrix is not positive definite"

    def infer(self, *operands: TensorType) -> TensorType:
        check_square(operands[0])
        return operands[0]

    def eval(self, xp: Any, x: Any) -> Any:
        return on_host(xp, _cholesky, x)

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        inner = _halved(matmul(matrix_transpose(y), g))
        left = apply(TriangularSolve(False, True, False), y, inner)  # L'^-1 inner L^-1
        product = apply(TriangularSolve(False, True, False), y, matrix_transpose(left))
        return (symmetric_part(product),)

    def jvp(self, y: Any, operands: Any, tangents: Any) -> Any:
        (dx,) = tangents
        left = apply(TriangularSolve(False, False, False), y, symmetric_part(dx))
        inner = apply(TriangularSolve(False, False, False), y, matrix_transpose(left))
        return matmul(y, _halved(inner))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size * result.shape[-1] // 3


def _cholesky(x: Any) -> Any:
    y = np.linalg.cholesky(x)
    if not (np.diagonal(y, axis1=-2, axis2=-1) > 0).all():  # NaN, which LAPACK lets pass
        raise np.linalg.LinAlgError
    return y


def _halved(x: Any) -> Any:
    """The lower triangle with half the diagonal: half of what is symmetric, and triangular."""
    return tril(x) * (1 - 0.5 * eye(x.shape[-1], dtype=x.dtype))
