"""The reference value of one node: what every backend and every pass is held to.

16-bit floats compute in float32 and round once an op, so a result does not depend on how NumPy
would have accumulated it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.errors import ExecutionError, OutOfRangeError, StaticnetError
from staticnet.ir.dtype import HALVES, DType
from staticnet.ir.graph import Graph
from staticnet.ir.node import Node, failure
from staticnet.ir.op import Op
from staticnet.ir.types import TupleType


def compute(op: Op, dtype: DType | None, operands: Sequence[Any], xp: Any = np) -> Any:
    """The result of an op, of a known dtype, from arrays of the array module `xp`.

    One of several results has no dtype, and rounds its results itself.
    """
    if op.widens and dtype is not None and any(x.dtype in HALVES for x in operands):
        operands = [x.astype(np.float32) if x.dtype in HALVES else x for x in operands]
        return xp.asarray(op.eval(xp, *operands)).astype(dtype)
    return op.eval(xp, *operands)


def evaluate(node: Node, operands: Sequence[Any]) -> Any:
    """The value of one node from its operands' arrays.

    Raises:
        ExecutionError: naming the op, its operands and the user's line; OutOfRangeError, which is
            one, for an index.
    """
    try:
        with np.errstate(all="ignore"):
            several = isinstance(node.type, TupleType)
            return compute(node.op, None if several else node.dtype, operands)
    except StaticnetError:
        raise
    except IndexError as error:
        raise OutOfRangeError(failure(node, str(error))) from error
    except Exception as error:
        raise ExecutionError(failure(node, str(error))) from error


def interpret(graph: Graph, feeds: Sequence[Any]) -> list[Any]:
    """The outputs of a graph without state, node by node.

    Raises:
        ExecutionError: as `evaluate` says.
    """
    values = dict(zip(graph.inputs, feeds, strict=True))
    for node in graph.nodes:
        if node not in values:
            values[node] = evaluate(node, [values[operand] for operand in node.inputs])
    return [values[node] for node in graph.outputs]
