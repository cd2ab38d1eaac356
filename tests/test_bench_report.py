"""The benchmark's numbers, recomputed from a small recorded file."""

import json
import subprocess

import numpy as np
import pytest

from bench import changes, environment, figure, report
from staticnet.compare import environment as captured
from staticnet.compare import stats

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


SAME_MODE = report.HEADER.index("vs best other, same mode")


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
    assert ours.same_mode.other == "jax"
    ratio = ours.same_mode.ratio
    assert ratio.value == pytest.approx(0.5, rel=0.03)
    assert ratio.low < 0.5 < ratio.high < 0.6
    assert row(recorded, "torch").same_mode.other == "staticnet"
    assert ours.cells()[SAME_MODE].startswith("2.00x faster: 0.50 [")


def test_an_interval_that_spans_1_is_no_difference(recorded):
    assert row(recorded, "staticnet", "fresh").cells()[SAME_MODE].startswith("no difference")
    assert row(recorded, "jax", "fresh").cells()[SAME_MODE].startswith("no difference")


def test_a_run_is_compared_with_runs_and_with_calls(recorded):
    network = {"workload": "mlp", "size": 0, "bytes": 0}
    records = [
        ENVIRONMENT,
        *(result("staticnet", OURS, mode=mode, **network) for mode in ("call", "run")),
        result("jax", SLOWEST, mode="call", **network),
        result("jax", [[0.5e-6]] * 6, mode="run", **network),
        result("torch", SLOWER, mode="call", **network),
    ]
    run, call = row(records, "staticnet", "run"), row(records, "staticnet", "call")
    assert (run.same_mode.other, run.with_calls.other) == ("jax", "torch")
    assert run.same_mode.ratio.value == pytest.approx(2.0, rel=0.03)
    assert run.with_calls.ratio.value == pytest.approx(0.5, rel=0.03)
    assert call.with_calls is None
    header, cells = report.table(records)
    assert header[-2:] == ("vs best other, same mode", "run vs best other's call")
    assert [line[-1] != "" for line in cells] == [line[2] == "run" for line in cells]
    assert report.table(recorded)[0][-1] == "vs best other, same mode"


def test_rates_are_shares_of_the_copy_and_the_copy_is_no_rival(recorded):
    ours = row(recorded, "staticnet")
    assert ours.bytes_per_second == pytest.approx(3e9)
    assert ours.share_of_copy == pytest.approx(0.5)
    assert row(recorded, "staticnet", "fresh").share_of_copy == pytest.approx(0.5)
    assert row(recorded, "copy.numpy").same_mode is None
    assert ours.cells()[6] == "3.0 GB/s (50% of copy.numpy)"


def test_the_share_is_of_the_copy_with_the_best_median(recorded):
    one_fast_round = [[0.1e-6], *[[0.6e-6]] * 5]
    best = [[0.4e-6]] * 6
    records = [*recorded, result("copy.c", one_fast_round), result("copy.stream", best)]
    ours = row(records, "staticnet")
    assert ours.copy == "copy.stream"
    assert ours.share_of_copy == pytest.approx(0.4)


def test_what_did_not_run_says_why(recorded):
    cells = row(recorded, "torch.compile").cells()
    assert cells[4] == "MISSING"
    assert "pip install" in cells[SAME_MODE]


def test_first_calls_are_lines(recorded):
    assert report.first_calls(recorded) == [
        "mlp first call, cold cache, jax: 2.50 s (and 1.00 s of import); "
        "resident growth 3 MiB, temp 1 KiB"
    ]


def times(factor, rounds):
    return [[factor * s for s in each] for each in rounds]


def compared(old, new, **options):
    said = []
    worse = changes.show(old, new, said.append, **options)
    return worse, said


def test_a_worse_ratio_is_named(recorded):
    now = [ENVIRONMENT, result("staticnet", times(1.5, OURS)), result("jax", SLOWER)]
    worse, said = compared(recorded, now)
    assert worse
    assert said[1] == "slower: 1"
    assert said[2].startswith("  pointwise 1 KiB into: 1.50x [")
    assert "ratio to the best of jax; 1 us -> 1.5 us" in said[2]
    assert not compared(recorded, now, tolerance=1.6)[0]
    better, said = compared(now, [ENVIRONMENT, *recorded[2:4]])
    assert not better
    assert said[1:4] == ["slower: 0", "no longer there: 0", "faster: 1"]


def test_a_slower_machine_is_no_worse_ratio(recorded):
    slow = [result("staticnet", times(2, OURS)), result("jax", times(2, SLOWER))]
    assert not compared(recorded, [ENVIRONMENT, *slow])[0]


def test_without_others_seconds_are_compared(recorded):
    worse, said = compared(recorded, [ENVIRONMENT, result("staticnet", times(2, OURS))])
    assert worse
    assert "of its seconds" in said[2]


def test_a_change_whose_interval_spans_1_is_none(recorded):
    noisy = [result("staticnet", times(1.2, NOISY), mode="fresh")]
    assert not compared([ENVIRONMENT, result("staticnet", NOISY, mode="fresh")], noisy)[0]
    assert not compared(recorded, recorded)[0]


def test_what_fails_now_is_worse(recorded):
    failed = result("staticnet", [], status="wrong", mode="into")
    worse, said = compared(recorded, [ENVIRONMENT, failed, result("jax", SLOWER)])
    assert worse
    assert "no longer there: 2" in said
    assert not compared(recorded, [ENVIRONMENT, result("jax", SLOWER)])[0]


def test_another_machine_is_named(recorded):
    said = compared(recorded, [ENVIRONMENT | {"cpu": "another"}])[1]
    assert said[0] == "not the same cpu: a CPU before, another now"


def test_markdown_and_plot(recorded, tmp_path):
    page = figure.markdown(recorded)
    assert "commit abc: pointwise." in page
    assert "| pointwise | 1 KiB | into | staticnet | 1 us |" in page
    pytest.importorskip("matplotlib")
    figure.plot(recorded, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_page_names_each_sitting(recorded):
    later = [ENVIRONMENT | {"commit": "def"}, result("staticnet", OURS, workload="adam")]
    page = figure.markdown([*recorded, *later])
    assert page.index("commit abc: pointwise.") < page.index("commit def: adam.")
    assert page.count(ENVIRONMENT["cpu"]) == 1  # the machine was the same
    other = figure.markdown([*recorded, later[0] | {"cpu": "another CPU"}, later[1]])
    assert "another CPU" in other


def test_the_plot_shows_ratios_by_size_and_the_line_at_1(recorded):
    pytest.importorskip("matplotlib")
    larger = [result("staticnet", OURS, size=4096), result("jax", times(0.5, OURS), size=4096)]
    network = [result("staticnet", OURS, workload="mlp", size=0, mode="call")]
    axes = figure.draw([*recorded, *larger, *network]).axes
    titles = {ax.get_title(): ax for ax in axes if ax.axison}
    assert list(titles) == [
        "mlp, call: time a step",
        "pointwise: staticnet / best other",
        "pointwise, into",
        "pointwise, fresh",
    ]
    into, _, one = titles["pointwise: staticnet / best other"].get_lines()
    assert list(into.get_xdata()) == [1024, 4096]
    assert list(into.get_ydata()) == pytest.approx([0.5, 2.0], rel=0.03)
    assert set(one.get_ydata()) == {1.0}
    assert not any(ax.axison for ax in figure.draw([ENVIRONMENT]).axes)


def test_the_report_prints_a_plain_table(recorded, tmp_path, capsys):
    report.main([str(tmp_path / "results.jsonl"), "--markdown", str(tmp_path / "page.md")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["workload", "size", "mode", "contender"]
    assert (tmp_path / "page.md").read_text().startswith("# Benchmark")


def test_the_report_gives_a_status(recorded, tmp_path, capsys):
    old, new = str(tmp_path / "results.jsonl"), tmp_path / "new.jsonl"
    slow = [ENVIRONMENT, result("staticnet", times(1.5, OURS)), result("jax", SLOWER)]
    new.write_text("".join(json.dumps(record) + "\n" for record in slow))
    assert report.main([old, "--against", old]) == 0
    assert report.main([str(new), "--against", old]) == 1
    assert report.main([str(new), "--against", old, "--tolerance", "2"]) == 0
    assert "pointwise 1 KiB into: 1.50x" in capsys.readouterr().out


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
    assert any("too few" in line and "pointwise 1 KiB (3)" in line for line in said)


def test_warm_ups_that_were_cut_short_are_named():
    restless = {"warm_up": {"settled": False}}
    records = [ENVIRONMENT, result("staticnet", OURS), result("jax", OURS, **restless)]
    assert report.unsettled(records) == [
        "still changing when the warm-up ended: pointwise 1 KiB into jax"
    ]
    assert report.unsettled(records[:2]) == []
    assert report.unsettled([result("jax", [], status="failed", **restless)]) == []


def test_outliers_are_told_where_there_are_many():
    disturbed = [*OURS[:3], [1.0e-6, 7.0e-6], [1.0e-6], [5.0e-6]]
    (line,) = report.outliers([ENVIRONMENT, result("staticnet", disturbed), result("jax", OURS)])
    assert line.startswith("many outliers: pointwise 1 KiB into staticnet (20% of the samples")
    assert "jax" not in line
    said = []
    report.show([ENVIRONMENT, result("staticnet", disturbed)], said.append)
    assert said[-1] == line


def test_of_many_the_worst_are_named():
    disturbed = [result(f"c{i}", [[1.0] * 90 + [2.0] * (6 + i)] * 6) for i in range(8)]
    (line,) = report.outliers([ENVIRONMENT, *disturbed])
    assert line.startswith("many outliers: pointwise 1 KiB into c7 (13% of the samples")
    assert line.endswith(" and 2 more")
    assert line.count("KiB into") == report.SHOWN
    assert "more" not in report.outliers(disturbed[: report.SHOWN])[0]


def test_cautions_come_with_the_changes(recorded):
    disturbed = [*OURS[:3], [1.0e-6, 7.0e-6], [1.0e-6], [5.0e-6]]
    worse, said = compared(recorded, [ENVIRONMENT, result("staticnet", disturbed)])
    assert not worse
    assert said[0].startswith("now, many outliers: pointwise 1 KiB into staticnet")
    assert said[1].startswith("compared with commit abc of 2026-01-01")


def test_a_ratio_whose_interval_spans_1_is_never_called_a_win():
    rng = np.random.default_rng(1)
    spans = 0
    for seed in range(60):
        ours, theirs = 1 + 0.1 * rng.standard_normal((2, 8, 3))
        ratio = stats.ratio_to_best(ours, [theirs], seed)
        spans += ratio.spans(1)
        told = stats.verdict(ratio)
        assert (told == "no difference") == (ratio.low <= 1 <= ratio.high)
        assert ("faster" in told) == (ratio.high < 1)
    assert spans > 40


def test_the_environment_is_whole():
    about = environment.describe(2)
    assert about["threads"] == 2
    assert about["cores"] >= about["usable_cores"] >= 1
    assert about["versions"]["numpy"] == np.__version__
    for key in ("cpu", "governor", "load", "ram_bytes", "os", "python", "compiler", "commit"):
        assert key in about
    assert json.loads(json.dumps(about)) == about


def test_the_governor_is_that_of_all_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(captured, "_CPU", tmp_path)
    assert captured.governor() is None
    for core, name in enumerate(("performance", "powersave", "performance")):
        folder = tmp_path / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    assert captured.governor() == "performance, powersave"


def test_the_commit_is_the_checkouts(tmp_path, monkeypatch):
    commands = (
        ("init", "-q"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"),
    )
    monkeypatch.setattr(captured, "ROOT", tmp_path)
    assert captured.describe(1)["commit"] is None
    for command in commands:
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    about = captured.describe(1)
    assert len(about["commit"]) == 40
    assert about["dirty"] is False
    (tmp_path / "file").write_text("")
    subprocess.run(["git", "add", "file"], cwd=tmp_path, check=True)
    assert captured.describe(1)["dirty"] is True


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2 s"), (1.5e-3, "1.5 ms"), (2e-6, "2 us"), (3e-9, "3 ns")]
)
def test_durations(seconds, text):
    assert report.duration(seconds) == text
