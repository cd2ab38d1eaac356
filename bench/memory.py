"""The memory that steps of the networks take, resident, beside the certificate of ours.

    python -m bench.memory [--networks NAME ...] [--contenders NAME ...] [--out FILE.json]

Each contender of a network has a process of its own. There it builds the network, of few examples
where the workload has a smaller one, makes steps, and drops it: what libraries load and start once
is not counted. Then the inputs are drawn, freed memory goes back to the system, and the network is
built and makes steps again; what the resident size grows by at most is its memory. `built` is the
part that is there before the first step: for staticnet the weights, the compiled code and the graph
in Python's objects. `steps` is the rest, which staticnet's certificate calls the arena. It counts
the fed arrays, too, which the caller has: `certificate` here is without them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import environment, report
from bench.client import Client, WorkerError
from bench.program import OURS
from bench.workloads import NETWORKS, WORKLOADS

THREADS, STEPS, SECONDS = 2, 5, 60.0
CONTENDERS = (OURS, "torch", "torch.compile", "jax")
HEADER = (
    *("what", "staticnet", "of which steps", "certificate", "of which arena"),
    *("least of PyTorch's", "JAX's"),
)
Record = dict[str, Any]


def measure(workload: str, contender: str) -> Record:
    """The growth in bytes of one contender, and what its program says."""
    small = WORKLOADS[workload].quick_sizes[0]
    with Client(workload, contender, "cpu", THREADS) as client:
        client.ready()
        for size in (small, 0):
            client.ask("prepare", size=size, steps=0)
            client.ask("few", mode="call", seconds=SECONDS, calls=STEPS, check=False)
            found = client.ask("memory")
            client.ask("release")
    return found


def records(networks: Sequence[str], contenders: Sequence[str]) -> Iterator[Record]:
    """One for each network and contender; why, if one has failed."""
    for workload in networks:
        for contender in contenders:
            if contender not in WORKLOADS[workload].contenders:
                continue
            record: Record = {"workload": workload, "contender": contender}
            reason = environment.missing(contender)
            try:
                yield record | ({"reason": reason} if reason else measure(workload, contender))
            except WorkerError as error:
                yield record | {"reason": str(error)[:200]}


def table(found: Sequence[Record]) -> list[tuple[str, ...]]:
    """The cells of each network below HEADER, of the growth in MB."""
    rows = []
    for workload in dict.fromkeys(record["workload"] for record in found):
        of = {r["contender"]: r for r in found if r["workload"] == workload and "steps" in r}
        if OURS not in of:
            continue
        ours, said = of[OURS], of[OURS]["reported"]
        planned = said["planned peak"] - said["feeds"]
        torch = [of[name]["rss_growth"] for name in ("torch", "torch.compile") if name in of]
        jax = [of["jax"]["rss_growth"]] if "jax" in of else []
        sizes = (ours["rss_growth"], ours["steps"], planned, said["arena"])
        peers = [_megabytes(min(peer)) if peer else "" for peer in (torch, jax)]
        rows.append((workload, *map(_megabytes, sizes), *peers))
    return rows


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=[w.name for w in NETWORKS])
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    found = []
    for record in records(options.networks, options.contenders):
        found.append(record)
        sizes = {
            k: report.human(record[k]) for k in ("rss_growth", "built", "steps") if k in record
        }
        told = record.get("reason") or {**sizes, **record["reported"]}
        print(record["workload"], record["contender"], told, flush=True)
    if options.out:
        about = environment.describe(THREADS)
        options.out.write_text(json.dumps({"about": about, "records": found}) + "\n")


if __name__ == "__main__":
    main()
