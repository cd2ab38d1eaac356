"""kernels/threads.h: when steps run on one thread, by a clock that the test sets."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn

COMPILES = True
HEADER = Path(__file__).resolve().parents[1] / "kernels" / "threads.h"
CC = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
SOURCE = f"""
#define SN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SN_USES_BLAS 0
#define SN_USES_THREADS 1
#define SN_NOW 0
typedef void sn_gemm_f32(void);
typedef void sn_gemm_f64(void);
#include "{HEADER}"
int watch(double seconds) {{ sn_watch(seconds); return sn_alone; }}
"""


@pytest.fixture
def watch(tmp_path: Path) -> Any:
    """Tells of a step's seconds; gives how many of the next ones run on one thread."""
    if CC is None:
        pytest.skip("no C compiler: cc, gcc or clang")
    (tmp_path / "watch.c").write_text(SOURCE)
    command = [CC, "-std=c11", "-fopenmp", "-shared", "-fPIC", "watch.c", "-o", "watch.so"]
    if subprocess.run(command, cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("the compiler has no OpenMP")
    function = ctypes.CDLL(str(tmp_path / "watch.so")).watch
    function.argtypes = [ctypes.c_double]
    return function


def test_steps_stay_together_while_they_take_about_as_long_as_the_fastest(watch: Any) -> None:
    assert [watch(t) for t in (0.5, 0.02, 0.01, 0.03, 0.04, 0.01)] == [0] * 6
    assert [watch(t) for t in (5e-6, 9e-4, 1e-3)] == [0] * 3  # a millisecond is no sign


def test_after_a_step_that_waited_the_next_ones_run_alone(watch: Any) -> None:
    watch(5e-4)
    assert watch(0.04) == 8
    assert [watch(9e-4) for _ in range(8)] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert watch(0.04) == 16  # a try, still slow
    for _ in range(16):
        watch(9e-4)
    assert watch(5e-4) == 0  # a try that is fast again
    assert watch(0.04) == 16


def test_the_longest_rest_is_bounded(watch: Any) -> None:
    watch(5e-4)
    rests = []
    for _ in range(12):
        rests.append(watch(0.04))
        for _ in range(rests[-1]):
            watch(9e-4)
    assert rests[:8] == [8, 16, 32, 64, 128, 256, 512, 1024]
    assert set(rests[8:]) == {1024}


def test_a_program_of_one_thread_has_no_clock() -> None:
    x = sn.placeholder((4,), name="x")
    small = sn.function(x, x + 1.0, device="cpu")
    assert "#define SN_USES_THREADS 0" in small.source(whole=True)
    y = sn.placeholder((1 << 20,), name="y")
    large = sn.function(y, sn.exp(y), device="cpu")
    assert "#define SN_USES_THREADS 1" in large.source(whole=True)
    np.testing.assert_array_equal(small(np.zeros(4, np.float32)), np.ones(4))
