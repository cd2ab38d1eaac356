"""Where a step's feeds lie and its outputs go: told to the captured graph through pinned memory.

A graph reads and writes fixed places. It copies feeds there and outputs from there itself; at which
addresses they are this time, the host writes into a ring in pinned memory. So a call is one launch,
and an allocation for each output. See docs/adr/0024.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from staticnet.backends.cuda.device import Device, wait_until
from staticnet.codegen.resources import kernel_text
from staticnet.ir.node import Node
from staticnet.ir.types import fixed

RING_BYTES = 64 << 20  # of pinned memory that the feeds of one specialisation should not exceed
MOST_SLOTS = 16
ROWS = 256
LARGE = 1 << 20  # bytes of host feeds, from which on the copy engine carries them
THREADS, MAX_BLOCKS, UNIT = 256, 1024, 16
WORD = 8


@cache
def source() -> str:
    """The kernels' CUDA."""
    return kernel_text("staging.cuh")


def state_bytes(feeds: int, outputs: int) -> int:
    """Bytes of device memory in which the kernels find the places of feeds and outputs."""
    return WORD * (1 + 2 * (feeds + outputs))


class _Slot:
    """Pinned memory for the host feeds of a step, free when so many steps are done."""

    def __init__(self, device: Device, nbytes: int, feeds: Sequence[tuple[int, Node]]) -> None:
        self.memory = device.cupy.cuda.alloc_pinned_memory(nbytes)
        whole = np.frombuffer(self.memory, np.uint8, nbytes)
        self.address = int(self.memory.ptr)
        self.until = 0
        self.views = [
            whole[at : at + int(node.type.nbytes)].view(node.dtype).reshape(fixed(node.shape))
            for at, node in feeds
        ]


class _Ring:
    """Pinned memory that the device reads, and in which it counts the steps that it has done."""

    def __init__(self, device: Device, words: int, slots: int) -> None:
        self.memory = device.cupy.cuda.alloc_pinned_memory(WORD * (ROWS * words + 1))
        self.done_at = int(self.memory.ptr)
        self.address, row = self.done_at + WORD, ctypes.c_int64 * words
        self.done = ctypes.c_int64.from_address(self.done_at)
        self.done.value = self.posted = 0
        self.in_doubt = False  # whether the device may have done a step that was not `sent`
        self.rows = [row.from_address(self.address + WORD * words * i) for i in range(ROWS)]
        self.slots: list[_Slot | None] = [None] * slots
        self.held: list[Any] = []

    def busy(self) -> bool:
        """Whether the device may still read it."""
        return self.in_doubt or self.done.value < self.posted

    def wait(self, count: int, stream: Any) -> None:
        """Wait until the device has done so many steps, or all that is on the stream."""
        if self.done.value < count:
            wait_until(lambda: self.done.value >= count or stream.done)


class Staging:
    """The ring of one specialisation, and the kernels that read it.

    `feeds` and `outputs` are offsets from `base` of their places, the feeds' one after the other
    from 0 on. The host may be as many steps ahead of the device as the ring has rows, or pinned
    memory has slots if feeds come from the host.
    """

    def __init__(
        self, device: Device, inputs: Sequence[Node], results: Sequence[Node],
        feeds: Sequence[int], outputs: Sequence[int], base: int, state: int,
    ) -> None:  # fmt: skip
        self._device, self._base = device, base
        self._feeds = list(zip(feeds, inputs, strict=True))
        self._nbytes = max((at + int(node.type.nbytes) for at, node in self._feeds), default=0)
        slots = max(2, min(MOST_SLOTS, RING_BYTES // max(self._nbytes, 1)))
        self._words = len(feeds) + len(outputs)
        self._ring = _Ring(device, self._words, slots)
        weakref.finalize(self, device.keep, self._ring).atexit = False
        self._pieces = [int(node.type.nbytes) for node in (*inputs, *results)]
        if self._words:
            self._bind(state)
        pairs = zip((base + at for at in (*feeds, *outputs)), self._pieces, strict=True)
        table = np.array([0, *(word for pair in pairs for word in pair)], np.int64)
        device.write(state, table, device.stream())
        self._held: list[Any] = []  # what only the step that was told last reads

    def _bind(self, state: int) -> None:
        module = self._device.load(source())
        names = ("sn_fetch", "sn_deliver", "sn_finish")
        self._fetch, self._deliver, self._finish = map(module.get_function, names)
        ring, done = np.uintp(self._ring.address), np.uintp(self._ring.done_at)
        told = (ring, np.uintp(state), np.int32(ROWS), np.int32(self._words))
        self._told = told
        self._ends = (*told, np.int32(len(self._feeds)), done)
        self._over = (np.uintp(state), done)

    def post(self, feeds: Sequence[Any] | None, outputs: Sequence[Any], stream: Any) -> None:
        """Tell the next step where its feeds are and its outputs go; host feeds are copied now.

        None is for feeds that need no fetching, and no outputs for such as need no delivery. All of
        it has to lie there until `sent` is called, when the step is on its stream.
        """
        if not self._words:
            return
        ring = self._ring
        if ring.in_doubt:
            stream.synchronize()
            ring.posted = ring.done.value
        ring.wait(ring.posted - ROWS + 1, stream)
        ring.in_doubt = True
        count = len(self._feeds)
        sources = [0] * count if feeds is None else self._sources(feeds, stream)
        targets = [y.data.ptr for y in outputs] or [0] * (self._words - count)
        ring.rows[ring.posted % ROWS][:] = sources + targets

    def sent(self) -> None:
        """The step that was told last is on its stream."""
        self._ring.posted += bool(self._words)
        self._ring.in_doubt = False
        self._held = []

    def hold(self, memory: Any) -> None:
        """Keep pinned memory that steps write until the last of them is done."""
        self._ring.held.append(memory)

    def fetch(self, stream: Any) -> None:
        """Enqueue the copies of feeds to their places."""
        pieces = self._pieces[: len(self._feeds)]
        if any(pieces):
            self._fetch(*_grid(pieces), self._told, 0, stream)

    def deliver(self, stream: Any) -> None:
        """Enqueue the copies of outputs from their places, and the end of the step."""
        if not self._words:
            return
        pieces = self._pieces[len(self._feeds) :]
        grid, block = _grid(pieces)
        if any(pieces):
            self._deliver(grid, block, self._ends, 0, stream)
        if not any(pieces) or math.prod(grid) > 1:
            self._finish((1, 1, 1), (1, 1, 1), self._over, 0, stream)

    def _sources(self, feeds: Sequence[Any], stream: Any) -> list[int]:
        """Where the graph finds each feed: on the device, or in pinned memory; 0 if it is there."""
        hosts = [isinstance(feed, np.ndarray) for feed in feeds]
        slot = self._slot(stream) if any(hosts) and self._nbytes else None
        found = []
        for i, (feed, host) in enumerate(zip(feeds, hosts, strict=True)):
            if not host:
                found.append(self._on_device(feed))
            elif slot is None:
                found.append(0)
            else:
                np.copyto(slot.views[i], feed)
                found.append(slot.address + self._feeds[i][0])
        if slot is not None and self._nbytes >= LARGE:
            self._carry(slot, hosts, stream)
            return [0 if host else x for x, host in zip(found, hosts, strict=True)]
        return found

    def _on_device(self, feed: Any) -> int:
        if not feed.flags.c_contiguous:
            feed = self._device.cupy.ascontiguousarray(feed)
            self._held.append(feed)
        return int(feed.data.ptr)

    def _slot(self, stream: Any) -> _Slot:
        """Pinned memory that no step reads any more."""
        ring = self._ring
        number = ring.posted % len(ring.slots)
        slot = ring.slots[number]
        if slot is None:
            slot = ring.slots[number] = _Slot(self._device, self._nbytes, self._feeds)
        ring.wait(slot.until, stream)
        slot.until = ring.posted + 1
        return slot

    def _carry(self, slot: _Slot, hosts: Sequence[bool], stream: Any) -> None:
        """Enqueue copies of large host feeds to their places: as one, if all are."""
        pieces = [(0, self._nbytes)]
        if not all(hosts):
            pairs = zip(self._feeds, hosts, strict=True)
            pieces = [(at, int(node.type.nbytes)) for (at, node), host in pairs if host]
        runtime = self._device.runtime
        for at, size in pieces:
            if size:
                kind = runtime.memcpyHostToDevice
                runtime.memcpyAsync(self._base + at, slot.address + at, size, kind, stream.ptr)


def _grid(pieces: Sequence[int]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Blocks and threads of one launch for all pieces: a thread copies one unit of the largest."""
    blocks = -(-max(pieces, default=0) // (UNIT * THREADS))
    return (max(1, min(MAX_BLOCKS, blocks)), max(1, len(pieces)), 1), (THREADS, 1, 1)
