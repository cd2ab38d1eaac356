"""Checkpoints: one safetensors file each, with a JSON record in its header.

A run's folder is

    config.toml  metrics.csv  events.out.tfevents.*  checkpoints/step_N.safetensors  last

`last` names the checkpoint that a resumed run goes on from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from staticnet import files
from staticnet.errors import StateError
from staticnet.io import safetensors

Array = np.ndarray[Any, Any]
FORMAT = 1
_NAME = re.compile(r"step_(\d+)\.safetensors")


def folder_of(run: Path) -> Path:
    """Where a run's checkpoints lie."""
    return run / "checkpoints"


def file_of(run: Path, step: int) -> Path:
    """The checkpoint after so many steps."""
    return folder_of(run) / f"step_{step}.safetensors"


def found(run: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run, the oldest first."""
    folder = folder_of(run)
    named = ((_NAME.fullmatch(file.name), file) for file in folder.glob("step_*.safetensors"))
    return sorted((int(match[1]), file) for match, file in named if match)


def write(file: Path, tensors: Mapping[str, Array], record: Mapping[str, Any]) -> None:
    """Write a checkpoint: complete, or not at all.

    Raises:
        StateError: if the disk is full or the folder cannot be written; older ones are kept.
    """
    text = json.dumps({"format": FORMAT, **record})
    try:
        safetensors.save(file, tensors, {"staticnet": text})
    except OSError as error:
        raise StateError(
            f"checkpoint {file} was not written: {error.strerror or error}; make room or let the "
            "folder be written, and go on with resume=True: older checkpoints are as they were"
        ) from error


def write_in_run(run: Path, step: int, tensors: Mapping[str, Array], record: Any) -> Path:
    """Write a checkpoint into a run's folder, and note that it is the last; -> its file.

    Raises:
        StateError: as `write`.
    """
    file = file_of(run, step)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"checkpoint {file} was not written: {error.strerror}; choose another out"
        ) from error
    write(file, tensors, record)
    try:
        files.write(run / "last", f"checkpoints/{file.name}\n")
    except OSError as error:
        raise StateError(f"{run / 'last'} was not written: {error.strerror}") from error
    return file


def read(file: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the record of a checkpoint.

    Raises:
        StateError: if the file is damaged, or no checkpoint of this version.
        OSError: if it cannot be read.
    """
    tensors, metadata = safetensors.load_with_metadata(file)
    if "staticnet" not in metadata:
        raise StateError(
            f"{file}: has weights but no record of a training run; model.load_state_dict takes "
            "sn.io.safetensors.load(path)"
        )
    record = json.loads(metadata["staticnet"])
    if record.get("format") != FORMAT:
        raise StateError(
            f"{file}: a checkpoint of format {record.get('format')}, and this is staticnet with "
            f"format {FORMAT}; read it with the version that wrote it"
        )
    return tensors, record


def read_last(run: Path) -> tuple[Path, dict[str, Array], dict[str, Any]] | None:
    """The newest checkpoint of a run; None if there is none.

    Raises:
        StateError: if it is damaged; names the one before.
    """
    known = found(run)
    if not known:
        return None
    _, file = known[-1]
    try:
        return file, *read(file)
    except (StateError, OSError) as error:
        older = f"; remove it to go on from {known[-2][1].name}" if len(known) > 1 else ""
        raise StateError(f"resume: {error}{older}") from None


def retain(run: Path, keep: int | None, others: set[int]) -> None:
    """Remove all but the newest `keep` checkpoints and those of the steps in `others`."""
    known = found(run)
    newest = {step for step, _ in (known if keep is None else known[-keep:])}
    for step, file in known:
        if step not in newest | others:
            file.unlink(missing_ok=True)
    files.remove_partial(folder_of(run))
