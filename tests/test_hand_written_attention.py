"""A softmax between two products, written by hand, is attention: its scores are never in memory."""

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn

rng = np.random.default_rng(0)
T = 24
KEPT = np.tri(T, dtype=bool)
BIAS = rng.normal(size=(3, T, T)).astype("float32")

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
    assert ("causal=True" in text) == (form.startswith("causal") or form == "tril")
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


def test_weights_that_are_read_stay():
    q, k, v = nodes = [sn.placeholder((2, T, 5)) for _ in range(3)]
    w = nn.softmax(q @ sn.matrix_transpose(k))
    f = sn.function(nodes, [w @ v, w], device="cpu", numerics="fast")
    assert "= attention(" not in str(f.explain())
