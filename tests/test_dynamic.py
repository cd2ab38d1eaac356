"""Tensors: the values and derivatives of all ops; the static reference is the oracle."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from random_graphs import graphs
from samples import SAMPLES, Sample

import staticnet as sn
from staticnet import dynamic as dyn
from staticnet.autodiff import vjp
from staticnet.compilation import PASSES
from staticnet.errors import (
    DTypeError,
    SymbolicValueError,
)
from staticnet.ir.dtype import DTYPES, is_floating
from staticnet.ops.state import Placeholder

IDS = [f"{sample.op}-{i}" for i, sample in enumerate(SAMPLES)]
every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=IDS)


def static(inputs: Any, outputs: Any, *feeds: Any) -> Any:
    """What the reference computes, op by op."""
    run = sn.function(inputs, outputs, device="numpy", disabled_passes=PASSES[:-1])
    return run(*feeds)


def placeholders(arrays: Any) -> list[Any]:
    return [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]


def weights(shape: Any, seed: int = 9) -> Any:
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


class TestOps:
    @every_sample
    def test_values_are_the_references(self, sample: Sample) -> None:
        for dtype in DTYPES.values():
            args = [np.asarray(a).astype(dtype) for a in sample.args]
            xs = placeholders(args)
            try:
                y = sample.build(*xs)
            except DTypeError as error:
                with pytest.raises(DTypeError, match=str(error).split(":")[0]):
                    sample.build(*map(dyn.tensor, args))
                continue
            result = sample.build(*map(dyn.tensor, args))
            expected = static(xs, y, *args)
            if sample.op == "variable":  # a variable that meets no tensor is a node
                result = dyn.as_tensor(result)
            assert (result.dtype, result.shape) == (y.dtype, y.shape)
            np.testing.assert_array_equal(result.numpy(), expected)

    @every_sample
    def test_first_and_second_derivatives_are_the_references(self, sample: Sample) -> None:
        xs = placeholders(sample.args)
        y = sample.build(*xs)
        if not is_floating(y.dtype):
            return
        c = weights(y.shape)
        firsts = vjp(y, xs, sn.constant(c), allow_unused=True)
        slope = sum((sn.sum(g * weights(g.shape)) for g in firsts), sn.constant(0.0, "float64"))
        seconds = sn.grad(slope, xs, allow_unused=True)
        expected = static(xs, [*firsts, *seconds], *sample.args)

        ts = [dyn.tensor(a, requires_grad=True) for a in sample.args]
        z = sample.build(*ts)
        if not z.requires_grad:
            assert all(not np.any(e) for e in expected)
            return
        got = dyn.grad(z, ts, dyn.tensor(c), create_graph=True, allow_unused=True)
        total = sum((sn.sum(g * weights(g.shape)) for g in got), dyn.tensor(0.0, "float64"))
        if total.requires_grad:
            got += dyn.grad(total, ts, allow_unused=True)
        else:
            assert all(not np.any(e) for e in expected[len(ts) :])
        for a, b in zip(got, expected, strict=False):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-12, atol=1e-13)

    @pytest.mark.parametrize("seed", range(3))
    def test_against_pytorch(self, seed: int) -> None:
        torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
        a, b, c = (weights(s, seed) for s in ((4, 3), (3, 5), (5,)))

        def loss(lib: Any, x: Any, w: Any, v: Any) -> Any:
            h = lib.tanh(x @ w + v)
            return lib.sum(lib.exp(h) / (1 + h * h) - h**3 + lib.maximum(h, v))

        ours = [dyn.tensor(x, requires_grad=True) for x in (a, b, c)]
        theirs = [torch.tensor(x, requires_grad=True) for x in (a, b, c)]
        y, z = loss(sn, *ours), loss(torch, *theirs)
        y.backward()
        z.backward()
        assert float(y) == pytest.approx(z.item(), rel=1e-12)
        for x, t in zip(ours, theirs, strict=True):
            assert x.grad is not None
            np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-11)


def replay(graph: sn.Graph, tensors: list[Any]) -> list[Any]:
    """The outputs of a graph, each op run on tensors."""
    values = dict(zip(graph.inputs, tensors, strict=True))
    for node in graph.nodes:
        if not isinstance(node.op, Placeholder):
            values[node] = dyn.Tensor.apply(node.op, tuple(values[i] for i in node.inputs))
    return [values[node] for node in graph.outputs]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(graphs())
def test_random_graphs(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, feeds = case
    note(str(graph))
    ys = [y for y in graph.outputs if is_floating(y.dtype)]
    cs = [weights(y.shape) for y in ys]
    xs = list(graph.inputs)
    grads = vjp(ys, xs, [sn.constant(c) for c in cs], allow_unused=True)
    wanted = static(xs, [*ys, *grads], *feeds)

    tensors = [dyn.tensor(x, requires_grad=True) for x in feeds]
    outputs = replay(sn.Graph("outputs", xs, ys), tensors)
    got = [*outputs]
    moving = [(y, c) for y, c in zip(outputs, cs, strict=True) if y.requires_grad]
    if moving:
        seeds = [dyn.tensor(c) for _, c in moving]
        got += dyn.grad([y for y, _ in moving], tensors, seeds, allow_unused=True)
    else:
        assert all(not np.any(g) for g in wanted[len(ys) :])
    for a, b in zip(got, wanted, strict=False):
        assert a.shape == b.shape
        scale = np.max(np.abs(b), initial=1, where=np.isfinite(b))
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-9, atol=1e-9 * scale)


class TestValues:
    def test_python_sees_them(self) -> None:
        x = dyn.tensor([[1.0, 2.0], [3.0, 4.0]])
        assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 2), 2, 4, 2, np.float32)
        assert x.T.numpy().tolist() == [[1, 3], [2, 4]]
        assert [row.numpy().tolist() for row in x] == [[1, 2], [3, 4]]
        assert float(x[1, 0]) == x[1, 0].item() == 3
        assert int(x[0, 1]) == 2
        assert bool(sn.all(x > 0))
        assert [7, 8, 9][dyn.tensor(1)] == 8
        assert f"{x[0, 0]:.2f}" == "1.00"
        assert str(dyn.tensor(2.0, requires_grad=True)) == "tensor(2., float32, requires_grad=True)"
        np.testing.assert_array_equal(np.asarray(x), x.numpy())
        assert pickle.loads(pickle.dumps(x)).numpy().tolist() == x.numpy().tolist()

    def test_a_mask_selects(self) -> None:
        x = dyn.tensor([1.0, -2.0, 3.0, -4.0], requires_grad=True)
        positive = x[x > 0]
        assert positive.numpy().tolist() == [1, 3]
        sn.sum(positive * positive).backward()
        assert x.grad.numpy().tolist() == [2, 0, 6, 0]
        grid = dyn.tensor(np.arange(6.0).reshape(2, 3))
        mask = np.array([[True, False, True], [False, True, False]])
        assert grid[mask].numpy().tolist() == [0, 2, 4]
        assert grid[np.array([False, True])].numpy().tolist() == [[3, 4, 5]]

    def test_a_loop_depends_on_a_value(self) -> None:
        x = dyn.tensor(3.0, requires_grad=True)
        y, steps = x, 0
        while y < 100:
            y, steps = y * x, steps + 1
        y.backward()
        assert (float(y), steps, float(x.grad)) == (243, 4, 5 * 81)

    def test_numbers_and_arrays_take_part(self) -> None:
        x = dyn.tensor(np.float32([1, 2]), requires_grad=True)
        buffer = np.float32([3, 4])
        y = 2 * x + buffer - np.float32(1) / x
        buffer[:] = 0  # the tape has its own copy
        sn.sum(y * buffer.dtype.type(2)).backward()
        np.testing.assert_allclose(y.numpy(), [4, 7.5])
        np.testing.assert_allclose(x.grad.numpy(), [6, 4.5])
        assert (dyn.tensor([1, 2]) + 3).dtype == np.int64
        assert (x + np.float64(1)).dtype == np.float32
        assert (dyn.tensor([1, 2]) + x).dtype == np.float32
        with pytest.raises(DTypeError, match=r"add: int64 and uint64 do not promote.*test_dyn"):
            dyn.tensor([1, 2]) + dyn.tensor([1, 2], "uint64")
        with pytest.raises(DTypeError, match="out of the range of int8"):
            dyn.tensor([1], "int8") + 1000

    def test_copies_and_shares(self) -> None:
        array = np.ones(3, np.float32)
        copied, shared = dyn.tensor(array), dyn.as_tensor(array)
        array[0] = 5
        assert (float(copied[0]), float(shared[0])) == (1, 5)
        with pytest.raises(ValueError, match="read-only"):
            copied.numpy()[0] = 2
        assert dyn.as_tensor(shared) is shared
        assert dyn.tensor([1, 2], "float64").dtype == np.float64
        assert dyn.as_tensor([1, 2], "float64").dtype == np.float64
        assert dyn.tensor(shared, "int32").dtype == np.int32

    def test_integers_have_no_gradient(self) -> None:
        x = dyn.tensor([1.5, 2.5], requires_grad=True)
        assert not sn.astype(x, "int32").requires_grad
        assert not (x > 2).requires_grad
        assert not sn.floor(x).requires_grad
        sn.sum(x * sn.astype(sn.astype(x, "int32"), "float32")).backward()
        assert x.grad.numpy().tolist() == [1, 2]
        with pytest.raises(DTypeError, match="int64 has no derivative"):
            dyn.tensor([1, 2], requires_grad=True)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_half_floats_round_once_an_op(self, dtype: str) -> None:
        a = dyn.tensor(weights((4, 4)), dtype, requires_grad=True)
        y = sn.sum(a @ a * a)
        y.backward()
        assert (y.dtype, a.grad.dtype) == (DTYPES[dtype], DTYPES[dtype])
        x = sn.placeholder((4, 4), dtype, "x")
        value, grad = static([x], [sn.sum(x @ x * x), *sn.grad(sn.sum(x @ x * x), [x])], a.data)
        np.testing.assert_array_equal(y.numpy(), value)
        np.testing.assert_array_equal(a.grad.numpy(), grad)

    def test_nothing_is_said_of_overflow(self) -> None:
        x = dyn.tensor([0.0, 1e30], requires_grad=True)
        y = x * x / x
        sn.sum(y).backward()
        assert np.isnan(y.numpy()[0])
        assert np.isinf(y.numpy()[1])
        assert np.geterr()["over"] == "warn"


class TestNodesMeetTensors:
    def test_a_variable_takes_part_with_its_value(self) -> None:
        w = sn.variable(np.float32([2, 3]), "w")
        x = dyn.tensor([10.0, 20.0])
        sn.sum(x * w).backward()
        assert w.grad.numpy().tolist() == [10, 20]
        sn.sum(x * w).backward()
        assert w.grad.numpy().tolist() == [20, 40]
        assert dyn.as_tensor(w).grad is w.grad
        frozen = sn.variable(np.float32([1, 1]), trainable=False)
        assert not (x * frozen).requires_grad

    def test_a_tensor_is_an_array_to_what_takes_arrays(self) -> None:
        w = sn.variable(np.float32([2, 3]), "w")
        sn.sum(dyn.tensor([10.0, 20.0]) * w).backward()
        w.value = w.value - 0.5 * w.grad
        assert w.value.tolist() == [-3, -7]
        x = sn.placeholder((2,), "float64", "x")
        wide = dyn.tensor(np.float64([0.1, 0.2]), requires_grad=True)
        assert sn.function(x, x * 2, device="numpy")(wide).tolist() == [0.2, 0.4]
        assert sn.constant(wide).dtype == np.float64
        assert sn.variable(wide).value.tolist() == [0.1, 0.2]
        copied = dyn.tensor(w)
        assert (copied.numpy().tolist(), copied.requires_grad) == ([-3, -7], False)
        assert dyn.tensor(w * 2, "float64").numpy().tolist() == [-6, -14]
        with pytest.raises(DTypeError, match="is a symbolic value"):
            w.value = x
        with pytest.raises(SymbolicValueError, match="is a placeholder"):
            dyn.tensor(x)

    def test_an_expression_of_variables_too(self) -> None:
        w = sn.variable(np.float32([[1, 2], [3, 4]]), "w")
        penalty = sn.sum(sn.square(w)) + sn.sum(w.T[0] * sn.arange(2, dtype="float32"))
        loss = dyn.tensor(1.0) + penalty
        loss.backward()
        np.testing.assert_allclose(w.grad.numpy(), [[2, 4], [7, 8]])
        value = dyn.as_tensor(sn.eye(2) * 3)
        assert value.numpy().tolist() == [[3, 0], [0, 3]]

    def test_a_placeholder_does_not(self) -> None:
        x = sn.placeholder((2,), name="x")
        with pytest.raises(SymbolicValueError, match=r"x f32\[2\] \(.*\) is a placeholder"):
            dyn.tensor([1.0, 2.0]) + sn.exp(x)

    def test_random_numbers_are_those_of_a_graph(self) -> None:
        key = sn.random.key(5, 3)
        drawn = dyn.tensor(np.zeros((3, 4), np.float32)) + sn.random.normal(key, (3, 4))
        np.testing.assert_array_equal(drawn.numpy(), static([], sn.random.normal(key, (3, 4))))
