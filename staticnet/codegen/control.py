"""Loops and choices as C: what calls the functions of the graphs that an op holds.

Carries lie in the memory of the loop's results, where each step writes the next values over them.
The elements of stacked operands and results are read and written where they lie, at addresses that
advance from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from staticnet.codegen.products import copied_together
from staticnet.codegen.regions import BARRIER
from staticnet.codegen.routines import Pointer
from staticnet.codegen.scope import c_type
from staticnet.control.cond import Cond
from staticnet.control.scan import Scan
from staticnet.control.while_loop import WhileLoop
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.held import held_operands
from staticnet.plan.results import results_of

Call = Callable[[str, Sequence[str], Sequence[str]], str]
"""The C call of the graph of an attribute, on addresses of its inputs and outputs."""


def control_statements(
    node: Node, pointer: Pointer, call: Call, held: str, team: bool = False
) -> list[str]:
    """The C statements of an op that holds graphs; `held` is memory for what its products hold.

    The threads of a `team` all make each step of a loop together.
    """
    if isinstance(node.op, Scan):
        packed = _packed(node, node.op, pointer, held, team)
        return [*packed, *_scan(node, node.op, pointer, call, team)]
    if isinstance(node.op, WhileLoop):
        return _while(node, node.op, pointer, call)
    assert isinstance(node.op, Cond), node.op.name
    operands = [pointer(x) for x in node.inputs[1:]]
    results = [pointer(x) for x in results_of(node)]
    then, other = (call(name, operands, results) for name in ("then", "other"))
    return [f"if (*{pointer(node.inputs[0])}) {then}", f"else {other}"]


def _scan(node: Node, op: Scan, pointer: Pointer, call: Call, team: bool) -> list[str]:
    (length,) = fixed(op.length)
    first, last = op.carries, op.carries + op.xs
    carried = _Carried(node, first, pointer, team)
    xs = [_element(x, pointer) for x in node.inputs[first:last]]
    ys = [_element(y, pointer) for y in results_of(node)[first:]]
    captured = [pointer(x) for x in node.inputs[last:]]
    walk = f"t = {length}; t-- > 0;" if op.reverse else f"t = 0; t < {length}; ++t"
    return [
        *carried.begin,
        *([BARRIER] if team else []),
        *([f"#pragma GCC unroll {op.unroll}"] if op.unroll > 1 else []),
        f"for (int64_t {walk}) {{",
        f"  {call('body', [*carried.addresses, *xs, *captured], ys)}",
        *(["  if (*error) break;"] if op.may_fail and not team else []),  # all threads or none
        "}",
        *carried.end,
    ]


def _packed(node: Node, op: Scan, pointer: Pointer, held: str, team: bool) -> list[str]:
    """Statements before a loop, which pack the panels or lines of what stays."""
    lines = []
    who, first = ("share, shares", "if (share == 0) ") if team else ("0, 1", "")
    for each, offset in held_operands(op).items():
        n, k, apart = each.columns, each.depth, each.apart
        at = f"{pointer(node.inputs[each.place])} + {each.first}"
        steps, to = f"1, {apart}" if each.turned else f"{apart}, 1", f"(float *)({held} + {offset})"
        if each.lines:
            lines.append(f"{first}sn_lines_f32({n}, {k}, {at}, {apart}, {to});")
        else:
            lines.append(f"sn_hold_f32({who}, {n}, {k}, {at}, {steps}, {to});")
    return lines


def _element(node: Node, pointer: Pointer) -> str:
    """The address of the element of a stack that a step has."""
    rows = int(node.type.with_shape(node.shape[1:]).nbytes)
    return f"(char *){pointer(node)} + t*{rows}"


class _Carried:
    """Where carries are while a loop runs: in the memory of its results, or, of one element, local.

    What a team of threads shares is not local. `begin` are statements before the loop, which bring
    them there, and `end` those after it.
    """

    def __init__(self, node: Node, count: int, pointer: Pointer, team: bool = False) -> None:
        self.begin: list[str] = []
        self.addresses: list[str] = []
        self.end: list[str] = []
        pairs = zip(results_of(node)[:count], node.inputs, strict=False)
        for i, (result, first) in enumerate(pairs):
            home, source = pointer(result), pointer(first)
            if result.type.size == 1 and not team:
                self.begin.append(f"{c_type(result.dtype)} c{i} = *{source};")
                self.addresses.append(f"&c{i}")
                self.end.append(f"*{home} = c{i};")
                continue
            self.addresses.append(home)
            if home != source:
                alone = f"memcpy({home}, {source}, {result.type.nbytes});"
                self.begin.append(copied_together(home, source, result) if team else alone)


def _while(node: Node, op: WhileLoop, pointer: Pointer, call: Call) -> list[str]:
    carried = _Carried(node, len(op.body.outputs), pointer)
    captured = [pointer(x) for x in node.inputs[len(carried.addresses) :]]
    operands = [*carried.addresses, *captured]
    return [
        *carried.begin,
        "for (;;) {",
        "  uint8_t going;",
        f"  {call('test', operands, ['&going'])}",
        f"  if ({'*error || ' if op.may_fail else ''}!going) break;",
        f"  {call('body', operands, [])}",
        "}",
        *carried.end,
    ]
