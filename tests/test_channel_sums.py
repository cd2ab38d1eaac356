"""Statistics of channels as sums that a GPU's kernels fuse with what makes their operands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine

import staticnet as sn
import staticnet.backends.cuda as backend
from staticnet import nn
from staticnet.compilation import Compilation
from staticnet.nn import functional as F
from staticnet.ops.base import apply, items
from staticnet.ops.moments import CenteredSums, Moments

RNG = np.random.default_rng(7)
FAR = 1e4  # where sums of squares would cancel


def compiled(inputs: Any, outputs: Any, precision: str = "float32", **options: Any) -> Any:
    """The graph and the plan of a function for a GPU."""
    graph = sn.function(inputs, outputs, device="numpy", **options).graph
    made = Compilation(graph, backend.CudaBackend(), "fast", precision, (), None)
    after, records = made.compile({})
    return after, made.plan(after, {}), {r.name: r.notes for r in records}


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 3, 40, 50), 1), ((9, 16, 16, 10), 3), ((2100, 9), 1)]
)
def test_sums_are_the_statistics(shape: tuple[int, ...], axis: int, tmp_path: Path) -> None:
    x, g = sn.placeholder(shape, name="x"), sn.placeholder(shape, name="g")
    mean, var = items(apply(Moments(axis), x))
    graph, _, notes = compiled([x, g], [mean, var, *items(apply(CenteredSums(axis), g, x, mean))])
    assert notes["channel_sums"] == {"statistics as sums": 2}
    feed = (RNG.standard_normal(shape) / 10 + FAR).astype("f")
    weights = RNG.standard_normal(shape).astype("f")
    failed, found, _ = Machine(graph, tmp_path).run([feed, weights], [])
    assert not failed
    axes = tuple(k for k in range(len(shape)) if k != axis)
    wide, heavy = feed.astype("float64"), weights.astype("float64")
    centred = wide - found[0].astype("float64").reshape(
        [-1 if k == axis else 1 for k in range(len(shape))]
    )
    wanted = [wide.mean(axes), wide.var(axes), heavy.sum(axes), (heavy * centred).sum(axes)]
    for y, want, loose in zip(found, wanted, (1e-6, 1e-4, 1e-4, 1e-4), strict=True):
        np.testing.assert_allclose(y, want, loose, loose * np.abs(want).max())


def test_short_channels_keep_their_routine_and_so_does_exact_compilation() -> None:
    x = sn.placeholder((4, 3, 20, 20), name="x")
    assert "channel_sums" in compiled([x], items(apply(Moments(1), x)))[2]
    assert compiled([x], items(apply(Moments(1), x)))[2]["channel_sums"] == {}
    y = sn.placeholder((8, 3, 20, 20), name="y")
    f = sn.function(y, items(apply(Moments(1), y)), device="numpy")
    made = Compilation(f.graph, backend.CudaBackend(), "exact", "float32", (), None)
    assert any(isinstance(node.op, Moments) for node in made.compile({})[0].nodes)
    made = Compilation(f.graph, backend.CudaBackend(), "fast", "float32", ("channel_sums",), None)
    assert any(isinstance(node.op, Moments) for node in made.compile({})[0].nodes)


def test_no_image_of_float32_lies_between_convolutions_of_16_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A training step of batch norms: what was widened for the statistics alone is not written."""
    monkeypatch.setattr(backend, "find_cudnn", lambda: True)  # so that channels lie last
    x = sn.placeholder((8, 8, 32, 32), name="x")
    model = nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 8, 1),
    )  # fmt: skip
    loss = sn.mean(model(x) ** 2)
    updates = sn.optim.SGD(0.1).minimize(loss)
    _, plan, notes = compiled(x, loss, "bfloat16", updates=updates)
    assert notes["channel_sums"] == {"statistics as sums": 4}
    wide = [n for n in plan.places if n.dtype == "float32" and n.type.size == 8 * 16 * 32 * 32]
    assert not wide


def test_batch_norm_has_its_values(tmp_path: Path) -> None:
    if CXX is None:
        pytest.skip("no g++ on this machine")
    shape = (5, 4, 24, 20)
    x, g = sn.placeholder(shape, name="x"), sn.placeholder(shape, name="g")
    w, b = sn.placeholder((4,), name="w"), sn.placeholder((4,), name="b")
    y = F.relu(F.batch_norm(x, None, None, w, b, training=True))
    outputs = [y, *sn.vjp(y, [x, w, b], g)]
    feeds = [RNG.standard_normal(v.shape).astype("f") for v in (x, g, w, b)]
    graph, _, notes = compiled([x, g, w, b], outputs)
    assert notes["channel_sums"]
    failed, found, _ = Machine(graph, tmp_path).run(feeds, [])
    assert not failed
    wanted = sn.function([x, g, w, b], outputs, device="numpy")(*feeds)
    for a, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, want, 1e-4, 1e-4 * np.abs(want).max())
