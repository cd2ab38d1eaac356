"""`sn.diagnose`: each seeded fault is found at its line, and healthy models have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from healthy_models import HEALTHY, Case, clusters, step_of

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, FeedError
from staticnet.explain.diagnosis.measured import measure

Found = tuple[Any, tuple[Any, ...]]


def scaled(model: nn.Module, by: float) -> nn.Module:
    """The model with all weights larger or smaller."""
    for w in model.parameters():
        if w.ndim > 1:
            w.value = w.value * np.float32(by)
    return model


def deep(layers: int, activation: Callable[[], nn.Module]) -> nn.Module:
    nn.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Linear(16, 16), activation()]
    return nn.Sequential(*parts, nn.Linear(16, 4))


def classified(model: nn.Module, shape: tuple[int, ...] = (16,), scale: float = 1.0) -> Found:
    x, y = clusters(64, 4, shape)
    case = Case(model, nn.cross_entropy, x * np.float32(scale), y)
    return step_of(case), (case.x, case.y)


def saturated_tanh() -> Found:
    return classified(scaled(deep(2, nn.Tanh), 40.0))


def saturated_sigmoid() -> Found:
    return classified(deep(1, nn.Sigmoid), scale=300.0)


def saturated_in_a_loop() -> Found:
    return classified(Last(scaled(nn.RNN(16, 8, batch_first=True), 40.0), 8), (6, 16))


class Last(nn.Module):
    def __init__(self, inner: nn.Module, size: int) -> None:
        self.inner, self.head = inner, nn.Linear(size, 4)

    def forward(self, x: Any) -> Any:
        return self.head(self.inner(x)[0][:, -1])


def dead() -> Found:
    model = deep(2, nn.ReLU)
    model.get_parameter("2.bias").value = np.full(16, -50, np.float32)
    return classified(model)


def dead_images() -> Found:
    nn.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)]
    model = nn.Sequential(*layers)
    model.get_parameter("0.bias").value = np.full(4, -50, np.float32)
    return classified(model, (1, 8, 8))


def vanishing() -> Found:
    return classified(deep(12, nn.Sigmoid))


def exploding() -> Found:
    return classified(scaled(deep(10, nn.ReLU), 9.0))


def vanishing_in_time() -> Found:
    nn.manual_seed(0)
    return classified(Last(scaled(nn.RNN(16, 8, batch_first=True), 0.3), 8), (30, 16))


def exploding_in_time() -> Found:
    nn.manual_seed(0)
    inner = nn.RNN(16, 8, nonlinearity="relu", batch_first=True)
    return classified(Last(scaled(inner, 6.0), 8), (30, 16))


def regressed(loss: Callable[[Any, Any], Any], width: int = 1) -> Found:
    nn.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 6)).astype(np.float32)
    y = (5 * x[:, :1]).astype(np.float32)
    return step_of(Case(nn.Linear(6, width), loss, x, y)), (x, y)


def clipped_error() -> Found:
    return regressed(lambda p, y: sn.mean(sn.clip(p - y, -1, 1) ** 2))


def clipped_loss() -> Found:
    return regressed(lambda p, y: sn.mean(sn.minimum((p - y) ** 2, 1.0)))


def targets_that_broadcast() -> Found:
    return regressed(lambda p, y: sn.mean((p - y[:, 0]) ** 2))


def bias_of_the_batch() -> Found:
    x, y = sn.placeholder((32, 6), name="x"), sn.placeholder((32, 1), name="y")
    w, b = sn.variable(np.ones((6, 1), "f"), "w"), sn.variable(np.zeros((32, 1), "f"), "b")
    loss = sn.mean((x @ w + b - y) ** 2)
    step = sn.function([x, y], loss, sn.optim.SGD(0.1).minimize(loss), device="numpy")
    rng = np.random.default_rng(0)
    return step, (
        rng.standard_normal((32, 6)).astype("f"),
        rng.standard_normal((32, 1)).astype("f"),
    )


def bias_along_the_batch() -> Found:
    """[n, 1] + [n] is [n, n]."""
    x, y = sn.placeholder((32, 6), name="x"), sn.placeholder((32, 1), name="y")
    w, b = sn.variable(np.ones((6, 1), "f"), "w"), sn.variable(np.zeros(32, "f"), "b")
    loss = sn.mean((x @ w + b - y) ** 2)
    step = sn.function([x, y], loss, sn.optim.SGD(0.1).minimize(loss), device="numpy")
    given = np.random.default_rng(0).standard_normal((32, 7)).astype("f")
    return step, (given[:, :6], given[:, 6:])


def bias_gradient_by_hand() -> Found:
    """The sum over all axes, broadcast to the bias, where the batch's was meant."""
    x, y = sn.placeholder(("batch", 6), name="x"), sn.placeholder(("batch", 3), name="y")
    w, b = sn.variable(np.ones((6, 3), "f"), "w"), sn.variable(np.zeros(3, "f"), "b")
    d: Any = (x @ w + b - y) * 2
    loss = sn.mean(d * d)
    updates = {w: w - 0.1 * (x.T @ d), b: b - 0.1 * sn.sum(d)}
    updates[b] = b - 0.1 * sn.broadcast_to(sn.sum(d), (3,))
    step = sn.function([x, y], loss, updates, device="numpy")
    rng = np.random.default_rng(0)
    return step, (
        rng.standard_normal((32, 6)).astype("f"),
        rng.standard_normal((32, 3)).astype("f"),
    )


def uphill() -> Found:
    x, w = sn.placeholder((4,), name="x"), sn.variable(np.ones(4, "f"), "w")
    loss: Any = sn.sum((x * w) ** 2)
    step = sn.function([x], loss, {w: w + 0.1 * (2 * x * x * w)}, device="numpy")
    return step, (np.arange(1, 5, dtype=np.float32),)


def stopped() -> Found:
    nn.manual_seed(0)
    first, last = nn.Linear(6, 8), nn.Linear(8, 1)
    x, y = sn.placeholder(("batch", 6), name="x"), sn.placeholder(("batch", 1), name="y")
    loss = nn.mse_loss(last(sn.round(first(x))), y)
    step = sn.function([x, y], loss, sn.optim.SGD(0.1).minimize(
        loss, [*last.parameters()]), device="numpy")  # fmt: skip
    rng = np.random.default_rng(0)
    return step, (rng.standard_normal((8, 6)).astype("f"), rng.standard_normal((8, 1)).astype("f"))


def not_a_number() -> Found:
    return regressed(lambda p, y: sn.mean(sn.log(p - p) * y))


FAULTS: dict[Callable[[], Found], str] = {
    saturated_tanh: "saturation",
    saturated_sigmoid: "saturation",
    saturated_in_a_loop: "saturation",
    dead: "dead ReLU",
    dead_images: "dead ReLU",
    vanishing: "vanishing gradient",
    exploding: "exploding gradient",
    vanishing_in_time: "vanishing gradient in time",
    exploding_in_time: "exploding gradient in time",
    clipped_error: "clipped gradient",
    clipped_loss: "clipped gradient",
    targets_that_broadcast: "wrong broadcast",
    bias_of_the_batch: "wrong broadcast",
    bias_along_the_batch: "wrong broadcast",
    bias_gradient_by_hand: "wrong broadcast",
    uphill: "wrong gradient",
    stopped: "no gradient",
    not_a_number: "not finite",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_each_fault_is_found(fault: Callable[[], Found]) -> None:
    step, feeds = fault()
    before = [v.value.copy() for v in step.graph.variables]
    found = sn.diagnose(step, *feeds)
    assert FAULTS[fault] in found.kinds, str(found)
    finding = next(each for each in found.findings if each.kind == FAULTS[fault])
    assert "tests/" in finding.line
    assert finding.remedy
    for v, value in zip(step.graph.variables, before, strict=True):
        np.testing.assert_array_equal(v.value, value)


@pytest.mark.parametrize(
    "name", [n if n == "mlp" else pytest.param(n, marks=pytest.mark.slow) for n in HEALTHY]
)
def test_healthy_models_have_nothing(name: str) -> None:
    case = HEALTHY[name]()
    step = step_of(case)
    for _ in range(2):
        found = sn.diagnose(step, case.x[:64], case.y[:64])
        assert not found.findings, str(found)
        for _ in range(20):
            step(case.x[:64], case.y[:64])


def test_it_tells_the_line_and_the_module() -> None:
    step, feeds = dead()
    (finding,) = (f for f in sn.diagnose(step, *feeds).findings if f.kind == "dead ReLU")
    assert finding.module == "3"
    assert finding.seen.startswith("16 of 16 units")
    assert "dead ReLU (" in str(finding)


def test_it_shows_itself() -> None:
    step, feeds = uphill()
    found = sn.diagnose(step, *feeds)
    assert repr(found) == str(found)
    assert "<table>" in found._repr_html_()
    assert "1 found" in str(found)


def test_what_cannot_be_diagnosed() -> None:
    x, w = sn.placeholder((4,), name="x"), sn.variable(np.ones(4, "f"), "w")
    with pytest.raises(ArgumentError, match="takes a compiled step"):
        sn.diagnose(lambda x: x, 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="gives no scalar that depends"):
        sn.diagnose(sn.function(x, x * w, device="numpy"), np.ones(4, "f"))
    step = sn.function(x, [x * w, sn.sum(x * w)], device="numpy")
    with pytest.raises(FeedError):
        sn.diagnose(step, np.ones(5, "f"))
    with pytest.raises(ArgumentError, match="is no floating-point scalar of"):
        sn.diagnose(step, np.ones(4, "f"), loss=x)
    assert not sn.diagnose(step, np.ones(4, "f")).findings


def test_two_equal_loops_are_told_apart() -> None:
    """The first of two recurrent layers loses its gradient, the second does not."""
    nn.manual_seed(0)
    first = nn.RNN(16, 8, batch_first=True)
    second = nn.RNN(8, 8, batch_first=True)
    scaled(first, 0.02)

    class Two(nn.Module):
        def __init__(self) -> None:
            self.first, self.second, self.head = first, second, nn.Linear(8, 4)

        def forward(self, x: Any) -> Any:
            return self.head(self.second(self.first(x)[0][:, ::-1])[0][:, -1])

    step, feeds = classified(Two(), (12, 16))
    m = measure(step, feeds, None)
    zeros = [z for loop in m.loops for z in loop.zeros]
    assert len(m.loops) == 2
    assert len({id(z) for z in zeros}) == 2
