"""ONNX's own suite: what passes, on which backend, and that the page lists the rest."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.errors import StaticnetError

pytest.importorskip("onnx")
import onnx_suite
from gpu_cases import lower
from test_cuda_compile import FAST, compiled

COMPILES = True
PARTS = 40
nvrtc: Any = find_nvrtc()


def chosen(part: int) -> list[onnx_suite.Case]:
    """One case of forty."""
    return [onnx_suite.case(test) for test in onnx_suite.tests()[part::PARTS]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_cases_pass_or_are_listed(part: int) -> None:
    """On NumPy, one program a case, as the suite's own runner does."""
    failures = []
    for case in chosen(part):
        pattern = onnx_suite.pattern_of(case.name)
        try:
            prepared = sn.io.onnx.Backend.prepare(case.model, "numpy")
            for inputs, wanted in case.sets:
                onnx_suite.check(case, wanted, prepared.run(inputs))
        except (AssertionError, StaticnetError, TypeError) as error:
            what = "" if pattern is not None else f"{case.name}: {error}"
        else:
            what = "" if pattern is None else f"{case.name} passes, and docs/onnx.md lists it"
        if what:
            failures.append(what)
    assert not failures


def together(part: int) -> tuple[Any, list[Any], list[Any]]:
    """All cases of a part as one graph, what it is fed, and (case, graph, outputs) of each."""
    rows: list[Any] = []
    for case in chosen(part):
        if onnx_suite.pattern_of(case.name) is None:
            prepared = sn.io.onnx.Backend.prepare(case.model, "numpy")
            for inputs, wanted in case.sets:
                traced = prepared.traced(inputs, f"case_{len(rows)}_")
                given = dict(zip(prepared.names(inputs), inputs, strict=False))
                rows.append((case, traced, traced.fed(given), wanted))
    placeholders = [x for _, traced, _, _ in rows for x in traced.placeholders]
    fetches = [x for _, traced, _, _ in rows for x in traced.fetches]
    return (placeholders, fetches), [x for row in rows for x in row[2]], rows


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("part", range(PARTS))
def test_cases_pass_in_c(part: int) -> None:
    """All cases of a part in one program."""
    (placeholders, fetches), fed, rows = together(part)
    arrays = iter(sn.function(placeholders, fetches, device="cpu")(*fed))
    failures = []
    for case, traced, _, wanted in rows:
        try:
            onnx_suite.check(case, wanted, traced.outputs(arrays))
        except AssertionError as error:
            failures.append(f"{case.name}: {error}")
    assert not failures


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(nvrtc is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")
@pytest.mark.parametrize("part", range(PARTS))
def test_kernels_compile_for_a_gpu(part: int) -> None:
    (placeholders, fetches), _, _ = together(part)
    compiled(lower(sn.function(placeholders, fetches, device="numpy")), "sm_90", FAST)


@pytest.mark.slow
def test_how_many_there_are() -> None:
    """Of the plain dtypes at least 1,190 cases pass: those that the page does not list."""
    cases = [onnx_suite.case(test) for test in onnx_suite.tests()]
    ours = [case for case in cases if case.is_ours]
    assert sum(onnx_suite.pattern_of(case.name) is None for case in ours) >= 1190
    for pattern in onnx_suite.listed():
        assert any(onnx_suite.pattern_of(case.name) == pattern for case in cases), pattern


def test_the_suites_own_runner_takes_the_backend() -> None:
    from onnx.backend.test import BackendTest

    os.environ.setdefault("ONNX_HOME", os.devnull)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of making the cases, if no test has yet
        runner = BackendTest(sn.io.onnx.Backend, __name__)
    runner.include("test_relu_cpu")
    names = [n for test in runner.test_cases.values() for n in dir(test) if n == "test_relu_cpu"]
    assert names == ["test_relu_cpu"]
