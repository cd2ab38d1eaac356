"""Copies and pickles: state of their own with equal values, and what is tied stays tied."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from side_by_side import in_threads

import staticnet as sn
from staticnet import nn, optim
from staticnet.errors import ArgumentError

COMPILES = True


def through_pickle(x: Any) -> Any:
    return pickle.loads(pickle.dumps(x))


both_ways = pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle])
DTYPES = ("bool", "int32", "uint64", "float16", "bfloat16", "float32", "float64")


class Net(nn.Module):
    """A model with a tied weight, a frozen one, a buffer, a dict and a Dropout."""

    def __init__(self) -> None:
        self.inner = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Dropout(0.5), nn.Tanh())
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.inner[0].weight
        self.heads = {"a": [nn.Linear(3, 2)]}
        self.heads["a"][0].bias.trainable = False
        self.seen = sn.variable(np.int64(3), trainable=False)

    def forward(self, x: Any) -> Any:
        return self.heads["a"][0](self.tied(self.inner(x)))


def built(model: Any, device: str = "numpy") -> Any:
    x = sn.placeholder((4, 3), name="x")
    return sn.function(x, model(x), device=device)


DATA = np.arange(12, dtype="float32").reshape(4, 3) / 12


@both_ways
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_copied_variable_is_another_of_equal_value(duplicate: Any, dtype: str) -> None:
    v = sn.variable(sn.constant([0, 1, 2], dtype).op.value.array, "v", trainable=False)  # type: ignore[attr-defined]
    w = duplicate(v)
    assert w is not v
    assert w.op != v.op
    assert (w.type, w.name, w.trainable, w.buffer) == (v.type, "v", False, True)
    np.testing.assert_array_equal(w.value, v.value)
    w.value = np.ones(3, "bool")
    assert not np.array_equal(w.value, v.value)


@both_ways
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_copied_model_computes_the_same_on_state_of_its_own(duplicate: Any, device: str) -> None:
    model = Net()
    built(model, device)(DATA)  # its dropout has counted a run
    other = duplicate(model)
    shared = {id(v) for v in model.parameters() + model.buffers()}
    assert not shared & {id(v) for v in other.parameters() + other.buffers()}
    for pairs in ("named_parameters", "named_buffers"):
        names = [name for name, _ in getattr(model, pairs)()]
        assert [name for name, _ in getattr(other, pairs)()] == names
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
    np.testing.assert_array_equal(built(other, device)(DATA), built(model, device)(DATA))


@both_ways
def test_tied_weights_stay_tied_and_frozen_ones_frozen(duplicate: Any) -> None:
    other = duplicate(Net())
    assert other.tied.weight is other.inner[0].weight
    assert not other.heads["a"][0].bias.trainable
    assert other.requires_grad_().heads["a"][0].bias.trainable
    assert not other.seen.trainable
    pair = duplicate([other.tied.weight, other.inner])
    assert pair[1][0].weight is pair[0]


@both_ways
def test_a_copied_dropout_counts_for_itself(duplicate: Any) -> None:
    model = Net()
    other = duplicate(model)
    built(other)(DATA)
    assert model.inner[1].counter.value == 0
    assert other.inner[1].counter.value == 1
    assert other.inner[1]._generator.counter is other.inner[1].counter


@both_ways
def test_a_copy_trains_alone(duplicate: Any) -> None:
    model = Net()
    before, other = model.state_dict(), duplicate(model)
    x = sn.placeholder((4, 3), name="x")
    loss = sn.mean(sn.square(other(x)))
    sn.function(x, loss, optim.SGD(lr=0.1).minimize(loss))(DATA)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert not np.array_equal(other.tied.bias.value, before["tied.bias"])


RULES: dict[str, Callable[[], Any]] = {
    "Adam": lambda: optim.Adam(lr=1e-2, betas=(0.8, 0.9)),
    "SGD": lambda: optim.SGD(lr=optim.schedule.StepLR(0.1, 3), momentum=0.9),
    "of a variable": lambda: optim.RMSprop(lr=sn.variable(np.float32(0.1))),
    "scaling": lambda: optim.LossScaling(optim.Adam()),
}


@both_ways
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_copied_rule_gives_the_same_updates(duplicate: Any, rule: Any) -> None:
    original = rule()
    results = []
    for each in (original, duplicate(original)):
        w, x = sn.variable(np.ones(3, "float32")), sn.placeholder((3,), name="x")
        loss = sn.sum(sn.square(w - x))
        step = sn.function(x, loss, each.minimize(loss))
        for _ in range(4):
            step(DATA[0])
        results.append(w.value)
    np.testing.assert_array_equal(*results)


@both_ways
@pytest.mark.parametrize("grouped", [False, True])
def test_a_copied_dynamic_optimizer_goes_on_alike(duplicate: Any, grouped: bool) -> None:
    model = nn.Linear(3, 2)
    groups = [{"params": [model.weight], "lr": 0.2}, {"params": [model.bias]}]
    rule = sn.dynamic.Optimizer(optim.Adam(lr=0.1), groups if grouped else model.parameters())

    def train(model: Any, rule: Any) -> None:
        rule.zero_grad()
        sn.sum(sn.square(model(sn.dynamic.tensor(DATA)))).backward()
        rule.step()

    train(model, rule)
    pairs = [(model, rule), duplicate((model, rule))]
    for each in pairs:
        train(*each)
        assert each[1].updates.step.value == 2
    first, second = (m.state_dict() for m, _ in pairs)
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)
    assert not set(pairs[0][1].parameters) & set(pairs[1][1].parameters)


def test_updates_are_copied_with_their_variables() -> None:
    w = sn.variable(np.ones(3, "float32"), "w")
    loss = sn.sum(sn.square(w))
    updates = optim.Adam().minimize(loss)
    w2, loss2, updates2 = copy.deepcopy((w, loss, updates))
    sn.function([], loss2, updates2)()
    assert updates2.state[w2]["exp_avg"].value.any()
    assert updates2.step.value == 1
    np.testing.assert_array_equal(w.value, 1)
    assert (w2.value < 1).all()


def test_a_variable_without_a_value_is_copied() -> None:
    text = "graph g() {\n  %0: f64[2] = variable(id=910001, dtype=f64, shape=[2])\n  return %0\n}"
    (v,) = sn.parse(text).variables
    assert v.array is None  # type: ignore[attr-defined]
    assert through_pickle(v).array is None
    assert copy.deepcopy(v).type == v.type


def test_a_shallow_copy_is_whole_or_refused() -> None:
    v = sn.variable(np.ones(2))
    other = copy.copy(v)
    other.value = np.zeros(2)
    np.testing.assert_array_equal(v.value, 1)
    for module in (nn.Linear(1, 1), nn.ModuleList(), nn.ModuleDict(), Net()):
        with pytest.raises(
            ArgumentError, match=r"shallow copy of .*; take copy\.deepcopy\(model\)"
        ):
            copy.copy(module)


def test_expressions_are_copied_with_their_variables() -> None:
    x, v = sn.placeholder((2,), name="x"), sn.variable(np.ones(2, "float32"))
    node = x * 2 + sn.constant([1.0, 2.0])
    assert copy.copy(node) is node
    assert copy.deepcopy(node) is node
    v2, sum2 = copy.deepcopy((v, node + v))
    assert sum2 is node + v2
    graph = sn.function(x, node + v).graph
    assert copy.copy(graph) is graph
    assert copy.deepcopy(graph).variables[0] is not graph.variables[0]
    deep = v
    for _ in range(3000):
        deep = deep + x
    assert copy.deepcopy(deep) is not deep


def test_what_does_not_pickle_says_what_to_do() -> None:
    x = sn.placeholder((2,), name="x")
    function = sn.function(x, x + 1)
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(ArgumentError, match=r"main: a compiled function .*export_c\(path\)"):
            act(function)
    for thing in (x, function.graph):
        with pytest.raises(TypeError, match=r"does not pickle; print .* sn\.parse"):
            pickle.dumps(thing)


def test_a_pickle_is_read_in_another_process(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    expected = built(copy.deepcopy(model))(DATA)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps((model, model[0].weight)))
    np.save(tmp_path / "data.npy", DATA)
    script = (
        "import pickle, sys, numpy as np, staticnet as sn\n"
        "folder = sys.argv[1]\n"
        "first = sn.variable(np.zeros(5))\n"
        "model, weight = pickle.load(open(folder + '/model.pickle', 'rb'))\n"
        "assert model[0].weight is weight and weight is not first\n"
        "x = sn.placeholder((4, 3), name='x')\n"
        "f = sn.function(x, model(x), device='numpy')\n"
        "np.save(folder + '/result.npy', f(np.load(folder + '/data.npy')))\n"
        "assert model[1].counter.value == 1\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=environment)
    np.testing.assert_array_equal(np.load(tmp_path / "result.npy"), expected)


def test_threads_make_variables_of_their_own() -> None:
    made: list[Any] = []
    in_threads(4, lambda _: made.extend(sn.variable(0.0) for _ in range(200)))
    assert len(set(map(id, made))) == 800


@pytest.mark.parametrize("room", [sn, nn, nn.functional, sn.linalg], ids=lambda x: x.__name__)
def test_public_functions_pickle_by_their_names(room: Any) -> None:
    public = [f for name, f in vars(room).items() if not name.startswith("_")]
    functions = [f for f in public if inspect.isfunction(f)]
    assert len(functions) > 10
    assert [f for f in functions if through_pickle(f) is not f] == []


def test_a_model_that_holds_functions_pickles() -> None:
    layers = [nn.TransformerEncoderLayer(4, 2, activation=f) for f in (nn.relu, sn.sigmoid)]
    model = nn.Sequential(*layers).eval()
    again = through_pickle(model)
    x = sn.constant(np.linspace(-1, 1, 12, dtype="float32").reshape(1, 3, 4))
    values = [sn.function([], m(x), device="numpy")() for m in (model, again)]
    assert values[0].tobytes() == values[1].tobytes()
