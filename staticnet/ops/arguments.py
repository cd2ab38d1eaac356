"""Checks and normal forms of what users pass to operations: axes, ints, bools, kinds, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError
from staticnet.ir.dim import Dim, integer
from staticnet.ir.dtype import DIGITS, DType, kind
from staticnet.ir.op import Axes
from staticnet.ir.types import MAX_RANK, Shape, format_shape

FLOATS, BOOLS = frozenset({"float"}), frozenset({"bool"})
INTEGERS = frozenset({"int", "uint"})
NUMBERS = INTEGERS | FLOATS
INTEGERS_AND_BOOLS = INTEGERS | BOOLS
ANY = NUMBERS | BOOLS
SIGNED = FLOATS | {"int"}
MAX_PLACES = 1 << 24  # in a table of indices that a graph holds


def check_kind(dtype: DType, kinds: frozenset[str]) -> None:
    """Raise DTypeError unless the dtype is of one of the kinds."""
    if kind(dtype) not in kinds:
        names = {"float": "floating-point", "int": "integer", "uint": "unsigned", "bool": "bool"}
        wanted = " or ".join(sorted(names[k] for k in kinds))
        raise DTypeError(f"takes {wanted} operands, not {dtype}; cast with sn.astype(x, dtype)")


def check_holds(what: str, dtype: DType, *numbers: int) -> None:
    """Raise DTypeError unless the dtype holds these whole numbers and all between them."""
    if dtype in DIGITS:
        most = 2 ** DIGITS[dtype]
        least = -most
    else:
        limits = np.iinfo(dtype) if dtype.kind in "iu" else None
        least, most = (int(limits.min), int(limits.max)) if limits is not None else (0, 1)
    for number in numbers:
        if not least <= number <= most:
            raise DTypeError(f"{what}: {dtype} does not hold {number}; pass a wider dtype")


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that arrays of these shapes broadcast to.

    Raises:
        ShapeError: if they do not.
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[int | Dim] = [1] * rank
    for shape in shapes:
        for i, dim in enumerate(shape, rank - len(shape)):
            if result[i] == 1:
                result[i] = dim
            elif dim not in (1, result[i]):
                listed = " and ".join(format_shape(shape) for shape in shapes)
                raise ShapeError(f"shapes do not broadcast: {listed}")
    return tuple(result)


def as_int(
    value: Any, what: str, least: int = 1 - 2**63, most: int = 2**63 - 1, kind: str = "an int"
) -> int:
    """An int argument, Python's or NumPy's, also as an array without axes; a bool is none.

    Raises:
        ArgumentError: if it is not an int or lies outside of [least, most].
    """
    number = integer(value)
    if number is None or not least <= number <= most:
        raise ArgumentError(f"{what} must be {kind}, not {value!r:.60}")
    return number


def as_size(value: Any, what: str) -> int:
    """A positive int.

    Raises:
        ArgumentError: if it is none.
    """
    return as_int(value, what, 1, kind="a positive int")


def normalize_axis(axis: Any, ndim: int, what: str = "axis") -> int:
    """A non-negative axis.

    Raises:
        ArgumentError, OutOfRangeError: if it is no int, or is out of range.
    """
    number = as_int(axis, what)
    if not -ndim <= number < ndim:
        raise OutOfRangeError(f"{what} {number} is out of range for {ndim} axes")
    return number % ndim


def normalize_axes(axis: Any, ndim: int) -> Axes:
    """Sorted, distinct, non-negative axes; None means all of them.

    Raises:
        ArgumentError, OutOfRangeError, ShapeError: if one is no int, out of range, or named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    entries = as_tuple(axis)
    axes = tuple(sorted(normalize_axis(entry, ndim) for entry in entries))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axis {axis} names an axis twice")
    return axes


def check_axes(axes: Axes, ndim: int) -> None:
    """Raise ShapeError unless axes are distinct and within [0, ndim)."""
    if len(set(axes)) != len(axes) or not all(0 <= axis < ndim for axis in axes):
        raise ShapeError(f"axes {axes} do not fit {ndim} axes")


def as_bool(value: Any, what: str) -> bool:
    """A bool argument.

    Raises:
        ArgumentError: if it is not a bool.
    """
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{what} must be True or False, not {value!r:.60}")
    return bool(value)


def as_sequence(shape: Any) -> Sequence[Any]:
    """A tuple, list or array argument; raises ShapeError for anything else."""
    if isinstance(shape, np.ndarray) and shape.ndim:
        return list(shape)
    if not isinstance(shape, tuple | list):
        raise ShapeError(f"a shape is a sequence of dims, not {shape!r:.60}")
    return shape


def as_tuple(value: Any) -> tuple[Any, ...]:
    """The entries of a tuple, list or array; anything else is one."""
    several = isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim)
    return tuple(value) if several else (value,)


def check_unmasked(value: Any, depth: int = 0) -> None:
    """Raise DTypeError if `value` is a masked array or a list with one: its mask would be lost."""
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError(
            "a masked array has no place here: fill it with x.filled(value), and give its mask, "
            "np.ma.getmaskarray(x), as an array of its own"
        )
    if isinstance(value, tuple | list) and depth <= MAX_RANK:
        nests = (tuple, list, np.ma.MaskedArray)
        items = value if any(issubclass(t, nests) for t in set(map(type, value))) else ()
        for item in items:
            check_unmasked(item, depth + 1)
