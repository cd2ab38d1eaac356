"""Convolution and its two gradients: three bilinear ops, each the derivative of the others.

Of x, w and y, where y = convolution(x, w), each op makes one from the other two, so derivatives of
any order are the same three. In `layout` "first" the arrays are x: [n, c, *s] and y: [n, o, *t]; in
"last" channels come after spatial axes, x: [n, *s, c], y: [n, *t, o]. Weights are
w: [o, c / groups, *k] in both, since kernels pack them anyway: a step's updates never turn them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim, exact_quotient, size_of
from staticnet.ir.op import Axes
from staticnet.ir.types import Shape, TensorType, format_shape
from staticnet.ops.arguments import FLOATS, check_kind
from staticnet.ops.base import ALL, TensorOp, apply
from staticnet.ops.movement import moveaxis
from staticnet.ops.shape import reshape

LAYOUTS = ("first", "last")
ALGORITHMS = ("direct", "winograd")
WEIGHTS = ("plain", "held")
MAX_SPATIAL = 3

# The axes of each array, spatial ones apart: examples n, groups G, and of a group outputs O and
# inputs C. Two letters are one axis.
_AXES = {"x": ("n", "GC"), "w": ("GO", "C"), "y": ("n", "GO")}
# The axis that many examples' arrays are laid along: the one that the array without them lacks.
_MERGED = {"xy": "n", "wy": "O", "wx": "C", "wxy": "G"}


@dataclass(frozen=True)
class ConvolutionOp(TensorOp):
    """What the three have in common: where the kernel stands, and how arrays lie.

    strides, dilations: steps of the kernel and between its elements, an entry a spatial axis;
    low, high: zeros before and after x; groups: [groups], parts that channels are cut into, of
    which each output sees one. It is one dim, so that it may be symbolic. `algorithm` is how a
    backend may compute it: "winograd" is for kernels of 3 by 3 without strides. `weights` are
    "held" if a backend is to keep them from step to step in the order that it reads them in.
    """

    strides: Axes
    low: Axes
    high: Axes
    dilations: Axes
    groups: Shape
    layout: str
    algorithm: str = field(default="direct", kw_only=True)
    weights: str = field(default="plain", kw_only=True)
    arity = 2
    same_dtype: ClassVar[slice] = ALL
    roles: ClassVar[str]  # which of x, w, y the operands and the result are

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers = {"strides": 1, "dilations": 1, "low": 0, "high": 0}
        for name, least in numbers.items():
            values = getattr(self, name)
            if len(values) != len(self.strides) or any(v < least for v in values):
                raise ArgumentError(
                    f"{self.name}: {name} must be {len(self.strides)} ints of at least {least}, "
                    f"not {values}"
                )
        if not 1 <= len(self.strides) <= MAX_SPATIAL:
            raise ArgumentError(f"{self.name}: 1 to {MAX_SPATIAL} axes, not {len(self.strides)}")
        if len(self.groups) != 1:
            raise ArgumentError(f"{self.name}: groups must be one dim, not {self.groups}")
        if self.layout not in LAYOUTS:
            raise ArgumentError(f"{self.name}: layout must be one of {LAYOUTS}")
        if self.algorithm not in ALGORITHMS:
            raise ArgumentError(f"{self.name}: algorithm must be one of {ALGORITHMS}")
        if self.weights not in WEIGHTS:
            raise ArgumentError(f"{self.name}: weights must be one of {WEIGHTS}")

    # shapes

    def apart(self, role: str, shape: Sequence[Any]) -> tuple[Any, Any, tuple[Any, ...]]:
        """The first axis, channels, and spatial axes of a shape of x, w or y in this layout."""
        if self._is_first(role):
            return shape[0], shape[1], tuple(shape[2:])
        return shape[0], shape[-1], tuple(shape[1:-1])

    def together(
        self, role: str, first: Any, channels: Any, spatial: Sequence[Any]
    ) -> tuple[Any, ...]:
        """The shape in this layout that `apart` takes apart."""
        if self._is_first(role):
            return (first, channels, *spatial)
        return (first, *spatial, channels)

    def _is_first(self, role: str) -> bool:
        return role == "w" or self.layout == "first"

    def _check_operands(self, *operands: TensorType) -> None:
        for x in operands:
            check_kind(x.dtype, FLOATS)
            if x.dtype != operands[0].dtype:
                raise DTypeError(f"the operands' dtypes differ: {operands[0].dtype}, {x.dtype}")
            if x.ndim != len(self.strides) + 2:
                raise ShapeError(
                    f"takes {len(self.strides) + 2} axes for {len(self.strides)} spatial ones, "
                    f"and {x} has {x.ndim}"
                )

    def _result(self, x: Shape, w: Shape) -> Shape:
        """The shape of y; raises ShapeError where x and w do not fit."""
        (n, c, s), (o, each, k) = self.apart("x", x), self.apart("w", w)
        (groups,) = self.groups
        self._in_group(o)
        if c != each * groups:
            raise ShapeError(
                f"x {format_shape(x)} has {c} channels, and the weight {format_shape(w)} in "
                f"{groups} groups takes {each * groups}"
            )
        return self.together("y", n, o, self._placed(s, k))

    def _in_group(self, channels: int | Dim) -> int | Dim:
        """How many of the channels are in a group; where examples are groups there may be none."""
        (groups,) = self.groups
        each = 0 if groups == channels == 0 else exact_quotient(channels, groups)
        if each is None:
            raise ShapeError(f"{channels} channels cannot be cut into {groups} groups")
        return each

    def _placed(self, s: Shape, k: Shape) -> Shape:
        """How often a kernel of k fits into axes of s."""
        sizes = []
        for axis, (size, width) in enumerate(zip(s, k, strict=True)):
            if width == 0:
                raise ShapeError(f"the kernel {format_shape(k)} has no elements")
            padded = size + self.low[axis] + self.high[axis]
            reach = self.dilations[axis] * (width - 1) + 1
            rest = padded - reach
            if isinstance(rest, int) and rest < 0:
                raise ShapeError(
                    f"a kernel of {format_shape(k)} that reaches over {reach} elements is larger "
                    f"than {format_shape(s)} with its padding, {padded}; pad more"
                )
            sizes.append(rest // self.strides[axis] + 1)
        return tuple(sizes)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        arrays = dict(zip(self.roles, (*operands, result), strict=True))
        (_, each, k), y = self.apart("w", arrays["w"].shape), arrays["y"]
        return 2 * y.size * each * size_of(k)

    # derivatives and batches

    def jvp(self, y: Any, operands: Any, tangents: Any) -> Any:
        (a, b), (da, db) = operands, tangents
        parts = [] if da is None else [apply(self, da, b)]
        parts += [] if db is None else [apply(self, a, db)]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def _as(self, kind: type[ConvolutionOp], *size: Shape) -> Any:
        """The op of another kind with these attributes."""
        return kind(
            self.strides, self.low, self.high, self.dilations, self.groups, self.layout, *size
        )

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        """One op on all examples, which are more of n, of outputs, of inputs, or of groups."""
        shapes = (x.shape[own:] for own, x in zip(batched, operands, strict=True))
        one = self.infer(*(TensorType(operands[0].dtype, tuple(shape)) for shape in shapes))
        of_examples = {r for r, own in zip(self.roles, (*batched, True), strict=True) if own}
        letter = _MERGED["".join(sorted(of_examples))]
        (groups,) = self.groups
        op = replace(self, groups=(groups * size,)) if letter == "G" else self
        merged = [
            self._merge(role, letter, x) if own else x
            for role, own, x in zip(self.roles, batched, operands, strict=False)
        ]
        result = apply(op, *merged)
        letters, sizes = self._lettered(self.roles[-1], one.shape)
        place = letters.index(letter)
        apart = reshape(result, (*sizes[:place], size, *sizes[place:]))
        return reshape(moveaxis(apart, place, 0), (size, *one.shape))

    def _lettered(self, role: str, shape: Shape) -> tuple[list[str], list[int | Dim]]:
        """The axes of an array by letters, each its own, with their sizes."""
        (groups,) = self.groups
        spatial = [str(axis) for axis in range(len(self.strides))]
        letters, sizes = "", list[int | Dim]()
        for word, size in zip(self.together(role, *_AXES[role], spatial), shape, strict=True):
            letters += word
            sizes += [size] if len(word) == 1 else [groups, self._in_group(size)]
        return list(letters), sizes

    def _merge(self, role: str, letter: str, x: Any) -> Any:
        """Examples along the axis of a letter.  x: [size, *shape] -> y: as `shape`, one larger"""
        size, *shape = x.shape
        letters, sizes = self._lettered(role, tuple(shape))
        place = letters.index(letter)
        moved = moveaxis(reshape(x, (size, *sizes)), 0, place)
        sizes[place] = sizes[place] * size
        return reshape(moved, self._folded(role, dict(zip(letters, sizes, strict=True))))

    def _folded(self, role: str, sizes: dict[str, int | Dim]) -> Shape:
        """The shape of an array from the sizes of its letters."""
        spatial = [sizes[str(axis)] for axis in range(len(self.strides))]
        first, channels = (size_of(sizes[c] for c in word) for word in _AXES[role])
        return self.together(role, first, channels, spatial)

    # values

    def eval(self, xp: Any, *operands: Any) -> Any:
        a, b = operands
        shape = self.infer(TensorType(a.dtype, a.shape), TensorType(b.dtype, b.shape)).shape
        if 0 in shape:
            return xp.zeros(shape, a.dtype)
        *channels, last = (1 if self._is_first(role) else -1 for role in self.roles)
        first = (xp.moveaxis(x, (c, 0), (0, 1)) for c, x in zip(channels, operands, strict=True))
        y = self.evaluate(xp, *first)
        return xp.ascontiguousarray(xp.moveaxis(y, (0, 1), (last, 0)))

    def evaluate(self, xp: Any, *operands: Any) -> Any:
        """The result, a product for each element of the kernel; arrays have channels before n or o.

        x: [c, n, *s], w: [c / groups, o, *k], y: [o, n, *t]
        """
        raise NotImplementedError

    def _windows(self, kernel: Any, t: Any) -> Iterator[tuple[Any, Any]]:
        """Of each element of the kernel its place, and the part of a padded x that it meets."""
        for place in itertools.product(*map(range, kernel)):
            starts = [p * d for p, d in zip(place, self.dilations, strict=True)]
            spans = zip(starts, t, self.strides, strict=True)
            cut = [slice(i, i + (n - 1) * step + 1 if n else i, step) for i, n, step in spans]
            yield place, (slice(None), slice(None), *cut)

    def _columns(self, x: Any) -> Any:
        """x: [groups * c, n, *t] -> y: [groups, c, n * size of t]"""
        groups = int(self.groups[0])
        return x.reshape(groups, len(x) // groups, math.prod(x.shape[1:]))

    def _matrices(self, xp: Any, w: Any) -> Any:
        """Of each element of the kernel.  w: [c, groups * o, *k] -> y: [*k, groups, o, c]"""
        groups = int(self.groups[0])
        apart = w.reshape(len(w), groups, w.shape[1] // groups, *w.shape[2:])
        last = xp.moveaxis(apart, (1, 2, 0), (-3, -2, -1))
        return xp.ascontiguousarray(last)

    def _padding(self) -> list[tuple[int, int]]:
        return [(0, 0), (0, 0), *zip(self.low, self.high, strict=True)]


@dataclass(frozen=True)
class Convolution(ConvolutionOp, name="convolution"):
    """y[n, o, t] = the sum over c, k of x[n, c, t * strides + k * dilations - low] * w[o, c, k].

    x is 0 outside of its axes; c are the channels of o's group.
    x: [n, c, *s], w: [o, c / groups, *k] -> y: [n, o, *t],
    t = (s + low + high - dilations * (k - 1) - 1) // strides + 1
    """

    roles = "xwy"

    def infer(self, *operands: TensorType) -> TensorType:
        self._check_operands(*operands)
        x, w = operands
        return x.with_shape(self._result(x.shape, w.shape))

    def evaluate(self, xp: Any, *operands: Any) -> Any:
        x, w = operands
        t = self._placed(x.shape[2:], w.shape[2:])
        padded, matrices = xp.pad(x, self._padding()), self._matrices(xp, w)
        y = xp.zeros((*matrices.shape[-3:-1], x.shape[1] * math.prod(t)), x.dtype)
        for place, cut in self._windows(w.shape[2:], t):
            y += xp.matmul(matrices[place], self._columns(padded[cut]))
        return y.reshape(w.shape[1], x.shape[1], *t)

    def vjp(self, y: Any, g: Any, x: Any, w: Any) -> tuple[Any, ...]:
        dx = dw = None
        if x.requires_grad:
            dx = apply(self._as(ConvolutionInput, self.apart("x", x.shape)[2]), g, w)
        if w.requires_grad:
            dw = apply(self._as(ConvolutionWeight, self.apart("w", w.shape)[2]), x, g)
        return dx, dw


@dataclass(frozen=True)
class ConvolutionInput(ConvolutionOp, name="convolution_input"):
    """x[n, c, t * strides + k * dilations - low] = the sum over o, t, k of y[n, o, t] * w[o, c, k].

    The gradient of a convolution by its input, and so a transposed convolution; `spatial` are the
    spatial dims of x, of which several lead to the same t.
    y: [n, o, *t], w: [o, c / groups, *k] -> x: [n, c, *spatial]
    """

    spatial: Shape
    roles = "ywx"

    def infer(self, *operands: TensorType) -> TensorType:
        self._check_operands(*operands)
        y, w = operands
        (n, channels, _), (o, each, _) = self.apart("y", y.shape), self.apart("w", w.shape)
        if channels != o:
            raise ShapeError(f"{y} has {channels} channels, and the weight {w} takes {o}")
        x = self.together("x", n, each * self.groups[0], self.spatial)
        if len(self.spatial) != len(self.strides) or self._result(x, w.shape) != y.shape:
            raise ShapeError(f"no convolution with {w} of {x} gives {y}")
        return y.with_shape(x)

    def evaluate(self, xp: Any, *operands: Any) -> Any:
        y, w = operands
        columns, matrices = self._columns(y), self._matrices(xp, w)
        sides = zip(self.spatial, self.low, self.high, strict=True)
        channels, n = int(self.groups[0]) * len(w), y.shape[1]
        x = xp.zeros((channels, n, *(int(s) + a + b for s, a, b in sides)), y.dtype)
        for place, cut in self._windows(w.shape[2:], y.shape[2:]):
            part = xp.matmul(matrices[place].swapaxes(-1, -2), columns)
            x[cut] += part.reshape(channels, n, *y.shape[2:])
        inner = (slice(i, i + int(s)) for i, s in zip(self.low, self.spatial, strict=True))
        return x[(slice(None), slice(None), *inner)]

    def vjp(self, x: Any, g: Any, y: Any, w: Any) -> tuple[Any, ...]:
        dy = dw = None
        if y.requires_grad:
            dy = apply(self._as(Convolution), g, w)
        if w.requires_grad:
            dw = apply(self._as(ConvolutionWeight, self.apart("w", w.shape)[2]), g, y)
        return dy, dw


@dataclass(frozen=True)
class ConvolutionWeight(ConvolutionOp, name="convolution_weight"):
    """w[o, c, k] = the sum over n, t of x[n, c, t * strides + k * dilations - low] * y[n, o, t].

    The gradient of a convolution by its weight, whose spatial dims are `kernel`.
    x: [n, c, *s], y: [n, o, *t] -> w: [o, c / groups, *kernel]
    """

    kernel: Shape
    roles = "xyw"

    def infer(self, *operands: TensorType) -> TensorType:
        self._check_operands(*operands)
        x, y = operands
        (_, c, _), (_, o, _) = self.apart("x", x.shape), self.apart("y", y.shape)
        w = self.together("w", o, self._in_group(c), self.kernel)
        if len(self.kernel) != len(self.strides) or self._result(x.shape, w) != y.shape:
            raise ShapeError(f"no convolution of {x} with {format_shape(w)} gives {y}")
        return x.with_shape(w)

    def evaluate(self, xp: Any, *operands: Any) -> Any:
        x, y = operands
        kernel = tuple(map(int, self.kernel))
        padded, left = xp.pad(x, self._padding()), self._columns(y)
        groups, outputs, _ = left.shape
        w = xp.zeros((*kernel, groups, outputs, len(x) // groups), x.dtype)
        for place, cut in self._windows(kernel, y.shape[2:]):
            w[place] = xp.matmul(left, self._columns(padded[cut]).swapaxes(-1, -2))
        last = xp.moveaxis(w, (-1, -3, -2), (0, 1, 2))
        return last.reshape(len(last), groups * outputs, *kernel)

    def vjp(self, w: Any, g: Any, x: Any, y: Any) -> tuple[Any, ...]:
        dx = dy = None
        if x.requires_grad:
            dx = apply(self._as(ConvolutionInput, self.apart("x", x.shape)[2]), y, g)
        if y.requires_grad:
            dy = apply(self._as(Convolution), x, g)
        return dx, dy
