"""Whether a step is one kernel or one launch after the other: by an estimate of both."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from staticnet.codegen.commands import Command, Launch, Product
from staticnet.codegen.cuda.call import Function
from staticnet.codegen.cuda.part import THREADS
from staticnet.codegen.cuda.parts import MAX_ARGUMENT_BYTES, Parts
from staticnet.codegen.cuda.persistent import blocks_of, is_block_wide, shared_bytes, stretches
from staticnet.codegen.cuda.spans import Span
from staticnet.codegen.cuda.streams import RATES, Rates
from staticnet.codegen.launches import CudaProgram
from staticnet.ops.auxiliary import AUXILIARY

MAX_SHARED_BYTES = 48 * 1024  # that a block has without asking
MOST_COMMANDS = 96  # of one kernel: longer ones compile slowly
MOST_ELEMENTS = 1 << 30  # of a product's matrices, which it counts in ints
HEADERS = frozenset({"moments.cuh", "windows.h", "pooling.cuh"})  # of routines that may be stages
COUNTS = (1, 8, 32, 128)  # of blocks that are tried
HOSTED = "the host has a part in it"
ASKED = "how it goes on is asked on the way"
ABREAST = 8  # blocks of a launch that a multiprocessor has at once
LEAST_GAIN = 0.2  # of a step's time, for which it becomes one kernel


@dataclass(frozen=True)
class StageRates:
    """What the estimate takes a kernel's stages for. Seconds.

    block, grid: of a barrier in one block and among several; turn: of a block of a stage, from its
    first read to its last write; stretch: of a product's block, each time that it waits for terms;
    cache: bytes a second that all blocks together read from the second cache; host: from the end of
    a step to the next one if the host reads a bool between
    """

    block: float = 0.05e-6
    grid: float = 1.2e-6
    turn: float = 0.5e-6
    stretch: float = 0.4e-6
    cache: float = 5.5e12
    host: float = 10e-6


STAGE_RATES = StageRates()


def obstacle(program: CudaProgram, parts: Parts) -> str:
    """What keeps a step from being one kernel; "" if nothing does."""
    texts = {name: text for text, name in parts.functions.items()}
    return obstacle_of(program.launches, parts.headers.keys(), parts.kernels, texts)


def obstacle_of(
    commands: Sequence[Command], headers: Collection[str], kernels: Mapping[str, Function],
    texts: Mapping[str, str],
) -> str:  # fmt: skip
    """The same of some commands, whose routines are in those files.

    texts: of all functions that they launch or call, by name; `kernels` are those that they launch
    """
    if len(commands) > MOST_COMMANDS:
        return f"it has {len(commands)} commands, and one kernel at most {MOST_COMMANDS}"
    if more := set(headers) - HEADERS:
        return f"no stage of a kernel computes what is in {', '.join(sorted(more))}"
    for command in commands:
        if isinstance(command, Launch) and not _fits(command, kernels):
            return (
                f"the threads of {command.function} wait for each other, {command.block[0]} a block"
            )
        if isinstance(command, Product) and _extent(command) > MOST_ELEMENTS:
            return "a product has too many elements"
        if isinstance(command, Product) and command.epilogue in AUXILIARY:
            return f"only a library computes {command.epilogue}"
        if isinstance(command, Product) and command.formats:
            return "only a library multiplies operands of 8 bits"
    if (nbytes := shared_bytes(texts, commands)) > MAX_SHARED_BYTES:
        return f"it would take {nbytes:,} bytes of shared memory"
    places = {a for c in commands if isinstance(c, Launch) for a in c.arguments}
    if 8 * len(places) > MAX_ARGUMENT_BYTES:
        return "it would take too many arguments"
    return ""


def _fits(launch: Launch, kernels: Mapping[str, Function]) -> bool:
    """Whether its blocks are those of the kernel, or parts of them that need no barrier."""
    threads = launch.block[0]
    narrow = threads < THREADS and not is_block_wide(kernels[launch.function])
    return threads == THREADS or narrow


def _extent(p: Product) -> int:
    pairs = ((p.left, max(p.m, p.k)), (p.right, max(p.k, p.n)), (p.result, p.m))
    return max(matrix.leading * rows for matrix, rows in pairs)


def seconds_of(
    commands: Sequence[Command], spans: Sequence[Sequence[Span]], stages: Sequence[Sequence[int]],
    blocks: int, rates: Rates = RATES, each: StageRates = STAGE_RATES,
) -> float:  # fmt: skip
    """The estimate of a step as one kernel of so many blocks."""
    share = min(1.0, blocks / rates.multiprocessors)
    seconds = rates.launch
    for stage in stages:
        turns = [_turns(commands[i], each) for i in stage]
        nbytes = sum(span.end - span.start for i in stage for span in spans[i])
        busy = sum(count * one for count, one in turns) / blocks
        longest = max(one for _, one in turns)
        seconds += each.block if blocks == 1 else each.grid
        seconds += max(busy, longest, nbytes / (rates.bandwidth * share))
    return seconds


def seconds_apart(
    commands: Sequence[Command], rates: Rates = RATES, each: StageRates = STAGE_RATES
) -> float:
    """The estimate of commands as launches, one after the other, each of which has the whole GPU.

    A multiprocessor has several blocks of a launch at once. A library's products run at its rate,
    but wait for terms as others do: 64 by 784 by 256 in float32 took 7 µs on an H100.
    """
    seconds = 0.0
    for command in commands:
        if isinstance(command, Product):
            rate = rates.narrow_products if command.dtype.itemsize == 2 else rates.wide_products
            work = 2.0 * math.prod(command.batch) * command.m * command.n * command.k / rate
            work = max(work, _turns(command, each)[1])
        else:
            count, one = _turns(command, each)
            work = one * max(1.0, count / (ABREAST * rates.multiprocessors))
        seconds += rates.launch + work
    return seconds


def _turns(command: Command, each: StageRates) -> tuple[int, float]:
    """The blocks of a command, and how long one takes."""
    if isinstance(command, Product):
        return blocks_of(command), each.turn + each.stretch * stretches(command)
    if isinstance(command, Launch):
        return -(-command.grid[0] * command.block[0] // THREADS), each.turn
    return 1, each.turn


@dataclass(frozen=True)
class Choice:
    """How many blocks one kernel should have, 0 for launches, and why."""

    blocks: int
    why: str


def choose(
    program: CudaProgram, parts: Parts, spans: Sequence[Sequence[Span]],
    stages: Sequence[Sequence[int]], apart: float,
) -> Choice:  # fmt: skip
    """One kernel where the estimate says that it pays. `apart` is that of launches, in seconds."""
    if not program.launches:
        return Choice(0, "")
    if what := obstacle(program, parts):
        return Choice(0, f"launch by launch: {what}")
    tried = {n: seconds_of(program.launches, spans, stages, n) for n in COUNTS}
    best = min(tried, key=lambda n: (tried[n], n))
    several = f"{best} blocks" if best > 1 else "one block"
    told = f"{tried[best] * 1e6:.1f} µs by the estimate"
    others = f"{len(program.launches)} launches {apart * 1e6:.1f} µs"
    if tried[best] <= apart * (1 - LEAST_GAIN):
        return Choice(best, f"one kernel of {several}: {told}, {others}")
    return Choice(
        0, f"launch by launch: {others} by the estimate, one kernel {told.split(' by')[0]}"
    )
