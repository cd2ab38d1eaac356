"""A graph as blocks, operands above their users, each with lines of its own: an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from staticnet.report.layout import arrange

LINE, CHAR, PAD = 17, 7.3, 10
GAP_X, GAP_Y, MARGIN = 26, 34, 8
LONGEST = 44  # characters of a line


@dataclass(frozen=True)
class Line:
    """A line of a block: its text, its role, which is a class, and the step that shows it."""

    text: str
    role: str = ""
    step: int | None = None


@dataclass(frozen=True)
class Block:
    """A block: its lines, the numbers of its operands, and its node's number."""

    lines: tuple[Line, ...]
    operands: tuple[int, ...]
    node: int
    role: str = "forward"
    step: int | None = None


def drawing(blocks: Sequence[Block], label: str) -> str:
    """The <svg> of blocks, whose operands come before them."""
    sizes = [_size(block) for block in blocks]
    places, (width, height) = arrange(sizes, [list(b.operands) for b in blocks], GAP_X, GAP_Y)
    edges = "".join(
        _edge(blocks[i], places[i], sizes[i], places[j], sizes[j], k, len(set(block.operands)))
        for j, block in enumerate(blocks)
        for k, i in enumerate(dict.fromkeys(block.operands))
    )
    boxes = "".join(map(_block, blocks, places, sizes))
    full = width + 2 * MARGIN, height + 2 * MARGIN
    return (
        f'<svg class="staticnet blocks" width="{full[0]}" height="{full[1]}" '
        f'viewBox="{-MARGIN} {-MARGIN} {full[0]} {full[1]}" role="group" '
        f'aria-label="{escape(label)}">{edges}{boxes}</svg>'
    )


def _shown(line: Line) -> str:
    text = line.text
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _size(block: Block) -> tuple[int, int]:
    longest = max(len(_shown(line)) for line in block.lines)
    return max(90, int(CHAR * longest) + 2 * PAD), LINE * len(block.lines) + 12


def _step(step: int | None) -> str:
    return "" if step is None else f' data-step="{step}"'


def _block(block: Block, place: tuple[int, int], size: tuple[int, int]) -> str:
    lines = " ".join(  # spaces are read between them
        f'<text x="{PAD}" y="{LINE * i + 19}" class="{line.role}"{_step(line.step)}>'
        f"{escape(_shown(line))}</text>"
        for i, line in enumerate(block.lines)
    )
    seen, full = ("; ".join(map(text, block.lines)) for text in (_shown, lambda line: line.text))
    told = seen if seen == full else f"{seen}; in full: {full}"
    return (
        f'<g class="n {block.role}" transform="translate({place[0]} {place[1]})" '
        f'data-node="{block.node}" tabindex="0" role="button" aria-label="{escape(told)}"'
        f'{_step(block.step)}><rect width="{size[0]}" height="{size[1]}"/>{lines}</g>'
    )


def _edge(
    block: Block,
    place: tuple[int, int],
    size: tuple[int, int],
    user: tuple[int, int],
    user_size: tuple[int, int],
    position: int,
    count: int,
) -> str:
    x1, y1 = place[0] + size[0] // 2, place[1] + size[1]
    x2, y2 = user[0] + user_size[0] * (position + 1) // (count + 1), user[1]
    bend = max(12, min((y2 - y1) // 2, 60))
    return (
        f'<path class="e {block.role}" d="M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"/>'
    )
