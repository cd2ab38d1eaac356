"""Whether operations are recorded, and whether they are shown: each thread has its own answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from staticnet.errors import ArgumentError

recording: ContextVar[bool] = ContextVar("recording", default=True)
_shown: ContextVar[Callable[[str], object] | None] = ContextVar("shown", default=None)


class Tracing:
    """`active` counts the traces open in any thread: all that an op pays where there is none."""

    active = 0


@contextmanager
def no_grad() -> Iterator[None]:
    """Operations inside are not recorded: their results require no gradient. Also a decorator."""
    yield from _record(False)


@contextmanager
def enable_grad() -> Iterator[None]:
    """Operations inside are recorded, also within `no_grad`. Also a decorator."""
    yield from _record(True)


def _record(enabled: bool) -> Iterator[None]:
    token = recording.set(enabled)
    try:
        yield
    finally:
        recording.reset(token)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded now."""
    return recording.get()


@contextmanager
def trace(write: Callable[[str], object] = print) -> Iterator[None]:
    """Show each operation as it runs: its operands' types, the result's, milliseconds and line.

    `write` is given one line an operation. Tensors made inside remember their lines, so that the
    operations of their gradients name them, and so do errors of `backward`.

    Raises:
        ArgumentError: if `write` cannot be called.
    """
    if not callable(write):
        raise ArgumentError(f"trace: write must take a line of text, not {write!r:.60}")
    token = _shown.set(write)
    Tracing.active += 1
    try:
        yield
    finally:
        Tracing.active -= 1
        _shown.reset(token)


def writer() -> Callable[[str], object] | None:
    """Where this thread's operations are shown, if they are."""
    return _shown.get()
