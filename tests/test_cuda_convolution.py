"""The device code's convolution: matrix units and threads, tiles and parts, in both layouts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower
from tolerance import close

import staticnet as sn
from staticnet.backends.cuda.nvrtc import OPTIONS, find_nvrtc
from staticnet.codegen.cuda import convolution as calls
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.ops.base import apply
from staticnet.plan.planner import make_plan
from staticnet.spatial.convolution import Convolution, ConvolutionInput, ConvolutionWeight

rng = np.random.default_rng(0)
nvrtc: Any = find_nvrtc()
# groups, channels, outputs, spatial dims, kernel, strides, low, high, dilations
PROBLEMS = {
    "plain": (1, 16, 24, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    "odd": (1, 9, 11, (7, 5), (3, 2), (2, 3), (1, 2), (0, 1), (1, 2)),
    "groups": (2, 16, 32, (9,), (3,), (2,), (2,), (1,), (3,)),
    "depthwise": (5, 5, 10, (4, 5), (3, 3), (2, 1), (1, 1), (1, 1), (1, 1)),
    "cubes": (1, 8, 8, (3, 4, 2), (2, 1, 2), (1, 2, 1), (0, 0, 1), (1, 0, 0), (1, 1, 1)),
    "deep": (1, 40, 8, (4, 3), (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
}
WIDE = {"wide": (1, 80, 72, (6, 7), (1, 2), (1, 1), (0, 1), (0, 0), (1, 1))}
DTYPES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("float16", "float64") else [])
    for name in ("float32", "bfloat16", "float16", "float64")
]
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
needs_nvrtc = pytest.mark.skipif(nvrtc is None, reason="needs NVRTC")


def all_three(problems: dict[str, Any], layouts: list[str], dtype: str) -> tuple[Any, list[Any]]:
    """Convolutions and their gradients as one function, and feeds."""
    inputs, outputs, feeds = list[Any](), list[Any](), list[Any]()
    for name, problem in problems.items():
        groups, channels, features, spatial, kernel, *places = problem
        for layout in layouts:
            op = Convolution(*places, (groups,), layout)
            x = op.together("x", 2, channels, spatial)
            w = op.together("w", features, channels // groups, kernel)
            a = sn.placeholder(x, dtype, f"a_{name}_{layout}")
            b = sn.placeholder(w, dtype, f"b_{name}_{layout}")
            y = apply(op, a, b)
            g = sn.placeholder(y.shape, dtype, f"g_{name}_{layout}")
            inputs += [a, b, g]
            outputs += [
                y,
                apply(op._as(ConvolutionInput, spatial), g, b),
                apply(op._as(ConvolutionWeight, kernel), a, g),
            ]
            feeds += [rng.normal(size=v.shape).astype(v.dtype) for v in (a, b, g)]
    return sn.function(inputs, outputs, device="numpy"), feeds


def check(f: Any, feeds: list[Any], machine: Machine, rtol: float | None) -> None:
    """The shim's values are NumPy's, and have the same bits in any order of blocks and threads."""
    _, got, _ = machine.run(feeds, [])
    for y, z in zip(got, f(*feeds), strict=True):
        close(y, z, rtol)
    _, again, _ = machine.run(feeds, [], reverse=True)
    for y, z in zip(got, again, strict=True):
        np.testing.assert_array_equal(y, z)


@needs_shim
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_way_to_read_and_to_multiply(dtype: str, tmp_path: Path) -> None:
    f, feeds = all_three(PROBLEMS, ["first", "last"], dtype)
    check(f, feeds, Machine(lower(f), tmp_path), 1e-5 if dtype == "float32" else None)


@needs_shim
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_tiles(dtype: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(calls, "ENOUGH_BLOCKS", 0)
    f, feeds = all_three(WIDE, ["last"], dtype)
    check(f, feeds, Machine(lower(f), tmp_path), 1e-5 if dtype == "float32" else None)


@needs_shim
@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_of_a_depth_are_summed_in_order(dtype: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(calls, "LEAST_TILES", 1)
    f, feeds = all_three({"deep": PROBLEMS["deep"]}, ["first"], dtype)
    machine = Machine(lower(f), tmp_path)
    assert machine.program.source.count("sn_sum_parts<") == 1
    check(f, feeds, machine, 1e-5 if dtype == "float32" else None)


@pytest.mark.parametrize("often", [False, True])
def test_channels_that_come_last_are_read_in_packs(often: bool, monkeypatch: Any) -> None:
    """And those of weights, which lie as the user's, where they are read often."""
    monkeypatch.setattr(calls, "READERS", 2 if often else 3)
    source = write_cuda_program(make_plan(lower(all_three(WIDE, ["last"], "bfloat16")[0]))).body
    assert ("sn_turn_weights" in source) == often
    for form, reading in (
        ("forward", f"true, 8, true, {8 if often else 1}"),
        ("input", f"true, 8, false, {8 if often else 1}"),
        ("weight", "false, 8, false, 8"),
    ):
        assert re.search(rf"sn_convolve<sn_of_bf16, sn_{form}, [^;]*, {reading}>", source), form


@needs_shim
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_turned_for_many_places(dtype: str, tmp_path: Path, monkeypatch: Any) -> None:
    """To the bit what they give as they lie; behind sums of parts of a depth, too."""
    problems = {name: PROBLEMS[name] for name in ("plain", "groups", "cubes", "deep")}
    f, feeds = all_three(problems, ["last"], dtype)
    monkeypatch.setattr(calls, "LEAST_TILES", 1)
    found = []
    for readers in (1, 1000):
        monkeypatch.setattr(calls, "READERS", readers)
        folder = tmp_path / str(readers)
        folder.mkdir()
        machine = Machine(lower(f), folder)
        text = machine.program.body
        assert ("sn_turn_weights" in text) == (readers == 1)
        assert "sn_sum_parts<" in text
        check(f, feeds, machine, 1e-5 if dtype == "float32" else None)
        found.append(machine.run(feeds, [])[1])
    for turned, as_it_lies in zip(*found, strict=True):
        np.testing.assert_array_equal(turned, as_it_lies)


@needs_shim
def test_tf32_is_taken_where_it_is_asked_for(tmp_path: Path) -> None:
    f, feeds = all_three({"plain": PROBLEMS["plain"]}, ["last"], "float32")
    graph = lower(f)
    program = write_cuda_program(make_plan(graph), tf32=True)
    assert "sn_by_units<sn_of_f32" in program.body
    assert "sn_by_units" not in write_cuda_program(make_plan(graph)).body
    machine = Machine(graph, tmp_path, tf32=True)
    check(f, feeds, machine, 2e-3)  # 10 bits of fraction


@needs_nvrtc
def test_all_files_of_kernels_go_into_one_program() -> None:
    x, w = sn.placeholder((2, 3, 8, 8), name="x"), sn.placeholder((4, 3, 3, 3), name="w")
    y = sn.nn.functional.max_pool2d(sn.nn.functional.conv2d(x, w), 2)
    f = sn.function([x, w], sn.linalg.svdvals(y), device="numpy")
    program = write_cuda_program(make_plan(lower(f)))
    nvrtc.compile(program.source, "sm_90", (*OPTIONS, "--device-debug"))


@needs_nvrtc
def test_matrix_units_compile() -> None:
    f, _ = all_three({"plain": PROBLEMS["plain"]}, ["last"], "bfloat16")
    program = write_cuda_program(make_plan(lower(f)))
    nvrtc.compile(program.source, "sm_80", (*OPTIONS, "--device-debug"))


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_sums_stay_in_registers(layout: str, dtype: str, tf32: bool) -> None:
    """Optimised for real machines, whose matrix units multiply where they can."""
    f, _ = all_three({"plain": PROBLEMS["plain"]}, [layout], dtype)
    program = write_cuda_program(make_plan(lower(f)), tf32)
    for architecture in ("sm_80", "sm_90"):
        nvrtc.compile(program.source, architecture)
    text = nvrtc.ptx(program.source, "compute_80")
    assert ".local" not in text
    takes_units = dtype in ("float16", "bfloat16") or (tf32 and dtype == "float32")
    assert ("mma.sync" in text) == takes_units
