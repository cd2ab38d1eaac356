"""The ports of scripts for PyTorch Lightning and Keras: no longer than those, and they run."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staticnet.backends.cpu.compiler import find_compiler
from staticnet.io import datasets

COMPILES = True
EXAMPLES = Path(__file__).parents[1] / "examples"


def code(file: Path) -> int:
    """The lines of a script that are code."""
    lines = file.read_text(encoding="utf-8").partition('"""\n')[2]
    lines = lines.partition('"""\n')[2] if lines.count('"""') % 2 else lines
    return sum(bool(line.strip()) for line in lines.splitlines())


@pytest.mark.parametrize("name", ["lightning", "keras"])
def test_a_port_is_no_longer(name: str) -> None:
    theirs = code(EXAMPLES / "originals" / f"cifar_{name}.py")
    assert 20 < code(EXAMPLES / f"cifar_from_{name}.py") <= theirs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lightning", "keras"])
def test_a_port_runs_and_goes_on(name: str, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    if find_compiler() is None:
        pytest.skip("no C compiler")
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 10
    pixels = (labels[:, None] * 20 + rng.integers(0, 50, (160, 3072))).astype(np.uint8)
    records = np.column_stack([labels.astype(np.uint8), pixels])
    for part in ("data_batch_1", "test_batch"):
        (tmp_path / f"{part}.bin").write_bytes(records.tobytes())
    assert len(datasets.cifar10(tmp_path).train_labels) == 160
    for epochs in (1, 2):
        out = ("--out", str(tmp_path / "run"))
        arguments = ("--data", str(tmp_path), "--epochs", str(epochs), *out)
        monkeypatch.setattr(sys, "argv", ["port", *arguments])
        runpy.run_path(str(EXAMPLES / f"cifar_from_{name}.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert [line[:9] for line in shown.splitlines() if line.startswith("epoch")] == [
        "epoch 1/1",
        "epoch 2/2",
    ]
    assert "'accuracy': " in shown
