"""`staticnet bench`: the benchmark suite of a checkout."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import staticnet
from staticnet.backends.cuda import CudaBackend
from staticnet.errors import ArgumentError, DependencyError, DeviceError

MODES = ("call", "run")


def add_to(commands: Any) -> None:
    """Declare the subcommand and its options."""
    parser = commands.add_parser("bench", help="time staticnet and its peers, interleaved")
    parser.add_argument("--suite", default="cpu", help="cpu or gpu (%(default)s)")
    parser.add_argument("--workload", nargs="+", default=(), metavar="NAME", help="only these")
    parser.add_argument("--contender", nargs="+", default=(), metavar="NAME", help="only these")
    parser.add_argument(
        "--mode", nargs="+", default=(), metavar="NAME", help="only these: call, run"
    )
    parser.add_argument("--rounds", type=int, help="of each contender (10)")
    parser.add_argument(
        "--seconds", type=float, help="a round of a network; half for kernels (0.08)"
    )
    parser.add_argument("--threads", type=int, help="of each contender (at most 2)")
    parser.add_argument("--limit", type=float, help="seconds at most of the GPU's suite (no limit)")
    parser.add_argument(
        "--resume", action="store_true", help="of the GPU's suite: measure what --out lacks"
    )
    parser.add_argument("--device", default="auto", help="of staticnet (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small and rough, within a minute")
    parser.add_argument("--out", type=Path, metavar="FILE", help="raw samples, as lines of JSON")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="print changes; status 1 if any is worse"
    )
    parser.add_argument(
        "--tolerance", type=float, help="a ratio that is worse by less is not told (1.10)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the suite.

    Raises:
        DependencyError: if there is no checkout around this package.
        DeviceError: if the suite is the GPU's and there is none.
        ArgumentError: if an option is unknown or out of its range.
        SystemExit: with 1, if a result is worse than that of `--against`.
    """
    root = checkout()
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if options.suite == "gpu" and (missing := CudaBackend().missing()):
        raise DeviceError(f"--suite gpu: {missing}")
    driver = importlib.import_module("bench.driver")
    suite = importlib.import_module("bench.gpu.driver") if options.suite == "gpu" else driver
    _check(options, suite)
    old = _recorded(options.against) if options.against else None
    records = suite.run(
        driver.Settings(
            suite=options.suite,
            workloads=options.workload,
            contenders=options.contender,
            modes=options.mode,
            rounds=options.rounds or (3 if options.quick else 10),
            seconds=options.seconds or (0.02 if options.quick else 0.08),
            device=options.device,
            quick=options.quick,
            out=options.out,
            threads=options.threads or 0,
            limit=options.limit or 0.0,
            resume=options.resume,
        )
    )
    if old:
        changes = importlib.import_module("bench.changes")
        if changes.show(old, records, print, options.tolerance or changes.TOLERANCE):
            raise SystemExit(1)


def _recorded(path: Path) -> list[Any]:
    """The records of an earlier run, read before this one may overwrite them."""
    try:
        records = importlib.import_module("bench.report").read(path)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"--against {path}: {error}; use a file that --out wrote") from error
    if not records or any(not isinstance(r, dict) or "kind" not in r for r in records):
        raise ArgumentError(f"--against {path} holds no results; use a file that --out wrote")
    return records


def checkout() -> Path:
    """The checkout that this package lies in, or else the one that we stand in.

    Raises:
        DependencyError: if there is neither.
    """
    for root in (Path(staticnet.__file__).resolve().parents[1], Path.cwd()):
        if (root / "bench" / "driver.py").is_file() and (root / "staticnet").is_dir():
            return root
    raise DependencyError(
        "the benchmarks are not part of an installed staticnet; clone the repository and run "
        "staticnet bench in it"
    )


def _check(options: argparse.Namespace, driver: Any) -> None:
    for what, given, known in (
        ("suite", [options.suite], ("cpu", "gpu")),
        ("workload", options.workload, driver.WORKLOADS),
        ("contender", options.contender, driver.CONTENDERS),
        ("mode", options.mode, MODES),
        ("device", [options.device], driver.DEVICES),
    ):
        for name in given:
            if name not in known:
                raise ArgumentError(f"--{what} {name!r}: use one of {', '.join(known)}")
    if options.mode and options.suite == "gpu":
        raise ArgumentError("--mode is for --suite cpu; the GPU's takes all modes")
    if options.limit is not None and options.suite != "gpu":
        raise ArgumentError("--limit is for --suite gpu; take fewer workloads, rounds or --quick")
    if options.resume and (options.suite != "gpu" or options.out is None):
        raise ArgumentError("--resume is for --suite gpu with --out, whose file it goes on with")
    for what, least in (
        ("rounds", 0),
        ("seconds", 0),
        ("threads", 0),
        ("limit", 0),
        ("tolerance", 1),
    ):
        number = getattr(options, what)
        if number is not None and not number > least:
            raise ArgumentError(f"--{what} must be greater than {least}, not {number}")
