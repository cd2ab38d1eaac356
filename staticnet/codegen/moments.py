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
LANES = 16  # as in moments.h
SHARED_WORK = 1 << 15  # elements, below which one thread is faster than two


def moments_routine(node: Node, pointer: Pointer) -> list[str]:
    """The C statements of two numbers a channel."""
    before, channels, after = sizes(node)
    parts = channels if after > 1 else -(-channels // LANES)
    given = ", ".join(map(pointer, (*node.inputs, *results_of(node))))
    shared = ["#pragma omp parallel for schedule(static) if (SN_TOGETHER)"]
    return [
        *(shared if before * channels * after >= SHARED_WORK and parts > 1 else []),
        f"for (int64_t part = 0; part < {parts}; ++part)",
        f"  sn_{node.op.name}_{short_name(node.inputs[0].dtype)}"
        f"({before}, {channels}, {after}, part, {given});",
    ]


def sizes(node: Node) -> tuple[int, int, int]:
    """The elements before the channels, the channels, and the elements after them."""
    assert isinstance(node.op, ChannelOp)
    shape, axis = fixed(node.inputs[0].shape), node.op.axis
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def moments_needs(node: Node) -> tuple[str, ...]:
    """The helpers that such a node calls."""
    return "channels", f"{node.op.name} {short_name(node.inputs[0].dtype)}"


def moments_helper(need: str) -> str:
    """The C that defines a helper."""
    if need == "channels":
        return kernel_text("moments.h")
    op, _, name = need.partition(" ")
    return f"SN_{op.upper()}(sn_{op}_{name}, {c_type(as_dtype(name))})"
