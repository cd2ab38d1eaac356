"""Convolutions and both gradients on the CPU beside PyTorch's, which are oneDNN's, in turns.

    python -m bench.convolution [--rounds 20] [--batches 1 32] [--only TEXT] [--cpu-time]
                                [--out FILE.json]

The shapes of ResNet-18 and -50 at 224 pixels, of CIFAR's networks, and a depthwise one, in float32
with channels first; `torch last` has channels last. All give the same, which is checked first.
Each round times all in an order drawn anew. A line has the GFLOP/s of the medians, the ratios of
ours to PyTorch's two with their 95 % bootstrap intervals, and our share of the rate of fused
multiply-adds, which is measured in the same rounds.

`--cpu-time` counts seconds of CPU on one thread: on a machine with other work it is the fairer one.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import staticnet as sn
from bench import environment
from bench.concat import race
from bench.vmap import check
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cpu.library import load
from staticnet.codegen.resources import kernel_text
from staticnet.compare import stats
from staticnet.compare.environment import usable_cores
from staticnet.ops.base import apply
from staticnet.spatial.convolution import Convolution, ConvolutionInput, ConvolutionWeight

Ways = dict[str, Callable[[], Any]]
KINDS = ("forward", "input", "weight")
FMA_TURNS = 1 << 20


class Shape(NamedTuple):
    """A square kernel over square images, padded by half of it."""

    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1

    def __str__(self) -> str:
        by = f"/{self.stride}" if self.stride > 1 else ""
        kind = " depthwise" if self.groups > 1 else ""
        return f"{self.kernel}x{self.kernel}{by} {self.inputs}>{self.outputs} @{self.size}{kind}"


RESNET = (
    Shape(3, 64, 224, 7, 2),
    Shape(64, 64, 56, 3),
    Shape(64, 128, 56, 3, 2),
    Shape(128, 128, 28, 3),
    Shape(128, 256, 28, 3, 2),
    Shape(256, 256, 14, 3),
    Shape(256, 512, 14, 3, 2),
    Shape(512, 512, 7, 3),
    Shape(64, 256, 56, 1),
    Shape(256, 64, 56, 1),
    Shape(256, 512, 56, 1, 2),
    Shape(512, 2048, 7, 1),
    Shape(128, 128, 28, 3, 1, 128),
)
CIFAR = (
    Shape(3, 16, 32, 3),
    Shape(16, 16, 32, 3),
    Shape(64, 64, 32, 3),
    Shape(128, 128, 16, 3),
    Shape(256, 256, 8, 3),
    Shape(512, 512, 4, 3),
)


def ways(shape: Shape, batch: int, kind: str) -> tuple[Ways, int]:
    """Each way to compute one of the three, and its floating-point operations."""
    rng = np.random.default_rng(0)
    pad = (shape.kernel // 2,) * 2
    op = Convolution((shape.stride,) * 2, pad, pad, (1, 1), (shape.groups,), "first")
    x = rng.normal(size=(batch, shape.inputs, shape.size, shape.size)).astype("f4")
    each = (shape.outputs, shape.inputs // shape.groups, shape.kernel, shape.kernel)
    w = rng.normal(size=each).astype("f4")
    y = rng.normal(size=op._result(x.shape, w.shape)).astype("f4")
    flops = 2 * y.size * int(np.prod(each[1:]))
    found = {"staticnet": _ours(op, kind, x, w, y), "torch": _torch(shape, kind, x, w, y, False)}
    return found | {"torch last": _torch(shape, kind, x, w, y, True)}, flops


def _ours(op: Convolution, kind: str, x: Any, w: Any, y: Any) -> Callable[[], Any]:
    ops = {
        "forward": (op, (x, w)),
        "input": (op._as(ConvolutionInput, x.shape[2:]), (y, w)),
        "weight": (op._as(ConvolutionWeight, w.shape[2:]), (x, y)),
    }
    made, arrays = ops[kind]
    nodes = [sn.placeholder(a.shape) for a in arrays]
    return partial(sn.function(nodes, apply(made, *nodes), device="cpu"), *arrays)


def _torch(shape: Shape, kind: str, x: Any, w: Any, y: Any, last: bool) -> Callable[[], Any]:
    import torch

    layout = torch.channels_last if last else torch.contiguous_format
    a, b, g = (torch.tensor(array).to(memory_format=layout) for array in (x, w, y))
    stride, pad, groups = [shape.stride] * 2, [shape.kernel // 2] * 2, shape.groups
    if kind == "forward":
        return lambda: torch.nn.functional.conv2d(a, b, None, stride, pad, 1, groups)
    wanted = (kind == "input", kind == "weight", False)
    back = torch.ops.aten.convolution_backward
    return lambda: back(g, a, b, None, stride, pad, [1, 1], False, [0, 0], groups, wanted)[
        0 if kind == "input" else 1
    ]


def _multiply_adds() -> Callable[[], Any]:
    """So many turns of twelve vectors of multiply-adds on one thread."""
    compiler = find_compiler()
    assert compiler is not None, "it needs a C compiler"
    fma = Path(__file__).with_name("fma.c").read_text(encoding="utf-8")
    library = load(
        f"#include <stdint.h>\n#include <string.h>\n{kernel_text('vectors.h')}{fma}", compiler
    )
    room = np.zeros(12 * 16, "f4")
    return partial(library.sn_fma, FMA_TURNS, room.ctypes.data_as(ctypes.c_void_p))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--only", default="", help="shapes whose line has this text")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds of one thread")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    clock = time.process_time if options.cpu_time else time.perf_counter
    cores = 1 if options.cpu_time else usable_cores()
    _use(cores)
    about = environment.describe(cores) | {"load": os.getloadavg(), "clock": clock.__name__}
    records = []
    for shape in (*RESNET, *CIFAR):
        for batch in options.batches if options.only in str(shape) else ():
            for kind in KINDS:
                records.append(_record(shape, batch, kind, options.rounds, clock, cores))
    if options.out:
        options.out.write_text(json.dumps({"about": about, "records": records}) + "\n")


def _use(cores: int) -> None:
    import torch

    torch.set_num_threads(cores)
    openmp = ctypes.CDLL("libgomp.so.1")
    openmp.omp_set_num_threads(cores)


def _record(
    shape: Shape, batch: int, kind: str, rounds: int, clock: Callable[[], float], cores: int
) -> dict[str, Any]:
    each, flops = ways(shape, batch, kind)
    check(each)
    peak = _multiply_adds()
    times = race(each | {"fma": peak}, rounds, clock)
    fma = 2 * int(peak()) * cores / stats.quartiles([[s] for s in times["fma"]])[1]
    rates = {name: flops / float(np.median(t)) for name, t in times.items() if name != "fma"}
    ratios = []
    for name in ("torch", "torch last"):
        own, other = ([[s] for s in times[n]] for n in ("staticnet", name))
        ratios.append(stats.ratio_to_best(own, [other]))
    told = ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in rates.items())
    bounds = " and ".join(f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in ratios)
    share = f"{100 * rates['staticnet'] / fma:.0f} % of multiply-adds"
    print(f"{shape!s:28} {batch:3} {kind:8} {told} GFLOP/s; ratio {bounds}; {share}", flush=True)
    about = {"shape": shape._asdict(), "batch": batch, "kind": kind, "flops": flops}
    return about | {"fma": fma, "seconds": times}


if __name__ == "__main__":
    main()
