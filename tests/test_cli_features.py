"""`staticnet features`: its pictures, its page, and what it says of wrong input."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from staticnet.cli.main import main
from staticnet.errors import ShapeError
from staticnet.report import class_accuracy, predictions_page
from staticnet.report.pixels import glowing, sheet, signed, stretched
from staticnet.report.png import png

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def pixels_of(data: bytes) -> Array:
    """A PNG's pixels, by its definition: chunks, zlib, and a byte before each row."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        (check,) = struct.unpack(">I", data[at + 8 + size : at + 12 + size])
        assert check == zlib.crc32(name + body)
        chunks[name], at = body, at + 12 + size
    width, height, bits, kind = struct.unpack(">2I2B", chunks[b"IHDR"][:10])
    assert bits == 8
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape((height, width, 3) if kind == 2 else (height, width))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 2, 3)])
def test_a_png_has_the_pixels(shape: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(pixels_of(png(pixels)), pixels)
    np.testing.assert_array_equal(pixels_of(png(pixels / 255)), pixels)
    beyond = pixels_of(png(np.array([[-1.0, 2.0, np.nan]])))
    np.testing.assert_array_equal(beyond, [[0, 255, 0]])


@pytest.mark.parametrize("shape", [(3,), (2, 2, 4), (0, 3)])
def test_what_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="a picture is"):
        png(np.zeros(shape))


def test_colours_of_numbers() -> None:
    np.testing.assert_array_equal(stretched(np.array([2.0, 4, 3])), [0, 1, 0.5])
    np.testing.assert_array_equal(stretched(np.ones(2)), [0.5, 0.5])
    light = glowing(np.linspace(0, 1, 9)[None])[0].sum(axis=1)
    assert (np.diff(light) > 0).all()
    blue, white, orange = signed(np.array([[-1.0, 0, 1]]))[0]
    assert blue[2] > blue[0]
    assert white.tolist() == [1, 1, 1]
    assert orange[0] > orange[2]
    whole = sheet([np.zeros((2, 2))] * 3, columns=2, scale=2, gap=1)
    assert whole.shape == (9, 9, 3)
    assert whole[4].min() == 1
    assert not whole[:4, :4].any()


def test_a_page_of_right_and_wrong(tmp_path: Path) -> None:
    images = RNG.random((6, 3, 4, 4))
    labels, taken = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 1, 1, 1, 0, 0])
    scores = np.eye(3)[taken] * np.arange(1, 7)[:, None]
    np.testing.assert_allclose(class_accuracy(labels, taken, 3), [2 / 3, 2 / 3, np.nan])
    page = predictions_page("Six & more", images, labels, scores, ["<cat>", "dog", "cow"])
    assert "<title>Six &amp; more</title>" in page
    assert "no images" in page
    assert "nan" not in page
    assert "4 of 6 images are right: 66.67%" in page
    assert "&lt;cat&gt; (1)" in page
    assert "<cat>" not in page
    wrong = page.partition("Wrong, and sure")[2].partition("<h2>")[0]
    assert wrong.index("&lt;cat&gt;, is dog 99%") < wrong.index("dog, is &lt;cat&gt; 79%")


@pytest.mark.slow
def test_pictures_of_a_run(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib", reason="it draws the maps")
    images = RNG.random((40, 1, 16, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "y.npy", np.arange(40) % 3)
    settings = ("width=2", "epochs=1", "batch_size=8", "validation=0.5")
    given = ("--data", tmp_path, "--device", "numpy")
    assert run("train", "cnn", *given, "--out", tmp_path / "run", "--set", *settings) == 0
    assert run("features", tmp_path / "run", *given, "--out", tmp_path / "out", "--images", 2) == 0
    shown = capsys.readouterr().out
    assert "integrated gradients miss at most" in shown
    names = ("filters", "channels", "classes", "attributions", "nearest", "maps")
    page = (tmp_path / "out" / "features.html").read_text()
    assert page.count('<th scope="row">') == 2
    assert page.count('alt="Grad-CAM of ') == 2
    assert page.count("<figcaption>") == len(names) + 8 + 3  # of channels and classes
    for name in names:
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 100
    attributions = pixels_of((tmp_path / "out" / "attributions.png").read_bytes())
    assert attributions.shape == (2 * 66 - 2, 5 * 66 - 2, 3)


def test_what_features_refuses(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib", reason="it draws the maps")
    np.save(tmp_path / "x.npy", RNG.random((12, 5)).astype(np.float32))
    np.save(tmp_path / "y.npy", np.arange(12) % 3)
    for arguments, told in (
        ((tmp_path / "none", "--data", tmp_path), "no run; staticnet train makes one"),
        (("--data", tmp_path), "takes images of 1 or 3 channels, not [5]"),
        (("--data", tmp_path, "--images", 0), "--images must be at least 1"),
        (("--data", tmp_path / "nowhere"), "no such file or folder"),
    ):
        assert run("features", *arguments, "--device", "numpy") == 2
        assert told in capsys.readouterr().err
    np.save(tmp_path / "x.npy", RNG.random((12, 3, 8, 8)).astype(np.float32))
    np.save(tmp_path / "y.npy", np.linspace(0, 1, 12, dtype=np.float32))
    assert run("features", "--data", tmp_path, "--device", "numpy") == 2
    assert "takes images in classes" in capsys.readouterr().err
