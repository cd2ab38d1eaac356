"""Calls of `kernels/moments.cuh`: a block a channel."""

from __future__ import annotations

from staticnet.codegen.commands import Argument, Number
from staticnet.codegen.cuda.call import Call, Locate
from staticnet.codegen.cuda.part import MAX_BLOCKS, THREADS
from staticnet.codegen.moments import sizes
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import short_name
from staticnet.ir.node import Node
from staticnet.plan.memory import padded
from staticnet.plan.results import results_of


def moments_routine(node: Node, locate: Locate) -> Call:
    """The call that computes two numbers a channel."""
    results, numbers = results_of(node), sizes(node)
    places = [locate(x) for x in (*node.inputs, *results)]
    parameters = [f"const {c_type(x.dtype)} *x{i}" for i, x in enumerate(node.inputs)]
    parameters += [f"{c_type(y.dtype)} *y{i}" for i, y in enumerate(results)]
    names = [parameter.rpartition("*")[2] for parameter in parameters]
    sized = ("before", "channels", "after")
    arguments: list[Argument] = [*places, *(Number(n, 8) for n in numbers)]
    call = f"sn_{node.op.name}<sn_of_{short_name(node.inputs[0].dtype)}, {THREADS}>"
    return Call(
        (*parameters, *(f"int64_t {name}" for name in sized)),
        (f"{call}({', '.join([*names, *sized])});",),
        tuple(arguments),
        max(1, min(MAX_BLOCKS, numbers[1])),
        THREADS,
        scratch_bytes=sum(int(padded(y.type.nbytes)) for y in results if _is_unread(y, locate)),
    )


def _is_unread(y: Node, locate: Locate) -> bool:
    return locate(y).kind == "scratch"
