"""The classes of users' ops: what is asked of an op, answered by a user's functions.

Rules of derivatives are written for operands of one example, and may count their axes. So an op
that takes many examples at once is differentiated as an op of its own, whose rules are those of
each example.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.location import current, written_at
from staticnet.ir.types import TensorType, TupleType, format_shape, tensor_type
from staticnet.ir.user_functions import call_rule
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.base import Elementwise, TensorOp, apply
from staticnet.ops.batching import align, spread_all
from staticnet.ops.own_rules import as_products, as_tangents, results
from staticnet.ops.shape import sum_to_shape

MOST_APART = 16  # examples that an op without a rule is applied to one by one, not in a loop
Function = Callable[..., Any]


@dataclass(frozen=True)
class Functions:
    """What a user gave of an op; `None` where nothing."""

    eval: Function
    infer: Function | None
    vjp: Function | None
    jvp: Function | None
    flops: Function | int | None
    vectorized: bool

    def identity(self) -> tuple[Any, ...]:
        """What is equal where the functions do the same: those that live, by their code."""
        return tuple(_identity(f) for f in vars(self).values())


def _identity(f: Any) -> Any:
    """A function's code and what it reads; of anything else which object it is."""
    if not isinstance(f, types.FunctionType):
        return f if isinstance(f, int) else id(f)
    names = f.__kwdefaults__ or {}
    defaults = [*(f.__defaults__ or ()), *names, *names.values()]
    read = [id(f.__globals__), *map(id, f.__closure__ or ())]
    return f.__code__, *read, *(x if isinstance(x, int | str) else id(x) for x in defaults)


class Own(TensorOp):
    """The methods of an op, by a user's functions.

    `many` is the op of many examples, where derivatives are to be each example's.
    """

    given: ClassVar[Functions]
    definition: ClassVar[Any] = None
    many: ClassVar[type[OfExamples] | None] = None

    @property
    def told(self) -> dict[str, Any]:
        """The attributes that the user's functions get."""
        return self.attributes()

    def infer(self, *operands: TensorType) -> TensorType:
        assert self.given.infer is not None
        return _as_type(self.given.infer(*operands, **self.told), self.given.infer)

    def eval(self, xp: Any, *operands: Any) -> Any:
        return self.given.eval(*operands, **self.told)

    def vjp(self, y: Any, g: Any, *operands: Any) -> Any:
        if self.given.vjp is None:
            return super().vjp(y, g, *operands)
        return self.products(results(y), _without_none(y, g), *operands)

    def products(self, y: Any, g: Any, *operands: Any) -> Any:
        """What the user's vjp gives."""
        assert self.given.vjp is not None
        return _given(self, "vjp", self.given.vjp, y, g, *operands)

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        if self.given.jvp is None:
            return super().jvp(y, operands, tangents)
        return self.moved(results(y), tuple(operands), tuple(tangents))

    def moved(self, y: Any, operands: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
        """What the user's jvp gives."""
        assert self.given.jvp is not None
        return _given(self, "jvp", self.given.jvp, y, operands, tangents)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        if not self.given.vectorized:
            return one_by_one(self, size, batched, operands)
        return self._on_many(1, spread_all(size, batched, operands))

    def _on_many(self, axes: int, operands: Sequence[Any]) -> Any:
        """The op on operands with so many axes of examples in front."""
        many: Any = self.many
        op = self if many is None else many(**self.told, example_axes=axes)
        return results(apply(op, *operands))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        count = self.given.flops
        if count is None:
            return super().flops(result, *operands)
        return _given(self, "flops", count, result, *operands) if callable(count) else count


class OfExamples(Own):
    """An op on many examples, which lie along the first `example_axes` axes of each operand."""

    example_axes: int

    @property
    def told(self) -> dict[str, Any]:
        """The attributes of the op of one example."""
        return {n: value for n, value in self.attributes().items() if n != "example_axes"}

    def products(self, y: Any, g: Any, *operands: Any) -> Any:
        """What the user's vjp gives for each example."""

        def of_one(y: Any, g: Any, *xs: Any) -> list[Any]:
            made = as_products(self, super(OfExamples, self).products(y, g, *xs), xs)
            pairs = zip(made, xs, strict=True)
            return [p if p is None else sum_to_shape(p, x.shape) for p, x in pairs]

        return self._each(of_one)(y, g, *operands)

    def moved(self, y: Any, operands: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
        """What the user's jvp gives for each example."""
        moving = [i for i, t in enumerate(tangents) if t is not None]

        def of_one(y: Any, xs: tuple[Any, ...], told: list[Any]) -> Any:
            ts: list[Any] = [None] * len(xs)
            for i, t in zip(moving, told, strict=True):
                ts[i] = t
            return [as_tangents(self, super(OfExamples, self).moved(y, xs, tuple(ts)), y)]

        return self._each(of_one)(y, operands, [tangents[i] for i in moving])[0]

    def _each(self, f: Function) -> Function:
        for _ in range(self.example_axes):
            f = FUNCTIONS["vmap"](f)
        return f

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return self._on_many(self.example_axes + 1, spread_all(size, batched, operands))


class OwnElementwise(Own, Elementwise):
    """An op whose elements are made from its operands' elements."""

    def infer(self, *operands: TensorType) -> TensorType:
        result = Elementwise.infer(self, *operands)
        rule = self.given.infer
        if rule is None:
            return result
        given = _as_type(rule(*operands, **self.told), rule)
        if given.shape != result.shape:
            raise ShapeError(
                f"has a scalar form, so its shape is {format_shape(result.shape)} and not "
                f"{format_shape(given.shape)}, as its shape rule says ({written_at(rule)})"
            )
        return given

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(self, *align(batched, operands))


def one_by_one(op: Any, size: int | Dim, batched: Sequence[bool], operands: Sequence[Any]) -> Any:
    """The rule of an op that has none: each example by itself, in a loop if they are many."""
    pairs = list(zip(batched, operands, strict=True))
    if not isinstance(size, int) or size == 0 or size > MOST_APART:

        def one(_: Any, rows: Sequence[Any]) -> tuple[None, Any]:
            row = iter(rows)
            return None, results(op(*(next(row) if own else x for own, x in pairs)))

        return FUNCTIONS["scan"](one, None, [x for own, x in pairs if own])[1]
    columns = [FUNCTIONS["unstack"](x) if own else [x] * size for own, x in pairs]
    made = [results(op(*row)) for row in zip(*columns, strict=True)]
    if isinstance(made[0], tuple):
        return tuple(map(FUNCTIONS["stack"], zip(*made, strict=True)))
    return FUNCTIONS["stack"](made)


def _without_none(y: Any, g: Any) -> Any:
    """The cotangents of several results, zeros for None; the one of a single one."""
    values = results(y)
    if not isinstance(values, tuple):
        return g
    pairs = zip(values, g, strict=True)
    return tuple(FUNCTIONS["zeros_like"](x) if each is None else each for x, each in pairs)


def _given(op: Own, what: str, rule: Function, *arguments: Any) -> Any:
    """What a user's rule gives; raises ArgumentError if it fails or takes other arguments."""
    attributes = op.told
    where, what = written_at(rule) or op.where, f"{op.name}: its {what}"
    if arguments and isinstance(arguments[0], tuple):
        what += f", given tuples for {len(arguments[0])} results"
    try:
        takes = inspect.signature(rule)
        takes.bind(*arguments, **attributes)
    except ValueError:  # of a built-in function
        pass
    except TypeError as error:
        raise ArgumentError(
            f"{what} ({where}) is called with {len(arguments)} arguments and attributes "
            f"{list(attributes)}, and takes {takes}: {error} ({current()})"
        ) from None
    return call_rule(what, where, lambda: rule(*arguments, **attributes))


def _as_type(given: Any, rule: Function) -> TensorType:
    """What a shape rule gives as a type: one, something with one, (shape, dtype), or a list."""
    if isinstance(given, TensorType):
        return given
    several = isinstance(given, tuple) and all(isinstance(x, TensorType) for x in given)
    if given and (several or isinstance(given, list)):
        return TupleType([_as_type(each, rule) for each in given])
    try:
        if isinstance(given, tuple) and len(given) == 2:
            return tensor_type(*given)
        return tensor_type(given.shape, given.dtype)
    except (AttributeError, ShapeError, DTypeError) as error:
        raise ArgumentError(
            f"its shape rule ({written_at(rule)}) must give a type, as x.with_shape(shape), or "
            f"(shape, dtype), not {given!r:.60}: {error}"
        ) from None
