"""Random scans of matrices: what is made for all steps at once, and weights that stay on a GPU.

A step takes some of its carries and xs, multiplies by matrices that stay, and leaves whatever it
made as carries and ys: also such as no later step reads, or that were made of xs alone.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower

import staticnet as sn
from staticnet.codegen.cuda import choice, control, loops

TOLERANCE = {"bfloat16": 4e-2, "float16": 6e-3}


def scans(seed: int, dtype: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Placeholders, outputs with some gradients, and feeds; products are of operands in `dtype`."""
    random = Random(seed)
    rows, columns, steps = (random.choice(x) for x in ((1, 2, 5), (4, 6, 33), (1, 2, 5)))
    wide = dtype if dtype == "float64" else "float32"
    xs = sn.placeholder((steps, rows, columns), wide, "xs")
    shapes = [(columns, columns), (columns, 3 * columns), (2 * columns, columns)]
    weights = [sn.placeholder(shape, dtype, f"w{i}") for i, shape in enumerate(shapes)]
    carries = random.choice((1, 2, 3))
    simple: list[Any] = [
        lambda u, v: sn.tanh(u),
        lambda u, v: u + v * 0.5,
        lambda u, v: sn.sin(u * v),
        lambda u, v: u - sn.mean(v, 1, keepdims=True),
    ]

    def times(u: Any, w: Any) -> Any:
        return sn.astype(sn.astype(u, dtype) @ w, wide)

    def gates(u: Any, v: Any) -> Any:
        parts = sn.split(times(u, weights[1]), 3, axis=1)
        return sn.tanh(parts[0]) * sn.sigmoid(parts[1]) + parts[2] * v * 0.1

    products: list[Any] = [
        lambda u, v: times(u, weights[0]),
        lambda u, v: sn.tanh(times(u, weights[0])) + v,
        lambda u, v: times(sn.concat([sn.sin(u), v], 1), weights[2]),
        gates,
    ]

    def step(before: Any, x: Any) -> Any:
        pool = [*before, x]
        for _ in range(random.randint(2, 6)):
            make = random.choice(random.choice((simple, products)))
            pool.append(make(random.choice(pool), random.choice(pool)))
        new = tuple(sn.tanh(random.choice(pool[carries:])) for _ in before)
        ys = [random.choice(pool) for _ in range(random.choice((1, 2, 3)))]
        return new, (*ys, sn.sum(pool[-1]))

    begin = tuple(xs[0] * (0.3 + i) for i in range(carries))
    last, ys = sn.scan(step, begin, xs, reverse=random.random() < 0.5)
    outputs, inputs = [*last, *ys], [xs, *weights]
    if random.random() < 0.6:
        loss = sum(sn.sum(sn.square(y)) for y in outputs)
        outputs += sn.grad(loss, inputs[:2], allow_unused=True)
    rng = np.random.default_rng(seed)
    feeds = [(rng.normal(size=x.shape) * (1 if x is xs else 0.3)).astype(x.dtype) for x in inputs]
    return inputs, outputs, feeds


def fast_as_exact(seed: int) -> None:
    inputs, outputs, feeds = scans(seed, "float64")
    fast, exact = (
        sn.function(inputs, outputs, device="numpy", numerics=numerics)
        for numerics in ("fast", "exact")
    )
    for found, wanted in zip(fast(*feeds), exact(*feeds), strict=True):
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10 * scale, err_msg=f"{seed}")


@pytest.mark.parametrize("seed", range(4))
def test_fast_numerics_give_what_exact_ones_do(seed: int) -> None:
    fast_as_exact(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 300, 40))
def test_many_in_fast_numerics(start: int) -> None:
    for seed in range(start, start + 40):
        fast_as_exact(seed)


@pytest.mark.slow
@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize("seed", range(1000, 1010))
@pytest.mark.parametrize("stays", [True, False])
def test_as_kernels_that_stay(
    seed: int, stays: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Near to launches, with the bits of any order of blocks; weights stay in them, or do not."""
    monkeypatch.setattr(choice, "LEAST_GAIN", 1.0)
    monkeypatch.setattr(loops, "LEAST_GAIN", -1e9)
    monkeypatch.setattr(loops, "COUNTS", () if stays else (8,))

    def where_one_is(*arguments: Any) -> Any:
        try:
            return loops.one_kernel(*arguments)
        except ValueError:  # nothing stays, and no other number of blocks is tried
            return None

    monkeypatch.setattr(control, "one_kernel", where_one_is)
    dtype = ("bfloat16", "float16")[seed % 2]
    inputs, outputs, feeds = scans(seed, dtype)
    graph = lower(sn.function(inputs, outputs, device="numpy"))
    kernel, apart = (Machine(graph, tmp_path, True, persistent=x) for x in (True, False))
    found, wanted = kernel.run(feeds, []), apart.run(feeds, [])
    again = kernel.run(feeds, [], reverse=True)
    for a, b, right in zip(found[1], again[1], wanted[1], strict=True):
        assert a.tobytes() == b.tobytes()
        scale = max(0.1, float(np.sqrt(np.mean(np.square(right, dtype=np.float64)))))
        near = TOLERANCE[dtype]
        np.testing.assert_allclose(a, right, rtol=near, atol=4 * near * scale)
