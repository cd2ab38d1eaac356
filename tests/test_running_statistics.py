"""Running statistics are updates of the graph that a call in training is in: nobody forgets one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn, optim
from staticnet.errors import ArgumentError

BATCHES = np.random.default_rng(0).normal(size=(4, 5, 3))


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 4, seed=1),
        nn.BatchNorm1d(4),
        nn.Tanh(),
        nn.BatchNorm1d(4, momentum=None),
        nn.Linear(4, 1, seed=2),
    ).double()


def feed(name: str = "running_x") -> Any:
    return sn.placeholder(("batch", 3), "float64", name)


def theirs_of(torch: Any, model: nn.Sequential) -> Any:
    t = torch.nn
    theirs = t.Sequential(
        t.Linear(3, 4), t.BatchNorm1d(4), t.Tanh(), t.BatchNorm1d(4, momentum=None), t.Linear(4, 1)
    ).double()
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in model.state_dict().items()})
    return theirs


def check_equal(model: nn.Module, theirs: Any, rtol: float = 1e-9) -> None:
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(
            model.state_dict()[name], value.numpy(), rtol, 1e-12, err_msg=name
        )


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def train_theirs(torch: Any, theirs: Any, batches: Any, every: int = 1) -> list[float]:
    rule, losses = torch.optim.SGD(theirs.parameters(), 0.1), []
    for i, batch in enumerate(batches):
        loss = (theirs(torch.from_numpy(batch)) ** 2).mean()
        (loss / every).backward()
        losses.append(loss.item())
        if (i + 1) % every == 0:
            rule.step()
            rule.zero_grad()
    return losses


class TestTraining:
    @pytest.mark.parametrize("device", ["numpy", "cpu"])
    def test_minimize_has_them(self, torch: Any, device: str) -> None:
        model, x = network(), feed()
        theirs = theirs_of(torch, model)
        loss = sn.mean(model(x) ** 2)
        updates = optim.SGD(0.1).minimize(loss)
        assert {model[1].running_mean, model[3].num_batches_tracked} <= updates.keys()
        assert "1.running_var f64[4] <- " in str(updates)
        step = sn.function(x, loss, updates=updates, device=device)
        losses = [float(step(batch)) for batch in BATCHES]
        np.testing.assert_allclose(losses, train_theirs(torch, theirs, BATCHES), 1e-9)
        check_equal(model, theirs)
        evaluate = sn.function(x, model.eval()(x), device=device)
        with torch.no_grad():
            expected = theirs.eval()(torch.from_numpy(BATCHES[0])).numpy()
        np.testing.assert_allclose(evaluate(BATCHES[0]), expected, 1e-9)
        check_equal(model, theirs)

    def test_a_function_has_them_without_minimize(self, torch: Any) -> None:
        model, x = network(), feed()
        theirs = theirs_of(torch, model)
        sn.function(x, model(x))(BATCHES[0])
        theirs(torch.from_numpy(BATCHES[0]))
        check_equal(model, theirs)
        gradients = sn.grad(sn.mean(model(x) ** 2), model.parameters())
        sn.function(x, gradients)(BATCHES[1])
        theirs(torch.from_numpy(BATCHES[1]))
        check_equal(model, theirs)

    def test_what_updates_name_is_what_they_become(self) -> None:
        model, x = network(), feed()
        mean = model[1].running_mean
        sn.function(x, model(x), updates={mean: mean + 1})(BATCHES[0])
        np.testing.assert_array_equal(mean.value, np.ones(4))
        assert model[3].num_batches_tracked.value == 1

    def test_accumulation_updates_them_every_run(self, torch: Any) -> None:
        model, x = network(), feed()
        theirs = theirs_of(torch, model)
        loss = sn.mean(model(x) ** 2)
        rule = optim.Accumulate(optim.SGD(0.1), steps=2)
        step = sn.function(x, loss, updates=rule.minimize(loss))
        for batch in BATCHES:
            step(batch)
        train_theirs(torch, theirs, BATCHES, every=2)
        check_equal(model, theirs)

    def test_a_skipped_step_leaves_them(self) -> None:
        model, x = network(), feed()
        loss = sn.mean(model(x) ** 2)
        step = sn.function(x, loss, updates=optim.skip_nonfinite(optim.SGD(0.1).minimize(loss)))
        before = model.state_dict()
        step(np.full((5, 3), np.inf))
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value, before[name])

    def test_run_has_them(self) -> None:
        model, x = network(), feed()
        loss = sn.mean(model(x) ** 2)
        step = sn.function(x, loss, updates=optim.SGD(0.1).minimize(loss))
        step.run(3, BATCHES.reshape(-1, 3), batch_size=5)
        assert model[1].num_batches_tracked.value == 3
        step.run(8, BATCHES.reshape(-1, 3), batch_size=5, shuffle=True)
        assert model[1].num_batches_tracked.value == 3 + 8

    def test_precision_and_a_memory_limit_keep_them(self) -> None:
        results = []
        for options in ({}, {"precision": "bfloat16"}, {"memory_limit": "4 KiB"}):
            x = sn.placeholder((64, 3), name="running_memory")
            model = nn.Sequential(nn.Linear(3, 4, seed=1), nn.BatchNorm1d(4), nn.ReLU())
            loss = sn.mean(model(x) ** 2)
            updates = optim.SGD(0.1).minimize(loss)
            try:
                step = sn.function(x, loss, updates=updates, device="cpu", **options)
            except sn.errors.MemoryLimitError:
                step = sn.function(x, loss, updates=updates, memory_limit="6 KiB", device="cpu")
            step(np.random.default_rng(1).normal(size=(64, 3)).astype("float32"))
            results.append(model[1].running_var.value)
        np.testing.assert_allclose(results[1], results[0], rtol=0.02)
        np.testing.assert_allclose(results[2], results[0], rtol=1e-6)

    def test_a_frozen_layer_in_eval_has_none(self) -> None:
        model, x = network(), feed()
        model[1].eval()
        y = model(x)
        assert set(model.updates()) == set(model[3].buffers())
        sn.function(x, y)(BATCHES[0])
        assert model[1].num_batches_tracked.value == 0
        untracked = nn.BatchNorm1d(3, track_running_stats=False).double()
        untracked(x)
        assert untracked.updates() == {}


class TestCalls:
    def test_updates_are_those_of_calls_not_compiled_yet(self) -> None:
        model, x = network(), feed()
        assert model.updates() == {}
        y = model(x)
        updates = model.updates()
        assert list(updates) == model.buffers()
        assert model[1].updates().keys() == set(model[1].buffers())
        sn.function(x, y, updates=updates)(BATCHES[0])
        assert model.updates() == {}
        assert model[1].num_batches_tracked.value == 1
        del y, updates

    def test_a_layer_called_twice_is_updated_twice(self, torch: Any) -> None:
        model, x, z = network(), feed(), feed("running_z")
        theirs = theirs_of(torch, model)
        loss = sn.mean(model(x)) + sn.mean(model(z))
        merged = {**optim.SGD(0.0).minimize(loss), **model.updates()}
        sn.function([x, z], loss, updates=merged)(BATCHES[0], BATCHES[1])
        for batch in BATCHES[:2]:
            theirs(torch.from_numpy(batch))
        check_equal(model, theirs)

    def test_equal_calls_are_one(self) -> None:
        model, x = network(), feed()
        sn.function(x, model(x) + model(x))(BATCHES[0])
        assert model[1].num_batches_tracked.value == 1

    def test_dynamic_execution_updates_at_once(self, torch: Any) -> None:
        model = network()
        theirs = theirs_of(torch, model)
        rule = sn.dynamic.Optimizer(optim.SGD(0.1), model.parameters())
        for batch in BATCHES:
            loss = sn.mean(model(sn.dynamic.tensor(batch)) ** 2)
            rule.zero_grad()
            loss.backward()
            rule.step()
        train_theirs(torch, theirs, BATCHES)
        check_equal(model, theirs)
        assert model.updates() == {}

    def test_functions_of_functions_keep_them(self, torch: Any) -> None:
        model, x = network(), feed()
        theirs = theirs_of(torch, model)

        def loss(x: Any) -> Any:
            return sn.mean(model(x) ** 2)

        makers = (
            lambda: sn.function(x, sn.grad(loss)(x))(BATCHES[0]),
            lambda: sn.function(x, sn.grad(sn.mean(sn.checkpoint(model)(x)), [x]))(BATCHES[0]),
            lambda: sn.function(x, sn.checkpoint(lambda x: (x, model(x)))(x)[1])(BATCHES[0]),
            lambda: sn.grad(loss)(sn.dynamic.tensor(BATCHES[0])),
            lambda: sn.checkpoint(model)(sn.dynamic.tensor(BATCHES[0])),
        )
        for make in makers:
            make()
            theirs(torch.from_numpy(BATCHES[0]))
            check_equal(model, theirs)

    def test_loops_choices_and_examples_refuse_them(self) -> None:
        model, x = network(), feed()
        xs = sn.placeholder((2, 5, 3), "float64", "running_xs")
        makers = (
            lambda: sn.scan(lambda c, x: (c, model(x)), 0.0, xs),
            lambda: sn.cond(sn.sum(x) > 0, model, lambda x: x[:, :1], x),
            lambda: sn.while_loop(lambda c: sn.sum(c) > 0, lambda c: c - sn.sum(model(x)), 1.0),
            lambda: sn.vmap(model)(xs),
        )
        for make in makers:
            with pytest.raises(ArgumentError, match=r"running_.*; call eval\(\)"):
                make()
        model.eval()
        for make in (makers[0], makers[1], makers[3]):
            make()
        whole = sn.vmap(lambda x: nn.BatchNorm1d(3).double()(xs[0]) + x, in_axes=0)(xs)
        assert whole.shape == (2, 5, 3)

    def test_copies_have_their_own(self) -> None:
        model, x = network(), feed()
        y = model(x)
        other = copy.deepcopy(model)
        sn.function(x, other(x))(BATCHES[0])
        assert other[1].num_batches_tracked.value == 1
        assert model[1].num_batches_tracked.value == 0
        assert y.shape == other(x).shape

    def test_a_graph_that_is_gone_leaves_nothing(self) -> None:
        model = network()
        model(feed())
        assert model.updates() == {}

    def test_an_empty_batch_changes_no_statistic(self) -> None:
        for shape in ((0, 3), ("batch", 3)):
            layer = nn.BatchNorm1d(3)
            x = sn.placeholder(shape, name=f"running_empty_{len(str(shape[0]))}")
            y = sn.function(x, layer(x))(np.zeros((0, 3), "float32"))
            assert y.shape == (0, 3)
            np.testing.assert_array_equal(layer.running_mean.value, np.zeros(3))
            np.testing.assert_array_equal(layer.running_var.value, np.ones(3))
            assert layer.num_batches_tracked.value == 1
            layer.reset_running_stats()
            assert layer.num_batches_tracked.value == 0

    def test_text_has_them(self) -> None:
        x = feed()
        layer = nn.BatchNorm1d(3).double()
        graph = sn.Graph("g", [x], [layer(x)])
        assert sn.parse(str(graph)) is graph
        assert "with_update" in str(graph)
