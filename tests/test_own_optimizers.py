"""Optimizers, schedules and hooks of a user's own: they work, and what is wrong names them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import GradientError, StaticnetError

NAME = "tests/test_own_optimizers.py:"


@dataclass(frozen=True)
class SignedPower(sn.optim.UpdateRule):
    """m' = beta m + g, w' = w - lr sign(m') |m'| ** power."""

    power: float = 0.5
    beta: float = 0.5
    buffer: str = "m"

    def initial_state(self, w: Any) -> Any:
        return {self.buffer: np.zeros(w.shape, w.dtype)}

    def update(self, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
        s[self.buffer] = self.beta * s[self.buffer] + g
        return w - lr * sn.sign(s[self.buffer]) * sn.abs(s[self.buffer]) ** self.power


def reference(w: Any, steps: int, power: float, lr: float) -> Any:
    m = np.zeros_like(w)
    for _ in range(steps):
        m = 0.5 * m + 2 * w
        w = w - lr * np.sign(m) * np.abs(m) ** power
    return w


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_optimizer_with_hyper_parameters_of_its_own(dtype: str) -> None:
    start = np.array([1.0, -2.0, 3.0], dtype)
    a, b = sn.variable(start, "a"), sn.variable(start, "b")
    loss = sn.sum(a * a) + sn.sum(b * b)
    groups = [{"params": [a]}, {"params": [b], "power": 0.25, "lr": 0.02}]
    updates = SignedPower(0.01).minimize(loss, groups)
    step = sn.function([], loss, updates=updates, device="numpy")
    w = sn.variable(start, "w")
    dynamic = sn.dynamic.Optimizer(SignedPower(0.01), [w])
    for _ in range(3):
        step()
        (sn.dynamic.tensor(1.0) * sn.sum(w * w)).backward()
        dynamic.step()
        dynamic.zero_grad()
    np.testing.assert_allclose(a.value, reference(start, 3, 0.5, 0.01), rtol=1e-5)
    np.testing.assert_allclose(b.value, reference(start, 3, 0.25, 0.02), rtol=1e-5)
    np.testing.assert_allclose(w.value, reference(start, 3, 0.5, 0.01), rtol=1e-5)


def names_nothing(self: Any, w: Any) -> Any:
    return {}


def names_m(self: Any, w: Any) -> Any:
    return {"m": np.zeros(w.shape, w.dtype)}


def reads(self: Any, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
    return w - lr * s["v"]


def writes(self: Any, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
    s["v"] = g
    return w - lr * g


def takes_away(self: Any, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
    del s["m"]
    return w - lr * g


def sums(self: Any, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
    s["m"] = sn.sum(g)
    return w - lr * g


def scalar(self: Any, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
    return sn.sum(w)


def wider(self: Any, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
    return w * sn.ones((2, 3))


def ints(self: Any, w: Any, g: Any, s: Any, lr: Any, t: Any) -> Any:
    return sn.astype(w - lr * g, "int64")


def nothing(self: Any, *args: Any) -> Any:
    return None


def text(self: Any, *args: Any) -> Any:
    return "w"


def few(self: Any, w: Any, g: Any) -> Any:
    return w


def fails(self: Any, *args: Any) -> Any:
    return {}["first"]


@pytest.mark.parametrize(
    ("update", "state", "words"),
    [
        (reads, names_m, "update failed KeyError: 'v'"),
        (writes, names_m, "update writes s['v'] names m"),
        (writes, names_nothing, "update writes s['v'] names nothing"),
        (takes_away, names_m, "update takes away s['m']"),
        (sums, names_m, "update sum f32[] s['m'] [3] shape"),
        (scalar, names_nothing, "update sum f32[] w f32[3] shape"),
        (wider, names_nothing, "update multiply f32[2,3] w f32[3] shape"),
        (ints, names_nothing, "update cast i64[3] w f32[3] kind"),
        (nothing, names_nothing, "update None w f32[3]"),
        (text, names_nothing, "update 'w' w f32[3]"),
        (few, names_nothing, "update failed takes 3"),
        (reads, nothing, "initial_state None dict of arrays"),
        (reads, text, "initial_state 'w' dict of arrays"),
        (reads, fails, "initial_state failed KeyError: 'first'"),
        (reads, lambda self, w: {"m": "zero"}, "initial_state 'zero' 'm' no array"),
    ],
)
def test_a_formula_that_is_wrong_is_named(update: Any, state: Any, words: str) -> None:
    space = {"update": update, "initial_state": state, "__module__": __name__}
    rule: Any = dataclass(frozen=True)(type("Mine", (sn.optim.UpdateRule,), space))
    w = sn.variable(np.ones(3, "f"), "w")
    guilty = state if words.startswith("initial_state") else update
    for act in (
        lambda: rule(0.1).minimize(sn.sum(w * w)),
        lambda: sn.dynamic.Optimizer(rule(0.1), [w]),
    ):
        with pytest.raises(StaticnetError) as caught:
            act()
        message = str(caught.value)
        assert message.startswith("Mine: its ")
        assert f"{NAME}{inspect.getsourcelines(guilty)[1]}" in message
        assert message.count(NAME) >= 2
        for word in words.split(" "):
            assert word in message, message


def test_a_class_without_a_formula() -> None:
    rule = dataclass(frozen=True)(type("Empty", (sn.optim.UpdateRule,), {}))
    w = sn.variable(np.ones(3, "f"), "w")
    with pytest.raises(StaticnetError, match=r"Empty: its class has no update\(self, w, g, s, lr"):
        rule(0.1).minimize(sn.sum(w * w))


def hooked(hook: Any) -> Any:
    t = sn.dynamic.tensor(np.ones(3, "f"), requires_grad=True)
    y = t * 2
    y.register_hook(hook)
    sn.sum(y).backward()
    return t.grad


def test_hooks_and_functions_of_modules() -> None:
    w = sn.variable(np.ones(3, "f"), "w")
    for act, message in (
        (lambda: hooked(lambda g: {}["a"]), r"backward: a hook \(.*\) failed: KeyError: 'a'"),
        (lambda: sn.nn.Linear(3, 2).apply(lambda m: {}["a"]), r"apply: fn \(.*\) failed: KeyError"),
        (lambda: sn.dynamic.Optimizer(lambda g: {}["a"], [w]), r"Optimizer: rule \(.*\) failed: "),
    ):
        with pytest.raises(StaticnetError, match=message) as caught:
            act()
        assert isinstance(caught.value.__cause__, KeyError)
        assert str(caught.value).count(NAME) == 2
    with pytest.raises(
        GradientError, match=r"backward: a hook gave 'a', no gradient \(gradient of"
    ):
        hooked(lambda g: "a")
    np.testing.assert_array_equal(np.asarray(hooked(lambda g: 3 * g)), 6)
