"""A sweep as a page: the graph, on which values go down and gradients come back up."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from staticnet.explain.blocks import Block, Line, drawing
from staticnet.explain.mathml import inside, math
from staticnet.explain.page import KEYS, PLAYER, style
from staticnet.explain.page import page as whole_page
from staticnet.explain.rules import operation, rule_of, stated
from staticnet.explain.writing import number_text, text_of
from staticnet.ir.node import Node
from staticnet.ir.shown import html_table
from staticnet.report.picture import picture_style

if TYPE_CHECKING:
    from staticnet.explain.sweep import Backprop, Gradient


def page(sweep: Backprop) -> str:
    """The page of a sweep."""
    numbers = {node: i for i, node in enumerate(sweep.values)}
    steps = len(sweep.values) + len(sweep.gradients)
    picture = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Graph, scrollable">'
        f"{_drawn(sweep, numbers)}</div>"
    )
    head = math(sweep.y, None, f"<mi>{sweep.letter}</mi><mo>=</mo>")
    sections = {
        "The expression": f'<div class="formula big" tabindex="0">{head}</div>',
        "Values go down, gradients come back up": PLAYER + picture + KEYS,
        "Step by step": _steps(sweep),
    }
    told = {number: _told(node, sweep) for node, number in numbers.items()}
    return whole_page(f"Backprop through {text_of(sweep.y)[:80]}", sections, told, steps)


def notebook(sweep: Backprop) -> str:
    """What a notebook shows: the graph with all values and gradients, and the sums."""
    numbers = {node: i for i, node in enumerate(sweep.values)}
    backward = sweep.tables()[1]
    return (
        f"<style>{picture_style()}{style()}</style>"
        f'<div style="overflow-x: auto">{_drawn(sweep, numbers)}</div>'
        f"{html_table(backward.columns, backward.rows)}"
    )


def _drawn(sweep: Backprop, numbers: dict[Node, int]) -> str:
    back = {each.node: (i, each) for i, each in enumerate(sweep.gradients, len(numbers) + 1)}
    blocks = []
    for node, number in numbers.items():
        lines = [Line(text_of(node), "title")]
        lines.append(Line(f"value {number_text(sweep.values[node], 4)}", "value", number + 1))
        if node in back:
            step, each = back[node]
            lines.append(Line(f"gradient {number_text(each.value, 4)}", "back", step))
        operands = tuple(dict.fromkeys(numbers[x] for x in _read(node) if x in numbers))
        role = "input" if node.op.is_input else "forward"
        blocks.append(Block(tuple(lines), operands, number, role))
    return drawing(blocks, "The expression as a graph, operands above their users")


def _read(node: Node) -> tuple[Node, ...]:
    """The operands, of one of several results those of all."""
    return operation(node).inputs


def _steps(sweep: Backprop) -> str:
    items = [
        _item(i, math(node), f"= {number_text(x)}", "")
        for i, (node, x) in enumerate(sweep.values.items(), 1)
    ]
    for i, each in enumerate(sweep.gradients, len(items) + 1):
        over = f"<mi>d</mi><mi>{sweep.letter}</mi>"
        of = f"<mi>d</mi><mo>(</mo>{inside(each.node)}<mo>)</mo>"
        head = (
            f'<math displaystyle="true"><mfrac><mrow>{over}</mrow><mrow>{of}</mrow></mfrac></math>'
        )
        items.append(_item(i, head, f"= {number_text(each.value)}", _reason(each, sweep.letter)))
    return f'<ol class="steps">{"".join(items)}</ol>'


def _item(step: int, formula: str, value: str, reason: str) -> str:
    return (
        f'<li data-step="{step}"><div class="whole" tabindex="0" role="region" '
        f'aria-label="Step {step}">{formula} {escape(value)}</div>'
        f'<div class="why">{escape(reason)}</div></li>'
    )


def _reason(gradient: Gradient, letter: str) -> str:
    if not gradient.parts:
        return f"it is {letter} itself: backward begins with 1"
    told = (
        f"{part.formula} = {number_text(part.value)} through {text_of(part.through)}"
        for part in gradient.parts
    )
    return " + ".join(told)


def _told(node: Node, sweep: Backprop) -> str:
    """What the page tells of a node: value, gradient, rule."""
    lines = [f"<h2>{math(node)}</h2>", f"<p>value {escape(number_text(sweep.values[node]))}</p>"]
    for each in sweep.gradients:
        if each.node is node:
            reason = _reason(each, sweep.letter)
            lines.append(f"<p>gradient {escape(number_text(each.value))}: {escape(reason)}</p>")
    if node.inputs and (found := stated(node)) is not None:
        whole, tangent = found
        lead = f"<mi>d</mi><mo>(</mo>{inside(whole)}<mo>)</mo><mo>=</mo>"
        lines.append(f"<p><b>{escape(rule_of(operation(node)))}</b></p>")
        lines.append(f'<div class="formula" tabindex="0">{math(tangent, None, lead)}</div>')
    return "".join(lines)
