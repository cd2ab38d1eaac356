"""`Body`: the nodes of an ONNX graph, or of one that an operator holds, as they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from staticnet.errors import OnnxError
from staticnet.io.onnx.library import onnx
from staticnet.io.onnx.writing.recognised import Group, Groups
from staticnet.io.onnx.writing.table import composition_of, operands_of, writer_of
from staticnet.io.onnx.writing.tensors import Tensors, numbers, value_info
from staticnet.ir.dim import Dim, FloorDiv
from staticnet.ir.dtype import DType
from staticnet.ir.graph import Graph
from staticnet.ir.location import common_module
from staticnet.ir.node import Node
from staticnet.ops.base import Constant, Item
from staticnet.ops.evaluate import interpret

Shape = Sequence[int | Dim]


class Model:
    """What the bodies of a model share: the opset, names, tensors, and how sizes are found."""

    def __init__(self, graph: Graph, opset: int) -> None:
        self.graph = graph
        self.opset = opset
        self.tensors = Tensors(self.fresh)
        self._taken: set[str] = set()
        self.read = {(n.inputs[0], n.op.index) for n in graph.all_nodes if isinstance(n.op, Item)}
        self.groups = Groups(graph, opset)
        self.root = Body(self)

    def fresh(self, name: str) -> str:
        """A name that no value has: the given one, or one with a number behind it."""
        found, count = name, 0
        while found in self._taken:
            count += 1
            found = f"{name}_{count}"
        self._taken.add(found)
        return found

    def needs(self, opset: int, node: Node, why: str) -> None:
        """Raise OnnxError if the model's opset is older."""
        if self.opset < opset:
            raise refusal(node, f"{why} needs opset {opset}; this is {self.opset}")


class Body:
    """The nodes of a graph, in order. Call it to add one; what it gives is the result's name."""

    def __init__(self, model: Model, outer: Body | None = None) -> None:
        self.model = model
        self.outer = outer
        self.nodes: list[Any] = []
        self.named: dict[Node, Any] = {}
        self.wanted: dict[Node, str] = {}
        self._dims: dict[int | Dim, str] = {}
        self._at: Node | None = None
        self._label = ""  # of nodes, instead of the op's name

    def __call__(self, operator: str, *operands: Any, results: int = 1, **attributes: Any) -> Any:
        """Add an operator's node, on nodes, names, arrays or None; -> the name of its result.

        An attribute of None is left out. Of several results it gives the list of names.
        """
        fresh = self.model.fresh
        given = {key: value for key, value in attributes.items() if value is not None}
        label = self._label or (operator if self._at is None else self._at.op.name)
        names = [fresh(f"{label}_{len(self.nodes)}") for _ in range(results)]
        inputs = [self.name(x) for x in operands]
        while inputs and not inputs[-1]:
            inputs.pop()
        made = onnx().helper.make_node(operator, inputs, names, **given)
        if self._at is not None:
            module = common_module(self._at.provenance.modules)
            made.name = f"{module}/{names[0]}" if module else names[0]
            made.doc_string = str(self._at.provenance.origin)
        else:
            made.name = names[0]
        self.nodes.append(made)
        return names[0] if results == 1 else names

    def name(self, x: Any) -> str:
        """The name of an operand: a node that is written already, a name, an array; '' for None."""
        if x is None:
            return ""
        if isinstance(x, str):
            return x
        if isinstance(x, Node):
            return str(self.known(x))
        return self.model.tensors.add(np.asarray(x))

    def known(self, node: Node) -> Any:
        """The name or names of a node, in this body or around it; None if there is none yet."""
        body: Body | None = self
        while body is not None:
            if node in body.named:
                return body.named[node]
            body = body.outer
        return None

    # nodes of the graph

    def write(self, roots: Iterable[Node]) -> None:
        """Add all that the roots need, operands first."""
        waiting = list(roots)
        while waiting:
            node = waiting[-1]
            if self.known(node) is not None:
                waiting.pop()
                continue
            group = self.model.groups.of(node)
            needed = operands_of(node) if group is None else group.nodes
            missing = [x for x in needed if self.known(x) is None]
            if missing:
                waiting += missing[::-1]
                continue
            self.named[node] = self._written(node)
            waiting.pop()

    def _written(self, node: Node) -> Any:
        before, self._at = self._at, node
        try:
            found = self._made(node)
        finally:
            self._at = before
        wanted = self.wanted.get(node)
        if wanted is not None and self.nodes and found in self.nodes[-1].output:
            last = self.nodes[-1].output
            last[list(last).index(found)] = wanted
            self.wanted.pop(node)
            return wanted
        return found

    def _made(self, node: Node) -> Any:
        op = node.op
        if group := self.model.groups.of(node):
            return self._grouped(group)
        if isinstance(op, Constant):
            return self.model.tensors.add(op.value.array, node.name)
        if isinstance(op, Item):
            return self.known(node.inputs[0])[op.index]
        if writer := writer_of(op):
            return writer(self, node)
        if node.is_constant and not op.graphs:
            return self.name(_value(node))
        if composition := composition_of(op):
            return self._composed(composition(node))
        raise refusal(node, "ONNX has no operator for it, nor are there ones that make it up")

    def _grouped(self, group: Group) -> Any:
        self._label = group.operator.lower()
        if group.axes:
            made = self.reduced(group.operator, group.operands[0], group.axes, group.keepdims)
        else:
            made = self(group.operator, *group.operands, **group.attributes)
        self._label = ""
        return made

    def _composed(self, plainer: Any) -> Any:
        parts = [plainer] if isinstance(plainer, Node) else list(plainer)
        self.write(parts)
        names = [self.known(part) for part in parts]
        return names[0] if isinstance(plainer, Node) else names

    def is_read(self, node: Node, index: int) -> bool:
        """Whether one of several results is used."""
        return (node, index) in self.model.read

    # shapes

    def vector(self, *dims: int | Dim) -> str:
        """The name of int64 [n]: numbers and sizes."""
        if not any(isinstance(d, Dim) for d in dims):
            return self.name(numbers(*dims))
        parts = [self.size(d) for d in dims]
        return parts[0] if len(parts) == 1 else str(self("Concat", *parts, axis=0))

    def size(self, dim: int | Dim) -> str:
        """The name of int64 [1]: a size. It is computed in the outermost graph, once."""
        body = self.model.root
        if isinstance(dim, int):
            return self.name(numbers(dim))
        if dim not in body._dims:
            before, body._at = body._at, None
            body._dims[dim] = body._sized(dim)
            body._at = before
        return body._dims[dim]

    def scalar(self, dim: int | Dim) -> str:
        """The name of int64 []: a size."""
        if isinstance(dim, int):
            return self.name(np.int64(dim))
        return str(self("Reshape", self.size(dim), np.zeros(0, np.int64)))

    def _sized(self, dim: Dim) -> str:
        total: str | None = None
        for monomial, coefficient in dim.terms:
            factors = [self._atom(atom) for atom in monomial]
            factors += [self.name(numbers(coefficient))] if coefficient != 1 or not factors else []
            product = factors[0]
            for factor in factors[1:]:
                product = self("Mul", product, factor)
            total = product if total is None else self("Add", total, product)
        assert total is not None
        return total

    def _atom(self, atom: Any) -> str:
        if isinstance(atom, FloorDiv):
            top, below = self.size(atom.numerator), self.name(numbers(atom.denominator))
            return str(self("Div", self("Sub", top, self("Mod", top, below)), below))
        return self.size(Dim(atom)) if Dim(atom) in self._dims else self._symbol(atom)

    def _symbol(self, symbol: str) -> str:
        """An unknown, from the shape of an input."""
        for node in self.model.graph.inputs:
            for axis, dim in enumerate(node.shape):
                if dim == Dim(symbol):
                    shape = self("Shape", node)
                    return str(self("Gather", shape, numbers(axis), axis=0))
        raise OnnxError(
            f"save: the dim {symbol} is the size of no input's axis alone; give the input such an "
            "axis, or a number for the dim"
        )

    def reshape(self, x: Any, shape: Shape) -> str:
        """x in another shape; one symbolic dim is left to ONNX, which finds it."""
        unknown = [d for d in shape if isinstance(d, Dim)]
        keeps_zeros = 0 in shape
        if len(unknown) == 1 and not keeps_zeros:
            known = (-1 if isinstance(d, Dim) else d for d in shape)
            return str(self("Reshape", x, numbers(*known)))
        if keeps_zeros and self.model.opset < 14:
            raise OnnxError(f"save: a reshape to {list(shape)} needs opset 14; this is older")
        to = self.vector(*shape)
        return str(self("Reshape", x, to, allowzero=1 if keeps_zeros else None))

    def cast(self, x: Any, dtype: DType) -> str:
        """x in another dtype."""
        return str(self("Cast", x, to=self.model.tensors.number(dtype)))

    def permuted(self, x: Any, axes: Sequence[int]) -> Any:
        """x with its axes in another order."""
        if list(axes) == list(range(len(axes))):
            return x
        return self("Transpose", x, perm=list(axes))

    def reduced(self, operator: str, x: Any, axes: Sequence[int], keepdims: bool) -> Any:
        """x reduced over axes, which are an operand since opset 18, of sums since 13."""
        if not axes:
            return self.name(x)
        if operator == "ReduceSum" or self.model.opset >= 18:
            return self(operator, x, numbers(*axes), keepdims=int(keepdims))
        return self(operator, x, axes=list(axes), keepdims=int(keepdims))

    # graphs in operators

    def graph(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """The GraphProto of this body, whose inputs and outputs are described."""
        return onnx().helper.make_graph(self.nodes, self.model.fresh(name), inputs, outputs)

    def inner(self, held: Graph, given: Sequence[Node | None]) -> tuple[Body, list[Any]]:
        """A body for a graph that an op holds, and descriptions of its own inputs.

        `given` are nodes outside that its inputs stand for; None makes an input of its own.
        """
        body, own = Body(self.model, self), []
        for parameter, outside in zip(held.inputs, given, strict=True):
            if outside is None:
                name = self.model.fresh(_plain(parameter.name) or "x")
                body.named[parameter] = name
                own.append(value_info(name, parameter.type))
            else:
                body.named[parameter] = self.known(outside)
        return body, own

    def result(self, node: Node) -> Any:
        """The description of a result that is this body's own: a copy if it is not."""
        name = self.known(node)
        made = {output for each in self.nodes for output in each.output}
        if name not in made or name in self.wanted.values():
            name = self("Identity", name)
        self.wanted[node] = name
        return value_info(name, node.type)


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _value(node: Node) -> Any:
    """The value of a node that is made of constants."""
    graph = Graph("constant", (), (node,))
    return interpret(graph, [])[0]


def refusal(node: Node, why: str) -> OnnxError:
    """The error of a node that cannot be written."""
    return OnnxError(f"save: {node.op.name} ({node.provenance}): {why}")


Writer = Callable[[Body, Node], Any]
