"""Dropout (Srivastava et al., "Dropout: a simple way to prevent overfitting", 2014)."""

from __future__ import annotations

from typing import Any

from staticnet.ir.value import Value
from staticnet.nn.arguments import as_floating, as_number
from staticnet.ops.base import function
from staticnet.ops.creation import zeros_like
from staticnet.ops.random import Key, bernoulli
from staticnet.ops.selection import where
from staticnet.ops.widening import rounded_once


@function
@rounded_once()
def dropout(x: Any, p: float, key: Key) -> Value:
    """y = 0 with probability p, else x / (1 - p), so that the mean stays.  x: [*s] -> y: [*s]

    Equal keys drop equal elements.

    Raises:
        ArgumentError: if p is not in [0, 1], or the key is none.
    """
    x, p = as_floating(x), as_number(p, "p", 0, 1)
    if p == 0:
        return x
    if p == 1:
        return zeros_like(x)
    return where(bernoulli(key, 1 - p, x.shape), x / (1 - p), 0)
