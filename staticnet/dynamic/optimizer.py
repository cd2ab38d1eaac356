"""`Optimizer`: the static optimizers' rules on the gradients that `backward` left.

A rule is written once, as graph nodes. So the step of all parameters is one compiled function of
their gradients, built at the first step; its state is variables, as in a static training step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from staticnet.backends.base import DEVICES, Backend, choose
from staticnet.backends.cpu import CpuBackend
from staticnet.dynamic.operands import array_module, placed
from staticnet.dynamic.tensor import Tensor
from staticnet.errors import ArgumentError, GradientError
from staticnet.function import BACKENDS, Function
from staticnet.ir import location
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, describe, topological
from staticnet.ir.user_functions import guarded
from staticnet.ir.value import Value
from staticnet.ops.state import Variable, placeholder
from staticnet.optim.base import Optimizer as Rule
from staticnet.optim.parameters import Parameters, parameters_of
from staticnet.optim.updates import Updates
from staticnet.state_dict import Stateful

Gradients = dict[Variable, Value]
# NumPy's BLAS waits for its next product by spinning: OpenMP's threads would wait for the cores
_HOSTS: dict[str, Backend] = {"cpu": CpuBackend(parallel=False), "numpy": BACKENDS["numpy"]}


class Optimizer(Stateful):
    """Updates parameters by a rule: `Optimizer(sn.optim.Adam(lr=1e-3), model.parameters())`.

    `rule` is an optimizer of `sn.optim`, or a function from gradients to updates, for clipping and
    wrappers: `lambda grads: ema(Adam().apply(clip_by_global_norm(grads, 1.0)))`. `parameters` may
    be groups with hyper-parameters of their own, as for `sn.optim.Optimizer.minimize`.

    `.updates` holds the state: `.updates.step`, and `.updates.state[w]` of each parameter by name.
    `device` is where the step is computed, as for `sn.function`; "auto" is where the gradients are.

    Raises:
        ArgumentError: if the rule is neither, or gives no updates.
        GradientError: if there are no parameters.
    """

    def __init__(
        self,
        rule: Rule | Callable[[Gradients], Mapping[Variable, Value]],
        parameters: Parameters = (),
        *,
        device: str = "auto",
        **options: Any,
    ) -> None:
        if options or isinstance(rule, type) or (not callable(rule) and not isinstance(rule, Rule)):
            given = f"{rule!r:.60}{' with ' + ', '.join(options) if options else ''}"
            raise ArgumentError(
                f"Optimizer: {given} is neither a rule nor a function; the rule comes first, as "
                "sn.optim.Adam(lr=1e-3), and then the parameters"
            )
        if device not in ("auto", *DEVICES):
            raise ArgumentError(f"device {device!r:.60}: use one of auto, {', '.join(DEVICES)}")
        self.parameters = parameters_of(parameters)
        self.device = device
        self._rule = rule
        self._groups = parameters if _has_groups(parameters) else None
        self._feeds: dict[Variable, Node] = {
            w: placeholder(w.shape, w.dtype, f"grad_{i}") for i, w in enumerate(self.parameters)
        }
        grads: Gradients = dict(self._feeds)
        if isinstance(rule, Rule):
            self.updates = rule.apply(grads, self._groups)
        else:
            self.updates = Updates.of(guarded("Optimizer: rule", rule)(grads))
        self._steps: dict[frozenset[Variable], Function] = {}

    def __reduce__(self) -> Any:
        parameters = self.parameters if self._groups is None else self._groups
        state = [v.value for v in self._state_variables()]
        return _remade, (type(self), self._rule, parameters, self.device, state)

    def _state_variables(self) -> list[Variable]:
        return [v for v in self.updates if v not in self._feeds]

    def gradients(self) -> dict[Variable, Tensor]:
        """{parameter: its gradient} of those that have one: to look at, or to change for `step`."""
        return {w: w.grad for w in self.parameters if w.grad is not None}

    def zero_grad(self) -> None:
        """Forget the gradients: `backward` adds to what is there."""
        for w in self.parameters:
            w.grad = None

    def step(
        self, grads: Mapping[Variable, Tensor] | None = None, *, allow_unused: bool = False
    ) -> None:
        """Update the parameters once, by their `.grad` or by the gradients given.

        `allow_unused` leaves a parameter without a gradient, and its state, as they are.

        Raises:
            GradientError: if a parameter has no gradient, or all have none; nothing is updated.
            ArgumentError: if a gradient is no tensor, or none of a parameter's.
        """
        given = self.gradients() if grads is None else dict(grads)
        if len(given) != len(self.parameters) or grads is not None:
            self._check(given, allow_unused)
        arrays = [given[w].data for w in self.parameters if w in given]
        step = self._function(frozenset(given), array_module(arrays))
        if step.device != "cuda":
            arrays = [placed(array, np) for array in arrays]
        step(*arrays)

    def _check(self, given: Mapping[Any, Any], allow_unused: bool) -> None:
        for w, g in given.items():
            if w not in self._feeds:
                raise ArgumentError(f"step: {w!r:.60} is none of the parameters")
            if not isinstance(g, Tensor):
                raise ArgumentError(f"step: the gradient of {describe(w)} is no tensor: {g!r:.60}")
        missing = [w for w in self.parameters if w not in given]
        if missing and not (allow_unused and given):
            names = ", ".join(describe(w) for w in missing[:4])
            more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
            raise GradientError(
                f"step: {names}{more} have no gradient ({location.current()}); call backward on a "
                "loss that depends on them, leave them out of the optimizer, or pass "
                "allow_unused=True to leave them as they are"
            )

    def _function(self, present: frozenset[Variable], xp: Any) -> Function:
        """The step in which these parameters have a gradient, in arrays of the module `xp`."""
        known = self._steps.get(present)
        if known is not None:
            return known
        absent = {self._feeds[w] for w in self.parameters if w not in present}
        updates = {
            target: value
            for target, value in self.updates.items()
            if not (absent and absent.intersection(topological([value])))  # type: ignore[list-item]
        }
        if not set(self.parameters) & updates.keys():
            raise GradientError(
                "step: each update depends on a gradient that is missing, as with clipping by the "
                "global norm; give zeros for it"
            )
        inputs = [self._feeds[w] for w in self.parameters if w in present]
        graph = Graph("optimizer_step", inputs, [], tuple(updates.items()))  # type: ignore[arg-type]
        made = Function(graph, False, self._backend(xp), "fast", ())
        self._steps[present] = made
        return made

    def _backend(self, xp: Any) -> Backend:
        if self.device == "auto" and xp is not np:
            return choose("cuda", BACKENDS)
        return choose(self.device, BACKENDS if self.device == "cuda" else _HOSTS)


def _remade(
    kind: type[Optimizer], rule: Any, parameters: Any, device: str, state: list[Any]
) -> Optimizer:
    """An optimizer's copy: the rule applied to the parameters anew, with the state's values."""
    made = kind(rule, parameters, device=device)
    for variable, value in zip(made._state_variables(), state, strict=True):
        variable.value = value
    return made


def _has_groups(parameters: Any) -> bool:
    listed = [parameters] if isinstance(parameters, Mapping | Variable) else list(parameters)
    return any(isinstance(each, Mapping) for each in listed)
