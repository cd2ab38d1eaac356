"""What device="cuda" needs, and what is said of what is missing."""

from __future__ import annotations

import importlib
import operator
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import staticnet as sn
import staticnet.cli.main as cli
from staticnet.backends.base import choose
from staticnet.backends.cuda import CudaBackend, availability
from staticnet.backends.cuda.availability import Driver, Missing

ROOT = Path(__file__).parents[1]


class TestAvailability:
    def test_nothing_is_imported_to_say_that_cupy_is_missing(self) -> None:
        code = "import sys, staticnet as sn; x = sn.placeholder((2,))\ntry:\n"
        code += "    sn.function(x, x, device='cuda')\n"
        code += "except sn.errors.DeviceError as e: print(e, 'cupy' in sys.modules)"
        hide = "import importlib.util as u; f = u.find_spec\n"
        hide += "u.find_spec = lambda n, *a: None if n == 'cupy' else f(n, *a)\n"
        run = [sys.executable, "-c", hide + code]
        text = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout
        assert text.strip() == (
            "device 'cuda': CuPy is not installed; run: pip install -e \".[cuda13]\" (in the clone "
            "of staticnet) False"
        )

    def parts(self, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> Any:
        """What is missing on a machine that has everything but what is changed."""
        have = {
            "driver": Driver(13000, ("Some GPU",), None),
            "runtime": 13020,
            "nvrtc": SimpleNamespace(version=(13, 0)),
            "cublaslt": SimpleNamespace(version=1),
        } | changed
        runtime = SimpleNamespace(
            runtimeGetVersion=lambda: have["runtime"], getDeviceCount=lambda: 1 // have.get("n", 1)
        )
        cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(availability.importlib.util, "find_spec", lambda name: object())
        monkeypatch.setattr(availability, "ask_driver", lambda: have["driver"])
        monkeypatch.setattr(availability, "find_nvrtc", lambda: have["nvrtc"])
        monkeypatch.setattr(availability, "find_library", lambda: have["cublaslt"])
        return availability.find_missing.__wrapped__()

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"driver": Driver(None, (), Missing("no libcuda", "install it"))}, "no libcuda; inst"),
            (
                {"driver": Driver(12040, ("GPU",), None)},
                "is for CUDA 12.4, CuPy for CUDA 13.2;.*12",
            ),
            ({"n": 0}, "CuPy does not work: integer division"),
            ({"nvrtc": None}, r"NVRTC.* was not found; run: pip install -e \"\.\[cuda13\]\""),
            ({"nvrtc": SimpleNamespace(version=(14, 1))}, "CUDA 14.1, the driver of CUDA 13.0"),
            ({"cublaslt": None}, "cuBLASLt was not found; run: pip"),
        ],
    )
    def test_what_is_missing_is_named(
        self, monkeypatch: pytest.MonkeyPatch, changed: Any, message: str
    ) -> None:
        assert re.search(message, str(self.parts(monkeypatch, **changed)))

    def test_nothing_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.parts(monkeypatch) is None

    def test_auto_takes_cuda_where_it_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        backends = {name: SimpleNamespace(missing=lambda: "") for name in ("cuda", "cpu", "numpy")}
        monkeypatch.setattr("staticnet.backends.base.PREFERENCE", ("cuda", "cpu", "numpy"))
        assert choose("auto", backends) is backends["cuda"]  # type: ignore[arg-type]
        backends["cuda"].missing = lambda: "no GPU"
        assert choose("auto", backends) is backends["cpu"]  # type: ignore[arg-type]


def test_the_list_of_what_a_gpu_showed_names_tests_that_exist() -> None:
    listed = re.findall(
        r"\| `(test_\w+)` \|", (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    )
    defined = re.findall(r"^def (test_\w+)", (ROOT / "tests" / "test_gpu.py").read_text(), re.M)
    assert sorted(listed) == sorted(defined)


def test_commands_that_prove_without_a_gpu_exist() -> None:
    text = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    files = set(re.findall(r"tests/test_\w+\.py", text))
    assert len(files) > 10
    for file in files:
        assert (ROOT / file).is_file(), file
    ours = {f"tests/{file.name}" for file in (ROOT / "tests").glob("test_cuda_*.py")}
    assert ours <= files, "docs/gpu.md says what each of them proves"


@pytest.mark.skipif(not CudaBackend().missing(), reason="there is a GPU: they run")
def test_commands_that_need_a_gpu_say_so_and_name_what_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bench.gpu.workloads import WORKLOADS

    text = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    commands = re.findall(r"`staticnet (bench --suite gpu[^`]*)`", text)
    assert len(commands) > 4
    for command in commands:
        assert set(command.partition("--workload ")[2].split()) <= WORKLOADS.keys()
        assert cli.main(command.split()) == 2
        assert "--suite gpu: " in capsys.readouterr().err
    assert (ROOT / "bench" / "gpu_check.sh").is_file()


def test_all_that_is_asked_of_cupy_exists_in_it() -> None:
    cupy = pytest.importorskip("cupy")
    folder = Path(sn.__file__).parent / "backends" / "cuda"
    text = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    names = set(re.findall(r"\bcupy\.([a-z_]+(?:\.\w+)*)", text))
    names |= {f"cuda.runtime.{name}" for name in re.findall(r"\bruntime\.(mem\w+|get\w+)", text)}
    names |= {f"cuda.{name}" for name in re.findall(r"\bcuda\.(Event|get_elapsed_time)", text)}
    assert len(names) > 15
    for name in names:
        assert operator.attrgetter(name)(cupy) is not None
    scalar = importlib.import_module("cupy._core._scalar").CScalar
    assert scalar(np.uintp(5)) is not None
