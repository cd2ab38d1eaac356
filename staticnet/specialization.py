"""The programs of a function, one for each binding of its symbolic dims."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from staticnet.backends.base import Executable
from staticnet.ir.graph import Graph
from staticnet.passes.manager import Record
from staticnet.plan.plan import Plan

log = logging.getLogger("staticnet")

Key = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Specialization:
    """One binding of the symbolic dims: the optimised graph, what the passes did, the program."""

    dims: Mapping[str, int]
    graph: Graph
    records: tuple[Record, ...]
    executable: Executable
    planned: Callable[[], Plan]

    @property
    def plan(self) -> Plan:
        """The steps in order and where values lie: what a device that compiles runs."""
        return self.planned()


class Specializations:
    """At most so many programs: the one that was used longest ago makes room for a new one.

    `by_shapes` has the programs by the shapes of the feeds that they were given, and `latest` is
    the one used last: a call looks there first. Threads may ask at once; each binding is compiled
    once, and meanwhile the other programs run. A program that was dropped still ends the steps
    that it is in.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._made: OrderedDict[Key, Specialization] = OrderedDict()
        self.by_shapes: dict[tuple[Any, ...], Specialization] = {}
        self.latest: Specialization | None = None
        self._making = threading.RLock()  # held while a program is compiled, for seconds
        self._lock = threading.RLock()  # of the tables
        self._warned = False

    def __iter__(self) -> Any:
        with self._lock:
            return iter(list(self._made.values()))

    def remember(self, shapes: tuple[Any, ...], made: Specialization) -> None:
        """From now on a program is found by these shapes, as long as it is here."""
        with self._lock:
            if self.find(made.dims) is made:
                self.by_shapes[shapes] = made

    def find(self, dims: Mapping[str, int]) -> Specialization | None:
        """The program of a binding, if there is one."""
        return self._made.get(_key(dims))

    def find_or_make(
        self, dims: Mapping[str, int], make: Callable[[], Specialization], most: int
    ) -> Specialization:
        """The program of a binding; a new one may replace others, so that there are at most `most`.

        Raises:
            ExecutionError: if a device tells only now that a step of a replaced one failed.
        """
        found = self.find(dims)
        if found is None:
            with self._making:
                found = self.find(dims) or make()
                with self._lock:
                    self._made[_key(dims)] = found
        with self._lock:
            self.use(found)
            gone = [self._drop() for _ in range(len(self._made) - most)]
        for made in gone:
            made.executable.synchronize()
        return found

    def use(self, made: Specialization) -> None:
        """Note that a program is used now."""
        with self._lock:
            key = _key(made.dims)
            if self._made.get(key) is made:
                self._made.move_to_end(key)
                self.latest = made

    def _drop(self) -> Specialization:
        _, gone = self._made.popitem(last=False)
        for shapes in [shapes for shapes, made in self.by_shapes.items() if made is gone]:
            del self.by_shapes[shapes]
        if not self._warned:
            log.warning(
                "%s: more than %d bindings of its symbolic dims; the program for %s, used longest "
                "ago, is dropped and compiled anew if it is fed again: pad batches to a common "
                "size, or give sn.function a larger max_specializations",
                self.name, len(self._made), dict(gone.dims),
            )  # fmt: skip
        self._warned = True
        return gone


def _key(dims: Mapping[str, int]) -> Key:
    return tuple(sorted(dims.items()))
