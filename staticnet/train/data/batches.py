"""Whatever gives batches: a list, a generator, a PyTorch DataLoader."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, DataError, FeedError, OutOfRangeError
from staticnet.function import Function
from staticnet.train.data.prefetch import Prefetch
from staticnet.train.data.source import Array, Layout, Plan, integers_of, on_host

Batches = Iterable[Any]


class BatchSource:
    """Batches as they come: pairs (inputs, targets) of an iterable, or of what a call gives.

    A list, a DataLoader or a function that makes an iterator begins anew in each epoch; a generator
    goes on where it was, and `steps_per_epoch` says how far. `targets=False` is of inputs alone.

    Raises:
        ArgumentError: if it gives no batches, or a batch that is no pair.
    """

    examples: int | None = None
    exact = False

    def __init__(
        self,
        batches: Batches | Callable[[], Batches],
        *,
        steps_per_epoch: int | None = None,
        targets: bool = True,
        prefetch: int = 2,
    ) -> None:
        self._batches, self._targets, self._prefetch = batches, targets, prefetch
        self._steps = steps_per_epoch
        self._once = iter(batches) is batches if isinstance(batches, Iterable) else False
        self._ahead: Iterator[Any] | None = None
        self._layout: Layout | None = None
        self._begun = False

    @property
    def layout(self) -> Layout:
        """What the first batch is; it is read for that, and kept."""
        if self._layout is None:
            rest = self._iterate()
            first = next(rest, None)
            if first is None:
                raise ArgumentError(f"data: {type(self._batches).__name__} gives no batches")
            self._layout, _ = Layout.of(self._pair(first))
            self._ahead = itertools.chain([first], rest)
        return self._layout

    def _iterate(self) -> Iterator[Any]:
        given = self._batches() if callable(self._batches) else self._batches
        try:
            return iter(given)
        except TypeError:
            raise ArgumentError(
                f"data: {given!r:.60} gives no batches; make it an iterable"
            ) from None

    def _pair(self, batch: Any) -> tuple[Any, Any]:
        """A batch as inputs and targets."""
        if not self._targets:
            pair = isinstance(batch, tuple | list) and len(batch) == 2
            return (batch[0], None) if pair else (batch, None)
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            given = (
                f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else batch
            )
            raise ArgumentError(
                f"data: a batch is a pair (inputs, targets), not {given!s:.60}; several inputs are "
                "a tuple or a dict: ((a, b), targets)"
            )
        return batch[0], batch[1]

    def inputs(self) -> BatchSource:
        """The inputs alone."""
        return BatchSource(self._batches, steps_per_epoch=self._steps, targets=False)

    def epoch(self, plan: Plan) -> BatchEpoch:
        """The batches of an epoch; those that are skipped are read, and left."""
        layout = self.layout
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            if self._once:
                raise DataError(
                    f"data: {type(self._batches).__name__} is read once, and its batches are used "
                    f"up in epoch {plan.number + 1}; give a list, a function that makes one, or "
                    "steps_per_epoch with one that does not end"
                )
            ahead = self._iterate()
        if self._once and self._steps is not None:
            self._ahead = ahead  # the next epoch goes on here
        total = self._steps
        if total is None and isinstance(self._batches, Sized):
            total = len(self._batches)
        limited = itertools.islice(ahead, self._steps)
        pairs = (self._pair(batch) for batch in itertools.islice(limited, plan.skip, None))
        own = pairs if self._once else Prefetch(pairs, self._prefetch)
        return BatchEpoch(own, layout, total, plan)


class BatchEpoch:
    """One epoch of batches, a step each."""

    def __init__(self, pairs: Iterator[Any], layout: Layout, total: int | None, plan: Plan) -> None:
        self._pairs, self._layout, self.total = pairs, layout, total
        self._number, self._drop = plan.skip, plan.drop_last
        self._full = 0
        self._held: list[Array] | None = None

    def run(self, function: Function, most: int) -> tuple[list[Array], Array] | None:
        """At most so many steps: outputs, stacked, and each step's examples; None at the end."""
        rows: list[Any] = []
        size = 0
        while len(rows) < most and (arrays := self._next()) is not None:
            if rows and len(arrays[0]) != size:
                self._held = arrays
                break
            size = len(arrays[0])
            try:
                rows.append(function(*arrays))
            except FeedError as error:
                raise DataError(f"data: batch {self._number}: {error}") from error
            except OutOfRangeError as error:
                told = integers_of(self._layout, arrays)
                raise OutOfRangeError(f"data: batch {self._number}: {error}; {told}") from error
        if not rows:
            return None
        return [_stacked(column) for column in zip(*rows, strict=True)], np.full(len(rows), size)

    def _next(self) -> list[Array] | None:
        """The leaves of the next batch; those that are not full are left, if they are dropped."""
        held, self._held = self._held, None
        if held is not None:
            return held
        for pair in self._pairs:
            layout, arrays = Layout.of(pair)
            self._number += 1
            if (layout.inputs, layout.targets) != (self._layout.inputs, self._layout.targets):
                raise DataError(
                    f"data: batch {self._number} holds {layout}, and the first one {self._layout}"
                )
            size = len(arrays[0])
            if not self._drop or size >= self._full:
                self._full = max(self._full, size)
                return arrays
        return None

    def close(self) -> None:
        """Stop reading ahead."""
        if isinstance(self._pairs, Prefetch):
            self._pairs.close()


def _stacked(column: tuple[Any, ...]) -> Array:
    """Outputs of steps, one after another; on the host."""
    return np.stack([on_host(x) for x in column])
