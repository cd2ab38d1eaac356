"""C source without what its roots do not reach, so that a reader sees what runs and no more.

A source is cut into its top-level items. An invocation of a macro that stands for definitions is
written out first, so that `SN_FLOAT_FUNCTIONS(f32, f, …)` is functions like any other. An item is
kept if a kept one names it. What is not understood is kept whole.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_ABSENT = r"(?:__CUDACC__|__cplusplus)"  # what no C compiler defines
_OPEN = re.compile(r"\s*#\s*if")
_KNOWN = re.compile(rf"\s*#\s*if(?:def\s+{_ABSENT}|\s+defined\({_ABSENT}\))\s*$")
_GUARD = re.compile(r"\s*#\s*ifndef\s+(\w+)\s*$")
_DEFINE = re.compile(r"\s*#\s*define\s+(\w+)(\([^)]*\))?((?:.|\n)*)")
_PARAMETERS = re.compile(r"#\s*define\s+\w+\(([^)]*)\)")
_UNDEF = re.compile(r"\s*#\s*undef\s+(\w+)")
_DIRECTIVE = re.compile(r"[ \t]*#(?:\\\n|/\*(?:.|\n)*?\*/|[^\n])*\n?")
_TOKEN = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | \w+ | \s+ | .""",
    re.DOTALL | re.VERBOSE,
)
_NAME = re.compile(r"[A-Za-z_]\w*")
_PASTED = re.compile(r"\w+(?:\s*##\s*\w+)+")
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
_POINTER = re.compile(r"[^({=;]*\(\s*\*\s*(\w+)")  # `static void (*name)(int);`
_FUNCTION = re.compile(r"(\w+) ?\(\) ?(?:\{\}|;)$")
_VARIABLE = re.compile(r"(\w+) ?(?:\[\] ?)*;$")
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


@dataclass(frozen=True)
class Item:
    """A definition, directive or declaration with its comment, and the names it defines.

    One without names is kept whatever the roots.
    """

    text: str
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Macro:
    parameters: tuple[str, ...]
    body: str

    def expand(self, arguments: list[str]) -> str:
        """The body with arguments for parameters; what is pasted becomes one name."""
        given = dict(zip(self.parameters, arguments, strict=True))
        text = "".join(given.get(token, token) for token in _TOKEN.findall(self.body))
        return re.sub(r"\s*##\s*", "", text)


def strip(source: str, roots: Collection[str]) -> str:
    """The includes of a source, and of its items those that the names `roots` reach, in order."""
    items = list(dict.fromkeys(_items(_resolve(source), {})))
    return _join(_reached(items, roots))


def _reached(items: list[Item], roots: Collection[str]) -> list[Item]:
    owners: dict[str, list[Item]] = {}
    for item in items:
        for name in item.names:
            owners.setdefault(name, []).append(item)
    kept = {item for item in items if not item.names}
    waiting = [*kept, *(item for name in roots for item in owners.get(name, []))]
    while waiting:
        item = waiting.pop()
        kept.add(item)
        used = [owner for name in _used(item.text, owners) for owner in owners.get(name, [])]
        waiting += {owner for owner in used if owner not in kept}
    return [item for item in items if item in kept]


def _used(text: str, known: Collection[str]) -> set[str]:
    """The names that a text uses, those that its macros may paste among them."""
    code = "".join(token for token in _TOKEN.findall(text) if not _is_aside(token))
    used = set(_NAME.findall(code))
    head = _PARAMETERS.search(code)
    parameters = set(_NAME.findall(head[1])) if head else set()
    for pasted in _PASTED.findall(code):
        parts = re.split(r"\s*##\s*", pasted)
        pattern = re.compile("".join(r"\w*" if p in parameters else re.escape(p) for p in parts))
        used |= {name for name in known if pattern.fullmatch(name)}
    return used


def _is_aside(token: str) -> bool:
    return token.startswith(("//", "/*", '"', "'"))


def _join(items: list[Item]) -> str:
    """Items as text: includes first, one-line items of a kind close together."""
    includes = [item.text for item in items if item.text.startswith("#include")]
    text = "\n".join(sorted(set(includes))) + "\n"
    before = ""
    for item in items:
        if item.text.startswith("#include"):
            continue
        close = "\n" not in before + item.text and before[:1] == item.text[:1]
        text += f"{'' if close else chr(10)}{item.text}\n"
        before = item.text
    return text


def _resolve(source: str) -> str:
    """A source without include guards and what is for other languages than C.

    Conditions that only a compiler can decide stay.
    """
    lines = source.splitlines()
    kept: list[str] = []
    stack: list[bool | None] = []  # of each condition: whether it holds; None if it stays
    for number, line in enumerate(lines):
        word = line.split("//")[0].replace(" ", "").rstrip()
        if _OPEN.match(line):
            stack.append(_holds(lines, number))
            known = stack[-1] is not None
        elif word.startswith("#else") and stack:
            known = stack[-1] is not None
            stack[-1] = None if stack[-1] is None else not stack[-1]
        elif word.startswith("#endif") and stack:
            known = stack.pop() is not None
        else:
            known = _is_guards_name(lines, number)
        if not known and False not in stack:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _holds(lines: list[str], number: int) -> bool | None:
    if _KNOWN.match(lines[number]):
        return False
    return True if _is_guards_name(lines, number + 1) else None


def _is_guards_name(lines: list[str], number: int) -> bool:
    """Whether a line is the `#define` of an include guard."""
    if not 0 < number < len(lines):
        return False
    guard, define = _GUARD.match(lines[number - 1]), _DEFINE.match(lines[number])
    return bool(guard and define and guard[1] == define[1] and not (define[2] or define[3].strip()))


def _items(source: str, macros: dict[str, _Macro]) -> Iterator[Item]:
    """The top-level items in order; `macros` collects those that stand for definitions."""
    at, comment = 0, ""
    while at < len(source):
        token = _TOKEN.match(source, at)
        assert token is not None
        if token[0].isspace():
            comment = "" if token[0].count("\n") > 1 else comment  # it is about no item
            at = token.end()
        elif token[0].startswith(("//", "/*")):
            comment += token[0] + "\n"
            at = token.end()
        elif token[0] == "#":
            text, at = _directive(source, at)
            if text.startswith("#pragma"):
                comment += text + "\n"
                continue
            yield _described(text, comment, macros)
            comment = ""
        elif token[0] in macros:
            arguments, at = _arguments(source, token.end())
            yield from _items(comment + macros[token[0]].expand(arguments), macros)
            comment = ""
        else:
            end = _end(source, at)
            yield Item(comment + source[at:end], _declared(source[at:end]))
            at, comment = end, ""


def _directive(source: str, at: int) -> tuple[str, int]:
    """A directive, or all from an `#if` to its `#endif`, and where it ends."""
    depth, end = 0, at
    while True:
        line = _DIRECTIVE.match(source, end)
        if line is not None:
            word = line[0].replace(" ", "")
            depth += word.startswith("#if") - word.startswith("#endif")
        end = line.end() if line is not None else source.find("\n", end) + 1
        if depth == 0 or end == 0 or end >= len(source):
            end = end or len(source)
            return source[at:end].rstrip(), end


def _described(text: str, comment: str, macros: dict[str, _Macro]) -> Item:
    """The item of a directive; a macro that stands for definitions is remembered too."""
    if undefined := _UNDEF.fullmatch(text):
        return Item(comment + text, frozenset({undefined[1]}))
    define = _DEFINE.fullmatch(text)
    if define is None:
        return Item(comment + text)
    name, parameters, body = define.groups()
    if parameters and _stands_for_definitions(parameters, body, macros):
        lines = [line.rstrip(" \\") for line in body.splitlines()]
        words = [word.strip() for word in parameters[1:-1].split(",")]
        macros[name] = _Macro(tuple(words), textwrap.dedent("\n".join(lines)))
    return Item(comment + text, frozenset({name}))


def _stands_for_definitions(parameters: str, body: str, known: Collection[str]) -> bool:
    """Whether a macro has a function's body, or invokes one of the known macros that have."""
    strings = re.search(r"(?<!#)#(?!#)", body)  # an argument made a string
    opened = re.search(r"\)\s*(?:\\\n\s*)?\{", body)  # a function's body
    defines = opened is not None or any(name in known for name in _NAME.findall(body))
    return "..." not in parameters and strings is None and defines


def _arguments(source: str, at: int) -> tuple[list[str], int]:
    """The arguments of a macro's invocation, and where it ends."""
    arguments, depth = [""], 0
    for token in _TOKEN.finditer(source, at):
        depth += _BRACKETS.get(token[0], 0)
        if depth == 0 and token[0] == ")":
            end = token.end() + (source[token.end() : token.end() + 1] == ";")
            return [argument.strip() for argument in arguments], end
        if token[0] == "," and depth == 1:
            arguments.append("")
        elif not (token[0] == "(" and depth == 1):
            arguments[-1] += token[0]
    return [""], len(source)


def _end(source: str, at: int) -> int:
    """Where a declaration or definition ends: at its `;`, or a function's closing brace."""
    depth, last, function = 0, "", False
    for token in _TOKEN.finditer(source, at):
        text = token[0]
        if text == "{" and depth == 0:
            function = last == ")"
        depth += _BRACKETS.get(text, 0)
        if depth == 0 and (text == ";" or (text == "}" and function)):
            return token.end()
        if not (text.isspace() or text.startswith(("//", "/*"))):
            last = text
    return len(source)


def _declared(text: str) -> frozenset[str]:
    """The name that a declaration or definition gives; none if that is not plain."""
    text = _ATTRIBUTE.sub("", text)
    outline = _outline(text)
    if "," in outline:
        return frozenset()
    found = _POINTER.match(text) or _FUNCTION.search(outline) or _VARIABLE.search(outline)
    return frozenset({found[1]} if found and not found[1].startswith("_") else ())


def _outline(text: str) -> str:
    """A declaration without what its brackets hold, and without an initial value."""
    depth, outline = 0, ""
    for token in _TOKEN.findall(text):
        step = _BRACKETS.get(token, 0)
        if depth == 0 and token == "=":
            return outline.rstrip() + ";"
        depth += step
        if not _is_aside(token) and (depth == 0 or (depth == 1 and step == 1)):
            outline += " " if token.isspace() else token
    return outline
