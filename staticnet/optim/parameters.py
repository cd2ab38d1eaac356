"""What is updated: variables, groups of them with options of their own, and their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from staticnet.errors import ArgumentError, GradientError, ShapeError
from staticnet.ir.dtype import is_floating
from staticnet.ir.node import Node, describe, topological
from staticnet.ir.value import Value
from staticnet.ops.state import Variable

Parameters: TypeAlias = Variable | Sequence[Variable] | Sequence[Mapping[str, Any]]


def parameters_of(wrt: Parameters) -> list[Variable]:
    """The variables that `wrt` names, in its order.

    Raises:
        ArgumentError: if it holds something else, or a variable twice.
        GradientError: if it is empty.
    """
    parameters = [w for _, group in groups_of(wrt) for w in group]
    if not parameters:
        raise GradientError("minimize: wrt is empty; there is nothing to update")
    if len(set(parameters)) != len(parameters):
        raise ArgumentError("minimize: wrt names a variable twice")
    return parameters


def groups_of(wrt: Parameters) -> list[tuple[dict[str, Any], list[Variable]]]:
    """Each group's hyper-parameters and variables; a plain list is one group."""
    if isinstance(wrt, str) or not isinstance(wrt, Iterable):
        raise ArgumentError(
            f"minimize: wrt must hold variables, as model.parameters() does, not be {wrt!r:.60}"
        )
    listed: list[Any] = [wrt] if isinstance(wrt, Variable | Mapping) else list(wrt)
    if not any(isinstance(each, Mapping) for each in listed):
        return [({}, _variables(listed))]
    groups = []
    for group in listed:
        if not isinstance(group, Mapping) or "params" not in group:
            raise ArgumentError(f"minimize: a group is a dict with 'params', not {group!r:.60}")
        options = {name: x for name, x in group.items() if name != "params"}
        params = group["params"]
        groups.append((options, _variables([params] if isinstance(params, Value) else params)))
    return groups


def _variables(values: Iterable[Any]) -> list[Variable]:
    listed = list(values)
    for value in listed:
        if not isinstance(value, Variable):
            raise ArgumentError(f"minimize: wrt must hold variables, not {value!r:.60}")
    return listed


def trainable_of(loss: Value) -> list[Variable]:
    """The trainable floating-point variables that a loss needs, in the graph's order.

    Raises:
        GradientError: if there are none, or it is no node.
    """
    if not isinstance(loss, Node):
        raise GradientError(f"minimize: the loss must be a graph node, not {loss!r:.60}")
    found = [
        node
        for node in topological([loss])
        if isinstance(node, Variable) and node.trainable and is_floating(node.dtype)
    ]
    if not found:
        raise GradientError(
            f"minimize: the loss {describe(loss)} ({loss.provenance}) depends on no trainable "
            "variable; make one with sn.variable(value), or name some in wrt"
        )
    return found


def check_used(loss: Value, wrt: Sequence[Variable]) -> None:
    """Raise GradientError if the loss depends on one of the variables in no way."""
    reached = set(topological([loss])) if isinstance(loss, Node) else set(wrt)
    unused = [w for w in wrt if w not in reached]
    if unused:
        named = ", ".join(f"{describe(w)} ({w.provenance})" for w in unused)
        raise GradientError(
            f"minimize: the loss {describe(loss)} does not depend on {named}; leave it out, or "
            "leave out wrt to update what the loss depends on"
        )


def check_gradients(grads: Mapping[Variable, Value], wrt: Parameters | None) -> None:
    """Raise unless `grads` maps variables to gradients of their shapes, for all that `wrt` names.

    Raises:
        ArgumentError, GradientError, ShapeError: as `Optimizer.apply` says.
    """
    if not isinstance(grads, Mapping):
        raise ArgumentError(f"apply: grads is a mapping {{variable: gradient}}, not {grads!r:.60}")
    for w in parameters_of(list(grads)):
        g = grads[w]
        if not isinstance(g, Value) or not is_floating(g.dtype):
            raise ArgumentError(f"apply: the gradient of {describe(w)} cannot be {g!r:.60}")
        if g.shape != w.shape:
            raise ShapeError(f"apply: the gradient of {describe(w)} has another shape: {g!r}")
    if wrt is not None and set(parameters_of(wrt)) != set(grads):
        raise GradientError("apply: grads and wrt must name the same variables")
