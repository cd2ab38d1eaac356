"""`staticnet demo`: train a classifier of handwritten digits, and show what was compiled."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import files, nn, optim
from staticnet.cli.extras import require
from staticnet.errors import ArgumentError
from staticnet.function import Function
from staticnet.io import safetensors
from staticnet.nn.mode import in_mode
from staticnet.passes.manager import Records
from staticnet.report import graph_html
from staticnet.train import EarlyStopping, History, Trainer, accuracy, confusion_matrix

BATCH = 32
CLASSES = tuple("0123456789")
Array = np.ndarray[Any, Any]


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("demo", help="train a digit classifier and draw what it does")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=40, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (%(default)s)")
    parser.add_argument("--device", default="auto", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Train, evaluate, and write the results.

    Raises:
        ArgumentError: if an option is out of its range.
        DependencyError: if scikit-learn or matplotlib is missing.
    """
    require("sklearn", "matplotlib", extra="examples")
    if options.epochs < 1 or options.seed < 0:
        raise ArgumentError("--epochs must be at least 1, and --seed at least 0")
    start = time.perf_counter()
    *training, test_images, test_labels = load_digits()
    images, labels, *held = hold_out(*training)
    trainer = build(options.seed, options.device, options.epochs * (len(images) // BATCH))
    predict = classifier(trainer.model, options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    print(trainer.model.summary())
    history = trainer.fit(
        (images, labels),
        validation=tuple(held),
        epochs=options.epochs,
        batch_size=BATCH,
        seed=options.seed,
        drop_last=True,
        callbacks=EarlyStopping("val_accuracy", patience=options.epochs, restore_best_weights=True),
    )
    if history.interrupted:
        raise KeyboardInterrupt
    step = trainer.training_step().function
    compiled = step.specialize(batch=BATCH)
    print(f"\nThe training step for a batch of {BATCH}, on {step.device}:")
    print(Records(compiled.records), end="\n\n")
    scores = history["val_accuracy"]
    best = int(np.argmax(scores))
    print(f"the weights of epoch {best + 1} are kept: with {scores[best]:.2%} they are the best")
    print(f"on {len(held[0])} validation images; the test images had no part in the choice")
    predicted = predict(test_images)
    told = accuracy(predicted, test_labels)
    print(f"test accuracy {told:.2%} on {len(test_labels)} images that it has not seen before")
    matrix = confusion_matrix(predicted, test_labels, len(CLASSES))
    graphs = {"graph": compiled.graph, "predict": predict.graph}
    write(options.out, trainer.model, graphs, history, matrix)
    print(f"total {time.perf_counter() - start:.1f} s")


def load_digits() -> tuple[Array, Array, Array, Array]:
    """scikit-learn's 1,797 digits, a fifth of each class set apart for testing.

    -> images [1437, 64] in [0, 1], labels [1437], test images [360, 64], test labels [360]
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return hold_out((images / 16).astype(np.float32), labels.astype(np.int64))


def hold_out(images: Array, labels: Array) -> tuple[Array, Array, Array, Array]:
    """Set 360 examples apart, as many of each class as it has a share in all.

    -> the others' images and labels, those set apart
    """
    from sklearn.model_selection import train_test_split

    rest, apart, rest_labels, apart_labels = train_test_split(
        images, labels, test_size=360, stratify=labels, random_state=0
    )
    return rest, rest_labels, apart, apart_labels


def build(seed: int, device: str, steps: int) -> Trainer:
    """The model with its loss and optimizer.

    Of widths 128 and 256 and of dropouts 0, 0.1 and 0.2, these are best on the validation part.
    """
    nn.manual_seed(seed)
    model = nn.Sequential(
        nn.Dropout(0.1), nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 10)
    )
    rate = optim.CosineAnnealingLR(3e-3, T_max=steps)
    return Trainer(model, nn.cross_entropy, optim.Adam(rate), metrics="accuracy", device=device)


def classifier(model: nn.Module, device: str) -> Function:
    """Images -> their classes."""
    x = sn.placeholder(("batch", 64), "float32", name="images")
    with in_mode(model, training=False):
        classes = sn.argmax(model(x), axis=1)
    return sn.function([x], classes, name="predict", device=device)


def write(
    out: Path,
    model: nn.Module,
    graphs: Mapping[str, sn.Graph],
    history: History,
    matrix: Array,
) -> None:
    """Write the weights, what trains and what predicts as text, a page, and the pictures."""
    from staticnet.cli import plots

    safetensors.save(out / "weights.safetensors", model.state_dict())
    for name, graph in graphs.items():
        files.write(out / f"{name}.sn", f"{graph}\n")
    files.write(out / "graph.html", graph_html(graphs["graph"]))
    plots.save_loss(out / "loss.png", history)
    plots.save_confusion(out / "confusion.png", matrix, CLASSES)
    print(
        f"wrote {out}/: loss.png confusion.png weights.safetensors graph.sn graph.html predict.sn\n"
        f"what predicts, as C: staticnet export {out}/predict.sn --dim batch=1 "
        f"--state {out}/weights.safetensors"
    )
