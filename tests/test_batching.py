"""Batching rules: each op on many examples at once, against a Python loop over the examples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from samples import CUBE, I1, I2, SAMPLES, Array, S, Sample, X, Y, r
from tolerance import close

import staticnet as sn
from staticnet.control.batching import batch_nodes
from staticnet.errors import DTypeError, OutOfRangeError
from staticnet.ir.dtype import DTYPES, is_floating
from staticnet.ir.op import OPS, Op
from staticnet.ops.base import Elementwise, apply
from staticnet.ops.library import MatmulEpilogue
from staticnet.ops.movement import Pad

LEAVES = {name for name, op in OPS.items() if op.arity == 0}
CONTROL = {"scan", "while_loop", "cond"}  # see test_vmap_control.py
INDEX = np.array([[0, 2, -1], [1, 1, -3]])
DEEP = np.array([[[0, 2, -1, 1], [1, -2, -3, 0]], [[2, 2, 1, 0], [0, 0, 0, -1]]])


def _more() -> list[Sample]:
    """What the samples of the ops leave out: integer operands that differ by example, and ranks."""
    pads = Pad((1, 0), (0, 2), (1, 0))
    return [
        S("take", lambda x, i: sn.take(x, i, 0), X, I1),
        S("take", lambda x, i: sn.take(x, i, 1), CUBE, INDEX),
        S("take", lambda x, i: sn.take(x, i, 2), CUBE, np.array(3)),
        S("take", lambda x, i: x[i, i], X, INDEX),
        S("scatter_add", lambda x, u, i: sn.scatter_add(x, i, u, 0), X, r(4, 4, seed=5), I1),
        S("scatter_add", lambda x, u, i: sn.scatter_add(x, i, u, 1), CUBE, r(2, 2, 3, 4), INDEX),
        S("scatter_add", lambda x, u, i: sn.scatter_add(x, i, u, 1), X, r(3), np.array(-2)),
        S("take_along_axis", lambda x, i: sn.take_along_axis(x, i, 1), X, I2),
        S("take_along_axis", lambda x, i: sn.take_along_axis(x, i, 1), CUBE, DEEP),
        S("scatter_add_along_axis",
          lambda x, u, i: sn.scatter_add_along_axis(x, i, u, 1), X, r(3, 3, seed=6), I2),
        S("pad", lambda x, v: apply(pads, x, v), X, r()),
        S("where", lambda c, x, y: sn.where(c > 0, x, y), r(3, 1), X, r(4)),
        S("matmul", sn.matmul, r(3, 4), r(4)),
        S("matmul", sn.matmul, r(4), r(4)),
        S("matmul", sn.matmul, r(4), r(4, 2)),
        S("matmul", sn.matmul, r(2, 3, 4), r(5, 1, 4, 2)),
        S("matmul", sn.matmul, r(3, 1), r(1, 2)),
        S("matmul", sn.matmul, r(3, 4), r(5, 4, 1)),
        S("matmul", lambda x, y: sn.einsum("ij,kj->ik", x, y), X, Y),
        S("matmul_epilogue",
          lambda x, y, b: apply(MatmulEpilogue("relu"), x, y, b), r(3, 4), r(5, 4, 2), r(2)),
        S("random_bits", lambda k, n: sn.random.normal(sn.random.Key(k, n), (3,), "float64"),
          np.array(5, np.uint64), np.array(2**63, np.uint64)),
        S("argsort", lambda x: sn.sort(x, 0), X),
        S("argsort", sn.searchsorted, np.sort(r(5)), X),
        S("broadcast_to", lambda x: sn.broadcast_to(x, (2, 3)), r()),
        S("reshape", lambda x: sn.reshape(x, ()), r(1, 1)),
        S("sum", lambda x: sn.sum(x), CUBE),
        S("concat", lambda x, y: sn.stack([x, y, y], -1), X, Y),
    ]  # fmt: skip


CASES = [s for s in [*SAMPLES, *_more()] if s.op not in LEAVES | CONTROL | {"item", "with_update"}]
IDS = [f"{sample.op}-{i}" for i, sample in enumerate(CASES)]
every_case = pytest.mark.parametrize("sample", CASES, ids=IDS)
# one of each kind of elementwise ops, which have one rule, and all others
KINDS = {"tanh", "multiply", "where", "equal", "cast"}
OF_EACH_RULE = [
    (case, name)
    for case, name in zip(CASES, IDS, strict=True)
    if case.op in KINDS or OPS[case.op].batch is not Elementwise.batch
]
every_rule = pytest.mark.parametrize(
    "sample", [case for case, _ in OF_EACH_RULE], ids=[name for _, name in OF_EACH_RULE]
)


def subsets(count: int) -> list[tuple[bool, ...]]:
    """Which operands are batched: every way but none."""
    return [each for each in itertools.product([True, False], repeat=count) if any(each)]


def examples(args: Sequence[Array], batched: tuple[bool, ...], size: int) -> list[Array]:
    """Examples of the batched arguments: each in an order of its own, so as valid as the sample."""
    rng = np.random.default_rng(7)
    rows = lambda a: [rng.permutation(a.reshape(-1)).reshape(a.shape) for _ in range(size)]  # noqa: E731
    return [
        np.array(rows(a), a.dtype).reshape(size, *a.shape) if own else a
        for a, own in zip(args, batched, strict=True)
    ]


def one(args: Sequence[Array], batched: tuple[bool, ...], number: int) -> list[Array]:
    return [a[number] if own else a for a, own in zip(args, batched, strict=True)]


def quantities(build: Callable[..., Any], args: Sequence[Array]) -> tuple[list[Any], list[Any]]:
    """Placeholders of one example, and of it the result and its derivatives."""
    xs = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(args)]
    y = build(*xs)
    if not is_floating(y.dtype):
        return xs, [y]
    ws = [x for x in xs if is_floating(x.dtype)]
    weights = np.random.default_rng(9).uniform(0.5, 1.5, y.shape)
    return xs, [y, *sn.grad(sn.sum(y * weights), ws, allow_unused=True)] if ws else [y]


def batched_function(
    xs: list[Any], ys: list[Any], batched: tuple[bool, ...], size: Any, device: str = "numpy"
) -> Callable[..., Any]:
    inputs = [
        sn.placeholder((size, *x.shape), x.dtype, f"many{i}") if own else x
        for i, (x, own) in enumerate(zip(xs, batched, strict=True))
    ]
    known = {x: many for x, many, own in zip(xs, inputs, batched, strict=True) if own}
    found = batch_nodes(ys, known, size)
    outputs = [
        sn.broadcast_to(y, (size, *y.shape)) if many is None else many
        for y, many in zip(ys, found, strict=True)
    ]
    for y, many in zip(ys, outputs, strict=True):
        assert (many.dtype, many.shape) == (y.dtype, (size, *y.shape))
    return sn.function(inputs, outputs, device=device)


def check(sample: Sample, batched: tuple[bool, ...], size: int, device: str = "numpy") -> None:
    xs, ys = quantities(sample.build, sample.args)
    args = examples(sample.args, batched, size)
    many = batched_function(xs, ys, batched, size, device)(*args)
    alone = sn.function(xs, ys)
    loop = [alone(*one(args, batched, i)) for i in range(size)]
    for i, got in enumerate(many):
        for number in range(size):
            close(got[number], loop[number][i], 1e-12)


@pytest.mark.parametrize("name", sorted(set(OPS) - LEAVES - {"item"}))
def test_every_op_has_a_rule(name: str) -> None:
    assert OPS[name].batch is not Op.batch


@every_case
def test_rule_is_a_loop_over_examples(sample: Sample) -> None:
    for batched in subsets(len(sample.args)):
        check(sample, batched, 3)


@every_rule
def test_no_examples_and_one(sample: Sample) -> None:
    every = (True,) * len(sample.args)
    check(sample, every, 0)
    check(sample, every, 1)


@every_rule
def test_a_symbolic_number_of_examples(sample: Sample) -> None:
    every = (True,) * len(sample.args)
    xs, ys = quantities(sample.build, sample.args)
    args = examples(sample.args, every, 3)
    got = batched_function(xs, ys, every, sn.Dim("batch"))(*args)
    wanted = batched_function(xs, ys, every, 3)(*args)
    for a, b in zip(got, wanted, strict=True):
        close(a, b, 1e-12)


@every_rule
def test_derivatives_through_the_rule(sample: Sample) -> None:
    every = (True,) * len(sample.args)
    args = examples(sample.args, every, 3)
    xs, ys = quantities(sample.build, sample.args)
    if len(ys) == 1:
        return
    many = [sn.placeholder(a.shape, a.dtype, f"many{i}") for i, a in enumerate(args)]
    (y,) = batch_nodes(ys[:1], dict(zip(xs, many, strict=True)), 3)
    weights = np.random.default_rng(9).uniform(0.5, 1.5, ys[0].shape)
    assert y is not None
    ws = [x for x in many if is_floating(x.dtype)]
    got = sn.function(many, sn.grad(sn.sum(y * weights), ws, allow_unused=True))(*args)
    wanted = batched_function(xs, ys[1:], every, 3)(*args)
    for a, b in zip(got, wanted, strict=True):
        close(a, b, 1e-12)


@pytest.mark.slow
@every_case
def test_every_dtype(sample: Sample) -> None:
    for dtype in DTYPES.values():
        args = [a if a.dtype.kind in "iu" else a.astype(dtype) for a in sample.args]
        xs = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(args)]
        try:
            y = sample.build(*xs)
        except DTypeError:
            continue
        for batched in subsets(len(args)):
            given = examples(args, batched, 2)
            (got,) = batched_function(xs, [y], batched, 2)(*given)
            for i in range(2):
                close(got[i], sn.function(xs, y)(*one(given, batched, i)))


@pytest.mark.parametrize("index", [3, -4])
@pytest.mark.parametrize("sample", [c for c in CASES if c.args[-1] is I1], ids=lambda s: s.op)
def test_an_index_out_of_range_is_one_in_a_batch(sample: Sample, index: int) -> None:
    xs, ys = quantities(sample.build, sample.args)
    every = (True,) * len(xs)
    args = examples(sample.args, every, 3)
    args[-1] = args[-1].copy()
    args[-1][1, 0] = index
    with pytest.raises(OutOfRangeError):
        batched_function(xs, ys[:1], every, 3)(*args)


def test_the_cpu_agrees() -> None:
    """One program of what no other graph has: index arithmetic by example, keys, merged rows."""
    names = ("take", "scatter_add", "pad", "random_bits", "matmul", "matmul_epilogue", "argsort")
    inputs, outputs, feeds = [], [], []
    for number, sample in enumerate(case for case in CASES if case.op in names):
        every = (True,) * len(sample.args)
        xs, ys = quantities(sample.build, sample.args)
        args = examples(sample.args, every, 3)
        many = [sn.placeholder(a.shape, a.dtype, f"c{number}x{i}") for i, a in enumerate(args)]
        outputs += batch_nodes(ys[:1], dict(zip(xs, many, strict=True)), 3)
        inputs += many
        feeds += args
    got, wanted = (sn.function(inputs, outputs, device=d)(*feeds) for d in ("cpu", "numpy"))
    for a, b in zip(got, wanted, strict=True):
        close(a, b, 1e-12)
