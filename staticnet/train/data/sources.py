"""What a user gives as data, as a source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.train.data.arrays import ArraySource
from staticnet.train.data.batches import BatchSource
from staticnet.train.data.source import Source

_KINDS = (
    "a pair of arrays (inputs, targets), a source of sn.train.data, a list or generator of "
    "batches, or a PyTorch DataLoader"
)


def as_source(what: str, data: Any, steps_per_epoch: int | None = None) -> Source:
    """Data with targets as a source: a pair is one of arrays, what else is iterable has batches.

    Raises:
        ArgumentError: naming `what`, if it is none of these.
    """
    if hasattr(data, "epoch") and hasattr(data, "layout"):
        return data
    if _is_pair(data):
        return ArraySource(*data)
    if isinstance(data, str | dict) or not (isinstance(data, Iterable) or callable(data)):
        single = not isinstance(data, str | dict) and hasattr(data, "__getitem__")
        hint = (
            "; single examples come in batches by torch.utils.data.DataLoader(data, batch_size=…)"
        )
        raise ArgumentError(f"{what}: data is {_KINDS}; not {data!r:.60}{hint if single else ''}")
    if hasattr(data, "ndim") or isinstance(data, tuple):
        raise ArgumentError(
            f"{what}: data is {_KINDS}; {type(data).__name__} has no targets: give (inputs, "
            "targets)"
        )
    return BatchSource(data, steps_per_epoch=steps_per_epoch)


def _is_pair(data: Any) -> bool:
    """Whether data are inputs and targets with all examples; a list of two pairs is two batches."""
    if isinstance(data, tuple):
        return len(data) == 2
    listed = isinstance(data, list) and len(data) == 2
    return listed and not any(isinstance(part, tuple | list | dict) for part in data)


def inputs_only(what: str, data: Any) -> Source:
    """Inputs as a source: an array or several, or what gives batches; its targets are left.

    Raises:
        ArgumentError: naming `what`, if it is neither.
    """
    if hasattr(data, "epoch") and hasattr(data, "layout"):
        return data.inputs()
    numbers = isinstance(data, list) and not any(
        hasattr(each, "ndim") or isinstance(each, tuple | dict) for each in data[:1]
    )
    if hasattr(data, "ndim") or isinstance(data, tuple | dict) or numbers:
        return ArraySource(data, empty=not isinstance(data, list))
    if isinstance(data, str) or not (isinstance(data, Iterable) or callable(data)):
        raise ArgumentError(f"{what}: takes inputs as an array, or batches; not {data!r:.60}")
    return _batches(data)


def _batches(data: Any) -> BatchSource:
    return BatchSource(data, targets=False)
