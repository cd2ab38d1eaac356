"""Expressions as mathematics: `sin(x) * x`, and the same as LaTeX.

What moves elements without changing them to other numbers, as a cast or a broadcast, is not
written; neither is a factor 1, as derivatives have. Long formulas end in `…`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from staticnet.ir.types import TupleType

MOST = 40  # nodes that are written
_CHARS = 160
_SILENT = ("broadcast_to", "cast", "stop_gradient", "optimization_barrier", "held")
_INFIX = re.compile(r"\{0\} (\S+) \{1\}")
_STRENGTH = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "|": 4, "^": 5, "&": 6,
    "+": 7, "-": 7, "*": 8, "/": 8, "@": 8,
}  # fmt: skip
_SIGN, _POWER, _ATOM = 9, 10, 11
_LATEX_NAMES = {"log": r"\log", "asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan"} | {
    name: f"\\{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp")
}
_LATEX_SIGNS = {
    "*": r"\cdot", "@": r"\,", "<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne", "&&": r"\wedge",
    "||": r"\vee", "&": r"\mathbin{\&}", "^": r"\oplus", "|": r"\mid",
}  # fmt: skip
Written = tuple[str, int]  # a text, and how strongly it holds together
Texts = dict[Any, Written]


def formula(node: Any) -> str:
    """`sin(x) * x` of a node; at most some 160 characters."""
    text = write(node, Plain())
    return text if len(text) <= _CHARS else text[: _CHARS - 1] + "…"


def latex(node: Any) -> str:
    r"""`\sin\left(x\right) \cdot x` of a node, without dollars."""
    return write(node, Latex())


class Plain:
    """As Python spells it.

    `most` and `chars` bound what is written; `ones` is whether factors 1 are.
    """

    more = "…"
    most = MOST
    chars = _CHARS
    ones = False

    def marked(self, node: Any, written: Written) -> Written:
        """What is written of a node, as it stands in what is around it."""
        return written

    def name(self, text: str) -> str:
        """An input, or an op by its name."""
        return text

    def number(self, text: str) -> Written:
        """A constant."""
        return text, _SIGN if text.startswith("-") else _ATOM

    def negative(self, x: Written) -> Written:
        """-x."""
        return f"-{self.held(x, _SIGN)}", _SIGN

    def derivative(self, y: Written, x: Written) -> Written:
        """dy / dx, not yet worked out."""
        return f"d/d{self.held(x, _ATOM)}[{y[0]}]", _ATOM

    def call(self, name: str, parts: list[str]) -> Written:
        """A function of parts."""
        return f"{name}({', '.join(parts)})", _ATOM

    def infix(self, sign: str, left: Written, right: Written) -> Written:
        """Two operands and a sign between."""
        strength = _STRENGTH[sign]
        told = f"{self.held(left, strength)} {sign} {self.held(right, strength + 1)}"
        return told, strength

    def power(self, base: Written, exponent: Written) -> Written:
        """base**exponent."""
        return f"{self.held(base, _ATOM)}**{self.held(exponent, _POWER)}", _POWER

    def transposed(self, x: Written) -> Written:
        """The transpose."""
        return f"{self.held(x, _ATOM)}.T", _ATOM

    def held(self, part: Written, least: int) -> str:
        """A part in parentheses, unless it holds together at least so strongly."""
        return part[0] if part[1] >= least else f"({part[0]})"


class Latex(Plain):
    """As a notebook draws it."""

    more = r"\ldots"

    def name(self, text: str) -> str:
        """An input, or an op by its name."""
        told = re.sub(r"([_&%#$])", r"\\\1", text)
        return told if len(text) == 1 else rf"\mathrm{{{told}}}"

    def call(self, name: str, parts: list[str]) -> Written:
        """A function of parts."""
        inside = ", ".join(parts)
        if name == "sqrt":
            return rf"\sqrt{{{inside}}}", _ATOM
        if name == "abs":
            return rf"\left|{inside}\right|", _ATOM
        head = _LATEX_NAMES.get(name) or rf"\operatorname{{{self.name(name)[8:-1] or name}}}"
        return rf"{head}\left({inside}\right)", _ATOM

    def derivative(self, y: Written, x: Written) -> Written:
        """dy / dx, not yet worked out."""
        return rf"\frac{{d}}{{d {self.held(x, _ATOM)}}}\left[{y[0]}\right]", _ATOM

    def infix(self, sign: str, left: Written, right: Written) -> Written:
        """Two operands and a sign between."""
        if sign == "/":
            return rf"\frac{{{left[0]}}}{{{right[0]}}}", _POWER
        return super().infix(sign, left, right)[0].replace(
            f" {sign} ", f" {_LATEX_SIGNS.get(sign, sign)} "
        ), _STRENGTH[sign]

    def power(self, base: Written, exponent: Written) -> Written:
        """base**exponent."""
        return f"{self.held(base, _ATOM)}^{{{exponent[0]}}}", _POWER

    def transposed(self, x: Written) -> Written:
        """The transpose."""
        return rf"{self.held(x, _ATOM)}^{{\top}}", _POWER

    def held(self, part: Written, least: int) -> str:
        """A part in parentheses, unless it holds together at least so strongly."""
        return part[0] if part[1] >= least else rf"\left({part[0]}\right)"


def write(root: Any, style: Plain) -> str:
    """The text of a node: those nearest to it are written, operands before their users."""
    near = _nearest(root, style.most)
    texts: Texts = {}
    for node in sorted(near, key=lambda node: node.number):
        inputs = [texts.get(x, (style.more, _ATOM)) for x in node.inputs]
        texts[node] = style.marked(node, _written(node, inputs, style))
        if len(texts[node][0]) > 4 * style.chars:  # of what is used twice and twice again
            texts[node] = style.more, _ATOM
    return texts[root][0]


def _nearest(root: Any, most: int) -> set[Any]:
    found, queue = {root}, deque([root])
    while queue:
        for operand in queue.popleft().inputs:
            if operand not in found and len(found) < most:
                found.add(operand)
                queue.append(operand)
    return found


def _written(node: Any, inputs: list[Written], style: Plain) -> Written:
    op = node.op
    if not inputs:
        return _leaf(node, style)
    if op.name in _SILENT or (op.name == "reshape" and node.inputs[0].type.size == 1):
        return inputs[0]
    if op.name in _OWN:
        return _OWN[op.name](node, inputs, style)
    infix = _INFIX.fullmatch(op.scalar)
    if infix and infix[1] in _STRENGTH:
        return _product(infix[1], inputs, style)
    return style.call(op.name, [*(text for text, _ in inputs), *_axes(node)])


def _product(sign: str, inputs: list[Written], style: Plain) -> Written:
    """`x * y`, without factors 1."""
    left, right = inputs
    if sign == "*" and left[0] == "1" and not style.ones:
        return right
    if sign in "*/" and right[0] == "1" and not style.ones:
        return left
    return style.infix(sign, left, right)


def _leaf(node: Any, style: Plain) -> Written:
    if node.op.name == "constant" and node.type.size == 1:
        number = node.op.value.array.reshape(-1)[0]
        text = f"{number:.6g}" if isinstance(number.item(), float) else str(number)
        return style.number(text)
    return style.name(node.name or node.op.name), _ATOM


def _axes(node: Any) -> list[str]:
    """`axis=1` of a reduction along some axes."""
    axes = getattr(node.op, "axes", ())
    if not isinstance(axes, tuple) or not axes or isinstance(node.inputs[0].type, TupleType):
        return []
    if len(axes) == len(node.inputs[0].type.shape):
        return []
    return [f"axis={axes[0] if len(axes) == 1 else axes}"]


def _transposed(node: Any, inputs: list[Written], style: Plain) -> Written:
    swapped = (*range(len(node.op.axes) - 2), len(node.op.axes) - 1, len(node.op.axes) - 2)
    if node.op.axes == swapped:
        return style.transposed(inputs[0])
    return style.call(node.op.name, [inputs[0][0], str(tuple(node.op.axes))])


_OWN: Mapping[str, Callable[[Any, list[Written], Plain], Written]] = {
    "negative": lambda node, inputs, style: style.negative(*inputs),
    "derivative": lambda node, inputs, style: style.derivative(*inputs),
    "pow": lambda node, inputs, style: style.power(*inputs),
    "matmul": lambda node, inputs, style: style.infix("@", *inputs),
    "permute_dims": _transposed,
}
