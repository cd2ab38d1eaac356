"""`staticnet recipe train.py`: what the script would train is looked at instead."""

from __future__ import annotations

import argparse
import runpy
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from staticnet.cli.numbers import positive_int
from staticnet.errors import ArgumentError, StaticnetError
from staticnet.explain.diagnosis import diagnose
from staticnet.function import Function
from staticnet.ir.location import caller
from staticnet.ops.state import Variable
from staticnet.train import Recipe, Trainer
from staticnet.train.checks import looked_at

_BATCH = 64  # examples of a data set that `Function.run` is given, unless it is told
_NOTHING = "the script ended without Trainer.fit and without a training step"


class _Looked(BaseException):
    """Ends the script: `except Exception` of its own does not catch it."""


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser(
        "recipe",
        help="look at what a script would train",
        description="Look at what a script would train, and end it there. Faults are told; the "
        "status is 0 anyway. Of a script with a training step of its own, the step's first batch "
        "is diagnosed.",
    )
    parser.add_argument(
        "--fit",
        type=positive_int,
        default=1,
        metavar="N",
        help="look at its N-th fit; others train",
    )
    parser.add_argument("script", type=Path, help="a Python script that calls Trainer.fit")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the script up to its first `Trainer.fit`, and check trainer and data in its place.

    Raises:
        ArgumentError: if there is no such script, or it trains nothing.
        StaticnetError: as the script or the checks raise it.
        SystemExit: if the script fails, with its traceback, or ends so itself.
    """
    if not options.script.is_file():
        raise ArgumentError(f"{options.script}: there is no such script")
    before = sys.argv, list(sys.path)
    sys.argv = [str(options.script), *options.arguments]
    sys.path.insert(0, str(options.script.resolve().parent))
    try:
        with _Watch(options.fit).instead():
            runpy.run_path(str(options.script), run_name="__main__")
    except _Looked:
        return
    except SystemExit as end:
        if end.code:
            raise
    except (StaticnetError, OSError):
        raise
    except Exception as error:
        raise SystemExit(_told(error, str(options.script))) from None
    finally:
        sys.argv, sys.path[:] = before
    raise ArgumentError(f"{options.script}: {_NOTHING}")


def _told(error: Exception, script: str) -> str:
    """A traceback from the script's first line on: what runs it is not the user's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


class _Watch:
    """Waits for the n-th fit of a script, or for a training step of its own."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.fit, self.call, self.many = Trainer.fit, Function.__call__, Function.run

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Be called in place of what trains."""
        watch = self

        def fit(self: Trainer, data: Any, **named: Any) -> Any:
            return watch.on_fit(self, data, named)

        def call(self: Function, *args: Any, **named: Any) -> Any:
            watch.on_step(self, args, named)
            return watch.call(self, *args, **named)

        def many(self: Function, steps: int, *data: Any, **named: Any) -> Any:
            size = named.get("batch_size") or _BATCH
            options = ("batch_size", "shuffle", "seed")
            feeds = {k: v[:size] for k, v in named.items() if k not in options}
            watch.on_step(self, tuple(x[:size] for x in data), feeds)
            return watch.many(self, steps, *data, **named)

        try:
            self._set(fit, call, many)
            yield
        finally:
            self._set(self.fit, self.call, self.many)

    def _set(self, fit: Any, call: Any, many: Any) -> None:
        setattr(Trainer, "fit", fit)  # noqa: B010
        setattr(Function, "__call__", call)  # noqa: B010
        setattr(Function, "run", many)  # noqa: B010

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        watched: Any = Trainer.fit, Function.__call__, Function.run
        try:
            self._set(self.fit, self.call, self.many)
            yield
        finally:
            self._set(*watched)

    def on_fit(self, trainer: Trainer, data: Any, named: dict[str, Any]) -> Any:
        """Look at what is fitted, if it is its turn; else fit."""
        self.left -= 1
        with self._as_it_was():
            if self.left > 0:
                return trainer.fit(data, **named)
            _look(trainer, data, **named)
            raise _Looked

    def on_step(self, step: Function, feeds: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Diagnose a step that trains."""
        if not any(isinstance(v, Variable) and v.trainable for v, _ in step.graph.updates):
            return
        with self._as_it_was():
            try:
                found = diagnose(step, *feeds, **named)
            except StaticnetError:
                return  # it has no loss, or the call itself tells what is wrong
            print(f"{caller()}: a training step of the script's own, on its first batch")
            print(found)
            raise _Looked


def _look(
    trainer: Trainer,
    data: Any,
    *,
    validation: Any = None,
    batch_size: int = 32,
    shuffle: bool = True,
    **_: Any,
) -> None:
    where = str(caller())
    print(f"{where}: what Trainer.fit is given", flush=True)
    seen = []
    for each in looked_at(trainer, data, validation, batch_size, shuffle, where):
        seen.append(each)
        print(each, flush=True)  # some take minutes
    print(Recipe(tuple(seen)).head)
