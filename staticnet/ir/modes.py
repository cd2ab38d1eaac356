"""Which nodes depend on a module's mode: a graph is built in one, and a change comes too late.

A module notes who reads `training` while it makes nodes; a function looks its graph's nodes up
here, and is told when one of the modules changes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from weakref import WeakSet, ref

from staticnet.ir.node import Node

log = logging.getLogger("staticnet")


class Mode(NamedTuple):
    """A module, and whether it was in training when it was asked."""

    module: ref[Any]
    training: bool


class _Reading(threading.local):
    """The modes read by the module that is being called, by the reference's id; None outside."""

    modes: dict[int, Mode] | None = None


reading = _Reading()
_made: dict[int, tuple[ref[Node], list[Mode]]] = {}
_built: WeakSet[Any] = WeakSet()
_compiled: WeakSet[Any] = WeakSet()


def note(result: Any, given: Any, modes: Collection[Mode]) -> None:
    """Remember of the nodes in a module's result, but not of those it was given, their modes."""
    passed = {id(node) for node in _nodes(given)}
    for node in _nodes(result):
        if id(node) not in passed:
            known = _modes_known_of(node)
            known.extend(mode for mode in modes if mode not in known)


def stand_for(new: Any, old: Node) -> None:
    """Give a node the name of the one that it stands for, and the modes that that was made in."""
    if isinstance(new, Node):
        new.name = new.name or old.name
        carry(old, new)


def carry(old: Node, new: Node) -> None:
    """`new` stands for `old` from here on: it was made in the same modes."""
    if id(old) in _made and new is not old:
        known = _modes_known_of(new)
        known.extend(mode for mode in _made[id(old)][1] if mode not in known)


def _modes_known_of(node: Node) -> list[Mode]:
    key = id(node)
    if key not in _made:
        _made[key] = ref(node, lambda _: _made.pop(key, None)), []
    return _made[key][1]


def _nodes(value: Any) -> Iterator[Node]:
    """The nodes in a value and in the lists, tuples and dicts in it."""
    if isinstance(value, Node):
        yield value
    elif isinstance(value, list | tuple | Mapping):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _nodes(each)


def modes_of(nodes: Iterable[Node]) -> tuple[Mode, ...]:
    """The mode of each module that made one of the nodes, operands first: of two the last.

    In evaluation a model that ends in dropout gives a node of the graph for training, too.
    """
    found: dict[int, Mode] = {}
    for node in nodes:
        for mode in _made[id(node)][1] if id(node) in _made else ():
            found[id(mode.module)] = mode  # a module that is gone has no id
    return tuple(found.values())


def watch(function: Any) -> None:
    """Tell a function, which has `modes` and a graph, when one of its modules changes."""
    _compiled.add(function)
    if function.modes:
        _built.add(function)


def changed(module: Any, training: bool) -> None:
    """Warn, once a function, that what was built in a module's other mode stays in it."""
    for function in list(_built):
        own = [mode.training for mode in function.modes if mode.module() is module]
        if own and training not in own:
            _built.discard(function)
            log.warning(
                "%s was built with %s %s, and stays so: what train() and eval() set holds for "
                "graphs built from then on; for this mode call the model and sn.function again",
                function.graph.name, type(module).__name__, describe([not training]),
            )  # fmt: skip


def retyped(module: Any, variables: Collection[Node]) -> None:
    """Warn, once a function, that what holds variables which a module has no more keeps them."""
    for function in list(_compiled):
        held = [v for v in function.graph.variables if v in variables]
        if held:
            _compiled.discard(function)
            log.warning(
                "%s was built with %s in %s, and keeps those variables: for another dtype call "
                "the model and sn.function again",
                function.graph.name, type(module).__name__, held[0].dtype,
            )  # fmt: skip


def describe(trainings: Iterable[bool]) -> str:
    """`in training mode`."""
    names = sorted({"training" if each else "eval" for each in trainings}, reverse=True)
    return f"in {' and '.join(names)} mode" if names else ""


def settled(function: Any) -> None:
    """A function that is for one mode whatever its modules are set to, and needs no warning."""
    _built.discard(function)
