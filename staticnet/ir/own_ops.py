"""Users' ops by the names that texts have for them.

A name may be declared again, as where a cell of a notebook is run again. What was made with the op
before keeps it. From then on a text says which it means: `softsign@1`, `softsign@2`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from staticnet.errors import ParseError

if TYPE_CHECKING:
    from staticnet.ir.op import Op

OWN_OPS: dict[str, list[type[Op]]] = {}  # all of a name, in the order of their declarations


def declare(cls: type[Op]) -> None:
    """Make a class an op of its name; those of the name before stay what they are."""
    OWN_OPS.setdefault(cls.name, []).append(cls)


def label_of(cls: type[Op]) -> str:
    """What a text calls an op: by its name, with its number where there are several."""
    known = OWN_OPS.get(cls.name, ()) if cls.where is not None else ()
    return cls.name if len(known) < 2 else f"{cls.name}@{known.index(cls) + 1}"


def find(label: str) -> type[Op]:
    """The op that a text calls so.

    Raises:
        ParseError: if there is none, or the name is that of several.
    """
    name, _, number = label.partition("@")
    known = OWN_OPS.get(name, [])
    if not known:
        raise ParseError(
            f"unknown op {name!r}; if it is one of your own, run the code that declares it first"
        )
    listed = ", ".join(f"{name}@{i} ({cls.where})" for i, cls in enumerate(known, 1))
    if not number and len(known) > 1:
        raise ParseError(
            f"{name} is declared {len(known)} times, as {listed}; write which is meant, or give "
            "each a name of its own"
        )
    at = int(number) if number.isdecimal() else not number
    if not 0 < at <= len(known):
        raise ParseError(f"{label} is not declared; of this name there is {listed}")
    return known[at - 1]
