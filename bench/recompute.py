"""Every number of a comparison again, from its raw samples: what differs is printed.

    python -m bench.recompute DIR/compare.json

The formulas are written here a second time, so that they bear witness: nothing of what made the
table is used but its definitions, in `staticnet/compare/result.py`. A page that lies beside the
file must be the page of the file. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESAMPLES, SEED, LEVEL = 2000, 0, 0.95
RTOL = 1e-9
BUSY = 0.5  # of the load average
DYNAMIC, ALL = "dynamic", "static, all passes"
AGAINST_ALL = ("without", "peer", "many")
COUNTED = ("launches", "allocations", "bytes_moved", "peak")
Record = Mapping[str, Any]
Ratio = tuple[float, list[float]]  # and the bounds of its interval


def recomputed(raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The values of each row, by name, from what was measured."""
    records = {record["name"]: record for record in raw["contenders"]}
    return {name: _row(record, records, raw) for name, record in records.items()}


def _row(record: Record, records: Mapping[str, Record], raw: Mapping[str, Any]) -> dict[str, Any]:
    measured = records[record["same_as"] or record["name"]]
    time = statistics.median(_rounds(measured))
    speedup, of_all = _ratio(records.get(DYNAMIC), measured), _ratio(measured, records.get(ALL))
    device = min(measured["device_s"]) if measured["device_s"] else None
    compile = _compile(measured, time)
    values: dict[str, Any] = {key: measured[key] for key in COUNTED}
    values |= {
        "time": time,
        "time_interval": _told_bounds(_bounds(_resampled(_rounds(measured))), measured),
        "device": device,
        "host": None if device is None else max(0.0, time - device),
        "compile": compile,
        "payback": _payback(time, compile, speedup, records.get(DYNAMIC)),
        "ulp": _ulps(measured["losses"], raw),
        "verdict": _verdict(record, speedup, of_all, raw["environment"]["load"] or 0),
    }
    for key, ratio in (("speedup", speedup), ("of_all", of_all)):
        values[key] = ratio and ratio[0]
        values[f"{key}_interval"] = ratio and _told_bounds(ratio[1], measured)
    return values


def _rounds(record: Record) -> list[float]:
    return [statistics.median(samples) for samples in record["samples"]]


def _resampled(rounds: Sequence[float]) -> np.ndarray:
    """The medians of RESAMPLES draws of as many rounds, with replacement."""
    draws = np.random.default_rng(SEED).integers(0, len(rounds), (RESAMPLES, len(rounds)))
    return np.array([statistics.median(rounds[i] for i in draw) for draw in draws.tolist()])


def _bounds(values: np.ndarray) -> list[float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def _told_bounds(bounds: list[float], record: Record) -> list[float] | None:
    return None if len(record["samples"]) == 1 else bounds


def _ratio(record: Record | None, other: Record | None) -> Ratio | None:
    if record is None or other is None or other is record:
        return None
    ours, theirs = _rounds(record), _rounds(other)
    paired = min(len(ours), len(theirs))
    ours, theirs = ours[:paired], theirs[:paired]
    value = statistics.median(ours) / statistics.median(theirs)
    return value, _bounds(_resampled(ours) / _resampled(theirs))


def _compile(record: Record, time: float) -> float | None:
    if record["compile_s"] is not None:
        return record["compile_s"]
    return max(0.0, record["first_s"] - time) if "first_s" in record else None


def _payback(
    time: float,
    compile: float | None,
    speedup: Ratio | None,
    dynamic: Record | None,
) -> int | str | None:
    if compile is None or speedup is None or dynamic is None:
        return None
    if speedup[1][0] <= 1:
        return "never"
    saved = statistics.median(_rounds(dynamic)) - time
    return max(0, math.ceil((compile - (dynamic["compile_s"] or 0.0)) / saved))


def _ulps(losses: Sequence[float | None], raw: Mapping[str, Any]) -> float | None:
    unit = np.float64 if raw["loss_dtype"] == "float64" else np.float32
    worst = 0.0
    pairs = list(zip(losses, raw["reference"], strict=True))[: raw["settings"]["ulp_steps"]]
    for ours, wanted in pairs:
        if ours is None or wanted is None:  # not finite
            return None
        worst = max(worst, abs(ours - wanted) / float(np.spacing(unit(abs(wanted)))))
    return worst


def _verdict(record: Record, speedup: Ratio | None, of_all: Ratio | None, load: float) -> str:
    if record["same_as"]:
        same = record["same_as"]
        return "the same program" if same == ALL else f"the program of {same!r}"
    against_all = record["kind"] in AGAINST_ALL
    ratio = of_all if against_all else speedup
    if ratio is None or load > BUSY or len(record["samples"]) == 1:
        return ""
    value, (low, high) = ratio
    if low <= 1 <= high:
        return ""
    faster = 1 / value if against_all else value
    digits = np.format_float_positional(max(faster, 1 / faster), 2, fractional=False, min_digits=2)
    told = f"{digits.rstrip('.')}x {'faster' if faster > 1 else 'slower'}"
    return f"{told} than {'all passes' if against_all else 'dynamic'}"


def differences(comparison: Mapping[str, Any]) -> list[str]:
    """A line for each value of the table that its raw samples do not give."""
    expected = recomputed(comparison["raw"])
    told = {row["name"]: row["values"] for row in comparison["rows"]}
    found = [f"{name}: no such contender was measured" for name in told.keys() - expected.keys()]
    found += [f"{name}: measured, and not in the table" for name in expected.keys() - told.keys()]
    for name in expected.keys() & told.keys():
        keys = {column["key"] for column in comparison["columns"]} | told[name].keys()
        for key in sorted(keys | expected[name].keys()):
            is_, should = told[name].get(key), expected[name].get(key)
            if not same(is_, should):
                found.append(f"{name}: {key} is {is_!r}; the samples give {should!r}")
    return sorted(found)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, numbers within RTOL."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, bool | str | None) or isinstance(b, bool | str | None):
        return a == b
    return math.isclose(a, b, rel_tol=RTOL)


def page_differs(file: Path, comparison: Mapping[str, Any]) -> bool:
    """Whether a report.html beside the file is not the page of it."""
    from staticnet.report.page import comparison_page

    page = file.with_name("report.html")
    return page.exists() and page.read_text(encoding="utf-8") != comparison_page(comparison)


def main(arguments: Sequence[str] | None = None) -> int:
    """Recompute a file; 1 if it differs."""
    parser = argparse.ArgumentParser(prog="python -m bench.recompute")
    parser.add_argument("file", type=Path, help="a compare.json")
    file = parser.parse_args(arguments).file
    comparison = json.loads(file.read_text(encoding="utf-8"))
    found = differences(comparison)
    if page_differs(file, comparison):
        found.append("report.html is not the page of this file")
    for line in found:
        print(line)
    numbers = sum(len(values) for values in recomputed(comparison["raw"]).values())
    print(f"{numbers} values of {len(comparison['rows'])} rows: {len(found)} differ")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
