"""A step as one kernel, whose stages are what else would be launches: for steps of little work.

A small step's time is the number of its launches. Here its blocks stay on the GPU: they compute a
stage of the step, wait for each other, and go on; one block needs no more than `__syncthreads`.
What a launch's blocks would have done is shared out among those that there are, so values have the
bits that launches give them, however many blocks run. Products are the kernel's own.
See docs/adr/0048-a-small-step-is-one-kernel.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from staticnet.codegen.commands import (
    BARRIER,
    Address,
    Argument,
    Command,
    Copy,
    Launch,
    Number,
    Product,
)
from staticnet.codegen.cuda.bundles import arrays_of
from staticnet.codegen.cuda.call import Function
from staticnet.codegen.cuda.part import THREADS, ceil_div
from staticnet.codegen.cuda.routines import copy
from staticnet.codegen.cuda.statements import block, indent
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import compute_dtype, short_name
from staticnet.ops.library import ACTIVATIONS
from staticnet.plan.plan import Plan

NAME = "sn_step"
FEW_TERMS, MANY_RESULTS = 16, 1 << 16  # of a small product
SOME_TERMS = 64  # of one with a result a thread of a block
SIDE = 16  # of the square of a product that a block computes: SN_SIDE of the device code
STRETCH_BYTES = 512  # of the terms of a row that are summed at once: sn_stretch
ROOM = 20_480  # bytes of shared memory of a product: sn_product_room
ROUTINE_BYTES = 4096  # of shared memory that a routine of kernels/routines.cuh takes at most
FIRST_SLOT = 3  # of the table of kernels/draw.cuh: the first data set
UNITS = {16: "sn_16_bytes", 4: "int", 1: "char"}  # that a thread copies at once
HALF = 128  # threads of a group of which a stage's block has two: sn_sync_group
_BLOCK_WIDE = re.compile(r"__shared__|sn_reduce_down<|sn_reduce<[^;]*?, (?:64|[1-9]\d\d+)>\(")
_OF_HALVES = re.compile(rf"sn_reduce<[^;]*?, {HALF}>\(")


def is_small(p: Product) -> bool:
    """Whether each thread computes a result by itself, so that none waits for another."""
    few = p.k <= FEW_TERMS and p.m * p.n <= MANY_RESULTS
    return few or (p.k <= SOME_TERMS and p.m * p.n <= THREADS)


def blocks_of(p: Product) -> int:
    """The blocks of a product: of small ones each has a result a thread, else a square."""
    return _blocks_of_one(p) * math.prod(p.batch)


def _blocks_of_one(p: Product) -> int:
    if is_small(p):
        return ceil_div(p.m * p.n, THREADS)
    return ceil_div(p.m, SIDE) * ceil_div(p.n, SIDE)


def stages_of(before: Sequence[frozenset[int]]) -> list[list[int]]:
    """Commands by number, in order, between barriers: none runs beside one that it comes after."""
    stages: list[list[int]] = []
    for number, waits in enumerate(before):
        if not stages or waits & set(stages[-1]):
            stages.append([])
        stages[-1].append(number)
    return stages


def shared_bytes(functions: Mapping[str, str], commands: Sequence[Command]) -> int:
    """The most bytes of shared memory that a step's commands take, if none are used twice.

    `functions` are the texts of all functions by name.
    """
    arrays: dict[object, int] = {}
    for text in functions.values():
        arrays |= arrays_of(text)
        arrays |= {name: ROUTINE_BYTES for name in re.findall(r"\bsn_(?:scan|scatter)_\w+<", text)}
    return sum(arrays.values()) + ROOM * any(map(needs_room, commands))


def needs_room(command: object) -> bool:
    """Whether blocks bring what they compute it from to shared memory."""
    return isinstance(command, Product) and not is_small(command)


def is_block_wide(function: Function) -> bool:
    """Whether threads wait for each other that are neither a warp's nor a half's of a block."""
    text = "\n".join(function.body)
    return bool(_BLOCK_WIDE.search(_OF_HALVES.sub("", text) if function.threads == HALF else text))


def is_of_halves(function: Function) -> bool:
    """Whether it has a half of a stage's block for each of its own."""
    return function.threads == HALF and bool(_OF_HALVES.search("\n".join(function.body)))


@dataclass
class StageWriter:
    """Writes stages: what launches, products and copies do, by the blocks of one kernel.

    `blocks` run together. `kernels` are the functions that stages call.
    """

    kernels: Mapping[str, Function]
    blocks: int
    pointers: dict[Address, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    barriers: int = 0

    def _barrier(self) -> str:
        self.barriers += 1
        if self.blocks == 1:
            return "__syncthreads();"
        return f"sn_grid_sync(barrier, {self.barriers});"

    def _launched(self, commands: Iterable[Command], step: int, shared: int = 0) -> Launch:
        """The launch of the kernel that does what commands do."""
        return Launch(
            "",
            (self.blocks, 1, 1),
            (THREADS, 1, 1),
            (BARRIER, *self.pointers),
            (True, *(name in self.written for name in self.pointers.values())),
            step,
            max((c.site for c in commands if isinstance(c, Launch)), default=0),
            shared_bytes=shared,
            cooperative=self.blocks > 1,
        )

    def _pointer(self, address: Address, written: bool) -> str:
        """The bytes from an address on."""
        key = replace(address, offset=0)
        name = self.pointers.setdefault(key, f"p{len(self.pointers)}")
        if written:
            self.written.add(name)
        return f"{name} + {address.offset}" if address.offset else name

    def _stage(self, commands: Sequence[Command]) -> list[str]:
        lines: list[str] = []
        before = 0  # blocks of the commands side by side, which the grid's share out in turn
        shared = False
        for command in commands:
            shares = self._shares(command)
            if shares and shared:  # they may work in the same shared memory
                lines.append("__syncthreads();")
            shared |= shares
            if isinstance(command, Product):
                lines += self._product(command, before)
                before += blocks_of(command)
            elif isinstance(command, Copy):
                lines += self._copy(command)
            else:
                assert isinstance(command, Launch)
                lines += self._call(command, before)
                before += command.grid[0]
        return lines

    def _shares(self, command: Command) -> bool:
        """Whether a command may work in shared memory: all but maps, rows of warps and copies."""
        if not isinstance(command, Launch):
            return needs_room(command)
        made = self.kernels[command.function]
        rows = made.body[:1] and made.body[0].startswith("const int lane = threadIdx.x % ")
        apart = made.points is not None or (rows and not is_of_halves(made))
        return not apart or is_block_wide(made)

    def _turns(self, before: int, count: int, body: Sequence[str]) -> list[str]:
        """Lines for each of so many blocks, which the grid's blocks share out."""
        start = f"sn_turn({before})" if before and self.blocks > 1 else "blockIdx.x"
        head = f"for (int block = {start}; block < {count}; block += gridDim.x)"
        return block(head, body)

    def _call(self, launch: Launch, before: int) -> list[str]:
        made = self.kernels[launch.function]
        given = [
            self._argument(parameter, argument)
            for parameter, argument in zip(made.parameters, launch.arguments, strict=True)
        ]
        if not made.by_block:
            return [f"{launch.function}({', '.join(given)});"]
        count, each = launch.grid[0], THREADS // made.threads
        call = f"{launch.function}(block, {', '.join([str(count), *given])});"
        if each == 1:
            return self._turns(before, count, [call])
        # small blocks, side by side: by their threads' numbers they are neighbours of the first
        own = f"first + threadIdx.x / {made.threads}"
        number = own if is_of_halves(made) else "first"
        turns = self._turns(before, ceil_div(count, each), [
            f"const int first = block * {each};",
            f"if ({own} < {count})",
            f"  {call.replace('(block, ', f'({number}, ', 1)}",
        ])  # fmt: skip
        return turns

    def _argument(self, parameter: str, argument: Argument) -> str:
        kind = parameter[: max(parameter.rfind(" "), parameter.rfind("*")) + 1]
        kind = kind.replace("__restrict__ ", "").strip()
        if isinstance(argument, Number):
            return f"({kind}){argument.value}"
        return f"({kind})({self._pointer(argument, not kind.startswith('const '))})"

    def _copy(self, command: Copy) -> list[str]:
        call = copy(command.source, command.target, command.nbytes)
        pairs = zip(call.parameters, call.arguments, strict=True)
        given = ", ".join(self._argument(parameter, argument) for parameter, argument in pairs)
        return [f"sn_copy({given});"]

    def _product(self, p: Product, before: int) -> list[str]:
        name, kind = short_name(p.dtype), c_type(p.dtype)
        activation = ACTIVATIONS.index(p.epilogue.replace("_bias", "").replace("bias", "none"))
        along = [not p.left.transposed, p.right.transposed]
        steps = [(1, x.leading) if x.transposed else (x.leading, 1) for x in (p.left, p.right)]
        sizes = ", ".join(map(str, (p.m, p.n, p.k, *steps[0], *steps[1], p.result.leading)))
        places, lines = ["", "", ""], list[str]()
        each, inner = _blocks_of_one(p), 1
        for axis in reversed(range(len(p.batch))):
            number = f"block / {each * inner} % {p.batch[axis]}"
            for i, matrix in enumerate((p.left, p.right, p.result)):
                if matrix.strides[axis]:
                    places[i] += f" + ({number}) * (int64_t){matrix.strides[axis]}"
            inner *= p.batch[axis]
        operands = [
            f"({const}{kind} *)({self._pointer(x.address, not const)}){place}"
            for x, const, place in zip(
                (p.left, p.right, p.result), ("const ", "const ", ""), places, strict=True
            )
        ]
        bias = f"(const {kind} *)({self._pointer(p.bias, False)})" if p.bias else "nullptr"
        options = f"sn_of_{name}, {activation}"
        own = f"block % {each}" if inner > 1 else "block"
        given = f"{own}, {{{sizes}}}, {operands[0]}, {operands[1]}, {bias}, {operands[2]}"
        if is_small(p):
            lines.append(f"sn_small_product<{options}>({given});")
        else:
            ways = ", ".join(str(x).lower() for x in along)
            lines.append(f"sn_square_product<{options}, {ways}>({given}, room);")
        return self._turns(before, blocks_of(p), lines)


@dataclass
class PersistentWriter(StageWriter):
    """Writes the kernel of a step.

    Of one block all memory that it works in is its own, if it fits `most` bytes: what it keeps from
    step to step is read once and written once, however many steps it makes.
    """

    plan: Plan = field(kw_only=True)
    arena_bytes: int = field(kw_only=True)
    most: int = 0
    own_bytes: int = 0

    def write(self, stages: Sequence[Sequence[Command]]) -> tuple[str, Launch]:
        """The kernel's text and its launch."""
        body: list[str] = []
        draws, last = list(self._draws()), list(self._keeps("steps - 1"))
        keeps = block("if (step)", self._keeps("step - 1")) if last else []
        if draws or keeps:
            body += block("if (table)", [*draws, *keeps, self._barrier()])
        for number, stage in enumerate(stages):
            body += [self._barrier()] if number else []
            body += self._stage(stage)
        body.append(f"if (step + 1 < steps || table) {self._barrier()}")
        end = ["if (blockIdx.x == 0 && threadIdx.x == 0) table[0] = first + steps;", *last]
        products = any(needs_room(c) for stage in stages for c in stage)
        room = [f"alignas(16) __shared__ char room[{ROOM}];"] if products else []
        begin, finish = self._in_own_memory()
        names = [f"g{name[1:]}" if begin else name for name in self.pointers.values()]
        declared = ["sn_word *table", "int steps", "unsigned *barrier"]
        lines = [
            # one block a multiprocessor is enough: with fewer registers some would lie in memory
            f'extern "C" __global__ void __launch_bounds__({THREADS}, 1)',
            f"{NAME}({', '.join([*declared, *(f'char *{name}' for name in names)])}) {{",
            *indent([*room, *begin]),
            "  const sn_word first = table ? table[0] : 0;",
            *indent(block("for (int step = 0; step < steps; ++step)", body)),
            *indent([*block("if (table)", end), *finish]),
            "}\n",
        ]
        return "\n".join(lines), self._launch(stages)

    def _launch(self, stages: Sequence[Sequence[Command]]) -> Launch:
        commands = [command for stage in stages for command in stage]
        sites = (command.site for command in commands if isinstance(command, Launch))
        return Launch(
            NAME,
            (self.blocks, 1, 1),
            (THREADS, 1, 1),
            (Number(0, 8), Number(1), BARRIER, *self.pointers),
            (True, False, True, *(name in self.written for name in self.pointers.values())),
            0,
            max(sites, default=0),
            shared_bytes=self.own_bytes,
            cooperative=self.blocks > 1,
        )

    # own memory

    def _in_own_memory(self) -> tuple[list[str], list[str]]:
        """Lines before the first step and after the last one; none if it stays where it is."""
        graph = self.plan.graph
        nodes = {
            "feed": graph.inputs, "state": graph.variables, "output": graph.outputs,
            "constant": self.plan.constants,
        }  # fmt: skip
        names = {x: name for x, name in self.pointers.items() if x.kind in (*nodes, "arena")}
        sizes = {x: int(nodes[x.kind][x.at].type.nbytes) for x in names if x.kind in nodes}
        total = padded(self.arena_bytes)
        begin, copied, finish = ["char *const own = sn_own_room();"], list[str](), list[str]()
        for address, name in self.pointers.items():
            given, nbytes = f"g{name[1:]}", sizes.get(address, 0)
            if address not in names:
                begin.append(f"char *const {name} = {given};")
                continue
            begin.append(f"char *const {name} = own + {total if nbytes else address.at};")
            total += padded(nbytes)
            if address.kind not in ("arena", "output"):
                copied.append(_copied(given, name, nbytes))
            if address.kind in ("state", "output"):
                finish.append(_copied(name, given, nbytes))
        if self.blocks > 1 or total > self.most:
            return [], []
        self.own_bytes = total
        return [*begin, *copied, "__syncthreads();"], ["__syncthreads();", *finish]

    # many steps

    def _draws(self) -> Iterator[str]:
        """The rows of each data set that a step takes, where the step finds them."""
        shift = 0  # other threads wait for the next one's
        for i, node in enumerate(self.plan.graph.inputs):
            nbytes = int(node.type.nbytes)
            if nbytes == 0 or not node.shape:
                continue
            rows = int(node.shape[0])
            to = self._pointer(Address("feed", i), True)
            yield (
                f"sn_gather_rows<{_unit(nbytes // rows)}>(table, first + step, {FIRST_SLOT + i}, "
                f"{to}, {rows}, {nbytes // rows}, {shift});"
            )
            shift = (shift + THREADS // 4) % THREADS

    def _keeps(self, step: str) -> Iterator[str]:
        """Each output of a step into its stack."""
        first = FIRST_SLOT + len(self.plan.graph.inputs)
        for i, node in enumerate(self.plan.graph.outputs):
            nbytes = int(node.type.nbytes)
            if nbytes:
                place = self._pointer(Address("output", i), False)
                yield (
                    f"sn_keep_output<{_unit(nbytes)}>(table, first + {step}, {first + i}, {place}, "
                    f"{nbytes});"
                )


def stretches(p: Product) -> int:
    """How often a block of a product waits for the next terms of its sums."""
    return 0 if is_small(p) else ceil_div(p.k * compute_dtype(p.dtype).itemsize, STRETCH_BYTES)


def padded(nbytes: int) -> int:
    """Bytes up to where the next pack may begin."""
    return ceil_div(nbytes, 16) * 16


def _copied(source: str, target: str, nbytes: int) -> str:
    return f"sn_copy((const unsigned char *){source}, (unsigned char *){target}, {nbytes});"


def _unit(nbytes: int) -> str:
    return next(name for size, name in UNITS.items() if nbytes % size == 0)
