"""`Trainer`: a model, a loss and an optimizer, trained, measured, saved and used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.function import backend_for
from staticnet.ir.hints import missing_name
from staticnet.nn import functional
from staticnet.nn.module import Module
from staticnet.ops.arguments import as_size
from staticnet.optim.base import Optimizer
from staticnet.optim.parameters import Parameters
from staticnet.train import checkpoint, loop
from staticnet.train.built import Built
from staticnet.train.data.source import Plan, Source, on_host
from staticnet.train.data.sources import as_source, inputs_only
from staticnet.train.history import History
from staticnet.train.loaded import Reader
from staticnet.train.metrics.named import as_metrics
from staticnet.train.optimizers import check_optimizer, composed
from staticnet.train.state import restore, set_position, snapshot

Array = np.ndarray[Any, Any]
PREDICTED = 256  # examples of a batch of a prediction, unless it is told


class Trainer(Built):
    """Train a model: one compiled step, one compiled evaluation, and what people keep of them.

        trainer = sn.train.Trainer(model, sn.nn.cross_entropy, sn.optim.Adam(1e-3))
        history = trainer.fit((x, y), validation=(xv, yv), epochs=10, out="runs/first")

    `loss` is a function of the model's outputs and the targets that gives a scalar node, the mean
    of a batch, or the name of one of `sn.nn.functional`. Several inputs, in a tuple or a dict, are
    the model's arguments. Floats are fed in the dtype of the model's parameters.

    `accumulate` makes one update of so many batches; `clip_norm` and `clip_value` limit the
    gradient of an update, which is the mean of what was accumulated. With `ema`, a decay, averages
    of the parameters evaluate and predict. `precision` is `sn.function`'s; in float16 the loss is
    scaled. `parameters` are what is trained, or groups with rates of their own, as for
    `Optimizer.minimize`; None is all that is trainable.

    Raises:
        ArgumentError: if an argument is none of these.
        DeviceError: if the device is not there.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Any] | str,
        optimizer: Optimizer | None = None,
        *,
        metrics: Any = (),
        device: str = "auto",
        precision: str = "float32",
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        ema: float | None = None,
        parameters: Parameters | None = None,
        numerics: str = "fast",
        memory_limit: int | str | None = None,
    ) -> None:
        if not isinstance(model, Module):
            raise ArgumentError(f"Trainer: the model must be an sn.nn.Module, not {model!r:.60}")
        check_optimizer(optimizer)
        around: dict[str, Any] = {
            "precision": precision,
            "clip_norm": clip_norm,
            "clip_value": clip_value,
            "ema": ema,
            "accumulate": as_size(accumulate, "Trainer: accumulate"),
        }
        options = {
            "device": device,
            "precision": precision,
            "numerics": numerics,
            "memory_limit": memory_limit,
        }
        chosen = as_metrics(metrics)
        backend_for(device, numerics, precision)
        if optimizer is not None:
            composed(optimizer, **around)
        super().__init__(model, _as_loss(loss), optimizer, chosen, parameters, around, options)
        self.history = History()
        self.step = self.epoch = self.batch = 0
        self.epochs, self.batch_size = 0, 0
        self.out: Path | None = None
        self.source: Source | None = None
        self.steps_in_epoch: int | None = None
        self.should_stop = self.resumes = False
        self.failed: BaseException | None = None
        self.saved_step: int | None = None
        self.latest_losses: Array = np.zeros(0)
        self.latest_examples = 0
        self.run_options: dict[str, Any] = {}
        self._callbacks: list[Any] = []

    def __repr__(self) -> str:
        count = sum(w.value.size for w in self.model.parameters())
        return (
            f"<Trainer of {type(self.model).__name__} with {count:,} parameters, after {self.step} "
            f"steps in {self.epoch} epochs>"
        )

    def fit(
        self,
        data: Any,
        *,
        validation: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        seed: int = 0,
        callbacks: Any = (),
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        shuffle: bool = True,
        drop_last: bool = False,
        steps_per_epoch: int | None = None,
        progress: bool = True,
    ) -> History:
        """Train for so many epochs more; -> the history of all steps since step 0.

        `data` is a pair of arrays (inputs, targets), in memory or mapped, a source of
        `sn.train.data`, batches of an iterable, or a PyTorch DataLoader; `validation` too. Each
        epoch has an order of its own under `seed`, the same on every device. A last batch that is
        not full is trained on, unless `drop_last`.

        With `out`, a run's folder gets checkpoints, `metrics.csv` and TensorBoard's events.
        `resume=True` goes on from the last checkpoint there, if there is one, bit for bit, until
        `epochs` in all are made; without `out`, a trainer that has steps goes on. Ctrl-C ends the
        epoch where it is, with a checkpoint, and gives the history so far, `interrupted`; a second
        one stops at once.

        Raises:
            ArgumentError: if an argument does not fit, or the model, the loss or a metric.
            StateError: if `out` has a run and is not resumed, its checkpoint is damaged or of
                another model, or one cannot be written.
            DataError: if a record cannot be read.
        """
        options = loop.Options(
            epochs=as_size(epochs, "fit: epochs"),
            batch_size=as_size(batch_size, "fit: batch_size"),
            seed=seed,
            shuffle=shuffle,
            drop_last=drop_last,
            resume=resume,
            out=loop.as_folder(out),
        )
        steps = steps_per_epoch
        steps = None if steps is None else as_size(steps, "fit: steps_per_epoch")
        self.source = as_source("fit", data, steps)
        held = None if validation is None else as_source("fit: validation", validation)
        self._take_layout(self.source.layout, "fit")
        if held is not None:
            self._take_layout(held.layout, "fit: validation")
        self._callbacks = loop.all_callbacks(callbacks, options.out, progress)
        return loop.fit(self, options, held)

    def evaluate(self, data: Any, *, batch_size: int = PREDICTED) -> dict[str, Any]:
        """The loss, a mean over examples, and the metrics of data: `{"loss": …, "accuracy": …}`.

        Raises:
            ArgumentError: if data are not as `fit` takes them.
            DataError: if a record cannot be read.
        """
        source = as_source("evaluate", data)
        self._take_layout(source.layout, "evaluate")
        return self.evaluate_source(source, as_size(batch_size, "evaluate: batch_size"))

    def evaluate_source(self, source: Source, batch_size: int) -> dict[str, Any]:
        """`evaluate`, of a source."""
        program = self.evaluation()
        program.sums.reset()
        losses, sizes = [], []
        for outputs, counts in _steps(source, program.function, batch_size):
            losses.append(outputs[0])
            sizes.append(counts)
        loss = loop.mean_loss(np.concatenate(losses), np.concatenate(sizes))
        return {"loss": loss, **program.sums.values()}

    def predict(self, x: Any, *, batch_size: int = PREDICTED) -> Any:
        """What the model gives for inputs, in evaluation: arrays, in its own tree of them.

        x: [n, *s], or a source or batches of inputs, whose targets are left -> [n, *t]; n may be 0

        Raises:
            ArgumentError: if x are no inputs of this model.
            DataError: if a record cannot be read.
        """
        source = inputs_only("predict", x)
        program = self.prediction(source.layout)
        size = as_size(batch_size, "predict: batch_size")
        rows = [outputs for outputs, _ in _steps(source, program.function, size)]
        rows = rows or [_of_nothing(source, program.function)]
        leaves = [_joined(column) for column in zip(*rows, strict=True)]
        return program.tree.unflatten(leaves)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to one safetensors file: weights, optimizer, history, and the graphs.

        Raises:
            StateError: if it cannot be written; a file that was there is as it was.
        """
        checkpoint.write(Path(path), *snapshot(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "auto") -> Trainer:
        """A trainer from what `save` or a run wrote, without the code that made it.

        It predicts, evaluates and trains on, bit for bit, by the graphs in the file. Its `model`
        evaluates in graphs, and has the state under its names. Metrics that are no class of
        `sn.train.metrics` are left out.

        Raises:
            StateError: if the file is damaged or no checkpoint.
            OSError: if it cannot be read.
        """
        file = Path(path)
        tensors, record = checkpoint.read(file)
        reader = Reader(file, record["trainer"])
        made = cls(reader.model(), _no_loss, device=device, metrics=reader.metrics(),
                   **reader.record["options"])  # fmt: skip
        made._layout, made._schedules = reader.layout(), reader.plateaus()
        made._named = reader.state()
        programs = reader.programs(made.options)
        shadows = len(programs["step"].updates.shadows)
        inputs = made._layout.of_inputs()
        made._programs |= {
            "step": programs["step"],
            f"evaluate {shadows}": programs["evaluate"],
            f"predict {inputs} {shadows}": programs["predict"],
            "rate": programs["rate"],
            "description": record["trainer"],
        }
        for name, v in made._named.items():
            v.value = tensors[name]
        set_position(made, record, tensors)
        return made

    def load_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Go on from what `save` or a run wrote; the trainer must be of the same model and step.

        Raises:
            StateError: if the file is damaged, or of another model; lists the names that differ.
            OSError: if it cannot be read.
        """
        restore(self, Path(path), *checkpoint.read(Path(path)))

    def save_checkpoint(self) -> Path:
        """Write a checkpoint into the run's folder; -> its file.

        Raises:
            ArgumentError: if the run has no folder.
            StateError: if it cannot be written; those before are as they were.
        """
        if self.out is None:
            raise ArgumentError("save_checkpoint: where? give fit(..., out='runs/name')")
        file = checkpoint.write_in_run(self.out, self.step, *snapshot(self))
        self.saved_step = self.step
        loop.call(self, "on_checkpoint")
        return file

    def named_callbacks(self) -> list[tuple[str, Any]]:
        """The callbacks that have state, each with a name."""
        named: dict[str, Any] = {}
        for each in self._callbacks:
            if hasattr(each, "state_dict") and hasattr(each, "load_state_dict"):
                base = type(each).__name__
                number = sum(name.partition(" ")[0] == base for name in named)
                named[f"{base} {number + 1}" if number else base] = each
        return list(named.items())


def _steps(source: Source, function: Any, size: int) -> Iterator[tuple[list[Array], Array]]:
    """All batches of a source, in their order."""
    epoch = source.epoch(Plan(0, size, shuffle=False))
    count = 1
    try:
        while (made := epoch.run(function, count)) is not None:
            yield made
            count = min(2 * count, 64)
    finally:
        epoch.close()


def _of_nothing(source: Source, function: Any) -> list[Array]:
    """The outputs of a batch of no examples, as those of one step.  -> [1, 0, *t]"""
    empty = [np.zeros((0, *shape), dtype) for dtype, shape in source.layout.types]
    outputs = function(*empty)
    listed = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [on_host(output)[None] for output in listed]


def _joined(column: Sequence[Array]) -> Array:
    """Outputs [steps, batch, *t] of several sizes as one array [n, *t]."""
    return np.concatenate([x.reshape(-1, *x.shape[2:]) for x in column])


def _no_loss(outputs: Any, targets: Any) -> Any:
    raise ArgumentError(
        "Trainer.load: this trainer has the programs that it was saved with, and no loss to build "
        "others of; feed it data of the same kind, or make a Trainer of the model's code"
    )


def _as_loss(loss: Any) -> Callable[[Any, Any], Any]:
    if isinstance(loss, str):
        found = getattr(functional, loss, None) if loss in functional.__all__ else None
        if found is None:
            hint = missing_name("sn.nn.functional", loss, functional.__all__)
            raise ArgumentError(f"Trainer: loss: {hint}")
        return found
    if isinstance(loss, type) or not callable(loss):
        raise ArgumentError(
            f"Trainer: loss must be a function of outputs and targets, as sn.nn.cross_entropy, not "
            f"{loss!r:.60}"
        )
    return loss
