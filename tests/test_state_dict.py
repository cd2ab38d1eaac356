"""A step's state by name: what is taken out and set again goes on with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn, optim
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import StateError
from staticnet.io import safetensors

COMPILES = True
DEVICES = [
    "numpy",
    pytest.param("cpu", marks=pytest.mark.skipif(find_compiler() is None, reason="no C compiler")),
]
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6)).astype("float32"), RNG.integers(0, 3, 40)


def made(device: str) -> tuple[Any, Any]:
    """A step with all kinds of state, and its updates."""
    nn.manual_seed(3)
    model = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    x = sn.placeholder(("batch", 6), name="x")
    y = sn.placeholder(("batch",), "int64", name="y")
    rule = optim.Accumulate(
        optim.LossScaling(optim.Clipped(optim.AdamW(optim.ReduceLROnPlateau(0.01)), 1.0)), 2
    )
    loss = nn.cross_entropy(model(x), y)
    updates = optim.ema(rule.minimize(loss))
    return sn.function([x, y], loss, updates=updates, device=device), updates


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_goes_on_bit_for_bit(device: str, tmp_path: Path) -> None:
    whole, _ = made(device)
    expected = whole.run(13, X, Y, batch_size=8)
    first, _ = made(device)
    first.run(5, X, Y, batch_size=8)
    safetensors.save(tmp_path / "state.safetensors", first.state_dict())
    second, updates = made(device)
    second.load_state_dict(safetensors.load(tmp_path / "state.safetensors"))
    assert updates.step.value == 2
    found = second.run(8, X, Y, batch_size=8)
    np.testing.assert_array_equal(found, expected[5:])
    for name, value in whole.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], value, err_msg=name)


def test_the_names_say_whose_it_is() -> None:
    step, updates = made("numpy")
    state = step.state_dict()
    assert {"1.weight", "1.weight.exp_avg", "1.weight.grad_sum", "adamw.step"} <= state.keys()
    assert {"0.counter", "2.running_mean", "loss_scale", "plateau", "1.weight.ema"} <= state.keys()
    assert updates.state_dict().keys() == state.keys() - {
        *("0.counter", "plateau"),
        *(f"{i}.{name}" for i in (1, 2, 3) for name in ("weight", "bias")),
    }


def test_equal_names_are_told_apart() -> None:
    variables = [sn.variable(np.float32(i), name) for i, name in enumerate(["a", "a", "", "a.2"])]
    step = sn.function([], variables)
    assert list(step.state_dict()) == ["a", "a.2", "variable", "a.2.2"]
    step.load_state_dict({"a": 5, "a.2": 6, "variable": 7, "a.2.2": 8})
    assert [float(v.value) for v in variables] == [5, 6, 7, 8]


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    step, updates = made("numpy")
    before = step.state_dict()
    state = {**before, "1.weight": np.zeros((2, 2), "f"), "other": np.zeros(1)}
    del state["adamw.step"]
    with pytest.raises(StateError, match=r"missing: adamw.step; unexpected: other; mismatched: 1"):
        step.load_state_dict(state)
    with pytest.raises(StateError, match="takes what state_dict gave"):
        updates.load_state_dict([1])
    for name, value in step.state_dict().items():
        np.testing.assert_array_equal(before[name], value)
    result = step.load_state_dict({"other": 1}, strict=False)
    assert result.unexpected_keys == ["other"]


def test_an_optimizer_alone() -> None:
    w = sn.variable(np.ones(3), "w")
    states = []
    for _ in range(2):
        rule = optim.Adam(0.1).minimize(sn.sum(w * w))
        step = sn.function([], [], updates=rule)
        if states:
            rule.load_state_dict(states[0])
        step()
        states.append(rule.state_dict())
    assert [int(s["adam.step"]) for s in states] == [1, 2]
    assert set(states[0]) == {"adam.step", "w.exp_avg", "w.exp_avg_sq"}


def test_a_dynamic_optimizer() -> None:
    def trained(steps: int, state: Any = None) -> tuple[Any, Any]:
        w = sn.variable(np.ones(3), "w")
        optimizer = sn.dynamic.Optimizer(optim.Adam(0.1), [w])
        if state is not None:
            w.value, saved = state
            optimizer.load_state_dict(saved)
        for _ in range(steps):
            optimizer.zero_grad()
            sn.sum(sn.dynamic.tensor(np.ones(3)) * w * w).backward()
            optimizer.step()
        return w.value, optimizer.state_dict()

    np.testing.assert_array_equal(trained(3, trained(2))[0], trained(5)[0])
