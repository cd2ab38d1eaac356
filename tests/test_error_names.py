"""Errors name what the user called, though an op inside found the fault, and its operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, ParseError, StaticnetError

X = sn.placeholder((4, 3), name="x")
Y = sn.placeholder((3, 4), name="y")
T = sn.placeholder((5, 2, 8), name="t")
LINE = r"tests/test_error_names.py:\d+"

CASES = {
    r"softmax: max: axis 7 .*: x f32\[4,3\] \(LINE\)": lambda: nn.softmax(X, axis=7),
    r"sort: argsort: axis 5 .*: x f32\[4,3\] \(LINE\)": lambda: sn.sort(X, axis=5),
    r"stack: concat: .*: x f32\[4,3\] with y f32\[3,4\] \(LINE\)": lambda: sn.stack([X, Y]),
    r"std: .*axis 3.*: x f32\[4,3\] \(LINE\)": lambda: X.std(axis=3),
    r"MultiheadAttention: query.*: t f32\[5,2,8\] with .* \(LINE\)": (
        lambda: nn.MultiheadAttention(8, 2)(T, T, T[1:])
    ),
    r"LSTM: the input .*: x f32\[4,3\] \(LINE\)": lambda: nn.LSTM(5, 4)(X),
    r"GroupNorm: takes .*: t f32\[5,2,8\] \(LINE, in 0\)": (
        lambda: nn.Sequential(nn.GroupNorm(2, 4))(T)
    ),
    r"add: shapes do not .*: x f32\[4,3\] with y f32\[3,4\] \(LINE\)": lambda: X + Y,
}


@pytest.mark.parametrize("told", CASES)
def test_the_call_and_the_op_are_named(told: str) -> None:
    with pytest.raises(StaticnetError, match=f"^{told.replace('LINE', LINE)}$"):
        CASES[told]()


def test_of_a_function_of_the_users_its_line_is_told() -> None:
    def body(carry: Any, x: Any) -> Any:
        return carry, nn.softmax(x, axis=4)

    with pytest.raises(StaticnetError, match=r"^softmax: max: axis 4 .*tests/test_error_names.py"):
        sn.scan(body, sn.constant(0.0), X)


def test_of_thousands_of_operands_some_are_shown() -> None:
    pieces = [sn.placeholder((2,), name=f"p{i}") for i in range(3000)]
    with pytest.raises(StaticnetError) as raised:
        sn.concat([*pieces, X])
    assert "p7 f32[2] and 2993 more (" in str(raised.value)
    assert len(str(raised.value)) < 500


def test_what_is_no_text_and_no_list_is_refused() -> None:
    with pytest.raises(ParseError, match="text of a graph, .* not 5"):
        sn.parse(5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"give names in a list, as \['cse'\]"):
        sn.function(X, X, device="numpy", disabled_passes="cse")


def test_a_module_of_the_users_own_is_named() -> None:
    class Gate(nn.Module):
        def forward(self, x: Any) -> Any:
            raise ArgumentError("takes even lengths")

    with pytest.raises(ArgumentError, match=rf"^Gate: takes even lengths: x .* \({LINE}\)$"):
        Gate()(X)


def test_iterating_a_symbolic_axis_says_what_loops() -> None:
    n = sn.placeholder(("n", 3), name="n")
    with pytest.raises(StaticnetError, match=rf"length n, .* sn.scan or sn.map: n .*\({LINE}\)$"):
        list(n)
    with pytest.raises(StaticnetError, match=r"length 5000; at most 4096 slices unstack; loop"):
        sn.unstack(sn.placeholder((5000,)))


def test_a_run_has_a_path() -> None:
    trainer = sn.train.Trainer(nn.Linear(3, 3), nn.mse_loss, device="numpy")
    with pytest.raises(ArgumentError, match="fit: out is a folder's path, not 5"):
        trainer.fit((np.ones((2, 3), "f"), np.ones((2, 3), "f")), out=5)  # type: ignore[arg-type]
