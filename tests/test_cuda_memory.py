"""What the CUDA backend takes of a GPU's memory, and what it keeps on disk; on a fake GPU."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import Gpu, OutOfMemoryError

import staticnet as sn
from staticnet.backends.cuda import many, staging
from staticnet.backends.cuda.cublaslt import CublasLt
from staticnet.backends.cuda.device import Device, module_key
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.errors import MemoryLimitError

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


def counter(start: float = 0.0) -> None:
    """Compile a step that adds up; its source does not hold the first value."""
    x, total = sn.placeholder((4,), name="x"), sn.variable(np.full(4, start, "f"), "total")
    sn.function(x, total + x, updates={total: total + x}, device="cuda")


@needs_shim
class TestMemory:
    def function(self, gpu: Gpu, **options: Any) -> Any:
        x = sn.placeholder(("batch", 64), name="x")
        w = sn.variable(np.ones((64, 64), "f"), "w")
        y = sn.nn.softmax(sn.tanh(x @ w) @ w)
        return sn.function(x, sn.sum(y, 1), device="cuda", **options)

    @pytest.mark.usefixtures("launch_by_launch")
    def test_planned_bytes_are_allocated_and_no_others(self, gpu: Gpu) -> None:
        gpu.blas.workspaces = itertools.repeat(12345)
        f = self.function(gpu)
        gpu.log.clear()
        made = f.specialize(batch=32).executable
        allocated = [entry[1] for entry in gpu.log if entry[0] == "alloc"]
        assert allocated == [made.planned_bytes - 12345, 64 * 64 * 4, 12345]
        assert made.planned_bytes >= f.memory_analysis(batch=32).peak - 64 * 64 * 4

    def test_too_little_memory_is_told_before_anything_is_taken(self, gpu: Gpu) -> None:
        f = self.function(gpu)
        f.specialize(batch=16)
        gpu.free = gpu.used + 100_000
        gpu.log.clear()
        with pytest.raises(MemoryLimitError) as caught:
            f.specialize(batch=1000)
        assert gpu.count("alloc", "copy", "compile") == 0
        text = str(caught.value)
        assert "on Fake GPU, where 100,000 are free" in text
        assert "test_cuda_memory.py" in text  # whose line owns the most
        (largest,) = re.findall(r"the largest that fits: batch = (\d+)", text)
        f.specialize(batch=int(largest) - 1)
        with pytest.raises(MemoryLimitError):
            f.specialize(batch=int(largest) + 10)

    def test_memory_in_pieces(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
        def alloc(nbytes: int) -> Any:
            raise OutOfMemoryError

        monkeypatch.setattr(gpu.cupy.cuda, "alloc", alloc)
        with pytest.raises(MemoryLimitError, match="bytes on Fake GPU"):
            sn.function([], sn.constant(np.ones(3, "f")) * 2, device="cuda")


@needs_shim
class TestModules:
    def test_equal_sources_are_compiled_once_and_loaded_once(self, gpu: Gpu) -> None:
        counter()
        counter(7.0)
        assert (gpu.count("compile"), gpu.count("load")) == (2, 2)  # the step's, and its staging's

    def test_the_cubin_is_kept_on_disk(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
        counter()
        again = Device(gpu.cupy, gpu.nvrtc, CublasLt(gpu.blas))  # type: ignore[arg-type]
        monkeypatch.setattr("staticnet.backends.cuda.open_device", lambda: again)
        counter()
        assert (gpu.count("compile"), gpu.count("load")) == (2, 4)

    @pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
    @pytest.mark.parametrize("module", [many, staging])
    def test_the_drivers_own_kernels_compile(self, architecture: str, module: Any) -> None:
        nvrtc = find_nvrtc()
        if nvrtc is None:
            pytest.skip("no NVRTC on this machine: pip install nvidia-cuda-nvrtc")
        assert nvrtc.compile(module.source(), architecture)[:4] == b"\x7fELF"

    def test_the_key_holds_all_that_decides_the_code(self) -> None:
        keys = {
            module_key(source, architecture, version)
            for source in ("a", "b")
            for architecture in ("sm_80", "sm_90")
            for version in ((12, 9), (13, 0))
        }
        assert len(keys) == 8
