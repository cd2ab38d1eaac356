"""Loops and choices as C: what calls the functions of the graphs that an op holds.

Carries lie in the memory of the loop's results, where each step writes the next values over them.
The elements of stacked operands and results are read and written where they lie, at addresses that
advance from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from staticnet.codegen.routines import Pointer
from staticnet.control.cond import Cond
from staticnet.control.scan import Scan
from staticnet.control.while_loop import WhileLoop
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.results import results_of

Call = Callable[[str, Sequence[str], Sequence[str]], str]
"""The C call of the graph of an attribute, on addresses of its inputs and outputs."""


def control_statements(node: Node, pointer: Pointer, call: Call) -> list[str]:
    """The C statements of an op that holds graphs."""
    if isinstance(node.op, Scan):
        return _scan(node, node.op, pointer, call)
    if isinstance(node.op, WhileLoop):
        return _while(node, node.op, pointer, call)
    assert isinstance(node.op, Cond), node.op.name
    operands = [pointer(x) for x in node.inputs[1:]]
    results = [pointer(x) for x in results_of(node)]
    then, other = (call(name, operands, results) for name in ("then", "other"))
    return [f"if (*{pointer(node.inputs[0])}) {then}", f"else {other}"]


def _scan(node: Node, op: Scan, pointer: Pointer, call: Call) -> list[str]:
    (length,) = fixed(op.length)
    first, last = op.carries, op.carries + op.xs
    results = results_of(node)
    xs = [_element(x, pointer) for x in node.inputs[first:last]]
    ys = [_element(y, pointer) for y in results[first:]]
    carries = [pointer(result) for result in results[:first]]
    captured = [pointer(x) for x in node.inputs[last:]]
    step = call("body", [*carries, *xs, *captured], ys)
    walk = f"t = {length}; t-- > 0;" if op.reverse else f"t = 0; t < {length}; ++t"
    stop = ["  if (*error) break;"] if op.may_fail else []
    return [
        *_begin(node, carries, pointer),
        *([f"#pragma GCC unroll {op.unroll}"] if op.unroll > 1 else []),
        f"for (int64_t {walk}) {{",
        f"  {step}",
        *stop,
        "}",
    ]


def _element(node: Node, pointer: Pointer) -> str:
    """The address of the element of a stack that a step has."""
    rows = int(node.type.with_shape(node.shape[1:]).nbytes)
    return f"(char *){pointer(node)} + t*{rows}"


def _begin(node: Node, carries: list[str], pointer: Pointer) -> list[str]:
    """Copies of what the carries begin as, unless it lies in their memory."""
    pairs = ((carry, x) for carry, x in zip(carries, node.inputs, strict=False))
    return [
        f"memcpy({carry}, {pointer(x)}, {x.type.nbytes});"
        for carry, x in pairs
        if carry != pointer(x)
    ]


def _while(node: Node, op: WhileLoop, pointer: Pointer, call: Call) -> list[str]:
    carries = [pointer(result) for result in results_of(node)]
    operands = [*carries, *(pointer(x) for x in node.inputs[len(carries) :])]
    return [
        *_begin(node, carries, pointer),
        "for (;;) {",
        "  uint8_t going;",
        f"  {call('test', operands, ['&going'])}",
        f"  if ({'*error || ' if op.may_fail else ''}!going) break;",
        f"  {call('body', operands, [])}",
        "}",
    ]
