"""`sn.custom_op`: an op of a user's own, from functions of NumPy arrays and of values.

It becomes a class like the house's, so every pass and device has it. With a `scalar` form it fuses;
without one it is a call of Python between kernels.
"""

from __future__ import annotations

import inspect
import types
from dataclasses import field, make_dataclass
from typing import Any

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ir.dtype import as_dtype
from staticnet.ir.location import user_line
from staticnet.ir.op import ATTRIBUTES, Attribute, Op, attribute_of
from staticnet.ir.own_ops import OWN_OPS
from staticnet.ir.types import as_shape
from staticnet.ops.arguments import ANY, BOOLS, FLOATS, INTEGERS, NUMBERS
from staticnet.ops.base import ALL, NONE, apply
from staticnet.ops.own_op import Function, Functions, OfExamples, Own, OwnElementwise
from staticnet.ops.own_rules import results
from staticnet.ops.scalar_form import check_form

KINDS = {
    "floating": FLOATS, "integer": INTEGERS, "numeric": NUMBERS, "bool": BOOLS, "any": ANY,
}  # fmt: skip


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
    functions = Functions(eval, infer, vjp, jvp, flops, vectorized)
    definition = (functions.identity(), form, dtypes, differentiable)
    for known in OWN_OPS.get(name, []):
        if issubclass(known, Own) and known.definition == definition:
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
        contents |= {"kinds": KINDS[dtypes], "positional": infer is not None}
    annotated = [(n, p.annotation, field()) for n, p in attributes.items()]
    parent: type[Op] = OwnElementwise if elementwise else Own
    cls = _declared(name, parent, annotated, contents)
    if vectorized and not elementwise and (vjp or jvp):
        annotated.append(("example_axes", int, field()))
        contents |= {"__doc__": f"{name} of many examples.", "definition": None}
        cls.many = _declared(f"{name}_of_examples", OfExamples, annotated, contents)
        cls.many.many = cls.many
    return CustomOp(cls, attributes)


def _declared(name: str, parent: type[Op], fields: Any, contents: dict[str, Any]) -> Any:
    """The class of an op with these fields and contents."""
    bare = make_dataclass(f"_{name}_attributes", fields, bases=(parent,), frozen=True)
    return types.new_class(name, (bare,), {"name": name}, lambda space: space.update(contents))


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
        if hasattr(Own, p.name):
            raise ArgumentError(f"{what} has a name that every op has; choose another")
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
