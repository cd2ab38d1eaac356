"""Ops that ONNX has not, made of plainer ones: a function of a node that gives nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.attention import plain
from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.layout import arranged
from staticnet.attention.op import Attention
from staticnet.attention.operands import split_operands
from staticnet.attention.scores import (
    INFINITY,
    scores,
)
from staticnet.io.onnx.writing.table import composes
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node
from staticnet.ops import arithmetic, comparison, rounding, transcendental
from staticnet.ops.arithmetic import abs, maximum, minimum, negative
from staticnet.ops.auxiliary import (
    AuxiliaryProduct,
    MatmulActivationGradient,
    MatmulAuxiliary,
    MatmulBiasGradient,
)
from staticnet.ops.comparison import isinf, isnan, signbit
from staticnet.ops.library import MatmulAdd, MatmulEpilogue
from staticnet.ops.linalg import matmul
from staticnet.ops.moments import CenteredSums, Moments, Normalize
from staticnet.ops.reduction import mean
from staticnet.ops.rounding import ceil, floor
from staticnet.ops.selection import astype, where
from staticnet.ops.shape import sum
from staticnet.ops.transcendental import atan, exp, log, log1p, sigmoid, sqrt, tanh
from staticnet.ops.widening import widened


@composes(transcendental.Expm1)
def _expm1(node: Node) -> Any:
    """2 t / (1 - t) with t = tanh(x / 2), near 0."""
    (x,) = node.inputs
    t = tanh(x * 0.5)
    return where(abs(x) < 0.5, 2 * t / (1 - t), exp(x) - 1)


@composes(transcendental.Log1p)
def _log1p(node: Node) -> Any:
    """ln(u) x / (u - 1) with u = 1 + x rounded, near 0 (Goldberg, "What every computer scientist
    should know about floating-point arithmetic", 1991, theorem 4)."""
    (x,) = node.inputs
    u = 1 + x
    gap = u - 1
    near = where(gap == 0, x, log(u) * (x / where(gap == 0, 1, gap)))
    return where(abs(x) < 1, near, log(u))


@composes(transcendental.Log2, transcendental.Log10)
def _log_to_a_base(node: Node) -> Any:
    base = 2.0 if isinstance(node.op, transcendental.Log2) else 10.0
    return log(node.inputs[0]) * (1 / float(np.log(base)))


@composes(rounding.Trunc)
def _trunc(node: Node) -> Any:
    (x,) = node.inputs
    return where(x < 0, ceil(x), floor(x)) if is_floating(x.dtype) else x


@composes(arithmetic.Fma)
def _fma(node: Node) -> Any:
    x, y, z = node.inputs
    return x * y + z


@composes(arithmetic.Atan2)
def _atan2(node: Node) -> Any:
    y, x = node.inputs
    pi = float(np.pi)
    inclined = atan(y / x)
    left = signbit(x)
    up = where(signbit(y), -1.0, 1.0)
    turned = where(left, inclined + up * pi, inclined)
    both = isinf(x) & isinf(y)
    diagonal = up * where(left, 3 * pi / 4, pi / 4)
    level = up * where(left, pi, 0.0)
    found = where(both, diagonal, where(y == 0, level, turned))
    return astype(where(isnan(x) | isnan(y), x + y, found), node.dtype)


@composes(arithmetic.Hypot)
def _hypot(node: Node) -> Any:
    x, y = (abs(v) for v in node.inputs)
    large, small = maximum(x, y), minimum(x, y)
    ratio = small / where(large == 0, 1, large)
    length = large * sqrt(1 + ratio * ratio)
    return where(isinf(x) | isinf(y), INFINITY, length)


@composes(arithmetic.Copysign)
def _copysign(node: Node) -> Any:
    x, y = node.inputs
    return where(signbit(x) == signbit(y), x, negative(x))


@composes(arithmetic.Logaddexp)
def _logaddexp(node: Node) -> Any:
    x, y = node.inputs
    top = maximum(x, y)
    return where(x == y, x + float(np.log(2)), top + log1p(exp(-abs(x - y))))


@composes(comparison.Isfinite)
def _isfinite(node: Node) -> Any:
    (x,) = node.inputs
    return ~(isnan(x) | isinf(x))


@composes(comparison.Signbit)
def _signbit(node: Node) -> Any:
    """Where x or 1 / x is less than 0: of -0.0 too. A NaN has no sign here."""
    (x,) = node.inputs
    return (x < 0) | (1 / x < 0) if is_floating(x.dtype) else x < 0


@composes(MatmulAuxiliary, MatmulActivationGradient, MatmulBiasGradient)
def _auxiliary(node: Node) -> Any:
    assert isinstance(node.op, AuxiliaryProduct)
    return node.op.expand(*node.inputs)


@composes(MatmulAdd)
def _product_and_sum(node: Node) -> Any:
    x, y, c = node.inputs
    return c + matmul(x, y)


@composes(MatmulEpilogue)
def _epilogue(node: Node) -> Any:
    x, y, *bias = node.inputs
    op = node.op
    assert isinstance(op, MatmulEpilogue)
    z = matmul(x, y)
    z = z + bias[0] if bias else z
    if op.activation == "relu":
        return maximum(z, 0)
    if op.activation == "gelu":
        inner = float(np.sqrt(2 / np.pi)) * (z + 0.044715 * z * z * z)
        return z * sigmoid(2 * inner)
    return z


@composes(Normalize)
def _normalize(node: Node) -> Any:
    x, average, scale, shift = node.inputs
    return (x - average) * scale + shift


@composes(Moments)
def _moments(node: Node) -> Any:
    op, (x,) = node.op, node.inputs
    assert isinstance(op, Moments)
    axes = op.others(x)
    average = mean(x, axes)
    centred = x - op.across(average, x)
    return average, mean(centred * centred, axes)


@composes(CenteredSums)
def _centered_sums(node: Node) -> Any:
    op, (g, x, average) = node.op, node.inputs
    assert isinstance(op, CenteredSums)
    axes = op.others(x)
    return sum(g, axes), sum(g * (x - op.across(average, x)), axes)


def attention_scores(node: Node) -> Any:
    """The scores of an attention.  -> [n, g, h / g, t, s]"""
    op = node.op
    assert isinstance(op, Attention)
    (q, k, _, scale), mask, _ = split_operands(op, node.inputs)
    return scores(op.causal, q, k, scale, mask)


def attention_parts(node: Node) -> tuple[Any, Any]:
    """(w, l): weights and ln sum(e**scores), where a query may have no keys.  -> [n, g, r, t, s]"""
    op = node.op
    assert isinstance(op, Attention)
    (q, k, *_), _, drops = split_operands(op, node.inputs)
    w, lse = plain.weights_and_logsumexp(attention_scores(node))
    return plain.dropped(w, plain.factors_of(q, k, drops)), lse


@composes(AttentionGradient)
def _attention_gradient(node: Node) -> Any:
    op = node.op
    assert isinstance(op, AttentionGradient)
    given, mask, drops = split_operands(op, node.inputs)
    if op.given == "result":
        given = (*given[:6], sum(widened(given[3]) * widened(given[6]), -1))
    factors = plain.factors_of(given[0], given[1], drops)
    return arranged(op, plain.attention_gradient(op.causal, given, mask, factors))
