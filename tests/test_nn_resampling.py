"""Interpolation, pixel shuffles, patches, sampling at grids and unpooling against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from against_torch import Case, agree

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, ShapeError

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
F = torch.nn.functional
COMPILES = True
pytestmark = pytest.mark.filterwarnings("ignore:.*affine_grid behavior has changed")
rng = np.random.default_rng(0)
SHAPES = {1: (2, 3, 7), 2: (2, 2, 5, 6), 3: (1, 2, 4, 3, 5)}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def case(name: str, x: Any, *args: Any, second: bool = True, **options: Any) -> Case:
    return Case(
        f"{name} {x.shape} {args} {options}",
        lambda x: getattr(nn.functional, name)(x, *args, **options),
        lambda x: getattr(F, name)(x, *args, **options),
        (x,),
        second,
    )


def interpolate_cases() -> list[Case]:
    made = []
    for n, shape in SHAPES.items():
        how: list[dict[str, Any]] = [{"scale_factor": s} for s in (2, 3.0, 0.5, 1.7, 0.63)]
        how += [{"size": s} for s in (1, 3, 9, (8, 2, 5)[:n])]
        how += [{"scale_factor": 1.7, "recompute_scale_factor": True}]
        for mode in ("nearest", "nearest-exact", "area", LINEAR[n], *["bicubic"] * (n == 2)):
            for aligned, size in itertools.product((None, False, True), how):
                if aligned is not None and mode not in (LINEAR[n], "bicubic"):
                    continue
                x = rng.normal(size=shape)
                made.append(case("interpolate", x, mode=mode, align_corners=aligned, **size))
        # these keep an axis' size, or double it; of what is left out PyTorch's gradient is not that
        # of its result
        for mode in ("nearest-exact", LINEAR[n], *["nearest"] * (n == 2)):
            for factor in (1.1, 2.15):
                made.append(case("interpolate", rng.normal(size=shape), None, factor, mode))
    for mode, aligned in itertools.product(("bilinear", "bicubic"), (None, True)):
        for size in ({"size": (3, 4)}, {"size": (9, 2)}, {"scale_factor": (0.4, 1.5)}):
            x = rng.normal(size=(1, 2, 9, 11))
            options = {"mode": mode, "align_corners": aligned, "antialias": True}
            made.append(case("interpolate", x, **options, **size))
    return made


def shuffling_cases() -> list[Case]:
    made = [case("pixel_shuffle", rng.normal(size=s), 2) for s in [(2, 8, 3, 2), (4, 3, 2)]]
    made += [case("pixel_unshuffle", rng.normal(size=s), 3) for s in [(2, 2, 3, 6), (1, 3, 3)]]
    made += [case("channel_shuffle", rng.normal(size=s), 3) for s in [(2, 6, 3, 2), (2, 9, 4)]]
    options = itertools.product((2, (3, 2)), (1, 2), (0, 1), (1, (2, 1), 3))
    for kernel, dilation, padding, stride in options:
        x = rng.normal(size=(2, 3, 6, 5))
        made.append(case("unfold", x, kernel, dilation, padding, stride))
        y = F.unfold(torch.tensor(x), kernel, dilation, padding, stride).numpy()
        made.append(case("fold", y * 1.0, (6, 5), kernel, dilation, padding, stride))
    made.append(case("unfold", rng.normal(size=(2, 3, 6, 4)), (3, 2), stride=(3, 2)))
    made.append(case("fold", rng.normal(size=(2, 12, 6)), (6, 6), (2, 3), stride=(2, 3)))
    made += [
        case("unfold", rng.normal(size=(3, 4, 4)), 3),
        case("unfold", np.ones((0, 3, 4, 4)), 3),
    ]
    made.append(case("fold", rng.normal(size=(8, 9)), 4, 2))
    return made


def grid_cases() -> list[Case]:
    made = []
    modes = {2: ("bilinear", "nearest", "bicubic"), 3: ("bilinear", "nearest")}
    paddings = ("zeros", "border", "reflection")
    for n in (2, 3):
        for mode, padding, aligned in itertools.product(modes[n], paddings, (None, False, True)):
            x = rng.normal(size=SHAPES[n])
            grid = rng.uniform(-1.6, 1.6, (SHAPES[n][0], *(3, 4, 2)[:n], n))
            args = (mode, padding, aligned)
            made.append(
                Case(
                    f"grid_sample {n} {args}",
                    lambda x, g, a=args: nn.functional.grid_sample(x, g, *a),
                    lambda x, g, a=args: F.grid_sample(x, g, *a),
                    (x, grid),
                    mode != "nearest" and n == 2 and mode != "bicubic",
                )
            )
        for aligned in (None, True):
            size = (2, 3, 4, 5, 3)[: n + 2]
            made.append(
                case("affine_grid", rng.normal(size=(2, n, n + 1)), size, align_corners=aligned)
            )
    made.append(case("affine_grid", rng.normal(size=(1, 2, 3)), (1, 1, 1, 4), align_corners=True))
    return made


def unpool(functions: Any, n: int, args: tuple[Any, ...], size: Any, x: Any) -> Any:
    """The squares of the greatest elements, back at their places."""
    y, places = getattr(functions, f"max_pool{n}d")(x, *args, return_indices=True)
    return getattr(functions, f"max_unpool{n}d")(y * y, places, *args, output_size=size)


def unpool_cases() -> list[Case]:
    made = []
    for n, args in itertools.product(SHAPES, [(2,), (2, 3), (3, 4, 1)]):
        even = (2, 2, 6, 4, 6)[: n + 2]
        for shape, size in [(SHAPES[n], SHAPES[n]), (SHAPES[n][1:], SHAPES[n][2:]), (even, None)]:
            if size is None and args != (2,):
                continue
            made.append(
                Case(
                    f"max_unpool{n}d {args} {size}",
                    lambda x, a=(n, args, size): unpool(nn.functional, *a, x),
                    lambda x, a=(n, args, size): unpool(F, *a, x),
                    (rng.normal(size=shape),),
                )
            )
    return made


CASES = {
    "interpolate": interpolate_cases,
    "shuffling": shuffling_cases,
    "grid": grid_cases,
    "unpool": unpool_cases,
}


@pytest.mark.parametrize("kind", CASES)
def test_resampling_matches_pytorch(kind: str) -> None:
    agree(CASES[kind]()[::2], torch)


@pytest.mark.parametrize("kind", CASES)
def test_resampling_matches_pytorch_compiled(kind: str) -> None:
    agree(CASES[kind]()[:: 23 if kind == "grid" else 17], torch, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_all_resampling_matches_pytorch(kind: str) -> None:
    cases = CASES[kind]()
    agree(cases, torch)
    for first in range(0, len(cases), 30):
        agree(cases[first : first + 30], torch, "cpu")


def compute(f: Any, *arrays: Any, device: str = "numpy") -> Any:
    nodes = [sn.placeholder(a.shape, str(a.dtype)) for a in arrays]
    return sn.function(nodes, f(*nodes), device=device)(*arrays)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_places_that_windows_share_are_set_once(device: str) -> None:
    """The derivative is that of what stands there; PyTorch gives it to each of the windows."""
    x = np.array([[[1.0, 3.0, 2.0, 0.0]]])

    def f(x: Any) -> Any:
        y = unpool(nn.functional, 1, (2, 1), (4,), x)
        return [y, *sn.grad(sn.sum(y), x)]

    y, g = compute(f, x, device=device)
    np.testing.assert_array_equal(y, [[[0, 9, 4, 0]]])
    np.testing.assert_array_equal(g, [[[0, 6, 4, 0]]])


def test_grids_beyond_all_numbers_are_outside() -> None:
    grid = np.full((1, 1, 3, 2), 0.1)
    grid[0, 0, 1, 0], grid[0, 0, 2, 1] = np.nan, np.inf
    x = rng.normal(size=(1, 2, 3, 3))
    y = compute(lambda x, g: nn.functional.grid_sample(x, g), x, grid)
    right = F.grid_sample(torch.tensor(x), torch.tensor(grid[:, :, :1]), align_corners=False)
    np.testing.assert_allclose(y[..., :1], right.numpy(), 1e-12)
    np.testing.assert_array_equal(y[..., 1:], 0)  # as PyTorch on a GPU; its CPU's are NaN


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_symbolic_axes_are_repeated_and_shuffled(device: str) -> None:
    x = sn.placeholder(("n", 4, "h", "w"))
    y = nn.functional.interpolate(nn.functional.pixel_shuffle(x, 2), scale_factor=2)
    f = sn.function(x, [y, *sn.grad(sn.sum(y * y), x)], device=device)
    for shape in [(2, 4, 3, 2), (1, 4, 1, 5)]:
        feed = rng.normal(size=shape).astype("f")
        t = torch.tensor(feed, requires_grad=True)
        right = F.interpolate(F.pixel_shuffle(t, 2), scale_factor=2)
        (right * right).sum().backward()
        for value, wanted in zip(f(feed), (right, t.grad), strict=True):
            np.testing.assert_allclose(value, wanted.numpy(force=True), 1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_are_kept_and_rounded_once(dtype: str) -> None:
    x = sn.placeholder((1, 2, 4, 5), dtype)
    feed = rng.normal(size=x.shape).astype(x.dtype)
    y = sn.function(x, nn.functional.interpolate(x, (7, 3), mode="bilinear"))(feed)
    wide = torch.tensor(feed.astype(np.float64))
    right = F.interpolate(wide, (7, 3), mode="bilinear").numpy()
    assert y.dtype == x.dtype
    eps = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6}[dtype]
    np.testing.assert_allclose(y.astype(np.float64), right, eps, eps)


def test_layers_match_pytorch() -> None:
    x = rng.normal(size=(2, 8, 4, 6))
    made = [
        ("Upsample", (), {"scale_factor": 2}, x),
        ("Upsample", ((3, 7), None, "bilinear", True), {}, x),
        ("UpsamplingNearest2d", (), {"scale_factor": 2}, x),
        ("UpsamplingBilinear2d", ((5, 9),), {}, x),
        ("PixelShuffle", (2,), {}, x),
        ("PixelUnshuffle", (2,), {}, x),
        ("ChannelShuffle", (4,), {}, x),
        ("Unfold", (2,), {"padding": 1}, x),
        ("Fold", ((3, 4), 2), {}, rng.normal(size=(2, 8, 6))),
    ]
    cases = [
        Case(name, getattr(nn, name)(*a, **k), getattr(torch.nn, name)(*a, **k), (x,))
        for name, a, k, x in made
    ]
    agree(cases, torch)


X = (2, 3, 6, 5)
WRONG: list[tuple[str, tuple[int, ...], tuple[Any, ...], type[Exception], str]] = [
    ("interpolate", X, (), ArgumentError, "give just one of size and scale_factor"),
    ("interpolate", X, (3, 2.0), ArgumentError, "give just one of size and scale_factor"),
    ("interpolate", X, (3, None, "cubic"), ArgumentError, "mode must be one of 'nearest'"),
    ("interpolate", X, (3, None, "linear"), ShapeError, "the mode 'linear' takes 3 axes"),
    ("interpolate", X, (3, None, "nearest", True), ArgumentError, "align_corners is for linear"),
    ("interpolate", X, ((3, 2, 1),), ArgumentError, "size must be one or 2"),
    ("interpolate", X, (0,), ShapeError, "cannot become one of 0"),
    ("pixel_shuffle", X, (2,), ShapeError, "3 channels are no multiple of 4"),
    ("pixel_unshuffle", X, (2,), ShapeError, "5 columns are no multiple of 2"),
    ("channel_shuffle", X, (2,), ShapeError, "3 channels are no multiple of 2"),
    ("unfold", X, (7,), ShapeError, "are larger than"),
    ("unfold", X, (2, 0), ArgumentError, "dilation must be an int or 2 ints of at least 1"),
    ("fold", (2, 8, 5), ((3, 4), 2), ShapeError, "has 2 x 3 patches, not 5"),
    ("affine_grid", (2, 2, 2), ((2, 3, 4, 5),), ShapeError, "takes theta"),
]


@pytest.mark.parametrize(("name", "shape", "args", "error", "message"), WRONG)
def test_wrong_arguments_are_named(
    name: str, shape: tuple[int, ...], args: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(nn.functional, name)(sn.placeholder(shape), *args)


def test_wrong_grids_and_places_are_named() -> None:
    x = sn.placeholder((2, 3, 6, 5))
    with pytest.raises(ShapeError, match="takes x .* and grid"):
        nn.functional.grid_sample(x, sn.placeholder((2, 3, 4, 3)))
    with pytest.raises(ShapeError, match="indices .* must have x's shape"):
        nn.functional.max_unpool2d(x, sn.placeholder((2, 3, 6, 4), "int64"), 2)
    with pytest.raises(ArgumentError, match="is a stride or more from"):
        nn.functional.max_unpool2d(x, sn.placeholder(x.shape, "int64"), 2, output_size=(20, 10))
    with pytest.raises(ShapeError, match="a symbolic axis takes the mode 'nearest'"):
        nn.functional.interpolate(sn.placeholder((2, 3, "w")), 4)
