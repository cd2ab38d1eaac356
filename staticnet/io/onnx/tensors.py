"""`TensorProto` -> array, once its sizes are known to be sane and its bytes to be there."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from staticnet.errors import OnnxError
from staticnet.io.onnx.library import onnx
from staticnet.ir.dtype import BFLOAT16, DTYPES, DType

Array = np.ndarray[Any, Any]
NAMES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip
"""ONNX's numbers of the dtypes that staticnet has."""
STRING = 8
MAX_BYTES = 1 << 40
MAX_TIMES = 4
_FIELDS = {
    "float32": "float_data", "float64": "double_data", "int64": "int64_data",
    "uint32": "uint64_data", "uint64": "uint64_data",
}  # fmt: skip


def dtype_of(number: int, what: str) -> DType:
    """The dtype that ONNX gives a number.

    Raises:
        OnnxError: if staticnet has no such dtype.
    """
    if number not in NAMES:
        raise OnnxError(f"{what}: the element type {type_name(number)} has no dtype here")
    return DTYPES[NAMES[number]]


def type_name(number: int) -> str:
    """ONNX's name of an element type: FLOAT8E4M3FN."""
    known: dict[int, str] = {v: k for k, v in onnx().TensorProto.DataType.items()}
    return known.get(number, str(number))


class Folder:
    """Where a model's external data may lie: in its folder or below."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[Path, int] = {}

    def count(self, file: Path, length: int, size: int) -> bool:
        """Whether no more is read of a file, all in all, than some times what is there."""
        self._read[file] = self._read.get(file, 0) + length
        return self._read[file] <= MAX_TIMES * size


def as_array(proto: Any, what: str, folder: Folder | None = None) -> Array:
    """The array of a tensor in a file; its external data lies in `folder` or below.

    Strings are an array of objects.

    Raises:
        OnnxError: if its dims, its dtype or its bytes are not sane.
    """
    dims = tuple(int(d) for d in proto.dims)
    count = 1
    for d in dims:
        if d < 0:
            raise OnnxError(f"{what}: the dims {list(dims)} have a negative one")
        count *= d
    if len(dims) > 32:
        raise OnnxError(f"{what}: {len(dims)} axes are more than 32")
    if proto.HasField("segment"):
        raise OnnxError(f"{what}: tensors in segments are not supported")
    if proto.data_type == STRING:
        return _strings(proto, what, dims, count)
    dtype = dtype_of(proto.data_type, what)
    if count * dtype.itemsize > MAX_BYTES:
        raise OnnxError(f"{what}: {dtype}{list(dims)} is larger than a tebibyte")
    if proto.data_location == onnx().TensorProto.EXTERNAL:
        data = _external(proto, what, count * dtype.itemsize, folder)
    elif proto.HasField("raw_data"):
        data = proto.raw_data
    else:
        return _listed(proto, what, dtype, count).reshape(dims)
    if len(data) != count * dtype.itemsize:
        raise OnnxError(
            f"{what}: {dtype}{list(dims)} takes {count * dtype.itemsize} bytes, and {len(data)} "
            "are there"
        )
    array = np.frombuffer(data, dtype.newbyteorder("<") if dtype != BFLOAT16 else dtype)
    return array.astype(dtype, copy=False).reshape(dims)


def _strings(proto: Any, what: str, dims: tuple[int, ...], count: int) -> Array:
    if len(proto.string_data) != count:
        raise OnnxError(f"{what}: {count} strings are declared; {len(proto.string_data)} are there")
    texts = [text.decode("utf-8", "replace") for text in proto.string_data]
    return np.array(texts, dtype=object).reshape(dims)


def _listed(proto: Any, what: str, dtype: DType, count: int) -> Array:
    """The elements of a tensor that lists them as numbers."""
    field = getattr(proto, _FIELDS.get(dtype.name, "int32_data"))
    if len(field) != count:
        raise OnnxError(f"{what}: {count} elements are declared; {len(field)} are there")
    if dtype.name in ("float16", "bfloat16"):
        return np.array(field, np.int64).astype(np.uint16).view(dtype)
    with np.errstate(all="ignore"):
        return np.array(
            field, np.int64 if dtype.kind in "biu" and dtype.itemsize < 8 else dtype
        ).astype(dtype)


def _external(proto: Any, what: str, wanted: int, folder: Folder | None) -> bytes:
    """The bytes of a tensor that lie in another file of the model's folder."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise OnnxError(f"{what}: its data lies in {location!r:.80}, and the model in no folder")
    file = inside(folder.path, location, what)
    offset, length = _number(entries, "offset", 0, what), _number(entries, "length", wanted, what)
    if length != wanted:
        raise OnnxError(f"{what}: its type takes {wanted} bytes, and its entry says {length}")
    try:
        with open(file, "rb", opener=_opener) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or offset + length > status.st_size:
                raise OnnxError(
                    f"{what}: {length} bytes from {offset} are not there in {location!r:.80}, "
                    f"which has {status.st_size}"
                )
            if not folder.count(file, length, status.st_size):
                raise OnnxError(f"{what}: {location!r:.80} is read again and again")
            stream.seek(offset)
            return stream.read(length)
    except OSError as error:
        raise OnnxError(f"{what}: {location!r:.80} cannot be read: {error.strerror}") from None


def _opener(file: str, flags: int) -> int:
    """Opens what is no link, and does not wait for a writer of a pipe."""
    return os.open(file, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def inside(folder: Path, location: str, what: str) -> Path:
    """A path below the folder, no part of which is a link.

    Raises:
        OnnxError: if it leads elsewhere.
    """
    parts = PurePosixPath(location).parts
    foreign = PureWindowsPath(location)
    if (
        not parts
        or "\0" in location
        or ".." in (*parts, *foreign.parts)
        or PurePosixPath(location).is_absolute()
        or foreign.is_absolute()
        or foreign.drive
        or foreign.root
    ):
        raise OnnxError(
            f"{what}: the data's location {location!r:.80} is not in the model's folder"
        )
    file = folder
    for part in parts:
        file = file / part
        if file.is_symlink():
            raise OnnxError(f"{what}: the data's location {location!r:.80} is a symbolic link")
    return file


def _number(entries: dict[str, str], key: str, default: int, what: str) -> int:
    text = entries.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise OnnxError(f"{what}: the data's {key} is no size: {text!r:.40}")
    return int(text)
