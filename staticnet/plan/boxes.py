"""The sizes of a convolution on the CPU, the bands that it is cut into, and their boxes.

A thread copies a band of images into a box with its padding, where it stays in the second-level
cache while all outputs are computed from it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from staticnet.ir.dtype import DType, compute_dtype
from staticnet.spatial.convolution import MAX_SPATIAL

PANEL = 32  # outputs that are computed together; fewer where vectors are shorter
TALLEST = 12  # pixels of a strip
BOX = 1 << 16  # elements of a box: a quarter of a second-level cache
MOST_BOX = 1 << 18  # of one that holds several images
FEW_PIXELS = 192  # of a band, for which reading all weights would take longest
TASKS = 2  # for each thread, so that they end together
ALIGNED = 16  # elements
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


def cut_in_bands(g: Geometry, backward: bool, depth: int, few: int) -> tuple[int, int]:
    """Rows or whole images of a band, of as `few` pixels at least if whole images are small."""
    result = g.size if backward else g.out
    pixels = math.prod(result)
    whole = box_elements(g, backward, depth, result[0])
    if whole <= BOX or pixels < few:
        return 0, max(1, min(g.n, -(-few // pixels), MOST_BOX // whole))
    rows = result[0]
    while rows > 1 and box_elements(g, backward, depth, rows) > BOX:
        rows -= 1
    return -(-result[0] // -(-result[0] // rows)), 0


def band_sizes(
    g: Geometry, backward: bool, depth: int, rows: int, images: int
) -> tuple[int, int, int]:
    """How many bands there are; pixels of one, and elements of its box."""
    result = g.size if backward else g.out
    high = rows or result[0]
    bands = g.n * -(-result[0] // rows) if rows else -(-g.n // images)
    each = max(1, images)
    return bands, each * high * result[1] * result[2], each * box_elements(g, backward, depth, high)


def box_elements(g: Geometry, backward: bool, depth: int, rows: int) -> int:
    """Elements of the box of so many rows of the result."""
    result = (rows, *(g.size if backward else g.out)[1:])
    return depth * math.prod(box_axis(g, backward, axis, n) for axis, n in enumerate(result))


def box_axis(g: Geometry, backward: bool, axis: int, n: int) -> int:
    """Pixels of a source that n of the result need, wherever they begin."""
    stride, far = g.stride[axis], (g.kernel[axis] - 1) * g.dilation[axis]
    if backward:
        return (n - 1 + stride - 1) // stride + far // stride + 1
    return ((n - 1) * stride + far) // (stride if far == 0 else 1) + 1


def triple(values: Sequence[int], missing: int) -> Ints:
    """The values of three axes; those of axes that lack come last."""
    return tuple(values) + (missing,) * (MAX_SPATIAL - len(values))


def aligned(elements: int) -> int:
    """The elements of so many, up to where vectors may begin."""
    return -(-elements // ALIGNED) * ALIGNED


def slots(dtype: DType) -> int:
    """How many elements have the bytes of an address."""
    return 8 // compute_dtype(dtype).itemsize


def cores() -> int:
    """Threads that there may be."""
    return os.cpu_count() or 1
