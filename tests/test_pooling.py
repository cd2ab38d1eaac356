"""The ops over windows have the same bits on every device; errors say which window does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everywhere import DEVICES, grad_of, on
from gpu_cases import lower

import staticnet as sn
from staticnet import nn
from staticnet.backends.cuda import CudaBackend
from staticnet.backends.cuda.nvrtc import OPTIONS, find_nvrtc
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import Compilation
from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dtype import as_dtype
from staticnet.ops.base import apply, items
from staticnet.plan.planner import make_plan
from staticnet.spatial.pooling import MaxPool, MaxPoolGradient, WindowSpread, WindowSum

COMPILES = True
# kernel, strides, low, high, dilations, and the spatial sizes
WINDOWS: list[Any] = [
    ((2, 2), (2, 2), (0, 0), (0, 0), (1, 1), (8, 9)),
    ((3, 2), (1, 2), (1, 1), (1, 0), (1, 1), (7, 6)),
    ((2,), (1,), (1,), (1,), (2,), (300,)),  # longer than a strip
    ((2, 3, 2), (2, 1, 2), (0, 1, 1), (1, 1, 1), (1, 2, 1), (4, 6, 5)),
    ((3,), (2,), (0,), (2,), (1,), (8,)),  # the last window is rounded up
]
SLOW = pytest.mark.slow
DTYPES = [
    "float32",
    "int32",
    *(pytest.param(name, marks=SLOW) for name in ("float64", "float16", "bfloat16")),
]


def operands(dtype: str) -> list[Any]:
    """An array a geometry and layout: whole numbers, so that many are equal, and a NaN."""
    rng = np.random.default_rng(3)
    made = []
    for layout in ("first", "last"):
        for *_, size in WINDOWS:
            shape = (2, 3, *size) if layout == "first" else (2, *size, 3)
            x = rng.integers(-4, 4, shape).astype(as_dtype(dtype))
            if dtype != "int32":
                x.reshape(-1)[7] = np.nan
            made.append(x)
    return made


def pooled(*xs: Any) -> list[Any]:
    """All four ops on each array, the sums without the NaN."""
    found = []
    for i, x in enumerate(xs):
        *windows, size = WINDOWS[i % len(WINDOWS)]
        layout = "first" if i < len(WINDOWS) else "last"
        y, places = items(apply(MaxPool(*windows, layout), x))
        found += [y, places]
        if str(x.dtype) == "int32":
            continue
        total = apply(WindowSum(*windows, layout), sn.where(x == x, x * 0.1, 0))
        g = sn.astype(total, "float64" if str(x.dtype) == "float64" else "float32") * 0.3
        gradient = MaxPoolGradient(*windows, layout, size)
        numbers = items(apply(MaxPool(*windows, layout, numbered=True), x))[1]
        found += [total, numbers, apply(gradient, g, places), apply(gradient, g, numbers)]
        half = sn.astype(g, "bfloat16")
        found += [apply(gradient, half, places), apply(gradient, half, numbers)]
        found.append(apply(WindowSpread(*windows, layout, size), g))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_devices_give_the_same_bits(dtype: str, tmp_path: Path) -> None:
    arrays = operands(dtype)
    wanted = on("numpy", tmp_path, pooled, *arrays)
    for device in DEVICES[1:]:
        for i, (y, right) in enumerate(
            zip(on(device, tmp_path, pooled, *arrays), wanted, strict=True)
        ):
            assert y.dtype == right.dtype, (device, i)
            exact = [np.asarray(a).astype("float64") for a in (y, right)]
            np.testing.assert_array_equal(*exact, err_msg=f"{device} {i}")


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("windows", WINDOWS)
def test_numbers_and_places_say_the_same(windows: Any, layout: str) -> None:
    """Of the gradient's own derivative, too, which gathers by places; of symbolic sizes."""
    *own, size = windows
    shape = (2, 3, *size) if layout == "first" else (2, *size, 3)
    named = tuple(f"s{i}" if d == size[0] else d for i, d in enumerate(shape))
    x, v = sn.placeholder(named, name="x"), sn.placeholder(named, name="v")
    found = []
    for numbered in (False, True):
        op = MaxPool(*own, layout, numbered=numbered)
        y, index = items(apply(op, x))
        g = y * y
        back = MaxPoolGradient(*own, layout, op.spatial_of(x))
        found.append(sn.grad(sn.sum(apply(back, g, index) * v), [x]))
    f = sn.function([x, v], [*found[0], *found[1]], device="numpy", numerics="exact")
    rng = np.random.default_rng(2)
    a, b = f(
        rng.permutation(int(np.prod(shape))).reshape(shape).astype("f"),
        rng.normal(size=shape).astype("f"),
    )
    assert np.abs(a).sum() > 0
    np.testing.assert_array_equal(a, b)


def for_gpu(x: Any, outputs: Any) -> str:
    """The text of a function's graph as a GPU's backend compiles it."""
    graph = sn.function(x, outputs, device="numpy").graph
    return str(Compilation(graph, CudaBackend(), "fast", "float32", (), None).compile({})[0])


def test_a_byte_says_where_a_pool_found_it_if_only_the_gradient_asks() -> None:
    x = sn.placeholder((2, 3, 9, 8), name="x")
    y, index = nn.functional.max_pool2d(x, 3, 2, 1, return_indices=True)
    assert "u8[2,3,5,4]" in for_gpu(x, sn.grad(sn.sum(y * y), [x]))
    assert "u8[" not in for_gpu(x, [index, *sn.grad(sn.sum(y * y), [x])])
    wide = nn.functional.max_pool1d(sn.reshape(x, (2, 3, 72)), 70, 1)
    assert "u8[" in for_gpu(x, sn.grad(sn.sum(wide), [x]))
    long = nn.functional.max_pool1d(sn.reshape(x, (1, 1, 432)), 257, 1)
    assert "u8[" not in for_gpu(x, sn.grad(sn.sum(long), [x]))
    with pytest.raises(ArgumentError, match="whose numbers are no uint8"):
        MaxPool((257,), (1,), (0,), (0,), (1,), "first", numbered=True)


@pytest.mark.parametrize("architecture", [pytest.param("sm_80", marks=SLOW), "sm_90"])
def test_pooling_compiles_for_a_gpu(architecture: str) -> None:
    nvrtc: Any = find_nvrtc()
    if nvrtc is None:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc")
    dtype = "float16" if architecture == "sm_80" else "float32"
    xs = [sn.placeholder(x.shape, dtype) for x in operands(dtype)]
    program = write_cuda_program(make_plan(lower(sn.function(xs, pooled(*xs), device="numpy"))))
    assert nvrtc.compile(program.source, architecture, OPTIONS).startswith(b"\x7fELF")


def composed(x: Any) -> Any:
    """A number that depends on a bit of everything that is composed."""
    F = nn.functional
    grid = F.affine_grid(x[:, 0, :2, :3], (2, 4, 3, 2))
    parts = [
        F.pad(F.pad(x, (1, 2, -1, 1), "reflect"), (1, 1), "circular"),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        F.adaptive_avg_pool2d(x, (4, 3)),
        F.adaptive_max_pool2d(x, (4, 3)),
        F.interpolate(x, (3, 8), mode="bicubic"),
        F.interpolate(x, (3, 4), mode="bilinear", antialias=True),
        F.fold(F.unfold(x, 2, padding=1), (6, 5), 2, padding=1),
        F.pixel_shuffle(x, 2),
        F.grid_sample(x, grid, padding_mode="border"),
        F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(6, 5)),
    ]
    return sum(sn.sum(y * y) for y in parts)


@pytest.mark.parametrize("device", ["cpu", "dynamic", pytest.param("cuda", marks=SLOW)])
def test_compositions_agree_on_all_devices(device: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 5))
    wanted = on("numpy", tmp_path, grad_of(composed), x)
    for y, right in zip(on(device, tmp_path, grad_of(composed), x), wanted, strict=True):
        np.testing.assert_allclose(y, right, 1e-11, 1e-11)


PLAIN = ((2,), (2,), (0,), (0,), (1,), "first")


def test_windows_that_do_not_fit_are_named() -> None:
    x = sn.placeholder((2, 3, 5))
    with pytest.raises(ArgumentError, match="strides must be 1 ints of at least 1"):
        MaxPool((2,), (0,), (0,), (0,), (1,), "first")
    with pytest.raises(ArgumentError, match="layout must be one of"):
        WindowSum(*PLAIN[:-1], "middle")
    with pytest.raises(ArgumentError, match="1 to 3 axes, not 4"):
        WindowSum(*((1,) * 4 for _ in range(5)), "first")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="takes 1 axes between or after examples and channels"):
        apply(MaxPool(*PLAIN), sn.placeholder((2, 3)))
    for low, high in [(2, 0), (0, 3)]:
        with pytest.raises(ShapeError, match="a window of axis 0 lies in the padding alone"):
            apply(MaxPool((2,), (2,), (low,), (high,), (1,), "first"), x)
    with pytest.raises(ShapeError, match=r"\[6\] has \[3\] windows, not \[5\]"):
        apply(WindowSpread(*PLAIN, (6,)), x)
    with pytest.raises(DTypeError, match="adds up in at least 32 bits"):
        apply(WindowSpread(*PLAIN, (10,)), sn.placeholder((2, 3, 5), "float16"))


def test_text_parses_back() -> None:
    x = sn.placeholder(("n", 3, "w"))
    y = nn.functional.max_pool1d(x, 3, 2, 1, ceil_mode=True)
    graph = sn.Graph("pool", [x], [y, *sn.grad(sn.sum(y), x)])
    assert sn.parse(str(graph)) is graph
