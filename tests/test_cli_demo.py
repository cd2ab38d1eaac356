"""`staticnet demo`: it learns, it writes what it says, and its errors name the remedy."""

import importlib.util

import numpy as np
import pytest

import staticnet as sn
from staticnet.cli import demo
from staticnet.cli.main import main
from staticnet.cli.models import read_graph, set_state
from staticnet.io import safetensors

COMPILES = True
needs_extras = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sklearn", "matplotlib")),
    reason='needs pip install -e ".[examples]"',
)


@needs_extras
def test_the_demo_reaches_its_accuracy_and_writes_its_files(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "new" / "demo")]) == 0
    shown = capsys.readouterr().out
    out = tmp_path / "new" / "demo"
    assert sorted(file.name for file in out.iterdir()) == [
        "confusion.png",
        "graph.html",
        "graph.sn",
        "loss.png",
        "predict.sn",
        "weights.safetensors",
    ]
    assert float(shown.split("test accuracy ")[1].split("%")[0]) >= 97
    assert "algebraic_simplify" in shown
    assert "examples/s" in shown
    assert str(sn.parse((out / "graph.sn").read_text())) + "\n" == (out / "graph.sn").read_text()

    model = demo.build(seed=7, device="numpy", steps=1).model
    model.load_state_dict(safetensors.load(out / "weights.safetensors"))
    predict = demo.classifier(model, "numpy")
    assert set_state(read_graph(out / "predict.sn"), out / "weights.safetensors") == []
    *training, images, labels = demo.load_digits()
    assert np.mean(predict(images) == labels) >= 0.97
    *_, held, held_labels = demo.hold_out(*training)
    lines = [line for line in shown.splitlines() if line.startswith("epoch ")]
    scores = [float(line.split("val_accuracy ")[1].split()[0]) for line in lines]
    kept = np.mean(predict(held) == held_labels)
    assert round(kept, 4) == max(scores)
    first = scores.index(max(scores)) + 1
    assert f"epoch {first} are kept: with {kept:.2%} they are the best" in shown
    assert all("test" not in line for line in lines)


@needs_extras
def test_the_split_is_stratified_and_fixed():
    train, train_labels, test, test_labels = demo.load_digits()
    assert (len(train), len(test)) == (1437, 360)
    assert np.ptp(np.bincount(test_labels)) <= 2
    assert train.dtype == np.float32
    assert 0 <= train.min() < train.max() == 1
    np.testing.assert_array_equal(test, demo.load_digits()[2])
    assert train_labels.dtype == np.int64


@needs_extras
def test_the_validation_part_is_stratified_and_no_test_image_is_in_it():
    *training, test, _ = demo.load_digits()
    train, train_labels, held, held_labels = demo.hold_out(*training)
    assert (len(train), len(held)) == (len(train_labels), len(held_labels)) == (1077, 360)
    assert np.ptp(np.bincount(held_labels)) <= 2
    parts = [{image.tobytes() for image in part} for part in (train, held, test)]
    assert not parts[2] & (parts[0] | parts[1])
    assert not parts[0] & parts[1]


@needs_extras
def test_the_same_seed_gives_the_same_weights(tmp_path):
    for name in ("a", "b"):
        assert main(["demo", "--epochs", "1", "--seed", "3", "--out", str(tmp_path / name)]) == 0
    first, second = ((tmp_path / n / "weights.safetensors").read_bytes() for n in ("a", "b"))
    assert first == second


@needs_extras
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--seed", "-1"], "--seed at least 0"),
        (["--device", "tpu"], "device 'tpu'"),
    ],
)
def test_bad_options_are_errors_in_one_line(tmp_path, capsys, arguments, message):
    assert main(["demo", "--out", str(tmp_path / "out"), *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


@needs_extras
def test_an_output_folder_that_cannot_be_made_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--epochs", "1", "--out", str(tmp_path / "file" / "demo")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_missing_packages_are_named_with_their_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "staticnet demo: scikit-learn and matplotlib not found; "
        'run: pip install -e ".[examples]" (in the clone of staticnet)\n'
    )
