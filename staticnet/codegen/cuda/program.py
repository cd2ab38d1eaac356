"""A plan as CUDA: the source of its kernels, and what to launch, in order.

Kernels of a plan's step run one after the other, but its maps as one launch: each has a range of
the blocks. Once a node has failed, what comes after the plan's guard writes nothing: kernels look
first, and copies and products into state go through kernels that do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from staticnet.codegen.build import Builder
from staticnet.codegen.cuda import columns, rows
from staticnet.codegen.cuda.call import Call
from staticnet.codegen.cuda.maps import map_parts
from staticnet.codegen.cuda.part import THREADS, Part
from staticnet.codegen.cuda.products import by_library, describe_product, elements
from staticnet.codegen.cuda.routines import SCRATCH, copy, product, routine, starts_from
from staticnet.codegen.cuda.statements import Writer, indent
from staticnet.codegen.cuda.streams import with_lanes
from staticnet.codegen.kernel import Kernel
from staticnet.codegen.launches import (
    FAILED,
    Address,
    Argument,
    Command,
    Copy,
    CudaProgram,
    HostCall,
    Launch,
    Number,
    format_command,
)
from staticnet.codegen.resources import SCALARS, kernel_text
from staticnet.codegen.scope import c_type
from staticnet.errors import DeviceError
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.fusion import Group
from staticnet.plan.memory import padded
from staticnet.plan.plan import Plan
from staticnet.plan.schedule import Step

HEADERS = (*SCALARS, "runtime.cuh", "reduce.cuh", "routines.cuh")
MAX_ARGUMENT_BYTES = 32_000  # of a launch; CUDA 12.1 and later take 32,764
LARGEST_NARROW = 1 << 30  # elements; more are told by 64-bit indices
PRODUCTS = ("matmul", "matmul_epilogue")


@cache
def prelude() -> str:
    """The scalar functions and helpers that every program begins with."""
    return kernel_text(*HEADERS)


def write_cuda_program(plan: Plan) -> CudaProgram:
    """The CUDA source of a plan's kernels, and the launches of a step."""
    return with_lanes(plan, _Program(plan).program)


class _Map(NamedTuple):
    """A map that runs beside others: its kernel, what is called for it, and its failures' site."""

    group: Group
    call: Call
    site: int


class _Program:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.functions: dict[str, str] = {}
        self.taken: Counter[str] = Counter()
        self.called: dict[Group, dict[str, None]] = {}
        self.commands: list[Command] = []
        self.sites: list[Node] = []
        self.numbers = plan.numbers
        self.most_scratch = 0
        self.may_fail = any(n.op.may_fail for step in plan.steps for n in step.nodes)
        self.step = -1
        self._scratch = 0
        self._copies_before()
        for self.step, step in enumerate(plan.steps):
            self._scratch = 0
            if step.fused:
                self._kernels(step)
            else:
                self._routine(step.groups[0])
        self.step = len(plan.steps)
        self._copies_after()
        body = "\n".join(text.replace("NAME", name, 1) for text, name in self.functions.items())
        self.program = CudaProgram(
            prelude() + body, body, tuple(self.commands), plan.scratch + self.most_scratch,
            tuple(self.sites), self._texts(),
            {group: ", ".join(names) for group, names in self.called.items()},
        )  # fmt: skip

    def _texts(self) -> dict[Group, str]:
        """What runs for each kernel or routine: the functions, products and copies of its step."""
        named = {name: text.replace("NAME", name, 1) for text, name in self.functions.items()}
        parts: dict[int, dict[str, None]] = {}
        for command in self.commands:
            parts.setdefault(command.step, {}).update(dict.fromkeys(_told(command, named)))
        return {group: "\n".join(parts[i]) for i, group in self.plan.launched if i in parts}

    # places

    def _address(self, node: Node) -> Address:
        """Where a node's elements lie: its own memory, or that of what it shows."""
        holder = self.plan.holder(node)
        assert holder is not None, node
        place = self.plan.places[holder]
        return Address(place.kind, place.at)

    @property
    def _guarded(self) -> bool:
        return self.may_fail and self.step >= self.plan.guard

    def _reserve(self, nbytes: int) -> Address:
        """Scratch memory of this step."""
        address = Address("arena", self.plan.scratch + self._scratch)
        self._scratch += int(padded(nbytes))
        self.most_scratch = max(self.most_scratch, self._scratch)
        return address

    # copies

    def _copies_before(self) -> None:
        for node, output in self.plan.first_copies:
            self._copy(self._address(node), Address("output", output), int(node.type.nbytes))
        for node, saved in self.plan.saved.items():
            self._copy(self._address(node), Address("arena", saved.offset), int(node.type.nbytes))

    def _copies_after(self) -> None:
        for node, place in self.plan.last_copies:
            saved = self.plan.saved.get(node)
            source = Address("arena", saved.offset) if saved else self._address(node)
            self._copy(source, Address(place.kind, place.at), int(node.type.nbytes))

    def _copy(self, source: Address, target: Address, nbytes: int) -> None:
        if nbytes == 0:
            return
        if self._guarded:
            self._launch(copy(source, target, nbytes), "k_copy")
        else:
            self.commands.append(Copy(source, target, nbytes, self.step))

    # routines

    def _routine(self, group: Group) -> None:
        if group.bodies:
            node = group.nodes[0]
            raise DeviceError(
                f"{node.op.name}: the cuda backend has no loops and choices yet "
                f"({node.provenance.user}); use device='cpu'"
            )
        (node,) = group.nodes
        if node.op.name in PRODUCTS:
            self._product(group)
            return
        if node.op.on_host:
            operands = tuple(map(self._address, node.inputs))
            self.commands.append(HostCall(node, operands, self._address(node), self.step))
            return
        begins_as = starts_from(node)
        if begins_as is not None:
            self._copy(self._address(begins_as), self._address(node), int(node.type.nbytes))
        if node.type.size == 0 and not node.op.may_fail:
            return
        calls = routine(node, self._address, self.plan.places.__contains__)
        site = self._site(group)
        most = max((call.scratch_bytes for call in calls), default=0)
        scratch = self._reserve(most) if most else None
        for call in calls:
            self._run(group, call, site, scratch)

    def _product(self, group: Group) -> None:
        (node,) = group.nodes
        found = describe_product(node, self._address, self.plan.places.__contains__, self.step)
        if elements(found) == 0:
            return
        if not by_library(found):
            for i in range(elements(found) // (found.m * found.n)):
                self._run(group, product(found, i))
            return
        target = found.result.address
        if not (self._guarded and target.kind == "state"):
            self.commands.append(found)
            return
        room = self._reserve(int(node.type.nbytes))
        self.commands.append(replace(found, result=replace(found.result, address=room)))
        self._copy(room, target, int(node.type.nbytes))

    def _site(self, group: Group) -> int:
        """What tells a failure in a group: the number of its failing node, from 1; 0 if none."""
        failing = [node for node in group.nodes if node.op.may_fail]
        if not failing:
            return 0
        self.sites.append(failing[0])
        return len(self.sites)

    # kernels

    def _kernels(self, step: Step) -> None:
        maps: list[_Map] = []
        for group in step.groups:
            builder = Builder(group, self.plan.stored)
            kernel = builder.build()
            if kernel.empty:
                continue
            empty = [
                n
                for n, x in zip(kernel.parameters, builder.buffers, strict=True)
                if x.type.size == 0
            ]
            writer = Writer(_index_type(group), frozenset(p.name for p in empty))
            addresses = [self._address(node) for node in builder.buffers]
            site = self._site(group)
            if kernel.kind == "map":
                (part,) = map_parts(kernel, writer)
                maps.append(_Map(group, _call(kernel, part, writer, addresses), site))
                continue
            family = rows if kernel.kind == "rows" else columns
            nbytes = family.scratch_bytes(kernel)
            scratch = self._reserve(nbytes) if nbytes else None
            parts = (rows.row_parts if family is rows else columns.column_parts)(kernel, writer)
            for part in parts:
                call = _call(kernel, part, writer, addresses, nbytes)
                self._run(group, call, site, scratch)
        self._maps(maps)

    def _maps(self, maps: Sequence[_Map]) -> None:
        """One launch for maps that run side by side, or more if their arguments are too many."""
        bundle: list[_Map] = []
        size = 0
        for each in maps:
            more = 8 * (len(each.call.arguments) + 2)
            if bundle and size + more > MAX_ARGUMENT_BYTES:
                self._bundle(bundle)
                bundle, size = [], 0
            bundle.append(each)
            size += more
        self._bundle(bundle)

    def _bundle(self, maps: Sequence[_Map]) -> None:
        if len(maps) == 1:
            self._run(*maps[0])
        elif maps:
            first = f"k{self.numbers[maps[0].group]}"
            self._launch(self._side_by_side(maps), first, max(each.site for each in maps))

    def _side_by_side(self, maps: Sequence[_Map]) -> Call:
        """One function whose blocks are split among those of several."""
        parameters: list[str] = []
        arguments: list[Argument] = []
        members: list[tuple[int, int, str]] = []
        first = 0
        for number, (group, call, site) in enumerate(maps):
            name = self._named(f"m{self.numbers[group]}", _device_function(call))
            self.called[group] = {name: None}
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
        if any(call.may_fail for _, call, _ in maps) and not self._guarded:
            parameters.append("int *error")
            arguments.append(FAILED)
        body = tuple(_choice(members))
        return Call(tuple(parameters), body, tuple(arguments), first, THREADS)

    # functions

    def _named(self, name: str, text: str) -> str:
        """The name of a text's function: this one or, where others have it, with a number more."""
        if text not in self.functions:
            others = self.taken[name]
            self.taken[name] += 1
            self.functions[text] = f"{name}_{others}" if others else name
        return self.functions[text]

    def _run(self, group: Group, call: Call, site: int = 0, scratch: Address | None = None) -> None:
        """Launch what is called for one kernel or routine."""
        if call.blocks:
            name = self._launch(call, f"k{self.numbers[group]}", site, scratch)
            self.called.setdefault(group, {})[name] = None

    def _launch(self, call: Call, name: str, site: int = 0, scratch: Address | None = None) -> str:
        """Launch a call; -> its function, which has this name if it is new."""
        parameters, arguments = list(call.parameters), list(call.arguments)
        if scratch is not None:
            arguments = [_in_scratch(a, scratch) for a in arguments]
        if self._guarded or call.may_fail:
            parameters.append("int *error")
            arguments.append(FAILED)
        if call.may_fail:
            parameters.append("int site")
            arguments.append(Number(site))
        lines = ["if (*error) return;"] if self._guarded else []
        text = "\n".join(call.body)
        lines += ["const int block = blockIdx.x;"] if "block" in text else []
        lines += ["const int blocks = gridDim.x;"] if "blocks" in text else []
        head = f'extern "C" __global__ void __launch_bounds__({call.threads})\n'
        name = self._named(name, head + _function(parameters, [*lines, *call.body]))
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


def _told(command: Command, functions: Mapping[str, str]) -> list[str]:
    """A command as text: a launch by its function and those that it calls."""
    if not isinstance(command, Launch):
        return [f"// {format_command(command)}"]
    text = functions[command.function]
    called = dict.fromkeys(re.findall(r"\bm\d+(?:_\d+)?\b", text))
    return [*(functions[name] for name in called if name in functions), text]


def _index_type(group: Group) -> str:
    """C's type of indices into all that a group reads and makes, and into views on the way."""
    nodes = {x for node in group.nodes for x in (node, *node.inputs)}
    largest = max(int(x.type.size) for node in nodes for x in _views(node))
    points = 1
    for n in fixed(group.domain):
        points *= n
    return "int" if max(largest, points) < LARGEST_NARROW else "int64_t"


def _views(node: Node) -> Iterator[Node]:
    """A node, what it is a view of, and so on to what lies in memory."""
    yield node
    while node.op.moves:
        (node,) = node.inputs
        yield node


def _call(
    kernel: Kernel, part: Part, writer: Writer, addresses: Sequence[Address], nbytes: int = 0
) -> Call:
    """The call of a kernel's part. A buffer whose memory no other has is `__restrict__`."""
    written = {a for p, a in zip(kernel.parameters, addresses, strict=True) if p.written}
    parameters, arguments = [], list[Argument](addresses)
    for p, address in zip(kernel.parameters, addresses, strict=True):
        alone = p.written or address not in written
        alone = alone and addresses.count(address) == 1 if p.written else alone
        const = "" if p.written else "const "
        restrict = "__restrict__ " if alone else ""
        parameters.append(f"{const}{c_type(p.dtype)} *{restrict}{p.name}")
    if part.scratch:
        parameters.append("char *scratch")
        arguments.append(SCRATCH)
    if part.n is not None:
        parameters.append(f"{writer.index} n")
        arguments.append(Number(part.n, 4 if writer.index == "int" else 8))
    return Call(
        tuple(parameters), part.body, tuple(arguments), part.blocks, part.threads,
        kernel.may_fail, nbytes if part.scratch else 0,
    )  # fmt: skip


def _in_scratch(argument: Argument, scratch: Address) -> Argument:
    if isinstance(argument, Address) and argument.kind == "scratch":
        return Address(scratch.kind, scratch.at, argument.offset)
    return argument


def _function(parameters: Iterable[str], body: Iterable[str]) -> str:
    return "\n".join([f"NAME({', '.join(parameters)}) {{", *indent(body), "}\n"])


def _device_function(call: Call) -> str:
    failing = ["int *error", "int site"] if call.may_fail else []
    parameters = ["int block", "int blocks", *call.parameters, *failing]
    return "static __device__ void " + _function(parameters, call.body)


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
