"""The reference value of one node: what every backend and every pass is held to.

16-bit floats compute in float32 and round once an op, so a result does not depend on how NumPy
would have accumulated it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from staticnet.errors import ExecutionError, LinAlgError, OutOfRangeError, StaticnetError
from staticnet.ir.dtype import HALVES, DType
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, failure
from staticnet.ir.op import Op, infer
from staticnet.ir.types import TensorType, TupleType, format_shape
from staticnet.ops.base import Elementwise


def compute(op: Op, dtype: DType | None, operands: Sequence[Any], xp: Any = np) -> Any:
    """The result of an op, of a known dtype, from arrays of the array module `xp`.

    One of several results has no dtype, and rounds its results itself.
    """
    if op.where is not None:
        return _compute_own(op, operands, xp)
    if op.widens and dtype is not None and any(x.dtype in HALVES for x in operands):
        operands = [x.astype(np.float32) if x.dtype in HALVES else x for x in operands]
        return xp.asarray(op.eval(xp, *operands)).astype(dtype)
    return op.eval(xp, *operands)


def _compute_own(op: Op, operands: Sequence[Any], xp: Any) -> Any:
    """The result of a user's op, which sees NumPy arrays that it cannot write, in new arrays.

    Raises:
        _EvalError: if its `eval` fails, or gives another type than its `infer`.
    """
    arrays = [_on_host(x) for x in operands]
    told = infer(op, [TensorType(x.dtype, x.shape) for x in arrays])
    wide = told
    if op.widens and any(x.dtype in HALVES for x in arrays):
        arrays = [x.astype(np.float32) if x.dtype in HALVES else x for x in arrays]
        wide = infer(op, [TensorType(x.dtype, x.shape) for x in arrays])
    if isinstance(op, Elementwise) and len(arrays) > 1:
        arrays = list(np.broadcast_arrays(*arrays))  # for an eval that goes through elements
    for x in arrays:
        x.flags.writeable = False
    try:
        result = op.eval(np, *arrays)
    except Exception as error:
        what = f"its eval failed: {type(error).__name__}: {error} (declared on {op.where})"
        raise _EvalError(what) from error
    if not isinstance(told, TupleType):
        return xp.asarray(_checked(op, result, wide).astype(told.dtype, copy=False))
    if not isinstance(result, tuple | list) or len(result) != len(told.types):
        raise _EvalError(
            f"its eval gives {_shown(result)}, but its shape rule says {len(told.types)} results "
            f"(declared on {op.where})"
        )
    assert isinstance(wide, TupleType)
    types = zip(result, wide.types, told.types, strict=True)
    return tuple(xp.asarray(_checked(op, x, w).astype(t.dtype, copy=False)) for x, w, t in types)


def _checked(op: Op, result: Any, wanted: TensorType) -> np.ndarray[Any, Any]:
    """A result as an array that nobody else has; a Python number has the dtype that is wanted."""
    number = isinstance(result, bool | int | float)
    array = np.array(result, wanted.dtype if number else None)
    if array.shape != wanted.shape or array.dtype != wanted.dtype:
        raise _EvalError(
            f"its eval gives {_shown(array)}, but its shape rule says "
            f"{wanted.dtype}{format_shape(wanted.shape)} (declared on {op.where})"
        )
    return array


def _shown(result: Any) -> str:
    if isinstance(result, tuple | list) and any(isinstance(x, np.ndarray) for x in result):
        return f"({', '.join(map(_shown, result))})"
    if isinstance(result, np.ndarray):
        return f"{result.dtype}{format_shape(result.shape)}"
    return f"{result!r:.60}"


class _EvalError(Exception):
    """What is wrong with a user's op when it runs."""


def _on_host(x: Any) -> Any:
    """A view of an array in the host's memory."""
    return x[...] if isinstance(x, np.ndarray) else np.asarray(x.get() if hasattr(x, "get") else x)


def evaluate(node: Node, operands: Sequence[Any]) -> Any:
    """The value of one node from its operands' arrays.

    Raises:
        ExecutionError: naming the op, its operands and the user's line; OutOfRangeError, which is
            one, for an index, LinAlgError for a matrix.
    """
    try:
        with np.errstate(all="ignore"):
            several = isinstance(node.type, TupleType)
            return compute(node.op, None if several else node.dtype, operands)
    except StaticnetError:
        raise
    except Exception as error:
        kind, what = told(node.op, error)
        raise kind(failure(node, what)) from error


def told(op: Op, error: Exception) -> tuple[type[ExecutionError], str]:
    """What is raised where NumPy raised `error` in an op's `eval`, and what it says."""
    if isinstance(error, np.linalg.LinAlgError):
        if issubclass(op.error, LinAlgError):
            return op.error, op.problem
        return LinAlgError, str(error)  # a user's op
    return (OutOfRangeError if isinstance(error, IndexError) else ExecutionError), str(error)


class _Interpreter(threading.local):
    evaluate: Callable[[Node, Sequence[Any]], Any] | None = None


_interpreter = _Interpreter()


@contextmanager
def evaluating(act: Callable[[Node, Sequence[Any]], Any]) -> Iterator[None]:
    """Inside, the nodes of the graphs that ops hold have the values that `act` gives."""
    saved = _interpreter.evaluate
    _interpreter.evaluate = act
    try:
        yield
    finally:
        _interpreter.evaluate = saved


def interpret(graph: Graph, feeds: Sequence[Any]) -> list[Any]:
    """The outputs of a graph without state, node by node.

    Raises:
        ExecutionError: as `evaluate` says.
    """
    act = _interpreter.evaluate or evaluate
    values = dict(zip(graph.inputs, feeds, strict=True))
    for node in graph.nodes:
        if node not in values:
            values[node] = act(node, [values[operand] for operand in node.inputs])
    return [values[node] for node in graph.outputs]
