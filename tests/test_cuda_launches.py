"""The launch list of a plan: order, memory, alignment, limits; and the text of kernels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_cases import BATCHES, GOLDEN, STEPS, golden_graph, lower, samples_of_all_dtypes

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.codegen.commands import (
    FAILED,
    Address,
    Command,
    Copy,
    Launch,
    Matrix,
    Number,
    Product,
    walk,
)
from staticnet.codegen.cuda import steps as cuda_steps
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.launches import CudaProgram
from staticnet.compilation import PIPELINE
from staticnet.ops.base import apply
from staticnet.ops.library import EPILOGUES
from staticnet.passes.manager import run_passes
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan
from staticnet.spatial.convolution import ConvolutionWeight

MAX_SHARED_BYTES = 48 << 10


def written(program: CudaProgram, launch: Launch) -> dict[Address, bool]:
    """The addresses that a launch is given, and whether its function may write there."""
    head = re.search(rf"\b{launch.function}\((.*?)\) {{", program.body, re.DOTALL)
    assert head is not None
    parameters = head[1].split(", ") if head[1] else []
    assert len(parameters) == len(launch.arguments)
    found: dict[Address, bool] = {}
    for parameter, argument in zip(parameters, launch.arguments, strict=True):
        assert isinstance(argument, Number) is ("*" not in parameter), parameter
        if isinstance(argument, Number):
            wanted = 8 if parameter.startswith("int64_t") else 4
            assert (argument.itemsize, parameter.split()[0]) in ((wanted, "int64_t"), (4, "int"))
        else:
            const = parameter.startswith("const ")
            found[argument] = found.get(argument, False) or not const
    return found


def touched(program: CudaProgram, command: Command) -> Iterator[tuple[Address, bool, int]]:
    """Address, whether it is written, bytes that are known to be touched."""
    if isinstance(command, Copy):
        yield command.source, False, command.nbytes
        yield command.target, True, command.nbytes
    elif isinstance(command, Product):
        p = command
        for matrix, rows, columns, writes in (
            (p.left, p.m, p.k, False), (p.right, p.k, p.n, False), (p.result, p.m, p.n, True)
        ):  # fmt: skip
            size = p.dtype.itemsize if writes else p.operand_bytes
            yield matrix.address, writes, _extent(matrix, p.batch, rows, columns) * size
        for factor in p.factors:
            yield factor, False, 4
    elif isinstance(command, Launch):
        for address, writes in written(program, command).items():
            yield address, writes, 1


def _extent(matrix: Matrix, batch: tuple[int, ...], rows: int, columns: int) -> int:
    long, short = (columns, rows) if matrix.transposed else (rows, columns)
    last = sum(s * (n - 1) for s, n in zip(matrix.strides, batch, strict=True))
    return last + (long - 1) * matrix.leading + short


def planned(graph: sn.Graph) -> Plan:
    """The plan of a GPU."""
    return make_plan(graph, workspaces=CudaBackend.workspaces)


def check(plan: Plan) -> CudaProgram:
    """What holds of every launch list."""
    program = write_cuda_program(plan)
    assert program.arena_bytes <= plan.arena_bytes
    steps = [command.step for command in program.launches]
    assert steps == sorted(steps)
    launched = {c.step for c in program.launches if 0 <= c.step < len(plan.steps)}
    for i, step in enumerate(plan.steps):
        stores = any(int(node.type.size) for node in step.nodes if node in plan.places)
        assert (i in launched) or not stores, f"step {i} launches nothing"
    sizes = _sizes(plan)
    for command in walk(program.launches):
        for address, writes, nbytes in touched(program, command):
            if address.kind == "arena":
                end = address.at + address.offset + nbytes
                assert end <= program.arena_bytes
                assert address.at % 16 == 0
            elif address != FAILED:
                assert address.offset + nbytes <= max(sizes[address.kind][address.at], 1)
            assert not (writes and address.kind in ("feed", "constant")), command
        if isinstance(command, Launch):
            _check_launch(plan, command)
    _check_order(plan, program)
    return program


def _sizes(plan: Plan) -> dict[str, list[int]]:
    graph = plan.graph
    lists = {"feed": graph.inputs, "state": graph.variables, "constant": plan.constants}
    lists["output"] = graph.outputs
    return {kind: [int(n.type.nbytes) for n in nodes] for kind, nodes in lists.items()}


def _check_launch(plan: Plan, launch: Launch) -> None:
    assert all(1 <= n < 2**31 for n in launch.grid)
    assert launch.block[0] % 32 == 0
    assert launch.block[0] <= 1024
    assert launch.shared_bytes <= MAX_SHARED_BYTES
    size = sum(8 if isinstance(a, Address) else a.itemsize for a in launch.arguments)
    assert size <= 32_764
    if launch.scratch is not None:
        assert launch.scratch.kind == "arena"
        assert launch.scratch.at >= plan.scratch
        assert launch.scratch_bytes > 0


def _check_order(plan: Plan, program: CudaProgram) -> None:
    """What is read was written before; a step's values that live do not lie over each other."""
    ready = {Address(k, i) for k in ("feed", "state", "constant") for i in range(999)} | {FAILED}
    for command in walk(program.launches):
        writes = {Address(a.kind, a.at) for a, w, _ in touched(program, command) if w}
        reads = {Address(a.kind, a.at) for a, w, _ in touched(program, command) if not w}
        scratch = command.scratch if isinstance(command, Launch) else None
        assert reads <= ready | writes | {scratch}, command
        ready |= writes
    results = [n for n, p in plan.places.items() if p.kind == "output" and int(n.type.size)]
    for node in results:
        assert Address("output", plan.places[node].at) in ready, node
    blocks = [(n, b) for n, b in plan.blocks.items() if b.size]
    for i, (a, x) in enumerate(blocks):
        for b, y in blocks[:i]:
            apart = x.offset + x.size <= y.offset or y.offset + y.size <= x.offset
            assert apart or not x.meets(y) or plan.over.get(a) is b or plan.over.get(b) is a


@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_golden_graphs(file: Path) -> None:
    f, _, dims = golden_graph(file)
    check(planned(lower(f, **dims)))


@pytest.mark.parametrize("name", STEPS)
def test_training_steps(name: str) -> None:
    check(planned(lower(STEPS[name]()[0])))


@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_samples(number: int) -> None:
    check(planned(lower(samples_of_all_dtypes(BATCHES[number])[0])))


def program_of(inputs: Any, outputs: Any, **options: Any) -> CudaProgram:
    return check(planned(lower(sn.function(inputs, outputs, device="numpy", **options))))


def test_updates_of_all_parameters_are_one_launch() -> None:
    variables = [sn.variable(np.ones((n, 3), np.float32), f"w{n}") for n in range(1, 40)]
    x = sn.placeholder((), name="x")
    program = program_of(x, [], updates={v: v * 0.5 + x for v in variables})
    assert len(program.launches) == 1
    assert program.body.count("static __device__ void") == 1, "sizes are arguments"
    (name,) = re.findall(r"static __device__ void (\w+)\(", program.body)
    assert program.body.count(f"{name}(") == 2, "it is written out once"


def test_what_two_functions_do_side_by_side_is_two_calls() -> None:
    """Members of one function lie together, whatever lies between them in the plan."""
    xs = [sn.placeholder((n, 3), name=f"x{n}") for n in range(2, 8)]
    made = [sn.exp(x) if n % 2 else sn.tanh(x) for n, x in enumerate(xs)]
    program = program_of(xs, made)
    (launch,) = program.launches
    assert isinstance(launch, Launch)
    names = re.findall(r"static __device__ void (\w+)\(", program.body)
    assert [program.body.count(f"{name}(") for name in names] == [2, 2]
    feeds = [x.at for x in launch.arguments if isinstance(x, Address) and x.kind == "feed"]
    assert feeds == [0, 2, 4, 1, 3, 5]


def test_sums_of_columns_side_by_side_are_two_launches() -> None:
    """One sums parts of the rows, another the parts; one that is short has no parts."""
    sizes = ((4096, 40), (8192, 64), (4096, 40), (30, 50))
    xs = [sn.placeholder(size, name=f"x{i}") for i, size in enumerate(sizes)]
    a = sn.placeholder((512, 512), name="a")
    sums = [sn.sum(x, 0) for x in xs]
    program = program_of([*xs, a], [*sums, sn.tanh(a @ a @ a)])  # beside which there is room
    launches = [command for command in program.launches if isinstance(command, Launch)]
    summing, combining, _ = launches
    assert summing.scratch == combining.scratch
    members = [
        [x for x in each.arguments if isinstance(x, Address) and x.kind == "output"]
        for each in (summing, combining)
    ]
    assert list(map(len, members)) == [4, 3]


def test_too_much_shared_memory_is_two_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of one type share the memory of one function; those of another need their own."""
    xs = [sn.placeholder((30, 50), t, name=f"{t}{i}") for t in ("float32", "float64") for i in "ab"]

    def launches() -> int:
        commands = program_of(xs, [sn.sum(x, 0) for x in xs]).launches
        return sum(isinstance(command, Launch) for command in commands)

    assert launches() == 1
    monkeypatch.setattr(cuda_steps, "MAX_SHARED_BYTES", 8 * 256)
    assert launches() == 2


def test_too_many_arguments_are_two_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_steps, "MAX_ARGUMENT_BYTES", 200)
    variables = [sn.variable(np.ones(3, np.float32), f"w{n}") for n in range(9)]
    program = program_of([], [], updates={v: v * 0.5 for v in variables})
    assert len(program.launches) == 2


def test_what_is_empty_is_not_launched() -> None:
    x = sn.placeholder((0, 4), name="x")
    w = sn.placeholder((4, 3), name="w")
    assert program_of([x, w], [sn.tanh(x), sn.sort(x, 1), x @ w, x]).launches == ()


def test_batches_have_as_few_axes_as_strides_can_tell() -> None:
    a, b = sn.placeholder((2, 3, 5, 4), name="a"), sn.placeholder((2, 3, 4, 6), name="b")
    w = sn.placeholder((4, 6), name="w")
    program = program_of([a, b, w], [a @ b, sn.tanh(a) @ b[:1], a[:, :2] @ b[:, :2]])
    batches = [c.batch for c in program.launches if isinstance(c, Product)]
    assert sorted(batches) == [(2, 2), (2, 3), (6,)]
    tall = program_of([a, w], sn.permute_dims(a, (0, 1, 2, 3)) @ sn.expand_dims(w, 0)).launches
    assert [(c.m, c.batch) for c in tall if isinstance(c, Product)] == [(30, ())]


def test_a_product_with_an_epilogue_reads_a_transpose_where_it_lies() -> None:
    x, w, b = (sn.placeholder(s, name=n) for n, s in (("x", (8, 5)), ("w", (3, 5)), ("b", (3,))))
    f = sn.function([x, w, b], sn.relu(x @ w.T + b), device="numpy")
    graph, _ = run_passes(f.graph, PIPELINE, epilogues=EPILOGUES)
    (command,) = check(planned(graph)).launches
    assert isinstance(command, Product)
    assert (command.epilogue, command.right.transposed) == ("relu_bias", True)
    assert command.bias == Address("feed", 2)


def test_only_what_may_fail_is_guarded() -> None:
    x, i = sn.placeholder((4,), name="x"), sn.placeholder((2,), "int64", "i")
    w = sn.variable(np.zeros(4, np.float32), "w")
    assert "error" not in program_of(x, x * 2, updates={w: w + x}).body
    program = program_of([x, i], sn.take(x, i), updates={w: w + x})
    assert program.body.count("if (*error) return;") == 1
    assert [node.op.name for node in program.sites] == ["take"]


KERNELS: dict[str, Callable[[], tuple[Any, Any]]] = {}


def kernel(make: Callable[[], tuple[Any, Any]]) -> Callable[[], tuple[Any, Any]]:
    KERNELS[make.__name__] = make
    return make


@kernel
def map_in_packs() -> tuple[Any, Any]:
    x, b = sn.placeholder((32, 64), name="x"), sn.placeholder((64,), name="b")
    return [x, b], sn.relu(x + b)


@kernel
def map_through_tiles() -> tuple[Any, Any]:
    x, y = sn.placeholder((50, 40), name="x"), sn.placeholder((40, 50), name="y")
    return [x, y], sn.matrix_transpose(x) + y


@kernel
def rows_in_a_warp() -> tuple[Any, Any]:
    x = sn.placeholder((100, 256), "bfloat16", "x")
    return x, sn.nn.softmax(x)


@kernel
def rows_shared_by_blocks() -> tuple[Any, Any]:
    x = sn.placeholder((1 << 20,), name="x")
    return x, sn.mean(sn.square(x))


@kernel
def columns_in_two_parts() -> tuple[Any, Any]:
    x = sn.placeholder((4096, 48), name="x")
    return x, sn.sum(x, 0)


@kernel
def gather_and_scatter() -> tuple[Any, Any]:
    x, i = sn.placeholder((100, 64), name="x"), sn.placeholder((30,), "int64", "i")
    taken = sn.take(x, i, 0)
    return [x, i], [taken, sn.scatter_add(x, i, taken)]


@kernel
def convolution_by_matrix_units() -> tuple[Any, Any]:
    """The weight's gradient is a long sum of few elements: parts of it are summed by themselves."""
    x, g = (sn.placeholder((8, 20, 20, 16), "bfloat16", name) for name in "xg")
    at = (1, 1), (1, 1), (1, 1), (1, 1), (1,), "last"
    return [x, g], apply(ConvolutionWeight(*at, (3, 3)), x, g)


@pytest.mark.parametrize("name", KERNELS)
def test_golden_text(name: str, golden: Callable[[str, str], None]) -> None:
    inputs, outputs = KERNELS[name]()
    program = program_of(inputs, outputs)
    lines = [f"// {_told(c)}" for c in program.launches]
    golden(f"cuda/{name}.cu", program.body + "\n".join(lines))


def _told(command: Command) -> str:
    assert isinstance(command, Launch | Copy)
    if isinstance(command, Copy):
        return f"copy {command.nbytes} bytes"
    given = [
        str(a.value)
        if isinstance(a, Number)
        else f"{a.kind} {a.at}{f'+{a.offset}' * (a.offset > 0)}"
        for a in command.arguments
    ]
    return f"{command.function}<{command.grid[0]}, {command.block[0]}>({', '.join(given)})"
