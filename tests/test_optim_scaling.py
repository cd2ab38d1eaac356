"""Loss scaling: PyTorch's rule, runs that overflow, and training in float16 that needs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import optim
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import ArgumentError

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
DEVICES = ["numpy", pytest.param("cpu", marks=needs_compiler)]
BAD = (np.inf, -np.inf, np.nan)


class Fed:
    """A parameter whose gradient is what is fed, and a step with scaled loss."""

    def __init__(self, inner: optim.Optimizer, dtype: str = "float32", **options: Any) -> None:
        self.w = sn.variable(np.array([1.0, -2.0, 3.0], dtype), "w")
        self.g = sn.placeholder((3,), dtype, "g")
        self.scaling = optim.LossScaling(inner, **options)
        self.updates = self.scaling.minimize(sn.sum(self.w * self.g))
        self.step = sn.function(self.g, [], updates=self.updates)

    def run(self, value: float = 1.0) -> None:
        self.step(np.array([0.5, value, 0.25], self.g.dtype))

    def state(self) -> dict[str, Any]:
        return {v.name: v.value for v in self.updates if v.name != "skipped"}


def simulated(finite: list[bool], scale: float, growth: float, backoff: float, every: int) -> Any:
    """GradScaler's rule as its documentation tells it. -> (scale, tracker) after each run"""
    tracker, seen = 0, []
    for good in finite:
        if not good:
            scale, tracker = np.float32(scale * backoff), 0
        else:
            tracker += 1
            if tracker == every:
                with np.errstate(over="ignore"):
                    grown = np.float32(np.float32(scale) * np.float32(growth))
                scale, tracker = (grown if np.isfinite(grown) else scale), 0
        seen.append((np.float32(scale), tracker))
    return seen


CASES = [
    {"init_scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 4},
    {"init_scale": 3.7, "growth_factor": 1.7, "backoff_factor": 0.3, "growth_interval": 3},
    {"init_scale": 2.0**126, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 1},
]


@pytest.mark.parametrize("options", CASES)
def test_the_scale_follows_the_rule(options: dict[str, Any]) -> None:
    chance = np.random.default_rng(0)
    finite = [bool(x) for x in chance.random(60) < 0.8]
    made = Fed(optim.SGD(lr=0.0), **options)
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(options["init_scale"]), torch.tensor(0, dtype=torch.int32)
    wanted = simulated(finite, *options.values())
    for good, (scale, tracker) in zip(finite, wanted, strict=True):
        made.run(0.0 if good else BAD[chance.integers(3)])
        torch._amp_update_scale_(
            *theirs, torch.tensor(0.0 if good else 1.0), options["growth_factor"],
            options["backoff_factor"], options["growth_interval"],
        )  # fmt: skip
        ours = float(made.scaling.scale.value), int(made.scaling.growth_tracker.value)
        assert ours == pytest.approx((float(scale), tracker), rel=1e-6)
        assert ours == pytest.approx((float(theirs[0]), int(theirs[1])), rel=1e-6)
    assert made.updates.skipped.value == finite.count(False)


def test_its_defaults_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = optim.LossScaling(optim.SGD()), torch.amp.GradScaler("cpu")
    assert ours.init_scale == theirs._init_scale == float(ours.scale.value)
    assert ours.growth_factor == theirs.get_growth_factor()
    assert ours.backoff_factor == theirs.get_backoff_factor()
    assert ours.growth_interval == theirs.get_growth_interval()


@pytest.mark.parametrize("inner", [optim.AdamW(), optim.SGD(0.1, momentum=0.9), optim.LAMB()])
@pytest.mark.parametrize("bad", BAD)
def test_an_overflow_changes_nothing_but_the_scale(inner: optim.Optimizer, bad: float) -> None:
    made = Fed(inner)
    made.run()
    before = made.state()
    made.run(bad)
    after = made.state()
    for name in before:
        if not name.startswith("loss_scale"):
            np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert (before["loss_scale"], after["loss_scale"]) == (65536, 32768)
    assert (before["loss_scale.growth_tracker"], after["loss_scale.growth_tracker"]) == (1, 0)
    made.run()
    assert np.all(made.w.value != before["w"])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_it_changes_no_update_while_nothing_overflows(dtype: str) -> None:
    """A power of 2 rounds nothing; 16-bit parameters get float32 gradients."""
    made = Fed(optim.Adam(lr=0.1), dtype, init_scale=1024.0)
    w = sn.variable(np.array([1.0, -2.0, 3.0], dtype), "w")
    plain = optim.Adam(lr=0.1).minimize(sn.sum(w * made.g))
    step = sn.function(made.g, [], updates=plain)
    for value in (1.0, 0.75, -2.0, 0.0):
        made.run(value)
        step(np.array([0.5, value, 0.25], dtype))
    np.testing.assert_array_equal(made.w.value, w.value)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_that_vanish_in_float16_train_with_it(device: str) -> None:
    """d loss / d product is 3e-9: below the smallest float16 number, 6e-8."""

    def losses(inner: Any) -> Any:
        x = sn.placeholder((16, 8), name="x")
        w = sn.variable(np.zeros((8, 4), "f"), "w")
        loss = sn.mean(sn.square(x @ w - 1)) * 1e-7
        updates = inner.minimize(loss)
        f = sn.function(x, loss, updates=updates, device=device, precision="float16")
        feed = np.random.default_rng(0).normal(size=(16, 8)).astype("f") * 0.3 + 0.5
        found = [float(f(feed)) for _ in range(60)]
        assert w.value.dtype == np.float32
        return found, w.value

    sgd = optim.SGD(lr=1e7)
    plain, left = losses(sgd)
    assert not left.any()
    assert plain[-1] == plain[0]
    scaled, _ = losses(optim.LossScaling(sgd))
    assert scaled[-1] < 0.2 * scaled[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weight", [1.0, 1e7])
def test_gradients_that_overflow_float16_train_with_it(device: str, weight: float) -> None:
    """At the first scale, or even at scale 1: the scale falls until they fit."""
    x = sn.placeholder((16, 8), name="x")
    w = sn.variable(np.zeros((8, 4), "f"), "w")
    loss = sn.sum(sn.square(x @ w - 1)) * weight
    inner = optim.SGD(lr=0.002 / weight)
    feed = np.random.default_rng(0).normal(size=(16, 8)).astype("f") * 0.3 + 0.5

    if weight > 1:
        alone = sn.function(
            x, loss, updates=inner.minimize(loss), device=device, precision="float16"
        )
        alone(feed)
        assert not np.isfinite(w.value).all(), "without scaling it overflows"
        w.value = np.zeros((8, 4), "f")
    scaling = optim.LossScaling(inner)
    updates = scaling.minimize(loss)
    f = sn.function(x, loss, updates=updates, device=device, precision="float16")
    found = [float(f(feed)) for _ in range(80)]
    assert 0 < updates.skipped.value < 40
    assert (float(scaling.scale.value) < 1) == (weight > 1)
    assert np.isfinite(found).all()
    assert found[-1] < 0.3 * found[0]


def test_gradients_can_be_clipped_in_between() -> None:
    w, g = sn.variable(np.zeros(3, "f"), "w"), sn.placeholder((3,), name="g")
    scaling = optim.LossScaling(optim.SGD(lr=1.0))
    grads = scaling.gradients(sn.sum(w * g), [w])
    clipped = optim.clip_by_value(grads, 2.0)
    updates = scaling.apply(clipped)
    step = sn.function(g, list(clipped.values()), updates=updates)
    (seen,) = step(np.array([1, 5, -5], "f"))
    np.testing.assert_array_equal(seen, [1, 2, -2])
    np.testing.assert_array_equal(w.value, [-1, -2, 2])
    step(np.array([1, np.inf, 0], "f"))  # clipping it to 2 would hide it
    np.testing.assert_array_equal(w.value, [-1, -2, 2])
    assert (float(scaling.scale.value), int(updates.skipped.value)) == (32768, 1)


def test_groups_reach_the_inner_optimizer() -> None:
    a, b = (sn.variable(np.ones(2, "f"), name) for name in "ab")
    x = sn.placeholder((2,), name="x")
    groups = [{"params": [a], "lr": 0.0}, {"params": [b]}]
    updates = optim.LossScaling(optim.SGD(lr=0.5)).minimize(sn.sum((a + b) * x), groups)
    sn.function(x, [], updates=updates)(np.ones(2, "f"))
    np.testing.assert_array_equal([a.value, b.value], [[1, 1], [0.5, 0.5]])


@pytest.mark.parametrize("outside", [True, False])
def test_accumulation_around_it_and_inside(outside: bool) -> None:
    """Around it one bad gradient skips the round; inside it one is left out of the sum."""
    w, g = sn.variable(np.zeros(3, "f"), "w"), sn.placeholder((3,), name="g")
    inner = optim.SGD(lr=1.0)
    optimizer: optim.Optimizer = optim.LossScaling(optim.Accumulate(inner, 2))
    if outside:
        optimizer = optim.Accumulate(optim.LossScaling(inner), 2)
    step = sn.function(g, [], updates=optimizer.minimize(sn.sum(w * g)))
    one = np.ones(3, "f")
    seen = []
    for value in (1, 3, np.inf, 1, 1, 3):
        step(one * np.float32(value))
        seen.append(float(w.value[0]))
    assert seen == ([0, -2, -2, -2, -2, -4] if outside else [0, -2, -2, -2, -3, -3])


def test_the_graph_is_text_like_any_other() -> None:
    made = Fed(optim.Adam())
    assert sn.parse(str(made.step.graph)) == made.step.graph
    assert {v.name for v in made.updates} >= {"loss_scale", "loss_scale.growth_tracker"}
    assert not made.scaling.scale.trainable


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "Adam"}, "is no optimizer"),
        ({"init_scale": 0.0}, "init_scale must be a float32 number > 0"),
        ({"init_scale": 1e39}, "init_scale must be a float32 number > 0"),
        ({"init_scale": 1e-39}, "init_scale must be a float32 number > 0, not subnormal"),
        ({"init_scale": float("nan")}, "init_scale"),
        ({"growth_factor": 1.0}, "growth_factor must be a number > 1"),
        ({"growth_factor": "2"}, "growth_factor"),
        ({"backoff_factor": 1.0}, r"backoff_factor must be a number in \(0, 1\)"),
        ({"growth_interval": 0}, "growth_interval must be a positive int"),
        ({"growth_interval": 2.0}, "growth_interval must be a positive int"),
    ],
)
def test_illegal_arguments_say_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"LossScaling: .*{message}"):
        optim.LossScaling(**{"optimizer": optim.SGD(), **options})


def test_gradients_of_another_loss_are_refused() -> None:
    made = Fed(optim.SGD())
    loss = sn.sum(made.w * made.g)
    grads = dict(zip([made.w], sn.grad(loss, [made.w]), strict=True))
    with pytest.raises(ArgumentError, match="a loss that it did not scale; take minimize"):
        made.scaling.apply(grads)
