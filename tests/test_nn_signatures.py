"""Layers and functions take PyTorch's arguments, by its names, in its order, with its defaults."""

import inspect
import re

import numpy as np
import pytest

import staticnet as sn

torch = pytest.importorskip("torch")
F = sn.nn.functional

LEFT_OUT = {"size_average", "reduce", "out", "_stacklevel", "_weight", "_freeze", "device"}
"""What PyTorch itself calls deprecated or keeps to itself, and `device`: a function has one."""
OTHERS = {
    "GRU": {"mode", "proj_size"},
    "LSTM": {"mode"},
    "RNN": {"mode", "proj_size"},
    "Hardtanh": {"min_value", "max_value"},  # deprecated
    "ModuleDict": {"modules"},
    "ModuleList": {"modules"},
    "ParameterDict": {"parameters"},
    "ParameterList": {"values"},
}
LAYERS = [
    name
    for name in dir(sn.nn)
    if inspect.isclass(getattr(sn.nn, name)) and inspect.isclass(getattr(torch.nn, name, None))
]
FUNCTIONS = [name for name in F.__all__ if hasattr(torch.nn.functional, name)]


def of_torch(function):
    """Names and defaults, of a built-in function from the first line of its text."""
    try:
        found = inspect.signature(function).parameters
    except ValueError:
        text = re.search(r"\w+\((.*?)\) *->", function.__doc__.replace("\n", " "))
        parts = [part.strip().partition("=") for part in text[1].split(",")]
        return {
            name.partition(":")[0].strip(): value.strip() or None
            for name, _, value in parts
            if name not in ("*", "\\*")
        }
    return {
        name: None if p.default is p.empty else repr(p.default)
        for name, p in found.items()
        if name not in ("self", "args", "kwargs")
    }


def same(ours, theirs):
    """Whether a default is that of PyTorch; its text says None for what has none."""
    if theirs in (None, "None"):
        return True
    try:
        return ours == eval(theirs)  # a number, a string or a bool
    except (NameError, SyntaxError):
        return True


def check(name, ours, theirs):
    expected = {k: v for k, v in of_torch(theirs).items() if k not in LEFT_OUT}
    expected = {k: v for k, v in expected.items() if k not in OTHERS.get(name, ())}
    own = {k: p for k, p in inspect.signature(ours).parameters.items() if k != "self"}
    if any(p.kind is p.VAR_KEYWORD for p in own.values()):
        return
    assert [k for k in own if k in expected] == list(expected)
    different = {k: (own[k].default, v) for k, v in expected.items() if not same(own[k].default, v)}
    different.pop("activation", None)  # a function there, its name here
    assert not different


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    theirs = torch.nn.RNNBase if name in ("GRU", "LSTM", "RNN") else getattr(torch.nn, name)
    check(name, getattr(sn.nn, name).__init__, theirs.__init__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    theirs = torch.nn.functional  # what dispatches by a bool has the arguments of its halves
    check(name, getattr(F, name), getattr(theirs, f"_{name}", None) or getattr(theirs, name))


@pytest.mark.parametrize("name", ["relu", "relu6", "elu", "selu", "silu", "mish", "hardswish"])
def test_inplace_changes_nothing(name):
    x = np.linspace(-4, 4, 9)
    given = sn.dynamic.tensor(x)
    y = getattr(F, name)(given, inplace=True)
    np.testing.assert_array_equal(given.numpy(), x)
    expected = getattr(torch.nn.functional, name)(torch.from_numpy(x))
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-12)


def test_softmax_casts_beforehand():
    x = np.array([[1, 2, 4]])
    for name in ("softmax", "log_softmax", "softmin"):
        y = sn.function([], getattr(F, name)(x, dim=1, dtype="float64"))()
        expected = getattr(torch.nn.functional, name)(torch.from_numpy(x), 1, dtype=torch.float64)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: F.dropout(x, 0.5),
        lambda x: F.dropout(x, 0.5, True, True),
        lambda x: F.alpha_dropout(x, 0.5, training=True),
        lambda x: F.rrelu(x - 2, training=True),
        lambda x: F.gumbel_softmax(x),
        lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
    ],
)
def test_without_a_key_each_run_draws_others(draw):
    x = sn.placeholder((8, 8))
    step = sn.function([x], [draw(x), draw(x)])
    ones = np.ones((8, 8), np.float32)
    runs = [*step(ones), *step(ones)]
    assert len({run.tobytes() for run in runs}) == 4
    again = [draw(sn.dynamic.tensor(ones)).numpy() for _ in range(2)]
    assert not np.array_equal(*again)


def test_a_key_decides_and_may_stand_third():
    x, key = np.ones((4, 4), np.float32), sn.random.key(3)
    drawn = [F.dropout(x, 0.5, key), F.dropout(x, 0.5, key=key), F.dropout(x, 0.5, True, key=key)]
    first, *others = sn.function([], drawn)()
    assert 0 < np.count_nonzero(first) < 16
    for other in others:
        np.testing.assert_array_equal(first, other)
    same = sn.function([], F.dropout(x, 0.5, False, key=key))()
    np.testing.assert_array_equal(same, x)
