"""Shapes, constants, and what is made of a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.execution import lifted
from staticnet.io.onnx.operators.arithmetic import target
from staticnet.io.onnx.registry import operator
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.value import Value


@operator("Constant")
def constant(call: Call) -> Any:
    """The attribute, whichever of them is set."""
    found = call.tensor("value")
    if found is None and call.has("sparse_value"):
        found = call.tensor("sparse_value")
    if found is not None:
        return lifted(found)
    for name, dtype in _CONSTANTS.items():
        if call.has(name):
            return lifted(np.array(call.attribute(name), dtype))
    return call.fail("no attribute gives the value")


_CONSTANTS: dict[str, Any] = {
    "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
    "value_ints": np.int64, "value_string": object, "value_strings": object,
}  # fmt: skip


@operator("Identity")
def identity(call: Call, x: Any) -> Any:
    """x."""
    return x


@operator("Shape")
def shape(call: Call, x: Any) -> Any:
    """x's dims, from `start` up to `end`.  -> y: int64 [n]"""
    return vector(list(x.shape)[call.integer("start") or 0 : call.integer("end")])


@operator("Size")
def size(call: Call, x: Any) -> Any:
    """The number of x's elements.  -> y: int64 []"""
    number = size_of(x.shape)
    return sn.astype(number, sn.int64) if isinstance(number, Dim) else sn.constant(np.int64(number))


def vector(entries: list[Any]) -> Value:
    """Ints and dims as a value.  -> y: int64 [n]"""
    if not any(isinstance(d, Dim) for d in entries):
        return sn.constant(np.array(entries, np.int64))
    return sn.stack([sn.astype(d, sn.int64) if isinstance(d, Dim) else sn.constant(np.int64(d))
                     for d in entries])  # fmt: skip


@operator("Reshape")
def reshape_attribute(call: Call, x: Any) -> Any:
    """x in another shape."""
    return _reshaped(call, x, call.ints("shape"))


@operator("Reshape", since=5)
def reshape(call: Call, x: Any, shape: Any) -> Any:
    """x in a shape that is an operand: 0 keeps a dim, unless `allowzero`; -1 is what is left."""
    return _reshaped(call, x, call.sizes(shape, "the shape"))


def _reshaped(call: Call, x: Any, entries: list[Any]) -> Any:
    if not call.attribute("allowzero"):
        if any(isinstance(d, int) and d == 0 and i >= x.ndim for i, d in enumerate(entries)):
            call.fail(f"the shape {entries} keeps an axis that x has not")
        entries = [x.shape[i] if isinstance(d, int) and d == 0 else d
                   for i, d in enumerate(entries)]  # fmt: skip
    return sn.reshape(x, entries)


@operator("Flatten")
def flatten(call: Call, x: Any) -> Any:
    """The axes before `axis` made one, and those from it on.  -> y: [a, b]"""
    axis = call.integer("axis")
    if not -x.ndim <= axis <= x.ndim:
        call.fail(f"the axis {axis} is none of {x.ndim} axes")
    axis = axis + x.ndim if axis < 0 else axis
    return sn.reshape(x, (size_of(x.shape[:axis]), size_of(x.shape[axis:])))


@operator("Squeeze")
def squeeze(call: Call, x: Any, axes: Any = None) -> Any:
    """x without axes of length 1: those named, or all."""
    named = call.ints("axes") if axes is None else call.sizes(axes, "the axes")
    return sn.squeeze(x, None if named is None else tuple(named))


@operator("Unsqueeze")
def unsqueeze(call: Call, x: Any, axes: Any = None) -> Any:
    """x with axes of length 1 at places of the result."""
    named = call.ints("axes") if axes is None else call.sizes(axes, "the axes")
    return sn.expand_dims(x, tuple(named or ()))


@operator("Expand")
def expand(call: Call, x: Any, shape: Any) -> Any:
    """x broadcast against a shape: a dim of 1 keeps x's."""
    return expanded(call, x, call.sizes(shape, "the shape"))


def expanded(call: Call, x: Any, wanted: list[Any]) -> Any:
    """x broadcast against a shape, both ways."""
    own = [1] * (len(wanted) - x.ndim) + list(x.shape)
    wanted = [1] * (len(own) - len(wanted)) + list(wanted)
    if any(isinstance(d, int) and d < 0 for d in wanted):
        call.fail(f"the shape {wanted} has a negative dim")
    return sn.broadcast_to(x, [a if b == 1 else b for a, b in zip(own, wanted, strict=True)])


@operator("ConstantOfShape")
def constant_of_shape(call: Call, shape: Any) -> Any:
    """One value everywhere."""
    value = call.tensor("value")
    value = np.zeros(1, np.float32) if value is None else value
    if value.size != 1:
        call.fail(f"the value has {value.size} elements, not one")
    return sn.full(call.sizes(shape, "the shape"), value.reshape(())[()], dtype=value.dtype)


@operator("EyeLike")
def eye_like(call: Call, x: Any) -> Any:
    """1 on a diagonal of a matrix like x, else 0."""
    if x.ndim != 2:
        call.fail(f"x must have 2 axes, not {x.ndim}")
    dtype = target(call, "dtype") if call.has("dtype") else x.dtype
    return sn.eye(x.shape[0], x.shape[1], k=call.integer("k"), dtype=dtype)


@operator("Range")
def range_(call: Call, start: Any, limit: Any, delta: Any) -> Any:
    """start, start + delta, … below the limit."""
    first, last, step = (call.known(x, f"the {name}").reshape(()).item() for x, name in
                         ((start, "start"), (limit, "limit"), (delta, "step")))  # fmt: skip
    if step == 0:
        call.fail("the step is 0")
    if any(isinstance(x, Dim) for x in (first, last)):
        count = -((first - last) // step) if step > 0 else -((last - first) // -step)
    else:
        count = max(0, int(np.ceil((last - first) / step)))
    return sn.astype(sn.arange(count), start.dtype) * delta + start


@operator("Trilu")
def trilu(call: Call, x: Any, k: Any = None) -> Any:
    """The upper or lower triangle of matrices, 0 elsewhere."""
    at = 0 if k is None else call.sizes(k, "the diagonal")[0]
    return (sn.triu if call.integer("upper") else sn.tril)(x, at)


@operator("OneHot")
def one_hot(call: Call, indices: Any, depth: Any, values: Any) -> Any:
    """The second of two values at the indices along a new axis, else the first."""
    (count,) = call.sizes(depth, "the depth")
    axis = call.place(call.integer("axis"), indices.ndim + 1)
    index = sn.astype(indices, sn.int64)
    index = sn.where(index < 0, index + count, index)
    hot = sn.moveaxis(sn.one_hot(index, count, dtype=sn.bool), -1, axis)
    return sn.where(hot, values[1], values[0])
