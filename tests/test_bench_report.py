"""The benchmark's numbers, recomputed from a small recorded file."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))

from bench import figure, report, stats

ENVIRONMENT = {
    "kind": "environment",
    "date": "2026-01-01T00:00:00+00:00",
    "cpu": "a CPU",
    "cores": 2,
    "threads": 2,
    "ram_bytes": 8 << 30,
    "os": "an OS",
    "python": "3.11",
    "versions": {"staticnet": "0.1.0", "jax": None},
    "commit": "abc",
    "dirty": False,
}


def result(contender, rounds, **changed):
    record = {
        "kind": "result",
        "workload": "pointwise",
        "size": 1024,
        "mode": "into",
        "contender": contender,
        "status": "ok",
        "reason": "",
        "bytes": 3000,
        "flops": 0,
        "samples": rounds,
    }
    return record | changed


OURS = [[1.0e-6, 1.1e-6], [1.0e-6, 1.2e-6], [0.9e-6, 1.0e-6], [1.0e-6] * 3, [1.0e-6], [1.0e-6]]
SLOWER = [[2.0e-6, 2.1e-6], [2.0e-6], [1.9e-6, 2.0e-6], [2.0e-6], [2.0e-6], [2.1e-6]]
SLOWEST = [[4.0e-6]] * 6
NOISY = [[0.5e-6], [1.5e-6], [0.6e-6], [1.4e-6], [0.9e-6], [1.2e-6]]
RECORDS = [
    ENVIRONMENT,
    result("torch", SLOWEST),
    result("jax", SLOWER),
    result("staticnet", OURS),
    result("copy.numpy", [[0.5e-6]] * 6, bytes=3000),
    result("torch.compile", [], status="missing", reason="torch is not installed: pip install it"),
    result("staticnet", OURS, mode="fresh"),
    result("jax", NOISY, mode="fresh"),
    {
        "kind": "first_call",
        "workload": "mlp",
        "contender": "jax",
        "cache": "cold",
        "status": "ok",
        "reason": "",
        "import_s": 1.0,
        "first_call_s": 2.5,
        "memory": {"rss_growth": 3 << 20, "reported": {"temp": 1024}},
    },
]


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return report.read(path)


def row(records, contender, mode="into"):
    (found,) = [r for r in report.rows(records) if (r.contender, r.mode) == (contender, mode)]
    return found


def test_rounds_weigh_alike_in_median_and_quartiles(recorded):
    assert row(recorded, "staticnet").median == 1.0e-6
    one_slow_round = [[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 3.0, 3.0], [100.0]]
    alike = np.concatenate([np.repeat(each, 4 // len(each)) for each in one_slow_round])
    low, high = np.quantile(alike, (0.25, 0.75), method="inverted_cdf")
    assert stats.quartiles(one_slow_round) == (low, 2.5, high)


def test_the_ratio_is_to_the_fastest_other(recorded):
    ours = row(recorded, "staticnet")
    assert ours.against == "jax"
    assert ours.ratio.value == pytest.approx(0.5, rel=0.03)
    assert ours.ratio.low < 0.5 < ours.ratio.high < 0.6
    assert row(recorded, "torch").against == "staticnet"
    assert "2.0" in ours.cells()[-1]
    assert "faster" in ours.cells()[-1]


def test_an_interval_that_spans_1_is_no_difference(recorded):
    assert row(recorded, "staticnet", "fresh").cells()[-1].startswith("no difference")
    assert row(recorded, "jax", "fresh").cells()[-1].startswith("no difference")


def test_rates_are_shares_of_the_copy_and_the_copy_is_no_rival(recorded):
    ours = row(recorded, "staticnet")
    assert ours.bytes_per_second == pytest.approx(3e9)
    assert ours.share_of_copy == pytest.approx(0.5)
    assert row(recorded, "staticnet", "fresh").share_of_copy == pytest.approx(0.5)
    assert row(recorded, "copy.numpy").ratio is None


def test_what_did_not_run_says_why(recorded):
    cells = row(recorded, "torch.compile").cells()
    assert cells[4] == "MISSING"
    assert "pip install" in cells[-1]


def test_first_calls_are_lines(recorded):
    assert report.first_calls(recorded) == [
        "mlp first call, cold cache, jax: 2.50 s (and 1.00 s of import); "
        "resident growth 3 MiB, temp 1 KiB"
    ]


def test_changes_are_intervals_that_do_not_overlap(recorded):
    twice = [[2 * s for s in each] for each in OURS]
    now = [ENVIRONMENT, result("staticnet", twice), result("jax", NOISY, mode="fresh")]
    (changed,) = report.changes(recorded, now)
    assert changed[0]["contender"] == "staticnet"
    assert changed[2].value == pytest.approx(2 * changed[1].value)
    said = []
    report.show_changes(recorded, now, said.append)
    assert said[0] == "slower than before: 1"
    assert "1 us -> 2 us (2.00x slower)" in said[1]
    assert said[2] == "faster than before: 0"
    assert report.changes(recorded, recorded) == []


def test_markdown_and_plot(recorded, tmp_path):
    page = figure.markdown(recorded)
    assert "commit abc." in page
    assert "| pointwise | 1 KiB | into | staticnet | 1 us |" in page
    pytest.importorskip("matplotlib")
    figure.plot(recorded, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_report_prints_a_plain_table(recorded, tmp_path, capsys):
    report.main([str(tmp_path / "results.jsonl"), "--markdown", str(tmp_path / "page.md")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["workload", "size", "mode", "contender"]
    assert (tmp_path / "page.md").read_text().startswith("# Benchmark")


def test_identical_contenders_are_no_difference():
    rng = np.random.default_rng(0)
    wins = 0
    for seed in range(40):
        a, b = 1 + 0.05 * rng.standard_normal((2, 10, 5))
        wins += stats.verdict(stats.ratio_to_best(a, [b], seed)) != "no difference"
    assert wins <= 8


def test_few_rounds_are_named_as_such():
    said = []
    report.show([ENVIRONMENT, result("staticnet", [[1e-6]] * 3)], said.append)
    assert any("too few" in line for line in said)


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2 s"), (1.5e-3, "1.5 ms"), (2e-6, "2 us"), (3e-9, "3 ns")]
)
def test_durations(seconds, text):
    assert report.duration(seconds) == text
