"""The reference backend: interprets a graph op by op with NumPy. Slow, obvious, the oracle."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from staticnet.ir.graph import Graph
from staticnet.ops.evaluate import evaluate
from staticnet.ops.state import Variable
from staticnet.passes.manager import ALL_PRODUCTS

_LEAVES = ("placeholder", "variable")


class NumpyExecutable:
    """A graph as a list of steps over numbered slots; a slot is freed after its last use."""

    def __init__(self, graph: Graph) -> None:
        slot = {node: i for i, node in enumerate(graph.nodes)}
        self._slots = len(slot)
        self._inputs = [slot[node] for node in graph.inputs]
        self._variables = [(slot[n], n) for n in graph.nodes if isinstance(n, Variable)]
        self._constants = [
            (slot[n], evaluate(n, ())) for n in graph.nodes if n.op.name == "constant"
        ]
        self._outputs = [slot[node] for node in graph.outputs]
        self._updates = [slot[value] for _, value in graph.updates]
        self._targets = [target for target, _ in graph.updates if isinstance(target, Variable)]
        computed = [n for n in graph.nodes if n.op.name not in (*_LEAVES, "constant")]
        last_use = {slot[operand]: node for node in computed for operand in node.inputs}
        kept = {*self._outputs, *self._updates}
        self._steps = [
            (
                node,
                [slot[operand] for operand in node.inputs],
                slot[node],
                [i for i in {slot[x] for x in node.inputs} - kept if last_use[i] is node],
            )
            for node in computed
        ]

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """One step: fresh outputs; the updates are made when everything is computed."""
        values: list[Any] = [None] * self._slots
        for i, array in self._constants:
            values[i] = array
        for i, variable in self._variables:
            values[i] = variable.device_array()
        for i, feed in zip(self._inputs, feeds, strict=True):
            values[i] = feed
        for node, operands, result, dead in self._steps:
            values[result] = evaluate(node, [values[i] for i in operands])
            for i in dead:
                values[i] = None
        fresh: set[int] = {i for _, _, i, _ in self._steps}
        outputs = [_take(values, i, fresh) for i in self._outputs]
        new = [_take(values, i, fresh) for i in self._updates]
        for target, array in zip(self._targets, new, strict=True):
            target.array = array
        return outputs

    def run_many(self, data: Sequence[Any], order: Any, batch: int) -> list[Any]:
        """One step after the other."""
        rows = [
            self.run([x[chosen] for x in data]) for chosen in np.asarray(order).reshape(-1, batch)
        ]
        return [np.stack(column) for column in zip(*rows, strict=True)]


def _take(values: list[Any], i: int, fresh: set[int]) -> Any:
    """An array that shares memory with nothing else: itself the first time, else a copy."""
    array = values[i]
    whole = isinstance(array, np.ndarray) and array.flags.owndata and array.flags.c_contiguous
    if i in fresh and whole:
        fresh.discard(i)
        return array
    return np.array(array, order="C")


class NumpyBackend:
    """Runs everywhere."""

    name = "numpy"
    epilogues: frozenset[str] = frozenset()
    products = ALL_PRODUCTS

    def build(self, graph: Graph, disabled_passes: Collection[str] = ()) -> NumpyExecutable:
        """The interpreter of a graph."""
        return NumpyExecutable(graph)
