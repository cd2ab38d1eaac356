"""Modules made of modules or of variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from staticnet.errors import ArgumentError
from staticnet.ir.value import Value
from staticnet.nn.module import Module
from staticnet.nn.parts import check_key
from staticnet.ops.state import Variable

T = TypeVar("T", bound=Module | Variable)


class Identity(Module):
    """y = x"""

    def forward(self, input: Any) -> Any:
        """The input itself."""
        return input


class _Container(Module):
    """What containers share: the kind of their parts, and how another thing is refused."""

    _kind: ClassVar[type[Module | Variable]] = Module
    _items: Any

    def _named(self) -> Iterable[tuple[str, Any]]:
        """The items with their names."""
        raise NotImplementedError

    def _held(self) -> list[tuple[str, Any]]:
        own = [(name, value) for name, value in super()._held() if value is not self._items]
        return [*self._named(), *own]

    def _check(self, item: Any) -> None:
        if not isinstance(item, self._kind):
            remedy = "" if self._kind is Module else "; make one with sn.variable(value)"
            if isinstance(item, type) and issubclass(item, self._kind):
                remedy = f"; make one with {item.__name__}(…)"
            raise ArgumentError(
                f"{type(self).__name__}: {item!r:.60} is not a {self._kind.__name__}{remedy}"
            )

    def _check_iterable(self, items: Any, wanted: str) -> None:
        if not isinstance(items, Iterable):
            raise ArgumentError(f"{type(self).__name__}: takes {wanted}, not {items!r:.60}")

    def extra_repr(self) -> str:
        """The types of the variables; modules show themselves."""
        return ", ".join(f"({name}): {v.type}" for name, v in self._variables())


class _PartList(_Container, Generic[T]):
    """A list of parts of one kind, named 0, 1, …, with a list's methods."""

    def __init__(self, items: Iterable[T] = (), *more: Any) -> None:
        if more:
            name = type(self).__name__
            raise ArgumentError(f"{name}: takes one list of parts: {name}([first, second])")
        self._items: list[T] = []
        self.extend(items)

    def _named(self) -> Iterable[tuple[str, T]]:
        return ((str(i), item) for i, item in enumerate(self._items))

    def append(self, item: T) -> Self:
        """Add a part at the end."""
        return self.insert(len(self), item)

    def extend(self, items: Iterable[T]) -> Self:
        """Add parts at the end, all or none of them."""
        self._check_iterable(items, "a list of parts")
        self[len(self) :] = items
        return self

    def insert(self, index: int, item: T) -> Self:
        """Put a part before the one at `index`."""
        self[index:index] = [item]
        return self

    def pop(self, index: int = -1) -> T:
        """Take a part out."""
        item = self._items[index]
        del self[index]
        return item

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __contains__(self, item: object) -> bool:
        return any(held is item for held in self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Any:
        chosen = self._items[index]
        return type(self)(chosen) if isinstance(chosen, list) else chosen

    def __setitem__(self, index: int | slice, new: Any) -> None:
        items = list(new) if isinstance(index, slice) else [new]
        for item in items:
            self._check(item)
        if isinstance(index, slice):
            self._items[index] = items
        else:
            self._items[index] = new
        for local, part in self._parts():
            self._attach(local, part)

    def __delitem__(self, index: int | slice) -> None:
        del self._items[index]

    def __add__(self, others: Iterable[T]) -> Self:
        return type(self)([*self, *others])

    def __iadd__(self, others: Iterable[T]) -> Self:
        return self.extend(others)


class _PartDict(_Container, MutableMapping[str, T]):
    """A dict of parts of one kind, named by their keys, with a dict's methods."""

    __eq__ = object.__eq__  # a container is itself, as any module, and not what it holds
    __hash__ = object.__hash__

    def __init__(self, items: Mapping[str, T] | Iterable[tuple[str, T]] = ()) -> None:
        self._items: dict[str, T] = {}
        self._check_iterable(items, "a dict of parts")
        try:
            named = dict(items)
        except (TypeError, ValueError):
            raise ArgumentError(
                f"{type(self).__name__}: takes a dict of parts, or pairs of a name and a part, not "
                f"{items!r:.60}"
            ) from None
        for key, item in named.items():
            self[key] = item

    def _named(self) -> Iterable[tuple[str, T]]:
        return self._items.items()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __getitem__(self, key: str) -> T:
        return self._items[key]

    def __setitem__(self, key: str, item: T) -> None:
        check_key(key, type(self).__name__)
        self._check(item)
        self._items[key] = item
        self._attach(key, item)

    def __delitem__(self, key: str) -> None:
        del self._items[key]


class ModuleList(_PartList[Module]):
    """A list of modules, named 0, 1, …: it holds them, and leaves running them to its owner.

    Raises:
        ArgumentError: if an item is no Module.
    """


class ModuleDict(_PartDict[Module]):
    """A dict of modules, named by their keys: it holds them, and its owner runs them.

    Raises:
        ArgumentError: if an item is no Module, or a key no string or one with a dot.
    """


class ParameterList(_PartList[Variable]):
    """A list of variables, named 0, 1, ….

    Raises:
        ArgumentError: if an item is no Variable.
    """

    _kind = Variable


class ParameterDict(_PartDict[Variable]):
    """A dict of variables, named by their keys.

    Raises:
        ArgumentError: if an item is no Variable, or a key no string or one with a dot.
    """

    _kind = Variable


class Sequential(_PartList[Module]):
    """y = the last module of … of the first of x. A slice is a Sequential of the same modules.

    Raises:
        ArgumentError: if an argument is no Module.
    """

    def __init__(self, *modules: Module) -> None:
        for module in modules:
            if isinstance(module, list | tuple | Mapping | ModuleList):
                raise ArgumentError(
                    "Sequential: takes the modules one by one: Sequential(*layers), or "
                    "Sequential(*layers.values()) of a dict"
                )
        super().__init__(modules)

    def forward(self, input: Any) -> Value:
        """The modules applied one after another."""
        for layer in self:
            input = layer(input)
        return input

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Any:
        return type(self)(*self._items[index]) if isinstance(index, slice) else self._items[index]

    def __add__(self, others: Iterable[Module]) -> Self:
        return type(self)(*self, *others)
