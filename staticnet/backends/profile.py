"""What `Function.profile` gives: the time of each part of a step, and the share of the floor."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from staticnet import files
from staticnet.backends.rates import Rates
from staticnet.ir.location import common_module
from staticnet.ir.shown import Shown, Table
from staticnet.plan.by_module import ByModule, by_module

BUDGET = 0.5  # seconds of runs, where their number is not given
LEAST, MOST = 5, 1000  # runs in that time
WARM_UP = 3


@dataclass(frozen=True)
class Part:
    """One launch, or one node where there are no kernels; `dtype` is that of its products.

    `kernels` are the numbers of the kernels that it runs, as `explain` counts them, `modules` the
    paths of the modules that made its nodes, and `inside` what stands before those numbers, `4.` in
    loop 4. `bodies` are the launches of each graph that it runs itself.
    """

    name: str
    kind: str
    bytes: int
    flops: int
    lines: tuple[str, ...]
    dtype: str = ""
    kernels: tuple[int, ...] = ()
    modules: tuple[str, ...] = ()
    inside: str = ""
    bodies: tuple[tuple[Part, ...], ...] = ()

    @property
    def kernel_range(self) -> str:
        """The numbers of its kernels, which follow each other: `4` or `4.0 to 4.2`."""
        first, last = self.kernels[:1], self.kernels[1:][-1:]
        return " to ".join(f"{self.inside}{number}" for number in (*first, *last))


@dataclass(frozen=True)
class PartTime:
    """The median time of a part in seconds over `calls` runs, and what it reached in it.

    `share_of_copy` compares with a copy of as many bytes, `share_of_products` with a product of
    large matrices of its dtype; it is 0 for what is no product. `inside` are the launches in a loop
    that were timed, each summed over all of its steps: what it took, moved and computed in them.
    """

    part: Part
    seconds: float
    calls: int
    share: float
    share_of_copy: float
    share_of_products: float
    inside: tuple[PartTime, ...] = ()

    @property
    def bytes_per_second(self) -> float:
        """Bytes read and written a second; 0 if the time is too short to be seen."""
        return self.part.bytes / self.seconds if self.seconds else 0.0

    @property
    def flops_per_second(self) -> float:
        """Floating-point operations a second; 0 if the time is too short to be seen."""
        return self.part.flops / self.seconds if self.seconds else 0.0


class ModuleTime(NamedTuple):
    """The time of a module's parts, its share of the step, bytes moved and FLOPs."""

    seconds: float
    share: float
    bytes: int
    flops: int


@dataclass(frozen=True, repr=False)
class Profile(Shown):
    """The parts of a step in the order they run. `runs` steps were timed, after `warm_up` others.

    All of them ran on copies of the variables. `timer` is what reading the clock takes, in seconds;
    it is taken off each part.
    """

    graph: str
    device: str
    parts: tuple[PartTime, ...]
    runs: int
    warm_up: int
    timer: float
    rates: Rates

    @property
    def seconds(self) -> float:
        """The parts' times together."""
        return sum(part.seconds for part in self.parts)

    def tables(self) -> list[Table]:
        """The parts in the order they run, without columns that are empty."""
        rows = [row for part in self.parts for row in _rows(part)]
        kept = [i for i in range(len(_COLUMNS)) if any(row[i] for row in rows)]
        title = (
            f"{self.graph} on {self.device}: {_time(self.seconds)} a step, median of {self.runs}"
        )
        columns = [_COLUMNS[i] for i in kept]
        return [Table(title, columns, [[row[i] for i in kept] for row in rows])]

    def __str__(self) -> str:
        head = (
            f"{self.graph} on {self.device}: {_time(self.seconds)} a step, median of {self.runs} "
            f"after {self.warm_up}, on copies of the variables\n"
            f"timer: {self.timer * 1e9:.0f} ns, taken off each part; {self.rates}"
        )
        modules = self.by_module()
        grouped = [str(modules)] if modules.is_told else []
        rows = [row for part in self.parts for row in _rows(part)]
        return "\n".join([head, *_aligned([_COLUMNS, *rows]), *grouped])

    def by_module(self, depth: int | None = None) -> ByModule[ModuleTime]:
        """The time of the parts of each module; `depth` cuts the paths.

        The kernels of a launch are timed together: what several modules made has its own row. Of a
        loop, those that were timed count beside it, and what is left of its time is its own.

        Raises:
            ArgumentError: if the depth is not a positive int.
        """
        return by_module((row for t in self.parts for row in _by_module(t)), depth, _spell)

    def to_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a trace for chrome://tracing or Perfetto: the median of each part, one by one.

        Raises:
            OSError: if the file cannot be written.
        """
        names = {"process_name": self.graph, "thread_name": self.device}
        events: list[dict[str, Any]] = [
            {"name": key, "ph": "M", "pid": 1, "tid": 1, "args": {"name": name}}
            for key, name in names.items()
        ]
        start = 0.0
        for timed in self.parts:
            part, place = timed.part, {"ts": start * 1e6, "dur": timed.seconds * 1e6}
            args = {"bytes": part.bytes, "flops": part.flops, "lines": list(part.lines)}
            args |= {"kernels": list(part.kernels), "module": common_module(part.modules)}
            args |= {"inside": _microseconds(timed)} if timed.inside else {}
            of = {0: "", 1: ", kernel "}.get(len(part.kernels), ", kernels ") + part.kernel_range
            name = f"{part.name}{of}: {part.kind}"
            events.append({"name": name, "ph": "X", "pid": 1, "tid": 1, **place, "args": args})
            start += timed.seconds
        trace = {"traceEvents": events, "displayTimeUnit": "ns"}
        files.write(path, json.dumps(trace))


class Lap(NamedTuple):
    """What a launch in a loop took in a run, and how often it ran in it."""

    seconds: float
    times: float


def make_profile(
    graph: str, device: str, parts: Sequence[Part], times: Sequence[Sequence[float]],
    timer: float, rates: Rates, laps: Mapping[str, Lap] = MappingProxyType({}),
) -> Profile:  # fmt: skip
    """The profile of parts from their times in seconds, a row a run.

    `laps` are the medians of launches in loops, by the names of their first kernels.
    """
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    taken = [
        _taken(part, Lap(seconds, 1), laps, timer)
        for part, seconds in zip(parts, medians, strict=True)
    ]
    total = sum(each.seconds for each in taken) or 1.0
    timed = tuple(_timed(each, total, len(times), rates) for each in taken)
    return Profile(graph, device, timed, len(times), WARM_UP, timer, rates)


class _Taken(NamedTuple):
    """A part with what it moved and computed in a run, its seconds, and the clock's readings."""

    part: Part
    seconds: float
    readings: float
    inside: list[_Taken]


def _taken(part: Part, lap: Lap, laps: Mapping[str, Lap], timer: float) -> _Taken:
    """What a part took, without the readings of the clock in it and after it."""
    inside, readings = [], lap.times
    for body in part.bodies:
        timed = [(each, laps[first]) for each in body if (first := _first(each)) in laps]
        inside += [_taken(each, own, laps, timer) for each, own in timed]
        readings += timed[0][1].times if timed else 0  # where each step of the body begins
    readings += sum(each.readings for each in inside)
    moved = max(round(part.bytes * lap.times), sum(each.part.bytes for each in inside))
    flops = max(round(part.flops * lap.times), sum(each.part.flops for each in inside))
    seconds = max(lap.seconds - readings * timer, sum(each.seconds for each in inside))
    return _Taken(replace(part, bytes=moved, flops=flops), seconds, readings, inside)


def _first(part: Part) -> str:
    """The name of a launch's first kernel."""
    return f"{part.inside}{part.kernels[0]}"


def _timed(taken: _Taken, total: float, calls: int, rates: Rates) -> PartTime:
    part, seconds = taken.part, taken.seconds
    peak = rates.products.get(part.dtype, 0.0)
    copy = part.bytes / seconds / rates.copy(part.bytes) if seconds else 0.0
    product = part.flops / seconds / peak if seconds and peak else 0.0
    inside = tuple(_timed(each, total, calls, rates) for each in taken.inside)
    return PartTime(part, seconds, calls, seconds / total, copy, product, inside)


def _by_module(timed: PartTime) -> list[tuple[tuple[str, ...], ModuleTime]]:
    """A part's row, behind those of the launches in it, without what they took."""
    part = timed.part
    whole = ModuleTime(timed.seconds, timed.share, part.bytes, part.flops)
    rows = [row for each in timed.inside for row in _by_module(each)]
    own = map(_less, whole, *(row for _, row in rows)) if rows else whole
    return [*rows, (part.modules, ModuleTime(*own))]


def _less(whole: float, *parts: float) -> float:
    return whole - sum(parts)


def _microseconds(timed: PartTime) -> dict[str, float]:
    """The launches in a loop and in those in it."""
    found: dict[str, float] = {}
    for each in timed.inside:
        found |= {each.part.name: each.seconds * 1e6, **_microseconds(each)}
    return found


def repeat_runs(run: Callable[[], Any], repeat: int | None) -> list[Any]:
    """What `run` gives, `repeat` times, or as often as fits half a second; first it warms up."""
    for _ in range(WARM_UP):
        run()
    found: list[Any] = []
    start = time.perf_counter()
    while len(found) < (repeat or MOST):
        found.append(run())
        if repeat is None and len(found) >= LEAST and time.perf_counter() - start > BUDGET:
            break
    return found


_COLUMNS = (
    "part",
    "kind",
    "time",
    "%",
    "GB/s",
    "of copy",
    "GFLOP/s",
    "of products",
    "kernels",
    "module",
    "from",
)
_OPTIONAL = ("kernels", "module")


def _rows(timed: PartTime, indent: str = "") -> list[tuple[str, ...]]:
    """The row of a part, and below it those of the launches that it runs itself."""
    rows = [_row(timed, indent)]
    known = {each.part.name: each for each in timed.inside}
    below = f"{indent}  "
    for part in (part for body in timed.part.bodies for part in body):
        if part.name in known:
            rows += _rows(known[part.name], below)
        else:
            rows.append(_not_timed(part, below))
    return rows


def _not_timed(part: Part, indent: str) -> tuple[str, ...]:
    """The row of a launch in a loop that has no time of its own."""
    told = f"{indent}{part.name}", _short(part.kind.split(", ")), "not timed apart"
    figures = ("",) * (len(_COLUMNS) - 6)
    return (*told, *figures, part.kernel_range, common_module(part.modules), _short(part.lines))


def _row(timed: PartTime, indent: str) -> tuple[str, ...]:
    part = timed.part
    products = bool(timed.share_of_products)
    return (
        f"{indent}{part.name}",
        _short(part.kind.split(", ")),
        _time(timed.seconds),
        f"{timed.share:.1%}".rstrip("%"),
        f"{timed.bytes_per_second / 1e9:.2f}",
        f"{timed.share_of_copy:.0%}",
        f"{timed.flops_per_second / 1e9:.2f}",
        f"{timed.share_of_products:.0%}" if products else "",
        part.kernel_range,
        common_module(part.modules),
        _short(part.lines),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A line for each row, the figures in its middle to the right; no optional column is empty."""
    figures = range(2, _COLUMNS.index("kernels"))
    columns = [
        column
        for column in zip(*rows, strict=True)
        if column[0] not in _OPTIONAL or any(column[1:])
    ]
    cells = []
    for i, column in enumerate(columns):
        width = max(map(len, column))
        cells.append([cell.rjust(width) if i in figures else cell.ljust(width) for cell in column])
    return ["  ".join(row).rstrip() for row in zip(*cells, strict=True)]


def _short(words: Sequence[str]) -> str:
    return f"{words[0]} and {len(words) - 1} more" if len(words) > 1 else "".join(words)


def _spell(field: str, value: Any) -> str:
    """A figure of a module."""
    match field:
        case "seconds":
            return _time(value)
        case "share":
            return f"{value:.1%}"
    return f"{value:,}"


def _time(seconds: float) -> str:
    """A time with a unit that suits it."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"
