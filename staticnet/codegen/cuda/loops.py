"""A loop's steps as one kernel that stays: launches of its body become stages, step after step.

Written out, a loop of 64 steps of an LSTM is 192 launches that depend on each other. Here its
blocks run together, compute a stage, wait for each other and go on; the addresses of a step are
those of the first and so many bytes further. A carry that a step stacks is read where it is
stacked, as in `unrolled`. See docs/adr/0058-a-loop-is-one-kernel.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from staticnet.codegen.commands import Address, Command, Copy, Launch, Loop, Product
from staticnet.codegen.cuda.call import Function
from staticnet.codegen.cuda.choice import (
    COUNTS,
    LEAST_GAIN,
    STAGE_RATES,
    obstacle_of,
    seconds_apart,
    seconds_of,
)
from staticnet.codegen.cuda.part import THREADS
from staticnet.codegen.cuda.parts import Parts
from staticnet.codegen.cuda.persistent import ROOM, StageWriter, needs_room, shared_bytes
from staticnet.codegen.cuda.reach import overlap, reach
from staticnet.codegen.cuda.resident import (
    HEADERS,
    Resident,
    Stage,
    residents_of,
    with_residents,
    write_tile,
)
from staticnet.codegen.cuda.spans import Span
from staticnet.codegen.cuda.statements import block, indent
from staticnet.codegen.cuda.streams import RATES
from staticnet.codegen.cuda.unrolled import is_within, needless_copies
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import short_name
from staticnet.ops.library import ACTIVATIONS

HEADER = "persistent.cuh"
_DEVICE = re.compile(r"\bm\d+(?:_\d+)*\b")  # a function that kernels call for one of several


@dataclass
class LoopWriter(StageWriter):
    """Writes the kernel of a loop.

    `stages` are those of a step; `carried` are, by number, the copies of stacked rows to carries
    that only the last step makes.
    """

    loop: Loop = field(kw_only=True)
    stages: Sequence[Stage] = field(kw_only=True)
    carried: Mapping[int, Copy] = field(kw_only=True)

    def write_loop(self) -> tuple[str, Launch]:
        """The kernel's text, with NAME for its name, and its launch, with no name yet."""
        loop, body = self.loop, list[str]()
        kept: list[str] = []
        for stage in self.stages:
            body += [self._barrier()] if body else []
            if residents := residents_of([stage]):
                for resident in residents:
                    begin, lines = self._resident(resident, len(kept))
                    kept += begin
                    body += lines
            else:
                body += self._stage([c for c in stage if not isinstance(c, Resident)])
        body.append(f"if (step + 1 < {loop.count}) {self._barrier()}")
        last = [self._row(copy) for copy in self.carried.values()]
        products = any(needs_room(c) for stage in self.stages for c in stage)
        turn = f"{loop.count - 1} - step" if loop.reverse else "step"
        lines = [
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1)',
            f"NAME({', '.join(['unsigned *barrier', *self._declared()])}) {{",
            *indent([f"alignas(16) __shared__ char room[{ROOM}];"] if products else []),
            *indent(["unsigned *const own = (unsigned *)sn_own_room();"] if kept else []),
            *indent(kept),
            *indent(block(f"for (int step = 0; step < {loop.count}; ++step)", [
                f"const int t = {turn};", *body
            ])),
            *indent([self._barrier(), *last] if last else []),
            "}\n",
        ]  # fmt: skip
        shared = max((r.room + r.nbytes for r in residents_of(self.stages)), default=0)
        return "\n".join(lines), self._launched(loop.commands, loop.step, shared=shared)

    def _declared(self) -> list[str]:
        return [f"char *{name}" for name in self.pointers.values()]

    def _resident(self, r: Resident, number: int) -> tuple[list[str], list[str]]:
        """Lines before the first step, and those of each, of a product whose matrix stays."""
        p, name = r.product, short_name(r.product.dtype)
        steps = (1, p.right.leading) if p.right.transposed else (p.right.leading, 1)
        leading = p.k if r.source else p.left.leading
        sizes = (p.m, p.n, p.k, leading, *steps, p.result.leading, r.groups, r.each, r.turns)
        kind, sizes_of = f"const {c_type(p.dtype)} *", f"resident{number}"
        matrix, kept = self._pointer(p.right.address, False), f"own + {r.room // 4}"
        call = f"sn_take_resident<sn_of_{name}, {r.across}>"
        given = f"{sizes_of}, ({kind})({matrix}), {kept});"
        begin = [
            f"const sn_resident {sizes_of} = {{{', '.join(map(str, sizes))}}};",
            f"const bool stays{number} = gridDim.x >= {r.tiles};",
            f"if (stays{number} && blockIdx.x < {r.tiles}) {call}(blockIdx.x, {given}",
        ]
        left = "f32" if r.source else name
        activation = ACTIVATIONS.index(p.epilogue.replace("_bias", "").replace("bias", "none"))
        options = f"sn_of_{name}, sn_of_{left}, {activation}, {r.across}"
        x = f"(const sn_of_{left}::memory *)({self._pointer(r.source or p.left.address, False)})"
        bias = f"({kind})({self._pointer(p.bias, False)})" if p.bias else "nullptr"
        z = self._pointer(p.result.address, True)
        lines = [
            f"sn_resident_product<{options}>(block, turn, {sizes_of}, {x}, {kept}, {bias}, "
            f"({c_type(p.dtype)} *)({z}), own);",
        ]
        if r.then is not None:
            pairs = zip(self.kernels[r.then.function].parameters, r.then.arguments, strict=True)
            arguments = [self._argument(parameter, argument) for parameter, argument in pairs]
            places = [f"sn_first_row({sizes_of}, block, turn)", f"sn_first_unit({sizes_of}, block)"]
            lines.append(f"{r.then.function}({', '.join([*places, *arguments])});")
        take = f"if (!stays{number}) {call}(block, {given}"
        turns = block(f"for (int turn = 0; turn < {r.turns}; ++turn)", lines)
        return begin, self._turns(0, r.tiles, [take, *turns])

    def _row(self, copy: Copy) -> str:
        """A carry's bytes from where the last step stacked them."""
        t = 0 if self.loop.reverse else self.loop.count - 1
        source, target = self._place(copy.source, str(t)), self._place(copy.target, "t")
        self.written.add(self.pointers[_base(copy.target, self.loop.number)])
        pointers = f"(const unsigned char *)({source}), (unsigned char *)({target})"
        return f"sn_copy({pointers}, (int64_t){copy.nbytes});"

    def _pointer(self, address: Address, written: bool) -> str:
        """Where an address is in step `t`; a carry that is stacked, in the row of the step before.

        Nothing writes such a carry but the copies that are left out.
        """
        for copy in self.carried.values():
            if is_within(address, copy.target, copy.nbytes):
                before = "t + 1" if self.loop.reverse else "t - 1"
                row = self._place(copy.source.further(address.offset - copy.target.offset), before)
                first = self._place(address, "t")
                return f"(step ? {row} : {first})"
        place = self._place(address, "t")
        if written:
            self.written.add(self.pointers[_base(address, self.loop.number)])
        return place

    def _place(self, address: Address, t: str) -> str:
        name = self.pointers.setdefault(_base(address, self.loop.number), f"p{len(self.pointers)}")
        place = f"{name} + {address.offset}" if address.offset else name
        moved = sum(n for number, n in address.advance if number == self.loop.number)
        return f"{place} + (int64_t)({t}) * {moved}" if moved else place


def stages_of(loop: Loop, carried: Collection[int]) -> list[list[Command]]:
    """A step's commands but copies that are left out, between barriers.

    What else touches is not known well enough: copies alone are side by side, where no byte is two
    of theirs in any steps.
    """
    stages: list[list[Command]] = []
    for number, command in enumerate(loop.commands):
        if number in carried:
            continue
        before = stages[-1] if stages else []
        if before and all(_are_apart(loop, command, other) for other in before):
            before.append(command)
        else:
            stages.append([command])
    return stages


def _are_apart(loop: Loop, one: Command, other: Command) -> bool:
    if not (isinstance(one, Copy) and isinstance(other, Copy)):
        return False
    (x, y), (u, v) = (
        [reach(loop, address, copy.nbytes) for address in (copy.source, copy.target)]
        for copy in (one, other)
    )
    if not all(each.known for each in (x, y, u, v)):
        return False
    return not any(overlap(a, b) for a, b in ((x, v), (y, u), (y, v)))


def _base(address: Address, loop: int) -> Address:
    """What a pointer of the kernel is given: the same in all its steps."""
    rest = tuple(entry for entry in address.advance if entry[0] != loop)
    return replace(address, offset=0, advance=rest)


def one_kernel(
    loop: Loop, carries: Sequence[Address], headers: Sequence[str], parts: Parts
) -> Launch | None:
    """The launch of all of a loop's steps, where an estimate says that it pays; else None.

    headers: the files of kernels in which its routines are. What was decided is told to `parts`.
    """
    what = f"a loop of {loop.count} steps"
    if why := obstacle_of_loop(loop, headers, parts):
        parts.told[f"{what} is launched step by step: {why}"] = None
        return None
    carried = needless_copies(loop, carries)
    stages = stages_of(loop, carried)
    commands = [command for stage in stages for command in stage]
    tried: list[tuple[float, int, Sequence[Stage]]] = [
        (seconds_of_step(stages, n), n, stages) for n in COUNTS
    ]
    for rounds in (True, False):
        own = _with_residents(loop, stages, carries, carried, parts, rounds)
        if count := max((r.tiles for r in residents_of(own)), default=0):
            tried.append((seconds_of_step(own, count), count, own))
    seconds, best, chosen = min(tried, key=lambda each: each[:2])
    apart = seconds_apart(commands)
    estimate = f"{seconds * 1e6:.1f} µs a step by the estimate, {len(commands)} launches"
    estimate = f"{estimate} {apart * 1e6:.1f} µs"
    if seconds > apart * (1 - LEAST_GAIN):
        parts.told[f"{what} is launched step by step: one kernel {estimate}"] = None
        return None
    several = f"{best} blocks" if best > 1 else "one block"
    kept = sum(r.nbytes for r in residents_of(chosen))
    stays = f", with {kept:,} bytes of weights in each" if kept else ""
    parts.told[f"{what} is one kernel of {several}{stays}: {estimate}"] = None
    return write_kernel(loop, chosen, carried, best, parts)


def seconds_of_step(stages: Sequence[Stage], blocks: int) -> float:
    """The estimate of a step of so many blocks."""
    total = 0.0
    for stage in stages:
        if residents := residents_of([stage]):
            total += STAGE_RATES.grid + sum(r.seconds() for r in residents)
            continue
        commands = [c for c in stage if not isinstance(c, Resident)]
        spans: list[Sequence[Span]] = [() for _ in commands]
        total += seconds_of(commands, spans, [range(len(commands))], blocks) - RATES.launch
    return total


def obstacle_of_loop(loop: Loop, headers: Sequence[str], parts: Parts) -> str:
    """What keeps a loop from being one kernel; "" if nothing does."""
    if not all(isinstance(command, Launch | Product | Copy) for command in loop.commands):
        return "it has loops or the host in it"
    if any(isinstance(c, Launch) and c.function not in parts.kernels for c in loop.commands):
        return "it has loops in it"
    return obstacle_of(loop.commands, headers, parts.kernels, _texts(loop, parts))


def _texts(loop: Loop, parts: Parts) -> dict[str, str]:
    """The functions that a loop's steps launch and call."""
    known = {name: text for text, name in parts.functions.items()}
    launched = {c.function: known[c.function] for c in loop.commands if isinstance(c, Launch)}
    inner = {name for text in launched.values() for name in _DEVICE.findall(text)}
    return launched | {name: known[name] for name in inner}


def _with_residents(
    loop: Loop, stages: Sequence[Sequence[Command]], carries: Sequence[Address],
    carried: Mapping[int, Copy], parts: Parts, rounds: bool,
) -> Sequence[Stage]:  # fmt: skip
    """The stages with what can stay on the chip, beside what other products work in, if any."""
    texts = _texts(loop, parts)
    for beside in ((), loop.commands):
        taken = shared_bytes(texts, beside)
        found = with_residents(loop, stages, carries, carried, parts, taken, rounds)
        if not any(isinstance(command, Product) for stage in found for command in stage):
            break
    return found


def write_kernel(
    loop: Loop, stages: Sequence[Stage], carried: Mapping[int, Copy], blocks: int, parts: Parts
) -> Launch:
    """Write a loop's kernel of so many blocks. -> its launch"""
    kernels: dict[str, Function] = {}

    def own(command: Command | Resident) -> Command | Resident:
        if isinstance(command, Resident) and command.then is not None:
            function = command.then.function
            made = parts.kernels[function]
            name = parts.named(f"t{function}", write_tile(made, command.then, command))
            kernels[name] = made
            return replace(command, then=replace(command.then, function=name))
        return command if isinstance(command, Resident) else as_stage(command, kernels, parts)

    written = [[own(command) for command in stage] for stage in stages]
    writer = LoopWriter(kernels, blocks, loop=loop, stages=written, carried=carried)
    text, launch = writer.write_loop()
    parts.headers |= dict.fromkeys(HEADERS if residents_of(written) else (HEADER,))
    name = parts.named(f"loop{loop.number}", text)
    return replace(launch, function=name)


def as_stage(command: Command, kernels: dict[str, Function], parts: Parts) -> Command:
    """A command of stages: a launched function is called, and noted in `kernels`."""
    if not isinstance(command, Launch):
        return command
    made = parts.kernels[command.function]
    name = _stage_of(command.function, made, parts)
    kernels[name] = made
    return replace(command, function=name)


def _stage_of(function: str, made: Function, parts: Parts) -> str:
    """The name of a launched function as a stage, with functions of its own.

    Others write what it reads while the kernel runs: nothing may be read as if it never changed.
    """
    text = made.stage()
    known = {name: of for of, name in parts.functions.items()}
    for name in dict.fromkeys(_DEVICE.findall(text)):
        inner = known[name].replace("__restrict__ ", "")
        own = parts.named(f"s{name}", inner) if inner != known[name] else name
        text = re.sub(rf"\b{name}\b", own, text)
    return parts.named(f"s{function}", text)
