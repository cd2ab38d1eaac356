"""Winograd's algorithm on the CPU: when it is chosen, and what it gives beside plain sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.ir.dim import substitute
from staticnet.ops.base import apply
from staticnet.plan import convolution as plan
from staticnet.spatial.convolution import Convolution, ConvolutionInput, ConvolutionWeight

COMPILES = True
NOTE = "convolutions by Winograd's algorithm"
CLOSE = 6e-6  # of the greatest: twice what plain sums of a few hundred products differ by
# examples, channels, outputs, height and width, and the padding
SIZES = [
    (3, 32, 32, (16, 16), 1), (9, 64, 48, (7, 7), 1), (5, 32, 96, (14, 14), 0),
    (2, 48, 32, (9, 21), 2), (33, 32, 64, (4, 4), 1), (1, 32, 32, (40, 37), 1),
]  # fmt: skip


def three(op: Convolution, x: Any, w: Any, y: Any) -> list[Any]:
    """A convolution and its two gradients."""
    spatial, kernel = op.apart("x", x.shape)[2], op.apart("w", w.shape)[2]
    ops = [(op, (x, w)), (op._as(ConvolutionInput, spatial), (y, w)),
           (op._as(ConvolutionWeight, kernel), (x, y))]  # fmt: skip
    return [apply(replace(made, algorithm=op.algorithm), *operands) for made, operands in ops]


def problems(layout: str) -> tuple[list[Any], list[Any], list[Any]]:
    """The inputs, results and feeds of all sizes."""
    rng = np.random.default_rng(0)
    inputs, results, feeds = [], [], []
    for n, c, o, size, pad in SIZES:
        pads = (pad, pad)
        op = Convolution((1, 1), pads, pads, (1, 1), (1,), layout, algorithm="winograd")
        x, w = (sn.placeholder(s) for s in (op.together("x", n, c, size), (o, c, 3, 3)))
        y = sn.placeholder(apply(op, x, w).shape)
        inputs += [x, w, y]
        results += three(op, x, w, y)
        feeds += [rng.normal(size=v.shape).astype("f4") for v in (x, w, y)]
    return inputs, results, feeds


@pytest.mark.parametrize(("layout", "most"), [("first", 1 << 15), ("last", 1 << 17)])
def test_it_gives_what_plain_sums_give(
    layout: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "BOX_OF_TILES", most)  # if few, there are bands of rows
    inputs, results, feeds = problems(layout)
    got = sn.function(inputs, results, device="cpu")(*feeds)
    wide = [sn.placeholder(v.shape, "float64") for v in inputs]
    plain: list[Any] = []
    for x, w, y, made in zip(*[iter(wide)] * 3, results[::3], strict=True):
        plain += three(replace(made.op, algorithm="direct"), x, w, y)
    wanted = sn.function(wide, plain, device="numpy")(*(x.astype("f8") for x in feeds))
    for a, b in zip(got, wanted, strict=True):
        assert np.abs(a - b).max() <= CLOSE * np.abs(b).max(), a.shape


def test_its_bits_do_not_depend_on_the_number_of_threads(
    set_threads: Callable[[int], None],
) -> None:
    inputs, results, feeds = problems("first")
    step = sn.function(inputs, results, device="cpu")
    found = []
    for threads in (1, 2, 3):
        set_threads(threads)
        found.append([y.tobytes() for y in step(*feeds)])
    assert found[0] == found[1] == found[2]


def chosen(
    channels: int = 32, size: int = 16, kernel: int = 3, stride: int = 1, dilation: int = 1,
    groups: int = 1, dtype: str = "float32", numerics: str = "fast", device: str = "cpu",
) -> int:  # fmt: skip
    """How many convolutions of a training step go by Winograd's algorithm."""
    x = sn.placeholder((8, channels, size, size), dtype)
    w = sn.placeholder((64, channels // groups, kernel, kernel), dtype)
    y = sn.nn.functional.conv2d(x, w, None, stride, 1, dilation, groups)
    results = [y, *sn.grad(sn.sum(y * y), [x, w])]
    step = sn.function([x, w], results, device=device, numerics=numerics)
    return sum(record.notes.get(NOTE, 0) for record in step.passes())


def test_it_is_for_3_by_3_kernels_of_many_channels() -> None:
    assert chosen() == 3
    options: dict[str, Any]
    for options in (
        {"numerics": "exact"}, {"device": "numpy"},
        {"kernel": 5}, {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"channels": 16},
        {"channels": 40}, {"size": 5}, {"dtype": "float64"}, {"dtype": "bfloat16"},
    ):  # fmt: skip
        assert chosen(**options) == 0, options


def test_the_certificate_counts_its_memory() -> None:
    x, w = sn.placeholder(("n", 32, "h", 12)), sn.placeholder((64, 32, 3, 3))
    y = sn.nn.functional.conv2d(x, w, padding=1)
    step = sn.function([x, w], [y, *sn.grad(sn.sum(y * y), [x, w])], device="cpu")
    certificate = step.memory_analysis()
    for n, h in ((1, 4), (7, 12), (64, 16), (2, 90)):
        dims = {"n": n, "h": h}
        memory = step.memory_analysis(**dims)
        assert certificate.arena.at(**dims) == memory.arena
        slack = substitute(certificate.arena.slack, dims)
        least = min(max(int(substitute(t, dims)) for t in c) for c in certificate.arena.cases)
        assert least <= memory.arena <= least + slack
