"""kernels/runtime.h by itself, where a plan's tests do not reach."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from staticnet.backends.cpu.compiler import find_compiler
from staticnet.codegen.resources import kernels_path

SHIPPED = True

compiler = find_compiler()
pytestmark = pytest.mark.skipif(compiler is None, reason="no C compiler here")

SOURCE = """
#include <stdlib.h>
#define malloc(n) NULL
#include "runtime.h"
SN_ARGSORT(sort, float, sn_order_f32, 4)
void argsort(int64_t n, const float *x, int64_t *y, int64_t step, int descending) {
  sort(n, x, y, step, descending);
}
"""


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("step", [1, 3])
def test_a_sort_without_memory_to_sort_in(tmp_path: Path, descending: bool, step: int) -> None:
    assert compiler is not None
    (tmp_path / "sort.c").write_text(SOURCE, encoding="utf-8")
    command = [*compiler.command, "-shared", "-fPIC", f"-I{kernels_path()}", "-w"]
    subprocess.run(
        [*command, str(tmp_path / "sort.c"), "-o", str(tmp_path / "sort.so")], check=True
    )
    argsort = ctypes.CDLL(str(tmp_path / "sort.so")).argsort
    for n in (0, 1, 2, 57):
        x = np.full((max(n, 1), step), -1.0, "f")
        x[:n, 0] = np.random.default_rng(n).integers(0, 9, n)
        x[: n // 5, 0] = np.nan
        y = np.full((max(n, 1), step), -7, np.int64)
        argsort(
            ctypes.c_int64(n), x.ctypes.data_as(ctypes.c_void_p),
            y.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(step), int(descending),
        )  # fmt: skip
        keys = x[:n, 0]
        wanted = sorted(
            range(n),
            key=lambda i: (not np.isnan(keys[i]), -keys[i]) if descending
            else (np.isnan(keys[i]), keys[i]),
        )  # fmt: skip
        assert y[:n, 0].tolist() == wanted
        assert (y[:n, 1:] == -7).all()
