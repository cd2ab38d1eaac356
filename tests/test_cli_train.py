"""The training loop, its metrics, and progress in both kinds of output."""

import sys

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError
from staticnet.train import Epoch, accuracy, confusion_matrix, fit, track


def counting_step():
    """A step whose loss is the mean of its batch; counts its runs in a variable."""
    x = sn.placeholder(("batch",), "float32", name="x")
    runs = sn.variable(np.float32(0), name="runs")
    return sn.function([x], sn.mean(x), updates={runs: runs + 1}), runs


def test_every_epoch_visits_every_example_once_in_an_order_of_its_own():
    step, runs = counting_step()
    data = np.arange(12, dtype=np.float32)
    epochs = list(fit(step, [data], epochs=3, batch_size=1, seed=5))
    assert [epoch.number for epoch in epochs] == [1, 2, 3]
    assert runs.value == 36
    for epoch in epochs:
        assert sorted(epoch.losses) == data.tolist()
        assert epoch.loss == 5.5
        assert epoch.steps_per_second > 0
    assert epochs[0].losses.tolist() != epochs[1].losses.tolist()
    again = list(fit(step, [data], epochs=1, batch_size=1, seed=5))
    assert again[0].losses.tolist() == epochs[0].losses.tolist()


def test_a_batch_that_is_not_full_is_left_out():
    step, _ = counting_step()
    (epoch,) = fit(step, [np.zeros(10, np.float32)], epochs=1, batch_size=4)
    assert len(epoch.losses) == 2


def test_it_stops_when_nobody_asks():
    step, runs = counting_step()
    next(fit(step, [np.zeros(4, np.float32)], epochs=100, batch_size=1))
    assert runs.value == 4


@pytest.mark.parametrize("options", [{"epochs": 0}, {"batch_size": 5}, {"batch_size": 0}])
def test_options_out_of_range_are_errors(options):
    step, _ = counting_step()
    with pytest.raises(ArgumentError, match="fit: "):
        list(fit(step, [np.zeros(4, np.float32)], **({"epochs": 1, "batch_size": 2} | options)))


def test_metrics():
    predicted, labels = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    assert accuracy(predicted, labels) == 0.75
    assert confusion_matrix(predicted, labels, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_each_epoch(monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    epochs = [Epoch(i, np.float32([1 / i]), 1.0) for i in (1, 2)]
    assert track(iter(epochs), 2, lambda epoch: f"loss {epoch.loss:.2f}") == epochs
    shown = capsys.readouterr().out
    if terminal:
        assert "2/2" in shown
    else:
        assert shown == "epoch 1/2  loss 1.00\nepoch 2/2  loss 0.50\n"
