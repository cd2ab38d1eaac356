"""A GPU that is described to PyTorch and not there: `torch.compile` plans kernels for it.

A build of PyTorch without CUDA has fake tensors of CUDA's type, but no guard of such a device for
autograd, nor hooks that say there is one. Both are interfaces of its headers, which a few lines of
C++ fill. With the properties of an H100 beside them, AOTAutograd partitions a step and Inductor
lowers and fuses it as on that GPU; no kernel is compiled, and none runs. Needs a C++ compiler, and
triton, whose installation asks for no GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

GUARD = """
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/FakeGuardImpl.h>
using Guard = c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>;
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
struct CUDAHooks : at::CUDAHooksInterface {
  CUDAHooks(at::CUDAHooksArgs) {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};
using at::CUDAHooksRegistry;
using at::RegistererCUDAHooksRegistry;
REGISTER_CUDA_HOOKS(CUDAHooks)
"""
H100 = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3", major=9, minor=0, multi_processor_count=132, warp_size=32,
    total_memory=80 << 30, regs_per_multiprocessor=65536, max_threads_per_multi_processor=2048,
    max_threads_per_block=1024, shared_memory_per_block=49152, gcnArchName="",
    shared_memory_per_block_optin=232448, L2_cache_size=50 << 20, clock_rate=1980000,
    memory_clock_rate=2619000, memory_bus_width=5120,
)  # fmt: skip


def _load_guard() -> None:
    """Compile and load the C++, before PyTorch asks for its hooks."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        raise SystemExit("bench.gpu.bytes needs PyTorch")
    root = Path(found.origin).parent
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "guard.cpp"), Path(folder, "guard.so")
        source.write_text(GUARD)
        linked = ["-L", str(root / "lib"), "-lc10", "-ltorch_cpu"]
        flags = ["-std=c++20", "-shared", "-fPIC", "-I", str(root / "include")]
        command = ["g++", *flags, str(source), "-o", str(library), *linked]
        subprocess.run(command, check=True)
        ctypes.CDLL(str(root / "lib" / "libtorch_cpu.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))


def _give(result: Any) -> Any:
    return lambda *args, **kwargs: result


def describe_gpu() -> None:
    """Make this process's PyTorch, not yet imported, plan for an H100."""
    _load_guard()
    import torch
    from torch._dynamo.device_interface import CudaInterface
    from torch._inductor import compile_fx, config
    from torch._inductor.fx_passes import joint_graph

    answers: dict[str, Any] = {
        "is_available": True, "device_count": 1, "current_device": 0, "set_device": None,
        "get_device_properties": H100, "get_device_capability": (9, 0), "synchronize": None,
        "is_bf16_supported": True, "set_rng_state": None, "_lazy_init": None,
        "_exchange_device": 0, "_maybe_exchange_device": 0, "get_rng_state": torch.empty(0),
    }  # fmt: skip
    for name, answer in answers.items():
        setattr(torch.cuda, name, _give(answer))
    known = {
        "current_device": 0, "is_available": True, "get_device_properties": H100,
        "get_compute_capability": 90, "is_triton_capable": True, "synchronize": None,
        "raise_if_triton_unavailable": None,
    }  # fmt: skip
    for name, answer in known.items():
        setattr(CudaInterface, name, staticmethod(_give(answer)))
    for name in ("get_device_properties", "current_device"):
        setattr(CudaInterface.Worker, name, staticmethod(_give(known[name])))
    vars(compile_fx)["get_cuda_device_context"] = _give(contextlib.nullcontext())
    vars(joint_graph)["lazy_init"] = _give(None)  # its patterns are traced on the device
    vars(config)["joint_graph_constant_folding"] = False
