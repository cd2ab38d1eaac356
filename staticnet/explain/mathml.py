"""Expressions as MathML, which browsers draw: each node is an element that can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from staticnet.ir.formula import Plain, Written, write

MOST = 600  # nodes that are written
_ATOM = 11
_SIGNS = {
    "*": "·", "@": "\u2062", "<=": "≤", ">=": "≥", "==": "=", "!=": "≠", "&&": "∧", "||": "∨",
    "-": "−", "&": "∧", "|": "∨",
}  # fmt: skip


class MathML(Plain):
    """Formulas whose nodes have numbers; those of `new` are marked.

    `number_of` gives a node's number, or None where it is not to be clicked.
    """

    more = "<mi>…</mi>"
    most, ones = MOST, True
    chars = 20000

    def __init__(
        self,
        number_of: Callable[[Any], int | None] | None = None,
        new: frozenset[Any] = frozenset(),
    ) -> None:
        self._number_of = number_of or (lambda node: None)
        self._new = new

    def marked(self, node: Any, written: Written) -> Written:
        number = self._number_of(node)
        if number is None and node not in self._new:
            return written
        shown = ["node"] * (number is not None) + ["new"] * (node in self._new)
        data = "" if number is None else f' data-node="{number}"'
        return f'<mrow class="{" ".join(shown)}"{data}>{written[0]}</mrow>', written[1]

    def name(self, text: str) -> str:
        return f"<mi>{escape(text)}</mi>"

    def number(self, text: str) -> Written:
        if text.startswith("-"):
            return f"<mo>−</mo><mn>{escape(text[1:])}</mn>", 9
        return f"<mn>{escape(text)}</mn>", _ATOM

    def negative(self, x: Written) -> Written:
        return f"<mrow><mo>−</mo>{self.held(x, 9)}</mrow>", 9

    def derivative(self, y: Written, x: Written) -> Written:
        over = f"<mfrac><mi>d</mi><mrow><mi>d</mi>{self.held(x, _ATOM)}</mrow></mfrac>"
        return f"<mrow>{over}<mo>[</mo>{y[0]}<mo>]</mo></mrow>", _ATOM

    def call(self, name: str, parts: list[str]) -> Written:
        told = [p if p.startswith("<") else f"<mtext>{escape(p)}</mtext>" for p in parts]
        inside = "<mo>,</mo>".join(told)
        if name == "sqrt":
            return f"<msqrt>{inside}</msqrt>", _ATOM
        if name == "abs":
            return f"<mrow><mo>|</mo>{inside}<mo>|</mo></mrow>", _ATOM
        if name == "exp":
            return f"<msup><mi>e</mi><mrow>{inside}</mrow></msup>", 10
        return f"<mrow><mi>{escape(name)}</mi><mo>(</mo>{inside}<mo>)</mo></mrow>", _ATOM

    def infix(self, sign: str, left: Written, right: Written) -> Written:
        if sign == "/":
            return f"<mfrac><mrow>{left[0]}</mrow><mrow>{right[0]}</mrow></mfrac>", 10
        strength = super().infix(sign, left, right)[1]
        drawn = f"<mo>{escape(_SIGNS.get(sign, sign))}</mo>"
        held = self.held(left, strength), self.held(right, strength + 1)
        return f"<mrow>{held[0]}{drawn}{held[1]}</mrow>", strength

    def power(self, base: Written, exponent: Written) -> Written:
        held = self.held(base, _ATOM)
        return f"<msup><mrow>{held}</mrow><mrow>{exponent[0]}</mrow></msup>", 10

    def transposed(self, x: Written) -> Written:
        return f"<msup><mrow>{self.held(x, _ATOM)}</mrow><mo>⊤</mo></msup>", _ATOM

    def held(self, part: Written, least: int) -> str:
        return part[0] if part[1] >= least else f"<mrow><mo>(</mo>{part[0]}<mo>)</mo></mrow>"


def inside(node: Any) -> str:
    """The MathML of a node, without its <math> element."""
    return write(node, MathML())


def math(node: Any, style: MathML | None = None, before: str = "") -> str:
    """A <math> element of a node; `before` is MathML in front of it."""
    return f'<math displaystyle="true">{before}{write(node, style or MathML())}</math>'
