"""How operands become tensors: numbers, arrays, variables, and nodes that need no feeds.

A variable's tensor is a leaf that shares the variable's array; its gradient is the variable's.
A node is computed by running its ops on the tensors of the constants and variables it reads.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from weakref import ref

import numpy as np

from staticnet.dynamic.extra import extra_of
from staticnet.errors import DTypeError, MixedValueError
from staticnet.ir import location
from staticnet.ir.dtype import DTYPES, is_floating
from staticnet.ir.node import Node, describe, topological
from staticnet.ir.op import Op
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.arguments import ANY
from staticnet.ops.base import NONE, Constant
from staticnet.ops.promotion import as_array, is_weak, operand_dtype
from staticnet.ops.state import Placeholder, Variable

_SUPPORTED = frozenset(DTYPES.values())


def array_module(arrays: Sequence[Any]) -> Any:
    """The module that computes with arrays: CuPy if one of them is its, else NumPy."""
    for array in arrays:
        if not isinstance(array, np.ndarray):
            return sys.modules[type(array).__module__.partition(".")[0]]
    return np


def placed(array: Any, xp: Any) -> Any:
    """An array of a module, by a copy if it is another's."""
    if xp is np:
        return array if isinstance(array, np.ndarray) else array.get()
    return xp.asarray(array)


def as_tensors(cls: Any, op: Op, operands: Sequence[Any]) -> tuple[Any, ...]:
    """The operands as tensors, those of one dtype promoted to it.

    Raises:
        DTypeError: if their dtypes do not promote.
        MixedValueError: if one depends on a placeholder.
    """
    xp = array_module([x.data for x in operands if type(x) is cls])
    tensors = [x if is_weak(x) else lift(cls, x, xp) for x in operands]
    same = range(len(tensors))[getattr(op, "same_dtype", NONE)]
    target = operand_dtype(op.name, getattr(op, "kinds", ANY), [tensors[i] for i in same])
    for i in same if target is not None else ():
        if is_weak(tensors[i]):
            tensors[i] = cls(placed(np.array(as_array(tensors[i], target)), xp))
        else:
            tensors[i] = FUNCTIONS["astype"](tensors[i], target)
    return tuple(lift(cls, x, xp) for x in tensors)


def lift(cls: Any, x: Any, xp: Any = np, share: bool = False) -> Any:
    """`x` as a tensor in a module's arrays; an array is copied unless it may be shared.

    Raises:
        DTypeError: if it is no array of a supported dtype.
        MixedValueError: if it depends on a placeholder.
    """
    if type(x) is cls:
        return x
    if type(x) is np.ndarray and x.dtype in _SUPPORTED:
        return cls(placed(x if share else x.copy(), xp))
    if isinstance(x, Variable):
        return leaf_of(cls, x, xp)
    if isinstance(x, Node):
        return run_node(cls, x, xp)
    if hasattr(x, "__cuda_array_interface__"):
        if x.dtype not in _SUPPORTED:
            raise DTypeError(f"an array of dtype {x.dtype} is not supported")
        return cls(x if share else x.copy())
    return cls(placed(np.array(as_array(x)), xp))


def leaf_of(cls: Any, variable: Variable, xp: Any = np) -> Any:
    """The tensor of a variable's present value: one tensor for as long as the value stays.

    Raises:
        StateError: if the variable has no value yet.
    """
    requires_grad = variable.trainable and is_floating(variable.dtype)
    known = variable.tensor
    if (
        known is not None
        and known.extra.holds(variable)
        and known.requires_grad == requires_grad
        and array_module([known.data]) is xp
    ):
        return known
    array = variable.device_array()
    leaf = cls(placed(array, xp), requires_grad)
    extra = extra_of(leaf)
    extra.variable, extra.origin, extra.version = ref(variable), array, variable.version
    extra.provenance = location.current()
    if known is not None:
        extra.hooks = known.extra.hooks
    Variable.watched = True
    variable.tensor = leaf
    return leaf


def run_node(cls: Any, node: Node, xp: Any = np) -> Any:
    """The tensor of a node that needs no feeds.

    Raises:
        MixedValueError: if it needs one: names the placeholder.
    """
    values: dict[Node, Any] = {}
    for each in topological([node]):
        if isinstance(each, Variable):
            values[each] = leaf_of(cls, each, xp)
        elif isinstance(each.op, Constant):
            values[each] = cls(placed(each.op.value.array, xp))
        elif isinstance(each.op, Placeholder):
            raise MixedValueError(
                f"{describe(each)} ({each.provenance}) is a placeholder: it has no value, and "
                "cannot meet a tensor that has one; compute with tensors alone, or compile with "
                "sn.function and feed it"
            )
        else:
            result = cls.apply(each.op, tuple(values[i] for i in each.inputs))
            values[each] = result if each.inputs else cls(placed(result.data, xp))
    return values[node]
