"""Maps or sums of columns that run side by side: one kernel, whose blocks are split among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from staticnet.codegen.commands import FAILED, Argument, Number
from staticnet.codegen.cuda.call import Call
from staticnet.codegen.cuda.maps import TILE
from staticnet.codegen.cuda.part import THREADS
from staticnet.codegen.cuda.statements import indent

_WIDE = ("double", "int64_t", "uint64_t")
MAX_SHARED_BYTES = 48 * 1024  # that a block has without asking
BUNDLE_BLOCKS = 3  # at once; to have one more of its own accord the compiler may spill a register


def shared_arrays(call: Call) -> dict[Any, int]:
    """The arrays in shared memory that a call's function needs, and the most bytes of each.

    They are a map's own tiles, and of each reduction a value a thread, which all calls of that one
    function share: it is known by what it combines and the types around it.
    """
    types = tuple(parameter.rpartition(" ")[0] for parameter in call.parameters)
    return arrays_of("\n".join(call.body), types)


def arrays_of(text: str, types: tuple[str, ...] = ()) -> dict[Any, int]:
    """The arrays in shared memory of a function's text, and the most bytes of each."""
    found: dict[Any, int] = {}
    for number, kind in enumerate(re.findall(r"__shared__ (\w+)", text)):
        found[text, number] = (8 if kind in _WIDE else 4) * TILE * (TILE + 1)
    for number, how in enumerate(re.findall(r"sn_reduce\w*<(.*?)>\(", text)):
        found[how, types, number] = 8 * THREADS
    return found


def side_by_side(calls: Sequence[tuple[str, Call, int]], guarded: bool) -> Call:
    """One function for several calls, each given with its device function and its site.

    A guarded one is told of failures in any case.
    """
    parameters: list[str] = []
    arguments: list[Argument] = []
    members: list[tuple[int, int, str]] = []
    first = 0
    for number, (name, call, site) in enumerate(calls):
        given = [f"block - {first}" if first else "block", str(call.blocks)]
        for parameter in call.parameters:
            declared, own = _renamed(parameter, f"a{number}_")
            parameters.append(declared)
            given.append(own)
        arguments += call.arguments
        if call.may_fail:
            parameters.append(f"int site{number}")
            arguments.append(Number(site))
            given += ["error", f"site{number}"]
        members.append((first, first + call.blocks, f"{name}({', '.join(given)});"))
        first += call.blocks
    if any(call.may_fail for _, call, _ in calls) and not guarded:
        parameters.append("int *error")
        arguments.append(FAILED)
    body = tuple(_choice(members))
    together = max(call.together for _, call, _ in calls) or BUNDLE_BLOCKS
    return Call(tuple(parameters), body, tuple(arguments), first, THREADS, together=together)


def _renamed(parameter: str, prefix: str) -> tuple[str, str]:
    """A parameter's declaration under another name, and that name."""
    at = max(parameter.rfind(" "), parameter.rfind("*")) + 1
    name = prefix + parameter[at:]
    return parameter[:at] + name, name


def _choice(members: Sequence[tuple[int, int, str]]) -> list[str]:
    """The call of the member whose blocks this one is of, found by bisection."""
    if len(members) == 1:
        return [members[0][2]]
    half = len(members) // 2
    return [
        f"if (block < {members[half][0]}) {{",
        *indent(_choice(members[:half])),
        "} else {",
        *indent(_choice(members[half:])),
        "}",
    ]
