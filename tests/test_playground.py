"""The playground's parts: states, data, networks, derivatives, frames and the thread of a tab."""

from __future__ import annotations

import inspect
import json
import threading
import time
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError
from staticnet.playground import compiled, config, frames, messages
from staticnet.playground.config import Config
from staticnet.playground.data import DATASETS, grid, sample
from staticnet.playground.derivation import Derivation, slope, unit_rules
from staticnet.playground.engines import Compiled, Dynamic, seconds_per_step
from staticnet.playground.mailbox import MOST, Mailbox
from staticnet.playground.messages import Act, Assign, Configure, Place, Select, Show
from staticnet.playground.model import SIDE, SMALL, Model
from staticnet.playground.session import Session
from staticnet.playground.told import welcome

BAD = {
    "dataset": ["moon", 1, None, ["xor"]],
    "noise": [-1, 51, 1.5, True, "5", None],
    "split": [0, 100, "50"],
    "features": [[], ["z"], "x", [["x"]], ["x"] * 8, None],
    "layers": [[9], [0], [1] * 7, [True], [1.0], "4", [None]],
    "activation": ["softmax", 0],
    "loss": ["mse"],
    "optimizer": ["UpdateRule", "__init__", "LBFGS"],
    "lr": [-1, 101, float("nan"), float("inf"), 10**400, True, "0.1", None],
    "penalty": ["l3"],
    "rate": [-0.1, float("-inf")],
    "batch": [0, 31, 2.5],
    "seed": [-1, 2**31],
    "engine": ["jit"],
    "without": [["nothing"], "cse", [1]],
    "pace": ["slow"],
    "discrete": [0, 1, "true", None],
    "test": ["1"],
}


def some_config(rng: np.random.Generator) -> Config:
    """A state with each field drawn at random."""

    def some(names: Any, least: int = 0) -> tuple[str, ...]:
        chosen = set(rng.permutation(len(names))[: rng.integers(least, len(names) + 1)])
        return tuple(name for i, name in enumerate(names) if i in chosen)

    dataset = str(rng.choice(list(DATASETS)))
    losses = config.LOSSES if DATASETS[dataset].classes else config.LOSSES[:2]
    return Config(
        dataset, int(rng.integers(51)), int(rng.integers(10, 91)), some(config.FEATURES, 1),
        tuple(int(n) for n in rng.integers(1, 9, rng.integers(7))),
        str(rng.choice(config.ACTIVATIONS)), str(rng.choice(losses)),
        str(rng.choice(config.OPTIMIZERS)), float(rng.uniform(0, 1)),
        str(rng.choice(config.PENALTIES)), float(rng.uniform(0, 0.01)), int(rng.integers(1, 31)),
        int(rng.integers(1000)), str(rng.choice(config.ENGINES)), some(config.PASSES),
        str(rng.choice(list(config.PACES))), bool(rng.integers(2)), bool(rng.integers(2)),
    )  # fmt: skip


class TestStates:
    def test_states_read_back_from_json_and_from_an_address(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(200):
            state = some_config(rng)
            assert Config.from_json(json.loads(json.dumps(state.to_json()))) == state
            assert Config.from_query(state.to_query()) == state
        assert Config().to_query() == ""
        assert Config(layers=()).to_query() == "layers="

    @pytest.mark.parametrize("name", list(BAD))
    def test_what_is_no_value_is_refused(self, name: str) -> None:
        for value in BAD[name]:
            with pytest.raises(ArgumentError, match=f"playground: {name} must be"):
                Config.from_json({name: value})

    @pytest.mark.parametrize(
        "query", ["lr=x", "lr=nan", "layers=4,", "layers=4;2", "what=1", "batch=1e1", "test=yes",
                  "seed=99999999999", "noise=٣", "features=", "a" * 3000, "=", "lr"],
    )  # fmt: skip
    def test_addresses_that_say_nothing_are_refused(self, query: str) -> None:
        with pytest.raises(ArgumentError, match="playground: "):
            Config.from_query(query)

    @pytest.mark.parametrize("given", [None, 3, "x", ["lr"], {"what": 1}, {"__class__": "x"}])
    def test_other_things_than_states_are_refused(self, given: Any) -> None:
        with pytest.raises(ArgumentError, match="playground: "):
            Config.from_json(given)

    def test_the_logistic_loss_is_for_classes(self) -> None:
        with pytest.raises(ArgumentError, match="use square or huber"):
            Config.from_json({"dataset": "plane", "loss": "logistic"})

    def test_every_rule_of_the_library_can_be_chosen(self) -> None:
        rules = {
            name
            for name in sn.optim.__all__
            if inspect.isclass(rule := getattr(sn.optim, name))
            and issubclass(rule, sn.optim.UpdateRule)
        } - {"UpdateRule"}
        assert rules | {"Momentum", "Nesterov", "AMSGrad"} == set(config.OPTIMIZERS)

    def test_a_page_is_told_the_bounds(self) -> None:
        bounds = json.loads(json.dumps(welcome("key")))["bounds"]
        assert (bounds["split"], bounds["noise"], bounds["batch"]) == ([10, 90], [0, 50], [1, 30])
        assert (bounds["layers"], bounds["units"]) == ([0, 6], [1, 8])
        assert bounds["value"] == [-1000, 1000]


class TestMessages:
    def test_messages_are_read(self) -> None:
        assert messages.read('{"kind": "play"}') == Act("play")
        assert messages.read('{"kind": "show", "unit": [1, 0]}') == Show((1, 0))
        assert messages.read('{"kind": "show", "unit": null}') == Show(None)
        place = '"layer": 0, "to": 1, "source": null'
        assert messages.read(f'{{"kind": "select", {place}}}') == Select(Place(0, 1, None))
        assigned = messages.read(f'{{"kind": "assign", {place}, "value": 2}}')
        assert assigned == Assign(Place(0, 1, None), 2.0)
        opened = messages.read('{"kind": "open", "query": "batch=5", "serial": 7}')
        assert opened == Configure(Config(batch=5), 7)

    @pytest.mark.parametrize(
        "text",
        [b"\0", b'{"kind": "play"}', "", "{", "[]", "null", "3", '"play"', "{}", '{"kind": 1}',
         '{"kind": ["play"]}', '{"kind": "stop"}', '{"kind": "play", "more": 1}', "[" * 5000,
         '{"kind": "details"}',
         '{"kind": "show", "unit": [7, 0]}', '{"kind": "show", "unit": [0]}',
         '{"kind": "show", "unit": {"0": 1}}', '{"kind": "open", "query": 1, "serial": 1}',
         '{"kind": "open", "query": "", "serial": -1}',
         '{"kind": "configure", "config": null}', '{"kind": "configure"}',
         '{"kind": "assign", "layer": 0, "to": 0, "source": 0, "value": NaN}',
         '{"kind": "assign", "layer": 0, "to": 0, "source": -1, "value": 1}',
         '{"kind": "open", "query": "' + "a" * 9000 + '"}', "9" * 5000, "\ud800"],
    )  # fmt: skip
    def test_what_is_none_is_refused(self, text: str | bytes) -> None:
        with pytest.raises(ArgumentError, match="playground: "):
            messages.read(text)

    def test_a_mailbox_keeps_the_newest_state_and_is_bounded(self) -> None:
        box = Mailbox()
        for batch in (1, 2, 3):
            assert box.put(Configure(Config(batch=batch)))
        assert box.put(Act("drawn"))
        assert box.put(Configure(Config(batch=4)))
        wanted = [Configure(Config(batch=3)), Act("drawn"), Configure(Config(batch=4))]
        assert box.take(0) == wanted
        assert all(box.put(Show((0, i))) for i in range(MOST))
        assert not box.put(Show(None))
        box.close()
        assert box.take(None) is None
        assert not box.put(Act("play"))


class TestData:
    def test_points_are_those_of_their_definitions(self) -> None:
        drawn = {name: sample(name, 0, 50, 1) for name in DATASETS}
        for name, points in drawn.items():
            n = DATASETS[name].count
            assert len(points.train) == len(points.test) == n // 2
            assert points.train.shape == (n // 2, 2)
            assert points.train_labels.shape == (n // 2, 1)
        x = {name: np.concatenate([p.train, p.test]) for name, p in drawn.items()}
        y = {n: np.concatenate([p.train_labels, p.test_labels])[:, 0] for n, p in drawn.items()}
        far = np.hypot(*x["circle"].T)
        assert ((far < 2.5) == (y["circle"] > 0)).all()
        assert not ((far > 2.5) & (far < 3.5)).any()
        assert (np.sign(x["xor"].prod(1)) == y["xor"]).all()
        assert np.abs(x["xor"]).min() >= 0.3
        np.testing.assert_allclose(x["gauss"][y["gauss"] > 0].mean(0), 2, atol=0.2)
        np.testing.assert_allclose(y["plane"], x["plane"].sum(1) / 10, rtol=1e-5, atol=1e-6)
        turns = np.hypot(*x["spiral"].T) / 5 * 1.75 * 2 * np.pi
        angle = np.arctan2(*x["spiral"].T) + np.where(y["spiral"] > 0, 0, np.pi)
        np.testing.assert_allclose(np.cos(turns), np.cos(angle), atol=1e-4)
        top = np.hypot(*(x["bumps"] - [0, -2.5]).T).argmin()
        assert y["bumps"][top] == pytest.approx(1 - np.hypot(*(x["bumps"][top] - [0, -2.5])) / 2)

    def test_noise_split_and_seed(self) -> None:
        clean, noisy = sample("spiral", 0, 90, 3), sample("spiral", 50, 90, 3)
        assert len(clean.train) == 450
        assert 0 < np.abs(clean.train - noisy.train).max() < 0.51
        assert (sample("xor", 0, 10, 1).train != sample("xor", 0, 10, 2).train).any()
        cells = grid(3)
        np.testing.assert_allclose(cells[[0, 2, 6]], [[-4, 4], [4, 4], [-4, -4]], atol=1e-6)


def trained(engine: Any, model: Model, state: Config) -> list[Any]:
    """The parameters after some steps."""
    points = sample(state.dataset, state.noise, state.split, state.seed)
    engine.advance(points.train, points.train_labels, 1, 1e9)
    return [w.value for w in model.parameters]


def compare(state: Config) -> None:
    both = []
    for kind in (Compiled, Dynamic):
        model = Model(state)
        both.append(trained(kind(model), model, state))
    for static, dynamic in zip(*both, strict=True):
        np.testing.assert_allclose(static, dynamic, rtol=2e-3, atol=2e-4)


class TestModel:
    def test_both_ways_train_alike(self) -> None:
        compare(Config(penalty="l2", rate=0.01, features=("x", "xy", "sinx"), optimizer="Adam"))

    @pytest.mark.slow
    @pytest.mark.parametrize("optimizer", config.OPTIMIZERS)
    def test_every_optimizer_both_ways(self, optimizer: str) -> None:
        for loss in ("square", "logistic"):
            compare(Config(optimizer=optimizer, loss=loss, split=10, lr=0.01))

    @pytest.mark.slow
    def test_random_states_make_models_that_train(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(12):
            state = some_config(rng)
            model = Model(state)
            engine = config_engine(state)(model)
            points = sample(state.dataset, state.noise, state.split, state.seed)
            assert engine.advance(points.train, points.train_labels, 1, 0.05) > 0
            look = model.look(points.train, points.train_labels)
            assert len(frames.pack([0.0] * len(frames.NUMBERS), model, look, None)) > SIDE * SIDE

    def test_gradients_are_those_of_backpropagation_by_hand(self) -> None:
        state = Config(penalty="l1", rate=0.1)
        model, points = Model(state), sample("circle", 0, 50, 0)
        x, y = points.train.astype(float), points.train_labels.astype(float)
        w = [p.value.astype(float) for p in model.parameters]
        a = np.tanh(x @ w[0].T + w[1])
        b = np.tanh(a @ w[2].T + w[3])
        out = np.tanh(b @ w[4].T + w[5])
        d3 = (out - y) * (1 - out**2) / len(x)
        d2 = d3 @ w[4] * (1 - b**2)
        d1 = d2 @ w[2] * (1 - a**2)
        wanted = [d1.T @ x, d1.sum(0), d2.T @ a, d2.sum(0), d3.T @ b, d3.sum(0)]
        for i in (0, 2, 4):
            wanted[i] = wanted[i] + 0.1 * np.sign(w[i])
        look = model.look(points.train, points.train_labels)
        for got, expected in zip(look.gradients, wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
        assert look.loss == pytest.approx(np.mean((out - y) ** 2) / 2, rel=1e-5)
        assert look.accuracy == pytest.approx(np.mean((out >= 0) == (y > 0)))
        np.testing.assert_allclose(look.spread[0], np.ptp(a, 0), rtol=1e-4)
        assert model.judge(points.train, points.train_labels)[0] == pytest.approx(look.loss)

        told = Derivation(model, Place(0, 2, 1)).told(points.train, points.train_labels)
        assert told["gradient"] == pytest.approx(wanted[0][2, 1], rel=1e-4)
        assert told["difference"] == pytest.approx(told["gradient"], rel=0.02)
        assert look.worst == np.abs(out - y).argmax()
        one = [(d * len(x))[look.worst] for d in (d3, d2, d1)]
        numbers = [step["numbers"] for step in told["steps"]]
        for at, expected in ((0, one[0]), (2, one[1]), (4, one[2])):
            np.testing.assert_allclose(numbers[at], expected, rtol=1e-3, atol=1e-7)
        np.testing.assert_allclose(numbers[5], [one[2][2] * x[look.worst, 1]], rtol=1e-3)

    def test_a_units_derivative_is_worked_out(self) -> None:
        first, *_ = unit_rules("tanh", bias=False)
        assert first[0].startswith("d/dw[tanh(w * x + rest)] = d/dw[w * x + rest] * (1 - tanh(")
        assert "chain rule" in first[1]
        assert [slope(a) for a in ("tanh", "linear")] == ["1 - tanh(z)**2", "1"]
        for activation in config.ACTIVATIONS:
            assert unit_rules(activation, bias=True)
            assert "…" not in slope(activation)

    def test_a_dead_unit_is_seen(self) -> None:
        model, points = Model(Config(activation="relu")), sample("circle", 0, 50, 0)
        bias = model.parameters[1]
        bias.value = np.array([0, -100, 0, 0], np.float32)
        look = model.look(points.train, points.train_labels)
        packed = frames.pack([1.0] * len(frames.NUMBERS), model, look, (0, 1))
        at = 8 * len(frames.NUMBERS) + 2 * 4 * 25
        assert list(packed[at : at + 4]) == [0, 1, 0, 0]
        assert len(packed) == at + 6 + 7 * SMALL**2 + SIDE**2
        assert packed[-SIDE * SIDE :] == bytes(SIDE * SIDE)

    @pytest.mark.slow
    def test_measuring_leaves_everything_as_it_was(self) -> None:
        state = Config(optimizer="Adam")
        points = sample("circle", 0, 10, 0)
        for kind in (Compiled, Dynamic):
            model = Model(state)
            engine = kind(model)
            engine.advance(points.train, points.train_labels, 1, 0.0)  # of the dynamic one a step
            before = [v.value.copy() for v in engine.updates]
            at = engine.next_batch
            assert seconds_per_step(engine, points.train, points.train_labels) > 0
            assert engine.next_batch == at == int(kind is Dynamic)
            for variable, value in zip(engine.updates, before, strict=True):
                np.testing.assert_array_equal(variable.value, value)


def config_engine(state: Config) -> Any:
    return {"static": Compiled, "dynamic": Dynamic}[state.engine]


class Tab:
    """A session, and what it said; it draws each frame at once."""

    def __init__(self, state: Config) -> None:
        self.texts: list[Any] = []
        self.frames: list[bytes] = []
        self.changed = threading.Condition()
        self.session = Session(self.tell, self.show)
        self.session.post(Configure(state))
        self.session.post(Act("drawn"))

    def tell(self, message: Any) -> None:
        with self.changed:
            self.texts.append(json.loads(json.dumps(message)))
            self.changed.notify_all()

    def show(self, frame: bytes) -> None:
        with self.changed:
            self.frames.append(frame)
            self.changed.notify_all()

    def wait(self, until: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(until, 120), self.texts[-1:]

    def last(self) -> dict[str, float]:
        told = np.frombuffer(self.frames[-1][: 8 * len(frames.NUMBERS)])
        return dict(zip(frames.NUMBERS, told.tolist(), strict=True))

    def next(self) -> dict[str, float]:
        count = len(self.frames)
        self.session.post(Act("drawn"))
        self.wait(lambda: len(self.frames) > count)
        return self.last()

    def said(self, kind: str, count: int = 1) -> Any:
        self.wait(lambda: sum(t["kind"] == kind for t in self.texts) >= count)
        return [t for t in self.texts if t["kind"] == kind][-1]


@pytest.fixture
def tab() -> Any:
    made = Tab(Config(split=10))
    yield made
    made.session.end()
    assert made.session.join(60)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _threads():
        time.sleep(0.01)
    assert not _threads()


def _threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("playground")]


class TestSession:
    def test_a_tab_trains_pauses_and_draws_only_what_was_asked_for(self, tab: Any) -> None:
        tab.said("compiled")
        tab.session.post(Act("play"))
        while tab.next()["steps"] == 0:
            pass
        assert tab.last()["playing"] == 1
        count = len(tab.frames)
        steps = tab.session.ask(lambda s: s._steps).result(60)
        while tab.session.ask(lambda s: s._steps).result(60) == steps:
            pass
        assert len(tab.frames) == count  # nobody drew the last one
        tab.session.post(Act("pause"))
        while tab.next()["playing"]:
            pass
        steps = tab.last()["steps"]
        tab.session.post(Act("step"))
        assert tab.next()["steps"] == steps + 5
        tab.session.post(Act("reset"))
        assert tab.next()["steps"] == 0

    def test_a_thread_that_fails_says_so_and_answers_no_more(
        self, tab: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tab.said("compiled")
        monkeypatch.setattr(tab.session.engine, "advance", lambda *given: 1 / 0)
        tab.session.post(Act("step"))
        assert "division" in tab.said("error")["text"]
        with pytest.raises(ArgumentError, match="busy or closed"):
            tab.session.ask(lambda s: s.config).result(60)

    def test_a_state_that_comes_while_a_tab_closes_ends_no_thread_by_an_error(
        self, tab: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        tab.said("compiled")
        tab.session._builder.shutdown()
        tab.session.post(Configure(Config(layers=(3,))))
        assert tab.session.ask(lambda s: s.config.layers).result(60) == (3,)
        assert not caplog.records

    @pytest.mark.slow
    def test_a_change_keeps_what_it_can(self, tab: Any) -> None:
        tab.said("compiled")
        tab.session.post(Act("step"))

        def weights() -> Any:
            return tab.session.ask(lambda s: s.model.parameters[0].value.copy()).result(60)

        before, generation = weights(), tab.next()["generation"]
        tab.session.post(Configure(Config(split=10, lr=0.5, discrete=True)))
        assert tab.next()["generation"] == generation
        rate = tab.session.ask(lambda s: float(s.model.lr.value)).result(60)
        assert rate == np.float32(0.5)
        tab.session.post(Configure(Config(split=10, engine="dynamic", batch=5)))
        tab.said("compiled", 2)
        assert tab.next()["generation"] == generation + 1
        np.testing.assert_array_equal(weights(), before)
        assert tab.last()["steps"] == 5
        tab.session.post(Configure(Config(split=10, activation="relu")))
        assert tab.next()["steps"] == 0
        assert (weights() != before).any()

    @pytest.mark.slow
    def test_a_weight_is_chosen_and_changed(self, tab: Any) -> None:
        tab.said("compiled")
        tab.session.post(Configure(Config(split=10, optimizer="Adam")))
        tab.said("compiled", 2)
        tab.session.post(Select(Place(1, 1, 3)))
        told = tab.said("selected")
        assert told["name"] == "weight from hidden 1, unit 4 to hidden 2, unit 2"
        assert set(told["state"]) == {"exp_avg", "exp_avg_sq"}
        tab.session.post(Assign(Place(1, 1, 3), 0.75))
        assert tab.said("selected", 2)["value"] == 0.75
        for place in (Place(3, 0, 0), Place(2, 1, 0), Place(0, 0, 2)):  # there are none
            tab.session.post(Select(place))
            tab.session.post(Assign(place, 1.0))
        tab.session.post(Show((1, 1)))
        tab.next()
        tab.session.post(Show((5, 7)))
        tab.next()
        assert not [t for t in tab.texts if t["kind"] == "error"]

    @pytest.mark.slow
    def test_what_was_compiled_is_told(self, tab: Any) -> None:
        tab.said("compiled")
        page = tab.session.ask(lambda s: compiled.page(s.engine)).result(60)
        assert "Function step" in page
        told = tab.session.ask(lambda s: compiled.details(s.engine)).result(60)
        assert len(told["kernels"]) == told["totals"]["kernels"]
        assert told["arena"].startswith("<svg")
        tab.session.post(Configure(Config(split=10, engine="dynamic")))
        tab.said("compiled", 2)
        with pytest.raises(ArgumentError, match="switch to static"):
            tab.session.ask(lambda s: compiled.page(s.engine)).result(60)
