"""`ByModule`: what a function takes, summed by the modules that made its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from staticnet.ir.location import common_module
from staticnet.ops.arguments import as_size

Row = TypeVar("Row", bound=tuple[Any, ...])
Spell = Callable[[str, Any], str]
NO_MODULE = "(no module)"


class ByModule(dict[str, Row]):
    """Dotted path -> a named tuple of sums; `print` shows them as a table.

    The rows add up to the whole. "" is what the outermost module made itself and what no module
    made: the loss, the updates. What several made together has one name, `fc1 + fc2`.
    """

    spell: Spell

    @property
    def is_told(self) -> bool:
        """Whether any of it is some module's."""
        return any(self)

    def __str__(self) -> str:
        fields = next((row._fields for row in self.values()), ())  # type: ignore[attr-defined]
        rows = [("module", *fields)]
        rows += [(path or NO_MODULE, *map(self.spell, fields, row)) for path, row in self.items()]
        first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [[row[0].ljust(first), *map(str.rjust, row[1:], others)] for row in rows]
        return "\n".join("  ".join(line).rstrip() for line in lines)

    __repr__ = __str__


def _plain(_: str, value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def by_module(
    rows: Iterable[tuple[Iterable[str], Row]], depth: int | None = None, spell: Spell = _plain
) -> ByModule[Row]:
    """The sums of rows, named tuples, each with the paths of the modules that it is of.

    Paths are cut after `depth` names: with 1 each child of the model has a row. `spell` writes a
    field.

    Raises:
        ArgumentError: if the depth is not a positive int.
    """
    names = None if depth is None else as_size(depth, "by_module: depth")
    found: ByModule[Row] = ByModule()
    found.spell = spell
    for modules, row in rows:
        path = common_module(".".join(each.split(".")[:names]) for each in modules)
        if path in found:
            row = type(row)(*(a + b for a, b in zip(found[path], row, strict=True)))
        found[path] = row
    return found
