"""Decompositions, and what is made of singular values: ranks, pseudo-inverses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ir.dtype import INT64
from staticnet.ir.value import Value
from staticnet.linalg.arguments import real_matrix
from staticnet.ops.arguments import as_bool
from staticnet.ops.base import apply, function, items, promoted
from staticnet.ops.factorization import Qr
from staticnet.ops.implicit import PseudoInverse
from staticnet.ops.linalg import matmul
from staticnet.ops.matrices import lesser, symmetric_part
from staticnet.ops.movement import concat, matrix_transpose
from staticnet.ops.promotion import is_scalar
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import expand_dims, reshape, sum
from staticnet.ops.spectral import Eigh, Svd
from staticnet.ops.triangular import Cholesky


class QRResult(NamedTuple):
    """Orthonormal columns, and an upper triangle."""

    Q: Any
    R: Any


class EighResult(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors, which are columns."""

    eigenvalues: Any
    eigenvectors: Any


class SVDResult(NamedTuple):
    """Left singular vectors as columns, singular values, descending, right vectors as rows."""

    U: Any
    S: Any
    Vh: Any


@function
def cholesky(x: Any, *, upper: Any = False) -> Value:
    """L, lower triangular, where x = L L'; with `upper` U = L', where x = U' U.

    The symmetric part of x is factorised: so derivatives are symmetric.
    x: [*b, n, n] -> L: [*b, n, n]

    Raises:
        ShapeError: if the matrices are not square.
        LinAlgError: when it runs, if one is not positive definite.
    """
    x = real_matrix("cholesky", x, square=True)
    factor = apply(Cholesky(), symmetric_part(x))
    return matrix_transpose(factor) if as_bool(upper, "upper") else factor


@function
def qr(x: Any, *, mode: str = "reduced") -> QRResult:
    """(Q, R): x = Q R, Q's columns are orthonormal, R is upper triangular.

    x: [*b, m, n] -> Q: [*b, m, k], R: [*b, k, n], k the lesser of m, n; or m if mode is "complete"
    Signs, and the last columns of a complete Q, may differ between devices; derivatives are those
    of functions that do not depend on them.

    Raises:
        ArgumentError: if the mode is none of "reduced" and "complete".
        ShapeError: if which of m, n is less is not known.
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError(f'mode must be "reduced" or "complete", not {mode!r:.40}')
    x = real_matrix("qr", x)
    m, n = x.shape[-2:]
    if lesser(m, n) == n:
        return QRResult(*items(apply(Qr(mode == "complete" and m != n), x)))
    q, r = items(apply(Qr(False), x[..., :m]))
    return QRResult(q, concat([r, matmul(matrix_transpose(q), x[..., m:])], -1))


@function
def eigh(x: Any) -> EighResult:
    """(w, V): x = V diag(w) V', w ascending, V orthogonal, of the symmetric part of x.

    x: [*b, n, n] -> w: [*b, n], V: [*b, n, n]
    Signs, and bases of equal eigenvalues' vectors, may differ between devices; derivatives are
    those of functions that do not depend on them.

    Raises:
        ShapeError: if the matrices are not square.
        LinAlgError: when it runs, if a matrix has NaN or infinity.
    """
    x = real_matrix("eigh", x, square=True)
    return EighResult(*items(apply(Eigh(), symmetric_part(x))))


@function
def eigvalsh(x: Any) -> Value:
    """w = the eigenvalues of the symmetric part of x, ascending.  x: [*b, n, n] -> w: [*b, n]

    Raises: as `eigh`.
    """
    x = real_matrix("eigvalsh", x, square=True)
    return items(apply(Eigh(), symmetric_part(x)))[0]


@function
def svd(x: Any, *, full_matrices: Any = True) -> SVDResult:
    """(U, s, Vh): x = U diag(s) Vh, s descending, U's columns and Vh's rows orthonormal.

    x: [*b, m, n] -> U: [*b, m, m], s: [*b, k], Vh: [*b, n, n], k the lesser of m, n; unless
    `full_matrices`, U: [*b, m, k], Vh: [*b, k, n]. Signs, bases of equal values' vectors, and those
    beyond k may differ between devices; derivatives are those of functions that do not depend on
    them.

    Raises:
        ShapeError: if which of m, n is less is not known.
        LinAlgError: when it runs, if a matrix has NaN or infinity.
    """
    x = real_matrix("svd", x)
    full = as_bool(full_matrices, "full_matrices") and x.shape[-1] != x.shape[-2]
    return SVDResult(*items(apply(Svd(full), x)))


@function
def svdvals(x: Any) -> Value:
    """s = the singular values, descending.  x: [*b, m, n] -> s: [*b, k], k the lesser of m, n

    Raises: as `svd`.
    """
    return items(apply(Svd(False), real_matrix("svdvals", x)))[1]


@function
def pinv(x: Any, *, rtol: Any = None) -> Value:
    """y = the Moore-Penrose inverse: x y x = x, y x y = y, x y and y x are symmetric.

    x: [*b, m, n], rtol: a number or [*b] -> y: [*b, n, m]
    Singular values of at most rtol times the greatest count as 0; rtol is the greater of m, n times
    the dtype's eps unless given. It is differentiated as if x's rank does not change.

    Raises: as `svd`.
    """
    x = real_matrix("pinv", x)
    *batch, m, n = x.shape
    if m == 0 or n == 0:
        return reshape(x, (*batch, n, m))
    u, s, vh = items(apply(Svd(False), x))
    kept = _counts(s, x, rtol)
    inverses = where(kept, 1 / where(kept, s, 1), 0)
    value = matmul(matrix_transpose(vh) * expand_dims(inverses, -2), matrix_transpose(u))
    return apply(PseudoInverse(), x, value)


@function
def matrix_rank(x: Any, *, rtol: Any = None) -> Value:
    """r = the number of singular values above rtol times the greatest.

    x: [*b, m, n], rtol: a number or [*b] -> r: int64 [*b]; rtol as for `pinv`

    Raises: as `svd`.
    """
    x = real_matrix("matrix_rank", x)
    return sum(astype(_counts(svdvals(x), x, rtol), INT64), -1)


def _counts(s: Any, x: Any, rtol: Any) -> Any:
    """Which singular values are not taken for 0."""
    if rtol is None:
        m, n = x.shape[-2:]
        greater = m + n - lesser(m, n)
        rtol = float(np.finfo(x.dtype).eps) * greater
    elif not is_scalar(rtol):
        rtol = expand_dims(promoted("rtol", x, rtol)[1], -1)
    return s > s[..., :1] * rtol
