"""The only place that reads the environment.

| variable | meaning |
|---|---|
| `STATICNET_DEBUG=passes,time` | what to log at INFO: each pass's effect, each pass's time |
| `STATICNET_DUMP=DIR` | write the graph after every pass to `DIR`: `01.step.batch=32.07.fold.sn` |
| `STATICNET_VERIFY=0` | turn the verifier between passes off (it is on) |
| `STATICNET_DATA=DIR` | where the examples look for data sets |
| `STATICNET_TUNE=5` | CUDA: seconds a process may time algorithms of products; 0 takes none |
| `STATICNET_CACHE=DIR` | where built code lies; else `staticnet` in `XDG_CACHE_HOME`, `~/.cache` |
| `CC="gcc -m64"` | the C compiler, with arguments; else the first of those on `PATH` |

An empty one is as one that is not set. An unknown `STATICNET_…` name or an illegal value raises
`FlagError` with the legal ones.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from staticnet.errors import FlagError

_NAMES = (
    "STATICNET_DEBUG",
    "STATICNET_DUMP",
    "STATICNET_VERIFY",
    "STATICNET_DATA",
    "STATICNET_CACHE",
    "STATICNET_TUNE",
)
_TOPICS = ("passes", "time")
TUNE_SECONDS = 5.0


@dataclass(frozen=True)
class Flags:
    """The environment's settings, parsed."""

    debug: frozenset[str] = frozenset()
    dump: Path | None = None
    verify: bool = True
    tune: float = TUNE_SECONDS
    data: Path | None = None
    cache: Path | None = None
    cc: tuple[str, ...] = ()
    path: str = ""


def read() -> Flags:
    """Parse the environment as it is now.

    Raises:
        FlagError: on an unknown `STATICNET_…` name or an illegal value.
    """
    for name in os.environ:
        if name.startswith("STATICNET_") and name not in _NAMES:
            raise FlagError(f"{name} is not a staticnet variable; the legal ones are {_NAMES}")
    debug = _debug()
    if debug:
        _listen()
    return Flags(
        debug=debug,
        dump=_path("STATICNET_DUMP"),
        verify=_switch("STATICNET_VERIFY", "1"),
        tune=_seconds("STATICNET_TUNE", TUNE_SECONDS),
        data=_path("STATICNET_DATA"),
        cache=_cache(),
        cc=_cc(),
        path=os.environ.get("PATH", os.defpath),
    )


def environment() -> dict[str, str | None]:
    """The variables that `read` looks at, as they are; None for one that is not set."""
    names = (*_NAMES, "CC", "PATH", "XDG_CACHE_HOME")
    return {name: os.environ.get(name) for name in names}


class _Standard(logging.Handler):
    """Prints to stderr as long as nobody has configured logging."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            print(self.format(record), file=sys.stderr)


def _listen() -> None:
    """What is logged at INFO is seen, also where the program configures no logging."""
    log = logging.getLogger("staticnet")
    if not log.hasHandlers():
        log.addHandler(_Standard())
        log.setLevel(logging.INFO)


def _debug() -> frozenset[str]:
    listed = map(str.strip, os.environ.get("STATICNET_DEBUG", "").split(","))
    topics = frozenset(filter(None, listed))
    unknown = sorted(topics - set(_TOPICS))
    if unknown:
        raise FlagError(f"STATICNET_DEBUG={','.join(unknown)}: the legal topics are {_TOPICS}")
    return topics


def _switch(name: str, default: str) -> bool:
    value = os.environ.get(name) or default
    if value not in ("0", "1"):
        raise FlagError(f"{name}={value!r}: use 0 or 1")
    return value == "1"


def _seconds(name: str, default: float) -> float:
    value = os.environ.get(name, "")
    try:
        seconds = float(value) if value else default
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise FlagError(f"{name}={value!r}: use a number of seconds, 0 or more; inf is no limit")
    return seconds


def _path(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None


def _cache() -> Path | None:
    """The cache's folder, or None for a user without a home."""
    if chosen := _path("STATICNET_CACHE"):
        return chosen
    base = _path("XDG_CACHE_HOME")
    if base is None or not base.is_absolute():  # the standard has relative ones ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "staticnet"


def _cc() -> tuple[str, ...]:
    value = os.environ.get("CC", "")
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise FlagError(f"CC={value!r} is no command line: {error}") from error
