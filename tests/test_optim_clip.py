"""Clipping against PyTorch's, on lists and mappings."""

import numpy as np
import pytest

import staticnet as sn
from staticnet import optim
from staticnet.errors import ArgumentError, DTypeError

RNG = np.random.default_rng(3)
GRADS = [RNG.normal(size=(3, 2)), RNG.normal(size=4), RNG.normal(size=())]


def run(values):
    return sn.function([], list(values))()


def nodes():
    return [sn.constant(g) for g in GRADS]


def clipped_by_torch(name, groups, limit):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    result = []
    for group in groups:
        parameters = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in group]
        for parameter, g in zip(parameters, group, strict=True):
            parameter.grad = torch.tensor(g)
        getattr(torch.nn.utils, name)(parameters, limit)
        result += [parameter.grad.numpy() for parameter in parameters]
    return result


CASES = [
    (optim.clip_by_global_norm, "clip_grad_norm_", [GRADS]),
    (optim.clip_by_norm, "clip_grad_norm_", [[g] for g in GRADS]),
    (optim.clip_by_value, "clip_grad_value_", [GRADS]),
]


@pytest.mark.parametrize("limit", [0.3, 2.0, 100.0])
@pytest.mark.parametrize(("clip", "oracle", "groups"), CASES)
def test_clipping_follows_pytorch(clip, oracle, groups, limit):
    found = run(clip(nodes(), limit))
    for ours, theirs in zip(found, clipped_by_torch(oracle, groups, limit), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@pytest.mark.parametrize("clip", [case[0] for case in CASES])
def test_a_mapping_comes_back_as_a_mapping_in_its_order(clip):
    keys = [sn.variable(g) for g in GRADS]
    found = clip(dict(zip(keys, nodes(), strict=True)), 0.3)
    assert isinstance(found, dict)
    assert [id(key) for key in found] == [id(key) for key in keys]
    for ours, listed in zip(run(found.values()), run(clip(nodes(), 0.3)), strict=True):
        np.testing.assert_array_equal(ours, listed)


def test_the_global_norm_is_that_of_one_long_vector():
    flat = np.concatenate([g.ravel() for g in GRADS])
    (norm,) = run([optim.global_norm(nodes())])
    np.testing.assert_allclose(norm, np.linalg.norm(flat), rtol=1e-15)


def test_half_precision_gradients_keep_their_dtype_and_do_not_overflow():
    grads = [sn.constant(np.full(4, 300, "float16")), sn.constant(np.full(4, 400, "float32"))]
    half, single = optim.clip_by_global_norm(grads, 10.0)
    assert (half.dtype, single.dtype) == ("float16", "float32")
    np.testing.assert_allclose(run([half, single]), [[3.0] * 4, [4.0] * 4], rtol=1e-3)


def test_clipped_gradients_go_on_to_the_optimizer():
    w = sn.variable(np.array([3.0, 4.0]), "w")
    grads = dict(zip([w], sn.grad(sn.sum(w * w) / 2, [w]), strict=True))
    updates = optim.SGD(lr=1.0).apply(optim.clip_by_global_norm(grads, 1.0))
    sn.function([], [], updates=updates)()
    np.testing.assert_allclose(w.value, [2.4, 3.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: optim.clip_by_value(nodes(), -1.0), ArgumentError, "clip_value"),
        (lambda: optim.clip_by_norm(nodes(), "1"), ArgumentError, "max_norm"),
        (lambda: optim.clip_by_global_norm([1.0], 1.0), ArgumentError, "expected values"),
        (lambda: optim.global_norm([]), ArgumentError, "no values"),
        (lambda: optim.global_norm([sn.constant(1)]), DTypeError, "floating-point"),
    ],
)
def test_illegal_arguments_say_why(call, error, names):
    with pytest.raises(error, match=names):
        call()
