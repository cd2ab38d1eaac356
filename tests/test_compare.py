"""`sn.compare`: one definition run in all ways, the losses checked before anything is timed."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.cli.workloads import WORKLOADS
from staticnet.compare import Peer, result, stats
from staticnet.compare.contenders import Contender, Here, check_losses, first_difference
from staticnet.compare.eager import DynamicStep
from staticnet.compare.model import as_feeds, build_model
from staticnet.compare.reference import reference_losses, widened
from staticnet.compare.static import StaticStep
from staticnet.compare.steps import Facts, Steps
from staticnet.compare.table import cells
from staticnet.compilation import PASSES
from staticnet.errors import (
    ArgumentError,
    ComparisonError,
)

QUICK: dict[str, Any] = {"device": "numpy", "steps": 6, "rounds": 3, "seconds": 0.002}
RNG = np.random.default_rng(0)
FEEDS = [(RNG.standard_normal((8, 3)).astype(np.float32), RNG.integers(0, 4, 8)) for _ in range(4)]


def small() -> Any:
    """A classifier with dropout: state besides its parameters."""
    model = sn.nn.Sequential(
        sn.nn.Linear(3, 16), sn.nn.Tanh(), sn.nn.Dropout(0.25), sn.nn.Linear(16, 4)
    )
    return lambda x, y: sn.nn.cross_entropy(model(x), y), sn.optim.Adam(lr=0.01)


@pytest.fixture(scope="module")
def comparison() -> Any:
    def here() -> Any:
        return small()

    return sn.compare(here, FEEDS, **QUICK)


class TestComparison:
    def test_all_ways_are_there(self, comparison: Any) -> None:
        assert list(comparison) == [
            "dynamic",
            "static, no passes",
            "static, all passes",
            "static, many steps a call",
            *(f"without {name}" for name in PASSES),
        ]
        assert len(comparison) == len(comparison.data["rows"])

    def test_every_row_has_every_column(self, comparison: Any) -> None:
        keys = {column["key"] for column in comparison.data["columns"]}
        for row in comparison.data["rows"]:
            assert row["values"].keys() == keys
            assert row["values"]["time"] > 0
            low, high = row["values"]["time_interval"]
            assert low <= row["values"]["time"] <= high
        assert comparison["dynamic"]["speedup"] is None
        assert comparison["static, all passes"]["of_all"] is None

    def test_losses_are_those_of_the_reference(self, comparison: Any) -> None:
        raw = comparison.data["raw"]
        for record in raw["contenders"]:
            if record["same_as"] is None:
                np.testing.assert_allclose(record["losses"], raw["reference"], rtol=1e-5)
        assert all(0 <= comparison[name]["ulp"] < 50 for name in comparison)

    def test_counts(self, comparison: Any) -> None:
        none, every = comparison["static, no passes"], comparison["static, all passes"]
        assert 0 < every["launches"] < none["launches"]
        model = build_model(small, FEEDS[0], 0)
        plans = [StaticStep.of(model, "numpy", out).function.plan for out in ((), PASSES)]
        assert plans[0].bytes_moved < plans[1].bytes_moved  # of kernels; NumPy makes more arrays
        dynamic = comparison["dynamic"]
        assert dynamic["launches"] > 20
        assert dynamic["peak"] > sum(x.nbytes for x in FEEDS[0])
        assert 0 < dynamic["device"] < dynamic["time"] * 3
        record = comparison.data["raw"]["contenders"][2]
        assert record["name"] == "static, all passes"
        assert every["device"] == min(record["device_s"])
        assert len(record["device_s"]) == 5
        assert every["host"] == max(0.0, every["time"] - every["device"])

    def test_the_same_program_is_measured_once(self, comparison: Any) -> None:
        """No product is narrow and there is no limit: these passes change nothing here."""
        records = {c["name"]: c for c in comparison.data["raw"]["contenders"]}
        for name in ("precision", "remat"):
            assert records[f"without {name}"]["same_as"] == "static, all passes"
            assert "samples" not in records[f"without {name}"]
            values = comparison[f"without {name}"]
            assert values["verdict"] == "the same program"
            assert values["time"] == comparison["static, all passes"]["time"]

    def test_it_prints_and_shows(self, comparison: Any) -> None:
        text = str(comparison)
        assert "static, many steps a call" in text
        assert "6 losses checked against float64" in text
        assert "fewer than 6 rounds" in text
        assert "build() cannot be imported" in text
        html = comparison._repr_html_()
        same = [name for name in comparison if comparison[name]["verdict"] == "the same program"]
        assert html.count("<tr>") == len(comparison) + 1 - len(same)
        assert f"without: {same[0].removeprefix('without ')}, " in html
        assert repr(comparison) == text
        busy = (comparison.data["raw"]["environment"]["load"] or 0) > 0.5
        assert text.split("\n")[1].startswith("other processes were running" if busy else "fewer")
        assert "static, all passes" in html

    def test_a_busy_machine_gives_no_verdict_and_one_round_no_interval(
        self, comparison: Any
    ) -> None:
        raw = copy.deepcopy(comparison.data["raw"])
        for record in raw["contenders"]:
            if record["same_as"] is None:
                factor = 3.0 if record["name"] == "dynamic" else 1.0
                record["samples"] = [[factor * (1 + i / 100)] for i in range(8)]
        raw["environment"]["load"] = 0.1
        every = {row["name"]: row["values"] for row in result.rows_of(raw)}
        assert every["static, all passes"]["verdict"] == "3.0x faster than dynamic"
        assert every["static, no passes"]["speedup_interval"] == pytest.approx([3, 3])
        assert every["static, many steps a call"]["verdict"] == ""  # its interval is [1, 1]
        raw["environment"]["load"] = 2.0
        told = {row["values"]["verdict"] for row in result.rows_of(raw)}
        assert told == {"", "the same program"}
        raw["environment"]["load"] = 0.1
        for record in raw["contenders"]:
            record["samples"] = record.get("samples", [[1.0]])[:1]
        for row in result.rows_of(raw):
            assert row["values"]["time_interval"] is None
            assert row["values"]["verdict"] in ("", "the same program")
            assert cells(row)[2] == "–"

    def test_an_unknown_name_lists_the_others(self, comparison: Any) -> None:
        with pytest.raises(ArgumentError, match="no contender 'eager'; there are dynamic, static"):
            comparison["eager"]

    def test_the_environment_is_told(self, comparison: Any) -> None:
        about = comparison.data["raw"]["environment"]
        assert about["versions"]["numpy"] == np.__version__
        assert about["threads"] >= 1
        assert f"numpy {np.__version__}" in comparison.data["environment"]["versions"]

    def test_it_is_json(self, comparison: Any) -> None:
        assert json.loads(json.dumps(comparison.data, allow_nan=False)) == comparison.data

    def test_losses_that_are_not_finite_are_none(self) -> None:
        def build() -> Any:
            layer = sn.nn.Linear(3, 1)
            return lambda x, y: sn.mean(sn.log(layer(x) - 100)), sn.optim.SGD()

        made = sn.compare(build, FEEDS, **QUICK)
        assert json.loads(json.dumps(made.data, allow_nan=False)) == made.data
        assert made.data["raw"]["reference"] == [None] * QUICK["steps"]
        assert made["dynamic"]["ulp"] is None


MODULE = """
import numpy as np
import staticnet as sn


def build():
    model = sn.nn.Linear(3, 4)
    return lambda x, y: sn.nn.cross_entropy(model(x), y), sn.optim.SGD(lr=0.1)


def peer(feeds, weights, device, factor="1"):
    w, b = (value.astype(np.float64) for value in weights.values())

    def step(x, y):
        z = x @ w.T + b
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        rows = np.arange(len(y))
        loss = -np.mean(np.log(p[rows, y]))
        p[rows, y] -= 1
        w[...] -= 0.1 * (p / len(y)).T @ x
        b[...] -= 0.1 * (p / len(y)).sum(0)
        return float(factor) * loss

    return step


def broken(feeds, weights, device):
    raise ValueError("no such GPU")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import importlib

    (tmp_path / "model_of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("model_of_a_user")
    sys.modules.pop("model_of_a_user", None)


class TestProcesses:
    def test_dynamic_execution_and_peers_have_their_own(self, module: Any) -> None:
        peers = [
            Peer("by hand", "model_of_a_user:peer"),
            Peer("absent", "model_of_a_user:peer", "no_such_module"),
            Peer("broken", "model_of_a_user:broken"),
        ]
        made = sn.compare(module.build, FEEDS, peers=peers, **QUICK)
        assert made["by hand"]["time"] > 0
        assert made["by hand"]["launches"] is None
        assert made["by hand"]["ulp"] < 10
        assert made["dynamic"]["launches"] > 5
        assert "absent" not in list(made)
        notes = "\n".join(made.data["notes"])
        assert "absent was left out: no_such_module is not installed: pip install" in notes
        assert "broken was left out" in notes
        assert "no such GPU" in notes
        assert "cannot be imported" not in notes

    def test_any_name_and_any_module_will_do(self, module: Any) -> None:
        """A name that is no file's, and a module that no other process can import."""
        import types

        peers = [
            Peer("a/b [/c]", "model_of_a_user:peer"),
            Peer("absent", "model_of_a_user:peer", "no_such_module.part"),
        ]
        made_by_hand = types.ModuleType("made_by_hand")
        exec(MODULE, made_by_hand.__dict__)
        sys.modules["made_by_hand"] = made_by_hand
        try:
            made = sn.compare(made_by_hand.build, FEEDS, peers=peers, **QUICK)
        finally:
            del sys.modules["made_by_hand"]
        assert made["a/b [/c]"]["time"] > 0
        notes = "\n".join(made.data["notes"])
        assert "build() cannot be imported from a module" in notes
        assert "absent was left out: no_such_module.part is not installed" in notes

    def test_a_peer_that_computes_something_else_is_an_error(self, module: Any) -> None:
        wrong = Peer("wrong", "model_of_a_user:peer", options={"factor": "1.1"})
        with pytest.raises(ComparisonError, match="at step 0 the loss of 'wrong' is"):
            sn.compare(module.build, FEEDS, peers=[wrong], **QUICK)


class TestLosses:
    def test_the_first_step_that_differs(self) -> None:
        reference = [2.0, 1.0, 0.5]
        assert first_difference(reference, reference, 1e-3) is None
        assert first_difference([2.0, 1.002, 0.5], reference, 1e-3) is None
        assert first_difference([2.0, 1.0, 0.6], reference, 1e-3) == (2, pytest.approx(2.5e-3))
        assert first_difference([np.nan, 1.1, 0.5], reference, 1e-3)[0] == 0
        assert first_difference([np.nan, np.inf], [np.nan, np.inf], 1e-3) is None
        assert first_difference([1.0, 5.0], [1.0, np.inf], 1e-3)[0] == 1

    def test_a_wrong_contender_is_named_with_the_step(self) -> None:
        losses = [1.0, 0.75, 0.5]
        steps = Steps(lambda n: None, lambda n: losses[:n])
        runner = Here(steps, lambda: None, lambda: Facts(1, 1, 1, 1, (1.0,), 1.0))
        contender = Contender("odd", "static", runner)
        check_losses(contender, losses, 1e-3)
        assert contender.record["losses"] == losses
        message = r"at step 1 the loss of 'odd' is 0.75, and that of the float64 reference 0.8; .*"
        with pytest.raises(ComparisonError, match=message + "nothing was timed"):
            check_losses(contender, [1.0, 0.8, 0.5], 1e-3)

    @pytest.mark.parametrize(
        ("name", "count"),
        [
            *((name, 12) for name in ("mlp", "playground")),
            *(pytest.param(n, w.steps, marks=pytest.mark.slow) for n, w in WORKLOADS.items()),
        ],
    )
    def test_dynamic_and_static_agree(self, name: str, count: int) -> None:
        workload = WORKLOADS[name]
        feeds = workload.feeds()
        model = build_model(workload.build, feeds[0], 0)
        state = [v.value for v in model.state]
        static = StaticStep.of(model, "numpy", ()).steps(feeds).losses(count)
        dynamic = DynamicStep(workload.build, feeds, state, "numpy", 0).steps().losses(count)
        assert len(static) == len(dynamic) == count
        assert count < 100 or static[-1] < static[0]
        np.testing.assert_allclose(dynamic, static, rtol=2e-4, atol=2e-5)

    def test_the_reference_is_the_graph_in_float64(self) -> None:
        model = build_model(small, FEEDS[0], 0)
        step = StaticStep.of(model, "numpy", ())
        wide = widened(step.function.graph)
        narrow = {"float32", "float16", "bfloat16"}
        assert not narrow & {node.dtype.name for node in wide.nodes}
        assert [node.shape for node in wide.nodes] == [n.shape for n in step.function.graph.nodes]
        before = [v.value for v in model.state]
        losses = reference_losses(step.function.graph, FEEDS, 6)
        assert all(np.array_equal(v.value, b) for v, b in zip(model.state, before, strict=True))
        ours = step.steps(FEEDS).losses(6)
        np.testing.assert_allclose(ours, losses, rtol=1e-5)
        assert ours != losses


class TestStatistics:
    def test_the_interval_of_a_median(self) -> None:
        found = stats.median_interval([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]])
        assert found.value == 3.5
        assert 1 <= found.low < 3.5 < found.high <= 6
        alike = stats.median_interval([[2.0, 2.0]] * 6)
        assert (alike.value, alike.low, alike.high) == (2.0, 2.0, 2.0)

    def test_the_interval_covers(self) -> None:
        """Of a known median, in about 19 of 20 experiments."""
        rng = np.random.default_rng(0)
        hits = 0
        for seed in range(100):
            rounds = rng.standard_normal((10, 1)) + 5
            hits += stats.median_interval(rounds.tolist(), seed).spans(5.0)
        assert hits >= 85

    def test_outliers(self) -> None:
        assert stats.outliers([[1.0, 1.1, 0.9, 1.05]] * 5).share == 0
        found = stats.outliers([[1.0, 1.1, 0.9, 1.05]] * 4 + [[1.0, 9.0, 1.0, 1.1]])
        assert found.share == pytest.approx(1 / 20)
        assert found.worst == pytest.approx(9.0, rel=0.1)
        assert stats.outliers([[1.0, 1.0, 1.0, 1.2]]).share == 0


def test_launches_one_by_one_are_the_cuda_graphs_step(gpu: Any) -> None:
    model = build_model(small, FEEDS[0], 0)
    step = StaticStep.of(model, "cuda", ())
    captured = step.steps(FEEDS).losses(5)
    step.reset()
    launched = step.launched_steps(FEEDS)
    assert launched is not None
    assert launched.losses(5) == captured
    assert captured[0] != captured[1]
    assert StaticStep.of(model, "numpy", ()).launched_steps(FEEDS) is None


def test_many_steps_a_call_are_those_of_single_calls() -> None:
    model = build_model(small, FEEDS[0], 0)
    step = StaticStep.of(model, "numpy", ())
    single = step.steps(FEEDS).losses(6)
    step.reset()
    many = step.many_steps(FEEDS)
    assert many is not None
    assert many.losses(6) == single
    assert many.per_call == len(FEEDS)
    counter = next(v for v in model.state if "counter" in v.name)
    before = int(counter.value)
    many.repeat(3)
    assert int(counter.value) == before + 3 * len(FEEDS)
    assert step.many_steps([(np.float32(1), x) for x, _ in FEEDS]) is None


@pytest.mark.parametrize("wrap", [lambda rule: rule, lambda rule: sn.optim.Accumulate(rule, 2)])
def test_a_rule_that_scales_the_loss_says_what_to_compare(wrap: Any) -> None:
    def with_rule(rule: Any) -> Any:
        return lambda: (small()[0], rule)

    scaling = sn.optim.LossScaling(sn.optim.Adam(lr=0.01))
    message = r"compare: build\(\) gave the rule .* with the optimizer inside it, Adam: .* float32"
    with pytest.raises(ArgumentError, match=message):
        sn.compare(with_rule(wrap(scaling)), FEEDS, **QUICK)
    assert build_model(with_rule(wrap(scaling.optimizer)), FEEDS[0], 0).updates


def test_feeds_of_one_array_need_no_tuple() -> None:
    assert [len(feed) for feed in as_feeds([np.ones(3), np.ones(3)])] == [1, 1]


def test_importing_staticnet_loads_no_peer() -> None:
    code = "import sys, staticnet; print({'torch', 'jax', 'matplotlib', 'rich'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
