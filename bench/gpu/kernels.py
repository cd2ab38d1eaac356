"""Writes the CUDA of the suite's programs and their plans: `python -m bench.gpu.kernels FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import staticnet as sn
from bench.gpu.workloads import WORKLOADS
from bench.workloads import adam, layer_norm, mlp, playground, pointwise, softmax
from staticnet.codegen.cuda.program import write_cuda_program

KERNELS = {"pointwise": pointwise, "softmax": softmax, "layer_norm": layer_norm}
SIZE = 1 << 22


def main(folder: str) -> None:
    to = Path(folder)
    to.mkdir(parents=True, exist_ok=True)
    for name, step in programs().items():
        (to / f"{name}.cu").write_text(step.source(), encoding="utf-8")
        (to / f"{name}.plan.txt").write_text(str(step.plan), encoding="utf-8")
        launches = str(write_cuda_program(step.plan))  # with streams, and who waits for whom
        (to / f"{name}.launches.txt").write_text(launches, encoding="utf-8")
        print(f"{name}: {step.plan.launches} launches, {step.plan.bytes_moved:,} bytes a step")


def programs() -> dict[str, Any]:
    """A function of each workload on the GPU."""
    made = {}
    for name, module in KERNELS.items():
        data = WORKLOADS[name].make_data(SIZE)
        inputs = [sn.placeholder(a.shape, name=key) for key, a in data.items()]
        made[name] = sn.function(inputs, module.staticnet(*inputs), device="cuda")
    p, g = (sn.variable(a, key) for key, a in adam.make_data(SIZE).items())
    made["adam"] = sn.function([], [], updates=sn.optim.Adam().apply({p: g}), device="cuda")
    for name, net in (("mlp", mlp), ("playground", playground)):
        made[name] = net.staticnet_step(net.make_data(0), "cuda")
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
