"""Statements that call `kernels/pooling.h`: each row of results, or each plane of a transpose."""

from __future__ import annotations

import math
from collections.abc import Callable

from staticnet.codegen.resources import kernel_text
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import HALVES, INT32, UINT8, as_dtype, compute_dtype, short_name
from staticnet.ir.node import Node
from staticnet.ir.types import TensorType, fixed
from staticnet.plan.results import results_of
from staticnet.spatial.pooling import MaxPool, MaxPoolGradient, WindowOp, WindowSpread, WindowSum

Pointer = Callable[[Node], str]
AXES = 3
POOLING = ("pooling", "max_pool", "max_pool_gradient", "window_sum", "window_spread")
"""The helpers of this file: their common text, and the ops'."""
SHARED_WORK = 1 << 16  # elements of windows, below which one thread is faster than two


def pooling_routine(node: Node, pointer: Pointer) -> list[str]:
    """The C statements of a node over windows."""
    op = node.op
    assert isinstance(op, WindowOp)
    text, planes, windows = geometry(node)
    each = "plane" if isinstance(op, MaxPoolGradient | WindowSpread) else "row"
    count = planes if each == "plane" else planes * math.prod(windows[:2])
    work = planes * math.prod(windows) * math.prod(op.kernel)
    given = ", ".join(map(pointer, (*node.inputs, *results_of(node))))
    if count == 0 or results_of(node)[0].type.size == 0:
        return []
    shared = ["#pragma omp parallel for schedule(static) if (SN_TOGETHER)"]
    return [
        f"static const sn_windows windows = {text};",
        *(shared if work >= SHARED_WORK else []),
        f"for (int64_t {each} = 0; {each} < {count}; ++{each})",
        f"  sn_{'_'.join(_kind(node))}(&windows, {each}, {given});",
    ]


def geometry(node: Node) -> tuple[str, int, tuple[int, ...]]:
    """A node's `sn_windows`, how many planes it has, and windows along each axis."""
    op = node.op
    assert isinstance(op, WindowOp)
    whole, pooled = node.inputs[0], results_of(node)[0]
    if isinstance(op, MaxPoolGradient | WindowSpread):
        whole, pooled = pooled, whole
    size, windows = _spatial(op, whole.type), _spatial(op, pooled.type)
    shape = fixed(whole.shape)
    planes = shape[0] * shape[1] if op.layout == "first" else shape[0]
    channels = 1 if op.layout == "first" else shape[-1]
    rows = [size, windows, *(_three(v, 1) for v in (op.kernel, op.strides))]
    rows += [_three(op.low, 0), _three(op.dilations, 1)]
    listed = ", ".join(f"{{{', '.join(map(str, row))}}}" for row in rows)
    return f"{{{channels}, {listed}}}", planes, windows


def _spatial(op: WindowOp, x: TensorType) -> tuple[int, ...]:
    return _three(fixed(op.spatial_of(x)), 1)


def _three(values: tuple[int, ...], fill: int) -> tuple[int, ...]:
    return (fill,) * (AXES - len(values)) + values


def pooling_needs(node: Node) -> tuple[str, ...]:
    """The helpers that such a node calls."""
    return "pooling", " ".join(_kind(node))


def _kind(node: Node) -> list[str]:
    """What a helper depends on: the op, the elements' dtype, and whether places are numbers."""
    small = any(x.dtype == UINT8 for x in (*node.inputs[1:], *results_of(node)[1:]))
    return [node.op.name, short_name(node.inputs[0].dtype), *(["numbered"] if small else [])]


def pooling_helper(need: str) -> str:
    """The C that defines a helper."""
    if need == "pooling":
        return kernel_text("windows.h", "pooling.h")
    op, name, *small = need.split()
    dtype = as_dtype(name)
    half = dtype in HALVES
    types = [c_type(dtype)]
    if op in (MaxPool.name, MaxPoolGradient.name):
        types += [c_type(UINT8 if small else INT32), str(len(small))]
    if op in (MaxPool.name, WindowSum.name):
        types.append(c_type(compute_dtype(dtype)))
    if op in (MaxPool.name, WindowSum.name) or (op == MaxPoolGradient.name and half):
        types += [f"sn_load_{name}", f"sn_store_{name}"] if half else ["", ""]
    macro = f"SN_{op.upper()}{'_16' if op == MaxPoolGradient.name and half else ''}"
    return f"{macro}(sn_{'_'.join((op, name, *small))}, {', '.join(types)})"
