"""NVIDIA's cuDNN makes plans for an H100 that is not there: `python cudnn_plans.py FOLDER [KIND]`.

A line of JSON for each signature: its kind, and names and workspaces of its first plans. By the
driver's library cuDNN loads the kernels that it builds; here that has names and nothing behind.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
import staticnet.backends.cuda as backend
from staticnet import nn
from staticnet.backends.cuda.cudnn import Cudnn
from staticnet.codegen.commands import LibraryCall, Signature
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import Compilation

H100 = {
    "cudaDeviceId": 0, "deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900, "driverVer": 13000,
    "isTccDriver": 0, "l2CacheSize": 50 << 20, "maxBlockSize": [1024, 1024, 64],
    "maxCtasPerSM": 32, "maxGridSize": [2147483647, 65535, 65535], "maxRegistersPerSM": 65536,
    "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
    "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "memClockRateKHz": 2619000,
    "memoryBusWidth": 5120, "multiProcessorCount": 132, "pciDeviceId": 0, "regsPerBlock": 65536,
    "reservedSharedMemoryPerBlock": 1024, "smClockRateKHz": 1980000, "supportCoopLaunch": 1,
    "totalGlobalMem": 85017755648, "warpSize": 32,
}  # fmt: skip
NOTHING = (
    "cuCtxGetCurrent", "cuCtxGetLimit", "cuCtxPopCurrent", "cuCtxPushCurrent",
    "cuKernelSetAttribute", "cuLaunchCooperativeKernel", "cuLaunchKernel", "cuLaunchKernelEx",
    "cuLibraryUnload", "cuLinkAddData", "cuLinkComplete", "cuLinkCreate", "cuLinkDestroy",
    "cuModuleUnload", "cuOccupancyMaxPotentialClusterSize", "cuStreamGetCtx",
    "cuTensorMapEncodeIm2col", "cuTensorMapEncodeTiled",
)  # fmt: skip
HANDLES = (
    "cuKernelGetFunction", "cuLibraryGetKernel", "cuLibraryLoadData", "cuLibraryLoadFromFile",
    "cuModuleGetFunction", "cuModuleLoadData",
)  # fmt: skip
NUMBERS = {"cuDeviceGet": 0, "cuDeviceGetCount": 1, "cuDriverGetVersion": 13000,
           "cuKernelGetAttribute": 0}  # fmt: skip
TEXTS = ("cuGetErrorName", "cuGetErrorString")
PLANS = 2


def driver(folder: Path) -> None:
    """Load what stands for the driver's library."""
    lines = [f"int {name}(void) {{ return 0; }}" for name in NOTHING]
    lines += [f"int {name}(void **x) {{ *x = (void *)4096; return 0; }}" for name in HANDLES]
    lines += [f"int {name}(int *x) {{ *x = {n}; return 0; }}" for name, n in NUMBERS.items()]
    lines += [f'int {name}(int e, const char **x) {{ *x = ""; return 0; }}' for name in TEXTS]
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text("\n".join(lines), encoding="utf-8")
    compiler = shutil.which("cc") or "gcc"
    name = "-Wl,-soname,libcuda.so.1"
    given = [compiler, "-shared", "-fPIC", name, "-o", str(library), str(source)]
    subprocess.run(given, check=True)
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


class Described(backend.CudaBackend):
    """No GPU is asked what it multiplies: the driver is none that could tell."""

    products = backend.PRODUCTS


def signatures(inputs: list[Any], outputs: list[Any], precision: str) -> Iterator[Signature]:
    """What cuDNN is asked for by a function's program."""
    graph = sn.function(inputs, outputs, device="numpy").graph
    cuda = Described()
    compilation = Compilation(graph, cuda, "fast", precision, (), None)
    plan = compilation.plan(compilation.compile({})[0], {})
    program = write_cuda_program(plan, precision == "tf32", calls=cuda.calls)
    return (x.signature for x in program.launches if isinstance(x, LibraryCall))


def attention(
    heads: int, groups: int, rows: int, width: int, causal: bool, mask: Any = None
) -> Any:
    """Inputs and outputs of attention of projected rows, and of its gradient."""
    inputs = [sn.placeholder((2, rows, n * width)) for n in (heads, groups, groups)]

    def cut(x: Any, n: int) -> Any:
        return sn.permute_dims(sn.reshape(x * 2, (2, rows, n, width)), (0, 2, 1, 3))

    q, k, v = map(cut, inputs, (heads, groups, groups))
    y = nn.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)
    y = sn.reshape(sn.permute_dims(y, (0, 2, 1, 3)), (2, rows, heads * width))
    return inputs, [y, *sn.grad(sn.sum(sn.tanh(y)), inputs)]


def packed(tokens_first: bool) -> Any:
    """Rows of one projection, whose gradients lie side by side."""
    x = sn.placeholder((256, 2, 2304) if tokens_first else (2, 256, 2304))
    parts = sn.reshape(x * 2, (*x.shape[:2], 3, 12, 64))
    axes = (1, 2, 0, 3) if tokens_first else (0, 2, 1, 3)
    q, k, v = (sn.permute_dims(parts[:, :, i], axes) for i in range(3))
    y = sn.tanh(nn.scaled_dot_product_attention(q, k, v, is_causal=True))
    return [x], sn.grad(sn.sum(y), [x])


def convolution(
    channels: int, outputs: int, size: int, stride: int = 1, groups: int = 1, ndim: int = 2
) -> Any:
    """Inputs and outputs of a convolution of 3, and of its gradients."""
    x = sn.placeholder((4, channels, *[size] * ndim))
    w = sn.placeholder((outputs, channels // groups, *[3] * ndim))
    function = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}[ndim]
    y = function(x, w, stride=stride, padding=1, groups=groups)
    return [x, w], [y, *sn.grad(sn.sum(sn.tanh(y)), [x, w])]


def bottleneck() -> Any:
    """Inputs and outputs of convolutions of 1, 3 and 1, between which channels lie last."""
    x = y = sn.placeholder((4, 256, 28, 28))
    weights = [
        sn.placeholder((o, c, k, k)) for o, c, k in ((64, 256, 1), (64, 64, 3), (256, 64, 1))
    ]
    for w in weights:
        y = nn.relu(nn.conv2d(y, w, padding=w.shape[2] // 2))
    return [x, *weights], [y, *sn.grad(sn.sum(sn.tanh(y)), [x, *weights])]


def inference(channels: int, size: int, groups: int = 1) -> Any:
    """Inputs and outputs of a block as inference has it: scales, shifts, a shortcut and relu."""
    x = sn.placeholder((4, channels, size, size))
    shapes = [(channels, channels // groups, k, k) for k in (3, 3, 1)]
    weights = [sn.placeholder(s) for s in shapes]
    vectors = [sn.placeholder((channels,)) for _ in range(4)]
    first = y = nn.relu(nn.conv2d(x, weights[0], vectors[0], padding=1, groups=groups))
    for w in weights[1:]:
        y = nn.conv2d(nn.relu(y), w, padding=w.shape[2] // 2, groups=groups)
        y = nn.functional.batch_norm(y, *vectors)
    return [x, *weights, *vectors], [nn.relu(y + first)]


def cases() -> Iterator[Signature]:
    """What networks ask for, and last what no engine computes."""
    yield from signatures(*attention(12, 12, 256, 64, True), "bfloat16")
    yield from signatures(*attention(8, 2, 197, 128, False), "float16")
    window = np.tri(197, 197, 20) > np.tri(197, 197, -20)
    yield from signatures(*attention(8, 2, 197, 64, False, window), "bfloat16")
    slopes = -np.abs(np.subtract.outer(np.arange(256), np.arange(256))) * np.ones((4, 1, 1))
    yield from signatures(*attention(4, 4, 256, 64, False, slopes.astype("f")), "float16")
    yield from signatures(*packed(False), "bfloat16")
    yield from signatures(*packed(True), "float16")
    yield from signatures(*convolution(64, 128, 28, 2), "bfloat16")
    yield from signatures(*convolution(64, 64, 14, groups=64), "float16")
    yield from signatures(*bottleneck(), "bfloat16")
    yield from signatures(*bottleneck(), "tf32")
    for precision in ("bfloat16", "float16", "tf32"):
        yield from signatures(*inference(64, 28), precision)
    yield from signatures(*inference(64, 28, groups=4), "bfloat16")
    yield from signatures(*convolution(32, 64, 28), "tf32")
    yield from signatures(*convolution(16, 32, 100, ndim=1), "bfloat16")
    yield from signatures(*convolution(16, 32, 16, ndim=3), "bfloat16")
    yield from signatures(*attention(2, 2, 64, 7, True), "float16")


def main() -> None:
    driver(Path(sys.argv[1]))
    module = importlib.import_module("cudnn")
    properties = module.create_device_properties(json.dumps(H100))
    cudnn = Cudnn(module, properties)
    backend.find_cudnn = lambda: cudnn
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    for signature in (x for x in cases() if x.kind.startswith(only)):
        graph = cudnn.graph(signature)
        plans = graph.plans(PLANS) if graph else []
        read = None
        if plans:
            name = plans[0].name
            cudnn.plan(signature, name, "H100")
            read = Cudnn(module, properties).plan(signature, name, "H100")
        images = [x for x in signature.arrays if x.name in ("x", "y")]
        told = {
            "kind": signature.kind,
            "plans": [(x.name, x.workspace) for x in plans],
            "read": read and (read.name, read.workspace, read.index),
            "last": all(x.steps[1] == 1 for x in images),
            "images": sum(x.nbytes for x in images),
            "names": [x.name for x in signature.arrays],
            "apart": {x.name: x.steps for x in signature.arrays if x.name in ("dq", "dk", "dv")},
        }
        print(json.dumps(told), flush=True)
    os._exit(0)  # cuDNN would tidy up what the driver never had


if __name__ == "__main__":
    main()
