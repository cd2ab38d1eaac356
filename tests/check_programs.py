"""Runs random programs in two ways and compares; of one that differs makes a small one to read."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cuda_shim import Machine
from random_programs import Program
from random_terms import Term, feed

import staticnet as sn
from staticnet.compilation import PASSES, PIPELINE
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, topological
from staticnet.passes.manager import run_passes
from staticnet.rewrite.driver import keep

STEPS = 3
PATIENCE = 150  # programs tried to make one smaller


@dataclass(frozen=True)
class Way:
    """How to run a program: where, without which passes, on how many threads, with what besides."""

    device: str = "cpu"
    numerics: str = "exact"
    left_out: tuple[str, ...] = ()
    threads: int = 2
    with_inner: bool = False  # all values that were made are outputs, too
    many: bool = False  # by `run` and not by calls
    persistent: bool = False  # as one kernel, where the estimate says so


NO_PASSES = tuple(name for name in PASSES if name != "infer_shape")


@dataclass(frozen=True)
class Check:
    """That two ways agree: to the bit, or in values as exact as terms say, or as near."""

    one: Way
    other: Way
    to: str = "bits"  # or "values", "noise"


@dataclass(frozen=True)
class Fault:
    """What is wrong: an error's name or "differs", what there is to say, and of which roots."""

    kind: str
    said: str
    roots: Sequence[int] = ()


class Runs:
    """The runs of a program, each way once."""

    def __init__(self, program: Program, dims: Mapping[str, int]) -> None:
        self.program, self.dims = program, dims
        self._known: dict[Way, list[Any] | Fault] = {}

    def of(self, way: Way) -> list[Any] | Fault:
        if way not in self._known:
            try:
                self._known[way] = run(self.program, way, self.dims)
            except Exception as error:
                self._known[way] = Fault(type(error).__name__, f"{way}: {error}")
        return self._known[way]

    def fault(self, check: Check) -> Fault | None:
        one, other = self.of(check.one), self.of(check.other)
        for result in (one, other):
            if isinstance(result, Fault):
                return result
        terms = [*self.program.outputs, *self.program.updates.values()]
        wrong: dict[int, str] = {}
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            step, root = divmod(number, len(terms))
            said = different(terms[root], a, b, check.to)
            if said:
                wrong.setdefault(
                    root, f"root {root} at step {step}, {terms[root].node.type}: {said}"
                )
        return Fault("differs", "; ".join(list(wrong.values())[:3]), list(wrong)) if wrong else None


def must_hold(program: Program, checks: Sequence[Check], **dims: int) -> None:
    """Fails with a small program that shows a fault."""
    runs = Runs(program, dims)
    for check in checks:
        fault = runs.fault(check)
        if fault is not None:
            small, fault = shrunk(program, fault, check, dims)
            raise AssertionError(
                f"{fault.kind} {fault.said}\n  {check.one}\n  {check.other}\n{small.graph}\ndims "
                f"{dims}, seed {small.seed}: random_programs.replay makes the program of this text"
            )


def run(program: Program, way: Way, dims: Mapping[str, int]) -> list[Any]:
    """The outputs and the updated state of each step."""
    shown = [*program.outputs, *(program.inner if way.with_inner else ())]
    whole = dataclasses.replace(program, outputs=shown).graph
    dims = {name: dims[name] for name in whole.symbols}
    feeds = [program.feeds(step, dims) for step in range(STEPS)]
    count = len(program.outputs)
    program.begin()
    if way.device == "shim":
        return run_shim(whole, way, dims, feeds, program)
    f = sn.function(
        whole.inputs, whole.outputs, dict(whole.updates),
        device=way.device, numerics=way.numerics, disabled_passes=way.left_out,
    )  # fmt: skip
    set_threads(f, way.threads, dims)
    if way.many:
        return run_many(f, program, feeds)
    found: list[Any] = []
    for step in feeds:
        found += f(*step)[:count]
        found += [v.value for v in program.updates]
    return found


def run_many(f: Any, program: Program, feeds: Sequence[Any]) -> list[Any]:
    """The same by `run`, whose state is seen after each number of steps."""
    rows = len(feeds[0][0])
    data = [np.concatenate(column) for column in zip(*feeds, strict=True)]
    found: list[Any] = []
    for steps in range(1, STEPS + 1):
        program.begin()
        outputs = f.run(steps, *data, batch_size=rows)
        shapes = [t.node.shape for t in program.outputs]
        found += [y.reshape(steps, *s)[-1] for y, s in zip(outputs, shapes, strict=True)]
        found += [v.value for v in program.updates]
    return found


def run_shim(
    graph: sn.Graph, way: Way, dims: Mapping[str, int], feeds: Sequence[Any], program: Program
) -> list[Any]:
    """The same by the CUDA text on the CPU."""
    left_out = [name for name in way.left_out if name != "fusion"]
    lowered, _ = run_passes(graph, PIPELINE, dims=dims, numerics=way.numerics, disabled=left_out)
    with tempfile.TemporaryDirectory() as folder:
        fuse, one = "fusion" not in way.left_out, way.persistent
        machine = Machine(lowered, Path(folder), arena=True, fuse=fuse, persistent=one)
    found: list[Any] = []
    variables = lowered.variables
    state = [feed(v, program.seed) for v in variables]
    kept = {v: feed(v, program.seed) for v in program.updates}
    for step in feeds:
        failed, outputs, state = machine.run(step, state)
        assert failed == 0
        found += outputs[: len(program.outputs)]
        kept |= dict(zip(variables, state, strict=True))
        found += [kept[v] for v in program.updates]
    return found


def set_threads(f: Any, threads: int, dims: Mapping[str, int]) -> None:
    """How many threads OpenMP takes from here on."""
    library = getattr(f.specialize(**dims).executable, "_library", None)
    if library is not None:
        library.omp_set_num_threads(threads)


def different(term: Term, a: Any, b: Any, to: str) -> str:
    """Where two arrays differ: in a bit (NaNs are equal), or in values by more than a term says."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
    if to == "bits":
        unsigned = np.dtype(f"u{a.dtype.itemsize}")
        same = np.equal(*(np.ascontiguousarray(x).view(unsigned).reshape(x.shape) for x in (a, b)))
    else:
        same = a == b
    if is_floating(a.dtype):
        same = same | (np.isnan(a) & np.isnan(b))
        if to == "noise" or (to == "values" and not term.exact):
            with np.errstate(invalid="ignore"):
                same |= np.abs(a.astype(np.float64) - b.astype(np.float64)) <= 4 * term.noise
    elif to == "noise" and term.noise:
        return ""
    return _shown(~same, a, b)


def _shown(apart: Any, a: Any, b: Any) -> str:
    if not apart.any():
        return ""
    at = np.argwhere(apart)[0].tolist()
    return f"{np.sum(apart)} of {a.size}, at {at} {a[*at]!r} and {b[*at]!r}"


def shrunk(
    program: Program, fault: Fault, check: Check, dims: Mapping[str, int]
) -> tuple[Program, Fault]:
    """The least program found that fails so: fewer roots, and placeholders for inner values."""
    tries = 0
    while tries < PATIENCE:
        for smaller in smaller_ones(program, fault):
            tries += 1
            found = Runs(smaller, dims).fault(check)
            if found is not None and found.kind == fault.kind:
                program, fault = smaller, found
                break
            if tries == PATIENCE:
                break
        else:
            break
    return program, fault


def smaller_ones(program: Program, fault: Fault) -> Iterator[Program]:
    every = range(len(program.outputs) + len(program.updates))
    if len(every) > 1:
        yield from (only(program, [root]) for root in fault.roots[:3])
    if len(fault.roots) < len(every):
        yield only(program, fault.roots)
    size = (len(every) + 1) // 2
    while size and len(every) > 1:
        for first in range(0, len(every), size):
            yield only(program, [i for i in every if not first <= i < first + size])
        size //= 2
    shown = [t.node for t in program.outputs]
    for node in reversed(program.graph.nodes):
        if node.inputs and not any(node is x for x in shown):
            yield cut(program, node)


def only(program: Program, roots: Sequence[int]) -> Program:
    """The program of some of its outputs and updates, with what those need."""
    count = len(program.outputs)
    outputs = [program.outputs[i] for i in roots if i < count]
    updates = list(program.updates.items())
    return tidied(
        dataclasses.replace(
            program, outputs=outputs, updates=dict(updates[i - count] for i in roots if i >= count)
        )
    )


def tidied(program: Program) -> Program:
    needed = set(topological([t.node for t in (*program.outputs, *program.updates.values())]))
    needed |= set(program.updates)
    inputs = [x for x in program.inputs if x in needed]
    inner = [t for t in program.inner if t.node in needed]
    return dataclasses.replace(program, inputs=inputs, inner=inner)


def cut(program: Program, node: Node) -> Program:
    """The program with a placeholder for an inner value."""
    fed = sn.placeholder(node.shape, node.dtype, f"gcut_{len(program.inputs)}_{node.op.name}")
    new: dict[Node, Node] = {node: fed}
    roots = [t.node for t in (*program.outputs, *program.updates.values())]
    for x in topological(roots):
        if x not in new:
            new[x] = keep(x, tuple(new[y] for y in x.inputs))

    def renewed(term: Term) -> Term:
        return dataclasses.replace(term, node=new[term.node])

    return tidied(
        dataclasses.replace(
            program,
            inputs=[*program.inputs, fed],
            outputs=[renewed(t) for t in program.outputs],
            updates={v: renewed(t) for v, t in program.updates.items()},
            inner=[renewed(t) for t in program.inner if t.node in new],
        )
    )
