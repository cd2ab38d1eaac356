"""What `Function.profile` gives: the time of each part of a step, and the share of the floor."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from staticnet.backends.rates import Rates
from staticnet.ir.location import common_module
from staticnet.plan.by_module import ByModule, by_module

BUDGET = 0.5  # seconds of runs, where their number is not given
LEAST, MOST = 5, 1000  # runs in that time
WARM_UP = 3


@dataclass(frozen=True)
class Part:
    """One launch, or one node where there are no kernels; `dtype` is that of its products.

    `kernels` are the numbers of the kernels that it runs, as `explain` counts them, and `modules`
    the paths of the modules that made its nodes.
    """

    name: str
    kind: str
    bytes: int
    flops: int
    lines: tuple[str, ...]
    dtype: str = ""
    kernels: tuple[int, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def kernel_range(self) -> str:
        """The numbers of its kernels, which follow each other: `4` or `4 to 6`."""
        first, last = self.kernels[:1], self.kernels[1:][-1:]
        return " to ".join(map(str, (*first, *last)))


@dataclass(frozen=True)
class PartTime:
    """The median time of a part in seconds over `calls` runs, and what it reached in it.

    `share_of_copy` compares with a copy of as many bytes, `share_of_products` with a product of
    large matrices of its dtype; it is 0 for what is no product.
    """

    part: Part
    seconds: float
    calls: int
    share: float
    share_of_copy: float
    share_of_products: float

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


@dataclass(frozen=True)
class Profile:
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

    def __str__(self) -> str:
        head = (
            f"{self.graph} on {self.device}: {_time(self.seconds)} a step, median of {self.runs} "
            f"after {self.warm_up}, on copies of the variables\n"
            f"timer: {self.timer * 1e9:.0f} ns, taken off each part; {self.rates}"
        )
        modules = self.by_module()
        grouped = [str(modules)] if modules.is_told else []
        return "\n".join([head, *_aligned([_COLUMNS, *map(_row, self.parts)]), *grouped])

    def by_module(self, depth: int | None = None) -> ByModule[ModuleTime]:
        """The time of the parts of each module; `depth` cuts the paths.

        The kernels of a launch are timed together: what several modules made has its own row.

        Raises:
            ArgumentError: if the depth is not a positive int.
        """
        rows = (
            (t.part.modules, ModuleTime(t.seconds, t.share, t.part.bytes, t.part.flops))
            for t in self.parts
        )
        return by_module(rows, depth, _spell)

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
            of = {0: "", 1: ", kernel "}.get(len(part.kernels), ", kernels ") + part.kernel_range
            name = f"{part.name}{of}: {part.kind}"
            events.append({"name": name, "ph": "X", "pid": 1, "tid": 1, **place, "args": args})
            start += timed.seconds
        trace = {"traceEvents": events, "displayTimeUnit": "ns"}
        Path(path).write_text(json.dumps(trace), encoding="utf-8")


def make_profile(
    graph: str, device: str, parts: Sequence[Part], times: Sequence[Sequence[float]],
    timer: float, rates: Rates,
) -> Profile:  # fmt: skip
    """The profile of parts from their times in seconds, a row a run."""
    columns = zip(*times, strict=True)
    medians = [max(0.0, statistics.median(column) - timer) for column in columns]
    total = sum(medians) or 1.0
    timed = []
    for part, seconds in zip(parts, medians, strict=True):
        peak = rates.products.get(part.dtype, 0.0)
        copy = part.bytes / seconds / rates.copy(part.bytes) if seconds else 0.0
        product = part.flops / seconds / peak if seconds and peak else 0.0
        timed.append(PartTime(part, seconds, len(times), seconds / total, copy, product))
    return Profile(graph, device, tuple(timed), len(times), WARM_UP, timer, rates)


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


def _row(timed: PartTime) -> tuple[str, ...]:
    part = timed.part
    products = bool(timed.share_of_products)
    return (
        part.name,
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
