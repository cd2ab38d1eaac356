"""Contenders in processes of their own: other libraries, and dynamic execution where it can be."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.compare.model import Array, Feed
from staticnet.compare.process import Process
from staticnet.errors import ArgumentError


@dataclass(frozen=True)
class Peer:
    """Another library's program for the same model, run in a process of its own.

    `target` is "module:function". The function is called there as `function(feeds, weights,
    device, **options)` with the feeds, the first values of the parameters by name, and the device;
    it gives `step(*feed) -> loss`, or a `staticnet.compare.Steps` where it has loops of its own.
    `requires` is the module that must be installed; without it the peer is left out, with a note
    that says `remedy`.
    """

    name: str
    target: str
    requires: str = ""
    remedy: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str:
        """What keeps it from running here, with the remedy; empty if nothing does."""
        if not self.requires or _is_there(self.requires):
            return ""
        return f"{self.requires} is not installed: {self.remedy or f'pip install {self.requires}'}"


def check_peers(peers: Sequence[Any], taken: Collection[str]) -> None:
    """See that each is a `Peer` with a name of its own.

    Raises:
        ArgumentError: naming the one that is not.
    """
    names = set(taken)
    for peer in peers:
        if not isinstance(peer, Peer):
            raise ArgumentError(
                f"compare: peers must be staticnet.compare.Peer objects, not {peer!r:.60}"
            )
        if peer.name in names:
            raise ArgumentError(f"compare: two contenders are called {peer.name!r}; rename a peer")
        names.add(peer.name)


def start(folder: Path, setup: Mapping[str, Any], arrays: Mapping[str, Array]) -> Process:
    """A worker for one contender, told where its modules and its arrays are.

    `ready()` waits for it. See `worker.py` for what it is told and can be asked.
    """
    file = folder / f"{len(list(folder.iterdir()))}.npz"
    np.savez(file, allow_pickle=False, **arrays)
    process = Process([sys.executable, "-m", "staticnet.compare.worker"], cwd=_root())
    process.send("start", path=[str(Path(p).resolve()) for p in sys.path], data=str(file), **setup)
    return process


def packed(feeds: Sequence[Feed], values: Mapping[str, Array]) -> dict[str, Array]:
    """Feeds and named values as named arrays."""
    made = {f"feed.{i}": np.stack(column) for i, column in enumerate(zip(*feeds, strict=True))}
    return made | {f"value.{name}": value for name, value in values.items()}


def unpacked(arrays: Mapping[str, Array]) -> tuple[list[Feed], dict[str, Array]]:
    """What `packed` was given."""
    columns = [arrays[name] for name in arrays if name.startswith("feed.")]
    values = {
        name.removeprefix("value."): arrays[name] for name in arrays if name.startswith("value.")
    }
    return list(zip(*columns, strict=True)), values


def target_of(build: Any) -> str | None:
    """`module:function` from which another process can import `build`; None if it cannot."""
    module, name = getattr(build, "__module__", None), getattr(build, "__qualname__", "")
    loaded = sys.modules.get(module) if module and module != "__main__" else None
    if loaded is None or getattr(loaded, name, None) is not build:
        return None
    return f"{module}:{name}" if _is_there(loaded.__name__) else None


def _is_there(module: str) -> bool:
    """Whether a module can be imported; one without a parent or a file cannot."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _root() -> Path:
    """From where this package can be imported."""
    return Path(__file__).resolve().parents[2]
