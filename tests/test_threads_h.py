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

SHIPPED = True

COMPILES = True
KERNELS = Path(__file__).resolve().parents[1] / "kernels"
CC = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
SOURCE = f"""
#include <stdint.h>
#define SN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SN_USES_THREADS 1
#define SN_NOW 0
#include "{KERNELS / "openmp.h"}"
#include "{KERNELS / "threads.h"}"
int watch(double seconds) {{ omp_set_num_threads(2); sn_watch(seconds); return sn_alone; }}
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


def told(watch: Any, *seconds: float) -> list[int]:
    return [watch(t) for t in seconds]


def test_steps_stay_together_while_they_are_faster_than_one_thread(watch: Any) -> None:
    assert set(told(watch, 0.06, 0.016, 1e-3, *[5e-4] * 100)) == {0}  # a warm-up
    assert set(told(watch, *([5e-4] * 31 + [8e-3]) * 10)) == {0}  # a hiccup now and then
    assert set(told(watch, *[9e-4] * 200)) == {0}  # two threads, still no slower than one


def test_after_steps_that_waited_the_next_ones_run_alone(watch: Any) -> None:
    told(watch, *[5e-4] * 64)
    assert watch(0.03) == 0
    assert watch(0.03) == 64  # together more than 32 steps on one thread
    assert told(watch, *[9e-4] * 64) == list(range(63, -1, -1))
    assert watch(0.05) == 128  # a try, still slow
    told(watch, *[9e-4] * 128)
    assert set(told(watch, *[5e-4] * 64)) == {0}  # two windows of tries that are fast again
    assert watch(0.05) == 64


def test_the_longest_rest_is_bounded(watch: Any) -> None:
    told(watch, *[5e-4] * 32)
    rests = []
    for _ in range(8):
        rests.append(watch(0.05))
        told(watch, *[9e-4] * rests[-1])
    assert rests == [64, 128, 256, 512, 1024, 2048, 2048, 2048]


def test_a_program_of_one_thread_has_no_clock() -> None:
    x = sn.placeholder((4,), name="x")
    small = sn.function(x, x + 1.0, device="cpu")
    assert "#define SN_USES_THREADS 0" in small.source(whole=True)
    y = sn.placeholder((1 << 20,), name="y")
    large = sn.function(y, sn.exp(y), device="cpu")
    assert "#define SN_USES_THREADS 1" in large.source(whole=True)
    np.testing.assert_array_equal(small(np.zeros(4, np.float32)), np.ones(4))
