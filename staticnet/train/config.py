"""`config.toml`: what a run was asked for, written so that it reads back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staticnet import files
from staticnet.errors import ArgumentError

if TYPE_CHECKING:
    from staticnet.train.loop import Options
    from staticnet.train.trainer import Trainer


def to_toml(table: Mapping[str, Any]) -> str:
    """A table of numbers, strings, bools, lists of them and tables as TOML; None is left out.

    Raises:
        ArgumentError: if a value is none of these.
    """
    plain = {k: v for k, v in table.items() if v is not None and not isinstance(v, Mapping)}
    lines = [f"{_key(name)} = {_value(name, value)}" for name, value in plain.items()]
    for name, value in table.items():
        if isinstance(value, Mapping):
            nested = to_toml({f"{k}": v for k, v in value.items()})
            lines += ["", f"[{_key(name)}]", nested.rstrip()]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name, ensure_ascii=False)


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(name, each) for each in value)}]"
    raise ArgumentError(f"config: {name} = {value!r:.60} has no place in TOML")


def write_config(folder: Path, trainer: Trainer, options: Options) -> None:
    """Write what a run is, unless whoever began it has written more."""
    file = folder / "config.toml"
    if file.exists():
        return
    table = {
        "model": type(trainer.model).__name__,
        "optimizer": repr(trainer.optimizer),
        "loss": getattr(trainer.loss, "__name__", type(trainer.loss).__name__),
        "metrics": [metric.name for metric in trainer.metrics],
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "shuffle": options.shuffle,
        "drop_last": options.drop_last,
    }
    files.write(file, to_toml(table))
