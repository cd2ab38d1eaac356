"""Modules' state: registration, dtypes, and exchange with PyTorch."""

from __future__ import annotations

import logging
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, MissingNameError, StateError


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))


class Registered(nn.Module):
    def __init__(self) -> None:
        self.register_parameter("scale", np.ones(3, "float32"))
        self.register_buffer("mean", np.zeros(3, "float32"))
        self.register_buffer("seen", np.int64(0), persistent=False)
        self.register_buffer("later", None)
        self.add_module("inner", nn.Linear(3, 3))

    def forward(self, x: Any) -> Any:
        return self.inner(x * self.scale + self.mean)


class TestRegistration:
    def test_what_is_registered_is_an_attribute(self) -> None:
        model = Registered()
        assert [n for n, _ in model.named_parameters()] == ["scale", "inner.weight", "inner.bias"]
        assert [n for n, _ in model.named_buffers()] == ["mean", "seen"]
        assert list(model.state_dict()) == ["scale", "mean", "inner.weight", "inner.bias"]
        assert model.later is None
        model.register_buffer("later", np.ones(2))
        model.register_buffer("mean", model.mean, persistent=False)
        assert "later" in model.state_dict()
        assert "mean" not in model.state_dict()
        assert list(model.children()) == [model.inner]

    def test_wrong_ones_are_refused(self) -> None:
        model = Registered()
        for act in (
            lambda: model.register_buffer("forward", np.ones(2)),
            lambda: model.register_buffer("a.b", np.ones(2)),
            lambda: model.register_buffer("inner", np.ones(2)),
            lambda: model.register_buffer("scale", np.ones(2)),
            lambda: model.register_buffer("scale", model.scale),
            lambda: model.register_buffer("kept", model.inner.weight),
            lambda: model.register_parameter("mean", np.ones(2)),
            lambda: model.register_parameter("mean", model.mean),
            lambda: model.register_parameter("", np.ones(2)),
            lambda: model.register_parameter(3, np.ones(2)),  # type: ignore[arg-type]
            lambda: model.add_module("other", np.ones(2)),  # type: ignore[arg-type]
            lambda: model.add_module("scale", nn.ReLU()),
        ):
            with pytest.raises(ArgumentError):
                act()
        with pytest.raises(DTypeError):
            model.register_buffer("words", "text")
        assert [n for n, _ in model.named_parameters()] == ["scale", "inner.weight", "inner.bias"]
        model.register_parameter("scale", model.scale)
        model.add_module("inner", model.inner)

    def test_parts_are_found_by_name(self) -> None:
        model = nn.Sequential(Registered())
        assert model.get_submodule("0.inner") is model[0].inner
        assert model.get_submodule("") is model
        assert model.get_parameter("0.inner.bias") is model[0].inner.bias
        assert model.get_buffer("0.seen") is model[0].seen
        with pytest.raises(MissingNameError, match=r"parameters.*'0\.scal'; did you mean 0\.scale"):
            model.get_parameter("0.scal")
        with pytest.raises(MissingNameError):
            model.get_submodule("1")

    def test_apply_visits_what_is_below_first(self) -> None:
        model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
        seen: list[Any] = []
        assert model.apply(seen.append) is model
        assert seen == [model[0], model[1][0], model[1], model]


class TestDtypes:
    @pytest.mark.parametrize("name", ["float64", "float16", "bfloat16", "float32"])
    def test_a_model_changes_in_place(self, name: str) -> None:
        model = network()
        short = {"float64": "double", "float16": "half", "float32": "float"}.get(name, name)
        before = model.state_dict()
        assert getattr(model, short)() is model
        assert {v.dtype.name for v in model.parameters()} == {name}
        assert [n for n, _ in model.named_parameters()] == list(before)
        assert [v.name for v in model.parameters()] == list(before)
        assert model[1].counter.dtype == np.uint64
        for key, value in model.state_dict().items():
            np.testing.assert_array_equal(value, before[key].astype(value.dtype))
        x = sn.placeholder((2, 3), name)
        assert sn.function(x, model.eval()(x))(np.ones((2, 3), x.dtype)).dtype == x.dtype

    def test_tied_and_listed_variables_stay_tied(self) -> None:
        class Tied(nn.Module):
            def __init__(self) -> None:
                self.weight = sn.variable(np.ones(2, "float32"))
                self.pair = (self.weight, "text")
                self.deep = {"a": [self.weight], "n": 1}
                self.held = nn.ParameterList([self.weight])

        model = Tied().to("float64")
        assert model.weight is model.pair[0] is model.deep["a"][0] is model.held[0]
        assert model.weight.dtype == np.float64
        assert len(model.parameters()) == 1

    def test_frozen_stays_frozen_and_a_buffer_a_buffer(self) -> None:
        model = Registered()
        model.inner.requires_grad_(False)
        model.double()
        assert [n for n, _ in model.named_parameters()] == ["scale"]
        assert model.mean.buffer
        assert model.mean.dtype == np.float64
        assert model.seen.dtype == np.int64
        model.requires_grad_()
        assert [n for n, _ in model.named_parameters()] == ["scale", "inner.weight", "inner.bias"]

    def test_devices_and_integers_are_refused(self) -> None:
        for device in ("cuda", "cpu", "cuda:0"):
            with pytest.raises(ArgumentError, match=r"sn\.function\(\.\.\., device=\)"):
                network().to(device)
        with pytest.raises(DTypeError):
            network().to("int32")
        with pytest.raises(ArgumentError, match=r"device=.*sn\.function"):
            nn.Linear(1, 1, device="cuda")  # type: ignore[call-arg]

    def test_a_function_made_before_says_that_it_keeps_its_own(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        model, x = network().eval(), sn.placeholder((1, 3))
        step = sn.function(x, model(x), name="made_before")
        other = sn.function(x, x + 1, name="another")
        with caplog.at_level(logging.WARNING, "staticnet"):
            model.double()
            model.half()
        told = [r.getMessage() for r in caplog.records]
        assert len(told) == 1
        assert "made_before was built with Sequential in float32" in told[0]
        assert step(np.ones((1, 3), "float32")).dtype == np.float32
        assert other


class TestPyTorch:
    def test_state_goes_both_ways(self) -> None:
        torch = pytest.importorskip("torch")
        theirs = torch.nn.Sequential(
            torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2)
        )
        ours = network()
        assert ours.load_state_dict(theirs.state_dict(keep_vars=True)) == ([], [])
        for key, value in theirs.state_dict().items():
            np.testing.assert_array_equal(ours.state_dict()[key], value.numpy())
        state = {key: torch.from_numpy(value) for key, value in network().state_dict().items()}
        theirs.load_state_dict(state)

    def test_any_tensor_of_theirs_loads(self) -> None:
        torch = pytest.importorskip("torch")
        ours = nn.Linear(3, 2)
        weight = torch.arange(6.0).reshape(3, 2)
        bias = torch.tensor([1.5, -2.0], requires_grad=True)
        ours.load_state_dict({"weight": weight.T.bfloat16(), "bias": bias * 2})
        np.testing.assert_array_equal(ours.weight.value, weight.numpy().T)
        np.testing.assert_array_equal(ours.bias.value, [3, -4])
        half = nn.Linear(3, 2).bfloat16()
        third = torch.full((2, 3), 1 / 3, dtype=torch.bfloat16)
        half.load_state_dict({"weight": third, "bias": torch.zeros(2, dtype=torch.float64)})
        np.testing.assert_array_equal(half.weight.value, np.full((2, 3), 1 / 3, ml_dtypes.bfloat16))
        with pytest.raises(StateError, match="mismatched: weight"):
            ours.load_state_dict({"weight": weight, "bias": bias})

    def test_a_counter_is_optional(self) -> None:
        model = network()
        model.load_state_dict({**model.state_dict(), "1.counter": np.uint64(3)})
        assert model[1].counter.value == 3
        assert "1.counter" not in model.state_dict()
