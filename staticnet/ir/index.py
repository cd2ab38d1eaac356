"""`Index`: where an element lies, as an affine expression of loop variables with known ranges.

Movement ops map the index of a result's element to that of their operand's; code generation prints
the outcome. Ranges let `reshape` cancel: (64*i + j) / 64 is i, where j runs over [0, 64).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Symbol:
    """A loop variable, or an expression that no affine form has, with values in [0, extent).

    Such an expression is what is left of, or how often, `divisor` goes into `whole`.
    """

    text: str
    extent: int
    whole: Index | None = field(default=None, compare=False, repr=False)
    divisor: int = field(default=1, compare=False, repr=False)
    is_rest: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True)
class Index:
    """sum of coefficient * symbol, plus a constant."""

    terms: tuple[tuple[Symbol, int], ...] = ()
    constant: int = 0

    @classmethod
    def of(cls, symbol: Symbol) -> Index:
        """The symbol itself; one with a single value is that value, 0."""
        return cls() if symbol.extent == 1 else cls(((symbol, 1),))

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.constant + other)
        merged = dict(self.terms)
        for symbol, coefficient in other.terms:
            merged[symbol] = merged.get(symbol, 0) + coefficient
        terms = tuple((s, c) for s, c in merged.items() if c)
        return Index(terms, self.constant + other.constant)._joined()

    def _joined(self) -> Index:
        """The index with n * (x / n) + x % n as x: what was split apart may lie side by side."""
        for rest, c in self.terms:
            if not rest.is_rest:
                continue
            for quotient, d in self.terms:
                if quotient.is_rest or d != c * rest.divisor or quotient.divisor != rest.divisor:
                    continue
                if rest.whole is not None and rest.whole == quotient.whole:
                    left = tuple(term for term in self.terms if term[0] not in (rest, quotient))
                    return Index(left, self.constant) + rest.whole * c
        return self

    def __mul__(self, factor: int) -> Index:
        if factor == 0:
            return Index()
        return Index(tuple((s, c * factor) for s, c in self.terms), self.constant * factor)

    def is_same(self, other: Index) -> bool:
        """Whether both are the same expression, in whatever order its terms stand."""
        return self.constant == other.constant and dict(self.terms) == dict(other.terms)

    @property
    def least(self) -> int:
        """The least value it takes."""
        return self.constant + sum(min(0, c * (s.extent - 1)) for s, c in self.terms)

    @property
    def greatest(self) -> int:
        """The greatest value it takes."""
        return self.constant + sum(max(0, c * (s.extent - 1)) for s, c in self.terms)

    def divide(self, divisor: int) -> tuple[Index, Index]:
        """Quotient and rest of an index that is never negative."""
        whole = Index(
            tuple((s, c // divisor) for s, c in self.terms if c % divisor == 0),
            self.constant // divisor,
        )
        rest = Index(tuple((s, c) for s, c in self.terms if c % divisor), self.constant % divisor)
        if rest.least < 0:
            whole, rest = Index(), self
        if rest.greatest < divisor:
            return whole, rest
        most = rest.greatest // divisor + 1
        quotient = Symbol(f"(({rest})/{divisor})", most, rest, divisor)
        remainder = Symbol(f"(({rest})%{divisor})", divisor, rest, divisor, is_rest=True)
        return whole + Index.of(quotient), Index.of(remainder)

    def __str__(self) -> str:
        text = ""
        for symbol, coefficient in self.terms:
            factor = symbol.text if abs(coefficient) == 1 else f"{symbol.text}*{abs(coefficient)}"
            text += ("-" if coefficient < 0 else "+" if text else "") + factor
        if self.constant or not text:
            text += f"{self.constant:+d}" if text else str(self.constant)
        return text


def linear(index: Sequence[Index], shape: Sequence[int]) -> Index:
    """The place of an element in C order."""
    total = Index()
    stride = 1
    for position, dim in zip(reversed(index), reversed(shape), strict=True):
        total = total + position * stride
        stride *= dim
    return total


def split(place: Index, shape: Sequence[int]) -> tuple[Index, ...]:
    """The element at a place in C order: the inverse of `linear`."""
    parts: list[Index] = []
    for dim in reversed(shape):
        place, rest = place.divide(dim) if dim > 1 else (place, Index())
        parts.append(rest)
    return tuple(reversed(parts))


def broadcast(index: Sequence[Index], shape: Sequence[int]) -> tuple[Index, ...]:
    """The element of an operand of `shape` that broadcasting pairs with the result's element."""
    extra = len(index) - len(shape)
    return tuple(
        Index() if dim == 1 else position
        for position, dim in zip(index[extra:], shape, strict=True)
    )
