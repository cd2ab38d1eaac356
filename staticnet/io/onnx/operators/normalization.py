"""Normalisation and dropout."""

from __future__ import annotations

from typing import Any

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.operators.randomness import random_key
from staticnet.io.onnx.registry import operator
from staticnet.ir.dtype import HALVES
from staticnet.nn import functional as F
from staticnet.ops.state import Variable


def by_channel(value: Any, x: Any) -> Any:
    """A value of each channel, beside x: [n, c, *s]."""
    return sn.reshape(value, (*value.shape, *(1,) * (x.ndim - 2)))


@operator("BatchNormalization")
def batch_normalization(call: Call, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, for each channel.

    In training, which the step or the model may be in, the statistics are the batch's, and the
    running ones move if it is the model.
    """
    eps, momentum = call.number("epsilon"), call.number("momentum")
    is_state = isinstance(mean, Variable) and isinstance(var, Variable)
    by_batch = bool(call.attribute("training_mode"))
    if by_batch and not (call.training and is_state):
        return _batch_statistics(x, scale, bias, mean, var, eps, momentum)
    training = call.training and is_state
    if x.dtype != mean.dtype:
        mean, var = sn.astype(mean, x.dtype), sn.astype(var, x.dtype)
    if x.dtype != scale.dtype:
        scale, bias = sn.astype(scale, x.dtype), sn.astype(bias, x.dtype)
    y = F.batch_norm(x, mean, var, scale, bias, training, 1 - momentum, eps)
    return (y, mean, var, mean, var)[: call.outputs]


def _batch_statistics(
    x: Any, scale: Any, bias: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    """The batch's normalisation, and the running statistics after it; var is the biased one."""
    axes = (0, *range(2, x.ndim))
    own, spread = sn.mean(x, axis=axes), sn.var(x, axis=axes)
    unit = (x - by_channel(own, x)) * sn.rsqrt(by_channel(spread, x) + eps)
    y = unit * by_channel(scale, x) + by_channel(bias, x)
    rest = 1 - momentum
    return y, mean * momentum + own * rest, var * momentum + spread * rest


@operator("InstanceNormalization")
def instance_normalization(call: Call, x: Any, scale: Any, bias: Any) -> Any:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, of each example and channel."""
    return F.instance_norm(x, weight=scale, bias=bias, eps=call.number("epsilon"))


@operator("LayerNormalization")
def layer_normalization(call: Call, x: Any, scale: Any, bias: Any = None) -> Any:
    """(x - mean) / sqrt(var + epsilon) * scale + bias over the axes from `axis` on."""
    axis, eps = call.axis(x.ndim), call.number("epsilon")
    if call.outputs == 1 and scale.shape == x.shape[axis:]:
        same = bias is None or bias.shape == scale.shape
        if same and all(isinstance(d, int) for d in scale.shape):
            return F.layer_norm(x, tuple(x.shape[axis:]), scale, bias, eps)
    axes = tuple(range(axis, x.ndim))
    wide = sn.astype(x, sn.float32) if x.dtype in HALVES else x
    mean = sn.mean(wide, axis=axes, keepdims=True)
    inverse = sn.rsqrt(sn.var(wide, axis=axes, keepdims=True) + eps)
    y = sn.astype((wide - mean) * inverse, x.dtype) * scale
    return (y if bias is None else y + bias, mean, inverse)[: call.outputs]


@operator("GroupNormalization", since=21)
def group_normalization(call: Call, x: Any, scale: Any, bias: Any) -> Any:
    """(x - mean) / sqrt(var + epsilon) over groups of channels, * scale + bias of each channel."""
    return F.group_norm(x, call.integer("num_groups"), scale, bias, call.number("epsilon"))


@operator("GroupNormalization", since=18)
def group_normalization_by_group(call: Call, x: Any, scale: Any, bias: Any) -> Any:
    """The same, with a scale and a bias of each group."""
    groups = call.integer("num_groups")
    rows = sn.reshape(x, (x.shape[0], groups, -1))
    y = F.group_norm(rows, groups, scale, bias, call.number("epsilon"))
    return sn.reshape(y, x.shape)


@operator("RMSNormalization")
def rms_normalization(call: Call, x: Any, scale: Any) -> Any:
    """x / sqrt(mean(x**2) + epsilon) * scale over the axes from `axis` on."""
    axes = tuple(range(call.axis(x.ndim), x.ndim))
    wide = sn.astype(x, sn.float32) if x.dtype in HALVES else x
    unit = wide * sn.rsqrt(sn.mean(wide * wide, axis=axes, keepdims=True) + call.number("epsilon"))
    return sn.astype(unit, x.dtype) * scale


@operator("LpNormalization")
def lp_normalization(call: Call, x: Any) -> Any:
    """x over its norm along an axis; 0 where that is 0."""
    axis, p = call.axis(x.ndim), call.integer("p")
    size = (
        sn.sum(sn.abs(x), axis=axis, keepdims=True)
        if p == 1
        else sn.sqrt(sn.sum(x * x, axis=axis, keepdims=True))
    )
    return sn.where(size == 0, sn.zeros_like(x), x / sn.where(size == 0, sn.ones_like(size), size))


@operator("LRN")
def lrn(call: Call, x: Any) -> Any:
    """x / (bias + alpha / size * the sum of squares of near channels)**beta."""
    size = call.integer("size")
    call.limit(size, "the size", 1 << 12)
    before = (size - 1) // 2
    squares = sn.pad(x * x, [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    count = x.shape[1]
    total = squares[:, 0:count]
    for i in range(1, size):
        total = total + squares[:, i : i + count]
    scale = call.number("bias") + total * (call.number("alpha") / size)
    return x / sn.pow(scale, call.number("beta"))


@operator("Dropout")
def dropout_attribute(call: Call, x: Any) -> Any:
    """x with a part of it dropped, where the model trains."""
    return _dropped(call, x, call.number("ratio", 0.5), call.training)


@operator("Dropout", since=12)
def dropout(call: Call, x: Any, ratio: Any = None, training: Any = None) -> Any:
    """x with a part of it dropped, where the step or the model trains."""
    share = 0.5 if ratio is None else call.numbers(ratio, "the ratio")[0]
    asked = training is not None and bool(call.known(training, "training_mode"))
    return _dropped(call, x, share, asked or call.training)


def _dropped(call: Call, x: Any, share: float, training: bool) -> Any:
    if not training or share == 0:
        return (x, sn.ones(x.shape, sn.bool))[: call.outputs]
    keep = sn.random.bernoulli(random_key(call), 1 - share, x.shape)
    y = sn.where(keep, x / (1 - share), sn.zeros_like(x))
    return (y, keep)[: call.outputs]
