"""Statements that call `kernels/convolution.h`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from staticnet.ir.dtype import short_name
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.spatial.convolution import MAX_SPATIAL, ConvolutionOp

Pointer = Callable[[Node], str]


def convolution_routine(node: Node, pointer: Pointer) -> list[str]:
    """The C statements of a convolution or a gradient of one."""
    if node.type.size == 0:
        return []
    members = ", ".join(
        f".{name} = {{{', '.join(map(str, values))}}}" for name, values in sizes_of(node).items()
    )
    places = ", ".join(map(pointer, (*node.inputs, node)))
    return [
        f"static const sn_convolution of = {{{members}}};",
        f"sn_{node.op.name}_{short_name(node.dtype)}(&of, {places});",
    ]


def sizes_of(node: Node) -> dict[str, tuple[int, ...]]:
    """The sizes and steps of a convolution by the members of the kernels' struct, in order."""
    op = node.op
    assert isinstance(op, ConvolutionOp)
    shapes = dict(zip(op.roles, [fixed(x.shape) for x in (*node.inputs, node)], strict=True))
    n, _, s = op.apart(shapes["x"])
    outputs, inputs, k = op.apart(shapes["w"])
    t = op.apart(shapes["y"])[2]
    (groups,) = fixed(op.groups)
    return {
        "n": (n,), "groups": (groups,), "outputs": (outputs // groups,), "inputs": (inputs,),
        "s": _triple(s, 1), "k": _triple(k, 1), "t": _triple(t, 1),
        "stride": _triple(op.strides, 1), "low": _triple(op.low, 0),
        "dilation": _triple(op.dilations, 1),
        **{role: _steps(op, shapes[role]) for role in "xwy"},
    }  # fmt: skip


def _triple(values: Sequence[int], missing: int) -> tuple[int, ...]:
    """Numbers of three spatial axes; those that are missing come first."""
    return (missing,) * (MAX_SPATIAL - len(values)) + tuple(values)


def _steps(op: ConvolutionOp, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The steps between elements along the first axis, channels, and three spatial axes."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    first, channels, spatial = op.apart(strides)
    return (first, channels, *_triple(spatial, 0))
