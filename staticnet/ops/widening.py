"""16-bit floats are computed in float32 and rounded once.

One op does so by itself, on every backend. A composite of several would round after each of them: a
sum above 65504 is infinite though the mean is small, a count of 70,000 is, and so is its gradient's
0. So a composite says how many operands it has, and is computed in float32 from beginning to end,
as NumPy's and PyTorch's are; the casts are ops, so its derivatives are, too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from staticnet.ir.dtype import HALVES, DType, compute_dtype, is_floating, promote
from staticnet.ir.value import Value
from staticnet.ops.base import as_value
from staticnet.ops.promotion import is_weak
from staticnet.ops.selection import astype

F = TypeVar("F", bound=Callable[..., Any])


def widened(x: Any) -> Any:
    """x in the dtype that its elements are computed in: 16-bit floats as float32."""
    return astype(x, compute_dtype(x.dtype))


def rounded_once(operands: int = 1) -> Callable[[F], F]:
    """A function whose first `operands` arguments of 16 bits are computed in float32.

    The result has the dtype that these promote to, as if each op had rounded.
    """

    def decorate(f: F) -> F:
        names = tuple(inspect.signature(f).parameters)[:operands]

        @functools.wraps(f)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = [*args[:operands], *map(kwargs.get, names)] if kwargs else args[:operands]
            if not any(map(_may_be_half, given)):
                return f(*args, **kwargs)
            first = [_strong(x) for x in args[:operands]]
            named = {k: _strong(x) if k in names else x for k, x in kwargs.items()}
            dtype = _common([*first, *(named[k] for k in names if k in named)])
            if dtype is None:
                return f(*args, **kwargs)
            wide = {k: _widened(x) if k in names else x for k, x in named.items()}
            return astype(f(*map(_widened, first), *args[operands:], **wide), dtype)

        return call  # type: ignore[return-value]

    return decorate


def _may_be_half(x: Any) -> bool:
    """Whether an operand may have 16 bits, told without a look at its elements."""
    dtype = getattr(x, "dtype", None)
    return dtype in HALVES if isinstance(dtype, np.dtype) else dtype is not None


def _strong(x: Any) -> Any:
    """An operand with a dtype of its own as a Value; a number or list stays what it is."""
    return x if is_weak(x) else as_value(x)


def _widened(x: Any) -> Any:
    return widened(x) if isinstance(x, Value) else x


def _common(operands: list[Any]) -> DType | None:
    """The dtype that floating operands promote to, or None if none of them has 16 bits."""
    dtypes = [x.dtype for x in operands if isinstance(x, Value) and is_floating(x.dtype)]
    if not any(dtype in HALVES for dtype in dtypes):
        return None
    return functools.reduce(lambda a, b: promote(a, b) or a, dtypes)
