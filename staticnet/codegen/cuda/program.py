"""A plan as CUDA: the source of its kernels, and what to launch, in order."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from staticnet.codegen.commands import Address, Command, Launch, LibraryCall, parts_of, walk
from staticnet.codegen.cuda.choice import ASKED, HOSTED, choose
from staticnet.codegen.cuda.parts import ANY_CHIP, RESERVED, Chip, Parts
from staticnet.codegen.cuda.persistent import PersistentWriter, shared_bytes, stages_of
from staticnet.codegen.cuda.spans import Span, dependences, spans_of
from staticnet.codegen.cuda.steps import Frame, StepWriter
from staticnet.codegen.cuda.streams import schedule_of
from staticnet.codegen.launches import CudaProgram, format_command
from staticnet.codegen.resources import SCALARS, kernel_text
from staticnet.plan.fusion import Group
from staticnet.plan.plan import Plan

HEADERS = (*SCALARS, "runtime.cuh", "reduce.cuh", "routines.cuh")


@cache
def prelude(*more: str) -> str:
    """The scalar functions and helpers that a program begins with, and `more` files of kernels."""
    return kernel_text(*HEADERS, *more)


def write_cuda_program(
    plan: Plan, tf32: bool = False, persistent: bool = False, chip: Chip = ANY_CHIP,
    calls: frozenset[str] = frozenset(),
) -> CudaProgram:  # fmt: skip
    """The CUDA source of a plan's kernels, and the launches of a step.

    tf32: whether kernels may give float32 operands to matrix units in that mode
    persistent: whether the step may be one kernel, where an estimate says that it pays
    chip: the GPU that it is for
    calls: the ops that cuDNN may compute; what they take no stage of one kernel does
    """
    parts = Parts(tf32=tf32, calls=calls, chip=chip)
    program = _launch_list(plan, parts)
    if not persistent:
        return _on_streams(plan, program, _order(plan, program))[0]
    whole = _in_one(plan, program, parts)
    if whole.stages or not parts.loops:
        return whole
    parts = Parts(tf32=tf32, calls=calls, loops_stay=True, chip=chip)
    program = _launch_list(plan, parts)
    launched = {c.function for c in walk(program.launches) if isinstance(c, Launch)}
    if launched <= parts.kernels.keys():  # no loop became a kernel
        return replace(whole, choice="; ".join([whole.choice, *parts.told]))
    after = _on_streams(plan, program, _order(plan, program))[0]
    why = [] if whole.waits_for_host and not after.waits_for_host else [whole.choice]
    return replace(after, choice="; ".join([*why, *parts.told]))


def _launch_list(plan: Plan, parts: Parts) -> CudaProgram:
    """The launches of a step in order, on one stream, with the functions that they call."""
    writer = StepWriter(plan, parts, Frame(lambda place: Address(place.kind, place.at)))
    writer.write()
    launched = {c.function for c in walk(writer.commands) if isinstance(c, Launch)}
    unused = parts.kernels.keys() - launched  # what only stages of a loop's kernel compute
    texts = {
        name: text.replace("NAME", name, 1)
        for text, name in parts.functions.items()
        if name not in unused
    }
    body = "\n".join(texts.values())
    return CudaProgram(
        prelude(*parts.headers) + body,
        body,
        tuple(writer.commands),
        plan.scratch + writer.most_scratch,
        tuple(parts.sites),
        _texts(plan, writer.commands, texts),
        {
            group: ", ".join(name for name in names if name not in unused)
            for group, names in parts.called.items()
        },
    )


@dataclass(frozen=True)
class _Order:
    """What each command of a program touches, and which ones it waits for; nothing of a program
    that waits for the host."""

    spans: Sequence[Sequence[Span]] = ()
    waits: Sequence[frozenset[int]] = ()


def _order(plan: Plan, program: CudaProgram) -> _Order:
    if program.waits_for_host:
        return _Order()
    spans = spans_of(plan, program)
    return _Order(spans, dependences(spans))


def _on_streams(plan: Plan, program: CudaProgram, order: _Order) -> tuple[CudaProgram, float]:
    """The program on as many streams as pay, and the estimate of its step in seconds."""
    if program.waits_for_host:
        return program, math.inf
    schedule = schedule_of(plan, program.launches, order.spans, order.waits)
    return replace(program, lanes=schedule.lanes), schedule.seconds


def _in_one(plan: Plan, program: CudaProgram, parts: Parts) -> CudaProgram:
    """The program as one kernel, if an estimate says that it pays; what was chosen, and why."""
    if program.waits_for_host:
        why = ASKED if program.may_ask_device else HOSTED
        return replace(program, choice=f"launch by launch: {why}")
    order = _order(plan, program)
    program, apart = _on_streams(plan, program, order)
    stages = stages_of(order.waits)
    choice = choose(program, parts, order.spans, stages, apart)
    program = replace(program, choice=choice.why)
    return as_one_kernel(plan, program, parts, stages, choice.blocks) if choice.blocks else program


def as_one_kernel(
    plan: Plan, program: CudaProgram, parts: Parts, stages: Sequence[Sequence[int]], blocks: int
) -> CudaProgram:
    """The program whose step is one kernel of so many blocks; nothing must stand in its way."""
    functions = {name: text for text, name in parts.functions.items()}
    taken = RESERVED + shared_bytes(functions, program.launches)
    writer = PersistentWriter(
        parts.kernels, blocks, plan=plan, arena_bytes=program.arena_bytes,
        most=parts.chip.shared_bytes - taken,
    )  # fmt: skip
    commands = [[program.launches[i] for i in stage] for stage in stages]
    kernel, launch = writer.write(commands)
    texts = {
        name: text.replace("NAME", name, 1).replace("__restrict__ ", "")
        for text, name in parts.functions.items()
        if name not in parts.kernels
    }
    texts |= {name: made.stage().replace("NAME", name, 1) for name, made in parts.kernels.items()}
    body = "\n".join([*texts.values(), kernel])
    own = f"; all that it works in lies in {launch.shared_bytes:,} bytes of shared memory"
    return replace(
        program,
        choice=program.choice + own * bool(launch.shared_bytes),
        source=prelude(*parts.headers, "draw.cuh", "persistent.cuh") + body,
        body=body,
        launches=(launch,),
        texts=_texts(plan, program.launches, texts, "product"),
        lanes=(),
        stages=tuple(map(tuple, commands)),
    )


def _texts(
    plan: Plan, commands: Sequence[Command], functions: Mapping[str, str], by: str = "cuBLASLt"
) -> dict[Group, str]:
    """What runs for each kernel or routine: the functions, products and copies of its step.

    by: what computes products
    """
    found: dict[int, dict[str, None]] = {}
    for command in commands:
        found.setdefault(command.step, {}).update(dict.fromkeys(_told(command, functions, by)))
    return {group: "\n".join(found[i]) for i, group in plan.launched if i in found}


def _told(command: Command, functions: Mapping[str, str], by: str) -> list[str]:
    """A command as text: a launch by its function and those that it calls."""
    parts = parts_of(command)
    if parts:
        texts = [text for part in parts for each in part for text in _told(each, functions, by)]
        offered = isinstance(command, LibraryCall)
        return [f"// {format_command(command)}", *texts] if offered else texts
    if not isinstance(command, Launch):
        return [f"// {format_command(command, by)}"]
    text = functions[command.function]
    called = dict.fromkeys(re.findall(r"\bs?[mk]\d+(?:_\d+)*\b", text))
    return [*(functions[name] for name in called if name in functions), text]
