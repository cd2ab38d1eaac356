"""What this GPU reaches, measured once a process: copies of several sizes, and large products."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

from staticnet.backends.cuda.cublaslt import WORKSPACE, Operation
from staticnet.backends.cuda.descriptor import (
    COMPUTE_32F,
    COMPUTE_64F,
    EPILOGUES,
    MAX_ALIGNMENT,
    TYPES,
    MatmulDescriptor,
    MatrixLayout,
)
from staticnet.backends.cuda.device import Device
from staticnet.backends.rates import Rates, random_numbers
from staticnet.ir.dtype import DTYPES

SIZES = tuple(1 << power for power in range(16, 31, 2))  # bytes read and written by a copy
PRODUCT = 8192  # rows, columns and inner length; a quarter for float64
REPEATS = 5
DRAWN = 1 << 20


def rates(device: Device, dtypes: Collection[str]) -> Rates:
    """The rates of copies on the device, and of large products in the given dtypes."""
    return Rates(_copies(device), {dtype: _product(device, dtype) for dtype in sorted(dtypes)})


@functools.cache
def _copies(device: Device) -> tuple[tuple[int, float], ...]:
    stream = device.stream()
    source = _random_memory(device, SIZES[-1] // 2 // 4, "float32")
    to = device.cupy.cuda.alloc(SIZES[-1] // 2)

    def rate(size: int) -> float:
        return size / seconds(device, lambda: device.copy(to.ptr, source.ptr, size // 2, stream))

    return tuple((size, rate(size)) for size in SIZES)


@functools.cache
def _product(device: Device, dtype: str) -> float:
    """FLOP/s of a square product of random numbers, by the library that runs steps."""
    n = PRODUCT // 4 if dtype == "float64" else PRODUCT
    layout = MatrixLayout(TYPES[dtype], n, n, n)
    scale = TYPES["float64" if dtype == "float64" else "float32"]
    compute = COMPUTE_64F if dtype == "float64" else COMPUTE_32F
    operation = Operation(
        device.blas,
        MatmulDescriptor(compute, scale, 0, 0, EPILOGUES["none"], layout, layout, layout),
    )
    (algorithm,) = device.blas.algorithms(operation, (MAX_ALIGNMENT,) * 3)
    stream = device.stream()
    nbytes = n * n * DTYPES[dtype].itemsize
    a, b = (_random_memory(device, n * n, dtype) for _ in range(2))
    d, room = (device.cupy.cuda.alloc(size) for size in (nbytes, WORKSPACE))

    def multiply() -> None:
        device.blas.multiply(operation, algorithm, a.ptr, b.ptr, d.ptr, room.ptr, stream.ptr)

    return 2.0 * n**3 / seconds(device, multiply)


def _random_memory(device: Device, count: int, dtype: str) -> Any:
    """Device memory of `count` random numbers: as many as the host draws fast, repeated."""
    stream = device.stream()
    drawn = random_numbers(min(count, DRAWN), DTYPES[dtype])
    nbytes, filled = count * drawn.itemsize, drawn.nbytes
    memory = device.cupy.cuda.alloc(nbytes)
    device.write(memory.ptr, drawn, stream)
    while filled < nbytes:
        piece = min(filled, nbytes - filled)
        device.copy(memory.ptr + filled, memory.ptr, piece, stream)
        filled += piece
    return memory


def seconds(device: Device, act: Callable[[], Any]) -> float:
    """The shortest of some times by CUDA events, after a warm-up."""
    cuda, stream = device.cupy.cuda, device.stream()
    act()
    found = []
    for _ in range(REPEATS):
        start, end = cuda.Event(), cuda.Event()
        start.record(stream)
        act()
        end.record(stream)
        end.synchronize()
        found.append(float(cuda.get_elapsed_time(start, end)) * 1e-3)
    return max(min(found), 1e-9)
