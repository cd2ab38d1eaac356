"""`custom_vjp`, `custom_jvp` and `checkpoint`: rules, their structures, nesting; beside JAX."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import CompileError, GradientError

COMPILES = True
DEVICES = ("numpy", "cpu")
X, Y = np.array([0.3, -1.2, 2.0]), np.array([1.5, 0.5, -0.7])


def doubled(module: Any, custom: Any, factor: float = 2) -> Any:
    """sin(x) * y, whose derivative by x is twice what it is: so that the rule shows."""
    f = custom(lambda x, y: module.sin(x) * y)
    f.defvjp(
        lambda x, y: (module.sin(x) * y, (module.cos(x), module.sin(x), y)),
        lambda kept, g: (factor * kept[0] * g * kept[2], kept[1] * g),
    )
    return f


def doubled_forward(module: Any, custom: Any, factor: float = 2) -> Any:
    f = custom(lambda x, y: module.sin(x) * y)

    def rule(primals: Any, tangents: Any) -> Any:
        (x, y), (dx, dy) = primals, tangents
        return f(x, y), factor * module.cos(x) * dx * y + module.sin(x) * dy

    f.defjvp(rule)
    return f


def programs(f: Any, module: Any, grad: Any, scan: Any, vmap: Any) -> dict[str, Any]:
    """Functions of (x, y), by name, with f in them."""

    def in_scan(x: Any, y: Any) -> Any:
        last, ys = scan(lambda c, u: (f(c, u), f(u, c)), x[0], y)
        return last + module.sum(ys)

    return {
        "plain": lambda x, y: module.sum(f(x, y) * y),
        "twice": lambda x, y: module.sum(f(f(x, y), x)),
        "grad": lambda x, y: module.sum(grad(lambda x: module.sum(f(x, y)))(x) * y),
        "scan": in_scan,
        "vmap": lambda x, y: module.sum(vmap(f)(x, y) * x),
        "vmap of one": lambda x, y: module.sum(vmap(lambda x: f(x, y[0]))(x)),
        "vmap of grad": lambda x, y: module.sum(vmap(grad(f))(x, y) * y),
    }


def jax_values(kind: str, name: str, order: int) -> list[Any]:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    make = {"vjp": doubled, "jvp": doubled_forward}[kind]
    with jax.enable_x64(True):
        f = make(jnp, {"vjp": jax.custom_vjp, "jvp": jax.custom_jvp}[kind], 2 / order)
        program = programs(f, jnp, jax.grad, jax.lax.scan, jax.vmap)[name]
        found = [program(X, Y)]
        if order:
            first = jax.grad(program, (0, 1))
            found += first(X, Y)
        if order > 1:
            second = jax.grad(lambda x, y: jnp.sum(first(x, y)[0] * x), (0, 1))
            found += second(X, Y)
        return [np.asarray(x) for x in found]


def grad_of(f: Any) -> Any:
    """JAX's grad by the first argument, of functions of nodes."""
    return lambda x, *rest: sn.grad(f(x, *rest), x, allow_unused=True)[0]


def own_values(kind: str, name: str, order: int, device: str) -> list[Any]:
    make = {"vjp": doubled, "jvp": doubled_forward}[kind]
    f = make(sn, {"vjp": sn.custom_vjp, "jvp": sn.custom_jvp}[kind], 2 / order)
    x, y = sn.placeholder((3,), "float64", "x"), sn.placeholder((3,), "float64", "y")
    made: list[Any] = [programs(f, sn, grad_of, sn.scan, sn.vmap)[name](x, y)]
    if order:
        made += sn.grad(made[0], [x, y])
    if order > 1:
        made += sn.grad(sn.sum(made[1] * x), [x, y], allow_unused=True)
    g = sn.function([x, y], made, device=device)
    assert sn.parse(str(g.graph)) is g.graph
    return list(g(X, Y))


NAMES = ["plain", "twice", "grad", "scan", "vmap", "vmap of one", "vmap of grad"]


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", ["vjp", "jvp"])
@pytest.mark.parametrize("name", NAMES)
def test_beside_jax(name: str, kind: str, order: int) -> None:
    """Second derivatives of right rules: of others it is the question whose they are."""
    made, wanted = own_values(kind, name, order, "numpy"), jax_values(kind, name, order)
    for got, want in zip(made, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
@pytest.mark.parametrize("name", NAMES)
def test_right_rules_give_what_no_rules_give(name: str, kind: str) -> None:
    x, y = sn.placeholder((3,), "float64", "x"), sn.placeholder((3,), "float64", "y")
    plain = programs(lambda x, y: sn.sin(x) * y, sn, grad_of, sn.scan, sn.vmap)
    made: list[Any] = [plain[name](x, y)]
    made += sn.grad(made[0], [x, y])
    made += sn.grad(sn.sum(made[1] * x), [x, y], allow_unused=True)
    wanted = sn.function([x, y], made, device="numpy")(X, Y)
    for got, want in zip(own_values(kind, name, 2, "numpy"), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
@pytest.mark.parametrize("name", ["scan", "vmap of grad"])
def test_compiled(kind: str, name: str) -> None:
    for got, wanted in zip(
        own_values(kind, name, 1, "cpu"), own_values(kind, name, 1, "numpy"), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
def test_forward_mode(kind: str) -> None:
    """JAX refuses it of a custom_vjp; here bwd is transposed."""
    make = {"vjp": doubled, "jvp": doubled_forward}[kind]
    f = make(sn, {"vjp": sn.custom_vjp, "jvp": sn.custom_jvp}[kind])
    x, y = sn.placeholder((3,), "float64", "x"), sn.placeholder((3,), "float64", "y")
    (t,) = sn.jvp([f(x, y)], [x], [y])
    got = sn.function([x, y], t, device="numpy")(X, Y)
    np.testing.assert_allclose(got, 2 * np.cos(X) * Y * Y, rtol=1e-12)


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
def test_on_the_tape(kind: str) -> None:
    make = {"vjp": doubled, "jvp": doubled_forward}[kind]
    f = make(sn, {"vjp": sn.custom_vjp, "jvp": sn.custom_jvp}[kind])
    x = sn.dynamic.tensor(X, requires_grad=True)
    y = sn.dynamic.tensor(Y, requires_grad=True)
    sn.sum(f(x, y) * y).backward(create_graph=True)  # type: ignore[attr-defined]
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.cos(X) * Y * Y, rtol=1e-12)
    np.testing.assert_allclose(y.grad.numpy(), 2 * np.sin(X) * Y, rtol=1e-12)
    first, x.grad = x.grad, None
    sn.sum(first).backward()  # type: ignore[attr-defined]
    np.testing.assert_allclose(x.grad.numpy(), -2 * np.sin(X) * Y * Y)


def test_trees_static_arguments_and_none() -> None:
    @functools.partial(sn.custom_vjp, nondiff_argnums=(1, 3))
    def f(p: Any, power: int, n: Any, name: str = "w") -> Any:
        return {"y": p[name] ** power, "n": n + 1, "b": p["b"] * 3}

    def fwd(p: Any, power: int, n: Any, name: str) -> Any:
        assert (power, name) == (3, "w")
        return f(p, power, n, name), (p["w"], None)

    def bwd(power: int, name: str, kept: Any, g: Any) -> Any:
        assert (power, name) == (3, "w")
        return {"w": 10 * power * kept[0] ** 2 * g["y"], "b": None}, None

    f.defvjp(fwd, bwd)
    w, b = sn.placeholder((2,), "float64", "w"), sn.placeholder((2,), "float64", "b")
    n = sn.placeholder((2,), "int64", "n")
    out = f({"w": w, "b": b}, 3, n)
    again = f(n=n, p={"w": w, "b": b}, power=3)
    assert out["y"] is again["y"]
    loss = sn.sum(out["y"]) + sn.sum(out["b"]) + sn.sum(b)
    step = sn.function([w, b, n], [loss, out["n"], *sn.grad(loss, [w, b])], device="numpy")
    got = step(np.array([1.0, 2]), np.array([3.0, 4]), np.array([5, 6]))
    np.testing.assert_allclose(got[0], 9 + 21 + 7)
    np.testing.assert_array_equal(got[1], [6, 7])
    np.testing.assert_allclose(got[2], [30, 120])
    np.testing.assert_allclose(got[3], [1, 1])


def test_defjvps() -> None:
    f = sn.custom_jvp(lambda x, y: sn.sin(x) * y)
    f.defjvps(lambda dx, z, x, y: 3 * dx * sn.cos(x) * y, None)
    x, y = sn.placeholder((3,), "float64", "x"), sn.placeholder((3,), "float64", "y")
    g = sn.grad(sn.sum(f(x, y)), [x, y], allow_unused=True)
    got = sn.function([x, y], g, device="numpy")(X, Y)
    np.testing.assert_allclose(got[0], 3 * np.cos(X) * Y)
    np.testing.assert_allclose(got[1], 0)


def test_rules_are_a_part_of_what_a_call_is() -> None:
    f, g = doubled(sn, sn.custom_vjp), doubled(sn, sn.custom_vjp)
    x, y = sn.placeholder((3,), name="x"), sn.placeholder((3,), name="y")
    assert f(x, y) is f(x, y)
    assert f(x, y) is not g(x, y)
    text = str(sn.function([x, y], [f(x, y), g(x, y)], device="numpy").graph)
    assert text.count("rule=") == 2
    step = sn.function([x, y], [f(x, y), g(x, y)], device="cpu")
    assert "custom_vjp" not in step.as_text(after="inline")
    assert step.as_text(after="inline").count("sin(") == 1


def test_text_has_no_rule() -> None:
    @sn.custom_vjp
    def forgotten(x: Any) -> Any:
        return sn.sin(x)

    forgotten.defvjp(lambda x: (sn.sin(x), x), lambda x, g: (g,))
    x = sn.placeholder((3,), name="x")
    text = str(sn.function(x, forgotten(x), device="numpy").graph)
    read = sn.parse(text.replace('rule="forgotten"', 'rule="gone"'))
    np.testing.assert_allclose(
        sn.function(read.inputs, read.outputs, device="numpy")(X.astype("f"))[0],
        np.sin(X),
        rtol=1e-6,
    )
    with pytest.raises(GradientError, match="gone: a rule in Python is no part of a graph's text"):
        sn.grad(sn.sum(read.outputs[0]), read.inputs)


def test_compiled_programs_have_no_calls() -> None:
    x, y = sn.placeholder((3,), name="x"), sn.placeholder((3,), name="y")
    z = doubled(sn, sn.custom_vjp)(x, y)
    sn.function([x, y], z, device="numpy", disabled_passes=["inline"])
    with pytest.raises(CompileError, match="custom_vjp: the cpu backend runs no calls of graphs"):
        sn.function([x, y], z, device="cpu", disabled_passes=["inline"])


# checkpoint


def block(x: Any, w: Any) -> Any:
    return sn.tanh(sn.tanh(x @ w) @ w)


@pytest.mark.parametrize("device", DEVICES)
def test_checkpoint_changes_no_value(device: str) -> None:
    x, w = sn.placeholder((4, 3), name="x"), sn.placeholder((3, 3), name="w")
    made = []
    for f in (block, sn.checkpoint(block)):
        loss = sn.sum(f(f(x, w), w))
        made += [loss, *sn.grad(loss, [x, w]), sn.sum(sn.jvp([loss], [x], [x])[0])]
    rng = np.random.default_rng(0)
    got = sn.function([x, w], made, device=device, numerics="exact")(
        rng.normal(size=(4, 3)).astype("f"), rng.normal(size=(3, 3)).astype("f")
    )
    for plain, again in zip(got[:4], got[4:], strict=True):
        np.testing.assert_allclose(plain, again, rtol=1e-6, atol=1e-6)


def test_checkpoint_saves_memory() -> None:
    w = sn.placeholder((32, 32), name="w")
    x = sn.placeholder((64, 32), name="x")
    peaks = []
    for f in (block, sn.checkpoint(block)):
        y = x
        for _ in range(8):
            y = f(y, w)
        loss = sn.sum(y * y)
        peaks.append(sn.function([x, w], sn.grad(loss, w), device="cpu").plan.arena_bytes)
    assert peaks[1] < 0.75 * peaks[0]


def test_checkpoint_of_a_scans_body() -> None:
    w, xs = sn.placeholder((8, 8), "float64", "w"), sn.placeholder(("T", 4, 8), "float64", "xs")
    made, peaks = [], []
    for f in (block, sn.checkpoint(block)):
        last, _ = sn.scan(lambda h, x, f=f: (f(h + x, w), None), sn.zeros((4, 8), "float64"), xs)
        loss = sn.sum(last * last)
        step = sn.function([w, xs], [loss, *sn.grad(loss, [w, xs])], device="cpu")
        rng = np.random.default_rng(0)
        made.append(step(rng.normal(size=(8, 8)) * 0.3, rng.normal(size=(64, 4, 8))))
        peaks.append(step.plan.arena_bytes)
    for plain, again in zip(*made, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-10, atol=1e-12)
    assert peaks[1] < 0.75 * peaks[0]


def test_memory_grows_as_the_square_root() -> None:
    """A scan of checkpointed scans keeps a carry for each block, and those of one block."""
    w = sn.placeholder((8, 8), name="w")

    def cell(h: Any, x: Any) -> Any:
        return sn.tanh(h @ w + x), None

    block = sn.checkpoint(lambda h, xs: sn.scan(cell, h, xs)[0])
    carries = []
    for n in (8, 16):
        xs = sn.placeholder((n, n, 2, 8), name="xs")
        last, _ = sn.scan(lambda h, x: (block(h, x), None), sn.zeros((2, 8)), xs)
        f = sn.function([w, xs], sn.grad(sn.sum(last), w), device="numpy")
        carries.append(f.plan.arena_bytes / (2 * 8 * 4))
    assert carries[1] < 2.2 * carries[0]
    assert carries[1] < 16 * 16 / 2


def test_checkpoint_takes_trees_statics_and_what_is_around() -> None:
    w = sn.variable(np.ones((3, 3), "f"), "w")

    @sn.checkpoint
    def f(p: Any, power: int, mode: str, *, scale: Any = 1) -> Any:
        assert (power, mode) == (2, "a")
        return {"y": (p["x"] @ w) ** power * scale, "x": p["x"]}

    x = sn.placeholder((4, 3), name="x")
    out = f({"x": x}, 2, "a", scale=2)
    loss = sn.sum(out["y"]) + sn.sum(out["x"])
    step = sn.function(x, [loss, *sn.grad(loss, [x, w])], device="numpy")
    value = np.ones((4, 3), "f")
    got = step(value)
    np.testing.assert_allclose(got[0], 4 * 3 * 18 + 12)
    np.testing.assert_allclose(got[1], 3 * 2 * 2 * 3 + 1)
    np.testing.assert_allclose(got[2], 4 * 12)
    tensor = sn.dynamic.tensor(value, requires_grad=True)
    sn.sum(f({"x": tensor}, 2, "a")["y"]).backward()
    np.testing.assert_allclose(tensor.grad.numpy(), 18)


def test_lines_and_modules_stay() -> None:
    layer = sn.nn.Linear(3, 3)
    x = sn.placeholder((4, 3), name="x")
    y = sn.tanh(sn.checkpoint(sn.nn.Sequential(layer, sn.nn.Tanh()))(x)) * 2
    (g,) = sn.grad(sn.sum(y), x)
    graph = sn.function(x, [y, g], device="numpy").specialize().graph
    told = {str(node.provenance) for node in graph.nodes if node.op.name == "tanh"}
    line = inspect.getsourcelines(test_lines_and_modules_stay)[1] + 3
    here = f"tests/test_own_derivatives.py:{line}"
    assert told == {here, f"{here}, in 1", f"gradient of {here}, in 1"}


def test_dropout_is_drawn_once() -> None:
    drop = sn.nn.Dropout(0.5)
    x = sn.placeholder((64,), name="x")
    y = sn.checkpoint(lambda x: drop(x) * x)(x)
    step = sn.function(x, [y, *sn.grad(sn.sum(y), x)], device="cpu")
    for _ in range(2):
        value, slope = step(np.ones(64, "f"))
        np.testing.assert_array_equal(value * 2, slope)
        assert 0 < np.count_nonzero(value) < 64
