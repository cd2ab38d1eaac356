"""What a comparison's figures say, in sentences: the story of static against dynamic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.compare.result import ALL, DYNAMIC, SAME
from staticnet.compare.static import MANY_STEPS, NO_PASSES
from staticnet.report.units import format_bytes, format_seconds, two_digits

Values = Mapping[str, Any]


def told(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences about the rows that are there, in the order of what is done to a program."""
    known = {row["name"]: row["values"] for row in rows}
    dynamic, bare, whole, many = map(known.get, (DYNAMIC, NO_PASSES, ALL, MANY_STEPS))
    made = []
    if dynamic is not None:
        made.append(_dynamic(dynamic))
    if bare is not None:
        made.append(_bare(bare))
    if bare is not None and whole is not None:
        made.append(_whole(bare, whole))
    if whole is not None:
        made.append(_passes(known, whole))
    if many is not None:
        made.append(_many(many))
    return [sentence for sentence in made if sentence]


def _dynamic(row: Values) -> str:
    host = row["host"]
    outside = f", {host / row['time']:.0%} of them outside of kernels" if host else ""
    return (
        "dynamically, Python meets one operation after the other and calls for each: "
        f"{row['launches']:,} calls and {row['allocations']:,} new arrays a step, which takes "
        f"{format_seconds(row['time'])}{outside}"
    )


def _bare(row: Values) -> str:
    return (
        f"compiled, the same operations are one call from Python, in {format_bytes(row['peak'])} "
        f"laid out before the first step: {format_seconds(row['time'])}{_times(row)}"
    )


def _whole(bare: Values, row: Values) -> str:
    return (
        f"the passes make {row['launches']:,} launches of {bare['launches']:,}, and "
        f"{format_bytes(row['bytes_moved'])} that are read and written of "
        f"{format_bytes(bare['bytes_moved'])}: {format_seconds(row['time'])}{_times(row)}"
    )


def _passes(known: Mapping[str, Values], whole: Values) -> str:
    """Which pass counts most, where its interval tells it from none."""
    without = {
        name: row["of_all"]
        for name, row in known.items()
        if name.startswith("without ") and row["verdict"] != SAME and row["of_all_interval"]
        if row["of_all_interval"][0] > 1
    }
    paid = whole["payback"]
    cost = "" if whole["compile"] is None else f"compiling takes {format_seconds(whole['compile'])}"
    if cost and isinstance(paid, int):
        cost += f", paid back after {paid:,} steps"
    if not without:
        return cost
    name = max(without, key=without.__getitem__)
    most = f"{name} a step takes {two_digits(without[name])} times as long, the most of all passes"
    return "; ".join(filter(None, [most, cost]))


def _many(row: Values) -> str:
    return f"and with many steps in one call from Python, {format_seconds(row['time'])} a step"


def _times(row: Values) -> str:
    ratio = row["speedup"]
    if not ratio:
        return ""
    fast = two_digits(ratio) if ratio >= 1 else f"only {two_digits(ratio)}"
    return f", {fast} times as fast as dynamically"
