"""The demo's pictures, drawn by matplotlib without a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from staticnet.train import History

BLUE, ORANGE = "#0072b2", "#d55e00"


def save_loss(file: Path, history: History) -> None:
    """Draw the loss of every step, and the mean of every epoch."""
    losses, means = history.step_losses, history["loss"]
    ends = np.arange(1, len(means) + 1) * (len(losses) // len(means))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.arange(1, len(losses) + 1), losses, color=BLUE, alpha=0.35, lw=0.8, label="step")
    axes.plot(ends, means, color=ORANGE, lw=2, label="mean of the epoch")
    axes.set(xlabel="step", ylabel="cross entropy", yscale="log", title="Training loss")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)


def save_maps(
    file: Path,
    maps: Mapping[str, np.ndarray[Any, Any]],
    labels: np.ndarray[Any, Any],
    classes: Sequence[str],
) -> None:
    """Draw points of two coordinates, a map below the other, in the colours of their classes."""
    figure = Figure(figsize=(5.2, 5.2 * len(maps)), layout="constrained")  # a phone's width, too
    places = np.ravel(figure.subplots(len(maps), 1))
    for axes, (title, points) in zip(places, maps.items(), strict=True):
        for number, name in enumerate(classes):
            own = points[labels == number]
            marker = "osD^v"[number // 2 % 5]
            axes.scatter(own[:, 0], own[:, 1], s=14, marker=marker, label=name, alpha=0.8,
                         color=f"C{number % 10}", linewidths=0)  # fmt: skip
        axes.set(title=title, xticks=[], yticks=[])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(file, dpi=110)


def save_confusion(file: Path, matrix: np.ndarray[Any, Any], classes: Sequence[str]) -> None:
    """Draw how many of each class were taken for which."""
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="Blues")
    figure.colorbar(image, ax=axes, shrink=0.8, label="test images")
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes)
    axes.set_yticks(ticks, classes)
    right = np.trace(matrix) / max(matrix.sum(), 1)
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix: {right:.1%} right")
    for i in ticks:
        for j in ticks:
            colour = "white" if matrix[i, j] > matrix.max() / 2 else "black"
            axes.text(j, i, str(matrix[i, j]), ha="center", va="center", color=colour)
    figure.savefig(file, dpi=120)
