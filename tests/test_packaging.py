"""The package as it is built, installed and found: wheel, sdist, checkout."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import staticnet
from staticnet.codegen.resources import kernels_path

ROOT = Path(__file__).parent.parent


def run(*command, cwd, **env):
    """The output of a command that sees neither this checkout nor PYTHONPATH by accident."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | env
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def configuration():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_folder_of_the_package_is_declared():
    declared = set(configuration()["options"]["packages"].split())
    files = (ROOT / "staticnet").rglob("*.py")
    folders = {".".join(file.parent.relative_to(ROOT).parts) for file in files}
    assert declared == folders | {"staticnet.kernels"}, "correct packages in setup.cfg"


def test_every_package_has_an_init_file():
    for folder in {file.parent for file in (ROOT / "staticnet").rglob("*.py")}:
        assert (folder / "__init__.py").is_file(), folder


def test_the_version_can_be_read_without_importing_and_is_in_the_changelog():
    assert configuration()["metadata"]["version"] == "attr: staticnet.__version__"
    assert f"## {staticnet.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_device_code_is_found():
    assert (kernels_path() / "__init__.py").is_file()


def test_a_bare_checkout_imports_and_finds_its_own_device_code(tmp_path):
    code = (
        "import staticnet; from staticnet.codegen.resources import kernels_path;"
        "print(staticnet.__file__); print(kernels_path())"
    )
    for cwd, path in ((ROOT, ""), (tmp_path, str(ROOT))):
        found = run(sys.executable, "-c", code, cwd=cwd, PYTHONPATH=path).split()
        assert found == [str(ROOT / "staticnet/__init__.py"), str(ROOT / "kernels")]


def test_importing_is_fast_and_leaves_heavy_modules_alone(tmp_path):
    code = (
        "import sys, staticnet, staticnet.cli.main;"
        "heavy = {'cupy', 'torch', 'jax', 'matplotlib', 'sklearn', 'scipy', 'networkx', 'rich',"
        " 'safetensors', 'pandas'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT)).strip() == "[]"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel that was built from the sdist, and the sdist."""
    pytest.importorskip("build", reason="needs the package build")
    setuptools = pytest.importorskip("setuptools", reason="needs setuptools, to build offline")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip(f"needs setuptools >= 77, not {setuptools.__version__}")
    out = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "staticnet"
    run("git", "clone", "--quiet", ROOT, source, cwd=out)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.mark.slow
def test_the_sdist_has_all_that_a_developer_needs(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for file in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
        "setup.cfg",
        "pyproject.toml",
        "kernels/__init__.py",
        "examples/fashion_mnist.py",
        "tests/conftest.py",
        "tests/test_packaging.py",
        "docs/pipeline.svg",
        ".ci/run",
    ):
        assert file in names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.slow
def test_the_wheel_has_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as archive:
        names = archive.namelist()
        metadata = next(n for n in names if n.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    assert {"staticnet/py.typed", "staticnet/kernels/__init__.py"} <= set(names)
    assert {"staticnet/report/page.html", "staticnet/report/page.js"} <= set(names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"staticnet"}
    assert "License-Expression: MIT" in text
    assert "Requires-Python: >=3.11" in text


@pytest.mark.slow
def test_an_installed_wheel_works_anywhere_and_in_the_checkouts_root(built, tmp_path):
    target = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--target", target, built[0], cwd=tmp_path)
    code = (
        "import staticnet; from staticnet.codegen.resources import kernels_path;"
        "import staticnet.report as r;"
        "g = staticnet.parse('graph f(%x: f32[2]) {\\n  return %x\\n}');"
        "assert 'svg' in r.graph_html(g); print(staticnet.__file__); print(kernels_path())"
    )
    checkout = [str(ROOT / "staticnet/__init__.py"), str(ROOT / "kernels")]
    wheel = [str(target / "staticnet/__init__.py"), str(target / "staticnet/kernels")]
    environment = {"PYTHONPATH": str(target)}
    assert run(sys.executable, "-c", code, cwd=tmp_path, **environment).split() == wheel
    assert run(sys.executable, "-c", code, cwd=ROOT, **environment).split() == checkout
    command = (sys.executable, target / "bin" / "staticnet", "--version")
    version = f"staticnet {staticnet.__version__}"
    for cwd in (tmp_path, ROOT):
        assert run(*command, cwd=cwd, **environment).strip() == version
