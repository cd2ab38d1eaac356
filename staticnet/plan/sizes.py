"""Sizes of memory as a user writes them: bytes, or a number with a unit."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ops.arguments import as_int

_PREFIXES = "kmgtp"
UNITS = {"b": 1}
UNITS |= {f"{prefix}b": 1000 ** (i + 1) for i, prefix in enumerate(_PREFIXES)}
UNITS |= {f"{prefix}ib": 1024 ** (i + 1) for i, prefix in enumerate(_PREFIXES)}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)


def as_bytes(value: Any, what: str) -> int:
    """A size in bytes: an int, or a string such as "1.5 GB" (1000**3 bytes each) or "512 MiB".

    Raises:
        ArgumentError: if it is neither, or negative.
    """
    if isinstance(value, str):
        return _parse(value, what)
    try:
        size = as_int(value, what)
    except ArgumentError:
        raise _refusal(value, what) from None
    if size < 0:
        raise _refusal(value, what)
    return size


def _parse(text: str, what: str) -> int:
    match = _FORM.fullmatch(text)
    factor = UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise _refusal(text, what)
    return int(Fraction(match[1]) * factor)


def _refusal(value: Any, what: str) -> ArgumentError:
    return ArgumentError(
        f"{what} must be an int of bytes, at least 0, or a string with a unit, such as '1.5 GB' or "
        f"'512 MiB', not {value!r:.60}"
    )
