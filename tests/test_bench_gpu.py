"""The GPU's benchmarks with no GPU: ours on a fake one, and the table from made-up records."""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import Gpu

from bench.client import WorkerError
from bench.driver import Log, Settings, expected
from bench.gpu import driver, kernels, latency, report, workloads
from bench.gpu import worker as bench
from bench.gpu.models import bottlenecks, vision_transformer
from bench.gpu.networks import NETWORKS_OF_THE_GPU, STEPS, Network
from bench.gpu.workloads import WORKLOADS, kernel, staticnet_kernel
from bench.rounds import compare
from bench.workloads import mlp, pointwise, softmax
from staticnet.cli.networks import network as layers_of
from staticnet.cli.text_networks import character_gpt, character_lstm
from staticnet.compare.process import NoAnswerError

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


def small(network: Network) -> Network:
    """A network of the suite in a size that this machine trains, products in float32."""
    sizes: dict[str, dict[str, Any]] = {
        "char_lstm": {
            "model": lambda nn: character_lstm(nn, units=16), "example": (7,), "batch": 3,
        },
        "cifar_bn": {"example": (3, 8, 8), "batch": 4},
        "resnet50": {
            "model": lambda nn: layers_of(nn, bottlenecks((8, 8, 16, 16), (1, 2, 1, 1), 10)),
            "example": (3, 32, 32), "classes": 10, "batch": 4,
        },
        "vit_b16": {
            "model": lambda nn: vision_transformer(nn, 16, 4, 16, 2, 2, 10),
            "example": (3, 16, 16), "classes": 10, "batch": 4,
        },
        "gpt2_124m": {
            "model": lambda nn: character_gpt(nn, 8, 16, 2, 2, 50), "example": (8,), "classes": 50,
            "batch": 3,
        },
    }  # fmt: skip
    return replace(network, precision="float32", **sizes[network.name.removesuffix("_32")])


@pytest.mark.parametrize(
    "network", [n for n in NETWORKS_OF_THE_GPU if "gpt2_124m_" not in n.name], ids=lambda n: n.name
)
def test_networks_of_the_gpu_train_as_in_torch(network: Network) -> None:
    """Ours on NumPy and JAX's beside eager PyTorch, of the same weights: each step's loss."""
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    network = small(network)
    data = network.make_data(0)
    wanted = network.reference(data)["call"]
    for build, mode in itertools.product((network.staticnet, network.jax), ("call", "run")):
        losses = build(data, "numpy").modes[mode].check(STEPS)
        np.testing.assert_allclose(losses, wanted, rtol=2e-3)
    assert len(set(wanted)) == STEPS


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


def test_the_page_of_the_h100_is_made_of_its_samples(tmp_path: Path) -> None:
    """The command that made it gives it again."""
    results = Path(bench.__file__).parents[1] / "results"
    names = ("networks", "networks_with_all_peers", "kernels")
    files = [str(results / "h100" / f"{name}.jsonl") for name in names]
    page, notes = tmp_path / "page.md", results / "h100" / "notes.md"
    report.main([*files, "--markdown", str(page), "--notes", str(notes)])
    assert page.read_text(encoding="utf-8") == (results / "h100.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("name", ["playground", pytest.param("mlp", marks=pytest.mark.slow)])
def test_what_is_captured_stays_alive_and_starts_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CUDA graph keeps no tensor alive; nor does what stands for one here keep its step."""
    pytest.importorskip("torch")

    def record(torch: Any, step: Any) -> Any:
        for _ in range(workloads.WARM_UP_STEPS):
            step()
        weak = weakref.ref(step)

        def replay() -> Any:
            alive = weak()
            assert alive is not None, "what the graph reads was freed"
            return alive()

        return replay

    monkeypatch.setattr(workloads, "record", record)
    workload = WORKLOADS[name]
    program = workload.contenders[workloads.REPLAYED](workload.make_data(0), "cpu")
    gc.collect()
    wanted = expected(workload, 0)
    for mode, steps in (("call", [1, workload.check_steps - 1]), ("run", [workload.check_steps])):
        values = np.concatenate([program.modes[mode].check(n) for n in steps])
        found = compare(values, wanted[mode], workload)
        assert found["right"], found["text"]


def test_jax_multiplies_float32_as_float32() -> None:
    """On a GPU its default is TF32."""
    pytest.importorskip("jax")
    code = (
        "import jax, numpy as np; a = np.ones((2, 2), 'f'); "
        "print(jax.jit(jax.numpy.matmul).lower(a, a).as_text())"
    )
    environment = dict(os.environ) | driver.EXTRA | {"JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert b"precision = [HIGHEST, HIGHEST]" in run.stdout, run.stderr


class FakeClient:
    """A worker that answers at once, and tells what it was asked."""

    asked: ClassVar[list[tuple[str, str, str]]] = []
    never: ClassVar[set[str]] = set()

    def __init__(self, workload: str, contender: str, threads: int, budget: Any) -> None:
        self.workload, self.contender = workload, contender

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell("close")

    def _tell(self, do: str) -> None:
        self.asked.append((do, self.workload, self.contender))

    def ready(self, timeout: float = 0.0) -> dict[str, Any]:
        return {}

    def send(self, do: str, **command: Any) -> None:
        self._tell("send")

    def wait(self, timeout: float) -> None:
        self._tell("wait")
        if self.workload in self.never:
            raise NoAnswerError("no answer")

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        self._tell(do)
        if do == "rates":
            return GPU
        if do == "prepare":
            return {"checks": {"call": [1.0]}, "first_call_s": {"call": 1.0}, "steps": {"call": 1}}
        return {"calls": 1} if do == "warm" else {"samples": [1e-3], "device": [1e-3]}


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The suite with workers that only tell."""
    monkeypatch.setattr(driver, "GpuClient", FakeClient)
    monkeypatch.setattr(FakeClient, "asked", [])
    monkeypatch.setattr(FakeClient, "never", set())
    monkeypatch.setattr(driver.environment, "missing", lambda c: None)
    monkeypatch.setattr(driver, "expected", lambda workload, size: {"call": np.ones(1)})
    return FakeClient


def test_the_compilers_come_last_and_side_by_side(fakes: Any) -> None:
    driver.run(Settings(suite="gpu", rounds=2), say=lambda text: None)
    asked = [(do, c) for do, name, c in fakes.asked if driver.is_late(name, c)]
    start = fakes.asked.index(next(x for x in fakes.asked if driver.is_late(*x[1:])))
    assert fakes.asked[start:] == [x for x in fakes.asked if driver.is_late(*x[1:])]
    assert list(dict.fromkeys(c for _, c in asked)) == list(driver.COMPILERS)
    for compiler in driver.COMPILERS:
        acts = [do for do, c in asked if c == compiler]
        made = [w for w in WORKLOADS.values() if driver.is_late(w.name, compiler)]
        units = sum(len(w.sizes) for w in made if compiler in w.contenders)
        assert units > 0
        assert acts[: 2 * units] == ["send"] * units + ["wait"] * units  # none is timed meanwhile
        assert acts.count("round") == acts.count("warm") * 2 > 0


def test_what_does_not_compile_in_time_is_cut_off_and_said(fakes: Any) -> None:
    fakes.never = {"mlp"}
    said: list[str] = []
    records = driver.run(Settings(suite="gpu", rounds=1, limit=500), say=said.append)
    cut = [r for r in records if r.get("status") == "cut off"]
    assert [(r["workload"], r["contender"]) for r in cut] == [("mlp", driver.LATE)]
    assert "it had not compiled after 200 s" in cut[0]["reason"]
    assert any("mlp torch.compile: cut off: it had not compiled" in text for text in said)
    timed = {r["workload"] for r in records if r.get("contender") == driver.LATE and "samples" in r}
    assert timed == WORKLOADS.keys() - {"mlp"}


def test_what_the_limit_does_not_reach_is_cut_off(
    fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        driver, "Budget", lambda limit: SimpleNamespace(limit=limit, left=lambda: 0.0)
    )
    records = driver.run(Settings(suite="gpu", rounds=1, limit=5), say=lambda text: None)
    results = [r for r in records if r["kind"] == "result"]
    assert {r["reason"] for r in results} == {"the limit of 5 s had passed"}
    named = {(r["workload"], r["size"], r["contender"]) for r in results}
    assert named == {
        (w.name, size, c) for w in WORKLOADS.values() for size in w.sizes for c in w.contenders
    }


def test_a_client_waits_no_longer_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def answer(self: Any, timeout: float) -> dict[str, Any]:
        waited.append(timeout)
        return {"checks": {}}

    monkeypatch.setattr(driver.Client, "__init__", lambda *_: None)
    monkeypatch.setattr(driver.Client, "_answer", answer)
    monkeypatch.setattr(driver.Client, "send", lambda self, do, **command: None)
    client = driver.GpuClient("mlp", "jax", 2, SimpleNamespace(left=lambda: 7.0))
    client.ask("round")
    client.wait(3.0)
    assert client.ask("prepare") == {"checks": {}}  # it was answered before
    assert waited == [7.0 + driver.GRACE, 3.0]
    client = driver.GpuClient("mlp", "jax", 2, driver.Budget(0))
    client.ask("round")
    assert waited[-1] == driver.START_SECONDS


STUB = """#!/bin/sh
case "$*" in *CudaBackend*) exit 0 ;; esac
echo "$(basename "$0") $*" | tee -a "$LOG"
case "$0" in *timeout) shift 3; exec "$@" ;; esac
"""


PARTS = {
    "tests": ("doctor", "bench.gpu.kernels", "-m pytest"),
    "figures": ("bench.gpu.latency", "bench.gpu.cudnn", "--suite gpu"),
}
SANITIZER = ("memcheck", "racecheck", "synccheck")


def checked(folder: Path, part: str, passed: int = 0) -> tuple[Any, list[str]]:
    """A run of the check's script with stubs. -> the process, and the commands that it timed"""
    for name in ("python", "timeout", "nvidia-smi", "compute-sanitizer"):
        (folder / name).write_text(STUB, encoding="utf-8")
        (folder / name).chmod(0o755)
    log = folder / "log"
    log.write_text("", encoding="utf-8")
    environment = dict(os.environ) | {
        "PYTHON": "python", "PATH": f"{folder}:{os.environ['PATH']}",
        "SECONDS_PASSED": str(passed), "LOG": str(log),
    }  # fmt: skip
    script = Path(bench.__file__).parents[1] / "gpu_check.sh"
    run = subprocess.run(
        ["bash", str(script), part, str(folder / "out")], capture_output=True, text=True,
        env=environment,
    )  # fmt: skip
    lines = log.read_text(encoding="utf-8").splitlines()
    return run, [line for line in lines if line.startswith("timeout ")]


@pytest.mark.parametrize("part", [*PARTS, "all", "sanitizer"])
@pytest.mark.parametrize("passed", [0, 150, 225, 300])
def test_each_part_of_the_check_ends_within_four_minutes(
    passed: int, part: str, tmp_path: Path
) -> None:
    """Nothing may take longer than what is left of them; the benchmark ends by itself before."""
    run, timed = checked(tmp_path, part, passed)
    limits = [int(line.split()[3]) for line in timed]
    assert all(limit <= 240 - passed for limit in limits), timed
    if passed == 300:
        assert timed == []
        assert "cut off: 240 s have passed" in run.stdout
        assert run.returncode == 1
        return
    assert run.returncode == 0, run.stderr
    parts = {**PARTS, "sanitizer": SANITIZER, "all": [*PARTS["tests"], *PARTS["figures"]]}
    assert all(name in line for name, line in zip(parts[part], timed, strict=True)), timed
    if part in ("figures", "all"):
        own = int(timed[-1].partition("--limit ")[2].split()[0])
        assert own < limits[-1]


def test_a_part_goes_on_with_what_it_lacks(tmp_path: Path) -> None:
    """What went well is not run again in the same folder; figures are, for what was cut off."""
    for part in (*PARTS, "all"):
        run, timed = checked(tmp_path, part)
        assert run.returncode == 0, run.stderr
        assert [("--resume" in line) for line in timed][-1:] == [part != "tests"]
    assert len(timed) == 1
    (tmp_path / "out" / "tests.done").unlink()
    assert len(checked(tmp_path, "all")[1]) == 2


def test_a_disk_that_is_full_keeps_nothing_and_ends_nothing(tmp_path: Path) -> None:
    """What was not kept is not done; records and tests that cannot be written are shown."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "doctor.txt").symlink_to("/dev/full")
    run, timed = checked(tmp_path, "tests")
    assert (run.returncode, len(timed)) == (1, len(PARTS["tests"]))
    assert "failed: doctor (went well, and " in run.stderr
    assert len(checked(tmp_path, "tests")[1]) == 1

    (tmp_path / "raw.jsonl.new").symlink_to("/dev/full")
    (tmp_path / "raw.jsonl").write_text("what was there\n", encoding="utf-8")
    said: list[str] = []
    log = Log(tmp_path / "raw.jsonl", said.append, [GPU])
    log.add({"kind": "result"})
    log.close()
    assert [r["kind"] for r in log.records] == ["gpu", "result"]
    (text,) = said
    assert "No space left on device; what comes now is shown, and not written" in text
    assert (tmp_path / "raw.jsonl").read_text(encoding="utf-8") == "what was there\n"

    (tmp_path / "passed.txt").symlink_to("/dev/full")
    status, text = run_some(tmp_path, B="1")
    assert status == 0, text
    assert "2 passed" in text


def run_some(folder: Path, **environment: str) -> tuple[int, str]:
    """Two tests, the second of which needs an environment, those that passed left out."""
    file = folder / "test_some.py"
    file.write_text("import os\ndef test_a(): pass\ndef test_b(): assert 'B' in os.environ\n")
    root = str(Path(bench.__file__).parents[2])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", str(file), "-v", "-p", "bench.gpu.passed", "-p",
         "no:cacheprovider", "-n0", f"--passed={folder / 'passed.txt'}", f"--rootdir={folder}"],
        capture_output=True, text=True, cwd=folder,
        env={**os.environ, "PYTHONPATH": root, **environment},
    )  # fmt: skip
    return run.returncode, run.stdout + run.stderr


def test_passed_tests_are_not_run_again(tmp_path: Path) -> None:
    """What fails is written at once; what hung, and so never ended, comes last."""
    begun, failed = (tmp_path / f"passed.txt.{what}" for what in ("begun", "failed"))
    begun.write_text("test_some.py::test_a\n", encoding="utf-8")
    status, text = run_some(tmp_path)
    assert status == 1, text
    assert "1 failed, 1 passed" in text
    assert text.index("::test_b FAILED") < text.index("::test_a PASSED")
    assert "test_some.py::test_b, call" in failed.read_text(encoding="utf-8")
    assert "'B' in environ" in failed.read_text(encoding="utf-8")
    assert not begun.read_text(encoding="utf-8").strip()
    status, text = run_some(tmp_path, B="1")
    assert status == 0, text
    assert "1 passed, 1 deselected" in text
    assert run_some(tmp_path)[0] == 0


def test_a_run_that_resumes_measures_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "raw.jsonl"
    found = [
        {"kind": "environment"}, GPU,
        result("staticnet", 1.0, 1.0, size=4 << 20), result("torch", 1.0, 1.0, size=4 << 20),
        result("jax", 1.0, None, size=4 << 20, status="cut off"),
        result("jax", 1.0, None, size=256 << 20, status="missing"),
    ]  # fmt: skip
    lines = "".join(json.dumps(r) + "\n" for r in found)
    out.write_text(lines + lines[:10], encoding="utf-8")  # the last one was broken off
    settings = Settings(suite="gpu", workloads=["pointwise"], out=out, resume=True)
    kept = driver.known(settings)
    assert len(kept) == len(found) - 2
    first, last = driver.plan(settings, kept)
    left = [(unit.sizes, unit.contenders) for unit in (*first, *last)]
    small, large = WORKLOADS["pointwise"].sizes
    assert left == [
        ((small,), ("jax",)), ((large,), ("staticnet", "torch", "jax")),
        ((small,), ("torch.compile",)), ((large,), ("torch.compile",)),
    ]  # fmt: skip
    assert driver.known(replace(settings, resume=False)) == []
    whole, _ = driver.plan(replace(settings, resume=False))
    assert [(unit.sizes, unit.contenders) for unit in whole] == [
        ((small, large), ("staticnet", "torch", "jax"))
    ]


@needs_shim
def test_latencies_are_measured(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    step = mlp.staticnet_step(data := mlp.make_data(0), "cuda", 8)
    monkeypatch.setattr(latency, "BLOCKS", 2)
    monkeypatch.setattr(latency, "CALLS", 2)
    monkeypatch.setattr(latency, "WARM_UP", 1)
    feeds = [data[name][:8] for name in "xy"]
    assert latency.host_seconds(step, feeds, gpu.current.synchronize) > 0
    assert "mlp.staticnet_step" in latency.FIRST
    compile(latency.FIRST, "first", "exec")
    assert latency.on_streams(1, data, 8).specialize().executable.program.streams == 1
    assert latency.on_streams(0, data, 8).specialize().executable.program.stages
    monkeypatch.setattr(latency, "LENGTH", 4)
    made = [latency.lstm(stays, 2, 4)[0].specialize().executable for stays in (True, False)]
    assert ["loop1(" in x.program.source for x in made] == [True, False]


def test_a_latency_that_fails_ends_no_other(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("of_host", "of_first", "of_streams", "of_loops"):
        monkeypatch.setattr(latency, name, lambda cupy, data, name=name: print(name))

    def refused(cupy: Any, data: Any) -> None:
        raise RuntimeError("it is refused")

    monkeypatch.setattr(latency, "of_streams", refused)
    monkeypatch.setattr(latency, "of_whiles", lambda cupy, data: print("of_whiles"))
    assert latency.main() == 1
    found = capsys.readouterr()
    assert found.out.split() == ["of_host", "of_first", "of_loops", "of_whiles"]
    assert "RuntimeError: it is refused" in found.err


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
