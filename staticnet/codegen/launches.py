"""What a GPU's driver runs for one step: kernels, products and copies, in order.

A program's `source` is CUDA C++ whose kernels are `extern "C"`. Before the first launch the driver
sets the int32 at `FAILED` to 0; after the last it is 0, or the number of the node in `sites`, from
1, whose index was out of range. The state is unchanged then: every kernel that writes it looks at
that number first. Feeds, state, constants, outputs and the arena begin at multiples of
`ALIGNMENT` bytes; kernels rely on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from staticnet.ir.dtype import DType
from staticnet.ir.node import Node
from staticnet.plan.fusion import Group

ALIGNMENT = 256  # bytes, of the beginning of each buffer
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Address:
    """Memory: `kind` and `at` are those of a `plan.Place`, and `offset` is bytes further on.

    Of kind "failed" there is one int32, which tells a failure.
    """

    kind: str
    at: int
    offset: int = 0


FAILED = Address("failed", 0)


@dataclass(frozen=True)
class Number:
    """An integer that a kernel takes by value, of 4 or 8 bytes."""

    value: int
    itemsize: int = 4


Argument = Address | Number


@dataclass(frozen=True)
class Launch:
    """A kernel's call. `grid` and `block` are blocks and threads along x, y, z.

    `scratch` is memory of `scratch_bytes` in the arena, also among the arguments, that holds
    partial results between the launches of the plan's step `step`; it is not kept beyond it.
    `site` tells its failures; 0 if it cannot fail. `written` says of each argument whether it is
    memory that the kernel may write.
    """

    function: str
    grid: Size
    block: Size
    arguments: tuple[Argument, ...]
    written: tuple[bool, ...]
    step: int
    site: int = 0
    scratch: Address | None = None
    scratch_bytes: int = 0
    shared_bytes: int = 0


@dataclass(frozen=True)
class Matrix:
    """A stack of matrices in memory.

    Element (i, j) of one lies at i * leading + j, or of a `transposed` one at j * leading + i;
    `strides` are the elements between matrices along each of the product's batch axes, 0 where all
    are the same.
    """

    address: Address
    transposed: bool
    leading: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """result = activation(left @ right + bias) for each point of `batch`.

    left: [m, k], right: [k, n] -> result: [m, n], never transposed. All are of `dtype`; 16-bit
    floats sum in float32 and round once, after the epilogue. `epilogue` is "none" or one of
    `staticnet.ops.library.EPILOGUES`; `bias` is [n]. None of the sizes is 0. `batch` has the fewest
    axes that strides can tell, so that a single one is a strided batch.
    """

    node: Node
    dtype: DType
    m: int
    n: int
    k: int
    batch: tuple[int, ...]
    left: Matrix
    right: Matrix
    result: Matrix
    step: int
    epilogue: str = "none"
    bias: Address | None = None


@dataclass(frozen=True)
class Copy:
    """Bytes that are copied on the device; `step` is -1 before the first step."""

    source: Address
    target: Address
    nbytes: int
    step: int


@dataclass(frozen=True)
class HostCall:
    """A node that Python computes, from copies in the host's memory; its result is copied back.

    The device is waited for. A step that has failed by then does not make the call.
    """

    node: Node
    operands: tuple[Address, ...]
    result: Address
    step: int


Command = Launch | Product | Copy | HostCall


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
    """

    source: str
    body: str
    launches: tuple[Command, ...]
    arena_bytes: int
    sites: tuple[Node, ...]
    texts: Mapping[Group, str]
    functions: Mapping[Group, str]
    lanes: tuple[Lane, ...] = ()

    @property
    def waits_for_host(self) -> bool:
        """Whether Python computes a part of it, so that no graph can be captured of a step."""
        return any(isinstance(command, HostCall) for command in self.launches)

    @property
    def streams(self) -> int:
        """How many streams its commands run on."""
        return max((lane.stream for lane in self.lanes), default=0) + 1

    def __str__(self) -> str:
        """The commands in order, a line each, with streams and waits where there are several."""
        lines = []
        for number, command in enumerate(self.launches):
            line = f"{number}: {format_command(command)}"
            if self.streams > 1:
                lane = self.lanes[number]
                after = f" after {', '.join(map(str, lane.waits))}" if lane.waits else ""
                line += f"  // stream {lane.stream}{after}"
            lines.append(line)
        return "\n".join(lines)


def format_command(command: Command) -> str:
    """`k0<blocks, threads>`, `cuBLASLt: [m,k] by [k,n]`, `copy of n bytes` or `Python: …`."""
    if isinstance(command, Copy):
        return f"copy of {command.nbytes:,} bytes"
    if isinstance(command, HostCall):
        return f"Python: {command.node.op.name} {command.node.type}, on copies in the host's memory"
    if isinstance(command, Launch):
        return f"{command.function}<{command.grid[0]}, {command.block[0]}>"
    sizes = f"[{command.m},{command.k}] by [{command.k},{command.n}]"
    batch = f", {list(command.batch)} of them" if command.batch else ""
    epilogue = "" if command.epilogue == "none" else f", then {command.epilogue}"
    return f"cuBLASLt: {sizes} {command.dtype.name}{batch}{epilogue}"
