"""Dropout (Srivastava et al., "Dropout: a simple way to prevent overfitting", 2014) and its kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from staticnet.errors import ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number
from staticnet.nn.functional.activation import SELU_ALPHA, SELU_SCALE
from staticnet.nn.seed import next_seed
from staticnet.ops.arguments import as_bool
from staticnet.ops.base import function
from staticnet.ops.random import Generator, Key, bernoulli
from staticnet.ops.selection import where
from staticnet.ops.widening import rounded_once

SATURATED = -SELU_SCALE * SELU_ALPHA  # what selu gives far below zero


@function
@rounded_once()
def dropout(
    input: Any,
    p: float = 0.5,
    training: bool | Key = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
) -> Value:
    """y = 0 with probability p, else x / (1 - p), so that the mean stays.  input x: [*s] -> y: [*s]

    y = x unless `training`. Equal keys drop equal elements; without a key each run drops others.
    The key may stand in the place of `training`, which it implies. `inplace` changes nothing.

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is no key.
    """
    x = as_floating(input)
    return _dropped(x, p, training, key, x.shape)


@function
@rounded_once()
def dropout1d(
    input: Any,
    p: float = 0.5,
    training: bool | Key = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
) -> Value:
    """`dropout` of whole channels.  input x: [n, c, l] or [c, l] -> y: as x

    Tompson et al., "Efficient object localization using convolutional networks", 2015.

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is no key.
        ShapeError: if x has other axes.
    """
    return _dropped_channels(input, p, training, key, {2: 1, 3: 2})


@function
@rounded_once()
def dropout2d(
    input: Any,
    p: float = 0.5,
    training: bool | Key = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
) -> Value:
    """`dropout` of whole channels.  input x: [n, c, h, w], or as PyTorch's [n, c, l] -> y: as x

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is no key.
        ShapeError: if x has other axes.
    """
    return _dropped_channels(input, p, training, key, {3: 2, 4: 2})


@function
@rounded_once()
def dropout3d(
    input: Any,
    p: float = 0.5,
    training: bool | Key = True,
    inplace: bool = False,
    *,
    key: Key | None = None,
) -> Value:
    """`dropout` of whole channels.  input x: [n, c, d, h, w] or [c, d, h, w] -> y: as x

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is no key.
        ShapeError: if x has other axes.
    """
    return _dropped_channels(input, p, training, key, {4: 1, 5: 2})


@function
@rounded_once()
def alpha_dropout(
    input: Any,
    p: float = 0.5,
    training: bool | Key = False,
    inplace: bool = False,
    *,
    key: Key | None = None,
) -> Value:
    """y = a * (x, or with probability p what selu gives far below zero) + b.

    input x: [*s] -> y: [*s]. a and b keep mean 0 and variance 1. The other arguments are those of
    `dropout`, but that it does not train by default, as PyTorch's. Klambauer et al.,
    "Self-normalizing neural networks", 2017.

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is no key.
    """
    x = as_floating(input)
    return _saturated(x, p, training, key, x.shape)


@function
@rounded_once()
def feature_alpha_dropout(
    input: Any,
    p: float = 0.5,
    training: bool | Key = False,
    inplace: bool = False,
    *,
    key: Key | None = None,
) -> Value:
    """`alpha_dropout` of whole channels.  input x: [n, c, *s] -> y: [n, c, *s]

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is no key.
        ShapeError: if x has one axis or none.
    """
    x = as_floating(input)
    if x.ndim < 2:
        raise ShapeError(f"takes [n, c, *s] of at least two axes, not {format_shape(x.shape)}")
    return _saturated(x, p, training, key, _channels(x, 2))


def _dropped(x: Value, p: Any, training: Any, key: Any, shape: Sequence[Any]) -> Value:
    """x with elements dropped as a mask of a shape, which broadcasts against it, says."""
    p = as_number(p, "p", 0, 1)
    trains, key = mode_of(training, key)
    if not trains or p == 0:
        return x
    if p == 1:
        return none_of(x)
    return where(bernoulli(key_for(x, key), 1 - p, shape), x / (1 - p), 0)


def none_of(x: Value) -> Value:
    """Zeros that depend on x, so that what drops all of it has a gradient, which is 0."""
    return where(False, x, 0)


def _dropped_channels(x: Any, p: Any, training: Any, key: Any, kept: dict[int, int]) -> Value:
    """x with channels dropped; `kept` says for each number of axes how many a mask has."""
    x = as_floating(x)
    if x.ndim not in kept:
        ranks = " or ".join(map(str, kept))
        raise ShapeError(f"takes an input of {ranks} axes, not {format_shape(x.shape)}")
    return _dropped(x, p, training, key, _channels(x, kept[x.ndim]))


def _channels(x: Value, kept: int) -> tuple[Any, ...]:
    return (*x.shape[:kept], *(1,) * (x.ndim - kept))


def _saturated(x: Value, p: Any, training: Any, key: Any, shape: Sequence[Any]) -> Value:
    p = as_number(p, "p", 0, 1)
    trains, key = mode_of(training, key)
    if not trains or p == 0:
        return x
    if p == 1:
        return none_of(x)
    a = 1 / math.sqrt((1 - p) * (1 + p * SATURATED**2))
    return where(bernoulli(key_for(x, key), 1 - p, shape), x, SATURATED) * a - a * p * SATURATED


def mode_of(training: Any, key: Key | None) -> tuple[bool, Key | None]:
    """Whether it trains, and its key, which may stand in the place of `training`.

    Raises:
        ArgumentError: if `training` is neither a bool nor, without another, a key.
    """
    if isinstance(training, Key) and key is None:
        return True, training
    return as_bool(training, "training"), key


def key_for(x: Value, key: Key | None) -> Key:
    """The key of draws for x: one that is given, else one that draws anew at every run."""
    return Generator(next_seed()).key(like=x) if key is None else key
