"""The arena and the timeline of a document as SVG pictures, to the scale of bytes and seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from staticnet.report.document import Document
from staticnet.report.picture import short
from staticnet.report.units import format_bytes, format_seconds

WIDTH, HEIGHT = 960, 300  # of the plotted area; it grows with the number of launches
LEFT, RIGHT, TOP, BOTTOM = 76, 12, 24, 40
BAR = 64
_NARROWEST, _WIDEST = 6, 90  # pixels of a launch
_CHAR_WIDTH = 6.2
_LEAST_LABEL = 5  # characters


def arena_chart(document: Document) -> str:
    """Blocks of the arena: launches to the right, bytes upwards, the fullest launch marked.

    Empty if the arena is.
    """
    memory = document["memory"]
    if not memory or not memory["arena"] or not memory["live"]:
        return ""
    return _Arena(memory, document["graphs"][-1]["nodes"]).svg()


class _Arena:
    def __init__(self, memory: Mapping[str, Any], nodes: list[Mapping[str, Any]]) -> None:
        self.memory = memory
        self.nodes = nodes
        self.launches = len(memory["live"])
        self.step = min(max(WIDTH / self.launches, _NARROWEST), _WIDEST)
        self.bytes = memory["arena"]
        self.covered = {block["over"] for block in memory["blocks"]}  # by another at their last

    def svg(self) -> str:
        width = LEFT + self.step * self.launches + RIGHT
        height = TOP + HEIGHT + BOTTOM
        parts = [*self._scale(), *self._fullest(), *self._blocks(), *self._live()]
        return _svg(width, height, "Arena: launches to the right, bytes upwards", parts)

    def _x(self, launch: float) -> float:
        return LEFT + self.step * launch

    def _y(self, size: float) -> float:
        return TOP + HEIGHT * (1 - size / self.bytes)

    def _scale(self) -> Iterator[str]:
        right = self._x(self.launches)
        for quarter in range(5):
            size = self.bytes * quarter // 4
            y = self._y(size)
            yield f'<path class="grid" d="M{LEFT} {y:.1f}H{right:.1f}"/>'
            yield _text(LEFT - 6, y + 4, format_bytes(size), "end")
        every = max(1, round(48 / self.step))
        for launch in range(0, self.launches, every):
            yield _text(self._x(launch + 0.5), TOP + HEIGHT + 15, str(launch), "middle")
        middle = (LEFT + right) / 2
        yield _text(middle, TOP + HEIGHT + 32, "launch", "middle")

    def _fullest(self) -> Iterator[str]:
        fullest = self.memory["fullest"]
        if fullest is None:
            return
        x, live = self._x(fullest), self.memory["live"][fullest]
        yield (
            f'<rect class="fullest" x="{x:.1f}" y="{TOP}" width="{self.step:.1f}" '
            f'height="{HEIGHT}"/>'
        )
        text = f"fullest: launch {fullest}, {format_bytes(live)}"
        late = fullest > self.launches / 2
        yield _text(x + self.step * late, TOP - 9, text, "end" if late else "start", "mark")

    def _blocks(self) -> Iterator[str]:
        for number, block in enumerate(self.memory["blocks"]):
            yield self._block(number, block)

    def _block(self, number: int, block: Mapping[str, Any]) -> str:
        x, width = self._x(block["first"]), self.step * (block["last"] - block["first"] + 1)
        y = self._y(block["offset"] + block["bytes"])
        height = max(1.0, self._y(block["offset"]) - y)
        node = block["node"]
        role = "input" if node is None else self.nodes[node]["role"]
        text = f"{block['value']} {format_bytes(block['bytes'])}"
        covered = self.step * (block["value"] in self.covered)
        name, seen = _label(text, x, y, width - covered, height)
        label = (
            f"{seen}{text}, {block['bytes']:,} bytes at {block['offset']:,}, "
            f"launches {block['first']} to {block['last']}"
        )
        return (
            f'<g id="b{number}" class="b {role}" role="button" tabindex="-1" '
            f'aria-label="{escape(label)}"><title>{escape(label)}</title>'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>{name}</g>'
        )

    def _live(self) -> Iterator[str]:
        """The bytes alive, launch by launch."""
        path = "".join(
            f"{'L' if launch else 'M'}{self._x(launch):.1f} {self._y(live):.1f}h{self.step:.1f}"
            for launch, live in enumerate(self.memory["live"])
        )
        yield f'<path class="live" d="{path}"/>'


def timeline_chart(document: Document) -> str:
    """The parts of a step one after the other, each filled up to its share of the floor.

    Empty if there is no profile, or if the step took no time.
    """
    profile = document["profile"]
    if not profile or not profile["seconds"]:
        return ""
    scale = WIDTH / profile["seconds"]
    drawn = list(_seconds(profile["seconds"], scale))
    for number, part in enumerate(profile["parts"]):
        drawn.append(_part(number, part, scale, _role(part, document)))
    return _svg(LEFT + WIDTH + RIGHT, TOP + BAR + BOTTOM, "Timeline of one step", drawn)


def _role(part: Mapping[str, Any], document: Document) -> str:
    """The role that most nodes of a part have; that of inputs if it is a copy."""
    nodes = document["graphs"][-1]["nodes"]
    numbers = [] if part["node"] is None else [part["node"]]
    if part["launch"] is not None:
        kernels = (k for k in document["kernels"] if k["launch"] == part["launch"])
        numbers = [i for kernel in kernels for i in kernel["nodes"]]
    counts = Counter(nodes[i]["role"] for i in numbers)
    return counts.most_common(1)[0][0] if counts else "input"


def _seconds(total: float, scale: float) -> Iterator[str]:
    for tenth in range(0, 11, 2):
        time = total * tenth / 10
        x = LEFT + time * scale
        yield f'<path class="grid" d="M{x:.1f} {TOP}v{BAR + 4}"/>'
        anchor = "end" if tenth == 10 else "middle" if tenth else "start"
        yield _text(x, TOP + BAR + 18, format_seconds(time), anchor)


def _part(number: int, part: Mapping[str, Any], scale: float, role: str) -> str:
    x, width = LEFT + part["start"] * scale, max(0.5, part["seconds"] * scale)
    floor = min(1.0, max(part["share_of_copy"], part["share_of_products"]))
    name, seen = _label(part["name"], x, TOP, width, BAR)
    label = (
        f"{seen}{part['name']}: {part['kind']}, {format_seconds(part['seconds'])}, "
        f"{part['share']:.1%} of the step, {floor:.0%} of the floor"
    )
    return (
        f'<g id="t{number}" class="b {role}" role="button" tabindex="-1" '
        f'aria-label="{escape(label)}"><title>{escape(label)}</title>'
        f'<rect x="{x:.1f}" y="{TOP}" width="{width:.2f}" height="{BAR}"/>'
        f'<rect class="reached" x="{x:.1f}" y="{TOP + BAR * (1 - floor):.1f}" '
        f'width="{width:.2f}" height="{BAR * floor:.1f}"/>'
        f"{name}</g>"
    )


def _label(text: str, x: float, y: float, width: float, height: float) -> tuple[str, str]:
    """A text in a rectangle, as much of it as fits; and, if that was cut, what is read out first.

    Who speaks to a page says what stands on it, so names begin with that.
    """
    chars = int((width - 6) / _CHAR_WIDTH)
    if height < 13 or chars < min(len(text), _LEAST_LABEL):
        return "", ""
    cut = short(text, chars)
    drawn = _text(x + width / 2, y + height / 2 + 4, cut, "middle")
    return drawn, "" if cut == text else f"{cut}, "


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text{classes} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, label: str, parts: list[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}"'
    wide = " wide" if width > LEFT + WIDTH + RIGHT else ""
    return (
        f'<svg class="staticnet chart{wide}" {size} viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="group" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
