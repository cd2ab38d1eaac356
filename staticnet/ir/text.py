"""The text form of a graph, and its reader: `parse(str(g)) is g`.

    graph step(%x: f32[batch,2]) {
      %w: f32[2] = variable(id=3, dtype=f32, shape=[2])
      %0: f32[batch,2] = multiply(%x, %w)
      return %0
      update %w = %1
    }

Names after `%` are for reading and carry no identity, but for a placeholder's, which is its name.
A graph's name that is not made of letters, digits, `_` and `.` is quoted, as in JSON. A graph that
is an attribute stands in its statement, over several lines. The grammar is in docs/ir.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from staticnet.errors import ParseError, StaticnetError
from staticnet.ir.dim import parse_dim
from staticnet.ir.dtype import as_dtype
from staticnet.ir.graph import Graph
from staticnet.ir.location import Location, Provenance, attributed
from staticnet.ir.node import Node, build
from staticnet.ir.op import ATTRIBUTES, Attribute, parse_op
from staticnet.ir.printer import format_graph, value_names
from staticnet.ir.types import TensorType, TupleType

__all__ = ["format_graph", "parse", "parse_type", "value_names"]

_NAME = r'[^\s%:,="()\[\]{}]+'
_HEADER = re.compile(rf'graph ({_NAME}|"(?:[^"\\]|\\.)*")\((.*)\) \{{')
_STATEMENT = re.compile(rf"%({_NAME}): (\w+\[.*?\]|\(.*?\)) = (\w+(?:@\d+)?)\((.*)\)", re.DOTALL)
_UPDATE = re.compile(rf"update %({_NAME}) = %({_NAME})")
_TYPE = re.compile(r"(\w+)\[(.*)\]")


def parse(text: str) -> Graph:
    """The graph that a text form describes; nodes that are alive are found again, not copied.

    Raises:
        ParseError: naming the line of the text that cannot be read, or whose type is not the one
            that the op infers.
    """
    if not isinstance(text, str):
        raise ParseError(f"takes the text of a graph, as str(graph) gives it, not {text!r:.60}")
    lines = list(_statements(text))
    if not lines:
        raise ParseError("empty text: expected `graph name(...) {`")
    match = _HEADER.fullmatch(lines[0][1])
    if match is None or lines[-1][1] != "}":
        raise ParseError(f"line {lines[0][0]}: expected `graph name(%x: f32[2]) {{ … }}`")
    name = json.loads(match[1]) if match[1].startswith('"') else match[1]
    return _Reader(name, match[2]).read(lines)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, each with its number; a statement that holds graphs is one."""
    held: list[str] = []
    first = depth = 0
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("//"):
            continue
        first = first if held else number
        depth += line.endswith(" {") and bool(held or not line.startswith("graph "))
        depth -= line.startswith("}") and bool(held)
        held.append(line)
        if not depth:
            yield first, "\n".join(held)
            held = []
    if held:
        yield first, "\n".join(held)


class _Reader:
    def __init__(self, name: str, header: str) -> None:
        self.name = name
        self.header = header
        self.values: dict[str, Node] = {}
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []
        self.updates: list[tuple[Node, Node]] = []

    def read(self, lines: list[tuple[int, str]]) -> Graph:
        with attributed(Provenance((Location("<text>", lines[0][0]),))):
            for parameter in split_arguments(self.header):
                self._placeholder(parameter)
        for number, line in lines[1:-1]:
            try:
                with attributed(Provenance((Location("<text>", number),))):
                    self._line(line)
            except StaticnetError as error:
                raise ParseError(f"line {number}: {error}") from None
        return Graph(self.name, self.inputs, self.outputs, tuple(self.updates))

    def _placeholder(self, parameter: str) -> None:
        name, _, type_text = parameter.partition(": ")
        dtype, _, dims = type_text.partition("[")
        label = json.dumps(name[1:])
        op = parse_op("placeholder", {"label": label, "dtype": dtype, "shape": f"[{dims}"})
        node = build(op, ())
        self.values[name[1:]] = node
        self.inputs.append(node)

    def _line(self, line: str) -> None:
        if line.startswith("return"):
            names = [name.strip() for name in line[len("return") :].split(",")]
            self.outputs = [self._value(name) for name in names if name]
        elif line.startswith("update"):
            match = _UPDATE.fullmatch(line)
            if match is None:
                raise ParseError(f"expected `update %w = %1`, got {line!r}")
            self.updates.append((self._value("%" + match[1]), self._value("%" + match[2])))
        else:
            self._statement(line)

    def _statement(self, line: str) -> None:
        match = _STATEMENT.fullmatch(line)
        if match is None:
            raise ParseError(
                f"expected `%name: type = op(operands, attribute=value)`, got {line!r}"
            )
        name, type_text, op_name, arguments = match.groups()
        inputs: list[Node] = []
        attributes: dict[str, str] = {}
        for argument in split_arguments(arguments):
            if argument.startswith("%"):
                inputs.append(self._value(argument))
            else:
                key, _, value = argument.partition("=")
                attributes[key] = value
        node = build(parse_op(op_name, attributes), tuple(inputs))
        if node.type != parse_type(type_text):
            raise ParseError(f"{op_name} gives {node.type}, the text says {type_text}")
        if not node.name and not name.isdecimal():  # `0.weight` is a name
            node.name = name
        self.values[name] = node

    def _value(self, name: str) -> Node:
        node = self.values.get(name.lstrip("%"))
        if node is None:
            raise ParseError(f"{name} is used before it is defined")
        return node


def parse_type(text: str) -> TensorType:
    """Read `f32[batch,784]` or, of several results, `(f32[3],i64[])` back.

    Raises:
        ParseError: if it is not a type.
    """
    if text.startswith("(") and text.endswith(")"):
        return TupleType(map(parse_type, split_arguments(text[1:-1])))
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ParseError(f"not a type: {text!r}")
    return TensorType(as_dtype(match[1]), tuple(parse_dim(d) for d in match[2].split(",") if d))


def split_arguments(text: str) -> Iterator[str]:
    """The pieces of `text` between commas that no bracket or string encloses."""
    depth, start, quoted = 0, 0, False
    for i, char in enumerate(text):
        if char == '"' and text[i - 1 : i] != "\\":
            quoted = not quoted
        elif not quoted and char in "([{":
            depth += 1
        elif not quoted and char in ")]}":
            depth -= 1
        elif char == "," and depth == 0 and not quoted:
            yield text[start:i].strip()
            start = i + 1
    if text[start:].strip():
        yield text[start:].strip()


ATTRIBUTES["Graph"] = Attribute(lambda v: isinstance(v, Graph), "a graph", format_graph, parse)
