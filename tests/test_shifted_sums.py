"""Means and variances by one pass over what they are of: values, and where it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine

import staticnet as sn
import staticnet.backends.cuda as backend
from staticnet.backends.numpy import NumpyBackend
from staticnet.compilation import Compilation
from staticnet.nn import functional as F
from staticnet.ops.base import apply, items
from staticnet.ops.moments import Moments
from staticnet.passes.manager import Context
from staticnet.passes.shifted_sums import SAMPLES, shifted_sums

SUMS = frozenset({"sums"})
SHAPE, AXES = (24, 17, 13, 9), (0, 1, 2)
COUNT = 24 * 17 * 13
EPS = float(np.finfo(np.float32).eps)


def moments(x: Any, axes: Any, keepdims: bool = True) -> list[Any]:
    """The mean and the variance, as layers write them."""
    mean = sn.mean(x, axes, keepdims=True)
    squares = (x - mean) * (x - mean)
    return [sn.mean(x, axes, keepdims=keepdims), sn.mean(squares, axes, keepdims=keepdims)]


def rewritten(inputs: list[Any], outputs: list[Any]) -> tuple[sn.Graph, int]:
    """The graph after the pass, and how many variances that found."""
    context = Context(products=SUMS)
    graph = shifted_sums(sn.Graph("g", inputs, outputs), context)
    return graph, context.notes["variances in one pass"]


def run(x: np.ndarray, axes: Any = AXES) -> list[np.ndarray]:
    """The mean and the variance of an array by the pass, on NumPy."""
    node = sn.placeholder(x.shape, x.dtype.name, "x")
    graph, found = rewritten([node], moments(node, axes, keepdims=False))
    assert found == 1
    with np.errstate(all="ignore"):
        mean, var = NumpyBackend().build(graph).run([x])
    return [mean, var]


def normal(seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE)


def far_off(x: np.ndarray, mean: np.ndarray, var: np.ndarray) -> tuple[float, float]:
    """By how much a mean is off, in deviations, and a variance, of itself: the worst channel."""
    wide = x.astype(np.float64)
    right, wanted = wide.mean(AXES), wide.var(AXES)
    return (
        float(np.max(np.abs(mean - right) / np.sqrt(wanted))),
        float(np.max(np.abs(var - wanted) / wanted)),
    )


@pytest.mark.parametrize("mean", [0.0, 1.0, 1e3, -1e6])
def test_errors_are_those_of_two_passes_or_less(mean: float) -> None:
    x = (normal() + mean).astype(np.float32)
    with np.errstate(all="ignore"):
        two_passes = far_off(x, x.mean(AXES), x.var(AXES))
    found = far_off(x, *run(x))
    rounding = EPS * max(1.0, abs(mean))  # of a mean that is stored
    assert found[0] < 2 * two_passes[0] + rounding
    assert found[1] < 2 * two_passes[1] + 8 * EPS


@pytest.mark.parametrize("place", ["first", "sampled", "half", "line"])
def test_what_lies_apart_does_not_cancel(place: str) -> None:
    """Sums about a number that is far off would lose as many digits as it is off, squared."""
    x = normal()
    if place == "first":
        x[0, 0, 0] = 1e6
    elif place == "sampled":  # by the sample's first element all of it is apart from the rest
        x[3, 2, 1] = 1e6
    elif place == "half":
        x[::2] += 1e6
    else:
        x[:, :, 1] = -1e5
    x = x.astype(np.float32)
    rounded_sums = 1e-4 if place == "half" else 1e-5  # of many large squares, in one order
    assert far_off(x, *run(x))[1] < rounded_sums


def test_a_sample_that_lies_apart_as_a_whole_is_no_catastrophe() -> None:
    """What cancels is at most n / SAMPLES of what is left, however far the sample is from that."""
    x = sn.placeholder(SHAPE, "float64", "x")
    graph, _ = rewritten([x], moments(x, AXES))
    (cut,) = (n for n in graph.nodes if n.op.name == "slice" and n.inputs[0] is x)
    at = cut.op.attributes()
    where = tuple(map(slice, at["starts"], at["stops"], at["steps"]))
    values = normal()
    values[where] += 1e7
    assert far_off(values, *run(values))[1] < COUNT / SAMPLES * 1e-13
    assert far_off(data := values.astype(np.float32), *run(data))[1] < COUNT / SAMPLES * 1e-4


def test_channels_of_one_number_have_no_variance() -> None:
    x = np.broadcast_to(np.float32([0.1, -1e6 / 3, 7e8, 1e-40, 0, -0.0, 3e38, 1.1, 5]), SHAPE)
    mean, var = run(np.ascontiguousarray(x))
    np.testing.assert_array_equal(mean, x[0, 0, 0])
    np.testing.assert_array_equal(var, 0)


@pytest.mark.parametrize("at", [(0, 0, 0), (23, 16, 12), (3, 2, 1)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_infinities_and_nan_are_as_in_two_passes(at: tuple[int, ...]) -> None:
    x = normal().astype(np.float32)
    x[(*at, 0)], x[(*at, 1)], x[(*at, 2)] = np.inf, -np.inf, np.nan
    x[(*at, 3)] = 3e38  # whose square float32 does not hold
    x[..., 4] *= np.float32(1e22)
    for found, wanted in zip(run(x), (x.mean(AXES), x.var(AXES)), strict=True):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
        np.testing.assert_array_equal(np.isposinf(found), np.isposinf(wanted))
        np.testing.assert_array_equal(np.isneginf(found), np.isneginf(wanted))


@pytest.mark.parametrize(
    ("shape", "axes"), [((2048, 8), (0,)), ((1, 2311, 1, 9), (0, 1, 2)), ((3, 701, 2, 5), (0, 1))]
)
def test_any_leading_axes_in_both_widths(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    for dtype, loose in (("float32", 1e-5), ("float64", 1e-13)):
        x = np.random.default_rng(0).normal(30, 2, shape).astype(dtype)
        mean, var = run(x, axes)
        wide = x.astype(np.float64)
        np.testing.assert_allclose(mean, wide.mean(axes), loose)
        np.testing.assert_allclose(var, wide.var(axes), loose)


def test_it_is_done_where_it_pays_and_to_nothing_else() -> None:
    x = sn.placeholder(SHAPE, name="x")
    other = sn.placeholder(SHAPE, name="other")
    long = sn.placeholder((9, 24, 17, 13), name="long")
    few = sn.placeholder((4096, 7), name="few")
    short = sn.placeholder((2047, 16), name="short")
    half = sn.placeholder(SHAPE, "bfloat16", name="half")
    scale = sn.placeholder((1, 17, 13, 9), name="scale")
    drawn = sn.random.normal(sn.random.key(0), SHAPE)
    d = x - sn.mean(other, AXES, keepdims=True)
    not_by_n = x - sn.sum(x, AXES, keepdims=True) / (COUNT - 1)
    for node, axes, wanted in (
        (x, AXES, 1), (x * scale + 1, AXES, 1), (sn.permute_dims(x, (1, 2, 0, 3)), AXES, 1),
        (long, (1, 2, 3), 0), (few, (0,), 0), (short, (0,), 0), (half, AXES, 0), (drawn, AXES, 0),
        (sn.permute_dims(sn.tanh(x), (1, 2, 0, 3)), AXES, 0),
    ):  # fmt: skip
        inputs = [x, other, long, few, short, half, scale]
        assert rewritten(inputs, moments(node, axes))[1] == wanted, (node.type, axes)
    for centred in (d, not_by_n, x):
        assert rewritten([x, other], [sn.sum(centred * centred, AXES)])[1] == 0
    assert rewritten([x, other], [sn.sum((x - sn.mean(x, AXES)) * other, AXES)])[1] == 0


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_the_number_of_rows_has_any_shape(shape: tuple[int, ...]) -> None:
    x = sn.placeholder((4096, 8), name="x")
    mean = sn.sum(x, 0, keepdims=True) / np.full(shape, 4096, "f")
    assert rewritten([x], [sn.sum((x - mean) * (x - mean), 0), mean])[1] == 1


def test_another_columns_mean_is_not_taken_for_its_own() -> None:
    x = sn.placeholder((4096, 8, 8), name="x")
    mean = sn.mean(x, 0)
    turned = x - sn.permute_dims(mean, (1, 0))
    assert rewritten([x], [sn.sum(turned * turned, 0)])[1] == 0
    own = x - mean
    assert rewritten([x], [sn.sum(own * own, 0)])[1] == 1


def compiled(inputs: Any, outputs: Any, numerics: str = "fast", **options: Any) -> Any:
    graph = sn.function(inputs, outputs, device="numpy").graph
    off = options.pop("disabled_passes", ())
    made = Compilation(graph, backend.CudaBackend(), numerics, "float32", off, None)
    after, records = made.compile({})
    return after, made.plan(after, {}), {r.name: r.notes for r in records}


def test_a_pass_name_and_exact_numerics_leave_it_out() -> None:
    x = sn.placeholder(SHAPE, name="x")
    mean, var = items(apply(Moments(3), x))
    assert compiled([x], [mean, var])[2]["shifted_sums"] == {"variances in one pass": 1}
    _, plan, notes = compiled([x], [mean, var], disabled_passes=("shifted_sums",))
    assert "shifted_sums" not in notes
    assert plan.bytes_moved > 1.8 * compiled([x], [mean, var])[1].bytes_moved
    assert "shifted_sums" not in compiled([x], [mean, var], "exact")[2]


def test_statistics_and_their_gradients_read_what_they_are_of_once() -> None:
    """Forward: x for the sums, x and g for the loss and y's gradient; then that and x, twice."""
    size = 4 * 16384 * 32
    x, g = (sn.placeholder((16384, 32), name=name) for name in "xg")
    w, b = (sn.placeholder((32,), name=name) for name in "wb")
    y = F.batch_norm(x, None, None, w, b, training=True)
    _, forward, _ = compiled([x, w, b], [y])
    assert forward.bytes_moved < 3.2 * size
    loss = sn.sum(sn.tanh(y) * g)
    _, both, _ = compiled([x, g, w, b], [loss, *sn.grad(loss, [x, w, b])])
    assert both.bytes_moved < 9.4 * size


def test_sums_of_one_array_that_start_apart_are_one_kernel() -> None:
    """A cotangent's sum, and that of it times what a map makes: a bfloat16 array is read once."""
    g, x = (sn.placeholder((4096, 32), "bfloat16", name=name) for name in "gx")
    mean = sn.placeholder((32,), name="mean")
    wide, apart = sn.astype(g, "float32"), sn.astype(x, "float32") - mean
    _, plan, _ = compiled([g, x, mean], [sn.sum(wide, 0), sn.sum(apart * wide, 0)])
    assert [len(step.groups) for step in plan.steps] == [1]
    assert not any(node.type.size == 4096 * 32 for node in plan.places if node.op.name == "cast")


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
def test_kernels_compute_it(tmp_path: Path) -> None:
    x = sn.placeholder((20, 12, 11, 40), name="x")
    scale = sn.placeholder((40,), name="scale")
    outputs = [*moments(x, AXES, keepdims=False), *moments(sn.relu(x) * scale, AXES)]
    graph, _, notes = compiled([x, scale], outputs)
    assert notes["shifted_sums"] == {"variances in one pass": 2}
    data = (np.random.default_rng(1).standard_normal((20, 12, 11, 40)) + 1e6).astype("f")
    data[..., 0] = 0.1
    factor = np.random.default_rng(2).standard_normal(40).astype("f")
    failed, found, _ = Machine(graph, tmp_path).run([data, factor], [])
    assert not failed
    assert found[1][0] == 0
    wide = data.astype(np.float64)
    scaled = np.maximum(data, 0) * factor
    for mean, var, values in ((*found[:2], wide), (*found[2:], scaled.astype(np.float64))):
        np.testing.assert_allclose(mean.ravel(), values.mean(AXES), 1e-7)
        np.testing.assert_allclose(var.ravel()[1:], values.var(AXES)[1:], 1e-4)


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
def test_kernels_sum_many_rows_in_parts(tmp_path: Path) -> None:
    """What cancels is little, but only where the sums themselves are near: not one by one."""
    x = sn.placeholder((1 << 18, 8), name="x")
    graph, _, notes = compiled([x], moments(x, (0,), keepdims=False))
    assert notes["shifted_sums"] == {"variances in one pass": 1}
    means = np.array([0, 1, -30, 1e3, -1e3, 1e4, 1e5, -1e6])
    data = (np.random.default_rng(1).standard_normal(x.shape) + means).astype("f")
    failed, (mean, var), _ = Machine(graph, tmp_path).run([data], [])
    assert not failed
    wide = data.astype(np.float64)
    np.testing.assert_allclose(var, wide.var(0), 4 * EPS)
    np.testing.assert_allclose(mean, wide.mean(0), EPS, 1e-7)
