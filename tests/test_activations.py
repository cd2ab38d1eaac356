"""What autocast keeps in 16 bits has one value: found, left alone, computed, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine

import staticnet as sn
from staticnet import nn
from staticnet.backends.cuda import CudaBackend
from staticnet.compilation import Compilation
from staticnet.nn import functional as F

ONE = np.eye(4, dtype="f").reshape(4, 4, 1, 1)
LITTLE = 2.0**-9  # what bfloat16 does not hold beside 1


def placeholders(*shapes: tuple[int, ...]) -> list[Any]:
    return [sn.placeholder(s, name=f"x{i}") for i, s in enumerate(shapes)]


def compiled(inputs: Any, outputs: Any, precision: str, **options: Any) -> Any:
    """The graph for a GPU, its plan, and what the passes say they did."""
    graph = sn.function(inputs, outputs, device="numpy", **options).graph
    made = Compilation(graph, CudaBackend(), "fast", precision, (), None)
    after, records = made.compile({})
    return after, made.plan(after, {}), {r.name: r.notes for r in records}


def found(inputs: Any, outputs: Any, precision: str = "bfloat16") -> Any:
    return dict(compiled(inputs, outputs, precision)[2]["activations"])


def test_a_shortcut_reads_what_the_product_reads() -> None:
    """So that what they differ by is 0, as under autocast, where float32 would leave 2^-9."""
    x, r, w = placeholders((1, 4, 2, 2), (1, 4, 2, 2), (4, 4, 1, 1))
    y = F.relu(F.conv2d(x, w) + F.conv2d(r, w))
    out = F.conv2d(y, w) - y
    feeds = [np.ones(x.shape, "f"), np.full(x.shape, LITTLE, "f"), ONE]
    for precision, left in (("bfloat16", 0), ("float32", 0)):
        f = sn.function([x, r, w], out, device="numpy", precision=precision)
        np.testing.assert_array_equal(f(*feeds), np.full(x.shape, left, "f"))
    f = sn.function(
        [x, r, w], out, device="numpy", precision="bfloat16", disabled_passes=("activations",)
    )
    np.testing.assert_array_equal(f(*feeds), np.full(x.shape, -LITTLE, "f"))


def test_torchs_autocast_gives_the_same() -> None:
    torch: Any = pytest.importorskip("torch")
    x, r, w = placeholders((1, 4, 2, 2), (1, 4, 2, 2), (4, 4, 1, 1))
    y = F.relu(F.conv2d(x, w) + F.conv2d(r, w))
    out = F.conv2d(y, w) - y
    feeds = [np.ones(x.shape, "f"), np.full(x.shape, LITTLE, "f"), ONE]
    a, b, v = map(torch.from_numpy, feeds)
    G = torch.nn.functional
    with torch.autocast("cpu", torch.bfloat16):
        z = torch.relu(G.conv2d(a, v) + G.conv2d(b, v))
        wanted = (G.conv2d(z, v) - z).float().numpy()
    f = sn.function([x, r, w], out, device="numpy", precision="bfloat16")
    np.testing.assert_array_equal(f(*feeds), wanted)


def test_what_begins_in_float32_stays_there() -> None:
    """A stream to which products are added, norms of rows, and numbers that no product reads."""
    x, w, b = placeholders((6, 8), (8, 8), (8,))
    stream = x + (x @ w + b)
    assert found([x, w, b], [(stream @ w) + stream]) == {}
    normed = nn.functional.layer_norm(x @ w, (8,))
    assert found([x, w], [(normed @ w) + normed]) == {}
    logits = x @ w + b
    assert found([x, w, b], [logits - sn.max(logits, -1, keepdims=True)]) == {}


@pytest.mark.parametrize("rows", [(), (1,), (2,), (1, 1), (2, 3)])
def test_a_stream_of_one_row_is_no_bias(rows: tuple[int, ...]) -> None:
    """Numbers do not depend on how many rows there are: a stream keeps 2^-12 beside 1."""
    x, w, b = placeholders((*rows, 8), (8, 8), (8,))
    out = F.linear(x + x @ w, w) + (x + x @ w)
    assert found([x, w], [out]) == {}
    f = sn.function([x, w], out, device="numpy", precision="bfloat16")
    begin = np.full(x.shape, 1 + 2.0**-12, "f")
    np.testing.assert_array_equal(f(begin, np.zeros((8, 8), "f")), begin)
    learned = nn.Linear(8, 8)
    for biased in (F.linear(x, w, b), learned(x), x @ w + 2 * learned.bias):
        assert found([x, w, b], [biased @ w + biased]) == {"activations in bfloat16": 1}


@pytest.mark.parametrize("shape", [(6, 8), (2, 3, 8), (2, 3, 4, 8)])
def test_sums_of_rows_are_no_pools(shape: tuple[int, ...]) -> None:
    """They are of pixels where a convolution made those."""
    x, w, b = placeholders(shape, (8, 8), (8,))
    y = F.relu(x @ w + b)
    axes = tuple(range(2, len(shape))) or (1,)
    for normed in (F.layer_norm(y, (8,)), F.layer_norm(y, y.shape[axes[0] :])):
        assert found([x, w, b], [normed]) == {}
    assert found([x, w, b], [sn.mean(y, axes), sn.sum(y)]) == {}


@pytest.mark.parametrize("size", [(5,), (5, 6), (3, 4, 5)])
def test_means_of_pixels_are_pools(size: tuple[int, ...]) -> None:
    x, v, w = placeholders((2, 3, *size), (4, 3, *(1 for _ in size)), (4, 4))
    conv = [F.conv1d, F.conv2d, F.conv3d][len(size) - 1]
    y = F.relu(nn.BatchNorm1d(4)(conv(x, v))) if len(size) == 1 else F.relu(conv(x, v))
    pooled = sn.mean(y, tuple(range(2, y.ndim)))
    loss = sn.sum(pooled @ w)
    assert found([x, v, w], [loss, *sn.grad(loss, [v])]) == {"activations in bfloat16": 1}


def test_powers_are_in_float32() -> None:
    """As in autocast's list of them, by whatever ops they are computed."""
    x, w = placeholders((6, 8), (8, 8))
    t = x @ w
    for y in (1 / t, t**-1, t**2, t**3, 3 / t, t**-2):
        assert found([x, w], [(y @ w) + y]) == {}
    for y in (t / 3, t / (t + 1), t * (t + 1), 3 * t):
        assert found([x, w], [(y @ w) + y]) == {"activations in bfloat16": 1}


def test_outputs_keep_float32() -> None:
    x, r, w = placeholders((1, 4, 2, 2), (1, 4, 2, 2), (4, 4, 1, 1))
    y = F.relu(F.conv2d(x, w) + F.conv2d(r, w))
    f = sn.function([x, r, w], [y, F.conv2d(y, w)], device="numpy", precision="bfloat16")
    feeds = [np.ones(x.shape, "f"), np.full(x.shape, LITTLE, "f"), ONE]
    np.testing.assert_array_equal(f(*feeds)[0], np.full(x.shape, 1 + LITTLE, "f"))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_float16_shares_masks_alone(precision: str) -> None:
    """A shortcut may be what float16 does not hold. Bias and relu are one call with the product."""
    x, w, v, b = placeholders((16, 8), (8, 8), (8, 8), (8,))
    y = F.relu(x @ w + b)
    loss = sn.sum(y @ v)
    notes = compiled([x, w, v, b], [loss, *sn.grad(loss, [w])], precision)[2]
    assert notes["activations"][f"activations in {precision}"] == 1
    assert notes["library"]["fused relu_bias"] == 1
    shortcut = (y @ v) + y
    both = found([x, w, v, b], [shortcut], precision)
    assert both == ({"activations in bfloat16": 1} if precision == "bfloat16" else {})


def whole(torch: Any, x: Any, w: Any, pool: Any, relu: Any, conv: Any) -> Any:
    """Two blocks with a shortcut, a pool and a mean, of small whole numbers."""
    h = pool(relu(conv(x, w)))
    y = relu(conv(h, w) + h)
    return conv(y, w) + y


@pytest.mark.parametrize("device", ["numpy", "cpu", "cuda"])
def test_derivatives_are_torchs(device: str, tmp_path: Path) -> None:
    """First and second ones, at 0, too: of whole numbers that bfloat16 holds, so to the bit."""
    torch: Any = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    a = rng.integers(-1, 2, (1, 4, 4, 4)).astype("f")
    v = np.roll(ONE, 1, 0) * np.float32(-1) + ONE
    x, w = placeholders(a.shape, v.shape)
    y = whole(sn, x, w, lambda t: F.max_pool2d(t, 2), F.relu, F.conv2d)
    (first,) = sn.grad(sn.sum(y), [x])
    (second,) = sn.grad(sn.sum(first * first), [w])
    t, u = (torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (a, v))
    G = torch.nn.functional
    z = whole(torch, t, u, lambda s: G.max_pool2d(s, 2), torch.relu, G.conv2d)
    (one,) = torch.autograd.grad(z.sum(), t, create_graph=True)
    (two,) = torch.autograd.grad((one * one).sum(), u)
    outputs = [y, first, second]
    if device == "cuda":
        if CXX is None:
            pytest.skip("no g++ on this machine")
        failed, values, _ = Machine(compiled([x, w], outputs, "bfloat16")[0], tmp_path).run(
            [a, v], []
        )
        assert not failed
    else:
        values = sn.function([x, w], outputs, device=device, precision="bfloat16")(a, v)
    for made, wanted in zip(values, (z, one, two), strict=True):
        wanted = wanted.detach().numpy()
        assert np.abs(wanted).max() <= 256  # what bfloat16 holds of whole numbers
        np.testing.assert_array_equal(made, wanted)


def test_no_number_stays_none() -> None:
    x, w = placeholders((1, 4, 2, 2), (4, 4, 1, 1))
    y = F.relu(F.conv2d(x, w))
    outputs = [F.conv2d(y, w) + y, *sn.grad(sn.sum(F.conv2d(y, w) + y), [x])]
    feed = np.ones(x.shape, "f")
    feed[0, 0, 0, 0] = np.nan
    made = sn.function([x, w], outputs, device="numpy", precision="bfloat16")(feed, ONE)
    assert np.isnan(made[0][0, :, 0, 0]).all()
    assert np.isfinite(made[0][0, :, 1]).all()
    assert made[1][0, 0, 0, 0] == 0  # NaN is not above 0


def block(images: Any) -> Any:
    """Of a batch-normalised network with shortcuts: the pool, two blocks and the mean."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    )
    h = model(images)
    for _ in range(2):
        body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16))
        h = F.relu(body(h) + h)
    return nn.Linear(16, 10)(sn.mean(h, (2, 3)))


def test_no_image_of_float32_lies_in_memory() -> None:
    """And of masks the last one alone, whose relu no convolution reads."""
    x = sn.placeholder((16, 3, 32, 32), name="x")
    y = sn.placeholder((16,), "int64", name="y")
    loss = nn.cross_entropy(block(x), y)
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    _, plan, notes = compiled([x, y], [loss], "bfloat16", updates=updates)
    assert notes["activations"]["maxima of windows in bfloat16"] == 1
    images = [n for n in plan.blocks if n.type.size >= 16 * 16 * 16 * 16]
    others = [(str(n.dtype), n.op.name) for n in images if str(n.dtype) != "bfloat16"]
    assert sorted(others) == [("bool", "greater"), ("uint8", "item")]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_limited_on_both_sides_keeps_one_mask(precision: str) -> None:
    x, w, v = placeholders((64, 8), (8, 8), (8, 8))
    y = F.relu6(x @ w)
    loss = sn.sum(F.relu6(y @ v) ** 2)
    _, plan, notes = compiled([x, w, v], [loss, *sn.grad(loss, [w, v])], precision)
    assert notes["algebraic_simplify"]["choices_by_one_value"] == 2
    masks = [n for n in plan.blocks if str(n.dtype) == "bool"]
    assert {n.op.name for n in masks} <= {"logical_or"}
    assert len(masks) <= 2


def test_one_mask_is_where_either_was() -> None:
    """At the limits and without a number, by both ways to choose."""
    x, g = placeholders((7,), (7,))
    outputs = [
        *sn.grad(sn.sum(F.relu6(x) * g), [x]),
        sn.where(x > 0, sn.where(x < 6, g, -1), -1),
        sn.where(x > 0, -1, sn.where(x >= 6, -1, g)),
    ]
    f = sn.function([x, g], outputs, device="numpy")
    a = np.array([-1, -0.0, 0, 3, 6, 7, np.nan], "f")
    b = np.arange(1, 8, dtype="f")
    inside = (a > 0) & (a < 6)
    wanted = [
        np.where(inside | np.isnan(a), b, 0), np.where(inside, b, -1), np.where(a > 0, -1, b),
    ]  # fmt: skip
    for made, right in zip(f(a, b), wanted, strict=True):
        np.testing.assert_array_equal(made, right)
