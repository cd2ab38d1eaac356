"""safetensors files: named arrays, with nothing in them that could run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import files
from staticnet.errors import StateError, StaticnetError
from staticnet.ir.dtype import DTYPES, as_dtype
from staticnet.ops.arguments import check_unmasked

Array = np.ndarray[Any, Any]


def save(
    file: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays by name; the file is complete or, if anything fails, as it was before.

    Raises:
        StateError: if a name or the metadata is no string that UTF-8 can write, a tensor is called
            `__metadata__`, or an array has a dtype that staticnet does not know.
        OSError: if the file cannot be written.
    """
    from safetensors.numpy import save as serialize

    if not isinstance(tensors, Mapping):
        raise StateError(f"safetensors: tensors are a mapping by name, not {tensors!r:.60}")
    arrays = {_name(name): _dense(name, value) for name, value in tensors.items()}
    files.write(file, serialize(arrays, _texts(metadata)))


def load(file: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of a file, by name.

    Raises:
        StateError: if the file is damaged or holds a dtype that staticnet does not know.
        OSError: if it cannot be read.
    """
    return load_with_metadata(file)[0]


def load_with_metadata(
    file: str | os.PathLike[str],
) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a file, by name, and the metadata beside them.

    Raises:
        StateError: if the file is damaged or holds a dtype that staticnet does not know.
        OSError: if it cannot be read.
    """
    import safetensors

    data = Path(file).read_bytes()
    try:
        entries = safetensors.deserialize(data)
        arrays = {name: _array(entry) for name, entry in entries}
    except (safetensors.SafetensorError, StaticnetError) as error:
        raise StateError(f"{os.fspath(file)}: not a readable safetensors file: {error}") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return arrays, header.get("__metadata__", {})


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise StateError(f"safetensors: a tensor's name must be a string, not {name!r:.60}")
    if name == "__metadata__":
        raise StateError("safetensors: '__metadata__' is the format's own; rename the tensor")
    _check_text(name)
    return name


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StateError(f"safetensors: UTF-8 cannot write {text!a:.60}") from None


def _texts(metadata: Any) -> dict[str, str] | None:
    """Metadata as the format has it: strings by name."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise StateError(f"safetensors: metadata is a mapping of strings, not {metadata!r:.60}")
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise StateError(
                f"safetensors: metadata maps strings to strings, not {name!r:.40} to {text!r:.40}; "
                "json.dumps makes a string of most things"
            )
        _check_text(name + text)
    return dict(metadata) or None


def _dense(name: str, value: Any) -> Array:
    """`value` as the library takes it: contiguous, with the machine's byte order."""
    check_unmasked(value)
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise StateError(f"safetensors: {name!r} has the dtype {array.dtype}, which has no place")
    return np.array(array, DTYPES[array.dtype.name], order="C")


def _array(entry: Mapping[str, Any]) -> Array:
    dtype = as_dtype(entry["dtype"].lower())
    return np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
