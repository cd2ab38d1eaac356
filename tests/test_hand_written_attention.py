"""A softmax between two products, written by hand, is attention: its scores are never in memory."""

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn

rng = np.random.default_rng(0)
T = 24
KEPT = np.tri(T, dtype=bool)
BIAS = rng.normal(size=(3, T, T)).astype("float32")


def heads_last(x):
    """x: [b, h, t, d] -> [b, t, h, d], other elements in order"""
    b, h, t, d = x.shape
    return sn.reshape(x, (b, t, h, d))


FORMS = {
    "plain": lambda q, k, v: nn.softmax(q @ sn.matrix_transpose(k)) @ v,
    "scaled after": lambda q, k, v: nn.softmax(q @ sn.matrix_transpose(k) * 0.5) @ v,
    "divided": lambda q, k, v: nn.softmax(q @ sn.swapaxes(k, -1, -2) / 2.0) @ v,
    "scaled before": lambda q, k, v: nn.softmax((q * 0.5) @ sn.matrix_transpose(k)) @ v,
    "causal": lambda q, k, v: (
        nn.softmax(sn.where(KEPT, q @ sn.matrix_transpose(k) * 0.5, -np.inf)) @ v
    ),
    "causal by what is left out": lambda q, k, v: (
        nn.softmax(sn.where(~KEPT, -np.inf, q @ sn.matrix_transpose(k))) @ v
    ),
    "tril": lambda q, k, v: (
        nn.softmax(sn.where(sn.tril(sn.ones((T, T))) > 0, q @ sn.matrix_transpose(k), -np.inf)) @ v
    ),
    "masked": lambda q, k, v: (
        nn.softmax(sn.where(KEPT[::-1, ::-1], q @ sn.matrix_transpose(k), -np.inf)) @ v
    ),
    "far below": lambda q, k, v: (
        nn.softmax(sn.where(KEPT, q @ sn.matrix_transpose(k) * 0.5, -1e9)) @ v
    ),
    "heads after lengths": lambda q, k, v: sn.swapaxes(
        nn.softmax(sn.swapaxes(heads_last(q), 1, 2) @ sn.permute_dims(heads_last(k), (0, 2, 3, 1)))
        @ sn.swapaxes(heads_last(v), 1, 2),
        1,
        2,
    ).reshape(q.shape),
    "keys in columns": lambda q, k, v: nn.softmax(q @ sn.tanh(sn.matrix_transpose(k))) @ v,
    "einsum": lambda q, k, v: sn.einsum(
        "bhts,bhsd->bhtd", nn.softmax(sn.einsum("bhtd,bhsd->bhts", q, k) * 0.5), v
    ),
    "biased": lambda q, k, v: nn.softmax(q @ sn.matrix_transpose(k) * 0.3 + BIAS) @ v,
}


def built(form, shape, numerics, device="cpu"):
    """A step of two attentions, the second of the first's result, and all gradients."""
    nodes = [sn.placeholder(shape) for _ in range(3)]
    q, k, v = nodes
    y = FORMS[form](FORMS[form](q, k, v), k, sn.tanh(v))
    outputs = [y, *sn.grad(sn.sum(y * y), nodes)]
    return sn.function(nodes, outputs, device=device, numerics=numerics)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_found_with_its_gradient(form):
    shape = (3, T, 5) if form == "biased" else (2, 3, T, 5)
    f = built(form, shape, "fast")
    text = str(f.explain())
    assert text.count("= attention(") == 2
    assert text.count("= attention_gradient(") == 2
    assert "= matmul(" not in text
    assert ("causal=True" in text) == (form.startswith(("causal", "tril", "far")))
    arrays = [rng.normal(size=shape).astype("float32") for _ in range(3)]
    wanted = built(form, shape, "exact", "numpy")(*arrays)
    for got, want in zip(f(*arrays), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_nothing_of_the_scores_is_in_memory():
    def step(numerics):
        q, k, v = nodes = [sn.placeholder((1, 2, 1024, 16)) for _ in range(3)]
        y = nn.softmax(q @ sn.matrix_transpose(k) * 0.25) @ v
        return sn.function(
            nodes, [y, *sn.grad(sn.sum(y * y), nodes)], device="cpu", numerics=numerics
        )

    scores = 2 * 1024 * 1024 * 4
    assert step("fast").memory_analysis().arena < scores / 8
    assert step("exact").memory_analysis().arena >= scores


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_casts_of_a_precision_do_not_hide_it(precision):
    nodes = [sn.placeholder((2, 3, T, 5)) for _ in range(3)]
    y = FORMS["far below"](*nodes)
    outputs = [y, *sn.grad(sn.sum(y * y), nodes)]
    f = sn.function(nodes, outputs, device="cpu", numerics="fast", precision=precision)
    text = str(f.explain())
    assert "= attention_gradient(" in text
    assert "= matmul(" not in text
    arrays = [rng.normal(size=(2, 3, T, 5)).astype("float32") for _ in range(3)]
    wanted = sn.function(nodes, outputs, device="numpy", numerics="exact")(*arrays)
    for got, want in zip(f(*arrays), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=3e-2 * np.abs(want).max())


def test_a_query_that_may_have_no_key_keeps_the_mean_that_far_below_gives_it():
    q, k, v = nodes = [sn.placeholder((2, T, 5)) for _ in range(3)]
    keep = sn.placeholder((T, T), "bool")
    none = KEPT.copy()
    none[3] = False
    for mask in (keep, sn.constant(none)):
        y = nn.softmax(sn.where(mask, q @ sn.matrix_transpose(k), -1e9)) @ v
        f = sn.function([*nodes, keep], y, device="cpu", numerics="fast")
        arrays = [rng.normal(size=(2, T, 5)).astype("float32") for _ in range(3)]
        got = f(*arrays, none)
        np.testing.assert_allclose(got[:, 3], arrays[2].mean(1), rtol=1e-4, atol=1e-5)


def test_weights_that_are_read_stay():
    q, k, v = nodes = [sn.placeholder((2, T, 5)) for _ in range(3)]
    w = nn.softmax(q @ sn.matrix_transpose(k))
    f = sn.function(nodes, [w @ v, w], device="cpu", numerics="fast")
    assert "= attention(" not in str(f.explain())
