"""What is timed: training steps on feeds that come round again, and what is known of each step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

from staticnet.compare.model import Feed

Step: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Steps:
    """`repeat(n)` makes n calls and is timed, each of `per_call` steps.

    `losses(n)` makes the next n steps and gives their losses.
    """

    repeat: Callable[[int], Any]
    losses: Callable[[int], Sequence[float]]
    per_call: int = 1

    @classmethod
    def of(cls, step: Step, feeds: Sequence[Feed]) -> Steps:
        """Steps that call `step(*feed)`, which gives the loss, on one feed after the other."""
        endless = itertools.cycle(feeds)

        def repeat(n: int) -> None:
            for feed in itertools.islice(endless, n):
                float(step(*feed))

        def losses(n: int) -> list[float]:
            return [float(step(*feed)) for feed in itertools.islice(endless, n)]

        return cls(repeat, losses)


@dataclass(frozen=True)
class Facts:
    """What a step does, counted or planned.

    `launches` are kernels and routines, or calls of NumPy. `allocations` asks for memory, results
    included. `peak` is all bytes that lie in memory together: feeds, state, results, and what is
    in between. `device_s` are seconds in kernels or within NumPy, of some short profiles; the rest
    of a step is the host's.
    `compile_s` is from the function that was called to the program that is ready: tracing, passes,
    planning, and the C compiler, whether or not a cache spared that one.
    """

    launches: int
    allocations: int
    bytes_moved: int
    peak: int
    device_s: tuple[float, ...]
    compile_s: float


def as_record(facts: Facts | None) -> dict[str, Any]:
    """The numbers by name; None of what nothing is known of."""
    names = [field.name for field in fields(Facts)]
    return dict.fromkeys(names) if facts is None else asdict(facts)


def peak_growth(act: Callable[[], Any]) -> int:
    """The bytes that Python and NumPy hold at most while `act` runs, beyond those before."""
    import tracemalloc

    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        act()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if started:
            tracemalloc.stop()


def nbytes(feed: Feed) -> int:
    """The bytes of a feed's arrays."""
    return sum(x.nbytes for x in feed)
