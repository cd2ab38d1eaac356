"""safetensors files: what is saved comes back, and a file is whole or as it was."""

import ml_dtypes
import numpy as np
import pytest

from staticnet.errors import StateError
from staticnet.io import safetensors
from staticnet.ir.dtype import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_bit_for_bit(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(DTYPES[dtype])
    safetensors.save(tmp_path / "t", {"a": array, "empty": array[:0], "scalar": array[0, 1]})
    found = safetensors.load(tmp_path / "t")
    assert found["a"].dtype == DTYPES[dtype]
    assert found["empty"].shape == (0, 3)
    assert found["scalar"].shape == ()
    assert found["a"].tobytes() == array.tobytes()


def test_views_and_other_byte_orders_are_saved_by_value(tmp_path):
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    safetensors.save(tmp_path / "t", {"turned": array.T, "reversed": array[:, ::-1]})
    found = safetensors.load(tmp_path / "t")
    np.testing.assert_array_equal(found["turned"], array.T)
    np.testing.assert_array_equal(found["reversed"], array[:, ::-1])


def test_another_reader_agrees(tmp_path):
    numpy_reader = pytest.importorskip("safetensors.numpy")
    safetensors.save(tmp_path / "t", {"w": np.float32([1, 2])}, {"made by": "a test"})
    np.testing.assert_array_equal(numpy_reader.load_file(tmp_path / "t")["w"], [1, 2])


@pytest.mark.parametrize("data", [b"", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0{]"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, data):
    (tmp_path / "weights").write_bytes(data)
    with pytest.raises(StateError, match="weights: not a readable safetensors file"):
        safetensors.load(tmp_path / "weights")


def test_a_cut_file_is_an_error(tmp_path):
    file = tmp_path / "weights"
    safetensors.save(file, {"w": np.zeros(9)})
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StateError, match="not a readable"):
        safetensors.load(file)


def test_a_dtype_without_a_place_is_refused(tmp_path):
    numpy_writer = pytest.importorskip("safetensors.numpy")
    with pytest.raises(StateError, match="'z' has the dtype complex64"):
        safetensors.save(tmp_path / "t", {"z": np.complex64([1])})
    with pytest.raises(StateError, match="a tensor's name must be a string, not 3"):
        safetensors.save(tmp_path / "t", {3: np.float32(1)})
    numpy_writer.save_file({"z": np.complex64([1])}, tmp_path / "c64")
    with pytest.raises(StateError, match="c64"):
        safetensors.load(tmp_path / "c64")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    safetensors.save(file, {"w": np.float32([1])})

    def fail(*args):
        raise OSError("the disk is gone")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        safetensors.save(file, {"w": np.float32([2])})
    assert safetensors.load(file)["w"] == 1
    assert list(tmp_path.iterdir()) == [file]


def test_bfloat16_is_the_type_of_ml_dtypes(tmp_path):
    safetensors.save(tmp_path / "t", {"w": np.ones(2, ml_dtypes.bfloat16)})
    assert safetensors.load(tmp_path / "t")["w"].dtype == ml_dtypes.bfloat16


def test_metadata_is_strings_by_name(tmp_path):
    file = tmp_path / "a.safetensors"
    for good in (None, {}, {"epoch": "3"}):
        safetensors.save(file, {"a": np.ones(2)}, good)
    for bad in ({"epoch": 3}, {3: "epoch"}, {"a": None}, "text", [("a", "b")]):
        with pytest.raises(StateError, match="safetensors: metadata"):
            safetensors.save(tmp_path / "b.safetensors", {"a": np.ones(2)}, bad)
    with pytest.raises(StateError, match="safetensors: tensors are a mapping"):
        safetensors.save(tmp_path / "b.safetensors", [np.ones(2)])
    for name, metadata in (("\ud800", None), ("a", {"b": "\ud800"}), ("a", {"\ud800": "b"})):
        with pytest.raises(StateError, match="UTF-8 cannot write"):
            safetensors.save(tmp_path / "b.safetensors", {name: np.ones(2)}, metadata)
    with pytest.raises(StateError, match="'__metadata__' is the format's own"):
        safetensors.save(tmp_path / "b.safetensors", {"__metadata__": np.ones(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
