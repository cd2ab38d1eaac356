"""The steps of a plan as commands of a GPU: launches of kernels, products, copies.

Kernels of a plan's step run one after the other, but its maps as one launch, each with a range of
the blocks, and so do its sums of columns: one launch sums, another combines what blocks left. Once
a node has failed, what comes after the plan's guard writes nothing: kernels look first, and copies
and products into state go through kernels that do. So do those of a choice, which look whether
their side was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from staticnet.codegen.build import Builder
from staticnet.codegen.commands import (
    FAILED,
    Address,
    Argument,
    Command,
    Copy,
    HostCall,
    Launch,
    LibraryCall,
    Number,
)
from staticnet.codegen.cuda import columns, rows
from staticnet.codegen.cuda.bundles import MAX_SHARED_BYTES, shared_arrays, side_by_side
from staticnet.codegen.cuda.call import Call, Function, device_function
from staticnet.codegen.cuda.control import write_control
from staticnet.codegen.cuda.convolution import core_of, finish_routine, may_be_apart
from staticnet.codegen.cuda.cudnn import describe_call
from staticnet.codegen.cuda.maps import map_parts
from staticnet.codegen.cuda.parts import MAX_ARGUMENT_BYTES, Parts
from staticnet.codegen.cuda.products import by_library, describe_product, elements
from staticnet.codegen.cuda.routines import copy, headers_of, product, routine, starts_from
from staticnet.codegen.cuda.signatures import call_of, writer_of
from staticnet.codegen.cuda.single import told_where
from staticnet.codegen.sites import site_of
from staticnet.ir.node import Node
from staticnet.ops.selection import Cast
from staticnet.plan.fusion import Group
from staticnet.plan.memory import padded
from staticnet.plan.plan import Place, Plan
from staticnet.plan.results import results_of, room_offset
from staticnet.plan.roles import Role, role
from staticnet.plan.schedule import Step


@dataclass(frozen=True)
class Frame:
    """Where a plan's commands stand: in the step itself, or in a graph that an op of it holds.

    `locate` gives the address of a place. Kernels are called `label` and their number, from `first`
    on. `step` is that of the outermost plan, `guarded` whether its guard is passed. The commands
    count only where each bool of `chosen` has its value.
    """

    locate: Callable[[Place], Address]
    label: str = ""
    first: int = 0
    step: int | None = None
    guarded: bool = False
    chosen: tuple[tuple[Address, bool], ...] = ()


class _Beside(NamedTuple):
    """What runs beside others: its kernel, what is called for it, and its failures' site."""

    group: Group
    call: Call
    site: int


class StepWriter:
    """Writes the commands of one plan to `commands`; `most_scratch` bytes lie above its arena."""

    def __init__(self, plan: Plan, parts: Parts, frame: Frame) -> None:
        self.plan = plan
        self.parts = parts
        self.frame = frame
        self.commands: list[Command] = []
        self.numbers = plan.numbers
        self.most_scratch = 0
        groups = [group for step in plan.steps for group in step.groups]
        self.may_fail = any(n.op.may_fail for g in groups for n in (*g.nodes, *g.again))
        self._at = -1
        self._scratch = 0

    def write(self) -> None:
        """Write all of it: copies before, steps, copies after."""
        self._copies_before()
        for number, step in enumerate(self.plan.steps):
            self._at, self._scratch = number, 0
            if step.fused:
                self._kernels(step)
            else:
                self._routine(step.groups[0])
        self._at = len(self.plan.steps)
        self._copies_after()

    # places

    @property
    def step(self) -> int:
        """The step of the outermost plan that is being written."""
        return self._at if self.frame.step is None else self.frame.step

    @property
    def guarded(self) -> bool:
        """Whether what is written now does nothing once a node has failed."""
        return self.frame.guarded or (
            self.frame.step is None and self.may_fail and self._at >= self.plan.guard
        )

    def address(self, node: Node) -> Address:
        """Where a node's elements lie: its own memory, or that of what it shows."""
        holder = self.plan.holder(node)
        return self._room(node) if holder is None else self._locate(self.plan.places[holder])

    def _locate(self, place: Place) -> Address:
        return self.frame.locate(place)

    def _room(self, item: Node) -> Address:
        """The scratch memory of a result that nobody reads."""
        return self._arena(self.plan.scratch + room_offset(self.plan, item))

    def _in_routine(self, node: Node) -> Address:
        """As `address`, but a result that nobody reads is part of the routine's own scratch."""
        if self.plan.holder(node) is None:
            return Address("scratch", 0, room_offset(self.plan, node))
        return self.address(node)

    def _arena(self, offset: int) -> Address:
        return self._locate(Place("arena", offset))

    def reserve(self, nbytes: int) -> Address:
        """Scratch memory of this step."""
        address = self._arena(self.plan.scratch + self._scratch)
        self._scratch += int(padded(nbytes))
        self.most_scratch = max(self.most_scratch, self._scratch)
        return address

    def label(self, group: Group) -> str:
        """What a kernel is called: its number, below that of the loop it is in."""
        return f"{self.frame.label}{self.frame.first + self.numbers[group]}"

    def inside(self, plan: Plan, frame: Frame) -> StepWriter:
        """The commands of a graph that an op of this step holds, in scratch memory of the step."""
        writer = StepWriter(plan, self.parts, frame)
        writer.write()
        used = plan.scratch + writer.most_scratch
        self.most_scratch = max(self.most_scratch, self._scratch + int(padded(used)))
        return writer

    # copies

    def _copies_before(self) -> None:
        for node, output in self.plan.first_copies:
            self.copy(self.address(node), self._locate(Place("output", output)), node)
        for node, saved in self.plan.saved.items():
            self.copy(self.address(node), self._arena(saved.offset), node)

    def _copies_after(self) -> None:
        for node, place in self.plan.last_copies:
            saved = self.plan.saved.get(node)
            source = self._arena(saved.offset) if saved else self.address(node)
            self.copy(source, self._locate(place), node)

    def copy(self, source: Address, target: Address, node: Node) -> None:
        """Copy a node's bytes, where they are not there already."""
        nbytes = int(node.type.nbytes)
        if nbytes == 0 or source == target:
            return
        if self.guarded or self.frame.chosen:
            self._launch(copy(source, target, nbytes), "k_copy")
        else:
            self.commands.append(Copy(source, target, nbytes, self.step))

    # routines

    def _routine(self, group: Group) -> None:
        if group.bodies:
            write_control(self, group)
            return
        node = group.nodes[0]
        if role(node) is Role.LIBRARY:
            self._product(group)
            return
        if node.op.on_host:
            operands = tuple(map(self.address, node.inputs))
            results = tuple(map(self.address, results_of(node)))
            self.commands.append(HostCall(node, operands, results, self.step))
            return
        begins_as = starts_from(node)
        if begins_as is not None:
            self.copy(self.address(begins_as), self.address(node), node)
        if node.type.nbytes == 0 and not node.op.may_fail:
            return
        self.parts.headers |= dict.fromkeys(headers_of(node))
        calls = routine(node, self._in_routine, self.plan.places.__contains__, self.parts.tf32)
        site = self._site(group)
        most = max((call.scratch_bytes for call in calls), default=0)
        scratch = self.reserve(most) if most else None
        first = len(self.commands)
        for call in calls:
            self._run(group, call, site, scratch)
        self._offer(group, first)

    def _offer(self, group: Group, first: int) -> None:
        """Have cuDNN compute, if it can, what the commands from `first` on do.

        It does not look whether a node has failed, and so must not write state once one may have.
        """
        node = group.nodes[0]
        alone = self.frame.step is None and not self.frame.chosen
        if node.op.name not in self.parts.calls or not alone:
            return
        places = (self.plan.places.get(x) for x in results_of(node))
        if self.guarded and any(place is not None and place.kind == "state" for place in places):
            return
        own = tuple(c for c in self.commands[first:] if isinstance(c, Launch))
        in_memory = self.plan.places.__contains__
        told = describe_call(node, self._in_routine, in_memory, self.parts.tf32)
        if told is None:
            return
        plain, rest = None, tuple[Launch, ...]()
        core = core_of(node)
        if core is not node and may_be_apart(node):
            here = self._in_routine(node)

            def locate(x: Node) -> Address:
                return here if x is core else self._in_routine(x)

            plain = describe_call(core, locate, in_memory, self.parts.tf32)
            end = len(self.commands)
            self._run(group, finish_routine(node, self._in_routine))
            rest = tuple(c for c in self.commands[end:] if isinstance(c, Launch))
        self.commands[first:] = [LibraryCall(node, *told, own, self.step, plain, rest)]

    def _product(self, group: Group) -> None:
        node = group.nodes[0]
        results = results_of(node)
        rooms = {x: self.reserve(int(x.type.nbytes)) for x in results if self._needs_room(x)}

        def locate(x: Node) -> Address:
            return rooms.get(x) or self.address(x)

        found = describe_product(node, locate, self.plan.places.__contains__, self.step)
        if elements(found) == 0:
            return
        if by_library(found):
            self.commands.append(found)
        else:
            for i in range(elements(found) // (found.m * found.n)):
                self._run(group, product(found, i))
        for x, room in rooms.items():
            if self.plan.holder(x) is not None:
                self.copy(room, self.address(x), x)

    def _needs_room(self, result: Node) -> bool:
        """Whether a product's result is written beside its place: it has none, or is kept there."""
        place = self.plan.places.get(result)
        if place is None or place.kind == "arena":
            return place is None
        return bool(self.frame.chosen) or (self.guarded and place.kind == "state")

    def _site(self, group: Group) -> int:
        """What tells a failure in a group: the number of its failing node, from 1; 0 if none."""
        return site_of(group, self.parts.sites)

    # kernels

    def _kernels(self, step: Step) -> None:
        maps, sums = list[_Beside](), list[tuple[Group, list[Call], int]]()
        for group in step.groups:
            builder = Builder(group, self.plan.stored)
            kernel = builder.build()
            if kernel.empty:
                continue
            addresses = [self.address(node) for node in builder.buffers]
            kernel, addresses = told_where(kernel, addresses)
            writer = writer_of(group, kernel, builder.buffers, addresses)
            site = self._site(group)
            if kernel.kind == "map":
                (part,) = map_parts(kernel, writer)
                call = call_of(kernel, part, writer, addresses)
                call = replace(call, casts=[type(node.op) for node in group.nodes] == [Cast])
                maps.append(_Beside(group, call, site))
                continue
            family = rows if kernel.kind == "rows" else columns
            nbytes = family.scratch_bytes(kernel)
            parts = (rows.row_parts if family is rows else columns.column_parts)(kernel, writer)
            calls = [call_of(kernel, part, writer, addresses, nbytes) for part in parts]
            if family is columns:
                sums.append((group, calls, site))
                continue
            scratch = self.reserve(nbytes) if nbytes else None
            for call in calls:
                self._run(group, call, site, scratch)
        self._sums(sums)
        self._beside(maps)

    def _sums(self, sums: Sequence[tuple[Group, list[Call], int]]) -> None:
        """Sums of columns side by side, then those parts that combine."""
        first, second, nbytes = list[_Beside](), list[_Beside](), 0
        for group, calls, site in sums:
            room = Address("scratch", 0, nbytes)
            for turn, call in zip((first, second), calls, strict=False):
                arguments = tuple([_in_scratch(a, room) for a in call.arguments])
                turn.append(_Beside(group, replace(call, arguments=arguments), site))
            nbytes += int(padded(calls[0].scratch_bytes))
        scratch = self.reserve(nbytes) if nbytes else None
        self._beside(first, scratch, nbytes)
        self._beside(second, scratch, nbytes)

    def _beside(
        self, members: Sequence[_Beside], scratch: Address | None = None, nbytes: int = 0
    ) -> None:
        """One launch for what runs side by side, or more if it takes too much of a launch."""
        bundle: list[_Beside] = []
        size, shared = 0, dict[Any, int]()
        for each in members:
            more, arrays = 8 * (len(each.call.arguments) + 2), shared_arrays(each.call)
            much = sum((shared | arrays).values()) > MAX_SHARED_BYTES
            if bundle and (much or size + more > MAX_ARGUMENT_BYTES):
                self._bundle(bundle, scratch, nbytes)
                bundle, size, shared = [], 0, {}
            bundle.append(each)
            size, shared = size + more, shared | arrays
        self._bundle(bundle, scratch, nbytes)

    def _bundle(self, bundle: Sequence[_Beside], scratch: Address | None, nbytes: int) -> None:
        if len(bundle) == 1:
            group, call, site = bundle[0]
            self._run(group, replace(call, scratch_bytes=nbytes), site, scratch)
        elif bundle:
            members = []
            for group, call, site in bundle:
                name = self.parts.named(f"m{self._name(group)}", device_function(call))
                self.parts.called.setdefault(group, {})[name] = None
                members.append((name, call, site))
            first, site = f"k{self._name(bundle[0].group)}", max(m.site for m in bundle)
            call = replace(side_by_side(members, self.guarded), scratch_bytes=nbytes)
            self._launch(call, first, site, scratch)

    # functions

    def _run(self, group: Group, call: Call, site: int = 0, scratch: Address | None = None) -> None:
        """Launch what is called for one kernel or routine."""
        if call.blocks:
            name = self._launch(call, f"k{self._name(group)}", site, scratch)
            self.parts.called.setdefault(group, {})[name] = None

    def _name(self, group: Group) -> str:
        return self.label(group).replace(".", "_")

    def _launch(self, call: Call, name: str, site: int = 0, scratch: Address | None = None) -> str:
        """Launch a call; -> its function, which has this name if it is new."""
        parameters, arguments = list(call.parameters), list(call.arguments)
        if scratch is not None:
            arguments = [_in_scratch(a, scratch) for a in arguments]
        lines = []
        for number, (taken, side) in enumerate(self.frame.chosen):
            parameters.append(f"const unsigned char *taken{number}")
            arguments.append(taken)
            lines.append(f"if ({'!' * side}*taken{number}) return;")
        if self.guarded or call.may_fail:
            parameters.append("int *error")
            arguments.append(FAILED)
        if call.may_fail:
            parameters.append("int site")
            arguments.append(Number(site))
        lines += ["if (*error) return;"] if self.guarded else []
        made = Function(
            tuple(parameters), tuple(lines), call.body, call.threads, call.together, call.points,
            call.casts,
        )  # fmt: skip
        name = self.parts.named(name, made.kernel())
        self.parts.kernels.setdefault(name, made)
        nbytes = call.scratch_bytes if scratch is not None else 0
        self.commands.append(
            Launch(
                name,
                (call.blocks, 1, 1),
                (call.threads, 1, 1),
                tuple(arguments),
                tuple("*" in p and not p.startswith("const ") for p in parameters),
                self.step,
                site,
                scratch,
                nbytes,
            )
        )
        return name


def _in_scratch(argument: Argument, scratch: Address) -> Argument:
    if isinstance(argument, Address) and argument.kind == "scratch":
        return scratch.further(argument.offset)
    return argument
