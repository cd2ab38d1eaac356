"""What a tab may ask for: JSON texts, read into messages or refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.playground.config import FEATURES, MOST_LAYERS, MOST_UNITS, Config
from staticnet.playground.fields import Number, Whole

MOST_BYTES = 8192
ACTS = ("play", "pause", "step", "reset", "drawn")
VALUE = Number(-1e3, 1e3)  # of a weight
_LAYER = Whole(0, MOST_LAYERS)  # the last one is the output's
_UNIT = Whole(0, MOST_UNITS - 1)
_SOURCE = Whole(0, max(MOST_UNITS, len(FEATURES)) - 1)
_SERIAL = Whole(0, 2**53)


@dataclass(frozen=True)
class Act:
    """One of `ACTS`: `step` trains one epoch, `drawn` asks for a frame after one that was drawn."""

    kind: str


@dataclass(frozen=True)
class Configure:
    """Go on in another state; what is told of it has the serial number, too."""

    config: Config
    serial: int = 0


@dataclass(frozen=True)
class Show:
    """Show the surface of a hidden unit, or with None that of the output."""

    unit: tuple[int, int] | None


@dataclass(frozen=True)
class Place:
    """A weight into unit `to` of a layer, or with `source` None its bias."""

    layer: int
    to: int
    source: int | None


@dataclass(frozen=True)
class Select:
    """Tell of a weight: its derivative and what the optimizer keeps for it."""

    place: Place


@dataclass(frozen=True)
class Assign:
    """Give a weight a value."""

    place: Place
    value: float


Message = Act | Configure | Show | Select | Assign


def read(text: str | bytes) -> Message:
    """The message of a text.

    Raises:
        ArgumentError: if it is binary, too long, no JSON, or asks for what there is not.
    """
    if not isinstance(text, str):
        raise ArgumentError("playground: a message is a text, not binary")
    if len(text) > MOST_BYTES:
        raise ArgumentError(f"playground: a message has at most {MOST_BYTES} characters")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ArgumentError(f"playground: a message is JSON, not {text!r:.60}") from None
    if not isinstance(given, dict):
        raise ArgumentError(f"playground: a message is an object, not {text!r:.60}")
    kind = given.pop("kind", None)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ArgumentError(
            f"playground: no kind of message {kind!r:.60}; there are {', '.join(_READERS)}"
        )
    fields, make = reader
    if set(given) != set(fields):
        raise ArgumentError(
            f"playground: a message {kind!r} has {', '.join(fields) or 'nothing else'}, not "
            f"{', '.join(given)!r:.60}"
        )
    return make(kind, given)


def _act(kind: str, given: dict[str, Any]) -> Message:
    return Act(kind)


def _configure(kind: str, given: dict[str, Any]) -> Message:
    return Configure(Config.from_json(given["config"]), _SERIAL.check("serial", given["serial"]))


def _open(kind: str, given: dict[str, Any]) -> Message:
    if not isinstance(given["query"], str):
        raise ArgumentError("playground: query must be a text")
    return Configure(Config.from_query(given["query"]), _SERIAL.check("serial", given["serial"]))


def _show(kind: str, given: dict[str, Any]) -> Message:
    unit = given["unit"]
    if unit is None:
        return Show(None)
    if not isinstance(unit, list) or len(unit) != 2:
        raise ArgumentError(f"playground: unit must be [layer, unit] or null, not {unit!r:.60}")
    return Show((_LAYER.check("layer", unit[0]), _UNIT.check("unit", unit[1])))


def _place(given: dict[str, Any]) -> Place:
    source = given["source"]
    return Place(
        _LAYER.check("layer", given["layer"]),
        _UNIT.check("to", given["to"]),
        None if source is None else _SOURCE.check("source", source),
    )


def _select(kind: str, given: dict[str, Any]) -> Message:
    return Select(_place(given))


def _assign(kind: str, given: dict[str, Any]) -> Message:
    return Assign(_place(given), VALUE.check("value", given["value"]))


_PLACE = ("layer", "to", "source")
_READERS = {
    **{kind: ((), _act) for kind in ACTS},
    "configure": (("config", "serial"), _configure),
    "open": (("query", "serial"), _open),
    "show": (("unit",), _show),
    "select": (_PLACE, _select),
    "assign": ((*_PLACE, "value"), _assign),
}
