"""The pass manager: runs a pipeline, verifies and times each pass, dumps, and leaves passes out.

A pass that is not the house's own is always verified, and held to what every pass has to keep.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from staticnet import flags
from staticnet.errors import ArgumentError, FlagError, VerifyError
from staticnet.ir.graph import Graph
from staticnet.ir.location import Location, user_line, written_at
from staticnet.ir.node import Node, build
from staticnet.ir.shown import Shown, Table
from staticnet.ir.verify import verify
from staticnet.passes.interface import broken_interface
from staticnet.rewrite.driver import keep, rebuild
from staticnet.rewrite.pattern import Numerics, Rule, as_numerics

log = logging.getLogger("staticnet")
ALL_PRODUCTS = frozenset({"float8", "float16", "bfloat16", "float32", "float64"})


@dataclass
class Context:
    """What a pass may know besides the graph, and where it notes what it did.

    `dims` binds symbolic dims; `numerics` is "exact" or "fast"; `notes` counts acts by name.
    `precision` is the type that products compute in. `epilogues`, `narrow_epilogues` and `products`
    are what the backend's library offers, and `keeps_casts` whether it has casts of state as state,
    as `Backend` says, who says `loop_cache`, `channels_last` and `calls`, too. `memory_limit` is in
    bytes; `layout` plans a graph, with what kernels compute again or without, and says what `remat`
    has to know of its memory.
    """

    dims: Mapping[str, int] = field(default_factory=dict)
    numerics: str = "fast"
    precision: str = "float32"
    epilogues: frozenset[str] = frozenset()
    products: frozenset[str] = ALL_PRODUCTS
    memory_limit: int | None = None
    layout: Callable[[Graph, bool], Any] | None = None
    keeps_casts: bool = False
    narrow_epilogues: frozenset[str] = frozenset()
    loop_cache: int = 0
    channels_last: bool = False
    calls: frozenset[str] = frozenset()
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Pass:
    """A named graph-to-graph function with what it does to the numbers at most.

    `run(graph, context)`, or `run(graph)`, gives the new graph; `numerics` is "exact",
    "reassociates" or "approximates". A pass made of rules with different numerics (`selects=True`)
    looks at `Context.numerics` itself; any other is left out of exact compilation unless it is
    exact. It also runs on the graphs that ops hold, the innermost first, unless it sees to them
    itself (`inside=False`). `rules` are what it is made of, if it is, and `where` is the line of
    its function, None for the house's own.

    Raises:
        ArgumentError: if the name is no identifier, `run` no function of one or two arguments, or
            numerics none of the three.
    """

    name: str
    run: Callable[..., Graph]
    numerics: Numerics = Numerics.EXACT
    selects: bool = False
    inside: bool = True
    where: Location | None = None
    rules: tuple[Rule, ...] = ()
    _takes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"\w+", self.name):
            raise ArgumentError(
                f"Pass: the name must be made of letters, digits and _, not {self.name!r:.60}; "
                "give one as sn.Pass(name, function)"
            )
        takes = _arguments(self.run) if callable(self.run) else 0
        if not takes:
            raise ArgumentError(
                f"Pass {self.name}: run must be a function of (graph, context) or of (graph), "
                f"not {self.run!r:.60}"
            )
        settle = object.__setattr__
        settle(self, "_takes", takes)
        settle(self, "numerics", as_numerics(self.numerics, f"Pass {self.name}"))
        settle(self, "where", self.where or written_at(self.run))

    def __str__(self) -> str:
        return self.name if self.where is None else f"{self.name} ({self.where})"

    def __call__(self, graph: Graph, context: Context) -> Graph:
        """The graph after the pass.

        Raises:
            VerifyError: naming a pass that is not the house's own, if it fails or its graph is
                not a form of the one that it was given.
        """
        before = graph
        if self.inside and any(node.op.graphs for node in graph.nodes):
            graph = rebuild(graph, self.name, self._on_held(context))
        arguments = (graph, context)[: self._takes]
        if self.where is None:
            return self.run(*arguments)
        try:
            after: Any = self.run(*arguments)
        except Exception as error:
            if self.rules and isinstance(error, VerifyError):
                raise  # it names the rule
            told = f"the pass {self} failed: {type(error).__name__}: {error} ({user_line()})"
            raise VerifyError(told) from error
        if isinstance(after, Graph):
            self._verify(after)
        if problem := broken_interface(before, after):
            raise VerifyError(f"the pass {self} {problem} ({user_line()})")
        return after

    def _on_held(self, context: Context) -> Callable[[Node, tuple[Node, ...]], Node]:
        def replace(node: Node, inputs: tuple[Node, ...]) -> Node:
            op = node.op.with_graphs(lambda held: self(held, context))
            return keep(node, inputs) if op is node.op else build(op, inputs)

        return replace

    def _verify(self, after: Graph) -> None:
        try:
            verify(after, after=self.name)
        except VerifyError as error:
            raise VerifyError(f"{error}\n(made by the pass {self})") from None


def _arguments(f: Callable[..., Any]) -> int:
    """How many of (graph, context) a function takes; 0 if it cannot be called with them."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):  # of a built-in function
        return 0
    for count in (2, 1):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count
    return 0


@dataclass(frozen=True)
class Record:
    """What one pass did: node counts, seconds, and its notes."""

    name: str
    before: int
    after: int
    seconds: float
    notes: Mapping[str, int]
    graph: Graph

    @property
    def is_idle(self) -> bool:
        """Whether the pass found nothing to do."""
        return self.before == self.after and not self.notes

    def told(self) -> str:
        """`multiply_by_one ×1, fold ×3`."""
        return ", ".join(f"{name} ×{count}" for name, count in self.notes.items())

    def __str__(self) -> str:
        change = f"{self.before:>6} -> {self.after:<6} nodes {self.seconds * 1e3:8.1f} ms"
        return f"{self.name:<20} {change}  {self.told()}".rstrip()


class Records(Shown, list[Record]):
    """What the passes did, in order; those that found nothing to do are told in one line."""

    def tables(self) -> list[Table]:
        """The passes that did something, and the others in one row."""
        rows = [
            (r.name, f"{r.before:,}", f"{r.after:,}", f"{r.seconds * 1e3:.1f} ms", r.told())
            for r in self
            if not r.is_idle
        ]
        if any(r.is_idle for r in self):
            rows.append((self._idle(), "", "", "", "nothing to do"))
        return [Table("", ("pass", "nodes before", "after", "time", "what it did"), rows)]

    def __str__(self) -> str:
        lines = [str(r) for r in self if not r.is_idle]
        return "\n".join([*lines, f"nothing to do: {self._idle()}"] if self._idle() else lines)

    def _idle(self) -> str:
        return ", ".join(r.name for r in self if r.is_idle)


def as_names(disabled: Collection[str]) -> tuple[str, ...]:
    """The names of passes that are to be left out.

    Raises:
        ArgumentError: if they are one str.
    """
    if isinstance(disabled, str):
        raise ArgumentError(f"disabled_passes: give names in a list, as [{disabled!r}]")
    return tuple(disabled)


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
    layout: Callable[[Graph, bool], Any] | None = None,
    keeps_casts: bool = False,
    narrow_epilogues: frozenset[str] = frozenset(),
    loop_cache: int = 0,
    channels_last: bool = False,
    calls: frozenset[str] = frozenset(),
    disabled: Collection[str] = (),
) -> tuple[Graph, list[Record]]:
    """The graph after the pipeline, and a record for each pass that ran.

    Raises:
        ArgumentError: if `disabled` names no pass.
        VerifyError: naming the pass after which the graph is broken.
        FlagError: if the environment has an illegal value, or its dumps cannot be written.
    """
    check_names([p.name for p in pipeline], disabled)
    settings = flags.read()
    records: list[Record] = []
    name = _dump_name(graph, dims or {}) if settings.dump else ""
    for number, p in enumerate(pipeline):
        if p.name in disabled:
            continue
        if numerics == "exact" and p.numerics is not Numerics.EXACT and not p.selects:
            continue
        context = Context(
            dims or {}, numerics, precision, epilogues, products, memory_limit, layout, keeps_casts,
            narrow_epilogues, loop_cache, channels_last, calls,
        )  # fmt: skip
        start = time.perf_counter()
        after = p(graph, context)
        seconds = time.perf_counter() - start
        if settings.verify and after is not graph and p.where is None:
            verify(after, after=p.name)
        record = Record(
            p.name, len(graph.nodes), len(after.nodes), seconds, dict(context.notes), after
        )
        records.append(record)
        _report(record, f"{name}.{number:02}", settings)
        graph = after
    return graph, records


_compiled = itertools.count(1)


def _dump_name(graph: Graph, dims: Mapping[str, int]) -> str:
    """`03.step.batch=32`: the compilation's number in this process, the function, its sizes."""
    sizes = [f"{name}={size}" for name, size in sorted(dims.items())]
    return ".".join([f"{next(_compiled):02}", re.sub(r"[^\w.-]", "_", graph.name), *sizes])


def _report(record: Record, name: str, settings: flags.Flags) -> None:
    if settings.debug:
        told = record if "passes" in settings.debug else f"{record.name}: {record.seconds:.6f} s"
        log.info("%s", told)
    if settings.dump is not None:
        file = settings.dump / f"{name}.{record.name}.sn"
        try:
            settings.dump.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{record.graph}\n", encoding="utf-8")
        except OSError as error:
            raise FlagError(
                f"STATICNET_DUMP={settings.dump}: {file} cannot be written: "
                f"{error.strerror or error}; name a folder that can be"
            ) from error
