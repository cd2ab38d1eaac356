"""`ctc_loss` against PyTorch's, over its options, with targets that fit and that do not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import everywhere
import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import (
    ArgumentError,
    DTypeError,
    ExecutionError,
    OutOfRangeError,
    ShapeError,
    StaticnetError,
)

COMPILES = True
T, N, C = 6, 4, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(T, N, C))
STEPS = np.array([6, 5, 4, 2])
LABELS = np.array([3, 0, 2, 2])


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


def written(blank: int) -> Any:
    """Labels of [4, 3] that are never the blank: those of the blank's place are moved up."""
    labels = np.array([[1, 1, 2], [0, 0, 0], [3, 3, 1], [2, 3, 1]])
    return np.where(labels >= blank, labels + 1, labels) % C


def by_torch(torch: Any, x: Any, *args: Any, **options: Any) -> list[Any]:
    """PyTorch's loss of softmax(x) and the gradient by x, weighted so that each example counts."""
    leaf = torch.tensor(x, requires_grad=True)
    given = [torch.tensor(a) for a in args]
    loss = torch.nn.functional.ctc_loss(leaf.log_softmax(-1), *given, **options)
    weights = torch.arange(1.0, loss.numel() + 1, dtype=torch.double).reshape(loss.shape)
    total = (loss * weights).masked_fill(loss.isinf(), 0).sum()
    (grad,) = torch.autograd.grad(total, leaf)
    return [loss.detach().numpy(), grad.numpy()]


def by_us(x: Any, *args: Any, **options: Any) -> list[Any]:
    leaf = sn.dynamic.tensor(x, requires_grad=True)
    loss = nn.functional.ctc_loss(sn.nn.log_softmax(leaf, -1), *args, **options)
    weights = np.arange(1.0, loss.size + 1).reshape(loss.shape)
    total = sn.sum(sn.where(loss == np.inf, 0, loss) * weights)
    return [loss.numpy(), sn.dynamic.grad(total, [leaf])[0].numpy()]


def test_options_match_pytorch(torch: Any) -> None:
    options = itertools.product((0, 2, 4), ("none", "mean", "sum"), (False, True), (False, True))
    for blank, reduction, zero, together in options:
        labels = written(blank)
        if together:
            rows = zip(labels, LABELS, strict=True)
            labels = np.concatenate([row[:n] for row, n in rows])
        args = labels, STEPS, LABELS
        named = {"blank": blank, "reduction": reduction, "zero_infinity": zero}
        for a, b in zip(by_us(X, *args, **named), by_torch(torch, X, *args, **named), strict=True):
            np.testing.assert_allclose(a, b, 1e-9, 1e-12, err_msg=f"{named} {together}")


@pytest.mark.parametrize("zero", [False, True])
def test_targets_that_do_not_fit(torch: Any, zero: bool) -> None:
    labels = np.array([[1, 1, 1], [1, 2, 3], [2, 2, 0], [1, 1, 1]])
    steps, lengths = np.array([5, 2, 2, 4]), np.array([3, 3, 2, 3])
    args = labels, steps, lengths
    named = {"reduction": "none", "zero_infinity": zero}
    (loss, grad), wanted = by_us(X, *args, **named), by_torch(torch, X, *args, **named)
    np.testing.assert_allclose(loss, wanted[0], 1e-9)
    assert np.isinf(loss).tolist() == ([False] * 4 if zero else [False, True, True, True])
    np.testing.assert_allclose(grad[:, 0], wanted[1][:, 0], 1e-9, 1e-12)
    assert not grad[:, 1:].any()  # PyTorch's is NaN where the loss is infinite


def test_no_steps_no_labels_and_probabilities_of_zero(torch: Any) -> None:
    log_probs = np.log(np.full((T, N, C), 1 / C))
    log_probs[0, :, 1] = -np.inf
    args = written(0), np.array([6, 0, 0, 4]), np.array([3, 0, 1, 0])
    wanted = torch.nn.functional.ctc_loss(
        torch.tensor(log_probs), *map(torch.tensor, args), reduction="none"
    )
    leaf = sn.dynamic.tensor(log_probs, requires_grad=True)
    loss = nn.functional.ctc_loss(leaf, *args, reduction="none")
    np.testing.assert_allclose(loss.numpy(), wanted.numpy(), 1e-12, 1e-14)
    (grad,) = sn.dynamic.grad(loss[0] + loss[3], [leaf])
    assert np.isfinite(grad.numpy()).all()
    np.testing.assert_allclose(grad.numpy()[:, 0].sum(1), -1.0)  # a way writes something each step


def test_one_example(torch: Any) -> None:
    for reduction in ("none", "mean", "sum"):
        args = np.array([1, 1, 2]), np.array(5), np.array(3)
        got = by_us(X[:, 0], *args, reduction=reduction)
        for a, b in zip(got, by_torch(torch, X[:, 0], *args, reduction=reduction), strict=True):
            np.testing.assert_allclose(a, b, 1e-10, 1e-12)


def test_lengths_that_a_run_gives(torch: Any) -> None:
    x = sn.placeholder(("t", "n", C), "float64")
    rows, row = sn.placeholder(("n", "s"), "int32"), sn.placeholder(("m",), "int64")
    steps, labels = (sn.placeholder(("n",), "int64", name) for name in ("steps", "labels"))
    log_probs = nn.log_softmax(x, -1)
    loss = nn.CTCLoss(reduction="sum")
    losses = [loss(log_probs, each, steps, labels) for each in (rows, row)]
    f = sn.function(
        [x, rows, row, steps, labels], [*losses, *sn.grad(losses[0], [x])], device="numpy"
    )
    flat = np.concatenate([r[:n] for r, n in zip(written(0), LABELS, strict=True)])
    one, other, grad = f(X, written(0).astype(np.int32), flat, STEPS, LABELS)
    wanted = by_torch(torch, X, written(0), STEPS, LABELS, reduction="sum")
    np.testing.assert_allclose([one, other], [wanted[0]] * 2, 1e-10)
    np.testing.assert_allclose(grad, wanted[1], 1e-9, 1e-12)


def test_second_derivatives_are_differences_of_first_ones() -> None:
    x = sn.placeholder((4, 2, 3), "float64")
    args = np.array([[1, 1], [2, 1]]), np.array([4, 3]), np.array([2, 2])
    loss = nn.ctc_loss(nn.log_softmax(x, -1), *args)
    (grad,) = sn.grad(loss, [x])
    direction = RNG.normal(size=x.shape)
    (second,) = sn.grad(sn.sum(grad * direction), [x])
    f = sn.function(x, [grad, second], device="numpy")
    at, step = RNG.normal(size=x.shape), 1e-6
    slope = (f(at + step * direction)[0] - f(at - step * direction)[0]) / (2 * step)
    np.testing.assert_allclose(f(at)[1], slope, 1e-6, 1e-8)


def test_every_device(tmp_path: Path) -> None:
    def loss(x: Any) -> Any:
        return nn.ctc_loss(nn.log_softmax(x, -1), written(0), STEPS, LABELS, reduction="none")

    x = X.astype(np.float32)
    wanted = everywhere.on("numpy", tmp_path, everywhere.grad_of(loss), x)
    for device in ("cpu", "dynamic", "cuda"):
        got = everywhere.on(device, tmp_path, everywhere.grad_of(loss), x)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, 2e-5, 2e-6, err_msg=device)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_rounded_once(dtype: str) -> None:
    x = sn.dynamic.tensor(X).astype(dtype)
    args = written(0), STEPS, LABELS
    got = nn.ctc_loss(x, *args)
    assert got.dtype.name == dtype
    wide = nn.ctc_loss(x.astype("float32"), *args).astype(dtype)
    np.testing.assert_array_equal(got.numpy(), wide.numpy())


def test_the_layer_is_pytorchs(torch: Any) -> None:
    ours, theirs = nn.CTCLoss(2, "sum", True), torch.nn.CTCLoss(2, "sum", True)
    args = written(2), STEPS, LABELS
    log_probs = torch.tensor(X).log_softmax(-1)
    wanted = theirs(log_probs, *map(torch.tensor, args))
    got = ours(sn.dynamic.tensor(log_probs.numpy()), *args)
    np.testing.assert_allclose(got.numpy(), wanted.numpy(), 1e-12)


PLACE = sn.placeholder((T, N, C), name="x")
WRONG: list[tuple[Any, type[StaticnetError], str]] = [
    ((sn.zeros(3), written(0), STEPS, LABELS), ShapeError, "ctc_loss: log_probs"),
    ((sn.zeros((T, N, C), "int64"), written(0), STEPS, LABELS), DTypeError, "floating"),
    ((PLACE, written(0)[:2], STEPS, LABELS), ShapeError, r"targets \[2,3\] must be \[4, s\]"),
    ((PLACE, written(0) * 1.0, STEPS, LABELS), DTypeError, "targets must be integers"),
    ((PLACE, written(0), STEPS * 1.0, LABELS), DTypeError, "input_lengths must be integers"),
    ((PLACE, written(0), STEPS[:2], LABELS), ShapeError, r"input_lengths \[2\] must be \[4\]"),
    ((PLACE, written(0), STEPS + 1, LABELS), OutOfRangeError, r"input_lengths .*\[0, 6\]"),
    ((PLACE, written(0), STEPS, LABELS + 1), OutOfRangeError, r"target_lengths .*\[0, 3\]"),
    ((PLACE, written(0), STEPS, LABELS - 1), OutOfRangeError, "target_lengths"),
    ((PLACE, written(0)[0], STEPS, LABELS), ShapeError, "sum up to, 7"),
    ((PLACE, written(0), STEPS, LABELS, C), ArgumentError, "blank"),
    ((PLACE, written(0), STEPS, LABELS, 0, "most"), ArgumentError, "reduction"),
    ((PLACE, written(0), STEPS, LABELS, 0, "sum", 3), ArgumentError, "zero_infinity"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_does_not_fit_is_told(number: int) -> None:
    args, error, message = WRONG[number]
    with pytest.raises(error, match=message):
        nn.ctc_loss(*args)


def test_a_label_out_of_range_fails_the_run() -> None:
    f = sn.function(PLACE, nn.ctc_loss(PLACE, written(0) + C, STEPS, LABELS), device="numpy")
    with pytest.raises(ExecutionError, match="out of"):
        f(X.astype(np.float32))
