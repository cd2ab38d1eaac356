"""`contract`: a product and a sum of scalars are one `fma`, which rounds once.

Each step of a loop waits for the one before it, and one operation is ready sooner than two. Arrays
wait for memory instead: theirs stay as they are written. So does a sum of two products, of which
only one could be contracted: x * x - y * y is 0 where x = y.
"""

from __future__ import annotations

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ir.value import Value
from staticnet.ops.arguments import FLOATS
from staticnet.ops.arithmetic import Add, Multiply, Subtract, fma
from staticnet.passes.manager import Context, Pass
from staticnet.rewrite.driver import rewrite
from staticnet.rewrite.pattern import REASSOCIATES, structural

DOMAIN = "x * y does not overflow"


@structural(Add, lambda x, y, z: x * y + z, REASSOCIATES, FLOATS, DOMAIN)
def fma_of_sum(node: Node) -> Value | None:
    """x * y + z = fma(x, y, z)"""
    first, second = node.inputs
    if _is_product(second):
        first, second = second, first
    if not _is_lone_product(first, second):
        return None
    x, y = first.inputs
    return fma(x, y, second)


@structural(Subtract, lambda x, y, z: x * y - z, REASSOCIATES, FLOATS, DOMAIN)
def fma_of_difference(node: Node) -> Value | None:
    """x * y - z = fma(x, y, -z)"""
    product, other = node.inputs
    if not _is_lone_product(product, other):
        return None
    x, y = product.inputs
    return fma(x, y, -other)


@structural(Subtract, lambda x, y, z: z - x * y, REASSOCIATES, FLOATS, DOMAIN)
def fma_of_negative(node: Node) -> Value | None:
    """z - x * y = fma(-x, y, z)"""
    other, product = node.inputs
    if not _is_lone_product(product, other):
        return None
    x, y = product.inputs
    return fma(-x, y, other)


CONTRACTIONS = (fma_of_sum, fma_of_difference, fma_of_negative)


def _is_lone_product(node: Node, other: Node) -> bool:
    """Whether `node` alone of the two is a product, of scalars."""
    return node.shape == () and _is_product(node) and not _is_product(other)


def _is_product(node: Node) -> bool:
    return isinstance(node.op, Multiply)


def contract(graph: Graph, context: Context) -> Graph:
    """The graph with the scalars' sums of a product and something else as one op."""
    return rewrite(graph, CONTRACTIONS, "contract", context.notes)


CONTRACT = Pass("contract", contract, REASSOCIATES)
