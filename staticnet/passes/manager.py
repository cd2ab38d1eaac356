"""The pass manager: runs a pipeline, verifies and times each pass, dumps, and leaves passes out."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from staticnet import flags
from staticnet.errors import ArgumentError
from staticnet.ir.graph import Graph
from staticnet.ir.verify import verify
from staticnet.rewrite.pattern import Numerics

log = logging.getLogger("staticnet")
ALL_PRODUCTS = frozenset({"float16", "bfloat16", "float32", "float64"})


@dataclass
class Context:
    """What a pass may know besides the graph, and where it notes what it did.

    `dims` binds symbolic dims; `numerics` is "exact" or "fast"; `notes` counts acts by name.
    `precision` is the type that products compute in. `epilogues`, `narrow_epilogues` and `products`
    are what the backend's library offers, and `keeps_casts` whether it has casts of state as state,
    as `Backend` says. `memory_limit` is in bytes; `layout` plans a graph and says what `remat` has
    to know of its memory.
    """

    dims: Mapping[str, int] = field(default_factory=dict)
    numerics: str = "fast"
    precision: str = "float32"
    epilogues: frozenset[str] = frozenset()
    products: frozenset[str] = ALL_PRODUCTS
    memory_limit: int | None = None
    layout: Callable[[Graph], Any] | None = None
    keeps_casts: bool = False
    narrow_epilogues: frozenset[str] = frozenset()
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Pass:
    """A named graph-to-graph function with what it does to the numbers at most.

    A pass made of rules with different numerics (`selects=True`) looks at `Context.numerics`
    itself; any other is left out of exact compilation unless it is exact.
    """

    name: str
    run: Callable[[Graph, Context], Graph]
    numerics: Numerics = Numerics.EXACT
    selects: bool = False


@dataclass(frozen=True)
class Record:
    """What one pass did: node counts, seconds, and its notes."""

    name: str
    before: int
    after: int
    seconds: float
    notes: Mapping[str, int]
    graph: Graph

    def __str__(self) -> str:
        notes = ", ".join(f"{name} ×{count}" for name, count in self.notes.items())
        change = f"{self.before:>6} -> {self.after:<6} nodes {self.seconds * 1e3:8.1f} ms"
        return f"{self.name:<20} {change}  {notes}".rstrip()


def check_names(names: Sequence[str], disabled: Collection[str]) -> None:
    """Raise ArgumentError if a pass is to be left out that is not there."""
    for name in disabled:
        if name not in names:
            raise ArgumentError(
                f"disabled_passes: {name!r} is no pass; the passes are {list(names)}"
            )


def run_passes(
    graph: Graph,
    pipeline: Sequence[Pass],
    *,
    dims: Mapping[str, int] | None = None,
    numerics: str = "fast",
    precision: str = "float32",
    epilogues: frozenset[str] = frozenset(),
    products: frozenset[str] = ALL_PRODUCTS,
    memory_limit: int | None = None,
    layout: Callable[[Graph], Any] | None = None,
    keeps_casts: bool = False,
    narrow_epilogues: frozenset[str] = frozenset(),
    disabled: Collection[str] = (),
) -> tuple[Graph, list[Record]]:
    """The graph after the pipeline, and a record for each pass that ran.

    Raises:
        ArgumentError: if `disabled` names no pass.
        VerifyError: naming the pass after which the graph is broken.
    """
    check_names([p.name for p in pipeline], disabled)
    settings = flags.read()
    records: list[Record] = []
    for number, p in enumerate(pipeline):
        if p.name in disabled:
            continue
        if numerics == "exact" and p.numerics is not Numerics.EXACT and not p.selects:
            continue
        context = Context(
            dims or {}, numerics, precision, epilogues, products, memory_limit, layout, keeps_casts,
            narrow_epilogues,
        )  # fmt: skip
        start = time.perf_counter()
        after = p.run(graph, context)
        seconds = time.perf_counter() - start
        if settings.verify and after is not graph:
            verify(after, after=p.name)
        record = Record(
            p.name, len(graph.nodes), len(after.nodes), seconds, dict(context.notes), after
        )
        records.append(record)
        _report(record, number, settings)
        graph = after
    return graph, records


def _report(record: Record, number: int, settings: flags.Flags) -> None:
    if settings.debug:
        log.info("%s", record if "passes" in settings.debug else f"{record.name}: {record.seconds}")
    if settings.dump is not None:
        settings.dump.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]", "_", record.graph.name)
        file = settings.dump / f"{name}.{number}.{record.name}.sn"
        file.write_text(f"{record.graph}\n", encoding="utf-8")
