"""Reverse mode on a tape: tensors in the order they were made, pulled back the last one first.

The tape is the tensors themselves: each holds its op and operands, so what nobody can ask for is
freed as Python frees it. A backward pass releases it as it goes: what is behind it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from staticnet.control.eager import transposed
from staticnet.dynamic.calls import layout, quiet
from staticnet.dynamic.extra import extra_of
from staticnet.dynamic.mode import Tracing, recording
from staticnet.dynamic.operands import array_module, lift, placed
from staticnet.errors import GradientError, StaticnetError
from staticnet.ir import location
from staticnet.ir.dtype import HALVES
from staticnet.ir.node import describe
from staticnet.ir.types import TensorType, TupleType
from staticnet.ir.user_functions import guarded
from staticnet.ops.base import Item
from staticnet.ops.linalg import Matmul
from staticnet.ops.own_rules import products_of, tangent_of
from staticnet.ops.selection import astype
from staticnet.ops.shape import sum_to_shape
from staticnet.ops.widening import widened

_order = attrgetter("order")


class Sweep:
    """One backward pass. Gradients go to the leaves or, if `wanted` names tensors, to `found`.

    `wanted` holds ids of tensors, and `found` has those that the gradient reached. `retain` keeps
    the tape for another pass; `create` records the pass itself, and keeps the tape, too.
    """

    def __init__(self, retain: bool, create: bool, wanted: frozenset[int] | None = None) -> None:
        self.found: dict[int, Any] = {}
        self._retain = retain or create
        self._create = create
        self._wanted = wanted
        self._sums: dict[int, Any] = {}
        self._owned: set[int] = set()

    def run(self, roots: Sequence[Any], gradients: Sequence[Any]) -> None:
        """Pull the gradients back to all that the roots were computed from.

        Raises:
            GradientError: if the tape was released, or a variable has changed since it was read;
                nothing has been accumulated then.
        """
        tape = _tape(roots)
        for root, gradient in zip(roots, gradients, strict=True):
            self._add(root, gradient)
        saved = location.attribution()
        token = recording.set(self._create)
        try:
            location.set_attribution(location.current()._replace(made_by="gradient"))
            while tape:
                self._visit(tape.pop())
        finally:
            recording.reset(token)
            location.set_attribution(saved)

    def _visit(self, y: Any) -> None:
        """Pull the gradient of one tensor back; all that use it have been visited."""
        key = id(y)
        g = self._sums.pop(key, None)
        if type(g) is list:
            self._pull(y, g)
        elif g is not None:
            self._owned.discard(key)
            if g.data.dtype != y.data.dtype:
                g = astype(g, y.data.dtype)
            if y.extra is not None:
                g = _told(y, g)
            if self._wanted is None and y.op is None:
                _deposit(y, g)
            elif self._wanted is not None and key in self._wanted:
                self.found[key] = g
            if y.op is not None:
                self._pull(y, g)
        if y.op is not None and not self._retain:
            y.inputs = None

    def _pull(self, y: Any, g: Any) -> None:
        """Add what one tensor's gradient gives to those of its operands."""
        cls = type(y)
        op, inputs = y.op, y.inputs
        if type(op) is Item:
            self._put(inputs[0], op.index, g)
            return
        if Tracing.active and y.extra is not None and y.extra.provenance is not None:
            location.set_attribution(y.extra.provenance._replace(made_by="gradient"))
        operands = [x if type(x) is cls else _number(x, y) for x in inputs]
        if type(op) is Matmul:
            layout.transposed = _transposed(operands[1].data)
        try:
            if op.transposes:
                products = _moved(op)(operands, [g])
            else:
                products = products_of(op, y, g, *operands)
        finally:
            layout.transposed = None
        for x, product in zip(operands, products, strict=True):
            if product is not None and x.requires_grad:
                if type(product) is not cls:
                    product = lift(cls, product, array_module([x.data]))
                if product.data.shape != x.data.shape:
                    product = sum_to_shape(product, x.data.shape)
                self._add(x, product)

    def _put(self, several: Any, index: int, g: Any) -> None:
        """Add to the gradient of one of several results."""
        parts = self._sums.setdefault(id(several), [None] * len(several.data))
        parts[index] = g if parts[index] is None else parts[index] + g

    def _add(self, x: Any, product: Any) -> None:
        """Add to a tensor's gradient: in place where the array is this pass's own.

        Several products of 16 bits are summed in float32, which `_visit` rounds once.
        """
        key = id(x)
        known = self._sums.get(key)
        if known is None:
            self._sums[key] = product
        elif key in self._owned:
            quiet.run(np.add, known.data, product.data, known.data)
        else:
            if x.data.dtype in HALVES:
                known, product = widened(known), widened(product)
            self._sums[key] = known + product
            if not self._create and type(known.data) is np.ndarray and known.data.ndim:
                self._owned.add(key)


def _moved(op: Any) -> Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]:
    """The products of an op that has a jvp alone."""
    return transposed(lambda xs, tangents: [tangent_of(op, op(*xs), xs, tangents)])


def _number(x: Any, like: Any) -> Any:
    """A Python number that was an operand, as a tensor of the result's dtype."""
    array = np.asarray(x, like.data.dtype)
    return type(like)(placed(array, array_module([like.data])))


def _transposed(y: Any) -> tuple[int, ...] | None:
    """The shape of a matrix that lies transposed in memory, else None."""
    turned = y.ndim == 2 and y.flags.f_contiguous and not y.flags.c_contiguous
    return tuple(y.shape) if turned else None


def _told(y: Any, g: Any) -> Any:
    """The gradient as the tensor's hooks leave it, kept if the tensor was asked to."""
    extra = y.extra
    for hook in list(extra.hooks.values()):
        changed = guarded("backward: a hook", hook)(g)
        if changed is not None:
            g = _checked_change(y, g, changed)
    if extra.keeps_grad and y.op is not None:
        extra.grad = g
    return g


def _checked_change(y: Any, g: Any, changed: Any) -> Any:
    try:
        changed = lift(type(y), changed, array_module([g.data]))
    except StaticnetError as error:
        raise GradientError(
            f"backward: a hook gave {changed!r:.60}, no gradient ({location.current()})"
        ) from error
    if changed.shape != g.shape or changed.dtype != g.dtype:
        raise GradientError(
            f"backward: a hook gave {type_of(changed)} for a gradient {type_of(g)}; return one of "
            "the same shape and dtype, or None"
        )
    return changed


def _deposit(leaf: Any, g: Any) -> None:
    """Add to a leaf's gradient, which for a variable's tensor is the variable's."""
    holder = extra_of(leaf).holder
    holder.grad = g if holder.grad is None else holder.grad + g


def type_of(tensor: Any) -> str:
    """`f32[64,10]`, and of several results `(f32[64],i64[])`."""
    if type(tensor.data) is tuple:
        return str(TupleType(TensorType(x.dtype, x.shape) for x in tensor.data))
    return str(TensorType(tensor.dtype, tensor.shape))


def _tape(roots: Sequence[Any]) -> list[Any]:
    """All that needs a gradient and that the roots were computed from, in the order it was made."""
    cls = type(roots[0])
    found: dict[int, Any] = {}
    stack = list(roots)
    while stack:
        tensor = stack.pop()
        if id(tensor) in found:
            continue
        found[id(tensor)] = tensor
        if tensor.inputs is None:
            raise _released(tensor)
        for x in tensor.inputs:
            if type(x) is cls and x.requires_grad and id(x) not in found:
                stack.append(x)
                if x.extra is not None and x.extra.is_stale(tensor.order):
                    raise _stale(tensor, x)
    return sorted(found.values(), key=_order)


def _released(tensor: Any) -> GradientError:
    return GradientError(
        f"backward: the tape of {_named(tensor)} was released by an earlier backward "
        f"({location.current()}); compute the loss again, or pass retain_graph=True to all "
        "backward passes but the last"
    )


def _stale(user: Any, leaf: Any) -> GradientError:
    extra = leaf.extra
    name = describe(leaf if extra.holder is extra else extra.holder)
    read = f", read on {extra.provenance}," if extra.provenance is not None else ""
    return GradientError(
        f"backward: {user.op.name} used {name}{read} "
        f"and that has been set or updated since ({location.current()}); call backward before "
        "the update, or compute the loss again"
    )


def _named(tensor: Any) -> str:
    known = tensor.extra is not None and tensor.extra.provenance is not None
    where = f" ({tensor.extra.provenance})" if known else ""
    return f"{tensor.op.name} {type_of(tensor)}{where}"
