"""Models, losses and optimizers on tensors: as the static step trains, to the same losses."""

from __future__ import annotations

import gc
import itertools
import re
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import dynamic as dyn
from staticnet import optim
from staticnet.errors import ArgumentError, GradientError, ShapeError, SymbolicValueError

STEPS = 100


def network(*widths: int, activation: Any = sn.nn.ReLU, dropout: float = 0) -> sn.nn.Module:
    """Linear layers with the same first weights at each call."""
    sn.manual_seed(3)
    layers: list[sn.nn.Module] = []
    for n, m in itertools.pairwise(widths):
        layers += [sn.nn.Linear(n, m), activation()]
        layers += [sn.nn.Dropout(dropout)] if dropout else []
    return sn.nn.Sequential(*layers[: -2 if dropout else -1])


def batches(steps: int, size: int, width: int, classes: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((steps, size, width)).astype(np.float32)
    return [(row, np.argmax(row[:, :classes], 1)) for row in x]


def train_static(model: Any, loss: Any, rule: Any, feeds: Any, device: str = "numpy") -> list[Any]:
    x = sn.placeholder(feeds[0][0].shape, feeds[0][0].dtype, "x")
    y = sn.placeholder(feeds[0][1].shape, feeds[0][1].dtype, "y")
    value = loss(model(x), y)
    step = sn.function([x, y], value, updates=rule.minimize(value), device=device)
    return [float(step(*feed)) for feed in feeds]


def train_dynamic(model: Any, loss: Any, rule: Any, feeds: Any, device: str = "auto") -> list[Any]:
    optimizer = dyn.Optimizer(rule, model.parameters(), device=device)
    losses = []
    for x, y in feeds:
        value = loss(model(dyn.tensor(x)), dyn.tensor(y))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value))
    return losses


class TestLossesAreTheStaticOnes:
    def check(self, make: Callable[[], Any], loss: Any, rule: Any, feeds: Any) -> None:
        ours = train_dynamic(make(), loss, rule, feeds)
        theirs = train_static(make(), loss, rule, feeds)
        assert ours[-1] < 0.9 * ours[0]
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)

    def test_of_mlp(self) -> None:
        feeds = batches(STEPS, 64, 100, 10)
        make = lambda: network(100, 64, 32, 10)  # noqa: E731
        self.check(make, sn.nn.cross_entropy, optim.Adam(lr=1e-3), feeds)

    def test_of_playground(self) -> None:
        rng = np.random.default_rng(1)
        points = rng.uniform(-1, 1, (STEPS, 10, 2)).astype(np.float32)
        feeds = [(x, x[:, :1] * x[:, 1:]) for x in points]
        make = lambda: network(2, 4, 2, 1, activation=sn.nn.Tanh)  # noqa: E731
        self.check(make, sn.nn.mse_loss, optim.SGD(lr=0.5), feeds)

    def test_with_dropout(self) -> None:
        feeds = batches(STEPS, 32, 20, 4)
        make = lambda: network(20, 64, 32, 4, dropout=0.25)  # noqa: E731
        self.check(make, sn.nn.cross_entropy, optim.AdamW(lr=3e-3), feeds)

    def test_on_after_each_other(self) -> None:
        """The generator's counter and the variables go from one executor to the other."""
        feeds = batches(6, 16, 8, 4)
        rule = optim.SGD(0.1)
        whole = train_static(network(8, 32, 4, dropout=0.5), sn.nn.cross_entropy, rule, feeds)
        model = network(8, 32, 4, dropout=0.5)
        mixed = train_dynamic(model, sn.nn.cross_entropy, rule, feeds[:3])
        assert int(dict(model.named_buffers())["2.counter"].value) == 3
        x, y = sn.placeholder((16, 8), name="x"), sn.placeholder((16,), "int64", name="y")
        loss = sn.nn.cross_entropy(model(x), y)
        step = sn.function([x, y], loss, updates=rule.minimize(loss), device="numpy")
        mixed += [float(step(*feed)) for feed in feeds[3:]]
        np.testing.assert_allclose(mixed, whole, rtol=1e-5)

    @pytest.mark.parametrize(
        "rule",
        [
            optim.Nesterov(0.1, weight_decay=0.1),
            optim.Adam(lr=optim.StepLR(0.05, 2)),
            optim.Adagrad(0.1),
            optim.RMSprop(0.01),
            optim.NAdam(),
            optim.RAdam(),
            optim.LAMB(lr=0.05),
            optim.Lion(lr=0.01),
            optim.Accumulate(optim.SGD(0.5), 3),
        ],
        ids=lambda rule: type(rule).__name__,
    )
    def test_of_every_rule(self, rule: Any) -> None:
        feeds = batches(12, 16, 8, 4)
        ours = train_dynamic(network(8, 16, 4), sn.nn.cross_entropy, rule, feeds)
        theirs = train_static(network(8, 16, 4), sn.nn.cross_entropy, rule, feeds)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)

    def test_compiled(self) -> None:
        feeds = batches(10, 16, 8, 4)
        ours = train_dynamic(network(8, 16, 4), *SETTING, feeds, device="cpu")
        theirs = train_static(network(8, 16, 4), *SETTING, feeds)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)

    def test_against_pytorch(self) -> None:
        torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
        feeds = batches(20, 16, 8, 4)
        model = network(8, 16, 4)
        nn = torch.nn
        other = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            q.data = torch.tensor(p.value)
        optimizer, theirs = torch.optim.Adam(other.parameters(), lr=0.01), []
        for x, y in feeds:
            loss = nn.functional.cross_entropy(other(torch.from_numpy(x)), torch.from_numpy(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            theirs.append(loss.item())
        ours = train_dynamic(model, sn.nn.cross_entropy, optim.Adam(lr=0.01), feeds)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


SETTING = (sn.nn.cross_entropy, optim.Adam(lr=0.01))


class TestLayersAndLosses:
    LOSSES = [
        lambda p, t: sn.nn.mse_loss(p, t),
        lambda p, t: sn.nn.huber_loss(p, t, delta=0.5),
        lambda p, t: sn.nn.l1_loss(p, t, "sum"),
        lambda p, t: sn.nn.hinge_loss(p, sn.sign(t)),
        lambda p, t: sn.nn.binary_cross_entropy_with_logits(p, sn.sigmoid(t)),
        lambda p, t: sn.nn.kl_div(sn.nn.log_softmax(p), sn.nn.softmax(t), "batchmean"),
        lambda p, t: sn.nn.cross_entropy(p, sn.argmax(t, 1), label_smoothing=0.1),
        lambda p, t: sn.nn.cross_entropy(p, sn.nn.softmax(t)),
        lambda p, t: sn.mean(sn.nn.gelu(p) * sn.nn.silu(t) + sn.nn.elu(p) + sn.nn.mish(p)),
        lambda p, t: sn.mean(sn.nn.softplus(p) + sn.nn.leaky_relu(t - p) + sn.nn.hardtanh(p)),
        lambda p, t: sn.sum(sn.einsum("ij,kj->ik", p, t) ** 2),
        lambda p, t: sn.sum(sn.var(p, 0) + sn.logsumexp(p, 0) + sn.top_k(p, 2, 0)[0][1]),
    ]

    @pytest.mark.parametrize("loss", LOSSES, ids=range(len(LOSSES)))
    def test_value_and_gradient(self, loss: Any) -> None:
        rng = np.random.default_rng(2)
        p, t = rng.standard_normal((2, 5, 4))
        xs = [sn.placeholder((5, 4), "float64", name) for name in "pt"]
        y = loss(*xs)
        value, grad = sn.function(xs, [y, *sn.grad(y, [xs[0]])], device="numpy")(p, t)
        x = dyn.tensor(p, requires_grad=True)
        z = loss(x, dyn.tensor(t))
        z.backward()
        np.testing.assert_allclose(float(z), value, rtol=1e-12)
        np.testing.assert_allclose(x.grad.numpy(), grad, rtol=1e-10, atol=1e-13)

    def test_embedding_and_eval(self) -> None:
        model = sn.nn.Sequential(sn.nn.Embedding(7, 3), sn.nn.Dropout(0.9)).eval()
        sn.sum(model(dyn.tensor([1, 1, 4]))).backward()
        (weight,) = model.parameters()
        assert weight.grad.numpy().sum(1).tolist() == [0, 6, 0, 0, 3, 0, 0]

    def test_a_wrong_input_names_the_line(self) -> None:
        model = sn.nn.Sequential(sn.nn.Linear(4, 2))
        with pytest.raises(ShapeError, match=r"(?s)linear: .*test_dynamic_training\.py:\d+"):
            model(dyn.tensor(np.ones((3, 5), np.float32)))

    def test_a_gradient_lies_as_its_parameter(self) -> None:
        model = sn.nn.Linear(6, 3)
        sn.sum(model(dyn.tensor(np.ones((5, 6), np.float32)))).backward()
        assert model.weight.grad.data.flags.c_contiguous


class Halving(sn.nn.Module):
    """Applies its layer until the activations are small: how often depends on their values."""

    def __init__(self) -> None:
        self.layer = sn.nn.Linear(4, 4, seed=1)
        self.head = sn.nn.Linear(4, 1, seed=2)

    def forward(self, x: Any) -> Any:
        self.times = 0
        while sn.max(sn.abs(x)) > 0.5:
            x = 0.5 * sn.tanh(self.layer(x))
            self.times += 1
        return self.head(x)


WHILE = Halving.forward.__code__.co_firstlineno + 2


class TestDataDependence:
    def test_it_trains(self) -> None:
        model, counts = Halving(), set()
        optimizer = dyn.Optimizer(optim.Adam(lr=0.02), model.parameters())
        rng = np.random.default_rng(0)
        losses = []
        for _ in range(80):
            x = rng.standard_normal((8, 4)) * rng.choice([0.1, 4.0])
            target = np.sign(x[:, :1]).astype(np.float32)
            loss = sn.nn.mse_loss(model(dyn.tensor(x, "float32")), dyn.tensor(target))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(allow_unused=True)
            losses.append(float(loss))
            counts.add(model.times)
        assert {0, 1} <= counts
        assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])

    def test_a_graph_says_which_line_and_what_instead(self) -> None:
        x = sn.placeholder((8, 4), name="x")
        with pytest.raises(SymbolicValueError) as caught:
            sn.function([x], Halving()(x))
        message = str(caught.value)
        line = rf"test_dynamic_training\.py:{WHILE}"
        assert re.search(
            rf"bool: max\(abs\(x\)\) > 0\.5: bool\[\], written on \S*{line}, ", message
        )
        assert re.search(rf"but \S*{line} depends on it", message)
        assert "sn.where" in message
        assert "mask" in message
        assert "sn.dynamic" in message


class TestOptimizer:
    def one(self, **options: Any) -> tuple[Any, Any]:
        w, b = sn.variable(np.float32([1, 2]), "w"), sn.variable(np.float32(0), "b")
        return (w, b), dyn.Optimizer(optim.SGD(lr=1.0, **options), [w, b])

    def test_state_is_there_to_read(self) -> None:
        (w, b), optimizer = self.one(momentum=0.5)
        for _ in range(2):
            sn.sum(dyn.tensor([1.0, 1.0]) * w + b).backward()
            assert optimizer.gradients() == {w: w.grad, b: b.grad}
            optimizer.step()
            optimizer.zero_grad()
            assert optimizer.gradients() == {}
        assert int(optimizer.updates.step.value) == 2
        np.testing.assert_allclose(optimizer.updates.state[w]["momentum_buffer"].value, 1.5)
        np.testing.assert_allclose(w.value, [-1.5, -0.5])

    def test_gradients_may_be_changed(self) -> None:
        (w, b), optimizer = self.one()
        sn.sum(dyn.tensor([3.0, 4.0]) * w + 0 * b).backward()
        optimizer.step(optim.clip_by_global_norm(optimizer.gradients(), 1.0))
        np.testing.assert_allclose(w.value, [0.4, 1.2], rtol=1e-5)

    def test_a_rule_may_be_a_function(self) -> None:
        w = sn.variable(np.float32([3, 4]), "w")
        shadow: list[Any] = []

        def rule(grads: Any) -> Any:
            updates = optim.SGD(1.0).apply(optim.clip_by_global_norm(grads, 1.0))
            updates = optim.ema(updates, 0.5)
            shadow.append(updates.shadows[w])
            return updates

        optimizer = dyn.Optimizer(rule, [w])
        (dyn.tensor(0.5) * sn.sum(w * w)).backward()
        optimizer.step()
        np.testing.assert_allclose(w.value, [2.4, 3.2], rtol=1e-5)
        np.testing.assert_allclose(shadow[0].value, [2.7, 3.6], rtol=1e-5)

    def test_groups(self) -> None:
        w, b = sn.variable(np.float32([1, 2]), "w"), sn.variable(np.float32(0), "b")
        groups = [{"params": [w], "lr": 0.5}, {"params": b}]
        optimizer = dyn.Optimizer(optim.SGD(lr=1.0), groups)
        sn.sum(dyn.tensor([1.0, 1.0]) * w + b).backward()
        optimizer.step()
        assert (w.value.tolist(), float(b.value)) == ([0.5, 1.5], -2)

    def test_the_rate_may_be_set_while_training(self) -> None:
        w, lr = sn.variable(np.float32([1])), sn.variable(np.float32(1), trainable=False)
        optimizer = dyn.Optimizer(optim.SGD(lr=lr), [w])
        for rate in (1.0, 0.25):
            lr.value = np.float32(rate)
            optimizer.zero_grad()
            sn.sum(dyn.tensor([1.0]) * w).backward()
            optimizer.step()
        assert w.value.tolist() == [-0.25]

    def test_a_parameter_without_a_gradient(self) -> None:
        (w, b), optimizer = self.one(momentum=0.9)
        with pytest.raises(GradientError, match=r"step: w f32\[2\], b f32\[\] have no gradient"):
            optimizer.step()
        sn.sum(dyn.tensor([1.0, 1.0]) * w).backward()
        with pytest.raises(GradientError, match=r"b f32\[\] have no gradient .*allow_unused"):
            optimizer.step()
        assert w.value.tolist() == [1, 2]
        optimizer.step(allow_unused=True)
        assert (w.value.tolist(), float(b.value)) == ([0, 1], 0)
        optimizer.zero_grad()
        with pytest.raises(GradientError, match="have no gradient"):
            optimizer.step(allow_unused=True)

        def rule(grads: Any) -> Any:
            return optim.SGD(1.0).apply(optim.clip_by_global_norm(grads, 1.0))

        clipped = dyn.Optimizer(rule, [w, b])
        sn.sum(dyn.tensor([1.0, 1.0]) * w).backward()
        with pytest.raises(GradientError, match="each update depends on a gradient"):
            clipped.step(allow_unused=True)

    def test_bad_arguments(self) -> None:
        w = sn.variable(np.float32([1]), "w")
        for act, message in [
            (lambda: dyn.Optimizer("adam", [w]), "neither a rule nor a function"),  # type: ignore[arg-type]
            (lambda: dyn.Optimizer(optim.SGD(), [3]), "must hold variables"),  # type: ignore[list-item]
            (lambda: dyn.Optimizer(lambda g: 3, [w]), "updates are a mapping"),  # type: ignore[arg-type,return-value]
            (lambda: dyn.Optimizer(optim.SGD(), [w], device="tpu"), "device 'tpu'"),
            (lambda: dyn.Optimizer(optim.SGD(), [w]).step({w: 3}), "is no tensor: 3"),  # type: ignore[dict-item]
            (
                lambda: dyn.Optimizer(optim.SGD(), [w]).step({sn.variable(1.0): dyn.tensor(1.0)}),
                "is none of the parameters",
            ),
        ]:
            with pytest.raises(ArgumentError, match=message):
                act()
        with pytest.raises(GradientError, match="empty"):
            dyn.Optimizer(optim.SGD(), [])

    def test_a_model_is_freed(self) -> None:
        model = network(4, 3)
        sn.sum(model(dyn.tensor(np.ones((2, 4), np.float32)))).backward()
        seen = weakref.ref(model.parameters()[0])
        gc.disable()
        try:
            del model
            assert seen() is None
        finally:
            gc.enable()


class Away(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of another module, as CuPy's: NumPy's own arrays must not meet it."""

    __cuda_array_interface__: dict[str, Any] = {}

    def __init__(self, host: Any) -> None:
        self.host = host

    def __getattr__(self, name: str) -> Any:
        if name in ("dtype", "flags", "shape", "ndim", "size", "item"):
            return getattr(self.host, name)
        if name in ("astype", "copy", "reshape", "transpose"):
            return lambda *args: Away(getattr(self.host, name)(*args))
        raise AttributeError(name)

    def __array__(self, *args: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array")

    def __bool__(self) -> bool:
        return bool(self.host)

    def __int__(self) -> int:
        return int(self.host)

    def __getitem__(self, key: Any) -> Any:
        return Away(self.host[key])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        assert method == "__call__"
        assert not any(isinstance(x, np.ndarray) for x in inputs)
        return Away(np.asarray(ufunc(*map(here, inputs), **options)))

    def get(self) -> Any:
        return self.host.copy()


def here(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(map(here, x))
    return x.host if isinstance(x, Away) else x


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Away]:
    """Makes arrays of a module that runs NumPy on them."""
    module: Any = types.ModuleType("away")

    def run(name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            taken = not any(isinstance(x, np.ndarray) for x in args)
            assert taken or name == "asarray", f"{name} got an array of NumPy"
            return Away(np.asarray(getattr(np, name)(*map(here, args), **options)))

        return call

    module.__getattr__ = run
    monkeypatch.setitem(sys.modules, "away", module)
    monkeypatch.setattr(Away, "__module__", "away")
    return Away


class TestArraysOfAnotherModule:
    def test_all_stays_there(self, away: Callable[[Any], Away]) -> None:
        x, y = np.random.default_rng(0).standard_normal((2, 6, 5)).astype(np.float32)
        model = network(5, 8, 5, dropout=0.5)
        loss = sn.nn.mse_loss(model(dyn.as_tensor(away(x))), dyn.tensor(away(y)))
        loss.backward()
        assert isinstance(loss.data, Away)
        assert all(isinstance(p.grad.data, Away) for p in model.parameters())

        other = network(5, 8, 5, dropout=0.5)
        expected = sn.nn.mse_loss(other(dyn.tensor(x)), dyn.tensor(y))
        expected.backward()
        assert float(loss) == pytest.approx(float(expected), rel=1e-6)
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-5, atol=1e-7)
        dyn.Optimizer(optim.SGD(1.0), model.parameters(), device="numpy").step()
        dyn.Optimizer(optim.SGD(1.0), other.parameters()).step()
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            np.testing.assert_allclose(p.value, q.value, rtol=1e-5, atol=1e-7)

    def test_operators(self, away: Callable[[Any], Away]) -> None:
        x = dyn.tensor(away(np.float32([1, 4])), requires_grad=True)
        y = 2.0 / x - sn.where(x > 2, sn.rsqrt(x), 0) + np.float32([1, 1])
        y = y + sn.arange(2, dtype="float32")
        sn.sum(y).backward()
        np.testing.assert_allclose(y.numpy(), [3, 2], rtol=1e-6)
        np.testing.assert_allclose(x.grad.numpy(), [-2, -2 / 16 + 0.5 / 8], rtol=1e-6)
        assert bool(sn.all(y > 0))
