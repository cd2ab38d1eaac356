"""Initialisers: moments, bounds, orthogonality, and where their numbers come from."""

import math

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.nn import init

SHAPE = (60, 40, 5)  # fan_in 200, fan_out 300
# name: (arguments, kind of distribution, standard deviation)
SCALED = {
    "xavier_uniform": ({}, "uniform", math.sqrt(2 / 500)),
    "xavier_normal": ({"gain": 2.0}, "normal", 2 * math.sqrt(2 / 500)),
    "kaiming_uniform": ({}, "uniform", math.sqrt(2 / 200)),
    "kaiming_normal": ({"mode": "fan_out"}, "normal", math.sqrt(2 / 300)),
    "he_uniform": ({"a": math.sqrt(5)}, "uniform", math.sqrt(1 / 3 / 200)),
    "he_normal": ({"nonlinearity": "linear"}, "normal", math.sqrt(1 / 200)),
    "lecun_uniform": ({}, "uniform", math.sqrt(1 / 200)),
    "lecun_normal": ({}, "normal", math.sqrt(1 / 200)),
    "uniform": ({"a": -3, "b": 3}, "uniform", math.sqrt(3)),
    "normal": ({"std": 0.5}, "normal", 0.5),
}
RANDOM = [*SCALED, "orthogonal", "truncated_normal"]


@pytest.mark.parametrize("name", SCALED)
def test_moments_and_tails(name):
    arguments, kind, std = SCALED[name]
    w = getattr(init, name)(SHAPE, **arguments, dtype="float64", seed=3) / std
    assert w.shape == SHAPE
    assert abs(w.mean()) < 0.02
    assert abs(w.std() - 1) < 0.02
    fourth = (w**4).mean()  # 9/5 for a uniform distribution, 3 for a normal one
    assert abs(fourth - (1.8 if kind == "uniform" else 3)) < 0.15
    if kind == "uniform":
        assert np.abs(w).max() <= math.sqrt(3)
        assert np.abs(w).max() > 0.99 * math.sqrt(3)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_and_the_stream_decide_the_numbers(name):
    draw = getattr(init, name)
    np.testing.assert_array_equal(draw((3, 4), seed=1), draw((3, 4), seed=1))
    assert not np.array_equal(draw((3, 4), seed=1), draw((3, 4), seed=2))
    nn.manual_seed(5)
    first, second = draw((3, 4)), draw((3, 4))
    assert not np.array_equal(first, second)
    nn.manual_seed(5)
    np.testing.assert_array_equal(draw((3, 4)), first)
    draw((3, 4), seed=1)  # takes nothing from the stream
    np.testing.assert_array_equal(draw((3, 4)), second)
    nn.manual_seed(6)
    assert not np.array_equal(draw((3, 4)), first)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_dtypes_and_variables(name, dtype):
    w = getattr(init, name)((3, 4), dtype=dtype)
    assert sn.variable(w).dtype.name == dtype
    assert getattr(init, name)((3, 4)).dtype == "float32"


@pytest.mark.parametrize("shape", [(5, 5), (8, 3), (3, 8), (4, 2, 3), (1, 1)])
def test_orthogonal(shape):
    w = init.orthogonal(shape, gain=2.0, dtype="float64", seed=1).reshape(shape[0], -1) / 2
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-14)


def test_orthogonal_has_no_preferred_sign():
    diagonals = [init.orthogonal((2, 2), seed=s).diagonal() for s in range(200)]
    assert np.abs(np.mean(np.sign(diagonals), axis=0)).max() < 0.2


@pytest.mark.parametrize(("a", "b"), [(-2.0, 2.0), (0.5, 3.0), (-0.1, 0.1)])
def test_truncated_normal(a, b):
    from scipy.stats import truncnorm

    w = init.truncated_normal((20000,), 0.3, 1.5, a, b, dtype="float64", seed=1)
    wanted = truncnorm((a - 0.3) / 1.5, (b - 0.3) / 1.5, 0.3, 1.5)
    assert w.min() >= a
    assert w.max() <= b
    assert abs(w.mean() - wanted.mean()) < 0.03 * (b - a)
    assert abs(w.std() / wanted.std() - 1) < 0.03


def test_constants():
    assert init.zeros((2, 3)).tolist() == [[0.0] * 3] * 2
    assert init.ones(2, "int32").tolist() == [1, 1]
    assert init.constant((2,), 2.5).dtype == "float32"
    assert init.constant((2,), 2.5).tolist() == [2.5, 2.5]


def test_gains_match_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)


def test_fans_match_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    for shape in ((3, 4), (3, 4, 5), (3, 4, 5, 6)):
        fans = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
        assert init.fans(shape) == fans


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.xavier_uniform((3,)), ShapeError, "two axes"),
        (lambda: init.orthogonal((3,)), ShapeError, "orthogonal: needs at least 2"),
        (lambda: init.uniform(("batch", 2)), ShapeError, "must be fixed"),
        (lambda: init.normal((2,), dtype="int32"), DTypeError, "floating-point, not int32"),
        (lambda: init.normal((2,), seed=-1), ArgumentError, "seed"),
        (lambda: init.kaiming_normal((2, 2), mode="fan"), ArgumentError, "mode"),
        (lambda: init.kaiming_normal((2, 2), nonlinearity="x"), ArgumentError, "'x' is unknown"),
        (lambda: init.truncated_normal((2,), a=1, b=1), ArgumentError, "a < b"),
        (lambda: nn.manual_seed("one"), ArgumentError, "seed"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_bad_seed_leaves_the_stream_alone():
    nn.manual_seed(3)
    first = init.normal((4,))
    nn.manual_seed(3)
    with pytest.raises(ArgumentError):
        nn.manual_seed(-1)
    np.testing.assert_array_equal(init.normal((4,)), first)


def test_empty_weights():
    assert init.kaiming_uniform((0, 3)).shape == (0, 3)
    assert init.xavier_normal((0, 0)).shape == (0, 0)
