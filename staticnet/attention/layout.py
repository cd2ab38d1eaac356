"""Where attention and its gradient have what they make: the order of axes, and rows side by side.

With `layout` "last" heads lie behind tokens, as in the rows of features that a projection made;
with "tokens" these come before the examples, too. Of the gradient's three results, dq, dk and dv,
the last `joined` are one array then, whose rows have the features of all heads of each, one after
the other: what a projection of queries, keys and values takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Protocol

from staticnet.errors import ShapeError
from staticnet.ir.types import Shape
from staticnet.ops.movement import concat, permute_dims
from staticnet.ops.shape import reshape

LAYOUTS = {"first": (0, 1, 2, 3), "last": (0, 2, 1, 3), "tokens": (2, 0, 1, 3)}
JOINED = (0, 2, 3)


class Placed(Protocol):
    """What an op says of the places of its results."""

    @property
    def layout(self) -> str: ...

    @property
    def joined(self) -> int: ...


def in_layout(layout: str, axes: Sequence[Any]) -> tuple[Any, ...]:
    """What belongs to the axes [n, h, t, d], in a layout's order."""
    return tuple(axes[i] for i in LAYOUTS[layout])


def heads_first(layout: str, axes: Sequence[Any]) -> tuple[Any, ...]:
    """What belongs to a layout's axes, in the order of [n, h, t, d]."""
    order = LAYOUTS[layout]
    return tuple(axes[order.index(i)] for i in range(4))


def back(layout: str) -> tuple[int, ...]:
    """The axes by which an array in a layout is permuted to have heads first."""
    return heads_first(layout, range(4))


def result_shapes(op: Placed, own: Sequence[Shape]) -> list[Shape]:
    """The shapes of the gradient's results.  own: [n, h, t, d] of each of the three

    Raises:
        ShapeError: if there are not as many queries as keys, whose rows are to be joined.
    """
    made: list[Shape] = [in_layout(op.layout, shape) for shape in own]
    if not op.joined:
        return made
    together = made[3 - op.joined :]
    if len({shape[:2] for shape in together}) > 1:
        raise ShapeError("rows of queries and of keys can be joined where there are as many")
    width: Any = 0
    for each in widths(op, own):
        width = width + each
    return [*made[: 3 - op.joined], (*together[0][:2], width)]


def widths(op: Placed, own: Sequence[Shape]) -> list[Any]:
    """Features of all heads of each result that is joined with others."""
    return [h * d for _, h, _, d in own[3 - op.joined :]] if op.joined else []


def arranged(op: Placed, made: Sequence[Any], before: int = 0) -> list[Any]:
    """dq, dk and dv, with heads first behind `before` other axes, as the results."""
    own = (*range(before), *(before + i for i in LAYOUTS[op.layout]))
    found = [permute_dims(x, own) for x in made]
    return _joined(op, found, before, reshape, lambda rows: concat(rows, before + 2))


def arranged_arrays(op: Placed, xp: Any, made: Sequence[Any]) -> list[Any]:
    """The same of arrays."""
    found = [xp.transpose(x, LAYOUTS[op.layout]) for x in made]
    return _joined(op, found, 0, xp.reshape, lambda rows: xp.concatenate(rows, 2))


def _joined(
    op: Placed, made: list[Any], before: int, shaped: Callable[..., Any],
    join: Callable[[list[Any]], Any],
) -> list[Any]:  # fmt: skip
    if not op.joined:
        return made
    rows = []
    for x in made[3 - op.joined :]:
        *others, h, d = x.shape
        rows.append(shaped(x, (*others, h * d)))
    return [*made[: 3 - op.joined], join(rows)]


def taken_apart(op: Placed, made: Sequence[Any], own: Sequence[Any]) -> list[Any]:
    """What stands for the results, or None, as dq, dk and dv with heads first.  own: q, k and v"""
    found = list(made)
    if op.joined:
        whole = found.pop()
        shapes = [x.shape for x in own]
        ends = [0, *accumulate(widths(op, shapes))]
        for shape, start, end in zip(shapes[3 - op.joined :], ends, ends[1:], strict=False):
            part = None if whole is None else whole[:, :, start:end]
            found.append(None if part is None else reshape(part, in_layout(op.layout, shape)))
    return [None if x is None else permute_dims(x, back(op.layout)) for x in found]
