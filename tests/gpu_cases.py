"""Graphs that tests of generated CUDA compile and run: samples, golden graphs, training steps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from samples import SAMPLES, Sample

import staticnet as sn
from staticnet.compilation import PIPELINE
from staticnet.errors import DTypeError
from staticnet.ir.dtype import DTYPES, DType, is_floating
from staticnet.ir.graph import Graph
from staticnet.passes.manager import run_passes

BATCH = 12  # samples of one program: compiling is what takes the time
BATCHES = [SAMPLES[i : i + BATCH] for i in range(0, len(SAMPLES), BATCH)]
FEW = [DTYPES[name] for name in ("float32", "bfloat16", "int64", "bool")]
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*/*.sn"))
Feeds = list[Any]


def lower(f: Any, **dims: int) -> Graph:
    """The optimised graph of a function, as a GPU whose library multiplies all floats gets it."""
    return run_passes(f.graph, PIPELINE, dims=dims, precision=f.precision)[0]


def samples_of_all_dtypes(
    batch: list[Sample], dtypes: Collection[DType] = tuple(DTYPES.values())
) -> tuple[Any, Feeds, list[str]]:
    """One function of some samples in all dtypes, or in these, and of their gradients.

    -> function on NumPy, feeds, names of its outputs
    """
    inputs, outputs, feeds, names = [], [], list[Any](), list[str]()
    for number, sample in enumerate(batch):
        for dtype in dtypes:
            xs = [
                sn.placeholder(a.shape, dtype, f"s{number}_{dtype}_{i}")
                for i, a in enumerate(sample.args)
            ]
            try:
                made = [sample.build(*xs)]
            except DTypeError:
                continue
            if is_floating(made[0].dtype) and dtype in ("float32", "float64"):
                made += sn.grad(sn.sum(made[0] * made[0]), xs)
            inputs += xs
            outputs += made
            feeds += [_in(dtype, np.asarray(a)) for a in sample.args]
            names += [f"{sample.op} {dtype} {i}" for i in range(len(made))]
    return sn.function(inputs, outputs, device="numpy"), feeds, names


def _in(dtype: DType, a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values in a dtype; a negative number has none in an unsigned one."""
    return (np.abs(a) if np.dtype(dtype).kind == "u" else a).astype(dtype)


def golden_graph(file: Path) -> tuple[Any, Feeds, dict[str, int]]:
    """A golden file's graph with state, on NumPy; feeds, and a binding of its dims."""
    graph = sn.parse(file.read_text(encoding="utf-8").partition("// after ")[0])
    dims = {name: 4 for name in graph.symbols}
    rng = np.random.default_rng(0)
    feeds = []
    for node in graph.inputs:
        shape = node.type.substitute(dims).shape
        feeds.append((rng.uniform(0.5, 2, shape) * 2).astype(node.dtype))
    for variable in graph.variables:
        variable.value = np.full(variable.shape, 0.5)  # type: ignore[attr-defined]
    f = sn.function(graph.inputs, graph.outputs, dict(graph.updates), device="numpy")
    return f, feeds, dims


def cancels(graph: Any) -> bool:
    """Whether it takes a rounded mean, or a rounded result, from what is about as large."""
    rounded = {"centered_sums", "attention_gradient"}
    return any(node.op.name in rounded for node in graph.nodes)


def narrows(graph: Any) -> bool:
    """Whether it rounds to 16 bits on its way to wider results: a convolution's store does once
    what the graph does twice."""
    casts = [x.dtype for x in graph.nodes if x.op.name == "cast"]
    halves = any(is_floating(dtype) and dtype.itemsize == 2 for dtype in casts)
    return halves and all(x.dtype.itemsize > 2 for x in graph.outputs)


def nests(graph: Any) -> bool:
    """Whether a loop of a graph holds another: rounding grows with each of its many steps."""
    held = (x for node in graph.nodes for x in node.op.graphs.values())
    return any(node.op.graphs for each in held for node in each.nodes)


def _step(loss: Any, inputs: list[Any], optimizer: Any, **options: Any) -> Any:
    return sn.function(inputs, loss, updates=optimizer.minimize(loss), device="numpy", **options)


def playground() -> tuple[Any, Feeds]:
    """2-4-2-1 with tanh, a batch of 10, SGD."""
    x, y = sn.placeholder((10, 2), name="x"), sn.placeholder((10, 1), name="y")
    tanh = sn.nn.Tanh
    model = sn.nn.Sequential(
        sn.nn.Linear(2, 4), tanh(), sn.nn.Linear(4, 2), tanh(), sn.nn.Linear(2, 1)
    )
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=(10, 2)).astype("f"), rng.normal(size=(10, 1)).astype("f")]
    return _step(sn.nn.mse_loss(model(x), y), [x, y], sn.optim.SGD(lr=0.1)), feeds


def mlp(**options: Any) -> tuple[Any, Feeds]:
    """Two layers with gelu and dropout, cross entropy, Adam; sizes that no pack divides."""
    x, y = sn.placeholder((13, 21), name="x"), sn.placeholder((13,), "int64", "y")
    layers = [sn.nn.Linear(21, 34), sn.nn.GELU(), sn.nn.Dropout(0.2), sn.nn.Linear(34, 5)]
    loss = sn.nn.cross_entropy(sn.nn.Sequential(*layers)(x), y)
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=(13, 21)).astype("f"), rng.integers(0, 5, 13)]
    return _step(loss, [x, y], sn.optim.Adam(lr=0.01), **options), feeds


def mlp_bfloat16() -> tuple[Any, Feeds]:
    """The same with products in bfloat16."""
    return mlp(precision="bfloat16")


def float8() -> tuple[Any, Feeds]:
    """Layers whose products take 8 bits, of sizes that the library multiplies and one of others."""
    x = sn.placeholder((32, 48), name="x")
    layers = [sn.nn.LayerNorm(48), sn.nn.Linear(48, 64), sn.nn.GELU(), sn.nn.Linear(64, 48)]
    loss = sn.mean(sn.square(sn.nn.Sequential(*layers, sn.nn.Linear(48, 5))(x)))
    feeds = [np.random.default_rng(0).normal(size=(32, 48)).astype("f")]
    return _step(loss, [x], sn.optim.Adam(lr=0.01), precision="float8"), feeds


def softmax() -> tuple[Any, Feeds]:
    """The gradient of a weighted softmax, of rows that warps share."""
    x, w = sn.placeholder((7, 1001), name="x"), sn.variable(np.ones(1001, "f"), "w")
    loss = sn.sum(sn.square(sn.nn.softmax(x * w)))
    feeds = [np.random.default_rng(0).normal(size=(7, 1001)).astype("f")]
    return _step(loss, [x], sn.optim.SGD(lr=0.1, momentum=0.9)), feeds


def layer_norm() -> tuple[Any, Feeds]:
    """Layer norm with gain and bias, and its gradient."""
    x = sn.placeholder((30, 96), name="x")
    gain, bias = sn.variable(np.ones(96, "f"), "gain"), sn.variable(np.zeros(96, "f"), "bias")
    centred = x - sn.mean(x, 1, keepdims=True)
    scale = sn.rsqrt(sn.mean(sn.square(centred), 1, keepdims=True) + 1e-5)
    loss = sn.mean(sn.tanh(centred * scale * gain + bias))
    feeds = [np.random.default_rng(0).normal(size=(30, 96)).astype("f")]
    return _step(loss, [x], sn.optim.AdamW(lr=0.01)), feeds


def attention() -> tuple[Any, Feeds]:
    """Causal attention of two heads over 9 tokens, and its gradient."""
    batch, tokens, heads, size = 3, 9, 2, 8
    x = sn.placeholder((batch, tokens, heads * size), name="x")
    layer = sn.nn.Linear(heads * size, 3 * heads * size)
    parts = sn.reshape(layer(x), (batch, tokens, 3, heads, size))
    q, k, v = (sn.permute_dims(parts[:, :, i], (0, 2, 1, 3)) for i in range(3))
    scores = q @ sn.matrix_transpose(k) / size**0.5
    mask = sn.constant(np.tril(np.ones((tokens, tokens), bool)))
    weights = sn.nn.softmax(sn.where(mask, scores, -1e9))
    loss = sn.mean(sn.square(weights @ v))
    feeds = [np.random.default_rng(0).normal(size=(batch, tokens, heads * size)).astype("f")]
    return _step(loss, [x], sn.optim.SGD(lr=0.5)), feeds


def embedding() -> tuple[Any, Feeds]:
    """Rows of a table by tokens that repeat: the gradient adds to rows in order."""
    tokens = sn.placeholder((6, 11), "int64", "tokens")
    table = sn.variable(np.random.default_rng(1).normal(size=(50, 40)).astype("f"), "table")
    loss = sn.mean(sn.square(sn.tanh(sn.take(table, tokens, 0))))
    feeds = [np.random.default_rng(0).integers(0, 50, (6, 11))]
    return _step(loss, [tokens], sn.optim.Adam(lr=0.01)), feeds


def convnet() -> tuple[Any, Feeds]:
    """Convolutions in bfloat16, one of groups and one with a stride, and pooling between them."""
    x, y = sn.placeholder((5, 2, 10, 9), name="x"), sn.placeholder((5,), "int64", "y")
    layers = [
        sn.nn.Conv2d(2, 16, 3, padding=1), sn.nn.ReLU(), sn.nn.MaxPool2d(2),
        sn.nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=2), sn.nn.Flatten(),
        sn.nn.Linear(16 * 3 * 2, 4),
    ]  # fmt: skip
    loss = sn.nn.cross_entropy(sn.nn.Sequential(*layers)(x), y)
    rng = np.random.default_rng(0)
    feeds = [rng.normal(size=(5, 2, 10, 9)).astype("f"), rng.integers(0, 4, 5)]
    return _step(loss, [x, y], sn.optim.SGD(lr=0.1), precision="bfloat16"), feeds


STEPS: dict[str, Callable[[], tuple[Any, Feeds]]] = {
    f.__name__: f
    for f in (
        playground,
        mlp,
        mlp_bfloat16,
        float8,
        softmax,
        layer_norm,
        attention,
        embedding,
        convnet,
    )
}


def states(graph: Any) -> list[Any]:
    """The values of a graph's variables."""
    return [v.value for v in graph.variables]
