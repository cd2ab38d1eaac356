"""The commands of a GPU's driver: kernels, products, copies, and what repeats or chooses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from staticnet.ir.dtype import DType, short_name
from staticnet.ir.node import Node
from staticnet.ops.auxiliary import mask_bytes

ALIGNMENT = 256  # bytes, of the beginning of each buffer
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Address:
    """Memory: `kind` and `at` are those of a `plan.Place`, and `offset` is bytes further on.

    Of kinds "failed" and "barrier" there is one int32 each: what tells a failure, and where the
    blocks of a cooperative launch wait. `advance` is how many bytes further it is with each step of
    a loop, by the loop's number.
    """

    kind: str
    at: int
    offset: int = 0
    advance: tuple[tuple[int, int], ...] = ()

    def further(self, nbytes: int) -> Address:
        """So many bytes further on."""
        return replace(self, offset=self.offset + nbytes)

    def element(self, loop: int, nbytes: int) -> Address:
        """Of a stack, the element that a loop's step has."""
        return replace(self, advance=(*self.advance, (loop, nbytes)))

    def at_step(self, loop: int, step: int) -> Address:
        """Where it is in one step of a loop."""
        moved = sum(nbytes * step for number, nbytes in self.advance if number == loop)
        rest = tuple(entry for entry in self.advance if entry[0] != loop)
        return replace(self, offset=self.offset + moved, advance=rest)

    def is_aligned(self, nbytes: int) -> bool:
        """Whether it lies at a multiple of so many bytes, in every step."""
        return not any(n % nbytes for n in (self.offset, *(n for _, n in self.advance)))


FAILED = Address("failed", 0)
BARRIER = Address("barrier", 0)


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
    memory that the kernel may write. Of a `cooperative` one all blocks run together; they may be
    fewer, as many as the GPU has multiprocessors.
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
    cooperative: bool = False


FACTOR_BYTES = 4  # of what an operand of 8 bits is multiplied by


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

    Of `staticnet.ops.auxiliary.AUXILIARY` an epilogue writes or reads what lies at `auxiliary`,
    [m, n] of `dtype` or, of relu, rows of bits; or it writes to `bias` sums of the result's rows
    or, of "bgrada" and "bgradb", of the right operand, [n], and the left one, [m].

    Operands of 8 bits are in `formats`, "e4m3" or "e5m2", the left one's and the right one's, and
    multiplied by the numbers at `factors`; the left one is not transposed, and the right one is.
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
    auxiliary: Address | None = None
    formats: tuple[str, str] | None = None
    factors: tuple[Address, ...] = ()

    @property
    def operand_bytes(self) -> int:
        """Bytes of an element of an operand."""
        return self.dtype.itemsize if self.formats is None else 1

    @property
    def sums(self) -> bool:
        """Whether it writes sums to `bias`."""
        return "bgrad" in self.epilogue

    @property
    def saves(self) -> bool:
        """Whether it writes what lies at `auxiliary`."""
        return "_aux" in self.epilogue

    @property
    def bias_bytes(self) -> int:
        """Bytes at `bias`."""
        return (self.m if self.epilogue == "bgradb" else self.n) * self.dtype.itemsize

    @property
    def auxiliary_bytes(self) -> int:
        """Bytes at `auxiliary`."""
        relu = "relu" in self.epilogue
        return self.m * (mask_bytes(self.n) if relu else self.n * self.dtype.itemsize)


@dataclass(frozen=True)
class Operand:
    """An array that a library reads or writes: steps are the elements between neighbours."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The bytes from its first element to its last."""
        last = sum(step * (n - 1) for step, n in zip(self.steps, self.shape, strict=True))
        return (last + 1) * self.dtype.itemsize


@dataclass(frozen=True)
class Signature:
    """What a library computes in one call: an op's name, its arrays, and what else it is told.

    `results` are the names of the arrays that it writes.
    """

    kind: str
    arrays: tuple[Operand, ...]
    results: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]

    def option(self, name: str) -> Any:
        """What it is told under a name."""
        return dict(self.options)[name]

    def __str__(self) -> str:
        arrays = (f"{x.name} {short_name(x.dtype)}{list(x.shape)}" for x in self.arrays)
        return f"{self.kind}: {', '.join(arrays)}"


@dataclass(frozen=True)
class LibraryCall:
    """What cuDNN may compute, or launches of `own` do: which is chosen when they are bound.

    `addresses` are where the signature's arrays begin. Or cuDNN computes `plain`, a signature with
    its addresses, and launches of `rest` make the whole of it.
    """

    node: Node
    signature: Signature
    addresses: tuple[Address, ...]
    own: tuple[Launch, ...]
    step: int
    plain: tuple[Signature, tuple[Address, ...]] | None = None
    rest: tuple[Launch, ...] = ()


@dataclass(frozen=True)
class Copy:
    """Bytes that are copied on the device; `step` is -1 before the first step."""

    source: Address
    target: Address
    nbytes: int
    step: int


@dataclass(frozen=True)
class HostCall:
    """A node that Python computes, from copies in the host's memory; its results are copied back.

    The device is waited for. A step that has failed by then does not make the call.
    """

    node: Node
    operands: tuple[Address, ...]
    results: tuple[Address, ...]
    step: int


@dataclass(frozen=True)
class Loop:
    """Commands that run for each step of a loop, which has a number of its own in the program.

    The host launches them, at the addresses of each step; it waits for nothing.
    """

    number: int
    commands: tuple[Command, ...]
    count: int
    reverse: bool
    step: int

    @property
    def order(self) -> Iterable[int]:
        """The numbers of the steps, as they run."""
        return reversed(range(self.count)) if self.reverse else range(self.count)

    def at_step(self, t: int) -> list[Command]:
        """The commands at the addresses of one step."""

        def move(address: Address) -> Address:
            return address.at_step(self.number, t)

        return [with_addresses(command, move) for command in self.commands]


@dataclass(frozen=True)
class While:
    """Commands that run while the bool at `going`, which `test` makes, is true.

    The host reads it, with the device waited for, before each step. A failure ends it too. Four
    bytes further there is room for an int32.
    """

    test: tuple[Command, ...]
    going: Address
    body: tuple[Command, ...]
    step: int


@dataclass(frozen=True)
class Branch:
    """Commands of which those of one side run: the host reads the bool at `taken`.

    Made where commands of a side cannot be told by the device not to run.
    """

    taken: Address
    then: tuple[Command, ...]
    other: tuple[Command, ...]
    step: int


Command = Launch | Product | LibraryCall | Copy | HostCall | Loop | While | Branch
HOSTED = (HostCall, Loop, While, Branch)  # what no graph of a step can hold
ASKING = (While, Branch)  # but these, where the driver has conditional nodes


def parts_of(command: Command) -> tuple[tuple[Command, ...], ...]:
    """The commands that a command runs, list by list."""
    if isinstance(command, Loop):
        return (command.commands,)
    if isinstance(command, While):
        return command.test, command.body
    if isinstance(command, LibraryCall):
        return (command.own, command.rest) if command.rest else (command.own,)
    return (command.then, command.other) if isinstance(command, Branch) else ()


def walk(commands: Iterable[Command]) -> Iterator[Command]:
    """Commands, each followed by those that it runs."""
    for command in commands:
        yield command
        for part in parts_of(command):
            yield from walk(part)


def with_addresses(command: Command, change: Callable[[Address], Address]) -> Command:
    """A command with its addresses changed, those of what it runs too."""

    def all_of(commands: tuple[Command, ...]) -> tuple[Command, ...]:
        return tuple(with_addresses(each, change) for each in commands)

    if isinstance(command, Launch):
        given = (change(a) if isinstance(a, Address) else a for a in command.arguments)
        return replace(command, arguments=tuple(given))
    if isinstance(command, Product):
        left, right, result = (
            replace(m, address=change(m.address))
            for m in (command.left, command.right, command.result)
        )
        bias, auxiliary = (
            change(address) if address else None for address in (command.bias, command.auxiliary)
        )
        return replace(
            command, left=left, right=right, result=result, bias=bias, auxiliary=auxiliary,
            factors=tuple(map(change, command.factors)),
        )  # fmt: skip
    if isinstance(command, LibraryCall):
        own, rest = (
            tuple(with_addresses(each, change) for each in part)
            for part in (command.own, command.rest)
        )
        addresses, plain = tuple(map(change, command.addresses)), command.plain
        moved = plain and (plain[0], tuple(map(change, plain[1])))
        return replace(command, addresses=addresses, own=own, plain=moved, rest=rest)  # type: ignore[arg-type]
    if isinstance(command, Copy):
        return replace(command, source=change(command.source), target=change(command.target))
    if isinstance(command, HostCall):
        operands = tuple(map(change, command.operands))
        results = tuple(map(change, command.results))
        return replace(command, operands=operands, results=results)
    if isinstance(command, Loop):
        return replace(command, commands=all_of(command.commands))
    if isinstance(command, While):
        test, body = all_of(command.test), all_of(command.body)
        return replace(command, test=test, going=change(command.going), body=body)
    then, other = all_of(command.then), all_of(command.other)
    return replace(command, taken=change(command.taken), then=then, other=other)
