"""What makes a layer without state of a function, and those that rearrange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from staticnet.errors import ArgumentError
from staticnet.ir.value import Value
from staticnet.nn.module import Module
from staticnet.ops import shape

INPLACE = "inplace"
"""An argument of PyTorch's layers that a field may take: no value ever changes, so it is idle."""


class FunctionLayer(Module):
    """y = function(*inputs, **fields): the fields of a subclass are the function's arguments.

    The docstring of the function is that of the layer.
    """

    function: ClassVar[Callable[..., Value]]

    def forward(self, *inputs: Any, **named: Any) -> Value:
        """The function of the inputs, which may be named as it names them, and the fields.

        Raises:
            ArgumentError: if one of the names is a field's.
        """
        fixed = self._arguments()
        for name in named.keys() & fixed.keys():
            raise ArgumentError(f"{type(self).__name__}: {name} is set when the layer is made")
        return type(self).function(*inputs, **named, **fixed)

    def _arguments(self) -> dict[str, Any]:
        names = (f.name for f in fields(self))  # type: ignore[arg-type]
        return {name: getattr(self, name) for name in names if name != INPLACE}

    def extra_repr(self) -> str:
        """The numbers, strings and tuples of them among the arguments."""
        shown = (int, float, str, tuple)
        own = self._arguments() | ({INPLACE: True} if getattr(self, INPLACE, False) else {})
        return ", ".join(f"{k}={v!r}" for k, v in own.items() if isinstance(v, shown))


# `eq=False`: two layers are never the same layer. `repr=False`: a Module prints itself.
layer = dataclass(eq=False, repr=False)


@layer
class Flatten(FunctionLayer):
    """y = x with the axes start_dim … end_dim made one.  x: [n, *s] -> y: [n, prod(s)]"""

    function = staticmethod(shape.flatten)
    start_dim: int = 1
    end_dim: int = -1


class Unflatten(Module):
    """y = x with the axis `dim` made several.  x: [*a, prod(s), *b] -> y: [*a, *s, *b]"""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Any) -> Value:
        """The input in its other shape."""
        return shape.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """The axis and what it becomes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
