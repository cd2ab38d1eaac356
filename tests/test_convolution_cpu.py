"""The CPU's convolutions: bands, remainders of strides, layouts and dtypes beside NumPy's."""

from __future__ import annotations

import itertools
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from guard import guarded

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.ir.dim import substitute
from staticnet.ops.base import apply
from staticnet.plan import boxes, planes
from staticnet.plan import convolution as plan
from staticnet.spatial.convolution import Convolution, ConvolutionInput, ConvolutionWeight

COMPILES = True
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6, "float64": 1e-14}


def cases(seed: int, count: int) -> list[tuple[Any, ...]]:
    """Convolutions that fit: their op, and the shapes of x and w."""
    draw, found = random.Random(seed), list[tuple[Any, ...]]()
    while len(found) < count:
        axes = range(draw.choice((1, 2, 2, 3)))
        groups, each = draw.choice((1, 1, 2, 3)), draw.choice((1, 3, 4, 17))
        outputs = draw.choice((1, 3, 16, 20, 40))
        kernel = [draw.choice((1, 2, 3, 5)) for _ in axes]
        steps, dilations = ([draw.choice((1, 1, 2, 3)) for _ in axes] for _ in range(2))
        low, high = ([draw.choice((0, 1, 2)) for _ in axes] for _ in range(2))
        size = [draw.choice((1, 4, 7, 9, 13)) for _ in axes]
        if draw.random() < 0.2:  # depthwise
            groups, each, outputs = draw.choice((2, 16, 33, 50)), 1, 1
        if draw.random() < 0.15:  # a product of matrices as they lie
            kernel, steps, low, high = ([one] * len(axes) for one in (1, 1, 0, 0))
            size = [draw.choice((8, 16, 33)) for _ in axes]
        sides = zip(size, low, high, kernel, dilations, strict=True)
        if all(s + a + b > (k - 1) * d for s, a, b, k, d in sides):
            n = draw.choice((1, 2, 5))
            layout = draw.choice(("first", "last"))
            op = Convolution(*map(tuple, (steps, low, high, dilations)), (groups,), layout)
            x = op.together("x", n, groups * each, size)
            found.append((op, x, op.together("w", groups * outputs, each, kernel)))
    return found


def long_kernels() -> list[tuple[Any, ...]]:
    """Of few channels, as those that begin a network of sound: lines are copied as they lie."""
    found = []
    for layout, depth, step, pad in (("first", 1, 7, 40), ("first", 2, 1, 0), ("last", 2, 7, 0)):
        op = Convolution((step,), (pad,), (pad // 2,), (1,), (1,), layout)
        x, w = op.together("x", 3, depth, [150]), op.together("w", 20, depth, [50])
        found.append((op, x, w))
    return found


def all_three(op: Convolution, x: Any, w: Any, y: Any) -> list[Any]:
    """A convolution and its two gradients, of arrays that are given for all three."""
    spatial, kernel = op.apart("x", x.shape)[2], op.apart("w", w.shape)[2]
    return [
        apply(op, x, w),
        apply(op._as(ConvolutionInput, spatial), y, w),
        apply(op._as(ConvolutionWeight, kernel), x, y),
    ]


def graph(dtype: str, found: list[tuple[Any, ...]]) -> tuple[list[Any], list[Any], list[Any]]:
    """The inputs and results of all cases, and feeds, behind which there is no memory."""
    rng = np.random.default_rng(0)
    inputs, results, feeds = [], [], []
    for op, *shapes in found:
        types = [sn.placeholder(shape, dtype) for shape in shapes]
        types.append(sn.placeholder(apply(op, *types).shape, dtype))
        inputs += types
        results += all_three(op, *types)
        feeds += [guarded(rng.standard_normal(x.shape).astype(x.dtype)) for x in types]
    return inputs, results, feeds


def agree(dtype: str, found: list[tuple[Any, ...]]) -> None:
    """Compiled convolutions and gradients are NumPy's in float64, of all cases."""
    inputs, results, feeds = graph(dtype, found)
    compiled = sn.function(inputs, results, device="cpu")(*feeds)
    wide = graph("float64", found)
    exact = sn.function(*wide[:2], device="numpy")(*(x.astype(np.float64) for x in feeds))
    kinds = itertools.cycle(("forward", "input", "weight"))
    for got, wanted, kind, (op, *shapes) in zip(
        compiled, exact, kinds, (case for case in found for _ in range(3)), strict=False
    ):
        off = np.abs(np.asarray(got, np.float64) - wanted).max() / max(1.0, np.abs(wanted).max())
        assert off <= TOLERANCE[dtype], (kind, op, shapes, off)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_all_options_agree(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "BOX", 2000)  # so that there are bands of rows
    monkeypatch.setattr(boxes, "MOST_BOX", 8000)
    agree(dtype, [*cases(1, 60 if dtype == "float32" else 20), *long_kernels()])


def test_weights_as_they_lie_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "by_patches", lambda g, op: g.groups == 1)
    monkeypatch.setattr(boxes, "BOX", 2000)  # so that some channels are taken at a time
    agree("float32", cases(2, 24))


def test_columns_of_many_channels_agree() -> None:
    """A gradient by the input of few pixels, whose panels are not full."""
    op = Convolution((2, 1), (1, 1), (1, 0), (1, 2), (1,), "first")
    x, w, y = (2, 75, 7, 6), (70, 75, 3, 3), (2, 70, 4, 3)
    gradient = op._as(ConvolutionInput, x[2:])
    sizes = plan.geometry(gradient, 1, y, w, x)
    assert plan.cut(gradient, sizes, sn.float32).patches
    agree("float32", [(op, x, w)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_pixels_apart_agree(dtype: str) -> None:
    """One tap with strides: some pixels of x, the last of which need not be one of them."""
    found = []
    for size, steps, (groups, inputs, outputs) in (
        ((16, 34), (2, 3), (2, 40, 15)),
        ((95,), (3,), (1, 5, 70)),
        ((3, 8, 8), (2, 1, 2), (1, 33, 16)),
    ):
        none = (0,) * len(size)
        op = Convolution(steps, none, none, (1,) * len(size), (groups,), "first")
        x, w = (3, groups * inputs, *size), (groups * outputs, inputs, *(1 for _ in size))
        y = (3, groups * outputs, *(-(-n // step) for n, step in zip(size, steps, strict=True)))
        sizes = plan.geometry(op, groups, x, w, y)
        assert plan.cut(op, sizes, sn.float32).flat
        found.append((op, x, w))
    agree(dtype, found)


def test_bits_do_not_depend_on_the_number_of_threads(set_threads: Callable[[int], None]) -> None:
    op = Convolution((1, 1), (1, 1), (1, 1), (1, 1), (1,), "first")
    inputs, results, feeds = graph("float32", [(op, (3, 40, 20, 20), (70, 40, 3, 3))])
    step = sn.function(inputs, results, device="cpu")
    found = []
    for threads in (1, 2, 3):
        set_threads(threads)
        found.append([y.tobytes() for y in step(*feeds)])
    assert found[0] == found[1] == found[2]


def test_bits_do_not_depend_on_the_layout() -> None:
    shapes = [((5, 6, 14, 14), (8, 6, 1, 1), 1), ((3, 4, 9, 9), (4, 1, 3, 3), 4)]
    found = []
    for x, w, groups in [*shapes, ((9, 40, 7, 7), (70, 40, 3, 3), 1)]:
        pads = (w[-1] // 2,) * 2
        found.append((Convolution((1, 1), pads, pads, (1, 1), (groups,), "first"), x, w))
    inputs, first, feeds = graph("float32", found)
    last = []
    for (op, *_), (x, w, y) in zip(found, zip(*[iter(inputs)] * 3, strict=True), strict=True):
        turned = sn.moveaxis(x, 1, -1), w, sn.moveaxis(y, 1, -1)
        *images, dw = all_three(replace(op, layout="last"), *turned)
        last += [*(sn.moveaxis(image, -1, 1) for image in images), dw]
    results = sn.function(inputs, first + last, device="cpu")(*feeds)
    for x, y in zip(results[: len(first)], results[len(first) :], strict=True):
        assert x.tobytes() == y.tobytes()


def test_depthwise_convolutions_of_long_rows_agree() -> None:
    found = []
    for size, kernel, steps in (
        ((9, 60), (3, 5), (1, 1)),
        ((50,), (7,), (1,)),
        ((150,), (9,), (1,)),  # more vectors than a tile of many outputs has
        ((5, 64), (2, 2), (1, 2)),
    ):
        pads = tuple(k // 2 for k in kernel)
        op = Convolution(steps, pads, pads, (1,) * len(size), (5,), "first")
        found.append((op, (2, 5, *size), (5, 1, *kernel)))
    inputs, results, feeds = graph("float32", found)
    compiled = sn.function(inputs, results, device="cpu")(*feeds)
    exact = sn.function(inputs, results, device="numpy")(*feeds)
    for got, wanted in zip(compiled, exact, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5 * float(np.abs(wanted).max()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_of_strides_in_vectors_of_pixels_agree(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of few channels: a remainder of the pixels at a time, also those that no element reaches."""
    monkeypatch.setattr(boxes, "BOX", 4000)  # so that there are bands of rows
    found = []
    for x, w, steps, low, dilations in (
        ((2, 3, 46, 60), (20, 3, 7, 7), (2, 2), (3, 3), (1, 1)),
        ((1, 8, 9, 50), (6, 4, 2, 2), (3, 4), (0, 1), (1, 1)),
        ((3, 1, 95), (7, 1, 5), (2,), (2,), (3,)),
        ((1, 2, 6, 5, 48), (4, 2, 3, 1, 4), (2, 1, 3), (1, 0, 2), (1, 1, 2)),
        ((2, 1, 4, 1, 32), (4, 1, 1, 1, 3), (1, 2, 1), (0, 2, 0), (1, 1, 1)),  # no pixel in one
    ):
        op = Convolution(steps, low, low, dilations, (x[1] // w[1],), "first")
        gradient = op._as(ConvolutionInput, x[2:])
        sizes = plan.geometry(gradient, x[1] // w[1], op._result(x, w), w, x)
        assert plan.cut(gradient, sizes, getattr(sn, dtype)).planes
        found.append((op, x, w))
    agree(dtype, found)


@pytest.mark.slow
def test_a_remainder_without_pixels_divides_by_nothing() -> None:
    """By how many rows it has beside each other, which is 0: a checked division would trap."""
    code = """
import numpy as np, staticnet as sn
x = sn.placeholder((2, 1, 4, 1, 32))
w = sn.constant(np.ones((4, 1, 1, 1, 3), np.float32))
y = sn.nn.functional.conv3d(x, w, stride=(1, 2, 1), padding=(0, 2, 0))
f = sn.function(x, sn.grad(sn.sum(y * y) / 2, [x]), device="cpu")
print(f(np.ones(x.shape, np.float32))[0].sum())
"""
    cc = find_compiler()
    if cc is None or "clang" in cc.version:
        pytest.skip("needs gcc")
    checked = "-fsanitize=integer-divide-by-zero", "-fsanitize-undefined-trap-on-error"
    environment = {**os.environ, "CC": shlex.join([*cc.command, *checked])}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "8640.0\n"), done.stderr


def test_sums_of_nothing_are_zero() -> None:
    op = Convolution((1,), (0,), (0,), (1,), (1,), "first")
    inputs, results, feeds = graph(
        "float32", [(op, (2, 0, 5), (3, 0, 2)), (op, (0, 2, 5), (3, 2, 2))]
    )
    y, _, _, _, _, w = sn.function(inputs, results, device="cpu")(*feeds)
    assert (y.shape, w.shape) == ((2, 3, 4), (3, 2, 2))
    assert not y.any()
    assert not w.any()


@pytest.mark.parametrize("height", [11, "h"])
def test_the_certificate_counts_the_scratch_memory(height: Any) -> None:
    x, w = sn.placeholder(("n", 6, height, 9)), sn.placeholder((8, 3, 3, 2))
    y = apply(Convolution((2, 1), (1, 0), (1, 2), (1, 2), (2,), "first"), x, w)
    step = sn.function([x, w], [y, *sn.grad(sn.sum(y * y), [x, w])], device="numpy")
    certificate = step.memory_analysis()
    for n, h in ((1, 11), (7, 11), (200, 11), (3, 64)):
        dims = {"n": n} if height == 11 else {"n": n, "h": h}
        memory = step.memory_analysis(**dims)
        assert certificate.arena.at(**dims) == memory.arena
        slack = substitute(certificate.arena.slack, dims)
        least = min(max(int(substitute(t, dims)) for t in c) for c in certificate.arena.cases)
        assert least <= memory.arena <= least + slack


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_depthwise_convolutions_of_rows_in_vectors_agree(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of less and more than a vector, which the next rows write after; and bands of rows."""
    monkeypatch.setattr(boxes, "BOX", 400)
    monkeypatch.setattr(planes, "LONG_ROW", 3)
    found = []
    for size, k, low, high in (
        ((9, 3), 3, 1, 1),
        ((6, 17), 5, 2, 2),
        ((7, 32), 3, 0, 2),
        ((10, 41), 7, 3, 3),
        ((1, 16), 3, 1, 1),
    ):
        op = Convolution((1, 1), (low, low), (high, high), (1, 1), (4,), "first")
        found.append((op, (2, 4, *size), (4, 1, k, k)))
    agree(dtype, found)
