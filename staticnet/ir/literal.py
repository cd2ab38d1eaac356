"""`Literal`: a constant's value, compared by dtype, shape and bits (so 0.0 is not -0.0)."""

from __future__ import annotations

import base64
import re
import zlib
from typing import Any

import numpy as np

from staticnet.errors import ParseError
from staticnet.ir.dtype import DType, as_dtype, short_name
from staticnet.ir.types import TensorType, format_shape

MAX_READABLE = 16
_FORM = re.compile(r"(\w+)\[([\d,]*)\] (.*)", re.S)


class Literal:
    """An immutable array; its text is readable up to 16 elements, else zlib and base64."""

    __slots__ = ("_hash", "data", "type")

    def __init__(self, dtype: DType, shape: tuple[int, ...], data: bytes) -> None:
        self.type = TensorType(dtype, shape)
        self.data = data
        self._hash = hash((self.type, data))

    @classmethod
    def of(cls, array: np.ndarray[Any, Any]) -> Literal:
        """The literal that holds a copy of `array`."""
        return cls(array.dtype, array.shape, array.tobytes())

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """A read-only view of the value."""
        return np.frombuffer(self.data, self.type.dtype).reshape(self.type.shape)

    @property
    def scalar(self) -> Any:
        """The Python value of a literal with one element."""
        return self.array.reshape(()).item()

    def __reduce__(self) -> Any:
        return parse_literal, (str(self),)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self.type == other.type and self.data == other.data

    def __str__(self) -> str:
        flat = self.array.reshape(-1)
        head = f"{short_name(self.type.dtype)}{format_shape(self.type.shape)} "
        if flat.size <= MAX_READABLE:
            values = "(" + " ".join(str(v) for v in flat) + ")"
            if _parse_values(values, self.type.dtype).tobytes() == self.data:
                return head + values
        return head + "z:" + base64.b64encode(zlib.compress(self.data)).decode()

    __repr__ = __str__


def parse_literal(text: str) -> Literal:
    """Read a literal's text back.

    Raises:
        ParseError: if the text is malformed or holds the wrong number of bytes.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ParseError(f"not a literal: {text[:60]!r}")
    dtype = as_dtype(match[1])
    shape = tuple(int(d) for d in match[2].split(",") if d)
    try:
        if match[3].startswith("z:"):
            data = zlib.decompress(base64.b64decode(match[3][2:]))
        else:
            data = _parse_values(match[3], dtype).tobytes()
    except (ValueError, zlib.error) as error:
        raise ParseError(f"not a literal: {text[:60]!r} ({error})") from None
    literal = Literal(dtype, shape, data)
    if literal.type.nbytes != len(data):
        raise ParseError(f"{literal.type} needs {literal.type.nbytes} bytes, got {len(data)}")
    return literal


def _parse_values(text: str, dtype: DType) -> np.ndarray[Any, Any]:
    words = text.strip("()").split()
    if dtype.kind == "b":
        return np.array([word == "True" for word in words], dtype)
    if dtype.kind in "iu":
        return np.array([int(word) for word in words], dtype)
    return np.array([dtype.type(word) for word in words], dtype)
