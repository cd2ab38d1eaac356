"""What a GPU's driver runs for one step: kernels, products and copies, in order.

A program's `source` is CUDA C++ whose kernels are `extern "C"`. Before the first launch the driver
sets the int32s at `FAILED` and `BARRIER` to 0; after the last that at `FAILED` is 0, or the number
of the node in `sites`, from 1, whose index was out of range. The state is unchanged then: every
kernel that writes it looks at that number first. Feeds, state, constants, outputs and the arena
begin at multiples of `ALIGNMENT` bytes; kernels rely on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from staticnet.codegen.commands import (
    ASKING,
    HOSTED,
    Branch,
    Command,
    Copy,
    HostCall,
    Launch,
    LibraryCall,
    Loop,
    While,
    parts_of,
    walk,
)
from staticnet.ir.node import Node
from staticnet.plan.fusion import Group


@dataclass(frozen=True)
class Lane:
    """The stream that a command runs on, from 0, and the commands on others that it waits for."""

    stream: int = 0
    waits: tuple[int, ...] = ()


@dataclass(frozen=True)
class CudaProgram:
    """A plan's CUDA source and what to run of it.

    `body` is the part of the source that is this plan's own, its kernels. `arena_bytes` hold the
    plan's values and the launches' scratch memory. `texts` are what runs for each kernel or
    routine; those of one launch share theirs. `functions` are the names of its own functions:
    kernel 4's is `k4`, or `m4` in a launch with others, a second one `k4_1`; equal ones are one, of
    the first that runs it. `lanes` tell each command's stream; with none all run in order on one.

    With `stages` the whole step is the one launch, and those are the commands that it stands for:
    what is in one stage runs side by side, and a barrier is between two. Its first two arguments
    are the address of the table of `kernels/draw.cuh`, 0 for none, and how many steps it makes.
    `choice` says why it is so, or why not.
    """

    source: str
    body: str
    launches: tuple[Command, ...]
    arena_bytes: int
    sites: tuple[Node, ...]
    texts: Mapping[Group, str]
    functions: Mapping[Group, str]
    lanes: tuple[Lane, ...] = ()
    stages: tuple[tuple[Command, ...], ...] = ()
    choice: str = ""

    @property
    def commands(self) -> tuple[Command, ...]:
        """What a step does, in order, whether in one launch or in many."""
        if not self.stages:
            return self.launches
        return tuple(command for stage in self.stages for command in stage)

    @property
    def waits_for_host(self) -> bool:
        """Whether the host has a part in it, so that no graph can be captured of a step."""
        return any(isinstance(command, HOSTED) for command in self.launches)

    @property
    def may_ask_device(self) -> bool:
        """Whether graphs can hold all of it that else waits for the host, in conditional nodes."""
        inside = (command for command in walk(self.launches) if isinstance(command, HOSTED))
        return all(isinstance(command, ASKING) for command in inside)

    @property
    def streams(self) -> int:
        """How many streams its commands run on."""
        return max((lane.stream for lane in self.lanes), default=0) + 1

    def __str__(self) -> str:
        """The commands in order, a line each, with streams and waits where there are several."""
        lines = []
        if self.stages:
            (launch,) = self.launches
            lines.append(f"0: {format_command(launch)}: {len(self.stages)} stages of one kernel")
            for stage in self.stages:
                told = (format_command(command, "product") for command in stage)
                lines.append(f"   {'; '.join(told)}")
            return "\n".join(lines)
        for number, command in enumerate(self.launches):
            line = f"{number}: {format_command(command)}"
            if self.streams > 1:
                lane = self.lanes[number]
                after = f" after {', '.join(map(str, lane.waits))}" if lane.waits else ""
                line += f"  // stream {lane.stream}{after}"
            lines.append(line)
        return "\n".join(lines)


def format_command(command: Command, by: str = "cuBLASLt") -> str:
    """`k0<blocks, threads>`, `cuBLASLt: [m,k] by [k,n]`, `copy of n bytes` or `Python: …`.

    by: what computes products
    """
    if isinstance(command, Copy):
        return f"copy of {command.nbytes:,} bytes"
    if isinstance(command, HostCall):
        return f"Python: {command.node.op.name} {command.node.type}, on copies in the host's memory"
    if isinstance(command, LibraryCall):
        own = "; ".join(map(format_command, command.own))
        return f"cuDNN, or {own}: {command.signature}"
    if isinstance(command, Launch):
        return f"{command.function}<{command.grid[0]}, {command.block[0]}>"
    if isinstance(command, Loop | While | Branch):
        kind = f"{command.count} times" if isinstance(command, Loop) else type(command).__name__
        lists = ("; ".join(map(format_command, part)) for part in parts_of(command))
        return f"{kind.lower()} {{{'} {'.join(lists)}}}"
    sizes = f"[{command.m},{command.k}] by [{command.k},{command.n}]"
    batch = f", {list(command.batch)} of them" if command.batch else ""
    epilogue = "" if command.epilogue == "none" else f", then {command.epilogue}"
    return f"{by}: {sizes} {command.dtype.name}{batch}{epilogue}"
