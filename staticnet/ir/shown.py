"""Results that show themselves: as text where they are printed, as tables in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

MOST = 40  # rows of a table in a notebook


class Table(NamedTuple):
    """Rows of texts under the names of their columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Shown:
    """A result whose `repr` is the text that `print` shows; a notebook shows its tables.

    The tables are plain: they take the colours of the notebook's theme, light or dark.
    """

    def tables(self) -> Iterable[Table]:
        """What a notebook shows."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return "".join(map(_html, self.tables()))


def _html(table: Table) -> str:
    head = f"<p><b>{escape(table.title)}</b></p>" if table.title else ""
    rest = len(table.rows) - MOST
    tail = f"<p>and {rest:,} more rows: print shows them</p>" if rest > 0 else ""
    return head + html_table(table.columns, table.rows[:MOST]) + tail


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of texts."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
