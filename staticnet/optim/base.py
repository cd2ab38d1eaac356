"""What every optimizer shares: the step count, precision, and options of groups.

An optimizer is one frozen dataclass. Its fields are hyper-parameters, `initial_state` says what it
keeps for a parameter, and `update` is its formula for one parameter.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np

from staticnet.autodiff import grad
from staticnet.control.state_updates import updates_in
from staticnet.errors import ArgumentError, GradientError
from staticnet.ir.dtype import compute_dtype
from staticnet.ir.hints import check_call, missing_name, raise_own
from staticnet.ir.node import Node
from staticnet.ir.value import Value
from staticnet.ops.promotion import is_scalar
from staticnet.ops.selection import astype
from staticnet.ops.state import Variable, variable
from staticnet.optim.formula import first_state, next_value
from staticnet.optim.numbers import Rate, checked_field, rate_at
from staticnet.optim.parameters import (
    Parameters,
    check_gradients,
    check_used,
    groups_of,
    parameters_of,
    trainable_of,
)
from staticnet.optim.updates import Updates

State: TypeAlias = dict[str, Any]

HINTS = {
    "step": "compile updates into a step, sn.function(inputs, loss, updates=rule.minimize(loss)), "
    "or step with sn.dynamic.Optimizer(rule, parameters)",
    "zero_grad": "gradients are nodes, made anew in each step; sn.dynamic.Optimizer has zero_grad",
    "param_groups": "give groups to minimize: [{'params': [...], 'lr': 1e-2}, ...]",
    "state_dict": "updates = rule.minimize(loss) have it, and with weights the compiled step",
    "load_state_dict": "load into updates = rule.minimize(loss), or into the compiled step",
}


class Optimizer:
    """Gives each parameter, and each variable of its own, the node of its next value.

    One that is `wrappable` takes gradients, and others may stand around it.
    """

    wrappable: ClassVar[bool] = True

    def __getattr__(self, name: str) -> NoReturn:
        raise_own(self, name)
        raise missing_name(type(self).__name__, name, dir(type(self)), HINTS)

    def minimize(self, loss: Value, wrt: Parameters | None = None) -> Updates:
        """The updates of one step down the gradient of `loss`; runs nothing.

        `wrt` says which variables: None is every trainable one that the loss needs, in the graph's
        order; or a list of them; or groups, as PyTorch's, each overriding some hyper-parameters:
        `[{"params": [...], "lr": 1e-2, "weight_decay": 0}, {"params": [...]}]`. A group's
        `optimizer` is a rule that it has in place of this one. Updates that stand in the loss, as
        those of running statistics, are among them.

        loss: []

        Raises:
            GradientError: if the loss is no value, does not depend on a parameter, or there is
                nothing to update.
            ShapeError, DTypeError: if the loss is no floating-point scalar.
            ArgumentError: if `wrt` is none of these.
        """
        if not isinstance(loss, Value):
            raise GradientError(
                f"minimize: the loss must be a graph node, not {loss!r:.60}; it comes first, then "
                "the variables"
            )
        chosen = groups_of(trainable_of(loss) if wrt is None else wrt)
        groups = [{**options, "params": params} for options, params in chosen]
        updates = self.apply(self.gradients(loss, parameters_of(groups)), groups)
        assert isinstance(loss, Node)
        for target, value in updates_in([loss])[1].items():
            updates.setdefault(target, value)
        return updates

    def gradients(self, loss: Value, wrt: Sequence[Variable]) -> dict[Variable, Value]:
        """The gradients that `minimize` gives to `apply`: those of the loss.

        loss: [] -> each as its variable: [*s]

        Raises:
            GradientError: if the loss does not depend on a variable.
            ShapeError, DTypeError: if the loss is no floating-point scalar.
        """
        check_used(loss, wrt)
        return dict(zip(wrt, grad(loss, wrt), strict=True))

    def apply(self, grads: Mapping[Variable, Value], wrt: Parameters | None = None) -> Updates:
        """The updates for given gradients, so that they can be changed in between; runs nothing.

        `wrt` may hold the groups, as for `minimize`.  w: [*s], grads[w]: [*s]

        Raises:
            GradientError: if there is no gradient, or `wrt` names other variables than `grads`.
            ShapeError: if a gradient's shape is not its variable's.
            ArgumentError: if `grads` is no mapping from variables to gradients.
        """
        raise NotImplementedError


class _LearningRate(type):
    """Lets `learning_rate=` stand for `lr=` in every constructor."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        _check_holds_no_parameters(cls.__name__, args, kwargs)
        if "learning_rate" in kwargs and (args or "lr" in kwargs):
            raise ArgumentError(f"{cls.__name__}: lr and learning_rate are one; give one of them")
        init: Any = cls.__init__  # type: ignore[misc]
        check_call(cls.__name__, init, (None, *args), with_lr(kwargs))
        return super().__call__(*args, **with_lr(kwargs))

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's, for `help`, editors and the documentation."""
        init = inspect.signature(cls.__init__)  # type: ignore[misc]
        return init.replace(parameters=list(init.parameters.values())[1:])


def _check_holds_no_parameters(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise ArgumentError on parameters, which PyTorch's constructors take first."""
    first = args[0] if args else None
    several = isinstance(first, Iterable) and not (isinstance(first, Value) or is_scalar(first))
    if several or hasattr(first, "named_parameters") or "params" in kwargs:
        raise ArgumentError(
            f"{name}: a rule holds no parameters: {name}(lr=...).minimize(loss, parameters) gives "
            f"the updates for sn.function; sn.dynamic.Optimizer({name}(lr=...), parameters) steps"
        )


def with_lr(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` in which a `learning_rate` is called `lr`."""
    return {"lr" if name == "learning_rate" else name: x for name, x in options.items()}


@dataclass(frozen=True)
class UpdateRule(Optimizer, metaclass=_LearningRate):
    """An optimizer that updates each parameter by one formula of its gradient and its own state.

    `lr` is a number, a scalar value (a variable can be set while training), or a function of the
    step: the int64 node that counts the updates made before. `maximize` climbs the gradient.
    float16 and bfloat16 parameters compute in float32; state and parameters keep their dtype.

    Raises:
        ArgumentError: if a hyper-parameter is out of its range.
    """

    lr: Rate = 1e-3
    maximize: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            checked = checked_field(type(self).__name__, each, getattr(self, each.name))
            object.__setattr__(self, each.name, checked)

    @property
    def learning_rate(self) -> Rate:
        """`lr` by its long name."""
        return self.lr

    def initial_state(self, w: Variable) -> dict[str, np.ndarray[Any, Any]]:
        """What the rule keeps for `w`: names and first values."""
        return {}

    def update(self, w: Any, g: Any, s: State, lr: Any, t: Any) -> Any:
        """The next value of `w`; `s` comes with the state's present values, leaves with the next.

        `t` counts this update, from 1, in the dtype of the others.
        w: [*s], g: [*s], lr: [], t: [] -> w: [*s]
        """
        raise ArgumentError(f"{type(self).__name__}: its class has no update(self, w, g, s, lr, t)")

    def advance(
        self, w: Any, g: Any, state: Mapping[str, Any], step: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The next value of `w` and of its state, each in its own dtype.

        step: int64 [], the number of updates before this one
        """
        wide = compute_dtype(w.dtype)
        s = {name: astype(value, wide) for name, value in state.items()}
        g = astype(g, wide)
        lr = rate_at(type(self).__name__, self.lr, step, wide)
        t = astype(step + 1, wide)
        new = next_value(self, astype(w, wide), -g if self.maximize else g, s, lr, t)
        return astype(new, w.dtype), {name: astype(s[name], x.dtype) for name, x in state.items()}

    def apply(self, grads: Mapping[Variable, Value], wrt: Parameters | None = None) -> Updates:
        """The updates for given gradients, so that they can be changed in between; runs nothing.

        `wrt` may hold the groups, as for `minimize`.  w: [*s], grads[w]: [*s]

        Raises:
            GradientError: if there is no gradient, or `wrt` names other variables than `grads`.
            ShapeError: if a gradient's shape is not its variable's.
            ArgumentError: if `grads` is no mapping from variables to gradients.
        """
        check_gradients(grads, wrt)
        updates = Updates()
        step = variable(0, f"{type(self).__name__.lower()}.step", trainable=False)
        for rule, w in self._rules(list(grads) if wrt is None else wrt):
            state = {
                name: variable(first, f"{w.name}.{name}" if w.name else name, trainable=False)
                for name, first in first_state(rule, w).items()
            }
            updates[w], following = rule.advance(w, grads[w], state, step)
            updates |= {state[name]: value for name, value in following.items()}
            updates.state[w] = state
        updates[step] = step + 1
        updates.step = step
        return updates

    def _rules(self, wrt: Parameters) -> Iterator[tuple[UpdateRule, Variable]]:
        """Each parameter with the rule of its group."""
        for options, parameters in groups_of(wrt):
            rule = self.override(options) if options else self
            for w in parameters:
                yield rule, w

    def override(self, options: Mapping[str, Any]) -> UpdateRule:
        """This rule, or the one that is called `optimizer`, with some hyper-parameters replaced.

        Raises:
            ArgumentError: if one has no such name or a value out of its range.
        """
        if "optimizer" in options:
            other = options["optimizer"]
            if not isinstance(other, UpdateRule):
                raise ArgumentError(
                    f"minimize: a group's optimizer must be a rule, not {other!r:.60}"
                )
            return other.override({k: x for k, x in options.items() if k != "optimizer"})
        legal = [each.name for each in dataclasses.fields(self)]
        changes = with_lr(options)
        for name in changes:
            if name not in legal:
                raise ArgumentError(
                    f"{type(self).__name__}: no hyper-parameter {name!r} in {legal}"
                )
        return dataclasses.replace(self, **changes)


def check_inner(what: str, optimizer: Any) -> None:
    """Raise ArgumentError unless `what` may stand around it: an optimizer that takes gradients."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"{what}: {optimizer!r:.60} is no optimizer")
    if not optimizer.wrappable:
        raise takes_the_loss(f"{what}: {type(optimizer).__name__}")


def takes_the_loss(who: str) -> ArgumentError:
    """The error of an optimizer that is given gradients."""
    return ArgumentError(
        f"{who} takes the loss, by minimize(loss), for it looks at several places; gradients alone "
        "do not do, so nothing wraps it: leave out clipping, averages, accumulation and scaling"
    )


def with_rate(lr: Rate | None, options: dict[str, Any]) -> dict[str, Any]:
    """`options`, with `lr` if one is given: for functions that pass both on."""
    return options if lr is None else {"lr": lr, **options}


def zeros(w: Variable) -> np.ndarray[Any, Any]:
    """First values of state that looks like `w`."""
    return full(w, 0)


def full(w: Variable, value: float) -> np.ndarray[Any, Any]:
    """`value` everywhere, in the shape and dtype of `w`."""
    return np.full(w.shape, value, w.dtype)


def l2(g: Any, w: Any, weight_decay: float) -> Any:
    """g + weight_decay * w: the gradient with that of an L2 penalty.  g: [*s], w: [*s] -> [*s]"""
    return g if weight_decay == 0 else g + weight_decay * w


def lerp(m: Any, x: Any, weight: float) -> Any:
    """m + weight * (x - m): a moving average's next value.  m: [*s], x: [*s] -> [*s]"""
    return m + weight * (x - m)
