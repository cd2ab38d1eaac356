"""Dropout (Srivastava et al., "Dropout: a simple way to prevent overfitting", 2014) and its kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number
from staticnet.nn.functional.activation import SELU_ALPHA, SELU_SCALE
from staticnet.ops.arguments import as_bool
from staticnet.ops.base import function
from staticnet.ops.creation import zeros_like
from staticnet.ops.random import Key, bernoulli
from staticnet.ops.selection import where
from staticnet.ops.widening import rounded_once

SATURATED = -SELU_SCALE * SELU_ALPHA  # what selu gives far below zero


@function
@rounded_once()
def dropout(x: Any, p: float = 0.5, key: Key | None = None, training: bool = True) -> Value:
    """y = 0 with probability p, else x / (1 - p), so that the mean stays.  x: [*s] -> y: [*s]

    Equal keys drop equal elements; y = x unless `training`.

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is none.
    """
    x = as_floating(x)
    return _dropped(x, p, key, training, x.shape)


@function
@rounded_once()
def dropout1d(x: Any, p: float = 0.5, key: Key | None = None, training: bool = True) -> Value:
    """`dropout` of whole channels.  x: [n, c, l] or [c, l] -> y: as x

    Tompson et al., "Efficient object localization using convolutional networks", 2015.

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is none.
        ShapeError: if x has other axes.
    """
    return _dropped_channels(x, p, key, training, {2: 1, 3: 2})


@function
@rounded_once()
def dropout2d(x: Any, p: float = 0.5, key: Key | None = None, training: bool = True) -> Value:
    """`dropout` of whole channels.  x: [n, c, h, w], or as PyTorch's [n, c, l] -> y: as x

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is none.
        ShapeError: if x has other axes.
    """
    return _dropped_channels(x, p, key, training, {3: 2, 4: 2})


@function
@rounded_once()
def dropout3d(x: Any, p: float = 0.5, key: Key | None = None, training: bool = True) -> Value:
    """`dropout` of whole channels.  x: [n, c, d, h, w] or [c, d, h, w] -> y: as x

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is none.
        ShapeError: if x has other axes.
    """
    return _dropped_channels(x, p, key, training, {4: 1, 5: 2})


@function
@rounded_once()
def alpha_dropout(x: Any, p: float = 0.5, key: Key | None = None, training: bool = True) -> Value:
    """y = a * (x, or with probability p what selu gives far below zero) + b.  x: [*s] -> y: [*s]

    a and b keep mean 0 and variance 1. Klambauer et al., "Self-normalizing neural networks", 2017.

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is none.
    """
    x = as_floating(x)
    return _saturated(x, p, key, training, x.shape)


@function
@rounded_once()
def feature_alpha_dropout(
    x: Any, p: float = 0.5, key: Key | None = None, training: bool = True
) -> Value:
    """`alpha_dropout` of whole channels.  x: [n, c, *s] -> y: [n, c, *s]

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is none.
        ShapeError: if x has one axis or none.
    """
    x = as_floating(x)
    if x.ndim < 2:
        raise ShapeError(f"takes [n, c, *s] of at least two axes, not {format_shape(x.shape)}")
    return _saturated(x, p, key, training, _channels(x, 2))


def _dropped(x: Value, p: Any, key: Any, training: Any, shape: Sequence[Any]) -> Value:
    """x with elements dropped as a mask of a shape, which broadcasts against it, says."""
    p = as_number(p, "p", 0, 1)
    if not as_bool(training, "training") or p == 0:
        return x
    if p == 1:
        return zeros_like(x)
    return where(bernoulli(_as_key(key), 1 - p, shape), x / (1 - p), 0)


def _dropped_channels(x: Any, p: Any, key: Any, training: Any, kept: dict[int, int]) -> Value:
    """x with channels dropped; `kept` says for each number of axes how many a mask has."""
    x = as_floating(x)
    if x.ndim not in kept:
        ranks = " or ".join(map(str, kept))
        raise ShapeError(f"takes an input of {ranks} axes, not {format_shape(x.shape)}")
    return _dropped(x, p, key, training, _channels(x, kept[x.ndim]))


def _channels(x: Value, kept: int) -> tuple[Any, ...]:
    return (*x.shape[:kept], *(1,) * (x.ndim - kept))


def _saturated(x: Value, p: Any, key: Any, training: Any, shape: Sequence[Any]) -> Value:
    p = as_number(p, "p", 0, 1)
    if not as_bool(training, "training") or p == 0:
        return x
    if p == 1:
        return zeros_like(x)
    a = 1 / math.sqrt((1 - p) * (1 + p * SATURATED**2))
    return where(bernoulli(_as_key(key), 1 - p, shape), x, SATURATED) * a - a * p * SATURATED


def _as_key(key: Key | None) -> Key:
    if key is None:
        raise ArgumentError("needs a key where it trains: key=sn.random.key(seed)")
    return key
