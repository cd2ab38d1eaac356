"""Bool masks among indices: where values are known, they are the indices of their true elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.errors import OutOfRangeError, StaticnetError
from staticnet.ir.types import Shape, format_shape
from staticnet.ir.value import FUNCTIONS, Value
from staticnet.ops.arguments import check_unmasked


def getitem(x: Any, key: Any) -> Any:
    """y = x[key], of a tensor: all that `sn.getitem` takes, and bool masks.

    A mask stands for as many axes as it has; one without axes, for a new axis of length 0 or 1.

    Raises:
        OutOfRangeError: if a mask does not have the lengths of the axes that it stands for.
    """
    check_unmasked(key)
    index = FUNCTIONS["getitem"]
    given = tuple(map(_at_once, key if isinstance(key, tuple) else (key,)))
    masks = [_mask(entry) for entry in given]
    if all(mask is None for mask in masks):
        return index(x, given)
    if len(given) == 1 and masks[0] is not None and masks[0].ndim == 0:
        return FUNCTIONS["take"](index(x, None), np.arange(int(masks[0])), 0)
    return index(x, _indices(x, given, masks))


def _at_once(entry: Any) -> Any:
    """A list of bools or whole numbers as the array that it is; anything else as it is."""
    if not isinstance(entry, list):
        return entry
    try:
        array = np.asarray(entry)
    except (ValueError, TypeError, OverflowError, StaticnetError):
        return entry  # the index says what is wrong with it
    return array if array.dtype in (np.int64, bool) else entry


def _mask(entry: Any) -> np.ndarray[Any, Any] | None:
    if isinstance(entry, Value):
        return None if entry.is_symbolic or entry.dtype != bool else np.asarray(entry)
    if isinstance(entry, bool | list | np.ndarray | np.bool_):
        array = np.asarray(entry)
        return array if array.dtype == bool else None
    return None


def _indices(x: Any, given: tuple[Any, ...], masks: list[Any]) -> tuple[Any, ...]:
    shape: Shape = x.shape
    widths = [
        mask.ndim if mask is not None else 0 if entry is None or entry is Ellipsis else 1
        for entry, mask in zip(given, masks, strict=True)
    ]
    entries: list[Any] = []
    axis = 0
    for entry, mask, width in zip(given, masks, widths, strict=True):
        if mask is None:
            entries.append(entry)
        else:
            if mask.shape != shape[axis : axis + width]:
                raise OutOfRangeError(
                    f"getitem: a mask {format_shape(mask.shape)} does not fit axis {axis} of "
                    f"{format_shape(shape)}"
                )
            entries += map(x.lift, np.nonzero(mask))
        axis += len(shape) - sum(widths) if entry is Ellipsis else width
    return tuple(entries)
