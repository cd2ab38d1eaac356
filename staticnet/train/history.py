"""`History`: what a training run measured, by epoch and by step."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from staticnet.errors import DependencyError, MissingNameError
from staticnet.ir.hints import install, missing_name

Array = np.ndarray[Any, Any]
SHOWN = 12  # rows of the table that a terminal shows at each end


class History:
    """What training measured: `history["loss"]` has a value an epoch, `val_loss` validation's.

    `step_losses` are the losses of all steps since step 0, also after a resume. `epochs` has each
    epoch's values by name, and `interrupted` says that Ctrl-C ended the run.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.interrupted = False
        self._losses: list[Array] = []
        self._sizes: list[Array] = []

    @property
    def step_losses(self) -> Array:
        """The loss of each step since step 0.  -> [steps]"""
        if len(self._losses) > 1:
            self._losses = [np.concatenate(self._losses)]
        return self._losses[0] if self._losses else np.zeros(0, np.float32)

    @property
    def step_sizes(self) -> Array:
        """The number of examples of each step since step 0.  -> int64 [steps]"""
        if len(self._sizes) > 1:
            self._sizes = [np.concatenate(self._sizes)]
        return self._sizes[0] if self._sizes else np.zeros(0, np.int64)

    def add_steps(self, losses: Array, sizes: Array) -> None:
        """Note the losses of the next steps, and how many examples they had."""
        self._losses.append(losses)
        self._sizes.append(sizes)

    def last_steps(self, steps: int) -> tuple[Array, Array]:
        """The losses and the sizes of the last so many steps."""
        first = len(self.step_losses) - steps
        return self.step_losses[first:], self.step_sizes[first:]

    def restore(
        self, epochs: Sequence[dict[str, Any]], step_losses: Array, step_sizes: Array
    ) -> None:
        """Take the place of another history."""
        self.epochs = [
            {k: np.array(v) if isinstance(v, list) else v for k, v in row.items()} for row in epochs
        ]
        self._losses, self._sizes = [step_losses], [step_sizes]

    def keys(self) -> list[str]:
        """The names of the columns, in the order in which they came."""
        return list(dict.fromkeys(name for row in self.epochs for name in row))

    def __getitem__(self, name: str) -> list[Any]:
        """A column: a value an epoch; None where an epoch has none.

        Raises:
            KeyError: if there is no such column; says which there are.
        """
        if name not in self.keys():
            raise _MissingColumn(str(missing_name("history", str(name), self.keys())))
        return [row.get(name) for row in self.epochs]

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        """The number of epochs."""
        return len(self.epochs)

    def to_dataframe(self) -> Any:
        """A pandas DataFrame with a row an epoch, from 1 on.

        Raises:
            DependencyError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise DependencyError(f"to_dataframe: pandas not found; {install('data')}") from None
        index = pd.RangeIndex(1, len(self) + 1, name="epoch")
        return pd.DataFrame({name: self[name] for name in self}, index=index)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the losses and the other numbers of each epoch; -> matplotlib's figure.

        Raises:
            DependencyError: if matplotlib is not installed.
            OSError: if the file cannot be written.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise DependencyError(f"plot: matplotlib not found; {install('examples')}") from None
        groups = self._panels()
        figure = Figure(figsize=(5 * max(len(groups), 1), 3.5), layout="constrained")
        axes = figure.subplots(1, max(len(groups), 1), squeeze=False)[0]
        numbers = range(1, len(self) + 1)
        for panel, (title, names) in zip(axes, groups.items(), strict=False):
            for name in names:
                values = [np.nan if x is None else x for x in self[name]]
                panel.plot(numbers, values, marker=".", label=name)
            panel.set(title=title, xlabel="epoch")
            panel.grid(alpha=0.3)
            panel.legend()
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def _panels(self) -> dict[str, list[str]]:
        """What is drawn together: a number and its validation."""
        panels: dict[str, list[str]] = {}
        for name in self:
            if all(x is None or np.ndim(x) == 0 for x in self[name]):
                panels.setdefault(name.removeprefix("val_"), []).append(name)
        return panels

    def _table(self) -> tuple[list[str], list[list[str]]]:
        names = [name for name in self if all(x is None or np.ndim(x) == 0 for x in self[name])]
        rows = [
            [str(i), *("" if row.get(n) is None else f"{row[n]:.4g}" for n in names)]
            for i, row in enumerate(self.epochs, 1)
        ]
        return ["epoch", *names], rows

    def __repr__(self) -> str:
        head, rows = self._table()
        left_out = len(rows) > 2 * SHOWN
        shown = [*rows[:SHOWN], ["…"] * len(head), *rows[-SHOWN:]] if left_out else rows
        widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *shown)
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, rows = self._table()
        heads = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        body = "".join(f"<tr>{''.join(f'<td>{x}</td>' for x in row)}</tr>" for row in rows)
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


class _MissingColumn(MissingNameError, KeyError):
    """A history has no such column."""

    __str__ = Exception.__str__
