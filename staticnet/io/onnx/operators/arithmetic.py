"""Elementwise operators: numbers, comparisons, bits and dtypes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator
from staticnet.io.onnx.tensors import dtype_of
from staticnet.ir.dtype import is_floating, kind

UNARY: dict[str, Any] = {
    "Abs": sn.abs, "Neg": sn.negative, "Ceil": sn.ceil, "Floor": sn.floor, "Exp": sn.exp,
    "Log": sn.log, "Sqrt": sn.sqrt, "Sin": sn.sin, "Cos": sn.cos, "Tan": sn.tan, "Asin": sn.asin,
    "Acos": sn.acos, "Atan": sn.atan, "Sinh": sn.sinh, "Cosh": sn.cosh, "Tanh": sn.tanh,
    "Asinh": sn.asinh, "Acosh": sn.acosh, "Atanh": sn.atanh, "Erf": sn.erf, "Sign": sn.sign,
    "Not": sn.logical_not, "Round": sn.round, "BitwiseNot": sn.bitwise_invert,
    "Reciprocal": sn.reciprocal, "IsNaN": sn.isnan, "Relu": sn.relu, "Sigmoid": sn.sigmoid,
}  # fmt: skip
BINARY: dict[str, Any] = {
    "Add": sn.add, "Sub": sn.subtract, "Mul": sn.multiply, "And": sn.logical_and,
    "Or": sn.logical_or, "Xor": sn.logical_xor, "Equal": sn.equal, "Greater": sn.greater,
    "GreaterOrEqual": sn.greater_equal, "Less": sn.less, "LessOrEqual": sn.less_equal,
    "BitwiseAnd": sn.bitwise_and, "BitwiseOr": sn.bitwise_or, "BitwiseXor": sn.bitwise_xor,
}  # fmt: skip
MANY: dict[str, Any] = {"Sum": sn.add, "Max": sn.maximum, "Min": sn.minimum}


def aligned(call: Call, a: Any, b: Any) -> tuple[Any, Any]:
    """Operands that broadcast; before opset 7 the second one's place was an attribute."""
    if not call.has("broadcast") or not call.flag("broadcast") or not call.has("axis"):
        return a, b
    axis = call.axis(a.ndim)
    return a, sn.reshape(b, (*b.shape, *(1,) * (a.ndim - axis - b.ndim)))


def _register() -> None:
    for name, f in UNARY.items():
        operator(name)(functools.partial(_unary, f))
    for name, f in BINARY.items():
        operator(name)(functools.partial(_binary, f))
    for name, f in MANY.items():
        operator(name)(functools.partial(_many, f))


def _unary(f: Any, call: Call, x: Any) -> Any:
    return f(x)


def _binary(f: Any, call: Call, a: Any, b: Any) -> Any:
    return f(*aligned(call, a, b))


def _many(f: Any, call: Call, *xs: Any) -> Any:
    return functools.reduce(f, xs)


_register()


@operator("Mean")
def mean(call: Call, *xs: Any) -> Any:
    """The mean of the operands, element by element."""
    return functools.reduce(sn.add, xs) / len(xs)


@operator("Div")
def div(call: Call, a: Any, b: Any) -> Any:
    """a / b; of integers, rounded towards 0."""
    a, b = aligned(call, a, b)
    if is_floating(a.dtype):
        return sn.divide(a, b)
    known = call.knowledge(a)
    if kind(a.dtype) == "uint" or (known is not None and known.dtype == object):
        return sn.floor_divide(a, b)
    quotient = sn.floor_divide(a, b)
    inexact = quotient * b != a
    return sn.where(inexact & ((a < 0) != (b < 0)), quotient + 1, quotient)


@operator("Mod")
def mod(call: Call, a: Any, b: Any) -> Any:
    """The rest, with the sign of b or, where `fmod` is set, that of a."""
    if not call.flag("fmod"):
        return sn.remainder(a, b)
    return sn.fmod(a, b)


@operator("Pow")
def pow(call: Call, a: Any, b: Any) -> Any:
    """a ** b in a's dtype, whatever b's."""
    a, b = aligned(call, a, b)
    if is_floating(a.dtype):
        exact = call.knowledge(b)
        if exact is not None and exact.ndim == 0 and exact.dtype != object:
            return sn.pow(a, float(exact))
        return sn.pow(a, sn.astype(b, a.dtype))
    if is_floating(b.dtype):
        return sn.astype(sn.pow(sn.astype(a, b.dtype), b), a.dtype)
    return sn.pow(a, sn.astype(b, a.dtype))


@operator("BitShift")
def bit_shift(call: Call, a: Any, b: Any) -> Any:
    """Bits moved to the LEFT or the RIGHT."""
    shifts = {"LEFT": sn.bitwise_left_shift, "RIGHT": sn.bitwise_right_shift}
    direction = call.text("direction")
    if direction not in shifts:
        call.fail(f"the direction is LEFT or RIGHT, not {direction!r:.40}")
    return shifts[direction](a, b)


@operator("IsInf")
def isinf(call: Call, x: Any) -> Any:
    """Whether x is an infinity that is asked for."""
    found = []
    if call.integer("detect_positive"):
        found.append(sn.isposinf(x))
    if call.integer("detect_negative"):
        found.append(sn.isneginf(x))
    return functools.reduce(sn.logical_or, found) if found else sn.zeros_like(sn.isinf(x))


@operator("Where")
def where(call: Call, condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y."""
    return sn.where(condition, x, y)


@operator("Clip")
def clip_attributes(call: Call, x: Any) -> Any:
    """x between bounds."""
    least, most = call.number("min"), call.number("max")
    largest = float(np.finfo(np.float32).max)
    return sn.clip(
        x,
        None if least is None or least <= -largest else least,
        None if most is None or most >= largest else most,
    )


@operator("Clip", since=11)
def clip(call: Call, x: Any, least: Any = None, most: Any = None) -> Any:
    """x between bounds that are operands; the upper one where the lower one is above it."""
    if least is not None:
        x = sn.maximum(x, least)
    return x if most is None else sn.minimum(x, most)


@operator("Cast")
def cast(call: Call, x: Any) -> Any:
    """x in another dtype."""
    return converted(call, x, target(call, "to"))


@operator("CastLike")
def cast_like(call: Call, x: Any, other: Any) -> Any:
    """x in the dtype of another value."""
    return converted(call, x, other.dtype)


def target(call: Call, name: str) -> Any:
    """The dtype that an attribute gives."""
    number = call.attribute(name)
    if isinstance(number, str):  # opsets below 6 spell it
        number = {"FLOAT": 1, "INT32": 6, "INT64": 7, "BOOL": 9, "DOUBLE": 11}.get(number, 0)
    if not isinstance(number, int):
        call.fail(f"the attribute {name} is no dtype: {number!r:.40}")
    return dtype_of(number, f"the attribute {name}")


def converted(call: Call, x: Any, dtype: Any) -> Any:
    """x in another dtype; strings of numbers where they are known."""
    if isinstance(x, np.ndarray):
        return sn.constant(x.astype(np.float64 if is_floating(dtype) else np.int64).astype(dtype))
    if x.dtype == dtype:
        return x
    if is_floating(x.dtype) and kind(dtype) == "uint":  # of a negative number, as C's does
        return sn.astype(sn.astype(x, sn.int64), dtype)
    return sn.astype(x, dtype)


@operator("BitCast")
def bit_cast(call: Call, x: Any) -> Any:
    """x's bits as another dtype of the same size."""
    dtype = target(call, "to")
    if dtype.itemsize != x.dtype.itemsize:
        call.fail(f"{x.dtype} and {dtype} differ in size")
    known = call.known(x, "the bits of the result")
    return sn.constant(np.ascontiguousarray(known).view(dtype))
