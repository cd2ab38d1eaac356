"""Products that share an operand as one: what becomes one, what is left alone, that numbers stay.

The oracle is PyTorch in float64, told of the same weights; the library's part is a fake GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import Gpu

import staticnet as sn
from staticnet.attention.gradient import AttentionGradient
from staticnet.ops.auxiliary import AUXILIARY
from staticnet.ops.library import EPILOGUES
from staticnet.passes import grouped, grouped_gradients, grouped_operands
from staticnet.passes.infer_shape import INFER_SHAPE
from staticnet.passes.manager import run_passes

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
OFFERED = EPILOGUES | AUXILIARY | {grouped_operands.OFFER}
BEFORE = tuple(p for p in sn.PIPELINE if p.name not in ("scatter_updates", "remat"))
N, T, C, H = 2, 6, 16, 2
F = sn.nn.functional
RNG = np.random.default_rng(3)


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products pay, too, and however long their results are needed."""
    monkeypatch.setattr(grouped, "NEAR", 1000)
    for module in (grouped_operands, grouped_gradients):
        monkeypatch.setattr(module, "LEAST_BYTES", -(1 << 40))


class Numbers:
    """What networks are written in, of sn or torch, with weights by name."""

    def __init__(self, lib: Any, weights: dict[str, Any]) -> None:
        self.torch = lib if lib.__name__ == "torch" else None
        self.w = weights

    def linear(self, x: Any, name: str, turned: bool = True) -> Any:
        w = self.w[name]
        y = x @ (w.T if turned else w)
        return y + self.w[f"{name}_b"] if f"{name}_b" in self.w else y

    def heads(self, x: Any, count: int = H) -> Any:
        shape = (*x.shape[:2], count, x.shape[2] // count)
        if self.torch:
            return x.reshape(shape).permute(0, 2, 1, 3)
        return sn.permute_dims(sn.reshape(x, shape), (0, 2, 1, 3))

    def attend(self, q: Any, k: Any, v: Any, **options: Any) -> Any:
        if self.torch:
            y = self.torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)
            return y.permute(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)
        y = F.scaled_dot_product_attention(q, k, v, **options)
        return sn.reshape(sn.permute_dims(y, (0, 2, 1, 3)), (y.shape[0], y.shape[2], -1))

    def turn(self, x: Any) -> Any:
        """A rotary embedding of x: [n, h, t, d]."""
        half = x.shape[-1] // 2
        angle = np.outer(np.arange(x.shape[2]), 0.5 ** np.arange(half))
        cos, sin = (np.concatenate([f(angle)] * 2, -1) for f in (np.cos, np.sin))
        a, b = x[..., :half], x[..., half:]
        if self.torch:
            return x * self.torch.tensor(cos) + self.torch.cat([-b, a], -1) * self.torch.tensor(sin)
        cos, sin = (sn.constant(y.astype("f")) for y in (cos, sin))
        return x * cos + sn.concat([-b, a], -1) * sin

    def sigmoid(self, x: Any) -> Any:
        return (self.torch or sn).sigmoid(x)

    def tanh(self, x: Any) -> Any:
        return (self.torch or sn).tanh(x)


def attention(f: Numbers, x: Any) -> Any:
    q, k, v = (f.heads(f.linear(x, name)) for name in "qkv")
    return f.linear(f.attend(q, k, v, is_causal=True), "o")


def fewer_keys(f: Numbers, x: Any) -> Any:
    """As in Llama: rotary embeddings, and two heads of queries share one of keys."""
    q, k, v = f.heads(f.linear(x, "q")), f.heads(f.linear(x, "g"), 1), f.heads(f.linear(x, "h"), 1)
    return f.attend(f.turn(q), f.turn(k), v, enable_gqa=True)


def crossed(f: Numbers, x: Any) -> Any:
    """Queries of one half of the tokens, keys and values of the other."""
    m = f.tanh(x[:, T // 2 :])
    q = f.heads(f.linear(x[:, : T // 2], "q"))
    return f.attend(q, f.heads(f.linear(m, "k")), f.heads(f.linear(m, "v")))


def gated(f: Numbers, x: Any) -> Any:
    g = f.linear(x, "up")
    return f.linear(g * f.sigmoid(g) * f.linear(x, "gate"), "down")


def rows(f: Numbers, x: Any) -> Any:
    """Weights as in x @ w, and a third product of another activation."""
    return f.linear(x, "q", False) * f.tanh(f.linear(x, "k", False)) + f.linear(x, "v", False)


def heads_of_tasks(f: Numbers, x: Any) -> Any:
    """Of unequal widths, each with a loss of its own."""
    a, b = f.tanh(f.linear(x, "q")), f.linear(x, "g")
    return (
        a * 2 + (b * b * b).sum(-1)[..., None]
        if f.torch
        else a * 2 + sn.sum(b * b * b, -1)[..., None]
    )


def tied(f: Numbers, x: Any) -> Any:
    """One weight is in two products, of which one is of something else, too."""
    y = f.linear(x, "q") * f.tanh(f.linear(x, "k"))
    return y + f.linear(f.tanh(y), "q") * f.linear(x, "q")


def chained(f: Numbers, x: Any) -> Any:
    """Gates of which one's gradient needs the other's value, and a norm along the rows."""
    a = f.linear(x, "q")
    b = f.linear(x, "k")
    return (
        a / (1 + (b * b).sum(-1)[..., None]) if f.torch else a / (1 + sn.sum(b * b, -1)[..., None])
    )


def experts(f: Numbers, x: Any) -> Any:
    """A mixture by dense gating."""
    scores = f.sigmoid(f.linear(x, "g"))
    made = [f.tanh(f.linear(x, name)) for name in "qkv"]
    return made[0] * scores[..., :1] + made[1] * scores[..., 1:2] + made[2]


MODELS: dict[str, Callable[[Numbers, Any], Any]] = {
    f.__name__: f
    for f in (
        attention, fewer_keys, crossed, gated, rows, heads_of_tasks, tied, chained, experts
    )
}  # fmt: skip
WIDTHS = {"q": C, "k": C, "v": C, "o": C, "g": C // 2, "h": C // 2, "up": 24, "gate": 24}


def arrays(biased: str = "", rng: Any = RNG) -> dict[str, Any]:
    """All weights, [out, in], and biases of those that are named so."""
    made = {name: rng.normal(0, 0.3, (n, C)) for name, n in WIDTHS.items()}
    made["down"] = rng.normal(0, 0.3, (C, 24))
    names = [*WIDTHS, "down"] if biased == "all" else list(biased)
    return made | {f"{name}_b": rng.normal(size=made[name].shape[0]) for name in names}


def network(
    name: str, given: dict[str, Any], rows: Any = N
) -> tuple[Any, list[Any], list[str], Any]:
    """x, its variables, their names, and the loss."""
    x = sn.placeholder((rows, T, C), name="x")
    variables = {key: sn.variable(w.astype("f"), name=key) for key, w in given.items()}
    loss = sn.mean(sn.square(MODELS[name](Numbers(sn, variables), sn.tanh(x))))
    used = [key for key, v in variables.items() if v in set(sn.Graph("g", [x], [loss]).variables)]
    return x, [variables[key] for key in used], used, loss


def of_torch(name: str, given: dict[str, Any], feed: Any, used: list[str]) -> list[Any]:
    """The loss, and its gradients by the weights used and by x, in float64."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    weights = {
        key: torch.tensor(w.astype("f").astype("d"), requires_grad=True) for key, w in given.items()
    }
    x = torch.tensor(feed.astype("d"), requires_grad=True)
    loss = MODELS[name](Numbers(torch, weights), torch.tanh(x)).square().mean()
    loss.backward()
    return [y.detach().numpy() for y in (loss, *(weights[key].grad for key in used), x.grad)]


def optimised(graph: sn.Graph, **options: Any) -> tuple[sn.Graph, dict[str, int]]:
    """A graph after the passes, and what this one did."""
    after, records = run_passes(graph, BEFORE, **{"epilogues": OFFERED, **options})
    notes = [dict(r.notes) for r in records if r.name == "grouped"]
    return after, notes[0] if notes else {}


def products(graph: sn.Graph) -> int:
    return sum("matmul" in node.op.name for node in graph.nodes)


FOUND = {  # products of one operand, gradients by weights, sums of products
    "attention": (3, 3, 1),
    "fewer_keys": (3, 0, 0),
    "crossed": (2, 2, 1),
    "gated": (2, 2, 1),
    "rows": (3, 2, 1),  # the gradient by the third is in those by the others
    "heads_of_tasks": (2, 0, 0),
    "tied": (2, 0, 0),
    "chained": (2, 0, 0),
    "experts": (4, 3, 1),
}


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("biased", ["", "all", "q"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_torch(name: str, biased: str) -> None:
    given, feed = arrays(biased), RNG.normal(size=(N, T, C)).astype("f")
    x, variables, used, loss = network(name, given)
    graph = sn.Graph("g", [x], [loss, *sn.grad(loss, [*variables, x])])
    after, notes = optimised(graph)
    got = sn.function([x], list(after.outputs), passes=(INFER_SHAPE,), device="numpy")(feed)
    for mine, wanted in zip(got, of_torch(name, given, feed, used), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=2e-4, atol=1e-5)
    if biased != "q":
        kinds = ("products of one operand", "gradients by weights", "sums of products")
        assert tuple(notes.get(kind, 0) for kind in kinds) == FOUND[name]
        plain, _ = optimised(graph, disabled=["grouped"])
        assert products(after) < products(plain)


@pytest.mark.usefixtures("any_size")
def test_what_an_attention_makes_is_one_array() -> None:
    """And the sums for biases are had with the product of the weights' gradients."""
    x, variables, _, loss = network("attention", arrays("all"), 8)
    after, _ = optimised(sn.Graph("g", [x], sn.grad(loss, variables)))
    (op,) = (node.op for node in after.nodes if isinstance(node.op, AttentionGradient))
    assert (op.layout, op.joined) == ("last", 3)
    x, variables, _, loss = network("crossed", arrays(), 8)
    after, _ = optimised(sn.Graph("g", [x], sn.grad(loss, variables)))
    (op,) = (node.op for node in after.nodes if isinstance(node.op, AttentionGradient))
    assert (op.layout, op.joined) == ("last", 2)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    "options",
    [{"numerics": "exact"}, {"epilogues": EPILOGUES | AUXILIARY}, {"disabled": ["grouped"]}],
    ids=["exact", "not offered", "left out"],
)
def test_where_there_is_none(options: dict[str, Any]) -> None:
    x, variables, _, loss = network("gated", arrays())
    graph = sn.Graph("g", [x], sn.grad(loss, variables))
    assert not optimised(graph, **options)[1]


def test_little_is_left_alone() -> None:
    """Weights of 2 KiB are read beside x of 768 bytes; with many rows the products are one."""
    for rows, found in ((N, 0), (1 << 14, 1)):
        x, variables, _, loss = network("gated", arrays(), rows)
        _, notes = optimised(sn.Graph("g", [x], sn.grad(loss, [*variables, x])))
        assert notes.get("sums of products", 0) == found


@pytest.mark.usefixtures("any_size")
def test_what_is_needed_longer_lies_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries and keys are turned and gone; values wait for the way back, with nothing beside."""
    monkeypatch.setattr(grouped, "NEAR", 3)
    monkeypatch.setitem(MODELS, "deep", deep)
    x, variables, _, loss = network("deep", arrays())
    _, notes = optimised(sn.Graph("g", [x], sn.grad(loss, variables)))
    assert notes["products of one operand"] == 2
    _, notes = optimised(sn.Graph("g", [x], [loss]))
    assert notes["products of one operand"] == 3


def deep(f: Numbers, x: Any) -> Any:
    """Attention with layers behind it."""
    y = fewer_keys(f, x)
    for _ in range(4):
        y = f.tanh(f.linear(y, "o"))
    return y


def compared(graph: sn.Graph, feed: Any) -> dict[str, int]:
    """What the pass did to a graph, whose values on NumPy are those without it."""
    after, notes = optimised(graph)
    plain, _ = optimised(graph, disabled=["grouped"])
    runs = [
        sn.function(list(g.inputs), list(g.outputs), passes=(INFER_SHAPE,), device="numpy")(feed)
        for g in (after, plain)
    ]
    for mine, wanted in zip(*runs, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-9, atol=1e-9)
    return notes


def doubles(*shape: int) -> Any:
    return sn.variable(RNG.normal(0, 0.3, shape))


def gates(x: Any) -> Any:
    """Products of one operand, whose gradients are made side by side."""
    return sn.tanh(x @ doubles(24, C).T) * (x @ doubles(24, C).T)


X = RNG.normal(size=(8, C))


@pytest.mark.usefixtures("any_size")
def test_what_is_added_to_itself_counts_twice() -> None:
    """Nodes have it as both operands: it is read by one, and not once."""
    x, e = sn.placeholder((8, C), "float64", name="x"), doubles(C)
    u = x * e
    loss = sn.mean(sn.square(gates(u + u) @ doubles(C, 24).T))
    assert "sums of products" not in compared(sn.Graph("g", [x], sn.grad(loss, [e])), X)
    g = [sn.tanh(x), sn.sigmoid(x)]
    s, t = (y @ doubles(C, C) for y in g)
    for total, sums in ((s + t, 1), ((s + t) + t, 0), ((s + t) * 3 + (s + t), 1)):
        outputs = [sn.tanh(y) for y in (*(each.T @ x for each in g), total)]
        assert compared(sn.Graph("g", [x], outputs), X).get("sums of products", 0) == sums


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(("dtype", "found"), [("int32", 0), ("float32", 0), ("float64", 1)])
def test_a_cast_that_changes_numbers_is_not_looked_through(dtype: str, found: int) -> None:
    """Sums of whole numbers are not whole numbers of sums, nor are sums of what was rounded."""
    x = sn.placeholder((8, C), "float64", name="x")
    g = [4 * sn.tanh(x * n) for n in (1, 2)]
    turned = [y.T @ x for y in g]
    t = [sn.astype(y @ doubles(C, C), dtype) for y in g]
    outputs = [sn.tanh(y) for y in turned] + [t[0] + t[1]]
    outputs += [sn.sum(sn.astype(y, dtype), 0) for y in g]
    notes = compared(sn.Graph("g", [x], outputs), X)
    assert notes.get("sums of products", 0) == found
    assert notes["gradients side by side"] == 2


@pytest.mark.usefixtures("any_size")
def test_what_float16_may_not_hold_is_summed_before_it_is_rounded() -> None:
    x = sn.placeholder((8, C), "float32", name="x")
    g = [x * 5e5, x * -4e5]
    turned = [sn.astype(y, "float16").T @ sn.astype(sn.tanh(x), "float16") for y in g]
    outputs = [sn.isfinite(y) for y in turned] + [sn.sum(y, 0) for y in g]
    graph = sn.Graph("g", [x], outputs)
    after, notes = optimised(graph)
    assert notes["gradients side by side"] == 2
    f = sn.function([x], list(after.outputs), passes=(INFER_SHAPE,), device="numpy")
    assert all(np.isfinite(y).all() for y in f(np.ones((8, C), "f"))[2:])


def test_what_layers_share_is_not_held_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is needed a little later than the one before it, and the last long after the first."""
    monkeypatch.setattr(grouped_operands, "LEAST_BYTES", -(1 << 40))
    h = x = sn.placeholder((8, C), "float64", name="x")
    for _ in range(8):
        h = h + sn.tanh((h @ doubles(C, C).T) * sn.sigmoid(x @ doubles(C, C).T))
    after, notes = optimised(sn.Graph("g", [x], [h]))
    widest = max(node.shape[1] for node in after.nodes if "matmul" in node.op.name)
    assert notes["products of one operand"] > 2
    assert widest <= 3 * C


@pytest.mark.usefixtures("any_size")
def test_what_would_need_itself_leaves_the_others() -> None:
    """A bias that is made of a product beside it."""
    x = sn.placeholder((8, C), name="x")
    w = [sn.variable(RNG.normal(0, 0.3, (C, C)).astype("f")) for _ in range(4)]
    z = sn.tanh(x)
    p = z @ w[0].T + sn.variable(np.ones(C, "f"))
    q = z @ w[1].T + sn.mean(sn.tanh(p), 0)
    good = sn.tanh(x @ w[2].T) * (x @ w[3].T)
    graph = sn.Graph("g", [x], [sn.tanh(q), good])
    after, notes = optimised(graph)
    assert notes == {"products of one operand": 2}
    runs = [
        sn.function([x], outputs, device="numpy")(X.astype("f"))
        for outputs in (list(after.outputs), list(graph.outputs))
    ]
    for mine, wanted in zip(*runs, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5)


@pytest.mark.usefixtures("any_size")
def test_two_groups_that_are_added_are_counted_once() -> None:
    """One sum is of the products of both; the first has it."""
    x, y = sn.placeholder((8, C), "float64", name="x"), doubles(8, C)
    g = [sn.tanh(x), sn.sigmoid(x), x * x, sn.cos(x)]
    turned = [each.T @ at for each, at in zip(g, (x, x, y, y), strict=True)]
    terms = [each @ doubles(C, C) for each in g]
    total = terms[0] + terms[1] + terms[2] + terms[3]
    graph = sn.Graph("g", [x], [sn.tanh(each) for each in (*turned, total)])
    notes = compared(graph, X)
    assert (notes["gradients side by side"], notes["sums of products"]) == (4, 1)


@pytest.mark.usefixtures("any_size")
def test_what_is_returned_or_no_weight_is_left_alone() -> None:
    x, y = sn.placeholder((8, 16), name="x"), sn.placeholder((16, 8), name="y")
    w = [sn.variable(np.ones((16, 8), "f"), name=n) for n in "uvw"]
    made = [x @ each for each in w]
    for outputs in ([made[0], made[1]], [sn.tanh(x @ y), sn.tanh(made[0])]):
        _, notes = optimised(sn.Graph("g", [x, y], outputs))
        assert not notes
    _, notes = optimised(sn.Graph("g", [x], [made[0], sn.tanh(made[1]) * sn.tanh(made[2])]))
    assert notes == {"products of one operand": 2}


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("name", ["attention", "fewer_keys", "gated"])
def test_symbolic_rows(name: str) -> None:
    given, feed = arrays("all"), RNG.normal(size=(N, T, C)).astype("f")
    x, variables, used, loss = network(name, given, sn.Dim("n"))
    graph = sn.Graph("g", [x], [loss, *sn.grad(loss, [*variables, x])])
    after, notes = optimised(graph, dims={"n": N})
    assert notes["products of one operand"] > 1
    got = sn.function(list(after.inputs), list(after.outputs), passes=(INFER_SHAPE,))(feed)
    for mine, wanted in zip(got, of_torch(name, given, feed, used), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=2e-4, atol=1e-5)


def trained(name: str, device: str, precision: str, **options: Any) -> tuple[Any, list[Any], Any]:
    """A function, all state after three steps and a checkpoint between, and the last loss."""
    rng = np.random.default_rng(11)
    feed = rng.normal(size=(N, T, C)).astype("f")
    x, variables, _, loss = network(name, arrays("all", rng))
    groups = [
        {"params": [v for v in variables if v.ndim == 2 and v is not variables[0]]},
        {"params": [v for v in variables if v.ndim == 1], "weight_decay": 0.0},
    ]  # the first weight is frozen
    wanted = [v for group in groups for v in group["params"]]
    gradients = dict(zip(wanted, sn.grad(loss, wanted), strict=True))
    updates = {}
    for group in groups:
        rule = sn.optim.AdamW(0.01, eps=1e-3, weight_decay=group.get("weight_decay", 0.1))
        updates |= rule.apply({v: gradients[v] for v in group["params"]})
    f = sn.function([x], loss, updates, device=device, precision=precision, **options)
    f(feed)
    w = variables[2]
    w.value = w.value * 0.5  # set from the host between two steps
    f(feed)
    variables[1].value = variables[1].value * 2
    last = f(feed)
    return f, [v.value for v in variables], last


@needs_shim
@pytest.mark.usefixtures("any_size", "launch_by_launch")
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("attention", "bfloat16"),
        ("gated", "float32"),
        *(
            pytest.param(name, precision, marks=pytest.mark.slow)
            for name in MODELS
            for precision in ("float32", "bfloat16", "float16")
        ),
    ],
)
def test_training_follows_numpy(gpu: Gpu, name: str, precision: str) -> None:
    f, got, _ = trained(name, "cuda", precision)
    assert "products of one operand" in str(f.passes())
    _, wanted, _ = trained(name, "numpy", precision)
    for mine, want in zip(got, wanted, strict=True):
        error = np.linalg.norm(mine - want) / np.linalg.norm(want)
        assert error < (1e-4 if precision == "float32" else 2e-2)
