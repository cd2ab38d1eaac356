"""Philox: the published vectors, and the distributions drawn from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError
from staticnet.ops.random import mix, philox4x32, random_words

# Random123's known-answer tests for philox4x32-10: counter, key, result.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_published_vectors(counter: Any, key: Any, result: Any) -> None:
    assert tuple(int(word) for word in philox4x32(counter, key)) == result


def test_the_op_numbers_its_elements_as_documented() -> None:
    seed, counter = 0x299F31D0A4093822, 0x0370734413198A2E
    bits = draw(sn.random.random_bits(sn.random.key(seed, counter), (3, 3)))
    for e in range(9):
        words = philox4x32((e // 4, 0, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
        assert bits.reshape(-1)[e] == words[e % 4]
    np.testing.assert_array_equal(random_words(seed, counter, 9), bits.reshape(-1))


def draw(value: Any) -> Any:
    return sn.function([], value)()


KEY = sn.random.key(11)
N = 40_000


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform(dtype: str) -> None:
    x = draw(sn.random.uniform(KEY, (N,), dtype, low=-1, high=3))
    assert x.dtype == dtype
    x = x.astype(np.float64)
    assert x.min() >= -1
    assert x.max() <= 3
    if dtype in ("float32", "float64"):
        assert x.max() < 3
        assert stats.kstest(x, stats.uniform(-1, 4).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(dtype: str) -> None:
    x = draw(sn.random.normal(KEY, (N,), dtype, mean=2, std=3))
    assert x.dtype == dtype
    assert np.isfinite(x).all()
    assert stats.kstest(x, stats.norm(2, 3).cdf).pvalue > 1e-3


def test_bernoulli_and_randint() -> None:
    heads = draw(sn.random.bernoulli(KEY, 0.3, (N,)))
    assert heads.dtype == bool
    assert heads.mean() == pytest.approx(0.3, abs=0.01)
    dice = draw(sn.random.randint(KEY, -3, 3, (N,), "int32"))
    assert dice.dtype == np.int32
    counts = np.bincount(dice + 3, minlength=6)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_permutation_is_one_and_not_the_identity() -> None:
    order = draw(sn.random.permutation(KEY, 1000))
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.15
    x = sn.placeholder(("n",), name="x")
    f = sn.function(x, sn.random.permutation(KEY, x.shape[0]))
    np.testing.assert_array_equal(f(np.zeros(1000, "f")), order)


def test_keys_name_streams() -> None:
    draws = [
        sn.random.uniform(k, (1000,))
        for k in (
            KEY,
            sn.random.key(12),
            sn.random.key(11, 1),
            *(sn.random.fold_in(KEY, i) for i in (0, 1)),
        )
    ]
    values = sn.function([], draws)()
    for i, a in enumerate(values):
        for b in values[:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.12
    again = draw(sn.random.uniform(sn.random.key(11), (1000,)))
    np.testing.assert_array_equal(again, values[0])
    np.testing.assert_array_equal(draw(sn.random.uniform(KEY, (10,))), values[0][:10])


def test_a_generator_draws_anew_each_run_and_resumes() -> None:
    rng = sn.random.Generator(5)
    a, b = (sn.random.uniform(rng.key(), (8,)) for _ in range(2))
    f = sn.function([], [a, b])
    first, second, third = f(), f(), f()
    for earlier, later in ((first[0], first[1]), (first[0], second[0]), (second[0], third[0])):
        assert not np.array_equal(earlier, later)
    rng.counter.value = np.uint64(1)
    np.testing.assert_array_equal(f()[1], second[1])


def test_mix_spreads() -> None:
    assert len({mix(seed, number) for seed in range(30) for number in range(30)}) == 900


def test_wrong_arguments() -> None:
    for seed in (-1, 2**64, 1.5, "a", None):
        with pytest.raises(ArgumentError, match="a seed must be an int"):
            sn.random.key(seed)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"expected a key from sn.random.key"):
        sn.random.uniform(3, (2,))  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="uniform: takes a floating-point dtype, not int32"):
        sn.random.uniform(KEY, (2,), "int32")
    with pytest.raises(ArgumentError, match=r"randint: \[3, 3\) must hold"):
        sn.random.randint(KEY, 3, 3)
