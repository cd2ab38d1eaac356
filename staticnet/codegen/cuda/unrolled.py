"""The steps of a loop written out, one after the other, each at its own addresses.

A carry that a step also stacks would be copied from there to where the next step looks for it. Here
the next step looks where it is stacked, and the last copies it alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from staticnet.codegen.commands import (
    ALIGNMENT,
    Address,
    Command,
    Copy,
    Launch,
    Loop,
    Product,
    with_addresses,
)


def written_out(loop: Loop, carries: Sequence[Address]) -> Iterator[Command]:
    """The commands of all steps of a loop, in order."""
    copies = needless_copies(loop, carries)
    order = list(loop.order)
    rows: dict[Address, Address] = {}  # where the carries are stacked that the step before made
    for t in order:
        find = partial(_found, rows, {copy.target: copy.nbytes for copy in copies.values()})
        made: dict[Address, Address] = {}
        for number, command in enumerate(loop.at_step(t)):
            if number not in copies:
                yield with_addresses(command, find)
                continue
            assert isinstance(command, Copy)
            made[command.target] = command.source
            if t == order[-1]:
                yield command
        rows = made


def _found(rows: Mapping[Address, Address], sizes: Mapping[Address, int], x: Address) -> Address:
    """Where what a step reads at an address lies."""
    for carry, row in rows.items():
        if is_within(x, carry, sizes[carry]):
            return row.further(x.offset - carry.offset)
    return x


def needless_copies(loop: Loop, carries: Sequence[Address]) -> dict[int, Copy]:
    """The copies of stacked rows to carries, by number, that all steps but the last can spare.

    Nothing else in the step writes the carry, nor reads it after the copy. Rows must be as aligned
    as values are, since kernels rely on it.
    """
    found = {
        number: command
        for number, command in enumerate(loop.commands)
        if isinstance(command, Copy)
        and command.target in carries
        and any(stack == loop.number for stack, _ in command.source.advance)
        and command.source.is_aligned(ALIGNMENT)
    }
    if not all(isinstance(command, Launch | Product | Copy) for command in loop.commands):
        return {}
    return {i: copy for i, copy in found.items() if not _is_otherwise_used(loop.commands, i, copy)}


def _is_otherwise_used(commands: Sequence[Command], number: int, copy: Copy) -> bool:
    for i, command in enumerate(commands):
        used = addresses(command) if i > number else written(command)
        if i != number and any(is_within(x, copy.target, copy.nbytes) for x in used):
            return True
    return False


def addresses(command: Command) -> list[Address]:
    """All that a command is given."""
    found: list[Address] = []
    with_addresses(command, lambda x: found.append(x) or x)  # type: ignore[func-returns-value]
    return found


def written(command: Command) -> list[Address]:
    """What a launch, a product or a copy writes."""
    if isinstance(command, Launch):
        pairs = zip(command.arguments, command.written, strict=True)
        return [x for x, written in pairs if written and isinstance(x, Address)]
    if isinstance(command, Copy):
        return [command.target]
    assert isinstance(command, Product)
    beside = (command.bias if command.sums else None, command.auxiliary if command.saves else None)
    return [command.result.address, *(x for x in beside if x is not None)]


def is_within(x: Address, first: Address, nbytes: int) -> bool:
    """Whether an address lies in the bytes of a value."""
    same = (x.kind, x.at, x.advance) == (first.kind, first.at, first.advance)
    return same and 0 <= x.offset - first.offset < nbytes
