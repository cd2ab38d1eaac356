"""What `derive` and `backprop` read from the command line: expressions, shapes, values."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError, ExpressionError
from staticnet.explain.expression import Expression, parse


def read(text: str, shapes: Sequence[str]) -> Expression:
    """The expression; one that is none is shown with a caret below the place.

    Raises:
        ExpressionError: if it is none.
        ArgumentError: if a shape is none.
    """
    known = {}
    for given in shapes:
        name, _, sizes = given.partition("=")
        try:
            known[name] = tuple(int(n) for n in sizes.strip("()[], ").split(",") if n.strip())
        except ValueError:
            known[name] = (-1,)
        if not name.isidentifier() or min(known[name], default=0) < 0 or "=" not in given:
            raise ArgumentError(f"--shape: write NAME=N or NAME=N,N, as x=3; not {given!r:.60}")
    try:
        return parse(text, known)
    except ExpressionError as error:
        if error.pointed:
            print(error.pointed, file=sys.stderr)
        raise


def arrays(given: Sequence[str], option: str) -> dict[str, Any]:
    """`x=2 w=[1,2]` as arrays by their names.

    Raises:
        ArgumentError: if one is none.
    """
    values = {}
    for each in given:
        name, sign, text = each.partition("=")
        try:
            values[name] = np.asarray(ast.literal_eval(text.strip()), np.float64)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            sign = ""
        if not sign or not name.isidentifier():
            raise ArgumentError(f"{option}: write NAME=VALUE, as x=2 or x=[1,2]; not {each!r:.60}")
    return values


def shapes_of(values: Mapping[str, Any]) -> list[str]:
    """The shapes of arrays as `read` takes them."""
    return [f"{name}={','.join(map(str, value.shape))}" for name, value in values.items()]
