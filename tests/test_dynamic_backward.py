"""Reverse mode on tensors: gradients, hooks, modes, the release of the tape, and errors."""

from __future__ import annotations

import gc
import operator
import re
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import dynamic as dyn
from staticnet.errors import (
    ArgumentError,
    DTypeError,
    ExecutionError,
    GradientError,
    ShapeError,
)


def line() -> int:
    """The caller's line."""
    return sys._getframe(1).f_lineno


class TestBackward:
    def test_leaves_add_up_and_can_be_cleared(self) -> None:
        x = dyn.tensor([1.0, 2.0], requires_grad=True)
        for times in (1, 2):
            sn.sum(x * 3).backward()
            assert x.grad.numpy().tolist() == [3 * times, 3 * times]
        x.grad = None
        (x[0] + x[0] + x[0] + x[1]).backward()
        assert x.grad.numpy().tolist() == [3, 1]

    def test_equal_gradients_are_not_one_array(self) -> None:
        x, y = (dyn.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
        z = x + y
        sn.sum(z + z + z + x + x).backward()
        assert (x.grad.numpy().tolist(), y.grad.numpy().tolist()) == ([5, 5], [3, 3])

    def test_a_gradient_weighs_the_elements(self) -> None:
        x = dyn.tensor([1.0, 2.0], requires_grad=True)
        (x * x).backward(dyn.tensor([1.0, 10.0]))
        assert x.grad.numpy().tolist() == [2, 40]
        (x * x).backward(np.float32([1, 0]), retain_graph=True)
        assert x.grad.numpy().tolist() == [4, 40]

    def test_any_order(self) -> None:
        x = dyn.tensor(2.0, "float64", requires_grad=True)
        y, derivatives = x**4, []
        for _ in range(4):
            (y,) = dyn.grad(y, x, create_graph=True)
            derivatives.append(float(y))
        assert derivatives == [32, 48, 48, 24]
        assert x.grad is None

    def test_a_gradient_may_be_trained_on(self) -> None:
        w = sn.variable(np.float64([1, 2]), "w")
        x = dyn.tensor(np.float64([3, 4]), requires_grad=True)
        (slope,) = dyn.grad(sn.sum((x * w) ** 2), x, create_graph=True)
        sn.sum(slope * slope).backward()  # of (2 x w**2)**2 by w: 16 x**2 w**3
        np.testing.assert_allclose(w.grad.numpy(), [16 * 9, 16 * 16 * 8])

    def test_hooks_see_and_replace(self) -> None:
        x = dyn.tensor([1.0, 2.0], requires_grad=True)
        y = x * 3
        seen: list[Any] = []
        y.register_hook(lambda g: seen.append(g.numpy().tolist()))
        handle = y.register_hook(lambda g: g * 10)
        sn.sum(y * y).backward(retain_graph=True)
        assert (seen, x.grad.numpy().tolist()) == ([[6, 12]], [180, 360])
        handle.remove()
        handle.remove()
        x.grad = None
        sn.sum(y * y).backward()
        assert x.grad.numpy().tolist() == [18, 36]

    def test_a_hook_of_a_variable_outlives_its_value(self) -> None:
        w = sn.variable(np.float32([1, 2]))
        dyn.as_tensor(w).register_hook(lambda g: g * 2)
        w.value = np.float32([5, 5])
        sn.sum(dyn.tensor([1.0, 1.0]) * w).backward()
        assert w.grad.numpy().tolist() == [2, 2]

    def test_the_gradient_of_an_intermediate(self) -> None:
        x = dyn.tensor([1.0, 2.0], requires_grad=True)
        y, z = x * 3, x * 4
        y.retain_grad()
        sn.sum(y * y + z).backward()
        assert (y.grad.numpy().tolist(), z.grad) == ([6, 12], None)

    def test_modes(self) -> None:
        x = dyn.tensor(2.0, requires_grad=True)
        with dyn.no_grad():
            assert not (x * x).requires_grad
            with dyn.enable_grad():
                assert (x * x).requires_grad
            assert not dyn.is_grad_enabled()
        assert (x * x).requires_grad
        assert not dyn.no_grad()(lambda: x * x)().requires_grad
        assert not x.detach().requires_grad
        found = []
        with dyn.no_grad():
            thread = threading.Thread(target=lambda: found.append((x * x).requires_grad))
            thread.start()
            thread.join()
        assert found == [True]

    def test_threads_compute_side_by_side(self) -> None:
        grads: dict[int, float] = {}

        def work(n: int) -> None:
            x = dyn.tensor(np.full(50, float(n)), requires_grad=True)
            for _ in range(50):
                x.grad = None
                sn.sum(sn.exp(sn.tanh(x) * 0) * x * x).backward()
            grads[n] = float(x.grad[0])

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert grads == {n: 2 * n for n in range(4)}

    def test_memory_is_released(self) -> None:
        gc.disable()
        try:
            w = sn.variable(np.ones(4, np.float32))
            x = dyn.tensor(np.ones(4, np.float32))
            h = sn.exp(x * w)
            seen, loss = weakref.ref(h), sn.sum(h * h)
            del h
            assert seen() is not None
            loss.backward(retain_graph=True)
            assert seen() is not None
            loss.backward()
            assert seen() is None
            h = sn.exp(x * w)
            seen, loss = weakref.ref(h), sn.sum(h * h)
            del h, loss
            assert seen() is None
        finally:
            gc.enable()

    def test_released_as_the_pass_goes(self) -> None:
        x = dyn.tensor(np.ones(4), requires_grad=True)
        late = x * 2
        alive: list[bool] = []
        late.register_hook(lambda g: alive.append(seen() is not None))
        early = sn.exp(late)
        seen, loss = weakref.ref(early), sn.sum(early * early)
        del early
        loss.backward()
        assert alive == [False]

    def test_a_long_tape(self) -> None:
        x = dyn.tensor(1.0, requires_grad=True)
        y = x
        for _ in range(50_000):
            y = y + 1.0
        y.backward()
        assert float(x.grad) == 1
        y = x
        for _ in range(50_000):
            y = y + 1.0
        del y


class TestErrors:
    def test_backward_twice(self) -> None:
        x = dyn.tensor([1.0], requires_grad=True)
        loss = sn.sum(x * x)
        loss.backward()
        with pytest.raises(GradientError, match="released by an earlier backward") as caught:
            loss.backward()
        assert f"test_dynamic_backward.py:{line() - 1}" in str(caught.value)
        assert "retain_graph=True" in str(caught.value)
        assert x.grad.numpy().tolist() == [2]

    def test_a_variable_set_in_between(self) -> None:
        w, x = sn.variable(np.float32([1, 2]), "w"), dyn.tensor([1.0, 2.0])
        loss = sn.sum(sn.exp(x * w))
        used = line() - 1
        w.value = [0.0, 0.0]
        with pytest.raises(GradientError, match=r"multiply used w f32\[2\]") as caught:
            loss.backward()
        assert re.search(rf"read on \S*test_dynamic_backward\.py:{used}, ", str(caught.value))
        assert "call backward before the update" in str(caught.value)
        assert w.grad is None
        sn.sum(x * w).backward()
        assert w.grad.numpy().tolist() == [1, 2]

    @pytest.mark.parametrize("device", ["numpy", "cpu"])
    def test_a_variable_updated_in_place(self, device: str) -> None:
        w = sn.variable(np.float32([1, 2]), "w")
        step = sn.function([], [], updates={w: w * 2}, device=device)
        step()
        loss = sn.sum(dyn.tensor([1.0, 2.0]) * w)
        step()
        with pytest.raises(GradientError, match="set or updated since"):
            loss.backward()
        loss = sn.sum(dyn.tensor([1.0, 2.0]) * w)
        assert float(loss) == 20
        sn.function([], sn.sum(w), device=device)()
        loss.backward()

    def test_what_cannot_be_pulled_back(self) -> None:
        x = dyn.tensor([1.0, 2.0], requires_grad=True)
        for act, message in [
            (lambda: (x * x).backward(), "is no scalar .*sn.sum or sn.mean, or pass gradient="),
            (lambda: sn.sum(x.detach()).backward(), "depends on nothing that requires a gradient"),
            (lambda: (x * x).backward([1.0]), r"gradient f32\[1\] must be .* f32\[2\]"),
            (lambda: (x * x).backward(np.ones(2)), "f64"),
            (lambda: dyn.grad(sn.sum(x), dyn.tensor(1.0, requires_grad=True)), "does not depend"),
            (lambda: dyn.grad(sn.sum(x), x, [None, None]), "2 gradients for 1 outputs"),
            (lambda: dyn.grad(sn.variable(1.0), x), "expected tensors"),  # type: ignore[arg-type]
            (lambda: x.detach().register_hook(print), "requires no gradient"),
            (lambda: x.detach().retain_grad(), "requires no gradient"),
            (lambda: setattr(x, "grad", dyn.tensor([1.0])), "takes a tensor like it"),
            (lambda: sn.grad(sn.sum(x), [x]), "expected graph nodes"),
        ]:
            with pytest.raises(GradientError, match=message):
                act()
        x.register_hook(lambda g: g[:1])
        with pytest.raises(GradientError, match=r"a hook gave f32\[1\] for a gradient f32\[2\]"):
            sn.sum(x).backward()

    def test_wrong_operands_name_op_and_line(self) -> None:
        x, m = dyn.tensor([1.0, 2.0, 3.0]), dyn.tensor(np.ones((2, 2)))
        here = r"test_dynamic_backward\.py:\d+"
        for act, error, message in [
            (lambda: x + x[:2], ShapeError, "add: shapes do not broadcast"),
            (lambda: m @ dyn.tensor(np.ones((3, 2))), ShapeError, "matmul: inner dimensions"),
            (lambda: sn.sum(m, 2), ShapeError, "sum: axis 2"),
            (lambda: sn.max(dyn.tensor(np.ones((0,)))), ShapeError, "max: has no value"),
            (lambda: sn.where(x, x, x), DTypeError, "where: takes bool"),
            (lambda: sn.bitwise_and(x, x), DTypeError, "bitwise_and: takes bool"),
            (lambda: -dyn.tensor([True]), DTypeError, "negative: takes floating-point"),
            (lambda: sn.take(x, [7]), ExecutionError, "take: index 7 is out of bounds"),
            (lambda: sn.take_along_axis(x, dyn.tensor([7])), ExecutionError, "index 7 is out of"),
            (lambda: sn.reshape(x, ("n",)), ShapeError, "reshape: "),
            (lambda: bool(x), ShapeError, "bool: .*sn.any"),
            (lambda: float(x), ShapeError, "item: .*reduce"),
            (lambda: len(x[0]), ShapeError, "len: "),
            (lambda: range(x[0]), DTypeError, "index: .*int"),  # type: ignore[call-overload]
        ]:
            with pytest.raises(error, match=f"(?s){message}.*{here}") as raised:
                act()
            assert len(re.findall(here, str(raised.value))) == 1
        for act, error in [
            (lambda: dyn.tensor("text"), DTypeError),
            (lambda: dyn.tensor(np.ones(2, complex)), DTypeError),
            (lambda: dyn.as_tensor(object()), DTypeError),
            (lambda: x + None, DTypeError),
            (lambda: x.register_hook(3), ArgumentError),  # type: ignore[arg-type]
            (lambda: dyn.trace(3).__enter__(), ArgumentError),  # type: ignore[arg-type]
        ]:
            with pytest.raises(error):
                act()

    def test_a_trace_shows_each_op_and_its_line(self) -> None:
        x = dyn.tensor(np.ones((2, 3), np.float32), requires_grad=True)
        shown: list[str] = []
        with dyn.trace(shown.append):
            y = sn.sum(x * 2)
            made = line() - 1
            y.backward()
        assert len(shown) > 3
        assert shown[0].startswith("multiply f32[2,3] 2 -> f32[2,3] ")
        assert shown[0].endswith(f"test_dynamic_backward.py:{made}")
        assert re.search(rf"gradient of \S*test_dynamic_backward\.py:{made}$", shown[-1])
        count = len(shown)
        sn.sum(x)
        assert len(shown) == count
        with pytest.raises(
            GradientError, match=rf"sum f32\[\] \(.*test_dynamic_backward\.py:{made}\)"
        ):
            y.backward()


class TestWriting:
    def test_a_training_loop_by_hand(self) -> None:
        leaves = [dyn.tensor([1.0, 2.0], requires_grad=True), dyn.tensor(3.0, requires_grad=True)]
        for _ in range(2):
            w, b = leaves
            sn.sum(w * w * b).backward()
            with dyn.no_grad():
                for leaf in leaves:
                    kept = leaf
                    leaf -= 0.1 * leaf.grad
                    assert leaf is kept
                    leaf.grad = None
        w0, b0 = np.float32([1, 2]), np.float32(3)
        for _ in range(2):
            w0, b0 = w0 - np.float32(0.1) * 2 * w0 * b0, b0 - np.float32(0.1) * np.sum(w0 * w0)
        np.testing.assert_allclose(leaves[0].numpy(), w0, rtol=1e-6)
        np.testing.assert_allclose(leaves[1].numpy(), b0, rtol=1e-6)
        assert leaves[0].is_leaf
        assert leaves[0].requires_grad

    def test_a_variables_value_follows(self) -> None:
        w = sn.variable(np.float32([1, 2]), "w")
        leaf = dyn.as_tensor(w)
        with dyn.no_grad():
            leaf *= 3
            assert dyn.as_tensor(w) is leaf
            leaf.copy_(np.float32([5, 6]))
        assert w.value.tolist() == leaf.numpy().tolist() == [5, 6]
        sn.function([], [], updates={w: w + 1}, device="numpy")()
        sn.sum(dyn.as_tensor(w) * w).backward()
        assert w.grad.numpy().tolist() == [12, 14]

    def test_a_write_between_forward_and_backward(self) -> None:
        x = dyn.tensor([1.0, 2.0], requires_grad=True)
        shown, doubled = x.detach(), x[:1]
        before = sn.sum(x * x)
        with dyn.no_grad():
            x += 1
        after = sn.sum(x * x)
        with pytest.raises(GradientError, match=r"multiply used a tensor f32\[2\] and that") as e:
            before.backward()
        assert "has been set or updated since" in str(e.value)
        assert x.grad is None
        after.backward()
        assert x.grad.numpy().tolist() == [4, 6]
        assert (shown.numpy().tolist(), doubled.numpy().tolist()) == ([1, 2], [1])

    def test_every_operator_updates_a_leaf(self) -> None:
        """None gives the name a new tensor and leaves the leaf to others as it was."""
        start = np.float32([[5, 2], [3, 4]])
        for act in (
            operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow,
            operator.imatmul, operator.ifloordiv, operator.imod,
        ):  # fmt: skip
            leaf = dyn.tensor(start, requires_grad=True)
            other = np.float32([[2, 3], [3, 2]])
            with dyn.no_grad():
                assert act(leaf, other) is leaf
            assert np.array_equal(leaf.numpy(), act(start.copy(), other)), act

    def test_other_tensors_get_new_ones(self) -> None:
        x = dyn.tensor([1.0, 2.0], requires_grad=True)
        y = kept = x * 2
        y += x
        y /= 3
        sn.sum(y * kept).backward()
        assert (kept.numpy().tolist(), x.grad.numpy().tolist()) == ([2, 4], [4, 8])

    def test_misuse_says_what_to_do(self) -> None:
        x = dyn.tensor([1.0, 2.0], requires_grad=True)
        w = sn.variable(np.float32([1, 2]), "w")
        here = r"\(\S*test_dynamic_backward\.py:\d+\)"

        def add_one(leaf: Any) -> None:
            leaf += 1

        for act, error, message in [
            (lambda: add_one(x), GradientError, "leaf that requires a gradient.*no_grad"),
            (lambda: add_one(dyn.as_tensor(w)), GradientError, "cannot be recorded"),
            (lambda: x.copy_([3.0, 4.0]), GradientError, "cannot be recorded.*x = x"),
            (lambda: (x * 2).copy_(1.0), GradientError, "is no leaf"),
            (lambda: dyn.tensor(1.0).copy_(1.0), GradientError, "is no leaf"),
            (lambda: x.__setitem__(0, 5.0), ArgumentError, "__setitem__: .*sn.where"),
            (lambda: x.zero_(), ArgumentError, r"zero_: .*set \.grad = None"),  # type: ignore[attr-defined]
        ]:
            with pytest.raises(error, match=f"(?s)(?=.*{here}){message}"):
                act()
        with dyn.no_grad():
            with pytest.raises(ArgumentError, match=r"copy_: .* cannot hold f32\[1\]"):
                x.copy_([1.0])
            with pytest.raises(ArgumentError, match=r"cannot hold f64\[2\]"):
                x.copy_(np.ones(2))
            with pytest.raises(ArgumentError, match=r"cannot hold f32\[2,2\]"):
                x += np.ones((2, 2), np.float32)
        assert x.numpy().tolist() == [1, 2]
        assert w.value.tolist() == [1, 2]
