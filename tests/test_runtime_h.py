"""kernels/runtime.h by itself, where a plan's tests do not reach."""

from __future__ import annotations

import ctypes
import re
import subprocess
from typing import Any

import numpy as np
import pytest

from staticnet.backends.cpu.compiler import find_compiler
from staticnet.codegen.resources import kernels_path

SHIPPED = True

compiler = find_compiler()
pytestmark = pytest.mark.skipif(compiler is None, reason="no C compiler here")

SOURCE = """
#include "runtime.h"
SN_FIRST(sort, float, sn_order_f32, uint32_t)
void first(int64_t n, int64_t k, const float *x, int64_t *y, int64_t step, int descending,
           void *room, int64_t most) {
  sort(n, k, x, y, step, descending, (sn_sorted *)room, most);
}
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The places of the first k, and what lay behind the room and between results."""
    assert compiler is not None
    folder = tmp_path_factory.mktemp("sort")
    (folder / "sort.c").write_text(SOURCE, encoding="utf-8")
    command = [*compiler.command, "-shared", "-fPIC", f"-I{kernels_path()}", "-w"]
    subprocess.run([*command, str(folder / "sort.c"), "-o", str(folder / "sort.so")], check=True)
    return ctypes.CDLL(str(folder / "sort.so")).first


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("order", ["any", "up", "down"])
def test_the_first_of_a_row(first: Any, descending: bool, step: int, order: str) -> None:
    """However few are sorted at once, and in whatever order a row comes; rooms hold no more."""
    for n, k, most in [
        (1, 1, 1),
        (57, 9, 57),
        (57, 57, 57),
        (300, 1, 33),
        (333, 8, 40),
        (999, 64, 128),
    ]:
        values = np.random.default_rng(n).integers(-9, 9, n).astype("f")
        values[: n // 5], values[n // 2] = np.nan, -0.0
        values = values if order == "any" else np.sort(values)
        x = np.full((n, step), -1.0, "f")
        x[:, 0] = values[::-1] if order == "down" else values
        y, room = np.full((n, step), -7, np.int64), np.full(4 * most + 1, -7, np.int64)
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (x, y, room)]
        sizes = [ctypes.c_int64(size) for size in (n, k, step, most)]
        first(*sizes[:2], *pointers[:2], sizes[2], int(descending), pointers[2], sizes[3])
        keys = x[:, 0]
        wanted = sorted(
            range(n),
            key=lambda i: (not np.isnan(keys[i]), -keys[i]) if descending
            else (np.isnan(keys[i]), keys[i]),
        )  # fmt: skip
        assert y[:k, 0].tolist() == wanted[:k]
        assert (y[:, 1:] == -7).all()
        assert (y[k:] == -7).all()
        assert room[-1] == -7


def test_no_kernel_asks_for_memory() -> None:
    """What a step works in is in the arena, which the certificate counts."""
    asks = re.compile(r"\b(?:malloc|calloc|realloc|aligned_alloc|alloca)\b")
    own = {"main.h", "library.h"}  # of an exported program: all that it ever has
    found = {path.name for path in kernels_path().glob("*.h") if asks.search(path.read_text())}
    assert found == own
