"""Names and paths of any spelling: in text, generated code, pages, traces and files."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, GraphError, ShapeError

COMPILES = True
NAMES = ["step", "a b", "train-step", "f(x)", 'say "x"', "back\\slash", "Schrödinger", "नमस्ते",
         "a·b", "{", "%x", "1", "", "a/../b", "*/", "//", "graph x() {"]  # fmt: skip
UNPRINTABLE = ["two\nlines", "\0", "caf\udce9", "\u2028", "\x1b[31m"]
PATHS = ["/caf\udce9/two\nlines.py", "/a*/b/*c.py", "/back\\\nslash.py", "/tri??/\n.py",
         '/"quoted"\u2028<b>.py']  # fmt: skip
SOURCE = """
x = sn.placeholder(("batch", 3), name="x")
at = sn.placeholder((2,), "int64", "at")
w = sn.variable(np.ones(3, "f"), "w")
y = sn.sum(sn.tanh(x * w) @ sn.ones((3, 2)), 0)[at]
"""


def written_in(path: str) -> dict[str, Any]:
    """What SOURCE defines, if it stands in a file of this name."""
    found: dict[str, Any] = {"sn": sn, "np": np}
    exec(compile(SOURCE, path, "exec"), found)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_graphs_of_any_name_parse_back(name: str) -> None:
    x = sn.placeholder((2,), name="x")
    graph = sn.Graph(name, [x], [x * 2])
    text = str(graph)
    assert sn.parse(text) is graph
    assert len(text.splitlines()) == 5
    assert sn.function(x, x * 2, name=name, device="numpy").graph.name == name


@pytest.mark.parametrize("name", [*UNPRINTABLE, None, 3, ["x"]])
def test_other_names_are_refused(name: Any) -> None:
    x = sn.placeholder((2,), name="x")
    with pytest.raises(GraphError, match="name must be printable"):
        sn.Graph(name, [x], [x * 2])
    with pytest.raises(GraphError, match="name must be printable"):
        sn.function(x, x * 2, name=name)
    with pytest.raises(ArgumentError, match="placeholder: the name must be an identifier"):
        sn.placeholder((2,), name=3 if name is None else name)
    if name is not None:
        with pytest.raises(ArgumentError, match="variable: the name must be printable"):
            sn.variable(0.0, name)


@pytest.mark.parametrize("name", ["a b", 'say "x"', "back\\slash", "*/", "नमस्ते"])
def test_variables_of_any_name(name: str, tmp_path: Path) -> None:
    """Their names are for reading: they parse back, and stand in generated C."""
    x, w = sn.placeholder((2,), name="x"), sn.variable(np.ones(2, "f"), name)
    f = sn.function(x, x * w, updates={w: w + x}, name=name, device="cpu")
    assert sn.parse(f.as_text()) is f.graph
    np.testing.assert_array_equal(f(np.ones(2, "f")), [1, 1])
    assert f.explain()
    run_exported(f, tmp_path / "step.c", np.ones(2, "f"))
    assert f.graph.to_dot().count('"') % 2 == 0 or "\\" in f.graph.to_dot()


@pytest.mark.parametrize("name", ["batch", "नमस्ते", "a·b", "ﬁ", "match"])
def test_dims_of_any_name_parse_back(name: str) -> None:
    x = sn.placeholder((name, 3), name="नमस्ते")
    graph = sn.Graph("g", [x], [sn.reshape(x, -1)])
    assert sn.parse(str(graph)) is graph
    assert sn.function(x, sn.reshape(x, -1))(np.ones((2, 3), "f")).shape == (6,)


@pytest.mark.parametrize("name", ["lambda", "True", "None", "in", "a b", "", "two\nlines"])
def test_dims_that_no_text_could_hold_are_refused(name: str) -> None:
    for make in (sn.Dim, lambda name: sn.placeholder((name,))):
        with pytest.raises(ShapeError, match="must be an identifier and no keyword"):
            make(name)


def run_exported(f: Any, file: Path, *feeds: Any) -> None:
    """The exported C compiles without a warning, and runs."""
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("no C compiler on this machine")
    f.export_c(file, **({"batch": 4} if f.graph.symbols else {}))
    program = file.with_suffix(".out")
    command = [
        cc,
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Werror",
        str(file),
        "-o",
        str(program),
        "-lm",
    ]
    subprocess.run(command, check=True)
    data = file.with_suffix(".feeds")
    data.write_bytes(b"".join(x.tobytes() for x in feeds))
    subprocess.run([program, data], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("path", PATHS)
def test_source_files_of_any_name(path: str, tmp_path: Path) -> None:
    made = written_in(path)
    x, at, w, y = (made[name] for name in ("x", "at", "w", "y"))
    f = sn.function([x, at], y, updates={w: w + 1}, device="cpu")
    feeds = np.ones((4, 3), "f"), np.array([1, 0])
    np.testing.assert_allclose(f(*feeds), np.full(2, 12 * np.tanh(1)), rtol=1e-6)
    lines = [str(node.provenance) for node in f.graph.nodes]
    assert all(line.isprintable() for line in lines)
    assert len(str(f.explain()).splitlines()) == len(str(f.explain()).split("\n"))
    for text in (f.as_text(), str(f.explain()), str(f.memory_analysis()), f.source(whole=True)):
        text.encode()
    page = f.report(tmp_path / "page.html", *feeds).read_text(encoding="utf-8")
    assert "<b>.py" not in page
    f.profile(*feeds, repeat=1).to_chrome_trace(tmp_path / "trace.json")
    json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    run_exported(f, tmp_path / "step.c", *feeds)
    with pytest.raises(sn.errors.ExecutionError) as failure:
        f(np.ones((4, 3), "f"), [5, 0])
    assert str(failure.value).isprintable()


@pytest.mark.parametrize("path", PATHS[:3])
def test_source_files_of_any_name_on_a_gpu(path: str, gpu: Any) -> None:
    made = written_in(path)
    f = sn.function([made["x"], made["at"]], made["y"], device="cuda")
    got = f(np.ones((4, 3), "f"), np.array([1, 0]))
    np.testing.assert_allclose(got.get(), np.full(2, 12 * np.tanh(1)), rtol=1e-6)
    f.source(whole=True, batch=4).encode()


def test_a_cache_and_a_program_anywhere(tmp_path: Path) -> None:
    """The program, its working directory and the cache lie in folders that are no UTF-8."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9\n*/"
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9\n*")
    script = os.fsdecode(folder + b"model.py")
    Path(script).write_text(
        f"import numpy as np, staticnet as sn\n{SOURCE}\n"
        "f = sn.function([x, at], y, device='cpu')\n"
        "print(f(np.ones((4, 3), 'f'), [1, 0]).shape, f.explain() is not None)\n"
        "f.export_c('step*.c', batch=4)\n"
    )
    environment = os.environ | {"STATICNET_CACHE": os.fsdecode(folder + b"cache")}
    environment["PYTHONPATH"] = str(Path(sn.__file__).parents[1])
    done = subprocess.run([sys.executable, script], cwd=os.fsdecode(folder), env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "(2,) True\n"), done.stderr
    assert any(Path(os.fsdecode(folder + b"cache")).glob("??/*.so"))


def test_lines_are_told_where_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert str(sn.ones((2,)).provenance)  # type: ignore[attr-defined]


def test_dumps_of_graphs_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STATICNET_DUMP", str(tmp_path / "dumps"))
    caplog.set_level(logging.INFO)
    x = sn.placeholder((2,), name="x")
    sn.function(x, x * 2, name="../a/b c", device="numpy")
    assert all(".._a_b_c." in file.name for file in (tmp_path / "dumps").iterdir())
    assert not list(tmp_path.glob("*.sn"))
