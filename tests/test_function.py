"""`sn.function`: feeds, updates, specialisation, fresh outputs, analysis."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.base import DEVICES
from staticnet.errors import (
    ArgumentError,
    DeviceError,
    ExecutionError,
    FeedError,
    GraphError,
    ShapeError,
)


def linear() -> tuple[Any, Any, Any]:
    x = sn.placeholder(("batch", 3), "float32", "x")
    y = sn.placeholder(("batch",), "int64", "y")
    w = sn.variable(np.ones((3, 2), np.float32), "w")
    return x, y, w


def rows(n: int, m: int = 3) -> Any:
    return np.arange(n * m, dtype=np.float32).reshape(n, m)


class TestFeeds:
    def test_by_position_and_by_name(self) -> None:
        x, y, w = linear()
        f = sn.function([x, y], sn.take(x @ w, y, 0))
        a, i = rows(4), np.array([0, 1, 2, -1])
        for result in (f(a, i), f(a, y=i), f(y=i, x=a)):
            np.testing.assert_array_equal(result, (a @ np.ones((3, 2)))[i])

    @pytest.mark.parametrize(
        ("args", "named", "message"),
        [
            ((rows(4),), {}, r"y: i64\[batch\], declared on .*test_function.py:\d+, is not fed"),
            ((rows(4), np.arange(4), 1), {}, r"3 feeds for 2 placeholders \(x, y\)"),
            ((rows(4), np.arange(4)), {"z": 1}, "no placeholder is named 'z'; there are x, y"),
            ((rows(4), np.arange(4)), {"x": 1}, "'x' is fed twice"),
            ((rows(4).astype("f8"), np.arange(4)), {}, r"x: .* float64; convert it with .astype"),
            ((rows(4), np.arange(4.0)), {}, "y: .* is fed float64"),
            ((rows(4), np.arange(4, dtype=np.uint64)), {}, "y: .* is fed uint64"),
            ((rows(4)[0], np.arange(4)), {}, r"x: .* is fed an array of 1 axes: \[3\]"),
            ((rows(4, 2), np.arange(4)), {}, r"x: .*shape \[4, 2\]: axis 1 must be 3"),
            ((rows(4), np.arange(5)), {}, "batch is 5 in the placeholder y.* but 4 in .* x"),
            (("text", np.arange(4)), {}, "x: .* is fed str"),
            ((None, np.arange(4)), {}, "x: .* is fed NoneType"),
        ],
    )  # fmt: skip
    def test_wrong_feeds_name_the_placeholder(self, args: Any, named: Any, message: str) -> None:
        x, y, w = linear()
        f = sn.function([x, y], sn.take(x @ w, y, 0), updates={w: w + 1})
        with pytest.raises(FeedError, match=message):
            f(*args, **named)
        np.testing.assert_array_equal(w.value, np.ones((3, 2)))
        assert f.specializations == []

    def test_lists_and_narrower_arrays_convert(self) -> None:
        x, y, w = linear()
        f = sn.function([x, y], [x @ w, y])
        out, index = f([[1, 2, 3], [4, 5, 6]], np.array([1, 0], np.int32))
        assert (out.dtype, index.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(out[:, 0], [6, 15])
        with pytest.raises(FeedError, match="u: .* is out of the range of uint8"):
            sn.function(sn.placeholder((2,), "uint8", "u"), sn.placeholder((2,), "uint8", "u"))(
                [1, 256]
            )

    def test_dlpack(self) -> None:
        torch = pytest.importorskip("torch", reason="a library with DLPack tensors")
        x, _, w = linear()
        f = sn.function(x, x @ w)
        np.testing.assert_array_equal(f(torch.tensor(rows(2))), rows(2) @ w.value)
        with pytest.raises(FeedError, match="x: .* is fed Tensor"):
            f(torch.tensor(rows(2), requires_grad=True))

    def test_derived_dims_are_solved_and_checked(self) -> None:
        n = sn.Dim("n")
        x, y = sn.placeholder((2 * n + 1,), name="x"), sn.placeholder((n * n,), name="y")
        f = sn.function([x, y], [sn.sum(x), sn.sum(y)])
        assert f(np.ones(7, "f"), np.ones(9, "f")) == [7, 9]
        with pytest.raises(FeedError, match="x: .* is fed 8 on axis 0, which must be 2"):
            f(np.ones(8, "f"), np.ones(9, "f"))
        with pytest.raises(FeedError, match="y: .* is fed 8 on axis 0, which must be n"):
            f(np.ones(7, "f"), np.ones(8, "f"))


class TestUpdates:
    def test_read_before_write(self) -> None:
        a, b = sn.variable(np.float32(1), "a"), sn.variable(np.float32(2), "b")
        step = sn.function([], [a, b], updates={a: b, b: a + b})
        assert step() == [1, 2]
        assert (a.value, b.value) == (2, 3)
        assert step() == [2, 3]

    def test_a_failed_run_updates_nothing(self) -> None:
        x, y, w = linear()
        step = sn.function([x, y], sn.take(x, y, 0), updates={w: w + 1})
        with pytest.raises(ExecutionError, match=r"take: .*x f32.*\(.*test_function.py:\d+\)"):
            step(rows(2), np.array([0, 7]))
        np.testing.assert_array_equal(w.value, np.ones((3, 2)))

    def test_outputs_and_state_share_nothing(self) -> None:
        x, _, w = linear()
        f = sn.function(x, [x, w, w + 0, x.T, sn.constant(rows(1))], updates={w: w + 1})
        feed = rows(2)
        outputs = f(feed)
        for output in outputs:
            output[...] = -1
        np.testing.assert_array_equal(feed, rows(2))
        np.testing.assert_array_equal(w.value, np.full((3, 2), 2))
        np.testing.assert_array_equal(f(feed)[4], rows(1))

    def test_an_output_that_is_also_the_new_state(self) -> None:
        w = sn.variable(np.zeros(2, np.float32), "w")
        f = sn.function([], w + 1, updates={w: w + 1})
        f()[...] = 9
        np.testing.assert_array_equal(w.value, [1, 1])

    def test_value_is_checked_and_copied(self) -> None:
        w = sn.variable(np.zeros(2, np.float32), "w")
        source = np.ones(2)
        w.value = source
        source[:] = 5
        assert w.value.dtype == np.float32
        np.testing.assert_array_equal(w.value, [1, 1])
        with pytest.raises(sn.errors.StateError, match=r"w f32\[2\] cannot hold .* shape \[3\]"):
            w.value = np.zeros(3)
        k = sn.variable(np.zeros(2, np.int32), "k")
        with pytest.raises(sn.errors.StateError, match="cannot hold float64"):
            k.value = np.zeros(2)

    def test_default_updates_run_unless_named(self) -> None:
        rng = sn.random.Generator(1)
        draw = sn.random.uniform(rng.key(), (4,))
        f = sn.function([], draw)
        first, second = f(), f()
        assert rng.counter.value == 2
        assert not np.array_equal(first, second)
        rng.counter.value = np.uint64(0)
        np.testing.assert_array_equal(f(), first)
        sn.function([], draw, updates={rng.counter: rng.counter})()
        assert rng.counter.value == 1

    def test_wrong_updates(self) -> None:
        x, _, w = linear()
        with pytest.raises(GraphError, match="an update must be a graph node, not 3"):
            sn.function(x, x, updates={w: 3})  # type: ignore[dict-item]
        with pytest.raises(GraphError, match="has the type f32"):
            sn.function(x, x, updates={w: w[0]})


class TestSpecialization:
    def test_fixed_shapes_compile_at_once(self) -> None:
        x = sn.placeholder((2,), name="x")
        assert sn.function(x, x + 1).specializations == [{}]

    def test_one_per_binding_ahead_of_time_or_at_the_call(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        x, _, w = linear()
        f = sn.function(x, x @ w)
        assert f.specializations == []
        f.specialize(batch=4)
        with caplog.at_level(logging.INFO, "staticnet"):
            f(rows(4))
            f(rows(2))
        assert f.specializations == [{"batch": 4}, {"batch": 2}]
        assert [r.message for r in caplog.records] == ["main: specialised for {'batch': 2}"]

    def test_wrong_dims(self) -> None:
        x, _, w = linear()
        f = sn.function(x, x @ w)
        for dims in ({}, {"batch": -1}, {"batch": 2, "time": 3}, {"batch": 2.0}):
            with pytest.raises(ArgumentError, match="its symbolic dims are .'batch'."):
                f.specialize(**dims)  # type: ignore[arg-type]

    def test_a_size_that_an_op_refuses_names_the_line(self) -> None:
        x = sn.placeholder(("n",), name="x")
        f = sn.function(x, x[2:5])
        np.testing.assert_array_equal(f(np.arange(6, dtype="f")), [2, 3, 4])
        with pytest.raises(ShapeError, match=r"slice: .*2:5.*dimension of 4.*test_function.py:\d+"):
            f(np.arange(4, dtype="f"))

    def test_symbolic_sizes(self) -> None:
        x = sn.placeholder(("n", "m"), "float64", "x")
        f = sn.function(
            x, [sn.mean(x), sn.var(x, 0), sn.reshape(x, -1), x[-1:, ::-1], sn.arange(x.shape[0])]
        )
        for n, m in ((3, 4), (1, 2)):
            a = np.random.default_rng(0).normal(size=(n, m))
            expected = [a.mean(), a.var(0), a.reshape(-1), a[-1:, ::-1], np.arange(n)]
            for got, wanted in zip(f(a), expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-14)

    def test_zero_size(self) -> None:
        x, _, w = linear()
        loss = sn.sum(sn.tanh(x @ w))
        f = sn.function(
            x, [loss, *sn.grad(loss, [w]), sn.concat([x, x]), x[::-1, 1:], sn.sort(x, 0)]
        )
        result = f(rows(0))
        assert [r.shape for r in result] == [(), (3, 2), (0, 3), (0, 2), (0, 3)]
        np.testing.assert_array_equal(result[1], np.zeros((3, 2)))


class TestRun:
    def test_batches_in_order(self) -> None:
        x = sn.placeholder(("batch", 3), name="x")
        total = sn.variable(np.float32(0), "total")
        f = sn.function(x, [sn.sum(x, 1), sn.sum(x)], updates={total: total + sn.sum(x)})
        sums, losses = f.run(5, rows(7), batch_size=3)
        assert sums.shape == (5, 3)
        np.testing.assert_array_equal(sums[0], rows(7).sum(1)[:3])
        np.testing.assert_array_equal(sums[1], rows(7).sum(1)[3:6])
        np.testing.assert_array_equal(sums[2], sums[0])
        assert total.value == losses.sum()

    def test_shuffled_epochs_visit_everything_once(self) -> None:
        x = sn.placeholder((2,), "int64", name="x")
        f = sn.function(x, x)
        seen = f.run(8, np.arange(8), batch_size=2, shuffle=True, seed=3)
        for epoch in (seen[:4], seen[4:]):
            assert sorted(epoch.reshape(-1)) == list(range(8))
        assert not np.array_equal(seen[:4], seen[4:])
        np.testing.assert_array_equal(
            f.run(8, np.arange(8), batch_size=2, shuffle=True, seed=3), seen
        )
        order = sn.function([], sn.random.permutation(sn.random.key(3, 1), 8))()
        np.testing.assert_array_equal(seen[4:].reshape(-1), order)

    def test_wrong_arguments(self) -> None:
        x, y, w = linear()
        f = sn.function([x, y], sn.take(x @ w, y, 0))
        with pytest.raises(FeedError, match="one length"):
            f.run(1, rows(4), np.arange(5))
        with pytest.raises(FeedError, match="a batch of 5 does not fit"):
            f.run(1, rows(4), np.arange(4), batch_size=5)
        with pytest.raises(ArgumentError, match="steps must be a positive int"):
            f.run(0, rows(4), np.arange(4))


class TestOptions:
    def test_unknown_ones_list_the_legal(self) -> None:
        x, _, _ = linear()
        for option, message in [
            ({"device": "tpu"}, "use one of auto, cuda, cpu, numpy"),
            ({"numerics": "sloppy"}, "use 'exact' or 'fast'"),
            ({"precision": "int4"}, "use one of float32"),
            ({"precision": "bfloat16", "numerics": "exact"}, "or precision='float32'"),
            ({"disabled_passes": ["fuse"]}, "'fuse' is no pass; the passes are"),
        ]:
            with pytest.raises(ArgumentError, match=message):
                sn.function(x, x, **option)  # type: ignore[arg-type]

    def test_a_missing_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x, _, _ = linear()
        monkeypatch.setattr("staticnet.backends.base.DEVICES", ("quantum", *DEVICES))
        with pytest.raises(DeviceError, match="'quantum' is not in this build"):
            sn.function(x, x, device="quantum")

    def test_inputs_must_be_placeholders_and_complete(self) -> None:
        x, y, _ = linear()
        with pytest.raises(GraphError, match="y i64.* declared on .* is not an input"):
            sn.function(x, sn.take(x, y, 0))
        with pytest.raises(GraphError, match="an output must be a graph node, not 3"):
            sn.function(x, [3])  # type: ignore[list-item]

    def test_every_pass_can_be_left_out(self) -> None:
        x = sn.placeholder((3,), "float64", "x")
        y = sn.mean((x * 1 + 0) ** 2)
        (g,) = sn.grad(y, [x])
        value = np.array([1.0, -2.0, 3.0])
        names = [record.name for record in sn.function(x, g).passes()]
        for name in names[1:]:
            f = sn.function(x, g, disabled_passes=[name])
            assert name not in [record.name for record in f.passes()]
            np.testing.assert_allclose(f(value), 2 * value / 3, rtol=1e-15)

    def test_exact_keeps_the_bits(self) -> None:
        x = sn.placeholder((64,), "float32", "x")
        y = sn.mean((x * 1 + 0.0) ** 3) + sn.sum(sn.sum(sn.stack([x, x]), 0), 0)
        value = np.random.default_rng(0).normal(size=64).astype("f")
        plain = sn.function(x, y, disabled_passes=["algebraic_simplify", "constant_folding", "cse"])
        exact = sn.function(x, y, numerics="exact")
        assert plain(value).tobytes() == exact(value).tobytes()
        assert len(exact.passes()[-1].graph.nodes) < len(plain.graph.nodes)


def test_as_text_after_each_pass() -> None:
    x, _, w = linear()
    f = sn.function(x, sn.mean(x @ w), name="forward")
    assert f.as_text() == str(f.graph)
    assert "size(shape=[2*batch])" in f.as_text(after="infer_shape")
    assert "size(shape=[2*batch])" in f.as_text(after="dce", batch=4)
    assert "size" not in f.as_text(after="infer_shape", batch=4)
    assert "// kernel 0: matmul [4,2]" in f.as_text(after="fusion", batch=4)
    with pytest.raises(ArgumentError, match="dims are .'batch'.*specialisations are none"):
        f.as_text(after="fusion")
    with pytest.raises(ArgumentError, match="'tiling' did not run; the passes are"):
        f.as_text(after="tiling")


def test_cost_is_a_formula_and_a_number() -> None:
    x, _, w = linear()
    f = sn.function(x, sn.tanh(x @ w))
    cost = f.cost_analysis()
    batch = sn.Dim("batch")
    assert cost.flops == batch * (2 * 3 * 2) + batch * 2
    assert cost.bytes == (batch * 3 + 6 + batch * 2) * 4 + batch * 2 * 8
    assert f.cost_analysis(batch=10).flops == 140
    assert "14*batch" in str(cost)
    assert "test_function.py" in cost.nodes[0].lines


def test_16_bit_floats_compute_in_32() -> None:
    for dtype in ("float16", "bfloat16"):
        x = sn.placeholder((4096,), dtype, "x")
        f = sn.function(x, [sn.sum(x), sn.matmul(x, x)])
        total, dot = f(np.ones(4096, x.dtype))
        assert (float(total), float(dot)) == (4096, 4096)
        assert total.dtype == dtype


def test_symbolic_dims_need_infer_shape() -> None:
    x, _, w = linear()
    with pytest.raises(ArgumentError, match="infer_shape gives batch a size, and may be left out"):
        sn.function(x, x @ w, disabled_passes=["infer_shape"])
    fixed = sn.placeholder((2,))
    f = sn.function(fixed, fixed * 2, disabled_passes=["infer_shape"])
    assert f(np.ones(2, "float32")).tolist() == [2, 2]
