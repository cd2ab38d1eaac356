"""Kinds of fields: what a value may be, in JSON and in an address."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from staticnet.errors import ArgumentError

T = TypeVar("T")


class Field(Generic[T]):
    """One kind of field."""

    def check(self, name: str, value: Any) -> T:
        """A value from JSON, if it is one of this kind.

        Raises:
            ArgumentError: if it is not; says what is.
        """
        raise NotImplementedError

    def read(self, name: str, text: str) -> T:
        """The value of a text from an address.

        Raises:
            ArgumentError: if it has none.
        """
        raise NotImplementedError

    def write(self, value: T) -> str:
        """The text of a value in an address."""
        return str(value)


@dataclass(frozen=True)
class OneOf(Field[str]):
    """One of some names."""

    names: tuple[str, ...]

    def check(self, name: str, value: Any) -> str:
        """The name itself."""
        if not isinstance(value, str) or value not in self.names:
            _refuse(name, f"one of {', '.join(self.names)}", value)
        return value

    def read(self, name: str, text: str) -> str:
        """The name itself."""
        return self.check(name, text)


@dataclass(frozen=True)
class SomeOf(Field[tuple[str, ...]]):
    """Some of the names, each once, in the order in which they are declared."""

    names: tuple[str, ...]
    least: int = 0

    def check(self, name: str, value: Any) -> tuple[str, ...]:
        """The names in order."""
        listed = isinstance(value, list | tuple) and len(value) <= len(self.names)
        if not listed or not all(isinstance(x, str) and x in self.names for x in value):
            _refuse(name, f"a list of names of {', '.join(self.names)}", value)
        chosen = tuple(x for x in self.names if x in value)
        if len(chosen) < self.least:
            _refuse(name, f"a list of at least {self.least} of {', '.join(self.names)}", value)
        return chosen

    def read(self, name: str, text: str) -> tuple[str, ...]:
        """`x,y`"""
        return self.check(name, text.split(",") if text else [])

    def write(self, value: tuple[str, ...]) -> str:
        """`x,y`"""
        return ",".join(value)


@dataclass(frozen=True)
class Sizes(Field[tuple[int, ...]]):
    """At most `most` sizes from 1 to `largest`."""

    most: int
    largest: int

    def check(self, name: str, value: Any) -> tuple[int, ...]:
        """The sizes."""
        listed = isinstance(value, list | tuple) and len(value) <= self.most
        if not listed or not all(_is_whole(x) and 1 <= x <= self.largest for x in value):
            _refuse(name, f"at most {self.most} whole numbers from 1 to {self.largest}", value)
        return tuple(value)

    def read(self, name: str, text: str) -> tuple[int, ...]:
        """`4,2`"""
        parts = text.split(",") if text else []
        return self.check(name, [int(x) if _is_digits(x) else x for x in parts])

    def write(self, value: tuple[int, ...]) -> str:
        """`4,2`"""
        return ",".join(map(str, value))


@dataclass(frozen=True)
class Whole(Field[int]):
    """A whole number."""

    low: int
    high: int

    def check(self, name: str, value: Any) -> int:
        """The number."""
        if not _is_whole(value) or not self.low <= value <= self.high:
            _refuse(name, f"a whole number from {self.low} to {self.high}", value)
        return int(value)

    def read(self, name: str, text: str) -> int:
        """`10`"""
        return self.check(name, int(text) if _is_digits(text) else text)


@dataclass(frozen=True)
class Number(Field[float]):
    """A finite number."""

    low: float
    high: float

    def check(self, name: str, value: Any) -> float:
        """The number."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:  # NaN is in no range
            _refuse(name, f"a number from {self.low:g} to {self.high:g}", value)
        return float(value)

    def read(self, name: str, text: str) -> float:
        """`0.03`"""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        return self.check(name, value)

    def write(self, value: float) -> str:
        """`0.03`"""
        return f"{value!r}"


@dataclass(frozen=True)
class Flag(Field[bool]):
    """Yes or no."""

    def check(self, name: str, value: Any) -> bool:
        """The flag."""
        if not isinstance(value, bool):
            _refuse(name, "true or false", value)
        return value

    def read(self, name: str, text: str) -> bool:
        """`1` or `0`"""
        if text not in ("0", "1"):
            _refuse(name, "1 or 0", text)
        return text == "1"

    def write(self, value: bool) -> str:
        """`1` or `0`"""
        return "1" if value else "0"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _refuse(name: str, wanted: str, given: Any) -> NoReturn:
    raise ArgumentError(f"playground: {name} must be {wanted}, not {given!r:.60}")
