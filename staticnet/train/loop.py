"""The loop of a training: epochs of blocks of steps, and what happens between them."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.backends.pieces import next_count
from staticnet.errors import ArgumentError, StateError, StaticnetError
from staticnet.ops.arguments import as_bool
from staticnet.ops.random import as_seed
from staticnet.train import checkpoint
from staticnet.train.callbacks.base import as_callbacks
from staticnet.train.callbacks.progress import ProgressBar
from staticnet.train.callbacks.saving import Checkpoint, CSVLogger
from staticnet.train.callbacks.tensorboard import TensorBoard
from staticnet.train.config import write_config
from staticnet.train.data.source import Plan, Source
from staticnet.train.history import History
from staticnet.train.state import restore

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Options:
    """What `fit` was asked for."""

    epochs: int
    batch_size: int
    seed: int
    shuffle: bool
    drop_last: bool
    resume: bool
    out: Path | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", as_seed(self.seed))
        for name in ("shuffle", "drop_last", "resume"):
            as_bool(getattr(self, name), f"fit: {name}")

    def recorded(self, source: Source) -> dict[str, Any]:
        """What the order of the examples depends on."""
        names = ("batch_size", "seed", "shuffle", "drop_last")
        return {name: getattr(self, name) for name in names} | {"examples": source.examples}


def as_folder(out: Any) -> Path | None:
    """The folder of a run, or None.

    Raises:
        ArgumentError: if it is no path.
    """
    if out is not None and not isinstance(out, str | os.PathLike):
        raise ArgumentError(f"fit: out is a folder's path, not {out!r:.60}")
    return None if out is None else Path(out)


def all_callbacks(given: Any, out: Path | None, progress: bool) -> list[Any]:
    """The callbacks of a run, with those that come without asking; checkpoints are the last."""
    chosen = as_callbacks(given)
    defaults: list[Any] = [ProgressBar()] if progress else []
    if out is not None:
        defaults += [CSVLogger(), TensorBoard(), Checkpoint()]
    chosen += [d for d in defaults if not any(isinstance(each, type(d)) for each in chosen)]
    return sorted(chosen, key=lambda each: isinstance(each, Checkpoint))


def call(trainer: Trainer, hook: str) -> None:
    """Call a method of each callback that has it.

    Raises:
        StateError: if one cannot write its file.
    """
    for each in trainer._callbacks:
        method = getattr(each, hook, None)
        if method is None:
            continue
        try:
            method(trainer)
        except OSError as error:
            if isinstance(error, StaticnetError):
                raise
            where = f" {error.filename}" if error.filename else ""
            told = f"{type(each).__name__} could not write{where}: {error.strerror or error}"
            raise StateError(
                f"{told}; make room or let the folder be written, and go on with resume=True: the "
                "checkpoints are as they were"
            ) from error


def fit(trainer: Trainer, options: Options, held: Source | None) -> History:
    """Train until the epochs are made, a callback stops it, or Ctrl-C does."""
    assert trainer.source is not None
    trainer.failed, trainer.should_stop, trainer.history.interrupted = None, False, False
    trainer.batch_size, trainer.resumes = options.batch_size, False
    last = _open(trainer, options)
    goal = options.epochs if options.resume else trainer.epoch + options.epochs
    trainer.resumes = last is not None
    call(trainer, "on_fit_start")
    if last is not None:
        restore(trainer, *last)
        _check_resumed(options, trainer.source, last[0], last[2]["run"], trainer.batch)
        trainer.saved_step = trainer.step
    trainer.epochs = max(goal, trainer.epoch)
    trainer.run_options = options.recorded(trainer.source)
    with _interruptible(trainer) as stopped:
        try:
            while trainer.epoch < goal and not trainer.should_stop:
                _epoch(trainer, options, held, stopped)
                if stopped.is_set():
                    trainer.history.interrupted = True
                    break
        except BaseException as error:
            trainer.failed = error
            raise
        finally:
            call(trainer, "on_fit_end")
    return trainer.history


def _open(trainer: Trainer, options: Options) -> Any:
    """Make the run's folder; -> its last checkpoint, if the run goes on from it."""
    own = trainer.out is not None and trainer.out == options.out
    trainer.out = options.out
    if options.out is None:
        return None
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        write_config(options.out, trainer, options)
    except OSError as error:
        raise StateError(
            f"fit: {options.out} cannot be written: {error.strerror or error}; choose another out"
        ) from error
    if options.resume and not own:
        return checkpoint.read_last(options.out)
    known = checkpoint.found(options.out)
    if known and not own:
        raise StateError(
            f"fit: {options.out} has a run of {known[-1][0]} steps; go on with it by resume=True "
            "(--resume), or choose another out"
        )
    return None


def _check_resumed(
    options: Options, source: Source, file: Path, before: dict[str, Any], batch: int
) -> None:
    """Raise StateError if the order of the examples would not be that of the run so far."""
    now = options.recorded(source)
    differing = [f"{k}={before[k]!r}, not {now[k]!r}" for k in now if before.get(k) != now[k]]
    if differing and (batch or before["seed"] != now["seed"]):
        raise StateError(
            f"resume: {file} was made with {'; '.join(differing)}; give the same, for its epochs "
            "have that order"
        )


def _epoch(trainer: Trainer, options: Options, held: Source | None, stopped: Any) -> None:
    """One epoch, or what is left of it, with its validation."""
    assert trainer.source is not None
    plan = Plan(
        trainer.epoch, options.batch_size, options.seed, options.shuffle, options.drop_last,
        trainer.batch,
    )  # fmt: skip
    step = trainer.training_step()
    if not trainer.batch:
        step.sums.reset()
    epoch = trainer.source.epoch(plan)
    trainer.steps_in_epoch = epoch.total
    sizes: list[Array] = []
    call(trainer, "on_epoch_start")
    count = 1
    try:
        while not stopped.is_set():
            begin = time.perf_counter()
            made = epoch.run(step.function, _allowed(trainer, count))
            if made is None:
                break
            _note(trainer, made[0][0], made[1])
            sizes.append(made[1])
            count = next_count(len(made[1]), time.perf_counter() - begin)
            call(trainer, "on_steps")
    finally:
        epoch.close()
    if not stopped.is_set():
        _end_epoch(trainer, held)


def _allowed(trainer: Trainer, count: int) -> int:
    """So many steps, or as many as the callbacks let pass."""
    for each in trainer._callbacks:
        until = getattr(each, "steps_until", None)
        allowed = None if until is None else until(trainer)
        if allowed is not None:
            count = min(count, max(allowed, 1))
    return count


def _note(trainer: Trainer, losses: Array, sizes: Array) -> None:
    trainer.history.add_steps(losses, sizes)
    trainer.latest_losses, trainer.latest_examples = losses, int(sizes.sum())
    trainer.step += len(losses)
    trainer.batch += len(losses)


def _end_epoch(trainer: Trainer, held: Source | None) -> None:
    history, step = trainer.history, trainer.training_step()
    if not trainer.batch:
        raise StateError("fit: an epoch has no batches; give more data, or drop_last=False")
    losses, sizes = history.last_steps(trainer.batch)
    row: dict[str, Any] = {"loss": mean_loss(losses, sizes), **step.sums.values()}
    if held is not None:
        measured = trainer.evaluate_source(held, trainer.batch_size)
        row |= {f"val_{name}": value for name, value in measured.items()}
    rate = trainer.learning_rate
    row |= {} if rate is None else {"lr": rate}
    trainer.note_plateaus(row)
    history.epochs.append(row)
    trainer.epoch, trainer.batch = trainer.epoch + 1, 0
    call(trainer, "on_epoch_end")


def mean_loss(losses: Array, sizes: Array) -> float:
    """The mean over examples of the losses of batches.  losses: [steps], sizes: [steps]"""
    total = int(sizes.sum())
    if not total:
        return math.nan
    return float(np.dot(losses.astype(np.float64), sizes.astype(np.float64)) / total)


@contextmanager
def _interruptible(trainer: Trainer) -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, a second one raises KeyboardInterrupt."""
    stopped = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield stopped
        return

    def note(number: int, frame: Any) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
