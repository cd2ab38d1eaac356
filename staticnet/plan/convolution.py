"""How the CPU cuts a convolution into bands, and the scratch memory that takes.

A thread copies a band of images into a box with its padding, where it stays in the second-level
cache while all outputs are computed from it. What is cut here is what `kernels/convolution.h` runs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from staticnet.ir.dim import size_of
from staticnet.ir.dtype import HALVES, DType, compute_dtype
from staticnet.spatial.convolution import (
    MAX_SPATIAL,
    ConvolutionInput,
    ConvolutionOp,
    ConvolutionWeight,
)

PANEL = 32  # outputs that are computed together; fewer where vectors are shorter
TALLEST = 12  # pixels of a strip
BOX = 1 << 16  # elements of a box: a quarter of a second-level cache
MOST_BOX = 1 << 18  # of one that holds several images
FEW_PIXELS = 192  # of a band, for which reading all weights would take longest
FLAT_WASTE = 16  # of so many pixels in a panel one may be missing
FEW_TO_SUM = (
    400  # pixels of a band of a large gradient of weights, which is read and written for it
)
LARGE_WEIGHT = 1 << 18  # elements of weights whose gradient does not stay in the cache
MOST_SUMS = 8  # parts that threads sum a small gradient of weights in
LONG_ROW = 16  # pixels, which fill a vector
WORTH_PLANES = 1.5  # times as much of vectors filled by pixels as by outputs
TURNED = 8  # channels that are turned together
PLANE_SUMS = 4  # parts that threads sum a gradient of weights in, whose vectors are of pixels
MOST_SUMMED = 3  # vectors of a tile that sums pixels
HIGHEST, HIGHEST_SUMMED = 6, 8  # outputs of a strip that meets vectors of pixels; in such a tile
TILE = 4  # pixels along each axis of a tile of Winograd's
POINTS = 36  # at which it is evaluated
BOX_OF_TILES = 1 << 17  # elements of a band's tiles at all points
FEW_TILES = 32  # of a band, for which reading all weights would take longest
FEW_PATCHES = 64  # pixels of all images for which weights are not packed
DEEP = 24  # channels of a box for the gradient of weights: few, so that what strips read is near
LEAST_COLUMN = 512  # elements of a kernel that are worth a column for each pixel
PATCHES_AT_ONCE = 16  # panels of elements of a kernel that rows of y pass
TASKS = 2  # for each thread, so that they end together
ALIGNED = 16  # elements
MANY = 1 << 40  # examples
Ints = tuple[int, ...]


@dataclass(frozen=True)
class Geometry:
    """The sizes of a convolution, axes that lack being last: x: [n, groups * inputs, *size]."""

    n: int
    groups: int
    inputs: int
    outputs: int
    size: Ints
    kernel: Ints
    out: Ints
    stride: Ints
    low: Ints
    dilation: Ints

    @property
    def taps(self) -> int:
        """How many elements a kernel has, of one channel."""
        return math.prod(self.kernel)


@dataclass(frozen=True)
class Cut:
    """Bands of `rows` of the first axis, or of whole `images`; how tasks and memory are cut.

    `splits` tasks share the panels of a band. `packed` elements are all threads', `room` are each
    thread's, of which `box` are the band's; a gradient of weights is added from `sums` parts, and
    has `lines` lines of pixels in a band. If its matrices are multiplied where they lie, so many
    panels are packed at a time: `flat`. If each group is `single`, panels are of groups. If it goes
    by `planes`, strips of so many outputs meet vectors of pixels; if by Winograd's `tiles`, a band
    has at most so many; if by `patches`, so many panels of them are packed at a time. So many
    elements of packed weights may be `held` from step to step, and are no scratch memory then.
    Other gradients of weights pack so many `panels` of y, and then so many `deep` channels of x.
    """

    rows: int
    images: int
    splits: int
    box: int
    room: int
    threads: int
    sums: int
    lines: int
    flat: int
    single: int
    packed: int
    planes: int = 0
    tiles: int = 0
    patches: int = 0
    held: int = 0
    panels: int = 1
    deep: int = 0

    @property
    def elements(self) -> int:
        """Of the scratch memory."""
        return self.packed + self.threads * self.room


def geometry(op: ConvolutionOp, groups: int, *shapes: Ints) -> Geometry:
    """The sizes of a convolution from the shapes of its operands and its result."""
    of = dict(zip(op.roles, shapes, strict=True))
    n, channels, size = op.apart("x", of["x"])
    outputs, _, kernel = op.apart("w", of["w"])
    _, _, out = op.apart("y", of["y"])
    return Geometry(
        n, groups, channels // groups, outputs // groups,
        _triple(size, 1), _triple(kernel, 1), _triple(out, 1),
        _triple(op.strides, 1), _triple(op.low, 0), _triple(op.dilations, 1),
    )  # fmt: skip


def cut(op: ConvolutionOp, g: Geometry, dtype: DType) -> Cut:
    """How a convolution that has elements is cut."""
    pieces = _cut(op, g, dtype)
    if op.weights != "held" or pieces.flat or pieces.planes:
        return pieces
    return replace(pieces, packed=0, held=pieces.packed)


def _cut(op: ConvolutionOp, g: Geometry, dtype: DType) -> Cut:
    if g.groups > 1 and g.inputs == g.outputs == 1 and not _by_long_rows(g, op):
        return _cut_singles(g, op, dtype)
    of_weight = isinstance(op, ConvolutionWeight)
    lies = _is_product(g) if of_weight else _is_flat(g)
    flat = op.layout == "first" and dtype not in HALVES and lies
    backward = isinstance(op, ConvolutionInput)
    if op.algorithm == "winograd":
        return _cut_tiles(g, backward, of_weight, op.weights == "held")
    if op.layout == "first" and dtype not in HALVES and _by_patches(g, op):
        return _cut_patches(g, op, dtype)
    if op.layout == "first" and not flat and _by_planes(g, op):
        return _cut_planes(g, op, backward, dtype)
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
    room = MOST_BOX + most + PANEL * (pixels + FEW_TO_SUM) + FEW_TO_SUM * pixels
    room += BOX
    if len(op.strides) == 2:  # it may go by tiles where sizes are known
        tiles = FEW_TILES + TALLEST + BOX_OF_TILES // (POINTS * PANEL) + size[-1] + out[-1]
        room += 2 * POINTS * tiles * (channels + outputs + PANEL)
    return (weights + _cores() * room) * compute_dtype(dtype).itemsize


def _cut_product(g: Geometry, backward: bool, dtype: DType) -> Cut:
    """Of a convolution, or if `backward` its gradient by the input."""
    depth, width = (g.outputs, g.inputs) if backward else (g.inputs, g.outputs)
    rows, images = _band(g, backward, depth, FEW_PIXELS)
    bands, pixels, box = _bands(g, backward, depth, rows, images)
    panels = -(-width // PANEL)
    tasks = bands * g.groups
    splits = min(panels, -(-TASKS * _cores() // tasks))
    room = _aligned(box) + _aligned(pixels * PANEL) + _aligned(g.taps * _slots(dtype))
    threads = min(_cores(), tasks * splits)
    packed = g.groups * g.taps * depth * panels * PANEL
    return Cut(rows, images, splits, _aligned(box), room, threads, 1, 0, 0, 0, packed)


def _cut_singles(g: Geometry, op: ConvolutionOp, dtype: DType) -> Cut:
    """Of one whose groups have one input and one output each: tasks are bands of panels."""
    panels, backward = -(-g.groups // PANEL), isinstance(op, ConvolutionInput)
    depth = min(g.groups, PANEL)
    rows, images = _band(g, backward, depth, FEW_PIXELS)
    bands, pixels, box = _bands(g, backward, depth, rows, images)
    of_part, box = panels * PANEL * g.taps, _aligned(box + PANEL)
    sums, lines, tasks = 1, 0, bands * panels
    if isinstance(op, ConvolutionWeight):
        sums = max(1, min(bands, MOST_SUMS, LARGE_WEIGHT // of_part))
        lines = (rows or images * g.out[0]) * (g.out[1] if g.out[2] > 1 else 1)
        tasks = sums * panels
    room = box + _aligned(pixels * PANEL) + _aligned((lines + g.taps) * _slots(dtype))
    threads = min(_cores(), tasks)
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
    return _aligned((math.prod(g.out) + 1) * _slots(dtype)) if math.prod(g.stride) > 1 else 0


def _cut_flat(g: Geometry, backward: bool, dtype: DType) -> Cut:
    """Of a flat one: panels are of pixels."""
    tasks, panels = g.n * g.groups, -(-math.prod(g.out) // PANEL)
    splits = min(panels, -(-TASKS * _cores() // tasks))
    depth, width = (g.outputs, g.inputs) if backward else (g.inputs, g.outputs)
    at_once = max(1, min(panels // splits, BOX // (depth * PANEL)))
    threads = min(_cores(), tasks * splits)
    packed = _aligned(g.groups * depth * (width + TALLEST))
    room = depth * PANEL * at_once + _places(g, dtype)
    return Cut(0, 1, splits, 0, room, threads, 1, 0, at_once, 0, packed)


def _by_patches(g: Geometry, op: ConvolutionOp) -> bool:
    """Whether weights are read, or written, as they lie: packing them would be most of it.

    So many of them need more scratch memory in any other way, which bounds what is symbolic.
    """
    many = g.outputs >= FEW_PATCHES and op.weights != "held"
    if isinstance(op, ConvolutionInput):
        many = many and g.inputs * g.taps >= LEAST_COLUMN
    return many and g.groups == 1 and g.n * math.prod(g.out) <= FEW_PATCHES


def _cut_patches(g: Geometry, op: ConvolutionOp, dtype: DType) -> Cut:
    """Of one of few pixels, by patches."""
    elements, pixels = g.taps * g.inputs, _aligned(g.n * math.prod(g.out))
    if isinstance(op, ConvolutionInput):
        return _cut_columns(g, pixels)
    if not isinstance(op, ConvolutionWeight):
        threads = min(_cores(), -(-g.outputs // TALLEST))
        return Cut(0, g.n, 1, 0, pixels, threads, 1, 0, 0, 0, elements * pixels, patches=1)
    panels = -(-elements // PANEL)
    tasks = min(panels, TASKS * _cores())
    at_once = min(PATCHES_AT_ONCE, panels // tasks)
    box = at_once * PANEL * pixels
    room = box + pixels + _aligned(g.n * _slots(dtype))
    return Cut(0, g.n, 1, box, room, min(_cores(), tasks), 1, 0, 0, 0, 0, patches=at_once)


def _cut_columns(g: Geometry, pixels: int) -> Cut:
    """Of a gradient by the input of few pixels: tasks are of some channels."""
    elements = PANEL * max(2, BOX // (g.outputs * PANEL))
    channels = min(g.inputs, max(1, elements // g.taps))
    columns = -(-channels * g.taps // PANEL) * PANEL
    box, room = columns * g.outputs, PANEL * (pixels + TALLEST) + columns * pixels
    threads = min(_cores(), -(-g.inputs // channels))
    packed = (pixels + TALLEST) * g.outputs
    return Cut(
        0, g.n, 1, box, box + room, threads, 1, 0, 0, 0, _aligned(packed), patches=channels
    )  # fmt: skip


def _by_planes(g: Geometry, op: ConvolutionOp) -> bool:
    """Whether vectors are filled better by rows of pixels than panels are by outputs.

    Few channels are slow to turn, so they need not be filled that much better.
    """
    backward = isinstance(op, ConvolutionInput)
    width, depth = (g.inputs, g.outputs) if backward else (g.outputs, g.inputs)
    count, _ = _pixel_rows(g, backward)
    by_outputs = width / (-(-width // PANEL) * PANEL)
    by_pixels = count / _aligned(count)
    slow = depth < TURNED and not isinstance(op, ConvolutionWeight)
    return (
        math.prod(g.stride) == 1
        and by_pixels >= (1 if slow else WORTH_PLANES) * by_outputs
        and _box(g, backward, depth, 1) <= BOX
    )


def _by_long_rows(g: Geometry, op: ConvolutionOp) -> bool:
    """Whether a depthwise one goes by planes: of short rows, each channel's beginning is most."""
    backward = isinstance(op, ConvolutionInput)
    if op.layout == "last" or isinstance(op, ConvolutionWeight):
        return False
    return _pixel_rows(g, backward)[0] >= LONG_ROW and _by_planes(g, op)


def _pixel_rows(g: Geometry, backward: bool) -> tuple[int, int]:
    """How many pixels of a result lie together in a box's plane; how many such rows one has."""
    result = g.size if backward else g.out
    boxes = [_box_axis(g, backward, axis, n) for axis, n in enumerate(result)]
    axis = max((axis for axis in range(1, MAX_SPATIAL) if boxes[axis] > 1), default=0)
    return result[axis], math.prod(result[1:axis])


def _cut_planes(g: Geometry, op: ConvolutionOp, backward: bool, dtype: DType) -> Cut:
    """Of one whose vectors are of pixels."""
    depth, width = (g.outputs, g.inputs) if backward else (g.inputs, g.outputs)
    rows, images = _band(g, backward, depth, FEW_PIXELS)
    bands, pixels, box = _bands(g, backward, depth, rows, images)
    high = _strip_of(width, HIGHEST_SUMMED if isinstance(op, ConvolutionWeight) else HIGHEST)
    elements, outputs = g.taps * depth, -(-width // high) * high
    box = _aligned(box + ALIGNED)
    room, sums, lines = box + _aligned(elements * _slots(dtype)), 1, 0
    packed = g.groups * outputs * elements
    if isinstance(op, ConvolutionWeight):
        count, _ = _pixel_rows(g, backward)
        many = pixels // count
        sums, lines = min(bands, PLANE_SUMS), many * (count // 2 + 1)
        packed = sums * g.groups * width * elements
        strip, sum_of_vectors = high * many * _aligned(count), _sum_of_vectors(elements, outputs)
        room = box + _aligned((elements + lines) * _slots(dtype)) + strip + sum_of_vectors
    threads = min(_cores(), g.groups * (sums if lines else bands))
    return Cut(rows, images, 1, box, room, threads, sums, lines, 0, 0, _aligned(packed), high)


def _sum_of_vectors(elements: int, outputs: int) -> int:
    return outputs * (elements + MOST_SUMMED - 1) * ALIGNED


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
    splits = min(panels, -(-(1 if of_weight else TASKS) * _cores() // tasks))
    room = _aligned(max(box, g.taps * depth * PANEL)) + each * high * result[1] * PANEL
    room += POINTS * (tiles * depth + ALIGNED + (tiles + TALLEST) * PANEL)
    threads = min(_cores(), max(tasks * splits, panels))
    packed = (threads if bands == 1 and not held else sums * panels) * of_panel
    return Cut(
        rows, images, splits, _aligned(box), room, threads, sums, 0, 0, 0, packed, 0, tiles
    )  # fmt: skip


def _band_of_tiles(n: int, result: Ints, depth: int) -> tuple[int, int]:
    """Rows or whole images of a band of Winograd's tiles."""
    most = max(FEW_TILES, BOX_OF_TILES // (POINTS * depth))
    down, across = -(-result[0] // TILE), -(-result[1] // TILE)
    if down * across <= most:
        return 0, min(n, most // (down * across))
    lines = max(1, most // across)
    return TILE * -(-down // -(-down // lines)), 0


def _strip_of(width: int, highest: int) -> int:
    """The height of strips of outputs that wastes least."""
    return min(range(highest, 0, -1), key=lambda high: -(-width // high) * (high + 1))


def _cut_sum(g: Geometry, dtype: DType, flat: bool) -> Cut:
    """Of a convolution's gradient by the weights, in bands that neither layout nor dtype change."""
    panels = -(-g.outputs // PANEL)
    weights = g.groups * g.taps * g.inputs * panels * PANEL
    few = FEW_TO_SUM if weights > LARGE_WEIGHT else FEW_PIXELS
    deep = min(g.inputs, DEEP)
    rows, images = _band(g, False, deep, few)
    bands, pixels, box = _bands(g, False, deep, rows, images)
    box, places = _aligned(box), 0
    if flat:
        deep, places = g.inputs, _places(g, dtype)
        box = _aligned(g.inputs * pixels) if places else 0
    sums = max(1, min(bands, MOST_SUMS, LARGE_WEIGHT // weights))
    splits = min(panels, -(-_cores() // (sums * g.groups)))
    lines = (rows or images * g.out[0]) * (g.out[1] if g.out[2] > 1 else 1)
    of_panel = pixels * PANEL
    of_y = min(-(-panels // splits) * of_panel, max(of_panel, BOX))
    tables = _aligned((lines + g.taps * deep) * _slots(dtype)) + places
    threads = min(_cores(), max(sums * g.groups * splits, g.groups * panels))
    return Cut(
        rows, images, splits, box, box + _aligned(of_y) + tables, threads, sums, lines, int(flat),
        0, sums * weights, panels=of_y // of_panel, deep=deep,
    )  # fmt: skip


def _band(g: Geometry, backward: bool, depth: int, few: int) -> tuple[int, int]:
    """Rows or whole images of a band, of as `few` pixels at least if whole images are small."""
    result = g.size if backward else g.out
    pixels = math.prod(result)
    whole = _box(g, backward, depth, result[0])
    if whole <= BOX or pixels < few:
        return 0, max(1, min(g.n, -(-few // pixels), MOST_BOX // whole))
    rows = result[0]
    while rows > 1 and _box(g, backward, depth, rows) > BOX:
        rows -= 1
    return -(-result[0] // -(-result[0] // rows)), 0


def _bands(g: Geometry, backward: bool, depth: int, rows: int, images: int) -> tuple[int, int, int]:
    """How many bands there are; pixels of one, and elements of its box."""
    result = g.size if backward else g.out
    high = rows or result[0]
    bands = g.n * -(-result[0] // rows) if rows else -(-g.n // images)
    each = max(1, images)
    return bands, each * high * result[1] * result[2], each * _box(g, backward, depth, high)


def _box(g: Geometry, backward: bool, depth: int, rows: int) -> int:
    """Elements of the box of so many rows of the result."""
    result = (rows, *(g.size if backward else g.out)[1:])
    return depth * math.prod(_box_axis(g, backward, axis, n) for axis, n in enumerate(result))


def _box_axis(g: Geometry, backward: bool, axis: int, n: int) -> int:
    """Pixels of a source that n of the result need, wherever they begin."""
    stride, far = g.stride[axis], (g.kernel[axis] - 1) * g.dilation[axis]
    if backward:
        return (n - 1 + stride - 1) // stride + far // stride + 1
    return ((n - 1) * stride + far) // (stride if far == 0 else 1) + 1


def _triple(values: Sequence[int], missing: int) -> Ints:
    return tuple(values) + (missing,) * (MAX_SPATIAL - len(values))


def _aligned(elements: int) -> int:
    return -(-elements // ALIGNED) * ALIGNED


def _slots(dtype: DType) -> int:
    """How many elements have the bytes of an address."""
    return 8 // compute_dtype(dtype).itemsize


def _cores() -> int:
    return os.cpu_count() or 1
