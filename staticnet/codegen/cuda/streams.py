"""Which commands run side by side, on streams of their own, where an estimate says that it pays.

A command goes to the stream where it can begin first, and waits for commands on other streams with
which it shares bytes that one of them writes: so memory that the plan uses again is safe. The
estimate runs the step on one stream and on several. It knows of each command its bytes, its
FLOPs and how much of the GPU its blocks fill; the rates are those of a data sheet, not of a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from staticnet.codegen.commands import Command, Launch, Product
from staticnet.codegen.cuda.part import ceil_div
from staticnet.codegen.cuda.spans import Span
from staticnet.codegen.launches import Lane
from staticnet.plan.plan import Plan

MOST_STREAMS = 4
MOST_COMMANDS = 1024  # whose dependences are worth finding
LEAST_GAIN = 0.05  # of a step's time, for which one more stream is taken
TILE, INNER = 64, 256  # rows and columns of a product that a block computes, and what it sums


@dataclass(frozen=True)
class Rates:
    """What the estimate takes a GPU for: an H200, by its data sheet. Seconds, bytes, FLOPs.

    launch: of the shortest kernel in a graph; wait: that a command begins later for waiting for
    another stream's
    """

    multiprocessors: int = 132
    bandwidth: float = 4.3e12
    narrow_products: float = 790e12  # of 16-bit floats
    wide_products: float = 50e12
    launch: float = 2e-6
    wait: float = 1e-6


RATES = Rates()


@dataclass(frozen=True)
class Cost:
    """How long a command takes if it is alone, and what part of the GPU it fills."""

    seconds: float
    fill: float


@dataclass(frozen=True)
class Schedule:
    """A lane for each command, and when the step ends."""

    lanes: tuple[Lane, ...]
    seconds: float


def schedule_of(
    plan: Plan, commands: Sequence[Command], spans: Sequence[Sequence[Span]],
    before: Sequence[frozenset[int]],
) -> Schedule:  # fmt: skip
    """Commands on as many streams as pay, by the estimate; very many stay on one."""
    if len(commands) > MOST_COMMANDS:
        return Schedule((), math.inf)
    return fastest(before, costs_of(plan, commands, spans, RATES), RATES)


def costs_of(
    plan: Plan, commands: Sequence[Command], spans: Sequence[Sequence[Span]], rates: Rates
) -> list[Cost]:
    """The estimate of each command by itself."""
    moved = [sum(plan.traffic(group).bytes for group in step.groups) for step in plan.steps]
    costs = []
    for command, own in zip(commands, spans, strict=True):
        nbytes = sum(span.end - span.start for span in own)
        if isinstance(command, Launch) and 0 <= command.step < len(moved):
            nbytes = min(nbytes, moved[command.step])  # a gather takes less than it could
        blocks = command.grid[0] if isinstance(command, Launch) else rates.multiprocessors
        if isinstance(command, Product):
            costs.append(_product_cost(command, nbytes, rates))
        else:
            costs.append(_cost(blocks, nbytes, 0.0, rates))
    return costs


def _product_cost(p: Product, nbytes: int, rates: Rates) -> Cost:
    """A library may split the sum among blocks, too."""
    count = math.prod(p.batch)
    blocks = count * ceil_div(p.m, TILE) * ceil_div(p.n, TILE) * max(1, p.k // INNER)
    rate = rates.narrow_products if p.dtype.itemsize == 2 else rates.wide_products
    return _cost(blocks, nbytes, 2.0 * count * p.m * p.n * p.k / rate, rates)


def _cost(blocks: int, nbytes: float, seconds: float, rates: Rates) -> Cost:
    fill = min(1.0, blocks / rates.multiprocessors)
    return Cost(rates.launch + max(nbytes / rates.bandwidth, seconds) / fill, fill)


def fastest(before: Sequence[frozenset[int]], costs: Sequence[Cost], rates: Rates) -> Schedule:
    """The schedule on the number of streams that is estimated to pay; on one if none does."""
    best = _run(before, costs, rates, 1)
    for count in range(2, MOST_STREAMS + 1):
        tried = _run(before, costs, rates, count)
        if tried.seconds <= best.seconds * (1 - LEAST_GAIN):
            best = tried
    return best


def _run(
    before: Sequence[frozenset[int]], costs: Sequence[Cost], rates: Rates, count: int
) -> Schedule:
    """A step on `count` streams: each command, in order, where it can begin first."""
    free = [0.0] + [rates.wait] * (count - 1)
    running: list[tuple[float, float]] = []  # until when, and what part of the GPU
    ends: list[float] = []
    streams: list[int] = []
    for number, cost in enumerate(costs):
        starts = []
        for stream in range(count):
            ready = [
                ends[i] + (rates.wait if streams[i] != stream else 0.0) for i in before[number]
            ]
            starts.append(max([free[stream], *ready]))
        stream = min(range(count), key=lambda s: (starts[s], s))
        begin = _where_it_fits(starts[stream], cost, running)
        streams.append(stream)
        ends.append(begin + cost.seconds)
        free[stream] = ends[-1]
        running = [(end, fill) for end, fill in running if end > min(free)]
        running.append((ends[-1], cost.fill))
    last = [end + (rates.wait if s else 0.0) for s, end in zip(streams, ends, strict=True)]
    return Schedule(_lanes(before, streams), max(last, default=0.0))


def _where_it_fits(begin: float, cost: Cost, running: Sequence[tuple[float, float]]) -> float:
    """The first moment from `begin` on at which what runs leaves enough of the GPU."""
    later = sorted((end, fill) for end, fill in running if end > begin)
    used = sum(fill for _, fill in later)
    for end, fill in later:
        if used + cost.fill <= 1.0:
            break
        begin, used = end, used - fill
    return begin


def _lanes(before: Sequence[frozenset[int]], streams: Sequence[int]) -> tuple[Lane, ...]:
    """Each command's stream and the fewest waits: none for what is known to be over."""
    lanes: list[Lane] = []
    over: list[dict[int, int]] = []  # by stream, the last command that is over when one begins
    tails: dict[int, int] = {}
    for number, stream in enumerate(streams):
        seen: dict[int, int] = {}
        if stream in tails:
            seen = {**over[tails[stream]], stream: tails[stream]}
        latest: dict[int, int] = {}
        for i in before[number]:
            latest[streams[i]] = max(i, latest.get(streams[i], -1))
        waits = []
        for i in sorted(latest.values(), reverse=True):
            if seen.get(streams[i], -1) >= i:
                continue
            waits.append(i)
            for s, j in {**over[i], streams[i]: i}.items():
                seen[s] = max(j, seen.get(s, -1))
        over.append(seen)
        tails[stream] = number
        lanes.append(Lane(stream, tuple(sorted(waits))))
    return tuple(lanes)
