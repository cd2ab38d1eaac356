"""Reductions, products of matrices, sums along an axis, order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator
from staticnet.ir.dtype import BOOL, is_floating, kind


def _sum(x: Any, axis: Any, keepdims: bool) -> Any:
    return sn.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


def _mean(x: Any, axis: Any, keepdims: bool) -> Any:
    if is_floating(x.dtype):
        return sn.mean(x, axis=axis, keepdims=keepdims)
    y = sn.mean(sn.astype(x, sn.float64), axis=axis, keepdims=keepdims)
    return sn.astype(sn.trunc(y), x.dtype)


def _through_floats(f: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction of floats, also of integers, whose results are cut."""

    def reduce(x: Any, axis: Any, keepdims: bool) -> Any:
        if is_floating(x.dtype):
            return f(x, axis, keepdims)
        return sn.astype(f(sn.astype(x, sn.float64), axis, keepdims), x.dtype)

    return reduce


def _extreme(number: Callable[..., Any], logical: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Any, axis: Any, keepdims: bool) -> Any:
        if x.dtype == BOOL:
            return logical(x, axis=axis, keepdims=keepdims)
        axes = range(x.ndim) if axis is None else axis
        if any(x.shape[i] == 0 for i in axes):
            return _empty(number, x, axes, keepdims)
        return number(x, axis=axis, keepdims=keepdims)

    return reduce


def _empty(f: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    """The greatest or least of nothing: the other end of the dtype's range."""
    info: Any = sn.finfo(x.dtype) if is_floating(x.dtype) else sn.iinfo(x.dtype)
    ends = (-np.inf, np.inf) if is_floating(x.dtype) else (info.min, info.max)
    axes = {i % x.ndim for i in axes}
    shape = [1 if i in axes else d for i, d in enumerate(x.shape) if keepdims or i not in axes]
    return sn.full(shape, ends[f is sn.min], dtype=x.dtype)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceMax": _extreme(sn.max, sn.any),
    "ReduceMin": _extreme(sn.min, sn.all),
    "ReduceProd": lambda x, axis, k: sn.prod(x, axis=axis, keepdims=k, dtype=x.dtype),
    "ReduceL1": lambda x, axis, k: _sum(sn.abs(x), axis, k),
    "ReduceL2": _through_floats(lambda x, axis, k: sn.sqrt(_sum(x * x, axis, k))),
    "ReduceSumSquare": lambda x, axis, k: _sum(x * x, axis, k),
    "ReduceLogSum": _through_floats(lambda x, axis, k: sn.log(_sum(x, axis, k))),
    "ReduceLogSumExp": _through_floats(lambda x, axis, k: sn.logsumexp(x, axis=axis, keepdims=k)),
}


def _reduced(f: Callable[..., Any], call: Call, x: Any, axes: Any = None) -> Any:
    """A reduction over axes that are an attribute or, later, an operand."""
    named = call.ints("axes") if axes is None else call.sizes(axes, "the axes")
    if not named and call.attribute("noop_with_empty_axes"):
        return x if f is _sum or f is _mean else f(x, (), True)
    chosen = tuple(call.place(a, x.ndim) for a in named) if named else None
    return f(x, chosen, bool(call.integer("keepdims", 1)))


for _name, _f in REDUCTIONS.items():
    operator(_name)(functools.partial(_reduced, _f))


def _arg(f: Callable[..., Any], call: Call, x: Any) -> Any:
    axis, keep = call.axis(x.ndim, default=0), bool(call.integer("keepdims", 1))
    if not call.attribute("select_last_index"):
        return f(x, axis=axis, keepdims=keep)
    return x.shape[axis] - 1 - f(sn.flip(x, axis), axis=axis, keepdims=keep)


operator("ArgMax")(functools.partial(_arg, sn.argmax))
operator("ArgMin")(functools.partial(_arg, sn.argmin))


def _cumulative(f: Callable[..., Any], call: Call, x: Any, axis: Any) -> Any:
    at = call.place(call.sizes(axis, "the axis")[0], x.ndim)
    start = 1 if f is sn.cumulative_prod else 0
    if call.flag("reverse"):
        x = sn.flip(x, at)
    y = f(x, axis=at, dtype=x.dtype)
    if call.flag("exclusive"):
        rows = [(1, 0) if i == at else (0, 0) for i in range(x.ndim)]
        inner = tuple(slice(0, x.shape[at]) if i == at else slice(None) for i in range(x.ndim))
        y = sn.pad(y, rows, start)[inner]
    return sn.flip(y, at) if call.flag("reverse") else y


operator("CumSum")(functools.partial(_cumulative, sn.cumulative_sum))
operator("CumProd")(functools.partial(_cumulative, sn.cumulative_prod))


@operator("TopK")
def top_k_attribute(call: Call, x: Any) -> Any:
    """The greatest elements and their places."""
    return _top(call, x, call.integer("k"))


@operator("TopK", since=10)
def top_k(call: Call, x: Any, k: Any) -> Any:
    """The greatest or least elements along an axis, and their places."""
    return _top(call, x, call.sizes(k, "k")[0])


def _top(call: Call, x: Any, count: Any) -> Any:
    axis, down = call.axis(x.ndim), bool(call.integer("largest", 1))
    if isinstance(count, int):
        return sn.top_k(x, count, axis, down)
    order = sn.argsort(x, axis=axis, descending=down)
    part = tuple(slice(0, count) if i == axis else slice(None) for i in range(x.ndim))
    at = order[part]
    return sn.take_along_axis(x, at, axis=axis), sn.astype(at, sn.int64)


@operator("MatMul")
def matmul(call: Call, a: Any, b: Any) -> Any:
    """The product of matrices, as NumPy's."""
    if kind(a.dtype) == "bool":
        call.fail("bools have no product")
    return sn.matmul(a, b)


@operator("Gemm")
def gemm(call: Call, a: Any, b: Any, c: Any = None) -> Any:
    """alpha * a @ b + beta * c, with a or b transposed first."""
    a = sn.matrix_transpose(a) if call.flag("transA") else a
    b = sn.matrix_transpose(b) if call.flag("transB") else b
    y, alpha, beta = sn.matmul(a, b), call.number("alpha"), call.number("beta")
    y = y if alpha == 1 else _scaled(y, alpha)
    if c is None:
        return y
    return y + (c if beta == 1 else _scaled(c, beta))


def _scaled(x: Any, factor: float) -> Any:
    return x * factor if is_floating(x.dtype) else sn.astype(x * factor, x.dtype)


@operator("Einsum")
def einsum(call: Call, *xs: Any) -> Any:
    """A sum of products, by its equation."""
    return sn.einsum(call.text("equation").replace(" ", ""), *xs)


@operator("Det")
def det(call: Call, x: Any) -> Any:
    """The determinant of matrices."""
    return sn.linalg.det(x)
