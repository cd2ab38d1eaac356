"""Many steps without the host: batches are drawn, and outputs kept, by kernels on the device.

A step that is one kernel does that itself, and makes all the steps of a piece in one launch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from staticnet.backends.cuda.commands import BoundLaunch
from staticnet.backends.cuda.device import Device, wait_until
from staticnet.backends.pieces import PIECE_SECONDS, next_count
from staticnet.codegen.resources import kernel_text

if TYPE_CHECKING:
    from staticnet.backends.cuda.executable import CudaExecutable

THREADS, MAX_BLOCKS = 256, 1024
MOST_STEPS, MOST_NODES = 32, 2048  # of a graph that holds several steps
UNITS = (16, 4, 1)  # bytes that a thread copies at once
FIRST_SLOT = 3  # of the table, after the step's number, the order's address and its length


@cache
def source() -> str:
    """The kernels' CUDA."""
    return kernel_text("draw.cuh", "run.cuh")


def unit(nbytes: int) -> int:
    """The widest unit in which so many bytes can be copied."""
    return next(size for size in UNITS if nbytes % size == 0)


class Run:
    """The graphs of an executable's `run_many`, captured at its first call, or its one kernel."""

    def __init__(self, executable: CudaExecutable) -> None:
        self._executable = executable
        self._device = device = executable.device
        self._whole = whole_step(executable)
        names = ["sn_next_step", *(f"sn_{act}_{n}" for act in ("gather", "keep") for n in UNITS)]
        if self._whole is None:
            module = device.load(source())
            self._functions = {name: module.get_function(name) for name in names}
        inputs, outputs = executable.plan.graph.inputs, executable.plan.graph.outputs
        self._rows = [int(node.type.nbytes) // max(1, int(node.shape[0])) for node in inputs]
        self._outputs = [int(node.type.nbytes) for node in outputs]
        self._words = FIRST_SLOT + len(inputs) + len(outputs)
        self._table = device.empty((self._words,), np.dtype("int64"))
        nodes = len(executable.commands) + len(inputs) + len(outputs) + 2
        self.steps_per_launch = max(1, min(MOST_STEPS, MOST_NODES // nodes))
        self._graphs: list[Any] = []
        self._count = 1  # steps of the next piece

    @staticmethod
    def placed(device: Device, data: Any, stream: Any) -> Any:
        """A data set on the device, whole and aligned."""
        if isinstance(data, np.ndarray):
            return device.upload(data, stream)
        if not data.flags.c_contiguous or data.data.ptr % UNITS[0]:
            whole = device.empty(data.shape, data.dtype)
            whole[...] = data
            return whole
        return data

    def steps(
        self, data: Sequence[Any], steps: int, batch: int, order: Any, stream: Any
    ) -> list[Any]:
        """Steps in the order of rows, or as they lie without one. -> each output, stacked"""
        device, executable = self._device, self._executable
        sets = [self.placed(device, x, stream) for x in data]
        order = np.arange(len(data[0])) if order is None else order
        period = len(order) // batch
        order = device.upload(np.asarray(order, np.int64), stream)
        outputs = executable.plan.graph.outputs
        stacks = [device.empty((steps, *map(int, node.shape)), node.dtype) for node in outputs]
        addresses = [int(x.data.ptr) for x in (order, *sets, *stacks)]
        words = [0, addresses[0], period, *addresses[1:]]
        device.write(self._table.data.ptr, np.array(words, np.int64), stream)
        if steps == 0:
            return stacks
        act = self._step(batch)
        try:
            if self._whole is None and not self._graphs and not executable.by_host:
                several = _repeat(act, self.steps_per_launch)
                self._graphs = executable.warm_and_capture(stream, act, [act, several])
                steps -= 1
            if executable.by_host:
                _repeat(act, steps)(stream)
                return stacks
            self._launch(steps, stream)
        except BaseException:
            stream.synchronize()  # what is launched writes to the stacks
            raise
        return stacks

    def _launch(self, steps: int, stream: Any) -> None:
        """Launch so many steps in pieces: a signal is heard between two.

        While the device makes one the next is on the stream, unless a step fills a piece alone.
        """
        done = self._mark(stream)
        waiting: deque[tuple[int, Any]] = deque()
        ahead = int(self._count > 1)
        while steps:
            count = self._launch_piece(min(self._count, steps), stream)
            steps -= count
            waiting.append((count, self._mark(stream)))
            while steps and len(waiting) > ahead:
                made, event = waiting.popleft()
                seconds = self._wait(done, event)
                self._count, done = next_count(made, seconds), event
                ahead = int(seconds < made * PIECE_SECONDS)

    def _launch_piece(self, count: int, stream: Any) -> int:
        """Launch so many steps; -> or fewer, if only those are whole launches of several."""
        if self._whole is not None:
            self._whole.enqueue_steps(self._table.data.ptr, count, stream)
            self._executable.tell(stream)
            return count
        one, several = self._graphs
        launches, rest = divmod(count, self.steps_per_launch)
        for _ in range(launches):
            several.launch(stream)
        if launches:
            return launches * self.steps_per_launch
        for _ in range(rest):
            one.launch(stream)
        return rest

    def _wait(self, before: Any, event: Any) -> float:
        """Wait for an event; -> the device's seconds since one before it."""
        wait_until(lambda: bool(event.done))
        return float(self._device.cupy.cuda.get_elapsed_time(before, event)) / 1e3

    def _mark(self, stream: Any) -> Any:
        """An event with its time, after what is on the stream."""
        event = self._device.cupy.cuda.Event()
        event.record(stream)
        return event

    def _step(self, batch: int) -> Callable[[Any], None]:
        """What puts a step with its copies on a stream."""
        executable, first = self._executable, FIRST_SLOT
        base, layout, inputs = executable.base, executable.layout, len(self._rows)

        def act(stream: Any) -> None:
            for i, row in enumerate(self._rows):
                place = base + layout.feeds[i]
                self._copy("gather", first + i, place, row, (batch, row), stream)
            executable.enqueue(stream)
            for i, nbytes in enumerate(self._outputs):
                place = base + layout.outputs[i]
                self._copy("keep", first + inputs + i, place, nbytes, (nbytes,), stream)
            table = np.uintp(self._table.data.ptr)
            self._functions["sn_next_step"]((1, 1, 1), (1, 1, 1), (table,), 0, stream)

        return act

    def _copy(
        self, act: str, slot: int, place: int, piece: int, sizes: Sequence[int], stream: Any
    ) -> None:
        nbytes = int(np.prod(sizes))
        if nbytes == 0:
            return
        size = unit(piece)
        blocks = max(1, min(MAX_BLOCKS, -(-nbytes // size // THREADS)))
        arguments = (
            np.uintp(self._table.data.ptr), np.int32(slot), np.uintp(place), *map(np.int64, sizes)
        )  # fmt: skip
        function = self._functions[f"sn_{act}_{size}"]
        function((blocks, 1, 1), (THREADS, 1, 1), arguments, 0, stream)


def whole_step(executable: CudaExecutable) -> BoundLaunch | None:
    """The one kernel of a step, if it is one."""
    if not executable.program.stages:
        return None
    (launch,) = executable.commands
    assert isinstance(launch, BoundLaunch)
    return launch


def _repeat(act: Callable[[Any], None], times: int) -> Callable[[Any], None]:
    def several(stream: Any) -> None:
        for _ in range(times):
            act(stream)

    return several
