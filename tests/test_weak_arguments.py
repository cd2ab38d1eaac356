"""A number or a list beside a float64 node is what its float64 array is: nothing rounds on its way.

Every public function is called with each of its arguments as a number, a list and a nested list,
and again with the same as float64 constants.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.ir.value import Value

STRONG = {
    "vector": np.array([0.176, 0.182, 0.69, 0.155]),
    "matrix": np.array([[1.636, 0.462, 0.504], [0.246, 1.913, 0.38], [0.131, 0.77, 1.21]]),
}
WEAK: dict[str, Any] = {
    "number": 0.3,
    "one": [0.1],
    "list": [0.1, 0.2, 0.35, 0.7],
    "nested": [[0.9, 0.1, 0.2], [0.3, 0.8, 0.7], [0.1, 0.2, 0.6]],
}
MODULES = {"sn": sn, "linalg": sn.linalg, "functional": sn.nn.functional}
OWN_DTYPE = {"full_like", "percentile", "nanpercentile", "quantile", "nanquantile"}
"""Whose results have the dtype of the first argument alone."""
DRAWN = {"gumbel_softmax"}
MENDED = {
    "sn": {"histogram", "polyval", "cov", "diff", "average"},
    "linalg": {"pinv", "matrix_rank"},
    "functional": {"soft_margin_loss", "multilabel_soft_margin_loss", "cross_entropy"},
}


def values(outcome: Any) -> list[Any]:
    """All arrays of what a function gives."""
    if isinstance(outcome, tuple | list):
        return [value for each in outcome for value in values(each)]
    return [sn.function([], outcome, device="numpy")()] if isinstance(outcome, Value) else []


def outcome(function: Any, *args: Any, **kwargs: Any) -> list[Any] | None:
    """What a call gives; None if it is refused."""
    try:
        return values(function(*args, **kwargs))
    except (sn.errors.StaticnetError, TypeError, ValueError, AttributeError):
        return None


def calls(function: Any, strong: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Which argument is weak, a call with a place for it, and the other arguments."""
    own = inspect.signature(function).parameters.values()
    known = [p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    rest = known[1:]
    needed = {p.name: strong for p in rest if p.default is p.empty}
    for p in rest:
        if not isinstance(p.default, bool | str):
            others = {name: x for name, x in needed.items() if name != p.name}
            yield p.name, lambda x, name=p.name: {name: x}, others | {known[0].name: strong}
    if needed:
        yield known[0].name, lambda x: {known[0].name: x}, needed


def differences(module: ModuleType, name: str) -> Iterator[str]:
    """The calls of a function that tell a list from its array, and None for each that do not."""
    function = getattr(module, name)
    for of, array in STRONG.items():
        strong = sn.constant(array)
        for argument, placed, others in calls(function, strong):
            for kind, weak in WEAK.items():
                made = outcome(function, **placed(weak), **others)
                wanted = outcome(function, **placed(sn.constant(np.array(weak))), **others)
                if made is None or wanted is None:
                    continue
                same = len(made) == len(wanted) and all(map(equal, made, wanted))
                yield "" if same else f"{name} of a {of}: {argument} as {kind}"


def equal(made: Any, wanted: Any) -> bool:
    """Whether dtypes, shapes and all values but the last bits are the same."""
    like = made.dtype == wanted.dtype and made.shape == wanted.shape
    return like and np.allclose(made, wanted, rtol=1e-12, atol=1e-14, equal_nan=True)


def names_of(module: ModuleType) -> list[str]:
    """The public functions."""
    known = [name for name in module.__all__ if not isinstance(getattr(module, name), type)]
    return [name for name in known if callable(getattr(module, name)) and name not in DRAWN]


@pytest.mark.parametrize(("part", "name"), [(p, n) for p, ns in MENDED.items() for n in sorted(ns)])
def test_lists_that_were_rounded_are_not(part: str, name: str) -> None:
    told = list(differences(MODULES[part], name))
    assert told
    assert not any(told)


@pytest.mark.slow
@pytest.mark.parametrize("part", MODULES)
def test_a_list_is_its_array(part: str) -> None:
    """A first argument has a dtype of its own for those in OWN_DTYPE."""
    names = [name for name in names_of(MODULES[part]) if name not in OWN_DTYPE]
    told = [told for name in names for told in differences(MODULES[part], name)]
    assert len(told) > 10
    assert not any(told), [each for each in told if each]
