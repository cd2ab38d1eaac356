"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

from staticnet.errors import ArgumentError
from staticnet.ir.value import Value
from staticnet.nn.module import Module


class Identity(Module):
    """y = x"""

    def forward(self, x: Any) -> Any:
        """The input itself."""
        return x


class ModuleList(Module):
    """A list of modules, named 0, 1, …: it holds them, and leaves running them to its owner.

    Raises:
        ArgumentError: if an item is no Module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._length = 0
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end."""
        if not isinstance(module, Module):
            raise ArgumentError(f"{type(self).__name__}: {module!r:.60} is not a Module")
        setattr(self, str(self._length), module)
        self._length += 1
        return self

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Module]:
        return (getattr(self, str(i)) for i in range(self._length))

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module | ModuleList:
        chosen = list(self)[index]
        return ModuleList(chosen) if isinstance(chosen, list) else chosen


class Sequential(Module):
    """y = the last module of … of the first of x. A slice is a Sequential of the same modules.

    Raises:
        ArgumentError: if an argument is no Module.
    """

    def __init__(self, *modules: Module) -> None:
        self.layers = ModuleList(modules)

    def forward(self, x: Any) -> Value:
        """The modules applied one after another."""
        for layer in self.layers:
            x = layer(x)
        return x

    def append(self, module: Module) -> Sequential:
        """Add a module at the end."""
        self.layers.append(module)
        return self

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module | Sequential:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]
