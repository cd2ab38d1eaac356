"""The device memory of one specialisation: one block for all it works in, and a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from staticnet.backends.cuda.device import Device
from staticnet.backends.cuda.staging import state_bytes
from staticnet.codegen.commands import ALIGNMENT, Address
from staticnet.errors import MemoryLimitError
from staticnet.plan.analysis import analyse_memory
from staticnet.plan.plan import Plan

FLAG_BYTES = 4
BARRIER = ALIGNMENT // 2  # bytes from the flag to where blocks wait for each other, both 0 at first


@dataclass(frozen=True)
class Layout:
    """Where everything lies in the block, in bytes from its beginning. State lies elsewhere."""

    feeds: tuple[int, ...]
    constants: tuple[int, ...]
    outputs: tuple[int, ...]
    failed: int
    staging: int
    arena: int
    total: int

    def offset(self, address: Address) -> int:
        """The place of an address that is not of the state."""
        if address.kind == "failed":
            return self.failed + address.offset
        if address.kind == "barrier":
            return self.failed + BARRIER
        if address.kind == "arena":
            return self.arena + address.at + address.offset
        regions = {"feed": self.feeds, "constant": self.constants, "output": self.outputs}
        return regions[address.kind][address.at] + address.offset


def aligned(nbytes: int) -> int:
    """The bytes, and those up to where something else may begin."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def lay_out(plan: Plan, arena_bytes: int) -> Layout:
    """The layout for a plan whose program needs an arena of so many bytes. Feeds come first."""
    at = 0

    def reserve(nbytes: int) -> int:
        nonlocal at
        place = at
        at += aligned(nbytes)
        return place

    def each(nodes: Sequence[Any]) -> tuple[int, ...]:
        return tuple(reserve(int(node.type.nbytes)) for node in nodes)

    feeds, constants = each(plan.graph.inputs), each(plan.constants)
    outputs = each(plan.graph.outputs)
    failed, staging = reserve(BARRIER + FLAG_BYTES), reserve(state_bytes(len(feeds), len(outputs)))
    arena = reserve(arena_bytes)
    return Layout(feeds, constants, outputs, failed, staging, arena, at)


def check_room(device: Device, plan: Plan, wanted: int, state: int) -> None:
    """See that there is room for a specialisation before any of it is allocated.

    Raises:
        MemoryLimitError: with the bytes wanted and free, and the values that need the most.
    """
    free = device.free_bytes()
    if wanted + state > free:
        raise lacking(device, plan, wanted + state, free)


def lacking(device: Device, plan: Plan, wanted: int, free: int) -> MemoryLimitError:
    """The error of too little memory."""
    memory = analyse_memory(plan)
    error = MemoryLimitError(
        f"{plan.graph.name}: needs {wanted:,} bytes on {device.name}, where {free:,} are free; "
        f"feed a smaller batch, or free memory that other programs hold\n{memory}"
    )
    error.limit = free + memory.peak - wanted
    return error


def allocate(device: Device, plan: Plan, nbytes: int) -> Any:
    """So many bytes of device memory; CuPy's `MemoryPointer`.

    Raises:
        MemoryLimitError: if they are not to be had in one piece.
    """
    cupy = device.cupy
    try:
        return cupy.cuda.alloc(nbytes)
    except cupy.cuda.memory.OutOfMemoryError:
        cupy.get_default_memory_pool().free_all_blocks()
    try:
        return cupy.cuda.alloc(nbytes)
    except cupy.cuda.memory.OutOfMemoryError:
        raise lacking(device, plan, nbytes, device.free_bytes()) from None
