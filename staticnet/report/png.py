"""Pixels as a PNG file (ISO/IEC 15948), by zlib alone."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from staticnet.errors import ShapeError

Array = np.ndarray[Any, Any]
_GREY, _COLOUR = 0, 2


def png(pixels: Array) -> bytes:
    """The bytes of a file: each row is compressed as it is.

    pixels: uint8, or floats of which [0, 1] is shown, [h, w] or [h, w, 3]

    Raises:
        ShapeError: if they are no picture.
    """
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or not pixels.size:
        raise ShapeError(f"png: a picture is [h, w] or [h, w, 3], not {list(pixels.shape)}")
    if pixels.dtype.kind == "f":
        pixels = np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    kind = _GREY if pixels.ndim == 2 else _COLOUR
    head = struct.pack(">2I5B", width, height, 8, kind, 0, 0, 0)
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    plain = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # 0: no filter
    parts = (_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(plain.tobytes(), 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
