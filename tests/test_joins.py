"""A map writes the parts of a concatenation where they lie in the whole, if it makes them all."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler

COMPILES = True
SPACES = ((7,), (1,), (3, 5), (4, 1), (1, 6), (2, 3, 4), (2, 0, 3), (0,))


def cases() -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Inputs and feeds; concatenations along each axis that has a routine, and what they are."""
    inputs, feeds, outputs, wanted = [], [], [], []
    rng = np.random.default_rng(0)
    for shape in SPACES:
        x = sn.placeholder(shape, name=f"x{len(inputs)}")
        feed = rng.normal(size=shape).astype(np.float32)
        inputs.append(x)
        feeds.append(feed)
        for axis, count in itertools.product(range(len(shape)), (2, 3, 6)):
            parts = [abs(x) - x, *(x * k for k in range(1, count))]
            known = [abs(feed) - feed, *(feed * k for k in range(1, count))]
            outputs.append(sn.concat([*parts, parts[-1]], axis))
            wanted.append(np.concatenate([*known, known[-1]], axis))
    return inputs, feeds, outputs, wanted


def views() -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Parts that are turned, flipped, shifted or cut views of what a kernel or a routine makes."""
    x, w = sn.placeholder((4, 6), name="x"), sn.placeholder((6, 4), name="w")
    a, b = np.random.default_rng(1).normal(size=(2, 24)).astype(np.float32)
    feeds = [a.reshape(4, 6), b.reshape(6, 4)]

    def made(lib: Any, x: Any, w: Any) -> list[Any]:
        y, z = x + 1, (x @ w) * 2
        both = [y[:, :3] * 2, y[:, 3:] * 3]
        return [
            lib.concat([y, lib.flip(y, axis=1)], axis=1),
            lib.concat([y.T, w], axis=1),
            lib.concat([(x @ w).T, (w.T @ x.T)], axis=1),
            lib.concat([z, z.T], axis=-1),
            lib.concat(both, axis=1),
            lib.concat([y[:, 1:], y[:, :-1]], axis=1),
        ]

    return [x, w], feeds, made(sn, x, w), made(np, *feeds)


def check(got: list[Any], wanted: list[Any]) -> None:
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("make", [cases, views])
def test_values(make: Any) -> None:
    inputs, feeds, outputs, wanted = make()
    check(sn.function(inputs, outputs, device="cpu")(*feeds), wanted)


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize("make", [cases, views])
def test_values_on_a_gpu(make: Any, tmp_path: Path) -> None:
    inputs, feeds, outputs, wanted = make()
    f = sn.function(inputs, outputs, device="numpy")
    failed, got, _ = Machine(lower(f), tmp_path).run(feeds, [])
    assert failed == 0
    check(got, wanted)


def test_a_map_writes_all_parts() -> None:
    """What they are made of is read once, the whole is written once, and no part lies anywhere."""
    x = sn.placeholder((8, 16), name="x")
    f = sn.function(x, sn.concat([sn.tanh(x), sn.exp(x), x * x], 1), device="numpy")
    plan = f.specialize().plan
    assert plan.launches == 1
    assert plan.bytes_moved == (8 * 16 + 8 * 48) * 4
    assert plan.arena_bytes == 0


def test_concatenations_that_share_parts_are_written_by_one_map(tmp_path: Path) -> None:
    """Also parts of several makers; one that is read elsewhere keeps all of them copies."""
    x = sn.placeholder((8, 16), name="x")
    a, b, c = sn.tanh(x), sn.exp(x), x * x
    shared = [sn.concat([a, b], 1), sn.concat([b, c, b], 1), sn.concat([c, a], 1)]
    f = sn.function(x, shared, device="numpy")
    plan = f.specialize().plan
    assert plan.launches == 1
    assert plan.bytes_moved == (8 * 16 + 8 * (32 + 48 + 32)) * 4
    kept = sn.function(x, [*shared, a], device="numpy").specialize().plan
    assert [group.kind for _, group in kept.launched].count("concat") >= 2
    if CXX is not None:
        feed = np.random.default_rng(2).normal(size=(8, 16)).astype(np.float32)
        check(Machine(lower(f), tmp_path).run([feed], [])[1], f(feed))


def test_a_part_that_is_kept_is_written_by_who_reads_it(tmp_path: Path) -> None:
    """What it is a part of lies nowhere: the map makes it of the product."""
    x, w = sn.placeholder((6, 4), name="x"), sn.placeholder((4, 12), name="w")
    whole = x @ w + 1
    first, last = whole[:, :6], whole[:, 6:]
    f = sn.function([x, w], [sn.tanh(first) * last, last], device="numpy")
    plan = f.specialize().plan
    assert [group.kind for _, group in plan.launched] == ["matmul", "map"]
    rng = np.random.default_rng(3)
    feeds = [rng.normal(size=s).astype(np.float32) for s in ((6, 4), (4, 12))]
    e = feeds[0] @ feeds[1] + 1
    wanted = [np.tanh(e[:, :6]) * e[:, 6:], e[:, 6:]]
    check(f(*feeds), wanted)
    if CXX is not None:
        check(Machine(lower(f), tmp_path).run(feeds, [])[1], wanted)


def test_copies_of_views_write_their_parts() -> None:
    """Heads that are joined again, turned, were copied one by one and then together."""
    x = sn.placeholder((4, 6, 3), name="x")
    turned = [sn.permute_dims(sn.nn.softmax(x * k), (2, 1, 0)) for k in (1.0, 2.0)]
    plan = sn.function(x, sn.concat(turned, 2), device="numpy").specialize().plan
    kinds = [group.kind for _, group in plan.launched]
    assert kinds == ["rows", "rows", "map"]


@pytest.mark.parametrize("why", ["read", "returned", "shape", "space"])
def test_what_stays_a_copy(why: str) -> None:
    """Parts that others need lie in memory anyway; parts of several sizes have no one loop."""
    x, y = sn.placeholder((8, 16), name="x"), sn.placeholder((8, 4), name="y")
    a, b = sn.tanh(x), sn.exp(x)
    whole = sn.concat(
        [a, sn.exp(y)] if why == "shape" else [a, b, x] if why == "space" else [a, b], 1
    )
    others = {"read": [sn.matmul(a, x.T)], "returned": [a], "shape": [], "space": []}[why]
    f = sn.function([x, y], [whole, *others], device="numpy")
    assert "concat" in [group.kind for _, group in f.specialize().plan.launched]


def test_a_carry_is_written_over_beside_a_concatenation() -> None:
    """What the map reads at its own place alone it may write over, as without the concatenation."""
    v = sn.variable(np.ones((4, 8), np.float32), name="v")
    x = sn.placeholder((4, 8), name="x")
    new = v * x
    f = sn.function(x, sn.concat([new + 1, v - x], 1), {v: new + 2}, device="numpy")
    plan = f.specialize().plan
    assert plan.launches == 1
    assert not plan.last_copies


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
def test_what_a_concatenation_reads_turned_is_not_written_over() -> None:
    v = sn.variable(np.ones((4, 8), np.float32), name="v")
    x = sn.placeholder((4, 8), name="x")
    f = sn.function(x, sn.concat([v[::-1] * x, v], 1), {v: v + x}, device="cpu")
    feed = np.arange(32, dtype=np.float32).reshape(4, 8)
    for _ in range(2):
        before = v.value.copy()
        np.testing.assert_array_equal(f(feed), np.concatenate([before[::-1] * feed, before], 1))
        np.testing.assert_array_equal(v.value, before + feed)


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
def test_sizes_of_a_dim() -> None:
    """Parts of one shape by chance are of several at other sizes: all sizes have right values."""
    x, y = sn.placeholder(("n", "m"), name="x"), sn.placeholder(("n", "k"), name="y")
    outputs = [sn.concat([x * 2, y + 1], 1), sn.concat([x * 2, x + 1], 1)]
    f = sn.function([x, y], outputs, device="cpu")
    for n, m, k in ((3, 4, 4), (2, 5, 1)):
        a, b = np.ones((n, m), np.float32), np.full((n, k), 3, np.float32)
        got = f(a, b)
        np.testing.assert_array_equal(got[0], np.concatenate([a * 2, b + 1], 1))
        np.testing.assert_array_equal(got[1], np.concatenate([a * 2, a + 1], 1))
