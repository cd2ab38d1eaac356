"""`sn.while_loop`, and `sn.fori_loop`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.control import loop_batching
from staticnet.control.carry import Kept, check_structure, promoted
from staticnet.control.cond import choose
from staticnet.control.cotangent import cast, push_around
from staticnet.control.op import PREDICATE, ControlOp, check_operands, check_type, flops_of
from staticnet.control.parts import Carry, Given, Parts
from staticnet.control.scan import scanned
from staticnet.control.trace import (
    call,
    checked,
    close,
    is_eager,
    leaves_of,
    numbered,
    parameters,
    place,
    tensors_of,
)
from staticnet.control.traced import evaluated
from staticnet.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    MixedValueError,
    StaticnetError,
)
from staticnet.ir.dim import Dim, integer
from staticnet.ir.dtype import BOOL, INT64, is_integer
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, births, depends, describe
from staticnet.ir.tree import Tree
from staticnet.ir.types import TensorType, TupleType
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_size
from staticnet.ops.base import as_value, as_values, constant, function
from staticnet.ops.creation import arange
from staticnet.ops.evaluate import interpret
from staticnet.ops.random import indexed
from staticnet.ops.selection import astype


@dataclass(frozen=True)
class WhileLoop(ControlOp, name="while_loop"):
    """while test(c, k): c = body(c, k).

    Both graphs take the carries and all that either captures. It has tangents and no cotangents:
    nobody knows how many steps a reverse sweep would have to keep.

    c: [*s], k: [*u] -> (c: [*s])
    """

    test: Graph
    body: Graph
    xs: ClassVar[int] = 0

    @property
    def carries(self) -> int:
        """How many values are carried."""
        return len(self.body.outputs)

    def infer(self, *operands: TensorType) -> TensorType:
        check_operands(self.test, operands)
        check_operands(self.body, operands)
        if [node.type for node in self.test.outputs] != [PREDICATE]:
            raise DTypeError("the test must give one bool scalar")
        types = [node.type for node in self.body.outputs]
        if len(types) > len(operands):
            raise ArgumentError(f"the body gives {len(types)} carries and takes {len(operands)}")
        for i, (before, after) in enumerate(zip(operands, types, strict=False)):
            check_type(f"carry {i} begins as and goes on as", before, after)
        return TupleType(types)

    def eval(self, xp: Any, *operands: Any) -> Any:
        carry, captured = list(operands[: self.carries]), operands[self.carries :]
        while interpret(self.test, [*carry, *captured])[0]:
            carry = interpret(self.body, [*carry, *captured])
        return tuple(carry)

    def run(self, *operands: Any) -> list[Any]:
        carries = len(self.body.outputs)
        carry, captured = list(operands[:carries]), operands[carries:]
        while bool(evaluated(self.test, [*carry, *captured])[0]):
            carry = evaluated(self.body, [*carry, *captured])
        return carry

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        """A loop that carries tangents beside what it carries."""
        parts, inputs = Parts.of(self, operands), self.body.inputs
        given = dict(zip(inputs, tangents, strict=True))
        moved = dict(zip(inputs, parameters("tangent", (x.type for x in inputs)), strict=True))
        pushed = push_around(self.body, self.carries, given, moved)
        active = []
        for x, after in zip(inputs, pushed, strict=False):
            if given[x] is not None or after is not None:
                active.append(x)
                carry = Carry(cast(given[x], x.type), moved[x], cast(after, x.type))
                parts.carries.append(carry)
        captured = [(given[k.own], moved[k.own]) for k in parts.captured]
        parts.captured += [Given(tangent, own) for tangent, own in captured if tangent is not None]
        results = dict(zip(active, parts.build()[0][self.carries :], strict=True))
        return tuple(results.get(x) for x in inputs[: self.carries])

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        """Those of one step: how many there are, only a run knows."""
        return flops_of(self.test) + flops_of(self.body)

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        raise GradientError(
            f"while_loop: the loop on {y.provenance.user} has no reverse-mode derivative, for "
            "nobody knows how many steps it takes; give while_loop max_steps=, or use fori_loop "
            "with static bounds, or sn.jvp"
        )

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return loop_batching.while_loop(self, size, batched, operands)


@function
def while_loop(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init: Any,
    max_steps: int | None = None,
) -> Any:
    """c after `while cond_fun(c): c = body_fun(c)`, beginning with c = init.

    Both functions are called once, on nodes. The carry is a tree that keeps its structure, shapes
    and dtypes. With `max_steps` at most so many steps are made, and the loop has a derivative in
    reverse mode, which keeps the carries of that many steps.

    init: [*s] -> c: [*s]

    Raises:
        ShapeError, DTypeError: if the carry changes its type, or cond_fun gives no bool scalar.
        ArgumentError: if the carry changes its structure.
    """
    cond_fun = checked("while_loop", 1, "cond_fun", cond_fun)
    body_fun = checked("while_loop", 1, "body_fun", body_fun)
    most = None if max_steps is None else as_size(max_steps, "max_steps")
    return _looped("while_loop", cond_fun, body_fun, init, most)


def _looped(
    what: str,
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init: Any,
    most: int | None = None,
    within: str = "",
) -> Any:
    """`while_loop`, for the function that messages name, with the path to what its user carries."""
    first, tree = leaves_of(f"{what}: init", init)
    loop = _While(what, cond_fun, body_fun, tree)
    if is_eager(first):
        return loop.run(init, first, most)
    try:
        traced = loop.trace(first)
    except MixedValueError:
        return loop.run(init, tensors_of(first), most)
    changed = promoted(init, first, traced[1], within)
    if changed is not None:
        made = traced[-1]
        first, traced = changed, loop.trace(changed)
        traced[-1].update(made)
        promoted(changed, changed, traced[1], within)
    tests = loop.tests(traced[0], traced[2])
    if most is not None:
        return _bounded(cond_fun, body_fun, tree.unflatten(first), most, traced[-1])
    return loop.results(first, *traced, tests)


@dataclass(frozen=True)
class _While:
    """What is to run, and the structure of the carry."""

    what: str
    test: Callable[[Any], Any]
    body: Callable[[Any], Any]
    tree: Tree

    def trace(self, first: list[Node]) -> tuple[list[Node], list[Node], Node, set[Node]]:
        """The carries as placeholders, what the body makes of them, the step's number, and what
        the body made.
        """
        carry = parameters("carry", (node.type for node in first))
        (at,) = parameters("step", [TensorType(INT64, ())])
        with indexed(at), births() as inside:
            leaves, new = call(self.what, self.body, self.tree.unflatten(carry))
        check_structure(self.tree, new)
        return carry, leaves, at, inside

    def tests(self, carry: list[Node], at: Node) -> list[Node]:
        """Whether there is another step, from the carries before it: one node, a bool."""
        with indexed(at):
            tests, _ = call(self.what, self.test, self.tree.unflatten(carry))
        if [test.type for test in tests] != [PREDICATE]:
            raise _no_test(", ".join(describe(test) for test in tests) or "nothing")
        return tests

    def run(self, init: Any, first: Sequence[Any], most: int | None) -> Any:
        """The loop on tensors of dynamic execution."""
        carry, kept = self.tree.unflatten(first), Kept(init, self.tree, first)
        steps = 0
        while steps != most and _is_true(self.test(carry)):
            carry = kept.check(self.body(carry))
            steps += 1
        return carry

    def results(
        self,
        first: list[Node],
        carry: list[Node],
        leaves: list[Node],
        at: Node,
        inside: set[Node],
        tests: list[Node],
    ) -> Any:
        """The last carry, as nodes of a loop."""
        if depends([*leaves, *tests], at):
            first, carry = [*first, constant(0)], [*carry, at]
            leaves = [*leaves, _next(at)]
        own = numbered("c", carry)
        (test, body), captured = close({"test": tests, "body": leaves}, own, inside)
        op = WhileLoop(test, body)
        parts = place(op, (*first, *captured), [*tests, *leaves], own, inside)
        return self.tree.unflatten(parts[: self.tree.leaves])


def _next(number: Node) -> Node:
    following = number + 1
    assert isinstance(following, Node)
    return following


def _is_true(test: Any) -> bool:
    """Whether a test on tensors holds; raises DTypeError unless it is a bool scalar."""
    if isinstance(test, bool):
        return test
    if getattr(test, "shape", None) != () or test.dtype != BOOL:
        raise _no_test(describe(test))
    return bool(test)


def _no_test(given: str) -> DTypeError:
    return DTypeError(
        f"cond_fun must give one bool scalar, not {given}; compare, or reduce with sn.all or sn.any"
    )


def _bounded(
    test: Callable[[Any], Any],
    body: Callable[[Any], Any],
    init: Any,
    most: int,
    made: Collection[Node],
) -> Any:
    """The loop as a scan, whose steps do nothing once the test has failed.

    What is the same in each step leaves it, unless it may fail: the body has `made` it before.
    """

    def step(carry: Any, _: Any) -> tuple[Any, None]:
        return choose(test(carry), body, lambda same: same, (carry,), made, lazy=False), None

    return scanned("while_loop", step, init, length=most)[0]


@function
def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init: Any) -> Any:
    """c after `for i in range(lower, upper): c = body_fun(i, c)`, beginning with c = init.

    Bounds that are ints or dims make a `scan`, which has derivatives in reverse mode; nodes, whose
    values only a run knows, make a `while_loop`.

    init: [*s] -> c: [*s]

    Raises:
        DTypeError: if a bound is no integer.
        ShapeError, ArgumentError: as `scan` and `while_loop` do.
    """
    body_fun = checked("fori_loop", 2, "body_fun", body_fun)
    if _is_static(lower) and _is_static(upper):
        steps = arange(lower, upper)
        return scanned("fori_loop", lambda c, i: (body_fun(i, c), None), init, steps)[0]
    first, last = as_values(_bound(lower), _bound(upper))

    def step(carry: Any) -> Any:
        i, c = carry
        return i + 1, body_fun(i, c)

    kind = INT64 if is_eager([first, last]) else first.dtype
    start = (astype(first, kind), init)
    return _looped("fori_loop", lambda carry: carry[0] < last, step, start, within="[1]")[1]


def _bound(given: Any) -> Any:
    """A bound as a value; raises DTypeError unless it is an integer scalar."""
    try:
        bound = as_value(given)
        fits = bound.shape == () and is_integer(bound.dtype)
    except StaticnetError:
        fits = False
    if not fits:
        raise DTypeError(f"a bound is an integer scalar, not {describe(given)}")
    return bound


def _is_static(bound: Any) -> bool:
    return isinstance(bound, Dim) or (not isinstance(bound, Value) and integer(bound) is not None)
