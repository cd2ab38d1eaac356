"""`sn.custom_op`: an op of a user's own, from functions of NumPy arrays and of values.

It becomes a class like the house's, so every pass and device has it. With a `scalar` form it fuses;
without one it is a call of Python between kernels.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Any, ClassVar

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import as_dtype
from staticnet.ir.location import current, user_line, written_at
from staticnet.ir.node import Node
from staticnet.ir.op import ATTRIBUTES, Attribute, Op, attribute_of
from staticnet.ir.own_ops import OWN_OPS
from staticnet.ir.types import TensorType, TupleType, as_shape, format_shape, tensor_type
from staticnet.ir.user_functions import call_rule
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.arguments import ANY, BOOLS, FLOATS, INTEGERS, NUMBERS
from staticnet.ops.base import ALL, NONE, Elementwise, TensorOp, apply, items
from staticnet.ops.batching import align, spread_all
from staticnet.ops.scalar_form import check_form

KINDS = {
    "floating": FLOATS, "integer": INTEGERS, "numeric": NUMBERS, "bool": BOOLS, "any": ANY,
}  # fmt: skip
MOST_APART = 16  # examples that an op without a rule is applied to one by one, not in a loop
Function = Callable[..., Any]


@dataclass(frozen=True)
class _Functions:
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


class _Own(TensorOp):
    """The methods of an op, by a user's functions."""

    given: ClassVar[_Functions]
    definition: ClassVar[Any] = None

    def infer(self, *operands: TensorType) -> TensorType:
        assert self.given.infer is not None
        return _as_type(self.given.infer(*operands, **self.attributes()), self.given.infer)

    def eval(self, xp: Any, *operands: Any) -> Any:
        return self.given.eval(*operands, **self.attributes())

    def vjp(self, y: Any, g: Any, *operands: Any) -> Any:
        rule = self.given.vjp
        if rule is None:
            return super().vjp(y, g, *operands)
        return _given(self, "vjp", rule, results(y), _without_none(y, g), *operands)

    def jvp(self, y: Any, operands: Sequence[Any], tangents: Sequence[Any]) -> Any:
        rule = self.given.jvp
        if rule is None:
            return super().jvp(y, operands, tangents)
        return _given(self, "jvp", rule, results(y), tuple(operands), tuple(tangents))

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        if not self.given.vectorized:
            return one_by_one(self, size, batched, operands)
        return results(apply(self, *spread_all(size, batched, operands)))

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        count = self.given.flops
        if count is None:
            return super().flops(result, *operands)
        return _given(self, "flops", count, result, *operands) if callable(count) else count


class _OwnElementwise(_Own, Elementwise):
    """An op whose elements are made from its operands' elements."""

    def infer(self, *operands: TensorType) -> TensorType:
        result = Elementwise.infer(self, *operands)
        rule = self.given.infer
        if rule is None:
            return result
        given = _as_type(rule(*operands, **self.attributes()), rule)
        if given.shape != result.shape:
            raise ShapeError(
                f"has a scalar form, so its shape is {format_shape(result.shape)} and not "
                f"{format_shape(given.shape)}, as its shape rule says ({written_at(rule)})"
            )
        return given

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        return apply(self, *align(batched, operands))


class CustomOp:
    """An op of one's own as a function: `op(*operands, **attributes)` is its value."""

    def __init__(self, cls: type[Op], attributes: dict[str, inspect.Parameter]) -> None:
        self.op_class = cls
        self.name = self.__name__ = cls.name
        self.__doc__ = cls.__doc__
        self._attributes = attributes

    def __repr__(self) -> str:
        return f"<custom op {self.name} ({self.op_class.where})>"

    def __call__(self, *operands: Any, **attributes: Any) -> Any:
        """The op's value, or a tuple of its values.

        Raises:
            ArgumentError: on an attribute that it does not have, or one that is missing.
        """
        return results(apply(self.op(**attributes), *operands))

    def op(self, **attributes: Any) -> Op:
        """The op with these attributes."""
        defaults = {n: p.default for n, p in self._attributes.items() if p.default is not p.empty}
        values = defaults | attributes
        if values.keys() != self._attributes.keys():
            wrong = ", ".join(sorted(values.keys() ^ self._attributes.keys()))
            raise ArgumentError(
                f"{self.name}: takes the attributes {list(self._attributes) or 'none'}; {wrong} "
                "is missing or unknown"
            )
        kinds = {n: attribute_of(p.annotation, n) for n, p in self._attributes.items()}
        return self.op_class(**{n: _as_attribute(value, kinds[n]) for n, value in values.items()})


def custom_op(
    name: str,
    eval: Function,
    infer: Function | None = None,
    *,
    scalar: str | None = None,
    vjp: Function | None = None,
    jvp: Function | None = None,
    flops: Function | int | None = None,
    dtypes: str = "floating",
    differentiable: bool = True,
    vectorized: bool = False,
) -> CustomOp:
    """An op of your own, called as `op(*operands, **attributes)`.

    eval: (*arrays, **attributes) -> array, in NumPy; its arguments after `*` are the attributes,
        which are annotated int, bool, str, np.dtype or tuple[int, ...].
    infer: (*types, **attributes) -> the result's type, as `x.with_shape(shape)`, or (shape, dtype),
        or a list of those of several results, which eval gives as a tuple; without it the op is
        elementwise: operands are promoted and broadcast as those of `+`.
    scalar: an elementwise op in C, as "{0} / (1 + fabs({0}))": it fuses with its neighbours on a
        CPU and a GPU. Without it the op runs in Python between kernels, on copies where a GPU is.
    vjp: (y, g, *operands, **attributes) -> for each operand the product of the cotangent g with
        dy/doperand, or None, in staticnet's functions.
    jvp: (y, operands, tangents, **attributes) -> y's tangent; a tangent of None is zero.
    flops: an int, or (result, *operands, **attributes) -> int, of types.

    dtypes: of an elementwise op's operands: floating, integer, numeric, bool or any. vectorized:
    with examples along a first axis of all operands, eval and infer give them along the result's.

    `eval` must have no effect but its result. It sees 16-bit floats in float32. The same call made
    again, as by a cell of a notebook, gives the same op; another one of the name a second op, and
    what was made with the first keeps it.

    Raises:
        ArgumentError: if the name is staticnet's or is none, or a function or form is not as told
            here.
    """
    form, attributes, arity = _checked(name, eval, scalar)
    if dtypes not in KINDS:
        raise ArgumentError(f"custom_op {name}: dtypes {dtypes!r:.60}: use one of {list(KINDS)}")
    for what, given in (("infer", infer), ("vjp", vjp), ("jvp", jvp)):
        if given is not None and not callable(given):
            raise ArgumentError(f"custom_op {name}: {what} must be a function, not {given!r:.60}")
    functions = _Functions(eval, infer, vjp, jvp, flops, vectorized)
    definition = (functions.identity(), form, dtypes, differentiable)
    for known in OWN_OPS.get(name, []):
        if issubclass(known, _Own) and known.definition == definition:
            return CustomOp(known, attributes)
    elementwise = infer is None or bool(form)
    contents: dict[str, Any] = {
        "__doc__": eval.__doc__ or f"The op {name} of a user's own.",
        "__module__": eval.__module__ or "__main__",
        "where": user_line(),
        "arity": arity,
        "scalar": form,
        "differentiable": differentiable,
        "transposes": vjp is None and jvp is not None,
        "given": functions,
        "definition": definition,
        "same_dtype": ALL if elementwise else NONE,
    }
    if elementwise:
        contents["kinds"] = KINDS[dtypes]
    annotated = [(n, p.annotation, field()) for n, p in attributes.items()]
    parent: type[Op] = _OwnElementwise if elementwise else _Own
    bare = make_dataclass(f"_{name}_attributes", annotated, bases=(parent,), frozen=True)
    cls: Any = types.new_class(name, (bare,), {"name": name}, lambda space: space.update(contents))
    return CustomOp(cls, attributes)


def _checked(
    name: Any, eval: Any, scalar: str | None
) -> tuple[str, dict[str, inspect.Parameter], int | None]:
    """The scalar form, the attributes, and the number of operands; None if it is any."""
    if not isinstance(name, str):
        raise ArgumentError(f"custom_op: the name must be a string, not {name!r:.60}")
    if not callable(eval):
        raise ArgumentError(f"custom_op {name}: eval must be a function, not {eval!r:.60}")
    parameters = _parameters(eval)
    attributes = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    for p in attributes.values():
        what = f"custom_op {name}: the attribute {p.name}"
        if p.annotation is p.empty:
            raise ArgumentError(f"{what} needs an annotation, as `{p.name}: int`")
        attribute_of(p.annotation, what)
    operands = [p for p in parameters if p.name not in attributes and p.kind is not p.VAR_KEYWORD]
    arity = None if any(p.kind is p.VAR_POSITIONAL for p in operands) else len(operands)
    if scalar is None:
        return "", attributes, arity
    if arity is None:
        raise ArgumentError(f"custom_op {name}: a scalar form needs a fixed number of operands")
    check_form(name, scalar, arity, attributes)
    return scalar, attributes, arity


def _parameters(eval: Any) -> list[inspect.Parameter]:
    """What a function takes; a universal one its operands, one that does not tell any number."""
    if isinstance(eval, np.ufunc):
        names = [f"x{i}" for i in range(eval.nin)]
        return [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names]
    try:
        return list(inspect.signature(eval).parameters.values())
    except ValueError:  # of a built-in function
        return [inspect.Parameter("operands", inspect.Parameter.VAR_POSITIONAL)]


def _as_attribute(value: Any, kind: Attribute) -> Any:
    """A dtype or shape from what names one, a list as a tuple, an integer of NumPy as Python's."""
    if kind is ATTRIBUTES["DType"]:
        return as_dtype(value)
    if kind is ATTRIBUTES["Shape"]:
        return as_shape(value)
    if isinstance(value, list | tuple):
        return tuple(_as_attribute(entry, kind) for entry in value)
    return value.item() if isinstance(value, np.integer | np.bool_) else value


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


def results(y: Any) -> Any:
    """The results of an op that has several, as a tuple; any other value as it is."""
    several = isinstance(y.type, TupleType) if isinstance(y, Node) else type(y.data) is tuple
    return items(y) if several else y


def _without_none(y: Any, g: Any) -> Any:
    """The cotangents of several results, zeros for None; the one of a single one."""
    values = results(y)
    if not isinstance(values, tuple):
        return g
    pairs = zip(values, g, strict=True)
    return tuple(FUNCTIONS["zeros_like"](x) if each is None else each for x, each in pairs)


def _given(op: Op, what: str, rule: Function, *arguments: Any) -> Any:
    """What a user's rule gives; raises ArgumentError if it fails or takes other arguments."""
    attributes = op.attributes()
    where, what = written_at(rule) or op.where, f"{op.name}: its {what}"
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
    if isinstance(given, list):
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
