"""What a model consists of, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from staticnet.ops.state import Variable


class SummaryRow(NamedTuple):
    """A module: elements of its own parameters, those of them that train, bytes of its state."""

    name: str
    type: str
    parameters: int
    trainable: int
    bytes: int

    @classmethod
    def of(cls, name: str, type: str, state: Sequence[tuple[Variable, bool]]) -> SummaryRow:
        """The row of a module with these Variables, each with whether it is a parameter."""
        parameters = [variable for variable, is_parameter in state if is_parameter]
        return cls(
            name,
            type,
            sum(_size(v) for v in parameters),
            sum(_size(v) for v in parameters if v.trainable),
            sum(_size(v) * v.dtype.itemsize for v, _ in state),
        )


@dataclass(frozen=True)
class Summary:
    """The modules of a model in order, and their totals; `print` shows the table."""

    model: str
    rows: tuple[SummaryRow, ...]

    @property
    def parameters(self) -> int:
        """Elements of all parameters, shared ones once."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """Elements of the parameters that train."""
        return sum(row.trainable for row in self.rows)

    @property
    def bytes(self) -> int:
        """Bytes of parameters and buffers."""
        return sum(row.bytes for row in self.rows)

    def __str__(self) -> str:
        total = SummaryRow("total", self.model, self.parameters, self.trainable, self.bytes)
        table = [tuple(field.capitalize() for field in SummaryRow._fields)]
        for row in (*self.rows, total):
            table.append((row.name or "(self)", row.type, *(f"{n:,}" for n in row[2:])))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [_line(cells, widths) for cells in table]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    __repr__ = __str__


def _size(variable: Variable) -> int:
    return math.prod(int(dim) for dim in variable.shape)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right."""
    left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*left, *right])
