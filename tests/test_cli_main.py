"""The command line: its subcommands, and errors in one line."""

import logging
import runpy
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
    assert "2 nodes (placeholder ×1, tanh ×1), 2 floating-point operations a run" in shown


def test_inspect_draws_a_page_and_speaks_dot(graph_file, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["inspect", str(graph_file), "--dot", "--html", str(page)]) == 0
    assert capsys.readouterr().out.startswith('digraph "f" {')
    assert "<svg" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"graph f(%x: f32[2]) {\n  return %y\n}\n", "%y is used before it is defined"),
        (b"\xff\xfe", "codec can't decode"),
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


def test_debug_output_is_switched_on_by_its_flag(graph_file, monkeypatch):
    calls = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: calls.append(options))
    assert main(["inspect", str(graph_file)]) == 0
    assert calls == []
    monkeypatch.setenv("STATICNET_DEBUG", "passes")
    assert main(["inspect", str(graph_file)]) == 0
    assert calls[0]["level"] == logging.INFO
