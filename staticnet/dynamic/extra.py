"""What only few tensors have: a gradient, hooks, a line, and the variable they are the value of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from staticnet.ir.location import Provenance
from staticnet.ops.state import Variable

Hook = Callable[[Any], Any]


class Extra:
    """Beside a tensor, from the first time that one of these is set."""

    __slots__ = (
        "grad", "hooks", "keeps_grad", "origin", "provenance", "variable", "version", "written",
    )  # fmt: skip

    def __init__(self) -> None:
        self.grad: Any = None
        self.hooks: dict[int, Hook] = {}
        self.keeps_grad = False
        self.provenance: Provenance | None = None
        self.origin: Any = None
        self.variable: ref[Variable] | None = None
        self.version = 0
        self.written = 0  # when, in the order of operations

    @property
    def holder(self) -> Any:
        """Whose `grad` the gradient goes to: the variable's while there is one, else this."""
        variable = self.variable() if self.variable is not None else None
        return self if variable is None else variable

    def is_stale(self, order: int) -> bool:
        """Whether the tensor was written to, or its variable set, since the operation `order`."""
        holder = self.holder
        return self.written > order or (holder is not self and not self.holds(holder))

    def holds(self, variable: Variable) -> bool:
        """Whether the value that was taken of the variable is its value still."""
        return self.origin is variable.array and self.version == variable.version


def extra_of(tensor: Any) -> Extra:
    """What there is beside a tensor, made now if there was nothing."""
    extra: Extra | None = tensor.extra
    if extra is None:
        extra = tensor.extra = Extra()
    return extra


class Handle:
    """Of a hook: `remove()` takes it away."""

    def __init__(self, hooks: dict[int, Hook], number: int) -> None:
        self._hooks = hooks
        self._number = number

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self._hooks.pop(self._number, None)
