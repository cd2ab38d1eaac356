"""What a measurement was made on: the first line of every file of results."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from bench import copies
from bench.program import COPIES

LIBRARIES = ("staticnet", "numpy", "scipy", "torch", "jax", "jaxlib", "optax")
REQUIRES = {
    "torch": ("torch", "pip install torch"),
    "torch.compile": ("torch", "pip install torch"),
    "torch.graph": ("torch", "pip install torch"),
    "jax": ("jax", "pip install jax"),
}
ROOT = Path(__file__).resolve().parents[1]


def describe(threads: int) -> dict[str, Any]:
    """Machine, versions and commit, as JSON; what cannot be read is None."""
    return {
        "kind": "environment",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load": _load(),
        "ram_bytes": memory("MemTotal"),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def missing(contender: str) -> str | None:
    """Why a contender cannot run here, with the remedy; None if it can. Imports no framework."""
    if contender in COPIES:
        return copies.missing(contender)
    module, remedy = REQUIRES.get(contender, ("numpy", ""))
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed: {remedy}"
    return None


def version(distribution: str) -> str | None:
    """The installed version; staticnet's own from its source."""
    if distribution == "staticnet":
        import staticnet

        return staticnet.__version__
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name."""
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def memory(field: str) -> int | None:
    """A field of /proc/meminfo in bytes."""
    for line in (_read("/proc/meminfo") or "").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
