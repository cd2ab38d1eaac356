"""The shortest NumPy call for an operation: what `Op.eval` computes, without what it costs to ask.

A call takes the op and the operands' arrays, Python numbers among them, and gives the result, or
NotImplemented where types must be promoted or checked first: the careful way is `Tensor.apply`'s.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from staticnet.ir.dtype import DTYPES, HALVES, DType, is_floating, kind
from staticnet.ir.op import OPS, Op
from staticnet.ops.arguments import ANY, BOOLS, NUMBERS
from staticnet.ops.arithmetic import Pow
from staticnet.ops.base import Elementwise, Item
from staticnet.ops.indexing import ScatterAddAlongAxis, TakeAlongAxis
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import PermuteDims, Slice
from staticnet.ops.rearranging import Flip
from staticnet.ops.reduction import Max, Min
from staticnet.ops.selection import Cast, Relu, StopGradient, Where
from staticnet.ops.shape import BroadcastTo, Reshape, Sum

Call = Callable[..., Any]
ndarray = np.ndarray

_PLAIN = [dtype for dtype in DTYPES.values() if dtype not in HALVES]
FLOATING = frozenset(dtype for dtype in _PLAIN if is_floating(dtype))
NUMERIC = frozenset(dtype for dtype in _PLAIN if kind(dtype) in NUMBERS)
FAILURES = (ValueError, TypeError, IndexError, OverflowError)


class _Quiet(threading.local):
    """`run(f, *arrays)`: f in a context in which NumPy says nothing of overflow or 0 / 0.

    A context is entered by one thread at a time; entering it costs a tenth of `np.errstate`.
    """

    def __init__(self) -> None:
        context = contextvars.Context()
        context.run(np.seterr, all="ignore")
        self.run = context.run


quiet = _Quiet()


def dtypes_of(kinds: frozenset[str]) -> frozenset[DType]:
    """The dtypes of some kinds that NumPy computes in as they are: 16-bit floats are widened."""
    return frozenset(dtype for dtype in _PLAIN if kind(dtype) in kinds)


def takes(number: Any, dtype: DType) -> bool:
    """Whether a Python number fits this dtype beside an array of it, beyond doubt."""
    if type(number) is float:
        return dtype in FLOATING
    if type(number) is not int:
        return False
    if 0 <= number < 128:
        return dtype in NUMERIC
    return dtype in FLOATING or (dtype.kind == "i" and -128 <= number < 0)


def _ufunc(ufunc: Any, allowed: frozenset[DType]) -> Call:
    def one(op: Op, x: Any) -> Any:
        if type(x) is ndarray and x.dtype in allowed:
            return quiet.run(ufunc, x)
        return NotImplemented

    def two(op: Op, x: Any, y: Any) -> Any:
        dtype = x.dtype if type(x) is ndarray else y.dtype if type(y) is ndarray else None
        if dtype not in allowed:
            return NotImplemented
        for z in (x, y):
            if (z.dtype is not dtype) if type(z) is ndarray else not takes(z, dtype):
                return NotImplemented
        return quiet.run(ufunc, x, y)

    return one if ufunc.nin == 1 else two


def ufunc_of(op: type[Elementwise]) -> tuple[Any, frozenset[DType]] | None:
    """NumPy's ufunc of an op whose `eval` is just that, and the dtypes that it may be given."""
    ufunc = getattr(np, op.numpy or op.name, None)
    if op.eval is not Elementwise.eval or not isinstance(ufunc, np.ufunc):
        return None
    return ufunc, dtypes_of(op.kinds)


def _of_one(kinds: frozenset[str], function: Callable[[Any, Any], Any]) -> Call:
    allowed = dtypes_of(kinds)

    def call(op: Op, x: Any) -> Any:
        if type(x) is ndarray and x.dtype in allowed:
            return function(op, x)
        return NotImplemented

    return call


def _where(op: Op, c: Any, x: Any, y: Any) -> Any:
    dtype = x.dtype if type(x) is ndarray else y.dtype if type(y) is ndarray else None
    if dtype not in NUMERIC or type(c) is not ndarray or c.dtype != bool:
        return NotImplemented
    for z in (x, y):
        if (z.dtype is not dtype) if type(z) is ndarray else not takes(z, dtype):
            return NotImplemented
    return np.where(c, x, y)


def _along(op: Any, x: Any, *others: Any) -> Any:
    """Take or scatter-add along an axis, where all operands are x's shape but for that axis."""
    indices, axis = others[-1], op.axis
    if type(x) is not ndarray or x.dtype not in NUMERIC or type(indices) is not ndarray:
        return NotImplemented
    n = indices.shape[axis] if indices.ndim == x.ndim else 0
    wanted = (*x.shape[:axis], n, *x.shape[axis + 1 :])
    for y in others:
        if type(y) is not ndarray or y.shape != wanted:
            return NotImplemented
    if indices.dtype != np.int64 or (len(others) == 2 and others[0].dtype is not x.dtype):
        return NotImplemented
    return quiet.run(op.eval, np, x, *others)


class Layout(threading.local):
    """The shape of a product that is to lie transposed in memory, as the operand it belongs to.

    The gradient of a transposed matrix is then transposed back without a copy.
    """

    transposed: tuple[int, ...] | None = None


layout = Layout()


def matmul(op: Op, x: Any, y: Any) -> Any:
    """x @ y, in the memory order that `layout` asks for.  x: [*b, m, k], y: [*b, k, n]"""
    if type(x) is not ndarray or type(y) is not ndarray or x.ndim < 2 or y.ndim < 2:
        return NotImplemented
    if x.dtype is not y.dtype or x.dtype not in FLOATING:
        return NotImplemented
    wanted = layout.transposed
    if wanted is not None and x.ndim == y.ndim == 2 and wanted == (x.shape[0], y.shape[1]):
        return quiet.run(np.matmul, y.T, x.T).T
    return quiet.run(np.matmul, x, y)


def _reduce(ufunc: Any) -> Call:
    def reduce(op: Any, x: Any) -> Any:
        return quiet.run(ufunc.reduce, x, op.axes, x.dtype, None, op.keepdims)

    return _of_one(NUMBERS, reduce)


def _cast(op: Any, x: Any) -> Any:
    return quiet.run(op.eval, np, x)


def _pow(op: Any, x: Any, y: Any) -> Any:
    """Of floats; what `op.eval` mends is only where y is 0.5."""
    if type(y) is not ndarray:
        return NotImplemented if y == 0.5 else _power(op, x, y)
    if type(x) is not ndarray or x.dtype is not y.dtype or x.dtype not in FLOATING:
        return NotImplemented
    if y.size > 1 and y.shape == x.shape and y.flags.c_contiguous:  # so NumPy sees several
        return quiet.run(np.power, x, y)
    return quiet.run(op.eval, np, x, y)


_power = _ufunc(np.power, FLOATING)
_reshape = _of_one(ANY, lambda op, x: x.reshape(op.shape))
_permute = _of_one(ANY, lambda op, x: x.transpose(op.axes))
_plain = _of_one(ANY, lambda op, x: op.eval(np, x))
CALLS: dict[type[Op], Call] = {
    cls: _ufunc(*found)
    for cls in OPS.values()
    if issubclass(cls, Elementwise) and (found := ufunc_of(cls)) is not None
} | {
    Matmul: matmul,
    Pow: _pow,
    Where: _where,
    Item: lambda op, x: x[op.index],
    Sum: _reduce(np.add),
    Max: _reduce(np.maximum),
    Min: _reduce(np.minimum),
    Reshape: _reshape,
    PermuteDims: _permute,
    BroadcastTo: _plain,
    TakeAlongAxis: _along,
    ScatterAddAlongAxis: _along,
    Slice: _plain,
    Flip: _plain,
    StopGradient: _plain,
    Relu: _of_one(NUMBERS, lambda op, x: np.maximum(x, 0)),
    Cast: _of_one(NUMBERS | BOOLS, _cast),
}
