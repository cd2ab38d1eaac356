"""Derivatives of `sn.linalg`: beside JAX's, on the tape, in loops, where bases are arbitrary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn

L = sn.linalg
RNG = np.random.default_rng(8)
DEVICES = ["numpy", "cpu", "dynamic"]
Build = Callable[..., Any]


def square(*shape: int) -> Any:
    """Matrices far from singular."""
    return RNG.normal(size=shape) + 2 * np.eye(shape[-1])


def definite(*shape: int) -> Any:
    x = RNG.normal(size=shape)
    return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])


SMOOTH: dict[str, tuple[Build, Build, Callable[..., Any]]] = {
    "inv": (L.inv, lambda j, x: j.linalg.inv(x), lambda: [square(2, 3, 3)]),
    "det": (L.det, lambda j, x: j.linalg.det(x), lambda: [square(2, 3, 3)]),
    "slogdet": (
        lambda x: L.slogdet(x).logabsdet,
        lambda j, x: j.linalg.slogdet(x)[1],
        lambda: [square(2, 3, 3)],
    ),
    "solve": (
        L.solve,
        lambda j, a, b: j.linalg.solve(j.broadcast_to(a, (2, 3, 3)), b),
        lambda: [square(3, 3), RNG.normal(size=(2, 3, 2))],
    ),
    "cholesky": (L.cholesky, lambda j, x: j.linalg.cholesky(x), lambda: [definite(2, 3, 3)]),
    "qr": (
        lambda x: sn.matmul(L.qr(x).Q, L.qr(x).R * np.arange(1.0, 10).reshape(3, 3)),
        lambda j, x: j.linalg.qr(x)[0] @ (j.linalg.qr(x)[1] * np.arange(1.0, 10).reshape(3, 3)),
        lambda: [RNG.normal(size=(4, 3))],
    ),
    "eigh": (
        lambda x: (lambda w, v: v * v * sn.exp(w)[..., None, :])(*L.eigh(x)),
        lambda j, x: (lambda w, v: v * v * j.exp(w)[..., None, :])(*j.linalg.eigh(x)),
        lambda: [definite(2, 3, 3)],
    ),
    "svd": (
        lambda x: (lambda u, s, v: u * s * v[:, :3].T)(*L.svd(x, full_matrices=False)),
        lambda j, x: (lambda u, s, v: u * s * v[:, :3].T)(*j.linalg.svd(x, full_matrices=False)),
        lambda: [RNG.normal(size=(3, 5))],
    ),
    "pinv": (L.pinv, lambda j, x: j.linalg.pinv(x), lambda: [RNG.normal(size=(4, 2))]),
    "nuclear": (
        lambda x: L.matrix_norm(x, ord="nuc"),
        lambda j, x: j.linalg.norm(x, "nuc", (-2, -1)),
        lambda: [RNG.normal(size=(2, 3, 2))],
    ),
    "vector": (
        lambda x: L.vector_norm(x, axis=0, ord=3),
        lambda j, x: j.linalg.norm(x, 3, 0),
        lambda: [RNG.normal(size=(4, 2))],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_two_orders_beside_jax(name: str) -> None:
    jax = pytest.importorskip("jax", reason="JAX is the oracle")
    ours, theirs, make = SMOOTH[name]
    args = make()
    with jax.enable_x64(True):
        c = RNG.normal(size=np.shape(theirs(jax.numpy, *args)))
        ds = [RNG.normal(size=a.shape) for a in args]
        places = tuple(range(len(args)))

        def loss(*xs: Any) -> Any:
            return jax.numpy.sum(theirs(jax.numpy, *xs) * c)

        def slope(*xs: Any) -> Any:
            grads = jax.grad(loss, places)(*xs)
            return sum(jax.numpy.sum(g * d) for g, d in zip(grads, ds, strict=True))

        first, second = jax.grad(loss, places)(*args), jax.grad(slope, places)(*args)
        moved = jax.jvp(lambda *xs: theirs(jax.numpy, *xs), args, ds)[1]
        wanted = [np.asarray(x) for x in (*first, *second, moved)]
    for device in DEVICES:
        for got, want in zip(_derivatives(device, ours, args, c, ds), wanted, strict=False):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def _derivatives(device: str, f: Build, args: list[Any], c: Any, ds: list[Any]) -> list[Any]:
    """Gradients, gradients of a sum of these, and (of graphs) a tangent."""
    if device == "dynamic":
        xs = [sn.dynamic.tensor(a, requires_grad=True) for a in args]
        grads = sn.dynamic.grad(sn.sum(f(*xs) * c), xs, create_graph=True)
        slope = sum((sn.sum(g * d) for g, d in zip(grads, ds, strict=True)), sn.constant(0.0))
        return [g.numpy() for g in (*grads, *sn.dynamic.grad(slope, xs))]
    xs = [sn.placeholder(a.shape, a.dtype) for a in args]
    y = f(*xs)
    grads = sn.grad(sn.sum(y * c), xs)
    slope = sum(
        (sn.sum(g * sn.constant(d)) for g, d in zip(grads, ds, strict=True)),
        sn.constant(0.0, "float64"),
    )
    moved = sn.jvp(y, xs, [sn.constant(d) for d in ds])
    return list(sn.function(xs, [*grads, *sn.grad(slope, xs), *moved], device=device)(*args))


@pytest.mark.parametrize("name", SMOOTH)
def test_the_tape_has_the_graphs_derivatives(name: str) -> None:
    ours, _, make = SMOOTH[name]
    args = make()
    xs = [sn.placeholder(a.shape, a.dtype) for a in args]
    c = RNG.normal(size=ours(*xs).shape)
    ds = [RNG.normal(size=a.shape) for a in args]
    graph, tape = (_derivatives(device, ours, args, c, ds) for device in ("numpy", "dynamic"))
    for got, want in zip(tape, graph, strict=False):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_inside_of_loops_choices_and_vmap(device: str) -> None:
    a, b = sn.placeholder((4, 3, 3), "float64"), sn.placeholder((3,), "float64")
    last, traces = sn.scan(lambda x, m: (L.solve(m, x), L.eigvalsh(m)[0]), b, a)
    chosen = sn.cond(sn.sum(b) > 0, L.inv, lambda m: m, a)
    many = sn.vmap(lambda m: L.slogdet(m).logabsdet)(a)
    grads = sn.grad(sn.sum(last) + sn.sum(traces), [a, b])
    matrices, start = definite(4, 3, 3), np.array([1.0, 2.0, -1.0])
    step = sn.function([a, b], [last, traces, chosen, many, *grads], device=device)
    got = step(matrices, start)
    want = start
    for m in matrices:
        want = np.linalg.solve(m, want)
    np.testing.assert_allclose(got[0], want, rtol=1e-10)
    np.testing.assert_allclose(got[1], np.linalg.eigvalsh(matrices)[:, 0], rtol=1e-10)
    np.testing.assert_allclose(got[2], np.linalg.inv(matrices), rtol=1e-10)
    np.testing.assert_allclose(got[3], np.linalg.slogdet(matrices)[1], rtol=1e-10)
    h, direction = 1e-6, RNG.normal(size=(4, 3, 3))
    ends = [step(matrices + k * h * direction, start) for k in (1, -1)]
    slope = sum(k * (np.sum(x[0]) + np.sum(x[1])) for k, x in zip((1, -1), ends, strict=True))
    np.testing.assert_allclose(np.sum(got[4] * direction), slope / (2 * h), rtol=1e-6)
    with pytest.raises(L.LinAlgError, match="singular"):
        step(matrices * np.array([1, 1, 0, 1]).reshape(4, 1, 1), start)


def test_the_determinant_of_a_singular_matrix_has_a_derivative() -> None:
    """Its cofactors, of any rank."""
    for x in (
        np.array([[1.0, 2.0], [2.0, 4.0]]),
        np.zeros((2, 2)),
        np.array([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]),
        np.diag([0.0, 3.0, 0.0]),
        np.array([[0.0, 1, 0], [0, 0, 1], [0, 0, 0]]),
        np.arange(9.0).reshape(3, 3),
    ):
        n = len(x)
        cofactors = np.empty_like(x)
        for i in range(n):
            for j in range(n):
                minor = np.delete(np.delete(x, i, 0), j, 1)
                cofactors[i, j] = (-1) ** (i + j) * np.linalg.det(minor)
        for dtype in ("float32", "float64"):
            y = sn.placeholder(x.shape, dtype)
            (grad,) = sn.function([y], sn.grad(L.det(y), [y]))(x.astype(dtype))
            np.testing.assert_allclose(grad, cofactors, rtol=1e-4, atol=1e-4)


def test_equal_eigenvalues_have_the_derivatives_that_are_defined() -> None:
    """A function that does not depend on the basis: x squared, by its eigenvalues."""
    x = sn.placeholder((3, 3), "float64")
    w, v = L.eigh(x)
    y = sn.matmul(v * (w * w)[None, :], v.T)
    c = RNG.normal(size=(3, 3))
    (grad,) = sn.function([x], sn.grad(sn.sum(y * (c + c.T)), [x]))(np.eye(3) * 2.0)
    want = 2.0 * 2 * (c + c.T)  # of tr(C x x): C x + x C
    np.testing.assert_allclose(np.diag(grad), np.diag(want), rtol=1e-12)
    assert np.isfinite(grad).all()


def test_norms_of_nothing_have_derivative_0() -> None:
    x = sn.placeholder((2, 3), "float64")
    total = sn.sum(L.vector_norm(x, axis=1)) + L.matrix_norm(x) + L.vector_norm(x, ord=3)
    (grad,) = sn.function([x], sn.grad(total, [x]))(np.zeros((2, 3)))
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))


def test_what_is_left_of_a_space_turns_against_it() -> None:
    """The projection on a full basis' last vectors is one less that on the first."""
    x = sn.placeholder((4, 2), "float64")
    weights = RNG.normal(size=(4, 4))

    def projection(v: Any) -> Any:
        return sn.sum(sn.matmul(v, v.T) * weights)

    q, u, v = L.qr(x, mode="complete").Q, L.svd(x).U, L.svd(x.T).Vh.T
    pairs = [(q[:, 2:], q[:, :2]), (u[:, 2:], u[:, :2]), (v[:, 2:], v[:, :2])]
    grads = [sn.grad(projection(y), [x])[0] for pair in pairs for y in pair]
    got = sn.function([x], grads)(RNG.normal(size=(4, 2)))
    for last, first in zip(got[::2], got[1::2], strict=True):
        np.testing.assert_allclose(last, -first, rtol=1e-9, atol=1e-9)
        assert np.abs(first).max() > 0.01
