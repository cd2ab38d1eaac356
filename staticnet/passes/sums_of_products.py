"""Sums with a product, made by the product where what it is added to lies.

A loop's sum of `x[t].T @ g[t]`, the gradient of a weight, was a product written to memory, read
again, added to the sum and written there. A product that begins as the sum writes it alone.
"""

from __future__ import annotations

from collections import Counter
from math import prod

from staticnet.ir.dtype import FLOAT32
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ops.arithmetic import Add
from staticnet.ops.library import MatmulAdd
from staticnet.ops.linalg import Matmul
from staticnet.passes.manager import Context
from staticnet.rewrite.driver import keep, rebuild

LEAST_WORK = 1 << 18  # multiply-adds, below which a product is a small part of what is around it


def sums_of_products(graph: Graph, context: Context) -> Graph:
    """The graph where `c + x @ y` is one node if c is a product, or what it is the next value of.

    That is a variable's value, or the input in the place of an output, as a carry of a loop's body.
    Nothing else needs c or the product. A c that another kernel makes is read there at no cost.
    """
    users = Counter(operand for node in graph.nodes for operand in node.inputs)
    alone = {node for node, count in users.items() if count == 1}.difference(graph.roots)
    over = {*zip(graph.inputs, graph.outputs, strict=False), *graph.updates}

    def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
        for i in (1, 0) if isinstance(node.op, Add) else ():
            (product, first), x = (node.inputs[i], node.inputs[1 - i]), inputs[i]
            begins = isinstance(inputs[1 - i].op, Matmul | MatmulAdd) or (first, node) in over
            if begins and {product, first} <= alone and _is_worth(x, first):
                context.notes["sums of products"] += 1
                return build(MatmulAdd(), (*x.inputs, inputs[1 - i]))
        return keep(node, inputs)

    return rebuild(graph, "library", replace)


def _is_worth(product: Node, first: Node) -> bool:
    """Whether it is a product of matrices as large as `first`, and not a little one."""
    if not isinstance(product.op, Matmul) or product.dtype != FLOAT32:
        return False
    work = (*product.shape, product.inputs[0].shape[-1])
    large = prod(n for n in work if isinstance(n, int)) > LEAST_WORK
    fits = product.ndim == 2 and product.shape == first.shape
    return fits and (large or not all(isinstance(n, int) for n in work))
