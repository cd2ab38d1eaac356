"""The passes' numerics contract, held against an evaluation in float64.

An exact pass keeps every bit of every output and update on the NumPy backend. Any other may move
them about as far as rounding does: the graph is evaluated in float64, and again several times with
each result rounded up or down by chance. What an output varies by then is its conditioning: where
terms cancel, it is many ulps.

After Vignes, "A stochastic arithmetic for reliable scientific computation", 1993; docs/adr/0017.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from staticnet.compilation import PIPELINE
from staticnet.errors import ArgumentError, FeedError, VerifyError
from staticnet.feeds import bind_dims, convert
from staticnet.ir.dtype import DType
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, describe
from staticnet.ir.types import TupleType
from staticnet.ops.selection import Cast
from staticnet.oracle.arithmetic import Declared, Rounding, Wide, epsilon, ulp, values
from staticnet.oracle.difference import most_ulps, same_bits
from staticnet.passes.float8 import in_precision
from staticnet.passes.manager import Pass, check_names, run_passes
from staticnet.passes.precision import COMPUTE_TYPES
from staticnet.rewrite.pattern import EXACT, Numerics

ULPS = 16.0  # a pass may move an output by so many ulps, or so many times what rounding does
SAMPLES = 8  # evaluations with random rounding
CHOICES = {"numerics": ("exact", "fast"), "precision": ("float32", "tf32", *COMPUTE_TYPES)}
OPTIONS = (
    "precision", "disabled", "epilogues", "narrow_epilogues", "products", "keeps_casts",
    "memory_limit", "layout", "loop_cache", "channels_last",
    "calls",
)  # fmt: skip
Array = np.ndarray[Any, Any]
Rules = Counter[str]


@dataclass(frozen=True)
class Kept:
    """What a pass did: `ulps` is the most that it moved an element of an output or update.

    `numerics` is what it was held to; `rules` counts what it notes of its work.
    """

    name: str
    numerics: Numerics
    ulps: int
    rules: Mapping[str, int]


def check_numerics(
    graph: Graph,
    feeds: Sequence[Any],
    pipeline: Sequence[Pass] = PIPELINE,
    *,
    numerics: str = "fast",
    ulps: float = ULPS,
    **options: Any,
) -> list[Kept]:
    """Run the pipeline pass by pass, and hold each pass that changes the graph to what it declares.

    Feeds are for the graph's inputs, in order; variables have their present values, and keep them.
    With numerics="exact" each pass that runs has to keep every bit. `options` are those of
    `run_passes`: precision, disabled, epilogues, narrow_epilogues, products, keeps_casts,
    memory_limit, layout, loop_cache, channels_last, calls.

    Raises:
        VerifyError: if a pass does not keep what it declares; names the pass, the rules if they are
            known, and the first node that is not what it was, with its line.
        ArgumentError: on an unknown option, numerics, precision or pass to leave out.
        FeedError: if the feeds do not fit; names the placeholder and its line.
        StateError: if a variable has no value yet.
        ExecutionError: if an op fails.
    """
    _check_options(pipeline, {"numerics": numerics} | options)
    _check_count(graph, feeds)
    precision, disabled = options.get("precision", "float32"), options.get("disabled", ())
    graph = in_precision(graph, precision, pipeline, disabled)
    arrays = [convert(node, feed) for node, feed in zip(graph.inputs, feeds, strict=True)]
    dims = bind_dims(graph.inputs, arrays)
    check = _Check(arrays, dims, numerics, ulps, {"dims": dims, "numerics": numerics} | options)
    kept = []
    for p in pipeline:
        after, rules = check.run(p, graph)
        moved = 0 if after is graph else check.hold(p, graph, after)
        kept.append(Kept(p.name, check.promise(p), moved, rules))
        graph = after
    return kept


def _check_options(pipeline: Sequence[Pass], options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name not in ("numerics", *OPTIONS):
            raise ArgumentError(
                f"check_numerics: {name!r} is no option; beside numerics and ulps there are "
                f"{', '.join(OPTIONS)}"
            )
        if name in CHOICES and value not in CHOICES[name]:
            raise ArgumentError(
                f"check_numerics: {name} {value!r:.60}: use one of {', '.join(CHOICES[name])}"
            )
    check_names([p.name for p in pipeline], options.get("disabled", ()))


def _check_count(graph: Graph, feeds: Sequence[Any]) -> None:
    inputs = graph.inputs
    if len(feeds) == len(inputs):
        return
    missing = "".join(
        f"; {describe(node)}, declared on {node.provenance}, is not fed"
        for node in inputs[len(feeds) :][:1]
    )
    names = ", ".join(node.name for node in inputs) or "none"
    raise FeedError(
        f"check_numerics: {len(feeds)} feeds for the {len(inputs)} placeholders of {graph.name}"
        f"{missing}; give one each, in this order: {names}"
    )


@dataclass(frozen=True)
class _Check:
    arrays: Sequence[Array]
    dims: Mapping[str, int]
    numerics: str
    ulps: float
    options: Mapping[str, Any]

    def promise(self, p: Pass) -> Numerics:
        """What a pass is held to."""
        return EXACT if self.numerics == "exact" else p.numerics

    def run(self, p: Pass, graph: Graph) -> tuple[Graph, Rules]:
        """The graph after one pass, and what that notes."""
        disabled = [name for name in self.options.get("disabled", ()) if name == p.name]
        after, records = run_passes(graph, [p], **{**self.options, "disabled": disabled})
        return after, Counter(records[0].notes if records else {})

    def hold(self, p: Pass, before: Graph, after: Graph) -> int:
        """The most ulps that a pass moves a root by.

        Raises:
            VerifyError: if a root breaks the pass's promise.
        """
        roots = self._roots(p, before, after)
        broken = [root for root in roots if not root.holds]
        if broken:
            raise self._report(p, before, broken[0])
        return max((most_ulps(root.old, root.new) for root in roots), default=0)

    def _roots(self, p: Pass, before: Graph, after: Graph) -> list[_Root]:
        """Outputs and updates of two graphs; an update that is gone leaves its variable."""
        updates = dict(after.updates)
        made = [*after.outputs, *(updates.get(target, target) for target, _ in before.updates)]
        declared = Declared(self.dims)
        old = values(declared, before, self.arrays, before.roots)
        new = values(declared, after, self.arrays, made)
        bounds: Sequence[_Bound | None] = [None] * len(old)
        if self.promise(p) is not EXACT:
            bounds = self._bounds(before, _narrowed(before, after))
        columns = zip(before.roots, old, new, bounds, strict=True)
        return [_Root(node, a, b, bound, self.ulps) for node, a, b, bound in columns]

    def _bounds(self, graph: Graph, narrow: DType | None) -> list[_Bound]:
        exact = values(Wide(self.dims), graph, self.arrays, graph.roots)
        with np.errstate(over="ignore"):
            held = [x.astype(root.dtype) for x, root in zip(exact, graph.roots, strict=True)]
        spreads = [np.zeros(x.shape) for x in exact]
        for seed in range(SAMPLES):
            rounding = Rounding(self.dims, seed, narrow)
            drawn = values(rounding, graph, self.arrays, graph.roots)
            spreads = [np.maximum(*x) for x in zip(spreads, map(_apart, drawn, held), strict=True)]
        return [_Bound(*each) for each in zip(exact, spreads, strict=True)]

    def _report(self, p: Pass, before: Graph, root: _Root) -> VerifyError:
        """The error that names the first node which the pass changes if all of them are kept."""
        singles = (node for node in before.nodes if not isinstance(node.type, TupleType))
        every = _with_roots(before, [node for node in singles if node.inputs])
        roots = self._roots(p, every, self.run(p, every)[0])
        first = next((each for each in roots if not each.holds), root)
        node = first.node
        rules = self.run(p, _with_roots(before, [node]))[1]
        singles = (x for x in node.inputs if not isinstance(x.type, TupleType))
        rules -= self.run(p, _with_roots(before, singles))[1]
        by = f" by {', '.join(rules)}" if rules else ""
        lines = [str(rule.where) for rule in p.rules if rule.name in rules and rule.where]
        lines = lines or [str(p.where)] * (p.where is not None)
        written = f"written on {', '.join(lines)}; " if lines else ""
        return VerifyError(
            f"{p.name} promises to be {self.promise(p).value}, but changes {describe(node)} "
            f"({node.provenance}){by}: {written}{first}"
        )


def _with_roots(graph: Graph, roots: Iterable[Node]) -> Graph:
    return Graph(graph.name, graph.inputs, tuple(roots))


def _narrowed(before: Graph, after: Graph) -> DType | None:
    """The narrowest dtype to which a pass casts what was wider, if it does."""
    had = set(before.nodes)
    casts = [node for node in after.nodes if isinstance(node.op, Cast) and node not in had]
    found = [x.dtype for x in casts if epsilon(x.dtype) > epsilon(x.inputs[0].dtype) > 0]
    return max(found, key=epsilon, default=None)


def _apart(a: Array, b: Array) -> Array:
    """|a - b| in float64: 0 where they are the same, NaN too, and infinity where one is NaN."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        far = np.nan_to_num(np.abs(x - y), nan=np.inf, posinf=np.inf)
    return np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, far)


@dataclass(frozen=True)
class _Bound:
    """A root in float64, and what it varies by as results round.  [*s]"""

    exact: Array
    spread: Array


@dataclass(frozen=True)
class _Root:
    """A root's value before a pass and after it; where there is no bound, its bits have to stay."""

    node: Node
    old: Array
    new: Array
    bound: _Bound | None
    ulps: float

    @property
    def holds(self) -> bool:
        """Whether the pass kept its promise."""
        return bool(self._held().all())

    def _held(self) -> Array:
        """Where it did: also where the value is no worse than before, or rounded from float64."""
        same: Array = same_bits(self.old, self.new)
        if self.bound is None:
            return same
        exact, dtype = self.bound.exact, self.new.dtype
        was, off = _apart(self.old, exact), _apart(self.new, exact)
        with np.errstate(over="ignore", invalid="ignore"):
            steps = ulp(np.where(np.isfinite(exact), exact, 0), dtype)
            allowed = self.ulps * np.maximum(steps, self.bound.spread)
            rounded = same_bits(self.new, exact.astype(dtype))
        return same | rounded | (off <= allowed) | ((off <= was) & np.isfinite(was))

    def __str__(self) -> str:
        at = tuple(int(i) for i in np.argwhere(~self._held())[0])
        old, new = self.old[at], self.new[at]
        where = f" at {list(at)}" if at else ""
        if self.bound is None:
            return f"{old!r} becomes {new!r}{where}, {most_ulps(old, new)} ulp away"
        return f"{old!r} becomes {new!r}{where}; in float64 it is {self.bound.exact[at]!r}"
