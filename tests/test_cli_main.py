"""The command line: its subcommands, and errors in one line."""

import os
import runpy
import subprocess
import sys

import pytest

import staticnet as sn
from staticnet.cli.main import main

TEXT = """graph f(%x: f32[2]) {
  %0: f32[2] = tanh(%x)
  return %0
}
"""


@pytest.fixture
def graph_file(tmp_path):
    file = tmp_path / "graph.sn"
    file.write_text(TEXT)
    return file


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"staticnet {sn.__version__}\n"


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "demo" in shown
    assert "inspect" in shown


def test_python_dash_m(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["staticnet", "--version"])
    with pytest.raises(SystemExit):
        runpy.run_module("staticnet", run_name="__main__")
    assert sn.__version__ in capsys.readouterr().out


def test_no_command_is_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_inspect_prints_the_graph_and_its_cost(graph_file, capsys):
    assert main(["inspect", str(graph_file)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(TEXT)
    table = [line.split() for line in shown.splitlines()[-5:]]
    assert table[0] == ["op", "nodes", "FLOPs", "bytes", "moved"]
    assert table[2:] == [
        ["tanh", "1", "2", "16"],
        ["placeholder", "1", "0", "0"],
        ["all", "2", "2", "16"],
    ]


def test_inspect_tells_formulas_of_symbolic_sizes(tmp_path, capsys):
    file = tmp_path / "graph.sn"
    file.write_text("graph f(%x: f32[n]) {\n  %0: f32[n] = tanh(%x)\n  return %0\n}\n")
    assert main(["inspect", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "2", "n", "8*n"]


def test_a_reader_that_leaves_ends_it_quietly(graph_file):
    code = "import sys; from staticnet.cli.main import main; sys.exit(main(sys.argv[1:]))"
    reader, writer = os.pipe()
    os.close(reader)
    for arguments in (["inspect", str(graph_file)], ["--help"]):
        run = subprocess.run(
            [sys.executable, "-c", code, *arguments], stdout=writer, stderr=subprocess.PIPE
        )
        assert run.stderr == b""
        assert run.returncode == (141 if arguments[0] == "inspect" else 0)  # argparse is quiet too
    os.close(writer)


def test_inspect_draws_a_page_and_speaks_dot(graph_file, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["inspect", str(graph_file), "--dot", "--html", str(page)]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith('digraph "f" {')
    assert shown.err == f"wrote {page}\n"
    assert "<svg" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"graph f(%x: f32[2]) {\n  return %y\n}\n", "%y is used before it is defined"),
        (b"\xff\xfe", "no graph's text"),
    ],
)
def test_a_file_that_is_no_graph_is_an_error_in_one_line(tmp_path, capsys, text, message):
    (tmp_path / "bad.sn").write_bytes(text)
    assert main(["inspect", str(tmp_path / "bad.sn")]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("staticnet inspect: ")
    assert "bad.sn" in shown
    assert message in shown
    assert shown.count("\n") == 1


def test_a_missing_file_is_an_error_in_one_line(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "none.sn")]) == 2
    assert "none.sn" in capsys.readouterr().err


def test_an_unknown_flag_is_an_error_in_one_line(graph_file, monkeypatch, capsys):
    monkeypatch.setenv("STATICNET_DEBUG", "nonsense")
    assert main(["inspect", str(graph_file)]) == 2
    assert "the legal topics are" in capsys.readouterr().err
