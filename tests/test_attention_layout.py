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
from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.layout import LAYOUTS
from staticnet.attention.op import Attention
from staticnet.errors import ArgumentError, ShapeError
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


def stacked(x: Any) -> Any:
    """x: [n, t, 3 h d] -> y: [n, t, h d], as in timm's vision transformers"""
    n, t, width = x.shape
    parts = sn.permute_dims(sn.reshape(x, (n, t, 3, 2, width // 6)), (2, 0, 3, 1, 4))
    y = nn.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
    return sn.reshape(sn.permute_dims(y, (0, 2, 1, 3)), (n, t, width // 3))


def tokens_first(x: Any) -> Any:
    """x: [t, n, 3 h d] -> y: [t, n, h d], as in PyTorch's layers without batch_first"""
    t, n, width = x.shape
    q, k, v = (
        sn.permute_dims(
            sn.reshape(x[:, :, i * width // 3 : (i + 1) * width // 3], (t, n, 2, width // 6)),
            (1, 2, 0, 3),
        )
        for i in range(3)
    )
    y = nn.scaled_dot_product_attention(q, k, v)
    return sn.reshape(sn.permute_dims(y, (2, 0, 1, 3)), (t, n, width // 3))


def crossed(x: Any) -> Any:
    """x: [n, t, 2 h d]; keys and values of all tokens, queries of the first two alone."""
    n, t, width = x.shape
    k, v = (
        sn.permute_dims(
            sn.reshape(x[:, :, i * width // 2 : (i + 1) * width // 2], (n, t, 2, width // 4)),
            (0, 2, 1, 3),
        )
        for i in range(2)
    )
    y = nn.scaled_dot_product_attention(sn.tanh(k[:, :, :2]), k, v)
    return sn.permute_dims(y, (0, 2, 1, 3))


def swapped(x: Any) -> Any:
    """x: [n, t, 3 h d], values before keys: their gradients are put together in another order."""
    n, t, width = x.shape
    parts = sn.reshape(x, (n, t, 3, 2, width // 6))
    q, v, k = (sn.permute_dims(parts[:, :, i], (0, 2, 1, 3)) for i in range(3))
    return sn.permute_dims(nn.scaled_dot_product_attention(q, k, v), (0, 2, 1, 3))


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
        "stacked": (stacked, (2, 67, 48)),
        "tokens first": (tokens_first, (66, 3, 48)),
        "crossed": (crossed, (2, 65, 32)),
        "swapped": (swapped, (2, 5, 48)),
        "one token": (stacked, (3, 1, 96)),
        "no tokens": (lambda x: of_one_product(x, 2), (2, 0, 48)),
        "one feature": (lambda x: of_one_product(x, 2), (2, 3, 6)),
    }  # fmt: skip


FEW = ("packed", "grouped", "tokens first")  # a kernel is compiled for each


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
    at = kinds.index("attention_gradient")
    assert kinds[:at].count("map") == 2, "the scale, and the cotangent of the square"
    assert kinds[:at].count("rows") == 1, "the sums of a y"
    assert kinds[at + 1] == "matmul", "with the three gradients as they lie"


@pytest.mark.parametrize(
    ("name", "layout", "joined"),
    [
        ("packed", "last", 3),
        ("stacked", "last", 3),
        ("tokens first", "tokens", 3),
        ("grouped", "last", 0),  # of queries that are every other token's
        ("crossed", "last", 0),  # what queries get goes through a tanh to keys
        ("swapped", "last", 0),
        ("shared", "first", 0),
    ],
)
def test_gradients_lie_where_they_are_read(name: str, layout: str, joined: int) -> None:
    f, shape = cases()[name]
    x = sn.placeholder(shape)
    graph = lower(sn.function(x, _grad(sn.sum(sn.square(f(x))), x), device="numpy"))
    (op,) = (n.op for n in graph.nodes if isinstance(n.op, AttentionGradient))
    assert (op.layout, op.joined) == (layout, joined)


def test_keys_and_values_of_one_projection_are_one_array() -> None:
    x, m = sn.placeholder((2, 5, 16)), sn.placeholder((2, 7, 32))
    q = sn.permute_dims(sn.reshape(x, (2, 5, 2, 8)), (0, 2, 1, 3))
    parts = sn.reshape(m, (2, 7, 2, 2, 8))
    k, v = (sn.permute_dims(parts[:, :, i], (0, 2, 1, 3)) for i in range(2))
    y = sn.sum(sn.square(nn.scaled_dot_product_attention(q, k, v)))
    arrays = [RNG.normal(size=a.shape).astype("f") for a in (x, m)]
    f = sn.function([x, m], sn.grad(y, [x, m]), device="cpu")
    (op,) = (n.op for n in lower(f).nodes if isinstance(n.op, AttentionGradient))
    assert (op.layout, op.joined) == ("last", 2)
    plain = sn.function([x, m], sn.grad(y, [x, m]), device="numpy", disabled_passes=("library",))
    for a, b in zip(f(*arrays), plain(*arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize(("layout", "joined"), [("last", 0), ("tokens", 2), ("last", 3)])
def test_layouts_of_gradients_are_one_equation(layout: str, joined: int) -> None:
    """Results, their derivatives and batches are those with heads first, put in the layout."""
    shapes = [(2, h, 5, d) for h, d in ((4, 3), (2, 3), (2, 6), (4, 6))]
    arrays = [RNG.normal(size=(3, *s)) for s in shapes]
    xs = [sn.placeholder(a.shape, "float64") for a in arrays]
    scale = sn.constant(0.5, "float64")
    axes = LAYOUTS[layout]

    def rows(*parts: Any) -> Any:
        turned = [sn.permute_dims(x, axes) for x in parts]
        return sn.concat([sn.reshape(x, (*x.shape[:2], -1)) for x in turned], 2)

    def by(op: AttentionGradient) -> Any:
        def one(q: Any, k: Any, v: Any, a: Any) -> Any:
            lse = sn.sum(q, -1)
            return tuple(items(apply(op, q, k, v, a, scale, lse, sn.cos(lse))))

        made = sn.vmap(one)(*xs)
        if op.layout == "first":
            own = 3 - joined

            def put(*three: Any) -> Any:
                apart = [sn.permute_dims(x, axes) for x in three[:own]]
                return (*apart, rows(*three[own:])) if joined else tuple(apart)

            made = sn.vmap(put)(*made)
        return [*made, *sn.grad(sum(sn.sum(x * x * x) for x in made), xs)]

    plain, placed = AttentionGradient(True), AttentionGradient(True, layout=layout, joined=joined)
    f = sn.function(xs, [*by(plain), *by(placed)], passes=(INFER_SHAPE,))
    got = f(*arrays)
    half = len(got) // 2
    assert half == 3 - max(joined - 1, 0) + 4
    for a, b in zip(got[:half], got[half:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_what_cannot_be_joined_is_told() -> None:
    with pytest.raises(ArgumentError, match="joined must be one of"):
        AttentionGradient(True, joined=3)
    with pytest.raises(ArgumentError, match="layout must be one of"):
        AttentionGradient(True, layout="middle")
    x, m = sn.placeholder((1, 2, 5, 4)), sn.placeholder((1, 2, 6, 4))
    op, one = AttentionGradient(True, layout="last", joined=3), sn.placeholder((1, 2, 5))
    with pytest.raises(ShapeError, match="where there are as many"):
        apply(op, x, m, m, x, sn.constant(1.0, "float32"), one, one)


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
