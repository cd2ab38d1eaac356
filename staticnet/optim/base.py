"""What every optimizer shares: parameters, groups, the step count, precision and checks.

An optimizer is one frozen dataclass. Its fields are hyper-parameters, `initial_state` says what it
keeps for a parameter, and `update` is its formula for one parameter.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np

from staticnet.autodiff import grad
from staticnet.control.state_updates import updates_in
from staticnet.errors import ArgumentError, GradientError, ShapeError
from staticnet.ir.dtype import DType, compute_dtype, is_floating
from staticnet.ir.hints import check_call, missing_name, raise_own
from staticnet.ir.node import Node, describe, topological
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.promotion import is_scalar, python_number
from staticnet.ops.selection import astype
from staticnet.ops.state import Variable, variable
from staticnet.optim.formula import first_state, next_value
from staticnet.optim.updates import Updates

Rate: TypeAlias = float | Value | Callable[[Value], Any]
Parameters: TypeAlias = Variable | Sequence[Variable] | Sequence[Mapping[str, Any]]
State: TypeAlias = dict[str, Any]

_NOT_NEGATIVE = (lambda x: 0 <= x < np.inf, "a number >= 0")
_LEAST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "lr": _NOT_NEGATIVE,
    "lr_decay": _NOT_NEGATIVE,
    "momentum": _NOT_NEGATIVE,
    "momentum_decay": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "eps": _NOT_NEGATIVE,
    "eps_root": _NOT_NEGATIVE,
    "alpha": _NOT_NEGATIVE,
    "initial_accumulator_value": _NOT_NEGATIVE,
    "clip_value": _NOT_NEGATIVE,
    "max_norm": _NOT_NEGATIVE,
    "lambd": _NOT_NEGATIVE,
    "etas": _NOT_NEGATIVE,
    "step_sizes": _NOT_NEGATIVE,
    "t0": (lambda x: -np.inf < x < np.inf, "a number"),
    "init_scale": (lambda x: _LEAST <= x <= _LARGEST, "a float32 number > 0, not subnormal"),
    "growth_factor": (lambda x: 1 < x < np.inf, "a number > 1"),
    "backoff_factor": (lambda x: 0 < x < 1, "a number in (0, 1)"),
    "dampening": (lambda x: -np.inf < x < np.inf, "a number"),
    "decay": (lambda x: 0 <= x <= 1, "a number in [0, 1]"),
    "rho": (lambda x: 0 <= x <= 1, "a number in [0, 1]"),
    "betas": (lambda x: 0 <= x < 1, "two numbers in [0, 1)"),
}


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
        chosen = _groups(trainable_of(loss) if wrt is None else wrt)
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
            checked = _checked(type(self).__name__, each, getattr(self, each.name))
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
        for options, parameters in _groups(wrt):
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


def rate_at(what: str, lr: Rate, step: Any, dtype: DType) -> Any:
    """The learning rate of a step: a number, or a scalar of the given dtype.

    Raises:
        ArgumentError: if a schedule gives something else.
    """
    rate = guarded(f"{what}: lr", lr)(step) if callable(lr) else lr
    if not isinstance(rate, Value):
        return checked_number(what, "lr", rate)
    if rate.shape != () or not is_floating(rate.dtype):
        raise ArgumentError(f"{what}: lr must be a floating-point scalar, not {describe(rate)}")
    return astype(rate, dtype)


def checked_number(what: str, name: str, value: Any) -> float:
    """`value` as a Python float, which widens no dtype.

    Raises:
        ArgumentError: if it is no number, or out of the range of what is called `name`.
    """
    inside, legal = _RANGES[name]
    number = python_number(value) if is_scalar(value) else None
    if number is None or isinstance(number, bool) or not inside(number):
        raise ArgumentError(f"{what}: {name} must be {legal}, not {value!r:.60}")
    return float(number)


def _checked(what: str, each: dataclasses.Field[Any], value: Any) -> Any:
    if isinstance(each.default, bool):
        if not isinstance(value, bool):
            raise ArgumentError(f"{what}: {each.name} must be True or False, not {value!r:.60}")
        return value
    if each.name == "lr" and (callable(value) or isinstance(value, Value)):
        return value
    pair = isinstance(each.default, tuple) and each.name != "betas"
    if each.name not in _RANGES or pair:
        return value  # a user's own, which knows what it may be
    if each.name != "betas":
        return checked_number(what, each.name, value)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ArgumentError(f"{what}: betas must be {_RANGES['betas'][1]}, not {value!r:.60}")
    return tuple(checked_number(what, "betas", beta) for beta in value)


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


def parameters_of(wrt: Parameters) -> list[Variable]:
    """The variables that `wrt` names, in its order.

    Raises:
        ArgumentError: if it holds something else, or a variable twice.
        GradientError: if it is empty.
    """
    parameters = [w for _, group in _groups(wrt) for w in group]
    if not parameters:
        raise GradientError("minimize: wrt is empty; there is nothing to update")
    if len(set(parameters)) != len(parameters):
        raise ArgumentError("minimize: wrt names a variable twice")
    return parameters


def _groups(wrt: Parameters) -> list[tuple[dict[str, Any], list[Variable]]]:
    """Each group's hyper-parameters and variables; a plain list is one group."""
    if isinstance(wrt, str) or not isinstance(wrt, Iterable):
        raise ArgumentError(
            f"minimize: wrt must hold variables, as model.parameters() does, not be {wrt!r:.60}"
        )
    listed: list[Any] = [wrt] if isinstance(wrt, Variable | Mapping) else list(wrt)
    if not any(isinstance(each, Mapping) for each in listed):
        return [({}, _variables(listed))]
    groups = []
    for group in listed:
        if not isinstance(group, Mapping) or "params" not in group:
            raise ArgumentError(f"minimize: a group is a dict with 'params', not {group!r:.60}")
        options = {name: x for name, x in group.items() if name != "params"}
        params = group["params"]
        groups.append((options, _variables([params] if isinstance(params, Value) else params)))
    return groups


def _variables(values: Iterable[Any]) -> list[Variable]:
    listed = list(values)
    for value in listed:
        if not isinstance(value, Variable):
            raise ArgumentError(f"minimize: wrt must hold variables, not {value!r:.60}")
    return listed


def trainable_of(loss: Value) -> list[Variable]:
    """The trainable floating-point variables that a loss needs, in the graph's order.

    Raises:
        GradientError: if there are none, or it is no node.
    """
    if not isinstance(loss, Node):
        raise GradientError(f"minimize: the loss must be a graph node, not {loss!r:.60}")
    found = [
        node
        for node in topological([loss])
        if isinstance(node, Variable) and node.trainable and is_floating(node.dtype)
    ]
    if not found:
        raise GradientError(
            f"minimize: the loss {describe(loss)} ({loss.provenance}) depends on no trainable "
            "variable; make one with sn.variable(value), or name some in wrt"
        )
    return found


def check_used(loss: Value, wrt: Sequence[Variable]) -> None:
    """Raise GradientError if the loss depends on one of the variables in no way."""
    reached = set(topological([loss])) if isinstance(loss, Node) else set(wrt)
    unused = [w for w in wrt if w not in reached]
    if unused:
        named = ", ".join(f"{describe(w)} ({w.provenance})" for w in unused)
        raise GradientError(
            f"minimize: the loss {describe(loss)} does not depend on {named}; leave it out, or "
            "leave out wrt to update what the loss depends on"
        )


def check_gradients(grads: Mapping[Variable, Value], wrt: Parameters | None) -> None:
    """Raise unless `grads` maps variables to gradients of their shapes, for all that `wrt` names.

    Raises:
        ArgumentError, GradientError, ShapeError: as `Optimizer.apply` says.
    """
    if not isinstance(grads, Mapping):
        raise ArgumentError(f"apply: grads is a mapping {{variable: gradient}}, not {grads!r:.60}")
    for w in parameters_of(list(grads)):
        g = grads[w]
        if not isinstance(g, Value) or not is_floating(g.dtype):
            raise ArgumentError(f"apply: the gradient of {describe(w)} cannot be {g!r:.60}")
        if g.shape != w.shape:
            raise ShapeError(f"apply: the gradient of {describe(w)} has another shape: {g!r}")
    if wrt is not None and set(parameters_of(wrt)) != set(grads):
        raise GradientError("apply: grads and wrt must name the same variables")


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
