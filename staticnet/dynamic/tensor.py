"""`Tensor`: an array that is there now and, where a gradient may be asked for, how it came to be.

Operations take the short way of `calls` where they can: one NumPy call and one object. The careful
way promotes dtypes, checks with `Op.infer` and runs `Op.eval`; it also says what was wrong.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any, final

import numpy as np

from staticnet.dynamic.calls import CALLS, FAILURES, matmul, quiet, takes, ufunc_of
from staticnet.dynamic.exchange import Exchange
from staticnet.dynamic.extra import Extra, Handle, Hook, extra_of
from staticnet.dynamic.masks import getitem
from staticnet.dynamic.mode import Tracing, recording, writer
from staticnet.dynamic.operands import array_module, as_tensors, lift
from staticnet.dynamic.sweep import Sweep, type_of
from staticnet.dynamic.writing import REFUSED, augmented, refused, write
from staticnet.errors import (
    ArgumentError,
    GradientError,
    ShapeError,
    StaticnetError,
)
from staticnet.ir import location
from staticnet.ir.node import describe, with_context
from staticnet.ir.op import OPS, Op, infer
from staticnet.ir.types import TensorType, TupleType
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.base import for_bools, promoted
from staticnet.ops.evaluate import compute, told
from staticnet.ops.linalg import Matmul
from staticnet.ops.movement import PermuteDims

_orders = itertools.count(1)
_matmul = Matmul()
_transpose = PermuteDims((1, 0))
ndarray = np.ndarray


@final
class Tensor(Exchange):
    """An array with operators, indexing and the functions of staticnet, computed at once.

    `.data` is the array, of NumPy or CuPy; it is never written to, and may be shared: copy it
    before you change it. A variable's tensor, and what only looks at it (a reshape, a slice,
    `detach`), shows what compiled steps make of the variable: `tensor(x)` keeps the present value.
    A tensor `requires_grad` if you said so, or if an operand of its op does.
    """

    __slots__ = ("__weakref__", "data", "extra", "inputs", "op", "order", "requires_grad")
    apply_priority = 1
    requires_grad: bool
    op: Op | None
    inputs: tuple[Any, ...] | None

    def __init__(
        self,
        data: Any,
        requires_grad: bool = False,
        op: Op | None = None,
        inputs: tuple[Any, ...] | None = (),
        order: int = 0,
    ) -> None:
        self.data = data
        self.requires_grad = requires_grad
        self.op = op
        self.inputs = inputs
        self.order = order
        self.extra: Extra | None = None

    @classmethod
    def apply(cls, op: Op, operands: Any) -> Tensor:
        """The value of `op` on operands, of which at least one is a tensor."""
        write = writer() if Tracing.active else None
        return _execute(op, operands) if write is None else _traced(op, operands, write)

    def lift(self, x: Any) -> Tensor:
        """`x`, an array, number, variable or node, as a tensor beside this one."""
        return x if type(x) is Tensor else lift(Tensor, x, array_module([self.data]))

    shape = property(attrgetter("data.shape"), doc="The dims, all of them ints.")
    dtype = property(attrgetter("data.dtype"), doc="The element type.")
    ndim = property(attrgetter("data.ndim"), doc="The number of axes.")
    size = property(attrgetter("data.size"), doc="The number of elements.")

    @property
    def T(self) -> Any:
        """The transpose of a matrix: a view."""
        if type(self.data) is ndarray and self.data.ndim == 2 and not Tracing.active:
            return _record(_transpose, (self,), self.data.T)
        return super().T

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op made it: gradients end here."""
        return self.op is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` left here; for a variable's tensor, the variable's."""
        return None if self.extra is None else self.extra.holder.grad

    @grad.setter
    def grad(self, new: Tensor | None) -> None:
        if new is not None and (not isinstance(new, Tensor) or new.shape != self.shape):
            raise GradientError(f"grad: {describe(self)} takes a tensor like it, not {new!r:.60}")
        extra_of(self).holder.grad = new

    def backward(
        self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add d self / d leaf to `.grad` of every leaf and variable that this was computed from.

        `gradient` weighs the elements: a scalar needs none. The tape is released, unless
        `retain_graph`; `create_graph` records the pass, for derivatives of the gradients.

        gradient: [*s], as self

        Raises:
            GradientError: if nothing here requires a gradient, if this is no scalar and there is no
                `gradient`, if the tape was released, or if a variable was updated since.
        """
        seed = seed_of(self, gradient, "backward")
        Sweep(retain_graph, create_graph).run([self], [seed])

    def register_hook(self, hook: Hook) -> Handle:
        """Call `hook(gradient)` when the gradient of this tensor is known; it may give another.

        Raises:
            GradientError: if the tensor requires no gradient.
            ArgumentError: if the hook cannot be called.
        """
        if not callable(hook):
            raise ArgumentError(f"register_hook: a hook takes a gradient, not {hook!r:.60}")
        if not self.requires_grad:
            raise GradientError(f"register_hook: {describe(self)} requires no gradient")
        hooks = extra_of(self).hooks
        number = max(hooks, default=0) + 1
        hooks[number] = hook
        return Handle(hooks, number)

    def retain_grad(self) -> None:
        """Keep this tensor's gradient in `.grad`: that of the last backward, not a sum.

        Raises:
            GradientError: if the tensor requires no gradient.
        """
        if not self.requires_grad:
            raise GradientError(f"retain_grad: {describe(self)} requires no gradient")
        extra_of(self).keeps_grad = True

    def copy_(self, value: Any) -> Tensor:
        """Give a leaf that requires a gradient, and its variable, another value; -> the leaf.

        Only inside `no_grad`, as `w -= lr * w.grad` of a leaf. Operations that used the old value
        can no longer be pulled back, and say so.

        Raises:
            GradientError: outside of `no_grad`, or if this is no such leaf.
            ArgumentError: if the value has another shape or dtype.
        """
        write(self, value, next(_orders))
        return self

    def detach(self) -> Tensor:
        """The same array, as a tensor that nothing was computed for."""
        return Tensor(self.data)

    def __getitem__(self, key: Any) -> Any:
        return getitem(self, key)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="tensor(")
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({values}, {self.data.dtype}{grad})"

    def __reduce__(self) -> Any:
        return Tensor, (self.data, self.requires_grad and self.is_leaf)

    def __matmul__(self, other: Any) -> Any:
        if type(other) is Tensor and not Tracing.active:
            x, y = self.data, other.data
            if x.ndim == y.ndim == 2 and x.shape[1] == y.shape[0]:
                z = matmul(_matmul, x, y)
                if z is not NotImplemented:
                    return _record(_matmul, (self, other), z)
        return FUNCTIONS["matmul"](self, other)


def _binary(name: str, reflected: bool = False) -> Callable[[Tensor, Any], Any]:
    """An operator: NumPy's ufunc where the operands fit as they are, else the public function."""
    cls: Any = OPS[name]
    op, general, found = cls(), FUNCTIONS[name], ufunc_of(cls)
    assert found is not None
    ufunc, allowed = found
    differentiable = op.differentiable

    def operator(self: Tensor, other: Any) -> Any:
        x = self.data
        dtype = x.dtype
        records = self.requires_grad
        if type(other) is Tensor:
            y = other.data
            fits = y.dtype is dtype and dtype in allowed
            records = records or other.requires_grad
        else:
            y = other = other.item() if isinstance(other, np.generic) else other
            fits = dtype in allowed and takes(other, dtype)
        pair = (other, self) if reflected else (self, other)
        if not fits or Tracing.active:
            return general(*pair)
        try:
            z = quiet.run(ufunc, y, x) if reflected else quiet.run(ufunc, x, y)
        except FAILURES:
            return general(*pair)
        if type(z) is not ndarray and isinstance(z, np.generic):
            z = np.asarray(z)
        if records and differentiable and recording.get():
            return Tensor(z, True, op, pair, next(_orders))
        return Tensor(z)

    return operator


_ARITHMETIC = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv"}
_OTHERS = {"pow": "pow", "matmul": "matmul", "floor_divide": "floordiv", "remainder": "mod"}
_ORDER = {
    "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt",
    "greater_equal": "ge",
}  # fmt: skip
for _name, _method in (_ARITHMETIC | _ORDER).items():
    setattr(Tensor, f"__{_method}__", _binary(_name))
for _name, _method in _ARITHMETIC.items():
    setattr(Tensor, f"__r{_method}__", _binary(_name, reflected=True))
for _name, _method in (_ARITHMETIC | _OTHERS).items():
    setattr(Tensor, f"__i{_method}__", augmented(_name))
for _name in ("__setitem__", *REFUSED):
    setattr(Tensor, _name, refused(_name))


def _execute(op: Op, operands: tuple[Any, ...]) -> Tensor:
    call = CALLS.get(type(op))
    if call is not None:
        arrays: list[Any] = []
        for x in operands:
            if type(x) is Tensor:
                arrays.append(x.data)
            elif type(x) is float or type(x) is int:
                arrays.append(x)
            else:
                return _execute_carefully(op, operands)
        try:
            result = call(op, *arrays)
        except FAILURES:
            return _execute_carefully(op, operands)
        if result is not NotImplemented:
            return _record(op, operands, result)
    return _execute_carefully(op, operands)


def _execute_carefully(op: Op, operands: tuple[Any, ...]) -> Tensor:
    """`_execute` for operands that need promotion or checks, and for all that goes wrong."""
    tensors: tuple[Tensor, ...] = ()
    try:
        tensors = as_tensors(Tensor, op, operands)
        if op.arity not in (None, len(tensors)):
            raise ArgumentError(f"takes {op.arity} operands, not {len(tensors)}")
        op = for_bools(op, tensors)
        type_ = infer(op, [TensorType(x.dtype, x.shape) for x in tensors])
        if type_.symbols:
            raise ShapeError(f"{type_} has a symbolic dimension; a tensor's are numbers")
    except StaticnetError as error:
        raise with_context(error, op.name, tensors or operands) from error.__cause__
    arrays = [x.data for x in tensors]
    dtype = None if isinstance(type_, TupleType) else type_.dtype
    try:
        result = quiet.run(compute, op, dtype, arrays, array_module(arrays))
    except (StaticnetError, MemoryError):
        raise
    except Exception as error:
        failure, what = told(op, error)
        what = f"{what} ({op.failure})" if op.failure else what
        raise with_context(failure(what), op.name, tensors) from error
    return _record(op, tensors, result)


def _record(op: Op, operands: tuple[Any, ...], result: Any) -> Tensor:
    """The tensor of a result, with its op and operands if a gradient may be asked for.

    Several results are one entry of the tape, a tensor of a tuple, whose items are others.
    """
    if type(result) is not ndarray and isinstance(result, np.generic):
        result = np.asarray(result)
    for x in operands:
        if type(x) is Tensor and x.requires_grad:
            whole = type(result) is not tuple and result.dtype.kind in "biu"
            if op.differentiable and recording.get() and not whole:
                return Tensor(result, True, op, operands, next(_orders))
            break
    return Tensor(result)


def _traced(op: Op, operands: tuple[Any, ...], write: Callable[[str], object]) -> Tensor:
    start = time.perf_counter()
    result = _execute(op, operands)
    milliseconds = (time.perf_counter() - start) * 1e3
    given = " ".join(type_of(x) if isinstance(x, Tensor) else str(x) for x in operands)
    where = location.current()
    if where.lines and not where.made_by:
        extra_of(result).provenance = where
    write(f"{op.name} {given} -> {type_of(result)} {milliseconds:.3f} ms {where}")
    return result


def seed_of(tensor: Tensor, gradient: Any, what: str) -> Tensor:
    """The gradient that a backward pass begins with: ones for a scalar that is given none.

    Raises:
        GradientError: as `Tensor.backward` says.
    """
    if not tensor.requires_grad:
        raise GradientError(
            f"{what}: {describe(tensor)} depends on nothing that requires a gradient "
            f"({location.current()}); use a variable, or sn.dynamic.tensor(x, requires_grad=True), "
            "outside of no_grad"
        )
    if gradient is None:
        if tensor.data.size != 1:
            raise GradientError(
                f"{what}: {describe(tensor)} is no scalar ({location.current()}); reduce it with "
                f"sn.sum or sn.mean, or pass gradient= of its shape"
            )
        return Tensor(array_module([tensor.data]).ones(tensor.data.shape, tensor.data.dtype))
    seed: Tensor = promoted(what, tensor, gradient)[1]
    if seed.shape != tensor.shape or seed.dtype != tensor.dtype:
        raise GradientError(
            f"{what}: the gradient {type_of(seed)} must be of the tensor's type {type_of(tensor)}"
        )
    return seed
