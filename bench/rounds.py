"""Preparing contenders and timing their rounds.

Two ways, by the memory that they need:

- **together**: all are prepared, then take turns. Their buffers stay.
- **in turn**: where all together do not fit, each prepares, is timed and releases its buffers
  before the next one prepares.

A turn is as many calls in each mode as fit in some time, after a warm-up. With large arrays, and
in turn, it is FEW_CALLS calls after one that is not recorded. Either way the order rotates from
round to round.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.client import Client, WorkerError
from bench.program import COPIES, Array, Workload

WARM_UP_LIMIT = 12  # in rounds
FEWEST_ROUNDS, ROUNDS_LIMIT = 3, 300.0  # after so many seconds no round begins but the first
LARGE = 1 << 30  # bytes of one array
FEW_ROUNDS, FEW_CALLS, FEW_SECONDS = 5, 5, 1.0
Record = dict[str, Any]


@dataclass
class Race:
    """The contenders of one workload and size; each one's line so far, by mode."""

    workload: Workload
    size: int
    clients: Mapping[str, Client]
    expected: Mapping[str, Array]
    add: Callable[[Record], None]
    say: Callable[[str], None] = lambda _: None
    lines: dict[str, dict[str, Record]] = field(default_factory=dict)
    modes: Sequence[str] = ()

    def together(self, rounds: int, seconds: float, limit: float) -> None:
        """Prepare and warm up all, then time them; a warm-up takes at most `limit` seconds."""
        for c in self.clients:
            self._prepare(c, "together")
        for c in list(self.lines):
            with self._failing(c):
                self._warm(c, seconds, limit)
        for c in self._turns(rounds):
            with self._failing(c):
                self._round(c, seconds)
        self._end()

    def few_together(self, rounds: int) -> None:
        """Prepare all, then time them by few calls."""
        for c in self.clients:
            self._prepare(c, "together")
        for c in self._turns(min(rounds, FEW_ROUNDS)):
            with self._failing(c):
                self._few(c)
        self._end()

    def in_turn(self, rounds: int) -> None:
        """Each is prepared, timed by few calls and released before the next one is prepared.

        Copies need little memory and keep it.
        """
        holder: str | None = None
        for i in range(min(rounds, FEW_ROUNDS)):
            for c in rotated(list(self.lines if i else self.clients), i):
                if c not in COPIES:
                    self._release(holder)
                    holder = c
                if i == 0:
                    self._prepare(c, "in turn")
                if c in self.lines:
                    with self._failing(c):
                        self._few(c, again=i > 0 and c not in COPIES)
        self._end()

    def _turns(self, rounds: int) -> Iterator[str]:
        """Those that are still in the race, so many times, in an order that rotates."""
        end = time.perf_counter() + ROUNDS_LIMIT
        for i in range(rounds):
            if i >= FEWEST_ROUNDS and time.perf_counter() > end:
                self.say(f"{i} of {rounds} rounds: they took {ROUNDS_LIMIT:.0f} s")
                return
            self.say(f"round {i + 1} of {rounds}")
            yield from rotated(list(self.lines), i)

    def _release(self, c: str | None) -> None:
        if c is not None:
            with contextlib.suppress(WorkerError):  # a worker that has ended holds nothing
                self.clients[c].ask("release")

    def _prepare(self, c: str, turns: str) -> None:
        """A line for each mode to be timed; others are added as wrong or failed."""
        self.say(f"preparing {c}")
        try:
            steps = self.workload.check_steps
            own = {} if c in COPIES else {"modes": list(self.modes)}
            answer = self.clients[c].ask("prepare", size=self.size, steps=steps, **own)
        except WorkerError as error:
            status = "missing" if "CxxCompiler" in str(error) else "failed"
            self.add(new_line(self.workload, self.size, "", c, status, str(error)))
            return
        lines = {}
        for mode, values in answer["checks"].items():
            line = new_line(self.workload, self.size, mode, c, "ok", "")
            line["first_call_s"] = answer["first_call_s"][mode]
            line["steps"] = answer["steps"][mode]
            line["turns"] = turns
            if c not in COPIES:
                line["check"] = compare(np.array(values), self.expected[mode], self.workload)
            if line.get("check", {}).get("right", True):
                lines[mode] = line | {"samples": []}
            else:
                self.add(line | {"status": "wrong", "reason": line["check"]["text"]})
        if lines:
            self.lines[c] = lines

    def _warm(self, c: str, seconds: float, limit: float) -> None:
        self.say(f"warming up {c}")
        for mode, line in self.lines[c].items():
            line |= self.clients[c].ask("warm", mode=mode, seconds=seconds, limit=limit)

    def _round(self, c: str, seconds: float) -> None:
        for mode, line in self.lines[c].items():
            calls = line["calls"]
            answer = self.clients[c].ask("round", mode=mode, seconds=seconds, calls=calls)
            line["samples"].append(answer["samples"])

    def _few(self, c: str, again: bool = False) -> None:
        """A turn of few calls. If the program is built `again`, its first call is checked.

        Raises:
            WorkerError: if the contender fails or has become wrong.
        """
        client = self.clients[c]
        if again:
            client.ask("prepare", size=self.size, steps=0)
        few = {"seconds": FEW_SECONDS, "calls": FEW_CALLS, "check": again}
        for mode, line in self.lines[c].items():
            answer = client.ask("few", mode=mode, **few)
            if again:
                values = np.array(answer["check"])
                found = compare(values, self.expected[mode][: len(values)], self.workload)
                if not found["right"]:
                    raise WorkerError(f"{mode}, built again: {found['text']}")
            line["samples"].append(answer["samples"])

    @contextlib.contextmanager
    def _failing(self, c: str) -> Iterator[None]:
        """A contender that fails here is added as failed and leaves the race."""
        try:
            yield
        except WorkerError as error:
            for line in self.lines.pop(c).values():
                self.add(line | {"status": "failed", "reason": str(error), "samples": []})

    def _end(self) -> None:
        for mode in dict.fromkeys(mode for lines in self.lines.values() for mode in lines):
            for lines in self.lines.values():
                if mode in lines:
                    self.add(lines[mode])


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The names from the one at `by` on, counted round."""
    start = by % max(len(names), 1)
    return [*names[start:], *names[:start]]


def compare(values: Array, expected: Array, workload: Workload) -> Record:
    """Whether |values - expected| <= atol + rtol * |expected|, and by how much it is missed."""
    about: Record = {"values": len(values), "rtol": workload.rtol, "atol": workload.atol}
    if values.shape != expected.shape:
        return about | {"right": False, "text": f"{len(values)} values, not {len(expected)}"}
    error = np.abs(values - expected)
    allowed = workload.atol + workload.rtol * np.abs(expected)
    worst = float(np.max(error / allowed)) if np.isfinite(error).all() else float("inf")
    at = int(np.argmax(np.where(np.isfinite(error), error / allowed, np.inf)))
    text = f"value {at} is {values[at]:.7g}; the reference says {expected[at]:.7g}"
    # JSON has no infinity
    shown = round(worst, 4) if np.isfinite(worst) else None
    return about | {"right": worst <= 1, "share_of_tolerance": shown, "text": text}


def new_line(
    workload: Workload, size: int, mode: str, contender: str, status: str, reason: str
) -> Record:
    """A result without samples."""
    return {
        "kind": "result",
        "workload": workload.name,
        "size": size,
        "mode": mode,
        "contender": contender,
        "status": status,
        "reason": reason,
        "bytes": workload.bytes_moved(size),
        "flops": workload.flops(size),
    }
