"""Symbolic dimensions: integer polynomials in named unknowns, equal by normal form.

A `Dim` is a sum of products, `3*batch*time + 1`; two Dims are equal exactly when their normal forms
are. An expression without an unknown is a plain `int`, so code can test `isinstance(d, int)`.
Integer division that does not come out evenly is an atom of its own, `((batch+1)//2)`.
"""

from __future__ import annotations

import ast
import keyword
import operator
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from staticnet.errors import ParseError, ShapeError, StaticnetError
from staticnet.ir.location import user_line

Monomial = tuple[Any, ...]  # atoms, sorted by their text, repeated for powers
Terms = tuple[tuple[Monomial, int], ...]


def integer(value: Any) -> int | None:
    """An int of Python or NumPy, also in an array without axes, as Python's; None for all else."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except (TypeError, StaticnetError):
        return None


@dataclass(frozen=True)
class FloorDiv:
    """An atom: floor(numerator / denominator) that has no polynomial form."""

    numerator: Dim
    denominator: int

    def __str__(self) -> str:
        return f"(({self.numerator})//{self.denominator})"


class Dim:
    """A symbolic dimension: `sn.Dim("batch")`, and sums and products of such.

    Two dims of equal name are the same dimension. Units: elements along an axis. Beside values of a
    graph a dimension is a number, `loss / x.shape[0]`; it takes their dtype, as a Python int does.

    Raises:
        ShapeError: if the name is not an identifier, or is one of Python's keywords.
    """

    __slots__ = ("_hash", "terms")
    __array_ufunc__ = None  # NumPy's numbers on the left leave the operator to us
    terms: Terms
    _hash: int

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise ShapeError(f"Dim: the name must be an identifier and no keyword, not {name!r}")
        name = unicodedata.normalize("NFKC", name)  # as Python does with every identifier
        self._set((((name,), 1),))

    def _set(self, terms: Terms) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self.terms == other.terms if isinstance(other, Dim) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return parse_dim, (str(self),)

    def __add__(self, other: Any) -> Any:
        number = _whole(self, "+", other)
        if number is None:
            return NotImplemented
        terms = dict(self.terms)
        for monomial, coefficient in _terms(number):
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _from_terms(terms)

    def __mul__(self, other: Any) -> Any:
        number = _whole(self, "*", other)
        if number is None:
            return NotImplemented
        terms: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(number):
                monomial = tuple(sorted(left + right, key=str))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _from_terms(terms)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> int | Dim:
        return self._times(-1)

    def _times(self, factor: int) -> int | Dim:
        return _from_terms({monomial: c * factor for monomial, c in self.terms})

    def __sub__(self, other: Any) -> Any:
        number = _whole(self, "-", other)
        return NotImplemented if number is None else self + number * -1

    def __rsub__(self, other: Any) -> Any:
        number = _whole(self, "subtracted from", other)
        return NotImplemented if number is None else number + self._times(-1)

    def __floordiv__(self, other: Any) -> Any:
        number = _whole(self, "//", other)
        if number is None:
            return NotImplemented
        exact = exact_quotient(self, number)
        if exact is not None:
            return exact
        if not isinstance(number, int) or number <= 0:
            raise ShapeError(f"{self} // {other}: the divisor does not divide it and is no number")
        whole = _from_terms({m: c // number for m, c in self.terms})
        rest = _from_terms({m: c % number for m, c in self.terms})
        if isinstance(rest, int):
            return whole + rest // number
        return whole + _from_terms({(FloorDiv(rest, number),): 1})

    def __mod__(self, other: Any) -> Any:
        number = _whole(self, "%", other)
        return NotImplemented if number is None else self - self // number * number

    def __pow__(self, other: Any) -> Any:
        number = _whole(self, "**", other)
        if number is None:
            return NotImplemented
        if not isinstance(number, int) or number < 0:
            raise ShapeError(f"{self} ** {other}: the exponent must be an int, at least 0")
        return _product([self] * number)

    def __truediv__(self, other: Any) -> Any:
        if _whole(self, "/", other) is None:
            return NotImplemented
        raise _no_dimension(f"{self} / {other}", self)

    def __rtruediv__(self, other: Any) -> Any:
        if _whole(self, "/", other) is None:
            return NotImplemented
        raise _no_dimension(f"{other} / {self}", self)

    def __lt__(self, other: Any) -> bool:
        return _compared(self, "<", other)

    def __le__(self, other: Any) -> bool:
        return _compared(self, "<=", other)

    def __gt__(self, other: Any) -> bool:
        return _compared(self, ">", other)

    def __ge__(self, other: Any) -> bool:
        return _compared(self, ">=", other)

    def __bool__(self) -> bool:
        return True

    def __int__(self) -> int:
        raise ShapeError(f"the dimension {self} is symbolic; it has a value only when fed")

    __index__ = __int__

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            factors = [str(atom) for atom in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+" if text else ""
            text += sign + "*".join(factors)
        return text

    def __repr__(self) -> str:
        return f"Dim({str(self)!r})"

    @property
    def symbols(self) -> frozenset[str]:
        """The names of the unknowns."""
        names: set[str] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                names |= {atom} if isinstance(atom, str) else atom.numerator.symbols
        return frozenset(names)

    def substitute(self, values: Mapping[str, int]) -> int | Dim:
        """This dimension with some unknowns replaced by numbers."""
        return _add(
            _product(_substitute_atom(atom, values) for atom in monomial) * coefficient
            for monomial, coefficient in self.terms
        )


_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def _whole(dim: Dim, sign: str, other: Any) -> int | Dim | None:
    """The other operand of an operator, if it is whole; None if it may know what to do itself.

    Raises:
        ShapeError: if it is neither whole nor a value of a graph.
    """
    number = other if isinstance(other, Dim) else integer(other)
    on_host = isinstance(other, np.ndarray | np.generic) or not hasattr(other, "dtype")
    if number is None and on_host:
        raise _no_dimension(f"{dim} {sign} {other!r:.60}", dim)
    return number


def _no_dimension(text: str, dim: Dim) -> ShapeError:
    return ShapeError(
        f"{text} is no dimension: those are made of ints; use //, or for a value of the graph "
        f"write sn.astype({dim}, dtype) in place of {dim} ({user_line()})"
    )


def _compared(dim: Dim, sign: str, other: Any) -> Any:
    """A comparison that holds, or does not, for all sizes.

    Raises:
        ShapeError: if that depends on the sizes.
    """
    number = _whole(dim, sign, other)
    if number is None:
        return NotImplemented
    gap = dim - number
    if not isinstance(gap, int):
        raise ShapeError(
            f"whether {dim} {sign} {other} is known only when fed; compare values of the graph, "
            f"as sn.astype({dim}, 'int64') {sign} {other} ({user_line()})"
        )
    return bool(_COMPARISONS[sign](gap, 0))


def _substitute_atom(atom: Any, values: Mapping[str, int]) -> int | Dim:
    if isinstance(atom, str):
        return values.get(atom, Dim(atom))
    return atom.numerator.substitute(values) // atom.denominator


def _terms(value: int | Dim) -> Terms:
    if isinstance(value, Dim):
        return value.terms
    number = integer(value)
    if number is None:
        raise ShapeError(f"a dimension is made of ints, not of {value!r:.60}")
    return (((), number),)


def _order(term: tuple[Monomial, int]) -> tuple[int, list[str]]:
    return -len(term[0]), [str(atom) for atom in term[0]]


def _from_terms(terms: Mapping[Monomial, int]) -> int | Dim:
    kept = tuple(sorted(((m, c) for m, c in terms.items() if c), key=_order))
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    dim = object.__new__(Dim)
    dim._set(kept)
    return dim


def _add(values: Iterable[int | Dim]) -> int | Dim:
    return reduce(operator.add, values, 0)


def _product(values: Iterable[int | Dim]) -> int | Dim:
    return reduce(operator.mul, values, 1)


def size_of(shape: Iterable[int | Dim]) -> int | Dim:
    """The number of elements of a shape: the product of its dims."""
    return _product(shape)


def exact_quotient(a: int | Dim, b: int | Dim) -> int | Dim | None:
    """q with q * b == a for every value of the unknowns, or None (polynomial long division)."""
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a // b if a % b == 0 else None
    lead, scale = _leading(b)
    quotient: int | Dim = 0
    for _ in range(len(_terms(a)) * len(_terms(b)) + 1):
        if a == 0:
            return quotient
        monomial, coefficient = _leading(a)
        rest = list(monomial)
        if coefficient % scale or any(rest.count(x) < lead.count(x) for x in lead):
            return None
        for atom in lead:
            rest.remove(atom)
        step = _from_terms({tuple(rest): coefficient // scale})
        quotient, a = quotient + step, a - step * b
    return None


def _leading(value: int | Dim) -> tuple[Monomial, int]:
    """The first term in graded lexicographic order, an order that products keep."""
    return min(_terms(value), key=_order)


def substitute(value: int | Dim, values: Mapping[str, int]) -> int | Dim:
    """`value` with unknowns replaced; a plain number stays as it is."""
    return value.substitute(values) if isinstance(value, Dim) else value


def symbols_of(shape: Iterable[int | Dim]) -> frozenset[str]:
    """The unknowns that occur in a shape."""
    return frozenset().union(*(d.symbols for d in shape if isinstance(d, Dim)))


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def parse_dim(text: str) -> int | Dim:
    """Read `2*batch+1` back.

    Raises:
        ParseError: if the text is not a sum of products of names and integers.
    """
    try:
        return _evaluate(ast.parse(text, mode="eval").body, text)
    except SyntaxError:
        raise ParseError(f"not a dimension: {text!r}") from None


def _evaluate(node: ast.expr, text: str) -> int | Dim:
    match node:
        case ast.Constant(value=value) if type(value) is int:
            return value
        case ast.Name(id=name):
            return Dim(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _evaluate(operand, text) * -1
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_evaluate(left, text), _evaluate(right, text))
        case _:
            raise ParseError(f"not a dimension: {text!r}")
