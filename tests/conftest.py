"""What all tests share: golden files, one store of compiled code, and the run on all cores."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from browsing import browser, opened  # noqa: F401
from budget import CASES
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))  # for bench/, which is not installed; last, as staticnet is


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")
    parser.addoption("--part", metavar="K/N", help="run one test of N: those of part K, from 0")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Folders of tests run on all cores, files and single tests in this process; `-n` decides."""
    if hasattr(config, "workerinput"):  # a worker starts none
        return
    option = config.option
    chosen = getattr(option, "numprocesses", 0) is not None or option.dist != "no"
    if not chosen and any(Path(arg).is_dir() for arg in config.args):
        option.numprocesses, option.dist = "auto", "worksteal"
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # more threads than cores


def pytest_configure(config: pytest.Config) -> None:
    """What is compiled is kept for all tests and runs; Hypothesis does not look at the clock."""
    settings.register_profile(
        "steady", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("steady")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # interpreters that tests start share modules
    if cache := getattr(config, "cache", None):
        for name in ("STATICNET_CACHE", "SHIM_CACHE"):
            folder = cache.mkdir(name.lower())
            folder.chmod(0o700)
            os.environ[name] = str(folder)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the longest sweeps some cases run by default: `budget.py`. `--part` chooses by name."""
    counted: Counter[str] = Counter()
    for item in items:
        name = item.nodeid.rpartition("tests/")[2].partition("[")[0]
        if name in CASES and not item.get_closest_marker("slow"):
            counted[name] += 1
            if counted[name] > CASES[name]:
                item.add_marker("slow")
    if part := config.getoption("--part"):
        chosen, parts = map(int, part.split("/"))
        own: list[pytest.Item] = []
        others: list[pytest.Item] = []
        for item in items:
            (own if crc32(item.nodeid.encode()) % parts == chosen else others).append(item)
        config.hook.pytest_deselected(items=others)
        items[:] = own


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: the text must be that of tests/golden/<name>."""

    def check(name: str, text: str) -> None:
        file = HERE / "golden" / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.rstrip() + "\n", encoding="utf-8")
        assert file.exists(), f"no golden file {file.name}: run pytest --update-golden"
        assert text.rstrip() + "\n" == file.read_text(encoding="utf-8")

    return check


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fake GPU on which device="cuda" runs, with a cache of its own."""
    from fake_gpu import Gpu

    from staticnet.backends.cuda import CudaBackend
    from staticnet.backends.cuda.cublaslt import CublasLt
    from staticnet.backends.cuda.device import Device

    monkeypatch.setenv("STATICNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("STATICNET_TUNE", "0")
    (tmp_path / "modules").mkdir()
    made = Gpu(tmp_path / "modules")
    monkeypatch.setitem(sys.modules, "cupy", made.cupy)
    driver: Any = made.driver
    device = Device(made.cupy, made.nvrtc, CublasLt(made.blas), None, driver)  # type: ignore[arg-type]
    monkeypatch.setattr("staticnet.backends.cuda.open_device", lambda: device)
    monkeypatch.setattr(CudaBackend, "missing", lambda self: "")
    return made


@pytest.fixture
def cudnn(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fake cuDNN beside the fake GPU, which device="cuda" finds; its own engines are built."""
    from fake_cudnn import FakeCudnn

    import staticnet.backends.cuda as backend
    from staticnet.backends.cuda.cudnn import Cudnn

    made = FakeCudnn(gpu)
    backend.open_device().cudnn = found = Cudnn(made)
    monkeypatch.setattr(backend, "find_cudnn", lambda: found)
    yield made
    assert all(name.startswith("eng") for name in made.built), "the front end's own engines"
    assert all(x == {"handle": "handle"} for x in made.placed)


@pytest.fixture(autouse=True)
def _no_cudnn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled for CUDA does not depend on what is installed, but where a GPU runs it."""
    if not request.node.get_closest_marker("gpu"):
        monkeypatch.setattr("staticnet.backends.cuda.find_cudnn", lambda: None)


@pytest.fixture
def launch_by_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is one kernel, though the estimate says that it pays."""
    monkeypatch.setattr("staticnet.codegen.cuda.choice.LEAST_GAIN", 1.0)


@pytest.fixture(autouse=True)
def _auto_is_the_reference(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the front compile no C: `auto` is NumPy, but in modules that set COMPILES."""
    if not getattr(request.module, "COMPILES", False):
        monkeypatch.setattr("staticnet.backends.base.PREFERENCE", ("numpy",))


@pytest.fixture(autouse=True)
def _compiles_quickly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """C is compiled with -O1, but in modules that set SHIPPED: no bit may depend on that."""
    if not getattr(request.module, "SHIPPED", False):
        from staticnet.backends import cpu

        monkeypatch.setattr(cpu, "find_compiler", _quick_compiler)


def _quick_compiler() -> Any:
    from staticnet.backends.cpu.compiler import find_compiler

    found = find_compiler()
    if found is None:
        return None
    return replace(found, flags=tuple("-O1" if flag == "-O3" else flag for flag in found.flags))


@pytest.fixture(autouse=True)
def _no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests decide the flags themselves; the folders of data and of built code are given."""
    kept = ("STATICNET_DATA", "STATICNET_CACHE")
    for name in [n for n in os.environ if n.startswith("STATICNET_") and n not in kept]:
        monkeypatch.delenv(name)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads that steps of this thread run on."""
    try:
        openmp = ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("needs GCC's OpenMP library")
    before = openmp.omp_get_max_threads()
    yield openmp.omp_set_num_threads
    openmp.omp_set_num_threads(before)
