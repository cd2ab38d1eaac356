"""Runs a plan on a GPU: once launch by launch, then as one captured CUDA graph a step.

The graph fetches feeds to fixed places and delivers outputs from them, on CuPy's current stream;
nothing waits for the device. So a failed index is told late: at the next call, by `synchronize`, or
when `run_many` returns. The flag stays up until then, and no step that sees it up changes the
state.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter, is_
from typing import Any, TypeVar

from staticnet.backends.cuda import memory
from staticnet.backends.cuda.commands import Bound, Chosen, bind, take_algorithms
from staticnet.backends.cuda.conditional import is_refusal
from staticnet.backends.cuda.copies import Copies
from staticnet.backends.cuda.device import Device
from staticnet.backends.cuda.direct import DirectFeeds
from staticnet.backends.cuda.faults import translate
from staticnet.backends.cuda.forks import Forks
from staticnet.backends.cuda.many import Run
from staticnet.backends.cuda.staging import Staging
from staticnet.backends.cuda.tuning import choose, told
from staticnet.codegen.commands import FAILED, Address
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.launches import CudaProgram
from staticnet.ir.node import Node, failure
from staticnet.ir.types import fixed
from staticnet.ops.base import Constant
from staticnet.ops.state import Variable
from staticnet.ops.turns import Turns
from staticnet.plan.plan import Plan

T = TypeVar("T")
log = logging.getLogger("staticnet")
_array = attrgetter("array")


class CudaExecutable:
    """A program with its device memory, its commands and, after the first step, its CUDA graph."""

    def __init__(
        self, plan: Plan, device: Device, tf32: bool = False, persistent: bool = False,
        calls: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.plan = plan
        self.device = device
        self.program: CudaProgram = write_cuda_program(plan, tf32, persistent, device.chip, calls)
        self.layout = memory.lay_out(plan, self.program.arena_bytes)
        self._variables = [v for v in plan.graph.variables if isinstance(v, Variable)]
        homeless = [v for v in self._variables if not device.has_home(v)]
        state = sum(int(v.type.nbytes) for v in homeless)
        self._types = [(fixed(node.shape), node.dtype) for node in plan.graph.outputs]
        self._graph: Any = None
        asks = self.program.may_ask_device and device.conditionals is not None
        self.by_host = self.program.waits_for_host and not asks  # launch by launch, always
        self._many: Run | None = None
        self._turns = Turns.merge(v.turns for v in self._variables)
        self.alone(self._prepare, tf32, state)

    def alone(self, act: Callable[..., T], *arguments: Any) -> T:
        """What `act(*arguments)` gives while nobody else is at the variables, or at the device.

        Raises:
            ExecutionError, MemoryLimitError: if CUDA fails.
        """
        return self._turns.alone(self._at_device, act, *arguments)

    def _at_device(self, act: Callable[..., T], *arguments: Any) -> T:
        device = self.device
        with device.lock:
            try:
                return act(*arguments)
            except device.errors as error:
                raise translate(error, self.plan.graph.name) from error

    def _prepare(self, tf32: bool, state: int) -> None:
        device, plan, cupy = self.device, self.plan, self.device.cupy
        memory.check_room(device, plan, self.layout.total, state)
        stream = device.stream()
        self._block = memory.allocate(device, plan, self.layout.total)
        self.base = int(self._block.ptr)
        self._held = [device.home(v) for v in self._variables]
        self._copies = Copies(device, plan)
        for node, at in zip(plan.constants, self.layout.constants, strict=True):
            assert isinstance(node.op, Constant)
            device.write(self.base + at, node.op.value.array, stream)
        failed = self.address(FAILED)
        device.runtime.memsetAsync(failed, 0, memory.BARRIER + memory.FLAG_BYTES, stream.ptr)
        self._told_memory = cupy.cuda.alloc_pinned_memory(memory.FLAG_BYTES)
        self._told = ctypes.c_int32.from_address(int(self._told_memory.ptr))
        self._told.value = 0
        self._tf32 = tf32
        self.commands: Sequence[Bound] = bind(self.program, device, self.address, tf32)
        self._forks = Forks(device, self.program)
        self._choose_algorithms(stream)
        inputs = plan.graph.inputs
        self._staging = Staging(
            device, inputs, plan.graph.outputs, self.layout.feeds, self.layout.outputs, self.base,
            self.base + self.layout.staging,
        )  # fmt: skip
        self._staging.hold(self._told_memory)
        nbytes = sum(int(node.type.nbytes) for node in inputs)
        self._direct = DirectFeeds(nbytes, self._capture_direct)

    def _choose_algorithms(self, stream: Any) -> None:
        """How each product and call is made, and workspace: those of one stream share theirs."""
        by_stream: dict[int, list[Chosen]] = {}
        for number, command in enumerate(self.commands):
            for each in command.products():
                each.algorithm = choose(each, self.device, stream)
                by_stream.setdefault(self._forks.stream_of(number), []).append(each)
        nbytes = 0
        for products in by_stream.values():
            nbytes = memory.aligned(nbytes)  # cuBLASLt refuses other addresses, even of no bytes
            for product in products:
                product.workspace = nbytes
            nbytes += max((c.algorithm.workspace for c in products if c.algorithm), default=0)
        self.workspace_bytes = nbytes
        self._workspace = memory.allocate(self.device, self.plan, nbytes) if nbytes else None
        for product in itertools.chain(*by_stream.values()):
            product.workspace += int(self._workspace.ptr) if self._workspace else 0
        why = filter(None, (self.program.choice, told(itertools.chain(*by_stream.values()))))
        self.program = replace(self.program, choice="; ".join(why))

    def apart(self) -> CudaExecutable:
        """The same step launch by launch, if it is one kernel here."""
        if not self.program.stages:
            return self
        return CudaExecutable(self.plan, self.device, self._tf32)

    @property
    def planned_bytes(self) -> int:
        """Bytes of device memory that this specialisation takes beside the variables."""
        return self.layout.total + self.workspace_bytes

    def address(self, address: Address) -> int:
        """Where something of the program lies on the device."""
        if address.kind == "state":
            return int(self._held[address.at].data.ptr) + address.offset
        return self.base + self.layout.offset(address)

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """One step: fresh CuPy arrays; the variables are updated in place.

        Raises:
            ExecutionError: if an earlier step failed, or CUDA does.
        """
        return self.alone(self._run, feeds)

    def _run(self, feeds: Sequence[Any]) -> list[Any]:
        device = self.device
        stream = device.stream()
        self._prepare_step(stream)
        outputs = [device.empty(*kind) for kind in self._types]
        self._step(feeds, outputs, stream)
        return outputs

    def run_many(self, data: Sequence[Any], steps: int, batch: int, order: Any = None) -> list[Any]:
        """Steps on rows of the data sets: each output stacked.

        Raises:
            ExecutionError: if one of the steps fails; those after it update nothing.
        """
        return self.alone(self._run_many, data, steps, batch, order)

    def _run_many(self, data: Sequence[Any], steps: int, batch: int, order: Any) -> list[Any]:
        stream = self.device.stream()
        self._prepare_step(stream)
        if self._many is None:
            self._many = Run(self)
        results = self._many.steps(data, steps, batch, order, stream)
        if self.program.sites:
            stream.synchronize()
            self._raise_failure(stream)
        return results

    def place(self, data: Sequence[Any]) -> list[Any]:
        """The data sets on the device, aligned as `run_many` reads them."""
        device = self.device
        with device.lock:
            stream = device.stream()
            return [Run.placed(device, x, stream) for x in data]

    def synchronize(self) -> None:
        """Wait until all steps are done.

        Raises:
            ExecutionError: if one of them failed.
        """
        self._at_device(self._synchronize)

    def _synchronize(self) -> None:
        stream = self.device.stream()
        stream.synchronize()
        self._raise_failure(stream)

    def enqueue(self, stream: Any) -> None:
        """Put one step on a stream, and on those beside it, launch by launch."""
        self._forks.enqueue(self.commands, stream)
        self.tell(stream)

    def tell(self, stream: Any) -> None:
        """Copy the flag of a failure to where the host sees it."""
        if self.program.sites:
            runtime = self.device.runtime
            told, failed = int(self._told_memory.ptr), self.address(FAILED)
            kind = runtime.memcpyDeviceToHost
            runtime.memcpyAsync(told, failed, memory.FLAG_BYTES, kind, stream.ptr)

    def send(self, feeds: Sequence[Any], stream: Any) -> None:
        """Copy a step's state and feeds to where its commands read them; `finish` ends it."""
        self._prepare_step(stream)
        self._staging.post(feeds, (), stream)
        self._staging.fetch(stream)

    def finish(self, stream: Any) -> None:
        """End a step that `send` began, and whose commands are on the stream."""
        self.tell(stream)
        self._staging.deliver(stream)
        self._staging.sent()

    def save_state(self, stream: Any) -> list[Any]:
        """Copies of the variables' arrays."""
        self._hold_state(stream)
        saved = [self.device.empty(home.shape, home.dtype) for home in self._held]
        self._copy_all(saved, self._held, stream)
        return saved

    def restore_state(self, saved: Sequence[Any], stream: Any) -> None:
        """Put back what `save_state` gave."""
        self._copy_all(self._held, saved, stream)

    def _copy_all(self, targets: Sequence[Any], sources: Sequence[Any], stream: Any) -> None:
        for target, source in zip(targets, sources, strict=True):
            self.device.copy(target.data.ptr, source.data.ptr, source.nbytes, stream)

    def warm_and_capture(self, stream: Any, warm: Any, captured: Sequence[Any]) -> list[Any]:
        """Run `warm(stream)`, and record each of `captured` as a CUDA graph.

        Both happen on a stream of the device's own: the user's may be one that cannot capture, and
        kernels are loaded when they first run, which must not be in a capture.
        """
        own = self.device.capture_stream
        self.device.order(stream, own)
        try:
            warm(own)
            return self._all_captured(captured, own)
        finally:
            self.device.order(own, stream)

    def _all_captured(self, captured: Sequence[Any], stream: Any) -> list[Any]:
        """The graphs; none if they would ask the device, and the driver refuses: the host asks."""
        if not self.program.waits_for_host:
            return [self._capture(record, stream) for record in captured]
        try:
            assert self.device.conditionals is not None
            self.device.conditionals.prepare()
            return [self._capture(record, stream) for record in captured]
        except self.device.errors as error:
            if not is_refusal(error):
                raise
            why = f"the host waits for loops and choices, since the driver refuses nodes: {error}"
            log.warning("cuda: %s: %s", self.plan.graph.name, why)
            self.program = replace(self.program, choice=f"{self.program.choice}; {why}")
            self.by_host = True
            return []

    def _capture(self, record: Any, stream: Any) -> Any:
        """What `record(stream)` enqueues, as a CUDA graph."""
        stream.begin_capture()
        try:
            record(stream)
        except BaseException:
            with suppress(*self.device.errors):  # that it is invalid now tells nothing
                stream.end_capture()
            raise
        graph = stream.end_capture()
        graph.upload(stream)
        return graph

    def _step(self, feeds: Sequence[Any], outputs: Sequence[Any], stream: Any) -> None:
        """Launch the graph of a step; the first step runs launch by launch and is captured.

        One that waits for the host is not captured, and always runs so.
        """
        if self.by_host:
            self._staging.post(feeds, outputs, stream)
            self._fed(stream)
        elif self._graph is None:
            self._staging.post(feeds, outputs, stream)
            (self._graph,) = self.warm_and_capture(stream, self._fed, [self._fed]) or [None]
        else:
            direct = self._direct.graph(feeds, stream)
            self._staging.post(None if direct else feeds, outputs, stream)
            (direct or self._graph).launch(stream)
        self._staging.sent()

    def _fed(self, stream: Any) -> None:
        """Put one step on a stream, from its feeds to its outputs."""
        self._staging.fetch(stream)
        self.enqueue(stream)
        self._staging.deliver(stream)

    def _capture_direct(self, feeds: tuple[int, ...], stream: Any) -> Any:
        """The graph of a step that reads its feeds elsewhere; None if a step may write there."""
        if any(map(self._is_state, feeds, self.plan.graph.inputs)):
            return None

        def address(x: Address) -> int:
            return feeds[x.at] + x.offset if x.kind == "feed" else self.address(x)

        commands = bind(self.program, self.device, address, self._tf32)
        take_algorithms(commands, self.commands)

        def record(own: Any) -> None:
            self._forks.enqueue(commands, own)
            self.tell(own)
            self._staging.deliver(own)

        return next(iter(self.warm_and_capture(stream, lambda own: None, [record])), None)

    def _is_state(self, address: int, node: Node) -> bool:
        """Whether a feed at an address shares memory with a variable."""
        end = address + int(node.type.nbytes)
        homes = [(int(home.data.ptr), int(home.nbytes)) for home in self._held]
        return any(address < start + size and start < end for start, size in homes)

    def _prepare_step(self, stream: Any) -> None:
        self._raise_failure(stream)
        self._hold_state(stream)

    def _hold_state(self, stream: Any) -> None:
        """Copy what a user put in a variable to the array that the commands know."""
        if not all(map(is_, map(_array, self._variables), self._held)):
            for variable in self._variables:
                self.device.settle(variable, stream)
        self._copies.refresh(stream)

    def _raise_failure(self, stream: Any) -> None:
        """Raise what a step before has told, and lower the flag."""
        site = self._told.value
        if not site:
            return
        stream.synchronize()  # steps that are still on the stream see the flag up
        failed = self.address(FAILED)
        self.device.runtime.memsetAsync(failed, 0, memory.FLAG_BYTES, stream.ptr)
        self._told.value = 0
        node = self.program.sites[site - 1]
        raise node.op.error(
            f"{failure(node)}; the step that had it updated nothing, nor did any step after it"
        )
