"""From the import to the first finished step, with an empty cache and with a full one.

    python -m bench.cold [--rounds 5] [--workloads mlp …] [--contenders …] [--out FILE.json]

Every time is a fresh process's (`cold_start.py`). In a round each contender starts twice, with a
cache that is empty and with what the first start has left there, in an order that rotates; PyTorch
without `compile` keeps none, and starts once. All have their bytecode, as an installed package has.
The losses must agree. A line has the median, its quartiles, and the ratio of the medians with its
95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import environment
from bench.client import environment as with_threads
from bench.cold_start import CONTENDERS
from bench.first_call import cache_settings
from bench.report import duration
from bench.rounds import rotated
from bench.workloads import NETWORKS, WORKLOADS
from staticnet.compare import stats
from staticnet.compare.environment import usable_cores

NAMES = tuple(w.name for w in NETWORKS if w.name != "playground")
LIMIT = 300.0
Record = dict[str, Any]


def one_round(workload: str, contenders: Sequence[str], data: Path, threads: int) -> list[Record]:
    """A cold and a warm start of each contender, one after the other."""
    records = []
    for contender in contenders:
        with tempfile.TemporaryDirectory() as folder:
            settings = cache_settings(contender, folder)
            kept = {} if isinstance(settings, str) else settings
            for state in ("cold", "warm") if kept else ("cold",):
                record = start(workload, contender, data, with_threads(threads) | kept)
                records.append({"contender": contender, "cache": state} | record)
    return records


def start(workload: str, contender: str, data: Path, env: dict[str, str]) -> Record:
    """The times of one fresh process, and its loss."""
    command = [sys.executable, "-m", "bench.cold_start", workload, contender, str(data)]
    env = {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        command, cwd=environment.ROOT, env=env, capture_output=True, text=True, check=True,
        timeout=LIMIT,
    )  # fmt: skip
    record: Record = json.loads(done.stdout.splitlines()[-1])
    return record


def measure(workload: str, contenders: Sequence[str], rounds: int, threads: int) -> list[Record]:
    """All rounds of a workload.

    Raises:
        ValueError: if the losses of the first step differ by more than the workload allows.
    """
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, **WORKLOADS[workload].make_data(0))
        for contender in contenders:  # bytecode is written, and files are read from the disk
            if contender in CONTENDERS.values():
                start(workload, contender, data, with_threads(threads))
        for number in range(rounds):
            made = one_round(workload, rotated(contenders, number), data, threads)
            records += [{"workload": workload, "round": number} | record for record in made]
    losses = {record["contender"]: record["loss"] for record in records}
    first = next(iter(losses.values()))
    if not np.allclose(list(losses.values()), first, WORKLOADS[workload].rtol):
        raise ValueError(f"{workload}: the losses of the first step differ: {losses}")
    return records


def grouped(records: Sequence[Record]) -> list[Record]:
    """A record for each workload and state of the cache: seconds by contender, and their parts."""
    found: dict[tuple[str, str], Record] = {}
    for record in records:
        key = record["workload"], record["cache"]
        of = {"workload": key[0], "cache": key[1], "seconds": {}, "parts": {}}
        into = found.setdefault(key, of)
        into["seconds"].setdefault(record["contender"], []).append(record["total_s"])
        parts = {name: record[f"{name}_s"] for name in ("import", "build", "step")}
        into["parts"].setdefault(record["contender"], []).append(parts)
    return list(found.values())


def report(records: Sequence[Record]) -> list[str]:
    """A line for each contender and state of its cache."""
    times: dict[tuple[str, str], list[list[float]]] = {}
    for record in records:
        key = record["contender"], record["cache"]
        times.setdefault(key, []).append([record["total_s"]])
    lines = []
    for (contender, cache), each in times.items():
        low, middle, high = stats.quartiles(each)
        line = (
            f"  {contender:14} {cache:5} {duration(middle)} ({duration(low)} to {duration(high)})"
        )
        ours = times.get(("staticnet", cache))
        if ours and contender != "staticnet":
            ratio = stats.ratio_to_best(ours, [each])
            line += f", staticnet / it {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        lines.append(line)
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workloads", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    threads = usable_cores()
    present = [c for c in options.contenders if environment.missing(c) is None]
    records, about = [], environment.describe(threads)
    for workload in options.workloads:
        made = measure(workload, present, options.rounds, threads)
        print("\n".join([f"{workload}:", *report(made)]), flush=True)
        records += made
        if options.out:  # whole after each, if the run is broken off
            whole = {"about": about, "records": grouped(records)}
            options.out.write_text(json.dumps(whole) + "\n")


if __name__ == "__main__":
    main()
