"""The demonstrations of `staticnet lecture`, each small enough to be run for it."""

from __future__ import annotations

import inspect
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.cli.demo import load_digits
from staticnet.cli.feature_page import COLUMNS, attributions, filters, neighbours, spread
from staticnet.cli.lecture_net import net_picture
from staticnet.playground.config import Config
from staticnet.playground.data import sample
from staticnet.playground.engines import Compiled
from staticnet.playground.model import LABELS, SIDE, Model, feature_surfaces
from staticnet.report import article
from staticnet.report.curves import curves
from staticnet.report.predictions import class_accuracy
from staticnet.train import Trainer, recipe

Array = np.ndarray[Any, Any]
Parts = list[article.Part]
EPOCHS = 1500  # of the spiral
STRIDE = 2  # of a surface's cells, so many are one dot
DEPTH, WIDTH = 12, 32
LEARNED, WRITTEN = 160_000, 400  # characters read, and written
LENGTH, UNITS, TEXT_STEPS = 48, 128, 500


def browser(device: str) -> Parts:
    """The playground's network on the spiral, with what each unit sees."""
    config = Config("spiral", features=("x", "y", "sinx", "siny"), layers=(8, 6),
                    optimizer="Adam", lr=0.01)  # fmt: skip
    model, points = Model(config), sample("spiral", 0, 50, 0)
    Compiled(model, device).advance(points.train, points.train_labels, EPOCHS, 0.0)
    loss, right = model.judge(points.test, points.test_labels)
    plane = feature_surfaces(SIDE)
    columns = [
        [plane[name] for name in config.features],
        *(list(layer.T) for layer in model.surfaces()),
    ]
    small = [[x.reshape(SIDE, SIDE)[::STRIDE, ::STRIDE] for x in column] for column in columns]
    picture = net_picture(
        "A network that has learned two spirals", [LABELS[name] for name in config.features],
        small, [weight.value for weight in model.net.weights],
        ["features", "hidden 1", "hidden 2", "output"],
    )  # fmt: skip
    return [
        article.paragraph(
            "Two spirals, 250 points to learn from and as many to test with. Each square is the "
            "plane as a neuron sees it, blue where it gives 1 and orange where it gives −1; a line "
            "is a weight, its width the size. The first layer cuts the plane by lines and waves, "
            "the second puts these together, and the output puts together that. After "
            f"{EPOCHS:,} epochs {right:.1%} of the test points are right, at a loss of {loss:.4f}."
        ),
        article.wide(
            article.figure(picture, "To train it by clicks: staticnet playground"), "The network"
        ),
    ]


def classifier(device: str) -> Parts:
    """A convolutional network on scikit-learn's digits: its answers, and what it looks at."""
    images, labels, test_images, test_labels = load_digits()
    x, asked = (each.reshape(-1, 1, 8, 8) for each in (images, test_images))
    sn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    history = Trainer(model, nn.cross_entropy, optim.Adam(2e-3), device=device).fit(
        (x, labels), epochs=8, batch_size=64, drop_last=True, progress=False
    )
    scores = _given(model, asked, device)
    taken, right = scores.argmax(axis=1), scores.argmax(axis=1) == test_labels
    wrong = np.flatnonzero(~right)[:8]
    shown = [
        article.figure(article.image(test_images[i].reshape(8, 8), f"a {test_labels[i]}", 12),
                       f"{taken[i]}, is {test_labels[i]}")
        for i in wrong
    ]  # fmt: skip
    by_class = class_accuracy(test_labels, taken, 10)
    return [
        article.paragraph(
            f"Handwritten digits of 8 × 8 pixels, {len(x):,} to learn from. In 8 epochs the loss "
            f"falls from {history['loss'][0]:.3f} to {history['loss'][-1]:.3f}; of "
            f"{len(asked)} images that it has not seen it gets {right.mean():.1%} right. By class:"
        ),
        article.table([*map(str, range(10))], [[f"{share:.0%}" for share in by_class]]),
        article.paragraph("What it gets wrong, as far as this page has room:"),
        article.row(shown),
        article.heading("Learned features", 3),
        *_features(model, x, asked, test_labels, device),
        article.paragraph(
            "With colour: staticnet train cifar10 --data DIR, staticnet features --data DIR"
        ),
    ]


def _features(model: nn.Module, x: Array, asked: Array, labels: Array, device: str) -> Parts:
    """What the classifier looks for, looks at, and finds alike."""
    some = spread(labels, 3)
    looked, _, gap = attributions(model, asked[some], device)
    rows = [
        (f"{labels[i]}", [article.image(p, f"{c} of a {labels[i]}", 12)
                          for p, c in zip(row, COLUMNS, strict=True)])
        for i, row in zip(some, looked, strict=True)
    ]  # fmt: skip
    return [
        article.paragraph(
            "What is it that a network has learned? The filters of its first layer, each in its "
            "own range: edges, and spots."
        ),
        article.figure(article.image(filters(model), "Filters of the first layer", 2)),
        article.paragraph(
            "And where it looks, for the class that it takes for the likeliest. Here orange speaks "
            "for the class and blue against it. Integrated gradients share out what the score "
            f"gains over a black image; they miss at most {gap:.2%} of it."
        ),
        article.pictures(COLUMNS, rows),
        article.paragraph(
            "What lies close by before the last layer: a test image, and those learned from whose "
            "activations point the same way most."
        ),
        article.figure(article.image(neighbours(model, asked[some], x, device),
                                     "Test images and their neighbours", 3)),
    ]  # fmt: skip


class _Characters(nn.Module):
    """The scores of each character's successor, and the state.  x: int [n, t]"""

    def __init__(self, count: int) -> None:
        self.embedding = nn.Embedding(count, 32)
        self.lstm = nn.LSTM(32, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, count)

    def forward(self, x: Any, state: Any = None) -> Any:
        y, state = self.lstm(self.embedding(x), state)
        return self.head(y), state


def characters(device: str) -> Parts:
    """An LSTM that learns this library's own source, and writes some."""
    files = sorted(Path(sn.__file__).parent.rglob("*.py"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)[:LEARNED]
    known, codes = np.unique(np.array(list(text)), return_inverse=True)
    end = (len(codes) - 1) // LENGTH * LENGTH
    sn.manual_seed(0)
    model = _Characters(len(known))
    x, y = (sn.placeholder((32, LENGTH), "int64", name) for name in "xy")
    loss = nn.cross_entropy(sn.moveaxis(model(x)[0], -1, 1), y)
    rule = optim.Clipped(optim.Adam(5e-3), max_norm=1.0)
    step = sn.function([x, y], loss, updates=rule.minimize(loss), device=device)
    fed = [codes[at : at + end].reshape(-1, LENGTH) for at in (0, 1)]
    fell = step.run(TEXT_STEPS, *fed, batch_size=32, shuffle=True)
    written = _written(model, np.searchsorted(known, ["\n"]), device)
    return [
        article.paragraph(
            "A recurrent network reads one character after another, and keeps a state. It learns "
            f"to foretell the next one: here of the first {LEARNED:,} characters of this library's "
            f"own source, of {len(known)} kinds. Without any knowledge each costs ln "
            f"{len(known)} = {np.log(len(known)):.2f}; the loss begins at {fell[0]:.2f}, and is "
            f"{np.mean(fell[-20:]):.2f} after {TEXT_STEPS} steps."
        ),
        article.figure(curves("Loss by step", {"loss": (np.arange(len(fell)), fell)},
                              "step", "loss")),
        article.paragraph("Then it writes, each character drawn from what it foretells:"),
        article.markup(f'<pre tabindex="0">{escape("".join(known[written]))}</pre>'),
        article.paragraph(
            "With Shakespeare, names, and attention: examples/char_rnn.py, names.py, char_gpt.py"
        ),
    ]  # fmt: skip


def _written(model: nn.Module, prompt: Array, device: str) -> Array:
    """Codes of what goes on from a prompt, drawn at a temperature of 0.6 in one call."""
    scores, state = model(sn.constant(prompt)[None])
    keys = sn.random.split(sn.random.key(1), WRITTEN)

    def write(carry: Any, key: Any) -> Any:
        scores, state = carry
        drawn = sn.argmax(nn.functional.gumbel_softmax(scores / 0.6, key=key))
        scores, state = model(sn.reshape(drawn, (1, 1)), state)
        return (scores[0, 0], state), drawn

    _, written = sn.scan(write, (scores[0, -1], state), keys)
    made: Array = sn.function([], written, device=device)()
    return made


def examined(device: str) -> Parts:
    """What the recipe says of a model with two faults."""
    images, labels, *_ = load_digits()
    sn.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(-1))
    trainer = Trainer(model, nn.cross_entropy, optim.Adam(1e-3), device=device)
    found = recipe(trainer, (255 * images[:600], labels[:600]))
    rows = [("fault" if s.remedy else "ok", s.check, s.saw, s.remedy) for s in found.seen]
    return [
        article.paragraph(
            "A network that is wrong seldom fails: it learns less. Karpathy's recipe looks before "
            "it trains. This model has two faults, a softmax before a loss that makes its own, and "
            "pixels from 0 to 255:"
        ),
        article.table(("", "check", "seen", "remedy"), rows),
        article.paragraph("Of your own script: staticnet recipe SCRIPT"),
    ]


def backward(device: str) -> Parts:
    """An expression swept backward, and gradients that vanish with depth."""
    x, w, b = (sn.placeholder((), "float64", name) for name in "xwb")
    swept = sn.backprop(sn.tanh(w * x + b) ** 2, x=0.5, w=2.0, b=-0.5)
    lines = {
        name: (np.arange(1, DEPTH + 1), _gradients(activation, device))
        for name, activation in (("sigmoid", nn.functional.sigmoid), ("ReLU", nn.functional.relu))
    }
    first = lines["sigmoid"][1]
    return [
        article.paragraph(
            "Values go forward, from above to below; gradients go backward. Each node multiplies "
            "what comes back by its own derivative, and no node needs to know of the others:"
        ),
        article.wide(swept._repr_html_(), "An expression, forward and backward"),
        article.paragraph(
            "Why one should understand it: a sigmoid's derivative is at most 1/4, so each layer of "
            f"them hands on less. In {DEPTH} layers the first one's gradient is "
            f"{first[0] / first[-1]:.1e} of the last one's; ReLUs, from weights of the right size, "
            "keep it:"
        ),
        article.figure(
            curves("Gradient by layer", lines, "layer", "size of the gradient", log=True)
        ),
        article.paragraph("Of your own step: sn.diagnose(step, x, y)"),
    ]


def _gradients(activation: Any, device: str) -> Array:
    """The size of each layer's gradient in a deep network, before any training."""
    rng = np.random.default_rng(0)
    sn.manual_seed(0)
    deep = [nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)]
    y = sn.constant(rng.normal(size=(64, WIDTH)).astype(np.float32))
    for layer in deep:
        layer.weight.value = nn.init.kaiming_normal((WIDTH, WIDTH), nonlinearity="relu")
        y = activation(layer(y))
    loss = sn.mean((y - rng.normal(size=(64, WIDTH)).astype(np.float32)) ** 2)
    slopes = sn.grad(loss, [layer.weight for layer in deep])
    return np.array(sn.function([], [sn.sqrt(sn.sum(g * g)) for g in slopes], device=device)())


def derived(device: str) -> Parts:
    """A derivative worked out by blocks and rules."""
    x = sn.placeholder((), "float64", "x")
    made = sn.derive(sn.sin(x) * x, x)
    return [
        article.paragraph(
            "Automatic differentiation is no approximation: it is the chain rule, by which each "
            "block has its derivative below it. The rules that are shown here are those by which "
            "the compiler makes every gradient on this page:"
        ),
        article.wide(made._repr_html_(), "A derivation"),
        article.paragraph('Of your own expression: staticnet derive "sin(x)*x" --wrt x'),
    ]


def rule_of(rule: Any) -> str:
    """The equation of an optimizer, the first line of its documentation."""
    return (inspect.getdoc(rule) or "").split("\n\n")[0].replace("\n", " ").replace("`", "")


def _given(model: nn.Module, x: Array, device: str) -> Array:
    asked = sn.placeholder(("n", *x.shape[1:]), name="x")
    made: Array = sn.function([asked], model(asked), device=device)(x)
    return made
