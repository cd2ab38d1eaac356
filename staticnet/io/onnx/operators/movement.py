"""Elements in other places: transposes, slices, gathers and scatters."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.registry import operator
from staticnet.ir.dim import Dim, size_of
from staticnet.nn import functional as F


@operator("Transpose")
def transpose(call: Call, x: Any) -> Any:
    """Axes in another order; the last first, unless `perm` says so."""
    perm = call.ints("perm")
    return sn.permute_dims(x, tuple(reversed(range(x.ndim))) if perm is None else tuple(perm))


@operator("Concat")
def concat(call: Call, *xs: Any) -> Any:
    """The operands one after the other along an axis."""
    return sn.concat(list(xs), axis=call.axis(xs[0].ndim, default=1))


@operator("Split")
def split(call: Call, x: Any, sizes: Any = None) -> Any:
    """Parts along an axis: of given lengths, or as many as there are results."""
    axis = call.axis(x.ndim, default=0)
    lengths = call.ints("split") if sizes is None else call.sizes(sizes, "the lengths")
    if lengths is None:
        count, total = call.integer("num_outputs") or call.outputs, x.shape[axis]
        call.limit(count, "the number of parts", 1 << 16)
        length = -(-total // count) if isinstance(total, int) else total // count
        lengths = [length] * (count - 1)
        lengths.append(total - length * (count - 1))
    return tuple(sn.split(x, lengths, axis=axis))


@operator("Slice")
def slice_attributes(call: Call, x: Any) -> Any:
    """A part of x, by starts and ends."""
    starts, ends = call.ints("starts"), call.ints("ends")
    return _sliced(call, x, starts, ends, call.ints("axes"), None)


@operator("Slice", since=10)
def slice_(call: Call, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    """A part of x, by starts, ends and steps that are operands."""
    return _sliced(
        call, x, call.sizes(starts, "the starts"), call.sizes(ends, "the ends"),
        None if axes is None else call.sizes(axes, "the axes"),
        None if steps is None else call.sizes(steps, "the steps"),
    )  # fmt: skip


def _sliced(call: Call, x: Any, starts: Any, ends: Any, axes: Any, steps: Any) -> Any:
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        call.fail(f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes, {len(steps)} steps")
    key: list[Any] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = call.place(axis, x.ndim)
        key[at] = _bounds(call, start, end, step, x.shape[at])
    return x[tuple(key)] if key else x


def _bounds(call: Call, start: Any, end: Any, step: Any, dim: Any) -> slice:
    """A slice with ends that lie in a dimension; a huge end is the dimension's own."""
    if not isinstance(step, int) or step == 0:
        call.fail(f"the step {step} is 0 or not known")
    if isinstance(dim, int) and not isinstance(start, Dim) and not isinstance(end, Dim):
        if step > 0:
            first, last = (min(max(v + dim if v < 0 else v, 0), dim) for v in (start, end))
            return slice(first, max(first, last), step)
        first = min(max(start + dim if start < 0 else start, -1), dim - 1)
        last = min(max(end + dim if end < 0 else end, -1), dim - 1)
        return slice(first, None if last < 0 else last, step) if first >= 0 else slice(0, 0)
    far = 2**31 - 1
    first = (
        None if isinstance(start, int) and (start == 0 or start >= far or start < -far) else start
    )
    last = None if (isinstance(end, int) and (end >= far or end < -far)) or end == dim else end
    return slice(first, last, step)


@operator("Gather")
def gather(call: Call, x: Any, indices: Any) -> Any:
    """x's slices at the indices, along an axis."""
    return sn.take(x, indices, axis=call.axis(x.ndim))


@operator("GatherElements")
def gather_elements(call: Call, x: Any, indices: Any) -> Any:
    """x[.., indices[.., i, ..], ..]: an element for each index."""
    axis = call.axis(x.ndim)
    if indices.ndim != x.ndim:
        call.fail(f"the indices must have {x.ndim} axes, not {indices.ndim}")
    part = tuple(
        slice(None) if i == axis or n == d else slice(0, n)
        for i, (n, d) in enumerate(zip(indices.shape, x.shape, strict=True))
    )
    return sn.take_along_axis(x[part], indices, axis=axis)


@operator("GatherND")
def gather_nd(call: Call, x: Any, indices: Any) -> Any:
    """x[indices[s, 0], indices[s, 1], …], for each of the first `batch_dims` axes."""
    batch = call.integer("batch_dims") or 0
    if batch == 0:
        return sn.gather(x, indices)
    lead = size_of(x.shape[:batch])
    rows = sn.reshape(x, (lead, *x.shape[batch:]))
    places = sn.reshape(indices, (lead, *indices.shape[batch:]))
    own = sn.reshape(sn.arange(lead), (lead, *(1,) * (places.ndim - 1)))
    own = sn.broadcast_to(own, (*places.shape[:-1], 1))
    y = sn.gather(rows, sn.concat([sn.astype(own, places.dtype), places], axis=-1))
    return sn.reshape(y, (*x.shape[:batch], *y.shape[1:]))


@operator("ScatterElements", "Scatter")
def scatter_elements(call: Call, x: Any, indices: Any, updates: Any) -> Any:
    """x with the updates at the indices along an axis: set, or combined with what is there."""
    axis, how = call.axis(x.ndim), call.text("reduction", "none")
    if how == "none":
        return sn.scatter(x, axis, indices, updates)
    return sn.scatter_reduce(x, axis, indices, updates, _REDUCTIONS[how])


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterND")
def scatter_nd(call: Call, x: Any, indices: Any, updates: Any) -> Any:
    """x with slices set, or combined, at x[indices[s, 0], indices[s, 1], …]."""
    how = call.text("reduction", "none")
    count = indices.shape[-1]
    lead, rest = x.shape[:count], x.shape[count:]
    if count == 0:
        return call.fail("the indices have no entries")
    flat: Any = 0
    for i, dim in enumerate(lead):
        place = indices[..., i]
        flat = flat * dim + sn.where(place < 0, place + dim, place)
    rows, width = sn.reshape(x, (size_of(lead), size_of(rest))), size_of(rest)
    flat = sn.reshape(flat, (size_of(flat.shape), 1))
    places = sn.broadcast_to(flat, (flat.shape[0], width))
    values = sn.reshape(updates, places.shape)
    if how == "none":
        return sn.reshape(sn.scatter(rows, 0, places, values), x.shape)
    return sn.reshape(sn.scatter_reduce(rows, 0, places, values, _REDUCTIONS[how]), x.shape)


@operator("TensorScatter")
def tensor_scatter(call: Call, past: Any, update: Any, at: Any = None) -> Any:
    """A cache with an update written along an axis, from a place of each example on."""
    axis = call.axis(past.ndim, default=-2)
    length, steps = past.shape[axis], update.shape[axis]
    batch = past.shape[0]
    first = sn.zeros((batch,), sn.int64) if at is None else sn.astype(at, sn.int64)
    places = sn.expand_dims(first, 1) + sn.arange(steps)
    if call.text("mode", "linear") == "circular":
        places = places % length
    shape = [1] * update.ndim
    shape[0], shape[axis] = batch, steps
    return sn.scatter(past, axis, sn.broadcast_to(sn.reshape(places, shape), update.shape), update)


@operator("Tile")
def tile(call: Call, x: Any, repeats: Any, axis: Any = None) -> Any:
    """x repeated along its axes."""
    counts = call.sizes(repeats, "the repeats")
    if axis is not None:  # opsets below 6
        (at,) = call.sizes(axis, "the axis")
        counts = [counts[0] if i == at else 1 for i in range(x.ndim)]
    if any(isinstance(n, Dim) for n in counts):
        return _repeated(x, counts)
    return sn.tile(x, tuple(counts))


def _repeated(x: Any, counts: list[Any]) -> Any:
    """x repeated symbolic numbers of times."""
    new, total = [], []
    for n, d in zip(counts, x.shape, strict=True):
        new += [1, d]
        total += [n, d]
    wide = sn.broadcast_to(sn.reshape(x, new), total)
    return sn.reshape(wide, [n * d for n, d in zip(counts, x.shape, strict=True)])


@operator("Pad")
def pad_attributes(call: Call, x: Any) -> Any:
    """x with values around it."""
    pads = call.ints("pads") or call.ints("paddings")
    return _padded(call, x, pads, call.number("value", 0.0))


@operator("Pad", since=11)
def pad(call: Call, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    """x with values around it, by widths that are operands; negative ones cut."""
    widths = call.sizes(pads, "the widths")
    if axes is not None:
        named = [call.place(a, x.ndim) for a in call.sizes(axes, "the axes")]
        full: list[Any] = [0] * (2 * x.ndim)
        for i, axis in enumerate(named):
            full[axis], full[axis + x.ndim] = widths[i], widths[i + len(named)]
        widths = full
    return _padded(call, x, widths, 0 if value is None else sn.reshape(value, ()))


def _padded(call: Call, x: Any, widths: list[Any], value: Any) -> Any:
    mode = call.text("mode", "constant")
    if len(widths) != 2 * x.ndim:
        call.fail(f"{len(widths)} widths are not two for each of {x.ndim} axes")
    pairs = list(zip(widths[: x.ndim], widths[x.ndim :], strict=True))
    cut = [(min(a, 0), min(b, 0)) if isinstance(a, int) and isinstance(b, int) else (0, 0)
           for a, b in pairs]  # fmt: skip
    if any(pair != (0, 0) for pair in cut):
        x = x[tuple(slice(-a, b or None) for a, b in cut)]
    pairs = [(a - c, b - d) for (a, b), (c, d) in zip(pairs, cut, strict=True)]
    if mode == "constant":
        return sn.pad(x, pairs, value)
    if mode not in _FOLDED:
        call.fail(f"the mode {mode!r:.40} is none of constant, {', '.join(_FOLDED)}")
    for axis, (before, after) in enumerate(pairs):
        if (before, after) != (0, 0):
            call.limit(before + after, "a width")
            x = sn.take(x, _FOLDED[mode](x.shape[axis], before, after), axis=axis)
    return x


def _reflected(length: int, before: int, after: int) -> Any:
    at = np.arange(-before, length + after)
    if length == 1:
        return np.zeros_like(at)
    at = np.abs(at) % (2 * length - 2)
    return np.where(at < length, at, 2 * length - 2 - at)


_FOLDED: dict[str, Any] = {
    "reflect": _reflected,
    "edge": lambda n, before, after: np.clip(np.arange(-before, n + after), 0, n - 1),
    "wrap": lambda n, before, after: np.arange(-before, n + after) % n,
}


@operator("DepthToSpace")
def depth_to_space(call: Call, x: Any) -> Any:
    """Blocks of channels moved into space."""
    n, c, h, w = x.shape
    b = call.integer("blocksize")
    if call.text("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    y = sn.permute_dims(sn.reshape(x, (n, b, b, c // (b * b), h, w)), (0, 3, 4, 1, 5, 2))
    return sn.reshape(y, (n, c // (b * b), h * b, w * b))


@operator("SpaceToDepth")
def space_to_depth(call: Call, x: Any) -> Any:
    """Blocks of space moved into channels."""
    n, c, h, w = x.shape
    b = call.integer("blocksize")
    if call.text("mode", "DCR") == "CRD":
        return F.pixel_unshuffle(x, b)
    y = sn.permute_dims(sn.reshape(x, (n, c, h // b, b, w // b, b)), (0, 3, 5, 1, 2, 4))
    return sn.reshape(y, (n, c * b * b, h // b, w // b))


@operator("ReverseSequence")
def reverse_sequence(call: Call, x: Any, lengths: Any) -> Any:
    """The first `lengths[b]` elements of each example in the other order."""
    batch, time = call.integer("batch_axis"), call.integer("time_axis")
    rows = sn.moveaxis(x, (batch, time), (0, 1))
    steps = sn.reshape(sn.arange(rows.shape[1]), (1, -1))
    ends = sn.expand_dims(sn.astype(lengths, sn.int64), 1)
    index = sn.where(steps < ends, ends - 1 - steps, steps)
    index = sn.broadcast_to(
        sn.reshape(index, (*index.shape, *(1,) * (rows.ndim - 2))), rows.shape)  # fmt: skip
    return sn.moveaxis(sn.take_along_axis(rows, index, axis=1), (0, 1), (batch, time))
