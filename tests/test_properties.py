"""Random graphs: what the passes make of them computes the same; the text reads back."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, note, settings
from random_graphs import graphs

import staticnet as sn
from staticnet.compilation import PIPELINE

NAMES = [p.name for p in PIPELINE]
steady = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def run(graph: sn.Graph, feeds: list[Any], **options: Any) -> list[Any]:
    return sn.function(graph.inputs, graph.outputs, device="numpy", **options)(*feeds)  # type: ignore[no-any-return]


def check(got: list[Any], wanted: list[Any], rtol: float) -> None:
    for a, b in zip(got, wanted, strict=True):
        scale = np.max(np.abs(b), initial=1, where=np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)


@steady
@given(graphs())
def test_passes_keep_the_value(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, feeds = case
    note(str(graph))
    reference = run(graph, feeds, disabled_passes=NAMES)
    check(run(graph, feeds), reference, 1e-9)
    for name in NAMES:
        check(run(graph, feeds, disabled_passes=[name]), reference, 1e-9)


@steady
@given(graphs("float32"))
def test_exact_numerics_keep_the_bits(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, feeds = case
    note(str(graph))
    reference = run(graph, feeds, disabled_passes=NAMES)
    for a, b in zip(run(graph, feeds, numerics="exact"), reference, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


@steady
@given(graphs())
def test_text_reads_back(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, _ = case
    assert sn.parse(str(graph)) is graph


@steady
@given(graphs(steps=6))
def test_jvp_agrees_with_vjp(case: tuple[sn.Graph, list[Any]]) -> None:
    graph, feeds = case
    note(str(graph))
    y, xs = graph.outputs[0], graph.inputs
    rng = np.random.default_rng(0)
    ds = [rng.uniform(-1, 1, x.shape) for x in feeds]
    c = rng.uniform(-1, 1, y.shape)
    (tangent,) = sn.jvp(y, xs, [sn.constant(d) for d in ds])
    products = sn.vjp(y, xs, sn.constant(c), allow_unused=True)
    with np.errstate(all="ignore"):
        pushed, *pulled = sn.function(xs, [tangent, *products], device="numpy")(*feeds)
        left = np.sum(pushed * c)
        terms = [p * d for p, d in zip(pulled, ds, strict=True)]
        right = sum(np.sum(term) for term in terms)
        scale = np.sum(np.abs(pushed * c)) + sum(np.sum(np.abs(term)) for term in terms)
    if np.isfinite(scale):
        assert abs(left - right) <= 1e-9 * (1 + scale)
