"""`sn.compare` given what it cannot compare: errors that say what, where and the remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.compare import Peer
from staticnet.compare.run import Settings
from staticnet.errors import (
    ArgumentError,
    FeedError,
    ShapeError,
    StaticnetError,
    SymbolicValueError,
)

QUICK: dict[str, Any] = {"device": "numpy", "steps": 6, "rounds": 3, "seconds": 0.002}
RNG = np.random.default_rng(0)
FEEDS = [(RNG.standard_normal((8, 3)).astype(np.float32), RNG.integers(0, 4, 8)) for _ in range(4)]


class Guarded:
    """A tensor whose gradient is recorded converts to no array."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("use tensor.detach()")


def small() -> Any:
    """A classifier."""
    model = sn.nn.Sequential(sn.nn.Linear(3, 16), sn.nn.Tanh(), sn.nn.Linear(16, 4))
    return lambda x, y: sn.nn.cross_entropy(model(x), y), sn.optim.Adam(lr=0.01)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ([], "list with one entry a step"),
        (np.ones((3, 8)), "list with one entry a step"),
        ({"x": 1}, "list with one entry a step"),
        ([FEEDS[0], FEEDS[0][:1]], "feed 1 is an array float32\\[8,3\\], and feed 0 is"),
        ([FEEDS[0], ([[1.0], [2.0, 3.0]], 1)], "feed 1 holds what is no array: .*shape"),
        ([(Guarded(), 1)], "feed 0 holds what is no array: use tensor.detach"),
    ],
)
def test_feeds(feeds: Any, message: str) -> None:
    with pytest.raises(FeedError, match=message):
        sn.compare(small, feeds, **QUICK)


@pytest.mark.parametrize(
    "made", [None, (1, 2), (lambda x, y: x,), [small, small], (sn.optim.SGD(), small)]
)
def test_what_build_gives(made: Any) -> None:
    with pytest.raises(ArgumentError, match=r"build\(\) must give \(loss, rule\)"):
        sn.compare(lambda: made, FEEDS, **QUICK)


def test_what_is_no_function() -> None:
    with pytest.raises(ArgumentError, match="build must be a function, not 3"):
        sn.compare(3, FEEDS, **QUICK)  # type: ignore[arg-type]


def test_a_loss_of_other_arguments() -> None:
    for loss in (lambda x: sn.mean(x), lambda x, y, z: sn.mean(x)):
        with pytest.raises(ArgumentError, match=r"takes \(x.*\), and each feed has 2 arrays"):
            sn.compare(lambda loss=loss: (loss, sn.optim.SGD()), FEEDS, **QUICK)


@pytest.mark.parametrize(
    ("peers", "message"),
    [
        (["torch"], "must be staticnet.compare.Peer objects, not 'torch'"),
        ([Peer("dynamic", "m:f")], "two contenders are called 'dynamic'"),
        ([Peer("without fusion", "m:f")], "two contenders are called 'without fusion'"),
        ([Peer("a", "m:f"), Peer("a", "m:g")], "two contenders are called 'a'"),
    ],
)
def test_peers(peers: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sn.compare(small, FEEDS, peers=peers, **QUICK)


def test_a_loss_that_is_none() -> None:
    w = sn.variable(np.float32([1, 2, 3]))
    for loss, error, message in [
        (lambda x, y: 3.0, ArgumentError, "made of its arguments, not 3.0"),
        (lambda x, y: x * w, ShapeError, "must be a floating-point scalar"),
        (lambda x, y: sn.sum(y), ShapeError, "must be a floating-point scalar"),
    ]:
        with pytest.raises(error, match=message):
            sn.compare(lambda loss=loss: (loss, sn.optim.SGD()), FEEDS, **QUICK)


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": 0},
        {"steps": 1.5},
        {"rounds": True},
        {"seconds": 0},
        {"rtol": float("inf")},
        {"seconds": True},
        {"rtol": "1"},
        {"limit": 0},
    ],
)
def test_numbers(changed: Any) -> None:
    (name,) = changed
    with pytest.raises(ArgumentError, match=f"compare: {name} must be"):
        sn.compare(small, FEEDS, **QUICK | changed)


def test_a_model_that_changes_between_builds() -> None:
    widths = iter([4, 5, 6, 7])

    def build() -> Any:
        width = next(widths)
        model = sn.nn.Sequential(sn.nn.Linear(3, width), sn.nn.Linear(width, 4))
        return lambda x, y: sn.nn.cross_entropy(model(x), y), sn.optim.SGD(lr=0.1)

    with pytest.raises(StaticnetError, match="the same model at each call"):
        sn.compare(build, FEEDS, **QUICK)


def test_a_loop_over_values_names_its_line_and_the_remedy() -> None:
    """The same model trains dynamically."""
    layer = sn.nn.Linear(3, 4)

    def build() -> Any:
        def loss(x: Any, y: Any) -> Any:
            while sn.max(sn.abs(x)) > 1:
                x = 0.5 * x
            return sn.nn.cross_entropy(layer(x), y)

        return loss, sn.optim.SGD(lr=0.1)

    line = build.__code__.co_firstlineno + 2
    message = rf"bool: .*test_compare_input\.py:{line} depends on it; .*sn\.where.*sn\.dynamic"
    with pytest.raises(SymbolicValueError, match=message):
        sn.compare(build, FEEDS, **QUICK)
    loss, rule = build()
    optimizer = sn.dynamic.Optimizer(rule, layer.parameters())
    losses = []
    for x, y in FEEDS * 5:
        value = loss(sn.dynamic.tensor(4 * x), sn.dynamic.tensor(y))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value))
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_numpys_numbers_are_numbers() -> None:
    numbers: Any = {"seconds": np.float32(0.5), "rtol": np.array(1), "steps": np.int8(3)}
    made = Settings(device="numpy", rounds=1, seed=0, limit=1, **numbers)
    found = (made.seconds, made.rtol, made.steps)
    assert found == (0.5, 1.0, 3)
    assert [type(x) for x in found] == [float, float, int]
