"""Which launches one team of threads makes, and where its threads wait for each other.

To gather a team takes OpenMP a microsecond, to wait for each other less than half of one. So
launches that follow each other are one parallel region, and a loop whose launches can all be shared
is run by one team from its first step to its last. Threads wait where a launch reads or writes what
another thread may not have done with.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby

BARRIER = "#pragma omp barrier"
CORES = os.cpu_count() or 1
ROWS = 12 * CORES  # of an array, from which threads cut it between rows
PARALLEL_WORK = 1 << 17  # of `Kernel.work`, below which one thread is faster than two
LINE = 16  # elements that no two threads write: a cache line or more


def rows_of(shape: Sequence[int]) -> int:
    """The rows between which threads cut an array; 0 if they cut it anywhere."""
    if len(shape) < 2 or shape[0] < ROWS:
        return 0
    row = math.prod(shape[1:])
    return shape[0] if row and row % LINE == 0 else 0


def cut_in_rows(rows: int) -> str:
    """What arrays have in common that threads cut between so many rows."""
    return f"{rows} rows"


def cut_of(shape: Sequence[int], itemsize: int) -> tuple[str, int]:
    """How threads cut an array: what it has in common with others, and bytes of a piece."""
    size = math.prod(shape) * itemsize
    if rows := rows_of(shape):
        return cut_in_rows(rows), size // rows
    return f"{size} bytes", LINE * 4


@dataclass(frozen=True)
class Span:
    """Memory from `start` to `stop` bytes behind a place, that of a `kind` and number.

    Of spans that are equal each thread has the same bytes if `cut` is equal and not empty.
    """

    kind: str
    number: int
    start: int
    stop: int
    cut: str = ""

    def meets(self, other: Span) -> bool:
        """Whether a thread may find here what another one does there."""
        if "anywhere" in (self.kind, other.kind):
            return True
        if (self.kind, self.number) != (other.kind, other.number):
            return False
        if self == other and self.cut:
            return False
        return self.start < other.stop and other.start < self.stop


ANYTHING = Span("anywhere", 0, 0, 0)
"""What is read or written if nobody knows what."""


class Way(Enum):
    """How threads make a launch: each its share, the first alone, or by a team of its own."""

    SHARED = "shared"
    FIRST = "first"
    APART = "apart"


@dataclass
class Launch:
    """Statements, and what they read and write.

    Those of a launch that is shared use the names `share` and `shares`. `alone` is what one thread
    does instead, if that differs. Threads are gathered for what is `together` worth it. If
    it `waits`, all before is done when it begins; threads `meet` in its own statements.
    """

    lines: list[str]
    way: Way = Way.APART
    together: bool = False
    reads: list[Span] = field(default_factory=list)
    writes: list[Span] = field(default_factory=list)
    alone: list[str] | None = None
    waits: bool = False
    meet: bool = False

    def hinders(self, other: Launch) -> bool:
        """Whether one of two launches writes what the other reads or writes, in another thread."""
        return _meet(self.writes, [*other.reads, *other.writes]) or _meet(self.reads, other.writes)

    def by_one(self) -> list[str]:
        """The statements for one thread."""
        if self.alone is not None:
            return self.alone
        if self.way is not Way.SHARED:
            return self.lines
        lines = [line for line in self.lines if line != BARRIER]
        return ["{", "  SN_ALONE", *indent(lines), "}"]

    def by_team(self) -> list[str]:
        """The statements for the threads of a region."""
        if self.way is Way.SHARED:
            return self.lines
        return ["if (share == 0) {", *indent(self.lines), "}"]


def regions(launches: Iterable[Launch]) -> list[str]:
    """The statements of launches in order, in regions where threads are worth it."""
    lines: list[str] = []
    for apart, run in groupby(launches, key=lambda launch: launch.way is Way.APART):
        each = list(run)
        if apart:
            lines += [line for launch in each for line in launch.lines]
            continue
        worth = [i for i, launch in enumerate(each) if launch.together]
        first, last = (worth[0], worth[-1] + 1) if worth else (len(each), len(each))
        lines += [line for launch in each[:first] for line in launch.by_one()]
        if worth:
            inside = team_lines(each[first:last])
            lines += ["#pragma omp parallel if (SN_TOGETHER)", "{", "  SN_THREAD"]
            lines += [*indent(inside), "}"]
        lines += [line for launch in each[last:] for line in launch.by_one()]
    return lines


def team_lines(launches: Sequence[Launch], again: bool = False) -> list[str]:
    """The statements for a team; `again`: after the last one the first one follows."""
    waits = barriers(launches, again)
    lines: list[str] = []
    for i, launch in enumerate(launches):
        lines += [BARRIER] * (i in waits) + launch.by_team()
    return lines


def barriers(launches: Sequence[Launch], again: bool = False) -> set[int]:
    """The launches before which threads wait."""
    found = {i for i, launch in enumerate(launches) if launch.waits}
    since: list[Launch] = []
    for _ in range(1 + again):
        for i, launch in enumerate(launches):
            if i not in found and any(launch.hinders(other) for other in since):
                found.add(i)
            if i in found:
                since = []
            since.append(launch)
    return found


def _meet(some: Iterable[Span], others: Sequence[Span]) -> bool:
    return any(a.meets(b) for a in some for b in others)


def indent(lines: Iterable[str]) -> list[str]:
    """Statements of a block; directives begin their lines."""
    return [line if line.startswith("#") else f"  {line}" for line in lines]
