"""Ops that move, reduce, sort and index: ONNX's movement and reduction operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from staticnet.io.onnx.writing.body import Body
from staticnet.io.onnx.writing.elementwise import takes
from staticnet.io.onnx.writing.table import writes
from staticnet.io.onnx.writing.tensors import numbers, value_info
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import INT32, INT64
from staticnet.ir.node import Node
from staticnet.ir.op import Op
from staticnet.ir.types import TensorType
from staticnet.ops.base import Size
from staticnet.ops.creation import Iota
from staticnet.ops.cumulative import Cummax, Cummin, Logcumsumexp
from staticnet.ops.implicit import Determinant
from staticnet.ops.indexing import ScatterAdd, ScatterAddAlongAxis, Take, TakeAlongAxis
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import Concat, Pad, PermuteDims, Slice
from staticnet.ops.rearranging import Flip
from staticnet.ops.reduction import (
    All_,
    Any_,
    Argmax,
    Argmin,
    CumulativeProd,
    CumulativeSum,
    Max,
    Min,
    Prod,
)
from staticnet.ops.scattering import ScatterMax, ScatterMin, ScatterProd, ScatterSet
from staticnet.ops.shape import BroadcastTo, Reshape, Sum
from staticnet.ops.sorting import Argsort, TopK

REDUCTIONS = {Sum: "ReduceSum", Max: "ReduceMax", Min: "ReduceMin", Prod: "ReduceProd"}
SCATTERS: dict[type[Op], str] = {ScatterSet: "none", ScatterAddAlongAxis: "add", ScatterProd: "mul",
            ScatterMax: "max", ScatterMin: "min"}  # fmt: skip
SINCE = {"none": 13, "add": 16, "mul": 16, "max": 18, "min": 18}
RUNNING: dict[type[Op], str] = {CumulativeProd: "Mul", Cummax: "Max", Cummin: "Min"}
_END = np.iinfo(np.int64).max


@writes(Reshape)
def _reshape(body: Body, node: Node) -> str:
    return body.reshape(node.inputs[0], node.shape)


@writes(BroadcastTo)
def _broadcast_to(body: Body, node: Node) -> str:
    """An axis that stays as it is broadcasts from 1, so its size need not be known."""
    (x,) = node.inputs
    own = (1,) * (node.ndim - x.ndim) + tuple(x.shape)
    dims = [1 if a == d else d for a, d in zip(own, node.shape, strict=True)]
    return str(body("Expand", x, body.vector(*dims)))


@writes(PermuteDims)
def _permute_dims(body: Body, node: Node) -> str:
    assert isinstance(node.op, PermuteDims)
    return str(body("Transpose", *node.inputs, perm=list(node.op.axes)))


@writes(Slice)
def _slice(body: Body, node: Node) -> Any:
    op, (x,) = node.op, node.inputs
    assert isinstance(op, Slice)
    rows = list(zip(op.starts, op.stops, op.steps, strict=True))
    cut = [i for i, row in enumerate(rows) if row != (0, x.shape[i], 1)]
    if not cut:
        return body.known(x)
    starts, stops, steps = ([row[k] for i, row in enumerate(rows) if i in cut] for k in range(3))
    stops = [_END if stop == x.shape[i] else stop for i, stop in zip(cut, stops, strict=True)]
    return sliced(body, x, cut, starts, stops, steps)


def sliced(
    body: Body, x: Any, axes: Sequence[int], starts: Any, stops: Any, steps: Any = None
) -> str:
    """x cut along some axes."""
    by = numbers(*steps) if steps is not None and set(steps) != {1} else None
    return str(body("Slice", x, body.vector(*starts), body.vector(*stops), numbers(*axes), by))


@writes(Flip)
def _flip(body: Body, node: Node) -> str:
    assert isinstance(node.op, Flip)
    return flipped(body, node.inputs[0], node.op.axes)


def flipped(body: Body, x: Any, axes: Sequence[int]) -> str:
    """x with the elements along some axes in reverse order."""
    n = len(axes)
    return sliced(body, x, axes, [-1] * n, [-_END] * n, [-1] * n)


@writes(Pad)
def _pad(body: Body, node: Node) -> Any:
    op, (x, value) = node.op, node.inputs
    assert isinstance(op, Pad)
    spread = _spread_out(body, x, value, op.interior)
    if not any((*op.low, *op.high)):
        return body.name(spread)
    return str(body("Pad", spread, body.vector(*op.low, *op.high), value))


def _spread_out(body: Body, x: Node, value: Node, interior: Sequence[int]) -> Any:
    """x with values between its elements: behind each one on an axis of its own, then cut."""
    gaps = [i for i, gap in enumerate(interior) if gap]
    if not gaps:
        return x
    apart = [d for dim in x.shape for d in (dim, 1)]
    behind = [w for gap in interior for w in (0, gap)]
    padded = body("Pad", body.reshape(x, apart), numbers(*[0] * len(apart), *behind), value)
    whole = [dim * (gap + 1) for dim, gap in zip(x.shape, interior, strict=True)]
    stops = [-interior[i] for i in gaps]
    return sliced(body, body.reshape(padded, whole), gaps, [0] * len(gaps), stops)


@writes(Concat)
def _concat(body: Body, node: Node) -> str:
    assert isinstance(node.op, Concat)
    return str(body("Concat", *node.inputs, axis=node.op.axis))


@writes(Iota)
def _iota(body: Body, node: Node) -> str:
    op = node.op
    assert isinstance(op, Iota)
    length = op.shape[op.axis]
    if isinstance(length, Dim):
        ramp = body("Range", np.int64(0), body.scalar(length), np.int64(1))
        ramp = body.cast(ramp, op.dtype)
    else:
        ramp = body.name(np.arange(length).astype(op.dtype))
    column = [-1 if i == op.axis else 1 for i in range(node.ndim)]
    if node.ndim > 1:
        ramp = str(body("Reshape", ramp, numbers(*column)))
    others = [1 if i == op.axis else d for i, d in enumerate(op.shape)]
    if all(d == 1 for d in others):
        return ramp
    return str(body("Expand", ramp, body.vector(*others)))


@writes(Size)
def _size(body: Body, node: Node) -> str:
    assert isinstance(node.op, Size)
    return body.scalar(size_of(node.op.shape))


@writes(Matmul)
def _matmul(body: Body, node: Node) -> str:
    wider = takes("MatMul", body.model.opset, node.dtype)
    if wider == node.dtype:
        return str(body("MatMul", *node.inputs))
    return body.cast(body("MatMul", *(body.cast(x, wider) for x in node.inputs)), node.dtype)


@writes(Determinant, operands=1)
def _determinant(body: Body, node: Node) -> str:
    """Of the matrix alone; what factorises it here is not needed."""
    return str(body("Det", node.inputs[0]))


# reductions


@writes(*REDUCTIONS)
def _reduction(body: Body, node: Node) -> Any:
    op, (x,) = node.op, node.inputs
    assert isinstance(op, Sum | Max | Min | Prod)
    operator = REDUCTIONS[type(op)]
    wider = takes(operator, body.model.opset, x.dtype)
    if isinstance(op, Sum | Prod) and x.dtype.kind == "u":
        wider = INT64  # which runtimes have, and which wraps to the same bits
    given = x if wider == x.dtype else body.cast(x, wider)
    result = body.reduced(operator, given, op.axes, op.keepdims)
    return result if wider == node.dtype else body.cast(result, node.dtype)


@writes(Any_, All_)
def _logical_reduction(body: Body, node: Node) -> Any:
    op, (x,) = node.op, node.inputs
    assert isinstance(op, Any_ | All_)
    operator = "ReduceMax" if isinstance(op, Any_) else "ReduceMin"
    return body.cast(body.reduced(operator, body.cast(x, INT32), op.axes, op.keepdims), node.dtype)


@writes(Argmax, Argmin)
def _arg(body: Body, node: Node) -> str:
    op, (x,) = node.op, node.inputs
    assert isinstance(op, Argmax | Argmin)
    operator = "ArgMax" if isinstance(op, Argmax) else "ArgMin"
    return str(body(operator, x, axis=op.axis, keepdims=int(op.keepdims)))


@writes(CumulativeSum)
def _cumulative_sum(body: Body, node: Node) -> str:
    assert isinstance(node.op, CumulativeSum)
    (x,) = node.inputs
    wider = takes("CumSum", body.model.opset, x.dtype)
    if wider == node.dtype:
        return str(body("CumSum", x, np.int64(node.op.axis)))
    return body.cast(body("CumSum", body.cast(x, wider), np.int64(node.op.axis)), node.dtype)


@writes(CumulativeProd, Cummax, Cummin)
def _running(body: Body, node: Node) -> str:
    operator = RUNNING[type(node.op)]
    return _accumulated(body, node, lambda inner, c, x: inner(operator, c, x))


@writes(Logcumsumexp)
def _logcumsumexp(body: Body, node: Node) -> str:
    """With the greater of the two before it and what the lesser adds."""

    def step(inner: Body, c: str, x: str) -> str:
        top = inner("Max", c, x)
        gap = inner("Sub", inner("Min", c, x), top)
        same = inner("Equal", c, x)
        zero = np.zeros((), node.dtype)
        power = inner("Exp", inner("Where", same, zero, gap))
        more = inner("Log", inner("Add", np.ones((), node.dtype), power))
        infinite = inner("Equal", top, np.asarray(-np.inf, node.dtype))
        return str(inner("Where", infinite, top, inner("Add", top, more)))

    return _accumulated(body, node, step)


def _accumulated(body: Body, node: Node, step: Callable[[Body, str, str], str]) -> str:
    """y[k] = step(y[k - 1], x[k]) along an axis: a scan over all elements but the first."""
    axis, (x,) = node.op.attributes()["axis"], node.inputs
    first = sliced(body, x, [axis], [0], [1])
    rest = sliced(body, x, [axis], [1], [_END])
    shape = tuple(d for i, d in enumerate(x.shape) if i != axis)
    row = TensorType(x.dtype, shape)
    model = body.model
    inner = Body(model, body)
    carried, element = model.fresh("carried"), model.fresh("element")
    made = inner("Identity", step(inner, carried, element))
    copy = inner("Identity", made)
    graph = inner.graph(
        "step", [value_info(n, row) for n in (carried, element)],
        [value_info(n, row) for n in (made, copy)],
    )  # fmt: skip
    start = body("Squeeze", first, numbers(axis))
    ys = body(
        "Scan", start, rest, results=2, body=graph, num_scan_inputs=1,
        scan_input_axes=[axis], scan_output_axes=[axis],
    )[1]  # fmt: skip
    return str(body("Concat", first, ys, axis=axis))


# order and places


@writes(Argsort, TopK)
def _argsort(body: Body, node: Node) -> str:
    op, (x,) = node.op, node.inputs
    assert isinstance(op, Argsort)
    wider = takes("TopK", body.model.opset, x.dtype)
    given = x if wider == x.dtype else body.cast(x, wider)
    count = body.size(node.shape[op.axis])
    found = body(
        "TopK", given, count, results=2, axis=op.axis, largest=int(op.descending), sorted=1
    )
    return str(found[1])


def index(body: Body, x: Node) -> Any:
    """Indices as ONNX takes them: of 32 or 64 bits."""
    return x if x.dtype in (INT32, INT64) else body.cast(x, INT64)


@writes(Take)
def _take(body: Body, node: Node) -> str:
    assert isinstance(node.op, Take)
    x, indices = node.inputs
    return str(body("Gather", x, index(body, indices), axis=node.op.axis))


@writes(TakeAlongAxis)
def _take_along_axis(body: Body, node: Node) -> str:
    assert isinstance(node.op, TakeAlongAxis)
    x, indices = node.inputs
    return str(body("GatherElements", x, index(body, indices), axis=node.op.axis))


@writes(*SCATTERS)
def _scatter(body: Body, node: Node) -> str:
    reduction = SCATTERS[type(node.op)]
    body.model.needs(SINCE[reduction], node, f"a scatter that {reduction}s")
    x, updates, indices = node.inputs
    return str(
        body(
            "ScatterElements", x, index(body, indices), updates, axis=node.op.attributes()["axis"],
            reduction=None if reduction == "none" else reduction,
        )
    )  # fmt: skip


@writes(ScatterAdd)
def _scatter_add(body: Body, node: Node) -> str:
    """By ONNX's scatter along the first axis, where the indexed one is moved to."""
    op, (x, updates, indices) = node.op, node.inputs
    assert isinstance(op, ScatterAdd)
    body.model.needs(16, node, "a scatter that adds")
    axis, n = op.axis, indices.ndim
    before, after = list(range(axis)), list(range(axis + 1, x.ndim))
    moved = body.permuted(x, [axis, *before, *after])
    places = list(range(axis, axis + n))
    rows = body.permuted(updates, [*places, *before, *range(axis + n, updates.ndim)])
    at = body("Unsqueeze", index(body, indices), numbers(n))
    y = body("ScatterND", moved, at, rows, reduction="add")
    return body.name(body.permuted(y, [*range(1, axis + 1), 0, *range(axis + 1, x.ndim)]))
