"""CUDA's errors in the house's words: what happened, and what to do about it."""

from __future__ import annotations

from staticnet.errors import DeviceError, ExecutionError, StaticnetError

_KERNEL = (
    "IllegalAddress", "MisalignedAddress", "LaunchFailure", "IllegalInstruction", "InvalidPc",
    "InvalidAddressSpace", "HardwareStackError", "Assert", "LaunchTimeout",
    "ILLEGAL_ADDRESS", "MISALIGNED_ADDRESS", "LAUNCH_FAILED", "ILLEGAL_INSTRUCTION", "INVALID_PC",
    "LAUNCH_TIMEOUT",
)  # fmt: skip
_DEVICE = (
    "NoDevice", "DevicesUnavailable", "DeviceUninitialized", "ECCUncorrectable", "SystemNotReady",
    "NvlinkUncorrectable", "InitializationError", "ContextIsDestroyed", "Contained",
    "ExternalDevice", "NO_DEVICE", "DEVICE_UNAVAILABLE", "ECC_UNCORRECTABLE",
    "CONTEXT_IS_DESTROYED",
)  # fmt: skip
_TOOLKIT = (
    "InsufficientDriver", "NoKernelImageForDevice", "NO_BINARY_FOR_GPU", "InvalidKernelImage",
    "INVALID_IMAGE", "UnsupportedPtxVersion", "UNSUPPORTED_PTX_VERSION", "SystemDriverMismatch",
    "CompatNotSupportedOnDevice", "INVALID_SOURCE",
)  # fmt: skip


def translate(error: Exception, what: str) -> StaticnetError:
    """The error to raise for one of CUDA's, which begins with its name, as cudaErrorNoDevice."""
    text = " ".join(str(error).split())
    name = text.partition(":")[0]
    if any(known in name for known in _KERNEL):
        return ExecutionError(
            f"{what}: a kernel faulted on the GPU ({text}); this process cannot use the GPU any "
            "more and the state on it is lost: start a new one. To find the kernel, run: "
            "compute-sanitizer python …, and please report it"
        )
    if any(known in name for known in _DEVICE):
        return DeviceError(
            f"{what}: the GPU does not answer ({text}); see nvidia-smi and the system's log, then "
            "start a new process"
        )
    if any(known in name for known in _TOOLKIT):
        return DeviceError(
            f"{what}: the driver does not fit the toolkit that compiled this ({text}); "
            "run: staticnet doctor"
        )
    return ExecutionError(f"{what}: CUDA failed ({text}); run: staticnet doctor")
