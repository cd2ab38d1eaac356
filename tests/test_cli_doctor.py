"""`staticnet doctor`: what it says is tried, each failure has a remedy, and the status tells."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends import cache
from staticnet.backends.cpu import compiler
from staticnet.backends.numpy import NumpyBackend, NumpyExecutable
from staticnet.cli import machine
from staticnet.cli.machine import Check, is_usable
from staticnet.cli.main import main

COMPILES = True
ROOT = Path(__file__).parent.parent
needs_cc = pytest.mark.skipif(compiler.find_compiler() is None, reason="no C compiler")


def doctor(capsys: Any) -> tuple[int, dict[str, Any], dict[tuple[str, str], Any]]:
    """Status, the JSON object, and its checks by section and name."""
    status = 0
    try:
        status = main(["doctor", "--json"])
    except SystemExit as stop:
        status = int(str(stop.code))
    told = json.loads(capsys.readouterr().out)
    return status, told, {(c["section"], c["name"]): c for c in told["checks"]}


@needs_cc
def test_all_is_told_and_the_devices_work(capsys: Any) -> None:
    status, told, checks = doctor(capsys)
    assert (status, told["usable"]) == (0, True)
    assert sn.__version__ in checks["packages", "staticnet"]["detail"]
    assert checks["packages", "numpy"]["detail"] == np.__version__
    found = compiler.find_compiler()
    assert found is not None
    assert found.version in checks["compiler", "cc"]["detail"]
    assert ("no OpenMP" in checks["compiler", "cc"]["detail"]) == (not found.openmp)
    for name in ("cpu", "numpy"):
        assert checks["devices", name]["state"] == "ok"
    missing = machine.BACKENDS["cuda"].missing()
    assert (checks["devices", "cuda"]["state"] != "ok") == bool(missing)
    for check in told["checks"]:
        assert check["state"] in ("ok", "found", "missing", "broken")
        assert bool(check["remedy"]) == (check["state"] in ("missing", "broken")), check


@needs_cc
def test_the_text_tells_the_same(capsys: Any) -> None:
    _, told, _ = doctor(capsys)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for check in told["checks"]:
        assert re.search(rf"^  {check['state']:7}  {re.escape(check['name'])} ", shown, re.M)
        assert check["remedy"] in shown
    working = [c["name"] for c in told["checks"] if (c["section"], c["state"]) == ("devices", "ok")]
    assert {"cpu", "numpy"} <= set(working)
    assert shown.endswith(f"Devices that work: {', '.join(working)}.\n")


@pytest.mark.parametrize("installed", [False, True])
def test_it_imports_no_optional_package_but_cupy(tmp_path: Path, installed: bool) -> None:
    """CuPy is tried where it is installed: here one that fails, or none."""
    if installed:
        (tmp_path / "cupy.py").write_text("__version__ = '14.0'\n")  # without arange
    hidden = "" if installed else "sys.modules['cupy'] = None;"
    names = ("torch", "jax", "cupy", "matplotlib", "sklearn")
    code = (
        f"import sys; {hidden} from staticnet.cli.main import main; main(['doctor']);"
        f"print([n for n in {names} if sys.modules.get(n)])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == str(["cupy"] if installed else [])
    state = "broken " if installed else "missing"
    assert re.search(rf"^  {state}  cupy ", done.stdout, re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("command", ["no-such-compiler", "false", "'unclosed"])
def test_a_bad_compiler_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, command: str
) -> None:
    monkeypatch.setenv("CC", command)
    status, told, checks = doctor(capsys)
    assert (status, told["usable"]) == (1, False)
    assert checks["compiler", "cc"]["state"] == "broken"
    assert "CC" in checks["compiler", "cc"]["detail"]
    assert "unset it" in checks["compiler", "cc"]["remedy"]
    assert checks["devices", "cpu"]["state"] == "broken"


def test_no_compiler_is_missing_and_numpy_does_not_pass_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(machine, "find_compiler", lambda: None)
    status, _, checks = doctor(capsys)
    assert status == 0  # numpy works, and nobody asked for a compiler
    for place in (("compiler", "cc"), ("devices", "cpu")):
        assert checks[place]["state"] == "missing"
        assert 'pip install -e ".[cc]"' in checks[place]["remedy"]
    assert checks["devices", "numpy"]["state"] == "ok"


@pytest.mark.parametrize(
    ("name", "value"),
    [("STATICNET_BOGUS", "1"), ("STATICNET_VERIFY", "maybe"), ("STATICNET_DEBUG", "nonsense")],
)
def test_a_bad_variable_is_told_and_not_died_of(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    status, _, checks = doctor(capsys)
    assert status == 1
    assert checks["environment", "variables"]["state"] == "broken"
    assert name in checks["environment", "variables"]["detail"]
    assert checks["devices", "numpy"]["state"] == "broken"


def test_the_variables_are_those_that_flags_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATICNET_VERIFY", "0")
    told = {check.name: check.detail for check in machine.environment()}
    assert told["STATICNET_VERIFY"] == "0"
    assert told["STATICNET_DUMP"] == "not set"
    documented = set(re.findall(r"`(\w+)=", sn.flags.__doc__ or ""))
    assert documented == told.keys() - {"PATH", "XDG_CACHE_HOME"}


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX modes")
def test_a_cache_that_others_may_write(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("STATICNET_CACHE", str(folder))
    status, _, checks = doctor(capsys)
    assert status == 1
    assert "0777" in checks["cache", "objects"]["detail"]
    assert f"chmod 700 {folder}" in checks["cache", "objects"]["remedy"]
    folder.chmod(0o700)
    assert machine.kept_objects().state == "ok"
    monkeypatch.delenv("STATICNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "staticnet").write_text("in the way")
    check = machine.kept_objects()
    assert (check.state, check.asked) == ("broken", False)


def test_the_caches_objects_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATICNET_CACHE", str(tmp_path / "new"))
    assert "; 0 objects, 0 bytes" in machine.kept_objects().detail

    def make(file: Path) -> None:
        file.write_bytes(b"12345")

    cache.Cache(tmp_path / "new").build("ab" * 32, ".so", make)
    assert "; 1 objects, 5 bytes" in machine.kept_objects().detail


class Liar(NumpyBackend):
    """A backend whose results are a little off."""

    def build(self, graph: Any, *options: Any) -> Any:
        class Off(NumpyExecutable):
            def run(self, feeds: Any) -> list[Any]:
                return [x * 1.01 for x in super().run(feeds)]

        return Off(graph)


def test_a_device_with_wrong_results_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(machine.BACKENDS, "numpy", Liar())
    monkeypatch.setattr(machine, "find_compiler", lambda: None)
    status, told, checks = doctor(capsys)
    assert (status, told["usable"]) == (1, False)
    assert checks["devices", "numpy"]["state"] == "broken"
    assert "is off by" in checks["devices", "numpy"]["detail"]


def test_a_required_package_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine.importlib.import_module

    def fails(name: str) -> Any:
        if name == "networkx":
            raise ModuleNotFoundError("No module named 'networkx'")
        if name == "rich":
            raise ImportError("bad\nwheel")
        return real(name)

    monkeypatch.setattr(machine.importlib, "import_module", fails)
    checks = {check.name: check for check in machine.packages()}
    assert (checks["networkx"].state, checks["networkx"].remedy) == (
        "missing",
        "run: pip install networkx",
    )
    assert (checks["rich"].state, checks["rich"].detail) == ("broken", "bad wheel")
    good = [Check("devices", "numpy", "ok", "")]
    assert is_usable(good)
    assert not is_usable([*good, checks["rich"]])
    assert not is_usable([])


def test_blas_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.blas_library().state == "ok"
    other = machine.blas.pointers(["dasum"])["dasum"]  # sums absolute values: 6, not 32
    monkeypatch.setattr(machine.blas, "pointers", lambda names: {"ddot": other})
    assert machine.blas_library().state == "broken"


class Driver:
    """libcuda with so many devices, of which a function may fail."""

    def __init__(self, devices: int, fails: str = "", version: int = 13000) -> None:
        self.devices, self.fails, self.version = devices, fails, version

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == self.fails:
                return 100
            if name == "cuDriverGetVersion":
                arguments[0]._obj.value = self.version
            if name == "cuDeviceGetCount":
                arguments[0]._obj.value = self.devices
            if name == "cuDeviceGetName":
                arguments[0].value = b"Some GPU"
            return 0

        return call


@pytest.mark.parametrize(
    ("driver", "state", "detail", "extra"),
    [
        (Driver(2), "ok", "CUDA 13.0: Some GPU, Some GPU", "cuda13"),
        (Driver(1, version=12080), "ok", "CUDA 12.8: Some GPU", "cuda12"),
        (Driver(0), "missing", "no device", "cuda13"),
        (Driver(1, "cuInit"), "broken", "cuInit failed with CUDA error 100", "cuda13"),
        (None, "missing", "no libcuda", "cuda13"),
    ],
)
def test_the_driver_is_asked(
    monkeypatch: pytest.MonkeyPatch, driver: Any, state: str, detail: str, extra: str
) -> None:
    def library(name: str) -> Any:
        if driver is None:
            raise OSError("not found")
        return driver

    monkeypatch.setattr(machine.availability.ctypes, "CDLL", library)
    monkeypatch.setattr(machine, "_version", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    first, cupy, _, _, cudnn = machine.cuda()
    assert first.state == state
    assert detail in first.detail
    assert f'pip install -e ".[{extra}]"' in cupy.remedy
    assert f'pip install -e ".[{extra}]"' in cudnn.remedy
    assert bool(first.remedy) == (state != "ok")


@pytest.mark.parametrize(
    ("total", "state"), [(10, "ok"), (9, "broken"), (RuntimeError("no\ndevice"), "broken")]
)
def test_cupy_is_tried_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, total: Any, state: str
) -> None:
    def arange(n: int) -> Any:
        if isinstance(total, Exception):
            raise total
        return types.SimpleNamespace(sum=lambda: total)

    fake = types.SimpleNamespace(arange=arange, __version__="14.0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: fake)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    check = machine.cupy("install it", "mend the driver")
    assert check.state == state
    assert check.remedy == ("" if state == "ok" else "mend the driver")
    assert "\n" not in check.detail


def test_the_extras_are_those_of_setup_cfg() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    declared = {
        extra: {re.split(r"[\[=<>;]", line)[0] for line in names.strip().splitlines()}
        for extra, names in parser["options.extras_require"].items()
    }
    for extra, names in machine.EXTRAS.items():
        assert set(names) <= declared[extra], extra
    told = {name for names in machine.EXTRAS.values() for name in names}
    cuda = {"cupy-cuda12x", "cupy-cuda13x", "nvidia-cuda-nvrtc", "nvidia-cudnn-frontend"}
    assert told == {name for names in declared.values() for name in names} - cuda
    required = {re.split(r"[=<>]", n)[0] for n in parser["options"]["install_requires"].split()}
    assert required == set(machine.REQUIRED)


def test_a_missing_extra_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_version", lambda name: None if name == "torch" else "1.0")
    checks = {check.name: check for check in machine.extras()}
    assert checks["torch"].state == "missing"
    assert checks["torch"].remedy == 'run: pip install -e ".[oracle]" (in the clone of staticnet)'
    assert (checks["jax"].state, checks["jax"].detail) == ("found", "1.0")
