"""The comparison of dynamic execution with PyTorch: its table, and the samples that are kept."""

from __future__ import annotations

import json
from pathlib import Path

from bench import dynamic as bench

FILE = Path(__file__).parents[1] / "bench" / "results" / "dynamic.json"


def test_a_ratio_is_of_rounds_and_not_of_medians() -> None:
    samples = {"staticnet": [1.0, 2.0, 30.0], "torch": [2.0, 1.0, 10.0]}
    assert bench.row("a case", samples).split() == [
        "a", "case", "2.00", "µs", "2.00", "µs", "2.00", "1.25", "-", "2.50",
    ]  # fmt: skip


def test_the_samples_that_are_kept() -> None:
    environment, *results = map(json.loads, FILE.read_text(encoding="utf-8").splitlines())
    assert environment["kind"] == "environment"
    assert {"torch", "numpy"} <= environment["versions"].keys()
    assert tuple(record["case"] for record in results) == bench.CASES
    for record in results:
        ours, theirs = (record["microseconds"][name] for name in ("staticnet", "torch"))
        assert len(ours) == len(theirs) >= 20
        assert float(bench.row("", record["microseconds"]).split()[4]) <= 1.5
