"""`sn.function`: a graph compiled for a device, ready to call."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from staticnet.backends.base import Backend, choose
from staticnet.backends.cpu import CpuBackend
from staticnet.backends.cpu.blas import PROTOTYPES
from staticnet.backends.cuda import CudaBackend
from staticnet.backends.numpy import NumpyBackend
from staticnet.codegen.c_names import as_call, checked_name
from staticnet.codegen.program import write_program
from staticnet.codegen.standalone import write_standalone
from staticnet.compilation import PASSES as PASSES
from staticnet.compilation import PIPELINE, Compilation
from staticnet.cost import CostAnalysis, analyse
from staticnet.declaration import declare
from staticnet.epochs import run_epochs, size_of_batch
from staticnet.errors import ArgumentError
from staticnet.feeds import bind_dims, convert, order_feeds
from staticnet.inspection import Inspection
from staticnet.ir.collector import paused
from staticnet.ir.graph import Graph
from staticnet.ir.modes import describe, modes_of, watch
from staticnet.ir.node import Node
from staticnet.ir.text import format_graph
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_size
from staticnet.ops.random import as_seed
from staticnet.ops.state import Variable
from staticnet.passes.float8 import in_precision
from staticnet.passes.held_weights import released
from staticnet.passes.manager import Pass, Records, as_names
from staticnet.passes.pipeline import as_passes
from staticnet.plan.analysis import MemoryAnalysis, analyse_memory
from staticnet.plan.certificate import MemoryCertificate, certify, max_dim
from staticnet.plan.plan import Plan
from staticnet.plan.sizes import as_bytes
from staticnet.plan.text import STAGES
from staticnet.report.summary import function_summary
from staticnet.rewrite.pattern import Rule
from staticnet.specialization import Specialization, Specializations
from staticnet.state_dict import Stateful

log = logging.getLogger("staticnet")

BACKENDS: dict[str, Backend] = {b.name: b for b in (CudaBackend(), CpuBackend(), NumpyBackend())}
MAX_SPECIALIZATIONS = 8
PRECISIONS = ("float32", "tf32", "bfloat16", "float16", "float8")


class Function(Inspection, Stateful):
    """A compiled graph. Call it with arrays for its placeholders, by position or by name.

    A graph whose shapes are all fixed is compiled when the function is made; one with symbolic dims
    once for each binding, at the first call with it or by `specialize`. At most
    `max_specializations` programs are kept; the one used longest ago makes room for a new one.
    """

    def __init__(
        self,
        graph: Graph,
        single: bool,
        backend: Backend,
        numerics: str,
        disabled_passes: Collection[str],
        memory_limit: int | None = None,
        precision: str = "float32",
        max_specializations: int = MAX_SPECIALIZATIONS,
        pipeline: tuple[Pass, ...] = PIPELINE,
    ) -> None:
        self.modes = modes_of(graph.nodes)
        self.disabled_passes = as_names(disabled_passes)
        self.graph = graph = in_precision(graph, precision, pipeline, self.disabled_passes)
        watch(self)
        self.precision = precision
        self.memory_limit = memory_limit
        self.max_specializations = max_specializations
        self.device = backend.name
        self.numerics = numerics
        self._single = single
        self._backend = backend
        self._specialized = Specializations(graph.name)
        self._compilation = Compilation(
            graph, backend, numerics, precision, self.disabled_passes, memory_limit, pipeline
        )
        self._dtypes = [node.dtype for node in graph.inputs]
        self._arrays = backend.arrays
        if not graph.symbols:
            self.specialize()

    def __repr__(self) -> str:
        inputs = ", ".join(f"{node.name}: {node.type}" for node in self.graph.inputs)
        outputs = ", ".join(str(node.type) for node in self.graph.outputs)
        mode = describe(mode.training for mode in self.modes)
        where = f"on {self.device}{', ' + mode if mode else ''}"
        return f"<staticnet.function {self.graph.name}({inputs}) -> {outputs} {where}>"

    def __reduce__(self) -> Any:
        raise ArgumentError(
            f"{self.graph.name}: a compiled function is not copied or pickled; write it as C with "
            "export_c(path), or copy or pickle the model, and build the function anew from that"
        )

    def _repr_html_(self) -> str:
        made = [(s.dims, s.plan) for s in self._specialized]
        return function_summary(self.graph, self.device, made)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run once: fresh outputs, then the updates, all or none of them.

        Raises:
            FeedError: if the feeds do not fit; names the placeholder and its line.
            ExecutionError: if an op fails; names the op and the user's line.
        """
        inputs = self.graph.inputs
        if named or len(args) != len(inputs):
            args = tuple(order_feeds(inputs, args, named))
        arrays: Sequence[Any] = args
        for array, dtype in zip(args, self._dtypes, strict=True):
            if type(array) not in self._arrays or array.dtype != dtype:
                arrays = self._convert(args)
                break
        programs = self._specialized
        compiled = programs.by_shapes.get(tuple([x.shape for x in arrays]))
        if compiled is None:
            compiled = self._bind(arrays)
        elif compiled is not programs.latest:
            programs.use(compiled)
        try:
            outputs = compiled.executable.run(arrays)
        finally:  # an interrupt may come when the updates are made
            if Variable.watched:
                self.count_writes()
        return outputs[0] if self._single else outputs

    def count_writes(self) -> None:
        """Tell who shares the updated variables' arrays that they are not what they were."""
        for variable, _ in self.graph.updates:
            assert isinstance(variable, Variable)
            variable.version += 1

    def _bind(self, arrays: Sequence[Any]) -> Specialization:
        """The program for the shapes of these arrays."""
        compiled = self.specialize(**bind_dims(self.graph.inputs, self._convert(arrays)))
        self._specialized.remember(tuple([x.shape for x in arrays]), compiled)
        return compiled

    def _convert(self, feeds: Sequence[Any]) -> list[Any]:
        """The feeds as arrays that fit the placeholders."""
        pairs = zip(self.graph.inputs, feeds, strict=True)
        return [convert(node, feed, self._backend.adopt) for node, feed in pairs]

    def _state_variables(self) -> list[Variable]:
        return [v for v in self.graph.variables if isinstance(v, Variable)]

    def synchronize(self) -> None:
        """Wait until all steps called so far are done: a GPU's run on after their call returns.

        Raises:
            ExecutionError: if one of them failed, and no call since has told so.
        """
        for made in self._specialized:
            made.executable.synchronize()

    def run(
        self,
        steps: int,
        *data: Any,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        **named: Any,
    ) -> Any:
        """Run `steps` times on batches drawn from data sets given once; outputs are stacked.

        Each feed has the examples along its first axis. An epoch visits n // batch_size batches,
        in the order of the examples, or of `sn.random.permutation` under (seed, epoch).

        data: [n, *s] for a placeholder [batch, *s] -> outputs: [steps, *t]

        Raises:
            FeedError: if the data sets differ in length or do not fit the placeholders.
            ArgumentError: if steps or batch_size is not a positive int, or seed is none.
            KeyboardInterrupt: within a fraction of a second after Ctrl-C, or one step if that is
                longer; the steps made so far are whole, and their outputs are lost.
        """
        sets = self._convert(order_feeds(self.graph.inputs, data, named))
        steps, seed = as_size(steps, "run: steps"), as_seed(seed)
        size = size_of_batch(sets, batch_size)
        executable = self._bind([x[:size] for x in sets]).executable
        try:
            stacked = run_epochs(executable, sets, steps, size, seed if shuffle else None)
        finally:  # steps were made also where a later one fails or is interrupted
            if Variable.watched:
                self.count_writes()
        return stacked[0] if self._single else stacked

    def specialize(self, **dims: int) -> Specialization:
        """The program for one binding of the symbolic dims; compiled if it is new.

        Raises:
            ArgumentError: if a dim is missing, unknown or no int.
            ShapeError: if an op does not allow these sizes.
        """
        dims = self._compilation.check_dims(dims)
        make = functools.partial(self._specialize, dims)
        return self._specialized.find_or_make(dims, make, self.max_specializations)

    @paused()
    def _specialize(self, dims: Mapping[str, int]) -> Specialization:
        graph, records = self._compilation.compile(dims)
        plan = functools.cache(lambda: self._compilation.plan(graph, dims))
        self._compilation.check_memory(plan, dims)
        executable = self._compilation.build(graph, plan, dims)
        made = Specialization(dims, graph, tuple(records), executable, plan)
        if dims:
            log.info("%s: specialised for %s", self.graph.name, dims)
        return made

    def memory_analysis(self, **dims: int) -> MemoryAnalysis | MemoryCertificate:
        """The bytes that the planned step needs, and whose they are, for one binding of the dims.

        With none given, and symbolic ones in the graph, the bytes are formulas in them.

        Raises:
            ArgumentError: if some symbolic dims have a number, and others none.
        """
        if self.graph.symbols and not dims:
            return certify(self._compilation.symbolic_plan())
        return analyse_memory(self._plan_at(dims))

    def max_dim(self, name: str, /, bytes: int | str, **others: int) -> int:
        """The largest size of a symbolic dim with which a step takes at most `bytes`.

        `bytes` is an int or, as "512 MiB" or "1.5 GB", a string. `others` give the other symbolic
        dims their sizes. A `memory_limit` does not count here.

        Raises:
            ArgumentError: if the dims are not those of the graph, or no size needs that much.
            MemoryLimitError: if size 1 needs more; names how many, and the lines that own them.
        """
        limit = as_bytes(bytes, "max_dim: bytes")
        return max_dim(self._compilation.symbolic_plan(), name, limit, others)

    def _plan_at(self, dims: Mapping[str, int]) -> Plan:
        dims = self._compilation.check_dims(dims)
        known = self._specialized.find(dims)
        return (
            known.plan
            if known
            else self._compilation.plan(self._compilation.compile(dims)[0], dims)
        )

    @property
    def specializations(self) -> list[dict[str, int]]:
        """The bindings whose programs are there; the one used last is the last."""
        return [dict(s.dims) for s in self._specialized]

    def passes(self, **dims: int) -> Records:
        """What each pass did, for one binding or, with none given, with the dims left symbolic."""
        return Records(self._compilation.compile(self._some_dims(dims))[1])

    def _some_dims(self, dims: Mapping[str, int]) -> dict[str, int]:
        """All symbolic dims as numbers, or none of them."""
        return self._compilation.check_dims(dims) if dims else {}

    def as_text(self, after: str | None = None, **dims: int) -> str:
        """The graph's text: as declared, or after the pass of that name.

        The plan's stages are passes here: fusion, schedule, plan_memory. They are those of the one
        specialisation, where `dims` give no numbers.

        Raises:
            ArgumentError: if no pass of that name ran, or it is not clear which numbers the
                symbolic dims have in a plan.
        """
        if after is None:
            return format_graph(self.graph)
        named = dict.fromkeys((*self._compilation.passes, *STAGES))
        ran = [name for name in named if name not in self.disabled_passes]
        if after in STAGES and after in ran:
            return STAGES[after](self._plan_at(self._only_dims(dims)))
        for record in self._compilation.compile(self._some_dims(dims))[1]:
            if record.name == after:
                return format_graph(record.graph)
        raise ArgumentError(f"as_text: {after!r} did not run; the passes are {ran}")

    def export_c(
        self, path: str | os.PathLike[str], name: str | None = None, /, **dims: int
    ) -> list[Path]:
        """Write the step as one C file with a `main`, for one binding of the dims; -> its files.

        The variables' present values are the program's initial state. More than 16 KiB of them go
        to a file of their own, `step.state.bin` for `step.c`, which must lie beside the compiled
        program. The C file's first lines say how to compile it and what it is fed. A header,
        `step.h`, declares the same step as a function for C and C++, `int step(state, &inputs,
        &outputs)`; all its names begin with `name`, else with the file's.

        Raises:
            ArgumentError: if a symbolic dim has no number, the path does not end in `.c`, the name
                is not free in C, or an op runs on the host.
            StateError: if a variable was read from text and never set.
            OSError: if a file cannot be written.
        """
        file = Path(path)
        if file.suffix != ".c":
            raise ArgumentError(f"export_c: the path must end in .c, not {file.name!r}")
        call = as_call(file.stem) if name is None else checked_name(name)
        dims = self._compilation.check_dims(dims)
        graph = released(self._compilation.compile(dims, BACKENDS["cpu"])[0])
        for node in graph.all_nodes:
            if node.op.on_host:
                raise ArgumentError(
                    f"export_c: {node.op.name} (declared on {node.op.where}) runs in Python, which "
                    f"a C file has not ({node.provenance}); give it a scalar form"
                )
        plan = self._compilation.plan(graph, dims, BACKENDS["cpu"])
        values: dict[Node, Any] = {v: v.value for v in graph.variables if isinstance(v, Variable)}
        program = write_program(plan, PROTOTYPES, standalone=True)
        return write_standalone(plan, program, values, file.stem, call).write(file.parent)

    def cost_analysis(self, **dims: int) -> CostAnalysis:
        """FLOPs and bytes per node of the optimised graph; formulas where dims are symbolic.

        With all dims given, also the launches of a step and the bytes that they move.
        """
        dims = self._some_dims(dims)
        graph = self._compilation.compile(dims)[0]
        if graph.symbols:
            return analyse(graph)
        plan = self._plan_at(dims)
        return analyse(graph, plan.launches, plan.bytes_moved)


def function(
    inputs: Sequence[Value] | Value,
    outputs: Sequence[Value] | Value,
    updates: Mapping[Variable, Value] | None = None,
    *,
    name: str = "main",
    device: str = "auto",
    precision: str = "float32",
    numerics: str = "fast",
    disabled_passes: Collection[str] = (),
    memory_limit: int | str | None = None,
    max_specializations: int = MAX_SPECIALIZATIONS,
    passes: Sequence[Pass | Rule | Callable[..., Graph]] = PIPELINE,
) -> Function:
    """Compile a graph: placeholders in, values out, and each updated variable's next value.

    A call never compiles silently: fixed shapes compile here, symbolic ones once a binding. State
    that updates itself (a random generator's counter) is updated unless `updates` names it.
    `numerics="exact"` keeps only passes that keep every bit. `memory_limit` is in bytes, or a
    string as "512 MiB" or "1.5 GB": to stay below it, a step computes some values a second time
    rather than keep them. `max_specializations` programs are kept, one for each binding of the
    symbolic dims; the one used longest ago makes room, and a warning says so once.

    `passes` are what the graph goes through, in order: `sn.PIPELINE` with passes of your own, made
    by `sn.Pass`, rules made by `sn.rule`, or functions of a graph that give another, at any place
    in it. Those before `infer_shape` see symbolic dims and run once.

    `precision` is the type that matrix products and convolutions take: "bfloat16" or "float16" sum
    in float32, and everything else, variables and their updates included, stays float32. "tf32"
    asks for that mode of NVIDIA's matrix units; other devices compute in float32. Gradients may
    underflow in float16, whose smallest number is 6e-8, unless `sn.optim.LossScaling` scales the
    loss. "float8" is "bfloat16", but products with weights, matrices that are variables or views of
    them, and the products of their gradients take 8 bits: e4m3 for activations and weights, e5m2
    for cotangents, each scaled by the greatest magnitude of 16 steps, which is state of the
    function, `float8.amax_history`.

    Raises:
        GraphError: if the graph is not well formed.
        ArgumentError: on an unknown device, precision, numerics or pass, on numerics="exact"
            with another precision than float32, if memory_limit is no size, if
            max_specializations is no positive int, or if passes cannot run in this order.
        VerifyError: if a pass of your own fails, or changes what it must keep; names its line.
        DeviceError: if the device is not there.
        MemoryLimitError: if the step needs more than `memory_limit` all the same; names how much,
            the lines that own it, and the largest batch that fits.
    """
    limit = None if memory_limit is None else as_bytes(memory_limit, "memory_limit")
    most = as_size(max_specializations, "max_specializations")
    backend = backend_for(device, numerics, precision)
    if precision == "tf32" and "tf32" not in backend.products:
        log.info(
            "precision tf32: device %s has no such units; it computes in float32, which is at "
            "least as exact",
            backend.name,
        )
    graph = declare(name, inputs, outputs, updates)
    single, pipeline = isinstance(outputs, Value), as_passes(passes)
    return Function(
        graph, single, backend, numerics, disabled_passes, limit, precision, most, pipeline
    )


def backend_for(device: str, numerics: str, precision: str) -> Backend:
    """The backend of a device, once the three are known and go together.

    Raises:
        ArgumentError, DeviceError: as `function` says.
    """
    if numerics not in ("exact", "fast"):
        raise ArgumentError(f"numerics {numerics!r}: use 'exact' or 'fast'")
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    if numerics == "exact" and precision != "float32":
        raise ArgumentError(
            f"precision {precision!r} rounds, and numerics 'exact' keeps every bit; use "
            "numerics='fast' or precision='float32'"
        )
    return choose(device, BACKENDS)
