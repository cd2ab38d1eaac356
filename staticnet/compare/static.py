"""The compiled contenders: one graph, compiled with all passes, with none, and without each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from staticnet.backends.cpu.executable import CpuExecutable
from staticnet.backends.numpy import NumpyExecutable
from staticnet.compare.model import Array, Feed, Model
from staticnet.compare.result import ALL
from staticnet.compare.steps import Facts, Steps, nbytes, peak_growth
from staticnet.compilation import PASSES
from staticnet.errors import DeviceError
from staticnet.function import Function, function
from staticnet.ir.text import format_graph
from staticnet.ops.state import Variable
from staticnet.plan.analysis import analyse_memory

NO_PASSES, MANY_STEPS = "static, no passes", "static, many steps a call"
PROFILES, RUNS = 5, 20
LEAVES = ("placeholder", "variable", "constant")


@dataclass
class StaticStep:
    """A training step compiled with some passes left out. All share the model's variables."""

    model: Model
    function: Function
    seconds: float
    first: dict[Variable, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, device: str, without: Sequence[str]) -> StaticStep:
        """Compile the step.

        Raises:
            StaticnetError: if it cannot be compiled, as `sn.function`.
        """

        made, seconds = compile_seconds(
            lambda: function(
                model.inputs,
                model.loss,
                dict(model.updates),
                name="step",
                device=device,
                disabled_passes=without,
            )
        )
        first = {v: v.value for v in made.graph.variables if isinstance(v, Variable)}
        return cls(model, made, model.seconds + seconds, first)

    def reset(self) -> None:
        """Give the variables the values that they had when this was compiled."""
        for variable, value in self.first.items():
            variable.value = value

    def steps(self, feeds: Sequence[Feed]) -> Steps:
        """Steps that call the function: arrays in, the loss out."""
        return Steps.of(self.function, feeds)

    def many_steps(self, feeds: Sequence[Feed]) -> Steps | None:
        """`Function.run` over all feeds, a call; None where the feeds have no common batch."""
        sizes = {x.shape[0] if x.ndim else 0 for x in feeds[0]}
        if len(sizes) != 1 or 0 in sizes:
            return None
        (size,) = sizes
        run = self.function.run
        executable = self.function.specialize().executable
        sets = executable.place([np.concatenate(column) for column in zip(*feeds, strict=True)])

        def losses(n: int) -> list[float]:
            return [float(x) for x in run(n, *sets, batch_size=size)]

        def repeat(n: int) -> None:
            for _ in range(n):
                run(len(feeds), *sets, batch_size=size)

        return Steps(repeat, losses, len(feeds))

    def launched_steps(self, feeds: Sequence[Feed]) -> Steps | None:
        """Steps launched one by one, without the CUDA graph; None where there is none."""
        executable: Any = self.function.specialize().executable
        if self.function.device != "cuda":
            return None
        device = executable.device
        loss = self.model.loss

        def step(*feed: Array) -> Any:
            with device.lock:
                stream = device.stream()
                executable.send(feed, stream)
                executable.enqueue(stream)
                made = device.empty((), loss.dtype)
                place = executable.base + executable.layout.outputs[0]
                device.copy(made.data.ptr, place, made.nbytes, stream)
            return made

        return Steps.of(step, feeds)

    def program(self) -> str:
        """The text of what runs: two contenders of the same text are the same program."""
        try:
            return self.function.source(whole=True)
        except DeviceError:
            return format_graph(self.function.specialize().graph)

    def facts(self, feed: Feed) -> Facts:
        """What a step does."""
        return facts_of(self.function, feed, self.seconds)


def variants(model: Model, device: str) -> dict[str, Callable[[], StaticStep]]:
    """What can be compiled, by name: with all passes, with none, without each in turn."""

    def compiled(*without: str) -> Callable[[], StaticStep]:
        return lambda: StaticStep.of(model, device, without)

    return {
        ALL: compiled(),
        NO_PASSES: compiled(*PASSES),
        **{f"without {name}": compiled(name) for name in PASSES},
    }


def facts_of(step: Function, feed: Feed, seconds: float) -> Facts:
    """What a function does in a call: planned, or counted where its graph is interpreted."""
    executable = step.specialize().executable
    device_s = tuple(step.profile(*feed, repeat=RUNS).seconds for _ in range(PROFILES))
    if isinstance(executable, NumpyExecutable):
        return _interpreted(executable, feed, device_s, seconds)
    plan = step.plan
    made = plan.allocations + plan.output_allocations
    peak = analyse_memory(plan).peak
    return Facts(plan.launches, made, plan.bytes_moved, peak, device_s, seconds)


def _interpreted(
    executable: NumpyExecutable, feed: Feed, device_s: tuple[float, ...], seconds: float
) -> Facts:
    graph = executable.graph
    nodes = [n for n in graph.nodes if n.op.name not in LEAVES]
    made = [n for n in nodes if not n.op.moves]
    moved = sum(int(x.type.nbytes) for n in made for x in (n, *n.inputs))
    held = sum(int(v.type.nbytes) for v in graph.variables) + nbytes(feed)
    kept = [(v, v.array) for v in graph.variables if isinstance(v, Variable)]
    peak = held + peak_growth(lambda: executable.run(list(feed)))
    for variable, array in kept:
        variable.array = array
    return Facts(len(nodes), len(made), moved, peak, device_s, seconds)


def compile_seconds(compile: Callable[[], Function]) -> tuple[Function, float]:
    """A function, and the seconds from its graph to the program, as if no cache had it.

    It is compiled twice, so that imports and the cache do not count; the C compiler is timed apart.
    """
    made = compile()
    start = time.perf_counter()
    compile()
    return made, time.perf_counter() - start + _compiler_seconds(made)


def _compiler_seconds(step: Function) -> float:
    """What the C compiler takes for a function's source; 0 where none is used."""
    executable: Any = step.specialize().executable
    if not isinstance(executable, CpuExecutable):
        return 0.0
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        executable.compiler.compile(executable.program.source, Path(folder) / "step.so")
        return time.perf_counter() - start
