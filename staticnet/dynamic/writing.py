"""Writing to tensors: a leaf may be updated outside the tape, and nothing else may.

A write gives the leaf a new array and notes when, in the order of operations: a backward pass that
needs the old value says so. Arrays themselves are never written to, so what shares one, a view or
a detached tensor, keeps its value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from staticnet.dynamic.extra import extra_of
from staticnet.dynamic.mode import recording
from staticnet.dynamic.sweep import type_of
from staticnet.errors import ArgumentError, GradientError
from staticnet.ir import location
from staticnet.ir.node import describe
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.base import promoted

REFUSED = ("add_", "sub_", "mul_", "div_", "fill_", "zero_")
_VALUES = (
    "tensors are values; for elements take sn.where(mask, new, x) or sn.scatter_add, or fill a "
    "NumPy array and make a tensor of it; for a gradient set .grad = None"
)


def write(leaf: Any, value: Any, order: int) -> None:
    """Give a leaf, and its variable if it has one, another value; `order` is when.

    Raises:
        GradientError: if gradients are recorded now, or the tensor is no leaf that requires one.
        ArgumentError: if the value has another shape or dtype.
    """
    _check(leaf)
    new = promoted("copy_", leaf, value)[1]
    if type_of(new) != type_of(leaf):
        raise ArgumentError(
            f"copy_: {describe(leaf)} cannot hold {type_of(new)} ({location.current()}); reshape "
            "or cast it first"
        )
    extra, data = extra_of(leaf), new.data
    if extra.holder is not extra:  # what compiled steps write to is nobody else's
        extra.holder.array = extra.origin = data = data.copy(order="C")
    leaf.data = data
    extra.written = order


def _check(leaf: Any) -> None:
    here = location.current()
    if not (leaf.requires_grad and leaf.is_leaf):
        raise GradientError(
            f"{describe(leaf)} is no leaf that requires a gradient ({here}); {_VALUES}"
        )
    if recording.get():
        raise GradientError(
            f"{describe(leaf)} is a leaf that requires a gradient, and an update of it cannot be "
            f"recorded ({here}); make it inside sn.dynamic.no_grad(), or bind a new tensor to the "
            "name: x = x + y"
        )


def augmented(name: str) -> Callable[[Any, Any], Any]:
    """`x += y` and its like: a new tensor for the name, but an update of a leaf that has gradients.

    A leaf is held by others, an optimizer's loop among them: it must not stay what it was.
    """
    function = FUNCTIONS[name]

    def operator(self: Any, other: Any) -> Any:
        if not (self.requires_grad and self.is_leaf):
            return function(self, other)
        _check(self)
        return self.copy_(function(self, other))

    return operator


def refused(name: str) -> Callable[..., NoReturn]:
    """A method that is not there, and says what is."""

    def method(self: Any, *args: Any) -> NoReturn:
        raise ArgumentError(f"{name}: {describe(self)} ({location.current()}): {_VALUES}")

    return method
