"""Calls of Python between kernels: ops that no code is generated for."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.ir.node import Node
from staticnet.ir.types import TensorType, TupleType, fixed
from staticnet.ops.evaluate import evaluate

_Call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p))


class HostCalls:
    """The function that a program calls for its nodes on the host, by number and addresses.

    `pointer` is its address. It returns 1 if a node failed; `take_error` tells why.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = tuple(nodes)
        self._error: BaseException | None = None
        self._function = _Call(self._call)
        self.pointer = ctypes.cast(self._function, ctypes.c_void_p).value

    def _call(self, number: int, addresses: Any) -> int:
        node = self._nodes[number]
        try:
            operands = [at_address(addresses[i], x.type) for i, x in enumerate(node.inputs)]
            values = host_values(node, operands)
            for i, (value, type_) in enumerate(zip(values, types_of(node), strict=True)):
                np.copyto(at_address(addresses[len(operands) + i], type_), value)
        except BaseException as error:  # a signal's, too: none may pass through C
            self._error = error
            return 1
        return 0

    def take_error(self) -> BaseException | None:
        """What the last failed call raised, once."""
        error, self._error = self._error, None
        return error


def types_of(node: Node) -> tuple[TensorType, ...]:
    """The types of a node's results, of which most have one."""
    return node.type.types if isinstance(node.type, TupleType) else (node.type,)


def host_values(node: Node, operands: Sequence[Any]) -> Sequence[Any]:
    """The results of a node from its operands' arrays.

    Raises:
        ExecutionError: as `evaluate` says.
    """
    value = evaluate(node, operands)
    return value if isinstance(node.type, TupleType) else (value,)


def at_address(address: int | None, type_: TensorType) -> np.ndarray[Any, Any]:
    """The array that lies at an address, as long as its memory does."""
    shape, nbytes = fixed(type_.shape), int(type_.nbytes)
    if nbytes == 0 or address is None:
        return np.empty(shape, type_.dtype)
    memory: Any = (ctypes.c_char * nbytes).from_address(address)
    return np.ndarray(shape, type_.dtype, memory)
