"""The way of a graph: by the passes of the pipeline to what a backend runs, within a memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from staticnet.backends.base import Backend, Executable
from staticnet.control.call import CallOp
from staticnet.errors import ArgumentError, CompileError, MemoryLimitError
from staticnet.ir.graph import Graph
from staticnet.passes.activations import ACTIVATIONS
from staticnet.passes.algebraic_simplify import ALGEBRAIC_SIMPLIFY
from staticnet.passes.auxiliary import AUXILIARY
from staticnet.passes.channel_sums import CHANNEL_SUMS
from staticnet.passes.constant_folding import CONSTANT_FOLDING
from staticnet.passes.contract import CONTRACT
from staticnet.passes.convolution_epilogues import CONVOLUTION_EPILOGUES
from staticnet.passes.cse import CSE
from staticnet.passes.cudnn import CUDNN
from staticnet.passes.dce import DCE
from staticnet.passes.float8 import FLOAT8
from staticnet.passes.grouped import GROUPED
from staticnet.passes.held_weights import HELD_WEIGHTS
from staticnet.passes.hoist import HOIST
from staticnet.passes.infer_shape import INFER_SHAPE
from staticnet.passes.inline import INLINE
from staticnet.passes.keep_casts import KEEP_CASTS
from staticnet.passes.layout import LAYOUT
from staticnet.passes.library import LIBRARY
from staticnet.passes.manager import Pass, Record, check_names, run_passes
from staticnet.passes.merge_loops import MERGE_LOOPS
from staticnet.passes.precision import PRECISION
from staticnet.passes.remat import REMAT
from staticnet.passes.scatter_updates import SCATTER_UPDATES
from staticnet.passes.shifted_sums import SHIFTED_SUMS
from staticnet.passes.sink import SINK
from staticnet.passes.small_places import SMALL_PLACES
from staticnet.plan.analysis import analyse_memory, layout_of
from staticnet.plan.certificate import largest_dims
from staticnet.plan.formula import check_dims
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan
from staticnet.plan.symbolic import SymbolicPlan

PIPELINE = (
    INLINE,
    MERGE_LOOPS,
    CONSTANT_FOLDING,
    HOIST,
    ALGEBRAIC_SIMPLIFY,
    CSE,
    PRECISION,
    ACTIVATIONS,
    LIBRARY,
    KEEP_CASTS,
    CONTRACT,
    DCE,
    SMALL_PLACES,
    SINK,
    LAYOUT,
    HELD_WEIGHTS,
    INFER_SHAPE,
    FLOAT8,
    GROUPED,
    AUXILIARY,
    CHANNEL_SUMS,
    SHIFTED_SUMS,
    CONVOLUTION_EPILOGUES,
    CUDNN,
    SCATTER_UPDATES,
    REMAT,
)
FUSION, PERSISTENT = "fusion", "persistent"  # of planning and of a backend, left out like passes
PARTS = (FUSION, PERSISTENT)
PASSES = (*(p.name for p in PIPELINE), *PARTS)
_NEED_NUMBERS = (REMAT,)


def check_pipeline(pipeline: Sequence[Pass]) -> None:
    """Raise ArgumentError unless passes can run in this order on any graph."""
    if INFER_SHAPE not in pipeline:
        raise ArgumentError(
            f"passes: {INFER_SHAPE} is missing, which puts in the numbers of symbolic dims; add it "
            "where the graph is to have them, as in (*sn.PIPELINE, my_pass)"
        )
    for p in pipeline:
        if p.name in PARTS:
            what = "a part of planning" if p.name == FUSION else "a choice of a backend"
            raise ArgumentError(f"passes: {p.name!r} is the name of {what}; take another")
    before = pipeline[: pipeline.index(INFER_SHAPE)]
    for p in _NEED_NUMBERS:
        if p in before:
            raise ArgumentError(f"passes: {p} plans memory and must come after {INFER_SHAPE}")


def _check_inlined(graph: Graph, backend: Backend) -> None:
    """Raise CompileError where a call is left that only the reference runs."""
    for node in graph.nodes:
        if isinstance(node.op, CallOp) and backend.name != "numpy":
            raise CompileError(
                f"{node.op.name}: the {backend.name} backend runs no calls of graphs "
                f"({node.provenance}); leave {INLINE} in the passes"
            )


@dataclass
class Compilation:
    """One declared graph and how it is compiled; what does not depend on sizes is done once."""

    graph: Graph
    backend: Backend
    numerics: str
    precision: str
    disabled_passes: tuple[str, ...]
    memory_limit: int | None
    pipeline: tuple[Pass, ...] = PIPELINE
    _symbolic: dict[str, tuple[Graph, list[Record]]] = field(default_factory=dict)  # by backend
    _symbolic_plans: dict[str, SymbolicPlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_pipeline(self.pipeline)
        check_names(self.passes, self.disabled_passes)
        if INFER_SHAPE.name in self.disabled_passes and self.graph.symbols:
            raise ArgumentError(
                f"disabled_passes: {INFER_SHAPE.name} gives {', '.join(sorted(self.graph.symbols))}"
                " a size, and may be left out only where no dim is symbolic"
            )

    @property
    def passes(self) -> tuple[str, ...]:
        """The names of what may be left out."""
        return (*(p.name for p in self.pipeline), *PARTS)

    def check_dims(self, dims: Mapping[str, int]) -> dict[str, int]:
        """The sizes as Python's ints.

        Raises:
            ArgumentError: unless every symbolic dim, and nothing else, has a size.
        """
        return check_dims(self.graph.name, self.graph.symbols, dims)

    def compile(
        self, dims: Mapping[str, int], backend: Backend | None = None
    ) -> tuple[Graph, list[Record]]:
        """The optimised graph and what the passes did; those before `infer_shape` run once."""
        backend = backend or self.backend
        first = self.pipeline.index(INFER_SHAPE)
        if backend.name not in self._symbolic:
            self._symbolic[backend.name] = self._run(self.graph, self.pipeline[:first], {}, backend)
        graph, records = self._symbolic[backend.name]
        graph, more = self._run(graph, self.pipeline[first:], dims, backend)
        _check_inlined(graph, backend)
        return graph, records + more

    def _run(
        self, graph: Graph, passes: Sequence[Pass], dims: Mapping[str, int], backend: Backend
    ) -> tuple[Graph, list[Record]]:
        names = [p.name for p in passes]
        options = self.options(dims, backend)
        options["disabled"] = [name for name in self.disabled_passes if name in names]
        return run_passes(graph, passes, dims=dims, numerics=self.numerics, **options)

    def options(self, dims: Mapping[str, int], backend: Backend) -> dict[str, Any]:
        """What `run_passes` is told beside the dims and numerics."""
        return {
            "precision": self.precision,
            "epilogues": backend.epilogues,
            "narrow_epilogues": backend.narrow_epilogues,
            "products": backend.products,
            "memory_limit": self.memory_limit,
            "keeps_casts": backend.keeps_casts,
            "loop_cache": backend.loop_cache,
            "channels_last": backend.channels_last,
            "calls": backend.calls,
            "layout": lambda graph, recompute: layout_of(
                self.plan(graph, dims, backend)
                if recompute
                else self._plan(graph, backend, recompute)
            ),
            "disabled": [name for name in self.disabled_passes if name not in PARTS],
        }

    def plan(self, graph: Graph, dims: Mapping[str, int], backend: Backend | None = None) -> Plan:
        """The plan of a compiled graph: that of all sizes bound to these, if there are dims."""
        if dims and (plan := self.symbolic_plan(backend).bind(dims)).graph is graph:
            return plan
        return self._plan(graph, backend or self.backend)

    def _plan(self, graph: Graph, backend: Backend, recompute: bool = True) -> Plan:
        workspaces = backend.workspaces
        return make_plan(graph, self._fuse, recompute=recompute, workspaces=workspaces)

    def symbolic_plan(self, backend: Backend | None = None) -> SymbolicPlan:
        """The plan for all sizes of the symbolic dims, made once a backend."""
        backend = backend or self.backend
        self.compile({}, backend)
        known = self._symbolic_plans.get(backend.name)
        if known is None:
            graph = self._symbolic[backend.name][0]
            known = SymbolicPlan(graph, self._fuse, workspaces=backend.workspaces)
            self._symbolic_plans[backend.name] = known
        return known

    def check_memory(self, plan: Callable[[], Plan], dims: Mapping[str, int]) -> None:
        """Raise MemoryLimitError if a plan needs more than the limit; names who needs it."""
        limit = self.memory_limit
        if limit is None:
            return
        memory = analyse_memory(plan())
        if memory.peak > limit:
            again = ", with all computed again that can be" * self._runs(REMAT)
            fitting = largest_dims(self.symbolic_plan(), limit, dims) if dims else {}
            sizes = "".join(f"feed {name} <= {n}, or " for name, n in fitting.items())
            raise MemoryLimitError(
                f"{self.graph.name}: needs {memory.peak} bytes{again}; the limit is {limit}; "
                f"{sizes}raise memory_limit\n{memory}"
            )

    def _runs(self, p: Pass) -> bool:
        return p in self.pipeline and p.name not in self.disabled_passes

    @property
    def left_out(self) -> tuple[str, ...]:
        """The passes that a backend is to do without: `numerics="exact"` keeps products' bits."""
        exact = (PERSISTENT, CUDNN.name) if self.numerics == "exact" else ()
        return (*self.disabled_passes, *exact)

    @property
    def _fuse(self) -> bool:
        return FUSION not in self.disabled_passes

    def build(self, graph: Graph, plan: Callable[[], Plan], dims: Mapping[str, int]) -> Executable:
        """The executable of a compiled graph.

        Raises:
            MemoryLimitError: if the backend is short of memory; tells what fits.
            CompileError: if its code does not compile; names the scalar forms of a user's own.
        """
        build = self.backend.build
        try:
            return build(graph, self.left_out, plan, self.precision)
        except MemoryLimitError as error:
            if error.limit is None or not dims:
                raise
            fitting = largest_dims(self.symbolic_plan(), error.limit, dims)
            sizes = ", ".join(f"{name} = {n}" for name, n in fitting.items()) or "none"
            raise MemoryLimitError(f"{error}\nthe largest that fits: {sizes}") from None
        except CompileError as error:
            ops = {node.op for node in graph.all_nodes if node.op.where and node.op.scalar}
            if not ops:
                raise
            forms = "; ".join(f"{op.name} {op.scalar!r} (declared on {op.where})" for op in ops)
            raise CompileError(f"{error}\nit holds scalar forms of your own: {forms}") from None
