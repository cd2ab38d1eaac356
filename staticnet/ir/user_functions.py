"""Functions of a user's own, called so that what goes wrong inside them is told with their lines.

Python's and NumPy's errors become the family's, with the original as their cause. Exceptions of a
user's own classes, assertions and warnings are meant to be seen as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from staticnet.errors import ArgumentError, StaticnetError
from staticnet.ir.location import Location, current, written_at

F = TypeVar("F", bound=Callable[..., Any])


def call_rule(what: str, where: Location | None, rule: Callable[..., Any], *args: Any) -> Any:
    """What a rule gives that staticnet calls, at some time, for the user.

    `what` is the rule as messages name it, `softsign: its vjp`, and `where` it is written. All
    that fails inside is told with both, and with the line for which the rule is called.

    Raises:
        ArgumentError: for what is no error of the family; those keep their classes.
    """
    try:
        return rule(*args)
    except StaticnetError as error:
        raise _located(type(error)(f"{what} ({where}) failed: {error}{_for(error)}")) from error
    except Exception as error:
        if not _is_pythons(error):
            raise
        raise failed(what, where, error) from error


def guarded(what: str, f: F) -> F:
    """A function that the user hands over to be called at once, as the body of a loop.

    What it raises of the family says its line already.
    """

    @functools.wraps(f, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except StaticnetError:
            raise
        except Exception as error:
            if not _is_pythons(error):
                raise
            raise failed(what, written_at(f), error) from error

    return call  # type: ignore[return-value]


def failed(what: str, where: Location | None, error: Exception) -> ArgumentError:
    """The error for what a user's function raised: `scan: f (a.py:3) failed: KeyError: 'w' (…)`."""
    place = "" if where is None else f" ({where})"
    told = f"{what}{place} failed: {type(error).__name__}: {error} ({current()})"
    return _located(ArgumentError(told))


def _for(error: StaticnetError) -> str:
    return "" if error.located else f" ({current()})"


def _located(error: Any) -> Any:
    error.located = True
    return error


def _is_pythons(error: Exception) -> bool:
    """Whether an error is Python's or NumPy's own, and says that something went wrong."""
    room = type(error).__module__.partition(".")[0]
    return room in ("builtins", "numpy") and not isinstance(error, AssertionError | Warning)
