"""The GPU's benchmarks with no GPU: ours on a fake one, and the table from made-up records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import Gpu

bench = pytest.importorskip("bench.gpu.worker", reason="the benchmarks are not installed")

from bench.client import WorkerError  # noqa: E402
from bench.driver import Settings, expected  # noqa: E402
from bench.gpu import driver, kernels, report  # noqa: E402
from bench.gpu.workloads import WORKLOADS, kernel, staticnet_kernel  # noqa: E402
from bench.rounds import compare  # noqa: E402
from bench.workloads import pointwise, softmax  # noqa: E402

SMALL = 1 << 16
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


@needs_shim
@pytest.mark.parametrize("name", ["playground", "pointwise", "softmax", "adam", "matmul_bf16"])
def test_ours_is_right_and_timed(name: str, gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(
        synchronize=gpu.current.synchronize, time=lambda act: act() or gpu.current.synchronize()
    )
    monkeypatch.setitem(bench.CLOCKS, "staticnet", lambda: clock)
    workload = WORKLOADS[name]
    size = SMALL if workload.bytes_moved(SMALL) else 0
    worker = bench.GpuWorker(workload, "staticnet", "cuda")
    answer = worker.prepare(size, workload.check_steps)
    wanted = expected(workload, size)
    for mode, values in answer["checks"].items():
        found = compare(np.array(values), wanted[mode], workload)
        assert found["right"], found["text"]
    mode = next(iter(answer["checks"]))
    timed = worker.round(mode, 0.001, 2)
    assert timed["samples"]
    assert all(x > 0 for x in timed["samples"])
    assert timed["device"] == []  # this clock has none


def test_the_kernels_are_the_cpus() -> None:
    made = kernel(softmax.SOFTMAX, softmax.staticnet, 1024)
    assert made.contenders.keys() == softmax.SOFTMAX.contenders.keys()
    assert made.contenders["torch"] is softmax.SOFTMAX.contenders["torch"]
    assert staticnet_kernel(pointwise.staticnet, 128) is not None
    data = made.make_data(SMALL)
    np.testing.assert_array_equal(made.reference(data)["into"], softmax.reference(data)["into"])


GPU = {
    "kind": "gpu", "name": "Some GPU", "copies": [[1 << 20, 1e12], [1 << 30, 2e12]],
    "products": {"float32": 5e13, "bfloat16": 8e14},
}  # fmt: skip


def result(contender: str, wall: float, device: float | None, **changes: Any) -> dict[str, Any]:
    line = {
        "kind": "result", "workload": "pointwise", "size": 1 << 28, "mode": "into",
        "contender": contender, "status": "ok", "reason": "", "bytes": 3 << 28, "flops": 0,
        "samples": [[wall, wall * 3], [wall]],
    }  # fmt: skip
    return line | ({"device": [[device]]} if device else {}) | changes


def test_the_ratio_is_to_the_best_peer_and_the_share_of_the_floor() -> None:
    floor = (3 << 28) / 2e12
    records = [
        GPU,
        result("staticnet", 9.0, floor * 2),
        result("torch", 10.0, floor * 5),
        result("jax", 4.5, None),  # without the device's time the wall clock's is compared
        result("torch.compile", 1.0, 1.0, status="wrong", reason="value 0 is 1"),
    ]
    text = report.table(records)
    ours, eager, jax, wrong = text.splitlines()[1:]
    assert ours.split()[-2:] == ["2.00", "50%"]
    assert "0.40" not in ours  # the ratio to a slower peer
    assert eager.split()[-1] == "20%"
    assert jax.split()[2:5] == ["into", "jax", "4500000.0"]
    assert "wrong: value 0 is 1" in wrong
    assert report.rates(records).startswith("Some GPU: copies of 1024 MiB 2000 GB/s")


def test_products_have_the_floor_of_their_type() -> None:
    line = result("staticnet", 1.0, 2e-3, workload="matmul_bf16", flops=int(8e11), bytes=1 << 20)
    assert report.table([GPU, line]).split()[-1] == "50%"


@needs_shim
def test_the_kernels_are_written(gpu: Gpu, tmp_path: Path) -> None:
    kernels.main(str(tmp_path / "out"))
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"mlp.cu", "mlp.plan.txt", "adam.cu", "softmax.cu"} <= names
    assert "__global__" in (tmp_path / "out" / "mlp.cu").read_text(encoding="utf-8")
    launches = (tmp_path / "out" / "mlp.launches.txt").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("0: ") for line in launches)
    assert any("cuBLASLt: [64,784] by [784,256] float32, then relu_bias" in x for x in launches)


def test_the_check_fails_clearly_without_a_gpu(tmp_path: Path) -> None:
    script = Path(bench.__file__).parents[1] / "gpu_check.sh"
    environment = dict(os.environ) | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        ["bash", str(script), str(tmp_path / "out")], capture_output=True, text=True,
        env=environment,
    )  # fmt: skip
    assert run.returncode == 2
    assert "gpu_check: this machine cannot run CUDA: " in run.stderr
    assert not (tmp_path / "out").exists()


def test_all_contenders_of_the_suite_are_known() -> None:
    for workload in WORKLOADS.values():
        assert set(workload.contenders) <= set(driver.CONTENDERS), workload.name
        assert "staticnet" in workload.contenders


def test_a_start_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MODULE", "bench.gpu.nothing")
    out = tmp_path / "raw.json"
    with pytest.raises(WorkerError, match=r"No module named bench\.gpu\.nothing"):
        driver.run(Settings(suite="gpu", workloads=["playground"], rounds=1, out=out))
    (first,) = out.read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["kind"] == "environment"
