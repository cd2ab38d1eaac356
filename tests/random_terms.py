"""Values of random programs, and a maker with a pool of them.

Of every value it is known what two right implementations may differ by. Values that are whole
multiples of a grid, of which the dtype holds all, come out to the bit in whatever order they are
summed; what depends on more than rounding (comparisons, orders, conversions to integers) is only
made of values on which implementations agree to the bit.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.errors import ShapeError
from staticnet.ir.dtype import DTYPES, is_floating, is_integer
from staticnet.ops.arguments import broadcast_shapes

Shape = tuple[Any, ...]
BITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}  # of the significand
STEP = 0.25  # the grid of feeds and constants
LARGEST = 16.0  # what is larger is scaled down
ROUGH = 2.0**-10  # the noise of state that implementations may round differently, in units of 2**14
LENGTHS = (1, 2, 3, 4, 5, 8)
LARGE = (
    (5000,), (65_537,), (100_000,), (300, 257), (33, 1030), (1030, 33), (2, 40_000), (40_000, 2),
    (17, 65, 33), (2, 3, 5000), (64, 4, 129), (1, 20_000),
)  # fmt: skip
SYMBOLIC = (("a",), ("a", 3), (3, "a"), ("a", 1), (2, "a", 3), ("a", "b"), ("b", "a"), (1, "b"))
AT_MOST = {"a": 130, "b": 70}  # the sizes that bounds hold for


@dataclass(frozen=True)
class Term:
    """A value of a program: |x| <= bound, and on a grid if that is not 0.

    `noise` is what rounding may change, infinite where it may flip a choice; `exact` says that
    implementations agree to the bit as long as none rounds an operation otherwise than IEEE 754.
    """

    node: Any
    bound: float = 0.0
    grid: float = 0.0
    noise: float = 0.0
    exact: bool = True


def feed(node: Any, seed: int, step: int = 0, dims: Mapping[str, int] | None = None) -> Any:
    """The array of a placeholder or variable, by its name: g… on the grid, u… off it, w… wild."""
    shape = node.type.substitute(dims or {}).shape
    rng = np.random.default_rng([seed, step, zlib.crc32(node.name.encode())])
    return draw(rng, node.name[0], shape, node.dtype)


def draw(rng: np.random.Generator, how: str, shape: Shape, dtype: Any) -> Any:
    """Random values of any dtype; "w" has NaN, infinities and the smallest among them."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if is_integer(dtype):
        info = np.iinfo(dtype)
        wide = rng.integers(max(info.min, -(2**40)), min(info.max, 2**40), shape, endpoint=True)
        near = rng.integers(0 if info.min == 0 else -4, 5, shape)
        return np.where(rng.random(shape) < 0.3, wide, near).astype(dtype)
    values = rng.integers(-8, 9, shape) * STEP
    if how == "u":
        values = np.clip(values + rng.uniform(-STEP, STEP, shape), -2, 2)
    if how == "w":
        special = rng.choice([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-40, -1e-7], shape)
        values = np.where(rng.random(shape) < 0.15, special, values)
    return values.astype(dtype)


class Maker:
    """Makes one program: a pool of values that each step adds to."""

    def __init__(self, seed: int, number: int, kind: str) -> None:
        self.rng = np.random.default_rng([seed, number])
        self.seed, self.name, self.kind = seed, str(number), kind
        self.how = str(self.rng.choice(["g", "u", "g", "u", "g", "w"]))
        self.dtype = str(self.rng.choice(["float32", "float32", "float64", "float16", "bfloat16"]))
        self.shape = self._base_shape()
        self.pool: list[Term] = []
        self.inputs: list[Any] = []
        self.state: dict[Any, Term] = {}

    # what a program starts from

    def _base_shape(self) -> Shape:
        if self.kind == "large":
            return self.any(LARGE)
        if self.kind == "symbolic":
            return self.any(SYMBOLIC)
        shape = [self.any(LENGTHS) for _ in range(self.rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 4]))]
        if self.kind == "rows":
            return (4, *shape[:2])
        if shape and self.chance(0.04):
            shape[self.rng.integers(len(shape))] = 0
        return tuple(shape)

    def _shape(self) -> Shape:
        """The base shape, or one like it."""
        shape = list(self.shape)
        if shape and self.chance(0.2) and self.kind != "rows":
            shape = shape[1:]
        if shape and self.chance(0.2):
            shape[-1] = 1
        if self.kind == "small" and self.chance(0.2):
            shape = shape[::-1]
        return (4, *shape[1:]) if self.kind == "rows" else tuple(shape)

    def begin(self) -> None:
        for i in range(self.rng.integers(1, 4)):
            dtype = self.dtype if i == 0 or self.chance(0.6) else self.any(list(DTYPES))
            shape = self.shape if i == 0 else self._shape()
            node = sn.placeholder(shape, dtype, f"{self.how}{self.name}_{i}")
            self.inputs.append(node)
            self.pool.append(self.leaf(node))
        if self.kind != "symbolic":
            for _ in range(self.any([0, 0, 1, 2, 3])):
                self._state()

    def _state(self) -> None:
        dtype = self.dtype if self.chance(0.8) else self.any(list(DTYPES))
        how = "g" if self.how == "w" else self.how
        shape = self.shape if self.chance(0.8) else self._shape()
        node = sn.variable(np.zeros(shape, DTYPES[dtype]), f"{how}{self.name}_v{len(self.state)}")
        node.value = feed(node, self.seed)
        self.state[node] = self.leaf(node)
        if dtype in ("float32", "float64") and self.chance(0.3):
            noise = ROUGH * 2.0 ** (14 - BITS[dtype])
            self.state[node] = Term(node, 2.0, 0.0, noise, exact=False)
        elif is_floating(node.dtype):
            self.state[node] = Term(node, 2.0)
        self.pool.append(self.state[node])

    def leaf(self, node: Any) -> Term:
        grid = STEP if self.how == "g" else 0.0
        return Term(node, 2.0, grid) if is_floating(node.dtype) else Term(node)

    def constant(self, shape: Shape, dtype: Any) -> Term:
        if any(not isinstance(n, int) for n in shape) or self.chance(0.5):
            shape = ()
        node = sn.constant(draw(self.rng, "g", shape, dtype))
        return Term(node, 2.0, STEP if is_floating(dtype) else 0.0)

    # choosing

    def any(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, accept: Callable[[Term], bool] = lambda term: True) -> Term | None:
        """A value, the latest ones oftener."""
        found = [term for term in self.pool if accept(term)]
        if not found:
            return None
        return found[-1 - int(len(found) * self.rng.random() ** 1.5)]

    def number(self) -> Term | None:
        return self.pick(lambda t: is_floating(t.node.dtype))

    def axis(self, x: Any) -> int:
        return int(self.rng.integers(x.ndim))

    def axes(self, x: Any) -> tuple[int, ...]:
        """Some axes: leading, last, one in the middle, all, or whichever."""
        n = x.ndim
        k = int(self.rng.integers(n)) if n else 0
        some = tuple(i for i in range(n) if self.chance(0.5))
        return self.any([tuple(range(k)), tuple(range(k, n)), (k,), tuple(range(n)), some])[:n]

    def count(self, shape: Shape, axes: Sequence[int] | None = None) -> int:
        """The number of elements along axes, at most."""
        dims = [d for i, d in enumerate(shape) if axes is None or i in axes]
        return math.prod(d if isinstance(d, int) else d.substitute(AT_MOST) for d in dims)

    # what becomes known of a result

    def float(
        self, node: Any, of: Sequence[Term], bound: float, grid: float = 0.0, noise: float = 0.0,
        exact: bool = True,
    ) -> Term:  # fmt: skip
        """An arithmetic result, rounded unless it is on a grid that its dtype holds."""
        bits = BITS[node.dtype.name]
        exact = exact and all(x.exact for x in of)
        if not grid or bound > grid * 2.0**bits:
            grid, noise = 0.0, noise + bound * 2.0 ** (1 - bits) * (1 if exact else 8)
        if bound > LARGEST:
            scale = 2.0 ** -math.ceil(math.log2(bound / 2))
            node, bound, grid, noise = node * scale, bound * scale, grid * scale, noise * scale
        return Term(node, bound, grid, noise, exact)

    def choice(self, node: Any, *of: Term) -> Term:
        """What depends on exact values discontinuously: rounding may change all of it."""
        return Term(node, noise=math.inf if any(x.noise for x in of) else 0.0)

    def same(self, node: Any, *of: Term) -> Term:
        """Values taken from others, unchanged."""
        grids = [x.grid for x in of]
        return Term(
            node, max(x.bound for x in of), min(grids), max(x.noise for x in of),
            all(x.exact for x in of),
        )  # fmt: skip

    def room(self) -> int:
        return 150_000 if self.kind == "large" else 20_000 if self.kind == "symbolic" else 600

    def summed(self, node: Any, x: Term, n: int, mean: bool = False) -> Term:
        """A sum of n elements, in whatever order, by an accumulator of at least 32 bits."""
        bound = max(n, 1) * x.bound
        bits = 53 if node.dtype == "float64" else 24
        exact = bool(x.grid) and bound <= x.grid * 2.0**bits
        noise = n * x.noise + (0 if exact else math.sqrt(n) * bound * 2.0 ** (3 - bits))
        if mean:
            return self.float(node, [x], x.bound, 0, noise / max(n, 1), exact)
        return self.float(node, [x], bound, x.grid, noise, exact)

    def fits_sum(self, x: Term, n: int) -> bool:
        """Whether a sum stays within its dtype."""
        return n * x.bound <= (60_000 if x.node.dtype == "float16" else 1e30)

    def fits(self, x: Term, y: Term) -> bool:
        """Whether two values broadcast, to a shape that is not too large."""
        if x.node is y.node:
            return False
        try:
            shape = broadcast_shapes(x.node.shape, y.node.shape)
        except ShapeError:
            return False
        return self.count(shape) <= self.room()
