"""A process that holds one contender on the GPU: `python -m bench.gpu.worker NAME CONTENDER cuda`.

It answers as `bench.worker` does. A sample ends when the device is done. Beside the wall clock's
seconds it has the device's, by CUDA events, where the framework has them. `{"do": "rates"}` gives
the rates of copies and products, and what the GPU is.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.gpu.workloads import WORKLOADS
from bench.program import Mode
from bench.worker import Worker, pin, serve


class GpuWorker(Worker):
    """A worker whose samples wait for the device."""

    def __init__(self, workload: Any, contender: str, device: str) -> None:
        super().__init__(workload, contender, device)
        self._clock = CLOCKS[contender.split(".")[0]]()

    def acts(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """What can be asked of it."""
        return {**super().acts(), "prepare": self.prepare_on_all_cores, "rates": self.rates}

    def prepare_on_all_cores(self, size: int, steps: int) -> dict[str, Any]:
        """Prepare, then keep to as many cores as there are threads."""
        answer = self.prepare(size, steps)
        pin(int(os.environ["OMP_NUM_THREADS"]))
        return answer

    def _mode(self, name: str) -> Mode:
        mode = super()._mode(name)

        def repeat(n: int) -> None:
            mode.repeat(n)
            self._clock.synchronize()

        return Mode(repeat, mode.check, mode.steps)

    def _samples(self, mode: str, seconds: float, calls: int, most: int) -> dict[str, Any]:
        chosen = super()._mode(mode)
        wall: list[float] = []
        device: list[float] = []
        gc.disable()
        end = time.perf_counter() + seconds
        while not wall or (time.perf_counter() < end and len(wall) < most):
            started = time.perf_counter()
            took = self._clock.time(functools.partial(chosen.repeat, calls))
            wall.append((time.perf_counter() - started) / (calls * chosen.steps))
            device += [] if took is None else [took / (calls * chosen.steps)]
        gc.enable()
        rounded = [[float(f"{s:.5g}") for s in samples] for samples in (wall, device)]
        return {"samples": rounded[0], "device": rounded[1]}

    def rates(self) -> dict[str, Any]:
        """Bytes and FLOPs a second of this GPU, measured now."""
        from staticnet.backends.cuda.device import open_device
        from staticnet.backends.cuda.rates import rates

        device = open_device()
        found = rates(device, ("float32", "bfloat16"))
        cupy = device.cupy
        return {
            "kind": "gpu",
            "name": device.name,
            "architecture": device.architecture,
            "copies": found.copies,
            "products": found.products,
            "driver": cupy.cuda.runtime.driverGetVersion(),
            "runtime": cupy.cuda.runtime.runtimeGetVersion(),
            "cupy": cupy.__version__,
            "cublas": device.blas.version,
        }


class CupyClock:
    """The device's time of what CuPy's current stream runs."""

    def __init__(self) -> None:
        self._cuda = importlib.import_module("cupy").cuda

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._cuda.get_current_stream().synchronize()

    def time(self, act: Callable[[], Any]) -> float | None:
        """Seconds between events around what `act` enqueues."""
        start, end = self._cuda.Event(), self._cuda.Event()
        start.record()
        act()
        end.record()
        end.synchronize()
        return float(self._cuda.get_elapsed_time(start, end)) * 1e-3


class TorchClock:
    """The device's time of what torch's current stream runs."""

    def __init__(self) -> None:
        self._torch = torch_on_the_gpu()

    def synchronize(self) -> None:
        """Wait for the device."""
        self._torch.cuda.synchronize()

    def time(self, act: Callable[[], Any]) -> float | None:
        """Seconds between events around what `act` enqueues."""
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        act()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3


class JaxClock:
    """JAX shows no events; its contenders wait for their results themselves."""

    def __init__(self) -> None:
        jax = importlib.import_module("jax")
        if jax.default_backend() != "gpu":
            raise RuntimeError("this jax has no GPU: pip install 'jax[cuda13]'")

    def synchronize(self) -> None:
        """The calls have waited."""

    def time(self, act: Callable[[], Any]) -> float | None:
        """None: there is no device time."""
        act()
        return None


CLOCKS: dict[str, Callable[[], Any]] = {
    "staticnet": CupyClock,
    "torch": TorchClock,
    "jax": JaxClock,
}


@functools.cache
def torch_on_the_gpu() -> Any:
    """torch, set up so that the contenders written for the CPU make and read tensors on the GPU.

    torch.compile searches for the fastest kernels and captures CUDA graphs.
    """
    torch: Any = importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise RuntimeError("this torch has no CUDA; install the wheel for your driver")
    torch.set_default_device("cuda")
    torch.set_float32_matmul_precision("highest")
    from_numpy, to_numpy = torch.from_numpy, torch.Tensor.numpy

    def on_device(array: Any) -> Any:
        return from_numpy(array).cuda()

    def on_host(tensor: Any, *args: Any, **options: Any) -> Any:
        return to_numpy(tensor.detach().cpu(), *args, **options)

    torch.from_numpy = on_device
    torch.Tensor.numpy = on_host
    torch.Tensor.__array__ = lambda tensor, dtype=None, copy=None: np.asarray(
        on_host(tensor), dtype
    )
    torch.compile = functools.partial(torch.compile, mode="max-autotune")
    return torch


def main(name: str, contender: str, device: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = GpuWorker(WORKLOADS[name], contender, device)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    serve(worker, sys.stdin, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
