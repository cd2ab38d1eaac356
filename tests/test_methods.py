"""Methods of values, len, and NumPy's own functions given them: as in NumPy, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, MissingNameError, ShapeError, SymbolicValueError
from staticnet.ir.hints import METHODS as METHOD_HINTS
from staticnet.ir.hints import NAMES
from staticnet.ir.value import FUNCTIONS, Value, is_elsewhere
from staticnet.ops import methods
from staticnet.ops.numpy_protocol import NAMES_HERE, UFUNCS

Call = Callable[[Any], Any]
X = np.array([[0.25, -1.5, 2.75], [3.5, 0.75, -0.5]])
BOTH: dict[str, Call] = {
    "all": lambda x: (x > -2).all(axis=1),
    "any": lambda x: (x > 3).any(),
    "argmax": lambda x: x.argmax(axis=1),
    "argmin": lambda x: x.argmin(),
    "argsort": lambda x: x.argsort(axis=0),
    "clip": lambda x: x.clip(-1, 1),
    "conj": lambda x: x.conj(),
    "cumprod": lambda x: x.cumprod(axis=1),
    "cumsum": lambda x: x.cumsum(axis=0),
    "diagonal": lambda x: x.diagonal(1),
    "dot": lambda x: x.dot(x.T),
    "trace": lambda x: x.trace(),
    "flatten": lambda x: x.flatten(),
    "max": lambda x: x.max(axis=1),
    "mean": lambda x: x.mean(axis=0, keepdims=True),
    "min": lambda x: x.min(),
    "prod": lambda x: x.prod(axis=1),
    "ravel": lambda x: x.ravel(),
    "reshape": lambda x: x.reshape(3, -1),
    "reshape to a tuple": lambda x: x.reshape((1, 6)),
    "round": lambda x: x.round(),
    "squeeze": lambda x: x.reshape(2, 1, 3).squeeze(axis=1),
    "std": lambda x: x.std(axis=1),
    "sum": lambda x: x.sum(axis=1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "transpose": lambda x: x.transpose(),
    "transpose to": lambda x: x.transpose(1, 0),
    "transpose of 3": lambda x: x.reshape(1, 2, 3).transpose(2, 0, 1),
    "var": lambda x: x.var(),
    "T": lambda x: x.T,
    "T of a vector": lambda x: x[0].T,
    "mT": lambda x: x.reshape(1, 2, 3).mT,
}
ARRAYS: dict[str, Call] = {
    "amax": lambda x: np.amax(x, 0),
    "argmax": lambda x: np.argmax(x, axis=1),
    "clip": lambda x: np.clip(x, -1, 1),
    "clip by names": lambda x: np.clip(x, a_min=None, a_max=1),
    "concatenate": lambda x: np.concatenate([x, x], axis=1),
    "cumsum": lambda x: np.cumsum(x),
    "diff": lambda x: np.diff(x, 1, axis=0),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "flip": lambda x: np.flip(x, 1),
    "full_like": lambda x: np.full_like(x, 2),
    "max": lambda x: np.max(x, axis=1, keepdims=True),
    "mean": lambda x: np.mean(x, 0),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "ndim": lambda x: np.ndim(x),
    "outer": lambda x: np.outer(x[0], x[1]),
    "pad": lambda x: np.pad(x, [(1, 0), (0, 2)]),
    "prod": lambda x: np.prod(x, axis=(0, 1)),
    "repeat": lambda x: np.repeat(x, 2, axis=0),
    "reshape": lambda x: np.reshape(x, (3, 2)),
    "roll": lambda x: np.roll(x, 1, axis=1),
    "shape": lambda x: np.shape(x),
    "sort": lambda x: np.sort(x, axis=0),
    "squeeze": lambda x: np.squeeze(x[:1], 0),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "std": lambda x: np.std(x, axis=0, ddof=1),
    "sum": lambda x: np.sum(x, axis=0, keepdims=True),
    "take": lambda x: np.take(x, [1, 0], axis=0),
    "tensordot": lambda x: np.tensordot(x, x.T, 1),
    "tile": lambda x: np.tile(x, (2, 1)),
    "transpose": lambda x: np.transpose(x),
    "transpose to": lambda x: np.transpose(x, (1, 0)),
    "tril": lambda x: np.tril(x, -1),
    "var": lambda x: np.var(x),
    "where": lambda x: np.where(x > 0, x, 0),
    "zeros_like": lambda x: np.zeros_like(x),
}
OPERATORS: dict[str, Call] = {
    "add": lambda x: X + x,
    "scalar": lambda x: np.float64(2) * x,
    "matmul": lambda x: X.T @ x,
    "divide": lambda x: X / x,
    "less": lambda x: np.less(X, x),
    "greater": lambda x: X.__gt__(x),
    "power": lambda x: np.abs(X) ** x,
    "remainder": lambda x: X % x,
}


def compute(device: str, f: Call, x: np.ndarray[Any, Any]) -> Any:
    if device == "dynamic":
        found = f(sn.dynamic.tensor(x))
        return found.numpy() if isinstance(found, Value) else found
    node = sn.placeholder(x.shape, x.dtype, "x")
    found = f(node)
    return sn.function([node], found, device="numpy")(x) if isinstance(found, Value) else found


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
@pytest.mark.parametrize("table", [BOTH, ARRAYS, OPERATORS])
def test_values_are_numpys(table: dict[str, Call], device: str) -> None:
    for name, f in table.items():
        np.testing.assert_allclose(compute(device, f, X), f(X), 1e-14, err_msg=name)


def test_pytorch_has_these_methods() -> None:
    torch = pytest.importorskip("torch")
    named = {name.split()[0] for name in BOTH} | {"astype", "matmul"}
    assert named >= {f.__name__ for f in methods.METHODS}
    assert [name for name in named if not hasattr(torch.Tensor, name)] == ["astype"]
    assert [name for name in named if not hasattr(np.ndarray, name)] == ["matmul"]
    x = sn.placeholder((2, 3, 4), name="x")
    assert x.transpose(1, 2).shape == tuple(torch.zeros(2, 3, 4).transpose(1, 2).shape)
    assert x.matmul(np.ones((4, 1), "f")).shape == (2, 3, 1)
    assert x.astype("int32").dtype == np.int32


def test_declared_methods_are_there() -> None:
    declared = {name for name, kind in Value.__annotations__.items() if kind == "Method"}
    made = {f.__name__ for f in methods.METHODS}
    made |= {"cumprod", "cumsum", "ravel", "reshape", "transpose"}
    assert declared == made
    assert all(callable(getattr(Value, name)) for name in declared)


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
def test_ufuncs(device: str) -> None:
    """All of NumPy's that have a function here, by the name it has there."""
    names = [
        name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)
        and UFUNCS.get(name, name) in FUNCTIONS and getattr(np, name).__name__ == name
    ]  # fmt: skip
    assert len(names) > 60
    with np.errstate(all="ignore"):
        for name in names:
            ufunc = getattr(np, name)
            x = np.array([[0.25, 0.5], [0.75, 0.9]]) + (name == "arccosh")
            if "->" in ufunc.types[0] and not any("d" in t.split("->")[0] for t in ufunc.types):
                x = np.array([[1, 2], [3, 0]])
            if ufunc.signature is None or ufunc.nin == 2:
                args = (x,) * (ufunc.nin - 1)
                f = lambda v, args=args, ufunc=ufunc: ufunc(*args, v)  # noqa: E731
                np.testing.assert_allclose(compute(device, f, x), f(x), 1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.add.reduce(x), r"numpy.add.reduce: does not take x .*use sn.sum"),
        (lambda x: np.add(x, 1, out=np.ones((2, 3))), r"numpy.add: takes no out= .*sn.add"),
        (lambda x: np.sqrt(x, dtype="f8"), r"numpy.sqrt: takes no dtype= .*sn.sqrt"),
        (lambda x: np.modf(x), r"numpy.modf: does not take x f64\[2,3\] .*test_methods"),
        (lambda x: np.vstack([x, x]), r"numpy.vstack: does not take x"),
        (lambda x: np.linalg.matrix_power(x, 2), r"numpy.linalg.matrix_power: does not take x"),
        (lambda x: np.split(x, [1]), r"numpy.split: .*use sn.split"),
        (lambda x: np.sum(x, where=X > 0), r"sum: there is no argument 'where'"),
        (lambda x: np.asarray(x), r"numpy.asarray: x: .*sn.function"),
        (lambda x: np.array([x, x], dtype=object), r"numpy.asarray: x: "),
        (lambda x: len(x[0, 0]), r"len: .*has no axes"),
        (lambda x: list(x[0, 0]), r"unstack: .*axis 0"),
        (lambda x: x.numpy(), r"no 'numpy'; .*no value until sn.function runs"),
        (lambda x: x.item(), r"no 'item'; .*no value until sn.function runs"),
        (lambda x: x.transpose(0, 1), r"transpose: \(0, 1\) leaves a matrix .*take x.T"),
        (lambda x: x.reshape(1, 2, 3).T, r"T: .*3 axes .*x.mT"),
        (lambda x: x.dot(x), r"dot: lengths differ: 3 and 2"),
        (lambda x: x.mean(dim=0), r"mean: there is no argument 'dim'; it is called axis"),
        (lambda x: x.std(ddof=1), r"std: there is no argument 'ddof'"),
        (lambda x: x.reshape(2, order="F"), r"reshape: there is no argument 'order'"),
        (lambda x: x.reshape(4, 4), r"reshape: 6 elements do not fit"),
        (lambda x: x.sort(), r"no 'sort'; use sn.sort"),
        (lambda x: x.repeat(2), r"no 'repeat'; use sn.repeat"),
        (lambda x: x.copy(), r"no 'copy'; leave it out"),
    ],
)
def test_what_is_refused(f: Call, message: str) -> None:
    kinds = (ArgumentError, MissingNameError, ShapeError, SymbolicValueError)
    with pytest.raises(kinds, match=message):
        f(sn.placeholder((2, 3), "float64", "x"))


def test_pythons_own_functions() -> None:
    t = sn.dynamic.tensor(X)
    for found in (divmod(t, 0.5), np.divmod(t, 0.5)):
        for a, b in zip(found, divmod(X, 0.5), strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
    np.testing.assert_array_equal(divmod(2.0, t)[0].numpy(), divmod(2.0, X)[0])
    np.testing.assert_array_equal(round(t).numpy(), np.rint(X))
    assert 2.75 in t
    assert 2 not in t
    with pytest.raises(SymbolicValueError, match=r"bool: any\(.*: bool\[\]"):
        1 in sn.placeholder((2,))  # noqa: B015


def test_functions_are_told_where_they_are() -> None:
    x = sn.placeholder((2, 2))
    with pytest.raises(MissingNameError, match=r"no 'inv'; use sn\.linalg\.inv\(x\)"):
        x.inv()
    with pytest.raises(MissingNameError, match=r"no 'softmax'; use sn\.nn\.softmax\(x\)"):
        x.softmax()
    with pytest.raises(SymbolicValueError, match=r"numpy\.linalg\.inv: .*use sn\.linalg\.inv$"):
        np.linalg.inv(x)
    with pytest.raises(MissingNameError, match=r"it is sn\.linalg\.inv"):
        sn.inv  # noqa: B018


def test_the_dtype_of_a_mean() -> None:
    x = np.array([2**24, 1, 1], "f")
    assert sn.dynamic.tensor(x).mean(dtype="float64").item() == x.mean(dtype="f8")
    assert sn.mean(sn.placeholder((3,), "int32"), dtype="float64").dtype == np.float64


def test_lengths() -> None:
    assert len(sn.placeholder((2, 3))) == 2
    assert len(sn.dynamic.tensor(X)) == 2
    with pytest.raises(SymbolicValueError, match=r"len, of the dimension n: .*x.shape\[0\] is n"):
        len(sn.placeholder(("n", 3)))


def test_tensors_go_to_other_functions_as_arrays() -> None:
    t = sn.dynamic.tensor(X)
    assert np.array_equal(t, t)
    np.testing.assert_array_equal(np.vstack([t, t]), np.vstack([X, X]))
    np.testing.assert_allclose(np.linalg.norm(t), np.linalg.norm(X))


def test_numpys_functions_are_on_the_tape() -> None:
    t = sn.dynamic.tensor(X, requires_grad=True)
    np.sum(np.sin(t) * X).backward()
    np.testing.assert_allclose(t.grad.numpy(), np.cos(X) * X)


def test_cupy_leaves_operators_to_values() -> None:
    """CuPy reads the attribute of a value, NumPy of its class; None says to leave it."""
    x = sn.placeholder((2,))
    assert x.__array_ufunc__ is None
    assert type(x).__array_ufunc__ is not None


def test_a_variable_has_them_too() -> None:
    w = sn.variable(X, "w")
    np.testing.assert_allclose(sn.function([], w.mean() + np.sin(w).sum(), device="numpy")(),
                               X.mean() + np.sin(X).sum())  # fmt: skip


def test_names_of_numpy_exist() -> None:
    assert all(callable(f) for f in NAMES_HERE)


def test_no_hint_shadows_a_name() -> None:
    assert not set(NAMES) & set(sn.__all__)
    assert not {name for name in METHOD_HINTS if not is_elsewhere(Value, name)} & set(NAMES) - {
        "transpose", "cumsum", "cumprod"
    }  # fmt: skip


def test_the_first_axis_is_walked() -> None:
    """As NumPy, PyTorch and JAX walk it: `a, b = x`, and sums over rows."""
    x = sn.placeholder((2, 3), "float64", name="walked")
    a, b = x
    f = sn.function([x], [a - b, sum(x), [2 * row for row in x][1]], device="cpu")
    for got, wanted in zip(f(X[:2, :3]), (X[0] - X[1], X[0] + X[1], 2 * X[1]), strict=True):
        np.testing.assert_allclose(got, wanted[:3])
    with pytest.raises(sn.errors.ShapeError, match="unstack: axis 0 has length rows"):
        list(sn.placeholder((sn.Dim("rows"), 3), name="walked_rows"))
