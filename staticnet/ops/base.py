"""How an operation is applied, and the families that supply the defaults.

`apply(op, *operands)` is the one door: it lifts Python scalars and arrays to constants, promotes
dtypes, and hands the op to whatever its operands are (graph nodes, pattern variables, …).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

from staticnet.errors import DTypeError, ShapeError, StaticnetError
from staticnet.ir.dim import Dim, size_of, substitute
from staticnet.ir.dtype import (
    BOOL,
    INT64,
    DType,
    as_dtype,
)
from staticnet.ir.hints import check_call
from staticnet.ir.literal import Literal
from staticnet.ir.node import Node, build, values_in, with_context
from staticnet.ir.op import Axes, Op
from staticnet.ir.types import Shape, TensorType, TupleType
from staticnet.ir.value import FUNCTIONS, Value, register
from staticnet.ops.arguments import (
    ANY,
    NUMBERS,
    broadcast_shapes,
    check_axes,
    check_kind,
)
from staticnet.ops.batching import align, shifted
from staticnet.ops.promotion import as_array, common_dtype, is_weak, operand_dtype

F = TypeVar("F", bound=Callable[..., Any])
NONE, ALL = slice(0, 0), slice(0, None)


class TensorOp(Op):
    """An op on tensors. Its class says which operands must share a dtype and where it is linear.

    `same_dtype`: positions that promotion makes equal. `linear`: positions in which the op is
    jointly linear, so that its jvp is the op itself on their tangents. `derivative_rule`: what
    textbooks call its rule, where that is not linearity or the chain rule.
    """

    same_dtype: ClassVar[slice] = NONE
    linear: ClassVar[slice] = NONE
    derivative_rule: ClassVar[str] = ""

    def __call__(self, *operands: Any) -> Any:
        """The value of this op on nodes, numbers and arrays, or on tensors of `sn.dynamic`."""
        return apply(self, *operands)


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


@dataclass(frozen=True)
class Size(TensorOp, name="size"):
    """y = the number of elements of an array of `shape`: how a symbolic dim enters arithmetic.

    -> y: int64 []
    """

    shape: Shape
    differentiable = False
    arity = 0

    def infer(self) -> TensorType:
        TensorType(INT64, self.shape)
        return TensorType(INT64, ())

    def eval(self, xp: Any) -> Any:
        return xp.asarray(size_of(self.shape), INT64)

    def substitute(self, values: dict[str, int]) -> Op:
        """Its number, once that is known; of a difference of dims it may be negative."""
        dims = [substitute(dim, values) for dim in self.shape]
        size = size_of(dims)
        return Constant(Literal.of(as_array(size))) if isinstance(size, int) else Size(tuple(dims))


@dataclass(frozen=True)
class Item(TensorOp, name="item"):
    """y = the result number `index` of an op that has several.  x: (t0,t1,…) -> y: t_index

    Differentiation knows it: the cotangents of its kind make up the cotangent of x.
    """

    index: int
    widens = False

    def infer(self, *operands: TensorType) -> TensorType:
        (x,) = operands
        if not isinstance(x, TupleType):
            raise DTypeError(f"takes one of several results, and {x} is a single one")
        if not 0 <= self.index < len(x.types):
            raise ShapeError(f"{x} has no result {self.index}")
        return x.types[self.index]

    def eval(self, xp: Any, x: Any) -> Any:
        return x[self.index]


def items(x: Any) -> tuple[Any, ...]:
    """The results of an op that has several: nodes, or tensors of dynamic execution."""
    type_ = x.type if isinstance(x, Node) else None
    count = len(type_.types if isinstance(type_, TupleType) else x.data)
    return tuple(apply(Item(i), x) for i in range(count))


def named(f: F) -> F:
    """A public operation whose errors name it, its operands and the user's line."""

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except StaticnetError as error:
            raise with_context(error, f.__name__, values_in(args)) from error.__cause__
        except TypeError:
            check_call(f.__name__, f, args, kwargs)
            raise

    return call  # type: ignore[return-value]


def function(f: F) -> F:
    """A `named` operation, registered by its name; two of one name must not both be."""
    call = named(f)
    register(f.__name__, call)
    return call


def apply(op: Op, *operands: Any) -> Any:
    """The value of `op` on operands; on plain numbers and arrays it builds constant nodes."""
    owner = _owner(operands)
    if owner is not None:
        return type(owner).apply(op, operands)
    try:
        nodes = _as_nodes(op, operands)
        stands = for_bools(op, nodes)
    except StaticnetError as error:
        raise with_context(
            error, op.name, [x for x in operands if isinstance(x, Node)]
        ) from error.__cause__
    return build(stands, nodes, operands)


def for_bools(op: Op, operands: Sequence[Any]) -> Op:
    """The op itself or, if all operands are bools, what stands for it there.

    Raises:
        ShapeError: if they do not broadcast, so that the error names the op that was called.
    """
    logical = getattr(op, "of_bools", None)
    if logical is None or len(operands) != op.arity or any(x.dtype != BOOL for x in operands):
        return op
    broadcast_shapes(*(x.shape for x in operands))
    return cast(Op, logical())


def _owner(operands: Sequence[Any]) -> Value | None:
    """The operand whose kind runs an op on them all; None if a graph does."""
    owner, priority = None, Node.apply_priority
    for operand in operands:
        if isinstance(operand, Value) and operand.apply_priority > priority:
            owner, priority = operand, operand.apply_priority
    return owner


def as_values(*operands: Any) -> list[Any]:
    """The operands as Values of one kind: tensors of dynamic execution, if one of them is that.

    For what uses an operand alone before it meets the others.
    """
    owner = _owner(operands)
    lift = as_value if owner is None else owner.lift
    return [lift(x) for x in operands]


def as_value(x: Any) -> Value:
    """`x` itself if it is a Value, else a constant node of it."""
    return x if isinstance(x, Value) else constant(x)


def constant(value: Any, dtype: Any = None) -> Node:
    """A literal. Python floats become float32, ints int64; arrays keep their dtype.

    A symbolic dim becomes the number that it is bound to.

    Raises:
        DTypeError: if the value has no supported dtype, or does not fit the range of `dtype`.
    """
    if isinstance(value, Dim):
        number = build(Size((value,)), ())
        wanted = INT64 if dtype is None else as_dtype(dtype)
        return number if wanted == INT64 else cast(Node, FUNCTIONS["astype"](number, wanted))
    array = as_array(value, None if dtype is None else as_dtype(dtype))
    return build(Constant(Literal.of(array)), ())


def promoted(what: str, *operands: Any) -> list[Any]:
    """The operands as Values of one kind, weak ones in the dtype that the others promote to.

    For what uses operands alone before an op promotes them.

    Raises:
        DTypeError: if no dtype holds them all.
    """
    if not any(is_weak(x) for x in operands):
        return as_values(*operands)
    dtype = common_dtype(what, operands)
    return as_values(*(weak_in(x, dtype) if is_weak(x) else x for x in operands))


def weak_in(x: Any, dtype: DType) -> Any:
    """A weak value in a dtype: an array, or the node of a symbolic dim."""
    return constant(x, dtype) if isinstance(x, Dim) else as_array(x, dtype)


def _as_nodes(op: Op, operands: Sequence[Any]) -> tuple[Node, ...]:
    same = range(len(operands))[getattr(op, "same_dtype", NONE)]
    target = operand_dtype(op.name, getattr(op, "kinds", ANY), [operands[i] for i in same])
    if target is None:
        return tuple(x if isinstance(x, Node) else constant(x) for x in operands)
    return tuple(
        _as_node_of(x, target) if i in same else x if isinstance(x, Node) else constant(x)
        for i, x in enumerate(operands)
    )


def _as_node_of(x: Any, dtype: DType) -> Node:
    if not isinstance(x, Node):
        return constant(x, dtype)
    if x.dtype == dtype:
        return x
    x.type.with_dtype(dtype)  # too large a result is this op's error, not the cast's
    return FUNCTIONS["astype"](x, dtype)


def along_elements(
    products: Callable[[Any], Sequence[Any]], y: Any, tangents: Sequence[Any]
) -> Any:
    """The tangent of an elementwise op, whose products with a tangent are those with a cotangent.

    `products` are an op's, for each operand, with what it is given in y's shape.
    """
    total = None
    for i, tangent in enumerate(tangents):
        if tangent is None:
            continue
        part = products(FUNCTIONS["broadcast_to"](tangent, y.shape))[i]
        total = part if total is None else total if part is None else total + part
    return total


class Elementwise(TensorOp):
    """y[i] = f(x0[i], x1[i], …), operands broadcast to one shape.

    `kinds` says which operands it takes; `of_bools` what users' calls on bools alone mean, if it
    takes none; `gives_bool` whether its result is bool; `numpy` is NumPy's name of it, where that
    differs. A `positional` one is told of its operands' axes, by an attribute or a user's shape
    rule: a rewrite may not apply it to other shapes than those that it was called on.
    """

    same_dtype: ClassVar[slice] = ALL
    kinds: ClassVar[frozenset[str]] = NUMBERS
    of_bools: ClassVar[type[Op] | None] = None
    gives_bool: ClassVar[bool] = False
    numpy: ClassVar[str] = ""
    positional: ClassVar[bool] = False

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
        if self.where is not None:
            return NotImplemented  # what a user's vjp gives is looked at first
        return along_elements(lambda g: self.vjp(y, g, *operands), y, tangents)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(self, *align(batched, operands))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return result.size


def unary(cls: type[Elementwise]) -> Callable[[Any], Value]:
    """The public function of a one-operand op, documented by its class."""

    op = cls()

    def f(x: Any) -> Value:
        return apply(op, x)

    return _of_class(f, cls)


def binary(cls: type[Elementwise]) -> Callable[[Any, Any], Value]:
    """The public function of a two-operand op, documented by its class."""

    op = cls()

    def f(x: Any, y: Any) -> Value:
        return apply(op, x, y)

    return _of_class(f, cls)


def _of_class(f: F, cls: type[Elementwise]) -> F:
    """Registered with the class's name and text; it pickles by its module, which calls it so."""
    f.__name__ = f.__qualname__ = cls.name
    f.__module__, f.__doc__ = cls.__module__, cls.__doc__
    return function(f)


@dataclass(frozen=True)
class Reduction(TensorOp):
    """y = a combination of x's elements along `axes`.

    `kinds` says what it takes; `has_identity` whether it is defined where there are no elements;
    `combine` what combines two: sum, prod, max, min, any or all.
    x: [*s] -> y: [s without axes], or with them as 1 if keepdims
    """

    axes: Axes
    keepdims: bool
    kinds: ClassVar[frozenset[str]] = NUMBERS
    has_identity: ClassVar[bool] = True
    combine: ClassVar[str] = ""

    def __init_subclass__(cls, name: str = "") -> None:
        super().__init_subclass__(name)
        cls.combine = cls.combine or cls.name
        cls.on_host = cls.where is not None  # no code combines elements as a user says

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

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(type(self)(shifted(self.axes), self.keepdims), *operands)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        return operands[0].size
