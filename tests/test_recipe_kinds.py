"""`sn.train.recipe`: faults of each kind in other nets, losses and data than the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from healthy_models import clusters

import staticnet as sn
from staticnet import nn
from staticnet.train import checks
from staticnet.train.checks import Seen

F = nn.functional
Array = np.ndarray[Any, Any]


class Fault(NamedTuple):
    """A model, its loss and its data, with one fault; what `fit` is given beside them."""

    model: nn.Module
    loss: Any
    x: Any
    y: Array
    options: dict[str, Any] = {}
    optimizer: Any = None


def net(inputs: int = 12, classes: int = 4, *end: nn.Module) -> nn.Module:
    nn.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, classes), *end)


def noise(shape: tuple[int, ...], by: float, seed: int = 1) -> Array:
    return (by * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def classified(
    change: Callable[[Array, Array], tuple[Any, Array]],
    model: nn.Module | None = None,
    loss: Any = nn.cross_entropy,
    classes: int = 4,
    **options: Any,
) -> Fault:
    """A perceptron, of inputs and labels that are changed."""
    x, y = clusters(240, classes, (12,))
    return Fault(net(12, classes) if model is None else model, loss, *change(x, y), options)


class Called(nn.Module):
    """A network whose inputs, or outputs, go through a function on the way."""

    def __init__(self, inner: nn.Module, before: Any = None, after: Any = None) -> None:
        self.inner, self.before, self.after = inner, before, after

    def forward(self, *x: Any) -> Any:
        given = self.inner(x[0] if self.before is None else self.before(*x))
        return given if self.after is None else self.after(given)


def images(count: int = 120, seed: int = 0) -> tuple[Array, Array]:
    return clusters(count, 4, (3, 8, 8), seed)


def of_images(x: Array, y: Array, **options: Any) -> Fault:
    return Fault(nn.Sequential(nn.Flatten(), net(192)), nn.cross_entropy, x, y, options)


def flipped() -> Fault:
    (x, y), (held, labels) = images(), images(40, 5)
    held[:20] = x[:20, :, :, ::-1]
    return of_images(x, y, validation=(held, labels))


def cut() -> Fault:
    x, y = images()
    x[5, :, 4:] = 0.5
    return of_images(x, y)


def plain_colours() -> Fault:
    (x, y), (held, labels) = images(), images(40, 5)
    held[3] = np.array([0.1, 0.2, 0.3], "f").reshape(3, 1, 1)
    return of_images(x, y, validation=(held, labels))


def text(windows: Array) -> tuple[Array, Array]:
    """Windows of a text, and the same a token later."""
    written = np.random.default_rng(0).integers(0, 40, 2000)
    at = windows[:, None] + np.arange(16)
    return written[at], written[at + 1]


def tokens(x: Array, y: Array, **options: Any) -> Fault:
    def loss(o: Any, y: Any) -> Any:
        return nn.cross_entropy(sn.permute_dims(o, (0, 2, 1)), y)

    return Fault(nn.Sequential(nn.Embedding(40, 8), nn.Linear(8, 40)), loss, x, y, options)


def windows_that_overlap() -> Fault:
    order = np.random.default_rng(1).permutation(900)
    return tokens(*text(order[:700]), validation=text(order[700:]))


def the_token_before() -> Fault:
    x, y = text(np.arange(0, 1900, 20))
    return tokens(y, x)


def sorted_numbers(x: Array, _: Array) -> tuple[Array, Array]:
    x = x[np.argsort(x[:, 0])]
    return x, x[:, :1] + 0.001 * x[:, 1:2]


def rare(x: Array, y: Array) -> tuple[Array, Array]:
    dropped = np.flatnonzero(y == 1)[4:]
    return np.delete(x, dropped, 0), np.delete(y, dropped)


def of_column(change: Callable[[Array], Array]) -> Callable[[Array, Array], tuple[Array, Array]]:
    def changed(x: Array, y: Array) -> tuple[Array, Array]:
        x[:, 5] = change(x[:, 5])
        return x, y

    return changed


def same(x: Array, y: Array) -> tuple[Array, Array]:
    return x, y


def signs(x: Array, y: Array) -> tuple[Array, Array]:
    return x, (2.0 * y[:, None] - 1).astype(np.float32)


def columns(count: int, plus: int = 0) -> Callable[[Array, Array], tuple[Array, Array]]:
    return lambda x, y: (x, np.eye(count, dtype=np.float32)[y + plus])


def held(change: Callable[[Array], Array]) -> tuple[Array, Array]:
    x, y = clusters(240, 4, (12,))
    return change(x[:60]).astype(np.float32), y[:60]


def softplus_loss(o: Any, y: Any) -> Any:
    return sn.mean(F.softplus(-y * o))


def mse_of_columns(o: Any, y: Any) -> Any:
    return nn.mse_loss(o, sn.astype(F.one_hot(y, 4), "float32"))


def over_the_batch(x: Any) -> Any:
    return F.log_softmax(x, 0)


def half_dead() -> nn.Module:
    model = net()
    model.get_parameter("0.bias").value = np.repeat(np.array([-20, 0], "f"), 16)
    return model


def large(end: str, by: float, *more: nn.Module) -> nn.Module:
    model = net(12, 4, *more)
    model.get_parameter(end).value = by * model.get_parameter(end).value
    return model


def unused() -> nn.Module:
    model = Called(net())
    model.other = nn.Linear(3, 3)
    return model


class Attends(nn.Module):
    """Scores without 1/sqrt(d): one key gets all."""

    def __init__(self, scale: float) -> None:
        nn.manual_seed(0)
        self.q, self.k, self.head, self.scale = nn.Linear(6, 8), nn.Linear(6, 8), net(6), scale

    def forward(self, x: Any) -> Any:
        weights = F.softmax(self.scale * (self.q(x) @ sn.permute_dims(self.k(x), (0, 2, 1))), -1)
        return self.head(sn.mean(weights @ x, 1))


def attention() -> Fault:
    return Fault(Attends(200.0), nn.cross_entropy, *clusters(120, 4, (10, 6)))


def time_first() -> Fault:
    nn.manual_seed(0)
    model = Called(nn.LSTM(6, 16), None, lambda made: made[0][:, -1])
    return Fault(nn.Sequential(model, nn.Linear(16, 4)), nn.cross_entropy, *clusters(96, 4, (9, 6)))


def two_inputs() -> Fault:
    x, y = clusters(240, 4, (12,))
    model = Called(net(), lambda a, b: sn.concat([a, b - sn.mean(b, axis=0)], axis=1))
    return Fault(model, nn.cross_entropy, (x[:, :6], x[:, 6:]), y)


def rate(optimizer: Any) -> Fault:
    return classified(same)._replace(optimizer=optimizer)


NOISE, DUPLICATES, LEAKAGE = "initial loss", "duplicates", "leakage"
OUTPUT, BATCH, STUCK = "loss for the output", "dependence across the batch", checks.model.STUCK
FAULTS: dict[str, tuple[str, Callable[[], Fault]]] = {
    "copies with noise": (DUPLICATES, lambda: classified(lambda x, y: (
        np.concatenate([x, x[:60] + noise((60, 12), 1e-3)]), np.concatenate([y, y[:60]])))),
    "copies of two inputs": (DUPLICATES, lambda: Fault(
        Called(net(), lambda a, b: sn.concat([a, b], axis=1)), nn.cross_entropy,
        tuple(np.repeat(clusters(60, 4, (6,), seed)[0], 2, 0) for seed in (0, 1)),
        np.repeat(clusters(60, 4, (6,))[1], 2))),
    "copies of texts": (DUPLICATES, lambda: tokens(*text(np.arange(0, 1900, 20).repeat(2)))),
    "held out with noise": (LEAKAGE, lambda: classified(
        same, validation=held(lambda x: x + noise((60, 12), 1e-3)))),
    "mirrored": (LEAKAGE, flipped),
    "windows that overlap": (LEAKAGE, windows_that_overlap),
    "NaN held out": ("ranges", lambda: classified(same, validation=held(
        lambda x: np.where(x > 2, np.nan, x)))),
    "missing is -999": ("ranges", lambda: classified(of_column(
        lambda x: np.where(np.arange(240) % 40 == 0, -999, x).astype(np.float32)))),
    "cut": ("corrupt images", cut),
    "one colour": ("corrupt images", plain_colours),
    "rare column": ("label balance", lambda: classified(lambda x, y: columns(4)(*rare(x, y)))),
    "rare sign": ("label balance", lambda: classified(
        lambda x, y: signs(*rare(x, y)), net(12, 1), softplus_loss, 2)),
    "no class 2": ("label balance", lambda: classified(lambda x, y: (x[y != 2], y[y != 2]))),
    "columns from one": ("labels off by one", lambda: classified(columns(5, 1), net(12, 5))),
    "from one in columns": ("labels off by one", lambda: classified(
        lambda x, y: (x, y + 1), net(12, 4, nn.Softmax(1)), mse_of_columns)),
    "-1 and 1": ("labels off by one", lambda: classified(lambda x, y: (x, 2 * y - 1), classes=2)),
    "the token before": ("labels off by one", the_token_before),
    "columns in order": ("shuffling", lambda: classified(lambda x, y: columns(4)(
        x[np.argsort(y)], np.sort(y)), shuffle=False, batch_size=16)),
    "numbers in order": ("shuffling", lambda: classified(
        sorted_numbers, net(12, 1), nn.mse_loss, shuffle=False, batch_size=16)),
    "more than are looked at": ("shuffling", lambda: classified(
        lambda x, y: (np.repeat(x[np.argsort(y)], 100, 0), np.repeat(np.sort(y), 100)),
        shuffle=False)),
    "draws": ("mode", lambda: classified(same, Called(
        net(), lambda x: x + sn.random.normal(sn.random.key(1), x.shape)))),
    "one column of large numbers": ("normalisation", lambda: classified(of_column(
        lambda x: 40 * x + 50))),
    "one column held out": ("normalisation", lambda: classified(same, validation=held(
        lambda x: x * np.where(np.arange(12) == 5, 50, 1)))),
    "softmax over channels": (OUTPUT, lambda: Fault(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(1)), nn.cross_entropy, images()[0],
        np.random.default_rng(0).integers(0, 4, (120, 8, 8)))),
    "sigmoid of classes": (OUTPUT, lambda: classified(same, net(12, 4, nn.Sigmoid()))),
    "relu of classes": (OUTPUT, lambda: classified(same, net(12, 4, nn.ReLU()))),
    "nll of logits": (OUTPUT, lambda: classified(same, loss=nn.functional.nll_loss)),
    "nll of probabilities": (OUTPUT, lambda: classified(
        same, net(12, 4, nn.Softmax(1)), nn.functional.nll_loss)),
    "softmax of one": (OUTPUT, lambda: classified(
        lambda x, y: (x, y[:, None].astype(np.float32)), net(12, 1, nn.Softmax(1)),
        F.binary_cross_entropy, 2)),
    "signs in a loss of 0 and 1": (OUTPUT, lambda: classified(
        signs, net(12, 1), F.binary_cross_entropy_with_logits, 2)),
    "confident log-softmax": (NOISE, lambda: classified(
        same, large("2.weight", 60, nn.LogSoftmax(1)), nn.functional.nll_loss)),
    "softmax over the batch": (BATCH, lambda: classified(
        same, Called(net(), None, over_the_batch), nn.functional.nll_loss)),
    "time first": (BATCH, time_first),
    "the largest of all": (BATCH, lambda: classified(
        same, Called(net(), lambda x: x / sn.max(sn.abs(x))))),
    "the second input": (BATCH, two_inputs),
    "stopped inside": ("gradients", lambda: classified(
        same, nn.Sequential(Called(nn.Linear(12, 12), None, sn.stop_gradient), net()))),
    "not used": ("gradients", lambda: classified(same, unused())),
    "half dead": (STUCK, lambda: classified(same, half_dead())),
    "dead maximum": (STUCK, lambda: classified(same, nn.Sequential(
        Called(nn.Linear(12, 12), None, lambda x: sn.maximum(x - 30, 0)), net()))),
    "dead relu6": (STUCK, lambda: classified(same, nn.Sequential(
        Called(nn.Linear(12, 12), None, lambda x: x - 30), nn.ReLU6(), net()))),
    "hardtanh": (STUCK, lambda: classified(lambda x, y: (5 * x, y), nn.Sequential(
        Called(nn.Linear(12, 12), None, lambda x: 100 * x), nn.Hardtanh(), net()))),
    "attention": (STUCK, attention),
    "ones": ("input-independent baseline", lambda: classified(same, Called(net(), sn.ones_like))),
    "uphill": ("overfit one batch", lambda: classified(
        lambda x, y: (x, x[:, :1]), net(12, 1), lambda o, y: -nn.mse_loss(o, y))),
    "clipped away": ("overfit one batch", lambda: rate(sn.optim.Clipped(
        sn.optim.SGD(0.1), max_norm=1e-5))),
    "too small": ("learning rate", lambda: rate(sn.optim.SGD(1e-6, momentum=0.9))),
}  # fmt: skip


def seen(fault: Fault, check: str) -> Seen:
    optimizer = fault.optimizer or sn.optim.Adam(3e-3)
    trainer = sn.train.Trainer(fault.model, fault.loss, optimizer, device="numpy")
    given = {"validation": None, "batch_size": 32, "shuffle": True, **fault.options}
    for each in checks.looked_at(trainer, (fault.x, fault.y), *given.values(), "here.py:1"):
        if each.check == check:
            return each
    raise AssertionError(f"{check} was not looked at")


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found(name: str) -> None:
    check, made = FAULTS[name]
    found = seen(made(), check)
    assert found.remedy, str(found)
    assert ".py:" in found.line


def test_what_is_weighed_is_not_told_to_be_weighed() -> None:
    weight = sn.constant(np.array([1, 9, 1, 1], np.float32))
    fault = classified(rare, loss=lambda o, y: nn.cross_entropy(o, y, weight=weight))
    assert seen(fault, "label balance").saw.endswith("the loss weighs the rarest 8.66 times")


def test_what_repeats_by_nature_is_no_copy() -> None:
    """Of 27 different rows 240 are 27 nine times; of a loss that compares labels 20 are no more."""
    rows = np.random.default_rng(0).integers(0, 3, (240, 3))
    x = np.eye(3, dtype=np.float32)[rows].reshape(240, 9)
    fault = Fault(net(9, 3), nn.cross_entropy, x, rows.sum(1) % 3)
    assert not seen(fault, DUPLICATES).remedy


def test_labels_that_are_compared_are_no_classes() -> None:
    def loss(o: Any, y: Any) -> Any:
        near = F.normalize(o) @ F.normalize(o).T
        return sn.mean((near - sn.astype(y[:, None] == y[None, :], "float32")) ** 2)

    x, y = clusters(240, 20, (12,))
    fault = Fault(net(), loss, x, y)
    assert not seen(fault, "labels off by one").remedy
    assert not seen(fault, BATCH).remedy


def test_outputs_of_pairs_depend_on_both() -> None:
    x, y = clusters(240, 4, (12,))
    model = Called(net(), None, lambda made: made @ made.T)
    fault = Fault(model, lambda o, y: sn.mean(o * o) + 0 * sn.mean(y), x, y.astype(np.float32))
    assert seen(fault, BATCH).saw == "outputs are of pairs of examples"


def all_seen(fault: Fault, last: str, data: Any = None) -> dict[str, Seen]:
    """What the checks saw, up to a last one."""
    trainer = sn.train.Trainer(fault.model, fault.loss, sn.optim.Adam(3e-3), device="numpy")
    given = {"validation": None, "batch_size": 16, "shuffle": True, **fault.options}
    data = (fault.x, fault.y) if data is None else data
    found = {}
    for each in checks.looked_at(trainer, data, *given.values(), "here.py:1"):
        found[each.check] = each
        if each.check == last:
            break
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of two classes, a class after the other."""
    image = pytest.importorskip("PIL.Image")
    draw = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(60):
            pixels = draw.integers(0, 256, (4, 4, 3)).astype(np.uint8)
            image.fromarray(pixels).save(tmp_path / name / f"{i:02}.png")
    return tmp_path


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_folder_is_in_the_order_that_fit_takes(folder: Path, shuffle: bool) -> None:
    source = sn.train.data.ImageFolder(folder)
    model = nn.Sequential(nn.Flatten(), net(48, 2))
    fault = Fault(model, nn.cross_entropy, None, np.zeros(0), {"shuffle": shuffle})
    found = all_seen(fault, "shuffling", source)
    assert bool(found["shuffling"].remedy) is not shuffle
    assert found["label balance"].saw == "2 classes, of 60 to 60 examples"
    x, y = source.at(np.array([3, 70]))
    np.testing.assert_array_equal(x[1], source.read(70)[0])
    assert y.tolist() == [0, 1]


class OwnOrder:
    """A source that says nothing of its examples but what an epoch gives."""

    exact = True

    def __init__(self, x: Array, y: Array) -> None:
        self.inner = sn.train.data.ArraySource(x, y)
        self.examples, self.layout = self.inner.examples, self.inner.layout
        self.epoch, self.inputs = self.inner.epoch, self.inner.inputs


def test_what_lies_in_the_order_of_classes_and_is_shuffled_has_no_fault() -> None:
    """Two thousand: the first of them, as many as a model is run on, are of one class."""
    x, y = clusters(2000, 4, (12,))
    order = np.argsort(y, kind="stable")
    fault = Fault(net(), nn.cross_entropy, x[order], y[order])
    for data in (None, OwnOrder(x[order], y[order])):
        found = all_seen(fault, NOISE, data)
        assert not [s for s in found.values() if s.remedy]


def test_no_more_bytes_are_looked_at_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 images 40 in pieces of one; copies are counted in all, where they lie."""
    monkeypatch.setattr(checks.session, "LOOKED", 40 * (4 * 192 + 8))
    monkeypatch.setattr(checks.session, "VALUES", 500)
    x, y = images(1000)
    x[500:] = x[:500]
    order = np.argsort(y, kind="stable")
    held, labels = images(80, 5)
    held[:8] = x[:8, :, ::-1]
    found = all_seen(
        of_images(x[order], y[order], validation=(held[::-1], labels)), "label balance"
    )
    assert found["label balance"].saw.startswith("4 classes")
    assert found[DUPLICATES].saw.startswith("500 of 1,000")
    assert "mirrored" in found[LEAKAGE].saw
    looked = checks.session.examples_of(sn.train.data.ArraySource(x, y), True)
    assert len(looked[0]) == 40
    from_epochs = checks.session.examples_of(OwnOrder(x, y), True)
    assert len(from_epochs[0]) == 40


def test_copies_of_large_images_are_found_by_some_of_their_pixels() -> None:
    x = noise((90, 3, 40, 40), 1.0)
    x[80:] = x[:10] + noise((10, 3, 40, 40), 1e-3, 2)
    drawn = checks.copies._drawn([x, x[:, 0]], 50)
    assert drawn.shape == (50, checks.copies.DRAWN)
    assert checks.copies._near([x], [x]) == (20, 90)


@pytest.mark.filterwarnings("error")
def test_a_fault_is_told_once() -> None:
    x, y = clusters(240, 4, (12,))
    other = x[:60] + 0.5
    other[3, 2] = np.nan
    found = all_seen(classified(same, validation=(other, y[:60])), NOISE)
    assert [s.check for s in found.values() if s.remedy] == ["ranges"]
    assert checks.copies._near([np.full_like(x, np.nan)], [x]) == (0, 0)
    for value in (0.0, 0.1):
        assert checks.copies._near([np.full_like(x, value)], [np.full_like(x, value)])[0] == 0


@pytest.mark.parametrize(
    ("values", "counts", "is_told"),
    [
        ((1, 2, 3, 4, 5), (10, 40, 90, 70, 30), False),
        ((1, 2, 3, 4, 5), (12, 14, 30, 74, 110), False),
        ((1, 2, 3, 4, 5), (46, 50, 48, 51, 45), True),
        ((0, 1, 2, 3), (60, 58, 61, 61), True),
        ((0, 1, 2, 3), (30, 90, 80, 40), True),
        ((1, 2, 3, 4, 5), (60, 20, 80, 20, 60), True),
    ],
)
def test_ratings_are_no_classes(values: Any, counts: Any, is_told: bool) -> None:
    y = np.random.default_rng(0).permutation(np.repeat(np.array(values, "f"), counts))[:, None]
    fault = Fault(net(12, 1), nn.mse_loss, noise((240, 12), 1.0), y)
    found = seen(fault, OUTPUT)
    assert bool(found.remedy) is is_told
    standard = fault._replace(y=(y - y.mean()) / y.std())
    assert not seen(standard, OUTPUT).remedy
    assert "mean 0" in found.remedy or not is_told
