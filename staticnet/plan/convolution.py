"""How the CPU cuts a convolution, and the scratch memory that takes.

What is cut here is what `kernels/convolution.h` runs: see `boxes` for what a band is, and `planes`
for those that go another way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from staticnet.ir.dim import size_of
from staticnet.ir.dtype import HALVES, DType, compute_dtype
from staticnet.plan import boxes, planes
from staticnet.plan.boxes import (
    ALIGNED,
    FEW_PIXELS,
    PANEL,
    TALLEST,
    TASKS,
    Cut,
    Geometry,
    Ints,
    aligned,
    band_sizes,
    cores,
    cut_in_bands,
    slots,
    triple,
)
from staticnet.spatial.convolution import ConvolutionInput, ConvolutionOp, ConvolutionWeight

FLAT_WASTE = 16  # of so many pixels in a panel one may be missing
FEW_TO_SUM = (
    400  # pixels of a band of a large gradient of weights, which is read and written for it
)
LARGE_WEIGHT = 1 << 18  # elements of weights whose gradient does not stay in the cache
MOST_SUMS = 8  # parts that threads sum a small gradient of weights in
TILE = 4  # pixels along each axis of a tile of Winograd's
POINTS = 36  # at which it is evaluated
BOX_OF_TILES = 1 << 17  # elements of a band's tiles at all points
FEW_TILES = 32  # of a band, for which reading all weights would take longest
DEEP = 24  # channels of a box for the gradient of weights: few, so that what strips read is near
MANY = 1 << 40  # examples


def geometry(op: ConvolutionOp, groups: int, *shapes: Ints) -> Geometry:
    """The sizes of a convolution from the shapes of its operands and its result."""
    of = dict(zip(op.roles, shapes, strict=True))
    n, channels, size = op.apart("x", of["x"])
    outputs, _, kernel = op.apart("w", of["w"])
    _, _, out = op.apart("y", of["y"])
    return Geometry(
        n, groups, channels // groups, outputs // groups,
        triple(size, 1), triple(kernel, 1), triple(out, 1),
        triple(op.strides, 1), triple(op.low, 0), triple(op.dilations, 1),
    )  # fmt: skip


def cut(op: ConvolutionOp, g: Geometry, dtype: DType) -> Cut:
    """How a convolution that has elements is cut."""
    pieces = _cut(op, g, dtype)
    if op.weights != "held" or pieces.flat or pieces.planes:
        return pieces
    return replace(pieces, packed=0, held=pieces.packed)


def _cut(op: ConvolutionOp, g: Geometry, dtype: DType) -> Cut:
    if g.groups > 1 and g.inputs == g.outputs == 1 and not planes.by_long_rows(g, op):
        return _cut_singles(g, op, dtype)
    of_weight = isinstance(op, ConvolutionWeight)
    lies = _is_product(g) if of_weight else _is_flat(g)
    flat = op.layout == "first" and dtype not in HALVES and lies
    backward = isinstance(op, ConvolutionInput)
    if op.algorithm == "winograd":
        return _cut_tiles(g, backward, of_weight, op.weights == "held")
    if op.layout == "first" and dtype not in HALVES and planes.by_patches(g, op):
        return planes.cut_patches(g, op, dtype)
    if op.layout == "first" and not flat and planes.by_planes(g, op):
        return planes.cut_planes(g, op, backward, dtype)
    if of_weight:
        return _cut_sum(g, dtype, flat)
    return _cut_flat(g, backward, dtype) if flat else _cut_product(g, backward, dtype)


def convolution_bytes(op: ConvolutionOp, groups: int, shapes: Sequence[Ints], dtype: DType) -> int:
    """The scratch memory's bytes of a convolution of these operands and result."""
    if any(0 in shape for shape in shapes):
        return 0
    itemsize = compute_dtype(dtype).itemsize
    return cut(op, geometry(op, groups, *shapes), dtype).elements * itemsize


def most_bytes(op: ConvolutionOp, groups: Any, shapes: Sequence[Any], dtype: DType) -> Any:
    """A bound of the scratch memory's bytes where dims are symbolic."""
    known = [[isinstance(dim, int) for dim in shape] for shape in (*shapes, (groups,))]
    roles = zip((*op.roles, "groups"), known, strict=True)
    if all(all(dims[role in "xy" :]) for role, dims in roles):  # all but the number of examples
        many = [
            (MANY, *shape[1:]) if role in "xy" else shape
            for role, shape in zip(op.roles, shapes, strict=True)
        ]
        return convolution_bytes(op, groups, many, dtype)
    of = dict(zip(op.roles, shapes, strict=True))
    (_, channels, size), (_, outputs, out) = op.apart("x", of["x"]), op.apart("y", of["y"])
    _, _, kernel = op.apart("w", of["w"])
    pixels = size_of(size) + size_of(out) + 1
    most = (channels + outputs) * pixels * size_of(kernel) * math.prod(op.dilations)
    weights = MOST_SUMS * (size_of(kernel) + 1) * (channels + PANEL) * (outputs + PANEL)
    room = boxes.MOST_BOX + most + PANEL * (pixels + FEW_TO_SUM) + FEW_TO_SUM * pixels
    room += boxes.BOX
    if len(op.strides) == 2:  # it may go by tiles where sizes are known
        tiles = FEW_TILES + TALLEST + BOX_OF_TILES // (POINTS * PANEL) + size[-1] + out[-1]
        room += 2 * POINTS * tiles * (channels + outputs + PANEL)
    return (weights + cores() * room) * compute_dtype(dtype).itemsize


def _cut_product(g: Geometry, backward: bool, dtype: DType) -> Cut:
    """Of a convolution, or if `backward` its gradient by the input."""
    depth, width = (g.outputs, g.inputs) if backward else (g.inputs, g.outputs)
    rows, images = cut_in_bands(g, backward, depth, FEW_PIXELS)
    bands, pixels, box = band_sizes(g, backward, depth, rows, images)
    panels = -(-width // PANEL)
    tasks = bands * g.groups
    splits = min(panels, -(-TASKS * cores() // tasks))
    room = aligned(box) + aligned(pixels * PANEL) + aligned(g.taps * slots(dtype))
    threads = min(cores(), tasks * splits)
    packed = g.groups * g.taps * depth * panels * PANEL
    return Cut(rows, images, splits, aligned(box), room, threads, 1, 0, 0, 0, packed)


def _cut_singles(g: Geometry, op: ConvolutionOp, dtype: DType) -> Cut:
    """Of one whose groups have one input and one output each: tasks are bands of panels."""
    panels, backward = -(-g.groups // PANEL), isinstance(op, ConvolutionInput)
    depth = min(g.groups, PANEL)
    rows, images = cut_in_bands(g, backward, depth, FEW_PIXELS)
    bands, pixels, box = band_sizes(g, backward, depth, rows, images)
    of_part, box = panels * PANEL * g.taps, aligned(box + PANEL)
    sums, lines, tasks = 1, 0, bands * panels
    if isinstance(op, ConvolutionWeight):
        sums = max(1, min(bands, MOST_SUMS, LARGE_WEIGHT // of_part))
        lines = (rows or images * g.out[0]) * (g.out[1] if g.out[2] > 1 else 1)
        tasks = sums * panels
    room = box + aligned(pixels * PANEL) + aligned((lines + g.taps) * slots(dtype))
    threads = min(cores(), tasks)
    return Cut(rows, images, 1, box, room, threads, sums, lines, 0, 1, sums * of_part)


def _is_product(g: Geometry) -> bool:
    """Whether it is one of matrices, whose pixels are those of x or some of them."""
    if g.taps > 1 or any(g.low):
        return False
    lie = zip(g.size, g.out, g.stride, strict=True)
    return all((out - 1) * step < size for size, out, step in lie)


def _is_flat(g: Geometry) -> bool:
    """Whether it is such a product, of enough pixels to be cut into panels."""
    pixels, half = math.prod(g.out), PANEL // 2
    return _is_product(g) and (-pixels % half) * FLAT_WASTE <= pixels


def _places(g: Geometry, dtype: DType) -> int:
    """Elements of a table of where the pixels lie that a result has, if strides part them."""
    return aligned((math.prod(g.out) + 1) * slots(dtype)) if math.prod(g.stride) > 1 else 0


def _cut_flat(g: Geometry, backward: bool, dtype: DType) -> Cut:
    """Of a flat one: panels are of pixels."""
    tasks, panels = g.n * g.groups, -(-math.prod(g.out) // PANEL)
    splits = min(panels, -(-TASKS * cores() // tasks))
    depth, width = (g.outputs, g.inputs) if backward else (g.inputs, g.outputs)
    at_once = max(1, min(panels // splits, boxes.BOX // (depth * PANEL)))
    threads = min(cores(), tasks * splits)
    packed = aligned(g.groups * depth * (width + TALLEST))
    room = depth * PANEL * at_once + _places(g, dtype)
    return Cut(0, 1, splits, 0, room, threads, 1, 0, at_once, 0, packed)


def _cut_tiles(g: Geometry, backward: bool, of_weight: bool, held: bool) -> Cut:
    """Of Winograd's algorithm: bands of as many tiles as stay near while panels of weights pass."""
    depth, width = (g.outputs, g.inputs) if backward else (g.inputs, g.outputs)
    result = g.size if backward else g.out
    rows, images = _band_of_tiles(g.n, result, depth)
    high, each = rows or result[0], max(1, images)
    down, across = -(-high // TILE), -(-result[1] // TILE)
    tiles, panels = each * down * across, -(-width // PANEL)
    bands = g.n * -(-result[0] // rows) if rows else -(-g.n // images)
    box = each * depth * (down * TILE + 2) * (across * TILE + 2)
    of_panel = POINTS * (depth * PANEL + ALIGNED)
    most = 2 * LARGE_WEIGHT // (panels * of_panel)
    sums = max(1, min(bands, MOST_SUMS, most)) if of_weight else 1
    tasks = sums if of_weight else bands
    splits = min(panels, -(-(1 if of_weight else TASKS) * cores() // tasks))
    room = aligned(max(box, g.taps * depth * PANEL)) + each * high * result[1] * PANEL
    room += POINTS * (tiles * depth + ALIGNED + (tiles + TALLEST) * PANEL)
    threads = min(cores(), max(tasks * splits, panels))
    packed = (threads if bands == 1 and not held else sums * panels) * of_panel
    return Cut(
        rows, images, splits, aligned(box), room, threads, sums, 0, 0, 0, packed, 0, tiles
    )  # fmt: skip


def _band_of_tiles(n: int, result: Ints, depth: int) -> tuple[int, int]:
    """Rows or whole images of a band of Winograd's tiles."""
    most = max(FEW_TILES, BOX_OF_TILES // (POINTS * depth))
    down, across = -(-result[0] // TILE), -(-result[1] // TILE)
    if down * across <= most:
        return 0, min(n, most // (down * across))
    lines = max(1, most // across)
    return TILE * -(-down // -(-down // lines)), 0


def _cut_sum(g: Geometry, dtype: DType, flat: bool) -> Cut:
    """Of a convolution's gradient by the weights, in bands that neither layout nor dtype change."""
    panels = -(-g.outputs // PANEL)
    weights = g.groups * g.taps * g.inputs * panels * PANEL
    few = FEW_TO_SUM if weights > LARGE_WEIGHT else FEW_PIXELS
    deep = min(g.inputs, DEEP)
    rows, images = cut_in_bands(g, False, deep, few)
    bands, pixels, box = band_sizes(g, False, deep, rows, images)
    box, places = aligned(box), 0
    if flat:
        deep, places = g.inputs, _places(g, dtype)
        box = aligned(g.inputs * pixels) if places else 0
    sums = max(1, min(bands, MOST_SUMS, LARGE_WEIGHT // weights))
    splits = min(panels, -(-cores() // (sums * g.groups)))
    lines = (rows or images * g.out[0]) * (g.out[1] if g.out[2] > 1 else 1)
    of_panel = pixels * PANEL
    of_y = min(-(-panels // splits) * of_panel, max(of_panel, boxes.BOX))
    tables = aligned((lines + g.taps * deep) * slots(dtype)) + places
    threads = min(cores(), max(sums * g.groups * splits, g.groups * panels))
    return Cut(
        rows, images, splits, box, box + aligned(of_y) + tables, threads, sums, lines, int(flat),
        0, sums * weights, panels=of_y // of_panel, deep=deep,
    )  # fmt: skip
