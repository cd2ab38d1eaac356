"""`sn.scan`, and what is made of it: `sn.map`, and `sn.fori_loop` where its bounds are static."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from staticnet.control import loop_batching
from staticnet.control import scan_derivatives as derivatives
from staticnet.control.carry import Kept, check_structure, promoted
from staticnet.control.op import ControlOp, check_operands, check_type, flops_of
from staticnet.control.trace import (
    call,
    checked,
    close,
    flattened,
    is_eager,
    leaves_of,
    numbered,
    parameters,
    place,
    some,
    tensors_of,
)
from staticnet.control.traced import evaluated
from staticnet.errors import ArgumentError, MixedValueError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import INT64
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, births, depends, describe
from staticnet.ir.tree import LEAF, Tree, flatten
from staticnet.ir.types import Shape, TensorType, TupleType, as_shape, fixed
from staticnet.ops.arguments import as_bool, as_size
from staticnet.ops.base import function
from staticnet.ops.creation import arange, zeros
from staticnet.ops.evaluate import interpret
from staticnet.ops.movement import stack
from staticnet.ops.random import indexed


@dataclass(frozen=True)
class Scan(ControlOp, name="scan"):
    """c[t+1], y[t] = body(c[t], x[t], k) for t = 0 … length-1, or from the last to the first.

    `body` takes the carries, an element of each x, and what it captures; it gives the next carries
    and an element of each y.

    c: its first values, x: [length, *s], k: [*u] -> (c: its last values, y: [length, *r])
    """

    body: Graph
    length: Shape
    carries: int
    xs: int
    reverse: bool
    unroll: int

    def infer(self, *operands: TensorType) -> TensorType:
        c, x = self.carries, self.carries + self.xs
        if len(self.length) != 1:
            raise ArgumentError(f"length is one dim, not {len(self.length)}")
        if not 0 <= c <= min(x, len(self.body.outputs)):
            raise ArgumentError(f"{c} carries and {self.xs} xs do not fit the body's graph")
        (length,) = self.length
        for type_ in operands[c:x]:
            if type_.shape[:1] != self.length:
                raise ShapeError(f"{type_} has no {length} elements along its first axis")
        rows = [type_.with_shape(type_.shape[1:]) for type_ in operands[c:x]]
        check_operands(self.body, [*operands[:c], *rows, *operands[x:]])
        outputs = [node.type for node in self.body.outputs]
        for i, type_ in enumerate(operands[:c]):
            check_type(f"carry {i} begins as and goes on as", type_, outputs[i])
        ys = (type_.with_shape((length, *type_.shape)) for type_ in outputs[c:])
        return TupleType([*outputs[:c], *ys])

    def eval(self, xp: Any, *operands: Any) -> Any:
        (length,) = fixed(self.length)
        carry, rest = list(operands[: self.carries]), operands[self.carries :]
        xs, captured = rest[: self.xs], rest[self.xs :]
        types = [node.type for node in self.body.outputs[self.carries :]]
        ys = [xp.empty((length, *fixed(type_.shape)), type_.dtype) for type_ in types]
        for t in reversed(range(length)) if self.reverse else range(length):
            results = interpret(self.body, [*carry, *(x[t] for x in xs), *captured])
            carry = results[: self.carries]
            for i, element in enumerate(results[self.carries :]):
                if ys[i].dtype != element.dtype:  # as the oracle's are, who computes in float64
                    ys[i] = ys[i].astype(element.dtype)
                ys[i][t] = element
        return (*carry, *ys)

    def run(self, *operands: Any) -> list[Any]:
        c, x = self.carries, self.carries + self.xs
        carry, rows, captured = list(operands[:c]), operands[c:x], operands[x:]
        (length,) = fixed(self.length)
        steps: list[list[Any]] = []
        for t in reversed(range(length)) if self.reverse else range(length):
            results = evaluated(self.body, [*carry, *(row[t] for row in rows), *captured])
            carry = results[:c]
            steps.append(results[c:])
        if not steps:
            types = [node.type for node in self.body.outputs[c:]]
            return carry + [operands[0].lift(zeros((0, *t.shape), t.dtype)) for t in types]
        columns = zip(*steps[:: -1 if self.reverse else 1], strict=True)
        return carry + [stack(column) for column in columns]

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        return self.vjp_for([True] * len(operands), y, g, *operands)

    def vjp_for(self, asked: Sequence[bool], *args: Any) -> tuple[Any, ...]:
        y, g, *operands = args
        return derivatives.vjp(self, asked, y, g, operands)

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        return derivatives.jvp(self, operands, tangents)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return loop_batching.scan(self, size, batched, operands)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return size_of(self.length) * flops_of(self.body)


@function
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | Dim | str | None = None,
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[Any, Any]:
    """(c, ys) from c, ys[t] = f(c, xs[t]) for each t, beginning with c = init.

    `f` is called once, on nodes, and makes the graph that runs at every step; what it uses from
    outside is computed once. `init`, `xs` and what `f` gives are trees of tuples, lists and dicts;
    the carry keeps its structure, shapes and dtypes. `length` is needed where there are no `xs`.
    With `reverse` t runs from the last element to the first. `unroll` steps are made without a
    branch between them; it does not change results.

    init: [*s], xs: [T, *r] -> c: [*s], ys: [T, *q]

    Raises:
        ShapeError: if the lengths of xs differ, or the carry changes its shape.
        DTypeError: if the carry changes its dtype.
        ArgumentError: if the carry changes its structure, or there is no length.
    """
    order = as_bool(reverse, "scan: reverse")
    size = as_size(unroll, "scan: unroll")
    return scanned("scan", checked("scan", 2, "f", f), init, xs, length, order, size)


def scanned(
    what: str,
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
    unroll: int = 1,
) -> tuple[Any, Any]:
    """`scan`, for the function that messages name."""
    first, carry_tree = leaves_of(f"{what}: init", init)
    given, x_tree = leaves_of(f"{what}: xs", xs)
    steps = _length(given, length)
    loop = _Loop(what, f, carry_tree, x_tree, steps, reverse, unroll)
    if is_eager((*first, *given)):
        return loop.run(init, first, given)
    try:
        traced = loop.trace(first, given)
    except MixedValueError:
        return loop.run(init, tensors_of(first), tensors_of(given))
    changed = promoted(init, first, traced.leaves[: len(first)])
    if changed is not None:
        made = traced.inside
        traced = loop.trace(changed, given)
        traced.inside.update(made)
        promoted(changed, changed, traced.leaves[: len(first)])
    return traced.results()


@function
def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """y[t] = f(x[t]) for each t; `sn.vmap` computes all at once, this one after another.

    `xs` and what `f` gives are trees.  x: [T, *r] -> y: [T, *q]

    Raises:
        ShapeError, ArgumentError: as `scan` does.
    """
    body = checked("map", 1, "f", f)
    if not flattened("map: xs", xs)[0]:
        raise ArgumentError("xs holds no arrays, so there is nothing to map")
    return scanned("map", lambda _, x: (None, some("map", body(x))), None, xs)[1]


def _length(xs: Sequence[Any], length: Any) -> int | Dim:
    """The number of steps; raises ShapeError or ArgumentError if there is no single one."""
    for x in xs:
        if not x.shape:
            raise ShapeError(f"{describe(x)} has no axis to take elements along")
    lengths = [x.shape[0] for x in xs]
    if length is not None:
        given_length = as_shape(length, "length")
        if len(given_length) != 1:
            raise ArgumentError(f"length must be one number or dim, not {length!r:.60}")
        lengths += given_length
    if not lengths:
        raise ArgumentError("how many steps? give xs or length=")
    if any(n != lengths[0] for n in lengths):
        named = ", ".join(describe(x) for x in xs)
        given = f", length={length}" if length is not None else ""
        raise ShapeError(f"the lengths differ: {named}{given}; all must have one")
    return lengths[0]


@dataclass(frozen=True)
class _Loop:
    """What is to run, and the structures of its values."""

    what: str
    f: Callable[[Any, Any], tuple[Any, Any]]
    carry_tree: Tree
    x_tree: Tree
    steps: int | Dim
    reverse: bool
    unroll: int

    def trace(self, first: Sequence[Any], given: Sequence[Any]) -> _Traced:
        """The function called on placeholders, for carries and xs of these types."""
        carry = parameters("carry", (node.type for node in first))
        rows = parameters("x", (node.type.with_shape(node.shape[1:]) for node in given))
        (at,) = parameters("step", [TensorType(INT64, ())])
        with indexed(at), births() as inside:
            leaves, tree = call(
                self.what,
                self._pair,
                self.carry_tree.unflatten(carry),
                self.x_tree.unflatten(rows),
            )
        new_tree, y_tree = tree.children
        check_structure(self.carry_tree, new_tree)
        if depends(leaves, at):
            rows, given = [*rows, at], [*given, arange(self.steps)]
        return _Traced(self, list(first), list(given), carry, rows, leaves, y_tree, inside)

    def _pair(self, carry: Any, x: Any) -> tuple[Any, Any]:
        result = self.f(carry, x)
        if not (isinstance(result, tuple | list) and len(result) == 2):
            raise ArgumentError(f"the function must give (carry, y), not {result!r:.60}")
        return result[0], result[1]

    def run(self, init: Any, first: Sequence[Any], given: Sequence[Any]) -> tuple[Any, Any]:
        """The function called at each step, on tensors of dynamic execution."""
        length, kept = int(self.steps), Kept(init, self.carry_tree, first)
        carry: Any = self.carry_tree.unflatten(first)
        rows: list[list[Any]] = []
        y_tree = LEAF
        for t in reversed(range(length)) if self.reverse else range(length):
            x = self.x_tree.unflatten([x[t] for x in given])
            carry, y = self._pair(carry, x)
            kept.check(carry)
            leaves, y_tree = flatten(y)
            rows.append(leaves)
        if not rows:
            return carry, self._no_rows(first, given)
        columns = zip(*(rows[::-1] if self.reverse else rows), strict=True)
        return carry, y_tree.unflatten([stack(column) for column in columns])

    def _no_rows(self, first: Sequence[Any], given: Sequence[Any]) -> Any:
        """The ys of no steps: their types are known without one."""
        types = [TensorType(x.dtype, x.shape) for x in (*first, *given)]
        stand_ins = parameters("x", types)
        traced = self.trace(stand_ins[: len(first)], stand_ins[len(first) :])
        types = [leaf.type for leaf in traced.leaves[len(first) :]]
        like = next(x for x in (*first, *given) if not x.is_symbolic)
        zero = [like.lift(zeros((0, *type_.shape), type_.dtype)) for type_ in types]
        return traced.y_tree.unflatten(zero)


@dataclass(frozen=True)
class _Traced:
    """A loop's function as nodes: its parameters, and the leaves of what it gives."""

    loop: _Loop
    first: list[Node]
    given: list[Node]
    carry: list[Node]
    rows: list[Node]
    leaves: list[Node]
    y_tree: Tree
    inside: set[Node]

    def results(self) -> tuple[Any, Any]:
        """The carry and the ys, as nodes of a scan."""
        carries = len(self.carry)
        own = numbered("c", self.carry) | numbered("x", self.rows)
        (body,), captured = close({"body": self.leaves}, own, self.inside)
        op = Scan(
            body, (self.loop.steps,), carries, len(self.rows), self.loop.reverse, self.loop.unroll
        )
        parts = place(op, (*self.first, *self.given, *captured), self.leaves, own, self.inside)
        carry = self.loop.carry_tree.unflatten(parts[:carries])
        return carry, self.y_tree.unflatten(parts[carries:])
