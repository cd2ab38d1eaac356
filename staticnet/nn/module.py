"""`Module`: a function of values with state, which it finds in its own attributes."""

from __future__ import annotations

import reprlib
from collections import UserDict, UserList, deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, Self
from weakref import ref

import numpy as np

from staticnet.errors import ArgumentError, MissingNameError, StateError, StaticnetError
from staticnet.ir.hints import check_call, missing_name, raise_own
from staticnet.ir.modes import Mode, changed, note, reading
from staticnet.nn.calls import Call
from staticnet.nn.summary import Summary, SummaryRow
from staticnet.ops.state import Variable

Array = np.ndarray[Any, Any]
_SEQUENCES = (list, tuple, deque, UserList)
_MAPPINGS = (dict, MappingProxyType, UserDict)
_UNORDERED = (set, frozenset)


_DEVICE = "arrays move by themselves: a function runs on its own device, sn.function(..., device=)"
_ATTRIBUTE = "assign it: self.name = module, or self.name = sn.variable(value, trainable=False)"
_DTYPE = "layers take dtype=, and sn.function precision= for its products"
HINTS = {
    "to": _DEVICE,
    "cuda": _DEVICE,
    "cpu": _DEVICE,
    "float": _DTYPE,
    "half": _DTYPE,
    "double": _DTYPE,
    "bfloat16": _DTYPE,
    "register_buffer": _ATTRIBUTE,
    "register_parameter": _ATTRIBUTE,
    "register_module": _ATTRIBUTE,
    "add_module": _ATTRIBUTE,
    "zero_grad": "gradients are nodes, made anew in each step; sn.dynamic.Optimizer has zero_grad",
    "children": "named_children() gives names and modules",
    "apply": "loop over model.modules()",
    "compile": "sn.function(x, model(x)) compiles",
}


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A layer, loss or model: subclasses hold their parts as attributes and define `forward`.

    Parts are Variables, Modules, and lists, tuples and dicts of them in any nesting, under the
    names of the attributes: `layers.0.weight`, `heads.left.bias`. A list or dict is read whenever
    it is asked for, so what was appended or deleted since counts. A Variable made with
    `trainable=False` is a buffer; one whose `trainable` is turned off later is a frozen parameter.
    `training` is read when a graph is built: a graph built before `train()` or `eval()` stays as it
    was, and a function of it says so.

        class Residual(sn.nn.Module):
            def __init__(self, size):
                self.inner = sn.nn.Linear(size, size)

            def forward(self, x):
                return x + sn.nn.relu(self.inner(x))

    Raises:
        ArgumentError: if a part lies in a set, in a class, or in a dict under a key that is no
            name: it would train and not be saved.
    """

    _training: bool = True
    _path: str = ""  # where the module was first attached, as far up as it is known

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """A module whose `__init__` has the arguments that are given by name."""
        if kwargs:
            check_call(cls.__name__, cls.__init__, (None, *args), kwargs)
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if any(True for _ in _parts(name, value)):
                raise ArgumentError(
                    f"{cls.__name__}.{name}: a part of the class would belong to no module; make "
                    f"it in __init__, as self.{name}"
                )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result; what a call of the module gives."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` gives; the nodes that it makes know the module's path."""
        with Call(self):
            if reading.modes is not None:
                return self.forward(*args, **kwargs)
            modes: dict[int, Mode] = {}
            reading.modes = modes
            try:
                result = self.forward(*args, **kwargs)
            finally:
                reading.modes = None
            if modes:
                note(result, (args, kwargs), modes.values())
            return result

    @property
    def training(self) -> bool:
        """Whether graphs built from now on are for training: what `train` and `eval` set."""
        if reading.modes is not None:
            own = ref(self)
            reading.modes[id(own)] = Mode(own, self._training)
        return self._training

    @training.setter
    def training(self, mode: bool) -> None:
        before, self._training = self._training, mode
        if mode != before:
            changed(self, mode)

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            parts = list(_parts(name, value))
        except ArgumentError as error:
            raise ArgumentError(f"{type(self).__name__}.{error}") from None
        object.__setattr__(self, name, value)
        for local, part in parts:
            self._attach(local, part)

    def _attach(self, local: str, part: Module | Variable) -> None:
        """Name a part after its place here, unless it has another name already."""
        path = _join(self._path, local)
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
            if isinstance(part, Module):
                if part._path == _join(before, local):
                    part._move(_join(path, local))
            elif part.name == _join(before, local):
                part.name = _join(path, local)

    def _parts(self) -> Iterator[tuple[str, Module | Variable]]:
        """(name, part) of each part held directly, those in lists and dicts included."""
        for name, value in self._held():
            yield from _parts(name, value)

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
            if isinstance(part, Module):
                yield name, part

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
    ) -> Iterator[tuple[str, Module]]:
        """Every path to a module; one that leads back to a module `above` ends there.

        `near` ones lead through lists and dicts of modules only, which have no `forward`.
        """
        yield path, self
        above = (*above, id(self))
        for name, child in self.named_children():
            if near and type(child).forward is not Module.forward:
                yield _join(path, name), child
            elif id(child) not in above:
                yield from child._paths(_join(path, name), above, near)

    def modules(self) -> list[Module]:
        """This module and all below it, each once."""
        return [module for _, module in self.named_modules()]

    def _all_variables(self) -> Iterator[tuple[str, Variable]]:
        """Every dotted name: a shared Variable comes under each of its names."""
        for path, module in self._all_modules():
            for name, variable in module._variables():
                yield _join(path, name), variable

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

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze the parameters, or train them again; buffers stay as they are."""
        for module in self.modules():
            for _, variable in module._variables():
                if not variable.buffer:
                    variable.trainable = bool(requires_grad)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and below; it holds for graphs built from now on.

        Raises:
            ArgumentError: if the mode is not a bool.
        """
        if not isinstance(mode, bool):
            raise ArgumentError(f"train: the mode must be True or False, not {mode!r:.60}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """Dotted name -> a copy of the value, buffers included, in the order of attachment.

        A shared Variable stands under each of its names.
        """
        return {name: variable.copied() for name, variable in self._all_variables()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Set the state from what `state_dict` gave: all of it or, on an error, nothing.

        `strict=False` leaves out names that only one side has. A float of another width is
        converted; a float does not load into an integer.

        Raises:
            StateError: listing missing and unexpected names, and values whose shape or dtype do
                not fit.
        """
        if not isinstance(state, Mapping):
            raise StateError(
                f"load_state_dict: takes what state_dict gave, arrays by name, not {state!r:.60}; "
                "sn.io.safetensors.load(path) reads a file"
            )
        variables = dict(self._all_variables())
        missing = [name for name in variables if name not in state]
        unexpected = [name for name in state if name not in variables]
        problems = [f"missing: {', '.join(missing)}"] if strict and missing else []
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(map(str, unexpected))}")
        values: dict[str, Array] = {}
        for name in (name for name in variables if name in state):
            try:
                values[name] = variables[name].check(state[name])
            except StaticnetError as error:
                problems.append(f"mismatched: {name}: {error}")
        if problems:
            raise StateError(
                f"load_state_dict: {type(self).__name__} does not fit the state; "
                + "; ".join(problems)
            )
        for name, value in values.items():
            variables[name].value = value
        return LoadResult(missing, unexpected)

    def summary(self) -> Summary:
        """A table to print: each module with state of its own or no parts, and the totals."""
        rows: list[SummaryRow] = []
        seen: set[int] = set()
        for name, module in self.named_modules():
            own = {
                id(variable): (variable, variable.trainable or not variable.buffer)
                for _, variable in module._variables()
                if id(variable) not in seen
            }
            seen |= own.keys()
            if own or not any(module.named_children()):
                rows.append(SummaryRow.of(name, type(module).__name__, list(own.values())))
        return Summary(type(self).__name__, tuple(rows))

    def __copy__(self) -> NoReturn:
        raise ArgumentError(
            f"copy: a shallow copy of {type(self).__name__} would share its parts; take "
            "copy.deepcopy(model), or the model itself"
        )

    def extra_repr(self) -> str:
        """The arguments that `repr` shows."""
        return ""

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __getattr__(self, name: str) -> Any:
        raise_own(self, name)
        if name.startswith("_"):
            raise MissingNameError(f"{type(self).__name__!r} object has no attribute {name!r}")
        known = [*vars(self), *dir(type(self))]
        raise missing_name(f"the module {type(self).__name__}", name, known, HINTS)

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        body = "\n".join(lines + children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"


_HOLDERS = (Module, Variable, *_SEQUENCES, *_MAPPINGS, *_UNORDERED)


def _parts(
    name: str, value: Any, above: tuple[int, ...] = ()
) -> Iterator[tuple[str, Module | Variable]]:
    """The modules and Variables of an attribute, with their names; `above` are its containers.

    Raises:
        ArgumentError: if one has no name that tells it apart.
    """
    if isinstance(value, Module | Variable):
        yield name, value
    elif id(value) in above or not _may_hold_parts(value):
        return
    elif isinstance(value, _SEQUENCES):
        for i, item in enumerate(value):
            yield from _parts(f"{name}.{i}", item, (*above, id(value)))
    elif isinstance(value, _MAPPINGS):
        for key, item in value.items():
            for part in _parts(f"{name}.{key}", item, (*above, id(value))):
                check_key(key, name)
                yield part
    elif isinstance(value, _UNORDERED) and any(isinstance(x, Module | Variable) for x in value):
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


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
