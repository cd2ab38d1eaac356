"""Convolutions that Winograd's algorithm computes faster, of which a backend says that it has it.

It multiplies a quarter as often for kernels of 3 by 3 without strides, and rounds twice as far:
see docs/adr/0042. The `library` pass asks it, if compilation may approximate.
"""

from __future__ import annotations

import math
from dataclasses import replace

from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, build
from staticnet.ir.types import Shape
from staticnet.passes.manager import Context
from staticnet.rewrite.driver import keep, rebuild
from staticnet.spatial.convolution import ConvolutionOp

OFFER = "winograd"  # of a backend's `products`
TILE = 4  # pixels along each axis that are computed together
UNIT, LEAST = 16, 32  # channels are a multiple of one and at least the other
WASTE = 2  # times as many pixels as there are may be computed
FEW_TILES = 8  # for which to transform all weights would take longest
FEW_HELD = 48  # for which to read weights at all points, that stay, would


def by_winograd(graph: Graph, context: Context) -> Graph:
    """The graph with that algorithm in the attributes of those convolutions that gain by it."""

    def chosen(node: Node, inputs: tuple[Node, ...]) -> Node:
        op = node.op
        if not isinstance(op, ConvolutionOp) or not _gains(op, node):
            return keep(node, inputs)
        context.notes["convolutions by Winograd's algorithm"] += 1
        return build(replace(op, algorithm="winograd"), inputs)

    if OFFER not in context.products:
        return graph
    found = any(isinstance(n.op, ConvolutionOp) and _gains(n.op, n) for n in graph.nodes)
    return rebuild(graph, "library", chosen) if found else graph


def fewer_tiles(op: ConvolutionOp, node: Node, least: int) -> bool:
    """Whether a result of known sizes has fewer than so many tiles."""
    shapes = dict(zip(op.roles, [x.shape for x in (*node.inputs, node)], strict=True))
    examples = op.apart("x", shapes["x"])[0]
    return isinstance(examples, int) and examples * _tiles(op, shapes) < least


def _tiles(op: ConvolutionOp, shapes: dict[str, Shape]) -> int:
    """Of an example."""
    result = op.apart(*(("x", shapes["x"]) if op.roles[-1] == "x" else ("y", shapes["y"])))[2]
    return math.prod(-(-n // TILE) for n in result)


def _gains(op: ConvolutionOp, node: Node) -> bool:
    """Whether all sizes but the number of examples are known, and are worth it."""
    shapes = dict(zip(op.roles, [x.shape for x in (*node.inputs, node)], strict=True))
    _, outputs, out = op.apart("y", shapes["y"])
    _, inputs, kernel = op.apart("w", shapes["w"])
    size = op.apart("x", shapes["x"])[2]
    if node.dtype.name != "float32" or (tuple(kernel), op.groups) != ((3, 3), (1,)):
        return False
    known = all(isinstance(n, int) for n in (outputs, inputs, *out, *size))
    if {*op.strides, *op.dilations} != {1} or not known:
        return False
    result = size if op.roles[-1] == "x" else out
    return (
        all(n % UNIT == 0 and n >= LEAST for n in (inputs, outputs))
        and _tiles(op, shapes) * TILE**2 <= WASTE * math.prod(result)
        and not fewer_tiles(op, node, FEW_TILES)
    )
