"""The sections of `staticnet lecture`, in the order of the talk; each computes what it shows."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.cli.landscapes import LANDSCAPES, walked
from staticnet.compilation import PASSES
from staticnet.report import article
from staticnet.report.curves import curves
from staticnet.report.pixels import signed

Array = np.ndarray[Any, Any]
Parts = list[article.Part]
GRID = 96  # dots of a surface, each way
STEPS = 600


def _here(*nodes: Any) -> list[Array]:
    """What nodes are, once."""
    return [np.asarray(value) for value in sn.function([], list(nodes), device="numpy")()]


def neuron(device: str) -> Parts:
    """McCulloch and Pitts' neurons, and one with a smooth activation."""
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    gates = (("and", (1, 1), -1.5), ("or", (1, 1), -0.5), ("not x", (-1, 0), 0.5))
    rows = []
    for name, weights, bias in gates:
        (fires,) = _here(sn.constant(inputs) @ np.array(weights) + bias > 0)
        rows.append((name, _gate(weights, bias), *map(int, fires)))
    plane = _plane()
    (surface,) = _here(sn.tanh(sn.constant(plane) @ np.array([1.0, -1.5]) + 0.5))
    picture = article.image(signed(surface.reshape(GRID, GRID)), "The surface of a neuron", 2)
    return [
        article.paragraph(
            "McCulloch and Pitts, 1943: a neuron sums its weighted inputs and fires above a "
            "threshold. Three of theirs, on the inputs x, y = 00, 01, 10, 11:"
        ),
        article.table(("neuron", "fires if", "00", "01", "10", "11"), rows),
        article.paragraph(
            "Now the threshold is a smooth function, so that it has a derivative: "
            "tanh(x − 1.5 y + 0.5) over the plane, blue −1 and orange 1."
        ),
        article.figure(picture),
    ]


def _gate(weights: tuple[int, int], bias: float) -> str:
    """`x + y > 1.5`: when a neuron of such weights, 1, -1 or 0, fires."""
    terms = [f"{'−' * (w < 0)}{name}" for w, name in zip(weights, "xy", strict=True) if w]
    return f"{' + '.join(terms)} > {-bias}".replace("-", "−")


def layers(device: str) -> Parts:
    """A layer as a product and an activation; a network as functions of functions."""
    sn.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    x = sn.placeholder((5, 2), name="x")
    f = sn.function([x], model(x), device=device)
    (whole,) = _here(model(sn.ones((5, 2))))
    y = sn.ones((5, 2))
    for part in model:
        y = part(y)
    (composed,) = _here(y)
    same = "the same" if np.array_equal(whole, composed) else "not the same"
    count = sum(p.value.size for p in model.parameters())
    return [
        article.paragraph(
            "A layer is a product with a matrix, followed by an activation. Layers are functions, "
            "and a network is one of another: f3(f2(f1(X))) = Ŷ. Applied one by one they give "
            f"{same} numbers as the network: {whole[0, 0]:.6f}."
        ),
        article.paragraph(f"Its graph, with {count} parameters, on five examples of two numbers:"),
        article.markup(f'<pre tabindex="0">{escape(str(f.graph))}</pre>'),
    ]


def regression(device: str) -> Parts:
    """A curve through points, and a border between two classes."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-3, 3, 60)).astype(np.float32)[:, None]
    y = (np.sin(x) + 0.15 * rng.normal(size=x.shape)).astype(np.float32)
    fit, losses = _trained(1, 1, nn.mse_loss, x, y, device)
    wide = np.linspace(-3, 3, 80, dtype=np.float32)[:, None]
    drawn = curves(
        "A curve through points", {"network": (wide[:, 0], fit(wide)[:, 0])}, "x", "y",
        {"data": (x[:, 0], y[:, 0])},
    )  # fmt: skip
    points = rng.normal(size=(300, 2)).astype(np.float32)
    inside = (np.linalg.norm(points, axis=1) < 1.1).astype(np.int64)
    border, falls = _trained(2, 2, nn.cross_entropy, points, inside, device)
    scores = border(_plane())
    surface = (scores[:, 1] - scores[:, 0]).reshape(GRID, GRID)
    right = float(np.mean(border(points).argmax(axis=1) == inside))
    nearest = int(np.abs(surface).argmin())
    (chances,) = _here(sn.nn.softmax(sn.constant(scores[nearest : nearest + 1]), axis=1))
    return [
        article.paragraph(
            "What a network is for is decided by what it gives and by its loss. One number and the "
            f"mean squared error make a regression (here {losses[0]:.3f} → {losses[-1]:.3f}):"
        ),
        article.figure(drawn),
        article.paragraph(
            "A score for each class and the cross entropy make a classification "
            f"({falls[0]:.3f} → {falls[-1]:.3f}, {right:.1%} right). Softmax turns scores into "
            f"probabilities: near the border {chances[0, 0]:.4f} + {chances[0, 1]:.4f} = "
            f"{chances.sum():.4f}. Orange is inside, blue outside:"
        ),
        article.figure(article.image(signed(np.tanh(surface)), "The border of two classes", 2)),
    ]


def training(device: str) -> Parts:
    """The four acts of a step, with their numbers, checked by finite differences."""
    x, target = np.array([[0.5, -1.0]]), np.array([[1.0]])
    w = sn.variable(np.array([[0.3], [-0.2]]), "w")
    y = sn.tanh(sn.constant(x) @ w)
    loss = sn.mean((y - target) ** 2)
    (slope,) = sn.grad(loss, [w])
    given, before, found = _here(y, loss, slope)

    def loss_at(value: Array) -> float:
        return float(np.mean((np.tanh(x @ value) - target) ** 2))

    eps, rows = 1e-6, []
    for i in range(2):
        moved = [w.value.copy(), w.value.copy()]
        moved[0][i], moved[1][i] = moved[0][i] + eps, moved[1][i] - eps
        difference = (loss_at(moved[0]) - loss_at(moved[1])) / (2 * eps)
        rows.append((f"w{i + 1}", f"{found[i, 0]:.6f}", f"{difference:.6f}"))
    after = loss_at(w.value - 0.5 * found)
    return [
        article.paragraph(
            f"1. Feed data in: ŷ = tanh(X w) = {given[0, 0]:.4f}, where it should be 1."
        ),
        article.paragraph(
            f"2. The loss tells how far off that is: (ŷ − y)² = {float(before):.4f}."
        ),
        article.paragraph(
            "3. Back through the network: dL/dw, beside what a small change of w does to the loss:"
        ),
        article.table(("weight", "derivative", "by a difference"), rows),
        article.paragraph(f"4. Update: w − 0.5 dL/dw has the loss {after:.4f}."),
        article.paragraph(
            'Each step shown: staticnet backprop "EXPRESSION" --at NAME=VALUE, staticnet derive '
            '"EXPRESSION".'
        ),
    ]


def updates(device: str) -> Parts:
    """Gradient descent, momentum and Adam in a long valley."""
    valley = LANDSCAPES[0]
    ways = walked(valley, 120, device)
    heights = {}
    for name in ("Gradient descent", "Momentum", "Adam"):
        points = ways[name]
        (values,) = _here(valley.f(sn.constant(points[:, 0]), sn.constant(points[:, 1])))
        heights[name] = (np.arange(len(values)), values)
    return [
        article.paragraph(
            f"Naively, w goes down the gradient times a rate. In a valley such as {valley.formula} "
            "momentum and Adam, which remember earlier gradients, go another way:"
        ),
        article.figure(
            curves("Height by step", heights, "step", "height", log=True),
            "All rules, on five landscapes, as an animation: staticnet optimizers",
        ),
    ]


def losses(device: str) -> Parts:
    """What losses say of a prediction that is sure, and right or wrong."""
    chances = np.array([0.99, 0.7, 0.5, 0.3, 0.01])
    squared, entropy = _here((1 - sn.constant(chances)) ** 2, -sn.log(sn.constant(chances)))
    values = zip(chances, squared, entropy, strict=True)
    rows = [(f"{p:.2f}", f"{a:.4f}", f"{b:.4f}") for p, a, b in values]
    return [
        article.paragraph(
            "The mean squared error suits numbers. The cross entropy suits classes: it grows "
            "without bound where the true class was given no chance."
        ),
        article.table(("chance of the true class", "squared error", "cross entropy"), rows),
    ]


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
    """One model, run as it is written and compiled: launches and nodes, which no clock changes."""
    sn.manual_seed(0)
    x, y = sn.placeholder((64, 20), name="x"), sn.placeholder((64,), "int64", "y")
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    loss = nn.cross_entropy(model(x), y)
    rule = optim.Adam(1e-3).minimize(loss)
    plain = sn.function([x, y], loss, updates=rule, device=device, disabled_passes=PASSES)
    whole = sn.function([x, y], loss, updates=rule, device=device)
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
        article.paragraph("In time, on this machine: staticnet compare mlp"),
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
    ("A neuron", neuron),
    ("Layers, functions, graphs", layers),
    ("Regression or classification", regression),
    ("Training", training),
    ("How the weights are updated", updates),
    ("Which loss", losses),
    ("Without gradients", without_gradients),
    ("Static and dynamic graphs", static_and_dynamic),
    ("Demonstrations", demonstrations),
)


def _plane() -> Array:
    """Points of the square from -3 to 3, from its upper left on.  -> float32 [GRID * GRID, 2]"""
    x, y = np.meshgrid(np.linspace(-3, 3, GRID), np.linspace(3, -3, GRID))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def _trained(
    inputs: int, outputs: int, loss: Any, x: Array, y: Array, device: str
) -> tuple[Any, Array]:
    """A small network after some hundred steps of Adam on all examples, and its losses."""
    sn.manual_seed(1)
    model = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(),
                          nn.Linear(16, outputs))  # fmt: skip
    given = sn.placeholder(x.shape, name="x")
    target = sn.placeholder(y.shape, str(y.dtype), "y")
    value = loss(model(given), target)
    updates = optim.Adam(0.02).minimize(value)
    step = sn.function([given, target], value, updates=updates, device=device)
    falls = np.array([float(step(x, y)) for _ in range(STEPS)])
    asked = sn.placeholder(("n", inputs), name="x")
    return sn.function([asked], model(asked), device=device), falls
