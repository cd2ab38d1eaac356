"""The last topics of `staticnet lecture`, and all its sections in the order of the talk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.cli import lecture_demos as demos
from staticnet.cli import lecture_sections as sections
from staticnet.compilation import PASSES
from staticnet.playground.config import Config
from staticnet.playground.data import sample
from staticnet.playground.engines import Compiled, Dynamic, seconds_per_step
from staticnet.playground.model import Model
from staticnet.report import article
from staticnet.report.curves import curves

Parts = list[article.Part]


def without_gradients(device: str) -> Parts:
    """CMA-ES on Rosenbrock's function of ten variables."""
    es = optim.CMAES(0.3, seed=0)
    step = es.minimize(
        lambda x: sn.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), np.zeros(10), device
    )
    best = np.minimum.accumulate(step.run(500))
    return [
        article.paragraph(
            "CMA-ES needs no derivative: it draws points, ranks them, and learns from the better "
            f"half where to draw next. Of ten variables, after {es.evaluations.value:,} values of "
            f"Rosenbrock's function, the best is {best[-1]:.2g}."
        ),
        article.figure(
            curves("Best value by generation", {"best so far": (np.arange(500), best)},
                   "generation", "value", log=True),
            "It trains a classifier of digits: examples/cmaes_digits.py",
        ),
    ]  # fmt: skip


def static_and_dynamic(device: str) -> Parts:
    """One model, run as it is written and compiled: launches, bytes, and seconds."""
    sn.manual_seed(0)
    x, y = sn.placeholder((64, 20), name="x"), sn.placeholder((64,), "int64", "y")
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    loss = nn.cross_entropy(model(x), y)
    rule = optim.Adam(1e-3).minimize(loss)
    plain = sn.function([x, y], loss, updates=rule, device=device, disabled_passes=PASSES)
    whole = sn.function([x, y], loss, updates=rule, device=device)
    model_of, points = Model(Config()), sample("circle", 0, 50, 0)
    static, dynamic = (
        seconds_per_step(make(model_of, device), points.train, points.train_labels)
        for make in (Compiled, Dynamic)
    )
    rows = [
        (name, f.plan.launches, f.plan.bytes_moved)
        for name, f in (("op by op, as a dynamic graph", plain), ("compiled as one", whole))
    ]
    return [
        article.paragraph(
            "A dynamic graph is made anew at each step, so it may depend on values; a static one "
            "is known before it runs, so all of it can be optimised. A step of a small network:"
        ),
        article.table(("a step", "launches", "bytes moved"), rows),
        article.paragraph(
            "And in time, on this machine: of the playground's first network a step takes "
            f"{1e6 * dynamic:,.0f} µs dynamically, and compiled, many in a call, "
            f"{1e6 * static:.2f} µs: {dynamic / static:,.0f} times as many steps a second. Where "
            "that comes from, pass by pass: staticnet compare mlp"
        ),
    ]


def demonstrations(device: str) -> Parts:
    """The commands of all of them."""
    rows = (
        ("Train a network in the browser", "staticnet playground"),
        ("See what a network has learned", "staticnet features --data DIR"),
        ("An image classifier", "staticnet train cifar10 --data DIR"),
        ("What recurrent networks can do", "python examples/char_rnn.py --data DIR"),
        ("A transformer that writes", "python examples/char_gpt.py --data DIR"),
        ("Four models of names", "python examples/names.py --data DIR"),
        ("A recipe for training", "staticnet recipe SCRIPT"),
        ("Backpropagation, step by step", 'staticnet backprop "EXPRESSION" --at NAME=VALUE'),
        ("Symbolic differentiation", 'staticnet derive "sin(x)*x" --wrt x'),
        ("How optimizers walk", "staticnet optimizers"),
        ("Digits without gradients", "python examples/cmaes_digits.py"),
        ("Static against dynamic", "staticnet compare mlp"),
    )
    return [article.table(("to see", "run"), rows)]


SECTIONS: tuple[tuple[str, Callable[[str], Parts]], ...] = (
    ("History", sections.background),
    ("A neuron", sections.neuron),
    ("Layers, functions, graphs", sections.layers),
    ("Regression or classification", sections.regression),
    ("Training, from far away", sections.from_afar),
    ("Training", sections.training),
    ("How the weights are updated", sections.updates),
    ("Which loss", sections.losses),
    ("A network in the browser", demos.browser),
    ("An image classifier, and what it has learned", demos.classifier),
    ("A recurrent network that writes", demos.characters),
    ("A recipe for training", demos.examined),
    ("Backpropagation, understood", demos.backward),
    ("Automatic differentiation", demos.derived),
    ("Without gradients", without_gradients),
    ("Static and dynamic graphs", static_and_dynamic),
    ("All demonstrations", demonstrations),
)
