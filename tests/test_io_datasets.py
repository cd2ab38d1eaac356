"""The loaders on small files of the official formats, and on the real ones where they are."""

import gzip
import struct

import numpy as np
import pytest

from staticnet import flags
from staticnet.errors import DataError
from staticnet.io import datasets
from staticnet.io.datasets import load_idx


def idx(array, code=0x08):
    dims = b"".join(struct.pack(">I", d) for d in array.shape)
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return bytes([0, 0, code, array.ndim]) + dims + big_endian.tobytes()


def write_four_files(folder, compress=True, labels=None):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("t10k", 3)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        images[0, 0, :2] = 0, 255
        digits = np.arange(count, dtype=np.uint8) if labels is None else labels
        for name, array in (("images-idx3", images), ("labels-idx1", digits)):
            data = idx(array)
            if compress:
                (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(data))
            else:
                (folder / f"{part}-{name}-ubyte").write_bytes(data)


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")],
)
def test_every_idx_dtype_is_read_in_the_machines_byte_order(tmp_path, code, dtype):
    array = np.arange(-3, 9).astype(dtype).reshape(3, 2, 2)
    (tmp_path / "a").write_bytes(idx(array, code))
    found = load_idx(tmp_path / "a")
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "not an IDX file"),
        (lambda data: b"PK" + data[2:], "not an IDX file"),
        (lambda data: data[:2] + b"\x07" + data[3:], "not an IDX file"),
        (lambda data: data[:9], "ends within its header of 12 bytes"),
        (lambda data: data[:-1], r"17 bytes, but a header for uint8\[2, 3\] promises 18"),
        (lambda data: data + b"\0", r"19 bytes, but a header for uint8\[2, 3\] promises 18"),
        (lambda data: data[:4] + b"\xff" * 8 + data[12:], "promises"),
        (lambda data: gzip.compress(data)[:-9], "gzip data is damaged"),
        (lambda data: gzip.compress(data)[:-8] + b"\0" * 8, "gzip data is damaged"),
    ],
)
def test_a_damaged_idx_file_is_an_error_that_names_it(tmp_path, damage, message):
    file = tmp_path / "broken-ubyte"
    file.write_bytes(damage(idx(np.zeros((2, 3), np.uint8))))
    with pytest.raises(DataError, match=message) as caught:
        load_idx(file)
    assert "broken-ubyte" in str(caught.value)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("subfolder", [True, False])
@pytest.mark.parametrize(
    ("loader", "name"),
    [(datasets.mnist, "mnist"), (datasets.fashion_mnist, "fashion-mnist")],
)
def test_the_four_files_are_found_packed_or_not(tmp_path, loader, name, subfolder, compress):
    write_four_files(tmp_path / name if subfolder else tmp_path, compress)
    data = loader(tmp_path)
    assert data.train_images.shape == (5, 28, 28)
    assert data.test_images.shape == (3, 28, 28)
    assert data.train_images.dtype == np.float32
    assert data.train_images[0, 0, :2].tolist() == [0.0, 1.0]
    assert data.train_labels.dtype == np.int64
    assert data.test_labels.tolist() == [0, 1, 2]
    assert len(data.classes) == 10


def test_a_missing_data_set_lists_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"mnist/train-images-idx3-ubyte\.gz") as caught:
        datasets.mnist(tmp_path)
    assert str(caught.value).count("train-images-idx3-ubyte") == 4


def test_labels_must_fit_their_images_and_classes(tmp_path):
    write_four_files(tmp_path, labels=np.array([1, 2], np.uint8))
    with pytest.raises(DataError, match=r"labels of shape \[2\] for 5 images"):
        datasets.mnist(tmp_path)
    write_four_files(tmp_path, labels=np.array([1, 2, 3, 4, 10], np.uint8))
    with pytest.raises(DataError, match="labels from 1 to 10 for 10 classes"):
        datasets.mnist(tmp_path)


def test_images_of_another_size_are_refused(tmp_path):
    write_four_files(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((5, 8, 8), np.uint8)))
    with pytest.raises(DataError, match=r"expected uint8\[n,28,28\], got uint8\[5, 8, 8\]"):
        datasets.mnist(tmp_path)


def test_the_folder_comes_from_the_environment(tmp_path, monkeypatch):
    (tmp_path / "names.txt").write_text("emma\nolivia\n")
    monkeypatch.setenv("STATICNET_DATA", str(tmp_path))
    assert datasets.names() == ["emma", "olivia"]
    monkeypatch.delenv("STATICNET_DATA")
    with pytest.raises(DataError, match="STATICNET_DATA=DIR"):
        datasets.names()


def cifar_record(label, red):
    return bytes([label]) + bytes([red]) * 1024 + bytes(2048)


def test_cifar_batches_are_joined_in_their_order(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(cifar_record(3, 255) + cifar_record(4, 0))
    (folder / "data_batch_2.bin").write_bytes(cifar_record(9, 51))
    (folder / "test_batch.bin").write_bytes(cifar_record(0, 0))
    data = datasets.cifar10(tmp_path)
    assert data.train_images.shape == (3, 3, 32, 32)
    assert data.train_labels.tolist() == [3, 4, 9]
    assert data.test_labels.tolist() == [0]
    np.testing.assert_array_equal(data.train_images[:, 0, 5, 5], np.float32([1, 0, 0.2]))
    assert not data.train_images[:, 1:].any()
    assert data.classes[3] == "cat"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no whole number of records"),
        (cifar_record(1, 2)[:-1], "no whole number of records"),
        (cifar_record(10, 2), "labels from 10 to 10"),
    ],
)
def test_a_damaged_cifar_batch_is_an_error(tmp_path, data, message):
    (tmp_path / "data_batch_1.bin").write_bytes(data)
    (tmp_path / "test_batch.bin").write_bytes(cifar_record(0, 0))
    with pytest.raises(DataError, match=message):
        datasets.cifar10(tmp_path)


def test_a_missing_cifar_batch_is_an_error(tmp_path):
    for name in ("data_batch_1", "data_batch_3", "test_batch"):
        (tmp_path / f"{name}.bin").write_bytes(cifar_record(0, 0))
    with pytest.raises(DataError, match="a training batch is missing"):
        datasets.cifar10(tmp_path)


def test_text_is_kept_as_it_is(tmp_path):
    (tmp_path / "tinyshakespeare.txt").write_bytes(b"First Citizen:\r\nSpeak\n\n")
    assert datasets.tinyshakespeare(tmp_path) == "First Citizen:\r\nSpeak\n\n"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_real_files_have_60000_and_10000_images(name):
    folder = flags.read().data
    if folder is None:
        pytest.skip("set STATICNET_DATA=DIR to read the real data sets")
    data = getattr(datasets, name)(folder)
    assert data.train_images.shape == (60_000, 28, 28)
    assert data.test_images.shape == (10_000, 28, 28)
    assert np.bincount(data.test_labels).sum() == 10_000
    assert data.train_images.max() == 1
