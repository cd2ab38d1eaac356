"""`staticnet backprop "(x + y) * z" --at x=-2 y=5 z=-4`: values forward, gradients backward."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from staticnet.cli.expressions import arrays, read, shapes_of
from staticnet.explain import backprop


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("backprop", help="show values forward and gradients backward")
    parser.add_argument(
        "expression", help='such as "(x + y) * z"; last, behind --, if it begins with a minus'
    )
    parser.add_argument(
        "--at", nargs="+", default=[], metavar="NAME=VALUE", help="x=2 w=[[1,2],[3,4]]"
    )
    parser.add_argument("--html", type=Path, metavar="OUT", help="write it as one page that plays")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print values and gradients; write the page.

    Raises:
        ExpressionError: if the expression is none.
        ArgumentError: if a variable has no value.
        OSError: if the page cannot be written.
    """
    values = arrays(options.at, "--at")
    expression = read(options.expression, shapes_of(values))
    made = backprop(expression.node, **values)
    print(made)
    if options.html is not None:
        print(f"wrote {made.html(options.html)}")
