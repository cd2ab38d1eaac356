"""Sequences of several lengths as one array: padded, with the lengths beside it.

PyTorch's names. Nothing is sorted and nothing is left out here: a recurrent layer computes all
steps and keeps the state of what is over, to the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import is_integer
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import check_choice, known_values
from staticnet.ops.arguments import as_bool, as_int
from staticnet.ops.base import as_values, function, promoted
from staticnet.ops.creation import arange
from staticnet.ops.movement import pad, stack, swapaxes, unstack
from staticnet.ops.promotion import as_array
from staticnet.ops.selection import where
from staticnet.ops.shape import expand_dims

__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """`padded` [t, n, *s] and the `lengths` int [n] of its n sequences; made by the functions here.

    A recurrent layer takes one for its input and gives one for its output. `enforce_sorted` and
    the order of lengths have no meaning here.
    """

    padded: Value
    lengths: Value


@function
def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Value:
    """Sequences one beside another, made equally long.  n of [t_i, *s] -> [t, n, *s]

    With `batch_first` [n, t, *s]. t is the greatest length.

    Raises:
        ShapeError: if they do not have axes, the same ones but for the first, and known lengths.
        ArgumentError: if there is none, or the side is neither "right" nor "left".
    """
    check_choice(padding_side, "padding_side", "right", "left")
    given = promoted("pad_sequence", *map(_array, _sequences(sequences)))
    if any(x.ndim == 0 or x.shape[1:] != given[0].shape[1:] for x in given):
        shapes = ", ".join(format_shape(x.shape) for x in given)
        raise ShapeError(f"sequences must be [t, *s] with the same s, not {shapes}")
    longest = max(_known(x.shape[0]) for x in given)
    rows = [_extended(x, longest, padding_value, padding_side) for x in given]
    return stack(rows, 0 if as_bool(batch_first, "batch_first") else 1)


def _sequences(sequences: Any) -> list[Any]:
    if isinstance(sequences, Value | np.ndarray):
        if sequences.ndim == 0:
            raise ShapeError("one number is no sequence of sequences")
        sequences = unstack(sequences)
    if not isinstance(sequences, Sequence) or not sequences:
        raise ArgumentError(f"takes a list of one or more sequences, not {sequences!r:.60}")
    return list(sequences)


def _array(x: Any) -> Any:
    return x if isinstance(x, Value) else as_array(x)


def _known(length: int | Dim) -> int:
    if not isinstance(length, int):
        raise ShapeError(f"the length {length} is symbolic; sequences are padded by known ones")
    return length


def _extended(x: Value, length: int, value: float, side: str) -> Value:
    missing = length - _known(x.shape[0])
    first = (missing, 0) if side == "left" else (0, missing)
    return pad(x, [first, *[(0, 0)] * (x.ndim - 1)], value) if missing else x


@function
def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Sequences with their lengths.  input: [t, n, *s], lengths: int [n]

    With `batch_first` the input is [n, t, *s]. Lengths that are known are held to [1, t]; of nodes,
    one less than 1 is an empty sequence, and one greater than t as good as t. `enforce_sorted` is
    taken for the name's sake: the order of lengths has no meaning here.

    Raises:
        ShapeError: if the input has no axes of time and sequences, or not n lengths are given.
        DTypeError: if lengths are no integers.
        OutOfRangeError: if a length is out of range.
    """
    as_bool(enforce_sorted, "enforce_sorted")
    x, n = as_values(input, lengths if isinstance(lengths, Value) else np.asarray(lengths))
    if x.ndim < 2:
        raise ShapeError(f"the input {format_shape(x.shape)} must be [t, n, *s]")
    x = swapaxes(x, 0, 1) if as_bool(batch_first, "batch_first") else x
    if not is_integer(n.dtype):
        raise DTypeError(f"lengths must be integers, not {n.dtype}")
    if n.shape != x.shape[1:2]:
        wanted = format_shape(x.shape[1:2])
        raise ShapeError(f"lengths {format_shape(n.shape)} must be {wanted}, one for each sequence")
    known, steps = known_values(n), x.shape[0]
    if known is not None and isinstance(steps, int) and np.any((known < 1) | (known > steps)):
        raise OutOfRangeError(f"lengths must lie in [1, {steps}], not {known.tolist()!r:.60}")
    return PackedSequence(x, n)


@function
def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Value, Value]:
    """(y, lengths): y is the sequences, with `padding_value` after the end of each.

    -> y: [t, n, *s], with `batch_first` [n, t, *s]; lengths: int [n]. t is `total_length` if it
    is given, else the greatest length where lengths are known, and as it was packed where they
    are nodes.

    Raises:
        ArgumentError: if it is no PackedSequence, or the total length is less than the greatest.
        ShapeError: if there is a total length, and that of the padded sequences is symbolic.
    """
    if not isinstance(sequence, PackedSequence):
        raise ArgumentError(f"takes a PackedSequence, not {sequence!r:.60}")
    y = _cut(sequence, total_length)
    keep = mask_of(sequence.lengths, y)
    y = where(keep, y, padding_value)
    return swapaxes(y, 0, 1) if as_bool(batch_first, "batch_first") else y, sequence.lengths


def _cut(sequence: PackedSequence, total_length: int | None) -> Value:
    """The padded sequences of another length."""
    y = sequence.padded
    known = known_values(sequence.lengths)
    longest = int(known.max()) if known is not None and known.size else None
    if total_length is not None:
        total = as_int(total_length, "total_length", 0)
        least = longest if longest is not None else _known(y.shape[0])
        if total < least:
            raise ArgumentError(f"total_length must be at least {least}, not {total}")
        y = y[:total]
        return _extended(y, total, 0.0, "right")
    return y if longest is None else y[:longest]


@function
def pack_sequence(sequences: Any, enforce_sorted: bool = True) -> PackedSequence:
    """Sequences with their lengths, from a list of them.  n of [t_i, *s]

    Raises:
        ShapeError, ArgumentError: as `pad_sequence` does.
    """
    given = as_values(*map(_array, _sequences(sequences)))
    lengths = np.array([_known(x.shape[0]) if x.ndim else 0 for x in given])
    return pack_padded_sequence(pad_sequence(given), lengths, enforce_sorted=enforce_sorted)


@function
def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Value]:
    """The sequences without what they were padded with.  [t, n, *s], int [n] -> n of [t_i, *s]

    Raises:
        ArgumentError: if lengths are not known yet: the shapes of the results depend on them.
        ShapeError, DTypeError, OutOfRangeError: as `pack_padded_sequence` does.
    """
    packed = pack_padded_sequence(padded_sequences, lengths, batch_first)
    known = known_values(packed.lengths)
    if known is None:
        raise ArgumentError("lengths are nodes, and the shapes of sequences depend on them")
    return [packed.padded[: int(n), i] for i, n in enumerate(known)]


@function
def unpack_sequence(packed_sequences: PackedSequence) -> list[Value]:
    """The sequences of a PackedSequence.  -> n of [t_i, *s]

    Raises:
        ArgumentError: if it is no PackedSequence, or its lengths are not known yet.
    """
    if not isinstance(packed_sequences, PackedSequence):
        raise ArgumentError(f"takes a PackedSequence, not {packed_sequences!r:.60}")
    return unpad_sequence(packed_sequences.padded, packed_sequences.lengths)


def mask_of(lengths: Value, x: Value) -> Value:
    """Which elements of x are before the ends of their sequences.

    lengths: int [n], x: [t, n, *s] -> bool [t, n, *1]
    """
    _, steps = as_values(lengths, arange(x.shape[0]))
    keep = expand_dims(steps, 1) < lengths
    return expand_dims(keep, tuple(range(2, x.ndim)))
