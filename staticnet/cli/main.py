"""`staticnet`: reads the command line, runs a subcommand, and turns errors into one line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from staticnet import __version__, flags
from staticnet.cli import bench, compare, demo, doctor, export, inspect
from staticnet.errors import StaticnetError

COMMANDS = (demo, compare, bench, inspect, export, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status: 0, or 2 if something was wrong."""
    options = _parser().parse_args(arguments)
    try:
        if getattr(options, "reads_flags", True) and flags.read().debug:
            logging.basicConfig(level=logging.INFO, format="%(message)s")
        options.run(options)
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
