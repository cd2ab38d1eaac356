"""Kernels of the same rows in one: the bits that they have apart, and the reference's numbers.

Random chains of norms, softmaxes, row numbers and moves over few inputs, with derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.plan.row_maps import RowMaps
from staticnet.plan.siblings import Siblings

COMPILES = True
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
SHAPES = [(3, 3), (5, 8), (2, 1), (1, 6), (7, 64), (130, 12), (3, 1030)]


def scaled(x: Any) -> Any:
    return x / (1 + sn.max(sn.abs(x), -1, keepdims=True))


def centred(x: Any) -> Any:
    return x - sn.mean(x, -1, keepdims=True)


ROWS: list[Callable[[Any], Any]] = [
    lambda x: sn.nn.functional.layer_norm(x, (x.shape[-1],)), sn.nn.softmax, scaled, centred,
    lambda x: x * sn.rsqrt(sn.mean(x * x, -1, keepdims=True) + 1e-3),
    lambda x: x - sn.logsumexp(x, -1, keepdims=True),
    lambda x: x * sn.expand_dims(sn.sum(x, -1), 1) + sn.sum(x * x, -1, keepdims=True), sn.tanh,
]  # fmt: skip
MOVES: list[Callable[[Any], Any]] = [
    lambda x: sn.flip(x, axis=1), lambda x: sn.flip(x, axis=0), lambda x: sn.roll(x, 1, 1),
    lambda x: x + x[:1], lambda x: x * x[:, :1], lambda x: x + sn.sum(x, 0, keepdims=True),
    lambda x: sn.take_along_axis(x, sn.argmax(x, 1, keepdims=True), 1) + x,
]  # fmt: skip
PAIRS: list[Callable[[Any, Any], Any]] = [sn.add, sn.multiply, sn.subtract]


def program(random: Random) -> tuple[list[Any], list[Any]]:
    """Inputs, and values of a chain with a gradient and that one's gradient."""
    shape = random.choice(SHAPES)
    inputs = [sn.placeholder(shape, "float64", f"x{i}") for i in range(4)]
    values = [random.choice(ROWS)(x) if random.random() < 0.6 else x for x in inputs]
    for _ in range(random.randint(2, 7)):
        if random.random() < 0.5:
            made = random.choice(PAIRS)(random.choice(values), random.choice(values))
        else:
            made = random.choice(MOVES if random.random() < 0.2 else ROWS)(random.choice(values))
        values.append(made)
    outputs, total = values[-2:], sn.sum(values[-1] * values[-1])
    for _ in range(random.randint(0, 2)):
        gradients = sn.grad(total + sum(sn.sum(x) for x in inputs), inputs)
        outputs += gradients
        total = sn.sum(gradients[0] * gradients[0]) + sn.sum(gradients[1] * sn.cos(inputs[2]))
    outputs += [sn.max(sn.abs(y), -1) for y in outputs[:3] if random.random() < 0.5]
    random.shuffle(outputs)
    return inputs, outputs


def check(seed: int) -> int:
    """Compare one program's three forms; -> how many kernels fewer it has for being together."""
    inputs, outputs = program(Random(seed))
    rng = np.random.default_rng(seed)
    feeds = [rng.normal(size=x.shape) for x in inputs]
    together = sn.function(inputs, outputs, device="cpu")
    got = together(*feeds)
    with pytest.MonkeyPatch.context() as patch:
        fits = RowMaps._fits
        patch.setattr(RowMaps, "_fits", lambda s, a, b: a.kind == "map" and fits(s, a, b))
        patch.setattr(Siblings, "_fit_in_rows", lambda *_: False)
        apart = sn.function(inputs, outputs, device="cpu")
        same = apart(*feeds)
    wanted = sn.function(inputs, outputs, device="numpy")(*feeds)
    for y, twin, right in zip(got, same, wanted, strict=True):
        np.testing.assert_array_equal(y, twin)
        scale = np.abs(right).max(initial=1)
        np.testing.assert_allclose(y / scale, right / scale, rtol=0, atol=1e-7)
    apart_plan, plan = (f.specialize().plan for f in (apart, together))
    return len(apart_plan.launched) - len(plan.launched)


def test_a_program() -> None:
    assert check(14) == 1


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 28, 4))
def test_random_programs(first: int) -> None:
    for seed in range(first, first + 4):
        check(seed)
