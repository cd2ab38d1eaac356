"""A program's launches bound to addresses, so that a stream can be given them again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np

from staticnet.backends.cuda.conditional import IF, WHILE
from staticnet.backends.cuda.cublaslt import Algorithm, Operation
from staticnet.backends.cuda.cudnn import CallPlan
from staticnet.backends.cuda.descriptor import MatmulDescriptor, alignment, calls, describe
from staticnet.backends.cuda.device import Device
from staticnet.backends.host import host_values
from staticnet.codegen.commands import (
    FAILED,
    Address,
    Argument,
    Branch,
    Command,
    Copy,
    HostCall,
    Launch,
    LibraryCall,
    Loop,
    Number,
    Product,
    While,
)
from staticnet.codegen.launches import CudaProgram
from staticnet.ir.types import fixed

Resolve = Callable[[Address], int]
UNASKED_BYTES = 48 << 10  # of shared memory that a kernel may have without being allowed more


class Bound(Protocol):
    """A command of the plan's step `step` that is ready to run."""

    step: int

    def enqueue(self, stream: Any) -> None:
        """Put it on a stream."""
        ...

    def products(self) -> Iterator[Chosen]:
        """What is in it that needs an algorithm or a plan."""
        ...


class _NoProducts:
    def products(self) -> Iterator[Chosen]:
        """There are none."""
        return iter(())


class BoundLaunch(_NoProducts):
    """A kernel with its arguments, prepared once."""

    def __init__(self, launch: Launch, function: Any, resolve: Resolve, device: Device) -> None:
        self.step = launch.step
        self.name = launch.function
        self.grid, self.block = launch.grid, launch.block
        self.cooperative = launch.cooperative
        if launch.cooperative:  # its blocks must all find room at once
            self.grid = (min(launch.grid[0], device.chip.multiprocessors), 1, 1)
        self.shared_bytes = launch.shared_bytes
        if launch.shared_bytes > UNASKED_BYTES:
            device.allow_shared(function, launch.shared_bytes)
        self.arguments = tuple(pack(argument, resolve) for argument in launch.arguments)
        self._function = function

    def enqueue(self, stream: Any) -> None:
        """Launch the kernel."""
        self._launch(self.arguments, stream)

    def enqueue_steps(self, table: int, steps: int, stream: Any) -> None:
        """Launch the kernel of a whole step for so many of them; see `kernels/draw.cuh`."""
        self._launch((np.int64(table), np.int32(steps), *self.arguments[2:]), stream)

    def _launch(self, arguments: tuple[np.generic, ...], stream: Any) -> None:
        given = (self.grid, self.block, arguments, self.shared_bytes, stream)
        if self.cooperative:
            self._function(*given, True)
        else:
            self._function(*given)


def pack(argument: Argument, resolve: Resolve) -> np.generic:
    """A kernel's argument as a NumPy scalar, whose bytes are what the kernel is given."""
    if isinstance(argument, Number):
        return (np.int32 if argument.itemsize == 4 else np.int64)(argument.value)
    return np.uintp(resolve(argument))


class BoundProduct:
    """A product in as many calls of cuBLASLt as it has points of its outer batch axes.

    `algorithm` and `workspace` are set before it runs.
    """

    def __init__(self, product: Product, device: Device, resolve: Resolve, tf32: bool) -> None:
        self.step = product.step
        self.product = product
        self.descriptor: MatmulDescriptor = describe(product, tf32)
        self._blas = device.blas
        self._bias, self._auxiliary = (
            resolve(x) if x else 0 for x in (product.bias, product.auxiliary)
        )
        self._factors = tuple(map(resolve, product.factors[::-1]))  # A is the right operand
        self.operation = self._operation(self._bias, self._auxiliary)
        matrices = (product.right, product.left, product.result)
        a, b, d = (resolve(matrix.address) for matrix in matrices)
        self.calls = [(a + i, b + j, d + k) for i, j, k in calls(product)]
        right, left, result = (alignment(*column) for column in zip(*self.calls, strict=True))
        self.alignments = (right, left, result)
        self.algorithm: Algorithm | None = None
        self.workspace = 0

    def products(self) -> Iterator[Chosen]:
        """Itself."""
        yield self

    @property
    def bytes_beside(self) -> int:
        """Bytes that it writes beside its result."""
        p = self.product
        return p.bias_bytes if p.sums else p.auxiliary_bytes if p.saves else 0

    def beside(self, address: int) -> Operation:
        """The same operation, with what it writes beside its result at another address."""
        p = self.product
        bias = address if p.sums else self._bias
        auxiliary = address if p.saves else self._auxiliary
        return self._operation(bias, auxiliary)

    def _operation(self, bias: int, auxiliary: int) -> Operation:
        return Operation(self._blas, self.descriptor, bias, auxiliary, self._factors)

    def algorithms(self, count: int) -> list[Algorithm]:
        """Up to `count` ways to compute it."""
        return self._blas.algorithms(self.operation, self.alignments, count)

    def enqueue(self, stream: Any) -> None:
        """Start the product."""
        assert self.algorithm is not None
        for a, b, d in self.calls:
            self._blas.multiply(
                self.operation, self.algorithm, a, b, d, self.workspace, stream.ptr
            )  # fmt: skip


class BoundCall:
    """What cuDNN computes by a plan, or launches of our own do.

    `algorithm`, a plan or None for launches, and `workspace` are set before it runs; `why` tells
    the choice.
    """

    def __init__(self, call: LibraryCall, binder: Binder, resolve: Resolve) -> None:
        self.step = call.step
        self.call = call
        self.device = binder.device
        self._binder, self._resolve = binder, resolve
        self.addresses = [resolve(address) for address in call.addresses]
        self.own, self.rest = (
            [binder.launch(launch, resolve) for launch in part] for part in (call.own, call.rest)
        )
        self.of_part = [resolve(address) for address in call.plain[1]] if call.plain else []
        self.algorithm: Algorithm | CallPlan | None = None
        self.workspace = 0
        self.why = ""

    def products(self) -> Iterator[Chosen]:
        """Itself, which needs a plan."""
        yield self

    def elsewhere(self, rooms: Mapping[Address, int]) -> BoundCall:
        """The same, with what it writes at other addresses."""
        return BoundCall(
            self.call, self._binder, lambda x: rooms[x] if x in rooms else self._resolve(x)
        )

    def enqueue(self, stream: Any) -> None:
        """Start it."""
        plan = self.algorithm
        if isinstance(plan, CallPlan):
            self.by_library(plan, self.workspace, stream)
        else:
            self.by_launches(stream)

    def by_library(self, plan: CallPlan, workspace: int, stream: Any) -> None:
        """Have cuDNN compute it."""
        cudnn = self.device.cudnn
        assert cudnn is not None
        addresses = self.of_part if plan.apart else self.addresses
        cudnn.execute(plan, addresses, workspace, stream.ptr)
        for launch in self.rest if plan.apart else ():
            launch.enqueue(stream)

    def by_launches(self, stream: Any) -> None:
        """Launch kernels of our own."""
        for launch in self.own:
            launch.enqueue(stream)


Chosen = BoundProduct | BoundCall


class BoundCopy(_NoProducts):
    """Bytes copied on the device."""

    def __init__(self, copy: Copy, device: Device, resolve: Resolve) -> None:
        self.step = copy.step
        self._device = device
        self._target, self._source = resolve(copy.target), resolve(copy.source)
        self._nbytes = copy.nbytes

    def enqueue(self, stream: Any) -> None:
        """Start the copy."""
        self._device.copy(self._target, self._source, self._nbytes, stream)


class BoundHostCall(_NoProducts):
    """A node that Python computes between what was on the stream before and what comes after."""

    def __init__(self, call: HostCall, device: Device, resolve: Resolve) -> None:
        self.step = call.step
        self._node, self._device = call.node, device
        self._operands = [resolve(address) for address in call.operands]
        self._results = [resolve(address) for address in call.results]
        self._failed = resolve(FAILED)

    def enqueue(self, stream: Any) -> None:
        """Wait for the stream, make the call, and copy its results to the device.

        Raises:
            ExecutionError: if the call fails.
        """
        node = self._node
        failed = np.zeros(1, np.int32)
        arrays = [np.empty(fixed(x.shape), x.dtype) for x in node.inputs]
        operands = zip(arrays, self._operands, strict=True)
        fetch(self._device, [(failed, self._failed), *operands], stream)
        if failed[0]:
            return
        runtime = self._device.runtime
        values = host_values(node, arrays)
        for value, address in zip(values, self._results, strict=True):
            if value.nbytes:
                kind, source = runtime.memcpyHostToDevice, value.ctypes.data
                runtime.memcpyAsync(address, source, value.nbytes, kind, stream.ptr)
        stream.synchronize()  # only then may the values go


def fetch(device: Device, pairs: Iterable[tuple[Any, int]], stream: Any) -> None:
    """Fill arrays of the host's from addresses of the device's, when all before is done."""
    runtime = device.runtime
    for array, address in pairs:
        if array.nbytes:
            kind = runtime.memcpyDeviceToHost
            runtime.memcpyAsync(array.ctypes.data, address, array.nbytes, kind, stream.ptr)
    stream.synchronize()


class BoundLoop:
    """The steps of a loop, each bound to its addresses when it is launched."""

    def __init__(self, loop: Loop, binder: Binder) -> None:
        self.step = loop.step
        self._loop, self._binder = loop, binder
        typical = min(1, loop.count - 1)  # in the first, operands are aligned as in no other
        self._typical = [binder.bind(each) for each in loop.at_step(max(typical, 0))]

    def enqueue(self, stream: Any) -> None:
        """Launch all steps."""
        for t in self._loop.order:
            for command, typical in zip(self._loop.at_step(t), self._typical, strict=True):
                bound = self._binder.bind(command)
                take_algorithms([bound], [typical])
                bound.enqueue(stream)

    def products(self) -> Iterator[Chosen]:
        """Those of a step."""
        return chain.from_iterable(each.products() for each in self._typical)


class BoundWhile:
    """Steps that run while the device says so."""

    def __init__(self, command: While, binder: Binder) -> None:
        self.step = command.step
        self._device = binder.device
        self._going, self._failed = binder.resolve(command.going), binder.resolve(FAILED)
        self._test = [binder.bind(each) for each in command.test]
        self._body = [binder.bind(each) for each in command.body]

    def enqueue(self, stream: Any) -> None:
        """Launch step after step; the device is waited for between them.

        A stream that captures has a node that the device asks.
        """
        if stream.is_capturing():
            self._capture(stream)
            return
        going, failed = np.zeros(1, np.uint8), np.zeros(1, np.int32)
        while True:
            for each in self._test:
                each.enqueue(stream)
            fetch(self._device, [(going, self._going), (failed, self._failed)], stream)
            if failed[0] or not going[0]:
                return
            for each in self._body:
                each.enqueue(stream)

    def _capture(self, stream: Any) -> None:
        ask = self._device.conditionals
        assert ask is not None
        handle = ask.handle(stream)
        told = (handle, self._going, self._failed, True)
        for each in self._test:
            each.enqueue(stream)
        ask.tell(*told, stream)
        with ask.body(handle, WHILE, stream) as inner:
            for each in (*self._body, *self._test):
                each.enqueue(inner)
            ask.tell(*told, inner)

    def products(self) -> Iterator[Chosen]:
        """Those of the test and of the body."""
        return chain.from_iterable(each.products() for each in (*self._test, *self._body))


class BoundBranch:
    """Commands of which the device says whether they or others run."""

    def __init__(self, command: Branch, binder: Binder) -> None:
        self.step = command.step
        self._device = binder.device
        self._taken, self._failed = binder.resolve(command.taken), binder.resolve(FAILED)
        self._then = [binder.bind(each) for each in command.then]
        self._other = [binder.bind(each) for each in command.other]

    def enqueue(self, stream: Any) -> None:
        """Wait for the device, and launch one side; what captures has a node for each."""
        if stream.is_capturing():
            self._capture(stream)
            return
        taken = np.zeros(1, np.uint8)
        fetch(self._device, [(taken, self._taken)], stream)
        for each in self._then if taken[0] else self._other:
            each.enqueue(stream)

    def _capture(self, stream: Any) -> None:
        ask = self._device.conditionals
        assert ask is not None
        for side, commands in ((True, self._then), (False, self._other)):
            if commands:
                handle = ask.handle(stream)
                ask.tell(handle, self._taken, self._failed, side, stream)
                with ask.body(handle, IF, stream) as inner:
                    for each in commands:
                        each.enqueue(inner)

    def products(self) -> Iterator[Chosen]:
        """Those of both sides."""
        return chain.from_iterable(each.products() for each in (*self._then, *self._other))


def take_algorithms(new: Iterable[Bound], known: Iterable[Bound]) -> None:
    """Give products the algorithms of others, which are the same at other addresses."""
    made = chain.from_iterable(each.products() for each in new)
    for product, like in zip(made, chain.from_iterable(x.products() for x in known), strict=True):
        product.algorithm, product.workspace = like.algorithm, like.workspace


class Binder:
    """Binds the commands of a program; its kernels are loaded when the first of them is bound.

    Raises:
        CompileError, DeviceError: as `Device.load`.
    """

    def __init__(self, source: str, device: Device, resolve: Resolve, tf32: bool) -> None:
        self.device = device
        self.resolve = resolve
        self._source = source
        self._tf32 = tf32
        self._module: Any = None
        self._functions: dict[str, Any] = {}

    def bind(self, command: Command) -> Bound:
        """A command, ready to run."""
        if isinstance(command, Launch):
            return self.launch(command, self.resolve)
        if isinstance(command, Product):
            return BoundProduct(command, self.device, self.resolve, self._tf32)
        if isinstance(command, LibraryCall):
            return BoundCall(command, self, self.resolve)
        if isinstance(command, HostCall):
            return BoundHostCall(command, self.device, self.resolve)
        if isinstance(command, Copy):
            return BoundCopy(command, self.device, self.resolve)
        if isinstance(command, Loop):
            return BoundLoop(command, self)
        return (
            BoundWhile(command, self) if isinstance(command, While) else BoundBranch(command, self)
        )

    def launch(self, launch: Launch, resolve: Resolve) -> BoundLaunch:
        """A kernel's call, at addresses that are resolved so."""
        function = self._function(launch.function)
        return BoundLaunch(launch, function, resolve, self.device)

    def _function(self, name: str) -> Any:
        if name not in self._functions:
            self._module = self._module or self.device.load(self._source)
            self._functions[name] = self._module.get_function(name)
        return self._functions[name]


def bind(program: CudaProgram, device: Device, resolve: Resolve, tf32: bool) -> Sequence[Bound]:
    """The commands of a program, in order; its kernels are loaded.

    Raises:
        CompileError, DeviceError: as `Device.load`.
    """
    binder = Binder(program.source, device, resolve, tf32)
    return [binder.bind(command) for command in program.launches]
