"""The rules of users' ops are called here, and what they give is held to what they are asked for.

Of the house's own ops the rules are called as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticnet.errors import ArgumentError, GradientError, StaticnetError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import is_floating
from staticnet.ir.location import Location, current, written_at
from staticnet.ir.node import Node, describe
from staticnet.ir.op import Op
from staticnet.ir.types import TensorType, TupleType, format_shape
from staticnet.ir.user_functions import call_rule
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.arguments import broadcast_shapes
from staticnet.ops.base import Elementwise, along_elements, as_values, items


def results(y: Any) -> Any:
    """The results of an op that has several, as a tuple; any other value as it is."""
    several = isinstance(y.type, TupleType) if isinstance(y, Node) else type(y.data) is tuple
    return items(y) if several else y


def written(op: Op, rule: str) -> Location | None:
    """Where a rule of a user's op is: a function's line, a method's, or that of the op."""
    given = getattr(getattr(op, "given", None), rule, None)
    return written_at(given or getattr(type(op), rule)) or op.where


def _called(op: Op, rule: str, *args: Any) -> Any:
    method = getattr(op, rule)
    if written_at(method) is None:  # the house's, which calls a user's function itself
        return method(*args)
    return call_rule(f"{op.name}: its {rule}", written(op, rule), method, *args)


def _gives(op: Op, rule: str) -> str:
    return f"{op.name}: its {rule} ({written(op, rule)}) gives"


def products_of(op: Op, y: Any, g: Any, *operands: Any) -> Any:
    """What an op's vjp gives; a user's own is held to one product for each operand, of its shape.

    Raises:
        GradientError: if they are not as many, or one is no value that sums to its operand's shape.
    """
    if op.where is None:
        return op.vjp(y, g, *operands)
    return as_products(op, _called(op, "vjp", y, g, *operands), operands)


def as_products(op: Op, given: Any, operands: Sequence[Any]) -> list[Any]:
    """What a user's vjp gave, as one product for each operand; raises as `products_of` says."""
    what = _gives(op, "vjp")
    if given is None:
        raise GradientError(
            f"{what} None ({current()}); return a product for each operand, and (None,) for zero"
        )
    products = tuple(given) if isinstance(given, list | tuple) else (given,)
    if len(products) != len(operands):
        raise GradientError(
            f"{what} {len(products)} products for {len(operands)} operands ({current()})"
        )
    return [
        None if product is None else _fitting(product, x, f"operand {i}", what)
        for i, (product, x) in enumerate(zip(products, operands, strict=True))
    ]


def _fitting(product: Any, x: Any, which: str, what: str) -> Any:
    """A product as a value; raises GradientError unless it sums to x's shape."""
    value, shape = _as_value(product, f"{what} {{}} for {which}")
    if not _reaches(x.shape, shape):
        raise GradientError(
            f"{what} {format_shape(shape)} for {which}, which is {format_shape(x.shape)} "
            f"({current()}); give None for zero"
        )
    return value


def tangent_of(op: Op, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """What an op's jvp gives, of several results a sequence; a user's own is held to y's type.

    Raises:
        GradientError: if one is no value that broadcasts to its result.
    """
    if op.where is None:
        return op.jvp(y, operands, tangents)
    given = _called(op, "jvp", y, operands, tangents)
    if given is NotImplemented:
        if not isinstance(op, Elementwise):
            return given
        given = along_elements(lambda g: products_of(op, y, g, *operands), y, tangents)
    return as_tangents(op, given, results(y))


def as_tangents(op: Op, given: Any, y: Any) -> Any:
    """What a user's jvp gave, as a tangent for each result; raises as `tangent_of` says."""
    what = _gives(op, "jvp")
    if not isinstance(y, tuple):
        return _moved(given, y, what)
    if given is None:
        return [None] * len(y)
    if not isinstance(given, list | tuple) or len(given) != len(y):
        raise GradientError(f"{what} {given!r:.60} for {len(y)} results ({current()})")
    return [_moved(t, each, what) for t, each in zip(given, y, strict=True)]


def _moved(tangent: Any, y: Any, what: str) -> Any:
    """A tangent as a value of a result's type; raises GradientError if it does not fit."""
    type_ = TensorType(y.dtype, y.shape)
    if tangent is None or not is_floating(type_.dtype):
        return None
    value, shape = _as_value(tangent, f"{what} {{}} as the tangent of {type_}")
    if not _reaches(shape, type_.shape) or not is_floating(value.dtype):
        own = TensorType(value.dtype, shape)
        raise GradientError(
            f"{what} {own} as the tangent of {type_} ({current()}); give None for zero"
        )
    full = FUNCTIONS["broadcast_to"](value, type_.shape)
    return FUNCTIONS["astype"](full, type_.dtype)


def _as_value(given: Any, what: str) -> tuple[Any, Any]:
    """A value and its shape; `what` says of what is none who gives it, and for what."""
    try:
        (value,) = as_values(given)
        return value, tuple(value.shape)
    except (StaticnetError, AttributeError, TypeError, ValueError):
        told = what.format(f"{given!r:.60}")
        raise GradientError(f"{told}, which is no value ({current()})") from None


def _reaches(shape: Any, wider: Any) -> bool:
    """Whether a shape broadcasts to a wider one."""
    try:
        return broadcast_shapes(wider, shape) == tuple(wider)
    except StaticnetError:
        return False


def examples_of(
    op: Op, like: Node, size: int | Dim, batched: tuple[bool, ...], operands: Sequence[Any]
) -> Any:
    """What an op's rule for many examples gives; a user's own is held to the type of one, `like`.

    Raises:
        ArgumentError: if it is not that of `size` examples along a first axis.
    """
    if op.where is None:
        return op.batch(size, batched, *operands)
    made = _called(op, "batch", size, batched, *operands)
    several = isinstance(like.type, TupleType)
    types = like.type.types if isinstance(like.type, TupleType) else (like.type,)
    parts = list(made) if several and isinstance(made, list | tuple) else [made]
    wanted = [type_.with_shape((size, *type_.shape)) for type_ in types]
    found = [TensorType(x.dtype, x.shape) if hasattr(x, "dtype") else x for x in parts]
    if found != wanted:
        told, asked = (", ".join(map(str, x)) for x in (found, wanted))
        raise ArgumentError(
            f"{op.name}: with examples along a first axis its {_rule_of_examples(op)} gives "
            f"{told}, and must give {asked}: {describe(like)} for {size} examples ({current()})"
        )
    return made


def _rule_of_examples(op: Op) -> str:
    given = getattr(op, "given", None)
    rule = "batch" if given is None or given.infer is None else "infer"
    return f"{rule} ({written(op, rule)})"


def flops_of_node(node: Node) -> int | Dim:
    """The floating-point operations of a node.

    Raises:
        ArgumentError: if a user's rule gives no number.
    """
    op, operands = node.op, [x.type for x in node.inputs]
    if op.where is None:
        return op.flops(node.type, *operands)
    found: Any = _called(op, "flops", node.type, *operands)
    if type(found) is not int and not isinstance(found, Dim):
        raise ArgumentError(
            f"{_gives(op, 'flops')} {found!r:.60}, and must give an int: {describe(node)} "
            f"({node.provenance})"
        )
    return found
