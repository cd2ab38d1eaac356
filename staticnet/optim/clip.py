"""Clipping of gradients, between `sn.grad` and the optimizer: mapping in, mapping out; list, list.

grads = sn.optim.clip_by_global_norm(dict(zip(ws, sn.grad(loss, ws))), max_norm=1.0)
updates = sn.optim.Adam().apply(grads)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from staticnet.errors import ArgumentError, DTypeError
from staticnet.ir.dtype import compute_dtype, is_floating
from staticnet.ir.node import describe
from staticnet.ir.value import Value
from staticnet.ops.arithmetic import minimum
from staticnet.ops.selection import astype, clip
from staticnet.ops.shape import sum
from staticnet.ops.transcendental import sqrt
from staticnet.optim.numbers import checked_number

Gradients = TypeVar("Gradients", bound=Mapping[Any, Value] | Sequence[Value])

EPSILON = 1e-6  # PyTorch's clip_grad_norm_ adds it to the norm


def clip_by_value(grads: Gradients, clip_value: float) -> Gradients:
    """g' = g limited to [-clip_value, clip_value], elementwise.  g: [*s] -> [*s]

    Raises:
        ArgumentError: if the limit is no number >= 0, or grads no list or mapping of values.
    """
    limit = checked_number("clip_by_value", "clip_value", clip_value)
    return _rebuilt(grads, lambda g: clip(g, -limit, limit))


def clip_by_norm(grads: Gradients, max_norm: float) -> Gradients:
    """g' = g * min(1, max_norm / (|g| + 1e-6)), each by its own norm.  g: [*s] -> [*s]

    Raises:
        ArgumentError: if max_norm is no number >= 0, or grads no list or mapping of values.
    """
    limit = checked_number("clip_by_norm", "max_norm", max_norm)
    return _rebuilt(grads, lambda g: _scaled(g, limit, global_norm([g])))


def clip_by_global_norm(grads: Gradients, max_norm: float) -> Gradients:
    """g' = g * min(1, max_norm / (n + 1e-6)), n the norm of all gradients as one vector.

    Semantics of PyTorch's `clip_grad_norm_`. Pascanu, Mikolov, Bengio, "On the difficulty of
    training recurrent neural networks", 2013.  g: [*s] -> [*s]

    Raises:
        ArgumentError: if max_norm is no number >= 0, or grads no list or mapping of values.
    """
    limit = checked_number("clip_by_global_norm", "max_norm", max_norm)
    norm = global_norm(grads)
    return _rebuilt(grads, lambda g: _scaled(g, limit, norm))


def global_norm(values: Mapping[Any, Value] | Sequence[Value]) -> Value:
    """n = sqrt of the sum of all squares; at least in float32.  values: each [*s] -> n: []

    Raises:
        ArgumentError: if there are none, or one is no floating-point value.
    """
    listed = values_of("global_norm", values)
    if not listed:
        raise ArgumentError("global_norm: there are no values")
    squares = [_sum_of_squares(x) for x in listed]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return sqrt(total)


def _sum_of_squares(x: Value) -> Value:
    x = astype(x, compute_dtype(x.dtype))
    return sum(x * x)


def _scaled(g: Value, limit: float, norm: Value) -> Value:
    return g * astype(minimum(limit / (norm + EPSILON), 1.0), g.dtype)


def values_of(what: str, values: Any) -> list[Value]:
    """The floating-point values of a value, a sequence or a mapping of them.

    Raises:
        ArgumentError: if one is no value.
        DTypeError: if one is not floating-point.
    """
    listed: Iterable[Any] = values.values() if isinstance(values, Mapping) else values
    listed = [listed] if isinstance(listed, Value) else list(listed)
    for value in listed:
        if not isinstance(value, Value):
            raise ArgumentError(f"{what}: expected values, got {value!r:.60}")
        if not is_floating(value.dtype):
            raise DTypeError(f"{what}: {describe(value)} is not floating-point")
    return listed


def _rebuilt(grads: Gradients, change: Callable[[Value], Value]) -> Gradients:
    """`grads` with each value changed: a dict for a mapping, else a list."""
    changed = [change(g) for g in values_of("clip", grads)]
    if isinstance(grads, Mapping):
        return dict(zip(grads, changed, strict=True))  # type: ignore[return-value]
    return changed  # type: ignore[return-value]
