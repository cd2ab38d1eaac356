"""What can be saved, as a graph."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.declaration import declare
from staticnet.errors import ArgumentError
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.tree import flatten
from staticnet.nn.module import Module
from staticnet.ops.state import placeholder


@dataclass
class Target:
    """A graph, and the names that its inputs and outputs have elsewhere; None: those it has."""

    graph: Graph
    inputs: Sequence[str] | None = None
    outputs: Sequence[str] | None = None


def target_of(model: Any, inputs: Any = None) -> Target:
    """The graph of a function, of a module on inputs, or itself.

    Raises:
        ArgumentError: if it is none of these, or a module is given no inputs.
    """
    if isinstance(model, Module):
        return _traced(model, inputs)
    if inputs is not None:
        raise ArgumentError("save: inputs are for modules; a graph has its own")
    graph = model if isinstance(model, Graph) else getattr(model, "graph", None)
    if not isinstance(graph, Graph):
        raise ArgumentError(
            f"save: expected a graph, a compiled function or a module, not {model!r:.60}"
        )
    return Target(graph)


def _traced(model: Module, inputs: Any) -> Target:
    name = type(model).__name__
    if inputs is None:
        make = getattr(model, "placeholders", None)
        if make is None:
            raise ArgumentError(
                f"save: {name} has to be called on inputs: inputs=[x], placeholders or arrays"
            )
        inputs = make()
    given = list(inputs) if isinstance(inputs, Sequence) else [inputs]
    parameters = inspect.signature(model.forward).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    nodes = [_node(x, names[i] if i < len(names) else f"x{i}") for i, x in enumerate(given)]
    outputs, _ = flatten(model(*nodes))
    graph = declare(name, nodes, outputs, None)
    known = (getattr(model, "input_names", None), getattr(model, "output_names", None))
    fits = [
        names if isinstance(names, Sequence) and len(names) == len(values) else None
        for names, values in zip(known, (nodes, outputs), strict=True)
    ]
    return Target(graph, *fits)


def _node(x: Any, name: str) -> Node:
    if isinstance(x, Node):
        return x
    array = np.asarray(x)
    return placeholder(array.shape, array.dtype, name)
