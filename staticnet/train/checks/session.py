"""What the checks of a recipe look at: a trainer, examples, and programs made of both."""

from __future__ import annotations

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
MOST, PIECE = 10_000, 100  # examples that are looked at, so many of them in a row
FEWEST, SAMPLE = 32, 256  # that programs are run on
BYTES = 1 << 30  # of inputs that are read as a whole
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
    """A trainer with the first examples of its data, in their order, and of what is held out."""

    def __init__(
        self, trainer: Trainer, source: Source, held: Source | None, size: int, shuffle: bool
    ) -> None:
        self.trainer, self.source, self.size, self.shuffle = trainer, source, size, shuffle
        self.layout = source.layout
        count = self.layout.inputs.leaves
        arrays = examples_of(source)
        self.x, self.y = arrays[:count], arrays[count:]
        held_arrays = [] if held is None else examples_of(held)
        self.held_x, self.held_y = held_arrays[:count], held_arrays[count:]
        self.loaders = not hasattr(source, "arrays")

    def every_input(self) -> list[Array]:
        """All inputs, if they lie in arrays that are not too many bytes; else those looked at."""
        arrays = getattr(self.source, "arrays", ())[: len(self.x)]
        if not arrays or sum(a.nbytes for a in arrays) > BYTES:
            return self.x
        return [
            np.asarray(a).astype(x.dtype, copy=False) for a, x in zip(arrays, self.x, strict=True)
        ]

    @property
    def labels(self) -> Array | None:
        """The targets, if they are classes: whole numbers in one array."""
        if len(self.y) != 1 or self.y[0].dtype.kind not in "iu":
            return None
        return self.y[0]

    @property
    def sample(self) -> list[Array]:
        """The first examples, inputs and targets: fewer of large ones."""
        return [a[: self._enough] for a in (*self.x, *self.y)]

    @property
    def _enough(self) -> int:
        work = sum(a[:1].size * (TOKEN if a.dtype.kind == "i" else 1) for a in self.x)
        return min(SAMPLE, max(FEWEST, NUMBERS // max(work, 1)))

    def batch(self, size: int) -> list[Array]:
        """So many examples, drawn without order."""
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(self.x[0]))[:size]
        return [a[chosen] for a in (*self.x, *self.y)]

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


def examples_of(source: Source) -> list[Array]:
    """The first examples of a source in their order: each leaf of inputs and targets.

    Of more in arrays, pieces of all of it.
    """
    arrays = getattr(source, "arrays", None)
    if arrays is not None:
        return [
            np.asarray(x)[_pieces(len(x))].astype(dtype.name, copy=False)
            for x, (dtype, _) in zip(arrays, source.layout.types, strict=True)
        ]
    layout = source.layout
    feeds = [
        placeholder(("batch", *shape), dtype, name)
        for name, (dtype, shape) in zip(layout.names, layout.types, strict=True)
    ]
    same = function(feeds, list(feeds), device="numpy", name="examples")
    size = min(SAMPLE, source.examples or SAMPLE)
    epoch = source.epoch(Plan(0, size, shuffle=False))
    found: list[list[Array]] = []
    try:
        while sum(len(rows[0]) for rows in found) < MOST:
            made = epoch.run(same, 1)
            if made is None:
                break
            found.append([np.asarray(x)[0] for x in made[0]])
    finally:
        epoch.close()
    return [np.concatenate(column) for column in zip(*found, strict=True)]


def _pieces(count: int) -> Any:
    """Which of so many examples are looked at: all, or rows that follow each other, in places."""
    if count <= MOST:
        return slice(None)
    begins = np.linspace(0, count - PIECE, MOST // PIECE).astype(np.int64)
    return (begins[:, None] + np.arange(PIECE)).reshape(-1)
