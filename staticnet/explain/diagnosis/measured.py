"""A training step's values and gradients at each of its nodes, on one batch.

Loops are made anew with a zero added to each carry at each step and with the activations of their
bodies as results: so there is a gradient for each moment, and a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from staticnet.autodiff.reverse import pull
from staticnet.control.scan import Scan
from staticnet.control.traced import substitute
from staticnet.errors import ArgumentError
from staticnet.explain.values import all_values, is_float
from staticnet.feeds import bind_dims
from staticnet.function import Function
from staticnet.ir import location
from staticnet.ir.dtype import is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.location import common_module
from staticnet.ir.node import Node, build, dependents, topological
from staticnet.ir.types import TupleType
from staticnet.ops.base import Item
from staticnet.ops.creation import ones_like
from staticnet.ops.state import Variable, placeholder
from staticnet.passes.infer_shape import specialize
from staticnet.rewrite.driver import keep

Array = np.ndarray[Any, Any]
ACTIVATIONS = ("tanh", "sigmoid", "relu")
PRODUCTS = ("matmul", "convolution")


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop of the step: its node, and the zeros added to its carries, [steps, *carry] each."""

    node: Node
    zeros: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Measured:
    """The nodes of a step with fixed shapes, their `values` and the loss's `gradients` by them.

    `updates` are the parameters' next values; `batch` is the number of examples.
    """

    loss: Node
    order: tuple[Node, ...]
    values: Mapping[Node, Any]
    gradients: Mapping[Node, Array]
    updates: Mapping[Node, Node]
    loops: tuple[Loop, ...]
    batch: int
    inputs: tuple[Node, ...]

    @cached_property
    def parameters(self) -> list[Node]:
        """What is trained and moves the loss."""
        return [node for node in self.order if is_parameter(node)]

    @cached_property
    def trained(self) -> set[Node]:
        """What depends on a parameter."""
        return dependents(self.order, self.parameters)

    @cached_property
    def fed(self) -> set[Node]:
        """What depends on a feed."""
        return dependents(self.order, self.inputs)

    @cached_property
    def users(self) -> dict[Node, list[Node]]:
        """Who reads a node."""
        found: dict[Node, list[Node]] = {}
        for node in self.order:
            for x in node.inputs:
                found.setdefault(x, []).append(node)
        return found

    @cached_property
    def hidden(self) -> set[Node]:
        """What other parameters come after, on the way to the loss: not of the loss itself."""
        found: set[Node] = set()
        for node in reversed(self.order):
            for user in self.users.get(node, ()):
                if user in found or self._enters(user):
                    found.add(node)
        return found

    def _enters(self, node: Node) -> bool:
        """Whether a parameter meets data in a node."""
        shape = getattr(node.type, "shape", (1,))
        own = [x in self.trained and x not in self.fed for x in node.inputs]
        return bool(shape) and any(own) and node in self.fed

    def is_finite(self, node: Node) -> bool:
        """Whether a node's value has no NaN and no infinity."""
        value = self.values[node]
        parts = value if isinstance(value, tuple) else (value,)
        return all(np.isfinite(np.asarray(x, np.float64)).all() for x in parts)

    def rms(self, node: Node) -> float:
        """The root of the mean square of the loss's gradient by a node."""
        g = self.gradients.get(node)
        return 0.0 if g is None or not g.size else rms(g)


def rms(x: Any) -> float:
    """The root of the mean square; of large numbers, too."""
    wide = np.abs(np.asarray(x, np.float64))
    top = float(np.max(wide, initial=0.0))
    if not np.isfinite(top) or top == 0:
        return top
    return top * float(np.sqrt(np.mean((wide / top) ** 2)))


def is_parameter(node: Node) -> bool:
    """Whether a node is a variable that is trained."""
    return isinstance(node, Variable) and node.trainable and is_floating(node.dtype)


def place(node: Node) -> tuple[str, str]:
    """The user's lines of a node, "" if a trainer built it of layers, and its module's path."""
    own = node.provenance
    lines = (str(line) for line in own.lines if not location.is_own(line.file))
    return ", ".join(lines), common_module(own.modules)


def measure(step: Function, arrays: Sequence[Any], loss: Node | None) -> Measured:
    """Run a step's graph and its gradients on the reference, for feeds that fit; change nothing.

    Raises:
        ArgumentError: if no output of the step is a loss of trainable variables.
        ExecutionError: if an op fails.
    """
    graph = step.graph
    chosen = _loss_of(graph) if loss is None else loss
    _check_loss(step, chosen)
    updates = [(v, value) for v, value in graph.updates if is_parameter(v)]
    whole = Graph(graph.name, graph.inputs, [chosen, *(value for _, value in updates)])
    dims = bind_dims(graph.inputs, arrays)
    fixed = specialize(whole, dims)[0] if dims else whole
    (end, *following), loops = _with_loops_open(fixed)
    feeds = {
        node: np.asarray(x.get() if hasattr(x, "get") else x)
        for node, x in zip(fixed.inputs, arrays, strict=False)
    }
    zeros = [z for loop in loops for z in loop.zeros]
    feeds |= {z: np.zeros(z.type.shape, z.dtype) for z in zeros}
    order = tuple(topological([end]))
    loops = [loop for loop in loops if loop.node in set(order)]  # not those of the gradient
    held = dependents(order, [n for n in order if is_parameter(n) or n in set(zeros)])
    wanted = [n for n in order if n in held and is_float(n)]
    found = pull([end], [ones_like(end)], wanted)
    made: Any = zip(wanted, found, strict=True)
    known: dict[Node, Node] = {n: g for n, g in made if g is not None}
    results = _results_of(order)
    with np.errstate(all="ignore"):
        values = all_values([end, *following, *results, *known.values()], feeds)
    gradients = {n: np.asarray(values[g]) for n, g in known.items()}
    for node in wanted:
        gradients.setdefault(node, np.zeros(np.shape(values[node]), node.dtype))
    sizes = [x.shape[0] for x in feeds.values() if x.ndim]
    return Measured(
        end, order, values, gradients, {v: n for (v, _), n in zip(updates, following, strict=True)},
        tuple(loops), sizes[0] if sizes else 1, tuple(fixed.inputs),
    )  # fmt: skip


def _results_of(order: Sequence[Node]) -> list[Node]:
    """The activations in loops: the results that `_with_loops_open` added."""
    return [
        build(Item(i), (node,))
        for node in order
        if isinstance(node.op, Scan)
        for i in range(len(_types(node)) - len(activations(node.op.body)), len(_types(node)))
    ]


def _types(node: Node) -> tuple[Any, ...]:
    assert isinstance(node.type, TupleType)
    return node.type.types


def activations(body: Graph) -> list[Node]:
    """The activations in a loop's body, each once."""
    return [n for n in body.nodes if n.op.name in ACTIVATIONS and n.shape]


def _loss_of(graph: Graph) -> Node:
    for node in graph.outputs:
        scalar = not isinstance(node.type, TupleType) and node.shape == ()
        if scalar and is_floating(node.dtype) and any(map(is_parameter, topological([node]))):
            return node
    raise ArgumentError(
        f"diagnose: {graph.name} gives no scalar that depends on a trainable variable; return the "
        "loss from the step, or name it: diagnose(step, *feeds, loss=node)"
    )


def _check_loss(step: Function, loss: Node) -> None:
    if loss not in set(step.graph.nodes) or not is_float(loss) or loss.shape != ():
        raise ArgumentError(
            f"diagnose: the loss {loss!r:.60} is no floating-point scalar of {step.graph.name}"
        )


def _with_loops_open(graph: Graph) -> tuple[list[Node], list[Loop]]:
    """The outputs with zeros added to the carries of loops, and activations as their results."""
    loops: list[Loop] = []
    known: dict[Node, Node] = {}
    for node in topological(graph.outputs):
        inputs = tuple(known[x] for x in node.inputs)
        if isinstance(node.op, Scan):
            with location.attributed(node.provenance):
                known[node], zeros = _opened(node.op, inputs, len(loops))
            loops.append(Loop(known[node], tuple(zeros)))
        else:
            with location.attributed(node.provenance):
                known[node] = keep(node, inputs)
    return [known[node] for node in graph.outputs], loops


def _opened(op: Scan, operands: tuple[Node, ...], number: int) -> tuple[Node, list[Node]]:
    carries = op.body.inputs[: op.carries]
    moved = [c for c in carries if is_float(c)]
    added = [placeholder(c.shape, c.dtype, f"moved_{i}") for i, c in enumerate(moved)]
    sums = dict(zip(moved, (c + z for c, z in zip(moved, added, strict=True)), strict=True))
    shown = activations(op.body)
    new: list[Any] = substitute([*op.body.outputs, *shown], sums)
    at = op.carries + op.xs
    inputs = [*op.body.inputs[:at], *added, *op.body.inputs[at:]]
    body = Graph(op.body.name, inputs, new)
    zeros = [
        placeholder((*op.length, *z.shape), z.dtype, f"moved_{number}_{i}")
        for i, z in enumerate(added)
    ]
    opened = replace(op, body=body, xs=op.xs + len(added))
    return build(opened, (*operands[:at], *zeros, *operands[at:])), zeros
