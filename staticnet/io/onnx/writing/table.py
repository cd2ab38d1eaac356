"""The table: what writes the nodes of an op class.

A writer is `f(body, node) -> name`, or a list of names of an op with several results, and adds
ONNX's nodes to the body. Where ONNX has no such operator, a composition is `f(node) -> node`, or a
sequence of nodes: plainer ops that are written in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from staticnet.ir.node import Node
from staticnet.ir.op import Op

F = TypeVar("F", bound=Callable[..., Any])
_WRITERS: dict[type[Op], Callable[..., Any]] = {}
_OPERANDS: dict[type[Op], int | None] = {}
_COMPOSITIONS: dict[type[Op], Callable[..., Any]] = {}


def writes(*ops: type[Op], operands: int | None = None) -> Callable[[F], F]:
    """Enter what writes op classes, and how many of their first operands it uses, if not all."""

    def enter(f: F) -> F:
        _WRITERS.update(dict.fromkeys(ops, f))
        _OPERANDS.update(dict.fromkeys(ops, operands))
        return f

    return enter


def composes(*ops: type[Op]) -> Callable[[F], F]:
    """Enter what makes plainer ops of op classes."""

    def enter(f: F) -> F:
        _COMPOSITIONS.update(dict.fromkeys(ops, f))
        return f

    return enter


def writer_of(op: Op) -> Callable[..., Any] | None:
    """What writes an op."""
    return _WRITERS.get(type(op))


def composition_of(op: Op) -> Callable[..., Any] | None:
    """What makes plainer ops of one."""
    return _COMPOSITIONS.get(type(op))


def operands_of(node: Node) -> tuple[Node, ...]:
    """The operands that are to be written before a node is."""
    return node.inputs[: _OPERANDS.get(type(node.op))]
