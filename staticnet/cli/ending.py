"""How a command ends: what was wrong is one line, and what reads its output may stop reading."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from staticnet.errors import StaticnetError

WRONG, INTERRUPTED, UNREAD = 2, 128 + 2, 128 + 13  # the last two are those of SIGINT and SIGPIPE


def status(name: str, act: Callable[[], object]) -> int:
    """The exit status of an act: 0; 2 if something was wrong; 130 after Ctrl-C.

    What was wrong is told on one line behind `name`. It ends quietly, with the status of a program
    that SIGPIPE ends, if what reads its output does.
    """
    try:
        act()
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # or the flush at the exit fails again
        os.dup2(nowhere, sys.stdout.fileno())
        return UNREAD
    except KeyboardInterrupt as interrupt:
        print(f"{name}: {interrupt if interrupt.args else 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    except (StaticnetError, OSError) as error:
        print(f"{name}: {' '.join(_told(error).split())}", file=sys.stderr)
        return WRONG
    return 0


def _told(error: StaticnetError | OSError) -> str:
    """What was wrong; of the system's errors the file and the reason, without a number."""
    if isinstance(error, StaticnetError) or error.filename is None or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def interrupted(out: str | None) -> KeyboardInterrupt:
    """What ends a program whose training Ctrl-C ended, with checkpoints in `out` if that is given.

    Its line says how to go on: the program gives `fit` the same `out`, and `resume=True`.
    """
    return KeyboardInterrupt(*["interrupted; the same command goes on"][: out is not None])


def script(main: Callable[[], object]) -> None:
    """Run a program's `main`, and end the process as `status` has it.

    Raises:
        SystemExit: with that status.
    """
    sys.exit(status(os.path.basename(sys.argv[0]), main))
