"""Scratch memory of a step, which holds nothing beyond it: partial results, and routines' own.

How much it is depends on the device: its backend says so by `Workspaces`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from staticnet.ir.node import Node
from staticnet.ir.types import Shape
from staticnet.ops.sorting import Argsort
from staticnet.plan.attention import ATTENTION, attention_bytes, most_attention_bytes
from staticnet.plan.convolution import convolution_bytes, most_bytes
from staticnet.plan.factors import FACTORS, factor_bytes, most_factor_bytes
from staticnet.plan.fusion import Group
from staticnet.plan.held import held_bytes, most_held_bytes
from staticnet.plan.memory import padded
from staticnet.plan.partials import most_partial_bytes, partial_bytes
from staticnet.plan.results import body_bytes, room_bytes
from staticnet.plan.sorting import most_sort_bytes, sort_bytes
from staticnet.spatial.convolution import ConvolutionOp


@dataclass(frozen=True)
class Workspaces:
    """What kernels and routines of a device work in: bytes, and bounds where dims are symbolic.

    `kernel` are a fused group's partial results, and `most_kernel` a bound over its domain;
    `routine` is a routine's own memory, with what a dim's size is, and `most_routine` its bound.
    """

    kernel: Callable[[Group], int]
    most_kernel: Callable[[Group, Shape], Any]
    routine: Callable[[Node, Callable[[Any], int]], int]
    most_routine: Callable[[Node], Any]

    def of(self, group: Group) -> int:
        """Bytes of partial results; of a routine, its own, of unread results, of graphs."""
        if group.fused:
            return self.kernel(group)
        own = self.routine(group.nodes[0], int)
        return room_bytes(group) + body_bytes(group) + own


def routine_bytes(node: Node, size: Callable[[Any], int] = int) -> int:
    """Bytes that a routine works in on the CPU; `size` gives a dim's."""
    if node.op.graphs:
        return held_bytes(node.op, size)
    if isinstance(node.op, ATTENTION):
        return int(padded(attention_bytes(node, size)))
    if isinstance(node.op, Argsort):
        return int(padded(sort_bytes(node, size)))
    if node.op.name in FACTORS:
        return int(padded(factor_bytes(node, size)))
    if not isinstance(node.op, ConvolutionOp):
        return 0
    shapes = [tuple(map(size, x.shape)) for x in (*node.inputs, node)]
    return int(padded(convolution_bytes(node.op, size(node.op.groups[0]), shapes, node.dtype)))


def most_routine_bytes(node: Node) -> Any:
    """A bound of `routine_bytes` where dims are symbolic."""
    if node.op.graphs:
        return most_held_bytes(node.op)
    if isinstance(node.op, ATTENTION):
        return padded(most_attention_bytes(node))
    if isinstance(node.op, Argsort):
        return padded(most_sort_bytes(node))
    if node.op.name in FACTORS:
        return padded(most_factor_bytes(node))
    if not isinstance(node.op, ConvolutionOp):
        return 0
    shapes = [x.shape for x in (*node.inputs, node)]
    return padded(most_bytes(node.op, node.op.groups[0], shapes, node.dtype))


ON_HOST = Workspaces(partial_bytes, most_partial_bytes, routine_bytes, most_routine_bytes)
