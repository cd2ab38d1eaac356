"""What batching rules are made of: where the axis of the examples stands.

A batched operand has the examples along its first axis, the others are every example's; a rule's
result has them first. The functions work on what runs the op, be it nodes or tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticnet.ir.dim import Dim
from staticnet.ir.op import Axes
from staticnet.ir.value import FUNCTIONS


def shifted(axes: Axes) -> Axes:
    """The axes of an example, in an array of examples."""
    return tuple(axis + 1 for axis in axes)


def aligned(x: Any, ndim: int) -> Any:
    """Examples of `ndim` axes: x: [B, *s] -> [B, 1, …, *s], for what broadcasts from the right."""
    missing = ndim + 1 - x.ndim
    shape = x.shape
    return FUNCTIONS["reshape"](x, (shape[0], *(1,) * missing, *shape[1:])) if missing else x


def align(batched: Sequence[bool], operands: Sequence[Any], least: int = 0) -> list[Any]:
    """Operands that broadcast against each other as those of one example do."""
    ranks = [x.ndim - own for own, x in zip(batched, operands, strict=True)]
    ndim = max(least, *ranks)
    return [aligned(x, ndim) if own else x for own, x in zip(batched, operands, strict=True)]


def spread(size: int | Dim, is_batched: bool, x: Any) -> Any:
    """x for each example.  x: [*s] -> [size, *s], or x itself if it is batched"""
    return x if is_batched else FUNCTIONS["broadcast_to"](x, (size, *x.shape))


def spread_all(size: int | Dim, batched: Sequence[bool], operands: Sequence[Any]) -> list[Any]:
    """Each of the operands for each example."""
    return [spread(size, own, x) for own, x in zip(batched, operands, strict=True)]
