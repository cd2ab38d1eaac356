"""Tensors from what is no tensor, and gradients as a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.dynamic.operands import lift
from staticnet.dynamic.sweep import Sweep
from staticnet.dynamic.tensor import Tensor, seed_of
from staticnet.errors import DTypeError, GradientError
from staticnet.ir.dtype import as_dtype, is_floating
from staticnet.ir.node import describe
from staticnet.ir.value import FUNCTIONS, Value
from staticnet.ops.promotion import as_array, is_weak
from staticnet.ops.state import Variable


def tensor(value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of a copy of `value`: a number, list or array, by the rules of `sn.constant`.

    Of a tensor, variable or node it is the value alone: nothing that it was computed from is
    remembered.  -> y: value's shape

    Raises:
        DTypeError: if the dtype is not supported, or requires a gradient and is not floating-point.
        SymbolicValueError: if the value depends on a placeholder.
    """
    if isinstance(value, Value) or hasattr(value, "__cuda_array_interface__"):
        data = as_tensor(value).data
        data = data.copy() if dtype is None else data.astype(as_dtype(dtype))
    else:
        data = np.array(as_array(value, None if dtype is None else as_dtype(dtype)))
    if requires_grad and not is_floating(data.dtype):
        raise DTypeError(
            f"tensor: {data.dtype} has no derivative, so it cannot require a gradient; pass a "
            "floating-point dtype"
        )
    return Tensor(data, bool(requires_grad))


def as_tensor(value: Any, dtype: Any = None) -> Tensor:
    """`value` as a tensor, without a copy where there is a way: do not write to the array then.

    A tensor is itself. A variable's tensor is the leaf that operations use: its gradient is
    `variable.grad`. A node that needs no feeds is computed, with the way back to its variables.

    Raises:
        DTypeError: if the dtype is not supported.
        SymbolicValueError: if the value depends on a placeholder.
    """
    if dtype is not None and is_weak(value):
        return Tensor(np.array(as_array(value, as_dtype(dtype))))
    found: Tensor = lift(Tensor, value, share=True)
    return found if dtype is None else FUNCTIONS["astype"](found, dtype)


def grad(
    outputs: Tensor | Sequence[Tensor],
    wrt: Tensor | Variable | Sequence[Tensor | Variable],
    gradients: Any = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> list[Tensor]:
    """d outputs / d w for each tensor or variable w of `wrt`; no `.grad` is touched.

    `gradients` weighs the outputs, one for each; a scalar needs none. `create_graph` makes the
    results differentiable.  y: [*t], gradient: [*t], w: [*s] -> gradient: [*s]

    Raises:
        GradientError: as `Tensor.backward`, and if no output depends on a w, unless `allow_unused`
            gives zeros then.
    """
    ys = [outputs] if isinstance(outputs, Value) else list(outputs)
    listed = [wrt] if isinstance(wrt, Value) else list(wrt)
    for y in ys:
        if not isinstance(y, Tensor):
            raise GradientError(f"grad: expected tensors, got {y!r:.60}; sn.grad is for nodes")
    ws = [as_tensor(w) for w in listed]
    given: Any = [None] * len(ys) if gradients is None else gradients
    if isinstance(outputs, Tensor) and not isinstance(given, list | tuple):
        given = [given]
    if len(given) != len(ys):
        raise GradientError(f"grad: {len(given)} gradients for {len(ys)} outputs")
    seeds = [seed_of(y, g, "grad") for y, g in zip(ys, given, strict=True)]
    sweep = Sweep(retain_graph, create_graph, frozenset(id(w) for w in ws))
    sweep.run(ys, seeds)
    for w in ws:
        if id(w) not in sweep.found and not allow_unused:
            raise GradientError(
                f"grad: the output does not depend on {describe(w)}; leave it out, or pass "
                "allow_unused=True for zeros"
            )
    found = sweep.found
    return [found[id(w)] if id(w) in found else Tensor(np.zeros_like(w.data)) for w in ws]
