"""Channels last between convolutions: what is turned, and that values stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import staticnet as sn
from staticnet import nn
from staticnet.backends.base import HostBackend
from staticnet.compilation import PIPELINE
from staticnet.ops.movement import PermuteDims
from staticnet.oracle import check_numerics
from staticnet.passes.layout import LAYOUT
from staticnet.passes.manager import run_passes
from staticnet.spatial.convolution import ConvolutionOp

F = nn.functional


class Residual(nn.Module):
    """Convolutions, batch norms, a pool, a sum of two ways, and a product."""

    def __init__(self) -> None:
        self.first, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 16, 5)

    def __call__(self, x: Any) -> Any:
        x = F.max_pool2d(sn.relu(self.norm1(self.first(x))), 2)
        return self.head(sn.flatten(sn.relu(self.norm2(self.second(x))) + x, 1))


def optimised(graph: sn.Graph, **options: Any) -> sn.Graph:
    return run_passes(graph, PIPELINE, channels_last=True, **options)[0]


def permutes(graph: sn.Graph) -> list[tuple[Any, ...]]:
    """The shapes of all images that are permuted."""
    return [x.shape for x in graph.nodes if isinstance(x.op, PermuteDims) and x.ndim == 4]


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_training_step_turns_its_border_alone(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HostBackend, "channels_last", True)
    model = Residual()
    x, t = sn.placeholder(("b", 3, 8, 8)), sn.placeholder(("b",), "int64")
    loss = F.cross_entropy(model(x), t)
    updates = sn.optim.Adam(1e-2).minimize(loss)
    plain, turned = (
        sn.function([x, t], loss, updates=updates, device=device, disabled_passes=off)
        for off in (["layout"], [])
    )
    graph = optimised(turned.graph, dims={"b": 4})
    convolutions = [x.op for x in graph.nodes if isinstance(x.op, ConvolutionOp)]
    assert len(convolutions) == 5
    assert {op.layout for op in convolutions} == {"last"}
    assert sorted(permutes(graph)) == [(4, 4, 4, 8), (4, 8, 4, 4), (4, 8, 8, 3)]
    rng = np.random.default_rng(0)
    feeds = rng.standard_normal((4, 3, 8, 8)).astype("float32"), rng.integers(0, 5, 4)
    start = {name: np.array(value) for name, value in model.state_dict().items()}
    before = [float(plain(*feeds)) for _ in range(3)]
    model.load_state_dict(start)
    np.testing.assert_allclose(float(turned(*feeds)), before[0], rtol=1e-5)


def test_exact_compilation_leaves_it_out() -> None:
    x, w = sn.placeholder((2, 4, 6, 6)), sn.placeholder((4, 4, 3, 3))
    y = F.conv2d(F.conv2d(sn.relu(x), w), w)
    graph = sn.Graph("sums", [x, w], [sn.sum(y, (0, 2, 3))])
    assert len(permutes(optimised(graph))) == 1
    assert not permutes(optimised(graph, numerics="exact"))


@pytest.mark.parametrize(("channels", "calls"), [(6, ()), (6, ("convolution",)), (8, ())])
def test_channels_that_no_pack_reads_stay(channels: int, calls: tuple[str, ...]) -> None:
    """16 bytes of float32 are 4; a library turns what it is given in any case."""
    x, w = sn.placeholder((2, channels, 9, 9)), sn.placeholder((channels, channels, 3, 3))
    y = F.conv2d(sn.relu(F.conv2d(sn.relu(x), w)), w)
    graph = optimised(sn.Graph("packs", [x, w], [sn.sum(y)]), calls=frozenset(calls))
    assert bool(permutes(graph)) == (channels == 8 or bool(calls))


def test_a_permute_of_the_users_own_is_undone() -> None:
    images, w = sn.placeholder((2, 6, 6, 4)), sn.placeholder((4, 4, 3, 3))
    y = F.conv2d(sn.relu(F.conv2d(sn.moveaxis(images, -1, 1), w)), w)
    graph = optimised(sn.Graph("images", [images, w], [sn.moveaxis(y, 1, -1)]))
    assert permutes(graph) == []


def step(draw: Any, x: Any) -> Any:
    c = x.shape[1]
    w = sn.constant(np.linspace(-1, 1, c * c * 3 * 3).reshape(c, c, 3, 3))
    return draw(
        st.sampled_from([
            lambda: F.conv2d(x, w, padding=1),
            lambda: F.conv_transpose2d(x, w, padding=1),
            lambda: sn.relu(x) + 0.5 * x,
            lambda: x * sn.reshape(sn.mean(x, (0, 2, 3)), (c, 1, 1)),
            lambda: F.max_pool2d(x, 3, 1, 1),
            lambda: F.avg_pool2d(x, 3, 1, 1),
            lambda: F.batch_norm(x, None, None, training=True),
            lambda: sn.concat([x, -x], 2)[:, :, ::2],
            lambda: sn.pad(x, [(0, 0), (0, 0), (1, 0), (0, 1)])[:, :, 1:, :-1],
            lambda: sn.where(x > 0, x, sn.sum(x, 1, keepdims=True)),
            lambda: sn.flip(x, 3),
        ])
    )()  # fmt: skip


@st.composite
def images(draw: Any) -> tuple[sn.Graph, list[Any]]:
    """A graph of convolutions and what stands between them, with a gradient."""
    shape = draw(st.sampled_from([(2, 4, 4, 5), (1, 2, 3, 3), (2, 1, 4, 4), (0, 2, 3, 3)]))
    x = sn.placeholder(shape, "float64", "x")
    y = x
    for _ in range(draw(st.integers(2, 6))):
        y = step(draw, y)
    outputs = [y, *sn.grad(sn.sum(sn.tanh(y)), [x])]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return sn.Graph("images", [x], outputs), [rng.uniform(-1, 1, shape)]


@settings(max_examples=25, deadline=None)
@given(images())
def test_random_images(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, feeds = case
    check_numerics(graph, feeds, (LAYOUT,), channels_last=True)
    after, _ = run_passes(graph, (LAYOUT,), channels_last=True)
    assert LAYOUT(after, sn.passes.Context(channels_last=True)) is after
