"""Ops that are a call of a graph, with a derivative of their own; the pass `inline` undoes them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from staticnet.autodiff.forward import push
from staticnet.autodiff.reverse import NoDerivative, pull, transpose
from staticnet.control.batching import batch_nodes
from staticnet.control.eager import recorded, tangents_of, transposed
from staticnet.control.op import ControlOp, check_operands, flops_of
from staticnet.control.parts import applied
from staticnet.control.trace import call, close, numbered, parameters, place
from staticnet.control.traced import evaluated
from staticnet.errors import ArgumentError, GradientError
from staticnet.ir import location
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, births, build, describe
from staticnet.ir.op import ATTRIBUTES, Attribute
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import items
from staticnet.ops.batching import spread
from staticnet.ops.evaluate import interpret
from staticnet.ops.shape import sum as total

Rule = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
_known: WeakValueDictionary[str, Derivative] = WeakValueDictionary()


class Derivative:
    """A user's rule, which ops hold by identity and print as its name.

    A vjp's takes the operands and a cotangent or None for each result, and gives a product or None
    for each operand; a jvp's takes operands and tangents, and gives the results' tangents. Text is
    read back to the same rule as long as that is there, and else to a name without one.
    """

    def __init__(self, name: str, rule: Rule | None) -> None:
        self.label = name  # the function's; others may be called so, too
        free = (f"{name}.{i}" if i else name for i in itertools.count())
        self.name = next(each for each in free if each not in _known)
        self.rule = rule
        _known[self.name] = self

    @classmethod
    def named(cls, name: str) -> Derivative:
        """The rule of a name in a text."""
        return _known.get(name) or cls(name, None)

    def __call__(self, operands: Sequence[Any], values: Sequence[Any]) -> Sequence[Any]:
        """What the rule gives.

        Raises:
            GradientError: if it is known by name alone.
        """
        if self.rule is None:
            raise GradientError(
                f"{self.name}: a rule in Python is no part of a graph's text; differentiate the "
                "graph before it is printed, or run the code that makes the rule before it is read"
            )
        return self.rule(operands, values)


ATTRIBUTES["Derivative"] = Attribute(
    lambda value: isinstance(value, Derivative), "a derivative's rule",
    lambda value: json.dumps(value.name), lambda text: Derivative.named(json.loads(text)),
)  # fmt: skip


class CallOp(ControlOp):
    """y = body(x), computed as if the body stood in its place."""

    body: Graph

    def infer(self, *operands: TensorType) -> TensorType:
        check_operands(self.body, operands)
        count = self.attributes().get("arguments", 0)
        if not 0 <= count <= len(operands):
            raise ArgumentError(f"{count} arguments are not among {len(operands)} operands")
        return TupleType([node.type for node in self.body.outputs])

    def eval(self, xp: Any, *operands: Any) -> Any:
        return tuple(interpret(self.body, operands))

    def run(self, *operands: Any) -> list[Any]:
        return evaluated(self.body, operands)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return flops_of(self.body)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        """The call of a body of all examples."""
        body = _batched_body(self.body, size, batched)
        return items(build(self._batched(body, size, batched), operands))

    def _batched(self, body: Graph, size: int | Dim, batched: tuple[bool, ...]) -> CallOp:
        raise NotImplementedError


@dataclass(frozen=True)
class Checkpoint(CallOp, name="checkpoint"):
    """y = body(x), computed again in the backward pass, not kept for it.  x: [*s] -> (y: [*t])"""

    body: Graph

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        return self.vjp_for([True] * len(operands), y, g, *operands)

    def vjp_for(self, asked: Sequence[bool], *args: Any) -> tuple[Any, ...]:
        _, g, *operands = args
        again = [build(OptimizationBarrier(0), (x,)) for x in operands]
        outputs = _made_again(self.body, again)
        rows = [i for i, cotangent in enumerate(g) if cotangent is not None]
        pairs = zip(again, asked, strict=True)
        wrt = [x for x, ask in pairs if ask and is_floating(x.dtype)]
        found = pull([outputs[i] for i in rows], [g[i] for i in rows], wrt)
        known = dict(zip(wrt, found, strict=True))
        return tuple(known.get(x) for x in again)

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        pairs = zip(operands, tangents, strict=True)
        return push(applied(self.body, operands), {x: t for x, t in pairs if t is not None})

    def _batched(self, body: Graph, size: int | Dim, batched: tuple[bool, ...]) -> CallOp:
        return Checkpoint(body)


@dataclass(frozen=True)
class CustomVjp(CallOp, name="custom_vjp"):
    """y = body(x), whose cotangents a user's rule gives for the first `arguments` operands.

    x: [*s] -> (y: [*t])
    """

    body: Graph
    rule: Derivative
    arguments: int

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        own, captured = operands[: self.arguments], operands[self.arguments :]
        return (*self.rule(own, g), *(_closed_over(self, x) for x in captured))

    def run(self, *operands: Any) -> list[Any]:
        return _recorded(self, self.rule, operands)

    def _batched(self, body: Graph, size: int | Dim, batched: tuple[bool, ...]) -> CallOp:
        types = [node.type for node in self.body.outputs]

        def rule(operands: Sequence[Any], gs: Sequence[Any]) -> list[Any]:
            ones, known = _examples(self.body, batched, operands)
            cotangents = _stand_ins(types, gs, known)
            products = self.rule(ones, cotangents)
            made = _all_examples(products, known, size)
            pairs = zip(batched, made, strict=False)
            return [y if own or y is None else total(y, 0) for own, y in pairs]

        return replace(self, body=body, rule=Derivative(self.rule.label, rule))


@dataclass(frozen=True)
class CustomJvp(CallOp, name="custom_jvp"):
    """y = body(x), whose tangents a user's rule gives from those of the first `arguments` operands.

    x: [*s] -> (y: [*t])
    """

    body: Graph
    rule: Derivative
    arguments: int

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        own, captured = operands[: self.arguments], operands[self.arguments :]
        probes = tangents_of(own)
        products = transpose(self.rule(own, probes), probes, g, f"{self.name} {self.rule.label}")
        return (*products, *(_closed_over(self, x) for x in captured))

    def run(self, *operands: Any) -> list[Any]:
        return _recorded(self, transposed(self.rule), operands)

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        for x, tangent in zip(operands[self.arguments :], tangents[self.arguments :], strict=True):
            if tangent is not None:
                raise _closed_over(self, x).error
        return self.rule(operands[: self.arguments], tangents[: self.arguments])

    def _batched(self, body: Graph, size: int | Dim, batched: tuple[bool, ...]) -> CallOp:
        types = [node.type for node in self.body.inputs]

        def rule(operands: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
            ones, known = _examples(self.body, batched, operands)
            spread_out = [
                t if t is None else spread(size, own, t)
                for own, t in zip(batched, tangents, strict=False)
            ]
            moved = self.rule(ones, _stand_ins(types, spread_out, known))
            return _all_examples(moved, known, size)

        return replace(self, body=body, rule=Derivative(self.rule.label, rule))


def _recorded(
    op: CustomVjp | CustomJvp, pull: Callable[..., Sequence[Any]], operands: Sequence[Any]
) -> list[Any]:
    """The results on tensors, which the tape knows by the rule."""
    count = op.arguments

    def products(operands: Sequence[Any], gs: Sequence[Any]) -> list[Any]:
        return [*pull(operands[:count], gs), *([None] * (len(operands) - count))]

    values = evaluated(op.body, [x.detach() for x in operands])
    return recorded(op.rule.name, values, products, operands)


def _closed_over(op: CustomVjp | CustomJvp, x: Node) -> NoDerivative:
    """What stands for the derivative by a value that a function took from outside."""
    return NoDerivative(
        GradientError(
            f"{op.name} {op.rule.label}: it takes {describe(x)} ({x.provenance}) from outside, and "
            "has no derivative by that: make it an argument"
        )
    )


def _made_again(graph: Graph, operands: Sequence[Node]) -> list[Node]:
    """The outputs of a graph on these operands, as a part of the gradient."""
    new = dict(zip(graph.inputs, operands, strict=True))
    for node in graph.nodes:
        if node not in new:
            with location.attributed(node.provenance._replace(made_by="gradient")):
                new[node] = build(node.op, tuple([new[x] for x in node.inputs]))
    return [new[node] for node in graph.outputs]


def _batched_body(body: Graph, size: int | Dim, batched: Sequence[bool]) -> Graph:
    """A body of all examples, with these inputs of all examples."""
    pairs = list(zip(body.inputs, batched, strict=True))
    types = [x.type.with_shape((size, *x.shape)) if own else x.type for x, own in pairs]
    inputs = parameters("x", types)
    examples = {x: new for (x, own), new in zip(pairs, inputs, strict=True) if own}
    same = {x: new for (x, own), new in zip(pairs, inputs, strict=True) if not own}
    outputs = applied(body, [same.get(x, x) for x in body.inputs])
    made = batch_nodes(outputs, examples, size)
    full = [
        spread(size, ys is not None, y if ys is None else ys)
        for y, ys in zip(outputs, made, strict=True)
    ]
    (graph,), free = close({"body": full}, numbered("x", inputs))
    assert not free
    return graph


def _examples(
    body: Graph, batched: Sequence[bool], operands: Sequence[Any]
) -> tuple[list[Any], dict[Node, Any]]:
    """The operands of one example, and for the placeholders among them those of all."""
    ones: list[Any] = []
    known: dict[Node, Any] = {}
    for x, own, operand in zip(body.inputs, batched, operands, strict=False):
        if own:
            (one,) = parameters("example", [x.type])
            known[one] = operand
        ones.append(one if own else operand)
    return ones, known


def _stand_ins(
    types: Sequence[TensorType], values: Sequence[Any], known: dict[Node, Any]
) -> list[Any]:
    """Placeholders of one example for values of all, which `known` gets; None stays."""
    found: list[Any] = []
    for type_, value in zip(types, values, strict=False):
        if value is not None:
            (one,) = parameters("example", [type_])
            known[one] = value
        found.append(None if value is None else one)
    return found


def _all_examples(nodes: Sequence[Any], known: dict[Node, Any], size: int | Dim) -> list[Any]:
    """Nodes of one example for all of them, along their first axis; None stays."""
    wanted = [node for node in nodes if node is not None]
    many = iter(batch_nodes(wanted, known, size))
    result: list[Any] = []
    for node in nodes:
        ys = None if node is None else next(many)
        result.append(
            None if node is None else spread(size, ys is not None, node if ys is None else ys)
        )
    return result


def called(
    what: str, f: Callable[[Sequence[Any]], Any], given: Sequence[Any], make: Callable[..., CallOp]
) -> Any:
    """What f(leaves) gives, a tree, as results of the op that `make(body, tree)` makes of it."""
    own = parameters("x", (node.type for node in given))
    with births() as inside:
        leaves, tree = call(what, f, own)
    (body,), captured = close({"body": leaves}, numbered("x", own), inside, lazy=True)
    operands = (*given, *captured)
    return tree.unflatten(place(make(body, tree), operands, leaves, own, inside))
