"""Weights that a step does not update stay packed, until someone writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_convolution_cpu import TOLERANCE
from test_convolution_cpu import cases as drawn_cases

import staticnet as sn
from staticnet.ir.dtype import as_dtype
from staticnet.ops.base import apply
from staticnet.plan import boxes
from staticnet.plan.weights import held_weight_bytes, held_weights
from staticnet.spatial.convolution import ConvolutionInput

COMPILES = True
F = sn.nn.functional
# x, w, options; one of each way to compute it
CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, int]]] = [
    ((2, 24, 9, 9), (40, 24, 3, 3), {"stride": 2, "padding": 1}),
    ((1, 32, 16, 16), (32, 32, 3, 3), {"padding": 1}),  # by Winograd's algorithm
    ((1, 64, 4, 4), (72, 64, 3, 3), {"padding": 1}),  # of few pixels
    ((1, 40, 7, 7), (40, 1, 5, 5), {"padding": 2, "groups": 40}),
    ((2, 16, 16, 16), (24, 16, 1, 1), {}),  # of matrices where they lie
    ((1, 3, 32, 32), (8, 3, 3, 3), {"padding": 1}),  # by planes
]


# rows, depth, columns, and whether the weight is transposed
PRODUCTS = [(3, 130, 33, False), (20, 70, 300, True), (2, 128, 64, False), (5, 600, 40, True)]


class Case:
    """Convolutions of all ways and products by variables, on the CPU, and what NumPy gives."""

    def __init__(self, **options: Any) -> None:
        self.rng = np.random.default_rng(0)
        xs = [sn.placeholder(shape) for shape, _, _ in CASES]
        self.weights = [sn.variable(self.draw(shape)) for _, shape, _ in CASES]
        self.feeds = [self.draw(shape) for shape, _, _ in CASES]
        triples = zip(xs, self.weights, CASES, strict=True)
        results = [F.conv2d(x, w, **given) for x, w, (_, _, given) in triples]
        for rows, depth, columns, turned in PRODUCTS:
            xs.append(sn.placeholder((rows, depth)))
            w = sn.variable(self.draw((columns, depth) if turned else (depth, columns)))
            self.weights.append(w)
            self.feeds.append(self.draw((rows, depth)))
            results.append(xs[-1] @ (w.T if turned else w))
        self.step = sn.function(xs, results, device="cpu", **options)
        self.reference = sn.function(xs, results, device="numpy")

    def draw(self, shape: tuple[int, ...]) -> Any:
        return self.rng.normal(size=shape).astype("f4")

    def check(self) -> None:
        pairs = zip(self.step(*self.feeds), self.reference(*self.feeds), strict=True)
        for got, wanted in pairs:
            np.testing.assert_allclose(got, wanted, atol=1e-5 * float(np.abs(wanted).max()))

    @property
    def held(self) -> int:
        (made,) = self.step._specialized
        return len(held_weights(made.graph))


def test_whoever_writes_them_has_them_packed_anew() -> None:
    case = Case()
    assert case.held == 4 + 3
    case.check()
    case.check()
    first = case.weights[0]
    first.value = case.draw(first.shape)  # from the host
    case.check()
    double = sn.function([], [], {w: 2.0 * w for w in case.weights}, device="cpu")
    double()
    case.check()
    double.run(3)
    case.check()
    sn.dynamic.tensor(1.0) * first
    with sn.dynamic.no_grad():  # the tensor that shares the variable's array
        first.tensor.copy_(first.tensor * 0.5)
    case.check()


def test_a_product_that_is_added_to_another_holds_its_weight_too() -> None:
    rng = np.random.default_rng(0)
    p, q = (sn.placeholder((64, 256), name=name) for name in "pq")
    w, u = (sn.variable(rng.normal(size=(256, 256)).astype("f4")) for _ in "wu")
    y = sn.tanh(0.01 * (p @ w + q @ u))
    step, reference = (sn.function([p, q], y, device=device) for device in ("cpu", "numpy"))
    feeds = [rng.normal(size=(64, 256)).astype("f4") for _ in "pq"]
    for _ in range(2):
        np.testing.assert_allclose(step(*feeds), reference(*feeds), atol=2e-6)
        u.value = rng.normal(size=(256, 256)).astype("f4")
    (made,) = step._specialized
    assert len(held_weights(made.graph)) == 2
    assert "matmul_add" in str(made.graph)


def test_an_update_whose_caller_was_interrupted_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case()
    case.check()
    double = sn.function([], [], {w: 2.0 * w for w in case.weights}, device="cpu")
    double()
    (made,) = double._specialized
    run = made.executable.run

    def interrupted(feeds: Any) -> Any:
        run(feeds)
        raise KeyboardInterrupt

    monkeypatch.setattr(made.executable, "run", interrupted)
    case.check()
    with pytest.raises(KeyboardInterrupt):
        double()
    case.check()


def test_a_run_of_many_steps_packs_them_once() -> None:
    x, w = sn.placeholder(("batch", 16, 5, 5)), sn.variable(np.ones((32, 16, 3, 3), "f4"))
    step = sn.function(x, F.conv2d(x, w), device="cpu")
    data = np.random.default_rng(0).normal(size=(6, 16, 5, 5)).astype("f4")
    wanted = sn.function(x, F.conv2d(x, w), device="numpy")(data).reshape(3, 2, 32, 3, 3)
    np.testing.assert_allclose(step.run(3, data, batch_size=2), wanted, rtol=1e-4, atol=1e-4)
    w.value = np.full(w.shape, 2.0, "f4")
    np.testing.assert_allclose(step.run(3, data, batch_size=2), 2 * wanted, rtol=1e-4, atol=1e-4)


def test_the_head_of_a_symbolic_batch_holds_its_weight() -> None:
    x, w = sn.placeholder(("batch", 80)), sn.variable(np.ones((100, 80), "f4"))
    step = sn.function(x, x @ w.T, device="cpu")
    for n in (1, 2, 3, 50):
        data = np.random.default_rng(n).normal(size=(n, 80)).astype("f4")
        wanted = np.repeat(data.sum(axis=1, keepdims=True, dtype="f8"), 100, axis=1)
        np.testing.assert_allclose(step(data), wanted, atol=1e-4)
        memory = step.memory_analysis(batch=n)
        assert memory.state == 64 + 80 * 128 * 4 + w.type.nbytes
        assert memory.peak == step.memory_analysis().peak.at(batch=n)


def test_none_are_held_that_change_or_are_to_take_no_memory() -> None:
    assert Case(memory_limit="1 GB").held == 0
    assert Case(numerics="exact").held == 0
    assert Case(disabled_passes=["held_weights"]).held == 0
    x, w = sn.placeholder((2, 16, 5, 5)), sn.variable(np.ones((32, 16, 3, 3), "f4"))
    y = F.conv2d(x, w)
    train = sn.function(x, y, {w: w - sn.grad(sn.sum(y), [w])[0]}, device="cpu")
    (made,) = train._specialized
    assert not held_weights(made.graph)


def test_memory_counts_them_and_exported_code_holds_none(tmp_path: Path) -> None:
    x, w = sn.placeholder(("n", 16, 5, 5), name="x"), sn.variable(np.ones((32, 16, 3, 3), "f4"))
    step = sn.function(x, F.conv2d(x, w), device="cpu")
    certificate = step.memory_analysis()
    for n in (1, 4, 30):
        memory = step.memory_analysis(n=n)
        packed = held_weight_bytes(step.specialize(n=n).graph)
        assert packed == 64 + 32 * 16 * 9 * 4
        assert memory.state == certificate.state == packed + w.type.nbytes
        assert certificate.peak.at(n=n) == memory.peak
        made = step.specialize(n=n).executable
        assert made._weights.nbytes == packed
    step.export_c(tmp_path / "step.c", n=2)
    assert ".held = 0" in (tmp_path / "step.c").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_all_options_agree(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "BOX", 2000)  # so that there are bands of rows
    monkeypatch.setattr(boxes, "MOST_BOX", 8000)
    found = drawn_cases(1, 60 if dtype == "float32" else 20)
    rng = np.random.default_rng(0)

    def build(dtype: str, weights: list[Any]) -> tuple[list[Any], list[Any]]:
        inputs, results = [], []
        for (op, shape, _), w in zip(found, weights, strict=True):
            x = sn.placeholder(shape, dtype)
            y = sn.placeholder(apply(op, x, w).shape, dtype)
            inputs += [x, y]
            back = op._as(ConvolutionInput, op.apart("x", shape)[2])
            results += [apply(op, x, w), apply(back, y, w)]
        return inputs, results

    variables = [sn.variable(np.zeros(w, as_dtype(dtype))) for _, _, w in found]
    inputs, results = build(dtype, variables)
    step = sn.function(inputs, results, device="cpu")
    feeds = [rng.standard_normal(x.shape).astype(x.dtype) for x in inputs]
    step(*feeds)
    for w in variables:
        w.value = rng.standard_normal(w.shape).astype(w.dtype)
    wide = [sn.variable(w.copied().astype("f8")) for w in variables]
    exact = sn.function(*build("float64", wide), device="numpy")
    for _ in range(2):
        pairs = zip(step(*feeds), exact(*(x.astype("f8") for x in feeds)), strict=True)
        for got, wanted in pairs:
            off = np.abs(np.asarray(got, "f8") - wanted).max() / max(1.0, np.abs(wanted).max())
            assert off <= TOLERANCE[dtype]


def test_bits_do_not_depend_on_the_number_of_threads(set_threads: Callable[[int], None]) -> None:
    case, found = Case(), []
    for threads in (1, 2, 3):
        set_threads(threads)
        first = case.weights[0]
        first.value = first.copied()
        found.append([y.tobytes() for y in case.step(*case.feeds)])
    assert found[0] == found[1] == found[2]
