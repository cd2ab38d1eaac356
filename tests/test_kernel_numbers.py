"""A kernel has one number: in plan, account, source, profile, trace, report and CUDA program."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.codegen.commands import Launch
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.launches import CudaProgram
from staticnet.codegen.resources import kernels_path
from staticnet.plan.explain import explain

COMPILES = True
compiled = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
LAYERS = 3


@cache
def training(device: str = "cpu") -> Any:
    """A step of equal layers, whose kernels are equal, too; with products and a routine."""
    sn.manual_seed(0)
    x, y = sn.placeholder((16, 20), name="x"), sn.placeholder((16,), "int64", "y")
    layers = [layer for _ in range(LAYERS) for layer in (sn.nn.Linear(20, 20), sn.nn.ReLU())]
    loss = sn.nn.cross_entropy(sn.nn.Sequential(*layers)(x), y)
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device, name="numbered")


def spaces(step: Any) -> dict[int, str]:
    return {kernel.number: kernel.space for kernel in step.explain().kernels}


def test_they_are_those_of_the_plan() -> None:
    step = training()
    expected = spaces(step)
    assert list(step.plan.numbers.values()) == list(expected) == list(range(len(expected)))
    for stage in ("fusion", "schedule", "plan_memory"):
        found = re.findall(r"kernel (\d+): (\w+ \[[\d,]*\])", step.as_text(after=stage))
        assert {int(number): space for number, space in found} == expected


def test_the_source_calls_them_by_it() -> None:
    """Each call says which kernel it is, and each function which kernels run it."""
    step = training()
    source, kernels = step.source(), step.explain().kernels
    calls = dict(re.findall(r"\b(k\d+)\(share, .*// kernel (\d+), ", source))
    assert calls
    told = {int(n) for n in re.findall(r"// kernel (\d+), ", source)}
    assert told == {kernel.number for kernel in kernels}
    heads = re.findall(r"// kernels? ([\d, ]+): (.*)\nSN_KERNEL void (k\d+)\(", source)
    users = {name: [int(n) for n in numbers.split(", ")] for numbers, _, name in heads}
    for name, numbers in users.items():
        assert name == f"k{numbers[0]}"
        assert [k.number for k in kernels if k.function == name] == numbers
        for number in numbers:
            assert kernels[number].like == ("" if number == numbers[0] else str(numbers[0]))
            assert re.search(rf"\b{name}\(share, .*// kernel {number}, ", source)
    assert max(map(len, users.values())) >= LAYERS
    without = [k for k in kernels if not any(k.number in numbers for numbers in users.values())]
    assert {k.kind for k in without} == {"matmul"}
    assert {k.function for k in without} == {""}


def test_equal_kernels_are_told_apart() -> None:
    step = training()
    text = str(step.explain())
    shared = [k for k in step.explain().kernels if k.like]
    assert len(shared) >= 2 * (LAYERS - 1)
    for kernel in shared:
        assert re.search(rf"kernel {kernel.number}: .* FLOPs.*, as kernel {kernel.like}\n", text)
    assert all(not k.like and not k.function for k in training("numpy").explain().kernels)


@compiled
def test_profile_and_trace(tmp_path: Path) -> None:
    step = training()
    profile = step.profile(np.ones((16, 20), np.float32), np.zeros(16, np.int64), repeat=3)
    launches: dict[int, list[int]] = {}
    for kernel in step.explain().kernels:
        launches.setdefault(kernel.launch, []).append(kernel.number)
    parts = {t.part.name: t.part for t in profile.parts if t.part.kind != "copy"}
    assert {name: list(part.kernels) for name, part in parts.items()} == {
        f"launch {launch}": numbers for launch, numbers in launches.items()
    }
    rows = str(profile).splitlines()
    column = rows[2].index("kernels")
    for launch, numbers in launches.items():
        row = next(row for row in rows if row.startswith(f"launch {launch} "))
        told = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        assert row[column:].startswith(told + " ")
    profile.to_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    events = {e["name"].partition(":")[0]: e for e in trace["traceEvents"] if e["ph"] == "X"}
    for launch, numbers in launches.items():
        name = f"launch {launch}, kernel" + "s" * (len(numbers) > 1)
        (event,) = [e for key, e in events.items() if key.startswith(f"{name} {numbers[0]}")]
        assert event["args"]["kernels"] == numbers


def test_the_document_has_them() -> None:
    step = training()
    document = step.document()
    for kernel, described in zip(step.explain().kernels, document["kernels"], strict=True):
        assert described["number"] == kernel.number
        assert (described["function"], described["like"]) == (kernel.function, kernel.like)
        if kernel.function:
            assert f" {kernel.function}(" in document["sources"][described["source"]]
        for node in described["nodes"]:
            assert document["graphs"][-1]["nodes"][node]["kernel"] == kernel.number


def cuda(step: Any) -> CudaProgram:
    return write_cuda_program(step.plan)


def test_a_cuda_program_has_them() -> None:
    step = training()
    program = cuda(step)
    kernels = explain(step.plan, program.functions).kernels
    by_step: dict[int, list[int]] = {}
    for kernel in kernels:
        by_step.setdefault(kernel.launch, []).append(kernel.number)
    defined = re.findall(r"^(?:static __device__ void )?([km]\d+(?:_\d+)?)\(", program.body, re.M)
    assert len(defined) == len(set(defined))
    first = {k.function: k.number for k in reversed(kernels) if k.function}
    for command in program.launches:
        if isinstance(command, Launch) and command.function != "k_copy":
            number = int(re.match(r"k(\d+)", command.function).group(1))  # type: ignore[union-attr]
            here = by_step[command.step]
            assert number <= here[0] or number in here  # its own, or an equal one's before
    for name, number in first.items():
        assert re.fullmatch(rf"[km]{number}(_\d+)?(, k{number}_\d+)*", name)
    assert any(k.like for k in kernels)
    assert {k.kind for k in kernels if not k.function} == {"matmul"}


def test_parts_of_a_cuda_kernel_share_its_number() -> None:
    x = sn.placeholder((100_000, 3), name="x")
    program = cuda(sn.function(x, [sn.exp(x), sn.sum(sn.cos(x), 0)], device="numpy"))
    (functions,) = [name for name in program.functions.values() if "," in name]
    assert re.fullmatch(r"k(\d+), k\1_1", functions)
    launched = [c.function for c in program.launches if isinstance(c, Launch)]
    assert [name for name in launched if name in functions.split(", ")] == functions.split(", ")


def test_no_two_kernel_files_define_one_macro() -> None:
    """An exported program has them all in one file."""
    found: dict[str, list[str]] = {}
    for file in sorted(kernels_path().glob("*.h")):
        names = set(re.findall(r"^#\s*define (\w+)", file.read_text(encoding="utf-8"), re.M))
        for name in names:
            found.setdefault(name, []).append(file.name)
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
