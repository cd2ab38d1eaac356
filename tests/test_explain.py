"""What a compiled step tells of itself: kernels and reasons, plan text, source, contracts."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from random_graphs import graphs

import staticnet as sn
from staticnet.backends.cpu import CpuBackend
from staticnet.backends.cpu.blas import PROTOTYPES
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.codegen.build import Builder
from staticnet.codegen.program import write_program
from staticnet.errors import ArgumentError, DeviceError
from staticnet.ir.location import Location, Provenance, attributed
from staticnet.plan.explain import Explanation, explain
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan
from staticnet.plan.roles import Role, role

COMPILES = True
SHIPPED = True
compiled = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")


def account(inputs: Any, outputs: Any, **options: Any) -> Explanation:
    return sn.function(inputs, outputs, device="numpy", **options).explain()


def reasons(inputs: Any, outputs: Any, **options: Any) -> list[str]:
    return [a.reason for k in account(inputs, outputs, **options).kernels for a in k.reasons]


def square(name: str = "x", n: int = 8) -> Any:
    return sn.placeholder((n, n), name=name)


class TestReasons:
    def test_library_calls_and_routines(self) -> None:
        x = square()
        assert reasons(x, sn.relu(x @ x)) == ["matmul is a library call"]
        assert reasons(x, sn.tanh(x) @ x) == ["matmul is a library call"]
        assert reasons(x, sn.argsort(sn.tanh(x))) == ["argsort is a routine"]

    def test_index_maps_that_differ(self) -> None:
        x = square()
        y = sn.tanh(x)
        assert reasons(x, y + sn.permute_dims(y, (1, 0))) == [
            "%0 is made at [i0,i1] and read at [i1,i0]"
        ]
        flipped = sn.flip(y, axis=0)
        assert reasons(x, y * flipped) == ["%0 is made at [i0,i1] and read at [-i0+7,i1]"]

    def test_shapes_that_differ(self) -> None:
        x = sn.placeholder((8, 1), name="x")
        y = sn.reshape(sn.tanh(x), (8,))
        assert reasons(x, sn.exp(y)) == ["its shape is [8], the kernel is map [8,1]"]

    def test_reductions_over_other_axes(self) -> None:
        x = square()
        y = sn.tanh(x)
        outputs = [sn.sum(y, 1), sn.sum(y, 0)]
        assert reasons(x, outputs) == ["it reduces axes 0, the kernel 1"]
        x = sn.placeholder((4, 8, 6), name="x")
        assert reasons(x, sn.max(sn.tanh(x), (0, 2))) == [
            "max over axes 0,2 is neither over leading nor last axes"
        ]
        x = sn.placeholder((8, 4), name="x")
        assert reasons(x, sn.max(sn.tanh(x), 0)) == [
            "max down so few columns runs along each, as along a row"
        ]

    def test_a_reduction_of_leading_axes_ends_its_kernel(self) -> None:
        x = square()
        y = sn.tanh(x)
        found = reasons(x, [y, y * sn.sum(y, 0)])
        assert "a reduction of leading axes is complete only when its kernel ends" in found

    def test_a_cycle(self) -> None:
        x = square()
        y = sn.tanh(x)
        found = reasons(x, y + y @ x)
        assert "a cycle: it also needs %1, which waits for that kernel" in found

    def test_other_places(self) -> None:
        x, i = square(), sn.placeholder((3,), "int64", "i")
        assert reasons([x, i], sn.take(sn.tanh(x), i, axis=0)) == [
            "take reads elements at other places than its own"
        ]

    def test_a_kernel_that_is_full(self) -> None:
        x = y = square()
        for _ in range(100):
            y = sn.tanh(y)
        assert reasons(x, y) == ["the kernel has 96 nodes already"]

    def test_a_view_that_is_copied(self) -> None:
        x = square()
        turned = sn.permute_dims(sn.tanh(x), (1, 0))
        assert reasons(x, turned) == ["what is returned or kept lies in memory in order"]
        assert "argsort cannot read it through the view" in reasons(x, sn.argsort(turned))

    def test_fusion_left_out(self) -> None:
        x = square()
        y = sn.exp(sn.tanh(x))
        assert reasons(x, y) == []
        assert reasons(x, y, disabled_passes=["fusion"]) == ["fusion is disabled"]

    @given(graphs(steps=20))
    def test_each_edge_between_kernels_has_one(self, case: tuple[sn.Graph, list[object]]) -> None:
        for fuse in (True, False):
            plan = make_plan(case[0], fuse)
            kernels = explain(plan).kernels
            for (_, group), kernel in zip(plan.launched, kernels, strict=True):
                told = {a.value for a in kernel.reasons}
                made = {access.value for other in kernels for access in other.writes}
                read = {access.value for access in kernel.reads} & made
                # a variable that is written in place is read before, not from that kernel
                assert told >= read - {new for k in kernels for new, _ in k.in_place}
                assert all(a.reason and a.maker < kernel.number for a in kernel.reasons)
                assert group.domain == kernel.domain


class TestAccount:
    def test_softmax(self) -> None:
        x = sn.placeholder((64, 10), name="x")
        f = sn.function(x, sn.nn.softmax(x), device="numpy")
        (kernel,) = f.explain().kernels
        assert (kernel.number, kernel.launch, kernel.space) == (0, 0, "rows [64,10]")
        assert [node.op.name for node in kernel.nodes] == [
            "max", "subtract", "exp", "sum", "divide", "multiply"
        ]  # fmt: skip
        assert [(a.value, a.bytes, a.place) for a in kernel.reads] == [("%x", 2560, "feed x")]
        assert [(a.bytes, a.place) for a in kernel.writes] == [(2560, "output 0")]
        assert kernel.bytes == f.plan.bytes_moved == 5120
        assert kernel.flops == f.cost_analysis().flops == 5 * 640 + 64
        assert any("test_explain.py" in line for line in kernel.lines)
        assert kernel.reasons == kernel.in_place == ()
        text = str(f.explain())
        assert "1 launches of 1 kernels, 5,120 bytes moved, 3,264 FLOPs" in text
        assert "exp(%1)" in text
        assert "reads %x (2,560)" in text

    def test_an_update_is_in_place(self) -> None:
        x = sn.placeholder((64, 10), name="x")
        w = sn.variable(np.zeros(10, np.float32), "w")
        f = sn.function(x, [], updates={w: w - sn.sum(x, 0)}, device="numpy")
        last = f.explain().kernels[-1]
        assert [old for _, old in last.in_place] == ["%w"]
        assert last.writes[0].place == "state w"
        assert "in place" in str(last)
        assert "(in place of %w)" in str(f.plan)

    def test_flops_are_those_of_cost_analysis(self) -> None:
        f = mlp()
        assert f.explain(b=4).flops == f.cost_analysis(b=4).flops
        launches = [kernel.launch for kernel in f.explain(b=4).kernels]
        assert sorted(launches) == launches
        assert len(set(launches)) == f.cost_analysis(b=4).launches

    def test_it_needs_no_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def build(*_: Any) -> None:
            raise AssertionError("compiled")

        monkeypatch.setattr(CpuBackend, "build", build)
        f = mlp("cpu")
        assert f.explain(b=4).kernels
        assert "sn_one_step" in f.source(b=4)
        assert "plan mlp" in f.as_text(after="plan_memory", b=4)

    def test_dims_must_be_clear(self) -> None:
        f = mlp()
        for ask in (f.explain, f.source, lambda: f.plan):
            with pytest.raises(ArgumentError, match=r"\['b'\], and the specialisations are none"):
                ask()
        f.specialize(b=4)
        assert str(f.explain()) == str(f.explain(b=4))
        assert f.plan is f.specialize(b=4).plan
        f.specialize(b=5)
        with pytest.raises(ArgumentError, match=r"\{'b': 4\}, \{'b': 5\}; say which"):
            f.explain()
        with pytest.raises(ArgumentError, match="its symbolic dims are"):
            f.explain(c=4)


def mlp(device: str = "numpy") -> Any:
    x, y = sn.placeholder(("b", 20), name="x"), sn.placeholder(("b",), "int64", "y")
    sn.manual_seed(0)
    model = sn.nn.Sequential(sn.nn.Linear(20, 32), sn.nn.ReLU(), sn.nn.Linear(32, 5))
    loss = sn.nn.cross_entropy(model(x), y)
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device, name="mlp")


class TestContracts:
    def test_bytes_are_those_of_a_pencil(self) -> None:
        x, z = (sn.placeholder((1000,), name=name) for name in "xz")
        f = sn.function([x, z], sn.relu(2 * x + z) * 0.5 + x, device="numpy")
        assert (f.plan.launches, f.plan.bytes_moved) == (1, 3 * 4000)
        cost = f.cost_analysis()
        assert (cost.launches, cost.bytes_moved) == (1, 3 * 4000)
        assert "after fusion: 1 launches, 12000 bytes" in str(cost)
        assert mlp().cost_analysis().launches is mlp().cost_analysis().bytes_moved is None

    def test_a_gather_moves_what_it_takes(self) -> None:
        table = sn.variable(np.zeros((1000, 16), np.float32), "table")
        i = sn.placeholder((4,), "int64", "i")
        plan = sn.function(i, sn.take(table, i, axis=0), device="numpy").plan
        assert plan.bytes_moved == 4 * 8 + 2 * 4 * 64
        x = square("x", 100)
        plan = sn.function(x, [x[:10] + x[10:20], x], device="numpy").plan
        assert plan.bytes_moved == 3 * 4000 + 2 * 40_000  # and the copy of x to an output
        assert sn.function(x, x[:, :10], device="numpy").plan.bytes_moved == 2 * 4000

    def test_a_kernel_over_no_points_moves_nothing(self) -> None:
        x, c = sn.placeholder((0, 3), name="x"), sn.placeholder((1,), name="c")
        plan = sn.function([x, c], sn.where(x > 0, x, c), device="numpy").plan
        assert plan.bytes_moved == 0

    @given(graphs(steps=20))
    def test_a_kernel_is_given_what_it_reads_and_writes(
        self, case: tuple[sn.Graph, list[object]]
    ) -> None:
        plan = make_plan(case[0])
        for _, group in plan.launched:
            if group.fused:
                builder = Builder(group, plan.stored)
                kernel = builder.build()
                moved = plan.traffic(group)
                assert set(builder.buffers) == moved.reads.keys() | moved.writes.keys()
                written = {
                    node
                    for node, parameter in zip(builder.buffers, kernel.parameters, strict=True)
                    if parameter.written
                }
                assert written == moved.writes.keys()
                assert not any(role(node) is Role.INLINE for node in moved.reads)

    @given(graphs(steps=20))
    def test_fusion_never_moves_more(self, case: tuple[sn.Graph, list[object]]) -> None:
        fused, plain = make_plan(case[0]), make_plan(case[0], fuse=False)
        assert fused.bytes_moved <= plain.bytes_moved
        assert fused.launches <= plain.launches

    @compiled
    def test_the_programs_numbers_are_the_plans(self) -> None:
        f = mlp("cpu")
        executable: Any = f.specialize(b=4).executable
        assert f.plan is executable.plan
        assert f.plan.launches == executable.program.launches
        assert f.source(whole=True) == executable.program.source
        assert f.source() in f.source(whole=True)
        assert "sn_exp_f32" not in f.source().partition("SN_KERNEL")[0]
        assert f.plan.output_allocations == 1

    @compiled
    @pytest.mark.parametrize("build", [sn.argsort, lambda x: sn.top_k(x, 1)[1], sn.nn.softmax])
    def test_a_step_asks_for_no_memory(self, build: Any) -> None:
        """The program is built with a malloc that counts."""
        x = sn.placeholder((6, 7, 2), name="x")
        plan = make_plan(sn.Graph("g", [x], [build(x)]))
        counted = (
            "#define malloc sn_counted\n"
            f"{write_program(plan, PROTOTYPES).source}\n"
            "#undef malloc\n"
            "void *malloc(size_t n);\n"
            "int sn_count;\n"
            "void *sn_counted(size_t n) { ++sn_count; return malloc(n); }\n"
        )
        assert "calloc" not in counted
        assert "realloc" not in counted
        assert run_source(counted, plan) == plan.allocations == 0

    @compiled
    def test_python_does_not_run_within_a_step(self) -> None:
        f = mlp("cpu")
        feeds = [np.ones((4, 20), np.float32), np.zeros(4, np.int64)]
        f(*feeds)
        executable: Any = f.specialize(b=4).executable
        step, events = executable._step, []

        def watched(*args: Any) -> Any:
            sys.setprofile(lambda _frame, event, _arg: events.append(event))
            try:
                return step(*args)
            finally:
                sys.setprofile(None)

        executable._step = watched
        f(*feeds)
        assert events.count("call") == f.plan.host_syncs == 0


def run_source(source: str, plan: Plan) -> int:
    """Run one step of a program on zeros; -> its `sn_count`."""
    from staticnet.backends.cpu.library import load

    compiler = find_compiler()
    assert compiler is not None
    library = load(source, compiler)
    (x,), (y,) = plan.graph.inputs, plan.graph.outputs
    rooms = [np.zeros(n.type.substitute({}).shape, n.dtype) for n in (x, y)]
    arena = np.zeros(plan.arena_bytes + 64, np.uint8)
    table = (ctypes.c_void_p * 2)(*(room.ctypes.data for room in rooms))
    start = -(-arena.ctypes.data // 64) * 64
    assert library.sn_step(table, ctypes.c_void_p(start)) == 0
    return ctypes.c_int.in_dll(library, "sn_count").value


class TestText:
    def test_stages_parse_back(self) -> None:
        f = mlp()
        graph = f.specialize(b=4).graph
        for stage in ("fusion", "schedule"):
            assert sn.parse(f.as_text(after=stage, b=4)) is graph
        assert f.as_text(after="plan_memory", b=4) == str(f.plan)
        assert f.as_text(after="plan_memory") == str(f.plan)
        f.specialize(b=5)
        with pytest.raises(ArgumentError, match="{'b': 4}, {'b': 5}; say which"):
            f.as_text(after="schedule")

    def test_the_schedule_is_in_the_order_of_launches(self) -> None:
        text = mlp().as_text(after="schedule", b=4)
        launches = [int(line.split()[2][:-1]) for line in text.splitlines() if "// launch" in line]
        assert launches == sorted(launches)
        assert launches[-1] == mlp().cost_analysis(b=4).launches - 1

    def test_stages_follow_what_is_left_out(self) -> None:
        x = square()
        f = sn.function(x, sn.exp(sn.tanh(x)), device="numpy", disabled_passes=["fusion"])
        assert f.as_text(after="plan_memory").count("kernel") == 2
        with pytest.raises(ArgumentError, match="'fusion' did not run"):
            f.as_text(after="fusion")

    def test_numpy_has_no_source(self) -> None:
        with pytest.raises(DeviceError, match="generates no source; use device='cpu'"):
            mlp().source(b=4)


def golden_step(case: str) -> tuple[Any, Any, dict[Any, Any]]:
    """Inputs, outputs and updates of a small step."""
    x = sn.placeholder(("b", 12), name=f"{case}_x")
    g = sn.placeholder(("b", 12), name=f"{case}_g")
    sn.manual_seed(0)
    match case:
        case "map":
            return [x, g], sn.relu(2 * x + g) * 0.5 + g[:, ::-1], {}
        case "softmax":
            return x, sn.nn.softmax(x), {}
        case "layer_norm":
            gain, bias = (sn.variable(np.ones(12, np.float32), n) for n in ("gain", "bias"))
            off = x - sn.mean(x, 1, keepdims=True)
            y = off / sn.sqrt(sn.mean(off * off, 1, keepdims=True) + 1e-5) * gain + bias
            return [x, g], [y, *sn.grad(sn.sum(y * g), [x, gain, bias])], {}
        case "embedding":
            table, i = sn.nn.Embedding(100, 12), sn.placeholder(("b",), "int64", "i")
            loss = sn.sum(table(i) * x)
            return [x, i], loss, sn.optim.SGD(lr=0.1).minimize(loss)
        case "attention":
            q, k, v = (sn.placeholder((2, "b", 12), name=f"{case}_{n}") for n in "qkv")
            scores = q @ sn.permute_dims(k, (0, 2, 1)) * 12**-0.5
            return [q, k, v], sn.nn.softmax(scores) @ v, {}
        case "sums":
            y = sn.tanh(x)
            return x, [sn.sum(y, 0), sn.sum(y, 1), sn.max(x)], {}
        case "mlp":
            y = sn.placeholder(("b",), "int64", "y")
            model = sn.nn.Sequential(sn.nn.Linear(12, 32), sn.nn.ReLU(), sn.nn.Linear(32, 5))
            loss = sn.nn.cross_entropy(model(x), y)
            return [x, y], loss, sn.optim.SGD(lr=0.1, momentum=0.9).minimize(loss)
    raise AssertionError(case)


def golden_function(case: str) -> Any:
    with attributed(Provenance((Location(f"{case}.py", 1),))):
        inputs, outputs, updates = golden_step(case)
        return sn.function(inputs, outputs, updates=updates, device="cpu", name=case)


@pytest.mark.parametrize("case", ["mlp", "softmax", "layer_norm", "attention", "embedding"])
def test_golden_plans(
    case: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # attention has a room for each core
    golden(f"plan/{case}.txt", golden_function(case).as_text(after="plan_memory", b=64))


@pytest.mark.parametrize("case", ["map", "softmax", "layer_norm", "embedding", "sums"])
def test_golden_kernels(case: str, golden: Callable[[str, str], None]) -> None:
    golden(f"kernel/{case}.c", golden_function(case).source(b=64))


@pytest.mark.parametrize("case", ["layer_norm", "embedding"])
def test_golden_accounts(case: str, golden: Callable[[str, str], None]) -> None:
    golden(f"explain/{case}.txt", str(golden_function(case).explain(b=64)))
