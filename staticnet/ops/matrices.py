"""What all ops on stacks of matrices share: their checks, their batches, the way to LAPACK.

Their leading axes, the same in all operands, are a batch. Where a function of matrices has several
values, as eigenvectors have signs, which one it gives may differ between devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from staticnet.errors import DTypeError, LinAlgError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import FLOAT32, FLOAT64, DType
from staticnet.ir.op import Op
from staticnet.ir.types import TensorType, format_shape
from staticnet.ops.base import TensorOp, apply, items
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose, moveaxis
from staticnet.ops.shape import broadcast_to, reshape


def batch_first(op: Op, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
    """`Op.batch` of what takes stacks: the examples' axis is one more leading axis."""
    whole = [
        x if is_batched else broadcast_to(x, (size, *x.shape))
        for x, is_batched in zip(operands, batched, strict=True)
    ]
    return apply(op, *whole)


class MatrixOp(TensorOp):
    """y = f of each matrix of a stack; what `may_fail` raises LinAlgError."""

    error = LinAlgError
    several: ClassVar[bool] = False  # results

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        """The op on the operands with the examples' axis first."""
        made = batch_first(self, size, batched, *operands)
        return items(made) if self.several else made


def side_by_side(x: Any) -> Any:
    """The columns of all examples in one matrix.  x: [size, *b, n, k] -> y: [*b, n, size * k]"""
    moved = moveaxis(x, 0, -2)
    *first, size, k = moved.shape
    return reshape(moved, (*first, size * k))


def apart(x: Any, size: int | Dim, k: int | Dim) -> Any:
    """What `side_by_side` put together.  x: [*b, n, size * k] -> y: [size, *b, n, k]"""
    return moveaxis(reshape(x, (*x.shape[:-1], size, k)), -2, 0)


def check_matrix(x: TensorType) -> None:
    """Raise DTypeError or ShapeError unless a type is one of stacks of real matrices."""
    check_real(x.dtype)
    if x.ndim < 2:
        raise ShapeError(f"takes a matrix or a stack of them, not {format_shape(x.shape)}")


def check_real(dtype: DType) -> None:
    """Raise DTypeError unless there are factorisations in this dtype."""
    if dtype not in (FLOAT32, FLOAT64):
        raise DTypeError(f"takes float32 or float64, not {dtype}; cast with sn.astype(x, dtype)")


def check_square(x: TensorType) -> None:
    """`check_matrix`, and raise ShapeError unless the matrices are square."""
    check_matrix(x)
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"takes square matrices, not {format_shape(x.shape)}")


def lesser(rows: int | Dim, columns: int | Dim) -> int | Dim:
    """The lesser of a matrix's dims.

    Raises:
        ShapeError: if a symbolic dim may be the lesser or the greater one.
    """
    if rows == columns:
        return rows
    if isinstance(rows, Dim) or isinstance(columns, Dim):
        raise ShapeError(
            f"whether {rows} rows or {columns} columns are fewer is not known; give matrices fixed "
            "sizes, batches may be symbolic"
        )
    return min(rows, columns)


def on_host(xp: Any, f: Callable[..., Any], *arrays: Any) -> Any:
    """What `f` makes of NumPy arrays, as arrays of the module `xp`."""
    if xp is np:
        return f(*arrays)
    made = f(*map(xp.asnumpy, arrays))
    return tuple(map(xp.asarray, made)) if isinstance(made, tuple) else xp.asarray(made)


def each_matrix(f: Callable[..., Any], like: Any, *stacks: Any) -> Any:
    """A result like `like`, each of whose matrices is `f` of those of the stacks."""
    made = np.empty_like(like, order="C")
    if made.size:
        for i in np.ndindex(like.shape[:-2]):
            made[i] = f(*(x[i] for x in stacks))
    return made


def symmetric_part(x: Any) -> Any:
    """y = (x + x') / 2.  x: [*b, n, n] -> y: [*b, n, n]"""
    return x * 0.5 + matrix_transpose(x) * 0.5  # each first, lest large numbers overflow


def turned(q: Any, g: Any, k: Any) -> Any:
    """What a gradient by the columns of q after the first k gives for those.

    All are orthonormal: the last ones span what the first do not, and turn as these do. How the
    last turn among themselves is arbitrary.
    """
    return -matmul(q[..., k:], matmul(matrix_transpose(g[..., k:]), q[..., :k]))
