"""The reference backend: interprets a graph op by op with NumPy. Slow, obvious, the oracle."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise, repeat
from typing import Any

import numpy as np

from staticnet.backends.base import Executable, HostBackend, HostExecutable
from staticnet.backends.profile import Part, Profile, make_profile, repeat_runs
from staticnet.backends.rates import PRODUCTS, best_rate, numpy_rates
from staticnet.codegen.program import Program
from staticnet.errors import DeviceError
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, modules_of
from staticnet.ir.printer import value_names
from staticnet.ops.base import Item
from staticnet.ops.evaluate import evaluate
from staticnet.ops.own_rules import flops_of_node
from staticnet.ops.state import Variable
from staticnet.ops.turns import Turns
from staticnet.passes.manager import ALL_PRODUCTS
from staticnet.plan.plan import Plan
from staticnet.plan.roles import Role, role

_LEAVES = ("placeholder", "variable")


class NumpyExecutable(HostExecutable):
    """A graph as a list of steps over numbered slots; a slot is freed after its last use."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
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
        self._turns = Turns.merge(v.turns for v in graph.variables if isinstance(v, Variable))
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
        return self._turns.alone(self._run, feeds)

    def _run(self, feeds: Sequence[Any]) -> list[Any]:
        values = self._begin(feeds)
        held = {id(array) for array in values if array is not None}
        for _ in self._compute(values):
            pass
        outputs = [_take(values[i], held) for i in self._outputs]
        new = [_take(values[i], held) for i in self._updates]
        # in one call, which no signal and no thread interrupts: all or none are updated
        deque(map(setattr, self._targets, repeat("array"), new), maxlen=0)
        return outputs

    def _begin(self, feeds: Sequence[Any]) -> list[Any]:
        """The slots before a step."""
        values: list[Any] = [None] * self._slots
        for i, array in self._constants:
            values[i] = array
        for i, variable in self._variables:
            values[i] = variable.host_array()
        for i, feed in zip(self._inputs, feeds, strict=True):
            values[i] = feed
        return values

    def _compute(self, values: list[Any]) -> Iterator[Node]:
        """Fill the slots; each node is given when it is done."""
        for node, operands, result, dead in self._steps:
            values[result] = evaluate(node, [values[i] for i in operands])
            for i in dead:
                values[i] = None
            yield node

    def run_many(self, data: Sequence[Any], steps: int, batch: int, order: Any = None) -> list[Any]:
        """One step after the other."""
        rows = [self.run([x[at] for x in data]) for at in _batches(data, steps, batch, order)]
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def profile(self, feeds: Sequence[Any], repeat: int | None) -> Profile:
        """The time of each node; nothing is updated."""
        names = value_names(self.graph)
        parts = [_part(node, names[node]) for node, _, _, _ in self._steps]
        times = repeat_runs(lambda: self._time(feeds), repeat)
        timer = 1 / best_rate(lambda: [time.perf_counter() for _ in range(1000)], 1000)
        rates = numpy_rates({part.dtype for part in parts if part.dtype})
        return make_profile(self.graph.name, "numpy", parts, times, timer, rates)

    def _time(self, feeds: Sequence[Any]) -> list[float]:
        values = self._begin(feeds)
        marks = [time.perf_counter()]
        for _ in self._compute(values):
            marks.append(time.perf_counter())
        return [end - start for start, end in pairwise(marks)]


def _batches(data: Sequence[Any], steps: int, batch: int, order: Any) -> Iterator[Any]:
    """What chooses the rows of each step: slices, which copy nothing, where they lie in order."""
    period = len(data[0] if order is None else order) // batch
    for step in range(steps):
        first = step % period * batch
        rows = slice(first, first + batch)
        yield rows if order is None else order[rows]


def _take(array: Any, held: set[int]) -> Any:
    """An array that shares memory with nothing else: itself if nobody holds it, else a copy.

    An op may give its operand, or a view of it; a view does not own its data.
    """
    whole = isinstance(array, np.ndarray) and array.flags.owndata and array.flags.c_contiguous
    if not whole or id(array) in held:
        return np.array(array, order="C")
    held.add(id(array))
    return array


def _part(node: Node, name: str) -> Part:
    operands = [x.type for x in node.inputs]
    shown = node.op.moves or isinstance(node.op, Item)
    moved = 0 if shown else sum(int(t.nbytes) for t in (node.type, *operands))
    flops = flops_of_node(node)
    assert isinstance(flops, int)
    kind = node.inputs[0].dtype.name if role(node) is Role.LIBRARY else ""
    dtype = kind if kind in PRODUCTS else ""
    where = node.provenance
    return Part(
        f"%{name}", node.op.name, moved, flops, (where.origin,), dtype, modules=modules_of([node])
    )


class NumpyBackend(HostBackend):
    """Runs everywhere."""

    name = "numpy"
    epilogues: frozenset[str] = frozenset()
    narrow_epilogues: frozenset[str] = frozenset()
    products = ALL_PRODUCTS

    def build(
        self,
        graph: Graph,
        disabled_passes: Collection[str] = (),
        plan: Callable[[], Plan] | None = None,
        precision: str = "float32",
    ) -> NumpyExecutable:
        """The interpreter of a graph."""
        return NumpyExecutable(graph)

    def program(self, plan: Plan, disabled_passes: Collection[str] = ()) -> Program:
        """There is none.

        Raises:
            DeviceError: always.
        """
        raise DeviceError(
            f"{plan.graph.name}: the numpy backend interprets the graph and generates no source; "
            "use device='cpu', or read explain()"
        )

    def profile(self, executable: Executable, feeds: Sequence[Any], repeat: int | None) -> Profile:
        """The time of each node."""
        assert isinstance(executable, NumpyExecutable)
        return executable.profile(feeds, repeat)
