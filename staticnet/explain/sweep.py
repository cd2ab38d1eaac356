"""`sn.backprop`: values forward and gradients backward through an expression, step by step.

The products are those of the ops' own vjps, as the compiler takes them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import files
from staticnet.autodiff.reverse import NoDerivative, local_products
from staticnet.errors import ArgumentError, GradientError
from staticnet.explain.checking import given_values
from staticnet.explain.expression import parse
from staticnet.explain.simplify import computed, simplified
from staticnet.explain.values import all_values, evaluated, is_float
from staticnet.explain.writing import free_name, letter_for, number_text, text_of
from staticnet.feeds import bind_dims
from staticnet.ir.dtype import is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.location import user_line
from staticnet.ir.node import Node, dependents, describe, topological
from staticnet.ir.shown import Shown, Table
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.base import Item
from staticnet.ops.shape import sum_to_shape
from staticnet.ops.state import placeholder
from staticnet.passes.infer_shape import specialize

MOST = 200  # nodes that are swept


@dataclass(frozen=True, eq=False)
class Part:
    """What a gradient gets through one user: its formula, with the user's gradient g, and value."""

    through: Node
    formula: str
    value: Any


@dataclass(frozen=True, eq=False)
class Gradient:
    """A node's gradient: the sum of what it gets through its users."""

    node: Node
    value: Any
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Backprop(Shown):
    """The `values` of an expression's nodes, operands first, and `gradients`, users first.

    The gradient is that of y, or of the sum of its elements.
    """

    y: Node
    values: Mapping[Node, Any]
    gradients: tuple[Gradient, ...]

    @property
    def value(self) -> Any:
        """The value of y."""
        return self.values[self.y]

    @cached_property
    def letter(self) -> str:
        """What y is called beside its inputs."""
        return letter_for(self.y)

    def gradient(self, x: Node | str) -> Any:
        """The gradient by a node, or by the input of that name.

        Raises:
            ArgumentError: if y does not depend on it.
        """
        for each in self.gradients:
            if each.node is x or (isinstance(x, str) and each.node.name == x):
                return each.value
        shown = describe(x) if isinstance(x, Node) else x
        raise ArgumentError(f"gradient: {text_of(self.y)[:60]} has no gradient by {shown!r:.60}")

    def html(self, path: str | os.PathLike[str]) -> Path:
        """Write the sweep as one page that loads nothing; -> its file.

        Raises:
            OSError: if it cannot be written.
        """
        from staticnet.explain.sweep_page import page

        file = Path(path)
        files.write(file, page(self))
        return file

    def _repr_html_(self) -> str:
        from staticnet.explain.sweep_page import notebook

        return notebook(self)

    def tables(self) -> list[Table]:
        """Values forward, gradients backward, and what each gradient is made of."""
        y = self.letter
        forward = [(text_of(node), number_text(x)) for node, x in self.values.items()]
        backward: list[tuple[str, str, str, str]] = []
        for each in self.gradients:
            told = f"d{y}/d({text_of(each.node)})"
            if not each.parts:
                backward.append((told, number_text(each.value), f"it is {y} itself", ""))
            for i, part in enumerate(each.parts):
                sums = f"{part.formula} = {number_text(part.value)}"
                head = (told, number_text(each.value)) if i == 0 else ("", "")
                plus = "" if i == 0 else "+ "
                backward.append((*head, plus + sums, f"through {text_of(part.through)}"))
        return [
            Table("forward", ("node", "value"), forward),
            Table("backward", ("gradient", "value", "g: that of the user", ""), backward),
        ]

    def __str__(self) -> str:
        lines = []
        for table in self.tables():
            columns = zip(*table.rows, strict=True)
            widths = [min(48, max(map(len, column))) for column in columns]
            lines += [table.title]
            for row in table.rows:
                cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
                lines.append(f"  {'  '.join(cells)}".rstrip())
            lines.append("")
        return "\n".join(lines[:-1])


def backprop(y: Any, /, **at: Any) -> Backprop:
    """The values of an expression at a point, and the gradients that flow back through it.

    y: [*s], a node or an expression: `sn.backprop("(x + y) * z", x=-2, y=5, z=-4)`. Variables that
    are not given have their own values.

    Raises:
        ExpressionError: if y is a text and no expression.
        ArgumentError: if y is no node or too large to be read, or an input has no value.
        GradientError: if y is not floating-point, or an op has no derivative.
        ExecutionError: if an op fails.
    """
    node = parse(y).node if isinstance(y, str) else y
    where = f"({user_line()})"
    if not isinstance(node, Node) or isinstance(node.type, TupleType):
        raise ArgumentError(f"backprop: takes an expression or a node, not {node!r:.60} {where}")
    if not is_floating(node.dtype):
        raise GradientError(f"backprop: {describe(node)} is not floating-point {where}")
    order = topological([node])
    if len(order) > MOST:
        raise ArgumentError(
            f"backprop: {describe(node)} has {len(order)} nodes, and at most {MOST} can be read; "
            f"sweep a part of it, or take sn.grad {where}"
        )
    node, order = _with_sizes(node, order, at)
    inputs = [each for each in order if each.op.is_input]
    own = [each for each in inputs if getattr(each, "array", None) is not None]
    needed = [each for each in inputs if each not in set(own) or each.name in at]
    known = all_values([node], given_values(needed, at))
    return _Sweep(node, known, dependents(order, inputs)).run(order)


def _with_sizes(node: Node, order: list[Node], at: Mapping[str, Any]) -> tuple[Node, list[Node]]:
    """The same with numbers for symbolic dims, by the shapes of what is given."""
    fed = [each for each in order if each.op.name == "placeholder"]
    known = [np.asarray(at[x.name]) for x in fed if x.name in at]
    graph = Graph("backprop", fed, [node])
    if not graph.symbols or len(known) < len(fed):
        return node, order
    (fixed,) = specialize(graph, bind_dims(fed, known))[0].outputs
    return fixed, topological([fixed])


@dataclass
class _Sweep:
    y: Node
    known: dict[Node, Any]
    moving: set[Node]
    parts: dict[Node, list[Part]] = field(default_factory=dict)
    several: dict[Node, list[Any]] = field(default_factory=dict)

    def run(self, order: list[Node]) -> Backprop:
        found = []
        for node in reversed(order):
            if node is self.y:
                total: Any = np.ones_like(self.known[node])
            elif node in self.parts:
                total = sum(part.value for part in self.parts[node])
            elif node in self.several:
                self.through(node, self.several[node])
                continue
            else:
                continue
            found.append(Gradient(node, total, tuple(self.parts.get(node, ()))))
            self.through(node, total)
        shown = {n: self.known[n] for n in order if not n.is_constant and _is_one(n)}
        return Backprop(self.y, shown, tuple(found))

    def through(self, node: Node, g: Any) -> None:
        """Hand a node's gradient on to its operands, each product summed to its shape."""
        if isinstance(node.op, Item):
            (inner,) = node.inputs
            assert isinstance(inner.type, TupleType)
            self.several.setdefault(inner, [None] * len(inner.type.types))[node.op.index] = g
            return
        if not node.op.differentiable or node not in self.moving:
            return
        symbols, values = _symbols(node, g, free_name("g", self.y))
        products = local_products(node, symbols, self.moving)
        for operand, product in zip(node.inputs, products, strict=True):
            if product is None or operand not in self.moving:
                continue
            if _is_one(operand) and not is_float(operand):
                continue
            if isinstance(product, NoDerivative):
                raise product.error
            whole: Any = sum_to_shape(product, operand.shape)
            (value,) = evaluated([whole], {**self.known, **values})
            given = set(topological([node]))
            text = text_of(simplified(computed(whole, given), [node]))
            self.parts.setdefault(operand, []).append(Part(node, text, value))


def _is_one(node: Node) -> bool:
    return not isinstance(node.type, TupleType)


def _symbols(node: Node, g: Any, name: str) -> tuple[Any, dict[Node, Any]]:
    """Placeholders for a node's gradient, and the values that they stand for."""
    if not isinstance(node.type, TupleType):
        symbol = _symbol(node.type, name)
        return symbol, {symbol: g}
    made = [
        None if x is None else _symbol(t, f"{name}{i}")
        for i, (x, t) in enumerate(zip(g, node.type.types, strict=True))
    ]
    return made, {s: x for s, x in zip(made, g, strict=True) if s is not None}


def _symbol(type_: TensorType, name: str) -> Node:
    return placeholder(type_.shape, type_.dtype, name)
