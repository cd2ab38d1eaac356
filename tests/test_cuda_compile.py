"""Generated CUDA compiles for real architectures: NVIDIA's compiler needs no GPU for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_control_cuda as control_cases
from gpu_cases import BATCHES, FEW, GOLDEN, STEPS, golden_graph, lower, samples_of_all_dtypes

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.backends.cuda.nvrtc import OPTIONS, find_nvrtc
from staticnet.codegen.commands import Launch, walk
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import PIPELINE
from staticnet.errors import CompileError
from staticnet.passes.manager import run_passes
from staticnet.plan.planner import make_plan

nvrtc: Any = find_nvrtc()
pytestmark = pytest.mark.skipif(nvrtc is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")

ARCHITECTURES = ("sm_80", "sm_90")
FAST = (*OPTIONS, "--device-debug")  # unoptimised: a sixth of the time for many kernels


def compiled(graph: Any, architecture: str, options: tuple[str, ...] = OPTIONS) -> None:
    """The graph's program compiles, and the kernels that are launched are in it by name."""
    program = write_cuda_program(make_plan(graph))
    if not program.body:
        return
    cubin = nvrtc.compile(program.source, architecture, options)
    assert cubin.startswith(b"\x7fELF")
    for command in program.launches:
        if isinstance(command, Launch):
            assert b".text." + command.function.encode() + b"\0" in cubin


def test_ops_in_few_dtypes() -> None:
    """The first batch of them; all, in all dtypes, below."""
    f, _, _ = samples_of_all_dtypes(BATCHES[0], FEW)
    compiled(lower(f), ARCHITECTURES[0], FAST)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_every_op_and_dtype(number: int) -> None:
    """Of two batches one for each architecture; training steps are compiled for both."""
    f, _, _ = samples_of_all_dtypes(BATCHES[number])
    compiled(lower(f), ARCHITECTURES[number % 2])


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        pytest.param(name, a, marks=[pytest.mark.slow] if (i + k) % 2 else [])
        for i, name in enumerate(STEPS)
        for k, a in enumerate(ARCHITECTURES)
    ],
)
def test_training_steps(name: str, architecture: str) -> None:
    f, _ = STEPS[name]()
    compiled(lower(f), architecture)


def as_on_cuda(f: Any) -> Any:
    """The optimised graph as the backend gets it, with epilogues and copies of weights."""
    cuda = CudaBackend()
    return run_passes(
        f.graph, PIPELINE, precision=f.precision, epilogues=cuda.epilogues,
        narrow_epilogues=cuda.narrow_epilogues, products=cuda.products,
        keeps_casts=cuda.keeps_casts,
    )[0]  # fmt: skip


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_with_a_scaled_loss(precision: str) -> None:
    x, w = sn.placeholder((16, 8), name="x"), sn.variable(np.zeros((8, 4), "f"), "w")
    inner = sn.optim.LossScaling(sn.optim.Adam())
    updates = inner.minimize(sn.mean(sn.square(x @ w - 1)))
    f = sn.function(x, [], updates=updates, device="numpy", precision=precision)
    graph = as_on_cuda(f)
    assert any(v.name == f"w.{precision}" for v in graph.variables)
    for architecture in ARCHITECTURES:
        compiled(graph, architecture)


@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_golden_graphs(file: Path) -> None:
    f, _, dims = golden_graph(file)
    compiled(lower(f, **dims), "sm_90", FAST)


def test_packs_are_one_access() -> None:
    """Four floats are one load and one store of 16 bytes."""
    x = sn.placeholder((64, 64), name="x")
    f = sn.function(x, sn.tanh(x), device="numpy")
    program = write_cuda_program(make_plan(lower(f)))
    text = nvrtc.ptx(program.source, "compute_90")
    assert "ld.global.nc.v4" in text
    assert "st.global.v4" in text


def test_many_parts_take_no_memory_of_each_thread() -> None:
    """Tables that are looked up at run time are the block's or the program's."""
    x = sn.placeholder((200, 3), name="x")
    f = sn.function(x, sn.stack(sn.unstack(x)[::-1], 1), device="numpy")
    program = write_cuda_program(make_plan(lower(f)))
    text = nvrtc.ptx(program.source, "compute_90")
    assert "sn_concat" in program.source
    assert ".local" not in text


def test_an_error_in_a_kernel_is_told() -> None:
    with pytest.raises(CompileError, match="sm_90: .*undefined"):
        nvrtc.compile('extern "C" __global__ void k() { lonely(); }', "sm_90")
    with pytest.raises(CompileError, match="architecture"):
        nvrtc.compile("", "sm_1")


def test_16_bit_floats_round_by_the_machine() -> None:
    x = sn.placeholder((64,), "bfloat16", "x")
    program = write_cuda_program(make_plan(lower(sn.function(x, x * 2, device="numpy"))))
    assert "cvt.rn.bf16" in nvrtc.ptx(program.source, "compute_80")


def test_ops_of_a_users_own() -> None:
    """Scalar forms compile in every floating dtype; a call of Python leaves no kernel."""
    from own_ops import blend, bump, halve, softsign

    for dtype in ("float16", "bfloat16", "float32", "float64"):
        x = sn.placeholder((64, 3), dtype, "x")
        y = halve(softsign(x * 2) + blend(x, bump(x)))
        f = sn.function(x, sn.grad(sn.sum(y * y), x), device="numpy")
        compiled(lower(f), "sm_90", FAST)


@pytest.mark.parametrize("make", [control_cases.scans, control_cases.loops])
def test_loops_and_choices(make: Any) -> None:
    program = write_cuda_program(make_plan(lower(control_cases.function(make))))
    cubin = nvrtc.compile(program.source, "sm_90", FAST)
    launches = [each for each in walk(program.launches) if isinstance(each, Launch)]
    assert launches
    for launch in launches:
        assert b".text." + launch.function.encode() + b"\0" in cubin
