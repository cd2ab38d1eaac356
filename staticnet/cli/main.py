"""`staticnet`: reads the command line, runs a subcommand, and turns errors into one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from staticnet import __version__, flags
from staticnet.cli import (
    backprop,
    bench,
    compare,
    demo,
    derive,
    doctor,
    eval,
    export,
    features,
    inspect,
    lecture,
    optimizers,
    playground,
    predict,
    recipe,
    run,
    train,
)
from staticnet.errors import StaticnetError

COMMANDS = (
    demo,
    train,
    eval,
    predict,
    playground,
    features,
    optimizers,
    compare,
    bench,
    inspect,
    run,
    export,
    derive,
    backprop,
    recipe,
    lecture,
    doctor,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status: 0, or 2 if something was wrong.

    It ends quietly, with the status of a program that SIGPIPE ends, if what reads its output does.
    """
    try:
        options = _parser().parse_args(arguments)
        return _run(options)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # or the flush at the exit fails again
        os.dup2(nowhere, sys.stdout.fileno())
        return 128 + 13


def _run(options: argparse.Namespace) -> int:
    try:
        if getattr(options, "reads_flags", True):
            flags.read()
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (StaticnetError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"staticnet {options.command}: {message}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="staticnet", description="A static-graph compiler.")
    parser.add_argument("--version", action="version", version=f"staticnet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
