"""`Comparison`: a table to print, a dict to assert on, and files to keep."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from staticnet import files
from staticnet.compare.table import HEADER, cells, lines, shown
from staticnet.errors import ArgumentError
from staticnet.ir.shown import html_table

_BRIEF = ("contender", "time a step", "95 % interval", "speed-up", "verdict", "launches", "peak")


@dataclass(frozen=True, repr=False)
class Comparison:
    """The result of `sn.compare`; `data` is all of it, as `staticnet.compare.result` says.

    `comparison["static, all passes"]["time"]` is a number; `for name in comparison` goes through
    the contenders; `print` shows the table.
    """

    data: dict[str, Any]

    def __iter__(self) -> Iterator[str]:
        return (row["name"] for row in self.data["rows"])

    def __len__(self) -> int:
        return len(self.data["rows"])

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        """The values of a contender.

        Raises:
            ArgumentError: if there is none of that name; the message lists them.
        """
        for row in self.data["rows"]:
            if row["name"] == name:
                values: Mapping[str, Any] = row["values"]
                return values
        raise ArgumentError(f"there is no contender {name!r}; there are {', '.join(self)}")

    def __str__(self) -> str:
        return "\n".join(lines(self.data))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """The table and, if there is one, the picture: what a notebook shows."""
        rows, same = shown(self.data["rows"])
        kept = [HEADER.index(name) for name in _BRIEF]
        figures = [[cells(row)[i] for i in kept] for row in rows]
        told = "".join(f"<p><b>{escape(warning)}</b></p>" for warning in self.data["warnings"])
        notes = "".join(f"<li>{escape(note)}</li>" for note in [same, *self.data["notes"]] if note)
        return (
            f"<h3>{escape(self.data['name'])}</h3>{told}{html_table(_BRIEF, figures)}"
            f"{self.data['waterfall_svg']}<ul>{notes}</ul>"
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write compare.json, waterfall.png, waterfall.svg and report.html; -> the files.

        Raises:
            DependencyError: if matplotlib is missing.
            OSError: if a file cannot be written.
        """
        from staticnet.compare import waterfall
        from staticnet.report.page import comparison_page

        figure = waterfall.draw(self.data)
        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        picture = waterfall.as_svg(figure)
        self.data["waterfall_svg"] = picture
        pixels = io.BytesIO()
        figure.savefig(pixels, dpi=120)
        made: dict[str, bytes | str] = {
            "compare.json": json.dumps(self.data, indent=1),
            "waterfall.svg": picture,
            "report.html": comparison_page(self.data),
        }
        made["waterfall.png"] = pixels.getvalue()
        for name, content in made.items():
            files.write(out / name, content)
        return [out / name for name in made]
