"""Pooling against PyTorch in float64: every option, values, places and derivatives."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from against_torch import Case, agree

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, ShapeError

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
F = torch.nn.functional
COMPILES = True
rng = np.random.default_rng(0)
SHAPES = {1: (2, 3, 11), 2: (2, 2, 7, 9), 3: (1, 2, 5, 6, 7)}
KERNELS: dict[int, list[Any]] = {1: [2, 3, (4,)], 2: [2, 3, (3, 2)], 3: [2, (3, 2, 1)]}
STRIDES = (None, 1, 2, 3)


def distinct(*shape: int) -> Any:
    """A random order of distinct numbers: which one is greatest does not hang on rounding."""
    n = int(np.prod(shape))
    return (rng.permutation(n) * 0.25 - n / 8).reshape(shape)


def case(name: str, x: Any, *args: Any, second: bool = True, **options: Any) -> Case:
    return Case(
        f"{name} {x.shape} {args} {options}",
        lambda x: getattr(nn.functional, name)(x, *args, **options),
        lambda x: getattr(F, name)(x, *args, **options),
        (x,),
        second,
    )


def fits(kernel: Any, dilation: int, padding: int, shape: tuple[int, ...]) -> bool:
    """What PyTorch allows: a window that fits, and padding of at most half of one."""
    each = kernel if isinstance(kernel, tuple) else (kernel,)
    reach = [dilation * (k - 1) + 1 for k in each]
    return 2 * padding <= min(reach) and max(reach) <= min(shape[2:]) + 2 * padding


def max_cases() -> list[Case]:
    made = []
    for n, shape in SHAPES.items():
        options = itertools.product(KERNELS[n], STRIDES, (0, 1), (1, 2), (False, True))
        for kernel, stride, padding, dilation, ceil in options:
            if n == 3 and (stride, ceil) in {(1, True), (3, False), (None, True)}:
                continue
            if fits(kernel, dilation, padding, shape):
                x = distinct(*shape)
                args = (kernel, stride, padding, dilation, ceil, True)
                made.append(case(f"max_pool{n}d", x, *args))
        made.append(case(f"max_pool{n}d", distinct(*shape[1:]), 2))
        made.append(case(f"max_pool{n}d", distinct(0, *shape[1:]), 2))
    made.append(case("max_pool2d", distinct(2, 2, 7, 9), (3, 2), (1, 2), (1, 0), (2, 1)))
    return made


def avg_cases() -> list[Case]:
    made = []
    for n, shape in SHAPES.items():
        options = itertools.product(KERNELS[n], STRIDES, (0, 1), (False, True), (False, True))
        for kernel, stride, padding, ceil, count in options:
            if n == 3 and (stride, ceil) in {(1, True), (3, False), (None, True)}:
                continue
            if fits(kernel, 1, padding, shape):
                x = rng.normal(size=shape)
                made.append(case(f"avg_pool{n}d", x, kernel, stride, padding, ceil, count))
        made.append(case(f"avg_pool{n}d", rng.normal(size=shape[1:]), 2))
        made.append(case(f"avg_pool{n}d", rng.normal(size=(0, *shape[1:])), 2))
        if n > 1:
            made.append(case(f"avg_pool{n}d", rng.normal(size=shape), 2, divisor_override=3))
    return made


def lp_cases() -> list[Case]:
    return [
        case(f"lp_pool{n}d", rng.uniform(0.1, 2, SHAPES[n]), norm, kernel, stride, ceil)
        for n, norm, kernel in itertools.product((1, 2, 3), (1, 2, 3.5), (2, 3))
        for stride, ceil in [(None, False), (2, True)]
    ]


def adaptive_cases() -> list[Case]:
    sizes: dict[int, list[Any]] = {
        1: [1, 3, 4, 11, 13, (5,)],
        2: [1, 2, 3, 8, (7, 3), (None, 1), (1, None), (5, 4), (10, 12)],
        3: [1, 2, (5, 3, 7), (None, 1, 4), (1, 1, 1)],
    }
    made = []
    for n, shape in SHAPES.items():
        for size in sizes[n]:
            made.append(case(f"adaptive_avg_pool{n}d", rng.normal(size=shape), size))
            made.append(case(f"adaptive_max_pool{n}d", distinct(*shape), size, True))
        made.append(case(f"adaptive_avg_pool{n}d", rng.normal(size=shape[1:]), 2))
        made.append(case(f"adaptive_max_pool{n}d", distinct(*shape[1:]), 2, True))
    return made


CASES = {"max": max_cases, "avg": avg_cases, "lp": lp_cases, "adaptive": adaptive_cases}


@pytest.mark.parametrize("kind", CASES)
def test_pooling_matches_pytorch(kind: str) -> None:
    agree(CASES[kind]()[::3], torch)


@pytest.mark.parametrize("kind", CASES)
def test_pooling_matches_pytorch_compiled(kind: str) -> None:
    agree(CASES[kind]()[::13], torch, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_all_pooling_matches_pytorch(kind: str) -> None:
    cases = CASES[kind]()
    agree(cases, torch)
    for first in range(0, len(cases), 40):
        agree(cases[first : first + 40], torch, "cpu")


def compute(f: Any, *arrays: Any, device: str = "numpy") -> Any:
    nodes = [sn.placeholder(a.shape, str(a.dtype)) for a in arrays]
    return sn.function(nodes, f(*nodes), device=device)(*arrays)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_nan_and_ties_are_pytorchs(device: str) -> None:
    x = np.zeros((1, 1, 4, 6))
    x[0, 0, 0, 1] = x[0, 0, 1, 0] = np.nan
    x[0, 0, 2, 3] = x[0, 0, 3, 2] = 5
    x[0, 0, :2, 4:] = -np.inf

    def pool(x: Any) -> Any:
        y, places = nn.functional.max_pool2d(x, 2, return_indices=True)
        return [y, places, *sn.grad(sn.sum(y * y), x)]

    mine = compute(pool, x, device=device)
    t = torch.tensor(x, requires_grad=True)
    y, places = F.max_pool2d(t, 2, return_indices=True)
    (y * y).sum().backward()
    for value, right in zip(mine, (y, places, t.grad), strict=True):
        np.testing.assert_array_equal(value, right.numpy(force=True))


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32", "int64", "uint8"])
def test_dtypes(dtype: str, device: str) -> None:
    x = sn.placeholder((2, 3, 6, 5), dtype)
    feed = (rng.normal(size=(2, 3, 6, 5)) * 4).astype(x.dtype)
    y = sn.function(x, nn.functional.max_pool2d(x, 3, 2, 1), device=device)(feed)
    wide = feed.astype(np.float64)
    right = F.max_pool2d(torch.tensor(wide), 3, 2, 1).numpy()
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.astype(np.float64), right)
    if x.dtype.kind in "iu":
        with pytest.raises(DTypeError, match="takes floating-point operands"):
            nn.functional.avg_pool2d(x, 2)
        return
    mean = nn.functional.avg_pool2d(x, 3, 2, 1)
    grads = sn.grad(sn.sum(sn.astype(mean, "float32")), x)
    values = sn.function(x, [mean, *grads], device=device)(feed)
    t = torch.tensor(wide, requires_grad=True)
    right = F.avg_pool2d(t, 3, 2, 1)
    right.sum().backward()
    eps = 1e-6 if dtype == "float32" else 2e-3 if dtype == "float16" else 1e-2
    for value, wanted in zip(values, (right, t.grad), strict=True):
        assert value.dtype == x.dtype
        np.testing.assert_allclose(value.astype(np.float64), wanted.numpy(force=True), eps, eps)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_symbolic_axes(device: str) -> None:
    x = sn.placeholder(("n", 2, "h", "w"))
    kinds = [
        ("max_pool2d", (3, 2, 1, 1, True)),
        ("avg_pool2d", (3, 2, 1, True, False)),
        ("avg_pool2d", (2,)),
        ("adaptive_avg_pool2d", (1,)),
        ("adaptive_avg_pool2d", ((None, 1),)),
        ("adaptive_max_pool2d", (1,)),
    ]
    made = [getattr(nn.functional, name)(x, *args) for name, args in kinds]
    total = sum(sn.sum(y * y) for y in made)
    f = sn.function(x, [*made, *sn.grad(total, x)], device=device)
    for shape in [(2, 2, 5, 6), (1, 2, 8, 3), (0, 2, 4, 4)]:
        feed = rng.normal(size=shape).astype("f")
        t = torch.tensor(feed, requires_grad=True)
        right = [
            getattr(F, name)(t, *args) for name, args in kinds if shape[0] or "adaptive" not in name
        ]
        if not shape[0]:
            f(feed)
            continue
        sum((y * y).sum() for y in right).backward()
        for value, wanted in zip(f(feed), [*right, t.grad], strict=True):
            np.testing.assert_allclose(value, wanted.numpy(force=True), 1e-5, 1e-6)


LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("MaxPool", (2,), {}),
    ("MaxPool", (3, 2, 1), {"return_indices": True, "ceil_mode": True}),
    ("AvgPool", (3, 2, 1, True, False), {}),
    ("LPPool", (2, 3), {"ceil_mode": True}),
    ("AdaptiveAvgPool", (2,), {}),
    ("AdaptiveMaxPool", (2,), {"return_indices": True}),
]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_layers_match_pytorch(axes: int) -> None:
    made = [
        Case(
            name,
            getattr(nn, f"{name}{axes}d")(*args, **options),
            getattr(torch.nn, f"{name}{axes}d")(*args, **options),
            (distinct(*SHAPES[axes]) % 7 + 0.5,)
            if name == "LPPool"
            else (distinct(*SHAPES[axes]),),
        )
        for name, args, options in LAYERS
    ]
    agree(made, torch)


def test_the_stride_of_a_layer_is_the_size_of_its_windows() -> None:
    for name in ("MaxPool2d", "AvgPool2d"):
        mine, theirs = getattr(nn, name), getattr(torch.nn, name)
        for args in [((2, 3),), (3, 1)]:
            assert mine(*args).stride == theirs(*args).stride


def test_lp_pool_of_zeros_has_a_derivative() -> None:
    def pool(x: Any) -> Any:
        y = nn.functional.lp_pool1d(x, 2, 2)
        return [y, *sn.grad(sn.sum(y), x)]

    for value in compute(pool, np.zeros((1, 1, 4))):
        np.testing.assert_array_equal(value, np.zeros(value.shape))


@pytest.mark.parametrize(
    ("f", "args", "error", "message"),
    [
        ("max_pool2d", ((2, 2, 2),), ArgumentError, "kernel_size must be an int or 2 ints"),
        (
            "max_pool2d",
            (0,),
            ArgumentError,
            "kernel_size must be an int or 2 ints of at least 1, not 0",
        ),
        ("max_pool2d", (2, 0), ArgumentError, "stride must be an int or 2 ints of at least 1"),
        ("max_pool2d", (2, 2, 2), ArgumentError, "padding 2 must be at most half"),
        ("max_pool2d", (2, 2, 0, 1, 1), ArgumentError, "ceil_mode must be True or False"),
        ("max_pool2d", (7,), ShapeError, "are larger than"),
        ("max_pool1d", (2,), ShapeError, "x must have 1 axes after"),
        ("avg_pool2d", (2, 2, 0, False, True, 0), ArgumentError, "divisor_override must not be 0"),
        ("adaptive_avg_pool2d", ((1, 2, 3),), ArgumentError, "output_size must be an int or 2"),
        ("adaptive_max_pool2d", (0,), ArgumentError, "output_size must be an int"),
        ("lp_pool2d", ("2", 2), ArgumentError, "norm_type must be a number"),
    ],
)
def test_wrong_arguments_are_named(f: str, args: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        getattr(nn.functional, f)(sn.placeholder((2, 3, 6, 5)), *args)


def test_a_symbolic_axis_has_one_window_or_all() -> None:
    x = sn.placeholder((2, 3, "w"))
    with pytest.raises(ShapeError, match="a symbolic axis of w can have 1 window"):
        nn.functional.adaptive_avg_pool1d(x, 2)
