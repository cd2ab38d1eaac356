"""A model's state from arrays by name, whoever made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from staticnet.errors import StateError, StaticnetError
from staticnet.ops.state import Variable


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


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
    values: dict[str, np.ndarray[Any, Any]] = {}
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
