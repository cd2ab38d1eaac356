"""What the host shim finds in kernels: hangs, strays, races."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cuda_shim import CXX, Guarded, KernelFailure, build, run_kernel

pytestmark = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")

BAD_KERNELS = {
    "some threads return before a barrier": (
        "if (threadIdx.x == 3) return; __syncthreads();",
        "31 of 32 threads wait at a barrier",
    ),
    "threads meet at different barriers": (
        "if (threadIdx.x < 16) {\n __syncthreads();\n } else {\n __syncthreads();\n }",
        "different lines",
    ),
    "lanes wait for others that do not come": (
        "if (threadIdx.x < 16) x[0] = __shfl_xor_sync(0xffffffffu, x[0], 1);",
        "do not come",
    ),
    "a lane outside the mask": ("x[0] = __shfl_xor_sync(1u, x[0], 1);", "its own mask"),
    "a lane asks one that is not there": (
        "if (threadIdx.x < 16) x[0] = __shfl_xor_sync(0xffffu, x[0], 16);",
        "which is not there",
    ),
    "a read behind a buffer": ("x[0] = x[32 + 4 * threadIdx.x];", "outside all buffers"),
    "an index behind an array": (
        "int y[4]; for (int i = 0; i < 4; ++i) y[i] = i; x[0] = y[x[0] + 5];",
        "beyond an array",
    ),
    "a pack that is not aligned": (
        "struct alignas(16) pack { int v[4]; }; *(pack *)(x + 1) = *(pack *)x;",
        "not aligned",
    ),
    "a write behind a buffer": ("if (threadIdx.x == 31) x[36] = 0;", "thread 31: an access"),
}


@pytest.mark.parametrize("case", BAD_KERNELS)
def test_the_shim_stops_kernels_that_hang_or_stray(case: str, tmp_path: Path) -> None:
    body, message = BAD_KERNELS[case]
    library = build(f'extern "C" __global__ void k(int *x) {{ {body} }}', ["k"], tmp_path)
    buffer = Guarded(32 * 4)
    with pytest.raises(KernelFailure, match=message):
        run_kernel(library, "k", (1, 1, 1), (32, 1, 1), [buffer.at])
    good = build('extern "C" __global__ void g(int *x) { x[threadIdx.x] = 7; }', ["g"], tmp_path)
    run_kernel(good, "g", (1, 1, 1), (32, 1, 1), [buffer.at])
    np.testing.assert_array_equal(buffer.view(np.int32, (32,)), 7)


RACES = {
    "a read without a barrier before": "if (threadIdx.x == 0) s = 5; x[threadIdx.x] = s;",
    "a write without a barrier before": (
        "if (threadIdx.x == 0) s = 5; __syncthreads(); "
        "x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, s, 0); if (threadIdx.x % 32 == 0) s = 9;"
    ),
}


NOTHING_OF_USE = {
    "a kernel's array": "__shared__ int s[9]; int *const at = s + 8;",
    "a kernel's array behind a barrier of the grid": "__shared__ int s[9]; int *const at = s + 8;",
    "an array of a function that it calls": "int *const at = shared<7>();",
    "a register": 'int s, *const at = &s; asm volatile("" : "+r"(*at));',
}


@pytest.mark.parametrize("case", NOTHING_OF_USE)
def test_blocks_find_nothing_of_use(case: str, tmp_path: Path) -> None:
    """Nor is it 0, which is what memory holds on a good day."""
    together = "barrier" in case
    body = f"{NOTHING_OF_USE[case]} if (!blockIdx.x) *at = 5; "
    body += "shim::wait_for_grid(1); " * together
    source = f"""
template <int N> int *shared() {{ __shared__ int s[N]; return s + N - 1; }}
extern "C" __global__ void k(int *x) {{ {body} x[blockIdx.x] = *at; }}"""
    library = build(source, ["k"], tmp_path)
    buffer = Guarded(2 * 4)
    run_kernel(library, "k", (2, 1, 1), (1, 1, 1), [buffer.at], cooperative=together)
    nothing = 0xFEFEFEFE if "register" in case else 0xFFFFFFFF
    found = [x & 0xFFFFFFFF for x in buffer.view(np.int32, (2,)).tolist()]
    assert found == [nothing if together else 5, nothing]


@pytest.mark.parametrize("case", RACES)
def test_races_show_in_the_order_of_warps(case: str, tmp_path: Path) -> None:
    source = f'extern "C" __global__ void k(int *x) {{ __shared__ int s; {RACES[case]} }}'
    library = build(source, ["k"], tmp_path)
    results = []
    for reverse in (True, False):
        buffer = Guarded(64 * 4)
        run_kernel(library, "k", (1, 1, 1), (64, 1, 1), [buffer.at], reverse)
        results.append(buffer.view(np.int32, (64,)).tolist())
    assert results[0] != results[1]
