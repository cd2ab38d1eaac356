"""Accumulation, averages, guards and decay, alone and composed."""

import numpy as np
import pytest

import staticnet as sn
from staticnet import optim
from staticnet.errors import ArgumentError

RNG = np.random.default_rng(11)
W = RNG.normal(size=(3, 2))
DATA = RNG.normal(size=(24, 3))


class Model:
    """A parameter, a fed loss, and a step function for some updates."""

    def __init__(self, make_updates):
        self.w = sn.variable(W, "w")
        x = sn.placeholder(("batch", 3), "float64", "x")
        self.loss = sn.mean(sn.square(sn.tanh(x @ self.w) - 0.5))
        self.updates = make_updates(self.loss, self.w)
        self.step = sn.function([x], self.loss, updates=self.updates)

    def values(self):
        return {id(target): target.value for target in self.updates}


def assert_same(before, after):
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)


OPTIMIZERS = [
    optim.SGD(0.1, momentum=0.9, dampening=0.5),
    optim.AdamW(lr=optim.ExponentialLR(0.01, 0.9)),
    optim.NAdam(),
    optim.LAMB(weight_decay=0.1),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_accumulation_equals_the_big_batch(optimizer):
    small = Model(lambda loss, w: optim.Accumulate(optimizer, steps=4).minimize(loss))
    big = Model(optimizer.minimize)
    for batch in np.split(DATA, 6):
        small.step(batch)
    for batch in np.split(np.concatenate([DATA, DATA]), 3):
        big.step(batch)
    assert small.updates.step.value == 1
    for batch in np.split(DATA, 6):
        small.step(batch)
    assert small.updates.step.value == big.updates.step.value == 3
    assert abs(small.w.value - W).max() > 1e-4
    np.testing.assert_allclose(small.w.value, big.w.value, rtol=1e-12)
    for name, variable in small.updates.state[small.w].items():
        theirs = big.updates.state[big.w][name].value
        np.testing.assert_allclose(variable.value, theirs, rtol=1e-12, atol=1e-18)


def test_accumulation_leaves_everything_of_the_optimizer_until_the_round_is_full():
    inner = {}

    class Spy(optim.Optimizer):
        def apply(self, grads, wrt=None):
            inner["updates"] = optim.AdamW().apply(grads, wrt)
            return inner["updates"]

    model = Model(optim.Accumulate(Spy(), steps=3).minimize)
    for _ in range(2):
        before = {id(target): target.value for target in inner["updates"]}
        for _ in range(2):
            model.step(DATA)
            assert_same(before, model.values())
        model.step(DATA)
        assert all((model.values()[key] != value).any() for key, value in before.items())


def test_accumulation_honours_groups():
    model = Model(lambda loss, w: optim.Updates())
    groups = [{"params": [model.w], "lr": 0.0}]
    updates = optim.Accumulate(optim.SGD(lr=1.0), 1).minimize(model.loss, groups)
    sn.function(list(model.step.graph.inputs), [], updates=updates)(DATA)
    np.testing.assert_array_equal(model.w.value, W)


def test_ema_follows_its_formula_and_starts_at_the_parameter():
    model = Model(lambda loss, w: optim.ema(optim.SGD(lr=0.5).minimize(loss), decay=0.9))
    shadow = model.updates.shadows[model.w]
    expected = W
    np.testing.assert_array_equal(shadow.value, W)
    for _ in range(5):
        model.step(DATA)
        expected = 0.9 * expected + 0.1 * model.w.value
    np.testing.assert_allclose(shadow.value, expected, rtol=1e-14)
    assert optim.skip_nonfinite(model.updates).shadows == {model.w: shadow}
    assert not shadow.trainable
    assert shadow.name == "w.ema"


def test_ema_of_half_precision_is_kept_in_float32():
    w = sn.variable(np.ones(2, "float16"), "w")
    updates = optim.ema({w: w + 1})
    assert updates.shadows[w].dtype == "float32"
    sn.function([], [], updates=updates)()
    np.testing.assert_allclose(updates.shadows[w].value, 1.001, rtol=1e-6)


@pytest.mark.parametrize("watched", ["updates", "loss", "gradients"])
def test_a_nonfinite_run_changes_nothing_but_the_counter(watched):
    def make_updates(loss, w):
        grads = dict(zip([w], sn.grad(loss, [w]), strict=True))
        watch = {"updates": None, "loss": loss, "gradients": grads}[watched]
        return optim.skip_nonfinite(optim.Adam().apply(grads), watch)

    model, clean = Model(make_updates), Model(make_updates)
    counter = model.updates.skipped
    bad = DATA.copy()
    bad[0, 0] = np.nan
    for expected, batch in [(0, DATA), (1, bad), (2, bad), (2, DATA)]:
        before = model.values()
        model.step(batch)
        assert counter.value == expected
        if batch is bad:
            del before[id(counter)]
            assert_same(before, model.values())
    clean.step(DATA)
    clean.step(DATA)
    np.testing.assert_array_equal(model.w.value, clean.w.value)
    assert model.updates.step.value == 2


def test_a_sum_of_infinities_of_either_sign_is_skipped_too():
    w = sn.variable(np.zeros(3))
    x = sn.placeholder((3,), "float64", "x")
    updates = optim.skip_nonfinite({w: w + x})
    step = sn.function([x], [], updates=updates)
    step(np.array([np.inf, -np.inf, 0]))
    assert updates.skipped.value == 1
    np.testing.assert_array_equal(w.value, 0)


def test_decoupled_weight_decay_makes_adam_adamw():
    schedule = optim.ExponentialLR(0.01, 0.9)
    ours = Model(
        lambda loss, w: optim.decoupled_weight_decay(
            optim.Adam(schedule).minimize(loss), 0.3, schedule
        )
    )
    theirs = Model(optim.AdamW(schedule, weight_decay=0.3).minimize)
    for _ in range(10):
        ours.step(DATA)
        theirs.step(DATA)
    np.testing.assert_allclose(ours.w.value, theirs.w.value, rtol=1e-12)
    assert abs(ours.w.value - W).max() > 0.01


def test_everything_composes():
    schedule = optim.SequentialLR([optim.LinearLR(0.1), optim.CosineAnnealingLR(0.1, 20)], [5])

    def make_updates(loss, w):
        accumulated = optim.Accumulate(optim.AdamW(lr=schedule), steps=2).minimize(loss)
        return optim.ema(optim.skip_nonfinite(accumulated), 0.5)

    model = Model(make_updates)
    bad = np.full_like(DATA, np.nan)
    first = model.step(DATA)
    for batch in [DATA, bad, *[DATA] * 10]:
        model.step(batch)
    assert model.updates.skipped.value == 1
    assert model.updates.step.value == 6
    assert model.step(DATA) < 0.85 * first
    shadow = model.updates.shadows[model.w].value
    assert 0 < abs(shadow - model.w.value).max() < abs(W - model.w.value).max()


def test_plain_mappings_are_updates_too():
    w, count = sn.variable(W, "w"), sn.variable(0, "count", trainable=False)
    updates = optim.ema(optim.skip_nonfinite({w: w * 2, count: count + 1}), 0.0)
    assert updates.parameters == [w]
    sn.function([], [], updates=updates)()
    np.testing.assert_allclose(updates.shadows[w].value, 2 * W)
    assert count.value == 1


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda w: optim.Accumulate(optim.SGD(), 0), "Accumulate: steps"),
        (lambda w: optim.Accumulate("SGD", 2), "is no optimizer"),
        (lambda w: optim.ema({w: w}, 1.5), "ema: decay"),
        (lambda w: optim.ema([w]), "a mapping"),
        (lambda w: optim.ema({w: 1.0}), "map variables to values"),
        (lambda w: optim.skip_nonfinite({w: w}, "loss"), "expected values"),
        (lambda w: optim.decoupled_weight_decay({w: w}, -1, 0.1), "weight_decay"),
        (lambda w: optim.decoupled_weight_decay({w: w}, 0.1, optim.Constant(1.0)), "no steps"),
    ],
)
def test_illegal_arguments_say_why(call, names):
    with pytest.raises(ArgumentError, match=names):
        call(sn.variable(W))
