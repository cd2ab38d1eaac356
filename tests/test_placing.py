"""What places values at indices, on every device: NumPy and PyTorch in float64 are the oracles."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, ExecutionError, ShapeError

COMPILES = True
torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
Array = np.ndarray[Any, Any]
rng = np.random.default_rng(0)
X, SRC = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 3))
INDEX = rng.integers(0, 3, (4, 5, 3))  # fits every axis, with repeats
UNIQUE = np.argsort(rng.random((4, 5, 3)), 1)
ROWS, SOURCE = np.array([3, 0, 3, 1]), rng.normal(size=(4, 4, 3))
REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")
Case = tuple[str, tuple[Any, ...], dict[str, Any]]


def cases(dim: int) -> list[Case]:
    """The name of a function of both libraries, its arguments after x, and its options."""
    found: list[Case] = []
    for reduce, own in itertools.product(REDUCTIONS, (True, False)):
        options = {"reduce": reduce, "include_self": own}
        found.append(("scatter_reduce", (dim, INDEX, SRC), options))
        found.append(("scatter_reduce", (dim, INDEX[:2, :3], SRC[:2, :3]), options))
    for reduce in ("prod", "mean", "amax", "amin") if dim == 1 else ():
        found.append(("index_reduce", (1, ROWS, SOURCE, reduce), {"include_self": reduce > "an"}))
    found += [
        ("scatter", (1, UNIQUE, SRC), {}),
        ("scatter", (1, UNIQUE[:, :2, :2], SRC[:, :2, :2]), {}),
        ("scatter", (0, INDEX, 2.5), {}),
        ("index_select", (1, ROWS), {}),
        ("index_copy", (1, ROWS[1:], SOURCE[:, 1:]), {}),
        ("index_fill", (-1, ROWS[1:2], -7.0), {}),
        ("index_add", (1, ROWS, SOURCE), {"alpha": 1.5}),
        ("masked_fill", (X[0] > 0, 9.0), {}),
        ("masked_scatter", (X > 0, SRC), {}),
    ]
    return found


def tensors(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(tensors, value))
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def weights(shape: Any) -> Array:
    return np.cos(np.arange(np.prod(shape, dtype=int), dtype=float)).reshape(tuple(shape)) + 2


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch says what is in beta or on its way out
@pytest.mark.parametrize("dim", [1, *(pytest.param(i, marks=pytest.mark.slow) for i in (0, -1))])
def test_values_and_two_derivatives_are_pytorchs(dim: int) -> None:
    """All cases in one function a device."""
    for device in ("numpy", "cpu"):
        x = sn.placeholder(X.shape, "float64", "x")
        feeds, inputs, outputs, wanted, names = [X], [x], list[Any](), list[Any](), list[str]()
        for name, args, options in cases(dim):
            nodes = [sn.placeholder(a.shape, str(a.dtype)) if isinstance(a, np.ndarray) else a
                     for a in args]  # fmt: skip
            inputs += [node for node in nodes if not isinstance(node, int | float | str)]
            feeds += [a for a in args if isinstance(a, np.ndarray)]
            y = getattr(sn, name)(x, *nodes, **options)
            floats = [x, *(i for i, a in zip(nodes, args, strict=True)
                           if isinstance(a, np.ndarray) and a.dtype == float)]  # fmt: skip
            outputs += derivatives(y, floats)
            wanted += reference(name, args, options)
            names += [f"{name} {args[0]} {options}"] * (len(wanted) - len(names))
        found = sn.function(inputs, outputs, device=device)(*feeds)
        for name, got, want in zip(names, found, wanted, strict=True):
            np.testing.assert_allclose(got, want, 1e-9, 1e-11, err_msg=f"{name} on {device}")


def derivatives(y: Any, wrt: list[Any]) -> list[Any]:
    first = sn.grad(sn.sum(y * weights(y.shape)), wrt, allow_unused=True)
    scalar = sum((sn.sum(g * weights(g.shape)) for g in first), start=sn.constant(0.0, "float64"))
    return [y, *first, *sn.grad(scalar, wrt, allow_unused=True)]


def reference(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> list[Array]:
    x, given = torch.tensor(X), [tensors(a) for a in args]
    wrt = [t for t in (x, *given) if torch.is_tensor(t) and t.dtype == torch.float64]
    for t in wrt:
        t.requires_grad_()
    y = getattr(torch, name)(x, *given, **options)
    loss = (y * torch.tensor(weights(y.shape))).sum()
    first = torch.autograd.grad(
        loss, wrt, create_graph=True, allow_unused=True, materialize_grads=True
    )
    scalar = sum((g * torch.tensor(weights(tuple(g.shape)))).sum() for g in first)
    second = [torch.zeros_like(t) for t in wrt]
    if scalar.requires_grad:
        second = torch.autograd.grad(scalar, wrt, allow_unused=True, materialize_grads=True)
    return [t.numpy(force=True) for t in (y, *first, *second)]


PUTS: list[tuple[tuple[Any, ...], Any]] = [
    ((np.array([0, 2, 0]),), rng.normal(size=(3, 5, 3))),
    ((np.array([0, 2]), np.array([1, -1])), rng.normal(size=3)),
    ((np.array([[0], [2]]), np.array([1, 4]), np.array(2)), 3.5),
    ((None, np.array([1, 1, 4])), rng.normal(size=(4, 3, 3))),
    ((np.array([1, 3]), None, np.array([0, 2])), rng.normal(size=(2, 5))),
    ((None, np.array([[1, 3]]), np.array([[0], [2]])), rng.normal(size=(4, 2, 2))),
]


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_index_put_is_numpys_assignment(device: str) -> None:
    x = sn.placeholder(X.shape, "float64", "x")
    for (indices, values), adds in itertools.product(PUTS, (False, True)):
        key = tuple(slice(None) if i is None else i for i in indices)
        wanted = X.copy()
        if adds:
            np.add.at(wanted, key, values)
        else:
            wanted[key] = values
        y = sn.index_put(x, indices, values, accumulate=adds)
        np.testing.assert_array_equal(sn.function(x, y, device=device)(X), wanted, str(indices))
    masked = sn.index_put(x, (x > 0,), -1.0)
    np.testing.assert_array_equal(
        sn.function(x, masked, device=device)(X), np.minimum(X, 0) - (X > 0)
    )


def test_a_source_may_be_longer_than_the_index() -> None:
    x = sn.placeholder(X.shape, "float64")
    index = UNIQUE[:3, :2]
    both = [sn.scatter(x, 1, index, SRC), sn.scatter(x, 1, index, SRC[:3, :2])]
    first, second = sn.function(x, both, device="numpy")(X)
    np.testing.assert_array_equal(first, second)


def test_scatter_adds_and_multiplies() -> None:
    x = sn.placeholder(X.shape, "float64")
    both = [sn.scatter(x, 2, INDEX, SRC, reduce=how) for how in ("add", "multiply")]
    given = torch.tensor(X), 2, torch.tensor(INDEX), torch.tensor(SRC)
    for got, how in zip(sn.function(x, both, device="numpy")(X), ("sum", "prod"), strict=True):
        np.testing.assert_allclose(got, torch.scatter_reduce(*given, how).numpy(), 1e-12)


def test_of_equal_indices_the_last_sets_and_alone_has_a_derivative() -> None:
    x, u = sn.placeholder((3,), "float64"), sn.placeholder((4,), "float64")
    y = sn.scatter(x, 0, [1, 1, 0, 1], u)
    for device in ("numpy", "cpu"):
        f = sn.function([x, u], [y, *sn.grad(sn.sum(y * [2.0, 3, 5]), [x, u])], device=device)
        got = f(np.arange(3.0), np.array([7.0, 8, 9, 10]))
        for a, b in zip(got, ([9, 10, 2], [0, 0, 5], [0, 0, 2, 3]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_products_with_zeros_have_derivatives() -> None:
    x, u = np.array([2.0, 0.0, 3.0]), np.array([0.0, 4.0, 0.0, 5.0, 0.0])
    index = np.array([0, 0, 1, 1, 2])
    nodes = sn.placeholder((3,), "float64"), sn.placeholder((5,), "float64")
    y = sn.scatter_reduce(nodes[0], 0, index, nodes[1], "prod")
    got = sn.function(nodes, sn.grad(sn.sum(y), list(nodes)), device="numpy")(x, u)
    for a, b in zip(got, ([0, 0, 0], [8, 0, 0, 0, 3]), strict=True):
        np.testing.assert_array_equal(a, b)


DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "uint32", "int64", "bool"]


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_dtypes(device: str) -> None:
    outputs, wanted = list[Any](), list[Any]()
    base, new, index = np.array([0, 5, 2]), np.array([3, 1, 4]), np.array([0, 0, 1])
    for dtype in DTYPES:
        values, updates = sn.constant(base, dtype), sn.constant(new, dtype)
        outputs.append(sn.scatter(values, 0, index, updates))
        wanted.append(np.array([1, 4, 2]))
        for reduce, result in (("sum", [4, 9, 2]), ("prod", [0, 20, 2]), ("mean", [1, 4, 2]),
                               ("amax", [3, 5, 2]), ("amin", [0, 4, 2])):  # fmt: skip
            if dtype == "bool" or (reduce == "mean" and dtype[0] in "bf"):
                continue
            outputs.append(sn.scatter_reduce(values, 0, index, updates, reduce))
            wanted.append(np.array(result))
    for y, got, want in zip(
        outputs, sn.function([], outputs, device=device)(), wanted, strict=True
    ):
        assert got.dtype == y.dtype
        np.testing.assert_array_equal(
            got.astype("f8"), want.astype(bool) if y.dtype == bool else want
        )


def test_index_arrays_that_are_not_adjacent_come_first() -> None:
    x = rng.normal(size=(3, 4, 5, 2))
    i, j = np.array([0, 2, -1]), np.array([[1], [3]])
    keys: list[Any] = [
        (i, slice(None), i),
        (i, slice(1, 3), j),
        (slice(None), i, slice(None), [0, 1, 0]),
        (i, None, i),
        (i, ..., i % 2),
        (j % 3, slice(None, None, -1), i, 1),
    ]
    node = sn.placeholder(x.shape, "float64")
    for device in ("numpy", "cpu"):
        for key, got in zip(
            keys, sn.function(node, [node[key] for key in keys], device=device)(x), strict=True
        ):
            np.testing.assert_array_equal(got, x[key], str(key))


WRONG: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda x: sn.scatter(x, 0, np.zeros((9, 9), int), 1.0), ShapeError, "scatter: index"),
    (lambda x: sn.scatter(x, 5, [[0]], 1.0), ShapeError, "dim 5 is out of range"),
    (lambda x: sn.scatter(x, 0, [[0.5]], 1.0), DTypeError, "index must be an integer"),
    (lambda x: sn.scatter(x, 0, [[0]], 1.0, reduce="sum"), ArgumentError, "'add'"),
    (lambda x: sn.scatter_reduce(x, 0, [[0]], 1.0, "max"), ArgumentError, "'amax'"),
    (lambda x: sn.index_copy(x, 0, [0], np.ones(3)), ShapeError, "as many rows"),
    (lambda x: sn.index_put(x, 3, 1.0), ArgumentError, "a tuple of arrays"),
    (lambda x: sn.index_put(x, (x > 0,), x[0]), ArgumentError, "masked_scatter"),
    (lambda x: sn.masked_fill(x, x, 1.0), DTypeError, "a mask must be bool"),
]


@pytest.mark.parametrize(("act", "error", "message"), WRONG)
def test_errors(act: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act(sn.placeholder((3, 4), "float64"))


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_an_index_out_of_range_fails_the_run(device: str) -> None:
    x, i = sn.placeholder((3,), "float64"), sn.placeholder((2,), "int64")
    f = sn.function([x, i], sn.scatter(x, 0, i, 1.0), device=device)
    with pytest.raises(ExecutionError):
        f(np.ones(3), np.array([0, 3]))
