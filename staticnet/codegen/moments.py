"""Statements that call `kernels/moments.h`: each channel, or each cache line of channels."""

from __future__ import annotations

import math
from collections.abc import Callable

from staticnet.codegen.resources import kernel_text
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import as_dtype, short_name
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.moments import ChannelOp
from staticnet.plan.results import results_of

Pointer = Callable[[Node], str]
MOMENTS = ("channels", "moments", "centered_sums")
"""The helpers of this file: their common text, and the ops'."""
SHARED_WORK = 1 << 15  # elements, below which one thread is faster than two


def moments_routine(node: Node, pointer: Pointer) -> list[str]:
    """The C statements of two numbers a channel."""
    before, channels, after = sizes(node)
    given = ", ".join(map(pointer, (*node.inputs, *results_of(node))))
    shared = int(before * channels * after >= SHARED_WORK)
    return [f"sn_{_name(node)}({before}, {channels}, {after}, {shared}, {given});"]


def _name(node: Node) -> str:
    """What computes it: `moments_run_f32`, or `moments_columns_f32` of channels that lie last."""
    way = "run" if sizes(node)[2] > 1 else "columns"
    return f"{node.op.name}_{way}_{short_name(node.inputs[0].dtype)}"


def sizes(node: Node) -> tuple[int, int, int]:
    """The elements before the channels, the channels, and the elements after them."""
    assert isinstance(node.op, ChannelOp)
    shape, axis = fixed(node.inputs[0].shape), node.op.axis
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def moments_needs(node: Node) -> tuple[str, ...]:
    """The helpers that such a node calls."""
    return "channels", f"{node.op.name} {_name(node)}"


def moments_helper(need: str) -> str:
    """The C that defines a helper."""
    if need == "channels":
        return kernel_text("moments.h")
    name, _, dtype = need.partition(" ")[2].rpartition("_")
    return f"SN_{name.upper()}(sn_{name}_{dtype}, {c_type(as_dtype(dtype))})"
