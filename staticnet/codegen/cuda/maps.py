"""Maps as CUDA: threads take points of the flattened space, packs of them where memory allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from staticnet.codegen.cuda.part import MAX_BLOCKS, THREADS, Part, Points, ceil_div
from staticnet.codegen.cuda.statements import Writer, block, pack_width
from staticnet.codegen.kernel import Kernel, Let, Load, Statement, Store, turned_loads
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import compute_dtype
from staticnet.ir.index import Index, Symbol

TILE = 32  # of each axis of a map that reads across its inner one
MAX_TILES = 4  # buffers that go through shared memory, of which a block has 48 KiB


def map_parts(kernel: Kernel, writer: Writer) -> list[Part]:
    """The one part of a map."""
    if kernel.tiled:
        (loop,) = kernel.loops
        turned = turned_loads(loop.body, kernel.outer, loop.symbols[-1])
        return [_tiled(kernel, writer, turned[:MAX_TILES])]
    return [_line(kernel, writer)] if not kernel.outer else [_space(kernel, writer)]


def _blocks(size: int, width: int) -> int:
    return max(1, min(MAX_BLOCKS, ceil_div(size, width * THREADS)))


def _each(
    writer: Writer, variable: str, low: str, high: str, body: list[str], step: int
) -> list[str]:
    """A loop in which all threads of all blocks take turns, `step` elements at a time."""
    start = f"{writer.wide}block * {THREADS} + threadIdx.x"
    start = f"{low}({start}) * {step}" if step > 1 else f"{low}{start}"
    advance = f"{writer.wide}blocks * {THREADS * step}"
    head = f"{writer.index} {variable} = {start}; {variable} < {high}; {variable} += {advance}"
    return block(f"for ({head})", body)


def _line(kernel: Kernel, writer: Writer) -> Part:
    """A map whose space is one axis; its length is an argument."""
    (loop,) = kernel.loops
    (v,) = loop.symbols
    width = pack_width(loop.body, v, 8)
    one = writer.lines(loop.body)
    if width == 1:
        points = _points(kernel, v.text, width, one, loop.body)
        lines = _each(writer, v.text, "", "n", one, 1)
        return Part(tuple(lines), _blocks(v.extent, 1), n=v.extent, points=points)
    packs = f"n / {width} * {width}"
    pack = writer.pack(loop.body, v, width)
    lines = [
        *_each(writer, f"{v.text}_0", "", packs, pack, width),
        f"const {writer.index} {v.text} = {packs} + {writer.wide}block * {THREADS} + threadIdx.x;",
        *block(f"if ({v.text} < n)", one),  # fewer than a pack, and so no thread has two
    ]
    points = _points(kernel, f"{v.text}_0", width, pack, loop.body)
    return Part(tuple(lines), _blocks(v.extent, width), n=v.extent, points=points)


def _space(kernel: Kernel, writer: Writer) -> Part:
    (loop,) = kernel.loops
    (v,) = loop.symbols
    width = pack_width(loop.body, v, v.extent)
    inside = [
        *writer.positions((*kernel.outer, v), "o", width),
        *writer.pack(loop.body, v, width),
    ]
    lines = _each(writer, "o", "", str(kernel.size), inside, width)
    points = _points(kernel, "o", width, inside, loop.body)
    return Part(tuple(lines), _blocks(kernel.size, width), points=points)


def _points(
    kernel: Kernel, variable: str, width: int, lines: Sequence[str], body: Sequence[Statement]
) -> Points:
    axes = (*kernel.outer, *kernel.loops[0].symbols)
    numbers = {parameter.name: i for i, parameter in enumerate(kernel.parameters)}
    extents = [
        (numbers[s.buffer], (_last(s.at) + 1) * s.dtype.itemsize)
        for s in body
        if isinstance(s, Store)
    ]
    reads = [(numbers[s.buffer], s.at) for s in body if isinstance(s, Load)]
    return Points(
        variable, width, tuple(lines), tuple(s.text for s in axes),
        tuple(s.extent for s in axes), tuple(reads), tuple(extents),
    )  # fmt: skip


def _last(at: Index) -> int:
    """The largest that an index comes to."""
    return at.constant + sum(max(0, c) * (symbol.extent - 1) for symbol, c in at.terms)


def _tiled(kernel: Kernel, writer: Writer, turned: list[Load]) -> Part:
    """Tiles of the last two axes, read along one of them and used along the other."""
    (loop,) = kernel.loops
    (v,) = loop.symbols
    *others, u = kernel.outer
    tiles = [Symbol(f"{s.text}_tile", ceil_div(s.extent, TILE)) for s in (u, v)]
    body = tuple(
        Let(s.name, compute_dtype(s.dtype), f"{s.name}_tile[across][l]") if s in turned else s
        for s in loop.body
    )
    tile_lines = [
        f"__shared__ {c_type(compute_dtype(s.dtype))} {s.name}_tile[{TILE}][{TILE + 1}];"
        for s in turned
    ]
    fill = [line for s in turned for line in (
        writer.line(s), f"{s.name}_tile[l][across] = {s.name};"
    )]  # fmt: skip
    inside = [
        *writer.positions((*others, *tiles), "o"),
        "__syncthreads();",
        *_over_tile(writer, u, v, fill),
        "__syncthreads();",
        *_over_tile(writer, v, u, writer.lines(body)),
    ]
    count = math.prod(s.extent for s in (*others, *tiles))
    lines = [
        *tile_lines,
        f"const int across = threadIdx.x % {TILE}, down = threadIdx.x / {TILE};",
        *block(f"for ({writer.index} o = block; o < {count}; o += blocks)", inside),
    ]
    return Part(tuple(lines), min(count, MAX_BLOCKS))


def _over_tile(writer: Writer, along: Symbol, across: Symbol, body: list[str]) -> list[str]:
    """Neighbouring threads along one axis of a tile, and a loop over the other."""
    index = writer.index
    inner = [
        f"const {index} {across.text} = {across.text}_tile * {TILE} + l;",
        *block(f"if ({across.text} < {across.extent})", body),
    ]
    head = f"for (int l = down; l < {TILE}; l += {THREADS // TILE})"
    return [
        "{",
        f"  const {index} {along.text} = {along.text}_tile * {TILE} + across;",
        *(f"  {line}" for line in block(f"if ({along.text} < {along.extent})", block(head, inner))),
        "}",
    ]
