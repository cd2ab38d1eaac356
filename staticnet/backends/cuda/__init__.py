"""The CUDA backend: a graph as kernels and products that run as one captured CUDA graph.

CuPy is imported when a function is first compiled for it, and not before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from staticnet.backends.base import Executable
from staticnet.backends.cuda.availability import find_missing
from staticnet.backends.cuda.cudnn import find_cudnn
from staticnet.backends.cuda.device import open_device
from staticnet.backends.cuda.executable import CudaExecutable
from staticnet.backends.cuda.profile import profile
from staticnet.backends.profile import Profile
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.cuda.workspaces import ON_DEVICE
from staticnet.codegen.launches import CudaProgram
from staticnet.errors import DeviceError, FeedError
from staticnet.ir.graph import Graph
from staticnet.ops.auxiliary import AUXILIARY
from staticnet.ops.library import EPILOGUES
from staticnet.passes.convolution_epilogues import OFFER as CONVOLUTION
from staticnet.passes.cudnn import CALLS
from staticnet.passes.cudnn import NAME as CUDNN
from staticnet.passes.grouped_operands import OFFER as GROUPED
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan

__all__ = ["CudaBackend"]
PRODUCTS = frozenset({"float16", "bfloat16", "float32", "float64", "tf32", "sums", "numbers"})
FLOAT8_CAPABILITY = (8, 9)
_CUDA_DEVICES = (2, 13)  # DLPack's CUDA memory, also managed; pinned memory (3) is the host's


class CudaBackend:
    """Compiles for an NVIDIA GPU through CuPy, NVRTC and cuBLASLt."""

    name = "cuda"
    epilogues = EPILOGUES | AUXILIARY | {CONVOLUTION, GROUPED}
    narrow_epilogues = frozenset({"gelu", "gelu_bias"})  # in float64 an H100 was 8e-9 off
    keeps_casts = True
    channels_last = True  # our own kernels and cuDNN's read channels 16 bytes at a time
    loop_cache = 0
    workspaces = ON_DEVICE

    @property
    def products(self) -> frozenset[str]:
        """What cuBLASLt multiplies; operands of 8 bits where the GPU has matrix units for them."""
        return PRODUCTS | {"float8"} if _multiplies_float8() else PRODUCTS

    @property
    def calls(self) -> frozenset[str]:
        """What cuDNN may compute, if it is there."""
        return CALLS if find_cudnn() else frozenset()

    @property
    def arrays(self) -> tuple[type, ...]:
        """NumPy's and CuPy's."""
        return (np.ndarray, sys.modules["cupy"].ndarray)

    def missing(self) -> str:
        """What CUDA lacks here, and the command that installs it."""
        missing = find_missing()
        return str(missing) if missing else ""

    def adopt(self, feed: Any) -> Any:
        """A CuPy array, or one that shares a DLPack array's memory on the GPU.

        Raises:
            FeedError: if CuPy does not take it.
        """
        cupy = sys.modules["cupy"]
        if isinstance(feed, cupy.ndarray):
            return feed
        if (
            not hasattr(feed, "__dlpack_device__")
            or feed.__dlpack_device__()[0] not in _CUDA_DEVICES
        ):
            return None
        try:
            return cupy.from_dlpack(feed)
        except (BufferError, TypeError, ValueError, RuntimeError) as error:
            raise FeedError(f"its memory on the GPU cannot be shared: {error}") from None

    def build(
        self,
        graph: Graph,
        disabled_passes: Collection[str] = (),
        plan: Callable[[], Plan] | None = None,
        precision: str = "float32",
    ) -> Executable:
        """The program of an optimised graph, loaded on the current device.

        Raises:
            DeviceError: if there is none, or driver and toolkit do not fit.
            MemoryLimitError: if it does not fit the device's free memory.
            CompileError: if a kernel does not compile.
        """
        device = open_device()
        fuse = "fusion" not in disabled_passes
        planned = plan() if plan else make_plan(graph, fuse, workspaces=self.workspaces)
        calls = self.calls if device.cudnn and CUDNN not in disabled_passes else frozenset()
        return CudaExecutable(
            planned, device, precision == "tf32", _may_persist(disabled_passes), calls
        )

    def program(self, plan: Plan, disabled_passes: Collection[str] = ()) -> CudaProgram:
        """The CUDA program of a plan, not yet compiled."""
        calls = frozenset() if CUDNN in disabled_passes else self.calls
        return write_cuda_program(plan, persistent=_may_persist(disabled_passes), calls=calls)

    def profile(self, executable: Executable, feeds: Sequence[Any], repeat: int | None) -> Profile:
        """The time of each launch, taken by CUDA events."""
        assert isinstance(executable, CudaExecutable)
        return profile(executable, feeds, repeat)


def _multiplies_float8() -> bool:
    """Whether the current GPU multiplies 8-bit floats; without one it is another's program."""
    try:
        return open_device().capability >= FLOAT8_CAPABILITY
    except DeviceError:
        return True


def _may_persist(disabled_passes: Collection[str]) -> bool:
    """Whether a step may be one kernel."""
    return "persistent" not in disabled_passes
