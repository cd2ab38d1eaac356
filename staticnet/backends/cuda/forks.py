"""Streams beside the one that runs a step: where they leave it, and where they join it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticnet.backends.cuda.commands import Bound
from staticnet.backends.cuda.device import Device
from staticnet.codegen.launches import CudaProgram, Lane


class Forks:
    """Puts a program's commands on its streams, of which the first is the caller's.

    The others wait for what is on that one, and it waits for them in the end: so a capture of it
    has them all, and what comes after a step comes after all of it.
    """

    def __init__(self, device: Device, program: CudaProgram) -> None:
        event = device.cupy.cuda.Event
        self._lanes: Sequence[Lane] = program.lanes or (Lane(),) * len(program.launches)
        self._others = device.side_streams(program.streams - 1)
        self._begin = event(disable_timing=True)
        self._ends = [event(disable_timing=True) for _ in self._others]
        self._events = {
            number: event(disable_timing=True) for lane in self._lanes for number in lane.waits
        }

    def stream_of(self, number: int) -> int:
        """The number of the stream that a command runs on."""
        return self._lanes[number].stream

    def enqueue(self, commands: Sequence[Bound], stream: Any) -> None:
        """Put a step's commands, in the program's order, on `stream` and those beside it."""
        streams = [stream, *self._others]
        if self._others:
            self._begin.record(stream)
        for other in self._others:
            other.wait_event(self._begin)
        for number, (command, lane) in enumerate(zip(commands, self._lanes, strict=True)):
            own = streams[lane.stream]
            for waited in lane.waits:
                own.wait_event(self._events[waited])
            command.enqueue(own)
            if number in self._events:
                self._events[number].record(own)
        for other, end in zip(self._others, self._ends, strict=True):
            end.record(other)
            stream.wait_event(end)
