"""Cuts of convolutions on the CPU whose vectors are of pixels, or whose weights stay as they lie.

Of few outputs panels would be nearly empty: vectors are of pixels then, in planes. Of few pixels,
to pack the weights would be most of the time: patches are written instead.
"""

from __future__ import annotations

import math

from staticnet.ir.dtype import DType
from staticnet.plan import boxes
from staticnet.plan.boxes import (
    ALIGNED,
    FEW_PIXELS,
    PANEL,
    TALLEST,
    TASKS,
    Cut,
    Geometry,
    aligned,
    band_sizes,
    box_axis,
    box_elements,
    cores,
    cut_in_bands,
    slots,
)
from staticnet.spatial.convolution import (
    MAX_SPATIAL,
    ConvolutionInput,
    ConvolutionOp,
    ConvolutionWeight,
)

LONG_ROW = 16  # pixels, which fill a vector
WORTH_PLANES = 1.5  # times as much of vectors filled by pixels as by outputs
TURNED = 8  # channels that are turned together
PLANE_SUMS = 4  # parts that threads sum a gradient of weights in, whose vectors are of pixels
MOST_SUMMED = 3  # vectors of a tile that sums pixels
HIGHEST, HIGHEST_SUMMED = 6, 8  # outputs of a strip that meets vectors of pixels; in such a tile
FEW_PATCHES = 64  # pixels of all images for which weights are not packed
LEAST_COLUMN = 512  # elements of a kernel that are worth a column for each pixel
PATCHES_AT_ONCE = 16  # panels of elements of a kernel that rows of y pass


def by_patches(g: Geometry, op: ConvolutionOp) -> bool:
    """Whether weights are read, or written, as they lie: packing them would be most of it.

    So many of them need more scratch memory in any other way, which bounds what is symbolic.
    """
    many = g.outputs >= FEW_PATCHES and op.weights != "held"
    if isinstance(op, ConvolutionInput):
        many = many and g.inputs * g.taps >= LEAST_COLUMN
    return many and g.groups == 1 and g.n * math.prod(g.out) <= FEW_PATCHES


def cut_patches(g: Geometry, op: ConvolutionOp, dtype: DType) -> Cut:
    """Of one of few pixels, by patches."""
    elements, pixels = g.taps * g.inputs, aligned(g.n * math.prod(g.out))
    if isinstance(op, ConvolutionInput):
        return _cut_columns(g, pixels)
    if not isinstance(op, ConvolutionWeight):
        threads = min(cores(), -(-g.outputs // TALLEST))
        return Cut(0, g.n, 1, 0, pixels, threads, 1, 0, 0, 0, elements * pixels, patches=1)
    panels = -(-elements // PANEL)
    tasks = min(panels, TASKS * cores())
    at_once = min(PATCHES_AT_ONCE, panels // tasks)
    box = at_once * PANEL * pixels
    room = box + pixels + aligned(g.n * slots(dtype))
    return Cut(0, g.n, 1, box, room, min(cores(), tasks), 1, 0, 0, 0, 0, patches=at_once)


def _cut_columns(g: Geometry, pixels: int) -> Cut:
    """Of a gradient by the input of few pixels: tasks are of some channels."""
    elements = PANEL * max(2, boxes.BOX // (g.outputs * PANEL))
    channels = min(g.inputs, max(1, elements // g.taps))
    columns = -(-channels * g.taps // PANEL) * PANEL
    box, room = columns * g.outputs, PANEL * (pixels + TALLEST) + columns * pixels
    threads = min(cores(), -(-g.inputs // channels))
    packed = (pixels + TALLEST) * g.outputs
    return Cut(
        0, g.n, 1, box, box + room, threads, 1, 0, 0, 0, aligned(packed), patches=channels
    )  # fmt: skip


def by_planes(g: Geometry, op: ConvolutionOp) -> bool:
    """Whether vectors are filled better by rows of pixels than panels are by outputs.

    Few channels are slow to turn, so they need not be filled that much better. What lies apart in a
    result is slower to write than half a panel.
    """
    backward = isinstance(op, ConvolutionInput)
    width, depth = (g.inputs, g.outputs) if backward else (g.outputs, g.inputs)
    count, _ = _pixel_rows(g, backward)
    apart = math.prod(g.stride) > 1
    panel = ALIGNED if apart and width <= ALIGNED else PANEL
    by_outputs = width / (-(-width // panel) * panel)
    by_pixels = count / aligned(count)
    slow = depth < TURNED and not isinstance(op, ConvolutionWeight)
    return (
        (backward or not apart)
        and by_pixels >= (1 if slow else WORTH_PLANES) * by_outputs
        and box_elements(g, backward, depth, 1) <= boxes.BOX
    )


def by_long_rows(g: Geometry, op: ConvolutionOp) -> bool:
    """Whether a depthwise one goes by planes: of short rows, each channel's beginning is most."""
    backward = isinstance(op, ConvolutionInput)
    if op.layout == "last" or isinstance(op, ConvolutionWeight) or math.prod(g.stride) > 1:
        return False
    return _pixel_rows(g, backward)[0] >= LONG_ROW and by_planes(g, op)


def _pixel_rows(g: Geometry, backward: bool) -> tuple[int, int]:
    """How many pixels of a result lie together in a box's plane; how many such rows one has.

    Of a gradient by the input of strides, those of a remainder that has most.
    """
    result = g.size if backward else g.out
    boxes = [box_axis(g, backward, axis, n) for axis, n in enumerate(result)]
    axis = max((axis for axis in range(1, MAX_SPATIAL) if boxes[axis] > 1), default=0)
    stride = g.stride[axis] if backward else 1
    return -(-result[axis] // stride), math.prod(result[1:axis])


def cut_planes(g: Geometry, op: ConvolutionOp, backward: bool, dtype: DType) -> Cut:
    """Of one whose vectors are of pixels."""
    depth, width = (g.outputs, g.inputs) if backward else (g.inputs, g.outputs)
    rows, images = cut_in_bands(g, backward, depth, FEW_PIXELS)
    bands, pixels, box = band_sizes(g, backward, depth, rows, images)
    high = _strip_of(width, HIGHEST_SUMMED if isinstance(op, ConvolutionWeight) else HIGHEST)
    elements, outputs = g.taps * depth, -(-width // high) * high
    box = aligned(box + ALIGNED)
    room, sums, lines = box + aligned(elements * slots(dtype)), 1, 0
    packed = g.groups * outputs * elements
    if isinstance(op, ConvolutionWeight):
        count, _ = _pixel_rows(g, backward)
        many = pixels // count
        sums, lines = min(bands, PLANE_SUMS), many * (count // 2 + 1)
        packed = sums * g.groups * width * elements
        strip, sum_of_vectors = high * many * aligned(count), _sum_of_vectors(elements, outputs)
        room = box + aligned((elements + lines) * slots(dtype)) + strip + sum_of_vectors
    threads = min(cores(), g.groups * (sums if lines else bands))
    return Cut(rows, images, 1, box, room, threads, sums, lines, 0, 0, aligned(packed), high)


def _sum_of_vectors(elements: int, outputs: int) -> int:
    return outputs * (elements + MOST_SUMMED - 1) * ALIGNED


def _strip_of(width: int, highest: int) -> int:
    """The height of strips of outputs that wastes least."""
    return min(range(highest, 0, -1), key=lambda high: -(-width // high) * (high + 1))
