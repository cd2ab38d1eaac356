"""How an operation is applied, and the families that supply the defaults.

`apply(op, *operands)` is the one door: it lifts Python scalars and arrays to constants, promotes
dtypes, and hands the op to whatever its operands are (graph nodes, pattern variables, …).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from staticnet.errors import DTypeError, ShapeError, StaticnetError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import (
    BOOL,
    DTYPES,
    FLOAT32,
    INT64,
    DType,
    as_dtype,
    is_floating,
    kind,
    promote,
)
from staticnet.ir.literal import Literal
from staticnet.ir.node import Node, build, with_context
from staticnet.ir.op import Axes, Op
from staticnet.ir.types import TensorType
from staticnet.ir.value import FUNCTIONS, Value
from staticnet.ops.arguments import (
    NUMBERS,
    broadcast_shapes,
    check_axes,
    check_kind,
)

F = TypeVar("F", bound=Callable[..., Any])
NONE, ALL = slice(0, 0), slice(0, None)


class TensorOp(Op):
    """An op on tensors. Its class says which operands must share a dtype and where it is linear.

    `same_dtype`: positions that promotion makes equal. `linear`: positions in which the op is
    jointly linear, so that its jvp is the op itself on their tangents.
    """

    same_dtype: ClassVar[slice] = NONE
    linear: ClassVar[slice] = NONE


@dataclass(frozen=True)
class Constant(TensorOp, name="constant"):
    """y = value.  -> y: the literal's shape"""

    value: Literal
    arity = 0

    def infer(self) -> TensorType:
        return self.value.type

    def eval(self, xp: Any) -> Any:
        return xp.asarray(self.value.array)

    def vjp(self, y: Any, g: Any) -> tuple[Any, ...]:
        return ()


def function(f: F) -> F:
    """Register a public operation; its errors name it, its operands and the user's line."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except StaticnetError as error:
            operands = [a for a in args if isinstance(a, Value)]
            raise with_context(error, f.__name__, operands) from None

    FUNCTIONS[f.__name__] = call
    return call  # type: ignore[return-value]


def apply(op: Op, *operands: Any) -> Any:
    """The value of `op` on operands; on plain numbers and arrays it builds constant nodes."""
    owner = _owner(operands)
    if owner is not None:
        return type(owner).apply(op, operands)
    try:
        nodes = _as_nodes(op, operands)
    except StaticnetError as error:
        raise with_context(error, op.name, [x for x in operands if isinstance(x, Node)]) from None
    return build(op, nodes, operands)


def _owner(operands: Sequence[Any]) -> Value | None:
    """The operand whose kind runs an op on them all; None if a graph does."""
    owner, priority = None, Node.apply_priority
    for operand in operands:
        if isinstance(operand, Value) and operand.apply_priority > priority:
            owner, priority = operand, operand.apply_priority
    return owner


def as_values(*operands: Any) -> list[Any]:
    """The operands as Values of one kind: tensors of dynamic execution, if one of them is that.

    For what uses an operand alone before it meets the others. None stays None.
    """
    owner = _owner(operands)
    lift = as_value if owner is None else owner.lift
    return [None if x is None else lift(x) for x in operands]


def as_value(x: Any) -> Value:
    """`x` itself if it is a Value, else a constant node of it."""
    return x if isinstance(x, Value) else constant(x)


def constant(value: Any, dtype: Any = None) -> Node:
    """A literal. Python floats become float32, ints int64; arrays keep their dtype.

    Raises:
        DTypeError: if the value has no supported dtype.
    """
    if dtype is not None and is_python_scalar(value):
        return scalar_constant(value, as_dtype(dtype))
    array = as_array(value, None if dtype is None else as_dtype(dtype))
    return build(Constant(Literal.of(array)), ())


def as_array(value: Any, dtype: DType | None = None) -> np.ndarray[Any, Any]:
    """A dense host array of `value` in a supported dtype, by the rules of `constant`."""
    if isinstance(value, Value) and value.is_symbolic:
        raise DTypeError(f"{value!r} is a symbolic value, not an array")
    strong = isinstance(value, np.ndarray | np.generic | Value) or hasattr(value, "__dlpack__")
    try:
        if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic):
            value = np.from_dlpack(value)
        array = np.asarray(value)
    except (ValueError, TypeError, BufferError, RuntimeError) as error:
        raise DTypeError(f"{type(value).__name__} does not convert to an array: {error}") from None
    if dtype is None:
        weak = {"f": FLOAT32, "i": INT64, "b": BOOL}.get(array.dtype.kind)
        dtype = array.dtype if strong or weak is None else weak
    if dtype not in DTYPES.values():
        raise DTypeError(f"an array of dtype {array.dtype} is not supported")
    return array.astype(dtype, copy=False)


def _as_nodes(op: Op, operands: Sequence[Any]) -> tuple[Node, ...]:
    same = range(len(operands))[getattr(op, "same_dtype", NONE)]
    if len(same) < 2 or len({getattr(operands[i], "dtype", i) for i in same}) == 1:
        return tuple(x if isinstance(x, Node) else constant(x) for x in operands)
    target = common_dtype(op.name, [operands[i] for i in same])
    return tuple(
        _as_node_of(x, target) if i in same else x if isinstance(x, Node) else constant(x)
        for i, x in enumerate(operands)
    )


def common_dtype(what: str, operands: Sequence[Any]) -> DType:
    """The dtype that operands promote to; a Python scalar adapts to the others.

    Raises:
        DTypeError: if kinds mix, as an integer with a floating-point array.
    """
    dtypes = [dtype_of(x) for x in operands if not is_python_scalar(x)]
    result = dtypes[0] if dtypes else None
    for dtype in dtypes[1:]:
        promoted = promote(result, dtype) if result is not None else dtype
        if promoted is None:
            raise DTypeError(
                f"{what}: {result} and {dtype} do not promote; cast one with sn.astype(x, dtype)"
            )
        result = promoted
    for scalar in filter(is_python_scalar, operands):
        result = _dtype_with_scalar(what, result, scalar)
    assert result is not None
    return result


def is_python_scalar(x: Any) -> bool:
    """A Python bool, int or float: a number without a dtype of its own."""
    return isinstance(x, bool | int | float) and not isinstance(x, np.generic)


def dtype_of(x: Any) -> DType:
    """The dtype of a Value or of what `constant` would make of `x`."""
    return x.dtype if isinstance(x, Value) else as_array(x).dtype


def _dtype_with_scalar(what: str, dtype: DType | None, scalar: Any) -> DType:
    own = BOOL if isinstance(scalar, bool) else INT64 if isinstance(scalar, int) else FLOAT32
    if dtype is None:
        return own
    ranks = {"bool": 0, "uint": 1, "int": 1, "float": 2}
    fits = ranks[kind(own)] <= ranks[kind(dtype)] and (kind(own) == "bool") == (dtype == BOOL)
    if not fits:
        raise DTypeError(
            f"{what}: the Python {type(scalar).__name__} {scalar} does not fit {dtype}; "
            "cast the array with sn.astype(x, dtype)"
        )
    return dtype


def _as_node_of(x: Any, dtype: DType) -> Node:
    if not isinstance(x, Node):
        return scalar_constant(x, dtype) if is_python_scalar(x) else constant(as_array(x), dtype)
    if x.dtype == dtype:
        return x
    x.type.with_dtype(dtype)  # too large a result is this op's error, not the cast's
    return FUNCTIONS["astype"](x, dtype)


def scalar_constant(x: Any, dtype: DType) -> Node:
    """A Python number as a constant of the given dtype.

    Raises:
        DTypeError: if it does not fit an integer dtype's range.
    """
    return build(Constant(Literal.of(scalar_array(x, dtype))), ())


def scalar_array(x: Any, dtype: DType) -> np.ndarray[Any, Any]:
    """A Python number as an array of the given dtype; raises as `scalar_constant`."""
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= x <= np.iinfo(dtype).max:
        raise DTypeError(f"the number {x:.5g} is out of the range of {dtype}")
    return np.asarray(_as_float(x) if is_floating(dtype) else x).astype(dtype)


def _as_float(x: Any) -> float:
    try:
        return float(x)
    except OverflowError:
        raise DTypeError(f"the int of {x.bit_length()} bits is too large for a float") from None


class Elementwise(TensorOp):
    """y[i] = f(x0[i], x1[i], …), operands broadcast to one shape.

    `kinds` says which operands it takes; `gives_bool` whether its result is bool; `numpy` is
    NumPy's name of it, where that differs.
    """

    same_dtype: ClassVar[slice] = ALL
    kinds: ClassVar[frozenset[str]] = NUMBERS
    gives_bool: ClassVar[bool] = False
    numpy: ClassVar[str] = ""

    def infer(self, *operands: TensorType) -> TensorType:
        first = operands[self.same_dtype][0]
        for other in operands[self.same_dtype]:
            if other.dtype != first.dtype:
                raise DTypeError(f"the operands' dtypes differ: {first.dtype}, {other.dtype}")
        check_kind(first.dtype, self.kinds)
        result = first
        if any(x is not first for x in operands):
            result = first.with_shape(broadcast_shapes(*(x.shape for x in operands)))
        return result.with_dtype(BOOL) if self.gives_bool else result

    def eval(self, xp: Any, *operands: Any) -> Any:
        return getattr(xp, self.numpy or self.name)(*operands)

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        total = None
        for i, tangent in enumerate(tangents):
            if tangent is None:
                continue
            tangent = FUNCTIONS["broadcast_to"](tangent, y.shape)
            part = self.vjp(y, tangent, *operands)[i]
            total = part if total is None else total if part is None else total + part
        return total

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size


def unary(cls: type[Elementwise]) -> Callable[[Any], Value]:
    """The public function of a one-operand op, documented by its class."""

    op = cls()

    def f(x: Any) -> Value:
        return apply(op, x)

    f.__name__, f.__doc__ = cls.name, cls.__doc__
    return function(f)


def binary(cls: type[Elementwise]) -> Callable[[Any, Any], Value]:
    """The public function of a two-operand op, documented by its class."""

    op = cls()

    def f(x: Any, y: Any) -> Value:
        return apply(op, x, y)

    f.__name__, f.__doc__ = cls.name, cls.__doc__
    return function(f)


@dataclass(frozen=True)
class Reduction(TensorOp):
    """y = a combination of x's elements along `axes`.

    `kinds` says what it takes; `has_identity` whether it is defined where there are no elements.
    x: [*s] -> y: [s without axes], or with them as 1 if keepdims
    """

    axes: Axes
    keepdims: bool
    kinds: ClassVar[frozenset[str]] = NUMBERS
    has_identity: ClassVar[bool] = True

    def infer(self, *operands: TensorType) -> TensorType:
        x = operands[0]
        check_kind(x.dtype, self.kinds)
        check_axes(self.axes, x.ndim)
        if not self.has_identity and any(x.shape[axis] == 0 for axis in self.axes):
            raise ShapeError(f"has no value on an empty axis of {x}")
        if self.keepdims:
            return x.with_shape(tuple(1 if i in self.axes else d for i, d in enumerate(x.shape)))
        return x.with_shape(tuple(d for i, d in enumerate(x.shape) if i not in self.axes))

    def eval(self, xp: Any, x: Any) -> Any:
        return getattr(xp, self.name)(x, axis=self.axes, keepdims=self.keepdims)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return operands[0].size
