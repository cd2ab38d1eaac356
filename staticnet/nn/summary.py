"""What a model consists of, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from staticnet.ir.shown import html_table
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

    def _cells(self) -> list[tuple[str, ...]]:
        """The head, a row for each module, and the totals."""
        total = SummaryRow("total", self.model, self.parameters, self.trainable, self.bytes)
        cells = [tuple(field.capitalize() for field in SummaryRow._fields)]
        for row in (*self.rows, total):
            cells.append((row.name or "(self)", row.type, *(f"{n:,}" for n in row[2:])))
        return cells

    def _repr_html_(self) -> str:
        head, *rows = self._cells()
        return html_table(head, rows)

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [_line(row, widths) for row in cells]
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
