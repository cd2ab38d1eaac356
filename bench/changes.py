"""What has become slower or faster between two files of results.

staticnet is compared by its ratio to the fastest of the others that ran both times: that of one
machine varies less from run to run than seconds do. Without others, seconds are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.program import OURS
from bench.report import cautions, describe, duration, is_copy
from staticnet.compare import stats

TOLERANCE = 1.10
Record = dict[str, Any]
Place = tuple[str, int, str]  # workload, size, mode


@dataclass(frozen=True)
class Change:
    """staticnet's result at one place, before and now."""

    place: Place
    ratio: stats.Interval
    before: float
    now: float
    others: tuple[str, ...]

    def text(self) -> str:
        """One line."""
        r = self.ratio
        by = ", ".join(self.others)
        what = f"of its ratio to the best of {by}" if by else "of its seconds: no other ran twice"
        times = f"{duration(self.before)} -> {duration(self.now)}"
        number = f"{r.value:.2f}x [{r.low:.2f}, {r.high:.2f}]"
        return f"{describe(*self.place)}: {number} {what}; {times}"


def changes(old: Iterable[Record], new: Iterable[Record]) -> list[Change]:
    """staticnet's results that are in both, in the order of the new."""
    before, now = _by_place(old), _by_place(new)
    found = []
    for place, results in now.items():
        was = before.get(place, {})
        if OURS not in results or OURS not in was:
            continue
        others = tuple(c for c in results if c in was and c != OURS and not is_copy(c))
        first, second = ((each[OURS], [each[c] for c in others]) for each in (was, results))
        ratio = stats.change(first, second)
        medians = stats.median(was[OURS]), stats.median(results[OURS])
        found.append(Change(place, ratio, *medians, others))
    return found


def _by_place(records: Iterable[Record]) -> dict[Place, dict[str, stats.Rounds]]:
    places: dict[Place, dict[str, stats.Rounds]] = {}
    for r in records:
        if r["kind"] == "result" and r["status"] == "ok":
            place = r["workload"], r["size"], r["mode"]
            places.setdefault(place, {})[r["contender"]] = r["samples"]
    return places


def lost(old: Iterable[Record], new: Iterable[Record]) -> list[str]:
    """What staticnet did before and now tried without success."""
    before, now = _by_place(old), _by_place(new)
    tried = {
        (r["workload"], r["size"])
        for r in new
        if r["kind"] == "result" and r["contender"] == OURS and r["status"] != "ok"
    }
    return [
        describe(*place)
        for place, was in before.items()
        if OURS in was and place[:2] in tried and OURS not in now.get(place, {})
    ]


def show(
    old: Sequence[Record],
    new: Sequence[Record],
    say: Callable[[str], None],
    tolerance: float = TOLERANCE,
) -> bool:
    """Print what became slower, what was lost and what became faster; true if anything is worse.

    A change counts if it is beyond the tolerance and its interval excludes 1.
    """
    for name in ("cpu", "cores", "threads", "governor", "compiler", "python", "versions"):
        if name in old[0] and old[0][name] != new[0].get(name):
            say(f"not the same {name}: {old[0][name]} before, {new[0].get(name)} now")
    for when, records in (("before", old), ("now", new)):
        for line in cautions([r for r in records if r.get("contender") == OURS]):
            say(f"{when}, {line}")
    found = changes(old, new)
    slower = [c.text() for c in found if c.ratio.value > tolerance and c.ratio.low > 1]
    faster = [c.text() for c in found if c.ratio.value < 1 / tolerance and c.ratio.high < 1]
    gone = lost(old, new)
    was = f"commit {(old[0].get('commit') or 'unknown')[:10]} of {old[0].get('date')}"
    say(f"compared with {was}: {len(found)} results of {OURS}, tolerance {tolerance:.2f}")
    for title, lines in (("slower", slower), ("no longer there", gone), ("faster", faster)):
        say(f"{title}: {len(lines)}")
        for line in lines:
            say(f"  {line}")
    return bool(slower or gone)
