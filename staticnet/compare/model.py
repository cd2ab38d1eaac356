"""One definition of a model, as a graph; and the feeds that it is trained on."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from staticnet.autodiff import grad
from staticnet.control.state_updates import updates_in
from staticnet.errors import ArgumentError, FeedError, ShapeError
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, describe, topological
from staticnet.ir.value import Value
from staticnet.nn.seed import manual_seed
from staticnet.ops.state import Variable, placeholder
from staticnet.optim.base import Optimizer
from staticnet.optim.scaling import LossScaling
from staticnet.optim.updates import Updates

Array: TypeAlias = np.ndarray[Any, Any]
Feed: TypeAlias = tuple[Array, ...]
Objective: TypeAlias = Callable[..., Any]
Rule: TypeAlias = Optimizer | Callable[[Mapping[Variable, Value]], Mapping[Variable, Value]]
Build: TypeAlias = Callable[[], tuple[Objective, Rule]]


@dataclass(frozen=True)
class Model:
    """What one call of `build` made, with the graph of its loss and of one training step.

    `state` is all variables that the loss needs, `parameters` those that are trained, in the order
    of the graph. `seconds` is what building and differentiating took.
    """

    objective: Objective
    rule: Rule
    inputs: tuple[Node, ...]
    loss: Node
    state: tuple[Variable, ...]
    parameters: tuple[Variable, ...]
    updates: Mapping[Variable, Value]
    seconds: float

    def weights(self) -> dict[str, Array]:
        """{name: value} of the parameters; one without a name of its own is `parameter_3`."""
        names = [w.name for w in self.parameters]
        unique = [
            name if name and names.count(name) == 1 else f"parameter_{i}"
            for i, name in enumerate(names)
        ]
        return {name: w.copied() for name, w in zip(unique, self.parameters, strict=True)}


def build_model(build: Build, feed: Feed, seed: int) -> Model:
    """Call `build` under a seed, and trace its loss with placeholders like the arrays of a feed.

    Raises:
        ArgumentError: if `build` gives anything but a loss function and a rule, if the rule scales
            the loss, or if the function does not take as many arrays as a feed has.
        ShapeError: if the loss is no scalar.
        SymbolicValueError: if Python asks for a value: what depends on values runs dynamically
            alone. The message names the line and what to use instead.
    """
    if not callable(build):
        raise ArgumentError(f"compare: build must be a function, not {build!r:.60}")
    start = time.perf_counter()
    manual_seed(seed)
    objective, rule = _checked(build())
    _check_unscaled(rule)
    names = _names(objective, len(feed))
    inputs = tuple(placeholder(x.shape, x.dtype, n) for n, x in zip(names, feed, strict=True))
    loss = objective(*inputs)
    if not isinstance(loss, Node):
        raise ArgumentError(
            f"compare: the loss function must give a value made of its arguments, not {loss!r:.60}"
        )
    if loss.shape != () or not is_floating(loss.dtype):
        raise ShapeError(
            f"compare: the loss must be a floating-point scalar, not {describe(loss)} "
            f"({loss.provenance}); reduce it with sn.mean or sn.sum"
        )
    state = tuple(n for n in topological([loss]) if isinstance(n, Variable))
    parameters = tuple(v for v in state if v.trainable and is_floating(v.dtype))
    grads = dict(zip(parameters, grad(loss, parameters), strict=True))
    updates = {**updates_in([loss])[1], **updates_of(rule, grads)}
    seconds = time.perf_counter() - start
    return Model(objective, rule, inputs, loss, state, parameters, updates, seconds)


def updates_of(rule: Rule, grads: Mapping[Variable, Value]) -> Updates:
    """The next values by an optimizer, or by a function from gradients to updates."""
    return rule.apply(grads) if isinstance(rule, Optimizer) else Updates.of(rule(grads))


def _checked(made: Any) -> tuple[Objective, Rule]:
    if not isinstance(made, tuple) or len(made) != 2 or not all(map(_may_be, made, (0, 1))):
        raise ArgumentError(
            "compare: build() must give (loss, rule): a function of the feeds that gives the "
            f"loss, and an optimizer such as sn.optim.Adam(); it gave {made!r:.80}"
        )
    return made


def _may_be(part: Any, place: int) -> bool:
    return callable(part) or (place == 1 and isinstance(part, Optimizer))


def _check_unscaled(rule: Any) -> None:
    inner = rule
    while isinstance(inner, Optimizer) and not isinstance(inner, LossScaling):
        inner = getattr(inner, "optimizer", None)
    if isinstance(inner, LossScaling):
        raise ArgumentError(
            f"compare: build() gave the rule {rule!r:.80}, and LossScaling takes gradients of a "
            "loss that it scaled, but all contenders are given those of the loss itself; compare "
            f"the model with the optimizer inside it, {type(inner.optimizer).__name__}: they "
            "compute in float32, where no gradient needs a scale"
        )


def _names(objective: Objective, count: int) -> list[str | None]:
    """The names of the loss's arguments, where they can be told; None for one that cannot.

    Raises:
        ArgumentError: if it does not take `count` arguments.
    """
    try:
        signature = inspect.signature(objective)
    except (TypeError, ValueError):
        return [None] * count
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        raise ArgumentError(
            f"compare: the loss function takes {signature}, and each feed has {count} arrays, one "
            f"an argument: {error}"
        ) from None
    parameters = list(signature.parameters.values())
    plain = [
        p.name
        for p in parameters
        if p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    return [plain[i] if i < len(plain) else None for i in range(count)]


def as_feeds(feeds: Sequence[Any]) -> list[Feed]:
    """Feeds as tuples of arrays, all of the same shapes and dtypes.

    Raises:
        FeedError: if there are none, if one is no array, or if they differ.
    """
    if isinstance(feeds, np.ndarray | Mapping) or not isinstance(feeds, Sequence) or not feeds:
        raise FeedError(
            "compare: feeds must be a list with one entry a step, each a tuple of arrays in the "
            f"order of the loss's arguments, not {type(feeds).__name__}"
        )
    made = [_as_feed(i, feed) for i, feed in enumerate(feeds)]
    kinds = [[(x.shape, x.dtype) for x in feed] for feed in made]
    for i, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise FeedError(
                f"compare: feed {i} is {_told(made[i])}, and feed 0 is {_told(made[0])}; give "
                "batches of one size"
            )
    return made


def _as_feed(i: int, feed: Any) -> Feed:
    listed = feed if isinstance(feed, tuple | list) else (feed,)
    try:
        return tuple(np.array(x, order="C", copy=None) for x in listed)
    except (RuntimeError, TypeError, ValueError) as error:
        raise FeedError(f"compare: feed {i} holds what is no array: {error}") from None


def _told(feed: Feed) -> str:
    return ", ".join(describe(x) for x in feed) or "empty"
