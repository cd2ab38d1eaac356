"""Padding by constants, mirrors, edges and circles against PyTorch in float64."""

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
rng = np.random.default_rng(0)
MODES = ("constant", "reflect", "replicate", "circular")
LAYERS = [
    (f"{kind}Pad{n}d", n)
    for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular")
    for n in (1, 2, 3)
]


def case(mode: str, shape: tuple[int, ...], widths: tuple[int, ...], **options: Any) -> Case:
    return Case(
        f"{mode} {shape} {widths} {options}",
        lambda x: nn.functional.pad(x, widths, mode, **options),
        lambda x: F.pad(x, widths, mode, **options),
        (rng.normal(size=shape),),
    )


def cases() -> list[Case]:
    made = [
        case(mode, shape, widths)
        for mode, shape in itertools.product(MODES, [(2, 5), (1, 2, 4), (0, 2, 4)])
        for widths in [(2, 1), (0, 3), (-1, 2), (2, -1), (-1, -2), (0, 0), (-2, -1)]
    ]
    made += [
        case(mode, shape, widths)
        for mode, shape in itertools.product(MODES, [(2, 4, 3), (2, 1, 4, 5)])
        for widths in [(1, 2, 3, 0), (-1, 2, 0, -2), (0, 0, 2, 1)]
    ]
    made += [case(mode, (1, 2, 3, 4, 3), (1, 2, 3, 0, 2, 1)) for mode in MODES]
    made += [case("constant", (3, 4), w, value=1.5) for w in [(1,) * 4, (2, 0), (-1, -3), ()]]
    made += [case("constant", (2, 3, 2), (1, 0, 0, 2, 3, -1), value=-2)]
    return made


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_pad_matches_pytorch(device: str) -> None:
    agree(cases(), torch, device)


def test_layers_match_pytorch() -> None:
    made = []
    for name, n in LAYERS:
        for padding in (1, tuple(range(2 * n))[::-1] if n < 3 else (1, 0, 2, 1, 0, 1)):
            extra = (0.5,) if name.startswith("Constant") else ()
            shape = (2, 3, 6, 5, 4)[: n + 2]
            mine = getattr(nn, name)(padding, *extra)
            theirs = getattr(torch.nn, name)(padding, *extra)
            assert repr(mine) == repr(theirs)
            made += [Case(name, mine, theirs, (rng.normal(size=s),)) for s in (shape, shape[1:])]
    agree(made, torch)


@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8", "float16", "bfloat16", "float32"])
@pytest.mark.parametrize("mode", MODES)
def test_pad_keeps_the_dtype(mode: str, dtype: str) -> None:
    x = sn.placeholder((2, 3), dtype)
    feed = (rng.normal(size=(2, 3)) * 3).astype(x.dtype)
    y = sn.function(x, nn.functional.pad(x, (2, 1), mode))(feed)
    numpy_mode = dict(zip(MODES, ("constant", "reflect", "edge", "wrap"), strict=True))[mode]
    np.testing.assert_array_equal(y, np.pad(feed, ((0, 0), (2, 1)), numpy_mode))
    assert y.dtype == x.dtype


@pytest.mark.parametrize("mode", MODES)
def test_pad_of_a_symbolic_axis(mode: str) -> None:
    x = sn.placeholder(("n", "c", "h", 4))
    y = nn.functional.pad(x, (1, 2, -1, 2), mode)
    f = sn.function(x, [y, *sn.grad(sn.sum(y * y), x)])
    for shape in [(2, 3, 5, 4), (0, 1, 3, 4)]:
        feed = rng.normal(size=shape).astype("f")
        t = torch.tensor(feed, requires_grad=True)
        right = F.pad(t, (1, 2, -1, 2), mode)
        (right * right).sum().backward()
        for mine, theirs in zip(f(feed), (right, t.grad), strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(force=True), 1e-6, 1e-6)
    if mode == "reflect":
        with pytest.raises(ShapeError, match="does not allow .* h = 2"):
            f(np.zeros((1, 1, 2, 4), "f"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((1,),), ArgumentError, "pad must be pairs of widths, not 1"),
        (((1, 1.5),), ArgumentError, "a width of pad must be an int"),
        ((3,), ShapeError, "sequence"),
        (((1, 1) * 3,), ShapeError, "3 pairs of widths for 2 axes"),
        (((1, 1), "mirror"), ArgumentError, "mode must be one of 'constant'"),
        (((1, 1), "reflect", 1.0), ArgumentError, "is for the mode 'constant'"),
        (((-2, -2),), ShapeError, r"takes more than axis 1 of 3 has"),
        (((3, 0), "reflect"), ShapeError, "axis 1 of 3 is too short for the mode 'reflect'"),
        (((0, 4), "circular"), ShapeError, "axis 1 of 3 is too short for the mode 'circular'"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.functional.pad(sn.placeholder((2, 3)), *arguments)


def test_layers_say_what_is_wrong() -> None:
    with pytest.raises(ArgumentError, match="ZeroPad2d: padding must be an int or 4 of them"):
        nn.ZeroPad2d((1, 2))
    with pytest.raises(ShapeError, match=r"x must have 2 axes after \[n, c\] or \[c\]"):
        nn.ReflectionPad2d(1)(sn.placeholder((3, 4)))
