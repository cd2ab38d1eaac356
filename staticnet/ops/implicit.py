"""Functions of matrices that are known by an equation: solutions, determinants, pseudo-inverses.

Each of these ops gives its last operand, a value that was made of a factorisation. What it adds is
the derivative, which the equation gives for less than the factorisation's steps would, and which
uses that factorisation again. Once a graph is differentiated nothing is left of them: the pass
`algebraic_simplify` puts the value itself in their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.errors import ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.types import TensorType
from staticnet.ops.base import TensorOp, apply
from staticnet.ops.creation import eye
from staticnet.ops.indexing import take, take_along_axis
from staticnet.ops.linalg import matmul
from staticnet.ops.matrices import apart, batch_first, side_by_side
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.reduction import prod
from staticnet.ops.selection import where
from staticnet.ops.shape import broadcast_to, expand_dims, sum
from staticnet.ops.sorting import argsort
from staticnet.ops.triangular import TriangularSolve


class Implicit(TensorOp):
    """y = the last operand, which solves an equation in the operands before it."""

    batch = batch_first
    begins_as = -1

    def infer(self, *operands: TensorType) -> TensorType:
        return operands[-1]

    def eval(self, xp: Any, *operands: Any) -> Any:
        return operands[-1]


@dataclass(frozen=True)
class LuSolution(Implicit, name="lu_solution"):
    """x, where a x = b, or a' x = b if `transposed`; (lu, p) factorise a, as `Lu` gives them.

    a: [*b, n, n], b: [*b, n, k], lu: [*b, n, n], p: [*b, n], x: [*b, n, k] -> x
    """

    transposed: bool
    arity = 5

    def infer(self, *operands: TensorType) -> TensorType:
        a, b, lu, places, x = operands
        if lu != a or places.shape != a.shape[:-1] or x != b or a.shape[:-1] != b.shape[:-1]:
            raise ShapeError("takes a matrix, right sides, the matrix' LU, its order, solutions")
        return x

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        """Many right sides of one matrix are columns of one."""
        a, b, lu, places, x = operands
        if batched[0] or not (batched[1] and batched[4]):
            return batch_first(self, size, batched, *operands)
        solved = apply(self, a, side_by_side(b), lu, places, side_by_side(x))
        return apart(solved, size, b.shape[-1])

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        a, _, lu, places, _ = operands
        db = lu_solve(a, lu, places, g, not self.transposed)
        left, right = (y, db) if self.transposed else (db, y)
        return -matmul(left, matrix_transpose(right)), db, None, None, None

    def jvp(self, y: Any, operands: Any, tangents: Any) -> Any:
        (a, _, lu, places, _), (da, db, *_) = operands, tangents
        moved = db
        if da is not None:
            part = matmul(matrix_transpose(da) if self.transposed else da, y)
            moved = -part if db is None else db - part
        return lu_solve(a, lu, places, moved, self.transposed)


def lu_solve(a: Any, lu: Any, places: Any, b: Any, transposed: bool = False) -> Any:
    """x, where a x = b, or a' x = b if `transposed`, from a's factorisation.  -> x: as b"""
    if transposed:
        inner = apply(TriangularSolve(True, True, True), lu, _rows(b, places))
        x = apply(TriangularSolve(False, True, False), lu, inner)
    else:
        inner = apply(TriangularSolve(False, False, False), lu, b)
        x = apply(TriangularSolve(True, False, True), lu, inner)
        x = _rows(x, argsort(places))
    return apply(LuSolution(transposed), a, b, lu, places, x)


def _rows(x: Any, places: Any) -> Any:
    """y[.., i, j] = x[.., places[.., i], j]."""
    if x.ndim == 2:
        return take(x, places, 0)
    return take_along_axis(x, broadcast_to(expand_dims(places, -1), x.shape), -2)


@dataclass(frozen=True)
class Determinant(Implicit, name="determinant"):
    """d = det a; (lu, p, s) factorise a, as `Lu` gives them.

    The derivative is the transposed adjugate of a: it is right where a is singular, too, but the
    second one is not.
    a: [*b, n, n], lu: [*b, n, n], p: [*b, n], s: [*b], d: [*b] -> d
    """

    arity = 5

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        a, lu, places, sign, _ = operands
        # det(a) inv(a) is a polynomial, so continuous: a tiny pivot stands for one of 0
        tiny = float(np.sqrt(np.finfo(a.dtype).tiny))
        ones = eye(a.shape[-1], dtype=bool)
        nudged = where(ones & (lu == 0), tiny, lu)
        value = sign * prod(diagonal_of(nudged), -1)
        value = apply(Determinant(), a, nudged, places, sign, value)
        product = _unit_like(a) * expand_dims(g * value, (-1, -2))
        return lu_solve(a, nudged, places, product, True), None, None, None, None


@dataclass(frozen=True)
class LogDeterminant(Implicit, name="log_determinant"):
    """l = log |det a|; (lu, p) factorise a, as `Lu` gives them.

    a: [*b, n, n], lu: [*b, n, n], p: [*b, n], l: [*b] -> l
    """

    arity = 4

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        a, lu, places, _ = operands
        product = _unit_like(a) * expand_dims(g, (-1, -2))
        return lu_solve(a, lu, places, product, True), None, None, None


@dataclass(frozen=True)
class PseudoInverse(Implicit, name="pseudo_inverse"):
    """p = the Moore-Penrose inverse of a, differentiated as if a's rank does not change.

    a: [*b, m, n], p: [*b, n, m] -> p

    G. H. Golub, V. Pereyra: "The differentiation of pseudo-inverses and nonlinear least squares
    problems whose variables separate", 1973.
    """

    arity = 2

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        a, _ = operands
        pt, gt = matrix_transpose(y), matrix_transpose(g)
        total = -matmul(pt, matmul(g, pt))
        left, right = matmul(gt, matmul(y, pt)), matmul(matmul(pt, y), gt)
        total = total + left - matmul(a, matmul(y, left))
        return total + right - matmul(matmul(right, y), a), None


def diagonal_of(x: Any) -> Any:
    """y[.., i] = x[.., i, i].  x: [*b, n, n] -> y: [*b, n]"""
    return sum(where(eye(x.shape[-1], dtype=bool), x, 0), -1)


def _unit_like(a: Any) -> Any:
    """Unit matrices of a's type."""
    return broadcast_to(eye(a.shape[-1], dtype=a.dtype), a.shape)
