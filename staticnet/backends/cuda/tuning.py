"""Which of cuBLASLt's algorithms computes a product: the fastest by measurement.

Those that the library expects to be fast, among them such as split a sum among blocks, are timed
when a product of a kind is first compiled, and the fastest is kept on disk, for this GPU, this
version of cuBLAS and products of this shape, types and alignment. A process spends at most
STATICNET_TUNE seconds on it; then, or with 0, the library's first is taken and not kept.
"""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

from staticnet import flags
from staticnet.backends import cache
from staticnet.backends.cuda.commands import BoundProduct
from staticnet.backends.cuda.cublaslt import WORKSPACE, Algorithm
from staticnet.backends.cuda.device import Device
from staticnet.errors import ExecutionError

log = logging.getLogger("staticnet")
CANDIDATES = 16
WARM_UP, TIMED = 3, 10
SUFFIX = ".json"


def choose(product: BoundProduct, device: Device, stream: Any) -> Algorithm:
    """The algorithm of a product.

    Raises:
        ExecutionError: if there is none.
    """
    budget = flags.read().tune
    key = tuning_key(product, device)
    spent = device.seconds_tuned >= budget
    if budget == 0 or (spent and cache.open_cache().find(key, SUFFIX) is None):
        return product.algorithms(1)[0]

    def make(output: Path) -> None:
        start = time.perf_counter()
        output.write_text(json.dumps(_measured(product, device, stream)), encoding="utf-8")
        device.seconds_tuned += time.perf_counter() - start
        if device.seconds_tuned >= budget:
            log.info(
                "cuda: algorithms were timed for %.1f s; other products take the library's "
                "first until a process has time for them (STATICNET_TUNE)", device.seconds_tuned,
            )  # fmt: skip

    file, _ = cache.build(key, SUFFIX, make)
    kept = json.loads(file.read_text(encoding="utf-8"))
    return Algorithm(bytes.fromhex(kept["algorithm"]), kept["workspace"])


def tuning_key(product: BoundProduct, device: Device) -> str:
    """What an algorithm that was measured holds for."""
    version = str(device.blas.version)
    return cache.digest(
        "cublaslt", version, device.name, repr(product.descriptor), repr(product.alignments)
    )


def _measured(product: BoundProduct, device: Device, stream: Any) -> dict[str, Any]:
    """The fastest of the candidates, on the operands as they are, into memory of its own."""
    found = product.algorithms(CANDIDATES)
    room = device.cupy.cuda.alloc(WORKSPACE)
    layout = product.descriptor.d
    itemsize = product.product.dtype.itemsize
    elements = (layout.batch - 1) * layout.stride + layout.leading * layout.columns
    result = device.cupy.cuda.alloc(elements * itemsize)
    a, b, _ = product.calls[0]
    beside = device.cupy.cuda.alloc(max(1, product.bytes_beside))
    operation = product.beside(beside.ptr)
    times = []
    for algorithm in found:

        def multiply(algorithm: Algorithm = algorithm) -> None:
            device.blas.multiply(
                operation, algorithm, a, b, result.ptr, room.ptr, stream.ptr
            )  # fmt: skip

        try:
            times.append(_time(multiply, device, stream))
        except ExecutionError as error:  # the library expected more of it than it can do
            log.info("cuda: %s: %s", product.descriptor, error)
            times.append(math.inf)
    best = min(range(len(found)), key=times.__getitem__)
    log.info(
        "cuda: %s: algorithm %d of %d, %.1f µs", product.descriptor, best, len(found),
        times[best] * 1e3,
    )  # fmt: skip
    kept = found[best]
    return {
        "algorithm": kept.data.hex(),
        "workspace": kept.workspace,
        "milliseconds": times,
        "cublas": device.blas.version,
    }


def _time(act: Any, device: Device, stream: Any) -> float:
    """Milliseconds of one call."""
    cuda = device.cupy.cuda
    start, end = cuda.Event(), cuda.Event()
    for _ in range(WARM_UP):
        act()
    start.record(stream)
    for _ in range(TIMED):
        act()
    end.record(stream)
    end.synchronize()
    return float(cuda.get_elapsed_time(start, end)) / TIMED
