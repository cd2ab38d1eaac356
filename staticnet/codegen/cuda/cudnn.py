"""Nodes that cuDNN computes in one call, as it is told of them: arrays by sizes and steps.

It has an axis of examples, one of channels or heads, and then the others, however they lie in
memory. A convolution is told with what follows it. What it cannot be told of has no signature:
masks that may leave a query no key, dropouts, a scale that is computed, views that repeat elements,
rows at addresses that are not aligned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.op import Attention
from staticnet.attention.operands import is_added
from staticnet.codegen.attention import (
    Laid,
    attention_dims,
    attention_parts,
    laid_out,
    results_laid,
)
from staticnet.codegen.commands import Address, Operand, Signature
from staticnet.codegen.cuda.call import Locate
from staticnet.codegen.cuda.convolution import core_of
from staticnet.ir.dtype import FLOAT32, HALVES
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Constant
from staticnet.spatial.convolution import ConvolutionOp
from staticnet.spatial.epilogue import ConvolutionEpilogue

ALIGNED = 16  # bytes, at which every array begins
Told = tuple[Signature, tuple[Address, ...]]
_LEAST_AXES = 4
_OF_ATTENTION = ("q", "k", "v")
_OF_GRADIENT = ("q", "k", "v", "a", "", "l", "y")


def describe_call(
    node: Node, locate: Locate, in_memory: Callable[[Node], bool], tf32: bool
) -> Told | None:
    """What cuDNN is told to compute a node, and where its arrays begin; None if it cannot be."""
    if isinstance(node.op, ConvolutionOp | ConvolutionEpilogue):
        told = _convolution(node, locate, tf32)
    elif isinstance(node.op, Attention | AttentionGradient):
        told = _attention(node, locate, in_memory)
    else:
        return None
    return told if told and all(x.is_aligned(ALIGNED) for x in told[1]) else None


def _attention(node: Node, locate: Locate, in_memory: Callable[[Node], bool]) -> Told | None:
    op = node.op
    own, mask, drops = attention_parts(node, node.inputs)
    forward = isinstance(op, Attention)
    scale = own[3 if forward else 4].op
    known = isinstance(scale, Constant)
    if drops or not known or node.inputs[0].dtype not in HALVES:
        return None
    causal = bool(op.attributes()["causal"])
    if not all(is_added(x, _pairs(node), causal) for x in mask):
        return None
    if isinstance(op, AttentionGradient) and op.given != "result":
        return None
    names = _OF_ATTENTION if forward else _OF_GRADIENT
    read = [(name, x) for name, x in zip(names, own, strict=False) if name]
    read += [("mask", x) for x in mask]
    laid = [laid_out(x, in_memory) for _, x in read]
    arrays = [_laid(name, x, at) for (name, x), at in zip(read, laid, strict=True)]
    below = zip(laid, read, strict=True)
    addresses = [locate(at.below).further(at.first * x.dtype.itemsize) for at, (_, x) in below]
    made = list(zip(("y", "l") if forward else ("dq", "dk", "dv"), results_laid(node), strict=True))
    written = [(name, x) for name, x in made if locate(x.below).kind != "scratch"]
    wanted = ("y",) if forward else ("dq", "dk", "dv")
    if any(name not in dict(written) for name in wanted):
        return None
    like = dict(zip(("y", "l", "dq", "dk", "dv"), _shapes_of_results(node), strict=True))
    for name, x in written:
        arrays.append(_operand(name, x.below, like[name], x.steps))
        addresses.append(locate(x.below).further(x.first * x.below.dtype.itemsize))
    assert isinstance(scale, Constant)
    options = ("causal", causal), ("scale", float(scale.value.scalar))
    return _told(node, arrays, [name for name, _ in written], options, addresses)


def _shapes_of_results(node: Node) -> list[tuple[int, ...]]:
    """Of y, l, dq, dk and dv."""
    q, k, v = (fixed(x.shape) for x in node.inputs[:3])
    return [(*q[:3], v[3]), q[:3], q, k, v]


def _pairs(node: Node) -> tuple[int, int]:
    """How many queries and keys there are."""
    _, _, _, queries, keys, _, _ = attention_dims(node)
    return queries, keys


def _convolution(node: Node, locate: Locate, tf32: bool) -> Told | None:
    """A convolution with what follows it, which are arrays between its operands and its result."""
    core, given = core_of(node), node.inputs
    op = core.op
    assert isinstance(op, ConvolutionOp)
    if node.dtype not in HALVES and not (tf32 and node.dtype == FLOAT32):
        return None
    *arrays, result = (
        _image(op, role, role, x) for role, x in zip(op.roles, (*core.inputs, node), strict=True)
    )
    pad = (0,) * max(0, 2 - len(op.strides))
    ones = (1,) * len(pad)
    options: tuple[tuple[str, object], ...] = (
        ("low", (*pad, *op.low)), ("high", (*pad, *op.high)), ("strides", (*ones, *op.strides)),
        ("dilations", (*ones, *op.dilations)),
    )  # fmt: skip
    if isinstance(node.op, ConvolutionEpilogue):
        for name, x in node.op.parts(given).items():
            of_channels = name in ("scale", "shift")
            made = _channels(name, x, result) if of_channels else _image(op, op.roles[-1], name, x)
            arrays.append(made)
        options += (("of", op.name), ("relu", node.op.activation == "relu"))
    places = [locate(x) for x in (*given, node)]
    return _told(node, [*arrays, result], op.roles[-1:], options, places)


def _image(op: ConvolutionOp, role: str, name: str, x: Node) -> Operand:
    """An array that lies as one of a convolution does."""
    first, channels, spatial = op.apart(role, range(x.ndim))
    return _dense(name, x, (first, channels, *spatial))


def _channels(name: str, x: Node, like: Operand) -> Operand:
    """A number for each channel of an array, as one that is broadcast against it."""
    (n,) = fixed(x.shape)
    rest = len(like.shape) - 2
    return Operand(name, x.dtype, (1, n, *(1,) * rest), (n, 1, *(n,) * rest))


def _told(
    node: Node, arrays: Sequence[Operand | None], results: Sequence[str],
    options: tuple[tuple[str, object], ...], addresses: Sequence[Address],
) -> Told | None:  # fmt: skip
    found = [x for x in arrays if x is not None and 0 not in x.shape]
    if len(found) < len(arrays):
        return None
    return Signature(node.op.name, tuple(found), tuple(results), options), tuple(addresses)


def _laid(name: str, x: Node, laid: Laid) -> Operand | None:
    """An operand that may be a view."""
    shape = fixed(x.shape)
    repeats = any(step <= 0 and n > 1 for step, n in zip(laid.steps, shape, strict=True))
    apart = laid.steps[-1] > 1 and name != "l"
    return None if repeats or apart else _operand(name, x, shape, laid.steps)


def _dense(name: str, x: Node, axes: Sequence[int]) -> Operand:
    """An array in memory of its own, with its axes in another order."""
    shape = fixed(x.shape)
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    made = _operand(name, x, [shape[axis] for axis in axes], [steps[axis] for axis in axes])
    assert made is not None
    return made


def _operand(name: str, x: Node, shape: Sequence[int], steps: Sequence[int]) -> Operand | None:
    """An array of four axes at least.

    An axis of one element may have any step. By its step cuDNN tells the order of axes: where
    channels lie side by side it is that of channels last, as for a kernel of 1 by 1.
    """
    sizes, apart = list(shape), list(steps)
    missing = _LEAST_AXES - len(sizes)
    at = len(sizes) if name == "l" else 2  # rows have one logarithm; a line is an image's row
    sizes[at:at], apart[at:at] = [1] * missing, [0] * missing
    last = apart[1] == 1 < sizes[1]
    for axis in reversed(range(len(sizes))):
        if sizes[axis] == 1:
            later = axis + 1
            below = max([1, *(s * n for s, n in zip(apart[later:], sizes[later:], strict=True))])
            apart[axis] = max(below, sizes[1]) if last and axis > 1 else below
    return Operand(name, x.dtype, tuple(sizes), tuple(apart))
