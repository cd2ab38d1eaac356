"""What rates are measured on: random numbers, as zeros and untouched pages are faster."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_gpu import D2D, Gpu

from staticnet.backends import cuda as cuda_backend
from staticnet.backends import rates as common
from staticnet.backends.cpu import rates as cpu
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cuda import rates as cuda

SHIPPED = True

COMPILES = True
SIZES = (1 << 10, 1 << 12)


def all_differ(x: Any) -> bool:
    """Whether an array has about as many values as elements."""
    return len(np.unique(np.asarray(x))) > 0.9 * np.asarray(x).size


def at(address: int, count: int, dtype: Any) -> np.ndarray[Any, Any]:
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype)


def test_random_numbers_differ_and_have_their_dtype() -> None:
    for dtype in (np.float32, np.float64):
        drawn = common.random_numbers(1000, dtype)
        assert drawn.dtype == dtype
        assert all_differ(drawn)
        assert abs(drawn.std() - 1) < 0.1


def test_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply, copy, seen = np.matmul, np.copyto, list[Any]()
    monkeypatch.setattr(np, "matmul", lambda a, b: seen.extend((a, b)) or multiply(a, b))
    common._product.__wrapped__("float64")
    monkeypatch.setattr(np, "copyto", lambda to, a: seen.append(a.view("f")) or copy(to, a))
    monkeypatch.setattr(common, "SIZES", SIZES)
    common._copies.__wrapped__()
    assert all(all_differ(x) for x in seen[:4] + seen[-4:])


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
def test_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    blas = pytest.importorskip("scipy.linalg.blas")
    multiply = blas.dgemm
    monkeypatch.setattr(
        blas,
        "dgemm",
        lambda scale, a, b, **more: seen.extend((a, b)) or multiply(scale, a, b, **more),
    )
    cpu._product.__wrapped__("float64")
    copied = []

    def copy(to: int, source: int, nbytes: int, times: int, parallel: int) -> None:
        copied.append(at(source, nbytes // 4, "f").copy())

    monkeypatch.setattr(cpu, "load", lambda text, compiler: SimpleNamespace(sn_copy=Spy(copy)))
    monkeypatch.setattr(cpu, "SIZES", SIZES)
    cpu._copies.__wrapped__(find_compiler())
    assert all(all_differ(x) for x in seen[:4])
    assert all(all_differ(x) for x in copied[-4:])


class Spy:
    """A function that takes `argtypes`."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)


@pytest.mark.parametrize("drawn", [100, 1 << 20])
def test_the_gpus(gpu: Gpu, monkeypatch: pytest.MonkeyPatch, drawn: int) -> None:
    """Few are drawn and repeated, so that no operand is empty beyond them."""
    monkeypatch.setattr(cuda, "DRAWN", drawn)
    monkeypatch.setattr(cuda, "PRODUCT", 64)
    monkeypatch.setattr(cuda, "SIZES", SIZES)
    monkeypatch.setattr(gpu.cupy.cuda, "get_elapsed_time", lambda a, b: 1.0)
    device = cuda_backend.open_device()
    operands, sources = [], []
    multiply, copy = device.blas.multiply, device.copy

    def spy(operation: Any, algorithm: Any, a: int, b: int, *rest: Any) -> None:
        gpu.current.synchronize()
        operands.extend(at(x, 64 * 64, "f").copy() for x in (a, b))
        multiply(operation, algorithm, a, b, *rest)

    monkeypatch.setattr(device.blas, "multiply", spy)
    cuda._product.__wrapped__(device, "float32")
    assert len(operands) >= 2
    for x in operands:
        least = min(drawn, 64 * 64)
        assert all_differ(x[:least])
        np.testing.assert_array_equal(x, np.resize(x[:least], 64 * 64))

    def spy_copy(to: int, source: int, nbytes: int, stream: Any) -> None:
        gpu.current.synchronize()
        sources.append(at(source, nbytes // 4, "f").copy())
        copy(to, source, nbytes, stream)

    monkeypatch.setattr(device, "copy", spy_copy)
    cuda._copies.__wrapped__(device)
    assert [len(x) * 8 for x in sources[-2:]] == [SIZES[-1]] * 2
    assert all(all_differ(x[: min(drawn, len(x))]) for x in sources)
    assert gpu.count("copy") == sum(entry[:2] == ("copy", D2D) for entry in gpu.log) + 3
