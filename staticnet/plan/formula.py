"""Bytes as a formula in the symbolic dims: polynomials, the least and largest of them, rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from staticnet.errors import ArgumentError
from staticnet.ir.dim import Dim, FloorDiv, integer, substitute
from staticnet.plan.memory import ALIGNMENT, padded

Bytes = int | Dim


@dataclass(frozen=True)
class Formula:
    """Bytes that depend on symbolic dims.

    `at` gives them exactly. They are the largest polynomial of that entry of `cases` whose largest
    is least, and at most `slack` more: what rounding values up to whole cache lines, and the
    scratch memory of reductions, may add.
    """

    cases: tuple[tuple[Bytes, ...], ...]
    slack: Bytes
    names: tuple[str, ...]
    exactly: Callable[[Mapping[str, int]], int]

    def at(self, **dims: int) -> int:
        """The bytes for these sizes of the dims.

        Raises:
            ArgumentError: if a dim is missing, unknown or no int.
        """
        dims = check_dims("at", self.names, dims)
        return self.exactly(dims)

    def plus(self, more: Bytes) -> Formula:
        """This and other bytes."""
        cases = tuple(tuple(term + more for term in case) for case in self.cases)
        return Formula(cases, self.slack, self.names, lambda d: self.exactly(d) + value(more, d))

    def lines(self) -> list[str]:
        """One polynomial for each range of sizes, if there is one dim and they are lines in it."""
        lines = [f"{_call('min', [_call('max', list(map(show, c))) for c in self.cases])} bytes"]
        if pieces := _pieces(self.cases):
            lines = [f"{show(term)} bytes" for _, term in pieces]
            for i, (start, _) in enumerate(pieces[1:], 1):
                lines[i] += f" from {self.names[0]} = {start:,}"
        return [*lines, f"and at most {show(self.slack)} bytes more"] if self.slack != 0 else lines

    def __str__(self) -> str:
        return ", ".join(self.lines())


def _call(name: str, texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{name}({', '.join(texts)})"


def check_dims(what: str, names: Iterable[str], dims: Mapping[str, int]) -> dict[str, int]:
    """The sizes as Python's ints.

    Raises:
        ArgumentError: unless `dims` gives each of the names a size, and nothing else.
    """
    wanted = sorted(names)
    sizes = {name: integer(n) for name, n in dims.items()}
    known = {name: n for name, n in sizes.items() if n is not None and n >= 0}
    if sorted(dims) != wanted or len(known) < len(dims):
        raise ArgumentError(f"{what}: its symbolic dims are {wanted}; got {dict(dims)}")
    return known


def show(polynomial: Bytes) -> str:
    """A polynomial with the constant first: `941,104 + 6,304*batch`."""
    if isinstance(polynomial, int):
        return f"{polynomial:,}"
    terms = sorted(polynomial.terms, key=lambda term: len(term[0]))
    text = ""
    for monomial, c in terms:
        factors = [str(atom) for atom in monomial]
        if abs(c) != 1 or not factors:
            factors.insert(0, f"{abs(c):,}")
        sign = ("- " if c < 0 else "+ ") if text else ("-" if c < 0 else "")
        text += f" {sign}{'*'.join(factors)}" if text else f"{sign}{'*'.join(factors)}"
    return text


def value(polynomial: Bytes, dims: Mapping[str, int]) -> int:
    """A polynomial at sizes of the dims."""
    return int(substitute(polynomial, dims))


def piles(blocks: Sequence[tuple[int, int, Bytes]]) -> list[tuple[Bytes, ...]]:
    """How high each block's end lies if blocks (first step, last step, bytes) are stacked in order.

    -> for each block, sums of sizes of which the largest is its end
    """
    found: list[tuple[Bytes, ...]] = []
    for i, (first, last, size) in enumerate(blocks):
        below: list[Bytes] = [0]
        direct: list[tuple[int, int]] = []  # the blocks right below; what those meet is lower
        for j in range(i - 1, -1, -1):
            begins, ends, _ = blocks[j]
            meets = begins <= last and first <= ends
            if meets and not any(b <= ends and begins <= e for b, e in direct):
                direct.append((begins, ends))
                below += found[j]
        found.append(tuple(size + term for term in largest(below)))
    return found


def largest(terms: Iterable[Bytes]) -> tuple[Bytes, ...]:
    """The terms without those that another one is never less than."""
    kept: list[Bytes] = []
    for term in dict.fromkeys(terms):
        if not any(is_never_less(other, term) for other in kept):
            kept = [other for other in kept if not is_never_less(term, other)]
            kept.append(term)
    return tuple(kept)


def least_cases(cases: Iterable[tuple[Bytes, ...]]) -> tuple[tuple[Bytes, ...], ...]:
    """The cases without those whose largest term is never less than that of another one."""
    kept: list[tuple[Bytes, ...]] = []
    for case in dict.fromkeys(cases):
        if not any(_is_never_below(case, other) for other in kept):
            kept = [other for other in kept if not _is_never_below(other, case)]
            kept.append(case)
    return tuple(kept)


def _is_never_below(case: tuple[Bytes, ...], other: tuple[Bytes, ...]) -> bool:
    return all(covers(case, term) for term in other)


def is_never_less(a: Bytes, b: Bytes) -> bool:
    """Whether a >= b for all sizes of the dims; False where that is not seen from coefficients."""
    return all(c >= 0 for c in _least(a - b, 1).values())


def _least(polynomial: Bytes, sign: int) -> dict[tuple[object, ...], Fraction]:
    """Coefficients of what sign * polynomial is never less than, by floor(n / d) >= (n-d+1) / d."""
    if isinstance(polynomial, int):
        return {(): Fraction(sign * polynomial)}
    total: dict[tuple[object, ...], Fraction] = {}
    for monomial, c in polynomial.terms:
        part = {monomial: Fraction(sign * c)}
        if len(monomial) == 1 and isinstance(monomial[0], FloorDiv):
            n, d = monomial[0].numerator, monomial[0].denominator
            up = sign * c > 0
            scale = Fraction(abs(c), d)
            part = {
                m: scale * x for m, x in _least(n - (d - 1) if up else n, 1 if up else -1).items()
            }
        for m, x in part.items():
            total[m] = total.get(m, Fraction(0)) + x
    return total


def rounding(size: Bytes) -> tuple[Bytes, int]:
    """A size up to whole cache lines, but for what depends on the dims, and what that may add."""
    whole = padded(size)
    exact = isinstance(whole, int) or not any(
        isinstance(a, FloorDiv) for m, _ in whole.terms for a in m
    )
    return (whole, 0) if exact else (size, ALIGNMENT - 1)


def covers(terms: Sequence[Bytes], other: Bytes) -> bool:
    """Whether one of the terms is at least `other` at all sizes; False where that is not seen."""
    if any(is_never_less(term, other) for term in terms):
        return True
    pieces = _pieces([[*terms, other]])
    return bool(pieces) and all(term is not other for _, term in pieces)


def _pieces(cases: Sequence[Sequence[Bytes]]) -> list[tuple[int, Bytes]]:
    """The polynomial that counts from each size of the only dim on; none if they are no lines."""
    lines = {term: line for case in cases for term in case if (line := _line(term)) is not None}
    if len(lines) < len({term for case in cases for term in case}) or not lines:
        return []
    starts = {0}
    for a, slope in lines.values():
        for b, other in lines.values():
            if slope > other and b >= a:
                starts |= {(b - a) // (slope - other), (b - a) // (slope - other) + 1}
    found: list[tuple[int, Bytes]] = []
    for n in sorted(starts):
        tops = [max(case, key=lambda term: _at(lines[term], n)) for case in cases]
        term = min(tops, key=lambda term: _at(lines[term], n))
        if not found or _at(lines[found[-1][1]], n) != _at(lines[term], n):
            found.append((n, term))
    return found


def _line(term: Bytes) -> tuple[int, int] | None:
    """Constant and slope of a term, if it is a line in one dim."""
    if isinstance(term, int):
        return term, 0
    parts = dict(term.terms)
    constant = parts.pop((), 0)
    if len(term.symbols) != 1 or len(parts) != 1:
        return None
    ((monomial, slope),) = parts.items()
    return (constant, slope) if len(monomial) == 1 and isinstance(monomial[0], str) else None


def _at(line: tuple[int, int], n: int) -> int:
    return line[0] + line[1] * n
