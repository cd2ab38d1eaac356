"""The examples on real data reach what they are said to, and write as their definitions do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
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
from staticnet.cli import ending
from staticnet.io import datasets
from staticnet.train import Trainer

COMPILES = True
ROOT = Path(__file__).parents[1]
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


def here() -> dict[str, str]:
    """The environment in which this package is the one that is imported."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def shown(folder: Path, *arguments: Any) -> str:
    """What a command prints that a reader runs in a folder; `x.py` is one of the examples."""
    first, *rest = map(str, arguments)
    program = [str(ROOT / "examples" / first)] if first.endswith(".py") else ["-m", first]
    done = subprocess.run(
        [sys.executable, *program, *rest], cwd=folder, env=here(), capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def last(pattern: str, text: str) -> float:
    """The number of the pattern's last place."""
    return float(re.findall(pattern, text)[-1])


@pytest.mark.slow
@needs_cc
def test_the_lstm_reaches_1_65(tmp_path: Path) -> None:
    """On the text's last tenth, in nats a character; a neuron follows something of the text."""
    data(datasets.tinyshakespeare)
    told = shown(tmp_path, "char_rnn.py", "--out", "run", "--picture", "neurons.html")
    assert last(r"val_loss (\S+)", told) <= 1.65
    page = (tmp_path / "neurons.html").read_text(encoding="utf-8")
    assert max(abs(float(fit)) for fit in re.findall(r"correlation ([+-][\d.]+)", page)) > 0.7
    again = shown(tmp_path, "char_rnn.py", "--out", "run")  # nothing is left to train
    assert again.strip() == told.partition("\n\n")[2].strip()


@pytest.mark.slow
@needs_cc
def test_the_gpt_reaches_1_7(tmp_path: Path) -> None:
    """nanoGPT's smallest, of the same sizes, is said to reach 1.88 in three minutes of a laptop."""
    data(datasets.tinyshakespeare)
    assert last(r"val_loss (\S+)", shown(tmp_path, "char_gpt.py")) <= 1.7


@pytest.mark.slow
@needs_cc
def test_models_of_names_get_finer(tmp_path: Path) -> None:
    """Counts of pairs 2.45 nats a letter, as makemore has; an LSTM and a GPT at most 2.05."""
    data(datasets.names)
    told = shown(tmp_path, "names.py")
    found = {
        name: last(rf"(?m)^{name} +(\S+)", told)
        for name in ("bigram counts", "three letters", "LSTM", "GPT")
    }
    assert 2.4 < found["bigram counts"] < 2.5
    assert found["three letters"] < 2.25
    assert found["LSTM"] <= 2.05
    assert found["GPT"] <= 2.05


@pytest.mark.slow
@needs_cc
@pytest.mark.parametrize("digits", ["scikit-learn's", "MNIST's"])
def test_cmaes_trains_a_classifier_of_digits(digits: str, tmp_path: Path) -> None:
    options: list[str] = []
    if digits == "MNIST's":
        data(datasets.mnist)
        options = ["--data", os.environ["STATICNET_DATA"]]
    else:
        pytest.importorskip("sklearn", reason="the digits are its")
    assert last(r"test accuracy (\S+)%", shown(tmp_path, "cmaes_digits.py", *options)) >= 92


@pytest.mark.slow
def test_fashion_mnist_reaches_88_percent(tmp_path: Path) -> None:
    data(datasets.fashion_mnist)
    assert last(r"test accuracy (\S+)%", shown(tmp_path, "fashion_mnist.py")) >= 88


@pytest.mark.slow
@needs_cc
def test_cifar10_reaches_60_percent_from_4000_images(tmp_path: Path) -> None:
    """By the mean of three seeds 71 %, as PyTorch's same network: bench/cifar_accuracy.py."""
    given = data(datasets.cifar10)
    accuracy = r"test accuracy (\S+)%"
    told = shown(tmp_path, "cifar10.py", "--save", "net.safetensors", "--page", "page.html")
    assert last(accuracy, told) >= 60
    assert "Wrong, and sure of it" in (tmp_path / "page.html").read_text(encoding="utf-8")
    again = shown(tmp_path, "cifar10.py", "--load", "net.safetensors")
    assert again in told
    loaded = Trainer.load(tmp_path / "net.safetensors")
    right = loaded.predict(given.test_images).argmax(axis=1) == given.test_labels
    assert f"test accuracy {np.mean(right):.2%}" in told


@pytest.mark.slow
@needs_cc
def test_a_run_on_cifar10_is_evaluated_and_predicts(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    given = data(datasets.cifar10)
    told = shown(tmp_path, "staticnet", "train", "cifar10")
    measured = last(r"val_accuracy (\S+)", told)
    assert measured >= 0.6
    evaluated = shown(tmp_path, "staticnet", "eval", "runs/cifar10", "--page", "page.html")
    assert last(r"accuracy +(\S+)", evaluated) == pytest.approx(measured, abs=1e-4)
    assert len(re.findall(r"(?m)^  \w+ +[\d.]+%$", evaluated)) == 10
    pixels = np.rint(given.test_images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    (tmp_path / "own").mkdir()
    for i in range(20):
        image.fromarray(pixels[i]).save(tmp_path / "own" / f"{i:02}.png")
    taken = re.findall(
        r"class (\d+): ", shown(tmp_path, "staticnet", "predict", "runs/cifar10", "own")
    )
    loaded = Trainer.load(sorted((tmp_path / "runs/cifar10/checkpoints").glob("step_*"))[-1])
    np.testing.assert_array_equal(
        [*map(int, taken)], loaded.predict(given.test_images[:20]).argmax(1)
    )


@pytest.mark.slow
@needs_cc
def test_features_of_a_small_network_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    data(datasets.cifar10)
    told = shown(tmp_path, "staticnet", "features")
    assert last(r"integrated gradients miss at most (\S+)%", told) < 1
    assert (tmp_path / "runs" / "features" / "features.html").is_file()


@pytest.mark.slow
@needs_cc
def test_an_interrupted_text_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Ctrl-C keeps a checkpoint and ends with 130; the same command ends as one without it."""
    text = "".join(chr(97 + c) for c in np.random.default_rng(0).integers(0, 26, 60_000))
    (tmp_path / "tinyshakespeare.txt").write_text(text)
    options = ("--data", tmp_path, "--units", 32, "--epochs", 12, "--out")
    whole = shown(tmp_path, "char_rnn.py", *options, "whole")
    command = [sys.executable, ROOT / "examples" / "char_rnn.py", *map(str, options), "part"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=tmp_path, env=here(), stdout=pipe, stderr=pipe, text=True
    ) as started:
        assert started.stdout is not None
        assert "epoch" in started.stdout.readline()
        started.send_signal(signal.SIGINT)
        out, error = started.communicate()
    assert started.returncode == 130, error
    assert "interrupted in epoch" in out
    assert error == "char_rnn.py: interrupted; the same command goes on\n"
    rest = shown(tmp_path, "char_rnn.py", *options, "part")
    assert "epoch 12/12" in rest.replace("  ", " ")
    assert rest.partition("\n\n")[2] == whole.partition("\n\n")[2]


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        (char_rnn, ["--epochs", "0"], "argument --epochs: give a whole number of at least 1"),
        (char_rnn, ["--temperature", "0"], "argument --temperature: give a number above 0"),
        (char_rnn, ["--prompt", "a\u00fc#"], "characters of the text, not of '#', '\u00fc'"),
        (char_rnn, ["--top-k", "99"], "--top-k: the text has 2 different characters"),
        (char_gpt, ["--length", "8"], "unrecognized arguments: --length 8"),
        (cifar10, ["--rate", "nan"], "argument --rate: give a number above 0"),
        (names, ["--names", "x"], "argument --names: give a whole number of at least 1"),
        (cmaes_digits, ["--generations", "-1"], "argument --generations: give a whole number"),
        (char_rnn, ["--length", "500"], "a text of 1,000 characters is too short"),
        (names, [], "of 1 names 1 are of at most 15 letters"),
    ],
)
def test_what_is_wrong_on_a_command_line_is_told(
    program: Any, arguments: list[str], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    (tmp_path / "tinyshakespeare.txt").write_text("ab" * 500)
    (tmp_path / "names.txt").write_text("bob\n")
    given = [program.__name__ + ".py", "--data", str(tmp_path), *arguments]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as ended:
        ending.script(program.main)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
