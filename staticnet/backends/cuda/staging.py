"""Feeds on their way to the device: through pinned memory from the host, else device to device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.backends.cuda.device import Device
from staticnet.ir.node import Node
from staticnet.ir.types import fixed

RING_BYTES = 64 << 20  # of pinned memory that the slots of one specialisation should not exceed
MOST_SLOTS = 4


class _Slot:
    """Pinned memory for one step's feeds, and the event after which it may be written again."""

    def __init__(self, device: Device, staging: Staging) -> None:
        cupy = device.cupy
        self.memory = cupy.cuda.alloc_pinned_memory(staging.nbytes)
        whole = np.frombuffer(self.memory, np.uint8, staging.nbytes)
        self.address = int(self.memory.ptr)
        self.views = [
            whole[at : at + size].view(dtype).reshape(shape)
            for at, size, shape, dtype in staging.feeds
        ]
        self.event = cupy.cuda.Event(disable_timing=True)
        self.busy = False


class Staging:
    """Copies a step's feeds to their fixed places, which lie one after the other on the device.

    Some slots of pinned memory take turns, so that the host may run ahead of the device by as many
    steps; it waits for the device only when it is further ahead.
    """

    def __init__(
        self, device: Device, inputs: Sequence[Node], offsets: Sequence[int], base: int
    ) -> None:
        self._device = device
        self._base = base
        sizes = [int(node.type.nbytes) for node in inputs]
        self.feeds = [
            (at, size, fixed(node.shape), node.dtype)
            for node, at, size in zip(inputs, offsets, sizes, strict=True)
        ]
        self.nbytes = max((at + size for at, size, _, _ in self.feeds), default=0)
        count = max(2, min(MOST_SLOTS, RING_BYTES // max(self.nbytes, 1)))
        self._slots: list[_Slot | None] = [None] * count
        self._next = 0

    def send(self, feeds: Sequence[Any], stream: Any) -> None:
        """Enqueue the copies; host feeds may be changed afterwards."""
        hosts = [isinstance(feed, np.ndarray) for feed in feeds]
        slot = self._take_slot() if any(hosts) and self.nbytes else None
        for i, (feed, host) in enumerate(zip(feeds, hosts, strict=True)):
            if not host:
                self._send_device(i, feed, stream)
            elif slot is not None:
                np.copyto(slot.views[i], feed)
        if slot is None:
            return
        kind = self._device.runtime.memcpyHostToDevice
        for at, size in [(0, self.nbytes)] if all(hosts) else self._pieces(hosts):
            self._device.runtime.memcpyAsync(
                self._base + at, slot.address + at, size, kind, stream.ptr
            )
        slot.event.record(stream)
        slot.busy = True

    def _pieces(self, hosts: Sequence[bool]) -> list[tuple[int, int]]:
        return [
            (at, size)
            for (at, size, _, _), host in zip(self.feeds, hosts, strict=True)
            if host and size
        ]

    def _send_device(self, i: int, feed: Any, stream: Any) -> None:
        at, size, _, _ = self.feeds[i]
        if not feed.flags.c_contiguous:
            feed = self._device.cupy.ascontiguousarray(feed)
        self._device.copy(self._base + at, feed.data.ptr, size, stream)

    def _take_slot(self) -> _Slot:
        slot = self._slots[self._next]
        if slot is None:
            slot = self._slots[self._next] = _Slot(self._device, self)
        self._next = (self._next + 1) % len(self._slots)
        if slot.busy:
            slot.event.synchronize()
        return slot
