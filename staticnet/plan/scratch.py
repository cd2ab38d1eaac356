"""Scratch memory of a step, which holds nothing beyond it: partial results, and routines' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from staticnet.ir.node import Node
from staticnet.plan.attention import ATTENTION, attention_bytes, most_attention_bytes
from staticnet.plan.convolution import convolution_bytes, most_bytes
from staticnet.plan.fusion import Group
from staticnet.plan.held import held_bytes, most_held_bytes
from staticnet.plan.memory import padded
from staticnet.plan.partials import partial_bytes
from staticnet.plan.results import body_bytes, room_bytes
from staticnet.spatial.convolution import ConvolutionOp


def scratch_bytes(group: Group) -> int:
    """Bytes of a kernel's partial results; of a routine, its own, of unread results, of graphs."""
    if group.fused:
        return partial_bytes(group)
    return room_bytes(group) + body_bytes(group) + routine_bytes(group.nodes[0])


def routine_bytes(node: Node, size: Callable[[Any], int] = int) -> int:
    """Bytes that a routine works in on the CPU; `size` gives a dim's."""
    if node.op.graphs:
        return held_bytes(node.op, size)
    if isinstance(node.op, ATTENTION):
        return int(padded(attention_bytes(node, size)))
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
    if not isinstance(node.op, ConvolutionOp):
        return 0
    shapes = [x.shape for x in (*node.inputs, node)]
    return padded(most_bytes(node.op, node.op.groups[0], shapes, node.dtype))
