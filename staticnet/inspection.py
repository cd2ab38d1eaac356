"""What a compiled function tells of itself: its plan, the reasons for it, its source, its times."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from staticnet import files
from staticnet.backends.base import Backend, Source
from staticnet.backends.profile import Profile
from staticnet.compilation import Compilation
from staticnet.errors import ArgumentError, DeviceError
from staticnet.feeds import bind_dims, convert, order_feeds
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node
from staticnet.ops.arguments import as_size
from staticnet.oracle.contract import ULPS, Kept, check_numerics
from staticnet.oracle.probe import Probe, probe
from staticnet.passes.manager import Records
from staticnet.plan.explain import Explanation, explain
from staticnet.plan.plan import Plan
from staticnet.report.document import Document, document
from staticnet.report.page import document_page
from staticnet.specialization import Specialization, Specializations


class Inspection:
    """The methods of a function that show what it became.

    `dims` give each symbolic dim a number; without them it is the one specialisation that there is.
    """

    graph: Graph
    _backend: Backend
    _compilation: Compilation
    _specialized: Specializations

    def _plan_at(self, dims: Mapping[str, int]) -> Plan:
        """The plan of a binding, compiled or not."""
        raise NotImplementedError

    def _bind(self, arrays: Sequence[Any]) -> Specialization:
        """The program for the shapes of these arrays."""
        raise NotImplementedError

    def passes(self, **dims: int) -> Records:
        """What each pass did, for one binding."""
        raise NotImplementedError

    @property
    def plan(self) -> Plan:
        """The plan of the one specialisation: its `launches`, `bytes_moved`, `allocations`, ….

        Raises:
            ArgumentError: if there is none yet, or more than one: ask `specialize(...)` for its.
        """
        return self._plan_at(self._only_dims({}))

    def _only_dims(self, dims: Mapping[str, int]) -> Mapping[str, int]:
        if dims or not self.graph.symbols:
            return self._compilation.check_dims(dims)
        bindings = [made.dims for made in self._specialized]
        if len(bindings) != 1:
            made = ", ".join(str(dict(binding)) for binding in bindings) or "none"
            raise ArgumentError(
                f"{self.graph.name}: its symbolic dims are {sorted(self.graph.symbols)}, and the "
                f"specialisations are {made}; say which, as specialize(batch=64).plan or "
                "explain(batch=64)"
            )
        return bindings[0]

    def explain(self, **dims: int) -> Explanation:
        """Which nodes share a kernel, what each kernel moves, and why it is no larger.

        Raises:
            ArgumentError: if it is not clear which numbers the symbolic dims have.
        """
        bound = self._only_dims(dims)
        plan = self._plan_at(bound)
        source = self._source(plan, bound)
        if source is None:
            return explain(plan)
        return replace(explain(plan, source.functions), choice=source.choice)

    def _source(self, plan: Plan, dims: Mapping[str, int]) -> Source | None:
        """The generated source of a binding; None if this function's device generates none."""
        made = self._specialized.find(dims)
        if made is not None and made.executable.program is not None:
            return made.executable.program
        try:
            return self._backend.program(plan, self._compilation.left_out)
        except DeviceError:
            return None

    def source(self, *, whole: bool = False, **dims: int) -> str:
        """The generated C or CUDA: kernels and C's step that calls them, or the `whole` file.

        Raises:
            DeviceError: if this function's device generates none.
            ArgumentError: if it is not clear which numbers the symbolic dims have.
        """
        plan = self._plan_at(self._only_dims(dims))
        program = self._backend.program(plan, self._compilation.left_out)
        return program.source if whole else program.body

    def profile(self, *args: Any, repeat: int | None = None, **named: Any) -> Profile:
        """Run the step on copies of its variables, and time each launch (on NumPy: each node).

        It is timed `repeat` times, or as often as fits half a second. The program that is timed is
        the compiled one with a look at the clock after each launch.

        Raises:
            FeedError: if the feeds do not fit; names the placeholder and its line.
            ExecutionError: if an op fails.
            ArgumentError: if `repeat` is not a positive int.
        """
        times = None if repeat is None else as_size(repeat, "profile: repeat")
        arrays = self._feeds(args, named)
        return self._backend.profile(self._bind(arrays).executable, arrays, times)

    def document(self, *feeds: Any, **dims: int) -> Document:
        """All of this as one dict, ready for JSON; `staticnet.report.document` tells its keys.

        With feeds, in the order of the placeholders, the step is profiled on them; they give the
        symbolic dims their numbers too.

        Raises:
            FeedError: if the feeds do not fit; names the placeholder and its line.
            ArgumentError: if it is not clear which numbers the symbolic dims have, or feeds and
                dims are both given.
        """
        if feeds and dims:
            raise ArgumentError(
                f"{self.graph.name}: feeds give the symbolic dims their numbers; leave out "
                f"{', '.join(dims)}"
            )
        profile = self.profile(*feeds) if feeds else None
        bound = self._bind(self._feeds(feeds, {})).dims if feeds else self._only_dims(dims)
        plan = self._plan_at(bound)
        made = self._specialized.find(bound)
        records = made.records if made else self.passes(**bound)
        return document(
            self.graph, plan, device=self._backend.name, dims=bound, records=records,
            source=self._source(plan, bound), profile=profile,
        )  # fmt: skip

    def report(self, path: str | os.PathLike[str], /, *feeds: Any, **dims: int) -> Path:
        """Write all of this as one HTML page that loads nothing; -> its file.

        The graph before and after the passes, kernels with their source and the user's lines, the
        arena, and, with feeds, the time of each launch: as `document` has them.

        Raises:
            FeedError: if the feeds do not fit; names the placeholder and its line.
            ArgumentError: if it is not clear which numbers the symbolic dims have, or feeds and
                dims are both given.
            OSError: if the file cannot be written.
        """
        file = Path(path)
        files.write(file, document_page(self.document(*feeds, **dims)))
        return file

    def probe(self, node: Node, /, *args: Any, **named: Any) -> Probe:
        """One node's value as declared, on the NumPy reference, beside that of the compiled step.

        `node` is any of the declared graph: an activation, a gradient, an update. The feeds are a
        call's. State and random numbers are those that the next call would see, and stay so: this
        changes nothing. Where the step does not keep the value, the result says what became of it.

        Raises:
            GraphError: if the node is no part of this function's graph; names its line.
            FeedError: if the feeds do not fit; names the placeholder and its line.
            ExecutionError: if an op fails.
        """
        return probe(self._compilation, node, self._feeds(args, named))

    def check_numerics(self, *args: Any, ulps: float = ULPS, **named: Any) -> list[Kept]:
        """Hold each pass, those of your own too, to what it declares, on the NumPy reference.

        The feeds are a call's; variables have their present values, and keep them. A pass that is
        not exact may move an output by `ulps` units in the last place, or as many times what
        rounding does to it. -> what each pass did

        Raises:
            VerifyError: if a pass does not keep what it declares; names the pass, the rules if they
                are known, and the first node that is not what it was, each with its line.
            FeedError: if the feeds do not fit; names the placeholder and its line.
            ExecutionError: if an op fails.
        """
        made, inputs = self._compilation, self.graph.inputs
        given = order_feeds(inputs, args, named)
        feeds = [convert(node, feed) for node, feed in zip(inputs, given, strict=True)]
        options = made.options(bind_dims(inputs, feeds), self._backend)
        return check_numerics(
            self.graph, feeds, made.pipeline, numerics=made.numerics, ulps=ulps, **options
        )

    def _feeds(self, args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        """A call's feeds as arrays that fit the placeholders."""
        inputs = self.graph.inputs
        feeds = order_feeds(inputs, args, named)
        adopt = self._backend.adopt
        return [convert(node, feed, adopt) for node, feed in zip(inputs, feeds, strict=True)]
