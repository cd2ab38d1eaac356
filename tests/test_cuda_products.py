"""Products through cuBLASLt: row-major matrices, epilogues, types and the choice of algorithm.

The library is a fake that multiplies column-major matrices with NumPy, and the real one, where it
is installed, for what it does without a GPU.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import Gpu
from tolerance import close

import staticnet as sn
from staticnet.backends.cuda import tuning
from staticnet.backends.cuda.commands import BoundProduct
from staticnet.backends.cuda.cublaslt import CublasLt, Operation, find_library
from staticnet.backends.cuda.descriptor import (
    EPILOGUES,
    MatmulDescriptor,
    MatrixLayout,
    alignment,
)
from staticnet.backends.cuda.device import Device
from staticnet.errors import ExecutionError, FlagError
from staticnet.ops.base import apply
from staticnet.ops.library import MatmulEpilogue

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


def random_matrix(rng: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    return rng.normal(size=shape).astype(dtype)


PRODUCTS = {
    "plain": lambda a, b: a(5, 7) @ b(7, 3),
    "left transposed": lambda a, b: sn.matrix_transpose(a(7, 5)) @ b(7, 3),
    "right transposed": lambda a, b: a(5, 7) @ sn.matrix_transpose(b(3, 7)),
    "both transposed": lambda a, b: sn.matrix_transpose(a(7, 5)) @ sn.matrix_transpose(b(3, 7)),
    "row": lambda a, b: a(1, 7) @ b(7, 3),
    "column": lambda a, b: a(5, 7) @ b(7, 1),
    "outer": lambda a, b: a(5, 1) @ b(1, 3),
    "sliced": lambda a, b: a(9, 12)[2:7, 3:10] @ b(7, 8)[:, 1:4],
    "batched": lambda a, b: a(4, 5, 7) @ b(4, 7, 3),
    "shared right": lambda a, b: a(4, 5, 7) @ b(7, 3),
    "shared left": lambda a, b: a(5, 7) @ b(4, 7, 3),
    "heads": lambda a, b: (
        sn.permute_dims(a(2, 5, 3, 7), (0, 2, 1, 3)) @ sn.permute_dims(b(2, 4, 3, 7), (0, 2, 3, 1))
    ),
    "crossed": lambda a, b: a(4, 1, 5, 7) @ b(1, 3, 7, 2),
}
EPILOGUE_CASES = {
    "bias": lambda y, b: y + b,
    "relu": lambda y, b: sn.relu(y),
    "relu_bias": lambda y, b: sn.relu(y + b),
    "gelu": lambda y, b: sn.nn.gelu(y, approximate="tanh"),
    "gelu_bias": lambda y, b: sn.nn.gelu(y + b, approximate="tanh"),
}


def multiply(build: Any, dtype: str, gpu: Gpu, **options: Any) -> tuple[Any, Any, Any]:
    """A product on the GPU and on NumPy. -> the function, both results"""
    rng = np.random.default_rng(0)
    inputs: list[Any] = []
    feeds: list[Any] = []

    def operand(*shape: int) -> Any:
        inputs.append(sn.placeholder(shape, dtype, f"x{len(inputs)}"))
        feeds.append(random_matrix(rng, shape, inputs[-1].dtype))
        return inputs[-1]

    y = build(operand)
    f = sn.function(inputs, y, device="cuda", **options)
    return f, f(*feeds).get(), sn.function(inputs, y, device="numpy")(*feeds)


@needs_shim
@pytest.mark.usefixtures("launch_by_launch")
class TestProducts:
    @pytest.mark.parametrize("name", PRODUCTS)
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_row_major_through_column_major(self, gpu: Gpu, name: str, dtype: str) -> None:
        _, got, wanted = multiply(lambda x: PRODUCTS[name](x, x), dtype, gpu)
        close(got, wanted, 1e-5)
        assert gpu.count("product") >= 2  # as it is, and captured

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_halves(self, gpu: Gpu, dtype: str) -> None:
        _, got, wanted = multiply(lambda x: x(5, 7) @ x(7, 3), dtype, gpu)
        close(got, wanted)

    @pytest.mark.parametrize("name", EPILOGUE_CASES)
    def test_epilogues(self, gpu: Gpu, name: str) -> None:
        def build(x: Any) -> Any:
            return EPILOGUE_CASES[name](x(5, 7) @ x(7, 3), x(3))

        f, got, wanted = multiply(build, "float32", gpu)
        close(got, wanted, 1e-5)
        found = [c for c in f.specialize().executable.commands if isinstance(c, BoundProduct)]
        assert [c.product.epilogue for c in found] == [name]
        assert [c.descriptor.epilogue for c in found] == [EPILOGUES[name]]

    @pytest.mark.parametrize("name", EPILOGUE_CASES)
    def test_epilogues_of_float64_are_as_accurate_as_it(self, gpu: Gpu, name: str) -> None:
        """The library's gelu is not; its other epilogues stay in the call."""
        activation = name.partition("_")[0].replace("bias", "none")
        shapes = [(5, 7), (7, 3), (3,)][: 3 if "bias" in name else 2]

        def build(x: Any) -> Any:
            return apply(MatmulEpilogue(activation), *[x(*shape) for shape in shapes])

        f, got, wanted = multiply(build, "float64", gpu)
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13)
        (found,) = [c for c in f.specialize().executable.commands if isinstance(c, BoundProduct)]
        assert found.product.epilogue == ("none" if activation == "gelu" else name)

    def test_several_batch_axes_take_several_calls(self, gpu: Gpu) -> None:
        f, _, _ = multiply(lambda x: PRODUCTS["crossed"](x, x), "float32", gpu)
        (product,) = f.specialize().executable.commands
        assert len(product.calls) * product.descriptor.a.batch == 12

    @pytest.mark.parametrize("dtype", ["int32", "float32"])
    def test_results_that_are_kept_come_to_their_place(self, gpu: Gpu, dtype: str) -> None:
        """A state beside what may fail, and a choice; no library multiplies integers."""
        state = sn.variable(np.ones((3, 3), dtype))
        x, i = sn.placeholder((3, 3), dtype), sn.placeholder((2,), "int64")
        updates = {state: x @ x}
        given = np.arange(9).reshape(3, 3).astype(dtype)
        sn.function([x, i], sn.take(x, i, axis=0), updates, device="cuda")(given, np.array([0, 1]))
        np.testing.assert_array_equal(state.value, given @ given)
        p = sn.placeholder((), "bool")
        chosen = sn.cond(p, lambda x: x @ x, lambda x: x, x)
        f = sn.function([p, x], chosen, device="cuda")
        for way in (True, False):
            expected = given @ given if way else given
            np.testing.assert_array_equal(f(np.bool_(way), given).get(), expected)

    @pytest.mark.parametrize(
        ("dtype", "precision", "compute", "operands"),
        [
            ("float32", "float32", 68, 0),
            ("float32", "tf32", 77, 0),
            ("float32", "bfloat16", 68, 14),
            ("float32", "float16", 68, 2),
            ("float64", "float64", 70, 1),
            ("float64", "tf32", 70, 1),
        ],
    )
    def test_what_it_computes_in(
        self, gpu: Gpu, dtype: str, precision: str, compute: int, operands: int
    ) -> None:
        options = {} if precision == "float64" else {"precision": precision}
        f, _, _ = multiply(lambda x: x(8, 8) @ x(8, 8), dtype, gpu, **options)
        commands = f.specialize().executable.commands
        (product,) = [c for c in commands if isinstance(c, BoundProduct)]
        assert (product.descriptor.compute, product.descriptor.a.dtype) == (compute, operands)

    def test_alignments_are_told(self, gpu: Gpu) -> None:
        assert [alignment(256, 512), alignment(256, 24), alignment(0), alignment(3)] == [
            256, 8, 256, 1,
        ]  # fmt: skip
        multiply(lambda x: PRODUCTS["sliced"](x, x), "float32", gpu)
        a, b, c, d = (int.from_bytes(gpu.blas.asked[-1][i], "little") for i in (5, 6, 7, 8))
        assert (a, b, c, d) == (4, 4, 256, 256)

    def test_no_algorithm(self, gpu: Gpu) -> None:
        gpu.blas.algorithms = 0
        with pytest.raises(ExecutionError, match="has no algorithm for .*NOT_SUPPORTED"):
            multiply(lambda x: x(5, 7) @ x(7, 3), "float32", gpu)

    def test_objects_are_destroyed(self, gpu: Gpu) -> None:
        f, _, _ = multiply(lambda x: x(5, 7) @ x(7, 3), "float32", gpu)
        assert len(gpu.blas.objects) == 4  # a descriptor and three layouts; no preference
        del f
        gc.collect()
        gpu.current.queue.clear()
        assert len(gpu.blas.objects) <= 4

    def test_the_fastest_is_kept_on_disk(self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
        """By default; in a process that has time for it."""
        monkeypatch.delenv("STATICNET_TUNE")
        gpu.blas.algorithms = 3
        times = iter([3.0, 1.0, 2.0])
        monkeypatch.setattr(gpu.cupy.cuda, "get_elapsed_time", lambda a, b: next(times))
        for _ in range(2):  # the second time nothing is measured: there are no times left
            gpu.log.clear()
            _, got, wanted = multiply(lambda x: x(5, 7) @ x(7, 3), "float32", gpu)
            close(got, wanted, 1e-5)
            assert [entry for entry in gpu.log if entry[0] == "product"][-1] == ("product", 2)
        gpu.blas.version += 1
        other = Device(gpu.cupy, gpu.nvrtc, CublasLt(gpu.blas))  # type: ignore[arg-type]
        monkeypatch.setattr("staticnet.backends.cuda.open_device", lambda: other)
        with pytest.raises(StopIteration):
            multiply(lambda x: x(5, 7) @ x(7, 3), "float32", gpu)

    @pytest.mark.parametrize("fail", [(1,), (0, 1, 2)])
    def test_an_algorithm_that_fails_has_no_time(
        self, fail: tuple[int, ...], gpu: Gpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The fastest of others is taken; where there is none, that is told and not kept."""
        monkeypatch.delenv("STATICNET_TUNE")
        gpu.blas.algorithms = 3
        turns = iter(range(3))

        def timed(act: Any, *_: Any) -> float:
            if (turn := next(turns)) in fail:
                raise ExecutionError("CUBLAS_STATUS_NOT_SUPPORTED")
            act()
            return 3.0 - turn

        monkeypatch.setattr(tuning, "_time", timed)
        if len(fail) == 3:
            with pytest.raises(ExecutionError, match="none of its 3 algorithms runs for"):
                multiply(lambda x: x(5, 7) @ x(7, 3), "float32", gpu)
            assert not list(tmp_path.rglob("*.json"))
            return
        _, got, wanted = multiply(lambda x: x(5, 7) @ x(7, 3), "float32", gpu)
        close(got, wanted, 1e-5)
        (kept,) = tmp_path.rglob("*.json")
        told = json.loads(kept.read_text(), parse_constant=pytest.fail)
        assert told["milliseconds"] == {"0": 3.0, "2": 1.0}

    @pytest.mark.parametrize(("budget", "measured"), [("0", 0), ("2.5", 2), ("inf", 3)])
    def test_a_process_measures_within_its_budget(
        self, budget: str, measured: int, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each of three products takes 2 s; what is over the budget is left to another process."""
        monkeypatch.setenv("STATICNET_TUNE", budget)
        seconds = iter(range(0, 100, 2))
        clock = SimpleNamespace(perf_counter=lambda: next(seconds))
        monkeypatch.setattr(tuning, "time", clock)
        gpu.blas.algorithms = 2
        times = iter([2.0, 1.0] * measured)
        monkeypatch.setattr(gpu.cupy.cuda, "get_elapsed_time", lambda a, b: next(times))
        for size in (5, 6, 7):
            _, got, wanted = multiply(lambda x, n=size: x(n, 7) @ x(7, 3), "float32", gpu)
            close(got, wanted, 1e-5)
        assert next(times, None) is None
        for bad in ("-1", "nan", "soon"):
            monkeypatch.setenv("STATICNET_TUNE", bad)
            with pytest.raises(FlagError, match=f"STATICNET_TUNE='{bad}'.*inf is no limit"):
                multiply(lambda x: x(9, 7) @ x(7, 3), "float32", gpu)


SQUARE = MatrixLayout(0, 8, 8, 8)
REFUSED = {
    "types": MatmulDescriptor(68, 0, 0, 0, 1, SQUARE, SQUARE, replace(SQUARE, dtype=14)),
    "scale": MatmulDescriptor(68, 1, 0, 0, 1, SQUARE, SQUARE, SQUARE),
    "tf32 of halves": MatmulDescriptor(77, 0, 0, 0, 1, *[replace(SQUARE, dtype=2)] * 3),
    "leading": MatmulDescriptor(68, 0, 0, 0, 1, replace(SQUARE, leading=7), SQUARE, SQUARE),
    "inner": MatmulDescriptor(68, 0, 0, 0, 1, replace(SQUARE, columns=4), SQUARE, SQUARE),
    "batches": MatmulDescriptor(68, 0, 0, 0, 1, replace(SQUARE, batch=2), SQUARE, SQUARE),
    "results that overlap": MatmulDescriptor(68, 0, 0, 0, 1, *[replace(SQUARE, batch=2)] * 3),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_fake_refuses_what_makes_no_product(gpu: Gpu, what: str) -> None:
    blas = CublasLt(gpu.blas)  # type: ignore[arg-type]
    with pytest.raises(ExecutionError, match="has no algorithm .*(INVALID_VALUE|NOT_SUPPORTED)"):
        blas.algorithms(Operation(blas, REFUSED[what]), (256, 256, 256))


@pytest.mark.parametrize(
    ("offset", "workspace", "bias"),
    [(4, 0, 512), (2, 0, 512), (0, 8, 512), (0, -256, 512), (0, 0, 0), (0, 0, 516)],
)
def test_the_fake_refuses_what_lies_badly(gpu: Gpu, offset: int, workspace: int, bias: int) -> None:
    """Operands, a workspace, also one that is too small, and a bias."""
    blas = CublasLt(gpu.blas)  # type: ignore[arg-type]
    gpu.blas.workspaces = itertools.repeat(256)
    memory = gpu.alloc(4096).ptr
    descriptor = MatmulDescriptor(68, 0, 0, 0, 4, SQUARE, SQUARE, SQUARE)
    operation = Operation(blas, descriptor, bias and memory + bias)
    (algorithm,) = blas.algorithms(operation, (16, 16, 16))
    told = replace(algorithm, workspace=256 + min(workspace, 0))
    at = memory + 2048 + max(workspace, 0)
    with pytest.raises(ExecutionError, match="CUBLAS_STATUS_INVALID_VALUE"):
        blas.multiply(operation, told, memory + offset, memory, memory + 1024, at, 0)
    fine = Operation(blas, descriptor, memory + 512)
    blas.multiply(fine, algorithm, memory, memory, memory + 1024, memory + 2048, 0)


def test_the_real_library_takes_the_descriptors() -> None:
    """NVIDIA's cuBLASLt makes and reads back descriptors without a GPU."""
    blas = find_library()
    if blas is None:
        pytest.skip("no cuBLASLt on this machine: pip install nvidia-cublas")
    layouts = MatrixLayout(14, 7, 5, 9, 4, 45), MatrixLayout(14, 3, 7, 3), MatrixLayout(14, 3, 5, 3)
    operation = Operation(blas, MatmulDescriptor(68, 0, 0, 1, 36, *layouts), bias=4096)
    wanted = {3: 0, 4: 1, 7: 36, 8: 4096, 26: 14}
    for attribute, value in wanted.items():
        assert read_back(blas, "MatmulDesc", operation.handle, attribute) == value
    numbers = {0: 14, 2: 7, 3: 5, 4: 9, 5: 4, 6: 45}
    for attribute, value in numbers.items():
        assert read_back(blas, "MatrixLayout", operation.a, attribute) == value


def read_back(blas: CublasLt, kind: str, made: Any, attribute: int) -> int:
    value, written = ctypes.c_uint64(), ctypes.c_size_t()
    read = getattr(blas._library, f"cublasLt{kind}GetAttribute")
    for size in (8, 4):
        room = ctypes.c_size_t(size)
        if read(made, attribute, ctypes.byref(value), room, ctypes.byref(written)) == 0:
            return value.value
    raise AssertionError(attribute)
