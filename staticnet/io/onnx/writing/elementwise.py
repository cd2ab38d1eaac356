"""Ops that act on elements, which ONNX has too."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from staticnet.io.onnx.library import schema
from staticnet.io.onnx.writing.body import Body
from staticnet.io.onnx.writing.table import writes
from staticnet.ir.dtype import BOOL, FLOAT32, INT32, INT64, UINT64, DType, is_floating
from staticnet.ir.node import Node
from staticnet.ir.op import Op
from staticnet.ops import arithmetic, comparison, rounding, selection, special, transcendental
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.held import Held
from staticnet.ops.with_update import WithUpdate

SAME: dict[type[Op], str] = {
    arithmetic.Abs: "Abs", arithmetic.Sign: "Sign", rounding.Ceil: "Ceil",
    rounding.Floor: "Floor", rounding.Round: "Round", arithmetic.Add: "Add",
    arithmetic.Subtract: "Sub", arithmetic.Multiply: "Mul", arithmetic.Divide: "Div",
    arithmetic.Pow: "Pow", arithmetic.Maximum: "Max", arithmetic.Minimum: "Min",
    comparison.Equal: "Equal", comparison.Less: "Less", comparison.LessEqual: "LessOrEqual",
    comparison.Greater: "Greater", comparison.GreaterEqual: "GreaterOrEqual",
    comparison.LogicalNot: "Not", comparison.LogicalAnd: "And", comparison.LogicalOr: "Or",
    comparison.LogicalXor: "Xor",
    transcendental.Sqrt: "Sqrt", transcendental.Exp: "Exp", transcendental.Log: "Log",
    transcendental.Sin: "Sin", transcendental.Cos: "Cos", transcendental.Tan: "Tan",
    transcendental.Asin: "Asin", transcendental.Acos: "Acos", transcendental.Atan: "Atan",
    transcendental.Sinh: "Sinh", transcendental.Cosh: "Cosh", transcendental.Tanh: "Tanh",
    transcendental.Asinh: "Asinh", transcendental.Acosh: "Acosh",
    transcendental.Atanh: "Atanh", transcendental.Erf: "Erf",
    transcendental.Sigmoid: "Sigmoid",
    selection.Relu: "Relu", selection.Where: "Where",
}  # fmt: skip
"""The operators of equal meaning, by class."""
BITWISE: dict[type[Op], str] = {
    comparison.BitwiseInvert: "BitwiseNot", comparison.BitwiseAnd: "BitwiseAnd",
    comparison.BitwiseOr: "BitwiseOr", comparison.BitwiseXor: "BitwiseXor",
}  # fmt: skip
_PREDICATES = (
    comparison.Equal, comparison.Less, comparison.LessEqual, comparison.Greater,
    comparison.GreaterEqual,
)  # fmt: skip


@writes(*SAME)
def _same(body: Body, node: Node) -> str:
    operator = SAME[type(node.op)]
    start = 1 if operator == "Where" else 0
    dtype = node.inputs[start].dtype
    wider = takes(operator, body.model.opset, dtype, start)
    if wider == dtype:
        return str(body(operator, *node.inputs))
    operands = [x if i < start else body.cast(x, wider) for i, x in enumerate(node.inputs)]
    result = str(body(operator, *operands))
    return result if node.dtype == BOOL else body.cast(result, node.dtype)


@cache
def takes(operator: str, opset: int, dtype: DType, operand: int = 0) -> DType:
    """The dtype that an operator takes in place of one that it may not know."""
    declared = schema("", operator, opset)
    given = declared.inputs[min(operand, len(declared.inputs) - 1)]
    known = {
        text
        for constraint in declared.type_constraints
        if constraint.type_param_str == given.type_str
        for text in constraint.allowed_type_strs
    } or {given.type_str}
    wider = [FLOAT32] if is_floating(dtype) else [INT32, INT64, FLOAT32]
    wider = wider[1:] if dtype == UINT64 or dtype.itemsize == 8 else wider
    names = {"float32": "float", "float64": "double"}
    for candidate in (dtype, *wider):
        if f"tensor({names.get(str(candidate), str(candidate))})" in known:
            return candidate
    return dtype


@writes(*BITWISE)
def _bitwise(body: Body, node: Node) -> str:
    operator = BITWISE[type(node.op)]
    if node.dtype == BOOL:
        return str(body(operator.removeprefix("Bitwise"), *node.inputs))
    body.model.needs(18, node, "bitwise logic")
    return str(body(operator, *node.inputs))


@writes(arithmetic.Negative)
def _negative(body: Body, node: Node) -> str:
    (x,) = node.inputs
    if node.dtype.kind == "u":  # wraps; ONNX has no negative of it
        return str(body("Sub", np.zeros((), node.dtype), x))
    return str(body("Neg", x))


@writes(comparison.NotEqual)
def _not_equal(body: Body, node: Node) -> str:
    x, y = node.inputs
    return str(body("Not", body("Equal", x, y)))


@writes(comparison.Isnan, comparison.Isinf)
def _is(body: Body, node: Node) -> str:
    (x,) = node.inputs
    operator = "IsNaN" if isinstance(node.op, comparison.Isnan) else "IsInf"
    wider = takes(operator, body.model.opset, x.dtype)
    return str(body(operator, x if wider == x.dtype else body.cast(x, wider)))


@writes(transcendental.Rsqrt)
def _rsqrt(body: Body, node: Node) -> str:
    return str(body("Reciprocal", body("Sqrt", *node.inputs)))


@writes(special.Erfc)
def _erfc(body: Body, node: Node) -> str:
    """1 - erf(x): the rounding error is that of 1."""
    one = np.ones((), node.dtype)
    return str(body("Sub", one, body("Erf", *node.inputs)))


@writes(selection.Cast)
def _cast(body: Body, node: Node) -> str:
    return body.cast(node.inputs[0], node.dtype)


@writes(selection.StopGradient, OptimizationBarrier, Held, WithUpdate)
def _itself(body: Body, node: Node) -> Any:
    return body.known(node.inputs[0])


@writes(comparison.BitwiseLeftShift, comparison.BitwiseRightShift)
def _shift(body: Body, node: Node) -> str:
    """Of unsigned numbers BitShift; else a product with, or a quotient by, a power of 2."""
    x, count = node.inputs
    left = isinstance(node.op, comparison.BitwiseLeftShift)
    bits = 8 * node.dtype.itemsize
    if node.dtype.kind == "u":
        direction = "LEFT" if left else "RIGHT"
        most = np.asarray(bits - 1, node.dtype)
        shifted = body("BitShift", x, body("Min", count, most), direction=direction)
        zero = np.zeros((), node.dtype)
        return str(body("Where", body("Greater", count, most), zero, shifted))
    wide, by = body.cast(x, INT64), body.cast(count, INT64)
    factor = body.cast(body("Pow", np.int64(2), body("Min", by, np.int64(62))), INT64)
    if left:
        made = body("Mul", wide, factor)
        beyond = np.int64(0)
    else:
        rest = body("Mod", wide, factor)
        made = body("Div", body("Sub", wide, rest), factor)
        beyond = body("Where", body("Less", wide, np.int64(0)), np.int64(-1), np.int64(0))
    inside = body("Less", by, np.int64(min(bits, 63)))
    return body.cast(body("Where", inside, made, beyond), node.dtype)


@writes(arithmetic.Remainder)
def _remainder(body: Body, node: Node) -> str:
    """With the sign of the divisor, which ONNX has of integers alone."""
    x, y = node.inputs
    if not is_floating(node.dtype):
        return str(body("Mod", x, y, fmod=0))
    return _floored_rest(body, x, y, node.dtype)


def _floored_rest(body: Body, x: Any, y: Any, dtype: DType) -> str:
    zero = np.zeros((), dtype)
    rest = body("Mod", x, y, fmod=1)
    opposed = body("Xor", body("Less", rest, zero), body("Less", y, zero))
    moved = body("And", opposed, body("Not", body("Equal", rest, zero)))
    return str(body("Where", moved, body("Add", rest, y), rest))


@writes(arithmetic.FloorDivide)
def _floor_divide(body: Body, node: Node) -> str:
    """(x - rest) / y, which is whole; of floats it is rounded to what is whole."""
    x, y = node.inputs
    if not is_floating(node.dtype):
        return str(body("Div", body("Sub", x, body("Mod", x, y, fmod=0)), y))
    quotient = body("Div", body("Sub", x, _floored_rest(body, x, y, node.dtype)), y)
    near = body("Floor", quotient)
    high = body("Greater", body("Sub", quotient, near), np.asarray(0.5, node.dtype))
    one = np.ones((), node.dtype)
    return str(body("Where", high, body("Add", near, one), near))
