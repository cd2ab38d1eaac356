"""Jacobians, Hessians, `value_and_grad` and `linearize`, against PyTorch and definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerance import close

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, GradientError, OutOfRangeError, ShapeError
from staticnet.ir.tree import flatten

RNG = np.random.default_rng(5)
X, W, V = (RNG.normal(size=shape) for shape in [(2, 3), (3, 4), (4,)])


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


def tensors(torch: Any, *arrays: Any) -> list[Any]:
    return [torch.tensor(a) for a in arrays]


def hessian(torch: Any, f: Any, argnums: Any = 0) -> Any:
    """By reverse mode alone: PyTorch's forward mode warns of itself."""
    return torch.func.jacrev(torch.func.jacrev(f, argnums), argnums)


def net(xp: Any, x: Any, w: Any, v: Any) -> Any:
    return xp.tanh(xp.tanh(x @ w) * v)


def scalar(xp: Any, x: Any, w: Any, v: Any) -> Any:
    return xp.sum(net(xp, x, w, v) ** 2) * xp.exp(v[0])


def nodes() -> list[Any]:
    arrays = [X, W, V]
    return [sn.placeholder(a.shape, "float64", n) for a, n in zip(arrays, "xwv", strict=True)]


def run(build: Callable[..., Any]) -> Any:
    xs = nodes()
    tree = build(*xs)
    leaves, structure = flatten(tree)
    return structure.unflatten(sn.function(xs, leaves)(X, W, V))


def agree(got: Any, wanted: Any) -> None:
    mine, structure = flatten(got)
    theirs, other = flatten(wanted)
    assert structure == other
    for a, b in zip(mine, theirs, strict=True):
        close(a, np.asarray(b), 1e-11)


def test_jacobian(torch: Any) -> None:
    wanted = torch.func.jacrev(lambda *a: net(torch, *a), (0, 1, 2))(*tensors(torch, X, W, V))
    agree(run(lambda *xs: tuple(sn.jacobian(net(sn, *xs), xs))), wanted)
    agree(run(lambda *xs: sn.jacobian(net(sn, *xs), xs[1])), wanted[1])
    agree(run(lambda *xs: sn.jacobian(lambda *a: net(sn, *a), (0, 1, 2))(*xs)), wanted)
    agree(run(lambda *xs: sn.jacobian(lambda *a: net(sn, *a))(*xs)), wanted[0])
    agree(run(lambda *xs: sn.jacobian(lambda *a: net(sn, *a), argnums=2)(*xs)), wanted[2])


def test_jacobian_of_a_tree_by_a_tree(torch: Any) -> None:
    def f(xp: Any, x: Any, p: Any) -> Any:
        y = net(xp, x, p["w"], p["v"])
        return {"y": y, "sums": (xp.sum(y, 0), xp.sum(x))}

    x, w, v = tensors(torch, X, W, V)
    wanted = torch.func.jacrev(lambda *a: f(torch, *a), (0, 1))(x, {"w": w, "v": v})
    agree(
        run(lambda x, w, v: sn.jacobian(lambda *a: f(sn, *a), (0, 1))(x, {"w": w, "v": v})),
        wanted,
    )
    got = run(
        lambda x, w, v: sn.jacobian(
            f(sn, x, {"w": w, "v": v}), (x, {"w": w, "v": v}), allow_unused=True
        )
    )
    agree(got, wanted)


def test_the_fewer_of_rows_and_columns_are_computed() -> None:
    x = sn.placeholder((3,), "float64", "x")
    tall, wide = sn.constant(RNG.normal(size=(7, 3))), sn.constant(RNG.normal(size=(3, 2)))
    for y in (tall @ sn.tanh(x), sn.tanh(x) @ wide, sn.tanh(x)):
        graph = sn.Graph("g", [x], [sn.jacobian(y, x)])
        (batch,) = {n.shape[0] for n in graph.nodes if n.op.name == "matmul" and n.ndim > 1} or {3}
        assert batch == min(3, y.shape[0])


def test_a_while_loop_has_columns_alone() -> None:
    x = sn.placeholder((3,), "float64", "x")
    y = sn.while_loop(lambda c: sn.sum(c * c) < 100, lambda c: c * c[::-1] + 1, x)
    f = sn.function([x], [sn.jacobian(y[:2], x), sn.jacobian(y, x)], device="numpy")
    at, h = np.array([0.3, -0.5, 0.2]), 1e-6
    value = sn.function([x], y, device="numpy")
    rows = [(value(at + h * e) - value(at - h * e)) / (2 * h) for e in np.eye(3)]
    first, whole = f(at)
    np.testing.assert_allclose(whole, np.stack(rows, 1), rtol=1e-6)
    np.testing.assert_array_equal(first, whole[:2])
    with pytest.raises(GradientError, match="no reverse-mode derivative"):
        sn.hessian(sn.sum(y), x)


def test_symbolic_dims() -> None:
    x = sn.placeholder(("n",), "float64", "x")
    w = sn.placeholder((3, "n"), "float64", "w")
    y = sn.tanh(w @ x)
    f = sn.function([x, w], [sn.jacobian(y, x), sn.jacobian(x**2, x), sn.hessian(sn.sum(y), x)])
    for n in (0, 1, 4):
        a, b = RNG.normal(size=n), RNG.normal(size=(3, n))
        j, square, h = f(a, b)
        t = np.tanh(b @ a)
        close(j, (1 - t**2)[:, None] * b, 1e-12)
        close(square, np.diag(2 * a), 1e-12)
        close(h, np.einsum("i,ij,ik->jk", -2 * t * (1 - t**2), b, b), 1e-12)


def test_hessian(torch: Any) -> None:
    wanted = hessian(torch, lambda *a: scalar(torch, *a), (0, 1, 2))(*tensors(torch, X, W, V))
    agree(run(lambda *xs: tuple(sn.hessian(scalar(sn, *xs), xs))), wanted)
    agree(run(lambda *xs: sn.hessian(scalar(sn, *xs), xs[2])), wanted[2][2])
    agree(run(lambda *xs: sn.hessian(lambda *a: scalar(sn, *a), (0, 1, 2))(*xs)), wanted)
    agree(run(lambda *xs: sn.hessian(lambda v: scalar(sn, *xs[:2], v))(xs[2])), wanted[2][2])


def test_third_derivatives_and_vmaps(torch: Any) -> None:
    points = RNG.normal(size=(3, 4))
    x = sn.placeholder(points.shape, "float64", "x")
    third = sn.vmap(sn.jacobian(sn.hessian(lambda v: scalar(sn, X[0], W, v))))
    fixed = tensors(torch, X[0], W)
    oracle = torch.func.jacrev(hessian(torch, lambda v: scalar(torch, *fixed, v)))
    wanted = torch.func.vmap(oracle)(torch.tensor(points))
    close(sn.function([x], third(x))(points), wanted.numpy(), 1e-10)


def test_scalars_and_edges() -> None:
    x = sn.placeholder((), "float64", "x")
    y = x**3
    f = sn.function([x], [sn.jacobian(y, x), sn.hessian(y, x), sn.jacobian(sn.stack([y, x]), x)])
    first, second, column = f(np.float64(2))
    assert (first, second) == (12, 12)
    np.testing.assert_array_equal(column, [12, 1])
    z = sn.placeholder((3,), "float64", "z")
    by_none = sn.function([x, z], sn.jacobian(z * 2, [x, z], allow_unused=True))
    for got, wanted in zip(by_none(2.0, np.ones(3)), [np.zeros(3), 2 * np.eye(3)], strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(dtype: str) -> None:
    x = sn.placeholder((3,), dtype, "x")
    j, h = sn.jacobian(x * x, x), sn.hessian(sn.sum(x * x), x)
    assert (j.dtype, h.dtype) == (x.dtype, x.dtype)
    values = sn.function([x], [j, h])(np.ones(3, x.dtype))
    for value in values:
        np.testing.assert_array_equal(value.astype("float32"), 2 * np.eye(3))


def test_value_and_grad(torch: Any) -> None:
    oracle = torch.func.grad_and_value(lambda *a: scalar(torch, *a), (0, 2))
    wanted = oracle(*tensors(torch, X, W, V))[::-1]
    of_nodes = run(lambda x, w, v: sn.value_and_grad(scalar(sn, x, w, v), [x, v]))
    agree((of_nodes[0], tuple(of_nodes[1])), wanted)
    f = sn.value_and_grad(lambda *a: scalar(sn, *a), (0, 2))
    agree(run(lambda *xs: f(*xs)), wanted)
    named = sn.value_and_grad(lambda *a: scalar(sn, *a), argnums=2)
    agree(run(lambda *xs: named(*xs)), (wanted[0], wanted[1][1]))
    tree = sn.value_and_grad(lambda p, x: (scalar(sn, x, **p), (x, {"p": p})), has_aux=True)
    (value, more), gradients = run(lambda x, w, v: tree({"w": w, "v": v}, x))
    agree(value, wanted[0])
    agree(more, (X, {"p": {"w": W, "v": V}}))
    agree(gradients["v"], wanted[1][1])


def test_grad_of_a_function(torch: Any) -> None:
    wanted = torch.func.grad(lambda *a: scalar(torch, *a), (0, 2))(*tensors(torch, X, W, V))
    agree(run(lambda *xs: sn.grad(lambda *a: scalar(sn, *a), (0, 2))(*xs)), wanted)
    agree(run(lambda *xs: sn.grad(lambda *a: scalar(sn, *a), argnums=2)(*xs)), wanted[1])
    more = sn.grad(lambda x, w: (scalar(sn, x, w, V), {"w": w}), has_aux=True)
    agree(run(lambda x, w, v: more(x, w)), (wanted[0], {"w": W}))
    cube = sn.grad(sn.grad(lambda x: x**3))
    assert sn.function([], cube(sn.constant(2.0)))() == 12


def test_a_function_is_differentiated_by_its_argument_alone() -> None:
    x = sn.placeholder((), "float64", "x")
    _, g = sn.value_and_grad(lambda a: a * x)(x)
    assert sn.function([x], g)(np.float64(3)) == 3


def test_by_example(torch: Any) -> None:
    def loss(xp: Any, p: Any, x: Any) -> Any:
        return scalar(xp, x, *p)

    examples = RNG.normal(size=(4, 2, 3))
    oracle = torch.func.grad_and_value(lambda p, x: loss(torch, p, x))
    w, v, many = tensors(torch, W, V, examples)
    gradients, values = torch.func.vmap(oracle, (None, 0))((w, v), many)
    x = sn.placeholder(examples.shape, "float64", "x")
    f = sn.vmap(sn.value_and_grad(lambda p, x: loss(sn, p, x)), (None, 0))
    value, (dw, dv) = f((sn.constant(W), sn.constant(V)), x)
    got = sn.function([x], [value, dw, dv])(examples)
    agree((got[0], (got[1], got[2])), (values, gradients))


def test_linearize(torch: Any) -> None:
    ts = [RNG.normal(size=a.shape) for a in (X, W, V)]
    args = tensors(torch, X, W, V)
    value = net(torch, *args)
    jacobians = torch.func.jacrev(lambda *a: net(torch, *a), (0, 1, 2))(*args)
    pairs = zip(jacobians, tensors(torch, *ts), strict=True)
    wanted = sum(torch.tensordot(j, t, t.ndim) for j, t in pairs)

    def of_function(*xs: Any) -> Any:
        y, f = sn.linearize(lambda *a: net(sn, *a), *xs)
        return y, f(*ts), f(*(2 * t for t in ts))

    agree(run(of_function), (value, wanted, 2 * wanted))
    agree(run(lambda *xs: sn.linearize(net(sn, *xs), *xs)(*ts)), wanted)
    agree(run(lambda *xs: sn.linearize(net(sn, *xs), list(xs))(ts)), wanted)
    tree = run(lambda x, w, v: sn.linearize(lambda p: {"y": p["x"] @ p["w"]}, {"x": x, "w": w})[0])
    agree(tree, {"y": X @ W})


def test_tensors() -> None:
    x, w = sn.dynamic.tensor(V), sn.constant(W)
    f = sn.tanh
    slope = 1 - np.tanh(V) ** 2
    close(sn.jacobian(f)(x).numpy(), np.diag(slope), 1e-12)
    close(sn.hessian(lambda x: sn.sum(f(w @ x)))(x).numpy().T, np.einsum(
        "i,ij,ik->jk", -2 * np.tanh(W @ V) * (1 - np.tanh(W @ V) ** 2), W, W), 1e-11)  # fmt: skip
    value, g = sn.value_and_grad(lambda x: sn.sum(f(x)))(x)
    close(value.numpy(), np.tanh(V).sum(), 1e-12)
    close(g.numpy(), slope, 1e-12)
    _, push = sn.linearize(f, x)
    close(push(sn.dynamic.tensor(2 * V)).numpy(), 2 * V * slope, 1e-12)


def test_loops_on_tensors() -> None:
    rows = sn.constant(RNG.normal(size=(3, 4)))

    def f(x: Any) -> Any:
        last, ys = sn.scan(lambda c, r: (c * r, sn.sum(c)), x, rows, reverse=True)
        back = sn.scan(lambda c, _: (c, c * 2), x, length=0)[1]
        grown = sn.while_loop(lambda c: sn.sum(c * c) < 9, lambda c: c * 2, x, max_steps=4)
        return sn.sum(last) * ys[0] + sn.sum(grown) + sn.sum(back)

    x = sn.placeholder((4,), "float64", "x")
    wanted = sn.function([x], [sn.grad(f)(x), sn.hessian(f)(x)], device="numpy")(V)
    x = sn.dynamic.tensor(V)
    close(sn.grad(f)(x).numpy(), wanted[0], 1e-12)
    close(sn.hessian(f)(x).numpy(), wanted[1], 1e-12)
    _, push = sn.linearize(lambda x: sn.while_loop(lambda c: c[0] < 9, lambda c: c * c + 2, x), x)
    assert push(x).shape == (4,)


def test_derivatives_of_ones_own_on_tensors() -> None:
    kept = sn.checkpoint(lambda x: sn.sum(sn.tanh(x)))

    @sn.custom_vjp
    def doubled(x: Any) -> Any:
        return sn.sum(x)

    doubled.defvjp(lambda x: (sn.sum(x), x), lambda x, g: (2 * g * x,))

    @sn.custom_jvp
    def tripled(x: Any) -> Any:
        return sn.sum(x)

    tripled.defjvp(lambda primals, tangents: (tripled(*primals), sn.sum(tangents[0]) * 3))
    x = sn.dynamic.tensor(V, requires_grad=True)
    for f, slope in ((kept, 1 - np.tanh(V) ** 2), (doubled, 2 * V), (tripled, 0 * V + 3)):
        value, g = sn.value_and_grad(f)(x)
        close(g.numpy(), slope, 1e-12)
        close(sn.dynamic.grad(value, x)[0].numpy(), slope, 1e-12)


def test_bad_calls_say_what_and_where() -> None:
    x, w, v = nodes()
    y = net(sn, x, w, v)
    ints = sn.placeholder((3,), "int64", "ints")
    cases: list[tuple[Any, str, Callable[[], Any]]] = [
        (GradientError, "does not depend on x", lambda: sn.jacobian(w * 2, x)),
        (DTypeError, r"ints i64\[3\].*no\s*derivative", lambda: sn.jacobian(y, ints)),
        (DTypeError, "ints", lambda: sn.jacobian(lambda i: i)(ints)),
        (GradientError, "expected graph nodes", lambda: sn.jacobian(y, 3)),
        (GradientError, "expected graph nodes", lambda: sn.jacobian(3, x)),
        (GradientError, "expected graph nodes", lambda: sn.jacobian(y, [])),
        (GradientError, "jacobian: by what", lambda: sn.jacobian(y)),
        (GradientError, "hessian: by what", lambda: sn.hessian(sn.sum(y))),
        (OutOfRangeError, "argnums names argument 1", lambda: sn.jacobian(sn.tanh, 1)(x)),
        (ShapeError, "must be a scalar", lambda: sn.hessian(y, x)),
        (ShapeError, "must be a scalar", lambda: sn.hessian(lambda x: x)(x)),
        (ShapeError, "one scalar", lambda: sn.hessian(lambda x: (x, x))(x)),
        (ShapeError, "must be a scalar", lambda: sn.value_and_grad(y, [x])),
        (ShapeError, "must be a scalar", lambda: sn.value_and_grad(lambda x: x)(x)),
        (ArgumentError, "has_aux", lambda: sn.value_and_grad(lambda x: (x, x))(x)),
        (ArgumentError, "has_aux", lambda: sn.grad(lambda x: [x])(x)),
        (GradientError, "grad: by what", lambda: sn.grad(sn.sum(y))),
        (ArgumentError, "has_aux", lambda: sn.value_and_grad(lambda x: x, has_aux=True)(x)),
        (ArgumentError, "needs primals", lambda: sn.linearize(y)),
        (ShapeError, r"tangent of x f64\[2,3\].*f64\[3,4\]", lambda: sn.linearize(y, x)(w)),
        (DTypeError, "tangent of x", lambda: sn.linearize(y, x)(sn.zeros((2, 3)))),
        (ArgumentError, "takes 1 tangents, not 2", lambda: sn.linearize(y, x)(x, x)),
    ]
    for kind, words, call in cases:
        with pytest.raises(kind, match=words) as caught:
            call()
        assert "test_derivatives.py:" in str(caught.value), caught.value
