"""What functions of matrices do to their arguments first: dtypes, vectors, batches."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.dtype import FLOAT32, is_floating
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.ops.base import promoted
from staticnet.ops.matrices import check_real
from staticnet.ops.selection import astype


def real(what: str, *operands: Any) -> list[Any]:
    """The operands as Values of one floating dtype: integers and bools are float32.

    Raises:
        DTypeError: if it is none of float32 and float64.
    """
    values = [x if is_floating(x.dtype) else astype(x, FLOAT32) for x in promoted(what, *operands)]
    for x in values:
        check_real(x.dtype)
    return values


def real_matrix(what: str, x: Any, square: bool = False) -> Value:
    """`real` of one stack of matrices.

    Raises:
        ShapeError: if it is none, or of matrices that should be square.
    """
    (y,) = real(what, x)
    if y.ndim < 2:
        raise ShapeError(f"takes a matrix or a stack of them, not {format_shape(y.shape)}")
    if square and y.shape[-1] != y.shape[-2]:
        raise ShapeError(f"takes square matrices, not {format_shape(y.shape)}")
    return y
