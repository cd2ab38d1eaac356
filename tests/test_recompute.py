"""Kernels compute again what is cheaper to compute than to keep: the values, and what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower
from tolerance import close

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan

COMPILES = True
ROWS, WIDTH = 24, 16
nn = sn.nn
needs_cc = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")


def norm(x: Any) -> Any:
    """(x - mean) / the root of the variance of each row."""
    centred = x - sn.mean(x, axis=-1, keepdims=True)
    return centred * sn.rsqrt(sn.mean(sn.square(centred), axis=-1, keepdims=True) + 1e-5)


BLOCKS = {
    "gelu": lambda x: nn.gelu(x, approximate="tanh"),
    "silu": nn.silu,
    "norm": norm,
    "softmax": nn.softmax,
    "masked": lambda x: nn.softmax(sn.where(x > 0.1, x, -1e9)),
    "turned": lambda x: sn.tanh(sn.permute_dims(sn.reshape(x, (x.shape[0], 4, 4)), (0, 2, 1))),
    "shared": lambda x: sn.sin(x) * sn.mean(sn.sin(x), 0, keepdims=True),
}


def step(names: Any, rows: Any = ROWS, **options: Any) -> tuple[Any, list[Any]]:
    """Two products around each block, and the gradients of all operands."""
    rng = np.random.default_rng(1)
    x = sn.placeholder((rows, WIDTH), name="x")
    outputs, updates = [], {}
    for name in names:
        first, last = (
            sn.variable(rng.normal(size=(WIDTH, WIDTH)).astype("f") * 0.5, f"{name}.{n}")
            for n in ("first", "last")
        )
        y = sn.reshape(BLOCKS[name](x @ first), (x.shape[0], WIDTH)) @ last
        loss = sn.sum(sn.square(y @ last))
        outputs += [loss, *sn.grad(loss, [x])]
        for v, g in zip((first, last), sn.grad(loss, [first, last]), strict=True):
            updates[v] = v - 1e-3 * g
    f = sn.function(x, outputs, updates=updates, **options)
    return f, [rng.normal(size=(ROWS, WIDTH)).astype("f")]


def again(plan: Plan) -> set[str]:
    return {node.op.name for _, group in plan.launched for node in group.again}


def test_a_gelu_keeps_what_it_is_of_and_no_step_of_its_own() -> None:
    plan = step(["gelu"], device="numpy")[0].plan
    assert {"tanh", "sigmoid"} & again(plan)
    wide = [n for n in plan.stored if n.shape == (ROWS, WIDTH) and n in plan.blocks]
    loss = max(i for i, s in enumerate(plan.steps) if any(n.op.name == "sum" for n in s.nodes))
    kept = [n for n in wide if plan.blocks[n].first < 3 and plan.blocks[n].last > loss]
    assert all(n.op.name in ("matmul", "add", "multiply") for n in kept)
    assert len(kept) <= 2  # the product, and the gelu, which the last weight's gradient reads


def test_explain_has_a_reason_for_all_that_a_kernel_reads() -> None:
    kernels = step(BLOCKS, device="numpy")[0].explain().kernels
    made = {access.value for kernel in kernels for access in kernel.writes}
    written_over = {new for kernel in kernels for new, _ in kernel.in_place}
    reasons = set()
    for kernel in kernels:
        read = {access.value for access in kernel.reads} & made - written_over
        assert read <= {apart.value for apart in kernel.reasons}
        reasons |= {apart.reason for apart in kernel.reasons}
    assert "it is computed again here" in reasons


def test_explain_tells_what_is_computed_again() -> None:
    f, _ = step(["gelu"], device="numpy")
    text = str(f.explain())
    assert "computes again %" in text
    plan = f.plan
    counted = sum(len(group.again) for _, group in plan.launched)
    assert counted == sum(len(k.again) for k in f.explain().kernels) > 0


def test_what_the_next_kernel_needs_is_stored() -> None:
    x = sn.placeholder((ROWS, WIDTH), name="x")
    plan = make_plan(
        sn.Graph("g", [x], [sn.argsort(sn.tanh(x)), sn.permute_dims(sn.exp(x), (1, 0))])
    )
    assert not again(plan)


def test_a_kernel_whose_values_are_all_computed_again_is_gone() -> None:
    x = sn.placeholder((4096,), name="x")
    y = sn.sin(x)
    z = sn.argsort(sn.cumulative_sum(y))
    plan = make_plan(sn.Graph("g", [x], [sn.astype(sn.take(z, z), "float32") * sn.sin(x)]))
    assert plan.launches == len(plan.steps)
    for _, group in plan.launched:
        assert not group.fused or any(node in plan.stored for node in group.nodes)


def test_updated_state_is_not_read_late_for_it() -> None:
    """Else its update in place would wait, or be a copy."""
    x, w = sn.placeholder((64, 64), name="x"), sn.variable(np.ones((64, 64), "f"), "w")
    g = sn.tanh(w) * 2
    y = sn.argsort(x @ g)
    plan = sn.function(x, sn.astype(y, "float32") * g, updates={w: w + 1}, device="numpy").plan
    assert not any(copy for copy in plan.last_copies if copy[1].kind == "state")


@needs_cc
def test_values_and_state_are_those_of_the_reference() -> None:
    f, feeds = step(BLOCKS, device="cpu")
    right, _ = step(BLOCKS, "rows", device="numpy")
    for _ in range(2):
        for got, wanted in zip(f(*feeds), right(*feeds), strict=True):
            close(got, wanted, 1e-4)
    for got, wanted in zip(f.graph.variables, right.graph.variables, strict=True):
        close(got.value, wanted.value, 1e-4)


@needs_shim
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu(precision: str, tmp_path: Path) -> None:
    f, feeds = step(BLOCKS, device="numpy", precision=precision)
    machine = Machine(lower(f), tmp_path, arena=True)
    failed, outputs, _ = machine.run(feeds, [v.value for v in machine.graph.variables])
    assert not failed
    for got, wanted in zip(outputs, f(*feeds), strict=True):
        close(got, wanted, 3e-2 if precision == "bfloat16" else 1e-4)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_certificate_for_all_sizes(name: str) -> None:
    f, _ = step([name], "rows", device="numpy")
    for rows in (1, 2, 24, 100):
        plan = f.specialize(rows=rows).plan
        assert f.memory_analysis(rows=rows).arena == plan.arena_bytes
        assert f.memory_analysis().peak.at(rows=rows) >= f.memory_analysis(rows=rows).peak
    assert again(plan) == again(step([name], 100, device="numpy")[0].plan)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_what_is_computed_again_is_read_at_its_own_index(device: str) -> None:
    """A bias of channels that only what is computed again reads: the kernel's space has axes."""
    x, g = (sn.placeholder((2, 6, 3, 8), "float64", name) for name in "xg")
    bias = sn.placeholder((6,), "float64", "bias")
    z = sn.cumulative_sum(x, axis=0) + sn.reshape(bias, (6, 1, 1))
    u = sn.cumulative_sum(sn.sin(z), axis=0)
    f = sn.function([x, g, bias], [sn.sum(u), sn.cumulative_sum(u * g, axis=0) * sn.cos(z)],
                    device=device)  # fmt: skip
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=v.shape) for v in (x, g, bias))
    whole = a.cumsum(0) + c[:, None, None]
    total = np.sin(whole).cumsum(0)
    got = f(a, b, c)
    np.testing.assert_allclose(got[0], total.sum(), rtol=1e-12)
    np.testing.assert_allclose(got[1], (total * b).cumsum(0) * np.cos(whole), rtol=1e-11)


def test_a_cast_behind_a_product_is_no_kernel_of_its_own() -> None:
    """Two kernels over other spaces read it, at the product's width; a sine is computed once."""
    x, w = (sn.placeholder((s, WIDTH), "bfloat16", n) for s, n in ((ROWS, "x"), (WIDTH, "w")))

    def kinds(f: Any) -> list[str]:
        y = sn.reshape(f(sn.astype(x @ w, "float32")), (2, -1, WIDTH))
        graph = sn.function([x, w], [sn.sum(y, -1), sn.sum(y, (0, 1))], device="numpy").graph
        plan = make_plan(graph)
        assert plan.bytes_moved > 0
        return [group.kind for _, group in plan.launched]

    assert kinds(lambda y: y) == ["matmul", "rows", "columns"]
    assert kinds(sn.sin) == ["matmul", "map", "rows", "columns"]


def test_pieces_are_cast_where_they_are_put_together() -> None:
    x, w = (sn.placeholder((s, WIDTH), "bfloat16", n) for s, n in ((ROWS, "x"), (WIDTH, "w")))
    parts = [sn.astype(x @ v, "float32") for v in (w, sn.matrix_transpose(w))]
    f = sn.function([x, w], sn.stack(parts, 1), device="numpy")
    assert [group.kind for _, group in make_plan(f.graph).launched] == ["matmul", "matmul", "map"]


def test_a_sum_that_one_kernel_reads_in_parts_is_made_there() -> None:
    """As the gates of an LSTM are: what the kernel reads more for it, the sum's own read before."""
    nodes = [sn.placeholder((ROWS, WIDTH), "float64", n) for n in "xy"]
    nodes.append(sn.placeholder((WIDTH, WIDTH), "float64", "w"))
    x, y, w = nodes
    gate, value = sn.split(y + x @ w, 2, axis=-1)
    f = sn.function(nodes, nn.functional.sigmoid(gate) * sn.tanh(value), device="cpu")
    assert [group.kind for _, group in f.plan.launched] == ["matmul", "map"]
    a, b, c = (np.random.default_rng(0).normal(size=fixed.shape) for fixed in nodes)
    z = b + a @ c
    wanted = np.tanh(z[:, WIDTH // 2 :]) / (1 + np.exp(-z[:, : WIDTH // 2]))
    np.testing.assert_allclose(f(a, b, c), wanted, rtol=1e-12)


def pooled_mask(dtype: str) -> Plan:
    """A mask of what a routine reads, made of what is kept, as behind the pool of a ResNet."""
    x, g = sn.placeholder((64, 64), dtype, name="x"), sn.placeholder((64, 64), dtype, name="g")
    z = x @ x
    y = nn.relu(z * 2)
    order = sn.argsort(y, axis=1)
    back = sn.where(y > 0, sn.take_along_axis(g @ g, order, 1), 0)
    late = back * z if dtype == "float32" else back
    return sn.function([x, g], [late, sn.sum(z)], device="numpy", disabled_passes=("library",)).plan


def test_a_mask_is_made_of_what_is_kept_and_not_of_what_would_be() -> None:
    """Past the relu, which is over, to the product, which the kernel reads in any case."""
    plan = pooled_mask("float32")
    assert {"greater", "relu", "multiply"} <= again(plan)
    assert not any(str(n.dtype) == "bool" for n in plan.stored)


def test_a_mask_of_a_byte_stays_where_its_operand_would_be_read_for_it() -> None:
    plan = pooled_mask("float64")
    assert "greater" not in again(plan)
    assert any(str(n.dtype) == "bool" for n in plan.stored)


def test_what_is_widened_for_others_is_stored_as_it_was() -> None:
    x = sn.placeholder((24, 64), name="x")
    y = sn.astype(sn.astype(nn.relu(x * 3), "bfloat16"), "float32")
    plan = make_plan(sn.Graph("g", [x], [sn.sum(sn.reshape(y, (4, 6, 64)), 1), sn.max(y, 0)]))
    wide = [n for n in plan.blocks if n.type.size == 24 * 64]
    assert [str(n.dtype) for n in wide] == ["bfloat16"]
    assert "cast" in again(plan)
