"""Activations, and softmax."""

from __future__ import annotations

import functools
from typing import Any

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator
from staticnet.nn import functional as F


@operator("Elu")
def elu(call: Call, x: Any) -> Any:
    """x where it is positive, else alpha * (exp(x) - 1)."""
    return F.elu(x, call.number("alpha"))


@operator("Selu")
def selu(call: Call, x: Any) -> Any:
    """gamma * (x where it is positive, else alpha * (exp(x) - 1))."""
    return F.elu(x, call.number("alpha")) * call.number("gamma")


@operator("Celu")
def celu(call: Call, x: Any) -> Any:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    return F.celu(x, call.number("alpha"))


@operator("LeakyRelu")
def leaky_relu(call: Call, x: Any) -> Any:
    """x where it is positive, else alpha * x."""
    return F.leaky_relu(x, call.number("alpha"))


@operator("PRelu")
def prelu(call: Call, x: Any, slope: Any) -> Any:
    """x where it is positive, else slope * x."""
    if call.version < 7 and slope.ndim == 1 and x.ndim > 1 and slope.shape[0] != 1:
        slope = sn.reshape(slope, (*slope.shape, *(1,) * (x.ndim - 2)))
    return sn.where(x < 0, slope * x, x)


@operator("ThresholdedRelu")
def thresholded_relu(call: Call, x: Any) -> Any:
    """x where it is above alpha, else 0."""
    return sn.where(x > call.number("alpha"), x, sn.zeros_like(x))


@operator("Softplus")
def softplus(call: Call, x: Any) -> Any:
    """log(exp(x) + 1)."""
    return sn.logaddexp(x, sn.zeros_like(x))


@operator("Softsign")
def softsign(call: Call, x: Any) -> Any:
    """x / (1 + |x|)."""
    return F.softsign(x)


@operator("HardSigmoid")
def hard_sigmoid(call: Call, x: Any) -> Any:
    """alpha * x + beta, between 0 and 1."""
    return sn.clip(x * call.number("alpha") + call.number("beta"), 0, 1)


@operator("HardSwish")
def hard_swish(call: Call, x: Any) -> Any:
    """x * the hard sigmoid of slope 1/6, as the schema has it: of -infinity NaN, unlike PyTorch."""
    return x * sn.clip(x * (1 / 6) + 0.5, 0, 1)


@operator("Mish")
def mish(call: Call, x: Any) -> Any:
    """x * tanh(softplus(x))."""
    return F.mish(x)


@operator("Swish")
def swish(call: Call, x: Any) -> Any:
    """x * sigmoid(alpha * x)."""
    return x * sn.sigmoid(x * call.number("alpha"))


@operator("Gelu")
def gelu(call: Call, x: Any) -> Any:
    """x times the normal distribution's share below x."""
    return F.gelu(x, approximate=call.text("approximate", "none"))


@operator("Shrink")
def shrink(call: Call, x: Any) -> Any:
    """x moved by the bias towards 0 where it is further away than lambd, else 0."""
    bias, edge = call.number("bias"), call.number("lambd")
    zero = sn.zeros_like(x)
    return sn.where(x < -edge, x + bias, sn.where(x > edge, x - bias, zero))


@operator("Softmax")
def softmax_flat(call: Call, x: Any) -> Any:
    """The softmax over all axes from `axis` on."""
    return _flat(F.softmax, call, x)


@operator("LogSoftmax")
def log_softmax_flat(call: Call, x: Any) -> Any:
    """The logarithm of the softmax over all axes from `axis` on."""
    return _flat(F.log_softmax, call, x)


@operator("Hardmax")
def hardmax_flat(call: Call, x: Any) -> Any:
    """1 at the first greatest element of all axes from `axis` on, else 0."""
    return _flat(_hardmax, call, x)


def _flat(f: Any, call: Call, x: Any) -> Any:
    axis = call.place(call.integer("axis"), x.ndim) if x.ndim else 0
    rows = sn.reshape(x, (*x.shape[:axis], -1)) if axis < x.ndim else x
    return sn.reshape(f(rows, -1), x.shape)


def _along(f: Any, call: Call, x: Any) -> Any:
    return f(x, call.axis(x.ndim))


def _hardmax(x: Any, axis: int) -> Any:
    at = sn.argmax(x, axis=axis)
    return sn.moveaxis(sn.one_hot(at, x.shape[axis], dtype=x.dtype), -1, axis)


for _name, _f in {"Softmax": F.softmax, "LogSoftmax": F.log_softmax, "Hardmax": _hardmax}.items():
    operator(_name, since=13)(functools.partial(_along, _f))
