"""NumPy's integers, and arrays of them without axes, are ints wherever an int is taken."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn, optim
from staticnet.errors import ShapeError, StaticnetError
from staticnet.ir.tree import flatten
from staticnet.train import Trainer

COMPILES = True
KINDS: dict[str, Callable[[int], Any]] = {
    "int64": np.int64,
    "int8": np.int8,
    "array": np.array,
    "int32 array": lambda n: np.array(n, "int32"),
}
X = sn.placeholder((4, 6), name="x")
V = sn.placeholder((12,), name="v")
KEY = sn.random.key(3)
ROWS = sn.constant([[0], [1], [2], [3]])
Int = Callable[[int], Any]
# Each gives nodes, which are the same objects for equal arguments.
NODES: dict[str, Callable[[Int], Any]] = {
    "split": lambda i: sn.split(X, i(2), i(0)),
    "split in lengths": lambda i: sn.split(X, [i(1), i(3)], i(-2)),
    "unstack": lambda i: sn.unstack(X, i(1)),
    "reshape": lambda i: sn.reshape(X, (i(6), i(4))),
    "reshape to one axis": lambda i: sn.reshape(X, i(24)),
    "reshape by -1": lambda i: sn.reshape(X, (i(-1), i(3))),
    "reshape to -1": lambda i: sn.reshape(X, i(-1)),
    "flatten": lambda i: sn.flatten(X, i(0), i(1)),
    "expand_dims": lambda i: sn.expand_dims(X, i(1)),
    "expand_dims twice": lambda i: sn.expand_dims(X, (i(0), i(1))),
    "squeeze": lambda i: sn.squeeze(X[None], i(0)),
    "permute_dims": lambda i: sn.permute_dims(X, (i(1), i(0))),
    "swapaxes": lambda i: sn.swapaxes(X, i(0), i(1)),
    "moveaxis": lambda i: sn.moveaxis(X, i(0), i(1)),
    "broadcast_to": lambda i: sn.broadcast_to(V, (i(2), i(12))),
    "concat": lambda i: sn.concat([X, X], i(1)),
    "stack": lambda i: sn.stack([X, X], i(1)),
    "flip": lambda i: sn.flip(X, i(0)),
    "roll": lambda i: sn.roll(X, i(1), i(0)),
    "roll of all": lambda i: sn.roll(X, i(-3)),
    "roll of both": lambda i: sn.roll(X, (i(1), i(2)), (i(0), i(1))),
    "pad": lambda i: sn.pad(X, (i(1), i(2))),
    "pad each": lambda i: sn.pad(X, [(i(1), i(2)), (i(0), i(3))]),
    "tile": lambda i: sn.tile(X, i(2)),
    "tile both": lambda i: sn.tile(X, (i(2), i(3))),
    "repeat": lambda i: sn.repeat(X, i(2), axis=i(0)),
    "index": lambda i: (X[i(1)], X[i(-1), i(2)], X[i(1) : i(3), :: i(2)]),
    "take": lambda i: sn.take(X, ROWS[:, 0], axis=i(0)),
    "take_along_axis": lambda i: sn.take_along_axis(X, ROWS, i(1)),
    "one_hot": lambda i: sn.one_hot(ROWS[:, 0], i(4)),
    "sort": lambda i: (sn.sort(X, i(0)), sn.argsort(X, i(0)), *sn.top_k(X, i(2), i(1))),
    "reductions": lambda i: [
        f(X, axis=axis)
        for f in (sn.sum, sn.mean, sn.prod, sn.max, sn.min, sn.var, sn.std)
        for axis in (i(1), (i(0), i(1)))
    ],
    "argmax": lambda i: (sn.argmax(X, i(1)), sn.argmin(X, i(-1))),
    "cumulative": lambda i: (sn.cumulative_sum(X, axis=i(1)), sn.cumulative_prod(X, axis=i(0))),
    "var": lambda i: sn.var(X, correction=i(1)),
    "tensordot": lambda i: sn.tensordot(X, X, axes=i(2)),
    "tensordot of pairs": lambda i: sn.tensordot(X, X, axes=([i(0)], [i(0)])),
    "vecdot": lambda i: sn.vecdot(X, X, axis=i(1)),
    "creation": lambda i: (sn.zeros(i(3)), sn.ones((i(3), i(2))), sn.full(i(3), 1.0)),
    "eye": lambda i: (sn.eye(i(3), i(4), k=i(1)), sn.tril(X, k=i(1)), sn.triu(X, k=i(-1))),
    "arange": lambda i: sn.arange(i(1), i(9), i(2), dtype="int64"),
    "linspace": lambda i: sn.linspace(0.0, 1.0, i(5)),
    "placeholder": lambda i: sn.placeholder((i(3), "n"), name="p"),
    "random": lambda i: (
        sn.random.key(i(7), i(1)),
        sn.random.fold_in(KEY, i(2)),
        sn.random.uniform(KEY, i(2)),
        sn.random.normal(KEY, (i(2), i(3))),
        sn.random.randint(KEY, i(0), i(9), i(2)),
        sn.random.permutation(KEY, i(5)),
    ),
    "layers": lambda i: (nn.Softmax(i(1))(X), nn.Flatten(i(0), i(1))(X), nn.log_softmax(X, i(0))),
    "cross_entropy": lambda i: nn.cross_entropy(X, ROWS[:, 0], ignore_index=i(1)),
    "schedules": lambda i: [
        rate(sn.constant(3))
        for rate in (
            optim.StepLR(0.1, i(3)),
            optim.LinearLR(0.1, total_iters=i(3)),
            optim.PolynomialLR(0.1, total_iters=i(3)),
            optim.CosineAnnealingLR(0.1, i(3)),
            optim.OneCycleLR(0.1, i(30)),
            optim.SequentialLR([optim.StepLR(0.1, i(3)), optim.StepLR(0.2, i(2))], [i(5)]),
        )
    ],
}
# Each takes an array of ints where it takes a list of them.
LISTS: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "reshape": lambda a: sn.reshape(X, a([6, 4])),
    "split": lambda a: sn.split(X, a([1, 3])),
    "permute_dims": lambda a: sn.permute_dims(X, a([1, 0])),
    "moveaxis": lambda a: sn.moveaxis(X, a([0]), a([1])),
    "sum": lambda a: sn.sum(X, axis=a([0, 1])),
    "flip": lambda a: sn.flip(X, a([0, 1])),
    "roll": lambda a: sn.roll(X, a([1, 2]), a([0, 1])),
    "pad": lambda a: sn.pad(X, a([[1, 2], [0, 3]])),
    "tile": lambda a: sn.tile(X, a([2, 1])),
    "zeros": lambda a: sn.zeros(a([2, 3])),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def flat(result: Any) -> list[Any]:
    return flatten(result)[0]


@every_kind
@pytest.mark.parametrize("build", NODES.values(), ids=NODES)
def test_a_graph_is_the_same_for_numpys_integers(build: Any, kind: Int) -> None:
    wanted = flat(build(int))
    made = flat(build(kind))
    assert len(made) == len(wanted)
    assert all(a is b for a, b in zip(made, wanted, strict=True))


@pytest.mark.parametrize("build", LISTS.values(), ids=LISTS)
def test_an_array_is_a_list_of_ints(build: Any) -> None:
    assert all(a is b for a, b in zip(flat(build(np.array)), flat(build(list)), strict=True))


@every_kind
def test_tensors_take_numpys_integers(kind: Int) -> None:
    t = sn.dynamic.tensor(np.arange(24.0).reshape(4, 6))
    assert sn.split(t, kind(2), kind(1))[1].shape == (4, 3)
    assert sn.reshape(t, (kind(-1), kind(3))).shape == (8, 3)
    assert t[kind(1), kind(-1)].item() == 11
    assert sn.sum(t, axis=kind(0)).shape == (6,)
    assert sn.split(t, sn.dynamic.tensor(2))[0].shape == (2, 6)


@every_kind
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_functions_take_numpys_integers(kind: Int, device: str, tmp_path: Path) -> None:
    x = sn.placeholder(("b", 2), name="x")
    total = sn.function(x, sn.sum(x), device=device)
    data = np.arange(16, dtype="float32").reshape(8, 2)
    options = {"batch_size": 4, "shuffle": True, "seed": 3}
    given = {"batch_size": kind(4), "shuffle": True, "seed": kind(3)}
    wanted = total.run(4, data, **options)
    np.testing.assert_array_equal(total.run(kind(4), data, **given), wanted)
    assert total.specialize(b=kind(4)) is total.specialize(b=4)
    assert type(total.specialize(b=kind(3)).dims["b"]) is int
    assert total.explain(b=kind(4)) == total.explain(b=4)
    assert total.as_text("fusion", b=kind(5)) == total.as_text("fusion", b=5)
    assert len(total.passes(b=kind(5))) == len(total.passes(b=5))
    assert total.cost_analysis(b=kind(5)).flops == total.cost_analysis(b=5).flops
    assert total.memory_analysis(b=kind(5)).peak == total.memory_analysis().peak.at(b=kind(5))
    assert total.max_dim("b", bytes=np.int64(10_000)) == total.max_dim("b", bytes=10_000)
    assert total.document(b=kind(4))["dims"] == {"b": 4}
    total.profile(data, repeat=kind(2))
    assert total.export_c(tmp_path / "a.c", b=kind(4))


@every_kind
def test_training_takes_numpys_integers(kind: Int) -> None:
    x = sn.placeholder(("b", 2), name="x")
    linear = nn.Linear(kind(2), kind(3), seed=kind(1))
    np.testing.assert_array_equal(linear.weight.value, nn.Linear(2, 3, seed=1).weight.value)
    assert nn.Embedding(kind(4), kind(2), seed=kind(1)).weight.shape == (4, 2)
    assert nn.Dropout(0.5, seed=kind(1))._generator.seed == nn.Dropout(0.5, seed=1)._generator.seed
    loss = sn.mean(sn.square(linear(x)))
    rule = optim.Accumulate(optim.LossScaling(optim.SGD(), growth_interval=kind(3)), kind(2))
    step = sn.function(x, loss, rule.minimize(loss), device="numpy")
    data = [np.ones((8, 2), "float32")]
    assert len(step.run(kind(2), *data, batch_size=kind(4), seed=kind(5))) == 2
    trainer = Trainer(linear, nn.mse_loss, optim.SGD(), device="numpy", accumulate=kind(2))
    pair = (data[0], np.ones((8, 3), "float32"))
    options = {"epochs": kind(2), "batch_size": kind(4), "seed": kind(5), "progress": False}
    assert len(trainer.fit(pair, **options).step_losses) == 4
    sn.manual_seed(kind(3))
    first = nn.Linear(2, 2).weight.value
    sn.manual_seed(3)
    np.testing.assert_array_equal(first, nn.Linear(2, 2).weight.value)


@every_kind
def test_dims_take_numpys_integers(kind: Int) -> None:
    n = sn.Dim("n")
    assert n + kind(1) == n + 1
    assert n * kind(100) * 100 == n * 10_000
    assert (n + 5) // kind(2) == (n + 5) // 2
    assert (n * 4) // kind(2) == n * 2
    with pytest.raises(ShapeError, match="divisor"):
        n // kind(0)
    for wrong in (1.5, "1", None):
        with pytest.raises(ShapeError, match="made of ints"):
            n + wrong


WRONG = [
    True,
    np.True_,
    np.array(True),
    2.0,
    np.float32(2),
    np.array(2.0),
    np.array([2]),
    "2",
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_what_is_no_int_is_refused(wrong: Any) -> None:
    x = sn.placeholder(("b", 2), name="x")
    f, data = sn.function(x, sn.sum(x), device="numpy"), np.ones((8, 2), "float32")
    acts: list[Callable[[], Any]] = [
        lambda: sn.unstack(X, wrong),
        lambda: sn.reshape(X, (wrong, 12)),
        lambda: sn.linspace(0.0, 1.0, wrong),
        lambda: sn.random.key(wrong),
        lambda: nn.Linear(wrong, 1),
        lambda: optim.StepLR(0.1, wrong),
        lambda: optim.Accumulate(optim.SGD(), wrong),
        lambda: f.run(wrong, data),
        lambda: f.run(1, data, seed=wrong),
        lambda: f.specialize(b=wrong),
        lambda: f.passes(b=wrong),
        lambda: f.as_text(b=wrong, after="fusion"),
        lambda: f.profile(data, repeat=wrong),
        lambda: Trainer(nn.ReLU(), nn.mse_loss).fit((data, data), epochs=wrong),
        lambda: Trainer(nn.ReLU(), nn.mse_loss).fit((data, data), batch_size=wrong),
    ]
    for act in acts:
        with pytest.raises(StaticnetError):
            act()


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">i8", ">u2", ">f2"])
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_big_endian_arrays_are_converted(dtype: str, device: str) -> None:
    data = np.arange(6).reshape(2, 3).astype(dtype)
    native = data.dtype.newbyteorder("=")
    x = sn.placeholder((2, 3), native, "x")
    f = sn.function(x, x * 2, device=device)
    for result in (f(data), f(x=data), f.run(1, data)[0]):
        np.testing.assert_array_equal(result, data.astype(native) * 2)
        assert result.dtype.isnative
    for made in (sn.variable(data).value, sn.dynamic.tensor(data).numpy()):
        np.testing.assert_array_equal(made, data)
        assert made.dtype == native
    assert sn.constant(data) is sn.constant(data.astype(native))
    assert sn.placeholder((2,), data.dtype, "y").dtype == native
    np.testing.assert_array_equal((sn.dynamic.tensor(data) + data).numpy(), data.astype(native) * 2)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32", "float64"])
def test_arrays_out_of_a_pickle_are_as_others(dtype: str) -> None:
    data = pickle.loads(pickle.dumps(np.ones((2, 3), dtype)))
    x = sn.placeholder((2, 3), dtype, "x")
    assert sn.function(x, x, device="cpu")(data).sum() == 6
    assert sn.constant(data) is sn.constant(np.ones((2, 3), dtype))
    assert sn.variable(data).dtype == dtype
    t = sn.dynamic.as_tensor(data)
    assert sn.sum(sn.where(t == t, sn.stack([t, t]), t)).item() == 12
    assert sn.zeros((2,), data.dtype).dtype == dtype


@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_real_numbers_take_them_as_pythons(kind: str) -> None:
    n = KINDS[kind]
    assert sn.sqrt(n(4)) is sn.sqrt(4)
    assert sn.divide(n(1), n(2)) is sn.divide(1, 2)
    assert sn.hypot(3, n(4)) is sn.hypot(3, 4)
    assert sn.sqrt(n(4)).dtype == "float32"
