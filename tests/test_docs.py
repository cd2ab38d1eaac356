"""The documents that can run do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import staticnet as sn
from staticnet.ir.value import FUNCTIONS

ROOT = Path(__file__).parents[1]
INTERNAL = {"getitem"}
ROOMS = (sn, sn.nn, sn.nn.utils.rnn, sn.linalg)


def test_the_tour_runs_and_prints_what_it_did(golden: Callable[[str, str], None]) -> None:
    command = [sys.executable, str(ROOT / "docs" / "tour.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    told, _, trained = done.stdout.partition("\n11. ")
    golden("tour.txt", told)
    assert re.match(r"Loss: 0\.\d+ -> 0\.0\d+; accuracy 0\.9", trained)


def test_public_functions_are_exported_and_documented() -> None:
    for name, function in FUNCTIONS.items():
        assert function.__doc__, name
        if name not in INTERNAL:
            assert any(hasattr(room, name) for room in ROOMS), name
    for name in sn.__all__:
        assert hasattr(sn, name)


def test_the_decision_records_are_numbered() -> None:
    numbers = [file.name[:4] for file in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    assert numbers == [f"{i:04}" for i in range(1, len(numbers) + 1)]
