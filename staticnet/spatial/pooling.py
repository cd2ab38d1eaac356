"""Windows over spatial axes: their greatest elements, their sums, and the transposes of both.

In `layout` "first" an array is [n, c, *s], in "last" it is [n, *s, c]; `plane` is what one example
has of one channel. Each op's derivative is another of these four or a gather by the places that
`MaxPool` gives, so there are derivatives of any order. No sum's order depends on threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import HALVES, INT32, UINT8, compute_dtype
from staticnet.ir.op import Axes
from staticnet.ir.types import Shape, TensorType, TupleType, format_shape
from staticnet.ops.arguments import FLOATS, NUMBERS, check_kind
from staticnet.ops.base import TensorOp, apply, items
from staticnet.ops.batching import spread_all
from staticnet.ops.creation import Iota, dim_value
from staticnet.ops.indexing import take_along_axis
from staticnet.ops.selection import astype
from staticnet.ops.shape import reshape
from staticnet.ops.widening import widened

LAYOUTS = ("first", "last")
MAX_SPATIAL = 3
MAX_PLANE = 2**31 - 1  # elements, whose places are int32
MAX_NUMBERED = 256  # elements of a window, whose numbers are uint8


@dataclass(frozen=True)
class WindowOp(TensorOp):
    """What the four have in common: where windows stand, and how arrays lie.

    An entry an axis: kernel, elements of a window, `dilations` apart; strides, from one window to
    the next; low and high, places before and after the array that windows reach into.
    """

    kernel: Axes
    strides: Axes
    low: Axes
    high: Axes
    dilations: Axes
    layout: str

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"kernel": 1, "strides": 1, "low": 0, "high": 0, "dilations": 1}
        for name, smallest in least.items():
            values = getattr(self, name)
            if len(values) != len(self.kernel) or any(v < smallest for v in values):
                raise ArgumentError(
                    f"{self.name}: {name} must be {len(self.kernel)} ints of at least {smallest}, "
                    f"not {values}"
                )
        if not 1 <= len(self.kernel) <= MAX_SPATIAL:
            raise ArgumentError(f"{self.name}: 1 to {MAX_SPATIAL} axes, not {len(self.kernel)}")
        if self.layout not in LAYOUTS:
            raise ArgumentError(f"{self.name}: layout must be one of {LAYOUTS}")

    def spatial_of(self, x: Any) -> Any:
        """The spatial dims of a type, value or array; raises ShapeError if its axes are others."""
        if x.ndim != len(self.kernel) + 2:
            raise ShapeError(
                f"takes {len(self.kernel)} axes between or after examples and channels, and {x} "
                f"has {x.ndim} axes in all"
            )
        return x.shape[2:] if self.layout == "first" else x.shape[1:-1]

    def with_spatial(self, shape: Shape, spatial: Shape) -> Shape:
        """A shape with other spatial dims."""
        if self.layout == "first":
            return (*shape[:2], *spatial)
        return (shape[0], *spatial, shape[-1])

    def windows(self, spatial: Shape) -> Shape:
        """How many windows there are along each axis; raises ShapeError if there is no room."""
        counts = []
        for axis, n in enumerate(spatial):
            reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1
            rest = n + self.low[axis] + self.high[axis] - reach
            if isinstance(rest, int) and rest < 0:
                raise ShapeError(
                    f"windows of {self.kernel} that reach over {reach} elements are larger than "
                    f"{format_shape(spatial)} with its padding, {rest + reach}"
                )
            counts.append(rest // self.strides[axis] + 1)
        return tuple(counts)

    def own(self) -> dict[str, Any]:
        """The attributes that all four have."""
        return {f.name: getattr(self, f.name) for f in fields(WindowOp)}

    # evaluation: windows are shifted slices of the padded array, one for each of their elements

    def offsets(self) -> Iterator[tuple[int, ...]]:
        """The elements of a window, in order, by their distances from its first one."""
        steps = zip(self.kernel, self.dilations, strict=True)
        return itertools.product(*(range(0, k * d, d) for k, d in steps))

    def shifted(self, offset: Sequence[int], windows: Sequence[int]) -> tuple[slice, ...]:
        """Where the padded array has this element of all windows."""
        rows = zip(offset, windows, self.strides, strict=True)
        spatial = tuple(slice(o, o + max(0, (t - 1) * s + 1), s) for o, t, s in rows)
        before = 2 if self.layout == "first" else 1
        return (*(slice(None),) * before, *spatial)

    def padded(self, xp: Any, x: Any, fill: Any) -> Any:
        """x with what windows reach into."""
        around = zip(self.low, self.high, strict=True)
        pairs = self.with_spatial(((0, 0),) * x.ndim, tuple(around))  # type: ignore[arg-type]
        return xp.pad(x, pairs, constant_values=fill)

    def inside(self, y: Any, spatial: Sequence[int]) -> Any:
        """The array without its padding."""
        rows = zip(self.low, spatial, strict=True)
        cut = tuple(slice(low, low + n) for low, n in rows)
        before = 2 if self.layout == "first" else 1
        return y[(*(slice(None),) * before, *cut)]

    def places(self, xp: Any, spatial: Sequence[int]) -> Any:
        """The places of a plane's elements, counted through it, and -1 around them."""
        numbers = xp.arange(int(np.prod(spatial, dtype=np.int64)), dtype=INT32)
        plane = self.with_spatial((1,) * (len(spatial) + 2), tuple(spatial))
        return self.padded(xp, xp.reshape(numbers, plane), -1)

    def spread(self, xp: Any, g: Any, spatial: Sequence[int], part: Any) -> Any:
        """The sum over all windows of what `part` gives for each of their elements.

        An element's windows are added in order, the first one first.
        """
        shape = self.with_spatial(g.shape, tuple(spatial))
        y = self.padded(xp, xp.zeros(shape, g.dtype), 0)
        windows = self.spatial_of(g)
        for offset in reversed(list(self.offsets())):
            at = self.shifted(offset, windows)
            y[at] += part(at)
        return self.inside(y, spatial)

    # batches

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        whole = spread_all(size, batched, operands)
        flat = [reshape(x, (size * x.shape[1], *x.shape[2:])) for x in whole]
        made = apply(self, *flat)
        results = items(made) if isinstance(self, MaxPool) else (made,)
        n = whole[0].shape[1]
        apart = [reshape(y, (size, n, *y.shape[1:])) for y in results]
        return apart if isinstance(self, MaxPool) else apart[0]


@dataclass(frozen=True)
class MaxPool(WindowOp, name="max_pool"):
    """(y, i): the greatest element of each window, and its place in the plane.

    NaN is greater than all, the last one's place is taken; of equal elements the first one's.
    If `numbered`, i is the element's number in its window instead, of which a window may have 256.
    x: [n, c, *s] -> y: [n, c, *t], i: int32, or uint8, [n, c, *t], or channels last
    """

    numbered: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.numbered and math.prod(self.kernel) > MAX_NUMBERED:
            raise ArgumentError(
                f"{self.name}: a window of {self.kernel} has more than {MAX_NUMBERED} elements, "
                "whose numbers are no uint8; leave numbered=False"
            )

    def infer(self, *operands: TensorType) -> TensorType:
        (x,) = operands
        check_kind(x.dtype, NUMBERS)
        spatial = self.spatial_of(x)
        plane = size_of(spatial)
        if isinstance(plane, int) and plane > MAX_PLANE:
            raise ShapeError(f"a plane may have {MAX_PLANE} elements, not {plane}")
        y = x.with_shape(self.with_spatial(x.shape, self.windows(spatial)))
        self._check_filled(spatial)
        return TupleType((y, y.with_dtype(UINT8 if self.numbered else INT32)))

    def _check_filled(self, spatial: Shape) -> None:
        """Raise ShapeError if a window may have no element of the array."""
        for axis, (n, count) in enumerate(zip(spatial, self.windows(spatial), strict=True)):
            if not self._is_filled(axis, n, count):
                raise ShapeError(
                    f"a window of axis {axis} lies in the padding alone: {n} elements with "
                    f"{self.low[axis]} before and {self.high[axis]} after them; pad less"
                )

    def _is_filled(self, axis: int, n: int | Dim, count: int | Dim) -> bool:
        """Whether all windows along an axis have an element: a symbolic axis is long enough."""
        low, step, gap = self.low[axis], self.strides[axis], self.dilations[axis]
        reach = gap * (self.kernel[axis] - 1)
        if isinstance(n, int) and isinstance(count, int) and (count - 1) * step - low >= n:
            return False
        before = min(-(-low // step), count) if isinstance(count, int) else -(-low // step)
        for first in range(-low, before * step - low, step):  # those that begin in the padding
            inside = first % gap
            if inside > first + reach or (isinstance(n, int) and inside >= n):
                return False
        return True

    def eval(self, xp: Any, x: Any) -> Any:
        spatial = self.spatial_of(x)
        windows = self.windows(spatial)
        shape = self.with_spatial(x.shape, windows)
        padded, places = self.padded(xp, x, 0), self.places(xp, spatial)
        y, index = xp.zeros(shape, x.dtype), xp.full(shape, -1, INT32)
        for number, offset in enumerate(self.offsets()):
            at = self.shifted(offset, windows)  # type: ignore[arg-type]
            value, place = padded[at], places[at]
            better = (place >= 0) & ((index < 0) | (value > y) | (value != value))
            own = xp.asarray(number, INT32) if self.numbered else place
            y, index = xp.where(better, value, y), xp.where(better, own, index)
        return y, index.astype(UINT8) if self.numbered else index

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        (gy, _), (_, index) = g, items(y)
        if gy is None:
            return (None,)
        op = MaxPoolGradient(**self.own(), spatial=self.spatial_of(x))
        return (astype(apply(op, widened(gy), index), x.dtype),)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        assert isinstance(result, TupleType)
        return result.types[0].size * size_of(self.kernel)


@dataclass(frozen=True)
class MaxPoolGradient(WindowOp, name="max_pool_gradient"):
    """y[i] = the sum of g[o] over the windows o whose place is i: the transpose of the gather.

    g: [n, c, *t], index: int32, or numbers as uint8, [n, c, *t] as `MaxPool` gives it
    -> y: [n, c, *spatial], or channels last. 16-bit floats are added up in float32.
    """

    spatial: Shape
    arity = 2
    linear: ClassVar[slice] = slice(0, 1)

    def infer(self, *operands: TensorType) -> TensorType:
        g, index = operands
        check_kind(g.dtype, FLOATS)
        if index.shape != g.shape or index.dtype not in (INT32, UINT8):
            raise ShapeError(f"the places must be {g.with_dtype(INT32)}, not {index}")
        return _transposed(self, g)

    def eval(self, xp: Any, g: Any, index: Any) -> Any:
        spatial: Any = self.spatial
        wide = g.astype(compute_dtype(g.dtype))
        if index.dtype == UINT8:
            index = self._in_plane(xp, index)
        places = self.places(xp, spatial)
        y = self.spread(xp, wide, spatial, lambda at: xp.where(places[at] == index, wide, 0))
        return y.astype(g.dtype)

    def _in_plane(self, xp: Any, numbers: Any) -> Any:
        """The places in a plane of elements of these numbers in their windows."""
        places, windows = self.places(xp, self.spatial), self.spatial_of(numbers)  # type: ignore[arg-type]
        found = xp.zeros(numbers.shape, INT32)
        for number, offset in enumerate(self.offsets()):
            found = xp.where(numbers == number, places[self.shifted(offset, windows)], found)
        return found

    def _counted(self, numbers: Any) -> Any:
        """The same of a graph's node."""
        rest: Any = astype(numbers, INT32)
        size: Any = 1
        total: Any = 0
        before = 2 if self.layout == "first" else 1
        for axis in reversed(range(len(self.kernel))):
            window = apply(Iota(numbers.shape, before + axis, INT32))
            element = rest % self.kernel[axis] * self.dilations[axis]
            place = window * self.strides[axis] - self.low[axis] + element
            total = total + place * size
            rest = rest // self.kernel[axis]
            size = size * astype(dim_value(self.spatial[axis], place), INT32)
        return total

    def vjp(self, y: Any, g: Any, own: Any, index: Any) -> tuple[Any, ...]:
        if index.dtype == UINT8:
            index = self._counted(index)
        flat = reshape(g, self._flat(g.shape))
        places = reshape(index, self._flat(index.shape))
        axis = 2 if self.layout == "first" else 1
        return reshape(take_along_axis(flat, places, axis), index.shape), None

    def _flat(self, shape: Shape) -> tuple[int | Dim, ...]:
        """A shape with one axis for the spatial ones."""
        if self.layout == "first":
            return (*shape[:2], size_of(shape[2:]))
        return (shape[0], size_of(shape[1:-1]), shape[-1])

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return operands[0].size


@dataclass(frozen=True)
class WindowSum(WindowOp, name="window_sum"):
    """y = the sum of each window, padding counting as 0.

    x: [n, c, *s] -> y: [n, c, *t], or channels last
    """

    linear: ClassVar[slice] = slice(0, 1)

    def infer(self, *operands: TensorType) -> TensorType:
        (x,) = operands
        check_kind(x.dtype, FLOATS)
        return x.with_shape(self.with_spatial(x.shape, self.windows(self.spatial_of(x))))

    def eval(self, xp: Any, x: Any) -> Any:
        windows: Any = self.windows(self.spatial_of(x))
        padded = self.padded(xp, x, 0)
        y = xp.zeros(self.with_spatial(x.shape, windows), x.dtype)
        for offset in self.offsets():
            y += padded[self.shifted(offset, windows)]
        return y

    def vjp(self, y: Any, g: Any, x: Any) -> tuple[Any, ...]:
        op = WindowSpread(**self.own(), spatial=self.spatial_of(x))
        return (astype(apply(op, widened(g)), x.dtype),)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size * size_of(self.kernel)


@dataclass(frozen=True)
class WindowSpread(WindowOp, name="window_spread"):
    """y[i] = the sum of g[o] over the windows o that i is in: the transpose of `WindowSum`.

    g: [n, c, *t] -> y: [n, c, *spatial], or channels last; no 16-bit floats, as above
    """

    spatial: Shape
    linear: ClassVar[slice] = slice(0, 1)

    def infer(self, *operands: TensorType) -> TensorType:
        _check_wide(operands[0].dtype)
        return _transposed(self, operands[0])

    def eval(self, xp: Any, g: Any) -> Any:
        spatial: Any = self.spatial
        return self.spread(xp, g, spatial, lambda at: g)

    def vjp(self, y: Any, g: Any, own: Any) -> tuple[Any, ...]:
        return (apply(WindowSum(**self.own()), g),)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return operands[0].size * size_of(self.kernel)


def _check_wide(dtype: Any) -> None:
    check_kind(dtype, FLOATS)
    if dtype in HALVES:
        raise DTypeError(f"adds up in at least 32 bits, not in {dtype}; cast with sn.astype")


def _transposed(op: MaxPoolGradient | WindowSpread, g: TensorType) -> TensorType:
    """The type of what has this gradient; raises ShapeError where the windows do not fit."""
    if len(op.spatial) != len(op.kernel):
        raise ShapeError(f"{format_shape(op.spatial)} must have {len(op.kernel)} axes")
    windows, given = op.windows(op.spatial), op.spatial_of(g)
    if windows != given:
        raise ShapeError(
            f"{format_shape(op.spatial)} has {format_shape(windows)} windows, not "
            f"{format_shape(given)}"
        )
    return g.with_shape(op.with_spatial(g.shape, op.spatial))
