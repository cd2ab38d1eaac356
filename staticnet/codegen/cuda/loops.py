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

from staticnet.codegen.cuda.call import Function
from staticnet.codegen.cuda.choice import (
    COUNTS,
    LEAST_GAIN,
    obstacle_of,
    seconds_apart,
    seconds_of,
)
from staticnet.codegen.cuda.part import THREADS
from staticnet.codegen.cuda.parts import Parts
from staticnet.codegen.cuda.persistent import ROOM, StageWriter
from staticnet.codegen.cuda.statements import block, indent
from staticnet.codegen.cuda.streams import RATES
from staticnet.codegen.cuda.unrolled import is_within, needless_copies
from staticnet.codegen.launches import (
    BARRIER,
    Address,
    Command,
    Copy,
    Launch,
    Loop,
    Product,
)

HEADER = "persistent.cuh"
_DEVICE = re.compile(r"\bm\d+(?:_\d+)*\b")  # a function that kernels call for one of several


@dataclass
class LoopWriter(StageWriter):
    """Writes the kernel of a loop.

    `carried` are, by number, the copies of stacked rows to carries that only the last step makes.
    """

    loop: Loop = field(kw_only=True)
    carried: Mapping[int, Copy] = field(kw_only=True)

    def write_loop(self) -> tuple[str, Launch]:
        """The kernel's text, with NAME for its name, and its launch, with no name yet."""
        loop, body = self.loop, list[str]()
        for stage in stages_of(loop, self.carried):
            body += [self._barrier()] if body else []
            body += self._stage(stage)
        body.append(f"if (step + 1 < {loop.count}) {self._barrier()}")
        last = [self._row(copy) for copy in self.carried.values()]
        products = any(isinstance(c, Product) for c in loop.commands)
        turn = f"{loop.count - 1} - step" if loop.reverse else "step"
        lines = [
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1)',
            f"NAME({', '.join(['unsigned *barrier', *self._declared()])}) {{",
            *indent([f"alignas(16) __shared__ char room[{ROOM}];"] if products else []),
            *indent(block(f"for (int step = 0; step < {loop.count}; ++step)", [
                f"const int t = {turn};", *body
            ])),
            *indent([self._barrier(), *last] if last else []),
            "}\n",
        ]  # fmt: skip
        return "\n".join(lines), self._launch_of(loop)

    def _declared(self) -> list[str]:
        return [f"char *{name}" for name in self.pointers.values()]

    def _launch_of(self, loop: Loop) -> Launch:
        inside = [command for command in loop.commands if isinstance(command, Launch)]
        return Launch(
            "",
            (self.blocks, 1, 1),
            (THREADS, 1, 1),
            (BARRIER, *self.pointers),
            (True, *(name in self.written for name in self.pointers.values())),
            loop.step,
            max((command.site for command in inside), default=0),
            cooperative=self.blocks > 1,
        )

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
        [_reach(loop, address, copy.nbytes) for address in (copy.source, copy.target)]
        for copy in (one, other)
    )
    if any(number != loop.number for span in (x, y, u, v) for number, _ in span[0].advance):
        return False
    pairs = ((x, v), (y, u), (y, v))
    return not any(
        a[0].kind == b[0].kind and a[1] < b[2] and b[1] < a[2]
        for a, b in pairs
        if a[0].kind == "arena" or a[0].at == b[0].at
    )


def _reach(loop: Loop, address: Address, nbytes: int) -> tuple[Address, int, int]:
    """An address, and the bytes of its memory, from and to, that it leads to in all steps."""
    moved = sum(n for number, n in address.advance if number == loop.number)
    start = address.offset + (address.at if address.kind == "arena" else 0)
    return address, start, start + nbytes + moved * (loop.count - 1)


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
    if why := _obstacle(loop, headers, parts):
        parts.told[f"{what} is launched step by step: {why}"] = None
        return None
    carried = needless_copies(loop, carries)
    stages = stages_of(loop, carried)
    commands = [command for stage in stages for command in stage]
    numbers = iter(range(len(commands)))
    each, spans = [[next(numbers) for _ in stage] for stage in stages], [() for _ in commands]
    tried = {n: seconds_of(commands, spans, each, n) - RATES.launch for n in COUNTS}
    best = min(tried, key=lambda n: (tried[n], n))
    apart = seconds_apart(commands)
    estimate = f"{tried[best] * 1e6:.1f} µs a step by the estimate, {len(commands)} launches"
    estimate = f"{estimate} {apart * 1e6:.1f} µs"
    if tried[best] > apart * (1 - LEAST_GAIN):
        parts.told[f"{what} is launched step by step: one kernel {estimate}"] = None
        return None
    several = f"{best} blocks" if best > 1 else "one block"
    parts.told[f"{what} is one kernel of {several}: {estimate}"] = None
    return write_kernel(loop, carried, best, parts)


def _obstacle(loop: Loop, headers: Sequence[str], parts: Parts) -> str:
    if not all(isinstance(command, Launch | Product | Copy) for command in loop.commands):
        return "it has loops or the host in it"
    if any(isinstance(c, Launch) and c.function not in parts.kernels for c in loop.commands):
        return "it has loops in it"
    known = {name: text for text, name in parts.functions.items()}
    launched = {c.function: known[c.function] for c in loop.commands if isinstance(c, Launch)}
    inner = {name for text in launched.values() for name in _DEVICE.findall(text)}
    texts = launched | {name: known[name] for name in inner}
    return obstacle_of(loop.commands, headers, parts.kernels, texts)


def write_kernel(loop: Loop, carried: Mapping[int, Copy], blocks: int, parts: Parts) -> Launch:
    """Write a loop's kernel of so many blocks. -> its launch"""
    stages, kernels = list[Command](), dict[str, Function]()
    for command in loop.commands:
        if isinstance(command, Launch):
            made = parts.kernels[command.function]
            command = replace(command, function=_stage_of(command.function, made, parts))
            kernels[command.function] = made
        stages.append(command)
    writer = LoopWriter(
        kernels, blocks, loop=replace(loop, commands=tuple(stages)), carried=carried
    )
    text, launch = writer.write_loop()
    parts.headers[HEADER] = None
    name = parts.named(f"loop{loop.number}", text)
    return replace(launch, function=name)


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
