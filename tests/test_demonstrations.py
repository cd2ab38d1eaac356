"""The examples on real data reach what they are said to, and write as their definitions do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import char_gpt
import char_rnn
import cifar10
import cmaes_digits
import names
import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.io import datasets
from staticnet.train import Trainer

COMPILES = True
SHIPPED = True  # what trains for minutes is compiled as users' are
needs_cc = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")
Array = np.ndarray[Any, Any]


def data(read: Any) -> Any:
    try:
        return read()
    except datasets.DataError as error:
        pytest.skip(str(error))


def drawn(scores: Any, number: int, place: int, length: int, top_k: int | None) -> int:
    """What the writers draw at a place, at temperature 0.8."""
    key = sn.random.split(sn.random.key(0, number), length)[place]
    return int(sn.function([], char_rnn.draw(sn.constant(scores), key, 0.8, top_k))())


@pytest.mark.parametrize(
    "device", ["numpy", pytest.param("cpu", marks=[pytest.mark.slow, needs_cc])]
)
@pytest.mark.parametrize("top_k", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_a_cache_of_keys_and_values_writes_what_the_whole_text_would(
    device: str, top_k: int | None
) -> None:
    config = char_gpt.Config(17, layers=2, heads=2, width=16, length=8)
    sn.manual_seed(0)
    model = char_gpt.GPT(config)
    for i, p in enumerate(model.parameters()):  # or all scores are nearly 0
        p.value = p.value + sn.nn.init.normal(p.shape, std=0.3, seed=i)
    x = sn.placeholder((1, config.length), "int64", "x")
    scores = sn.function([x], model(x), device="numpy")
    text = [3, 1, 4]
    written = char_gpt.writer(model, top_k, device)(np.array(text), np.float32(0.8), 5)
    while len(text) < config.length:
        padded = np.array([text + [0] * (config.length - len(text))])
        last = scores(padded)[0, len(text) - 1]
        text.append(drawn(last, 5, len(text) - 1, config.length, top_k))
    np.testing.assert_array_equal(written, text)


def test_the_cache_is_written_in_place() -> None:
    model = char_gpt.GPT(char_gpt.Config(17, layers=1, heads=2, width=16, length=8))
    shown = str(char_gpt.writer(model, device="numpy").explain(p=2))
    assert (
        shown.count(": scatter_add [")
        == len(re.findall(r"in place %\d+ over %c[12]\b", shown))
        == 2
    )


@pytest.mark.slow
def test_an_lstm_writes_what_its_steps_would() -> None:
    sn.manual_seed(0)
    model = char_rnn.CharacterModel(11, 8)
    x = sn.placeholder((1, "t"), "int64", "x")
    scores = sn.function([x], model(x), device="numpy", max_specializations=10)
    text = [3, 1]
    written = char_rnn.writer(model, 5, 4, "numpy")(np.array(text), np.float32(0.8), 7)
    for place in range(5):
        text.append(drawn(scores(np.array([text]))[0, -1], 7, place, 5, 4))
    np.testing.assert_array_equal(written, text[2:])


def test_temperature_and_top_k() -> None:
    """Shares of many draws are softmax(scores / temperature) of the k likeliest."""
    scores = np.array([1.0, 0.2, -1.0, 0.9], np.float32)
    keys = sn.random.split(sn.random.key(1), 4000)
    many = sn.vmap(lambda key: char_rnn.draw(sn.constant(scores), key, 0.5, 3))(keys)
    found = np.bincount(sn.function([], many, device="numpy")(), minlength=4) / 4000
    expected = np.exp(scores / 0.5) * [1, 1, 0, 1]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.03)
    assert found[2] == 0


def test_what_neurons_are_said_to_follow() -> None:
    text = "TO be:\nA eel"
    found = char_rnn.followed(text)
    assert "".join(map(str, found["how far into the line"].astype(int))) == "012345601234"
    assert found["a speaker's name"].tolist() == [1] * 7 + [0] * 5
    assert found["the first letter of a word"].tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0]
    assert found["a vowel"].sum() == 5


def test_counts_are_the_shares_of_pairs() -> None:
    x, y = names.encoded(["ab", "abb"])
    assert x[1].tolist()[:5] == [0, 1, 2, 2, 0]
    assert y[1].tolist()[:5] == [1, 2, 2, 0, names.IGNORED]
    table = names.Counts(x, y).table.value
    np.testing.assert_allclose(np.exp(table).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.exp(table[2, [0, 2, 1]]), [3 / 30, 2 / 30, 1 / 30], rtol=1e-5)


@pytest.mark.slow
def test_names_end_once() -> None:
    sn.manual_seed(0)
    rows = names.writer(names.Network(4, 8), 20, "numpy")(3)
    assert rows.shape == (20, names.LONGEST)
    for row in rows:
        end = np.flatnonzero(row == 0)
        assert not end.size or not row[end[0] :].any()


@pytest.mark.slow
@needs_cc
def test_the_lstm_reaches_1_65(tmp_path: Path) -> None:
    """On the text's last tenth, in nats a character, in ten minutes of two cores."""
    characters, training, held = char_rnn.split(data(datasets.tinyshakespeare), 64)
    sn.manual_seed(0)
    model = char_rnn.CharacterModel(len(characters), 192)
    steps = 4 * -(-len(training[0]) // 32)
    rule = sn.optim.Adam(sn.optim.CosineAnnealingLR(4e-3, T_max=steps))
    trainer = Trainer(model, char_rnn.loss, rule, clip_norm=1.0)
    trainer.fit(training, epochs=4, batch_size=32)
    assert trainer.evaluate(held)["loss"] <= 1.65
    codes = held[0].ravel()[: char_rnn.PICTURED]
    activations = char_rnn.neurons(model)(codes)
    fits = [np.corrcoef(v, a)[0, 1] for v in char_rnn.followed("".join(characters[codes])).values()
            for a in activations.T]  # fmt: skip
    assert np.abs(fits).max() > 0.7


@pytest.mark.slow
@needs_cc
def test_models_of_names_get_finer() -> None:
    """Counts of pairs 2.45 nats a letter, as makemore has; an LSTM and a GPT at most 2.05."""
    training, held = names.split(data(datasets.names))
    sn.manual_seed(0)
    found = {
        name: names.train(model, rate, training, held, epochs=4)
        for name, (model, rate) in names.models(training).items()
    }
    assert 2.4 < found["bigram counts"] < 2.5
    assert found["three letters"] < 2.25
    assert found["LSTM"] <= 2.05
    assert found["GPT"] <= 2.05


@pytest.mark.slow
@needs_cc
def test_cmaes_trains_a_classifier_of_digits() -> None:
    pytest.importorskip("sklearn", reason="the digits are its")
    images, labels, test_images, test_labels = cmaes_digits.digits()
    x, test = cmaes_digits.seen(images, test_images, 20)
    np.testing.assert_allclose(x.std(axis=0), 1, rtol=1e-3)
    es, step = cmaes_digits.search(x, labels)
    step.run(300)
    assert cmaes_digits.accuracy(es, test, test_labels) >= 0.92


@pytest.mark.slow
@needs_cc
def test_cifar10_reaches_60_percent_from_4000_images(tmp_path: Path) -> None:
    """PyTorch's same network, with the same augmentation and schedule, gets there, too."""
    given = data(datasets.cifar10)
    sn.manual_seed(0)
    trainer = cifar10.trainer_of(4000, epochs=20)
    trainer.fit((given.train_images[:4000], given.train_labels[:4000]), epochs=20, batch_size=32)
    tested = (given.test_images, given.test_labels)
    assert trainer.evaluate(tested)["accuracy"] >= 0.6
    trainer.save(tmp_path / "net.safetensors")
    loaded = Trainer.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(loaded.predict(tested[0]), trainer.predict(tested[0]))
    cifar10.tell(loaded, given, tmp_path / "page.html")
    assert "Wrong, and sure of it" in (tmp_path / "page.html").read_text(encoding="utf-8")
