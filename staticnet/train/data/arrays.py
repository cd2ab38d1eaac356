"""Arrays with all examples, in memory or mapped: batches are read where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.backends.base import Executable
from staticnet.errors import ArgumentError, OutOfRangeError
from staticnet.function import Function
from staticnet.ops.random import permutation_array
from staticnet.ops.state import Variable
from staticnet.specialization import Specialization
from staticnet.train.data.source import Array, Layout, Plan, integers_of, length_of, on_host

LARGEST_COPY = 2**31  # bytes of a data set that a device with memory of its own is given whole


class ArraySource:
    """Inputs and targets as arrays, each in a tuple, list or dict of them if there are several.

    An epoch's order is `sn.random.permutation` under (seed, epoch): the same on every device.
    With `empty` there may be no examples: an epoch of them has no batches.

    Raises:
        ArgumentError: if the arrays differ in length, or there are no examples.
    """

    exact = True

    def __init__(self, inputs: Any, targets: Any = None, *, empty: bool = False) -> None:
        self.layout, arrays = Layout.of((inputs, targets))
        self.arrays = [x if x.flags.c_contiguous else np.ascontiguousarray(x) for x in arrays]
        self.examples: int = length_of(self.arrays, self.layout.names, empty)
        self._placed: tuple[str, list[Any]] = ("", [])

    def epoch(self, plan: Plan) -> ArrayEpoch:
        """The batches of an epoch.

        Raises:
            ArgumentError: if the last batch is dropped, and there is no other.
        """
        if plan.drop_last and plan.batch_size > self.examples:
            raise ArgumentError(
                f"data: a batch of {plan.batch_size} does not fit {self.examples} examples; take "
                "smaller ones, or drop_last=False"
            )
        order = permutation_array(plan.seed, plan.number, self.examples) if plan.shuffle else None
        return ArrayEpoch(self, order, plan)

    def at(self, rows: slice | Array) -> list[Array]:
        """Examples by their numbers: each leaf of inputs and targets.  -> [n, …]"""
        return [np.asarray(x[rows]) for x in self.arrays]

    def inputs(self) -> ArraySource:
        """The inputs alone."""
        count = self.layout.inputs.leaves
        return ArraySource(self.layout.inputs.unflatten(self.arrays[:count]))

    def place(self, device: str, executable: Executable) -> list[Any]:
        """The arrays where a device reads them; brought there once, if they fit."""
        if sum(x.nbytes for x in self.arrays) > LARGEST_COPY:
            return self.arrays
        if self._placed[0] != device:
            self._placed = (device, executable.place(self.arrays))
        return self._placed[1]


class ArrayEpoch:
    """One epoch over arrays: many steps in one call, and at last one of the examples left."""

    def __init__(self, source: ArraySource, order: Array | None, plan: Plan) -> None:
        self._source, self._order, self._size = source, order, plan.batch_size
        whole, self._rest = divmod(source.examples, plan.batch_size)
        self._rest = 0 if plan.drop_last else self._rest
        self._whole, self._done = whole, plan.skip
        self._programs: dict[int, Specialization] = {}  # to look one up is as much as a small step
        self.total: int | None = whole + bool(self._rest)

    def run(self, function: Function, most: int) -> tuple[list[Array], Array] | None:
        """At most so many steps: outputs, stacked, and each step's examples; None at the end."""
        assert self.total is not None
        if self._done >= self.total:
            return None
        steps = min(most, self._whole - self._done) or 1
        size = self._rest if self._done >= self._whole else self._size
        first = self._done * self._size
        outputs = self._many(function, steps, size, first)
        self._done += steps
        return outputs, np.full(steps, size)

    def _many(self, function: Function, steps: int, size: int, first: int) -> list[Array]:
        program = self._programs.get(size)
        if program is None:
            program = function.specialize(**({"batch": size} if function.graph.symbols else {}))
            self._programs[size] = program
        executable = program.executable
        sets = self._source.place(function.device, executable)
        last = first + steps * size
        order = None if self._order is None else self._order[first:last]
        if sets is self._source.arrays and function.device == "cuda" and order is not None:
            sets, order, first, last = [x[order] for x in sets], None, 0, steps * size
        if order is None:
            sets = [x[first:last] for x in sets]
        try:
            return [on_host(output) for output in executable.run_many(sets, steps, size, order)]
        except OutOfRangeError as error:
            begin = self._done * self._size
            told = self._integers(begin, begin + steps * size)
            raise OutOfRangeError(f"{error}; {told}") from error
        finally:
            if Variable.watched:
                function.count_writes()

    def _integers(self, first: int, last: int) -> str:
        """Those of examples in the epoch's order."""
        rows = np.arange(first, last) if self._order is None else self._order[first:last]
        source = self._source
        return integers_of(source.layout, [x[rows] for x in source.arrays], rows)

    def close(self) -> None:
        """There is nothing that reads ahead."""
