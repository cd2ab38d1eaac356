"""Padding with constants and with the array's own elements."""

from __future__ import annotations

from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.value import Value
from staticnet.nn.arguments import check_choice
from staticnet.ops.arguments import as_int, as_sequence
from staticnet.ops.base import as_value, named
from staticnet.ops.movement import concat
from staticnet.ops.movement import pad as pad_with
from staticnet.ops.rearranging import flip
from staticnet.ops.shape import broadcast_to

PADDING_MODES = ("constant", "reflect", "replicate", "circular")
Widths = tuple[int, int]


@named  # the array function of this name, which has NumPy's arguments, is the registered one
def pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Value:
    """y = x with elements before and after its last axes.  input x: [*s] -> y: [before + s + after]

    pad: (before, after) of the last axis, then of the one before it, …; a negative width takes
    elements away. The new ones are `value` (None is 0) for "constant", the mirrored ones without
    the outermost for "reflect", the outermost for "replicate", those of the other end for
    "circular".

    Raises:
        ArgumentError: if `pad` is no sequence of pairs of ints, the mode unknown, or a value given
            to a mode that takes none.
        ShapeError: if there are more pairs than axes, more is taken away than there is, or an axis
            is too short to be mirrored or repeated.
    """
    x = as_value(input)
    check_choice(mode, "mode", *PADDING_MODES)
    if mode != "constant" and value is not None:
        raise ArgumentError(f"value {value!r:.60} is for the mode 'constant', not for {mode!r}")
    widths = _widths(pad, x)
    if mode == "constant":
        return _constant(x, widths, 0 if value is None else value)
    for axis, width in widths.items():
        x = _AXIS[mode](x, axis, width)
    return x


def _widths(pad: Any, x: Value) -> dict[int, Widths]:
    """The widths of each axis that changes."""
    numbers = [as_int(width, "a width of pad") for width in as_sequence(pad)]
    if len(numbers) % 2:
        raise ArgumentError(f"pad must be pairs of widths, not {len(numbers)} of them")
    if len(numbers) > 2 * x.ndim:
        raise ShapeError(f"{len(numbers) // 2} pairs of widths for {x.ndim} axes")
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    widths = {x.ndim - 1 - i: pair for i, pair in enumerate(pairs) if pair != (0, 0)}
    for axis, (before, after) in widths.items():
        n = x.shape[axis]
        if isinstance(n, int) and n + before + after < 0:
            raise ShapeError(f"pad {(before, after)} takes more than axis {axis} of {n} has")
    return widths


def _constant(x: Value, widths: dict[int, Widths], value: Any) -> Value:
    added = {axis: (max(before, 0), max(after, 0)) for axis, (before, after) in widths.items()}
    if any(map(any, added.values())):
        x = pad_with(x, [added.get(axis, (0, 0)) for axis in range(x.ndim)], value)
    for axis, width in widths.items():
        x = _cropped(x, axis, width)
    return x


def _cropped(x: Value, axis: int, width: Widths) -> Value:
    """x without what negative widths take away."""
    before, after = (max(-w, 0) for w in width)
    return _part(x, axis, before, x.shape[axis] - after) if before or after else x


def _part(x: Value, axis: int, start: int | Dim, stop: int | Dim) -> Value:
    key: list[slice] = [slice(None)] * x.ndim
    key[axis] = slice(start, stop)
    return x[tuple(key)]


def _reflected(x: Value, axis: int, width: Widths) -> Value:
    """Mirrored about its outermost elements."""
    n = x.shape[axis]
    _check_long(n, max(width) + 1, axis, "reflect")
    before, after = (max(w, 0) for w in width)
    left = flip(_part(x, axis, 1, before + 1), axis)
    right = flip(_part(x, axis, n - 1 - after, n - 1), axis)
    return _joined(x, axis, left, right, width)


def _replicated(x: Value, axis: int, width: Widths) -> Value:
    """Continued by its outermost elements."""
    n = x.shape[axis]
    _check_long(n, 1, axis, "replicate")
    left, right = (
        broadcast_to(_part(x, axis, at, at + 1), _with(x, axis, max(w, 0)))
        for at, w in zip((0, n - 1), width, strict=True)
    )
    return _joined(x, axis, left, right, width)


def _circular(x: Value, axis: int, width: Widths) -> Value:
    """Continued by the elements of its other end, of what negative widths leave."""
    x = _cropped(x, axis, width)
    n = x.shape[axis]
    _check_long(n, max(width), axis, "circular")
    before, after = (max(w, 0) for w in width)
    left, right = _part(x, axis, n - before, n), _part(x, axis, 0, after)
    return _joined(x, axis, left, right, (before, after))


_AXIS = {"reflect": _reflected, "replicate": _replicated, "circular": _circular}


def _with(x: Value, axis: int, length: int) -> tuple[int | Dim, ...]:
    return (*x.shape[:axis], length, *x.shape[axis + 1 :])


def _joined(x: Value, axis: int, left: Value, right: Value, width: Widths) -> Value:
    """The parts side by side, less what negative widths take away."""
    parts = [part for part in (left, x, right) if part.shape[axis] != 0 or part is x]
    y = concat(parts, axis) if len(parts) > 1 else x
    return _cropped(y, axis, width)


def _check_long(n: int | Dim, least: int, axis: int, mode: str) -> None:
    if isinstance(n, int) and n < least:
        raise ShapeError(
            f"axis {axis} of {n} is too short for the mode {mode!r}, which takes {least} elements; "
            "pad less, or with a constant"
        )
