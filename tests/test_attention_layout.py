"""Attention reads its operands where they lie and writes its result as it is read: no copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everywhere import on
from gpu_cases import lower

import staticnet as sn
from staticnet import nn
from staticnet.attention.op import Attention
from staticnet.errors import ArgumentError
from staticnet.ops.base import apply, items
from staticnet.passes.infer_shape import INFER_SHAPE
from staticnet.plan.planner import make_plan

COMPILES = True
RNG = np.random.default_rng(7)
KEEP = RNG.random((2, 1, 80, 80)) > 0.3
KEEP[:, :, :, 0] = True


def of_one_product(x: Any, heads: int, **options: Any) -> Any:
    """x: [n, t, 3 h d] -> y: [n, t, h d], as in GPT-2"""
    n, t, width = x.shape
    parts = sn.reshape(x, (n, t, 3, heads, width // 3 // heads))
    q, k, v = (sn.permute_dims(parts[:, :, i], (0, 2, 1, 3)) for i in range(3))
    y = nn.scaled_dot_product_attention(q, k, v, **options)
    return sn.reshape(sn.permute_dims(y, (0, 2, 1, 3)), (n, t, width // 3))


def grouped(x: Any) -> Any:
    """x: [n, t, h + 2 g, d], of 4 heads of queries and 2 of keys; every other token has queries."""
    q, k, v = (
        sn.permute_dims(part, (0, 2, 1, 3)) for part in (x[:, :, :4], x[:, :, 4:6], x[:, :, 6:])
    )
    y = nn.scaled_dot_product_attention(q[:, :, ::2], k, v[:, ::-1], enable_gqa=True)
    return sn.permute_dims(y, (0, 2, 1, 3))


def shared(x: Any) -> Any:
    """x: [n, t, d]; keys are turned rows, and all heads have the same values."""
    n, t, d = x.shape
    heads = sn.permute_dims(sn.reshape(x, (n, t, 2, d // 2)), (0, 2, 1, 3))
    values = sn.broadcast_to(x[:, None, :, : d // 2], heads.shape)
    return nn.scaled_dot_product_attention(heads, heads[:, :, ::-1], values)


def first_and_last(x: Any) -> Any:
    """The result is read in both layouts, and one is returned."""
    y = of_one_product(x, 2)
    return sn.tanh(y) + sn.reshape(
        sn.permute_dims(sn.reshape(y, (*y.shape[:2], 2, -1)), (0, 2, 1, 3)), y.shape
    )


def cases() -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Builds of one array of this shape."""
    mask = sn.constant(KEEP)
    return {
        "packed": (lambda x: of_one_product(x, 2, is_causal=True), (2, 70, 96)),
        "single": (lambda x: of_one_product(x, 2, is_causal=True), (1, 9, 30)),
        "mask": (lambda x: of_one_product(x, 2, attn_mask=mask[:, :, 3:73, :70]), (2, 70, 48)),
        "turned mask": (
            lambda x: of_one_product(x, 2, attn_mask=sn.matrix_transpose(mask)[:, :, :5, :5]),
            (2, 5, 48),
        ),
        "grouped": (grouped, (2, 66, 8, 16)),
        "shared": (shared, (2, 5, 24)),
        "both": (first_and_last, (2, 6, 48)),
        "no tokens": (lambda x: of_one_product(x, 2), (2, 0, 48)),
        "one feature": (lambda x: of_one_product(x, 2), (2, 3, 6)),
    }  # fmt: skip


FEW = ("packed", "grouped")  # a kernel is compiled for each


@pytest.mark.parametrize(
    ("device", "names"),
    [
        ("cpu", tuple(cases())),
        ("cuda", FEW),
        pytest.param("cuda", tuple(cases()), marks=pytest.mark.slow),
    ],
)
def test_views_are_read_alike_everywhere(
    device: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    compare(device, names, "float32", tmp_path, 1e-5)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-6), ("float16", 2e-2), ("bfloat16", 6e-2)]
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.slow
def test_views_of_all_dtypes(device: str, dtype: str, tolerance: float, tmp_path: Path) -> None:
    compare(device, tuple(cases()), dtype, tmp_path, tolerance)


def compare(
    device: str, names: tuple[str, ...], dtype: str, folder: Path, tolerance: float
) -> None:
    """Results and gradients of cases on a device are those of NumPy."""
    made = [cases()[name] for name in names]
    arrays = [RNG.normal(size=shape).astype("float32") for _, shape in made]

    def build(*xs: Any) -> list[Any]:
        found = []
        for x, (f, _) in zip(xs, made, strict=True):
            y = sn.astype(f(sn.astype(x, dtype)), "float32")
            found += [y, *_grad(sn.sum(y * y), x)]
        return found

    got, wanted = (on(d, folder, build, *arrays) for d in (device, "numpy"))
    for y, want in zip(got, wanted, strict=True):
        np.testing.assert_allclose(y, want, rtol=0, atol=tolerance * np.abs(want).max(initial=1))


def _grad(loss: Any, x: Any) -> list[Any]:
    return list(sn.grad(loss, [x]))


def test_nothing_is_copied() -> None:
    """A step of the fused projection: forward, the sum of a y, and the gradient's three parts."""
    x = sn.placeholder((2, 8, 96), name="x")
    w = sn.placeholder((96, 96), name="w")
    y = of_one_product(x @ w, 2, is_causal=True)
    plan = make_plan(lower(sn.function([x, w], y @ w[:32], device="numpy")))
    assert [s.groups[0].kind for s in plan.steps] == ["matmul", "map", "attention", "matmul"]
    assert [n.shape for n in plan.steps[1].nodes] == [()], "the scale alone"
    loss = sn.sum(sn.square(y @ w[:32]))
    plan = make_plan(lower(sn.function([x, w], sn.grad(loss, w), device="numpy")))
    kinds = [s.groups[0].kind for s in plan.steps]
    before = kinds[: kinds.index("attention_gradient")]
    assert before.count("map") == 2, "the scale, and the cotangent of the square"
    assert before.count("rows") == 1, "the sums of a y"


def test_a_result_that_is_read_as_it_is_stays() -> None:
    q = sn.placeholder((2, 2, 8, 16), name="q")
    f = sn.function(q, nn.scaled_dot_product_attention(q, q, q), device="numpy")
    assert [n.op.layout for n in lower(f).nodes if isinstance(n.op, Attention)] == ["first"]


def test_layouts_are_one_equation() -> None:
    """With heads last it is the transpose, and its derivatives and batches are those of it."""
    arrays = [RNG.normal(size=(3, 2, 2, n, 4)) for n in (5, 6, 6)]
    xs = [sn.placeholder(a.shape, "float64") for a in arrays]
    scale = sn.constant(0.5, "float64")

    def by(layout: str) -> Any:
        def one(q: Any, k: Any, v: Any) -> Any:
            y = items(apply(Attention(True, layout=layout), q, k, v, scale))[0]
            return sn.permute_dims(y, (0, 2, 1, 3)) if layout == "last" else y

        y = sn.vmap(one)(*xs)
        return [y, *sn.grad(sn.sum(y * y * y), xs)]

    f = sn.function(xs, [*by("first"), *by("last")], passes=(INFER_SHAPE,))
    got = f(*arrays)
    for a, b in zip(got[:4], got[4:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    with pytest.raises(ArgumentError, match="layout must be one of"):
        Attention(True, layout="middle")


@pytest.mark.slow
def test_lengths_may_be_symbolic() -> None:
    t = sn.Dim("t")
    x = sn.placeholder((2, t, 48), name="x")
    y = of_one_product(x, 2, is_causal=True)
    step = sn.function(x, [y, *_grad(sn.sum(y * y), x)], device="cpu")
    reference = sn.function(x, [y, *_grad(sn.sum(y * y), x)], device="numpy")
    for n in (0, 1, 7):
        array = RNG.normal(size=(2, n, 48)).astype("float32")
        for a, b in zip(step(array), reference(array), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
