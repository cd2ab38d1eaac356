"""Statements that call `kernels/convolution.h`, which is a library of its own: see ADR 0035."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any

from staticnet.codegen.resources import kernel_text
from staticnet.ir.dtype import HALVES, short_name
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.boxes import Cut, Geometry
from staticnet.plan.convolution import cut, geometry
from staticnet.spatial.convolution import (
    MAX_SPATIAL,
    ConvolutionInput,
    ConvolutionOp,
    ConvolutionWeight,
)

Pointer = Callable[[Node], str]


_FILES = (
    "convolution_strips.h", "convolution.h", "convolution_flat.h", "convolution_weight.h",
    "convolution_singles.h", "convolution_depthwise.h", "convolution_planes.h",
    "convolution_winograd.h", "convolution_winograd_weight.h",
)  # fmt: skip
_PATCHES = (
    "convolution_columns.h",
    "convolution_patches.h",
)  # for elements that are computed with as they are stored
_HALVES = [short_name(dtype) for dtype in HALVES]
HOLD = 2  # the routine that packs weights
ROUTINES = range(3)  # a convolution or its gradient by the input, that by the weight, and HOLD
FEW = 1 << 18  # multiply-adds below which one thread is faster than two


def convolution_routine(node: Node, pointer: Pointer, scratch: str, held: str) -> list[str]:
    """The C statements of a convolution or a gradient of one.

    `scratch` is its memory's address, and `held` that of its packed weights, behind `weights`.
    """
    op = node.op
    assert isinstance(op, ConvolutionOp)
    if node.type.size == 0:
        return []
    if any(x.type.size == 0 for x in node.inputs):
        return [f"memset({pointer(node)}, 0, {node.type.nbytes});"]
    sizes, pieces = _sizes_and_cut(node)
    values = {
        **asdict(sizes),
        "last": int(op.layout == "last"),
        "backward": int(isinstance(op, ConvolutionInput)),
        **asdict(pieces),
    }
    del values["packed"]
    members = ", ".join(f".{name} = {_literal(value)}" for name, value in values.items())
    routine = int(isinstance(op, ConvolutionWeight))
    name = f"sn_convolutions_{_way(sizes, pieces)}_{short_name(node.dtype)}"
    together = (
        "SN_TOGETHER" if int(op.flops(node.type, *[x.type for x in node.inputs])) > 2 * FEW else "0"
    )
    lines = [f"static const sn_convolution of = {{{members}}};"]
    rest = f"(void *)({scratch}), {together}"
    x, w, y = map(pointer, (*node.inputs, node))
    if pieces.held:
        lines += [f"if (*(const int64_t *)weights) {name}[{HOLD}](&of, NULL, {w}, {held}, {rest});"]
        w = held
    return [*lines, f"{name}[{routine}](&of, {x}, {w}, {y}, {rest});"]


def convolution_needs(node: Node) -> tuple[str, ...]:
    """What a program must define that convolves: sizes, and the routines of a way and a dtype."""
    if node.type.size == 0 or any(x.type.size == 0 for x in node.inputs):
        return ()
    way = _way(*_sizes_and_cut(node))
    return "convolution_sizes", f"convolution {way}_{short_name(node.dtype)}"


def convolution_helper(way: str) -> str:
    """The C that takes the routines' addresses of a way and a dtype, as `planes_f32`."""
    return kernel_text("convolutions.h").replace("planes_f32", way)


def convolution_library(dtype: str, depthwise: bool = True) -> str:
    """The C text of all ways for a dtype, after `convolution_sizes.h`, or all but `depthwise`."""
    files = _FILES if dtype in _HALVES else (*_FILES, *_PATCHES)
    text = kernel_text(*files).replace("_f32", f"_{dtype}")
    if dtype == "f64":
        text = text.replace("float", "double")
    if dtype in _HALVES:
        text = kernel_text("convolution_halves.h").replace("f16", dtype) + text
    without = "" if depthwise else "#define SN_NO_DEPTHWISE\n"
    return without + kernel_text("vectors.h", "turns.h", "convolution_parts.h") + text


def convolution_routines(way: str, used: Collection[int] = ROUTINES) -> str:
    """The C text, after that of its dtype, of what `convolution_helper` takes the addresses of.

    Those that are not `used`, by their places, are 0, and the compiler leaves out what they need.
    """
    text = kernel_text("convolution_routines.h")
    for name, is_used in (("CONVOLVE", not {0, HOLD}.isdisjoint(used)), ("CORRELATE", 1 in used)):
        text = text.replace(f"SN_{name}S", str(int(is_used)))
    kind, _, dtype = way.partition("_")
    if kind == "depthwise":  # a library of planes whose groups have one channel each
        text = text.replace("planes_f32[]", f"{way}[]")
        way = f"planes_{dtype}"
    return text.replace("planes_f32", way)


def _sizes_and_cut(node: Node) -> tuple[Geometry, Cut]:
    op = node.op
    assert isinstance(op, ConvolutionOp)
    shapes = [fixed(x.shape) for x in (*node.inputs, node)]
    sizes = geometry(op, fixed(op.groups)[0], *shapes)
    return sizes, cut(op, sizes, node.dtype)


def _way(sizes: Geometry, pieces: Cut) -> str:
    """The way that a convolution goes which is cut so."""
    if pieces.planes:
        return "depthwise" if sizes.inputs == sizes.outputs == 1 else "planes"
    if pieces.tiles:
        return "points"
    if pieces.patches:
        return "patches"
    return "singles" if pieces.single else "product"


def _literal(value: int | tuple[int, ...]) -> str:
    return f"{{{', '.join(map(str, value))}}}" if isinstance(value, tuple) else str(value)


def sizes_of(node: Node, size: Callable[[Any], int] = int) -> dict[str, tuple[int, ...]]:
    """The sizes and steps of a convolution by the members of the kernels' struct, in order.

    `size` gives a dim's.
    """
    op = node.op
    assert isinstance(op, ConvolutionOp)
    arrays = (*node.inputs, node)
    shapes = dict(zip(op.roles, [tuple(map(size, x.shape)) for x in arrays], strict=True))
    n, _, s = op.apart("x", shapes["x"])
    outputs, inputs, k = op.apart("w", shapes["w"])
    t = op.apart("y", shapes["y"])[2]
    (groups,) = map(size, op.groups)
    return {
        "n": (n,), "groups": (groups,), "outputs": (outputs // groups,), "inputs": (inputs,),
        "s": _triple(s, 1), "k": _triple(k, 1), "t": _triple(t, 1),
        "stride": _triple(op.strides, 1), "low": _triple(op.low, 0),
        "dilation": _triple(op.dilations, 1),
        **{role: _steps(op, role, shapes[role]) for role in "xwy"},
    }  # fmt: skip


def _triple(values: Sequence[int], missing: int) -> tuple[int, ...]:
    """Numbers of three spatial axes; those that are missing come first."""
    return (missing,) * (MAX_SPATIAL - len(values)) + tuple(values)


def _steps(op: ConvolutionOp, role: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The steps between elements along the first axis, channels, and three spatial axes."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    first, channels, spatial = op.apart(role, strides)
    return (first, channels, *_triple(spatial, 0))
