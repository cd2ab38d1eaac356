"""`staticnet derive "sin(x)*x" --wrt x`: a derivative worked out, one rule at a time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from staticnet.cli.expressions import arrays, read, shapes_of
from staticnet.errors import ArgumentError
from staticnet.explain import derive


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("derive", help="work a derivative out, one rule at a time")
    parser.add_argument(
        "expression", help='such as "tanh(w*x + b)^2"; last, behind --, if it begins with a minus'
    )
    parser.add_argument("--wrt", metavar="NAME", help="the variable (if there is only one: that)")
    parser.add_argument("--order", type=int, default=1, help="how often (%(default)s)")
    parser.add_argument(
        "--shape",
        nargs="+",
        default=[],
        metavar="NAME=N[,N]",
        help="of variables: x=3 or w=3,4; one with a value has its",
    )
    parser.add_argument(
        "--at", nargs="+", default=[], metavar="NAME=VALUE", help="the point to check it at"
    )
    parser.add_argument("--html", type=Path, metavar="OUT", help="write it as one page")
    parser.add_argument("--latex", action="store_true", help="print the steps as LaTeX instead")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the steps, the result, and numbers beside it; write the page.

    Raises:
        ExpressionError: if the expression is none.
        ArgumentError: if an option does not fit it.
        OSError: if the page cannot be written.
    """
    point = arrays(options.at, "--at")
    expression = read(options.expression, [*shapes_of(point), *options.shape])
    names = list(expression.variables)
    wrt = options.wrt or (names[0] if len(names) == 1 else None)
    if wrt not in names:
        has = f"it has {', '.join(names)}" if names else "it has no variables"
        raise ArgumentError(f"--wrt: which variable of {options.expression!r:.60}? {has}")
    made = derive(expression.node, expression.variables[wrt], options.order)
    if point:
        made = made.at(**point)
    print(made.steps_latex() if options.latex else made)
    if options.html is not None:
        print(f"wrote {made.html(options.html)}")
