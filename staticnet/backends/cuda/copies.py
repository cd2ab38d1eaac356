"""16-bit copies of variables that a plan's steps read and write, and when to make them again."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from staticnet.backends.cuda.commands import Bound, bind
from staticnet.backends.cuda.device import Device, Writer
from staticnet.codegen.commands import Address
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.ir.graph import Graph
from staticnet.ir.node import build
from staticnet.ops.selection import Cast
from staticnet.ops.state import Variable
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan


class Copies:
    """Sees to it that copies hold their origins' values when a step begins.

    They do after a step of their own function. They may not if an origin was brought to the device
    since, or if another program that updates variables ran last there.
    """

    def __init__(self, device: Device, plan: Plan) -> None:
        self._device = device
        variables = [v for v in plan.graph.variables if isinstance(v, Variable)]
        self._copies = [v for v in variables if v.origin is not None]
        self._commands: Sequence[Bound] = self._bind() if self._copies else ()
        targets = frozenset(id(target) for target, _ in plan.graph.updates)
        # programs that write the same variables, as the specialisations of a function, are one
        self._writer = device.writers.setdefault(targets, Writer()) if targets else None
        for copy in self._copies:
            copy.array = device.home(copy)
            device.origins.add(id(copy.origin))

    def _bind(self) -> Sequence[Bound]:
        """The commands that make all copies."""
        device = self._device
        updates = tuple(
            (copy, build(Cast(copy.dtype), (copy.origin,)))
            for copy in self._copies
            if copy.origin is not None
        )
        plan = make_plan(Graph("copies", [], [], updates))
        homes = [device.home(v) for v in plan.graph.variables if isinstance(v, Variable)]

        def address(x: Address) -> int:
            assert x.kind == "state", x
            return int(homes[x.at].data.ptr) + x.offset

        return bind(write_cuda_program(plan), device, address, tf32=False)

    def refresh(self, stream: Any) -> None:
        """Make the copies again if they may be old, once their origins are on the device."""
        device = self._device
        if self._writer is None or device.last_writer() is self._writer:
            return
        for command in self._commands:
            command.enqueue(stream)
        device.last_writer = weakref.ref(self._writer)
