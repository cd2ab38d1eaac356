"""What a trainer compiles: its step, its evaluation and its prediction, from one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from staticnet.control.traced import substitute
from staticnet.errors import ArgumentError, ShapeError
from staticnet.function import Function, function
from staticnet.ir.dtype import FLOAT32, is_floating
from staticnet.ir.hints import check_call
from staticnet.ir.modes import settled
from staticnet.ir.node import Node, describe
from staticnet.ir.tree import Tree, flatten
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.nn.mode import in_mode
from staticnet.nn.module import Module
from staticnet.ops.selection import astype
from staticnet.ops.state import Variable, placeholder, variable
from staticnet.optim.base import Optimizer
from staticnet.optim.updates import Updates
from staticnet.train.data.source import Layout
from staticnet.train.metrics.base import Metric

BATCH = "batch"


@dataclass
class Sums:
    """What metrics have added up, in variables of a program."""

    metrics: Sequence[Metric]
    variables: Mapping[str, Mapping[str, Variable]] = field(default_factory=dict)

    def reset(self) -> None:
        """Begin anew."""
        for sums in self.variables.values():
            for each in sums.values():
                each.value = np.zeros(each.shape, each.dtype)

    def values(self) -> dict[str, Any]:
        """Each metric's measure of what was added since."""
        return {
            metric.name: metric.value(
                {name: each.value for name, each in self.variables[metric.name].items()}
            )
            for metric in self.metrics
        }


def accumulated(
    metrics: Sequence[Metric], outputs: Any, targets: Any, prefix: str
) -> tuple[Sums, dict[Variable, Value]]:
    """Variables for the sums of metrics, and what a step adds to them."""
    updates: dict[Variable, Value] = {}
    named: dict[str, dict[str, Variable]] = {}
    for metric in metrics:
        named[metric.name] = {}
        parts = guarded(f"metric {metric.name}: its update", metric.update)(outputs, targets)
        if not isinstance(parts, Mapping) or not all(isinstance(x, Value) for x in parts.values()):
            raise ArgumentError(
                f"metric {metric.name}: its update gives {parts!r:.60}, and must give a dict of "
                "nodes"
            )
        for name, value in parts.items():
            if not all(isinstance(n, int) for n in value.shape):
                raise ShapeError(
                    f"metric {metric.name}: its sum {name!r} is {describe(value)}, and must be of "
                    "one shape for batches of all sizes"
                )
            zeros = np.zeros(value.shape, value.dtype)
            total = variable(zeros, f"{prefix}.{metric.name}.{name}", trainable=False)
            named[metric.name][name] = total
            updates[total] = total + value
    return Sums(metrics, named), updates


@dataclass(frozen=True)
class Recipe:
    """What the programs are made of.

    Raises:
        ArgumentError, ShapeError: as building finds them; they name the model, loss or metric.
    """

    model: Module
    loss: Callable[[Any, Any], Any]
    optimizer: Optimizer | None
    metrics: tuple[Metric, ...]
    parameters: Any
    options: Mapping[str, Any]

    def feeds(self, layout: Layout) -> list[Node]:
        """A placeholder for each leaf of a batch."""
        return [
            placeholder((BATCH, *shape), dtype, name)
            for name, (dtype, shape) in zip(layout.names, layout.types, strict=True)
        ]

    def call(self, layout: Layout, feeds: Sequence[Node]) -> tuple[Any, Any]:
        """What the model gives, and the targets; floats come in the model's own dtype."""
        own = next((w.dtype for w in self.model.parameters() if is_floating(w.dtype)), FLOAT32)
        given = [astype(x, own) if is_floating(x.dtype) else x for x in feeds]
        inputs = layout.inputs.unflatten(given[: layout.inputs.leaves])
        targets = layout.targets.unflatten(given[layout.inputs.leaves :])
        by_name = isinstance(inputs, dict)
        named = inputs if by_name else {}
        listed = inputs if isinstance(inputs, tuple | list) else () if by_name else (inputs,)
        check_call(f"{type(self.model).__name__}: the inputs", self.model.forward, listed, named)
        return self.model(*listed, **named), targets

    def loss_of(self, outputs: Any, targets: Any) -> Value:
        """The loss of a batch: a scalar."""
        loss = guarded("loss", self.loss)(outputs, targets)
        if not isinstance(loss, Value) or loss.shape != () or not is_floating(loss.dtype):
            given = describe(loss) if isinstance(loss, Value) else repr(loss)[:60]
            raise ShapeError(
                f"loss: gives {given}, and must give one floating-point scalar, the mean of a batch"
            )
        return loss

    def compiled(self, name: str, feeds: Any, outputs: Any, updates: Any = None) -> Function:
        """A function that stays in its mode on purpose."""
        made = function(feeds, outputs, updates, name=name, **self.options)
        settled(made)
        return made


@dataclass(frozen=True)
class Step:
    """The training step: batch -> [loss], and all that it updates."""

    function: Function
    updates: Updates
    sums: Sums

    @classmethod
    def of(cls, recipe: Recipe, layout: Layout) -> Step:
        """The step of a recipe for batches of a layout."""
        if recipe.optimizer is None:
            raise ArgumentError(
                "fit: the trainer has no optimizer; give Trainer(..., optimizer=...)"
            )
        feeds = recipe.feeds(layout)
        with in_mode(recipe.model, training=True):
            outputs, targets = recipe.call(layout, feeds)
            loss = recipe.loss_of(outputs, targets)
            updates = recipe.optimizer.minimize(loss, recipe.parameters)
        sums, added = accumulated(recipe.metrics, outputs, targets, "metrics")
        made = recipe.compiled("step", feeds, [loss], {**updates, **added})
        return cls(made, updates, sums)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation: batch -> [loss], and the metrics' sums."""

    function: Function
    sums: Sums

    @classmethod
    def of(cls, recipe: Recipe, layout: Layout, shadows: Mapping[Variable, Variable]) -> Evaluation:
        """The evaluation of a recipe, with the averages of parameters for them where there are."""
        feeds = recipe.feeds(layout)
        with in_mode(recipe.model, training=False):
            outputs, targets = recipe.call(layout, feeds)
            loss = recipe.loss_of(outputs, targets)
        sums, added = accumulated(recipe.metrics, outputs, targets, "evaluation")
        nodes = with_shadows([loss, *added.values()], shadows)
        updates = dict(zip(added, nodes[1:], strict=True))
        return cls(recipe.compiled("evaluate", feeds, nodes[:1], updates), sums)


@dataclass(frozen=True)
class Prediction:
    """The prediction: inputs -> what the model gives, a tree of arrays."""

    function: Function
    tree: Tree

    @classmethod
    def of(cls, recipe: Recipe, layout: Layout, shadows: Mapping[Variable, Variable]) -> Prediction:
        """The prediction of a recipe, with the averages of parameters for them where there are."""
        inputs = layout.of_inputs()
        feeds = recipe.feeds(inputs)
        with in_mode(recipe.model, training=False):
            outputs, _ = recipe.call(inputs, feeds)
        leaves, tree = flatten(outputs)
        nodes = with_shadows(leaves, shadows)
        return cls(recipe.compiled("predict", feeds, nodes), tree)


def with_shadows(nodes: Sequence[Any], shadows: Mapping[Variable, Variable]) -> list[Any]:
    """Nodes with the averages of parameters in their place."""
    if not shadows:
        return list(nodes)
    values: dict[Node, Value] = {w: astype(shadow, w.dtype) for w, shadow in shadows.items()}
    return substitute(nodes, values)
