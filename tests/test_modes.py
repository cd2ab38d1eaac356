"""What is set too late says so: the mode of a built function, elements of a variable's value."""

from __future__ import annotations

import copy
import gc
import logging
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn

X = sn.placeholder((4, 3), name="x")


def model() -> Any:
    return nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 1))


def test_a_functions_repr_shows_its_mode() -> None:
    net = model()
    step = sn.function(X, sn.sum(net(X)), name="step")
    predict = sn.function(X, net.eval()(X), name="predict")
    assert repr(step).endswith("-> f32[] on numpy, in training mode>")
    assert repr(predict).endswith("-> f32[4,1] on numpy, in eval mode>")
    plain = sn.function(X, nn.Linear(3, 1)(X))
    assert repr(plain).endswith("on numpy>")


def test_a_model_that_ends_in_dropout_has_one_mode() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    assert "in eval mode" in repr(sn.function(X, net.eval()(X)))
    assert repr(sn.function(X, net.train()(X))).endswith("in training mode>")


def test_a_change_of_mode_after_building_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    net = model()
    step = sn.function(X, net(X), name="step")
    net.train()
    assert not caplog.records
    for _ in range(3):
        net.eval()
        net.train()
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "staticnet")
    message = record.getMessage()
    assert message.startswith("step was built with Dropout in training mode, and stays so")
    assert "call the model and sn.function again" in message
    assert np.count_nonzero(step(np.ones((4, 3), "float32")))


def test_a_mode_set_by_hand_warns_too(caplog: pytest.LogCaptureFixture) -> None:
    class Noisy(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2 if self.training else x

    module = Noisy()
    function = sn.function(X, module(X) + 1)
    module.training = False
    assert len(caplog.records) == 1
    assert function(np.ones((4, 3), "float32"))[0, 0] == 3


def test_nothing_is_said_where_the_mode_makes_no_difference(
    caplog: pytest.LogCaptureFixture,
) -> None:
    net, other = nn.Sequential(nn.Linear(3, 1)), model()
    functions = [sn.function(X, net(X)), sn.function(X, copy.deepcopy(other)(X))]
    net.eval()
    other.eval()
    nn.Dropout().eval()
    assert functions
    assert not caplog.records


def test_modules_that_are_gone_are_told_apart() -> None:
    y = nn.Dropout(0.5)(nn.Linear(3, 3)(X))
    y = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).eval()(y)
    gc.collect()
    assert repr(sn.function(X, y)).endswith("in training and eval mode>")


def test_what_a_module_passes_through_is_not_of_its_mode(caplog: pytest.LogCaptureFixture) -> None:
    class Both(nn.Module):
        def forward(self, pair: Any, other: Any) -> Any:
            return [pair, {"other": other}, pair[0] * 2 if self.training else pair[0] * 3]

    dropout, both = nn.Dropout(0.5), Both()
    z = X + 1
    dropout.eval()(X)
    made = both.eval()((X, z), other=z)[2]
    plain = sn.function(X, [X + 1, z * 2])
    assert repr(plain).endswith("on numpy>")
    tripled = sn.function(X, made)
    assert repr(tripled).endswith("in eval mode>")
    dropout.train()
    assert not caplog.records
    both.train()
    assert len(caplog.records) == 1


def test_a_function_that_is_gone_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    net = model()
    sn.function(X, net(X))
    gc.collect()
    net.eval()
    assert not caplog.records


def test_the_value_of_a_variable_is_read_only() -> None:
    v = sn.variable(np.arange(3.0), "v")
    with pytest.raises(ValueError, match="read-only"):
        v.value[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        v.value.fill(7)
    v.value = v.value + 1
    np.testing.assert_array_equal(v.value, [1, 2, 3])
    assert v.copied().flags.writeable
    assert sn.variable(3.0).value + 1 == 4
    state = nn.Linear(2, 2).state_dict()
    assert all(array.flags.writeable for array in state.values())
