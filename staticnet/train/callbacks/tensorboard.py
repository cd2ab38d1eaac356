"""`TensorBoard`: event files, written by the format's definition and without its libraries.

A file is a row of records: the length, its checksum, an `Event` message of protocol buffers, its
checksum. Of the messages only scalars are needed here: event.proto and summary.proto of TensorFlow
have the numbers of the fields.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from staticnet import files
from staticnet.errors import ArgumentError
from staticnet.ops.arguments import as_size
from staticnet.train.callbacks.base import Callback

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer

_files = itertools.count()


class TensorBoard(Callback):
    """Write each epoch's values, and the loss of every `every`-th step, as TensorBoard's events.

    They go to `folder`, or to the run's `out`. A resumed run tells the page to drop what came
    after its checkpoint.

    Raises:
        ArgumentError: if there is no folder, and the run has no `out`.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, every: int = 50) -> None:
        self.folder = None if folder is None else Path(folder)
        self.every = as_size(every, "TensorBoard: every")
        self._file: Path | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """A place is needed."""
        if self.folder is None and trainer.out is None:
            raise ArgumentError("TensorBoard: where? give a folder, or fit(..., out='runs/name')")

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Begin a file, once a run."""
        if self._file is not None:
            return
        folder = self.folder or trainer.out or Path()
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
        name += f".{next(_files):06}"  # TensorBoard reads files in the order of their names
        self._file = folder / name
        self._append(_double(1, now) + _string(3, "brain.Event:2"))
        if trainer.step:
            started = _message(7, _int(1, 1))  # a session that starts here
            self._append(_double(1, now) + _int(2, trainer.step + 1) + started)

    def on_steps(self, trainer: Trainer) -> None:
        """The losses of some steps."""
        first = trainer.step - len(trainer.latest_losses)
        for step in range(-(-(first + 1) // self.every) * self.every, trainer.step + 1, self.every):
            self._scalar("step/loss", float(trainer.latest_losses[step - first - 1]), step)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """The epoch's values, at its last step."""
        for name, value in trainer.history.epochs[-1].items():
            if np.ndim(value) == 0:
                part, _, column = name.rpartition("val_")
                group = "validation" if part or name.startswith("val_") else "epoch"
                self._scalar(f"{group}/{column or name}", float(value), trainer.step)

    def on_fit_end(self, trainer: Trainer) -> None:
        """The next fit begins another file."""
        self._file = None

    def _scalar(self, tag: str, value: float, step: int) -> None:
        entry = _string(1, tag) + _key(2, 5) + struct.pack("<f", np.float32(value))
        summary = _message(5, _message(1, entry))
        self._append(_double(1, time.time()) + _int(2, step) + summary)

    def _append(self, event: bytes) -> None:
        assert self._file is not None
        files.append(self._file, _record(event))


def _record(event: bytes) -> bytes:
    length = struct.pack("<Q", len(event))
    return length + _masked(length) + event + _masked(event)


def _masked(data: bytes) -> bytes:
    """The checksum that the format has: CRC-32C, turned and moved."""
    crc = _crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _table() -> tuple[int, ...]:
    """Castagnoli's polynomial, for each byte."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


def _crc32c(data: bytes) -> int:
    crc, table = 0xFFFFFFFF, _table()
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _int(field: int, number: int) -> bytes:
    return _key(field, 0) + _varint(number)


def _double(field: int, number: float) -> bytes:
    return _key(field, 1) + struct.pack("<d", number)


def _message(field: int, data: bytes) -> bytes:
    return _key(field, 2) + _varint(len(data)) + data


def _string(field: int, text: str) -> bytes:
    return _message(field, text.encode())
