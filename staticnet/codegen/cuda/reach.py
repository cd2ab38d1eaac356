"""What memory an address leads to in all steps of a loop."""

from __future__ import annotations

from typing import NamedTuple

from staticnet.codegen.commands import Address, Loop


class Reach(NamedTuple):
    """Bytes of a buffer, from and to, or of an unknown part of it if another loop moves them."""

    address: Address
    start: int
    end: int
    known: bool


def reach(loop: Loop, address: Address, nbytes: int) -> Reach:
    """The memory of so many bytes at an address, in all steps of a loop."""
    moved = sum(n for number, n in address.advance if number == loop.number)
    start = address.offset + (address.at if address.kind == "arena" else 0)
    known = all(number == loop.number for number, _ in address.advance)
    return Reach(address, start, start + nbytes + moved * (loop.count - 1), known)


def overlap(one: Reach, other: Reach) -> bool:
    """Whether some bytes may be of both."""
    a, b = one.address, other.address
    if a.kind != b.kind or (a.kind != "arena" and a.at != b.at):
        return False
    return not (one.known and other.known) or (one.start < other.end and other.start < one.end)
