"""Data from files: what is read is what was written, and what is wrong is told with its place."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn, optim
from staticnet.errors import ArgumentError, DataError, DependencyError, OutOfRangeError
from staticnet.train import Trainer
from staticnet.train.data import ImageFolder, Plan, Table, Text, files, npy
from staticnet.train.data.prefetch import Prefetch

RNG = np.random.default_rng(0)


def pillow() -> Any:
    return pytest.importorskip("PIL.Image", reason="Pillow reads images")


def batches(source: Any, plan: Plan) -> list[tuple[Any, Any]]:
    """What a function of an epoch is fed."""

    class Fed:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def __call__(self, *arrays: Any) -> list[Any]:
            self.seen.append([np.array(x) for x in arrays])
            return [np.zeros(())]

    fed, epoch = Fed(), source.epoch(plan)
    try:
        while epoch.run(fed, 1) is not None:
            pass
    finally:
        epoch.close()
    return [tuple(arrays) for arrays in fed.seen]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images of two classes, of 5 by 4 pixels."""
    image = pillow()
    for number in range(7):
        place = tmp_path / "images" / ("cat" if number % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.full((5, 4, 3), number * 30, np.uint8)
        image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "images"


def test_a_folder_of_images(folder: Path) -> None:
    source = ImageFolder(folder)
    assert source.classes == ["cat", "dog"]
    assert source.examples == 7
    assert source.size == (5, 4)
    found = batches(source, Plan(0, 3, shuffle=False))
    assert [x.shape for x, _ in found] == [(3, 3, 5, 4), (3, 3, 5, 4), (1, 3, 5, 4)]
    values = np.concatenate([x[:, 0, 0, 0] for x, _ in found]) * 255
    np.testing.assert_allclose(values, [30, 90, 150, 0, 60, 120, 180], rtol=1e-6)
    assert np.concatenate([y for _, y in found]).tolist() == [0, 0, 0, 1, 1, 1, 1]
    order = sn.function([], sn.random.permutation(sn.random.key(4, 2), 7), device="numpy")()
    shuffled = batches(source, Plan(2, 3, seed=4, drop_last=True, skip=1))
    ((x, _),) = shuffled
    np.testing.assert_allclose(x[:, 0, 0, 0] * 255, values[order[3:6]], rtol=1e-6)
    assert ImageFolder(folder, size=8, mode="L").read(3)[0].shape == (1, 8, 8)


def test_images_train_as_arrays_do(folder: Path) -> None:
    source = ImageFolder(folder)
    arrays = np.stack([source.read(i)[0] for i in range(7)])
    losses = []
    for data in (source, (arrays, source.labels)):
        nn.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(60, 2))
        ours = Trainer(model, nn.cross_entropy, optim.Adam(0.01), device="numpy")
        losses.append(ours.fit(data, epochs=3, batch_size=2, seed=1, progress=False).step_losses)
        assert ours.predict(source).shape == (7, 2)
    np.testing.assert_array_equal(*losses)


def test_images_of_all_modes(tmp_path: Path) -> None:
    image = pillow()
    (tmp_path / "a").mkdir()
    grey = RNG.integers(0, 256, (6, 5)).astype(np.uint8)
    wide = grey.astype(np.uint16) * 257
    image.fromarray(wide).save(tmp_path / "a" / "1.png")
    image.fromarray(grey).save(tmp_path / "a" / "2.png")
    image.fromarray(grey).convert("P").save(tmp_path / "a" / "3.png")
    image.fromarray(grey).convert("RGBA").save(tmp_path / "a" / "4.png")
    image.fromarray(grey).convert("P").save(tmp_path / "a" / "5.gif")
    image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "a" / "6.tiff")
    image.fromarray(grey > 127).save(tmp_path / "a" / "7.png")
    source = ImageFolder(tmp_path)
    (tmp_path / "b").mkdir()
    image.fromarray(np.full((6, 5), np.nan, "f")).save(tmp_path / "b" / "nan.tiff")
    with pytest.raises(DataError, match="nan.tiff: no readable image: pixels that are no numbers"):
        ImageFolder(tmp_path / "b", targets=False)
    expected = np.broadcast_to(grey / np.float32(255), (3, 6, 5))
    for number in range(6):
        np.testing.assert_allclose(source.read(number)[0], expected, rtol=1e-6, err_msg=str(number))
    np.testing.assert_array_equal(source.read(6)[0][0], (grey > 127).astype("f"))


@pytest.mark.parametrize(
    ("name", "mode", "options", "off"),
    [
        ("1.png", "RGB", {}, 0),
        ("1.tif", "RGB", {}, 0),
        ("1.tif", "RGBA", {}, 0),  # of a mode that Pillow maps
        ("1.tif", "RGB", {"compression": "tiff_lzw"}, 0),
        ("1.jpg", "RGB", {"quality": 100, "subsampling": 0}, 0.02),
        ("1.webp", "RGB", {"lossless": True}, 0),
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_as_their_camera_was_held(
    orientation: int, name: str, mode: str, options: dict[str, Any], off: float, tmp_path: Path
) -> None:
    image = pillow()
    pixels = RNG.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    told = image.Exif()
    told[0x0112] = orientation
    image.fromarray(pixels).convert(mode).save(tmp_path / name, exif=told, **options)
    # EXIF 2.3: where the stored rows' and columns' first ends are seen
    rows, columns = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "lt", 6: "rt", 7: "rb", 8: "lb"}[
        orientation
    ]
    seen = pixels.transpose(1, 0, 2) if rows in "lr" else pixels
    seen = seen[::-1] if "b" in rows + columns else seen
    seen = seen[:, ::-1] if "r" in rows + columns else seen
    found = ImageFolder(tmp_path, targets=False).read(0)[0]
    assert found.shape[1:] == seen.shape[:2]
    np.testing.assert_allclose(found.transpose(1, 2, 0), seen / np.float32(255), 0, off)


def test_a_damaged_orientation_is_none(tmp_path: Path) -> None:
    image = pillow()
    pixels = RNG.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    image.fromarray(pixels).save(tmp_path / "1.png", exif=b"Exif\0\0MM\0*\xff\xff\xff")
    found = ImageFolder(tmp_path, targets=False).read(0)[0]
    np.testing.assert_array_equal(found.transpose(1, 2, 0), pixels / np.float32(255))


def test_images_that_are_wrong_are_named(folder: Path, tmp_path: Path) -> None:
    image = pillow()
    whole = (folder / "cat" / "3.png").read_bytes()
    for name, data in (
        ("cut", whole[: len(whole) // 2]),
        ("empty", b""),
        ("text", b"this is no image at all"),
        ("magic", b"XXXX" + whole[4:]),
    ):
        (folder / "cat" / "3.png").write_bytes(data)
        nn.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(60, 2))
        ours = Trainer(model, nn.cross_entropy, optim.SGD(0.1), device="numpy")
        with pytest.raises(DataError, match=r"cat.3.png: no readable image: .*; remove it"):
            ours.fit(ImageFolder(folder), batch_size=2, shuffle=False, progress=False)
        assert len(ours.history.step_losses) == 0, name
    image.new("RGB", (9, 9)).save(folder / "cat" / "3.png")
    message = r"3.png: 9 by 9 pixels, and the others have 5 by 4; resize them all by ImageFolder"
    with pytest.raises(DataError, match=message):
        batches(ImageFolder(folder), Plan(0, 7))
    assert batches(ImageFolder(folder, (5, 4)), Plan(0, 7))[0][0].shape == (7, 3, 5, 4)
    for name in ("nowhere", "cat/3.png"):
        with pytest.raises(DataError, match="no such folder; images lie in FOLDER/NAME.png"):
            ImageFolder(folder / name, targets=False)
    for wrong in ({"size": 0}, {"size": (1, 2, 3)}, {"mode": "CMYK"}, {"workers": 0}):
        with pytest.raises(ArgumentError, match="ImageFolder: "):
            ImageFolder(folder, **wrong)  # type: ignore[arg-type]
    ours = ImageFolder(folder, (5, 4), targets=False)
    assert ours.files == ImageFolder(folder).files
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="empty: a class without an image"):
        ImageFolder(folder)
    with pytest.raises(DataError, match="no such folder"):
        ImageFolder(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no images in folders of classes.*give targets=False"):
        ImageFolder(folder / "cat")
    assert ImageFolder(folder / "cat", (5, 4), targets=False).files == ours.files[:3]
    with pytest.raises(DataError, match="empty: no images; their names end in"):
        ImageFolder(folder / "empty", targets=False)


def test_a_mapped_array(tmp_path: Path) -> None:
    array = RNG.normal(size=(20, 3)).astype("f")
    np.save(tmp_path / "x.npy", array)
    mapped = npy(tmp_path / "x.npy")
    assert isinstance(mapped, np.memmap)
    ours = Trainer(nn.Linear(3, 1), nn.mse_loss, optim.SGD(0.1), device="numpy")
    ours.fit((mapped, array[:, :1]), progress=False)
    np.testing.assert_array_equal(ours.predict(mapped), ours.predict(array))
    data = (tmp_path / "x.npy").read_bytes()
    for cut in (0, 3, 60, len(data) - 1):
        (tmp_path / "y.npy").write_bytes(data[:cut])
        with pytest.raises(DataError, match="y.npy: no readable .npy file"):
            npy(tmp_path / "y.npy")
    np.save(tmp_path / "z.npy", np.array([{}, []], object))
    with pytest.raises(DataError, match="z.npy: no readable"):
        npy(tmp_path / "z.npy")
    np.savez(tmp_path / "w.npz", first=array, second=array)
    with pytest.raises(DataError, match="w.npz: an archive of first, second; take what it holds"):
        npy(tmp_path / "w.npz")


def test_a_text(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("das ist ein Tüst\n" * 3, encoding="utf-8")
    source = Text(file, 8)
    assert source.examples == 6
    x, y = source.arrays
    text = "das ist ein Tüst\n" * 3
    assert source.decode(x) == text[:48]
    assert source.decode(y) == text[1:49]
    assert source.characters == sorted(set(text))
    with pytest.raises(DataError, match="51 characters hold no piece of 51"):
        Text(file, 51)
    file.write_bytes(b"one\ntwo \xff\xfe\n")
    with pytest.raises(DataError, match=r"text.txt: line 2: byte 8 is 0xff, which is no UTF-8"):
        Text(file, 2)
    file.write_text("abc\nabd")
    with pytest.raises(DataError, match=r"line 2: 'd' is none of the 4 characters"):
        Text(file, 2, characters="abc\n")
    for wrong in ("", "aab", ["ab", "c"], [97]):
        with pytest.raises(ArgumentError, match="Text: characters are single ones, each once"):
            Text(file, 2, characters=wrong)  # type: ignore[arg-type]
    source = Text(file, 2)
    with pytest.raises(DataError, match=r"'\\ud800' is none of the 5 characters"):
        source.encode("a\ud800")
    for code in (5, -1, 0.5, np.nan):
        with pytest.raises(DataError, match=f"decode: {code} is no number of one of 5 characters"):
            source.decode([0, code])


def test_a_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    file = tmp_path / "table.csv"
    file.write_text("a,kind,b\n1,red,0.5\n2,blue,1.5\n3,red,2\n")
    source = Table(file, "kind")
    assert (source.columns, source.classes) == (["a", "b"], ["blue", "red"])
    np.testing.assert_array_equal(source.arrays[0], np.float32([[1, 0.5], [2, 1.5], [3, 2]]))
    assert source.arrays[1].tolist() == [1, 0, 1]
    numbers = Table(file, "b", ["a"]).arrays
    assert [x.dtype.name for x in numbers] == ["float32", "float32"]
    assert Table(file, "a", ["b"]).arrays[1].dtype == "int64"
    with pytest.raises(DataError, match="no column 'colour'; there are 'a', 'kind', 'b'"):
        Table(file, "colour")
    file.write_text("a,b\n1,2\n,3\n")
    with pytest.raises(DataError, match="table.csv: row 2, column 'a': a missing value"):
        Table(file, "b")
    file.write_text("a,b\n1,2\nx,3\n")
    with pytest.raises(DataError, match="row 2, column 'a': 'x', which is no number"):
        Table(file, "b")
    file.write_text("a,b\n1,2\n2,3,4,5,6\n")
    with pytest.raises(DataError, match="table.csv: no readable table: .*line 3"):
        Table(file, "b")
    file.write_text("")
    with pytest.raises(DataError, match="no readable table"):
        Table(file, "b")
    file.write_bytes(b"a,b\n1,2\n\xff,3\n")
    with pytest.raises(DataError, match=r"table.csv: line 3: byte 8 is 0xff, which is no UTF-8"):
        Table(file, "b")
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(b"a,b\n1,2\n\xff,3\n"))
    with pytest.raises(DataError, match="packed.csv.gz: no readable table: "):
        Table(packed, "b")
    with pytest.raises(ArgumentError, match=r"Table: takes a file, not dict; .* frame\['b'\]"):
        Table({"b": [1]}, "b")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"columns is a list of names: \['age'\]"):
        Table(tmp_path / "other.csv", "b", columns="age")
    with pytest.raises(DataError, match="no such file"):
        Table(tmp_path / "other.csv", "b")


def test_values_of_a_library_that_are_none_or_several(monkeypatch: Any) -> None:
    pandas = pytest.importorskip("pandas")
    for value, told in ((pandas.NA, "a missing value"), (np.array([1, 2]), "which is no number")):
        column = np.empty(2, object)
        column[:] = [True, value]
        monkeypatch.setattr(files, "read_table", lambda file, c=column: {"a": c, "b": np.ones(2)})
        with pytest.raises(DataError, match=f"row 2, column 'a': .*{told}"):
            Table("table.parquet", "b")


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_record_of_a_label_that_is_no_class_is_told(shuffle: bool) -> None:
    x, y = RNG.normal(size=(40, 4)).astype("f"), np.arange(40) % 3
    for wrong, told in ((3, "y goes from 0 in record .* to 3 in record 37"),
                        (-1, "y goes from -1 in record 37 to 2 in record")):  # fmt: skip
        labels = np.where(np.arange(40) == 37, wrong, y)
        ours = Trainer(nn.Linear(4, 3), nn.cross_entropy, optim.SGD(0.1), device="numpy")
        with pytest.raises(OutOfRangeError, match=told):
            ours.fit((x, labels), batch_size=8, shuffle=shuffle, progress=False)
        batches = [(x[i : i + 8], labels[i : i + 8]) for i in range(0, 40, 8)]
        told = told.replace("37", "5")
        with pytest.raises(OutOfRangeError, match=f"data: batch 5: .*{told}"):
            ours.fit(batches, progress=False)


def test_an_index_that_is_computed_is_said_to_be() -> None:
    """The data has no integers that could be told."""
    x, y = RNG.normal(size=(8, 4)).astype("f"), np.full(8, 3, "f")
    told = r"[^;\s]; it was computed, as the data holds no integers$"
    for source, options in (((x, y), {"batch_size": 4}), ([(x, y)], {})):
        ours = Trainer(
            nn.Linear(4, 3), lambda out, t: nn.cross_entropy(out, sn.astype(t, sn.int64)),
            optim.SGD(0.1), device="numpy",
        )  # fmt: skip
        with pytest.raises(OutOfRangeError, match=told):
            ours.fit(source, progress=False, **options)


@pytest.mark.parametrize("there", [("pandas", "polars"), ("pandas", "pyarrow"), ("pandas",), ()])
def test_the_library_that_reads_a_table(there: Sequence[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "_has", lambda library: library in there)
    for parquet in (False, True):
        if not there or (parquet and len(there) == 1):
            with pytest.raises(DependencyError, match="pyarrow or fastparquet|neither pandas nor"):
                files._reader(parquet)
        else:
            own = "polars" if parquet and "polars" in there else "pandas"
            assert files._reader(parquet) == own


def test_what_is_read_ahead_is_bounded_and_ends() -> None:
    made: list[int] = []

    def items() -> Any:
        for number in range(100):
            made.append(number)
            yield number

    before = threading.active_count()
    ahead = Prefetch(items(), depth=3)
    assert next(ahead) == 0
    for _ in range(200):
        if len(made) == 5:
            break
        threading.Event().wait(0.01)
    assert len(made) == 5  # one given, three that wait, one in the thread's hands
    ahead.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(ahead)
