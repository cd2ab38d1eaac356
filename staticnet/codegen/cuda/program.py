"""A plan as CUDA: the source of its kernels, and what to launch, in order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from staticnet.codegen.cuda.steps import Frame, Parts, StepWriter
from staticnet.codegen.cuda.streams import with_lanes
from staticnet.codegen.launches import (
    Address,
    Command,
    CudaProgram,
    Launch,
    format_command,
    parts_of,
)
from staticnet.codegen.resources import SCALARS, kernel_text
from staticnet.plan.fusion import Group
from staticnet.plan.plan import Plan

HEADERS = (*SCALARS, "runtime.cuh", "reduce.cuh", "routines.cuh")


@cache
def prelude(*more: str) -> str:
    """The scalar functions and helpers that a program begins with, and `more` files of kernels."""
    return kernel_text(*HEADERS, *more)


def write_cuda_program(plan: Plan, tf32: bool = False) -> CudaProgram:
    """The CUDA source of a plan's kernels, and the launches of a step.

    tf32: whether kernels may give float32 operands to matrix units in that mode
    """
    parts = Parts(tf32=tf32)
    writer = StepWriter(plan, parts, Frame(lambda place: Address(place.kind, place.at)))
    writer.write()
    body = "\n".join(text.replace("NAME", name, 1) for text, name in parts.functions.items())
    program = CudaProgram(
        prelude(*parts.headers) + body,
        body,
        tuple(writer.commands),
        plan.scratch + writer.most_scratch,
        tuple(parts.sites),
        _texts(plan, writer.commands, parts),
        {group: ", ".join(names) for group, names in parts.called.items()},
    )
    return with_lanes(plan, program)


def _texts(plan: Plan, commands: list[Command], parts: Parts) -> dict[Group, str]:
    """What runs for each kernel or routine: the functions, products and copies of its step."""
    named = {name: text.replace("NAME", name, 1) for text, name in parts.functions.items()}
    found: dict[int, dict[str, None]] = {}
    for command in commands:
        found.setdefault(command.step, {}).update(dict.fromkeys(_told(command, named)))
    return {group: "\n".join(found[i]) for i, group in plan.launched if i in found}


def _told(command: Command, functions: Mapping[str, str]) -> list[str]:
    """A command as text: a launch by its function and those that it calls."""
    parts = parts_of(command)
    if parts:
        return [text for part in parts for each in part for text in _told(each, functions)]
    if not isinstance(command, Launch):
        return [f"// {format_command(command)}"]
    text = functions[command.function]
    called = dict.fromkeys(re.findall(r"\bm\d+(?:_\d+)?\b", text))
    return [*(functions[name] for name in called if name in functions), text]
