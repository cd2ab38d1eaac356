"""`step.probe`: a node as declared beside the compiled one; nothing changes by looking."""

from __future__ import annotations

import dataclasses
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import staticnet as sn
from staticnet.compilation import Compilation
from staticnet.errors import ExecutionError, FeedError, GraphError, StateError
from staticnet.oracle import Probe
from staticnet.oracle.difference import most_apart, most_ulps, same_bits

COMPILES = True
DEVICES = ["numpy", "cpu"]
on_devices = pytest.mark.parametrize("device", DEVICES)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 5)).astype("f"), RNG.integers(0, 3, 6)


def line() -> int:
    """The caller's line."""
    return sys._getframe(1).f_lineno


class Net:
    """A classifier with dropout, trained by Adam on a symbolic batch."""

    def __init__(self, device: str, **options: Any) -> None:
        rng = np.random.default_rng(1)
        sn.nn.manual_seed(3)
        self.x = sn.placeholder(("batch", 5), name="x")
        self.y = sn.placeholder(("batch",), "int64", name="y")
        self.w = sn.variable(rng.normal(size=(5, 4)).astype("f"), "w")
        self.v = sn.variable(rng.normal(size=(4, 3)).astype("f"), "v")
        self.hidden = sn.tanh(self.x @ self.w)
        self.hidden_line = line() - 1
        self.dropped = sn.nn.Dropout(0.5)(self.hidden)
        self.scores = self.dropped @ self.v
        self.loss = sn.nn.cross_entropy(self.scores, self.y)
        self.grads = sn.grad(self.loss, [self.w, self.v])
        self.updates = sn.optim.Adam(lr=0.01).minimize(self.loss, [self.w, self.v])
        outputs = [self.loss, self.dropped]
        self.step = sn.function(
            [self.x, self.y], outputs, updates=self.updates, device=device, **options
        )

    def state(self) -> dict[Any, Any]:
        return {v: (v.array, v.value, v.version) for v in self.step.graph.variables}  # type: ignore[attr-defined]


def is_unchanged(net: Net, before: dict[Any, Any]) -> bool:
    after = net.state()
    return before.keys() == after.keys() and all(
        array is after[v][0] and np.array_equal(value, after[v][1]) and version == after[v][2]
        for v, (array, value, version) in before.items()
    )


def losses(net: Net, nodes: list[Any]) -> list[float]:
    """Of three steps, with a look at nodes before each."""
    found = []
    for _ in range(3):
        for node in nodes:
            net.step.probe(node, X, Y)
        found.append(float(net.step(X, Y)[0]))
    return found


@on_devices
class TestWhatIsFound:
    def test_training_goes_on_as_if_nobody_looked(self, device: str) -> None:
        net = Net(device)
        assert losses(net, [net.scores, net.updates[net.w]]) == losses(Net(device), [])

    def test_every_node_of_a_training_step(self, device: str) -> None:
        net = Net(device)
        net.step(X, Y)
        before = net.state()
        every = {"numpy": 1, "cpu": 12}[device]  # a node is a program to compile
        nodes = net.step.graph.nodes[::every]
        for node in nodes:
            found = net.step.probe(node, X, y=Y)
            assert found.value.dtype == found.optimised.dtype == node.dtype
            assert found.value.shape == found.optimised.shape
            scale = max(1.0, float(np.max(np.abs(found.value.astype(float)), initial=0)))
            assert found.max_abs <= 2e-6 * scale, f"{found}"
        assert len(nodes) * every > 50
        assert is_unchanged(net, before)
        assert net.step.specializations == [{"batch": 6}]

    def test_a_forward_value(self, device: str) -> None:
        net = Net(device)
        found = net.step.probe(net.hidden, X, Y)
        np.testing.assert_allclose(found.value, np.tanh(X @ net.w.value), rtol=1e-5, atol=1e-6)
        assert found.node == "tanh f32[batch,4]"
        assert found.line.endswith(f"test_probe.py:{net.hidden_line}")
        assert found.device == device

    def test_the_mask_is_the_one_that_the_step_draws(self, device: str) -> None:
        net = Net(device)
        masks = []
        for _ in range(3):
            found = net.step.probe(net.dropped, X, Y)
            again = net.step.probe(net.dropped, X, Y)
            _, drawn = net.step(X, Y)
            for value in (found.value, found.optimised, again.value, again.optimised):
                assert np.array_equal(value == 0, drawn == 0)
            masks.append((drawn == 0).tobytes())
        assert len(set(masks)) == 3

    def test_gradients_and_updates(self, device: str) -> None:
        net = Net(device)
        for _ in range(3):
            net.step(X, Y)
        gradient = net.step.probe(net.grads[0], X, Y)
        assert np.any(gradient.value)
        assert gradient.max_abs < 1e-6
        moments = net.updates.state[net.w]
        expected = 0.9 * moments["exp_avg"].value + 0.1 * gradient.value
        update = net.step.probe(net.updates[moments["exp_avg"]], X, Y)
        np.testing.assert_allclose(update.value, expected, rtol=1e-5, atol=1e-8)
        new = net.step.probe(net.updates[net.w], X, Y)
        assert "the next value of w f32[5,4]" in new.found
        net.step(X, Y)
        np.testing.assert_array_equal(new.optimised, net.w.value)
        np.testing.assert_array_equal(update.optimised, moments["exp_avg"].value)

    def test_outputs_and_leaves(self, device: str) -> None:
        net = Net(device)
        loss = net.step.probe(net.loss, X, Y)
        assert (loss.kept, loss.found) == (True, "output 0 of the step")
        expected, _ = net.step(X, Y)
        assert loss.optimised == expected
        assert net.step.probe(net.x, X, Y).value.tolist() == X.tolist()
        assert net.step.probe(net.w, X, Y).optimised.tolist() == net.w.value.tolist()

    def test_batches_of_other_sizes(self, device: str) -> None:
        net = Net(device)
        for n in (1, 4):
            assert net.step.probe(net.hidden, X[:n], Y[:n]).value.shape == (n, 4)
        assert net.step.specializations == []

    def test_a_variable_that_is_only_written(self, device: str) -> None:
        x = sn.placeholder((3,), name="x")
        last = sn.variable(np.zeros(3, "f"), "last")
        step = sn.function([x], [], updates={last: x * 2}, device=device)
        found = step.probe(last, X[0, :3])
        assert found.value.tolist() == found.optimised.tolist() == [0, 0, 0]
        assert step.probe(x * 2, X[0, :3]).optimised.tolist() == (X[0, :3] * 2).tolist()
        assert last.value.tolist() == [0, 0, 0]

    def test_precision_shows(self, device: str) -> None:
        x = sn.placeholder((4, 5), name="x")
        w = sn.variable(RNG.normal(size=(5, 4)).astype("f"), "w")
        y = x @ w
        step = sn.function([x], sn.sum(y * y), device=device, precision="bfloat16")
        found = step.probe(y, X[:4])
        assert 1e-4 < found.max_abs < 0.1
        assert found.max_ulp > 1000


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have `act` done once in the middle of the next probe, as another thread might."""
    build, todo = Compilation.build, [act]

    def interrupted(*args: Any) -> Any:
        made = build(*args)
        if todo:
            todo.pop()()
        return made

    monkeypatch.setattr(Compilation, "build", interrupted)


@on_devices
class TestBesideOtherThreads:
    def test_a_step_meanwhile_counts(self, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
        net, twin = Net(device), Net(device)
        net.step.specialize(batch=6)
        old = net.w.value
        meanwhile(monkeypatch, lambda: net.step(X, Y))
        found = net.step.probe(net.w, X, Y)
        np.testing.assert_array_equal(found.value, old)
        np.testing.assert_array_equal(found.optimised, old)
        twin.step(X, Y)
        ours, theirs = ([v.value for v in n.step.graph.variables] for n in (net, twin))  # type: ignore[attr-defined]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(net.w.value, old)

    def test_a_value_set_meanwhile_stays(
        self, device: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        net = Net(device)
        new = np.full(net.w.shape, 7, "f")
        meanwhile(monkeypatch, lambda: setattr(net.w, "value", new))
        found = net.step.probe(net.hidden, X, Y)
        assert found.max_abs < 1e-6
        np.testing.assert_array_equal(net.w.value, new)

    def test_a_step_that_fails_leaves_state_alone(self, device: str) -> None:
        table = sn.variable(np.ones((3, 2), "f"), "table")
        rows = sn.placeholder((2,), "int64", name="rows")
        taken = sn.take(table, rows, axis=0)
        here = line() - 1
        step = sn.function([rows], taken, updates={table: table + 1}, device=device)
        before = table.array
        with pytest.raises(ExecutionError, match=rf"test_probe\.py:{here}\)"):
            step.probe(taken, np.array([0, 9]))
        assert table.array is before

    def test_all_steps_count_beside_a_thread_that_looks(
        self, device: str, request: pytest.FixtureRequest
    ) -> None:
        interval = sys.getswitchinterval()
        request.addfinalizer(lambda: sys.setswitchinterval(interval))
        sys.setswitchinterval(1e-5)
        x = sn.placeholder((3,), name="x")
        w = sn.variable(np.zeros(3, "f"), "w")
        y = sn.sum(w * x)
        step = sn.function([x], y, updates={w: w + 1}, device=device)
        feed = np.ones(3, "f")
        looked, done = threading.Event(), threading.Event()

        def look() -> None:
            while not done.is_set():
                step.probe(y, feed)
                looked.set()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            assert looked.wait(600)
            for _ in range(300):
                step(feed)
        finally:
            done.set()
            thread.join()
        assert w.value.tolist() == [300] * 3


def test_on_a_gpu_state_stays_where_it_is(gpu: Any) -> None:
    net = Net("cuda", precision="bfloat16")
    net.step(X, Y)
    before = net.state()
    for node in (net.scores, net.grads[0], net.updates[net.w], net.dropped):
        found = net.step.probe(node, X, Y)
        assert isinstance(found.optimised, np.ndarray)
        assert 0 <= found.max_abs < 0.1
    assert is_unchanged(net, before)
    assert net.w.array is not None
    assert not isinstance(net.w.array, np.ndarray)
    drawn = net.step(X, Y)[1].get()
    other, twin = (Net("cuda", precision="bfloat16") for _ in range(2))
    assert losses(other, [other.scores, other.updates[other.w]]) == losses(twin, [])
    assert np.array_equal(found.value == 0, drawn == 0)


class TestWhereItIsFound:
    def test_on_the_reference_each_node_has_a_value(self) -> None:
        net = Net("numpy")
        found = net.step.probe(net.hidden, X, Y)
        assert (found.kept, found.max_ulp) == (True, 0)
        assert "run node by node" in found.found

    def test_in_the_arena(self) -> None:
        x = sn.placeholder((64, 5), name="x")
        h = x @ sn.variable(np.ones((5, 4), "f"), "w")
        step = sn.function([x], sn.sum(sn.tanh(h) @ sn.ones((4, 2))), device="cpu")
        found = step.probe(h, np.ones((64, 5), "f"))
        assert found.kept
        assert re.search(
            r"memory of the step: arena\+\d+\.\.\d+, written by kernel \d", found.found
        )
        assert "arena" in step.as_text(after="plan_memory")

    def test_fused_into_a_kernel(self) -> None:
        x = sn.placeholder((8, 5), name="x")
        inner = sn.exp(x)
        step = sn.function([x], sn.sum(inner * 3 + x), device="cpu")
        found = step.probe(inner, np.ones((8, 5), "f"))
        assert not found.kept
        assert "in no memory of the step, but computed inside kernel 0" in found.found
        np.testing.assert_allclose(found.optimised, np.exp(np.ones((8, 5))), rtol=1e-6)

    def test_rewritten(self) -> None:
        x = sn.placeholder((8,), name="x")
        double = -sn.exp(x)
        gone = -double
        step = sn.function([x], gone + 1, device="cpu")
        found = step.probe(double, np.ones(8, "f"))
        assert not found.kept
        assert "gone since the pass algebraic_simplify" in found.found
        assert found.optimised[0] < -2.7
        assert "computed inside kernel" in step.probe(gone, np.ones(8, "f")).found

    def test_folded(self) -> None:
        x = sn.placeholder((8,), name="x")
        number = sn.constant(np.arange(8, dtype="f")) + 1
        step = sn.function([x], x * number, device="cpu")
        found = step.probe(number, np.ones(8, "f"))
        assert (found.kept, found.found) == (True, "a constant of the step")
        assert found.optimised.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]

    def test_a_view(self) -> None:
        x = sn.placeholder((8, 2), name="x")
        shown = sn.reshape(x, (16,))
        found = sn.function([x], shown * 2, device="cpu").probe(shown, np.ones((8, 2), "f"))
        assert "a view of x f32[8,2], in memory of the step: feed x" in found.found

    def test_a_pass_left_out(self) -> None:
        x = sn.placeholder((8,), name="x")
        double = -sn.exp(x)
        options = {"device": "cpu", "disabled_passes": ["algebraic_simplify", "fusion"]}
        found = sn.function([x], -double + 1, **options).probe(double, np.ones(8, "f"))
        assert found.kept
        assert "arena" in found.found


class TestText:
    def test_it_reads(self) -> None:
        net = Net("cpu")
        text = str(net.step.probe(net.hidden, X, Y))
        lines = text.splitlines()
        assert re.fullmatch(r"tanh f32\[batch,4\] \(.*test_probe\.py:\d+\)", lines[0])
        assert [each.split()[0] for each in lines[1:]] == [
            "found", "declared", "optimised", "apart",
        ]  # fmt: skip
        assert re.search(r"-?0\.\d+ to 0\.\d+, mean -?0\.\d+ on numpy", lines[2])
        share = r"( \(\de-\d+ of the greatest value\))?"
        assert re.fullmatch(rf"  apart      \S+ at most{share}, \d+ ulp", lines[4])

    def test_a_difference_is_told_three_ways(self) -> None:
        a, b = np.float32([4.0, 0.0]), np.float32([4.0, 2**-20])
        text = str(Probe("x f32[2]", "a.py:1", "cpu", a, b, True, "output 0"))
        apart = most_ulps(a, b)
        assert text.endswith(
            f"  apart      9.54e-07 at most (2e-07 of the greatest value), {apart} ulp"
        )
        assert apart == (127 - 20) << 23

    def test_small_values_and_what_is_not_finite(self) -> None:
        x = sn.placeholder((9,), name="x")
        y = sn.log(x)
        step = sn.function([x], [y, sn.sum(y), y > 0, sn.astype(x, "int32")], device="numpy")
        feed = np.float32([0, 1, 1, 1, 1, 1, 1, 1, 2])
        assert "0 to 0.693147, mean 0.0866434, 1 not finite" in str(step.probe(y, feed))
        assert "1 of 9 true" in str(step.probe(y > 0, feed))
        assert "0 to 2, mean 1" in str(step.probe(sn.astype(x, "int32"), feed))
        assert "9 elements, none finite" in str(step.probe(y, feed * np.nan))
        assert "declared   -inf on" in str(step.probe(sn.sum(y), feed))

    def test_it_is_frozen(self) -> None:
        net = Net("numpy")
        found = net.step.probe(net.loss, X, Y)
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.kept = False  # type: ignore[misc]


class TestErrors:
    def test_a_node_of_another_program(self) -> None:
        net = Net("numpy")
        other = sn.exp(net.hidden)
        here = line() - 1
        with pytest.raises(GraphError, match=r"exp f32\[batch,4\] .* is no part of main") as caught:
            net.step.probe(other, X, Y)
        assert f"test_probe.py:{here})" in str(caught.value)

    def test_what_is_no_node(self) -> None:
        net = Net("numpy")
        with pytest.raises(GraphError, match="expected a node of main, not 'loss'"):
            net.step.probe("loss", X, Y)  # type: ignore[arg-type]

    def test_bad_feeds(self) -> None:
        net = Net("numpy")
        with pytest.raises(FeedError, match="y: .* is not fed"):
            net.step.probe(net.loss, X)
        with pytest.raises(FeedError, match="batch is 5 in the placeholder y.* but 6 in"):
            net.step.probe(net.loss, X, Y[:5])

    def test_state_without_a_value(self) -> None:
        text = (
            "graph g() {\n  %w: f32[2] = variable(id=987654, dtype=f32, shape=[2])\n  return %w\n}"
        )
        graph = sn.parse(text)
        step = sn.function([], list(graph.outputs), device="numpy")
        with pytest.raises(StateError, match="has no value yet"):
            step.probe(graph.outputs[0])


class TestDifference:
    @pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16, "float32", "float64"])
    def test_neighbours_are_one_ulp_apart(self, dtype: Any) -> None:
        for x in (0.0, 1.0, -1.0, 0.1, -3.7, 100.0):
            a = np.array([x]).astype(dtype)
            up = np.nextafter(a, np.array([np.inf]).astype(dtype))
            assert most_ulps(a, up) == most_ulps(up, a) == 1
        ends = np.array([-np.inf, np.inf]).astype(dtype)
        assert most_ulps(ends, ends[::-1]) > 2**14

    def test_equal_for_a_reader(self) -> None:
        a, b = np.float32([0.0, np.nan, np.inf, 1]), np.float32([-0.0, np.nan, np.inf, 1])
        assert (most_ulps(a, b), most_apart(a, b)) == (0, 0)
        assert same_bits(a, b).tolist() == [False, True, True, True]

    def test_what_is_not_finite(self) -> None:
        assert most_apart(np.float32([np.nan]), np.float32([1])) == np.inf
        assert most_apart(np.float32([np.inf]), np.float32([-np.inf])) == np.inf
        assert most_apart(np.zeros(0), np.zeros(0)) == 0
        assert most_ulps(np.zeros(0), np.zeros(0)) == 0

    def test_integers(self) -> None:
        a, b = np.array([-128, 5], "int8"), np.array([127, 5], "int8")
        assert most_ulps(a, b) == 255
        assert most_ulps(np.uint64([0]), np.uint64([2**64 - 1])) == 2**64 - 1
        assert most_ulps(np.array([True]), np.array([False])) == 1
        assert same_bits(a, b).tolist() == [False, True]
        assert most_ulps(np.float32(2), np.float32(2)) == 0
