"""What `sn.compare` gives: one JSON-able dict, whose numbers all follow from its raw samples.

format         1
name           of what was compared
columns        [{key, label, unit, place}] of the table; unit: "", "s", "bytes", "steps" or "ulp";
               place: "always", "wide" or "more" as `report.comparison_page` takes it
rows           [{name, values}]; values: {key: number, text, None, or an interval [low, high]}

  time             seconds a step: the median of the rounds' medians, and its 95 % interval: None
                   of one round, as all intervals
  speedup          the time of dynamic execution over this one, rounds paired, and its interval
  of_all           time over that of the step compiled with all passes, and its interval
  verdict          what may be said: "" where the machine was busy, and of an interval that spans
                   1 or is not there
  launches         kernels and routines that a step starts, or calls of NumPy
  allocations      how often a step asks for memory, results included
  bytes_moved      that a step reads and writes
  peak             bytes that lie in memory together: feeds, state, results, all between
  device, host     seconds in kernels or within NumPy's calls, by the profile that other processes
                   disturbed least, and all others of `time`
  compile          seconds before the first step, caches empty; a peer's is its first step less
                   `time`, with what its own caches hold
  payback          steps after which compiling has paid, against dynamic execution; text if never
  ulp              the loss's greatest distance from the float64 reference in the first steps

environment    {what: text}
warnings       [text]: why the figures may not be believed
notes          [text]: what the figures say, what was left out and why, and how to read the rest
waterfall_svg  a picture, as an <svg>; "" until one is drawn
document       what `Function.document` gave of the step with all passes, or None
raw            what was measured:
  settings         {device, steps, rounds, seconds, rtol, seed, limit, ulp_steps}
  environment      as JSON, of `staticnet.compare.environment.describe`
  loss_dtype       of the loss
  reference        [loss], a step each, in float64
  contenders       [{name, kind, same_as, losses, samples, warm_up, calls, first_s, launches,
                   allocations, bytes_moved, peak, device_s, compile_s}]. kind: dynamic, static,
                   without, many or peer; samples: [[seconds a step]], a list a round; same_as:
                   the contender whose program is the same, which was measured for both;
                   device_s: [seconds], of some profiles; a loss that is not finite is None
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from staticnet.compare import stats
from staticnet.compare.environment import BUSY
from staticnet.report.units import two_digits

FORMAT = 1
ULP_STEPS = 10
DYNAMIC, STATIC, WITHOUT, MANY, PEER = "dynamic", "static", "without", "many", "peer"
ALL = "static, all passes"
SAME = "the same program"
Record: TypeAlias = Mapping[str, Any]
Values: TypeAlias = dict[str, Any]

COLUMNS = [
    {"key": key, "label": label, "unit": unit, "place": place}
    for key, label, unit, place in (
        ("time", "time a step", "s", "always"),
        ("time_interval", "its 95 % interval", "s", "wide"),
        ("speedup", "dynamic over it", "", "always"),
        ("speedup_interval", "its 95 % interval", "", "more"),
        ("of_all", "it over all passes", "", "more"),
        ("of_all_interval", "its 95 % interval", "", "more"),
        ("verdict", "verdict", "", "wide"),
        ("launches", "launches or calls", "", "wide"),
        ("allocations", "allocations", "", "more"),
        ("bytes_moved", "moved", "bytes", "more"),
        ("peak", "peak memory", "bytes", "wide"),
        ("device", "in kernels", "s", "more"),
        ("host", "outside", "s", "more"),
        ("compile", "compile", "s", "more"),
        ("payback", "pays after", "steps", "more"),
        ("ulp", "from float64", "ulp", "more"),
    )
]


def rows_of(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table's rows, from what was measured alone."""
    records = {record["name"]: record for record in raw["contenders"]}
    dynamic, everything = records.get(DYNAMIC), records.get(ALL)
    rows = []
    for record in raw["contenders"]:
        measured = records[record["same_as"]] if record["same_as"] else record
        values = _values(measured, dynamic, everything, raw)
        values["verdict"] = _verdict(record, values, is_busy(raw["environment"]))
        rows.append({"name": record["name"], "values": values})
    return rows


def is_busy(about: Mapping[str, Any]) -> bool:
    """Whether other processes were running when measuring began."""
    return (about["load"] or 0) > BUSY


def _values(
    record: Record, dynamic: Record | None, everything: Record | None, raw: Mapping[str, Any]
) -> Values:
    time = stats.median_interval(record["samples"])
    speedup = _ratio(dynamic, record)
    of_all = _ratio(record, everything)
    device = None if record["device_s"] is None else min(record["device_s"])
    compile = _compile(record, time.value)
    return {
        "time": time.value,
        "time_interval": _bounds(time, record),
        "speedup": speedup and speedup.value,
        "speedup_interval": speedup and _bounds(speedup, record),
        "of_all": of_all and of_all.value,
        "of_all_interval": of_all and _bounds(of_all, record),
        "launches": record["launches"],
        "allocations": record["allocations"],
        "bytes_moved": record["bytes_moved"],
        "peak": record["peak"],
        "device": device,
        "host": None if device is None else max(0.0, time.value - device),
        "compile": compile,
        "payback": payback(record, compile, speedup, dynamic),
        "ulp": most_ulps(record["losses"], raw["reference"], raw["loss_dtype"]),
    }


def _bounds(interval: stats.Interval, record: Record) -> list[float] | None:
    """The interval over rounds; one round has none."""
    return [interval.low, interval.high] if len(record["samples"]) > 1 else None


def _ratio(record: Record | None, other: Record | None) -> stats.Interval | None:
    """Of the times; None of a contender to itself."""
    if record is None or other is None or other["name"] == record["name"]:
        return None
    return stats.ratio_to_best(record["samples"], [other["samples"]])


def _compile(record: Record, time: float) -> float | None:
    if record["compile_s"] is not None:
        return float(record["compile_s"])
    first = record.get("first_s")
    return None if first is None else max(0.0, first - time)


def payback(
    record: Record, compile: float | None, speedup: stats.Interval | None, dynamic: Record | None
) -> int | str | None:
    """The steps after which compiling and running took less than dynamic execution.

    "never" if a step is not clearly faster than a dynamic one.
    """
    if compile is None or speedup is None or dynamic is None:
        return None
    if speedup.low <= 1:
        return "never"
    saved = stats.median(dynamic["samples"]) - stats.median(record["samples"])
    return max(0, math.ceil((compile - (dynamic["compile_s"] or 0.0)) / saved))


def most_ulps(losses: Sequence[float], reference: Sequence[float], dtype: str) -> float | None:
    """max |loss - reference| in units in the last place of the reference, in the first ULP_STEPS.

    Units of float64 if that is the loss's dtype, else of float32; None if a loss is not finite.
    """
    unit = np.float64 if dtype == "float64" else np.float32
    a = np.asarray(losses[:ULP_STEPS], np.float64)
    b = np.asarray(reference[:ULP_STEPS], np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    spacing = np.spacing(np.abs(b).astype(unit)).astype(np.float64)
    return float(np.max(np.abs(a - b) / spacing, initial=0.0))


def _verdict(record: Record, values: Values, busy: bool) -> str:
    same = record["same_as"]
    if same:
        return SAME if same == ALL else f"the program of {same!r}"
    if busy:
        return ""
    if record["kind"] in (WITHOUT, PEER, MANY):
        return _told(values["of_all"], values["of_all_interval"], "all passes")
    if values["speedup"] is None or values["speedup_interval"] is None:
        return ""
    low, high = values["speedup_interval"]
    return _told(1 / values["speedup"], [1 / high, 1 / low], "dynamic")


def _told(ratio: float | None, bounds: Sequence[float] | None, than: str) -> str:
    if ratio is None or bounds is None or stats.Interval(ratio, *bounds).spans(1):
        return ""
    times = two_digits(max(ratio, 1 / ratio))
    return f"{times}x {'faster' if ratio < 1 else 'slower'} than {than}"
