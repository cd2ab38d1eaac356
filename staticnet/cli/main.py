"""`staticnet`: reads the command line, runs a subcommand, and turns errors into one line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from staticnet import __version__, flags
from staticnet.cli import (
    backprop,
    bench,
    compare,
    demo,
    derive,
    doctor,
    ending,
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
    """Run the command line; gives the exit status, as `ending.status` has it."""
    options = _parser().parse_args(arguments)
    return ending.status(f"staticnet {options.command}", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    if getattr(options, "reads_flags", True):
        flags.read()
    options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="staticnet", description="A static-graph compiler.")
    parser.add_argument("--version", action="version", version=f"staticnet {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser
