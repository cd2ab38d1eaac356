"""The README's Python is run, and what it links to is there."""

import re
from pathlib import Path

import pytest

from staticnet.cli.main import _parser

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_ten_lines_learn_and_print_the_graph(capsys):
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    shown = capsys.readouterr().out
    first, last = map(float, re.search(r"loss (\S+) -> (\S+)", shown).groups())
    assert last < 0.5 * first
    assert "graph main(%x: f32[64,2], %y: i64[64]) {" in shown


def test_the_first_two_commands_are_the_demo_and_the_tests():
    first, second, third = blocks("sh")
    assert first.splitlines() == ['pip install ".[examples]"', "staticnet demo"]
    assert second.splitlines() == ['pip install ".[dev]"', "pytest"]
    options = _parser().parse_args(third.split()[1:])
    assert (options.command, options.workload) == ("compare", "mlp")
    assert "check pytest\n" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_linked_or_named_by_path_exists(document):
    text = (ROOT / document).read_text()
    linked = re.findall(r"\]\(([^)#]+)\)", text)
    for target in linked:
        assert target.startswith("https://") or (ROOT / target).exists(), target
    for path in re.findall(r"`((?:staticnet|tests|docs|examples)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
