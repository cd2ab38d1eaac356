"""`staticnet train`, `eval` and `predict`: a run in a folder from data of every kind."""

from __future__ import annotations

import gzip
import re
import signal
import struct
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staticnet.cli.main import main
from staticnet.cli.run_config import Config, assignments, changed
from staticnet.errors import ArgumentError
from staticnet.train import Trainer, loop

RNG = np.random.default_rng(0)


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """x.npy and y.npy of two classes."""
    folder = tmp_path / "data"
    folder.mkdir()
    y = RNG.integers(0, 2, 80)
    np.save(folder / "x.npy", (RNG.normal(size=(80, 4)) + 6 * y[:, None] - 3).astype("f"))
    np.save(folder / "y.npy", y)
    return folder


def run(*arguments: Any) -> int:
    return main([str(a) for a in arguments])


def test_a_run_is_trained_resumed_measured_and_used(
    points: Path, tmp_path: Path, capsys: Any
) -> None:
    out, small = tmp_path / "run", ("--set", "width=2", "batch_size=16", "lr=1e-2", "epochs=2")
    train = ("train", "mlp", "--data", points, "--seed", 1, "--device", "numpy", "--out", out)
    assert run(*train, *small) == 0
    shown = capsys.readouterr().out
    assert "72 examples" in shown
    assert "epoch 2/2" in shown
    config = tomllib.loads((out / "config.toml").read_text())
    assert config["lr"] == 0.01
    assert config["seed"] == 1
    assert run(*train, *small) == 2
    assert "has a run of 10 steps; go on with it by resume=True" in capsys.readouterr().err
    asked = (out / "config.toml").read_bytes()
    assert run(*train, "--set", "width=3") == 2
    assert run(*train, "--resume", "--set", "width=3", "batch_size=16") == 2
    assert "of another model" in capsys.readouterr().err.partition("step_10")[2]
    assert (out / "config.toml").read_bytes() == asked
    assert run("train", "--resume", "--out", out, "--device", "numpy", "--set", "epochs=4") == 0
    assert "epoch 4/4" in capsys.readouterr().out
    whole = tmp_path / "whole"
    assert run(*train[:-1], whole, *small, "--set", "epochs=4", "schedule=constant") == 0
    capsys.readouterr()
    assert run("eval", out, "--device", "numpy") == 0
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert lines.keys() == {"loss", "accuracy"}
    assert float(lines["accuracy"]) > 0.8
    assert run("eval", out / "checkpoints" / "step_20.safetensors", "--device", "numpy") == 0
    assert dict(line.split() for line in capsys.readouterr().out.splitlines()) == lines
    x = points / "x.npy"
    assert run("predict", out, x, "-o", tmp_path / "y.npy", "--device", "numpy") == 0
    expected = Trainer.load(out / "checkpoints" / "step_20.safetensors", device="numpy")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected.predict(np.load(x)))
    capsys.readouterr()
    assert run("predict", out, x, "--device", "numpy") == 0
    assert capsys.readouterr().out.splitlines()[79].startswith("79  class ")


def test_ctrl_c_keeps_the_run(
    points: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, note = tmp_path / "a run", loop._note

    def press(*given: Any) -> None:
        note(*given)
        signal.raise_signal(signal.SIGINT)

    train = ("train", "mlp", "--data", points, "--device", "numpy", "--out", out)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_note", press)
        assert run(*train, "--set", "width=2", "epochs=2", "schedule=onecycle") == 130
    told = capsys.readouterr()
    assert "interrupted in epoch 1 at step 1;" in told.out
    assert told.err == (
        f"staticnet train: interrupted; staticnet train --resume --out '{out}' goes on\n"
    )
    assert run("train", "--resume", "--out", out, "--device", "numpy") == 0
    assert "epoch 2/2" in capsys.readouterr().out


def test_what_is_no_picture_is_told(tmp_path: Path, capsys: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    data, out = write("cifar", tmp_path / "data"), tmp_path / "run"
    small = ("epochs=1", "width=2", "batch_size=10")
    train = ("train", "cnn", "--data", data, "--out", out, "--device", "numpy", "--set", *small)
    assert run(*train) == 0
    own, empty = tmp_path / "photo.jpe", tmp_path / "empty"
    image.fromarray(RNG.integers(0, 256, (50, 70, 3)).astype(np.uint8)).save(own, "jpeg")
    empty.mkdir()
    (tmp_path / "text.png").write_text("no image")
    capsys.readouterr()
    assert run("predict", out, own, "--device", "numpy") == 0
    assert re.fullmatch(rf"{re.escape(str(own))}  class \d: \w+\n", capsys.readouterr().out)
    for place, message in (
        (empty, "empty: no images; their names end in .png, .jpg"),
        (tmp_path / "text.png", "text.png: no readable image: cannot identify image file"),
        (tmp_path / "none.png", "none.png: no such image"),
    ):
        assert run("predict", out, place, "--device", "numpy") == 2
        assert message in capsys.readouterr().err


def idx(file: Path, array: Any) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    file.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def write_images(folder: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for place in (folder / part / name for part in ("train", "val") for name in ("cat", "dog")):
        place.mkdir(parents=True)
        for i in range(3):
            pixels = RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            image.fromarray(pixels).save(place / f"{i}.png")


def write(kind: str, folder: Path) -> Path:
    """Generated data of a kind."""
    folder.mkdir()
    labels = np.arange(20) % 10
    if kind == "mnist":
        for part in ("train", "t10k"):
            idx(folder / f"{part}-images-idx3-ubyte.gz", RNG.integers(0, 256, (20, 28, 28)))
            idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    elif kind == "cifar":
        records = np.column_stack([labels, RNG.integers(0, 256, (20, 3072))]).astype(np.uint8)
        for name in ("data_batch_1", "test_batch"):
            (folder / f"{name}.bin").write_bytes(records.tobytes())
    elif kind == "images":
        write_images(folder)
    elif kind == "table":
        pytest.importorskip("pandas")
        rows = "".join(f"{i},{i % 3},{i / 2}\n" for i in range(20))
        (folder / "t.csv").write_text("a,b,c\n" + rows)
        return folder / "t.csv"
    elif kind == "text":
        (folder / "t.txt").write_text("to be or not to be, that is\n" * 9)
        return folder / "t.txt"
    return folder


KINDS = {
    "mnist": ("mlp",),
    "cifar": ("cnn", "augment=true"),
    "images": ("cnn", "patience=1"),
    "table": ("mlp", "target=c"),
    "text": ("gpt", "length=8"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_every_kind(kind: str, tmp_path: Path, capsys: Any) -> None:
    data, out = write(kind, tmp_path / "data"), tmp_path / "run"
    network, *sets = KINDS[kind]
    options = ("--data", data, "--out", out, "--device", "numpy")
    settings = ("width=4", "epochs=1", "batch_size=8", *sets)
    assert run("train", network, *options, "--set", *settings) == 0, capsys.readouterr().err
    assert run("eval", out, "--device", "numpy") == 0
    assert "loss" in capsys.readouterr().out
    if kind == "images":
        assert run("predict", out, data / "val", "--device", "numpy") == 0
        told = capsys.readouterr().out.splitlines()
        assert len(told) == 6
        names = [place.name for place in sorted((data / "val").iterdir())]
        assert all(re.search(rf"class (\d): ({'|'.join(names)})$", line) for line in told)
    if kind in ("images", "cifar"):
        assert run("eval", out, "--device", "numpy", "--page", out / "page.html") == 0
        assert "By class" in (out / "page.html").read_text()
        assert len(capsys.readouterr().out.splitlines()) == 2 + (10 if kind == "cifar" else 2)
    else:
        assert (
            run("eval", out, "--device", "numpy", "--page", out / "page.html")
            == int(kind != "mnist") * 2
        )


def test_a_configuration_reads_back() -> None:
    config = Config(
        network='a "b"\\\n\x7fü', lr=1e-30, ema=0.5, size=None, augment=True, epochs=2**62
    )
    assert changed(Config(), tomllib.loads(config.toml()), "file") == config
    found = assignments(
        ["lr=3e-4", "epochs=5", "optimizer=SGD", "augment=true", "ema=none", "data=a=b"]
    )
    assert found == {
        "lr": 3e-4, "epochs": 5, "optimizer": "SGD", "augment": True, "ema": None, "data": "a=b",
    }  # fmt: skip
    assert changed(Config(), {"lr": 1}, "--set").lr == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "lrr=1"), "--set: there is no 'lrr'; did you mean lr?"),
        (("--set", "epochs=2.5"), "--set: epochs must be int, not 2.5"),
        (("--set", "epochs"), "--set epochs: give a name and a value"),
        (("--set", "epochs=0"), "must be at least 1"),
        (("--set", "network=vgg"), "network 'vgg': there are mlp, cnn"),
        (("--set", "optimizer=adam"), "optimizer 'adam': give one of sn.optim"),
        (("--set", "schedule=steps"), "schedule 'steps': there are constant, cosine, onecycle"),
        (("--set", "network=cnn"), "cnn: takes images [channels, height, width], not [4]"),
        (("--set", "network=gpt"), "gpt: takes a text, as --data FILE.txt, not x float32[n,4]"),
        (("--set", "data=nowhere"), "nowhere: no such file or folder; data are CIFAR"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: Any, message: str, points: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run("train", "mlp", "--data", points, "--out", tmp_path / "run", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_text_is_for_networks_of_texts(tmp_path: Path, capsys: Any) -> None:
    text = tmp_path / "a.txt"
    text.write_text("to be or not to be, " * 40, encoding="utf-8")
    assert run("train", "mlp", "--data", text, "--out", tmp_path / "run") == 2
    assert "takes floating-point numbers, not x int64[n,64], " in capsys.readouterr().err


def test_files_that_are_not_there_are_told_without_numbers(tmp_path: Path, capsys: Any) -> None:
    for file in (tmp_path / "a.sn", tmp_path / "b.onnx"):
        assert run("inspect", file) == 2
        assert capsys.readouterr().err == f"staticnet inspect: {file}: No such file or directory\n"
    page = Path("/dev/full")
    if page.exists():
        assert run("derive", "x*x", "--html", page) == 2
        assert "/dev/full: No space left on device" in capsys.readouterr().err


def test_no_run_is_told(tmp_path: Path, capsys: Any) -> None:
    for command in (("eval", tmp_path), ("predict", tmp_path, tmp_path / "x.npy")):
        assert run(*command) == 2
        assert "no run with a checkpoint; staticnet train makes one" in capsys.readouterr().err
    assert run("eval", tmp_path / "x.safetensors") == 2
    assert "no such run or checkpoint" in capsys.readouterr().err


def test_a_file_that_is_no_configuration(points: Path, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "config.toml"
    file.write_text("lr = = 3\n")
    assert run("train", "mlp", "--data", points, "--config", file, "--out", tmp_path / "r") == 2
    assert "config.toml: no TOML: Invalid value (at line 1" in capsys.readouterr().err
    with pytest.raises(ArgumentError, match="augment must be bool, not 'yes'"):
        changed(Config(), {"augment": "yes"}, "file")


def test_a_preset_is_a_network_and_how_it_is_trained(tmp_path: Path, capsys: Any) -> None:
    data, out = write("cifar", tmp_path / "data"), tmp_path / "run"
    settings = ("epochs=1", "width=2", "lr=0.5")
    options = ("--data", data, "--out", out, "--device", "numpy", "--set", *settings)
    assert run("train", "cifar10", *options) == 0, capsys.readouterr().err
    kept = changed(Config(), tomllib.loads((out / "config.toml").read_text()), "file")
    assert (kept.network, kept.augment, kept.optimizer) == ("cnn", True, "SGD")
    assert (kept.epochs, kept.width, kept.lr, kept.schedule) == (1, 2, 0.5, "onecycle")
