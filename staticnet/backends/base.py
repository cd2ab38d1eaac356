"""The protocol of a backend, and the choice of one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from staticnet.backends.profile import Profile
from staticnet.codegen.program import Program
from staticnet.errors import ArgumentError, DeviceError
from staticnet.ir.graph import Graph
from staticnet.plan.plan import Plan

log = logging.getLogger("staticnet")


class Executable(Protocol):
    """A graph with fixed shapes, ready to run."""

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """One step: fresh outputs for feeds in the inputs' order; the updates are made.

        Raises:
            ExecutionError: if an op fails; nothing is updated then.
        """
        ...

    def run_many(self, data: Sequence[Any], order: Any, batch: int) -> list[Any]:
        """len(order) / batch steps, each on the next `batch` rows that `order` names.

        -> each output, stacked
        """
        ...


class Backend(Protocol):
    """Builds executables for one kind of device.

    `epilogues` names what its library computes in the call of a product, of
    `staticnet.ops.library.EPILOGUES`. `products` names the floating dtypes whose products it
    computes, and "tf32" if it has that mode; the `library` pass leaves it no others.
    """

    name: str
    epilogues: frozenset[str]
    products: frozenset[str]

    def build(
        self,
        graph: Graph,
        disabled_passes: Collection[str] = (),
        plan: Callable[[], Plan] | None = None,
    ) -> Executable:
        """The executable of an optimised graph whose shapes are all fixed.

        `plan` gives the graph's plan, for a backend that runs one.
        """
        ...

    def program(self, plan: Plan) -> Program:
        """The generated source of a plan.

        Raises:
            DeviceError: if this backend generates none.
        """
        ...

    def profile(self, executable: Executable, feeds: Sequence[Any], repeat: int | None) -> Profile:
        """The time of each part of a step; state stays as it is.

        `repeat` is the number of steps that are timed; None is as many as fit half a second.

        Raises:
            ExecutionError: if an op fails.
        """
        ...


DEVICES = ("cuda", "cpu", "numpy")
PREFERENCE = DEVICES  # in which `auto` looks for one


def choose(device: str, available: Mapping[str, Backend]) -> Backend:
    """The backend of a device; `auto` takes the first there is of cuda, cpu and numpy.

    Raises:
        ArgumentError: on an unknown device.
        DeviceError: if the device is known but not there.
    """
    if device == "auto":
        name = next(name for name in PREFERENCE if name in available)
        log.info("device auto: running on %s", name)
        return available[name]
    if device in available:
        return available[device]
    if device not in DEVICES:
        raise ArgumentError(f"device {device!r}: use one of auto, {', '.join(DEVICES)}")
    raise DeviceError(
        f"device {device!r} is not in this build of staticnet, which runs on "
        f"{', '.join(available)}; use device='auto'"
    )
