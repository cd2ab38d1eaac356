"""The benchmark's processes: a quick run, and contenders that are wrong, absent or broken."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))

from bench import driver, environment, report
from bench.client import Client, WorkerError
from bench.program import CHECK_STEPS
from bench.worker import settled
from bench.workloads import WORKLOADS
from staticnet.cli import bench
from staticnet.errors import ArgumentError, DependencyError


def options(*arguments):
    parser = argparse.ArgumentParser()
    bench.add_to(parser.add_subparsers())
    return parser.parse_args(["bench", *arguments])


@pytest.mark.parametrize(
    "workloads",
    [
        pytest.param(("playground", "mlp", "adam"), id="three"),
        pytest.param(tuple(WORKLOADS), id="all", marks=pytest.mark.slow),
    ],
)
def test_a_quick_run_of_staticnet_alone(workloads, tmp_path, capsys):
    out = tmp_path / "results" / "quick.jsonl"
    chosen = options(
        *("--quick", "--contender", "staticnet", "copy.numpy", "--device", "numpy"),
        *("--threads", "1", "--out", str(out), "--workload", *workloads),
    )
    chosen.run(chosen)
    about, *records = [json.loads(line) for line in out.read_text().splitlines()]
    assert about["kind"] == "environment"
    assert about["versions"]["numpy"] == np.__version__
    ours = [r for r in records if r["contender"] == "staticnet"]
    assert {r["workload"] for r in ours} == set(workloads)
    assert [r["status"] for r in records] == ["ok"] * len(records)
    assert all(r["check"]["right"] and len(r["samples"]) == 3 for r in ours)
    assert {r["mode"] for r in ours if r["workload"] == "mlp"} == {"call", "run"}
    printed = capsys.readouterr().out
    assert printed.count("staticnet") == len(ours)
    assert len(report.rows([about, *records])) == len(records)


def test_a_wrong_contender_is_reported_and_not_timed(monkeypatch):
    workload = WORKLOADS["pointwise"]
    doubled = {name: 2 * x for name, x in workload.reference(workload.make_data(65536)).items()}
    monkeypatch.setattr(driver, "_data", wrong_data(driver._data, doubled))
    settings = driver.Settings(
        workloads=["pointwise"], contenders=["staticnet"], device="numpy", quick=True, rounds=1
    )
    _, *lines = driver.run(settings, lambda text: None)
    assert [(r["mode"], r["status"]) for r in lines] == [("into", "wrong"), ("fresh", "wrong")]
    assert all("samples" not in r and "the reference says" in r["reason"] for r in lines)


def wrong_data(original, expected):
    import contextlib

    @contextlib.contextmanager
    def made(workload, size):
        with original(workload, size) as (path, _):
            yield path, expected

    return made


def test_an_absent_library_is_missing_with_its_remedy(monkeypatch):
    monkeypatch.setattr(environment, "REQUIRES", {"jax": ("no_such_module", "pip install it")})
    settings = driver.Settings(workloads=["playground"], contenders=["jax"], quick=True)
    _, line = driver.run(settings, lambda text: None)
    assert line["status"] == "missing"
    assert "pip install it" in line["reason"]


def test_what_does_not_fit_is_skipped(monkeypatch):
    monkeypatch.setattr(driver, "MEMORY_LIMIT", 1024)
    settings = driver.Settings(workloads=["adam"], contenders=["staticnet"], quick=True)
    _, line = driver.run(settings, lambda text: None)
    assert line["status"] == "skipped"
    assert "GiB" in line["reason"]


def test_a_worker_answers_errors_and_goes_on(tmp_path):
    with Client("playground", "staticnet", "numpy", 1) as client:
        assert client.ready()["ready"]
        with pytest.raises(WorkerError, match="FileNotFoundError"):
            client.ask("prepare", data=str(tmp_path / "none.npz"))
        np.savez(tmp_path / "data.npz", **WORKLOADS["playground"].make_data(0))
        answer = client.ask("prepare", data=str(tmp_path / "data.npz"))
        assert len(answer["checks"]["call"]) == CHECK_STEPS
        assert client.ask("memory")["rss_growth"] >= 0


def test_a_worker_that_dies_says_its_last_words():
    with Client("no_such_workload", "staticnet", "numpy", 1) as client:
        with pytest.raises(WorkerError, match="no_such_workload"):
            client.ready()
        with pytest.raises(WorkerError, match="ended"):
            client.ask("memory", timeout=5)


@pytest.mark.parametrize("contender", ["torch", "jax"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_peers_agree_with_the_reference(name, contender):
    module = pytest.importorskip(contender, reason="the peer is not installed")
    assert module is not None
    workload = WORKLOADS[name]
    data = workload.make_data(workload.quick_sizes[0])
    expected = workload.reference(data)
    program = workload.contenders[contender](data, "numpy")
    for mode, each in program.modes.items():
        values = each.check(CHECK_STEPS)
        if mode != "run":
            wanted = np.ravel(expected[mode])
            wanted = wanted if workload.sizes == (0,) else wanted[len(wanted) // 2 :]
        else:
            wanted = expected[mode]
        assert driver.compare(values, wanted, workload)["right"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.1])
def test_compare_finds_any_wrong_value(bad):
    workload = WORKLOADS["mlp"]
    found = driver.compare(np.array([1, bad]), np.ones(2), workload)
    assert not found["right"]
    assert found["text"].startswith("value 1 is")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert driver.compare(np.ones(2), np.ones(2), workload)["right"]
    assert not driver.compare(np.ones(3), np.ones(2), workload)["right"]


def test_warm_up_ends_when_three_blocks_agree():
    assert not settled([1.0, 1.0])
    assert not settled([1.0, 1.0, 1.2])
    assert settled([9.0, 1.0, 1.02, 1.04])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--suite", "gpu"),
        ("--workload", "nothing"),
        ("--contender", "mxnet"),
        ("--rounds", "-1"),
        ("--seconds", "0"),
        ("--device", "tpu"),
        ("--against", "no_such_file"),
    ],
)
def test_bad_options(arguments):
    chosen = options(*arguments)
    with pytest.raises(ArgumentError, match=arguments[0]):
        chosen.run(chosen)


def test_without_a_checkout_it_says_so(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.staticnet, "__file__", str(tmp_path / "staticnet" / "__init__.py"))
    chosen = options()
    with pytest.raises(DependencyError, match="clone the repository"):
        chosen.run(chosen)
