"""`sn.train.recipe`: what to look at before one trains, after Karpathy's recipe.

Karpathy, "A Recipe for Training Neural Networks", 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from staticnet.errors import ArgumentError
from staticnet.ir.location import caller
from staticnet.ir.shown import Shown, Table
from staticnet.ops.arguments import as_size
from staticnet.train.checks import copies, labels, learning, model, start
from staticnet.train.checks import data as inputs
from staticnet.train.checks.session import Seen, Session
from staticnet.train.data.sources import as_source

if TYPE_CHECKING:
    from staticnet.train.trainer import Trainer

CHECKS: tuple[Callable[[Session], Seen | None], ...] = (
    inputs.ranges,
    copies.duplicates,
    copies.leakage,
    inputs.images,
    labels.balance,
    labels.off_by_one,
    labels.shuffling,
    model.mode,
    inputs.normalisation,
    start.loss_for_output,
    start.initial_loss,
    model.dependence,
    model.gradients,
    model.stuck,
    learning.baseline,
    learning.one_batch,
    learning.rate,
)


@dataclass(frozen=True, repr=False)
class Recipe(Shown):
    """What each check saw, in the order in which one would look."""

    seen: tuple[Seen, ...]

    @property
    def faults(self) -> tuple[Seen, ...]:
        """What is to be mended."""
        return tuple(each for each in self.seen if each.remedy)

    def tables(self) -> list[Table]:
        """A row for each check."""
        rows = [
            ("FAULT" if s.remedy else "ok", s.check, s.saw, s.remedy, ", in ".join(
                part for part in (s.line, s.module) if part))
            for s in self.seen
        ]  # fmt: skip
        return [Table(self.head, ("", "check", "seen", "remedy", "where"), rows)]

    @property
    def head(self) -> str:
        """How many faults there are, in how many checks."""
        count = len(self.faults)
        found = "no fault" if not count else f"{count} fault{'s' * (count > 1)}"
        return f"{found} in {len(self.seen)} checks"

    def __str__(self) -> str:
        return "\n".join([*map(str, self.seen), self.head])


def recipe(
    trainer: Trainer,
    data: Any,
    *,
    validation: Any = None,
    batch_size: int = 32,
    shuffle: bool = True,
) -> Recipe:
    """Look at data, model, loss and optimizer before training; nothing of them is changed.

    The data: numbers, duplicates, leakage into `validation`, blank images, label balance, labels
    off by one, shuffling, normalisation. The start: whether the loss fits the outputs, and its
    value beside that of constant ones. The model: mode, examples that see each other, gradients
    that do not flow, dead and saturated units. Then for a moment of training: whether inputs
    matter, whether one batch can be learned by heart, and the learning rate. The arguments are
    those of `fit`; checks that do not apply are left out.

    Raises:
        ArgumentError: if the data, the model or the loss do not fit, as `fit` finds them.
        DataError: if a record cannot be read; names its file and place.
    """
    made = looked_at(trainer, data, validation, batch_size, shuffle, str(caller()))
    return Recipe(tuple(made))


def looked_at(
    trainer: Trainer, data: Any, validation: Any, batch_size: int, shuffle: bool, where: str
) -> Iterator[Seen]:
    """What each check saw, as soon as it did; faults of no line of their own are at `where`.

    Raises:
        ArgumentError, DataError: as `recipe` does.
    """
    source = as_source("recipe", data)
    held = None if validation is None else as_source("recipe: validation", validation)
    size = as_size(batch_size, "recipe: batch_size")
    if trainer.optimizer is None:
        raise ArgumentError("recipe: the trainer has no optimizer; give Trainer(..., optimizer=…)")
    trainer._take_layout(source.layout, "recipe")
    session = Session(trainer, source, held, size, shuffle)
    for check in CHECKS:
        found = check(session)
        if found is not None:
            yield replace(found, line=where) if found.remedy and not found.line else found
            if found.is_fatal:
                return
