"""Printing a graph as text; `staticnet.ir.text` describes the form and reads it back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from staticnet.ir.node import Node
from staticnet.ir.op import format_attributes
from staticnet.ir.own_ops import label_of

if TYPE_CHECKING:
    from staticnet.ir.graph import Graph


def format_graph(graph: Graph) -> str:
    """The text form of a graph."""
    names = value_names(graph)
    header = ", ".join(f"%{names[node]}: {node.type}" for node in graph.inputs)
    lines = [f"graph {_quoted(graph.name)}({header}) {{"]
    for statement in statements(graph).values():
        lines += [f"  {line}" for line in statement.split("\n")]
    lines.append(f"  return {', '.join('%' + names[node] for node in graph.outputs)}".rstrip())
    lines += [f"  update %{names[target]} = %{names[value]}" for target, value in graph.updates]
    return "\n".join([*lines, "}"])


def statements(graph: Graph) -> dict[Node, str]:
    """Each node's statement, in order, but for what is only fed; graphs in it are indented."""
    names = value_names(graph)
    nodes = (*graph.nodes, *_only_written(graph))
    return {node: _statement(node, names) for node in nodes if node.op.name != "placeholder"}


def _statement(node: Node, names: dict[Node, str]) -> str:
    operands = [f"%{names[operand]}" for operand in node.inputs]
    arguments = ", ".join(filter(None, [*operands, format_attributes(node.op)]))
    return f"%{names[node]}: {node.type} = {label_of(type(node.op))}({arguments})"


def _quoted(name: str) -> str:
    """A graph's name, as a JSON string if it has other characters than identifiers and dots."""
    return name if name and all(map(_is_plain, name)) else json.dumps(name)


def _is_plain(char: str) -> bool:
    """Whether a character may stand in names that are not quoted."""
    return char == "." or f"_{char}".isidentifier()


def _only_written(graph: Graph) -> list[Node]:
    """Variables that are updated but never read."""
    read = set(graph.nodes)
    return [target for target, _ in graph.updates if target not in read]


def value_names(graph: Graph) -> dict[Node, str]:
    """A distinct name for each node: a placeholder's own, a given one, else a number."""
    names = {node: node.name for node in graph.inputs}
    taken = set(names.values())
    number = 0
    for node in (*graph.nodes, *_only_written(graph)):
        if node in names:
            continue
        if node.name:
            name = _free("".join(c if _is_plain(c) else "_" for c in node.name), taken)
        else:
            name = str(number)
            number += 1
        names[node] = name
        taken.add(name)
    return names


def _free(name: str, taken: set[str]) -> str:
    if name.isdigit():
        name = f"_{name}"
    count = 1
    free = name
    while free in taken:
        free = f"{name}.{count}"
        count += 1
    return free
