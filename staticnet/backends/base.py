"""The protocol of a backend, and the choice of one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from staticnet.backends.profile import Profile
from staticnet.errors import ArgumentError, DeviceError
from staticnet.ir.graph import Graph
from staticnet.plan.fusion import Group
from staticnet.plan.plan import Plan
from staticnet.plan.scratch import ON_HOST, Workspaces

log = logging.getLogger("staticnet")


class Source(Protocol):
    """Generated code: all of it, and the part that is the plan's own."""

    @property
    def source(self) -> str:
        """What is compiled."""
        ...

    @property
    def body(self) -> str:
        """The kernels, and on the CPU the step that calls them."""
        ...

    @property
    def texts(self) -> Mapping[Group, str]:
        """What computes each kernel or routine of the plan; those that need no code are left out.

        On a GPU the kernels of a launch may be one function, and each has all of the launch.
        """
        ...

    @property
    def functions(self) -> Mapping[Group, str]:
        """The function of each kernel, `k4`; equal kernels share that of the first of them."""
        ...

    @property
    def choice(self) -> str:
        """How a step is launched and why, if there was a choice."""
        ...


class Executable(Protocol):
    """A graph with fixed shapes, ready to run."""

    @property
    def program(self) -> Source | None:
        """The generated code that it runs; None if it interprets the graph."""
        ...

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """One step: fresh outputs for feeds in the inputs' order; the updates are made.

        Raises:
            ExecutionError: if an op fails; nothing is updated then.
        """
        ...

    def run_many(self, data: Sequence[Any], steps: int, batch: int, order: Any = None) -> list[Any]:
        """Steps on `batch` rows each: the next that `order` names, or as they lie without one.

        After the last whole batch comes the first again. A signal ends it between two steps, soon.
        -> each output, stacked
        """
        ...

    def place(self, data: Sequence[Any]) -> list[Any]:
        """Data sets where `run_many` reads them: copied to the device once, if it has memory."""
        ...

    def synchronize(self) -> None:
        """Wait until all steps are done.

        Raises:
            ExecutionError: if one of them failed and this was not told yet.
        """
        ...


class HostExecutable:
    """What is the same for all that runs on the host, where a call ends when its step does."""

    program: Source | None = None

    def place(self, data: Sequence[Any]) -> list[Any]:
        """The data sets as they are."""
        return list(data)

    def synchronize(self) -> None:
        """There is nothing to wait for."""


class Backend(Protocol):
    """Builds executables for one kind of device.

    `epilogues` names what its library computes in the call of a product, of EPILOGUES and ADDS in
    `staticnet.ops.library` and AUXILIARY in `staticnet.ops.auxiliary`, and `narrow_epilogues` those
    of them that are no better than float32 in float64, which the `library` pass expands there.
    `products` names the floating dtypes whose products it computes, "tf32" if it has that mode,
    "float8" if operands may have 8 bits, "winograd" if its convolutions have that algorithm, "held"
    if both keep packed weights, "sums" if kernels fuse sums of channels, which then are no routine,
    "numbers" if pools should number their windows' elements;
    the `library` pass leaves it no other products.
    `keeps_casts` is whether its executables keep a variable that has an `origin` equal to it.
    `loop_cache` is the bytes of a block of a long loop's rows, so that they stay near; 0 takes no
    loop in blocks. `channels_last` is whether its convolutions are faster between channels last,
    and `calls` names the ops of `staticnet.passes.cudnn` that a library computes whole.
    `workspaces` are the bytes that its kernels and routines work in beside values, which its plans
    have room for.
    """

    name: str
    epilogues: frozenset[str]
    narrow_epilogues: frozenset[str]
    keeps_casts: bool
    loop_cache: int
    workspaces: Workspaces

    @property
    def products(self) -> frozenset[str]:
        """The dtypes of products that it computes, and what else it has of them."""
        ...

    @property
    def channels_last(self) -> bool:
        """Whether convolutions are faster between channels last."""
        ...

    @property
    def calls(self) -> frozenset[str]:
        """The ops that a library computes whole."""
        ...

    @property
    def arrays(self) -> tuple[type, ...]:
        """The types of arrays that are fed as they are."""
        ...

    def missing(self) -> str:
        """What keeps this backend from running here, and the remedy; empty if nothing does."""
        ...

    def adopt(self, feed: Any) -> Any:
        """A feed that lies in the device's memory as an array there, uncopied; else None."""
        ...

    def build(
        self,
        graph: Graph,
        disabled_passes: Collection[str] = (),
        plan: Callable[[], Plan] | None = None,
        precision: str = "float32",
    ) -> Executable:
        """The executable of an optimised graph whose shapes are all fixed.

        `plan` gives the graph's plan, for a backend that runs one. `precision` is what the function
        was asked to compute products in; all but "tf32" is told by the graph's types.
        """
        ...

    def program(self, plan: Plan, disabled_passes: Collection[str] = ()) -> Source:
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


class HostBackend:
    """What is the same for all backends that run on the host."""

    keeps_casts = False
    loop_cache = 0
    channels_last = False
    calls: frozenset[str] = frozenset()
    workspaces = ON_HOST
    arrays: tuple[type, ...] = (np.ndarray,)

    def missing(self) -> str:
        """Nothing keeps the host from running."""
        return ""

    def adopt(self, feed: Any) -> Any:
        """The host has no device memory."""
        return None


DEVICES = ("cuda", "cpu", "numpy")
PREFERENCE = DEVICES  # in which `auto` looks for one


def choose(device: str, available: Mapping[str, Backend]) -> Backend:
    """The backend of a device; `auto` takes the first there is of cuda, cpu and numpy.

    Raises:
        ArgumentError: on an unknown device.
        DeviceError: if the device is known but not there.
    """
    if device == "auto":
        usable = (x for x in PREFERENCE if x in available and not available[x].missing())
        name = next(usable)
        log.info("device auto: running on %s", name)
        return available[name]
    if device in available:
        if missing := available[device].missing():
            raise DeviceError(f"device {device!r}: {missing}")
        return available[device]
    if device not in DEVICES:
        raise ArgumentError(f"device {device!r}: use one of auto, {', '.join(DEVICES)}")
    raise DeviceError(
        f"device {device!r} is not in this build of staticnet, which runs on "
        f"{', '.join(available)}; use device='auto'"
    )
