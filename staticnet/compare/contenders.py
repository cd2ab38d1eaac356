"""A contender: what has a loss curve to be checked and steps to be timed, here or in a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from staticnet.compare import timing
from staticnet.compare.process import Process, WorkerError
from staticnet.compare.steps import Facts, Steps, as_record
from staticnet.errors import ComparisonError

Record: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[str], object]
WARM_UP_LIMIT = 12  # in rounds
FEWEST_ROUNDS = 3  # which are timed, however long they take


@dataclass(frozen=True)
class Pace:
    """So many rounds, each of so many seconds of a contender; none begins after `limit` seconds."""

    rounds: int
    seconds: float
    limit: float


class Runner(Protocol):
    """How a contender is asked."""

    def losses(self, steps: int) -> dict[str, Any]:
        """`losses` of the first steps, and `first_s` where the first step included building."""
        ...

    def warm(self, seconds: float, limit: float) -> dict[str, Any]:
        """How it warmed up, and `calls` of a sample."""
        ...

    def round(self, seconds: float, calls: int) -> dict[str, Any]:
        """`samples`: seconds a step, of so many calls each."""
        ...

    def facts(self) -> dict[str, Any]:
        """What is known of a step."""
        ...


@dataclass
class Here:
    """Runs in this process. `reset` puts the state back to its first values."""

    steps: Steps
    reset: Callable[[], Any]
    facts_of: Callable[[], Facts]

    def losses(self, steps: int) -> dict[str, Any]:
        """The losses of the first steps."""
        self.reset()
        return {"losses": [float(x) for x in self.steps.losses(steps)]}

    def warm(self, seconds: float, limit: float) -> dict[str, Any]:
        """Repeat until the times agree."""
        return timing.warm_up(self.steps.repeat, seconds, limit)

    def round(self, seconds: float, calls: int) -> dict[str, Any]:
        """Samples of so many calls each."""
        steps = self.steps
        return {"samples": timing.round_of(steps.repeat, seconds, calls, steps.per_call)}

    def facts(self) -> dict[str, Any]:
        """What is known of a step."""
        return as_record(self.facts_of())


@dataclass
class Elsewhere:
    """Runs in a process of its own."""

    process: Process

    def losses(self, steps: int) -> dict[str, Any]:
        """The losses of the first steps, and the time of building and of the first."""
        return self.process.ask("losses", steps=steps)

    def warm(self, seconds: float, limit: float) -> dict[str, Any]:
        """Repeat until the times agree."""
        return self.process.ask("warm", seconds=seconds, limit=limit)

    def round(self, seconds: float, calls: int) -> dict[str, Any]:
        """Samples of so many calls each."""
        return self.process.ask("round", seconds=seconds, calls=calls)

    def facts(self) -> dict[str, Any]:
        """What is known of a step."""
        return self.process.ask("facts")


@dataclass
class Contender:
    """A name, how to ask, and all that was measured so far.

    `same_as` names the contender whose program is the same: this one is not run.
    """

    name: str
    kind: str
    runner: Runner
    same_as: str | None = None
    record: Record = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.record = {"name": self.name, "kind": self.kind, "same_as": self.same_as}


def check_losses(contender: Contender, reference: Sequence[float], rtol: float) -> None:
    """Train from the first state, and compare each step's loss with the reference's.

    Raises:
        ComparisonError: naming the first step that differs; nothing has been timed.
        WorkerError: if it fails.
    """
    answer = contender.runner.losses(len(reference))
    contender.record |= answer
    found = first_difference(answer["losses"], reference, rtol)
    if found is None:
        return
    step, allowed = found
    ours, wanted = answer["losses"][step], reference[step]
    raise ComparisonError(
        f"compare: at step {step} the loss of {contender.name!r} is {ours:.9g}, and that of the "
        f"float64 reference {wanted:.9g}; they may differ by {allowed:.2g} (rtol={rtol:g}), and "
        "nothing was timed. Training that blows rounding up needs a smaller learning rate, fewer "
        "steps or a greater rtol; else that contender computes something else"
    )


def first_difference(
    losses: Sequence[float], reference: Sequence[float], rtol: float
) -> tuple[int, float] | None:
    """The first step at which |loss - reference| > rtol * (|reference| + its greatest), if any.

    With it comes what would have been allowed. NaN equals NaN, and infinity itself.
    """
    a, b = np.asarray(losses, np.float64), np.asarray(reference, np.float64)
    scale = np.max(np.abs(b), initial=0.0, where=np.isfinite(b))
    allowed = np.where(np.isfinite(b), rtol * (np.abs(b) + scale), 0.0)
    with np.errstate(invalid="ignore"):
        equal = (np.abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b))
    if equal.all():
        return None
    step = int(np.argmin(equal))
    return step, float(allowed[step])


def race(
    contenders: Sequence[Contender], pace: Pace, note: Callable[[str], None], say: Say
) -> list[Contender]:
    """Warm all up, then let them take turns in an order that rotates; gives those that finished.

    A process that fails leaves the race, with a note; so is there one if rounds were left out.
    """
    racing, seconds = list(contenders), pace.seconds
    for i, c in enumerate(contenders, 1):
        say(f"warming up {i} of {len(contenders)}: {c.name}")
        _ask(c, racing, note, lambda c: c.record.update(c.runner.warm(seconds, limit(seconds))))
    for c in racing:
        c.record["samples"] = []
    end = time.perf_counter() + pace.limit
    for i in range(pace.rounds):
        if i >= FEWEST_ROUNDS and time.perf_counter() > end:
            note(f"{i} of {pace.rounds} rounds were timed: they took {pace.limit:g} s")
            break
        say(f"round {i + 1} of {pace.rounds}")
        at = i % max(len(racing), 1)
        for c in (*racing[at:], *racing[:at]):
            _ask(c, racing, note, lambda c: _round(c, seconds))
    for c in list(racing):
        _ask(c, racing, note, lambda c: c.record.update(c.runner.facts()))
    return racing


def limit(seconds: float) -> float:
    """How long a contender may warm up, for rounds of so many seconds."""
    return WARM_UP_LIMIT * seconds


def _round(c: Contender, seconds: float) -> None:
    answer = c.runner.round(seconds, c.record["calls"])
    c.record["samples"].append(answer["samples"])


def _ask(
    c: Contender,
    racing: list[Contender],
    note: Callable[[str], None],
    act: Callable[[Contender], Any],
) -> None:
    try:
        act(c)
    except WorkerError as error:
        racing.remove(c)
        note(f"{c.name} left the comparison: {error}")
