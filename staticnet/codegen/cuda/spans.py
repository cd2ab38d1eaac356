"""Which bytes each command of a program touches, and which commands must wait for which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from staticnet.codegen.commands import (
    FACTOR_BYTES,
    Address,
    Command,
    Copy,
    HostCall,
    Launch,
    LibraryCall,
    Matrix,
    Product,
)
from staticnet.codegen.launches import CudaProgram
from staticnet.plan.plan import Plan
from staticnet.plan.results import results_of

Memory = tuple[str, int]
FLAG_BYTES = 4  # of what tells a failure


@dataclass(frozen=True)
class Span:
    """Bytes from `start` to `end` of a piece of memory that has its own address."""

    memory: Memory
    start: int
    end: int
    written: bool


def spans_of(plan: Plan, program: CudaProgram) -> list[list[Span]]:
    """The spans of each command of a plan's program; kernels touch whole values."""
    finder = _Finder(plan, program.arena_bytes)
    return [list(finder.spans(command)) for command in program.launches]


class _Finder:
    def __init__(self, plan: Plan, arena_bytes: int) -> None:
        self._arena_bytes = arena_bytes
        graph = plan.graph
        nodes = {"feed": graph.inputs, "state": graph.variables, "constant": plan.constants}
        nodes["output"] = graph.outputs
        self._sizes = {
            (kind, at): int(node.type.nbytes)
            for kind, listed in nodes.items()
            for at, node in enumerate(listed)
        }
        self._blocks: dict[int, list[tuple[int, int, int]]] = {}
        for node, block in plan.blocks.items():
            found = self._blocks.setdefault(plan.places[node].at, [])
            found.append((block.first, block.last, int(node.type.nbytes)))

    def spans(self, command: Command) -> Iterator[Span]:
        if isinstance(command, Copy):
            yield _span(command.source, command.nbytes, False)
            yield _span(command.target, command.nbytes, True)
        elif isinstance(command, Product):
            yield from _product(command)
        elif isinstance(command, LibraryCall):
            yield from self._call(command)
        elif isinstance(command, HostCall):
            node = command.node
            for address, x in zip(command.operands, node.inputs, strict=True):
                yield _span(address, int(x.type.nbytes), False)
            for address, x in zip(command.results, results_of(node), strict=True):
                yield _span(address, int(x.type.nbytes), True)
        elif isinstance(command, Launch):
            yield from self._launch(command)
        else:
            raise AssertionError(f"{command} runs others, on one stream")

    def _call(self, command: LibraryCall) -> Iterator[Span]:
        """What either way touches."""
        signature = command.signature
        for address, x in zip(command.addresses, signature.arrays, strict=True):
            yield _span(address, x.nbytes, x.name in signature.results)
        for launch in command.own:
            yield from self._launch(launch)

    def _launch(self, launch: Launch) -> Iterator[Span]:
        for argument, written in zip(launch.arguments, launch.written, strict=True):
            if not isinstance(argument, Address):
                continue
            if argument.kind == "failed":
                yield Span(("failed", 0), 0, FLAG_BYTES, launch.site > 0)
            elif argument.kind == "barrier":
                yield Span(("barrier", 0), 0, FLAG_BYTES, True)
            elif launch.scratch is not None and argument.at == launch.scratch.at:
                yield _span(launch.scratch, launch.scratch_bytes, written)
            else:
                nbytes = self._nbytes(argument, launch.step)
                if written:
                    yield _span(argument, nbytes - argument.offset, written)
                else:  # steps may lead back from its first element
                    yield _span(replace(argument, offset=0), nbytes, written)

    def _nbytes(self, address: Address, step: int) -> int:
        """The bytes from an address on that belong to what lies there in a step."""
        if address.kind != "arena":
            return self._sizes[address.kind, address.at]
        live = [
            size for first, last, size in self._blocks.get(address.at, ()) if first <= step <= last
        ]
        return max(live, default=self._arena_bytes - address.at)


def _span(address: Address, nbytes: int, written: bool) -> Span:
    if address.kind == "arena":
        start = address.at + address.offset
        return Span(("arena", 0), start, start + nbytes, written)
    return Span((address.kind, address.at), address.offset, address.offset + nbytes, written)


def _product(p: Product) -> Iterator[Span]:
    for matrix, rows, columns, itemsize, written in (
        (p.left, p.m, p.k, p.operand_bytes, False),
        (p.right, p.k, p.n, p.operand_bytes, False),
        (p.result, p.m, p.n, p.dtype.itemsize, True),
    ):
        elements = _extent(matrix, p.batch, rows, columns)
        yield _span(matrix.address, elements * itemsize, written)
    for factor in p.factors:
        yield _span(factor, FACTOR_BYTES, False)
    if p.bias is not None:
        yield _span(p.bias, p.bias_bytes, p.sums)
    if p.auxiliary is not None:
        yield _span(p.auxiliary, p.auxiliary_bytes, p.saves)


def _extent(matrix: Matrix, batch: tuple[int, ...], rows: int, columns: int) -> int:
    """Elements from the first to the last of a stack of matrices."""
    lines, length = (columns, rows) if matrix.transposed else (rows, columns)
    last = sum(stride * (n - 1) for stride, n in zip(matrix.strides, batch, strict=True))
    return last + (lines - 1) * matrix.leading + length


def dependences(spans: Sequence[Sequence[Span]]) -> list[frozenset[int]]:
    """For each command the earlier ones that it must run after, those apart that others imply."""
    known: dict[Memory, list[tuple[int, int, bool, int]]] = {}
    waits: list[frozenset[int]] = []
    for number, own in enumerate(spans):
        found: set[int] = set()
        for span in dict.fromkeys(own):
            start, end, written = span.start, span.end, span.written
            entries = known.setdefault(span.memory, [])
            found |= {i for s, e, w, i in entries if s < end and start < e and (written or w)}
            if written:  # what it writes over is implied from here on by itself
                entries[:] = [x for x in entries if x[0] < start or end < x[1] or x[3] == number]
            entries.append((start, end, written, number))
        waits.append(frozenset(found - {number}))
    return waits
