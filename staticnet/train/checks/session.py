"""What the checks of a recipe look at: a trainer, examples, and programs made of both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.autodiff import vjp
from staticnet.errors import StaticnetError
from staticnet.explain.diagnosis.measured import Measured, measure
from staticnet.function import Function, function
from staticnet.ir.dtype import is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.tree import flatten
from staticnet.nn.mode import in_mode
from staticnet.ops.creation import ones_like
from staticnet.ops.state import placeholder
from staticnet.train.data.source import Plan, Source, on_host

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer

Array = np.ndarray[Any, Any]
MOST, PIECE, PLACES = 10_000, 100, 40  # examples that are looked at; rows of a piece; pieces
FEWEST, SAMPLE = 32, 256  # that programs are run on
LOOKED, WHOLE = 1 << 29, 1 << 32  # bytes that are looked at, and that are read once where they lie
VALUES = 1 << 22  # that are computed with at a time, in float64
STEPS, MOST_STEPS = 300, 3000  # on one batch
LONGEST = 30.0  # seconds, after which it is not gone on
NUMBERS, TOKEN = 1 << 14, 64  # of which so many are enough; a token is as much work as so many


@dataclass(frozen=True)
class Seen:
    """What a check saw; a fault if there is a `remedy`, and then with the line and the module.

    After one that `is_fatal` there is no loss that others could look at.
    """

    check: str
    saw: str
    remedy: str = ""
    line: str = ""
    module: str = ""
    is_fatal: bool = False

    def __str__(self) -> str:
        if not self.remedy:
            return f"ok     {self.check}: {self.saw}"
        where = ", in ".join(part for part in (self.line, self.module) if part)
        return f"FAULT  {self.check}{f' ({where})' if where else ''}: {self.saw}; {self.remedy}"


class Session:
    """A trainer with examples of its data, in their order, and of what is held out."""

    def __init__(
        self, trainer: Trainer, source: Source, held: Source | None, size: int, shuffle: bool
    ) -> None:
        self.trainer, self.source, self.size, self.shuffle = trainer, source, size, shuffle
        self.layout = source.layout
        count = self.layout.inputs.leaves
        arrays = examples_of(source, shuffle)
        self.x, self.y = arrays[:count], arrays[count:]
        held_arrays = [] if held is None else examples_of(held, shuffle=True)
        self.held_x, self.held_y = held_arrays[:count], held_arrays[count:]
        self.is_shuffled = shuffle and hasattr(source, "at")  # what has numbers obeys the plan

    def whole(self) -> list[Array]:
        """All examples, if they lie in arrays of not too many bytes; else those looked at."""
        arrays = getattr(self.source, "arrays", ())
        looked = [*self.x, *self.y]
        if not arrays or sum(a.nbytes for a in arrays) > WHOLE:
            return looked
        return [
            np.asarray(a).astype(x.dtype, copy=False) for a, x in zip(arrays, looked, strict=True)
        ]

    @property
    def labels(self) -> Array | None:
        """The targets, if they are classes: whole numbers in one array."""
        if len(self.y) != 1 or self.y[0].dtype.kind not in "iu":
            return None
        return self.y[0]

    @cached_property
    def sample(self) -> list[Array]:
        """Examples drawn without order, inputs and targets: fewer of large ones."""
        return self.batch(self._enough)

    @property
    def _enough(self) -> int:
        work = sum(a[:1].size * (TOKEN if a.dtype.kind == "i" else 1) for a in self.x)
        return min(SAMPLE, max(FEWEST, NUMBERS // max(work, 1)))

    def batch(self, size: int) -> list[Array]:
        """So many examples, drawn without order."""
        return self._drawn(size, [*self.x, *self.y])

    def targets(self, size: int) -> list[Array]:
        """The targets of so many examples, drawn without order."""
        return self._drawn(size, self.y)

    def _drawn(self, size: int, arrays: list[Array]) -> list[Array]:
        chosen = np.random.default_rng(0).permutation(len(self.x[0]))[:size]
        return [a[chosen] for a in arrays]

    @cached_property
    def step(self) -> Function:
        """The trainer's compiled step."""
        return self.trainer.training_step().function

    @cached_property
    def model(self) -> Model | None:
        """The evaluation of the model, if it gives one array."""
        return Model.of(self)

    @cached_property
    def outputs(self) -> Array | None:
        """What the model gives for the sample, in evaluation."""
        return None if self.model is None else self.model.run(self.sample[: len(self.x)])

    @cached_property
    def measured(self) -> Measured:
        """Values and gradients of the step, on the sample."""
        with self.unchanged():
            return measure(self.step, self.step._feeds(self.batch(min(64, self._enough)), {}), None)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """What is trained inside is as it was afterwards."""
        variables = self.trainer.step_variables()
        before = [(v, v.value) for v in variables]
        try:
            yield
        finally:
            for v, value in before:
                v.value = value

    def trained(self, batch: Sequence[Array], enough: float) -> list[float]:
        """The losses of steps on one batch, until one is low enough or they fall no further.

        Nothing stays changed.
        """
        losses: list[float] = []
        end = monotonic() + LONGEST
        with self.unchanged():
            while not losses or (
                is_falling(losses, enough) and len(losses) < MOST_STEPS and monotonic() < end
            ):
                for _ in range(STEPS):
                    losses.append(float(on_host(self.step(*batch)[0])))
                    if losses[-1] < enough or not np.isfinite(losses[-1]):
                        return losses
        return losses


def is_falling(losses: list[float], enough: float) -> bool:
    """Whether the last steps came some of the way that was left to what is enough."""
    if len(losses) < STEPS or not np.isfinite(enough):
        return False
    few = STEPS // 10
    before, after = np.mean(losses[-STEPS:][:few]), np.mean(losses[-few:])
    return bool(after - enough < 0.97 * (before - enough))


@dataclass(frozen=True)
class Model:
    """A model's evaluation as a graph of inputs and as a function, and its loss of any outputs."""

    graph: Graph
    session: Session
    of_outputs: Any
    losses: dict[Any, Function] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session) -> Model | None:
        """That of a session; None if the model gives several arrays."""
        recipe = session.trainer.recipe()
        feeds = recipe.feeds(session.layout)
        with in_mode(recipe.model, training=False):
            outputs, _ = recipe.call(session.layout, feeds)
        leaves, _ = flatten(outputs)
        if len(leaves) != 1 or not isinstance(leaves[0], Node) or not leaves[0].shape:
            return None
        count = session.layout.inputs.leaves
        graph = Graph("evaluate", feeds[:count], [leaves[0]])
        return cls(graph, session, function(feeds[:count], leaves[0], device="numpy"))

    @property
    def output(self) -> Node:
        """The node of the outputs."""
        return self.graph.outputs[0]

    @property
    def last(self) -> Node:
        """The last node that computes."""
        node = self.output
        while node.op.name in ("reshape", "cast", "squeeze", "slice", "gather") and node.inputs:
            node = node.inputs[0]
        return node

    def run(self, inputs: Sequence[Array]) -> Array:
        """The outputs for inputs."""
        return np.asarray(self.of_outputs(*inputs))

    def loss(self, outputs: Array, targets: Sequence[Array]) -> tuple[float, Array]:
        """The loss of given outputs, and its gradient by them; NaN where there is none."""
        try:
            f = self._loss_at(outputs.shape, tuple(t.shape for t in targets))
            value, g = f(outputs.astype(f.graph.inputs[0].dtype.name), *targets)
        except StaticnetError:
            return float("nan"), np.full_like(outputs, np.nan)
        return float(value), np.asarray(g)

    def _loss_at(self, shape: tuple[int, ...], targets: tuple[tuple[int, ...], ...]) -> Function:
        """The loss and its gradient, in float64 if it takes that, of outputs and targets."""
        key = shape, targets
        if key not in self.losses:
            own = self.output.dtype
            try:
                made = self._loss_of(shape, targets, "float64" if is_floating(own) else own)
            except StaticnetError:
                made = self._loss_of(shape, targets, own)
            self.losses[key] = made
        return self.losses[key]

    def _loss_of(
        self, shape: tuple[int, ...], targets: tuple[tuple[int, ...], ...], dtype: Any
    ) -> Function:
        o = placeholder(shape, dtype, "outputs")
        layout = self.session.layout
        types = layout.types[layout.inputs.leaves :]
        feeds = [
            placeholder(known, dtype, f"y_{i}")
            for i, (known, (dtype, _)) in enumerate(zip(targets, types, strict=True))
        ]
        recipe = self.session.trainer.recipe()
        loss = recipe.loss_of(o, layout.targets.unflatten(list(feeds)))
        (slope,) = vjp([loss], [o], [ones_like(loss)], allow_unused=True)
        return function([o, *feeds], [loss, slope], device="numpy")


def examples_of(source: Source, shuffle: bool) -> list[Array]:
    """Examples of a source, not too many bytes: each leaf of inputs and targets.

    Of one whose examples have numbers, pieces of all of it in their order; else the first of an
    epoch.
    """
    layout = source.layout
    each = sum(np.dtype(d.name).itemsize * math.prod(shape) for d, shape in layout.types)
    most = min(MOST, max(FEWEST, LOOKED // max(each, 1)))
    at = getattr(source, "at", None)
    if at is None or source.examples is None:
        return _first(source, most, shuffle)
    return [
        np.asarray(x).astype(dtype.name, copy=False)
        for x, (dtype, _) in zip(at(_pieces(source.examples, most)), layout.types, strict=True)
    ]


def _first(source: Source, most: int, shuffle: bool) -> list[Array]:
    """The first examples of an epoch, in its order."""
    layout = source.layout
    feeds = [
        placeholder(("batch", *shape), dtype, name)
        for name, (dtype, shape) in zip(layout.names, layout.types, strict=True)
    ]
    same = function(feeds, list(feeds), device="numpy", name="examples")
    epoch = source.epoch(Plan(0, min(SAMPLE, most, source.examples or SAMPLE), shuffle=shuffle))
    found: list[list[Array]] = []
    try:
        while sum(len(rows[0]) for rows in found) < most:
            made = epoch.run(same, 1)
            if made is None:
                break
            found.append([np.asarray(x)[0] for x in made[0]])
    finally:
        epoch.close()
    return [np.concatenate(column) for column in zip(*found, strict=True)]


def _pieces(count: int, most: int) -> Any:
    """Which of so many examples are looked at: all, or rows that follow each other, in places."""
    if count <= most:
        return slice(None)
    piece = max(1, min(PIECE, most // PLACES))
    begins = np.linspace(0, count - piece, most // piece).astype(np.int64)
    return (begins[:, None] + np.arange(piece)).reshape(-1)


def in_parts(a: Array) -> Iterator[Array]:
    """An array's rows, not more than VALUES at a time."""
    rows = max(1, VALUES // max(1, a[:1].size))
    for begin in range(0, len(a), rows):
        yield a[begin : begin + rows]
