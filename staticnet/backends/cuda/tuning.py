"""Which of cuBLASLt's algorithms computes a product: the fastest by measurement.

What cuDNN may compute is timed likewise: by its plans, and by kernels of our own.

Those that the library expects to be fast, among them such as split a sum among blocks, are timed
when a product of a kind is first compiled, and the fastest is kept on disk, for this GPU, this
version of cuBLAS and products of this shape, types and alignment. A process spends at most
STATICNET_TUNE seconds on it; then, or with 0, the library's first is taken and not kept.
"""

from __future__ import annotations

import functools
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from staticnet import flags
from staticnet.backends import cache
from staticnet.backends.cuda.commands import BoundCall, BoundProduct, Chosen
from staticnet.backends.cuda.cublaslt import WORKSPACE, Algorithm
from staticnet.backends.cuda.cudnn import CallPlan
from staticnet.backends.cuda.device import Device
from staticnet.errors import ExecutionError

log = logging.getLogger("staticnet")
CANDIDATES = 16
PLANS = 4  # of cuDNN, each of which may take seconds to build
PARTS = 2  # of a convolution alone, whose engines are built already
OWN = "own"  # kernels, beside plans
APART = ", own"  # behind the name of a plan of a part, of which kernels make the whole
WARM_UP, TIMED = 3, 10
Name = TypeVar("Name", int, str)
SUFFIX = ".json"


def choose(chosen: Chosen, device: Device, stream: Any) -> Algorithm | CallPlan | None:
    """The algorithm of a product, or the plan of a call, None for launches of our own.

    Raises:
        ExecutionError: if there is none.
    """
    if isinstance(chosen, BoundCall):
        return _choose_plan(chosen, device, stream)
    product = chosen
    kept = _kept(tuning_key(product, device), device, lambda: _measured(product, device, stream))
    if kept is None:
        return product.algorithms(1)[0]
    return Algorithm(bytes.fromhex(kept["algorithm"]), kept["workspace"])


def _choose_plan(call: BoundCall, device: Device, stream: Any) -> CallPlan | None:
    """The plan of a call: the library's first where nothing is timed."""
    cudnn, signature = device.cudnn, call.call.signature
    if cudnn is None:
        return None
    key = cache.digest("cudnn", str(cudnn.version), device.name, repr(signature), _own(call))
    known = cache.open_cache().find(key, SUFFIX) is not None
    kept, offered = None, [signature, *([call.call.plain[0]] if call.call.plain else [])]
    if not flags.read().tune or known or any(cudnn.graph(x) is not None for x in offered):
        kept = _kept(key, device, lambda: _measured_call(call, device, stream))
    if kept is not None:
        times = sorted(kept["milliseconds"].items(), key=lambda entry: entry[1])
        call.why = ", ".join(f"{name} {ms * 1e3:.1f} µs" for name, ms in times)
        if kept["plan"] == OWN:
            return None
        if plan := _plan_of(call, kept["plan"], device):
            return plan
    plan = _plan_of(call, "", device) or _plan_of(call, APART, device)
    call.why = "its first, not timed" if plan else "it has no plan"
    return plan


def _plan_of(call: BoundCall, name: str, device: Device) -> CallPlan | None:
    """The plan of a name, of the whole or, as the name says, of a part; "" and APART: the first."""
    assert device.cudnn is not None
    if not name.endswith(APART):
        return device.cudnn.plan(call.call.signature, name, device.name)
    if call.call.plain is None:
        return None
    plan = device.cudnn.plan(call.call.plain[0], name.removesuffix(APART), device.name)
    return plan and replace(plan, apart=True)


def _own(call: BoundCall) -> str:
    """What tells launches of our own from others, which may be faster some day."""
    return repr([(x.name, x.grid, x.block) for x in call.own])


def _kept(
    key: str, device: Device, measured: Callable[[], dict[str, Any]]
) -> dict[str, Any] | None:
    """What was measured and kept; None where nothing is and there is no time for it."""
    budget = flags.read().tune
    spent = device.seconds_tuned >= budget
    if budget == 0 or (spent and cache.open_cache().find(key, SUFFIX) is None):
        return None

    def make(output: Path) -> None:
        start = time.perf_counter()
        output.write_text(json.dumps(measured(), allow_nan=False), encoding="utf-8")
        device.seconds_tuned += time.perf_counter() - start
        if device.seconds_tuned >= budget:
            log.info(
                "cuda: algorithms were timed for %.1f s; other products take the library's "
                "first until a process has time for them (STATICNET_TUNE)", device.seconds_tuned,
            )  # fmt: skip

    found: dict[str, Any] = json.loads(cache.content(key, SUFFIX, make)[0])
    return found


def tuning_key(product: BoundProduct, device: Device) -> str:
    """What an algorithm that was measured holds for."""
    version = str(device.blas.version)
    return cache.digest(
        "cublaslt", version, device.name, repr(product.descriptor), repr(product.alignments)
    )


def _measured(product: BoundProduct, device: Device, stream: Any) -> dict[str, Any]:
    """The fastest of the candidates, on the operands as they are, into memory of its own.

    Raises:
        ExecutionError: if none of them runs.
    """
    found = product.algorithms(CANDIDATES)
    room = device.cupy.cuda.alloc(WORKSPACE)
    layout = product.descriptor.d
    itemsize = product.product.dtype.itemsize
    elements = (layout.batch - 1) * layout.stride + layout.leading * layout.columns
    result = device.cupy.cuda.alloc(elements * itemsize)
    a, b, _ = product.calls[0]
    beside = device.cupy.cuda.alloc(max(1, product.bytes_beside))
    operation = product.beside(beside.ptr)
    ways: dict[int, Callable[[], None]] = {
        i: functools.partial(
            device.blas.multiply, operation, x, a, b, result.ptr, room.ptr, stream.ptr
        )
        for i, x in enumerate(found)
    }
    times = _times(ways, product.descriptor, device, stream)
    if not times:
        raise ExecutionError(
            f"cuBLASLt {device.blas.version}: none of its {len(found)} algorithms runs for "
            f"{product.descriptor}; please report this"
        )
    best = min(times, key=times.__getitem__)
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


def _measured_call(call: BoundCall, device: Device, stream: Any) -> dict[str, Any]:
    """The fastest of a few plans and of our own launches, whose results go elsewhere."""
    assert device.cudnn is not None
    graph = device.cudnn.graph(call.call.signature)
    left = flags.read().tune - device.seconds_tuned
    plans, cuda = graph.plans(PLANS, left) if graph else [], device.cupy.cuda
    part = device.cudnn.graph(call.call.plain[0]) if call.call.plain else None
    plans += [replace(plan, apart=True) for plan in (part.plans(PARTS, left) if part else [])]
    room = cuda.alloc(max((plan.workspace for plan in plans), default=0) or 1)
    rooms = {}
    signature = call.call.signature
    for x, address in zip(signature.arrays, call.call.addresses, strict=True):
        if x.name in signature.results:
            rooms[address] = cuda.alloc(x.nbytes)
    beside = call.elsewhere({address: int(made.ptr) for address, made in rooms.items()})
    ways: dict[str, Callable[[], None]] = {OWN: lambda: beside.by_launches(stream)}
    for plan in plans:
        ways[_name(plan)] = functools.partial(beside.by_library, plan, int(room.ptr), stream)
    times = _times(ways, signature, device, stream)
    best = min(times, key=times.__getitem__)
    log.info(
        "cuda: %s: %s of %d ways, %.1f µs", signature, best, len(times),
        times[best] * 1e3,
    )  # fmt: skip
    return {
        "plan": best,
        "milliseconds": times,
        "cudnn": device.cudnn.version,
        "call": str(signature),
    }


def told(calls: Iterable[Chosen]) -> str:
    """`cuDNN computes 1 of 2 calls: attention by eng9 ×1 (eng9 31.0 µs, own 55.1 µs); …`, and why.

    Nothing where there is no call that it could compute.
    """
    offered = [x for x in calls if isinstance(x, BoundCall)]
    if not offered:
        return ""
    names = [_name(x.algorithm) if isinstance(x.algorithm, CallPlan) else OWN for x in offered]
    ways = Counter(
        (f"{x.call.signature.kind} by {name}", x.why)
        for x, name in zip(offered, names, strict=True)
    )
    listed = "; ".join(f"{way} ×{count} ({why})" for (way, why), count in ways.items())
    return f"cuDNN computes {sum(x != OWN for x in names)} of {len(offered)} calls: {listed}"


def _name(plan: CallPlan) -> str:
    return plan.name + APART * plan.apart


def _times(
    ways: Mapping[Name, Callable[[], None]], what: object, device: Device, stream: Any
) -> dict[Name, float]:
    """Milliseconds of each way that runs; a library may expect more of one than it can do."""
    times = {}
    for name, act in ways.items():
        try:
            times[name] = _time(act, device, stream)
        except ExecutionError as error:
            log.info("cuda: %s: %s is left out: %s", what, name, error)
    return times


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
