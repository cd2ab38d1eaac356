"""Sets of variables that are merged while somebody is at one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from staticnet.ops.turns import Turns


def started(act: Callable[..., Any], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=act, args=arguments, daemon=True)
    thread.start()
    return thread


class Step:
    """A step on a set, in a thread of its own, that lasts until `end`."""

    def __init__(self, turns: Turns) -> None:
        self.begun, self._end = threading.Event(), threading.Event()
        self._thread = started(turns.alone, self._wait)

    def _wait(self) -> None:
        self.begun.set()
        assert self._end.wait(60)

    def end(self) -> None:
        end([self])


def end(steps: list[Step]) -> None:
    """All are told first: whose turn is next, nobody says."""
    for step in steps:
        step._end.set()
    for step in steps:
        step._thread.join()


def test_what_is_merged_has_one_step_at_a_time() -> None:
    a, b, c, d = (Turns() for _ in range(4))
    Turns.merge([Turns.merge([a, b]), Turns.merge([c, d])])
    for first in (a, b, c, d):
        step = Step(first)
        assert step.begun.wait(60)
        others = [Step(other) for other in (a, b, c, d) if other is not first]
        assert not any(other.begun.wait(0.01) for other in others)
        step.end()
        end(others)


@pytest.mark.parametrize("order", ["held first", "held last"])
def test_a_step_may_merge_its_own_set(order: str) -> None:
    """As where a signal's handler or a finaliser builds a function."""
    a, b = Turns(), Turns()
    seen = []

    def merge() -> None:
        Turns.merge([b, a] if order == "held first" else [a, b])
        others = [Step(a), Step(b)]
        seen.extend(other.begun.wait(0.01) for other in others)
        waiting.extend(others)

    waiting: list[Step] = []
    b.alone(merge)
    assert seen == [False, False]
    end(waiting)
    assert all(step.begun.is_set() for step in waiting)


def test_while_one_merge_waits_for_a_step_others_go_on() -> None:
    a, b, c, d = (Turns() for _ in range(4))
    step = Step(b)
    assert step.begun.wait(60)
    waiting = started(Turns.merge, [a, b])
    other = started(Turns.merge, [c, d])
    other.join(60)
    assert not other.is_alive()
    assert waiting.is_alive()
    step.end()
    waiting.join(60)
    assert not waiting.is_alive()


def test_merges_in_any_order_at_once_end_in_one_set() -> None:
    for _ in range(50):
        parts = [Turns() for _ in range(8)]
        pairs = [[parts[i], parts[(i + 1) % 8]] for i in range(8)]
        threads = [started(Turns.merge, pair) for pair in pairs]
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert len({id(part._root()) for part in parts}) == 1


def test_an_error_ends_the_turn() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        turns.alone(lambda: 1 // 0)
    step = Step(turns)
    assert step.begun.wait(60)
    step.end()
