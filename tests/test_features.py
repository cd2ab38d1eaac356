"""Attributions, ascents, neighbours and maps: their definitions, and PyTorch's gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import features, nn
from staticnet.errors import ArgumentError, MissingNameError, ShapeError

COMPILES = True
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 2, 8, 8))
TARGETS = np.array([1, 4, 0])


def network() -> Any:
    sn.manual_seed(1)
    layers = (nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3))
    model = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)).double().eval()
    for weight in model.parameters():  # or scores hardly depend on what is seen
        weight.value = weight.value * 3
    return model


def made(*nodes: Any, device: str = "numpy") -> list[Array]:
    return sn.function([], list(nodes), device=device)()


class Theirs:
    """The same network of PyTorch, whose gradients and layers are looked at."""

    def __init__(self) -> None:
        torch = pytest.importorskip("torch", reason="the oracle")
        layers = (torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.Tanh(), torch.nn.MaxPool2d(2))
        rest = (torch.nn.Conv2d(4, 6, 3), torch.nn.ReLU(), torch.nn.Flatten())
        self.torch = torch
        self.model = torch.nn.Sequential(*layers, *rest, torch.nn.Linear(24, 5)).double()
        state = {k: torch.tensor(v) for k, v in network().state_dict().items()}
        self.model.load_state_dict(state)

    def gradient(self, x: Array, targets: Array) -> Array:
        given = self.torch.tensor(x, requires_grad=True)
        self.model(given)[range(len(x)), targets].sum().backward()
        return given.grad.numpy()

    def scores(self, x: Array) -> Array:
        return self.model(self.torch.tensor(x)).detach().numpy()


@pytest.mark.parametrize("device", ["numpy", pytest.param("cpu", marks=pytest.mark.slow)])
def test_gradients_are_pytorchs(device: str) -> None:
    theirs, x = Theirs(), sn.constant(IMAGES)
    found = made(
        features.gradient(network(), x, TARGETS),
        features.gradient(network(), x),
        features.gradient(network(), x, 2),
        features.saliency(network(), x, TARGETS),
        device=device,
    )
    expected = theirs.gradient(IMAGES, TARGETS)
    np.testing.assert_allclose(found[0], expected, rtol=1e-9, atol=1e-12)
    likeliest = theirs.scores(IMAGES).argmax(axis=1)
    np.testing.assert_allclose(found[1], theirs.gradient(IMAGES, likeliest), rtol=1e-9, atol=1e-12)
    twos = theirs.gradient(IMAGES, np.full(3, 2))
    np.testing.assert_allclose(found[2], twos, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[3], np.abs(expected).max(axis=1), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_smooth_grad_is_the_mean_of_gradients_with_noise() -> None:
    theirs, key = Theirs(), sn.random.key(4)
    smooth = features.smooth_grad(network(), IMAGES, TARGETS, samples=5, noise=0.2, key=key)
    draws = [sn.random.normal(k, IMAGES.shape, "float64") for k in sn.random.split(key, 5)]
    found, *draws = made(smooth, *draws)
    spread = np.ptp(IMAGES, axis=(1, 2, 3), keepdims=True)
    each = [theirs.gradient(IMAGES + 0.2 * spread * drawn, TARGETS) for drawn in draws]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("baseline", [0.0, 0.5, pytest.param(RNG.random((2, 8, 8)), id="array")])
def test_integrated_gradients_add_up_to_what_the_score_gains(baseline: Any) -> None:
    model, theirs = network(), Theirs()
    found = features.integrated_gradients(model, IMAGES, baseline=baseline, steps=100)
    gap = features.completeness_gap(model, IMAGES, found, baseline=baseline)
    found, gap = made(found, gap)
    start = np.broadcast_to(baseline, IMAGES.shape)
    scores, before = theirs.scores(IMAGES), theirs.scores(start.copy())
    rows, likeliest = np.arange(3), scores.argmax(axis=1)
    gained = scores[rows, likeliest] - before[rows, likeliest]
    np.testing.assert_allclose(gap, found.sum(axis=(1, 2, 3)) - gained, atol=1e-12)
    assert (np.abs(gap) < 0.01 * np.abs(found).sum(axis=(1, 2, 3))).all()
    shares = (np.polynomial.legendre.leggauss(100)[0] + 1) / 2
    way = IMAGES - start
    each = [theirs.gradient(start + share * way, likeliest) for share in shares]
    weights = np.polynomial.legendre.leggauss(100)[1] / 2
    np.testing.assert_allclose(found, way * np.tensordot(weights, each, 1), rtol=1e-8, atol=1e-11)


def test_integrated_gradients_of_a_linear_model_are_exact() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 5)).double()
    found = features.integrated_gradients(model, IMAGES, TARGETS, steps=1)
    gap, found = made(features.completeness_gap(model, IMAGES, found, TARGETS), found)
    np.testing.assert_allclose(gap, 0, atol=1e-12)
    weights = model[1].weight.value[TARGETS].reshape(IMAGES.shape)
    np.testing.assert_allclose(found, weights * IMAGES, rtol=1e-9)


@pytest.mark.parametrize("layer", ["3", "4", "1"])
def test_grad_cam_is_of_the_layers_channels(layer: str) -> None:
    theirs = Theirs()
    torch = theirs.torch
    given = []
    hook = theirs.model[int(layer)].register_forward_hook(lambda *a: given.append(a[-1]))
    score = theirs.model(torch.tensor(IMAGES))[range(3), TARGETS].sum()
    hook.remove()
    weights = torch.autograd.grad(score, given[0])[0].mean(dim=(2, 3), keepdim=True)
    heat = torch.relu((weights * given[0]).sum(dim=1, keepdim=True))
    expected = torch.nn.functional.interpolate(heat, (8, 8), mode="bilinear")[:, 0]
    (found,) = made(features.grad_cam(network(), IMAGES, layer, TARGETS))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_a_layers_output_is_what_the_layers_before_it_make() -> None:
    model = network()
    y, given = features.layer_output(model, IMAGES, model[2])
    y, given, whole, part = made(y, given, model(IMAGES), model[2](model[1](model[0](IMAGES))))
    np.testing.assert_array_equal(y, whole)
    np.testing.assert_array_equal(given, part)
    assert "forward" not in vars(model[2])


def test_a_step_of_the_ascent() -> None:
    """With no regulariser it goes one length up the gradient; with them it is pulled back."""
    theirs, key = Theirs(), sn.random.key(2)
    model = network().float()
    plain = {"decay": 0.0, "variation": 0.0, "jitter": 0, "key": key}
    first = features.maximise(model, [1, 3], (2, 8, 8), steps=1, rate=0.0, **plain)
    second = features.maximise(model, [1, 3], (2, 8, 8), steps=1, rate=0.5, **plain)
    pulled = features.maximise(
        model, [1, 3], (2, 8, 8), steps=1, rate=0.0, decay=0.1, variation=0.0, jitter=0, key=key
    )
    first, second, pulled = made(first, second, pulled)
    up = theirs.gradient(first.astype(np.float64), np.array([1, 3]))
    up /= np.sqrt((up**2).sum(axis=(1, 2, 3), keepdims=True))
    np.testing.assert_allclose(second, np.clip(first + 0.5 * up, 0, 1), atol=1e-5)
    np.testing.assert_allclose(pulled, first - 0.2 * (first - 0.5), atol=1e-6)


@pytest.mark.slow
def test_an_ascent_makes_its_unit_answer() -> None:
    model = network().float()
    images = features.maximise(model, np.arange(5), (2, 8, 8), steps=20, jitter=0)
    inner = features.maximise(model, np.arange(4), (2, 8, 8), "0", steps=20)
    answers = features.layer_output(model, inner, "0")[1]
    scores, grey, answers = made(model(images), model(images * 0 + 0.5), sn.mean(answers, (2, 3)))
    assert (np.diag(scores) > np.diag(grey[:5]) + 0.1).all()
    assert (answers.argmax(axis=0) == np.arange(4)).sum() >= 3


def test_nearest_examples_are_those_of_the_greatest_cosine() -> None:
    known, queries = RNG.normal(size=(20, 2, 3)), RNG.normal(size=(4, 6))
    cosines, indices = made(*features.nearest(queries, known, 3))
    rows = known.reshape(20, 6)
    expected = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
    ).T
    order = np.argsort(-expected, axis=1)[:, :3]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(cosines, np.take_along_axis(expected, order, 1))


def test_pca_is_scikit_learns() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", reason="the oracle")
    x = RNG.normal(size=(30, 3, 2)) * [3, 1]
    found = made(*features.pca(x, 3))
    theirs = decomposition.PCA(3).fit(x.reshape(30, 6))
    np.testing.assert_allclose(np.abs(found[1]), np.abs(theirs.components_), rtol=1e-9)
    np.testing.assert_allclose(found[2], theirs.explained_variance_ratio_, rtol=1e-9)
    centred = x.reshape(30, 6) - x.reshape(30, 6).mean(axis=0)
    np.testing.assert_allclose(found[0], centred @ found[1].T, rtol=1e-9, atol=1e-12)
    assert (np.take_along_axis(found[1], np.abs(found[1]).argmax(1)[:, None], 1) > 0).all()


@pytest.mark.slow
def test_neighbours_stay_neighbours_on_a_map() -> None:
    pytest.importorskip("sklearn", reason="the map is its")
    groups = np.repeat(np.eye(3) * 20, 10, axis=0) + RNG.normal(size=(30, 3))
    places = features.tsne(groups, perplexity=5)
    middles = places.reshape(3, 10, 2).mean(axis=1)
    near = np.linalg.norm(places[:, None] - middles, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(near, np.repeat(np.arange(3), 10))


@pytest.mark.parametrize(
    ("act", "error", "told"),
    [
        (lambda m: features.gradient(nn.Identity(), IMAGES), ShapeError, r"scores \[n, classes\]"),
        (lambda m: features.gradient(m, IMAGES, [0, 1]), ShapeError, "one class for each"),
        (lambda m: features.saliency(m, IMAGES, [[0]]), ShapeError, "one class for each"),
        (lambda m: features.smooth_grad(m, IMAGES, samples=0), ArgumentError, "samples"),
        (lambda m: features.smooth_grad(m, IMAGES, noise=-1), ArgumentError, "noise"),
        (lambda m: features.integrated_gradients(m, IMAGES, steps=0), ArgumentError, "steps"),
        (
            lambda m: features.integrated_gradients(m, IMAGES, baseline="0"),
            ArgumentError, "a number or an array",
        ),
        (
            lambda m: features.integrated_gradients(m, IMAGES, baseline=np.ones((4, 1, 1, 1, 1))),
            ShapeError, "does not broadcast",
        ),
        (lambda m: features.grad_cam(m, IMAGES, "5"), ShapeError, "must be images"),
        (lambda m: features.grad_cam(m, IMAGES, "conv"), MissingNameError, "conv"),
        (lambda m: features.layer_output(m, IMAGES, nn.ReLU()), ArgumentError, "a module of"),
        (lambda m: features.maximise(m, 3, (2, 8, 8)), ShapeError, "a vector"),
        (lambda m: features.maximise(m, [3], (2, 8, 8), rate=-1), ArgumentError, "rate"),
        (lambda m: features.nearest(IMAGES, IMAGES, 4), ShapeError, "does not fit"),
        (lambda m: features.nearest(IMAGES, IMAGES[:, :1], 1), ShapeError, "of one size"),
        (lambda m: features.pca(IMAGES, 4), ShapeError, "more than"),
        (lambda m: features.tsne(IMAGES, perplexity=3), ArgumentError, "perplexity"),
    ],
)  # fmt: skip
def test_bad_input(act: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        act(network())
