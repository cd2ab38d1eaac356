"""How explanations write nodes and numbers: whole lines, with the factors 1 that steps show."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.ir.formula import Plain, write
from staticnet.ir.node import Node, topological

LINE = 400  # characters of a formula


class _Line(Plain):
    most, chars, ones = LINE, LINE, True


def text_of(node: Any) -> str:
    """A node's formula on one line."""
    text = write(node, _Line())
    return text if len(text) <= LINE else text[: LINE - 1] + "…"


def letter_for(node: Node) -> str:
    """A letter for a value, none of its inputs': y, else f, h, …"""
    taken = {each.name for each in topological([node])}
    return next((letter for letter in "yfhqz" if letter not in taken), "y'")


def free_name(name: str, node: Node) -> str:
    """The name, or one like it that none of a node's inputs has: inputs of one name are one."""
    taken = {each.name for each in topological([node])}
    while name in taken:
        name += "_"
    return name


def number_text(value: Any, digits: int = 6) -> str:
    """`0.5`, `[1, 2, 3]`, or the range of more than eight numbers."""
    array = np.asarray(value)
    if array.ndim == 0:
        return _scalar(array[()], digits)
    if array.size <= 8:
        return np.array2string(
            array, separator=", ", formatter={"all": lambda x: _scalar(x, digits)}
        ).replace("\n", "")
    finite = array[np.isfinite(array)] if array.dtype.kind not in "biu" else array
    shape = ",".join(map(str, array.shape))
    if not finite.size:
        return f"[{shape}], none finite"
    return f"[{shape}] of {_scalar(finite.min(), digits)} to {_scalar(finite.max(), digits)}"


def _scalar(x: Any, digits: int) -> str:
    if isinstance(x, bool | np.bool_):
        return str(bool(x))
    if isinstance(x, int | np.integer):
        return str(int(x))
    return f"{float(x):.{digits}g}"
