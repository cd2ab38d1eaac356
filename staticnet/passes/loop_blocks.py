"""A long scan as a scan of blocks, whose products are made for all steps of a block at once.

What is made for all steps is written to memory and read again where it does not fit into a cache:
the rows `x[t] @ w` of 1,000 steps of an LSTM, and the factors of its weights' gradients, took a
third of its time. Those of a block are still near when its steps, or its sums, read them. Where
rows are so large that products stay in the step, the sum of those whose factors are stacked for
others, and are not too many, is still one product after the loop: no thread waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from staticnet.control.parts import Carry, Given, Parts
from staticnet.control.residuals import usual_bytes
from staticnet.control.scan import Scan
from staticnet.control.trace import parameters
from staticnet.ir.node import Node, dependents, topological
from staticnet.ops.linalg import Matmul
from staticnet.ops.shape import reshape
from staticnet.passes.fission import Fission

_WORTH = 8  # times the cache: loops whose rows are less are not taken in blocks
_NEAR = 16  # times the cache: rows that are stacked anyway are still in the largest cache
_LEAST = 8  # a block has at least so large a part of the cache, so that its products are large


def split(parts: Parts, cache: int) -> tuple[list[Node], int]:
    """The results of a scan, and how many products are made for many of its steps at once.

    `cache` is the bytes that a block's rows may have; 0 takes all steps at once.
    """
    steps = _steps_of_block(parts, cache)
    if steps == 1:
        if _rows_of_all(parts) <= _NEAR * cache:
            return Fission(parts, most=0).run_sums()
        carries, ys = parts.build()
        return [*carries, *ys], 0
    if steps is not None:
        results, products = _in_blocks(parts, steps)
        if products:
            return results, products
    return Fission(parts).run()


def _steps_of_block(parts: Parts, cache: int) -> int | None:
    """The steps of a block: 1 if products of one step are large enough, None for all steps."""
    (length,) = cast(Scan, parts.op).length
    row = max(_rows(parts), default=0)
    if not isinstance(length, int) or _rows_of_all(parts) <= _WORTH * cache or cache == 0:
        return None
    if row * _LEAST >= cache:
        return 1
    most, least = cache // row, cache // (row * _LEAST)
    return next((n for n in range(most, least, -1) if length % n == 0), None)


def _rows_of_all(parts: Parts) -> int:
    (length,) = cast(Scan, parts.op).length
    return cast(int, length) * max(_rows(parts), default=0)


def _rows(parts: Parts) -> Iterator[int]:
    """The bytes of what a product for all steps would read or make, of one step."""
    order = topological(parts.outputs)
    own = [*(carry.own for carry in parts.carries), *(x.own for x in parts.xs)]
    varying = dependents(order, own)
    for node in order:
        if isinstance(node.op, Matmul) and node in varying:
            rows = [x for x in node.inputs if x in varying]
            adds_up = len(rows) == 2  # to one sum over all steps
            yield max(map(usual_bytes, rows if adds_up else (*rows, node)))


def _in_blocks(parts: Parts, steps: int) -> tuple[list[Node], int]:
    op = cast(Scan, parts.op)
    count = cast(int, op.length[0]) // steps
    own = parameters("block", (x.type for x in _operands(parts, steps)))
    carried, rest = own[: len(parts.carries)], own[len(parts.carries) :]
    rows, captured = rest[: len(parts.xs)], rest[len(parts.xs) :]
    inner = Parts(
        replace(op, length=(steps,)),
        [carry._replace(init=first) for carry, first in zip(parts.carries, carried, strict=True)],
        [Given(row, x.own) for x, row in zip(parts.xs, rows, strict=True)],
        [Given(outer, k.own) for k, outer in zip(parts.captured, captured, strict=True)],
        list(parts.ys),
    )
    made, products = Fission(inner).run()
    after, ys = made[: len(carried)], made[len(carried) :]
    firsts = [carry.init for carry in parts.carries]
    outer = Parts(
        replace(op, length=(count,), unroll=1),
        [Carry(*each) for each in zip(firsts, carried, after, strict=True)],
        [Given(_blocks(x.operand, count, steps), r) for x, r in zip(parts.xs, rows, strict=True)],
        [Given(k.operand, each) for k, each in zip(parts.captured, captured, strict=True)],
        ys,
    )
    carries, stacks = outer.build()
    whole = [reshape(y, (count * steps, *y.shape[2:])) for y in stacks]
    return [*carries, *cast(list[Node], whole)], products


def _operands(parts: Parts, steps: int) -> Iterator[Node]:
    """What a block takes: the carries, the first rows of each x, and what is captured."""
    yield from (carry.init for carry in parts.carries)
    yield from (cast(Node, x.operand[:steps]) for x in parts.xs)
    yield from (k.operand for k in parts.captured)


def _blocks(x: Node, count: int, steps: int) -> Node:
    return cast(Node, reshape(x, (count, steps, *x.shape[1:])))
