"""More bindings of symbolic dims than programs that are kept."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError

COMPILES = True


def rows(n: int) -> Any:
    return np.arange(2.0 * n).reshape(n, 2)


def step(device: str = "numpy", **options: Any) -> tuple[Any, Any]:
    """The sum of its rows, and how often it ran."""
    x, count = sn.placeholder(("batch", 2), "float64", "x"), sn.variable(np.int64(0), "count")
    f = sn.function(x, sn.sum(x, 0), updates={count: count + 1}, device=device, **options)
    return f, count


def batches(f: Any) -> list[int]:
    return [dims["batch"] for dims in f.specializations]


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_any_number_of_sizes_may_be_fed(device: str) -> None:
    f, count = step(device, max_specializations=2)
    for n in (1, 2, 3, 4, 1, 2, 3, 4):
        np.testing.assert_array_equal(f(rows(n)), rows(n).sum(0))
    assert batches(f) == [3, 4]
    assert count.value == 8


def test_any_number_of_sizes_on_a_gpu(gpu: Any) -> None:
    f, count = step("cuda", max_specializations=1)
    results = [f(rows(n)) for n in (1, 2, 3, 1)]
    for n, result in zip((1, 2, 3, 1), results, strict=True):
        np.testing.assert_array_equal(result.get(), rows(n).sum(0))
    assert count.value == 4


def test_eight_are_kept_and_the_ninth_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    f, _ = step()
    with caplog.at_level(logging.WARNING, "staticnet"):
        for n in range(1, 9):
            f(rows(n))
        assert not caplog.records
        for n in range(9, 12):
            f(rows(n))
    assert batches(f) == list(range(4, 12))
    (record,) = caplog.records
    assert "more than 8 bindings" in record.message
    assert "{'batch': 1}" in record.message
    assert "max_specializations" in record.message


def test_the_one_used_longest_ago_goes() -> None:
    f, _ = step(max_specializations=3)
    for n in (1, 2, 3, 1, 3, 4):
        f(rows(n))
    assert batches(f) == [1, 3, 4]
    f.run(2, rows(10), batch_size=1)
    f.specialize(batch=5)
    assert batches(f) == [4, 1, 5]
    kept = f.specialize(batch=1)
    f(rows(4))
    assert f.specialize(batch=1) is kept


@pytest.mark.parametrize("most", [0, -1, 2.0, True, None, "3"])
def test_the_number_is_a_positive_int(most: Any) -> None:
    with pytest.raises(ArgumentError, match="max_specializations must be"):
        step(max_specializations=most)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, lambda n: np.array(n, "uint16")])
def test_numpys_ints_are_ints(kind: Any) -> None:
    f, _ = step(max_specializations=kind(1))
    assert type(f.max_specializations) is int
    f(rows(1)), f(rows(2))
    assert batches(f) == [2]


def test_results_outlive_their_program() -> None:
    x = sn.placeholder(("n",), name="x")
    large = sn.function(x, x + 1, device="cpu", max_specializations=1)
    first = large(np.zeros(1 << 19, "f"))
    large(np.zeros(1 << 18, "f"))
    assert (first == 1).all()


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_threads_may_drop_one_anothers_programs(device: str) -> None:
    f, count = step(device, max_specializations=2)
    wrong: list[Any] = []

    def work(first: int) -> None:
        for i in range(20):
            n = 1 + (first + i) % 4
            if not np.array_equal(f(rows(n)), rows(n).sum(0)):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert count.value == 80
    assert len(f.specializations) == 2


def test_one_binding_is_compiled_once_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    f, _ = step()
    made, real = [], f._specialize
    monkeypatch.setattr(f, "_specialize", lambda dims: made.append(dims) or real(dims))
    threads = [threading.Thread(target=f, args=(rows(3),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [{"batch": 3}]


def test_while_one_is_compiled_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    f, count = step()
    f(rows(1)), f(rows(2))
    begun, end, ended = threading.Event(), threading.Event(), []
    real = f._specialize

    def slow(dims: Any) -> Any:
        begun.set()
        ended.append(end.wait(60))
        return real(dims)

    monkeypatch.setattr(f, "_specialize", slow)
    thread = threading.Thread(target=f, args=(rows(3),))
    thread.start()
    assert begun.wait(60)
    f(rows(1)), f(rows(2))
    f.synchronize()
    assert batches(f) == [1, 2]
    end.set()
    thread.join()
    assert ended == [True]
    assert count.value == 5
    assert batches(f) == [1, 2, 3]


def test_a_binding_that_fails_drops_nothing() -> None:
    x = sn.placeholder(("n",), name="x")
    f = sn.function(x, x[2:5], max_specializations=1)
    f(np.zeros(5, "f"))
    with pytest.raises(sn.errors.ShapeError):
        f(np.zeros(3, "f"))
    assert f.specializations == [{"n": 5}]
