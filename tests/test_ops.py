"""Every op of the registry: types, values, first and second derivatives, JVP, PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from samples import SAMPLES, Sample

import staticnet as sn
from staticnet.control.op import ControlOp
from staticnet.errors import DTypeError
from staticnet.ir.dtype import DTYPES, is_floating
from staticnet.ir.op import OPS
from staticnet.ops.base import Item

IDS = [f"{sample.op}-{i}" for i, sample in enumerate(SAMPLES)]
every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=IDS)


def placeholders(arrays: tuple[Any, ...]) -> list[Any]:
    return [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]


def cotangent(shape: Any) -> Any:
    return np.random.default_rng(9).uniform(0.5, 1.5, shape)


def is_smooth(sample: Sample) -> bool:
    return is_floating(sample.build(*placeholders(sample.args)).dtype)


SMOOTH = [sample for sample in SAMPLES if is_smooth(sample)]


def test_every_op_has_a_sample() -> None:
    """But for those of several results, and what reads these: they have tests of their own."""
    own = {name for name, op in OPS.items() if issubclass(op, ControlOp | Item)}
    assert set(OPS) - own == {sample.op for sample in SAMPLES}


@every_sample
def test_sample_uses_its_op(sample: Sample) -> None:
    xs = placeholders(sample.args)
    graph = sn.Graph("g", xs, [sample.build(*xs)])
    if sample.op != "size":  # a fixed dimension is a number; see test_symbolic_sizes
        assert sample.op in {node.op.name for node in graph.nodes}


@every_sample
def test_result_has_the_inferred_type(sample: Sample) -> None:
    accepted = 0
    for dtype in DTYPES.values():
        args = tuple(np.asarray(a).astype(dtype) for a in sample.args)
        xs = placeholders(args)
        try:
            y = sample.build(*xs)
        except DTypeError:
            continue
        accepted += 1
        result = sn.function(xs, y)(*args)
        assert (result.dtype, result.shape) == (y.dtype, y.shape)
    assert accepted


@every_sample
def test_text_parses_back(sample: Sample) -> None:
    xs = placeholders(sample.args)
    graph = sn.Graph("g", xs, [sample.build(*xs)])
    assert sn.parse(str(graph)) is graph


def along(xs: list[Any], ds: list[Any]) -> Any:
    total = sum(np.sum(x * d) for x, d in zip(xs, ds, strict=True))
    return float(total)


@every_sample
def test_derivatives_against_finite_differences(sample: Sample) -> None:
    if sample.op == "stop_gradient":
        pytest.skip("its derivative is 0 on purpose; PyTorch's detach is its oracle")
    xs = placeholders(sample.args)
    y = sample.build(*xs)
    if not is_floating(y.dtype):
        with pytest.raises(DTypeError):
            sn.grad(sn.sum(y), xs)
        return
    loss = sn.sum(y * cotangent(y.shape))
    grads = sn.grad(loss, xs)
    slope = sum((sn.sum(g * cotangent(g.shape)) for g in grads), sn.constant(0.0, "float64"))
    curvature = sn.grad(slope, xs, allow_unused=True)
    f = sn.function(xs, [loss, slope, *grads, *curvature])
    rng = np.random.default_rng(4)
    ds = [rng.uniform(-1, 1, a.shape) for a in sample.args]
    n, h = len(xs), 1e-5
    plus = f(*(a + h * d for a, d in zip(sample.args, ds, strict=True)))
    minus = f(*(a - h * d for a, d in zip(sample.args, ds, strict=True)))
    here = f(*sample.args)
    for order, derivative in ((0, here[2 : 2 + n]), (1, here[2 + n :])):
        measured = (plus[order] - minus[order]) / (2 * h)
        assert along(derivative, ds) == pytest.approx(measured, rel=2e-6, abs=1e-7)


@pytest.mark.parametrize("sample", SMOOTH, ids=lambda sample: sample.op)
def test_jvp_agrees_with_vjp(sample: Sample) -> None:
    xs = placeholders(sample.args)
    y = sample.build(*xs)
    rng = np.random.default_rng(5)
    ds, c = [rng.uniform(-1, 1, a.shape) for a in sample.args], cotangent(y.shape)
    (tangent,) = sn.jvp(y, xs, [sn.constant(d) for d in ds])
    products = sn.vjp(y, xs, sn.constant(c))
    pushed, *pulled = sn.function(xs, [tangent, *products])(*sample.args)
    assert pushed.shape == y.shape
    assert np.sum(pushed * c) == pytest.approx(along(pulled, ds), rel=1e-10, abs=1e-12)


@every_sample
def test_against_pytorch(sample: Sample) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    if isinstance(sample.torch, str):
        pytest.skip(sample.torch)
    xs = placeholders(sample.args)
    y = sample.build(*xs)
    ts = [torch.tensor(a, requires_grad=True) for a in sample.args]
    expected = sample.torch(torch, *ts)
    result = sn.function(xs, y)(*sample.args)
    np.testing.assert_allclose(result, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    if expected.requires_grad:
        c = cotangent(y.shape)
        expected.backward(torch.tensor(c))
        grads = sn.function(xs, sn.vjp(y, xs, sn.constant(c)))(*sample.args)
        for g, t in zip(grads, ts, strict=True):
            wanted = np.zeros(t.shape) if t.grad is None else t.grad.numpy()
            np.testing.assert_allclose(g, wanted, rtol=1e-10, atol=1e-12)
