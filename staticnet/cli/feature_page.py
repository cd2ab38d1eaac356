"""The page of `staticnet features`: filters, ascents, attributions, neighbours and maps."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import features, files, nn
from staticnet.cli.run_data import RunData, images_of
from staticnet.errors import DataError
from staticnet.report import article
from staticnet.report.pixels import as_pixels, coloured, glowing, sheet, signed, stretched
from staticnet.report.png import png

Array = np.ndarray[Any, Any]
UNITS, ASCENT = 16, 96  # channels that are climbed to, and steps
SAMPLES, STEPS = 24, 64  # of SmoothGrad, and of integrated gradients
NEIGHBOURS, KNOWN = 6, 2000  # of an image, among so many
MAPPED = 600  # examples on a map
COLUMNS = ("image", "saliency", "SmoothGrad", "integrated gradients", "Grad-CAM")


def write(out: Path, model: nn.Module, data: RunData, count: int, device: str) -> Iterator[str]:
    """Write the pictures and features.html; -> what was done, a line each.

    Raises:
        DataError: if there are no images to look into.
    """
    held = data.held or data.training
    images, labels = images_of(held, max(MAPPED, count))
    if not len(images):
        raise DataError("features: there are no images to look into")
    parts: list[article.Part] = []

    def add(name: str, title: str, said: str, pixels: Array, labelled: str = "") -> str:
        files.write(out / f"{name}.png", png(pixels))
        shown = article.figure(labelled or article.image(pixels, title), said)
        parts.extend([article.heading(title), shown])
        return f"{name}.png: {title.lower()}"

    yield add("filters", "The first layer's filters", _FILTERS, filters(model))
    yield from _ascents(model, data.classes, images.shape[1:], device, add)
    chosen = spread(labels, count)
    looked, taken, gap = attributions(model, images[chosen], device)
    named = [_named(data.classes, labels[i], k) for i, k in zip(chosen, taken, strict=True)]
    whole = sheet([picture for row in looked for picture in row], columns=len(COLUMNS), scale=4)
    yield add("attributions", "What decides", _DECIDES, whole, _labelled(named, looked))
    yield f"integrated gradients miss at most {gap:.2%} of what the score gains"
    parts.append(article.paragraph(f"Completeness: they miss at most {gap:.2%} of the gain."))
    known, _ = images_of(data.training, KNOWN)
    yield add(
        "nearest", "Nearest examples", _NEAREST, neighbours(model, images[chosen], known, device)
    )
    yield maps(out, parts, activations(model, images[:MAPPED], device), labels, data.classes)
    page = article.page("What the network looks at", parts)
    files.write(out / "features.html", page)


_FILTERS = "Each in its own range; of colour images red, green and blue are the three channels."
_ASCENTS = (
    "Images climbed to from noise, each to make its unit's output great; kept smooth and near grey."
)
_DECIDES = (
    "Of the class that the network takes for the likeliest. Orange speaks for it, blue against it."
)
_NEAREST = (
    "On the left an image that was not learned from; beside it those learned from whose "
    "activations before the last layer point the same way most."
)
_MAPS = "Activations before the last layer; a point is an example, its colour the class."


def _named(classes: Sequence[str], own: int, taken: int) -> str:
    return classes[own] if own == taken else f"{classes[own]}, taken for {classes[taken]}"


def _labelled(named: Sequence[str], looked: Sequence[Sequence[Array]]) -> article.Part:
    """A table: a row for each image, a column for each way to look at it."""
    rows = [
        (name, [article.image(p, f"{c} of {name}", 3) for p, c in zip(row, COLUMNS, strict=True)])
        for name, row in zip(named, looked, strict=True)
    ]
    return article.pictures(COLUMNS, rows)


def spread(labels: Array, count: int) -> list[int]:
    """Numbers of examples, of as many classes as there are: one of each, then a second …"""
    turns = {int(label): 0 for label in labels}
    order = []
    for i, label in enumerate(labels):
        order.append((turns[int(label)], int(label), i))
        turns[int(label)] += 1
    return [i for _, _, i in sorted(order)[:count]]


def filters(model: nn.Module) -> Array:
    """The weights of the first convolution, one picture a filter."""
    weight = next(m for m in model.modules() if isinstance(m, nn.Conv2d)).weight.value
    if weight.shape[1] not in (1, 3):
        weight = weight.mean(axis=1, keepdims=True)
    return sheet([stretched(as_pixels(w)) for w in weight], columns=8, scale=10)


def _ascents(
    model: nn.Module, classes: Sequence[str], shape: tuple[int, ...], device: str, add: Any
) -> Iterator[str]:
    last = [m for m in model.modules() if isinstance(m, nn.Conv2d)][-1]
    units = [f"{i}" for i in range(min(UNITS, last.out_channels))]
    layers: tuple[tuple[str, str, Any, Sequence[str]], ...] = (
        ("channels", "What channels answer to", last, units),
        ("classes", "What each class looks like to it", "", classes),
    )
    for name, title, layer, named in layers:
        made = features.maximise(model, np.arange(len(named)), shape, layer, steps=ASCENT)
        images = sn.function([], made, device=device)()
        pictures = [stretched(as_pixels(image)) for image in images]
        whole = sheet(pictures, columns=8, scale=3)
        shown = [
            article.figure(article.image(picture, "", 3), unit)
            for picture, unit in zip(pictures, named, strict=True)
        ]
        yield add(name, title, _ASCENTS, whole, article.row(shown))


def attributions(
    model: nn.Module, images: Array, device: str
) -> tuple[list[list[Array]], Array, float]:
    """The `COLUMNS` of each image, its likeliest class, and what integrated gradients miss."""
    last = [m for m in model.modules() if isinstance(m, nn.Conv2d)][-1]
    x = sn.placeholder(images.shape, "float32", "x")
    whole = features.integrated_gradients(model, x, steps=STEPS)
    found = sn.function(
        [x],
        [
            features.saliency(model, x),
            features.smooth_grad(model, x, samples=SAMPLES),
            whole,
            features.grad_cam(model, x, last),
            features.completeness_gap(model, x, whole),
            sn.argmax(model(x), axis=1),
        ],
        device=device,
    )(images)
    rows: list[list[Array]] = []
    for image, salient, smooth, integrated, heat in zip(images, *found[:4], strict=True):
        pixels = coloured(as_pixels(image))
        shown = [
            pixels,
            glowing(stretched(np.minimum(salient, np.quantile(salient, 0.99)))),
            signed(smooth.sum(axis=0)),
            signed(integrated.sum(axis=0)),
            0.4 * pixels + 0.6 * glowing(stretched(heat)),
        ]
        rows.append(shown)
    gained = np.abs(found[2]).sum(axis=(1, 2, 3))
    gap = float(np.max(np.abs(found[4]) / np.maximum(gained, 1e-9)))
    return rows, found[5], gap


def activations(model: nn.Module, images: Array, device: str) -> Array:
    """What the last layer of all reads.  [n, c, h, w] -> [n, d]"""
    before = [m for m in model.modules() if isinstance(m, nn.Flatten)][-1]
    x = sn.placeholder(("n", *images.shape[1:]), "float32", "x")
    given = features.layer_output(model, x, before)[1]
    made: Array = sn.function([x], given, device=device)(images)
    return made


def neighbours(model: nn.Module, images: Array, known: Array, device: str) -> Array:
    """Each image before those of `known` that are nearest to it."""
    queries, rows = (activations(model, each, device) for each in (images, known))
    nearest = features.nearest(queries, rows, min(NEIGHBOURS, len(known)))
    _, indices = sn.function([], list(nearest), device=device)()
    pictures: list[Array] = []
    for image, found in zip(images, indices, strict=True):
        pictures += [as_pixels(image), *(as_pixels(known[i]) for i in found)]
    return sheet(pictures, columns=1 + indices.shape[1], scale=2)


def maps(
    out: Path, parts: list[article.Part], rows: Array, labels: Array, classes: Sequence[str]
) -> str:
    """Write maps of the activations, by PCA and, where scikit-learn is installed, by t-SNE."""
    from staticnet.cli.plots import save_maps

    result = features.pca(rows, 2)
    coordinates, shares = sn.function([], [result.coordinates, result.shares])()
    made = {f"PCA: {shares.sum():.0%} of the variance": coordinates}
    if importlib.util.find_spec("sklearn") is not None and len(rows) > 10:
        made["t-SNE"] = features.tsne(rows, perplexity=min(30, len(rows) / 4))
    labels = labels[: len(rows)]
    save_maps(out / "maps.png", made, labels, classes)
    data = article.file_image(out / "maps.png", "Maps of activations")
    parts += [article.heading("A map of examples"), article.figure(data, _MAPS)]
    return f"maps.png: {', '.join(made)}"
