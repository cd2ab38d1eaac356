"""A masked array would lose its mask: whatever takes arrays refuses it, in lists too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import DTypeError, FeedError, StateError, StaticnetError
from staticnet.io import safetensors

ARRAY = np.ma.masked_array([1.0, 2.0], [True, False], "float32")
INDEX = np.ma.masked_array([0, 1], [True, False])
MASK = np.ma.masked_array([True, True], [True, False])
X = sn.placeholder((2,), name="x")
T = sn.dynamic.tensor(np.ones(2, "float32"), requires_grad=True)


def load(array: Any) -> Any:
    return sn.nn.Linear(2, 1).load_state_dict({"weight": array}, strict=False)


def set_value(array: Any) -> None:
    sn.variable(np.ones(2)).value = array


CASES: dict[str, Callable[[], Any]] = {
    "feed": lambda: sn.function(X, X)(ARRAY),
    "named feed": lambda: sn.function(X, X)(x=ARRAY),
    "unmasked feed": lambda: sn.function(X, X)(np.ma.masked_array([1.0, 2.0])),
    "list": lambda: sn.function(sn.placeholder((1, 2), name="y"), [])([ARRAY]),
    "run": lambda: sn.function(X, X).run(1, ARRAY),
    "operand": lambda: X + ARRAY,
    "left operand": lambda: ARRAY * X,
    "operands": lambda: sn.stack([ARRAY, ARRAY]),
    "condition": lambda: sn.where(MASK, X, 0),
    "constant": lambda: sn.constant(ARRAY),
    "constant of a list": lambda: sn.constant([[ARRAY]]),
    "variable": lambda: sn.variable(ARRAY),
    "value": lambda: set_value(ARRAY),
    "state": lambda: load(np.ma.masked_array(np.ones((1, 2)), True)),
    "index": lambda: X[INDEX],
    "take": lambda: sn.take(X, INDEX),
    "tensor": lambda: sn.dynamic.tensor(ARRAY),
    "as_tensor": lambda: sn.dynamic.as_tensor(ARRAY),
    "operand of a tensor": lambda: T - ARRAY,
    "tensor's operator": lambda: ARRAY / T,
    "index of a tensor": lambda: T[INDEX],
    "mask of a tensor": lambda: T[MASK],
    "gradient": lambda: (T * 2).backward(ARRAY),
    "masked itself": lambda: sn.constant(np.ma.masked),
}


@pytest.mark.parametrize("act", CASES.values(), ids=CASES)
def test_a_masked_array_is_refused(act: Callable[[], Any]) -> None:
    with pytest.raises((DTypeError, FeedError, StateError), match="masked array .*filled"):
        act()


def test_a_masked_array_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(StaticnetError, match="masked array"):
        safetensors.save(tmp_path / "a.safetensors", {"a": ARRAY})
    assert not list(tmp_path.iterdir())


def test_a_list_in_itself_is_refused() -> None:
    nested: list[Any] = []
    nested.append(nested)
    with pytest.raises(DTypeError):
        sn.constant(nested)
