"""`linear_cross_entropy`: against PyTorch, in chunks and whole; what is in memory of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.codegen.commands import Product
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import Compilation
from staticnet.errors import ArgumentError, ShapeError
from staticnet.plan.analysis import analyse_memory

F, Options = sn.nn.functional, sn.nn.LinearCrossEntropyOptions
RNG = np.random.default_rng(3)
ROWS, WIDTH, CLASSES = 7, 5, 6


@pytest.fixture(scope="module")
def torch() -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    if not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip("PyTorch has linear_cross_entropy from 2.13 on")
    return torch


def arrays(rows: tuple[int, ...], outputs: tuple[int, ...]) -> list[np.ndarray[Any, Any]]:
    """An input, a weight and a bias."""
    shapes = (*rows, WIDTH), (CLASSES, *outputs, WIDTH), (CLASSES, *outputs)
    return [RNG.normal(size=shape) for shape in shapes]


def cases() -> list[tuple[tuple[int, ...], tuple[int, ...], str, dict[str, Any]]]:
    """Rows, further outputs, what the target is, options."""
    found: list[Any] = []
    for outputs in ((), (2,)):
        for reduction in ("mean", "sum", "none"):
            for target in ("labels", "distribution"):
                options = {"reduction": reduction, "label_smoothing": 0.2 * len(outputs)}
                found.append(((ROWS,), outputs, target, options))
    found.append(((ROWS,), (), "labels", {"ignore_index": 2}))
    found.append(((ROWS,), (2,), "labels", {"ignore_index": 2, "reduction": "none"}))
    found.append(((ROWS,), (), "labels", {"weight": np.arange(1.0, 7), "label_smoothing": 0.1}))
    found.append(((ROWS,), (2,), "distribution", {"weight": np.arange(1.0, 7)}))
    found.append(((), (), "labels", {"reduction": "none"}))
    found.append(((), (), "distribution", {}))
    return found


def target_of(kind: str, rows: tuple[int, ...], outputs: tuple[int, ...]) -> Any:
    if kind == "labels":
        return RNG.integers(0, CLASSES, (*rows, *outputs))
    shares = RNG.uniform(size=(*rows, CLASSES, *outputs))
    return shares / shares.sum(len(rows), keepdims=True)


@pytest.mark.parametrize(
    "chunk", [None, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 7, 100))]
)
def test_values_and_gradients_are_torchs(torch: Any, chunk: int | None) -> None:
    inputs, feeds, outputs, wanted = [], [], [], []
    options = None if chunk is None else Options(batch_chunk_size=chunk)
    for rows, further, kind, given in cases():
        values = arrays(rows, further)
        target = target_of(kind, rows, further)
        own = [sn.placeholder(a.shape, "float64") for a in values]
        t = sn.placeholder(target.shape, str(target.dtype))
        x, w, b = own
        y = F.linear_cross_entropy(x, w, t, linear_bias=b, options=options, **given)
        scale = RNG.normal(size=y.shape)
        inputs += [*own, t]
        feeds += [*values, target]
        outputs += [y, *sn.grad(sn.sum(y * scale), own)]
        theirs = [torch.tensor(a, requires_grad=True) for a in values]
        given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}
        loss = torch.nn.functional.linear_cross_entropy(
            theirs[0], theirs[1], torch.tensor(target), linear_bias=theirs[2], **given
        )
        (loss * torch.tensor(scale)).sum().backward()
        wanted += [loss.detach().numpy(), *(a.grad.numpy() for a in theirs)]
    for got, want in zip(sn.function(inputs, outputs)(*feeds), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def step(chunk: int | None, rows: int = 64, power: int = 1, **options: Any) -> Any:
    """A training step of an embedding that is the head, too."""
    rng = np.random.default_rng(0)
    w = sn.variable(rng.normal(0, 0.1, (512, 16)).astype("f"), "w")
    index, target = (sn.placeholder((rows,), "int64", name) for name in ("i", "t"))
    x = sn.tanh(w[index])
    told = None if chunk is None else Options(batch_chunk_size=chunk)
    loss = F.linear_cross_entropy(x, w, target, options=told)
    loss = loss if power == 1 else loss**power
    return sn.function([index, target], loss, sn.optim.SGD(lr=0.5).minimize(loss), **options)


def on_cuda(f: Any) -> Any:
    made = Compilation(f.graph, CudaBackend(), "fast", f.precision, (), None)
    return made.plan(made.compile({})[0], {})


def test_no_more_logits_are_in_memory_than_a_chunk_has() -> None:
    whole, chunks = (analyse_memory(on_cuda(step(c, 4096, device="numpy"))) for c in (None, 256))
    logits = 4 * 512 * 4096
    assert whole.peak > logits
    assert chunks.peak < whole.peak - logits * 0.8


@pytest.mark.parametrize(("power", "products"), [(1, 3), (2, 4)])
def test_both_ways_are_one_loop(power: int, products: int) -> None:
    """Unless the loss' gradient depends on the loss."""
    f = step(16, power=power, device="numpy")
    program = write_cuda_program(on_cuda(f))
    count = sum(isinstance(command, Product) for command in program.launches)
    assert count == products * 64 / 16


@pytest.mark.parametrize("device", ["numpy", pytest.param("cpu", marks=pytest.mark.slow)])
def test_training_in_chunks_is_training(device: str) -> None:
    rng = np.random.default_rng(1)
    feeds = [rng.integers(0, 512, 64) for _ in range(2)]
    whole, chunks = (step(c, device=device) for c in (None, 24))
    for _ in range(4):
        np.testing.assert_allclose(chunks(*feeds), whole(*feeds), rtol=1e-5)


def test_second_derivatives() -> None:
    x, w = (sn.placeholder(shape, "float64") for shape in ((5, 3), (4, 3)))
    t, feeds = np.array([0, 1, 2, 3, 1]), [RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))]
    made = []
    for options in (None, Options(batch_chunk_size=2)):
        y = F.linear_cross_entropy(x, w, t, options=options)
        (g,) = sn.grad(y, [w])
        made += sn.grad(sn.sum(g * g), [x, w])
    got = sn.function([x, w], made)(*feeds)
    for a, b in zip(got[:2], got[2:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_what_is_made_of_the_weight_has_its_derivative(reduction: str) -> None:
    """Class weights may be variables; they and a bias may be computed from the linear weight."""
    rng = np.random.default_rng(0)
    x, w = sn.placeholder((7, 3), "float64"), sn.placeholder((5, 3), "float64")
    y, classes = sn.placeholder((7,), "int64"), sn.variable(rng.uniform(0.5, 2, 5))
    found: tuple[list[Any], list[Any]] = ([], [])
    for given in (
        {"weight": classes},
        {"weight": sn.abs(sn.sum(w, 1)), "linear_bias": sn.sum(w, 1)},
    ):
        for results, options in zip(found, (None, Options(batch_chunk_size=3)), strict=True):
            losses = F.linear_cross_entropy(
                x, w, y, reduction=reduction, label_smoothing=0.1, options=options, **given
            )
            results += [losses, *sn.grad(sn.sum(losses), [x, w, given["weight"]])]
    f = sn.function([x, w, y], [*found[0], *found[1]], device="numpy")
    values = f(rng.normal(size=(7, 3)), rng.normal(size=(5, 3)), rng.integers(0, 5, 7))
    for whole, chunked in zip(values[:8], values[8:], strict=True):
        np.testing.assert_allclose(chunked, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtypes(dtype: str) -> None:
    x, w = (sn.placeholder(shape, dtype) for shape in ((6, 3), (4, 3)))
    t = np.array([0, 1, 2, 3, 1, 1])
    feeds = [RNG.normal(size=v.shape).astype(x.dtype) for v in (x, w)]
    made = []
    for options in (None, Options(batch_chunk_size=4)):
        y = F.linear_cross_entropy(x, w, t, options=options)
        made += [y, *sn.grad(y, [x, w])]
    assert {v.dtype for v in made} == {x.dtype}
    got = [np.asarray(v, "float64") for v in sn.function([x, w], made)(*feeds)]
    tolerance = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    for a, b in zip(got[:3], got[3:], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_no_rows() -> None:
    x, w = sn.placeholder((0, 3)), sn.placeholder((4, 3))
    t = np.zeros(0, "int64")
    y = F.linear_cross_entropy(x, w, t, reduction="sum", options=Options(batch_chunk_size=2))
    assert sn.function([x, w], y)(np.zeros((0, 3), "f"), np.ones((4, 3), "f")) == 0


def test_dynamic_execution() -> None:
    x, w = (sn.dynamic.tensor(RNG.normal(size=s), requires_grad=True) for s in ((5, 3), (4, 3)))
    t = np.array([0, 1, 2, 3, 1])
    y = F.linear_cross_entropy(x, w, t, options=Options(batch_chunk_size=2))
    np.testing.assert_allclose(y.numpy(), F.linear_cross_entropy(x, w, t).numpy(), rtol=1e-12)


def test_the_layer_is_torchs(torch: Any) -> None:
    options = {"out_features": (2,), "bias": True, "reduction": "none"}
    theirs = torch.nn.LinearCrossEntropyLoss(3, 4, **options)
    mine = sn.nn.LinearCrossEntropyLoss(3, 4, options=Options(batch_chunk_size=2), **options)
    mine.load_state_dict(theirs.state_dict())
    x = sn.placeholder((5, 3))
    feed, t = RNG.normal(size=(5, 3)).astype("f"), RNG.integers(0, 4, (5, 2))
    wanted = theirs(torch.tensor(feed), torch.tensor(t)).detach().numpy()
    np.testing.assert_allclose(sn.function([x], mine(x, t))(feed), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "n", "width", "classes", "rows"),
    [
        ({}, 8192, 768, 50257, 1024),
        ({}, 100, 768, 50257, 100),
        ({}, 8192, 768, 1 << 30, 1),
        ({"batch_chunk_size": 300}, 8192, 768, 50257, 300),
        ({"batch_chunk_size": 300}, 200, 768, 50257, 200),
        ({"chunking_method": None}, 8192, 768, 50257, 8192),
        ({"chunking_method": "aspect_ratio"}, 8192, 768, 50257, 128),
        ({"chunking_method": "aspect_ratio:2"}, 8192, 768, 50257, 64),
        ({"chunking_method": "aspect_ratio:1000"}, 8192, 768, 50257, 1),
    ],
)
def test_rows_of_a_chunk(given: Any, n: int, width: int, classes: int, rows: int) -> None:
    """By PyTorch's formula, but for "auto"."""
    assert Options(**given).rows(n, width, classes) == rows


X, W, B = (sn.placeholder(s) for s in ((4, 3), (5, 3), (5,)))
T = np.zeros(4, "int64")


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Options(chunking_method="thirds"), ArgumentError, "chunking_method must be"),
        (lambda: Options(chunking_method="aspect_ratio:0"), ArgumentError, "chunking_method must"),
        (lambda: Options(acc_policy="best"), ArgumentError, "acc_policy must be one of"),
        (lambda: Options(batch_chunk_size=0), ArgumentError, "batch_chunk_size"),
        (
            lambda: Options(batch_chunk_size=3, chunking_method="aspect_ratio").rows(8, 2, 4),
            ArgumentError, "give one of them",
        ),
        (lambda: F.linear_cross_entropy(X, W, T, options=2), ArgumentError, "options must be"),
        (lambda: F.linear_cross_entropy(X, B, T), ShapeError, "for a linear_weight"),
        (lambda: F.linear_cross_entropy(X, W, T, linear_bias=X), ShapeError, "linear_bias"),
        (lambda: F.linear_cross_entropy(X, W, T, reduction="max"), ArgumentError, "reduction"),
        (lambda: F.linear_cross_entropy(X, W, T[:3]), ShapeError, "target"),
        (
            lambda: F.linear_cross_entropy(
                sn.placeholder((sn.Dim("n"), 3)), W, sn.placeholder(("n",), "int64"),
                options=Options(),
            ),
            ShapeError, "a known number of rows",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(build: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()
