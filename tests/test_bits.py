"""Bits: what is exact keeps each one, on the CPU and on CUDA's shim, whatever runs beside it.

Left out, turned off or put beside others: exact passes, fusion, the order of the plan's steps, the
arena's reuse, writing in place, threads, and what else a program computes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import GOLDEN, STEPS, golden_graph, lower
from test_passes import settings

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.compilation import PIPELINE
from staticnet.ir.dtype import is_floating
from staticnet.ir.types import TupleType
from staticnet.plan.memory import padded
from staticnet.plan.schedule import Ledger, Step, peak
from staticnet.rewrite.pattern import EXACT

COMPILES = True
SHIPPED = True
compiled = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
shimmed = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
NEEDED = ("precision", "library", "inline")  # without which a compiled device has no program
FAST = [
    *(p.name for p in PIPELINE if p.numerics is EXACT and not p.selects and p.name != "inline"),
    "fusion",
]
ALL = [*(p.name for p in PIPELINE if p.name not in NEEDED), "fusion"]
CALLS = 3


@dataclass(frozen=True)
class Case:
    """A graph with its feeds and the state that it starts from, and how it is compiled."""

    graph: sn.Graph
    feeds: Sequence[Any]
    state: Sequence[Any]
    options: dict[str, Any]

    def function(self, device: str, **options: Any) -> Any:
        graph, options = self.graph, self.options | options
        for variable, value in zip(graph.variables, self.state, strict=True):
            variable.value = value  # type: ignore[attr-defined]
        updates = dict(graph.updates)
        return sn.function(graph.inputs, graph.outputs, updates, device=device, **options)

    def results(self, **options: Any) -> list[Any]:
        """The outputs of some calls on the CPU, and the state that they leave."""
        f = self.function("cpu", **options)
        found = []
        for _ in range(CALLS):
            with np.errstate(all="ignore"):
                found += listed(f(*self.feeds))
        return found + [v.value for v in self.graph.variables]  # type: ignore[attr-defined]


def listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, (list, tuple)) else [results]


def bits(array: Any) -> bytes:
    """An array's bytes, with one NaN for all."""
    array = np.array(array)
    if is_floating(array.dtype):
        array[np.isnan(array)] = np.nan
    return array.tobytes()


def assert_same(got: Sequence[Any], wanted: Sequence[Any], what: str) -> None:
    for number, (a, b) in enumerate(zip(got, wanted, strict=True)):
        if bits(a) != bits(b):
            a, b = (np.asarray(x).reshape(-1) for x in (a, b))
            (at, *_) = np.flatnonzero(a != b)
            raise AssertionError(f"{what}: result {number} is {a[at]!r}, not {b[at]!r}, at {at}")


def golden_case(file: Path) -> Case:
    """A golden file's graph, as its comments say that it is compiled."""
    f, feeds, _ = golden_graph(file)
    told = settings(file.read_text(encoding="utf-8").partition("// after ")[0])
    options = {name: told[name] for name in ("numerics", "precision") if name in told}
    if options.get("numerics") == "exact":
        options.pop("precision", None)
    return case_of(f, feeds, **options)


def case_of(f: Any, feeds: Sequence[Any], **options: Any) -> Case:
    return Case(f.graph, feeds, [v.value for v in f.graph.variables], options)


def golden_side_by_side(tmp_path: Path) -> tuple[Case, list[Case]]:
    """All golden graphs as one program, and each alone under the same names."""
    alone = []
    for number, file in enumerate(GOLDEN):
        text = file.read_text(encoding="utf-8").partition("// after ")[0]
        text = re.sub(r"%(?=\w)", f"%g{number}_", text)
        text = re.sub(r"\bid=(\d+)", lambda m, n=number: f"id={10_000 * (n + 1) + int(m[1])}", text)
        named = tmp_path / f"{file.stem}.sn"
        named.write_text(text, encoding="utf-8")
        f, feeds, _ = golden_graph(named)
        alone.append(case_of(f, feeds))
    return beside(alone), alone


def beside(cases: Sequence[Case]) -> Case:
    """One program of several."""
    graphs = [case.graph for case in cases]
    whole = sn.Graph(
        "beside",
        [x for g in graphs for x in g.inputs],
        [y for g in graphs for y in g.outputs],
        tuple(update for g in graphs for update in g.updates),
    )
    state = {v: x for case in cases for v, x in zip(case.graph.variables, case.state, strict=True)}
    feeds = [feed for case in cases for feed in case.feeds]
    return Case(whole, feeds, [state[v] for v in whole.variables], {})


def step_case(name: str) -> Case:
    f, feeds = STEPS[name]()
    return case_of(f, feeds, precision=f.precision)


# --- passes


NEEDED = {
    "attention_gradient": "cudnn",
    "convolution_epilogue": "convolution_epilogues",
    "matmul_activation_gradient": "auxiliary",
    "matmul_auxiliary": "auxiliary",
    "matmul_bias_gradient": "auxiliary",
    "matmul_epilogue": "library",
}
"""What the CPU has no kernel of, and the pass by which it has others."""


def left_out(case: Case) -> list[str]:
    """What may be left out: the exact passes, and of exact compilation all that it needs not."""
    names = ALL if case.options.get("numerics") == "exact" else FAST
    needed = {NEEDED[node.op.name] for node in case.graph.nodes if node.op.name in NEEDED}
    needed |= {"infer_shape"} if case.graph.symbols else set()
    return [name for name in names if name not in needed]


def check_passes(case: Case) -> None:
    """One by one."""
    wanted = case.results()
    for name in left_out(case):
        assert_same(case.results(disabled_passes=[name]), wanted, f"without {name}")


def check_passes_together(case: Case) -> None:
    """All but fusion, and fusion."""
    wanted = case.results()
    *passes, fusion = left_out(case)
    assert_same(case.results(disabled_passes=passes), wanted, "without passes")
    assert_same(case.results(disabled_passes=[fusion]), wanted, "without fusion")


@compiled
@pytest.mark.slow
def test_passes_of_golden_graphs_side_by_side(tmp_path: Path) -> None:
    case, _ = golden_side_by_side(tmp_path)
    check_passes_together(replace(case, options={"numerics": "exact"}))


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_passes_of_golden_graphs(file: Path) -> None:
    case = golden_case(file)
    check_passes(case)
    check_passes(replace(case, options={"numerics": "exact"}))


@compiled
@pytest.mark.parametrize(
    ("name", "numerics"), [("playground", "exact"), ("playground", "fast"), ("mlp", "fast")]
)
def test_passes_of_training_steps(name: str, numerics: str) -> None:
    check_passes_together(replace(step_case(name), options={"numerics": numerics}))


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_passes_of_all_training_steps(name: str) -> None:
    case = step_case(name)
    check_passes(case)
    check_passes(replace(case, options={"numerics": "exact"}))


# --- the plan


def no_reuse(blocks: Sequence[Any]) -> int:
    """Every block has bytes of its own."""
    end = 0
    for block in blocks:
        block.offset, end = end, end + padded(block.size)
    return end


@pytest.fixture(params=["schedule", "bundle", "plan_memory", "in place"])
def another_plan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Turns a stage of the plan off, or has it choose what it would not."""
    stages: dict[str, tuple[Any, ...]] = {
        "schedule": ("staticnet.plan.schedule.peak", lambda steps, values: -peak(steps, values)),
        "bundle": (
            "staticnet.plan.schedule.bundle",
            lambda sequence, order, values: [Step((group,)) for group in sequence],
        ),
        "plan_memory": ("staticnet.plan.plan.stack", no_reuse),
        "in place": (Ledger, "written_over", lambda self, group: iter(())),
    }
    return lambda: monkeypatch.setattr(*stages[request.param])


@compiled
@pytest.mark.parametrize("name", ["layer_norm"])
def test_another_plan(name: str, another_plan: Callable[[], None]) -> None:
    case = step_case(name)
    wanted = case.results()
    another_plan()
    assert_same(case.results(), wanted, name)


@compiled
@pytest.mark.slow
def test_another_plan_of_all_there_is(another_plan: Callable[[], None], tmp_path: Path) -> None:
    cases = [golden_side_by_side(tmp_path)[0], *map(step_case, STEPS)]
    wanted = [case.results() for case in cases]
    another_plan()
    for case, right in zip(cases, wanted, strict=True):
        assert_same(case.results(), right, case.graph.name)


# --- neighbours


@compiled
@pytest.mark.slow
def test_golden_graphs_alone_and_side_by_side(tmp_path: Path) -> None:
    """Of exact compilation: rules may look at a node's other users."""
    case, alone = golden_side_by_side(tmp_path)
    whole = replace(case, options={"numerics": "exact"}).results()
    count = len(case.graph.outputs)
    calls = [iter(whole[i * count : (i + 1) * count]) for i in range(CALLS)]
    state = dict(zip(case.graph.variables, whole[CALLS * count :], strict=True))
    for file, each in zip(GOLDEN, alone, strict=True):
        wanted = [next(call) for call in calls for _ in each.graph.outputs]
        wanted += [state[v] for v in each.graph.variables]
        got = replace(each, options={"numerics": "exact"}).results()
        assert_same(got, wanted, f"{file.parent.name}/{file.stem}")


def with_all_outputs(graph: sn.Graph, every: int) -> sn.Graph:
    """The graph, and every so manieth of its inner floats as an output after its own."""
    single = [n for n in graph.nodes if n.inputs and not isinstance(n.type, TupleType)]
    inner = [n for n in single if is_floating(n.dtype)][::every]
    return sn.Graph(graph.name, graph.inputs, [*graph.outputs, *inner], graph.updates)


@compiled
@pytest.mark.parametrize("name", ["playground", "layer_norm"])
def test_more_outputs(name: str) -> None:
    check_more_outputs(name)


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_more_outputs_of_all_steps(name: str) -> None:
    check_more_outputs(name)


def check_more_outputs(name: str) -> None:
    """Of an optimised graph, that no pass but those that the backend needs changes any more."""
    f, feeds = STEPS[name]()
    graph = lower(f)
    state = [v.value for v in graph.variables]
    rest = [n for n in ALL if n != "fusion"]
    case = Case(graph, feeds, state, {"disabled_passes": rest})
    count = len(graph.outputs)
    wanted = case.results()
    for every in (1, 3):
        more = replace(case, graph=with_all_outputs(graph, every)).results()
        step = (len(more) - len(state)) // CALLS
        own = [x for i in range(CALLS) for x in more[i * step : i * step + count]]
        assert_same([*own, *more[CALLS * step :]], wanted, f"1 of {every} more")


@shimmed
@pytest.mark.parametrize("name", ["playground", "layer_norm"])
def test_more_outputs_on_cuda(name: str, tmp_path: Path) -> None:
    check_on_cuda(name, tmp_path)


@shimmed
@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_more_outputs_of_all_steps_on_cuda(name: str, tmp_path: Path) -> None:
    check_on_cuda(name, tmp_path)


def check_on_cuda(name: str, folder: Path) -> None:
    """Without fusion, and with more outputs."""
    f, feeds = STEPS[name]()
    graph = lower(f)
    state = [v.value for v in graph.variables]
    count = len(graph.outputs)

    def results(graph: sn.Graph, **options: Any) -> list[Any]:
        failed, outputs, after = Machine(graph, folder, **options).run(feeds, state)
        assert failed == 0
        return [*outputs[:count], *after]

    wanted = results(graph)
    assert_same(results(graph, fuse=False), wanted, "without fusion")
    for every in (1, 3):
        assert_same(results(with_all_outputs(graph, every)), wanted, f"1 of {every} more")


# --- threads, and many steps at once


def large() -> Case:
    """Sums, products, scans and a scatter, of sizes that threads share."""
    x, w = sn.placeholder((300, 400), name="x"), sn.variable(np.ones((400, 200), "f"), "w")
    i = sn.placeholder((5000,), "int64", "i")
    y = sn.tanh(x @ w)
    rows = sn.take(x, i, 0)
    outputs = [
        y, sn.sum(y), sn.sum(y, 0), sn.mean(y, 1), sn.nn.softmax(x), sn.nn.softmax(x, 0),
        sn.cumulative_sum(x, 1), sn.max(x, 0), sn.prod(x, 1), sn.scatter_add(x, i, rows, 0),
    ]  # fmt: skip
    f = sn.function([x, i], outputs, {w: w - 0.1 * sn.matrix_transpose(x) @ y}, device="numpy")
    rng = np.random.default_rng(0)
    return case_of(f, [rng.normal(size=(300, 400)).astype("f"), rng.integers(0, 300, 5000)])


def workload(name: str) -> Case:
    from bench import workloads

    module = getattr(workloads, name)
    data = module.make_data(0)
    feeds = [data[key][: module.BATCH] for key in "xy"]
    return case_of(module.staticnet_step(data, "numpy"), feeds)


@compiled
@pytest.mark.parametrize("name", ["large", "playground", "mlp"])
def test_threads(name: str, set_threads: Callable[[int], None]) -> None:
    case = large() if name == "large" else workload(name)
    set_threads(1)
    wanted = case.results()
    for count in (2, 3):
        set_threads(count)
        assert_same(case.results(), wanted, f"{count} threads")


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", ["playground", "mlp"])
def test_passes_of_workloads(name: str) -> None:
    case = workload(name)
    check_passes(case)
    check_passes(replace(case, options={"numerics": "exact"}))


@compiled
@pytest.mark.parametrize("name", ["playground", "mlp"])
def test_run_and_calls(name: str, set_threads: Callable[[int], None]) -> None:
    case = workload(name)
    size = len(case.feeds[0])
    for count in (1, 2, 3):
        set_threads(count)
        wanted = case.results()
        step = case.function("cpu")
        data = [np.concatenate([feed] * CALLS) for feed in case.feeds]
        (losses,) = step.run(CALLS, *data, batch_size=size)
        state = [v.value for v in case.graph.variables]  # type: ignore[attr-defined]
        assert_same([*losses, *state], wanted, f"run on {count} threads")
