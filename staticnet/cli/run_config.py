"""The configuration of a run: fields with defaults, changed by a file and by `--set name=value`."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ir.hints import missing_name
from staticnet.train.config import to_toml


@dataclass(frozen=True)
class Config:
    """What `staticnet train` does. It is written as TOML, and reads back the same."""

    network: str = "cnn"
    data: str = ""
    epochs: int = 5
    batch_size: int = 64
    lr: float = 1e-3
    optimizer: str = "AdamW"
    weight_decay: float = 0.0
    schedule: str = "cosine"
    seed: int = 0
    precision: str = "float32"
    width: int = 32
    dropout: float = 0.0
    augment: bool = False
    length: int = 64
    target: str = ""
    size: int | None = None
    validation: float = 0.1
    accumulate: int = 1
    clip_norm: float | None = None
    ema: float | None = None
    patience: int | None = None

    def toml(self) -> str:
        """The fields as a file; those that are None are left out."""
        return to_toml(dataclasses.asdict(self))


# what a network is called by its data: a network, and how it is trained there
PRESETS: dict[str, dict[str, Any]] = {
    "cifar10": {
        "network": "cnn",
        "width": 24,
        "augment": True,
        "epochs": 20,
        "batch_size": 32,
        "optimizer": "SGD",
        "lr": 0.05,
        "schedule": "onecycle",
        "weight_decay": 5e-4,
    }
}


def read(file: Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        ArgumentError: if it is none; names the line.
        OSError: if it cannot be read.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{file}: no TOML: {error}") from None


def changed(config: Config, changes: Mapping[str, Any], where: str) -> Config:
    """The configuration with some fields replaced.

    Raises:
        ArgumentError: naming `where`, if there is no such field, or a value is of another type.
    """
    hints = typing.get_type_hints(Config)
    checked = {}
    for name, value in changes.items():
        if name not in hints:
            hint = str(missing_name("a run", name, list(hints))).partition("; ")[2]
            raise ArgumentError(
                f"{where}: there is no {name!r}; {hint or 'there are ' + ', '.join(hints)}"
            )
        checked[name] = _typed(hints[name], value, f"{where}: {name}")
    return dataclasses.replace(config, **checked)


def _typed(hint: Any, value: Any, what: str) -> Any:
    """A value of a field's type; a whole number may stand for a float."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        names = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        raise ArgumentError(f"{what} must be {names}, not {value!r:.60}")
    return value


def assignments(given: Sequence[str]) -> dict[str, Any]:
    """The values of `name=value`, as TOML has them; what is no TOML is a string, `none` is None.

    Raises:
        ArgumentError: if one has no `=`.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ArgumentError(f"--set {text}: give a name and a value, as --set lr=3e-4")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
