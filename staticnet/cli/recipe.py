"""`staticnet recipe train.py`: what the script would train is looked at instead."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ir.location import caller
from staticnet.train import Recipe, Trainer
from staticnet.train.checks import looked_at


class _Looked(BaseException):
    """Ends the script: `except Exception` of its own does not catch it."""


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser(
        "recipe",
        help="look at what a script would train",
        description="Look at what a script would train. Faults are told; the status is 0 anyway.",
    )
    parser.add_argument("script", type=Path, help="a Python script that calls Trainer.fit")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the script up to its first `Trainer.fit`, and check trainer and data in its place.

    Raises:
        ArgumentError: if there is no such script, or it trains nothing.
        StaticnetError: as the script or the checks raise it.
    """
    if not options.script.is_file():
        raise ArgumentError(f"{options.script}: there is no such script")
    before = sys.argv, list(sys.path)
    sys.argv = [str(options.script), *options.arguments]
    sys.path.insert(0, str(options.script.resolve().parent))
    try:
        with _instead_of_fit(_look):
            runpy.run_path(str(options.script), run_name="__main__")
    except _Looked:
        return
    finally:
        sys.argv, sys.path[:] = before
    raise ArgumentError(f"{options.script}: the script ended without Trainer.fit")


def _look(
    self: Trainer,
    data: Any,
    *,
    validation: Any = None,
    batch_size: int = 32,
    shuffle: bool = True,
    **_: Any,
) -> None:
    seen = []
    for each in looked_at(self, data, validation, batch_size, shuffle, str(caller())):
        seen.append(each)
        print(each, flush=True)  # some take minutes
    print(Recipe(tuple(seen)).head)
    raise _Looked


@contextmanager
def _instead_of_fit(look: Callable[..., Any]) -> Iterator[None]:
    fit = Trainer.fit
    try:
        setattr(Trainer, "fit", look)  # noqa: B010
        yield
    finally:
        setattr(Trainer, "fit", fit)  # noqa: B010
