"""What a compiled function became, as one JSON-able dict; pages and other readers show it.

`document(...)` gives, with every key always there:

    format      1
    name        of the graph
    device      that it was compiled for; "" if for none
    dims        {symbolic dim: its number}
    lines       [{where: "mlp.py:14", text: the line's text, "" if the file is not there}]
    graphs      [{title, text, nodes, updates}]: "before" the passes and "after" them, or "graph" alone
      nodes     [{name, op, type, attributes, role, lines, made_by, operands, kernel, box, output,
                updates}], operands first. role: one of `roles.ROLES`; lines: numbers in `lines`;
                operands: numbers of nodes; kernel: which makes it, None if none does; box: the kernel
                with which it is drawn; updates: the names of the variables whose next value it is
    passes      [{name, before, after, seconds, notes}]: nodes before and after, what was done
    totals      {launches, kernels, bytes_moved, flops, allocations, output_allocations, host_syncs,
                peak_bytes}
    kernels     [{number, launch, kind, domain, nodes, statements, reads, writes, in_place, bytes,
                flops, lines, apart, source}] in the order they run. nodes: numbers in "after";
                reads, writes: [{value, bytes, place}]; in_place: [[value, what it is written over]];
                apart: [{value, maker, user, reason}]; source: number in `sources`, None if no code
    sources     [text of generated C or CUDA]
    memory      {feeds, state, constants, outputs, arena, peak, blocks, live, fullest}, in bytes.
                blocks: [{value, node, offset, bytes, first, last, over, kernel, lines}] of the
                arena, first and last are launches; live: bytes in the arena by launch; fullest: the
                launch with the most, None if there is no launch
    profile     None, or {device, runs, warm_up, timer, seconds, copy_rates, product_rates, parts}.
                parts: [{name, kind, launch, node, start, seconds, share, bytes, flops,
                bytes_per_second, flops_per_second, share_of_copy, share_of_products}] in order;
                launch and node are None if the part is none

Of a graph that was not compiled, kernels, sources and passes are empty, and totals and memory None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from staticnet.backends.base import Source
from staticnet.backends.profile import Profile
from staticnet.ir.graph import Graph
from staticnet.passes.manager import Record
from staticnet.plan.plan import Plan

FORMAT = 1
Document = dict[str, Any]


def document(
    declared: Graph,
    plan: Plan,
    *,
    device: str = "",
    dims: Mapping[str, int] | None = None,
    records: Sequence[Record] = (),
    source: Source | None = None,
    profile: Profile | None = None,
) -> Document:
    """The document of one specialisation: `plan` is that of `declared` after the passes.

    `Function.document(*feeds, **dims)` gives it for a function.
    """
    raise NotImplementedError


def graph_document(graph: Graph) -> Document:
    """The document of a graph that was read or declared, and not compiled."""
    raise NotImplementedError
