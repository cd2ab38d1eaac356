"""Progress while training: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from staticnet.train.epochs import Epoch


def track(epochs: Iterable[Epoch], total: int, describe: Callable[[Epoch], str]) -> list[Epoch]:
    """Run through the epochs and show each one's description; gives them all."""
    shown = _live if sys.stdout.isatty() else _plain
    return list(shown(epochs, total, describe))


def _plain(
    epochs: Iterable[Epoch], total: int, describe: Callable[[Epoch], str]
) -> Iterator[Epoch]:
    for epoch in epochs:
        print(f"epoch {epoch.number:>{len(str(total))}}/{total}  {describe(epoch)}", flush=True)
        yield epoch


def _live(epochs: Iterable[Epoch], total: int, describe: Callable[[Epoch], str]) -> Iterator[Epoch]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("", total=total)
        for epoch in epochs:
            bar.update(task, advance=1, description=describe(epoch))
            yield epoch
