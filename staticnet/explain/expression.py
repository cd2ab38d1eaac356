"""Expressions as one types them, `sin(x)*x^2`, read as nodes: numbers, names, operators, functions.

Python's own parser reads them, and nothing of them is run: what is not arithmetic is an error that
points at the place.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import e, inf, nan, pi
from typing import Any, NoReturn

import numpy as np

from staticnet.errors import ExpressionError, StaticnetError
from staticnet.ir.node import Node, topological
from staticnet.ir.types import Shape, TupleType
from staticnet.ir.value import FUNCTIONS, Value
from staticnet.nn import functional
from staticnet.ops.base import Constant, constant
from staticnet.ops.state import placeholder

LONGEST = 2000  # characters of an expression
LARGEST = 1 << 20  # elements of a value
NUMBERS = {"pi": pi, "e": e, "inf": inf, "nan": nan}
_ALSO = {
    "ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "arctan2": "atan2",
}  # fmt: skip
_SIGNS = {
    "^": "**",
    "·": "*",
    "×": "*",
    "⋅": "*",
    "−": "-",
    "÷": "/",
    "π": " pi ",
}  # no part of a name
_POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.Pow: operator.pow, ast.MatMult: operator.matmul,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_REMEDY = "write a product as 2 * x, a power as x**2 or x^2, a function as sin(x)"


@dataclass(frozen=True)
class Expression:
    """What an expression computes, and its variables by their names, in the order they appear."""

    node: Node
    variables: Mapping[str, Node]


def parse(text: str, shapes: Mapping[str, Shape] | None = None) -> Expression:
    """Read an expression; its variables are float64 scalars, or of `shapes`.

    Raises:
        ExpressionError: if it is none; says where, and the remedy.
    """
    if not isinstance(text, str) or not text.strip():
        raise ExpressionError(f"expression: {text!r:.60} is empty; {_REMEDY}")
    reader = _Reader(text, shapes or {})
    if len(text) > LONGEST:
        reader.fail(LONGEST, f"is longer than {LONGEST} characters", "take a part of it")
    try:
        made = reader.read()
    except RecursionError:
        reader.fail(0, "is nested too deeply", "take a part of it")
    for name in reader.shapes:
        if name not in reader.variables:
            reader.fail(0, f"has no variable {name}", "leave it out")
    return Expression(made, reader.variables)


@dataclass
class _Reader:
    text: str
    shapes: Mapping[str, Shape]
    variables: dict[str, Node] = field(default_factory=dict)

    def read(self) -> Node:
        plain = "".join(self.pieces)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(plain, mode="eval")
        except (SyntaxError, ValueError, MemoryError) as error:
            column = (getattr(error, "offset", None) or 1) - 1  # in characters
            message = str(getattr(error, "msg", error)).partition(".")[0]
            written = len(plain[:column].encode())
            self.fail(self.column(written), f"does not parse: {message}", _REMEDY)
        made = self.value(tree.body)
        if not isinstance(made, Node):
            made = made if isinstance(made, Value) else self.number(tree.body, made)
        if not isinstance(made, Node) or isinstance(made.type, TupleType):
            self.fail(0, "gives several results", "choose one, as top_k(x, 2)[0]")
        for node in topological([made]):
            if node.op.is_input and node not in set(self.variables.values()):
                self.fail(0, f"draws random numbers in {node.op.name}", "leave that out")
        return made

    @cached_property
    def pieces(self) -> list[str]:
        """What Python reads for each character as it was typed."""
        typed = self.text.rstrip()
        made = [_SIGNS.get(c, c) for c in typed]
        for i, c in enumerate(typed):
            if c in _POWERS:
                begins = i == 0 or typed[i - 1] not in _POWERS
                ends = i + 1 == len(typed) or typed[i + 1] not in _POWERS
                made[i] = "**" * begins + str(_POWERS.index(c)) + " " * ends
        blank = len(typed) - len(typed.lstrip())
        made[blank] = made[blank].lstrip()
        return [""] * blank + made[blank:]

    def column(self, at: int) -> int:
        """The place in the text as it was typed of a byte of what Python reads."""
        ends = np.cumsum([len(piece.encode()) for piece in self.pieces])
        return int(np.searchsorted(ends, at, "right"))

    def fail(self, at: int | ast.AST, what: str, remedy: str) -> NoReturn:
        column = at if isinstance(at, int) else self.column(getattr(at, "col_offset", 0))
        error = ExpressionError(
            f"expression {self.text!r:.80}: {what} (character {column + 1}); {remedy}"
        )
        shown = "".join(c if c.isprintable() else " " for c in self.text)
        first = max(0, column - 60)
        error.pointed = f"  {shown[first : first + 100]}\n  {' ' * (column - first)}^"
        raise error

    def value(self, tree: ast.expr) -> Any:
        """A node, or a Python number, string, tuple, …, as functions take them."""
        read: Callable[[Any], Any] | None = getattr(self, f"_{type(tree).__name__.lower()}", None)
        if read is None:
            what = f"{ast.unparse(tree)[:40]} is no arithmetic"
            self.fail(tree, what, _REMEDY)
        return read(tree)

    def number(self, tree: ast.AST, value: Any) -> Node:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(tree, f"{value!r:.40} is no number", _REMEDY)
        try:
            return constant(float(value), "float64")
        except (StaticnetError, OverflowError):
            self.fail(tree, "the number is too large", "float64 ends at 1.8e308")

    def operand(self, tree: ast.expr) -> Any:
        made = self.value(tree)
        return made if isinstance(made, Value) else self.number(tree, made)

    def made(self, tree: ast.AST, f: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """What a function gives; its error points at the place."""
        try:
            result = f(*args, **named)
        except StaticnetError as error:
            self.fail(tree, str(error).partition(" (")[0], "see sn's function of that name")
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            self.fail(tree, f"cannot be computed: {error}", _REMEDY)
        except NotImplementedError:
            self.fail(tree, "cannot be computed of these operands", _REMEDY)
        for each in result if isinstance(result, tuple) else (result,):
            size = each.type.size if isinstance(each, Node) else 0
            if not isinstance(size, int) or size > LARGEST:
                self.fail(tree, f"has {size} elements", f"at most {LARGEST} can be shown")
        return result

    def _constant(self, tree: ast.Constant) -> Any:
        if isinstance(tree.value, complex | bytes) or tree.value is Ellipsis:
            self.fail(tree, f"{tree.value!r:.40} is no real number", _REMEDY)
        if isinstance(tree.value, float) and math.isinf(tree.value):
            self.fail(tree, "the number is too large", "float64 ends at 1.8e308")
        return tree.value

    def _name(self, tree: ast.Name) -> Any:
        name = tree.id
        if name in self.variables or name in self.shapes:
            return self._variable(name)
        if name in NUMBERS:
            return NUMBERS[name]
        if function_of(name) is not None:
            self.fail(tree, f"{name} is a function", f"write {name}(x)")
        return self._variable(name)

    def _variable(self, name: str) -> Node:
        if name not in self.variables:
            self.variables[name] = placeholder(self.shapes.get(name, ()), "float64", name)
        return self.variables[name]

    def _binop(self, tree: ast.BinOp) -> Any:
        f = _BINARY.get(type(tree.op))
        if f is None:
            self.fail(tree, f"{ast.unparse(tree)[:40]} is of integers", _REMEDY)
        return self.made(tree, f, self.operand(tree.left), self.operand(tree.right))

    def _unaryop(self, tree: ast.UnaryOp) -> Any:
        if not isinstance(tree.op, ast.UAdd | ast.USub):
            self.fail(tree, f"{ast.unparse(tree)[:40]} is no arithmetic", _REMEDY)
        inside = self.value(tree.operand)
        if not isinstance(inside, Value):
            self.number(tree, inside)
        return -inside if isinstance(tree.op, ast.USub) else inside

    def _compare(self, tree: ast.Compare) -> Any:
        f = _COMPARED.get(type(tree.ops[0]))
        if f is None or len(tree.ops) > 1:
            self.fail(tree, f"{ast.unparse(tree)[:40]} is no comparison of two numbers", _REMEDY)
        return self.made(tree, f, self.operand(tree.left), self.operand(tree.comparators[0]))

    def _ifexp(self, tree: ast.IfExp) -> Any:
        parts = [self.operand(part) for part in (tree.test, tree.body, tree.orelse)]
        return self.made(tree, FUNCTIONS["where"], *parts)

    def _subscript(self, tree: ast.Subscript) -> Any:
        return self.made(tree, operator.getitem, self.value(tree.value), self.value(tree.slice))

    def _slice(self, tree: ast.Slice) -> slice:
        ends = [None if x is None else self.value(x) for x in (tree.lower, tree.upper, tree.step)]
        return slice(*ends)

    def _tuple(self, tree: ast.Tuple | ast.List) -> tuple[Any, ...]:
        return tuple(self.value(part) for part in tree.elts)

    _list = _tuple

    def _call(self, tree: ast.Call) -> Any:
        f = self._function(tree)
        if any(isinstance(arg, ast.Starred) for arg in tree.args):
            self.fail(tree, "* is no argument", "write each argument")
        args = [self.value(arg) for arg in tree.args]
        if not any(isinstance(arg, Value) for part in args for arg in _spread(part)):
            args = [self.number(tree, x) if isinstance(x, int | float) else x for x in args]
        if (two := _TWO.get(f.__name__)) and len(args) == 2 and not tree.keywords:
            f = two if _is_scalar(args[0]) else f
        named = {}
        for keyword in tree.keywords:
            if keyword.arg is None:
                self.fail(tree, "** is no argument", "write each argument")
            named[keyword.arg] = self.value(keyword.value)
        return self.made(tree, f, *args, **named)

    def _function(self, tree: ast.Call) -> Callable[..., Any]:
        called = ast.unparse(tree.func)
        inside = ", ".join(ast.unparse(arg) for arg in tree.args)[:40]
        if not isinstance(tree.func, ast.Name):
            whole = called if isinstance(tree.func, ast.Constant) else f"({called})"
            self.fail(tree, f"{called[:40]} is no function", f"write {whole[:20]} * ({inside})")
        if called in self.variables or called in self.shapes or called in NUMBERS:
            self.fail(tree, f"{called} is a number", f"write {called} * ({inside})")
        f = function_of(called)
        if f is None:
            near = difflib.get_close_matches(called, [*FUNCTIONS, *functional.__all__], 1, 0.7)
            remedy = f"do you mean {near[0]}?" if near else f"write {called} * ({inside})"
            self.fail(tree, f"{called[:40]} is no function of sn", remedy)
        return f


def _is_scalar(x: Any) -> bool:
    return isinstance(x, int | float) or getattr(x, "shape", None) == ()


def _spread(part: Any) -> tuple[Any, ...]:
    return part if isinstance(part, tuple) else (part,)


def function_of(name: str) -> Callable[..., Any] | None:
    """staticnet's function of a name: of `sn`, or of `sn.nn.functional`."""
    name = _ALSO.get(name, name)
    if name in _MADE:
        return _MADE[name]
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    found: Callable[..., Any] | None = (
        getattr(functional, name) if name in functional.__all__ else None
    )
    return found


def _log(x: Any, base: Any = None) -> Any:
    """The logarithm to a base, e unless it is given."""
    made = FUNCTIONS["log"](x)
    if base is None:
        return made
    number = _number_of(base)
    if number is not None and not (0 < number != 1):
        raise ValueError(f"no logarithm has the base {number:g}: it is positive, and log(1) is 0")
    return made / (FUNCTIONS["log"](base) if isinstance(base, Value) else math.log(base))


def _number_of(x: Any) -> float | None:
    """The number that an argument is, if it is one."""
    if isinstance(x, int | float):
        return float(x)
    is_number = isinstance(x, Node) and isinstance(x.op, Constant) and x.shape == ()
    return float(x.op.value.scalar) if is_number else None


def _cbrt(x: Any) -> Any:
    """The cube root, of negative numbers too."""
    return FUNCTIONS["sign"](x) * FUNCTIONS["abs"](x) ** (1 / 3)


_MADE: dict[str, Callable[..., Any]] = {
    "sec": lambda x: 1 / FUNCTIONS["cos"](x),
    "csc": lambda x: 1 / FUNCTIONS["sin"](x),
    "cot": lambda x: FUNCTIONS["cos"](x) / FUNCTIONS["sin"](x),
    "cbrt": _cbrt,
    "log": _log,
}
_TWO: dict[str, Callable[..., Any]] = {"max": FUNCTIONS["maximum"], "min": FUNCTIONS["minimum"]}
