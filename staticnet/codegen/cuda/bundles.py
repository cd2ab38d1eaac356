"""Maps or sums of columns that run side by side: one kernel, whose blocks are split among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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

    Those of one device function lie together: their text is there once, and the compiler's work.
    A guarded one is told of failures in any case.
    """
    parameters: list[str] = []
    arguments: list[Argument] = []
    members: dict[str, list[_Member]] = {name: [] for name, _, _ in calls}
    first = 0
    for number, (name, call, site) in enumerate(sorted(calls, key=_order(calls))):
        own = [*call.parameters, *["int site"] * call.may_fail]
        named = [_renamed(parameter, f"a{number}_") for parameter in own]
        parameters += [declared for declared, _ in named]
        arguments += [*call.arguments, *[Number(site)] * call.may_fail]
        given = (f"block - {first}" if first else "block", str(call.blocks), *(x for _, x in named))
        members[name].append(_Member(first, tuple(own), given))
        first += call.blocks
    if any(call.may_fail for _, call, _ in calls) and not guarded:
        parameters.append("int *error")
        arguments.append(FAILED)
    body = tuple(_choice([(x[0].first, _called(name, x)) for name, x in members.items()]))
    together = max(call.together for _, call, _ in calls) or BUNDLE_BLOCKS
    return Call(tuple(parameters), body, tuple(arguments), first, THREADS, together=together)


class _Member(NamedTuple):
    """A call's first block, the parameters of its function, and what it is given for them.

    Before these it is given the number of its own block, and of those that it has.
    """

    first: int
    parameters: tuple[str, ...]
    given: tuple[str, ...]


def _order(calls: Sequence[tuple[str, Call, int]]) -> Callable[[tuple[str, Call, int]], int]:
    """A key that puts calls of a function together, where its first is."""
    places = {name: i for i, (name, _, _) in reversed(list(enumerate(calls)))}
    return lambda call: places[call[0]]


def _called(name: str, members: Sequence[_Member]) -> list[str]:
    """The calls of a function as one: the compiler would write it out as often as it is called."""
    parameters = ["int at", "int of", *members[0].parameters]
    if len(members) == 1:
        return [_call(name, members[0].parameters, members[0].given)]
    local = [_renamed(x.replace("__restrict__ ", ""), "own_") for x in parameters]
    chosen = [
        (m.first, [" ".join(f"{x} = {y};" for (_, x), y in zip(local, m.given, strict=True))])
        for m in members
    ]
    declared = " ".join(f"{x};" for x, _ in local)
    return [declared, *_choice(chosen), _call(name, members[0].parameters, [x for _, x in local])]


def _call(name: str, parameters: Sequence[str], given: Sequence[str]) -> str:
    """A call; what is told of failures, before the place of it, is the same for all."""
    told = ["error"] if "int site" in parameters else []
    last = len(given) - len(told)
    return f"{name}({', '.join([*given[:last], *told, *given[last:]])});"


def _renamed(parameter: str, prefix: str) -> tuple[str, str]:
    """A parameter's declaration under another name, and that name."""
    at = max(parameter.rfind(" "), parameter.rfind("*")) + 1
    name = prefix + parameter[at:]
    return parameter[:at] + name, name


def _choice(members: Sequence[tuple[int, list[str]]]) -> list[str]:
    """The lines of the member whose blocks this one is of, found by bisection.

    Members are given with the first of their blocks.
    """
    if len(members) == 1:
        return members[0][1]
    half = len(members) // 2
    return [
        f"if (block < {members[half][0]}) {{",
        *indent(_choice(members[:half])),
        "} else {",
        *indent(_choice(members[half:])),
        "}",
    ]
