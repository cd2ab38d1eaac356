"""Every public function of placeholders with symbolic dims gives what it gives of constants."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_weak_arguments import MODULES, equal, names_of, values

import staticnet as sn
from staticnet.errors import StaticnetError
from staticnet.ir.value import Value

SHAPES = [("n",), ("n", "m"), ("n", 3), (3, "n"), ("n", "n"), ("b", "n", "m")]
SIZES = [{"n": 4, "m": 2, "b": 2}, {"n": 1, "m": 3, "b": 1}]
DRAWN = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}
SHAPED_BY_SIZES = {"squeeze", "cov", "corrcoef"}
"""They leave out axes that are known to have one element."""
NEED_SIZES = {
    *("cond", "matrix_rank", "pinv", "qr", "svd", "svdvals"),  # which of two dims is the less
    *("diag", "diagonal", "trace"),
    *("gather", "glu", "pdist", "polyval", "unstack"),
}
ONE_WOULD_DO = {"conv_transpose1d", "gru_cell", "prelu"}  # where n that may be any does not
TAKE_VALUES = {"backprop"}


def called(function: Any, x: Any) -> list[Any]:
    """The nodes that a function makes, all its required arguments being x."""
    own = inspect.signature(function).parameters.values()
    known = [p for p in own if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = {p.name: x for p in known[1:] if p.default is p.empty}
    return list(nodes(function(x, **needed)))


def nodes(made: Any) -> Iterator[Any]:
    if isinstance(made, tuple | list):
        for each in made:
            yield from nodes(each)
    elif isinstance(made, Value):
        yield made


def differences(function: Any) -> Iterator[str]:
    """Of each call with constants that is allowed how the one with a placeholder differs, or ""."""
    for shape in SHAPES:
        for sizes in SIZES:
            array = np.cos(np.arange(64.0))[: np.prod(lengths := [sizes.get(d, d) for d in shape])]
            array = np.abs(array.reshape(lengths)) + 0.1
            x = sn.placeholder(shape, "float64")
            try:
                wanted = values(called(function, sn.constant(array)))
            except (StaticnetError, TypeError, ValueError, AttributeError):
                continue
            try:
                made = sn.function([x], called(function, x), device="numpy")(array)
            except StaticnetError as error:
                yield f"{shape} {sizes}: {error}"
            else:
                same = len(made) == len(wanted) and all(map(equal, made, wanted))
                yield "" if same else f"{shape} {sizes}: {made} {wanted}"


@pytest.mark.slow
@pytest.mark.parametrize("part", MODULES)
def test_symbolic_dims_change_nothing(part: str) -> None:
    left = DRAWN | SHAPED_BY_SIZES | NEED_SIZES | ONE_WOULD_DO | TAKE_VALUES
    told = [
        (name, each)
        for name in names_of(MODULES[part])
        if name not in left and inspect.signature(getattr(MODULES[part], name)).parameters
        for each in differences(getattr(MODULES[part], name))
    ]
    assert len(told) > 20
    assert not [each for each in told if each[1]]
