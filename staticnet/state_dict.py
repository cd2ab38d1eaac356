"""State by name: arrays that go into files and come back, whoever made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from staticnet.errors import StateError, StaticnetError
from staticnet.ops.state import Variable

Array = np.ndarray[Any, Any]


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Stateful:
    """What keeps variables: their values by name, to be written and set again."""

    def _state_variables(self) -> Iterable[Variable]:
        """The variables, in an order that the program gives."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Array]:
        """Name -> a copy of the value: weights, moments, counters, running statistics, all of it.

        A name is the variable's own. Of several with one name the later ones are `name.2`, ….
        """
        return {name: v.copied() for name, v in unique_names(self._state_variables()).items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Set the state from what `state_dict` gave: all of it or, on an error, nothing.

        The next steps have the bits of those that would have followed where it was taken.
        `strict=False` leaves out names that only one side has.

        Raises:
            StateError: listing missing and unexpected names, and values whose shape or dtype do
                not fit.
        """
        named = unique_names(self._state_variables())
        return load(type(self).__name__, [(n, v, True) for n, v in named.items()], state, strict)


def unique_names(variables: Iterable[Variable]) -> dict[str, Variable]:
    """Each variable by its name; of equal names the later ones get a number, by their order."""
    named: dict[str, Variable] = {}
    for variable in variables:
        base = name = variable.name or "variable"
        number = 1
        while name in named:
            number += 1
            name = f"{base}.{number}"
        named[name] = variable
    return named


def load(
    what: str, held: Sequence[tuple[str, Variable, bool]], state: Any, strict: bool
) -> LoadResult:
    """Set variables from arrays: all of them or, on an error, none.

    `held` has each name, its variable, and whether the state must have it.

    Raises:
        StateError: as `Module.load_state_dict` says.
    """
    if not isinstance(state, Mapping):
        raise StateError(
            f"load_state_dict: takes what state_dict gave, arrays by name, not {state!r:.60}; "
            "sn.io.safetensors.load(path) reads a file"
        )
    variables = {name: variable for name, variable, _ in held}
    missing = [name for name, _, required in held if required and name not in state]
    unexpected = [name for name in state if name not in variables]
    problems = [f"missing: {', '.join(missing)}"] if strict and missing else []
    if strict and unexpected:
        problems.append(f"unexpected: {', '.join(map(str, unexpected))}")
    values: dict[str, Array] = {}
    for name in (name for name in variables if name in state):
        try:
            values[name] = variables[name].check(_as_host(state[name]))
        except StaticnetError as error:
            problems.append(f"mismatched: {name}: {error}")
    if problems:
        raise StateError(f"load_state_dict: {what} does not fit the state; " + "; ".join(problems))
    for name, value in values.items():
        variables[name].value = value
    return LoadResult(missing, unexpected)


def _as_host(value: Any) -> Any:
    """PyTorch's tensors as arrays: without their tape, and bfloat16, which NumPy lacks, widened."""
    if not any(kind.__module__.partition(".")[0] == "torch" for kind in type(value).__mro__):
        return value
    tensor = value.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
