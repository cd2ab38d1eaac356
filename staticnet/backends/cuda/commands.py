"""A program's launches bound to addresses, so that a stream can be given them again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from staticnet.backends.cuda.cublaslt import Algorithm, Operation
from staticnet.backends.cuda.descriptor import MatmulDescriptor, alignment, calls, describe
from staticnet.backends.cuda.device import Device
from staticnet.codegen.launches import (
    FAILED,
    Address,
    Argument,
    Copy,
    CudaProgram,
    HostCall,
    Launch,
    Number,
    Product,
)
from staticnet.ir.types import fixed
from staticnet.ops.evaluate import evaluate

Resolve = Callable[[Address], int]
Choose = Callable[["BoundProduct"], Algorithm]


class Bound(Protocol):
    """A command of the plan's step `step` that is ready to run."""

    step: int

    def enqueue(self, stream: Any) -> None:
        """Put it on a stream."""
        ...


class BoundLaunch:
    """A kernel with its arguments, prepared once."""

    def __init__(self, launch: Launch, function: Any, resolve: Resolve) -> None:
        self.step = launch.step
        self.name = launch.function
        self.grid, self.block = launch.grid, launch.block
        self.shared_bytes = launch.shared_bytes
        self.arguments = tuple(pack(argument, resolve) for argument in launch.arguments)
        self._function = function

    def enqueue(self, stream: Any) -> None:
        """Launch the kernel."""
        self._function(self.grid, self.block, self.arguments, self.shared_bytes, stream)


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
        bias = resolve(product.bias) if product.bias else 0
        self.operation = Operation(device.blas, self.descriptor, bias)
        matrices = (product.right, product.left, product.result)
        a, b, d = (resolve(matrix.address) for matrix in matrices)
        self.calls = [(a + i, b + j, d + k) for i, j, k in calls(product)]
        right, left, result = (alignment(*column) for column in zip(*self.calls, strict=True))
        self.alignments = (right, left, result)
        self.algorithm: Algorithm | None = None
        self.workspace = 0

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


class BoundCopy:
    """Bytes copied on the device."""

    def __init__(self, copy: Copy, device: Device, resolve: Resolve) -> None:
        self.step = copy.step
        self._device = device
        self._target, self._source = resolve(copy.target), resolve(copy.source)
        self._nbytes = copy.nbytes

    def enqueue(self, stream: Any) -> None:
        """Start the copy."""
        self._device.copy(self._target, self._source, self._nbytes, stream)


class BoundHostCall:
    """A node that Python computes between what was on the stream before and what comes after."""

    def __init__(self, call: HostCall, device: Device, resolve: Resolve) -> None:
        self.step = call.step
        self._node, self._device = call.node, device
        self._operands = [resolve(address) for address in call.operands]
        self._result, self._failed = resolve(call.result), resolve(FAILED)

    def enqueue(self, stream: Any) -> None:
        """Wait for the stream, make the call, and copy its result to the device.

        Raises:
            ExecutionError: if the call fails.
        """
        node = self._node
        failed = np.zeros(1, np.int32)
        arrays = [np.empty(fixed(x.shape), x.dtype) for x in node.inputs]
        self._fetch(failed, self._failed, stream)
        for array, address in zip(arrays, self._operands, strict=True):
            self._fetch(array, address, stream)
        stream.synchronize()
        if failed[0]:
            return
        result = evaluate(node, arrays)
        if result.nbytes:
            runtime = self._device.runtime
            kind, source = runtime.memcpyHostToDevice, result.ctypes.data
            runtime.memcpyAsync(self._result, source, result.nbytes, kind, stream.ptr)
            stream.synchronize()

    def _fetch(self, array: Any, address: int, stream: Any) -> None:
        if array.nbytes:
            runtime = self._device.runtime
            kind = runtime.memcpyDeviceToHost
            runtime.memcpyAsync(array.ctypes.data, address, array.nbytes, kind, stream.ptr)


def bind(program: CudaProgram, device: Device, resolve: Resolve, tf32: bool) -> Sequence[Bound]:
    """The commands of a program, in order; its kernels are loaded.

    Raises:
        CompileError, DeviceError: as `Device.load`.
    """
    functions: dict[str, Any] = {}
    module = None
    bound: list[Bound] = []
    for command in program.launches:
        if isinstance(command, Launch):
            module = module or device.load(program.source)
            name = command.function
            if name not in functions:
                functions[name] = module.get_function(name)
            bound.append(BoundLaunch(command, functions[name], resolve))
        elif isinstance(command, Product):
            bound.append(BoundProduct(command, device, resolve, tf32))
        elif isinstance(command, HostCall):
            bound.append(BoundHostCall(command, device, resolve))
        else:
            bound.append(BoundCopy(command, device, resolve))
    return bound
