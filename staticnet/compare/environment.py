"""What a measurement was made on: machine, governor, load, versions, compiler and commit."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import CompileError

LIBRARIES = ("staticnet", "numpy", "scipy", "torch", "jax", "jaxlib", "optax")
ROOT = Path(__file__).resolve().parents[2]
BUSY = 0.5  # of the load average
_CPU = Path("/sys/devices/system/cpu")


def describe(threads: int) -> dict[str, Any]:
    """Machine, versions and commit, as JSON; what cannot be read is None."""
    return {
        "kind": "environment",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "threads": threads,
        "governor": governor(),
        "load": _load(),
        "ram_bytes": memory("MemTotal"),
        "os": platform.platform(),
        "python": platform.python_version(),
        "compiler": _compiler(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def as_text(about: Mapping[str, Any]) -> dict[str, str]:
    """What `describe` gave, for people: `{what: text}`; what is not known is left out."""
    versions = [f"{name} {v}" for name, v in about["versions"].items() if v]
    load = about["load"]
    told = {
        "date": about["date"],
        "CPU": about["cpu"],
        "cores": f"{about['usable_cores']} of {about['cores']}, {about['threads']} threads",
        "governor": about["governor"],
        "load before": None if load is None else f"{load}{' (busy)' * (load > BUSY)}",
        "memory": about["ram_bytes"] and f"{about['ram_bytes'] / 2**30:.1f} GiB",
        "system": about["os"],
        "Python": about["python"],
        "versions": ", ".join(versions),
        "C compiler": about["compiler"],
        "commit": about["commit"] and about["commit"] + " with changes" * about["dirty"],
    }
    return {what: str(text) for what, text in told.items() if text}


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def governor() -> str | None:
    """How the cores' frequency is chosen: one name, or all there are; None if it is not told."""
    files = sorted(_CPU.glob("cpu[0-9]*/cpufreq/scaling_governor"))
    names = dict.fromkeys(filter(None, map(_read, files)))
    return ", ".join(names) or None


def version(distribution: str) -> str | None:
    """The installed version; staticnet's own from its source."""
    if distribution == "staticnet":
        import staticnet

        return staticnet.__version__
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name."""
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def memory(field: str) -> int | None:
    """A field of /proc/meminfo in bytes."""
    for line in (_read(Path("/proc/meminfo")) or "").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def _compiler() -> str | None:
    """The first line of what the C compiler says of itself."""
    try:
        found = find_compiler()
    except CompileError:
        return None
    return found.version.splitlines()[0] if found and found.version else None


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that this package lies in; None of an installed one."""
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
