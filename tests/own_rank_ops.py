"""Ops of a user's own that work on elements, and on rows, whose rules count a row's axes."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn


def by_elements(a: Any, b: Any) -> Any:
    """As a stranger writes it: it takes for granted that the two have one shape."""
    y = np.empty_like(a)
    for i in np.ndindex(a.shape):
        y[i] = a[i] * np.tanh(b[i])
    return y


def rule(y: Any, g: Any, a: Any, b: Any) -> Any:
    return g * sn.tanh(b), g * a / sn.square(sn.cosh(b))


on_host = sn.custom_op("times_tanh_on_host", by_elements, vjp=rule)
fused = sn.custom_op(
    "times_tanh_fused", lambda a, b: a * np.tanh(b), scalar="{0} * tanh({1})", vjp=rule
)


def row_norm(x: Any) -> Any:
    return np.sqrt((x * x).sum(-1))


def row_vjp(y: Any, g: Any, x: Any) -> Any:
    return g * x / y  # of a row: g and y are scalars


def row_jvp(y: Any, xs: Any, ts: Any) -> Any:
    return sn.sum(xs[0] * ts[0]) / y


def without_last(x: Any) -> Any:
    return x.with_shape(x.shape[:-1])


NORMS = {
    "one by one": sn.custom_op("row_norm_each", row_norm, without_last, vjp=row_vjp),
    "at once": sn.custom_op("row_norm_all", row_norm, without_last, vjp=row_vjp, vectorized=True),
    "by a jvp": sn.custom_op("row_norm_jvp", row_norm, without_last, jvp=row_jvp, vectorized=True),
    "by both": sn.custom_op(
        "row_norm_both", row_norm, without_last, vjp=row_vjp, jvp=row_jvp, vectorized=True
    ),
}


def polar(x: Any, y: Any) -> Any:
    return (x * y).sum(-1), np.abs(x).max(-1) * y[..., 0]


two = sn.custom_op(
    "two_of_rows", polar, lambda x, y: [without_last(x), without_last(x)], vectorized=True,
    vjp=lambda z, g, x, y: (
        g[0] * y + g[1] * y[0] * sn.where(sn.abs(x) == sn.max(sn.abs(x)), sn.sign(x), 0),
        g[0] * x + sn.pad(sn.reshape(g[1] * sn.max(sn.abs(x)), (1,)), [(0, x.shape[0] - 1)]),
    ),
)  # fmt: skip
