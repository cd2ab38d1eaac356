"""What a GPU launches and moves for a step of each workload: golden files, so that a change shows.

`pytest -m "slow or not slow" tests/test_workload_launches.py --update-golden` writes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import staticnet as sn
import staticnet.backends.cuda as backend
from bench import adam_rule
from bench.gpu import networks
from bench.workloads import char_gpt, layer_norm, matmul, mlp, playground, pointwise, softmax
from staticnet.cli.networks import NETWORKS, network
from staticnet.cli.text_networks import character_gpt
from staticnet.codegen.commands import walk
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.launches import CudaProgram, format_command
from staticnet.compilation import Compilation
from staticnet.nn import init
from staticnet.plan.analysis import analyse_memory
from staticnet.plan.plan import Plan

LONG = 100  # commands, of more than which alike ones are counted
GPU = {each.name: each for each in networks.NETWORKS_OF_THE_GPU}


def of_network(name: str, **changes: Any) -> Callable[[], Any]:
    """A network of the GPU's suite, as its plan alone needs it: without data and drawn weights."""

    def build() -> Any:
        made = replace(GPU[name], **changes)
        dtype = "int64" if made.is_text else "float32"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(init, "_drawn", lambda shape, dtype, seed, draw: init.zeros(shape, dtype))
            return made.staticnet_step({"x": np.empty(0, dtype)}, "numpy")

    return build


def of_module(module: Any) -> Callable[[], Any]:
    """A network of the CPU's suite."""
    return lambda: module.staticnet_step(module.make_data(0), "numpy")


def gpt2_layer(nn: Any) -> Any:
    """One of GPT-2's layers between its embedding and its head."""
    return character_gpt(nn, length=1024, width=768, heads=12, layers=1, characters=50257)


def of_formula(
    formula: Callable[..., Any], *shapes: tuple[int, ...], dtype: str = "float32"
) -> Any:
    """A kernel of the GPU's suite, of arrays of 4 MiB: the next value of a variable."""

    def build() -> Any:
        inputs = [sn.placeholder(shape, dtype) for shape in shapes]
        result = formula(*inputs)
        out = sn.variable(np.zeros(result.shape, result.dtype), "out")
        return sn.function(inputs, [], updates={out: result}, device="numpy")

    return build


def adam_update() -> Any:
    """Adam's update of an array of 4 MiB."""
    p, g = (sn.variable(np.zeros(1 << 20, "f"), name) for name in "pg")
    updates = sn.optim.Adam(**adam_rule.OPTIONS).apply({p: g})
    return sn.function([], [], updates=updates, device="numpy")


ROWS, SQUARE = (1024, 1024), (8192, 8192)
CASES: dict[str, Callable[[], Any]] = {
    "playground": of_module(playground),
    "mlp": of_module(mlp),
    "cifar_lenet": of_network(
        "cifar_bn",
        model=lambda nn: network(nn, NETWORKS["cifar_lenet"]),
        batch=64,
        precision="float32",
    ),
    "cifar_bn": of_network("cifar_bn"),
    "char_gpt": of_module(char_gpt),
    "char_lstm": of_network("char_lstm"),
    "resnet18": of_network("cifar_bn", model=lambda nn: network(nn, NETWORKS["resnet18"])),
    "resnet50": of_network("resnet50"),
    "resnet50_cudnn": of_network("resnet50"),  # as where it is installed
    "vit_b16": of_network("vit_b16"),
    "gpt2_layer": of_network("gpt2_124m", model=gpt2_layer),
    "gpt2_124m": of_network("gpt2_124m"),
    "gpt2_124m_32": of_network("gpt2_124m_32"),
    "gpt2_124m_float8": of_network("gpt2_124m_float8"),
    "pointwise": of_formula(pointwise.staticnet, (1 << 20,), (1 << 20,)),
    "softmax": of_formula(softmax.staticnet, ROWS),
    "layer_norm": of_formula(layer_norm.staticnet, ROWS, (1024,), (1024,)),
    "adam": adam_update,
    "matmul": of_formula(matmul.staticnet, ROWS, ROWS),
    "matmul_bf16": of_formula(matmul.staticnet, SQUARE, SQUARE, dtype="bfloat16"),
}
DEFAULT = ("playground", "mlp", "pointwise", "softmax", "layer_norm", "adam", "matmul")


def planned(f: Any) -> tuple[Plan, CudaProgram]:
    """A function's plan for a GPU and its program."""
    cuda = backend.CudaBackend()
    made = Compilation(f.graph, cuda, "fast", f.precision, (), None)
    plan = made.plan(made.compile({})[0], {})
    return plan, write_cuda_program(plan, f.precision == "tf32", persistent=True, calls=cuda.calls)


def account(plan: Plan, program: CudaProgram) -> str:
    """Launches and bytes of a step, then its commands; alike ones of many are counted."""
    commands = [format_command(c) for c in walk(program.commands)]
    lines = [
        program.choice,
        f"{len(program.launches)} launches of {len(plan.launched)} kernels and routines, "
        f"{program.streams} streams",
        f"{plan.bytes_moved:,} bytes moved",
        f"{analyse_memory(plan).peak:,} bytes at the peak, {program.arena_bytes:,} in the arena",
        "",
    ]
    if len(commands) <= LONG:
        return "\n".join([*lines, str(program)])
    return "\n".join([*lines, *(f"{n} x {text}" for text, n in Counter(commands).items())])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in DEFAULT else pytest.mark.slow) for n in CASES]
)
def test_launches_and_bytes(
    name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "find_cudnn", lambda: name.endswith("_cudnn") or None)
    golden(f"launches/{name}.txt", account(*planned(CASES[name]())))
