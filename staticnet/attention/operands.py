"""The operands of attention and of its gradient: which there are, and those of many examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from staticnet.attention.scores import INFINITY, check_operands, grouped
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BOOL, FLOAT32, UINT64, DType, compute_dtype, is_floating
from staticnet.ir.types import TensorType, format_shape
from staticnet.ops.arguments import FLOATS, check_kind
from staticnet.ops.base import Constant
from staticnet.ops.batching import align
from staticnet.ops.creation import ones_like
from staticnet.ops.random import Key, uniform
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import broadcast_to, reshape

NEAR = 1e3  # to 0: beside such a number in a mask, what leaves a key out is far below


class AttentionOp(Protocol):
    """What an op says of its operands: those that there always are, and whether three follow."""

    names: ClassVar[tuple[str, ...]]

    @property
    def drops(self) -> bool: ...


def split_operands(
    op: AttentionOp, operands: Sequence[Any]
) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """The operands that there always are, the mask if there is one, and what names a dropout.

    Raises:
        ArgumentError: if they are too few or too many.
    """
    own = len(op.names)
    end = len(operands) - 3 * op.drops
    if end not in (own, own + 1):
        more = ", key, counter and kept" if op.drops else ""
        raise ArgumentError(f"takes {', '.join(op.names)}, maybe a mask{more}, not {len(operands)}")
    return operands[:own], operands[own:end], operands[end:]


def check_types(
    operands: Sequence[TensorType], mask: Sequence[TensorType], drops: Sequence[TensorType]
) -> DType:
    """The dtype that is computed in.

    Raises:
        DTypeError: if the dtypes do not fit.
        ShapeError: if the shapes do not.
    """
    q, k, v, scale = operands
    check_kind(q.dtype, FLOATS)
    if k.dtype != q.dtype or v.dtype != q.dtype:
        raise DTypeError(f"q, k and v must have one dtype: {q.dtype}, {k.dtype}, {v.dtype}")
    wide = compute_dtype(q.dtype)
    if scale.dtype != wide or scale.shape:
        raise ShapeError(f"scale must be {wide}[], not {scale.dtype}{format_shape(scale.shape)}")
    for x, dtype in zip(drops, (UINT64, UINT64, wide), strict=False):
        if x.dtype != dtype or x.shape:
            raise ShapeError(f"key, counter and kept must be numbers, uint64 and {wide}: {x}")
    for m in mask:
        if m.dtype not in (BOOL, q.dtype, wide):
            raise DTypeError(f"a mask must be bool or {q.dtype}, not {m.dtype}")
    wrong = check_operands(q, k, v, mask)
    if wrong:
        raise ShapeError(wrong)
    return wide


def is_added(mask: Any, pairs: Sequence[int | Dim], causal: bool) -> bool:
    """Whether a mask is a constant number for each query and key that leaves each query a key."""
    if not isinstance(mask.op, Constant) or not is_floating(mask.dtype):
        return False
    return mask.shape[2:] == tuple(pairs) and leaves_keys(mask.op.value.array, causal)


def leaves_keys(added: Any, causal: bool) -> bool:
    """Whether numbers are finite, of which each query's greatest is near 0.  added: [n, h, t, s]

    Where it is not, but far below, keys that another mask leaves out may count as much.
    """
    added = added.astype(np.float64)
    seen = np.where(np.tri(*added.shape[2:]) > 0, added, -INFINITY) if causal else added
    top = seen.max(-1, initial=-INFINITY)
    return bool(np.all(np.isfinite(added)) and np.all(np.abs(top) <= NEAR))


def merge(
    size: int | Dim, batched: Sequence[bool], operands: Sequence[Any], scale_at: int
) -> tuple[list[Any], Any, Any]:
    """Operands whose first axis is the examples' and the batch in one; scale, and what is in q.

    A mask that is every example's, and has one batch, stays as it is. A scale for each example is
    multiplied into q: that factor, and 1 as scale.
    """
    own = [x.shape[1:] if b else x.shape for x, b in zip(operands, batched, strict=True)]
    n, merged, factor = own[0][0], list[Any](), None
    scale = operands[scale_at]
    if batched[scale_at]:
        factor, scale = reshape(scale, (size, 1, 1, 1, 1)), ones_like(scale[0])
    for i, (x, is_batched, shape) in enumerate(zip(operands, batched, own, strict=True)):
        if i == scale_at:
            continue
        if not is_batched and shape[0] == 1 and n != 1:
            merged.append(x)
            continue
        x = x if is_batched else broadcast_to(x, (size, *shape))
        if i == 0 and factor is not None:
            x = astype(x * factor, x.dtype)
        x = broadcast_to(x, (size, n, *shape[1:]))
        merged.append(reshape(x, (size * n, *shape[1:])))
    return merged, scale, factor


def factors_of_examples(
    size: int | Dim, n: int | Dim, batched: Sequence[bool], q: Any, k: Any, drops: Sequence[Any]
) -> Any:
    """The weights' factors for all examples' batches in one axis: where each has its own key."""
    key, counter, kept = drops
    key, counter = align((*batched[:2],), (key, counter))
    if not any(batched):
        key, counter = (broadcast_to(x, (size,)) for x in (key, counter))
    if batched[2]:
        kept = reshape(kept, (size, 1, 1, 1, 1))
    stays = uniform(Key(key, counter), (n, *q.shape[1:3], k.shape[2])) < astype(kept, FLOAT32)
    whole = where(stays, 1 / kept, 0)
    return grouped(reshape(whole, (size * n, *whole.shape[2:])), k.shape[1])


def part(x: Any, size: int | Dim, n: int | Dim) -> Any:
    """x: [size * n, *s] -> y: [size, n, *s]"""
    return reshape(x, (size, n, *x.shape[1:]))
