"""`sn.vmap`: functions of one example on many, against loops, JAX and PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tolerance import close

import staticnet as sn
from staticnet.errors import (
    ArgumentError,
    DTypeError,
    OutOfRangeError,
    ShapeError,
    StaticnetError,
    SymbolicValueError,
)

RNG = np.random.default_rng(3)
A, B, W, V = (RNG.normal(size=shape) for shape in [(5, 3, 4), (5, 4), (4, 2), (2, 6)])
KEY = sn.random.key(7)


def node(array: Any, name: str = "x") -> Any:
    return sn.placeholder(array.shape, array.dtype, name)


def run(f: Callable[..., Any], *arrays: Any) -> Any:
    xs = [node(a, f"x{i}") for i, a in enumerate(arrays)]
    return sn.function(xs, f(*xs))(*arrays)


@pytest.fixture(scope="module")
def jax() -> Iterator[Any]:
    found = pytest.importorskip("jax", reason="JAX is the oracle")
    with found.enable_x64(True):
        yield found


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is the oracle")


AXES: list[tuple[Any, Any]] = [
    ((0, None), 0),
    ((0, None), 1),
    ((0, None), -1),
    ((1, None), 0),
    ((-1, None), 1),
    ((None, 0), 0),
    ((None, 1), -2),
    ((2, 0), 2),
    ([1, None], 0),
]


@pytest.mark.parametrize(("in_axes", "out_axes"), AXES)
def test_axes_as_in_pytorch(torch: Any, in_axes: Any, out_axes: Any) -> None:
    x, y = RNG.normal(size=(4, 5, 3, 4)), RNG.normal(size=(4, 6))
    if in_axes[0] == 2:
        y = y[:3]

    def ours(x: Any, y: Any) -> Any:
        return sn.tanh(sn.sum(x * 2, 0, keepdims=True) + sn.sum(y[:3])) * x

    def theirs(x: Any, y: Any) -> Any:
        return torch.tanh((x * 2).sum(0, keepdim=True) + y[:3].sum()) * x

    wanted = torch.func.vmap(theirs, tuple(in_axes), out_axes)(torch.tensor(x), torch.tensor(y))
    close(run(sn.vmap(ours, in_axes, out_axes), x, y), wanted.numpy(), 1e-12)


def test_trees_of_arguments_and_results(jax: Any) -> None:
    def ours(tree: Any, w: Any) -> Any:
        h = tree["a"] @ w
        return {"h": h, "rest": (sn.sum(h), [tree["b"][0], w])}

    def theirs(tree: Any, w: Any) -> Any:
        h = tree["a"] @ w
        return {"h": h, "rest": (h.sum(), [tree["b"][0], w])}

    in_axes = ({"a": 0, "b": (1, None)}, None)
    out_axes = {"h": 1, "rest": (0, [0, None])}
    arrays = [A, np.moveaxis(B, 0, 1), V, W]

    def call(vmap: Any, f: Any) -> Any:
        def g(a: Any, b: Any, v: Any, w: Any) -> Any:
            tree = vmap(f, in_axes, out_axes)({"a": a, "b": (b, v)}, w)
            return [tree["h"], tree["rest"][0], *tree["rest"][1]]

        return g

    wanted = call(jax.vmap, theirs)(*arrays)
    got = run(call(sn.vmap, ours), *arrays)
    for a, b in zip(got, wanted, strict=True):
        close(a, np.asarray(b), 1e-12)


def test_named_arguments_lie_along_axis_0() -> None:
    got = run(lambda x, y: sn.vmap(lambda x, y: x @ y)(x, y=y), A, B)
    close(got, np.einsum("bij,bj->bi", A, B), 1e-12)


def test_nested(torch: Any) -> None:
    def outer(vmap: Any) -> Any:
        return vmap(vmap(lambda x, y: x * y, (None, 0)), (0, None))

    x, y = RNG.normal(size=3), RNG.normal(size=(4, 2))
    close(run(outer(sn.vmap), x, y), x[:, None, None] * y, 1e-12)
    thrice = sn.vmap(sn.vmap(sn.vmap(lambda x: x @ W, 1), 1, 1))
    z = RNG.normal(size=(2, 4, 3, 5))
    vmap, w = torch.func.vmap, torch.tensor(W)
    wanted = vmap(vmap(vmap(lambda x: x @ w, 1), 1, 1))(torch.tensor(z))
    close(run(thrice, z), wanted.numpy(), 1e-12)


def model(xp: Any, w: Any, v: Any, x: Any) -> Any:
    return xp.sum(xp.tanh(xp.tanh(x @ w) @ v) ** 2)


def tensors(torch: Any, *arrays: Any) -> list[Any]:
    return [torch.tensor(a) for a in arrays]


def test_gradients_by_example(torch: Any) -> None:
    def ours(x: Any, w: Any, v: Any) -> Any:
        return sn.vmap(lambda x: tuple(sn.grad(model(sn, w, v, x), [w, v, x])))(x)

    gradient = torch.func.grad(lambda *a: model(torch, *a), (0, 1, 2))
    wanted = torch.func.vmap(gradient, (None, None, 0))(*tensors(torch, W, V, B))
    for a, b in zip(run(ours, B, W, V), wanted, strict=True):
        close(a, b.numpy(), 1e-12)


def test_second_derivatives_and_products_by_example(torch: Any) -> None:
    def ours(x: Any, w: Any, v: Any, t: Any) -> Any:
        def product(x: Any, t: Any) -> Any:
            (g,) = sn.grad(model(sn, w, v, x), [x])
            return sn.jvp(g, x, t)[0], sn.vjp(g, [x], [t])[0]

        return sn.vmap(product)(x, t)

    t = RNG.normal(size=B.shape)
    b, w, v, s = tensors(torch, B, W, V, t)
    gradient = torch.func.grad(lambda x: model(torch, w, v, x))
    wanted = torch.func.vmap(lambda x, t: torch.func.jacrev(gradient)(x) @ t)(b, s)
    for got in run(ours, B, W, V, t):
        close(got, wanted.numpy(), 1e-12)


def test_a_gradient_of_what_vmap_gives(torch: Any) -> None:
    def ours(x: Any, w: Any, v: Any) -> Any:
        losses = sn.vmap(lambda x: model(sn, w, v, x))(x)
        return sn.grad(sn.sum(losses**2), [x, w, v])

    def theirs(x: Any, w: Any, v: Any) -> Any:
        return (torch.func.vmap(lambda x: model(torch, w, v, x))(x) ** 2).sum()

    wanted = torch.func.grad(theirs, (0, 1, 2))(*tensors(torch, B, W, V))
    for a, b in zip(run(ours, B, W, V), wanted, strict=True):
        close(a, b.numpy(), 1e-12)


def test_layers_of_one_example() -> None:
    net = sn.nn.Sequential(sn.nn.Linear(4, 8), sn.nn.ReLU(), sn.nn.Linear(8, 3)).eval()
    x = B.astype("float32")
    close(run(sn.vmap(net), x), run(net, x), 1e-6)


@pytest.mark.parametrize("size", [0, 1, 5])
def test_a_symbolic_number_of_examples(size: int) -> None:
    x = sn.placeholder(("batch", 4), "float64", "x")
    w = sn.variable(W)
    losses = sn.vmap(lambda x: sn.sum(sn.tanh(x @ w)), out_axes=0)(x)
    f = sn.function([x], [losses, sn.vmap(lambda x: w * 1)(x)])
    got, copies = f(B[:size])
    close(got, np.tanh(B[:size] @ W).sum(-1), 1e-12)
    close(copies, np.broadcast_to(W, (size, *W.shape)))


def test_one_product_for_all_examples() -> None:
    x, w = node(B), node(W, "w")
    many = sn.vmap(lambda x: x @ w)(x)
    products = [n for n in sn.Graph("g", [x, w], [many]).nodes if n.op.name == "matmul"]
    assert [n.type.shape for n in products] == [(5, 2)]


def test_lines_and_names_are_those_of_one_example() -> None:
    x = node(B)
    y = sn.vmap(lambda x: sn.tanh(x))(x)
    assert y.op.name == "tanh"
    assert "test_vmap.py" in str(y.provenance)


def test_a_layer_remembers_its_mode() -> None:
    drop = sn.nn.Dropout(0.5)
    f = sn.function([node(B)], sn.vmap(drop)(node(B)))
    assert [mode.training for mode in f.modes] == [True]


def test_shared_keys_draw_the_same_and_others_do_not() -> None:
    def draw(key: Any) -> Any:
        return sn.random.uniform(key, (3,))

    ones = np.ones(4, np.float32)
    shared = run(sn.vmap(lambda x: x * draw(KEY)), ones)
    assert (shared == shared[0]).all()
    folded = run(sn.vmap(lambda i: draw(sn.random.fold_in(KEY, i))), np.arange(4))
    assert len(np.unique(folded)) == folded.size
    for i in range(4):
        close(folded[i], run(lambda i=i: draw(sn.random.fold_in(KEY, i))))
    keys = sn.random.split(KEY, 4)
    split = run(lambda: sn.vmap(draw)(keys))
    assert len(np.unique([*split, *folded])) == split.size + folded.size
    for i, key in enumerate(keys):
        close(split[i], run(lambda key=key: draw(key)))
    left, right = sn.random.split(KEY)
    assert (run(lambda: draw(left)) != run(lambda: draw(right))).all()


@pytest.mark.parametrize("draw", [sn.random.normal, sn.random.uniform])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_draws_of_an_array_of_keys(draw: Any, dtype: str) -> None:
    keys = sn.random.split(KEY, 3)
    many = run(lambda: draw(keys, (2, 3), dtype))
    for i, key in enumerate(keys):
        close(many[i], run(lambda key=key: draw(key, (2, 3), dtype)))


def test_keys_that_are_none_or_of_unknown_number() -> None:
    with pytest.raises(ArgumentError, match="one key is no array"):
        len(KEY)
    with pytest.raises(ArgumentError, match="n keys, a number known only when it is fed"):
        len(sn.random.split(KEY, sn.Dim("n")))
    with pytest.raises(ArgumentError, match="expected a key"):
        sn.random.fold_in(3, 1)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="num"):
        sn.random.split(KEY, -1)


def test_dropout_draws_anew_for_each_example_in_nested_vmaps_too() -> None:
    drop = sn.nn.Dropout(0.5)
    f = sn.function([], sn.vmap(sn.vmap(drop))(sn.ones((3, 4, 32))))
    first, second = f(), f()
    rows = np.concatenate([first, second]).reshape(-1, 32)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_bad_calls_say_what_and_where() -> None:
    x, y = node(B), node(A[:4], "y")
    cases: list[tuple[type[StaticnetError], str, Callable[[], Any]]] = [
        (ShapeError, r"x f64\[5,4\] has 5 along axis 0, y f64\[4,3,4\] has 4 along axis 0",
         lambda: sn.vmap(lambda a, b: a)(x, y)),
        (ShapeError, "differ", lambda: sn.vmap(lambda a: a)({"a": x, "b": y})),
        (OutOfRangeError, r"in_axes says 2 of x f64\[5,4\], which has 2 axes",
         lambda: sn.vmap(lambda a: a, 2)(x)),
        (OutOfRangeError, "in_axes says -3", lambda: sn.vmap(lambda a: a, -3)(x)),
        (OutOfRangeError, "0 axes", lambda: sn.vmap(lambda a: a)(3.0)),
        (OutOfRangeError, "out_axes 2", lambda: sn.vmap(lambda a: a, 0, 2)(x)),
        (ArgumentError, "no argument is mapped", lambda: sn.vmap(lambda a: a, None)(x)),
        (ArgumentError, "no argument is mapped", lambda: sn.vmap(lambda: x)()),
        (ArgumentError, "differs by example", lambda: sn.vmap(lambda a: a, 0, None)(x)),
        (ArgumentError, "in_axes", lambda: sn.vmap(lambda a: a, (0, 0))(x)),
        (ArgumentError, "in_axes", lambda: sn.vmap(lambda a: a, "0")(x)),
        (ArgumentError, "in_axes", lambda: sn.vmap(lambda a: a, 0.5)(x)),
        (ArgumentError, "in_axes", lambda: sn.vmap(lambda a: a, True)(x)),
        (ArgumentError, "in_axes", lambda: sn.vmap(lambda a: a["a"], ({"b": 0},))({"a": x})),
        (ArgumentError, "out_axes", lambda: sn.vmap(lambda a: a, 0, (0, 0))(x)),
        (ArgumentError, "'text' is neither", lambda: sn.vmap(lambda a: "text")(x)),
        (DTypeError, "not supported", lambda: sn.vmap(lambda a: a)("text")),
    ]  # fmt: skip
    for kind, words, call in cases:
        with pytest.raises(kind, match=words) as caught:
            call()
        assert str(caught.value).startswith("vmap: ")
        assert "test_vmap.py:" in str(caught.value)
    with pytest.raises(ArgumentError, match=r"takes a function.*test_vmap\.py"):
        sn.vmap(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no argument 'in_dims'; it is called in_axes"):
        sn.vmap(lambda a: a, in_dims=1)  # type: ignore[call-arg]
    with pytest.raises(ShapeError, match=r"matmul: .*test_vmap\.py"):
        sn.vmap(lambda a: a @ a[:2])(x)


def test_tensors_run_in_a_loop() -> None:
    w = sn.dynamic.tensor(W, requires_grad=True)
    x = sn.dynamic.tensor(B)
    f = sn.vmap(lambda x: (sn.tanh(x @ w), sn.sum(x), w), out_axes=(1, 0, None))
    y, total, same = f(x)
    close(y.numpy(), np.tanh(B @ W).T, 1e-12)
    close(total.numpy(), B.sum(1), 1e-12)
    assert same is w
    sn.sum(y).backward()
    close(w.grad.numpy(), B.T @ (1 - np.tanh(B @ W) ** 2), 1e-12)
    empty = sn.vmap(lambda x: x @ w, -1)(sn.dynamic.tensor(np.ones((4, 0))))
    assert (empty.shape, empty.dtype) == ((0, 2), np.float64)
    with pytest.raises(ArgumentError, match="differs by example"):
        sn.vmap(lambda x: x, out_axes=None)(x)
    with pytest.raises(SymbolicValueError):
        sn.vmap(lambda x, y: x * y)(x, node(B))
    drawn = sn.vmap(sn.nn.Dropout(0.5))(sn.dynamic.tensor(np.ones((4, 32))))
    assert len(np.unique(drawn.numpy(), axis=0)) == 4


def test_python_may_look_at_tensors() -> None:
    relu = sn.vmap(lambda x: x if x > 0 else 0 * x)
    x = np.array([-1.0, 2.0])
    close(relu(sn.dynamic.tensor(x)).numpy(), np.array([-0.0, 2.0]))
