# A file as a stranger writes it: without `from __future__ import annotations`.
from dataclasses import dataclass

import numpy as np

import staticnet as sn

softsign = sn.custom_op(
    "softsign",
    lambda x: x / (1 + np.abs(x)),
    scalar="{0} / (1 + fabs({0}))",
    vjp=lambda y, g, x: g / sn.square(1 + sn.abs(x)),
)

blend = sn.custom_op(
    "blend",
    lambda x, y: 0.25 * x + 7.5e-1 * y,
    scalar="0.25 * {0} + 7.5e-1 * {1}",
    vjp=lambda z, g, x, y: (0.25 * g, 0.75 * g),
    flops=3,
)


def _first(x, *, count: int = 1, keep: bool = True):
    return x[..., :count].copy() if keep else x[..., :count] * 0


first = sn.custom_op(
    "first_columns",
    _first,
    lambda x, *, count, keep: x.with_shape((*x.shape[:-1], count)),
    vjp=lambda y, g, x, *, count, keep: sn.pad(
        g, [(0, 0)] * (x.ndim - 1) + [(0, x.shape[-1] - count)]
    ),
)

# elementwise, and without a scalar form: on the host
halve = sn.custom_op("halve", lambda x: x / 2, vjp=lambda y, g, x: g / 2)

# only a forward rule
cube = sn.custom_op(
    "cube",
    lambda x: x**3,
    jvp=lambda y, operands, tangents: 3 * operands[0] * operands[0] * tangents[0],
)


@dataclass(frozen=True)
class Turn(sn.Op, name="turn_axis"):
    """y = x rolled along an axis, as a class like the house's own."""

    axis: int
    steps: tuple[int, ...]
    dtype: np.dtype

    def infer(self, x):
        return x.with_dtype(self.dtype)

    def eval(self, xp, x):
        return xp.roll(x, sum(self.steps), self.axis).astype(self.dtype)

    def vjp(self, y, g, x):
        back = tuple(-s for s in self.steps)
        return (sn.astype(Turn(self.axis, back, self.dtype)(g), x.dtype),)


class Bump(sn.Elementwise, name="bump"):
    """y = exp(-x * x), with a scalar form."""

    kinds = frozenset({"float"})
    scalar = "exp(-{0} * {0})"

    def eval(self, xp, x):
        return xp.exp(-x * x)

    def vjp(self, y, g, x):
        return (g * -2 * x * y,)


class Spread(sn.Reduction, name="spread"):
    """y = max(x) - min(x) along axes, without code: on the host."""

    def eval(self, xp, x):
        return xp.max(x, self.axes, keepdims=self.keepdims) - xp.min(
            x, self.axes, keepdims=self.keepdims
        )


bump = Bump()

# several results, on the host
polar = sn.custom_op(
    "polar",
    lambda x, y: (np.hypot(x, y), np.arctan2(y, x)),
    lambda x, y: [x, (x.shape, x.dtype)],
    vjp=lambda z, g, x, y: (
        g[0] * x / z[0] - g[1] * y / (z[0] * z[0]),
        g[0] * y / z[0] + g[1] * x / (z[0] * z[0]),
    ),
)
