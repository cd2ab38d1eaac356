"""Calls of `kernels/pooling.cuh`: a thread a result."""

from __future__ import annotations

from staticnet.codegen.commands import Argument
from staticnet.codegen.cuda.call import Call, Locate
from staticnet.codegen.cuda.part import MAX_BLOCKS, THREADS, ceil_div
from staticnet.codegen.pooling import geometry
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import short_name
from staticnet.ir.node import Node
from staticnet.plan.memory import padded
from staticnet.plan.results import results_of


def pooling_routine(node: Node, locate: Locate) -> Call:
    """The call that computes a node over windows."""
    results = results_of(node)
    parameters = [f"const {c_type(x.dtype)} *x{i}" for i, x in enumerate(node.inputs)]
    parameters += [f"{c_type(y.dtype)} *y{i}" for i, y in enumerate(results)]
    places = [locate(x) for x in (*node.inputs, *results)]
    arguments: list[Argument] = [*places]
    names = [parameter.rpartition("*")[2] for parameter in parameters]
    text, planes, _ = geometry(node)
    unread = (y for y in results if locate(y).kind == "scratch")
    return Call(
        tuple(parameters),
        (
            f"constexpr sn_windows windows = {text};",
            f"sn_{node.op.name}<sn_of_{short_name(node.inputs[0].dtype)}>"
            f"(windows, {planes}, {', '.join(names)});",
        ),
        tuple(arguments),
        max(1, min(MAX_BLOCKS, ceil_div(int(results[0].type.size), THREADS))),
        THREADS,
        scratch_bytes=sum(int(padded(y.type.nbytes)) for y in unread),
    )
