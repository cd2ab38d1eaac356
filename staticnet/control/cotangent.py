"""Cotangents and tangents in loops: what sums of them begin as, and which carries have one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staticnet.autodiff.forward import push
from staticnet.ir.dtype import compute_dtype
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.types import TensorType
from staticnet.ops.creation import full
from staticnet.ops.selection import astype


def nothing(type_: TensorType) -> Node:
    """The sum of nothing: -0.0 everywhere, to which all can be added without a change of bits."""
    zero = full(type_.shape, -0.0, type_.dtype)
    assert isinstance(zero, Node)
    return zero


def wide(type_: TensorType) -> TensorType:
    """The type of a sum of values of this type, before it is rounded."""
    return type_.with_dtype(compute_dtype(type_.dtype))


def cast(x: Any, type_: TensorType) -> Node:
    """x in the dtype of a type; the sum of nothing if it is None."""
    if x is None:
        return nothing(type_)
    result = astype(x, type_.dtype)
    assert isinstance(result, Node)
    return result


def push_around(
    body: Graph, carries: int, given: Mapping[Node, Any], moved: Mapping[Node, Node]
) -> list[Any]:
    """The tangents of what a step gives, once all carries are known that ever have one.

    The first outputs of the body are the next values of its first inputs. `given` says which of the
    inputs have a tangent before the first step, and `moved` has a placeholder for each one's.
    """
    active = {x for x, tangent in given.items() if tangent is not None}
    while True:
        pushed = push(body.outputs, {x: moved[x] for x in body.inputs if x in active})
        pairs = zip(body.inputs[:carries], pushed, strict=False)
        new = {x for x, tangent in pairs if tangent is not None} - active
        if not new:
            return pushed
        active |= new
