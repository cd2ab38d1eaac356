"""`staticnet compare`: what compiling buys over dynamic execution, pass by pass.

Of an ONNX model, what it takes here and in other runtimes: `compare_model.py`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from staticnet.backends.base import DEVICES
from staticnet.cli import compare_model
from staticnet.cli.bench import checkout
from staticnet.cli.extras import require
from staticnet.cli.models import is_onnx
from staticnet.cli.workloads import WORKLOADS
from staticnet.compare import Peer, compare
from staticnet.compare.table import show
from staticnet.errors import ArgumentError, DependencyError

PEERS = {"torch": "torch", "torch.compile": "torch", "jax": "jax"}
"""The module that each needs."""


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("compare", help="a model dynamic and compiled, pass by pass")
    parser.add_argument("workload", help=f"{', '.join(WORKLOADS)}, or model.onnx")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a page, pictures and JSON")
    parser.add_argument("--steps", type=int, help="to be checked (2 to 100, by the workload)")
    parser.add_argument("--rounds", type=int, default=10, help="of each (%(default)s)")
    parser.add_argument(
        "--limit",
        type=float,
        default=300.0,
        help="seconds after which no round begins (%(default)s)",
    )
    parser.add_argument("--device", default="auto", help="of staticnet (%(default)s)")
    parser.add_argument(
        "--peer", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)} (all of them)"
    )
    parser.add_argument(
        "--input", action="append", default=[], metavar="FILE", help="of model.onnx, as for run"
    )
    parser.add_argument(
        "--dim", action="append", default=[], metavar="NAME=N", help="of model.onnx: batch=8"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compare, print the table, and write the files.

    Raises:
        ArgumentError: if a name is unknown or a number out of its range.
        DependencyError: if `--out` is given and matplotlib is missing.
        ComparisonError: if two contenders do not compute the same losses.
        DeviceError: if the device is not there.
        OSError: if a file cannot be written.
    """
    of_model = is_onnx(Path(options.workload))
    peers_known = compare_model.PEERS if of_model else tuple(PEERS)
    chosen = list(peers_known) if options.peer is None else options.peer
    for what, names, known in (
        ("workload", [] if of_model else [options.workload], WORKLOADS),
        ("--device", [options.device], ("auto", *DEVICES)),
        ("--peer", chosen, peers_known),
    ):
        for name in names:
            if name not in known:
                raise ArgumentError(f"{what} {name!r}: use one of {', '.join(known)}")
    if of_model:
        compare_model.run(options, chosen)
        return
    if options.out is not None:
        require("matplotlib", extra="examples")
        options.out.mkdir(parents=True, exist_ok=True)  # or fail before the minutes of measuring
    workload = WORKLOADS[options.workload]
    peers, note = find_peers(options.workload, chosen)
    comparison = compare(
        workload.build,
        workload.feeds(),
        device=options.device,
        steps=workload.steps if options.steps is None else options.steps,
        rounds=options.rounds,
        peers=peers,
        limit=options.limit,
        progress=lambda line: print(f"{options.workload}: {line}", file=sys.stderr, flush=True),
        name=f"{options.workload}: {workload.about}",
    )
    if note:
        comparison.data["notes"].append(note)
    show(comparison)
    if options.out is not None:
        for file in comparison.save(options.out):
            print(f"wrote {file}")


def find_peers(workload: str, names: list[str]) -> tuple[list[Peer], str]:
    """The peers' programs for a workload, which lie in a checkout; a note if there is none."""
    if not names:
        return [], ""
    try:
        root = checkout()
    except DependencyError:
        return [], (
            f"{', '.join(names)} were left out: their programs are in the repository; clone it and "
            "run staticnet compare in it"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if workload not in importlib.import_module("bench.workloads").WORKLOADS:
        return [], f"{', '.join(names)} were left out: {root} has no programs of theirs"
    return [
        Peer(name, "bench.peers:build", PEERS[name], options={"workload": workload, "peer": name})
        for name in names
    ], ""
