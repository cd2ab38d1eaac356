"""Systems of equations, inverses and determinants, by LU factorisation."""

from __future__ import annotations

from typing import Any, NamedTuple

from staticnet.errors import ShapeError
from staticnet.ir.dim import size_of
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.linalg.arguments import real, real_matrix
from staticnet.ops.arguments import as_bool, as_int, broadcast_shapes
from staticnet.ops.arithmetic import abs, sign
from staticnet.ops.base import apply, as_values, function, items
from staticnet.ops.creation import eye
from staticnet.ops.factorization import Lu
from staticnet.ops.implicit import Determinant, LogDeterminant, diagonal_of, lu_solve
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose, moveaxis
from staticnet.ops.reduction import prod
from staticnet.ops.shape import broadcast_to, expand_dims, reshape, squeeze, sum
from staticnet.ops.transcendental import log
from staticnet.ops.triangular import TriangularSolve


class SlogdetResult(NamedTuple):
    """The sign of a determinant, and the logarithm of its magnitude."""

    sign: Any
    logabsdet: Any


@function
def solve(a: Any, b: Any) -> Value:
    """x, where a x = b.  a: [*b, n, n], b: [n] or [*b, n, k] -> x: [*b, n] or [*b, n, k]

    Leading axes broadcast; of one matrix `a` there is one factorisation.

    Raises:
        ShapeError: if a's matrices are not square, or b has not as many rows.
        LinAlgError: when it runs, if a matrix is singular.
    """
    a, b = real("solve", a, b)
    a = real_matrix("solve", a, square=True)
    if b.ndim == 0 or a.shape[-1] != b.shape[0 if b.ndim == 1 else -2]:
        raise ShapeError(
            f"{format_shape(a.shape)} does not fit right sides {format_shape(b.shape)}"
        )
    if b.ndim == 1:
        return squeeze(solve(a, expand_dims(b, 1)), -1)
    lu, places, _ = items(apply(Lu(), a))
    if a.ndim == 2 and b.ndim > 2:
        return _beside(b, lambda rows: lu_solve(a, lu, places, rows))
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    wide = [broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, lu, b)]
    places = broadcast_to(places, (*batch, a.shape[-1]))
    return lu_solve(wide[0], wide[1], places, wide[2])


def _beside(b: Any, solve: Any) -> Any:
    """Solve for a stack of right sides as for one matrix, all of them side by side."""
    rows = moveaxis(b, -2, 0)
    flat = reshape(rows, (rows.shape[0], size_of(rows.shape[1:])))
    return moveaxis(reshape(solve(flat), rows.shape), 0, -2)


@function
def solve_triangular(
    a: Any, b: Any, *, upper: Any, left: Any = True, unitriangular: Any = False
) -> Value:
    """x, where a x = b, or x a = b unless `left`; a is triangular, its other elements are not read.

    a: [*b, n, n], b: [*b, n, k], or [*b, k, n] unless `left` -> x: as b. Leading axes broadcast.

    Raises:
        ShapeError: if a's matrices are not square, or b does not fit.
        LinAlgError: when it runs, if an element of a's diagonal is 0.
    """
    upper, left = as_bool(upper, "upper"), as_bool(left, "left")
    unit = as_bool(unitriangular, "unitriangular")
    a, b = real("solve_triangular", a, b)
    a, b = real_matrix("solve_triangular", a, square=True), real_matrix("solve_triangular", b)
    b = b if left else matrix_transpose(b)
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"{format_shape(a.shape)} does not fit {format_shape(b.shape)}")
    op = TriangularSolve(upper, not left, unit)
    if a.ndim == 2 and b.ndim > 2:
        x = _beside(b, lambda rows: apply(op, a, rows))
    else:
        batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
        x = apply(op, *(broadcast_to(y, (*batch, *y.shape[-2:])) for y in (a, b)))
    return x if left else matrix_transpose(x)


@function
def inv(x: Any) -> Value:
    """y, where x y = y x = 1.  x: [*b, n, n] -> y: [*b, n, n]

    Raises:
        ShapeError: if the matrices are not square.
        LinAlgError: when it runs, if one is singular.
    """
    x = real_matrix("inv", x, square=True)
    lu, places, _ = items(apply(Lu(), x))
    unit = broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    return lu_solve(x, lu, places, unit)


@function
def det(x: Any) -> Value:
    """d = the determinant.  x: [*b, n, n] -> d: [*b]

    Its derivative is right for singular matrices, too; second derivatives are not.

    Raises:
        ShapeError: if the matrices are not square.
    """
    x = real_matrix("det", x, square=True)
    lu, places, parity = items(apply(Lu(), x))
    value = parity * prod(diagonal_of(lu), -1)
    return apply(Determinant(), x, lu, places, parity, value)


@function
def slogdet(x: Any) -> SlogdetResult:
    """(sign, l): the determinant's sign, and the logarithm of its magnitude.

    x: [*b, n, n] -> sign: [*b], l: [*b]; of a singular matrix 0 and -inf

    Raises:
        ShapeError: if the matrices are not square.
        LinAlgError: when a derivative runs, if a matrix is singular.
    """
    x = real_matrix("slogdet", x, square=True)
    lu, places, parity = items(apply(Lu(), x))
    pivots = diagonal_of(lu)
    value = sum(log(abs(pivots)), -1)
    value = apply(LogDeterminant(), x, lu, places, value)
    return SlogdetResult(parity * prod(sign(pivots), -1), value)


@function
def matrix_power(x: Any, n: Any) -> Value:
    """y = x to the power n by products; of a negative n, the inverse to the power -n.

    x: [*b, m, m] -> y: [*b, m, m]

    Raises:
        ShapeError: if the matrices are not square.
        LinAlgError: when it runs, if n is negative and a matrix is singular.
    """
    power = as_int(n, "n")
    x = real_matrix("matrix_power", x, square=True)
    if power == 0:
        return broadcast_to(as_values(x, eye(x.shape[-1], dtype=x.dtype))[1], x.shape)
    square = inv(x) if power < 0 else x
    power, result = (-power if power < 0 else power), None
    while True:
        if power % 2:
            result = square if result is None else matmul(result, square)
        power //= 2
        if not power:
            assert result is not None
            return result
        square = matmul(square, square)
