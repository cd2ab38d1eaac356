"""`sn.derive`: a derivative worked out on paper, one rule at a time.

The rules are the ops' own, those by which the compiler differentiates; there is no second table. A
derivative that is still to be worked out is a node `d/dx[u]`; a step puts in its place what the
rule of u's op makes of the derivatives of u's operands. When none is left, the algebra of the
passes simplifies the result, one rewrite at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from staticnet import files
from staticnet.autodiff.forward import push
from staticnet.errors import ArgumentError, GradientError
from staticnet.explain.checking import Checked, check
from staticnet.explain.expression import parse
from staticnet.explain.rules import operation, rule_of, statement
from staticnet.explain.simplify import computed, replaced, rewrites
from staticnet.explain.values import is_float
from staticnet.explain.writing import LINE, free_name, letter_for, text_of
from staticnet.ir.dtype import is_floating
from staticnet.ir.formula import Latex, write
from staticnet.ir.location import user_line
from staticnet.ir.node import Node, dependents, describe, topological
from staticnet.ir.shown import Shown, Table
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.arguments import as_size
from staticnet.ops.base import TensorOp, apply
from staticnet.ops.creation import ones_like, zeros_like
from staticnet.ops.state import placeholder

MOST = 400  # nodes of what is differentiated
MAX_ORDER = 12


class Derivative(TensorOp):
    """d u / d x, still to be worked out.  u: [*s], x: [*t] -> [*s]

    It is in no program: what is left of a derivation holds none.
    """

    arity = 2

    def infer(self, *operands: TensorType) -> TensorType:
        """That of u."""
        return operands[0]


Derivative.name = "derivative"  # not declared: no text reads it back, and no code runs it
_DERIVATIVE = Derivative()


@dataclass(frozen=True, eq=False)
class Step:
    """One step: what was replaced by what, by which rule, and the whole afterwards.

    `about` is the node whose rule it is; None of a rewrite, which is algebra.
    """

    order: int
    rule: str
    before: Node
    after: Node
    expression: Node
    about: Node | None = None

    def __str__(self) -> str:
        return f"{text_of(self.before)} = {text_of(self.after)}"


@dataclass(frozen=True, eq=False, repr=False)
class Derivation(Shown):
    """The derivative of `y` by `x` of some order, with the `steps` that lead to it.

    `result` is the derivative as a node. Of an x that is no scalar it is the differential: what y
    changes by if x changes by `dx`.
    """

    y: Node
    x: Node
    order: int
    steps: tuple[Step, ...]
    result: Node
    direction: Node | None
    point: Mapping[str, Any] = field(default_factory=dict)

    @property
    def results(self) -> list[Node]:
        """The derivatives of order 1, 2, …, each after the last of its steps."""
        last = {step.order: step.expression for step in self.steps}
        return [*[last[order] for order in sorted(last)][:-1], self.result]

    @property
    def symbol(self) -> str:
        """`dy/dx`, `d2y/dx2`; `dy` of a differential."""
        return self._symbol(self.order)

    @cached_property
    def letter(self) -> str:
        """What y is called beside its inputs: y, if none of them is."""
        return letter_for(self.y)

    def _symbol(self, order: int) -> str:
        power = "" if order == 1 else str(order)
        over = f"d{power}{self.letter}"
        return over if self.direction is not None else f"{over}/d{self.x.name or 'x'}{power}"

    def check(self, **at: Any) -> Checked:
        """The result's value at a point, beside finite differences and the compiler's `grad`.

        Raises:
            ArgumentError: if a name is none of y's inputs.
        """
        return check(self, at)

    def at(self, **point: Any) -> Derivation:
        """The same, checked at this point.

        Raises:
            ArgumentError: if a name is none of y's inputs, or one has no value.
        """
        made = replace(self, point=point)
        _ = made.checked  # what is wrong with the point is told here
        return made

    @cached_property
    def checked(self) -> Checked:
        """`check` at its point, or at points of its own choice."""
        return check(self, self.point)

    def latex(self) -> str:
        """The result as LaTeX, without dollars."""
        return write(self.result, _Lines())

    def steps_latex(self) -> str:
        r"""All steps as an `align*` of LaTeX."""
        lines = [rf"&= {write(s.expression, _Lines())} && \text{{{s.rule}}}" for s in self.steps]
        head = write(self._asked(), _Lines())
        body = " \\\\\n".join([f"{head} {lines[0]}", *lines[1:]])
        return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"

    def _asked(self) -> Node:
        return apply(_DERIVATIVE, self.y, self.x)

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"

    def _repr_html_(self) -> str:
        from staticnet.explain.derivation_page import notebook

        return notebook(self)

    def html(self, path: str | os.PathLike[str]) -> Path:
        """Write the derivation as one page that loads nothing; -> its file.

        Raises:
            OSError: if it cannot be written.
        """
        from staticnet.explain.derivation_page import page

        file = Path(path)
        files.write(file, page(self))
        return file

    def tables(self) -> list[Table]:
        """The steps, and the numbers beside them."""
        rows = [(step.rule, str(step), text_of(step.expression)) for step in self.steps]
        return [Table(self.symbol, ("rule", "", "the whole"), rows), *self.checked.tables()]

    def __str__(self) -> str:
        lines = [f"{self.letter} = {text_of(self.y)}"]
        for order in dict.fromkeys(step.order for step in self.steps):
            lines += ["", self._symbol(order), *_told(s for s in self.steps if s.order == order)]
        lines += ["", f"{self.symbol} = {text_of(self.result)}", "", str(self.checked)]
        return "\n".join(lines)


class _Lines(Latex):
    most, chars, ones = 4 * LINE, 4 * LINE, True


def _told(steps: Iterator[Step]) -> list[str]:
    """Lines of steps: the whole, and behind it the rule."""
    rows = [(f"  = {text_of(step.expression)}", _reason(step)) for step in steps]
    width = min(72, max(len(whole) for whole, _ in rows))
    return [f"{whole:<{width}}  {reason}" for whole, reason in rows]


def _reason(step: Step) -> str:
    told = statement(step.about) if step.about is not None and step.about.inputs else ""
    return f"{step.rule}: {told}" if told else step.rule


def derive(y: Any, x: Any, order: int = 1) -> Derivation:
    """d^order y / dx^order, by one rule after the other, and what the rules are.

    y: [*s], x: [*t] -> the derivative, or of an x that is no scalar the differential: [*s]

    Both are nodes, or y is an expression and x a variable of it: `sn.derive("sin(x) * x", "x")`.

    Raises:
        ExpressionError: if y is a text and no expression.
        ArgumentError: if y or x is no node, y is too large to be read, or the order is not positive
            or above 12.
        GradientError: if one of them is not floating-point, or an op has no derivative.
    """
    where = f"({user_line()})"
    if isinstance(y, str):
        y, x = written(y, x, where)
    for name, node in (("y", y), ("x", x)):
        if not isinstance(node, Node) or isinstance(node.type, TupleType):
            raise ArgumentError(f"derive: {name} must be a node, not {node!r:.60} {where}")
        if not is_floating(node.dtype):
            raise GradientError(
                f"derive: {describe(node)} is not floating-point and has no derivative; cast it "
                f"with sn.astype {where}"
            )
    if as_size(order, "derive: order") > MAX_ORDER:
        raise ArgumentError(f"derive: order must be at most {MAX_ORDER}, not {order} {where}")
    named = free_name(f"d{x.name or 'x'}", y)
    direction = placeholder(x.shape, x.dtype, named) if x.shape != () else None
    steps: list[Step] = []
    result = y
    for number in range(1, order + 1):
        size = len(topological([result]))
        if size > MOST:
            raise ArgumentError(
                f"derive: {describe(result)} has {size} nodes, and at most {MOST} can be read; "
                f"derive a part of it, or take sn.grad {where}"
            )
        steps += _steps(number, result, x, direction)
        result = steps[-1].expression
    return Derivation(y, x, order, tuple(steps), result, direction)


def written(text: str, x: Any, where: str) -> tuple[Node, Any]:
    """An expression's node, and that of a variable of it.

    Raises:
        ExpressionError: if it is none.
        ArgumentError: if it has no such variable.
    """
    read = parse(text)
    if isinstance(x, Node):
        return read.node, x
    if x not in read.variables:
        has = ", ".join(read.variables) or "none"
        raise ArgumentError(f"derive: {text!r:.60} has no variable {x!r:.40}, but {has} {where}")
    return read.node, read.variables[x]


def _steps(order: int, y: Node, x: Node, direction: Node | None) -> list[Step]:
    steps = list(_differentiated(order, y, x, direction))
    given = set(topological([y]))
    for rewrite in rewrites(steps[-1].expression, given):
        steps.append(Step(order, rewrite.rule, rewrite.before, rewrite.after, rewrite.whole))
    return [step for i, step in enumerate(steps) if i == len(steps) - 1 or _is_seen(step)]


def _is_seen(step: Step) -> bool:
    """Whether a step changes what is read: casts and broadcasts are not written."""
    return text_of(step.before) != text_of(step.after)


def _differentiated(order: int, y: Node, x: Node, direction: Node | None) -> Iterator[Step]:
    """The steps from d/dx[y] to an expression without derivatives, the outermost first."""
    moving = dependents(topological([y]), [x])
    whole: Node = apply(_DERIVATIVE, y, x)
    while pending := [n for n in topological([whole]) if isinstance(n.op, Derivative)]:
        before = max(pending, key=lambda node: node.inputs[0].number)
        u = before.inputs[0]
        if u is x:
            made, rule = (ones_like(x) if direction is None else direction), "variable"
        elif u not in moving:
            made, rule = zeros_like(u), "constant"
        else:
            made, rule = _resolved(u, x, moving), rule_of(operation(u))
        after: Any = made
        whole = replaced(whole, before, after)
        yield Step(order, rule, before, after, whole, u)


def _resolved(u: Node, x: Node, moving: set[Node]) -> Any:
    """What the rule of u's op makes of its operands' derivatives."""
    operation_ = operation(u)
    floats = [o for o in operation_.inputs if o in moving and is_float(o)]
    made = push([u], {o: apply(_DERIVATIVE, o, x) for o in floats})[0]
    return zeros_like(u) if made is None else computed(made, set(topological([u])))
