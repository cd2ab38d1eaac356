"""`Module`: a function of values with state, which it finds in its own attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from staticnet.errors import ArgumentError, StateError, StaticnetError
from staticnet.nn.summary import Summary, SummaryRow
from staticnet.ops.state import Variable

Array = np.ndarray[Any, Any]


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A layer, loss or model: subclasses hold their parts as attributes and define `forward`.

    Parts are Variables, Modules, and lists or tuples of them, under the names of the attributes:
    `layers.0.weight`. A Variable that is not trainable when it is attached is a buffer; one whose
    `trainable` is turned off later is a frozen parameter. `training` is read when a graph is built:
    a graph built before `train()` or `eval()` stays as it was.

        class Residual(sn.nn.Module):
            def __init__(self, size):
                self.inner = sn.nn.Linear(size, size)

            def forward(self, x):
                return x + sn.nn.relu(self.inner(x))
    """

    training: bool = True
    _path: str = ""  # where the module was first attached, as far up as it is known
    _buffer_names: frozenset[str] = frozenset()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's result; what a call of the module gives."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` gives."""
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        for local, part in _parts(name, value):
            if isinstance(part, Module):
                if not part._path:
                    part._move(_join(self._path, local))
                continue
            if part.name in ("", local):
                part.name = _join(self._path, local)
            others = self._buffer_names - {local}
            self._buffer_names = others if part.trainable else others | {local}

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
        for name, value in vars(self).items():
            yield from _parts(name, value)

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
        for name, module in self._all_modules(""):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _all_modules(self, path: str) -> Iterator[tuple[str, Module]]:
        yield path, self
        for name, child in self.named_children():
            yield from child._all_modules(_join(path, name))

    def modules(self) -> list[Module]:
        """This module and all below it, each once."""
        return [module for _, module in self.named_modules()]

    def _all_variables(self) -> Iterator[tuple[str, Variable]]:
        """Every dotted name: a shared Variable comes under each of its names."""
        for path, module in self._all_modules(""):
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
            for name, variable in module._variables():
                if name not in module._buffer_names:
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
        return {name: variable.value for name, variable in self._all_variables()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Set the state from what `state_dict` gave: all of it or, on an error, nothing.

        `strict=False` leaves out names that only one side has. A float of another width is
        converted; a float does not load into an integer.

        Raises:
            StateError: listing missing and unexpected names, and values whose shape or dtype do
                not fit.
        """
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
                id(variable): (variable, local not in module._buffer_names)
                for local, variable in module._variables()
                if id(variable) not in seen
            }
            seen |= own.keys()
            if own or not any(module.named_children()):
                rows.append(SummaryRow.of(name, type(module).__name__, list(own.values())))
        return Summary(type(self).__name__, tuple(rows))

    def extra_repr(self) -> str:
        """The arguments that `repr` shows."""
        return ""

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        body = "\n".join(lines + children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"


def _parts(name: str, value: Any) -> Iterator[tuple[str, Module | Variable]]:
    """The modules and Variables of an attribute, with their names."""
    if isinstance(value, Module | Variable):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _parts(f"{name}.{i}", item)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
