"""All that a run is at one moment, as arrays and a record, and back."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.errors import StateError
from staticnet.ops.state import Variable
from staticnet.state_dict import load, unique_names

if TYPE_CHECKING:
    from staticnet.train.built import Built
    from staticnet.train.trainer import Trainer

log = logging.getLogger("staticnet")
Array = np.ndarray[Any, Any]
LOSSES, SIZES = "history.step_losses", "history.step_sizes"


def set_position(trainer: Trainer, record: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Set a trainer to the step and the history of a checkpoint."""
    trainer.step, trainer.epoch, trainer.batch = (record[k] for k in ("step", "epoch", "batch"))
    trainer.history.restore(record["history"], tensors[LOSSES], tensors[SIZES])


def named_state(trainer: Built) -> dict[str, Variable]:
    """Every variable of a run: the model's by their dotted names, and the step's others."""
    own: dict[Variable, str] = {}
    for name, variable in trainer.model_state():
        own.setdefault(variable, f"model.{name}")
    others = [v for v in trainer.step_variables() if v not in own]
    state = {f"state.{name}": v for name, v in unique_names(others).items()}
    return {name: v for v, name in own.items()} | state


def snapshot(trainer: Trainer) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the record of a checkpoint."""
    named = trainer.named_state()
    tensors = {name: v.copied() for name, v in named.items()}
    tensors[LOSSES] = np.array(trainer.history.step_losses)
    tensors[SIZES] = np.array(trainer.history.step_sizes)
    record: dict[str, Any] = {
        "step": trainer.step,
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "run": trainer.run_options,
        "stopped": trainer.should_stop,
        "history": [_plain(row) for row in trainer.history.epochs],
        "callbacks": {},
        "trainer": trainer.description(),
    }
    for name, callback in trainer.named_callbacks():
        kept = callback.state_dict()
        arrays = {key: value for key, value in kept.items() if isinstance(value, np.ndarray)}
        tensors |= {f"callbacks.{name}.{key}": value for key, value in arrays.items()}
        record["callbacks"][name] = {key: kept[key] for key in kept if key not in arrays}
    return tensors, record


def restore(
    trainer: Trainer, file: Path, tensors: Mapping[str, Array], record: Mapping[str, Any]
) -> None:
    """Set a run to where a checkpoint was written.

    Raises:
        StateError: if the checkpoint is of another model or optimizer; lists the names that differ.
    """
    named = trainer.named_state()
    state = {k: v for k, v in tensors.items() if k.startswith(("model.", "state."))}
    try:
        load("this trainer", [(name, v, True) for name, v in named.items()], state, strict=True)
    except StateError as error:
        message = str(error).removeprefix("load_state_dict: ")
        raise StateError(f"{file} is of another model or optimizer: {message}") from None
    texts = tuple(
        _without_ids(d["graphs"]["step"]) for d in (record["trainer"], trainer.description())
    )
    if texts[0] != texts[1]:
        log.warning(
            "%s was made by another step than this one, of equal state: seeds, rates or layers "
            "without weights differ; the losses will not be those of a run that went on",
            file,
        )
    set_position(trainer, record, tensors)
    trainer.should_stop = record["stopped"]
    for name, callback in trainer.named_callbacks():
        prefix = f"callbacks.{name}."
        arrays = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if name in record["callbacks"]:
            callback.load_state_dict(record["callbacks"][name] | arrays)


def _without_ids(text: str) -> str:
    return re.sub(r"= variable\(id=\d+,", "= variable(", text)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a history as JSON has it."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.items()}
