"""What a compiled function became, as one JSON-able dict; pages and other readers show it.

`document(...)` gives, with every key always there:

    format      1
    name        of the graph
    device      that it was compiled for; "" if for none
    dims        {symbolic dim: its number}
    lines       [{where: "mlp.py:14", text: the line's text, "" if the file is not there}]
    graphs      [{title, text, flops, nodes, views}]: "before" the passes and "after" them, or
                "graph" alone. flops: a number, or a formula's text; views: nested boxes of
                "layers", and of "kernels" after the passes, as `staticnet.report.boxes` has them
      nodes     [{name, label, op, type, attributes, role, lines, module, made_by, operands, kernel,
                box, folded, output, updates, graphs}], operands first. label: an input's name, a
                number, else the op; role: one of `roles.ROLES`; lines: numbers in `lines`; module:
                the dotted path of the one that made it, "" if none did; operands: numbers of nodes;
                kernel: which makes it, None if none does; box: the kernel with which it is drawn,
                None if it stands alone; folded: whether it is in no box of a view; updates: the
                variables whose next value it is; graphs: those that a loop or choice holds,
                [{title, nodes, kernels}], with nodes as these,
                kernels as [{number, label, launch, kind, domain, bytes, flops, lines, module}]
                of one step; label: `4.0` of the first kernel in loop 4
    passes      [{name, before, after, seconds, notes}]: nodes before and after, what was done
    totals      {launches, kernels, bytes_moved, flops, allocations, output_allocations,
                host_syncs, peak_bytes}
    kernels     [{number, launch, kind, domain, nodes, statements, reads, writes, in_place, bytes,
                flops, lines, module, apart, source, function, like}] in the order they run. nodes:
                numbers in "after"; reads, writes: [{value, bytes, place}]; in_place: [[value, what
                it is written over]]; apart: [{value, maker, user, reason}]; source: number in
                `sources`, None if there is no code; function: its name there, "" if it has none;
                like: the first kernel that runs this function, `2` or in a loop `4.2`, "" if it is
                this one
    modules     [{module, kernels, bytes, flops}]: the sums of kernels by module; empty if no node
                is a module's
    sources     [text of generated C or CUDA]
    memory      {feeds, state, constants, outputs, arena, peak, blocks, live, fullest}, in bytes.
                blocks: [{value, node, offset, bytes, first, last, over, kernel, lines, module}] of
                the arena, first and last are launches; live: bytes in the arena by launch; fullest:
                the launch with the most, None if the arena is empty
    profile     None, or {device, runs, warm_up, timer, seconds, copy_rates, product_rates, parts,
                modules}. parts: [{name, kind, launch, node, kernels, module, start, seconds, share,
                bytes, flops, bytes_per_second, flops_per_second, share_of_copy,
                share_of_products, inside, parts}] in order; launch and node are None if the part is
                none; parts: as these, without launch, node and start, of what was timed in a loop,
                over all its steps; inside: `4.` before the numbers of kernels in loop 4; modules:
                [{module, seconds, share, bytes, flops}], the sums of parts by module

Of a graph that was not compiled, kernels, sources and passes are empty, and totals and memory None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

from staticnet.backends.base import Source
from staticnet.backends.profile import PartTime, Profile
from staticnet.ir.graph import Graph
from staticnet.ir.location import common_module
from staticnet.ir.node import Node, modules_of
from staticnet.ir.printer import value_names
from staticnet.passes.manager import Record
from staticnet.plan.analysis import analyse_memory
from staticnet.plan.by_module import ByModule
from staticnet.plan.explain import KernelAccount, explain
from staticnet.plan.fusion import Group
from staticnet.plan.memory import Lifetime
from staticnet.plan.plan import Plan
from staticnet.report.graphs import Lines, graph_entry

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
    lines = Lines()
    made_by = {node: i for group, i in plan.numbers.items() for node in group.nodes}
    before = graph_entry("before", declared, lines)
    explanation = explain(plan, {} if source is None else source.functions)
    after = graph_entry("after", plan.graph, lines, explanation.kernels)
    sources = _Sources(source)
    numbers = {node: i for i, node in enumerate(plan.graph.nodes)}
    kernels = [
        _kernel(account, numbers, lines, sources.number(group))
        for account, group in zip(explanation.kernels, plan.numbers, strict=True)
    ]
    memory = _Memory(plan, made_by, lines).described()
    return {
        "format": FORMAT,
        "name": plan.graph.name,
        "device": device,
        "dims": dict(dims or {}),
        "lines": lines.told(),
        "graphs": [before, after],
        "passes": [_pass(record) for record in records],
        "totals": {
            "launches": plan.launches,
            "kernels": len(kernels),
            "bytes_moved": plan.bytes_moved,
            "flops": explanation.flops,
            "allocations": plan.allocations,
            "output_allocations": plan.output_allocations,
            "host_syncs": plan.host_syncs,
            "peak_bytes": memory["peak"],
        },
        "kernels": kernels,
        "modules": _modules(explanation.by_module()),
        "sources": list(sources.numbers),
        "memory": memory,
        "profile": None if profile is None else _profile(profile, plan),
    }


def graph_document(graph: Graph) -> Document:
    """The document of a graph that was read or declared, and not compiled."""
    lines = Lines()
    described = graph_entry("graph", graph, lines)
    return {
        "format": FORMAT,
        "name": graph.name,
        "device": "",
        "dims": {},
        "lines": lines.told(),
        "graphs": [described],
        "passes": [],
        "totals": None,
        "kernels": [],
        "modules": [],
        "sources": [],
        "memory": None,
        "profile": None,
    }


class _Sources:
    """Numbers the texts of kernels; equal kernels share one."""

    def __init__(self, source: Source | None) -> None:
        self._texts = {} if source is None else source.texts
        self.numbers: dict[str, int] = {}

    def number(self, group: Group) -> int | None:
        text = self._texts.get(group)
        return None if not text else self.numbers.setdefault(text, len(self.numbers))


def _pass(record: Record) -> dict[str, Any]:
    return {
        "name": record.name,
        "before": record.before,
        "after": record.after,
        "seconds": record.seconds,
        "notes": dict(record.notes),
    }


def _kernel(
    account: KernelAccount, numbers: Mapping[Node, int], lines: Lines, source: int | None
) -> dict[str, Any]:
    return {
        "number": account.number,
        "launch": account.launch,
        "kind": account.kind,
        "domain": list(account.domain),
        "nodes": [numbers[node] for node in account.nodes],
        "statements": list(account.statements),
        "reads": [asdict(access) for access in account.reads],
        "writes": [asdict(access) for access in account.writes],
        "in_place": [list(pair) for pair in account.in_place],
        "bytes": account.bytes,
        "flops": account.flops,
        "lines": lines.of(account.nodes),
        "module": common_module(account.modules),
        "apart": [asdict(apart) for apart in account.reasons],
        "source": source,
        "function": account.function,
        "like": account.like,
    }


class _Memory:
    """The arena of a plan, block by block and launch by launch."""

    def __init__(self, plan: Plan, made_by: Mapping[Node, int], lines: Lines) -> None:
        self.plan = plan
        self.made_by = made_by
        self.lines = lines
        self.names = {node: f"%{name}" for node, name in value_names(plan.graph).items()}
        self.numbers = {node: i for i, node in enumerate(plan.graph.nodes)}

    def described(self) -> dict[str, Any]:
        analysis = analyse_memory(self.plan)
        live = self._live()
        blocks = [*self._values(), *self._saved(), *self._scratch()]
        return {
            "feeds": analysis.feeds,
            "state": analysis.state,
            "constants": analysis.constants,
            "outputs": analysis.outputs,
            "arena": analysis.arena,
            "peak": analysis.peak,
            "blocks": sorted(blocks, key=lambda block: (block["first"], block["offset"])),
            "live": live,
            "fullest": live.index(max(live)) if any(live) else None,
        }

    def _values(self) -> Iterable[dict[str, Any]]:
        over = {node: self.names[old] for node, old in self.plan.over.items()}
        for node, block in self.plan.blocks.items():
            yield self._block(self.names[node], node, block, over.get(node))

    def _saved(self) -> Iterable[dict[str, Any]]:
        for node, block in self.plan.saved.items():
            yield self._block(f"{self.names[node]} as it was before", node, block, None)

    def _block(self, value: str, node: Node, block: Lifetime, over: str | None) -> dict[str, Any]:
        last = max(0, len(self.plan.steps) - 1)
        return {
            "value": value,
            "node": self.numbers[node],
            "offset": block.offset,
            "bytes": block.size,
            "first": block.first,
            "last": min(block.last, last),
            "over": over,
            "kernel": self.made_by.get(node),
            "lines": self.lines.of([node]),
            "module": common_module(modules_of([node])),
        }

    def _scratch(self) -> Iterable[dict[str, Any]]:
        """Partial results, which lie above all values, one kernel's after the other's."""
        numbers = self.plan.numbers
        for step, launch in enumerate(self.plan.steps):
            offset = self.plan.scratch
            for group in launch.groups:
                size = self.plan.workspaces.of(group)
                if size:
                    yield {
                        "value": "partial results",
                        "node": None,
                        "offset": offset,
                        "bytes": size,
                        "first": step,
                        "last": step,
                        "over": None,
                        "kernel": numbers[group],
                        "lines": self.lines.of(group.nodes),
                        "module": common_module(modules_of(group.nodes)),
                    }
                offset += size

    def _live(self) -> list[int]:
        """Bytes in the arena at each launch; a value that is written over in it counts no more."""
        plan = self.plan
        change = [0] * (len(plan.steps) + 2)
        ends = {old: plan.blocks[new].first for new, old in plan.over.items()}
        for node, block in [*plan.blocks.items(), *plan.saved.items()]:
            change[block.first] += block.size
            change[ends.get(node, block.last + 1)] -= block.size
        live = list(accumulate(change))[: len(plan.steps)]
        scratch = plan.workspaces.of
        return [n + sum(map(scratch, s.groups)) for n, s in zip(live, plan.steps, strict=True)]


def _profile(profile: Profile, plan: Plan) -> dict[str, Any]:
    launches = {f"launch {i}": i for i in range(plan.launches)}
    names = value_names(plan.graph)
    nodes = {f"%{names[node]}": i for i, node in enumerate(plan.graph.nodes)}
    starts = accumulate((timed.seconds for timed in profile.parts), initial=0.0)
    return {
        "device": profile.device,
        "runs": profile.runs,
        "warm_up": profile.warm_up,
        "timer": profile.timer,
        "seconds": profile.seconds,
        "copy_rates": [list(pair) for pair in profile.rates.copies],
        "product_rates": dict(profile.rates.products),
        "parts": [
            {
                **_part(timed),
                "launch": launches.get(timed.part.name),
                "node": nodes.get(timed.part.name),
                "start": start,
            }
            for timed, start in zip(profile.parts, starts, strict=False)
        ],
        "modules": _modules(profile.by_module()),
    }


def _part(timed: PartTime) -> dict[str, Any]:
    return {
        "name": timed.part.name,
        "kind": timed.part.kind,
        "inside": timed.part.inside,
        "kernels": list(timed.part.kernels),
        "module": common_module(timed.part.modules),
        "seconds": timed.seconds,
        "share": timed.share,
        "bytes": timed.part.bytes,
        "flops": timed.part.flops,
        "bytes_per_second": timed.bytes_per_second,
        "flops_per_second": timed.flops_per_second,
        "share_of_copy": timed.share_of_copy,
        "share_of_products": timed.share_of_products,
        "parts": list(map(_part, timed.inside)),
    }


def _modules(sums: ByModule[Any]) -> list[dict[str, Any]]:
    """The rows of a table by module, if any of it is a module's."""
    if not sums.is_told:
        return []
    return [{"module": path, **row._asdict()} for path, row in sums.items()]
