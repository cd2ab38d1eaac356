"""The steps of a plan as C statements: calls of kernels, routines, and the copies around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from staticnet.codegen import c
from staticnet.codegen.accesses import Accesses, merged
from staticnet.codegen.build import Builder
from staticnet.codegen.control import control_statements
from staticnet.codegen.kernel import Kernel
from staticnet.codegen.products import (
    copied_together,
    held_product,
    held_weight_product,
    matmul_routine,
    product_cuts,
    product_way,
    right_of,
)
from staticnet.codegen.regions import (
    ANYTHING,
    BARRIER,
    PARALLEL_WORK,
    Launch,
    Way,
    indent,
    regions,
    team_lines,
)
from staticnet.codegen.routines import needs, routine, routine_way
from staticnet.codegen.scope import c_type
from staticnet.codegen.sites import site_of
from staticnet.control.scan import Scan
from staticnet.ir.location import in_module
from staticnet.ir.node import Node, modules_of
from staticnet.ops.library import MatmulAdd
from staticnet.ops.linalg import Matmul
from staticnet.plan.fusion import Group
from staticnet.plan.held import Held, held_operands
from staticnet.plan.memory import padded
from staticnet.plan.partials import partial_bytes
from staticnet.plan.plan import Place, Plan
from staticnet.plan.results import Body, bodies_of, body_bytes, results_of, room_bytes, room_offset
from staticnet.plan.schedule import Step
from staticnet.plan.text import space
from staticnet.plan.weights import held_weights

LARGE_COPY = 1 << 18  # bytes from which threads share a copy, or that of a batch's rows
SMALL = 16  # points of a kernel that a loop's body takes in: a call would take longer
SMALL_ARENA = 512  # bytes of a body's arena that are local, so that small values are in registers
TIMED_BYTES = 1 << 10  # a kernel of a held graph moves, below which a clock would time itself
STREAM_BYTES = 32 << 20  # of a kernel's buffers, beyond which results do not stay in the caches


class Function(NamedTuple):
    """The C function of a held graph: its name, whether a team calls it, or it gathers teams."""

    name: str
    team: bool
    has_threads: bool


@dataclass
class Parts:
    """What the plans of a program share.

    `functions` are the names of functions by their texts, `called` those of kernels, `told` what
    runs each; `texts` is what computes a kernel or routine. `sites` are the nodes that may fail and
    `host_calls` those whose ops are Python's, each by the number that it is told by. If `marked`,
    the program reads the clock; `laps` are the first kernels of the launches in held graphs whose
    times it sums.
    """

    marked: bool = False
    laps: list[str] = field(default_factory=list)
    functions: dict[str, str] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    called: dict[Group, str] = field(default_factory=dict)
    texts: dict[Group, str] = field(default_factory=dict)
    helpers: dict[str, None] = field(default_factory=dict)
    sites: list[Node] = field(default_factory=list)
    host_calls: list[Node] = field(default_factory=list)

    def kernel(self, group: Group, text: str, label: str) -> str:
        """The name of a kernel's function, which is `NAME` in its text; equal ones are one."""
        name = self.functions.setdefault(text, f"k{label.replace('.', '_')}")
        self.called[group] = name
        self.texts[group] = text.replace("NAME", name, 1)
        self.told.setdefault(name, [space(group)]).append(label)
        return name

    def lap(self, label: str) -> int:
        """The number of the sum of what the launch of this kernel takes."""
        self.laps.append(label)
        return len(self.laps) - 1

    def body(self, body: Body, label: str, held: Mapping[Held, int], shares: bool) -> Function:
        """The function of a graph that the routine of a label runs, by a team if it `shares`."""
        plan = body.plan

        def spell(place: Place) -> str:
            return f"{_PREFIX[place.kind]}{place.at}"

        writer = StepWriter(plan, self, spell, Inside(body.inside, body.first, held))
        writer.write()
        team = shares and writer.is_for_a_team
        names = [f"void *{spell(place)}" for place in _places(plan)]
        first = ["int64_t share", "int64_t shares"] if team else []
        taken = ", ".join([*first, *names, "char *arena", "volatile int *error"])
        room = [f"char room[{plan.arena_bytes}] SN_ALIGNED;", "arena = room;"]
        local = room if 0 < plan.arena_bytes <= SMALL_ARENA and not team else []
        beyond = f"const char *const held = arena + {padded(plan.arena_bytes)};"
        start = ["SN_START;"] if writer.marked else []
        local = [*([beyond] if held else []), *local, *start]
        lines = team_lines(writer.launches, again=True) if team else regions(writer.launches)
        text = "\n".join([f"static void NAME({taken}) {{", *indent([*local, *lines]), "}"])
        name = self.functions.setdefault(text, f"{body.name}{label.replace('.', '_')}")
        self.told.setdefault(name, [body.name]).append(label)
        return Function(name, team, writer.has_threads)

    def definitions(self) -> Iterator[tuple[str, str]]:
        """The functions, each with a line that says what it runs: `kernels 4, 6: map [16,20]`."""
        for text, name in self.functions.items():
            what, *labels = self.told[name]
            many = "s" * (len(labels) > 1)
            yield f"kernel{many} {', '.join(labels)}: {what}", text.replace("NAME", name, 1)


_PREFIX = {"feed": "f", "output": "o", "constant": "k", "host": "h"}


def _places(plan: Plan) -> list[Place]:
    """What the function of a graph takes the addresses of."""
    of = {"feed": plan.graph.inputs, "output": plan.outputs, "constant": plan.constants}
    found = [Place(kind, i) for kind, nodes in of.items() for i in range(len(nodes))]
    return [*found, *([HOST] if plan.calls_host else [])]


def _lasts(plan: Plan) -> bool:
    """Whether the launches of a held graph take long enough to be timed each."""
    groups = [group for _, group in plan.launched]
    moved = sum(plan.traffic(group).bytes for group in groups)
    return any(not group.fused for group in groups) or moved > TIMED_BYTES * len(groups)


HOST = Place("host", 0)  # the function that calls Python
WEIGHTS = Place("weights", 0)  # the memory of packed weights that stay


@dataclass(frozen=True)
class Inside:
    """Where a held graph's kernels are: `label` is before their numbers, which begin at `first`.

    `held` are the operands whose panels are packed, and where behind its arena.
    """

    label: str = ""
    first: int = 0
    held: Mapping[Held, int] = field(default_factory=dict)


class StepWriter:
    """Writes the steps of one plan as `launches`.

    `spell` gives the address of a place outside the arena, a `void *`. The statements use
    the names `arena`, and `error`, where a failure is noted.
    """

    def __init__(
        self, plan: Plan, parts: Parts, spell: Callable[[Place], str], inside: Inside | None = None
    ) -> None:
        self.plan = plan
        self.parts = parts
        self.numbers = plan.numbers
        self.held = held_weights(plan.graph)
        self.spell = spell
        self.inside = inside
        self.marked = parts.marked and (inside is None or _lasts(plan))
        self.accesses = Accesses(plan)
        self.launches: list[Launch] = []
        self._right: tuple[object, ...] = ()  # what the last product is by, before which launch

    @property
    def is_for_a_team(self) -> bool:
        """Whether one team can run it from its first launch to its last, and is worth it."""
        apart = any(launch.way is Way.APART for launch in self.launches)
        return not apart and any(launch.together for launch in self.launches)

    @property
    def has_threads(self) -> bool:
        """Whether it may gather threads, or has those wait that run it."""
        return any(x.way is Way.APART or x.together or x.meet for x in self.launches)

    def write(self) -> None:
        """Write all of it: copies before, steps, copies after."""
        if self.held:
            self._apart(f"char *const weights = (char *){self.spell(WEIGHTS)};")
        self._copy_before()
        for i, step in enumerate(self.plan.steps):
            if i == self.plan.guard:
                self._leave()
            if step.fused:
                self._kernels(step)
            else:
                self._routine(step.groups[0])
            self._mark(i + 2)
        if self.plan.last_copies:
            self._leave()
        for node, place in self.plan.last_copies:
            if node in self.plan.saved:
                self._copy(node, place, Place("arena", self.plan.saved[node].offset))
            else:
                self._copy(node, place)
        if self.held:
            self._apart("*(int64_t *)weights = 0;")
        self._mark(len(self.plan.steps) + 2)

    def _apart(self, *lines: str) -> None:
        self.launches.append(Launch(list(lines)))

    def _copy_before(self) -> None:
        self._mark(0)
        for node, output in self.plan.first_copies:
            self._copy(node, Place("output", output))
        for node, block in self.plan.saved.items():
            self._copy(node, Place("arena", block.offset))
        self._mark(1)

    def _leave(self) -> None:
        """Before state is written, a failure ends the step."""
        if self.inside is None:
            self._apart("if (failed) return failed;")

    def _mark(self, number: int) -> None:
        """The time now, of a step; of a held graph, what each launch takes is summed."""
        if not self.marked:
            return
        launch = number - 2
        if self.inside is None:
            self._apart(f"SN_MARK({number});")
        elif 0 <= launch < len(self.plan.steps):
            label = self._label(self.plan.steps[launch].groups[0])
            lap = [f"SN_LAP({self.parts.lap(label)});"]
            self.launches.append(Launch(lap, Way.FIRST, waits=True))

    def pointer(self, node: Node) -> str:
        """The address of a node's memory, typed."""
        holder = self.plan.holder(node)
        if holder is None:
            return self._room(node)
        return f"(({c_type(node.dtype)} *){self._address(self.plan.places[holder])})"

    def _address(self, place: Place) -> str:
        return f"(arena + {place.at})" if place.kind == "arena" else self.spell(place)

    def _room(self, item: Node) -> str:
        """The scratch memory of a result that nobody reads."""
        at = self.plan.scratch + room_offset(self.plan, item)
        return f"(({c_type(item.dtype)} *)(arena + {at}))"

    def _copy(self, node: Node, target: Place, source: Place | None = None) -> None:
        """A value is copied from where it lies, or from `source`."""
        given = self._address(source) if source else self.pointer(node)
        to = self._address(target)
        reads, writes = self.accesses.copy(node, target, source)
        together = int(node.type.nbytes) >= LARGE_COPY
        lines = [copied_together(to, given, node)]
        alone = [f"memcpy({to}, {given}, {node.type.nbytes});"]
        self.launches.append(Launch(lines, Way.SHARED, together, reads, writes, alone))

    def _routine(self, group: Group) -> None:
        node = group.nodes[0]
        self.parts.helpers |= dict.fromkeys(needs(node))
        lines, way, together = self._statements(group)
        self.parts.texts[group] = "\n".join(lines)
        if any("site" in line for line in lines):
            lines = [f"const int site = {self._site(group)};", *lines]
        told = f"kernel {self._label(group)}, {node.op.name} {node.type}: {node.provenance}"
        lines = [f"{{ // {told}", *indent(lines), "}"]
        held = any("sn_call_held" in line for line in lines)
        shared = way is Way.SHARED and isinstance(node.op, Matmul | MatmulAdd)
        cuts = product_cuts(node, held) if shared else ()
        found = self.accesses.routine(group, *cuts)
        reads, writes = found or ([ANYTHING], [ANYTHING])
        alone = lines
        if way is Way.SHARED:
            alone = [lines[0], "  SN_ALONE", *(line for line in lines[1:] if line != BARRIER)]
        meet = held or BARRIER in lines
        self.launches.append(Launch(lines, way, together, reads, writes, alone, meet=meet))

    def _label(self, group: Group) -> str:
        """What a kernel is called in the program: its number, below that of the loop it is in."""
        inside = self.inside or Inside()
        return f"{inside.label}{inside.first + self.numbers[group]}"

    def _statements(self, group: Group) -> tuple[list[str], Way, bool]:
        """The statements of a routine, how threads make it, and whether they are worth it."""
        node = group.nodes[0]
        if node.op.on_host:
            return self._host_call(node), Way.APART, False
        if group.bodies:
            return self._control(group)
        held = f"weights + {self.held[node]}" if node in self.held else ""
        if lines := self._held_product(node, held):
            return lines, *product_way(node)
        scratch = f"arena + {self.plan.scratch + room_bytes(group)}"
        in_memory = self.plan.places.__contains__
        if isinstance(node.op, Matmul | MatmulAdd):
            same = self._is_same_right(node)
            return matmul_routine(node, self.pointer, in_memory, same), *product_way(node)
        return routine(node, self.pointer, in_memory, scratch, held), *routine_way(node)

    def _is_same_right(self, node: Node) -> bool:
        """Whether the launch before is a product, as large, by the same right operand."""
        right = right_of(node, self.pointer, self.plan.places.__contains__)
        same = right is not None and self._right == (len(self.launches), right)
        self._right = (len(self.launches) + 1, right)
        return same

    def _control(self, group: Group) -> tuple[list[str], Way, bool]:
        """A loop or a choice; a loop is for a team if its graph is."""
        functions = self._write_bodies(group)
        team = any(function.team for function in functions.values())

        def call(name: str, inputs: Sequence[str], outputs: Sequence[str]) -> str:
            body = group.bodies[name]
            share = ["share", "shares"] if team else []
            constants = [self.pointer(node) for node in body.constants]
            host = [self.spell(HOST)] if body.calls_host else []
            arena = f"arena + {self.plan.scratch + room_bytes(group)}"
            arguments = [*share, *inputs, *outputs, *constants, *host, arena, "error"]
            return f"{functions[name].name}({', '.join(arguments)});"

        room = self.plan.scratch + room_bytes(group) + body_bytes(group)
        lines = control_statements(group.nodes[0], self.pointer, call, f"arena + {room}", team)
        if team:
            return lines, Way.SHARED, True
        threads = any(function.has_threads for function in functions.values())
        return lines, Way.APART if threads else Way.FIRST, False

    def _held_product(self, node: Node, held: str) -> list[str]:
        """The statements of a product with what is packed before; none if it is not."""
        in_memory = self.plan.places.__contains__
        if not isinstance(node.op, Matmul | MatmulAdd):
            return []
        if held:
            return held_weight_product(node, self.pointer, in_memory, held)
        if self.inside is None or not self.inside.held:
            return []
        places = {x: i for i, x in enumerate(self.plan.graph.inputs)}
        return held_product(node, self.pointer, in_memory, places, self.inside.held)

    def _write_bodies(self, group: Group) -> dict[str, Function]:
        """Write the functions of the graphs that a routine holds; -> them by attribute"""
        op, label = group.nodes[0].op, self._label(group)
        held, shares = held_operands(op), isinstance(op, Scan)
        return {
            body.name: self.parts.body(body, label, held, shares)
            for body in bodies_of(group, label)
        }

    def _host_call(self, node: Node) -> list[str]:
        """A call of Python; nothing is updated if it fails, or something before it did."""
        pointers = ", ".join(
            f"(void *){self.pointer(x)}" for x in (*node.inputs, *results_of(node))
        )
        self.parts.host_calls.append(node)
        function = f"((int (*)(int64_t, void **)){self.spell(HOST)})"
        call = f"{function}({len(self.parts.host_calls) - 1}, at)"
        at = f"void *at[] = {{{pointers}}};"
        if self.inside is None:
            return ["if (failed) return failed;", at, f"if ({call}) return site;"]
        return [at, f"if (!*error && {call}) *error = site;"]

    def _site(self, group: Group) -> int:
        """What tells a failure in a group: the number of its failing node, from 1; 0 if none."""
        return site_of(group, self.parts.sites)

    def _kernels(self, step: Step) -> None:
        """The calls of a step's kernels; threads share each kernel's outer space."""
        calls, work, shared, scratch = [], 0, False, self.plan.scratch
        accesses, meet = [], False
        for group in step.groups:
            builder = Builder(group, self.plan.stored)
            kernel = builder.build()
            if kernel.empty:
                continue
            pointers = [self.pointer(node) for node in builder.buffers]
            accesses.append(self.accesses.kernel(group, kernel, builder.buffers))
            kernel = replace(kernel, streams=self._streams(kernel, builder.buffers, pointers))
            body = c.function(kernel, "NAME", self.inside is not None and kernel.size <= SMALL)
            name = self.parts.kernel(group, body, self._label(group))
            if kernel.blocks:
                pointers.append(f"arena + {scratch}")
                scratch += partial_bytes(group)
            calls.append(self._call(group, name, pointers))
            work += kernel.work
            shared |= kernel.shared
            meet |= kernel.blocks > 0
        if not calls:
            return
        together = work >= PARALLEL_WORK and shared
        self.launches.append(Launch(calls, Way.SHARED, together, *merged(accesses), meet=meet))

    def _streams(self, kernel: Kernel, buffers: list[Node], pointers: list[str]) -> frozenset[str]:
        """The results of a large kernel that it does not read: they go around the caches."""
        if kernel.tiled or sum(int(node.type.nbytes) for node in buffers) < STREAM_BYTES:
            return frozenset()
        read = {at for p, at in zip(kernel.parameters, pointers, strict=True) if not p.written}
        return frozenset(
            p.name
            for p, at in zip(kernel.parameters, pointers, strict=True)
            if p.written and at not in read
        )

    def _call(self, group: Group, name: str, pointers: list[str]) -> str:
        lines = list(dict.fromkeys(node.provenance.origin for node in group.nodes))
        where = "; ".join(lines[:3]) + in_module(modules_of(group.nodes))
        note = f" // kernel {self._label(group)}, {space(group)}: {where}"
        return f"{name}(share, shares, {', '.join(pointers)}, error, {self._site(group)});{note}"
