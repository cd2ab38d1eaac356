"""What a module offers, by name: what the API's pages list, and what a test holds them to."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

# The topics of `staticnet` itself; what is in none of them is an array function.
TOPICS = {
    "graphs": "placeholder variable constant function compare parse manual_seed Function Graph "
    "Variable TensorType Dim",
    "functions": "grad value_and_grad vjp jvp linearize jacobian hessian stop_gradient vmap map "
    "scan while_loop fori_loop cond checkpoint custom_vjp custom_jvp",
    "own": "custom_op check_op Op Elementwise Reduction Pass rule rules_pass check_rule",
}


def named(module: str) -> dict[str, Any]:
    """The functions and classes that a module offers, by name."""
    try:
        room: Any = importlib.import_module(module)
    except ModuleNotFoundError:  # a name of its parent's, as staticnet.random
        parent, _, name = module.rpartition(".")
        room = getattr(importlib.import_module(parent), name)
    names = getattr(room, "__all__", None) or [
        name for name, o in vars(room).items() if _own(o, room)
    ]
    found = {name: getattr(room, name) for name in names if not name.startswith("_")}
    return {name: o for name, o in found.items() if inspect.isclass(o) or inspect.isroutine(o)}


def _own(value: Any, room: Any) -> bool:
    return getattr(value, "__module__", "") == room.__name__ and not isinstance(value, type(Any))


def of_topic(module: str, topic: str) -> list[str]:
    """The names of a module that stand on the page of a topic, sorted."""
    names = named(module)
    if module == "staticnet":
        apart = {name for listed in TOPICS.values() for name in listed.split()}
        if topic in TOPICS:
            return TOPICS[topic].split()
        names = {name: o for name, o in names.items() if name not in apart}
    elif module == "staticnet.passes":  # what the top level has stands there
        names = {name: o for name, o in names.items() if name not in named("staticnet")}
    elif module == "staticnet.nn":  # functions stand in nn.functional, and are both places' names
        names = {name: o for name, o in names.items() if name not in named(f"{module}.functional")}
    return sorted(names, key=str.lower)
