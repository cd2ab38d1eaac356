"""The parts of a module: what its attributes hold, in lists, tuples and dicts of any nesting."""

from __future__ import annotations

from collections import UserDict, UserList, deque
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from staticnet.errors import ArgumentError
from staticnet.ir.hints import missing_name
from staticnet.ops.state import Variable
from staticnet.ops.state import variable as make_variable

if TYPE_CHECKING:
    from staticnet.nn.module import Module

T = TypeVar("T")


class Holder:
    """What holds parts in its attributes, by their names, and may be a part: a Module."""

    _path: str = ""  # where it was first attached, as far up as it is known
    _transient: frozenset[str] = frozenset()  # the buffers that state_dict leaves out

    def _is_list(self) -> bool:
        """Whether it only holds others, and is not called itself."""
        return False

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            found = list(parts(name, value))
        except ArgumentError as error:
            raise ArgumentError(f"{type(self).__name__}.{error}") from None
        object.__setattr__(self, name, value)
        for local, part in found:
            self._attach(local, part)

    def _attach(self, local: str, part: Holder | Variable) -> None:
        """Name a part after its place here, unless it has another name already."""
        path = join(self._path, local)
        if isinstance(part, Variable):
            if part.name in ("", local):
                part.name = path
        elif not part._path and all(module is not self for _, module in part._paths()):
            part._move(path)

    def _move(self, path: str) -> None:
        """Rename what is named after this module's place: parts first attached elsewhere are not.

        The names are for reading; nothing looks a part up by them.
        """
        before = self._path
        self._path = path
        for local, part in self._parts():
            if isinstance(part, Holder):
                if part._path == join(before, local):
                    part._move(join(path, local))
            elif part.name == join(before, local):
                part.name = join(path, local)

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """(name, part) of each part held directly, those in lists and dicts included."""
        for name, value in self._held():
            yield from parts(name, value)

    def _held(self) -> list[tuple[str, Any]]:
        """(name, value) of what may be a part or hold some."""
        return list(vars(self).items())

    def _variables(self) -> Iterator[tuple[str, Variable]]:
        for name, part in self._parts():
            if isinstance(part, Variable):
                yield name, part

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of each module held directly."""
        for name, part in self._parts():
            if isinstance(part, Holder):
                yield name, part  # type: ignore[misc]

    def children(self) -> Iterator[Module]:
        """Each module held directly, once."""
        return iter({id(module): module for _, module in self.named_children()}.values())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module (named "") and all below it, each once."""
        seen: set[int] = set()
        for name, module in self._all_modules():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _all_modules(self) -> Iterator[tuple[str, Module]]:
        """Every path to a module, once its parts have names: some may be new in a list."""
        for path, module in self._paths():
            for local, part in module._parts():
                module._attach(local, part)
            yield path, module

    def _paths(
        self, path: str = "", above: tuple[int, ...] = (), near: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """Every path to a module; one that leads back to a module `above` ends there.

        `near` ones lead through lists and dicts of modules only, which have no `forward`.
        """
        yield path, self
        above = (*above, id(self))
        for name, child in self.named_children():
            if near and not child._is_list():
                yield join(path, name), child
            elif id(child) not in above:
                yield from child._paths(join(path, name), above, near)

    def modules(self) -> list[Module]:
        """This module and all below it, each once."""
        return [module for _, module in self.named_modules()]

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; this one for "".

        Raises:
            MissingNameError: if none has that name.
        """
        return self._find(target, dict(self._all_modules()), "module")

    def get_parameter(self, target: str) -> Variable:
        """The parameter of a dotted name, frozen ones included.

        Raises:
            MissingNameError: if none has that name.
        """
        named = {name: v for name, v in self._all_variables() if not v.buffer}
        return self._find(target, named, "parameter")

    def get_buffer(self, target: str) -> Variable:
        """The buffer of a dotted name.

        Raises:
            MissingNameError: if none has that name.
        """
        named = {name: v for name, v in self._all_variables() if v.buffer}
        return self._find(target, named, "buffer")

    def _find(self, target: Any, named: dict[str, T], what: str) -> T:
        if target not in named:
            raise missing_name(
                f"{type(self).__name__}, {what}s below it included,", str(target), list(named), {}
            )
        return named[target]

    def _all_variables(self) -> Iterator[tuple[str, Variable]]:
        """Every dotted name: a shared Variable comes under each of its names."""
        for path, module in self._all_modules():
            for name, variable in module._variables():
                yield join(path, name), variable

    def _named_variables(self, trainable: bool) -> list[tuple[str, Variable]]:
        first: dict[int, tuple[str, Variable]] = {}
        for name, variable in self._all_variables():
            if variable.trainable == trainable:
                first.setdefault(id(variable), (name, variable))
        return list(first.values())

    def named_parameters(self) -> list[tuple[str, Variable]]:
        """(dotted name, Variable) of what is trainable, each once, under its first name."""
        return self._named_variables(trainable=True)

    def parameters(self) -> list[Variable]:
        """What is trainable, each once: `sn.grad(loss, model.parameters())`."""
        return [variable for _, variable in self.named_parameters()]

    def named_buffers(self) -> list[tuple[str, Variable]]:
        """(dotted name, Variable) of the other state: buffers and frozen parameters, each once."""
        return self._named_variables(trainable=False)

    def buffers(self) -> list[Variable]:
        """State that is not trained: buffers and frozen parameters, each once."""
        return [variable for _, variable in self.named_buffers()]

    def _all_state(self) -> Iterator[tuple[str, Variable, bool]]:
        """Each dotted name with its Variable, and whether `state_dict` has it."""
        for path, module in self._all_modules():
            for name, variable in module._variables():
                yield join(path, name), variable, name not in module._transient

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Hold state that is not trained as `self.name`; None holds nothing yet.

        One that is not `persistent` is no part of `state_dict`.

        Raises:
            ArgumentError: if the name is none, or another attribute's, or the value is a parameter
                of this module.
            DTypeError: if the value has no supported dtype.
        """
        if value is not None and not isinstance(value, Variable):
            value = make_variable(value, trainable=False)
        own = next((n for n, v in self._all_variables() if v is value and not v.buffer), None)
        if own is not None:
            raise ArgumentError(
                f"register_buffer: {name!r:.60} would end the training of {type(self).__name__}'s "
                f"parameter {own}; register an array or a Variable of its own"
            )
        self._register("register_buffer", name, value, _is_buffer)
        if value is not None:
            value.trainable, value.buffer = False, True
        kept = self._transient - {name}
        object.__setattr__(self, "_transient", kept if persistent else kept | {name})

    def register_parameter(self, name: str, value: Any) -> None:
        """Hold a Variable, or one made of an array, as the parameter `self.name`; None is none yet.

        Raises:
            ArgumentError: if the name is none, or another attribute's.
            DTypeError: if the value has no supported dtype.
        """
        if value is not None and not isinstance(value, Variable):
            value = make_variable(value)
        self._register("register_parameter", name, value, _is_parameter)

    def add_module(self, name: str, module: Module | None) -> None:
        """Hold a module as `self.name`; None is none yet.

        Raises:
            ArgumentError: if it is no Module, or the name is none or another attribute's.
        """
        if module is not None and not isinstance(module, Holder):
            raise ArgumentError(f"add_module: {name!r:.60} is no Module: {module!r:.60}")
        self._register("add_module", name, module, lambda held: isinstance(held, Holder))

    register_module = add_module

    def _register(self, what: str, name: Any, value: Any, gives_way: Callable[[Any], bool]) -> None:
        check_key(name, what)
        held = vars(self).get(name)
        is_free = held is None or gives_way(held)
        if name in dir(type(self)) or not is_free:
            raise ArgumentError(
                f"{what}: {type(self).__name__} has an attribute {name!r:.60} already; choose "
                "another name"
            )
        setattr(self, name, value)


def _is_buffer(held: Any) -> bool:
    return isinstance(held, Variable) and held.buffer


def _is_parameter(held: Any) -> bool:
    return isinstance(held, Variable) and not held.buffer


_SEQUENCES = (list, tuple, deque, UserList)
_MAPPINGS = (dict, MappingProxyType, UserDict)
_UNORDERED = (set, frozenset)
_HOLDERS = (Holder, Variable, *_SEQUENCES, *_MAPPINGS, *_UNORDERED)


def parts(name: str, value: Any, above: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The modules and Variables of an attribute, with their names; `above` are its containers.

    Raises:
        ArgumentError: if one has no name that tells it apart.
    """
    if isinstance(value, Holder | Variable):
        yield name, value
    elif id(value) in above or not _may_hold_parts(value):
        return
    elif isinstance(value, _SEQUENCES):
        for i, item in enumerate(value):
            yield from parts(f"{name}.{i}", item, (*above, id(value)))
    elif isinstance(value, _MAPPINGS):
        for key, item in value.items():
            for part in parts(f"{name}.{key}", item, (*above, id(value))):
                check_key(key, name)
                yield part
    elif isinstance(value, _UNORDERED) and any(isinstance(x, Holder | Variable) for x in value):
        raise ArgumentError(f"{name}: a set has no order to name its parts by; make it a list")


def _may_hold_parts(container: Any) -> bool:
    """Whether an item of a list or dict is a part or may hold some, told by the items' types."""
    if not isinstance(container, (*_SEQUENCES, *_MAPPINGS)):
        return isinstance(container, _UNORDERED)
    items = container.values() if isinstance(container, _MAPPINGS) else container
    return any(issubclass(kind, _HOLDERS) for kind in set(map(type, items)))


def check_key(key: Any, what: str) -> None:
    """Raise ArgumentError unless a part can be named by its key."""
    if not isinstance(key, str) or not key or "." in key:
        raise ArgumentError(
            f"{what}: the key {key!r:.60} of a part is no name; use a string without a dot"
        )


def join(path: str, name: str) -> str:
    """The dotted name of a part below a path."""
    return f"{path}.{name}" if path else name
