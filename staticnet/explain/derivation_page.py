"""A derivation as a page: blocks with their derivatives, the steps, the rule of each node."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from staticnet.explain.blocks import Block, Line, drawing
from staticnet.explain.mathml import MathML, inside, math
from staticnet.explain.page import KEYS, PLAYER, style
from staticnet.explain.page import page as whole_page
from staticnet.explain.rules import local, operation, rule_of, stated
from staticnet.explain.writing import text_of
from staticnet.ir.node import Node, topological
from staticnet.ir.shown import html_table
from staticnet.ops.base import Constant
from staticnet.report.picture import picture_style

if TYPE_CHECKING:
    from staticnet.explain.derivation import Derivation, Step

MOST = 60  # blocks of a picture


class _Numbers:
    """Numbers for the nodes that can be clicked: all that an op computes."""

    def __init__(self) -> None:
        self.nodes: dict[Node, int] = {}

    def __call__(self, node: Node) -> int | None:
        if isinstance(node.op, Constant):
            return None
        return self.nodes.setdefault(node, len(self.nodes))


def page(derivation: Derivation) -> str:
    """The page of a derivation."""
    numbers = _Numbers()
    style_of = MathML(numbers)
    y, asked = derivation.y, derivation.symbol
    lead = f"<mi>{derivation.letter}</mi><mo>=</mo>"
    head = (
        f'<div class="formula big" tabindex="0">{math(y, style_of, lead)}</div>'
        f'<div class="formula big" tabindex="0">'
        f"{math(derivation.result, style_of, _quotient(derivation) + '<mo>=</mo>')}</div>"
    )
    sections = {
        "The derivative": head,
        "Blocks, each with its derivative": _blocks(derivation, numbers),
        "Step by step": PLAYER + _steps(derivation.steps, numbers) + KEYS,
        "Numbers beside it": _checked(derivation),
        "LaTeX": f'<pre tabindex="0">{escape(derivation.steps_latex())}</pre>',
    }
    told = {number: _told(node, derivation) for node, number in list(numbers.nodes.items())}
    title = f"{asked} of {text_of(y)[:80]}"
    return whole_page(title, sections, told, len(derivation.steps))


def notebook(derivation: Derivation) -> str:
    """What a notebook shows: blocks and steps, without a script."""
    numbers = _Numbers()
    scroll = f'<div style="overflow-x: auto">{_drawn(derivation, numbers)}</div>'
    rows = "".join(
        f"<tr><td style='text-align: left'>{math(s.expression)}</td><td>{escape(s.rule)}</td></tr>"
        for s in derivation.steps
    )
    last = math(derivation.result, None, _quotient(derivation) + "<mo>=</mo>")
    (table,) = derivation.checked.tables()
    shown = f"<style>{picture_style()}{style()}</style>{scroll}<table>{rows}</table><p>{last}</p>"
    return shown + html_table(table.columns, table.rows)


def _quotient(derivation: Derivation) -> str:
    """dy/dx as MathML."""
    order = "" if derivation.order == 1 else f"<mn>{derivation.order}</mn>"
    d = f"<msup><mi>d</mi>{order}</msup>" if order else "<mi>d</mi>"
    if derivation.direction is not None:
        return f"<mrow>{d}<mi>{derivation.letter}</mi></mrow>"
    x = f"<mi>{escape(derivation.x.name or 'x')}</mi>"
    below = f"<msup>{x}{order}</msup>" if order else x
    return (
        f"<mfrac><mrow>{d}<mi>{derivation.letter}</mi></mrow><mrow><mi>d</mi>{below}</mrow></mfrac>"
    )


def _steps(steps: tuple[Step, ...], numbers: _Numbers) -> str:
    items = []
    for i, step in enumerate(steps, 1):
        new = MathML(numbers, frozenset((step.after,)))
        what = f"<b>{escape(step.rule)}</b><br>{escape(str(step)[:160])}"
        items.append(
            f'<li data-step="{i}"><div class="whole" tabindex="0" role="region" '
            f'aria-label="Step {i}">{math(step.expression, new, "<mo>=</mo>")}</div>'
            f'<div class="why">{what}</div></li>'
        )
    return f'<ol class="steps">{"".join(items)}</ol>'


def _blocks(derivation: Derivation, numbers: _Numbers) -> str:
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Blocks, scrollable">'
        f"{_drawn(derivation, numbers)}</div>"
    )


def _drawn(derivation: Derivation, numbers: _Numbers) -> str:
    order = [
        node
        for node in topological([derivation.y])
        if not isinstance(node.op, Constant) and text_of(node) not in map(text_of, node.inputs)
    ]
    order = order[-MOST:]
    at: dict[Node, int] = {}
    blocks: list[Block] = []
    for node in order:
        operands = tuple(at[x] for x in map(_behind, node.inputs) if x in at)
        lines = [Line(text_of(node), "title")]
        lines += [Line(f"∂/∂({text_of(x)}) = {text_of(d)}", "slope") for x, d in local(node)]
        at[node] = len(blocks)
        number: Any = numbers(node)
        role = "input" if node.op.is_input else "forward"
        blocks.append(Block(tuple(lines), operands, number, role))
    return drawing(blocks, "The expression as blocks, operands above their users")


def _behind(node: Node) -> Node:
    """The node that is written for one that moves elements without changing them."""
    while len(node.inputs) == 1 and text_of(node) == text_of(node.inputs[0]):
        (node,) = node.inputs
    return node


def _told(node: Node, derivation: Derivation) -> str:
    """What the page tells of a node: its rule, in general and here."""
    if node.op.is_input:
        x = derivation.x.name or "x"
        told = "its derivative is 1" if node is derivation.x else f"{x} does not move it: 0"
        return f"<h2>{math(node)}</h2><p>An input: {escape(told)}.</p>"
    if node.op.name == "derivative":
        inner = operation(node.inputs[0])
        rule = f"next comes the {rule_of(inner)}" if inner.inputs else "it is looked at next"
        return f"<h2>{math(node)}</h2><p>Still to be worked out: {escape(rule)}.</p>"
    lines = [f"<h2>{math(node)}</h2>", f"<p><b>{escape(rule_of(operation(node)))}</b></p>"]
    if (found := stated(node)) is not None:
        whole, tangent = found
        lead = f"<mi>d</mi><mo>(</mo>{inside(whole)}<mo>)</mo><mo>=</mo>"
        lines.append(f'<div class="formula" tabindex="0">{math(tangent, None, lead)}</div>')
    lines += [
        f"<p>here ∂/∂({escape(text_of(x))}):</p>"
        f'<div class="formula" tabindex="0">{math(slope)}</div>'
        for x, slope in local(node)
    ]
    first = (type(node.op).__doc__ or "").strip().splitlines()
    lines.append(f"<p>{escape(node.op.name)}: {escape(first[0])}</p>" if first else "")
    return "".join(lines)


def _checked(derivation: Derivation) -> str:
    (table,) = derivation.checked.tables()
    if not table.rows:
        return "<p>There is no point to check it at.</p>"
    told = "agree" if derivation.checked.agrees else "do not agree"
    return (
        f'<div class="scroll" tabindex="0">{html_table(table.columns, table.rows)}</div>'
        f"<p>The three ways {told}: the steps above, differences of neighbouring values, and the "
        f"compiler's reverse mode.</p>{f'<p>{escape(table.title)}.</p>' if table.title else ''}"
    )
