"""How long measuring takes: slow steps are repeated no oftener than they have to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench import rounds
from staticnet.compare import contenders, timing
from staticnet.compare.contenders import Contender, Pace, race


class Clock:
    """A clock that runs while something is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self.now = 0.0
        for module in modules:
            monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    def call(self, seconds: float) -> Callable[[int], None]:
        """What takes so many seconds a call."""

        def repeat(n: int) -> None:
            self.now += n * seconds

        return repeat


@pytest.mark.parametrize(
    ("seconds", "samples", "calls"), [(1.0, 1, 1), (0.1, 1, 2), (0.001, 50, 51)]
)
def test_a_round_of_a_slow_step_is_one_call(
    seconds: float, samples: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, timing)
    found = timing.round_of(clock.call(seconds), 0.0499, 1)
    assert found == pytest.approx([seconds] * samples)
    assert clock.now == pytest.approx(calls * seconds)


def test_a_warm_up_ends_with_the_call_that_passes_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, timing)
    assert timing.warm_up(clock.call(0.4), 0.05, 0.6)["warm_up"]["calls"] == 2
    assert clock.now == pytest.approx(0.8)
    quick = timing.warm_up(clock.call(0.001), 0.064, 60.0)
    assert quick["warm_up"]["settled"]
    assert quick["calls"] == 2


class Slow:
    """A contender whose steps take 200 seconds."""

    def __init__(self, clock: Clock) -> None:
        self.step = clock.call(200.0)

    def warm(self, seconds: float, limit: float) -> dict[str, Any]:
        self.step(1)
        return {"calls": 1}

    def round(self, seconds: float, calls: int) -> dict[str, Any]:
        self.step(1)
        return {"samples": [200.0]}

    def facts(self) -> dict[str, Any]:
        return {}


def test_no_round_begins_after_the_limit_but_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    said: list[str] = []
    slow = Contender("slow", "static", Slow(Clock(monkeypatch, contenders)))
    race([slow], Pace(rounds=10, seconds=0.05, limit=700.0), notes.append, said.append)
    assert len(slow.record["samples"]) == 4
    assert notes == ["4 of 10 rounds were timed: they took 700 s"]
    assert said[0] == "warming up 1 of 1: slow"
    assert said[-1] == "round 4 of 10"
    race([slow], Pace(rounds=10, seconds=0.05, limit=1.0), notes.append, said.append)
    assert len(slow.record["samples"]) == contenders.FEWEST_ROUNDS


def test_the_suite_has_such_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(monkeypatch, rounds), list[str]()
    race = rounds.Race(None, 0, {}, {}, lambda _: None, said.append, {"a": {}})  # type: ignore[arg-type]
    turns = sum(clock.call(90.0)(1) is None for _ in race._turns(10))
    assert turns == 4
    assert said[-1] == "4 of 10 rounds: they took 300 s"
