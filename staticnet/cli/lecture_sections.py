"""What `staticnet lecture` says before its demonstrations; each section computes what it shows."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

import staticnet as sn
from staticnet import nn, optim
from staticnet.cli.landscapes import LANDSCAPES, rules
from staticnet.cli.landscapes import STEPS as WALKED
from staticnet.cli.lecture_demos import rule_of
from staticnet.cli.optimizers import described
from staticnet.report import article
from staticnet.report.curves import curves
from staticnet.report.paths import paths
from staticnet.report.pixels import signed

Array = np.ndarray[Any, Any]
Parts = list[article.Part]
GRID = 96  # dots of a surface, each way
STEPS = 600
EPOCHS = 15  # of a perceptron


def _here(*nodes: Any) -> list[Array]:
    """What nodes are, once."""
    return [np.asarray(value) for value in sn.function([], list(nodes), device="numpy")()]


def background(device: str) -> Parts:
    """How it came, and what one neuron cannot learn."""
    inputs = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    x, y = inputs[:, 0], inputs[:, 1]
    wanted = {"and": x & y, "or": x | y, "xor": x ^ y}
    wrong = {name: (np.arange(EPOCHS), _perceptron(inputs, to)) for name, to in wanted.items()}
    (both,) = _here(sn.constant((x + y > 0.5) & (x + y < 1.5)))
    return [
        article.paragraph(
            "1943: McCulloch and Pitts describe a neuron as a sum and a threshold, after those of "
            "the brain. 1958: Rosenblatt's perceptron learns its weights from examples: after a "
            "mistake it adds the example to them, or takes it away. 1969: Minsky and Papert show "
            "what a single one cannot learn. Here it learns and, and or; xor never:"
        ),
        article.figure(curves("Mistakes by epoch", wrong, "epoch", "mistakes of 4")),
        article.paragraph(
            "Two neurons and a third above them can: x or y, and not both, gives "
            f"{''.join(str(int(v)) for v in both)} on 00, 01, 10, 11. How such hidden neurons "
            "learn was known to many from 1986 on, when Rumelhart, Hinton and Williams wrote of "
            "backpropagation. Support vector machines, easier to train and with a theory, took "
            "over for a while. Since 2012 networks are back: data sets are larger, graphics "
            "processors multiply matrices faster, and the results were better than what there was."
        ),
    ]


def _perceptron(inputs: Array, wanted: Array) -> Array:
    """Mistakes in each epoch of Rosenblatt's rule, from weights of 0."""
    w, wrong = np.zeros(3), np.zeros(EPOCHS)
    for epoch in range(EPOCHS):
        for x, to in zip(inputs, wanted, strict=True):
            off = to - (x @ w > 0)
            w += off * x
            wrong[epoch] += abs(off)
    return wrong


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
    picture = article.image(signed(-surface.reshape(GRID, GRID)), "The surface of a neuron", 3)
    return [
        article.paragraph(
            "McCulloch and Pitts, 1943: a neuron sums its weighted inputs and fires above a "
            "threshold. Three of theirs, on the inputs x, y = 00, 01, 10, 11:"
        ),
        article.table(("neuron", "fires if", "00", "01", "10", "11"), rows),
        article.paragraph(
            "Now the threshold is a smooth function, so that it has a derivative: "
            "tanh(x − 1.5 y + 0.5) over the plane, orange −1 and blue 1."
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
            "A layer is an operation that can be differentiated, of a linear part and one that is "
            "not. The most common one is a product with a matrix, followed by an activation:"
        ),
        article.formula(_LAYER),
        article.paragraph(
            "A network is layer upon layer; or a function of a function, which is the same:"
        ),
        article.formula(_composed("l")),
        article.formula(_composed("f")),
        article.paragraph(
            "It is called deep if more than two of its layers are hidden, between the input and "
            f"the output. Three layers, applied one by one, give {same} numbers as the network "
            f"that holds them: {whole[0, 0]:.6f}."
        ),
        article.paragraph(f"Its graph, with {count} parameters, on five examples of two numbers:"),
        article.markup(f'<pre tabindex="0">{escape(str(f.graph))}</pre>'),
    ]


_LAYER = (
    "<mi>f</mi><mo>(</mo><mi>x</mi><mo>)</mo><mo>=</mo><mi>tanh</mi><mo>(</mo><mi>W</mi>"
    "<mi>x</mi><mo>+</mo><mi>b</mi><mo>)</mo>"
)
_HAT = "<mover accent='true'><mi>Y</mi><mo>^</mo></mover>"


def _composed(name: str) -> str:
    """f_n(f_n-1(… f_2(f_1(X)))) = Ŷ as MathML."""
    whole = [
        "<mi>n</mi>",
        "<mrow><mi>n</mi><mo>−</mo><mn>1</mn></mrow>",
        "",
        "<mn>2</mn>",
        "<mn>1</mn>",
    ]
    opened = "".join(
        f"<msub><mi>{name}</mi>{i}</msub><mo>(</mo>" if i else "<mo>…</mo>" for i in whole
    )
    return f"{opened}<mi>X</mi>{'<mo>)</mo>' * 4}<mo>=</mo>{_HAT}"


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
            "What a network is for is decided by what it gives and by its loss. A number, or a "
            "vector of them, and the mean squared error make a regression (here "
            f"{losses[0]:.3f} → {losses[-1]:.3f}):"
        ),
        article.figure(drawn),
        article.paragraph(
            "A score for each class and the cross entropy make a classification "
            f"({falls[0]:.3f} → {falls[-1]:.3f}, {right:.1%} right). Softmax turns scores into "
            f"probabilities: near the border {chances[0, 0]:.4f} + {chances[0, 1]:.4f} = "
            f"{chances.sum():.4f}. Of two classes one number does, too, with a sigmoid. "
            "Blue is inside, orange outside:"
        ),
        article.figure(
            article.image(signed(-np.tanh(surface / 4)), "The border of two classes", 3)
        ),
    ]


def from_afar(device: str) -> Parts:
    """The loss as a function of one weight, with its slope."""
    x = np.linspace(-2, 2, 21)
    y = np.tanh(1.5 * x)

    def loss_at(w: Any) -> Any:
        return sn.mean((sn.tanh(sn.constant(x) * w) - y) ** 2)

    w = sn.variable(np.float64(0.3), "w")
    (slope,) = sn.grad(loss_at(w), [w])
    here, found = _here(loss_at(w), slope)
    along = np.linspace(-0.5, 3, 60)
    heights = np.array([float(_here(loss_at(sn.constant(each)))[0]) for each in along])
    near = np.array([-0.2, 0.9])
    lines = {"loss": (along, heights), "slope at 0.3": (near, here + found * (near - 0.3))}
    return [
        article.paragraph(
            "A network can be differentiated from end to end. So one computes how wrong it is on "
            "data whose answers are known; then the derivative of that by each weight, which tells "
            "what the weight has to do with it; and moves each weight a little the other way. That "
            "is gradient descent. With one weight all of it can be seen:"
        ),
        article.figure(curves("The loss by a weight", lines, "weight", "loss")),
        article.paragraph(
            f"At w = 0.3 the loss is {float(here):.4f} and its slope {float(found):.4f}: the "
            f"weight is too {'small' if found < 0 else 'large'}."
        ),
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
        article.formula(_composed("f")),
        article.paragraph(
            f"2. The loss tells how far off that is: (ŷ − y)² = {float(before):.4f}."
        ),
        article.formula(
            f"<mi>l</mi><mo>(</mo>{_HAT}<mo>,</mo><mi>Y</mi><mo>)</mo><mo>=</mo><mi>L</mi>"
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
    """Every rule with its equation, and how they walk."""
    shown = [described(each, WALKED, device) for each in LANDSCAPES]
    valley = shown[0]
    lines = {
        way["name"]: (np.arange(121), way["values"][:121])
        for way in valley["ways"] if way["name"] in ("Gradient descent", "Momentum", "Adam")
    }  # fmt: skip
    equations = [(name, rule_of(type(rule))) for name, rule in rules(LANDSCAPES[0]).items()
                 if name not in ("Momentum", "Nesterov", "AMSGrad")]  # fmt: skip
    return [
        article.paragraph(
            "Naively, w goes down the gradient times a rate. In practice rules that remember "
            "earlier gradients are better, as Adam is. In a valley such as "
            f"{valley['formula']} gradient descent leaps from side to side, and its rate is "
            "bounded by the steep direction; momentum adds up what all steps have in common:"
        ),
        article.figure(curves("Height by step", lines, "step", "height", log=True)),
        article.paragraph("All of them at once, with CMA-ES, of which more below:"),
        paths(shown),
        article.heading("Their equations", 3),
        article.table(("rule", "the weight's next value"), equations),
        article.markup(
            "<p>Momentum, Nesterov's and AMSGrad are options of these. A comparison in words: "
            '<a href="https://ruder.io/optimizing-gradient-descent/">Ruder, An overview of '
            "gradient descent optimization algorithms</a>. The animation alone: staticnet "
            "optimizers</p>"
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
            "It depends on the problem. The mean squared error often suits numbers, and the cross "
            "entropy classes: it grows without bound where the true class was given no chance."
        ),
        article.table(("chance of the true class", "squared error", "cross entropy"), rows),
    ]


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
