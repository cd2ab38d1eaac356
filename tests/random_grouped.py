"""Random programs whose products share operands, and whose gradients are sums of products.

Layers, one behind the other, project one activation several times, by weights of their own or of
all layers, turned or not, with biases or none; what is projected is shared, doubled, cast, cut,
summed in other orders, and used again by later layers. Some have loops, and some are differentiated
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import staticnet as sn

N, T = 2, 3
ROWS, WIDTHS = N * T, (4, 8)
NOISE = {"float64": 1e-9, "float32": 1e-3, "bfloat16": 0.2}  # relative, by the narrowest format


@dataclass
class Maker:
    """Makes a program in a dtype of random numbers; `narrowest` is what it is rounded to."""

    rng: np.random.Generator
    dtype: str
    variables: list[Any] = field(default_factory=list)
    narrowest: str = ""

    def __post_init__(self) -> None:
        self.narrowest = self.dtype

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one_of(self, items: Sequence[Any]) -> Any:
        return items[self.rng.integers(len(items))]

    def variable(self, *shape: int) -> Any:
        """One of the variables of a shape, or a new one."""
        same = [v for v in self.variables if v.shape == shape]
        if same and self.chance(0.25):
            return self.one_of(same)
        value = self.rng.normal(0, 0.4, shape).astype(self.dtype)
        self.variables.append(sn.variable(value, name=f"v{len(self.variables)}"))
        return self.variables[-1]

    def rounded(self) -> str:
        """A format, of which note is taken."""
        dtype: str = self.one_of(["float32", "float32", "bfloat16"])
        self.narrowest = max(self.narrowest, dtype, key=NOISE.__getitem__)
        return dtype

    def project(self, x: Any, width: int, narrow: str = "") -> Any:
        """x by a weight, turned or not, in a narrower format or not, with a bias or none."""
        m = int(x.shape[-1])
        w = self.variable(width, m).T if self.chance(0.6) else self.variable(m, width)
        y = sn.astype(x, narrow or x.dtype) @ sn.astype(w, narrow or w.dtype)
        y = sn.astype(y, self.dtype)
        return y + self.variable(width) if self.chance(0.3) else y

    def whole(self, x: Any) -> Any:
        """Whole numbers, where rounding does not choose which."""
        return sn.astype(x * 4, "int32") if self.dtype == "float64" else sn.stop_gradient(x)

    def map(self, x: Any) -> Any:
        """A value of x's shape."""
        kinds: list[Callable[[Any], Any]] = [
            sn.tanh,
            sn.sigmoid,
            sn.relu,
            lambda x: sn.nn.gelu(x, "tanh"),
            lambda x: x + x,
            lambda x: x * x * 0.3,
            lambda x: x / (1 + sn.sum(x * x, -1, keepdims=True)),
            lambda x: x - sn.mean(x, 0),
            lambda x: x * self.variable(int(x.shape[-1])),
            lambda x: sn.tanh(x) + self.whole(x) * 0.1,
            lambda x: sn.astype(sn.astype(x, self.rounded()), self.dtype),
        ]
        return self.one_of(kinds)(x)

    def join(self, parts: list[Any]) -> Any:
        """One value of several of one shape: products, sums, doubled terms, in any order."""
        kinds: list[Callable[[Any, Any], Any]] = [
            lambda a, b: a * b,
            lambda a, b: a + b,
            lambda a, b: (a + b) + b,
            lambda a, b: a * sn.sigmoid(b),
            lambda a, b: sn.tanh(a) + b * 2,
            lambda a, b: a - b,
            lambda a, b: sn.tanh(a * b) + (self.whole(a) + self.whole(b)),
            lambda a, b: a + b * sn.mean(sn.tanh(a), 0),
        ]
        while len(parts) > 1:
            a, b = (parts.pop(self.rng.integers(len(parts))) for _ in range(2))
            parts.append(self.one_of(kinds)(a, b))
        return parts[0]

    def layer(self, x: Any, before: list[Any]) -> Any:
        """Projections of one activation, joined, maybe brought back to x's width and added."""
        source = self.one_of(before) if self.chance(0.2) else x
        if self.chance(0.3):
            source = source + source
        if self.chance(0.2):
            source = sn.reshape(source, (N, T, -1))
        narrow = self.rounded() if self.chance(0.15) else ""
        width = int(self.one_of(WIDTHS))
        parts = [self.project(source, width, narrow) for _ in range(self.rng.integers(2, 4))]
        if self.chance(0.5):
            parts.append(self.one_of(parts))
        parts = [self.map(p) if self.chance(0.6) else p for p in parts]
        y = sn.reshape(self.join(parts), (ROWS, width))
        if width != x.shape[-1] or self.chance(0.5):
            y = self.project(y, int(x.shape[-1]))
        if self.chance(0.6):
            y = y + x
        return sn.tanh(y) if self.chance(0.5) else y * 0.3

    def layers(self, x: Any) -> Any:
        before: list[Any] = []
        for _ in range(self.rng.integers(1, 4)):
            before.append(self.map(x) if self.chance(0.5) else x)
            x = self.layer(before[-1], before)
        return x


@dataclass
class Program:
    """A graph, and by how much right implementations may differ."""

    graph: sn.Graph
    noise: float


def program(seed: int) -> Program:
    """A loss, its gradients and maybe those of their squares, and sums of what is not whole."""
    rng = np.random.default_rng(seed)
    m = Maker(rng, "float64" if rng.random() < 0.6 else "float32")
    width = int(m.one_of(WIDTHS))
    x = sn.placeholder((ROWS, width), m.dtype, name="x")
    if m.chance(0.2):
        y, _ = sn.scan(lambda c, _: (m.layers(c + x), sn.sum(c)), x * 0.5, None, length=3)
    else:
        y = m.layers(m.map(x))
    loss = sn.mean(y * y) if m.chance(0.7) else sn.sum(y * sn.constant(array(1, y)))
    wanted = [v for v in m.variables if v in set(sn.Graph("g", [x], [loss]).variables)]
    outputs = [loss, *sn.grad(loss, [*wanted, x])]
    if m.chance(0.25):
        again: Any = loss
        for g in outputs[1:4]:
            again = again + sn.sum(g * g)
        outputs += sn.grad(again, [*wanted, x])
    if m.chance(0.3):
        nodes = sn.Graph("g", [x], outputs).nodes
        types = [x.type.with_shape((ROWS, n)) for n in WIDTHS]
        made = [node for node in nodes if node.type in types]
        for node in [m.one_of(made) for _ in range(6)]:
            outputs.append(sn.sum(m.whole(node), 0))
    return Program(sn.Graph("g", [x], outputs), NOISE[m.narrowest])


def array(seed: int, like: Any) -> Any:
    """Random numbers of a node's shape and dtype."""
    dtype = like.dtype.name
    return np.random.default_rng(seed).normal(size=like.shape).astype(dtype)
