"""A user's scalar form: one C expression of elements, which is put into the kernels around it."""

from __future__ import annotations

import re
import string
from functools import cache
from typing import Any

from staticnet.errors import ArgumentError
from staticnet.ir.op import OPS
from staticnet.ops.arguments import FLOATS
from staticnet.ops.base import Elementwise

CONSTANTS = frozenset({"INFINITY", "NAN"})  # names of C that a form may read
PYTHON = {
    "**": ": pow({0}, 2), or {0} * {0}", "//": ": floor_divide({0}, {1})", "/*": "", "\\": "",
    "'": "", '"': "",
}  # fmt: skip
_NAME = r"(?<![\w.])[A-Za-z_]\w*"
_CALLED = re.compile(rf"({_NAME})\s*\(")
_READ = re.compile(rf"({_NAME})\b(?!\s*\()")


def check_form(name: str, form: Any, arity: int, attributes: Any) -> None:
    """Raise ArgumentError unless a scalar form is one expression of the operands' elements."""
    what = f"custom_op {name}: the scalar form {form!r:.60}"
    if not isinstance(form, str) or not form.strip() or re.search(r"[;\n#]", form):
        raise ArgumentError(f"{what} must be one C expression, as '{{0}} * {{0}}'")
    for mark, remedy in PYTHON.items():
        if mark in form:
            raise ArgumentError(f"{what} has {mark}, which is no C here{remedy}")
    used = _fields(what, form)
    known = {str(i) for i in range(arity)} | attributes.keys()
    if not used <= known:
        raise ArgumentError(
            f"{what} names {sorted(used - known)}; it may name {sorted(known)}: eval takes "
            f"{arity} operands"
        )
    for n in used & attributes.keys():
        if attributes[n].annotation not in (int, bool, "int", "bool"):
            raise ArgumentError(f"{what} reads {n}; of attributes it may read int and bool alone")
    spoken = re.sub(r"\{[^}]*\}", " ", form)
    read = set(_READ.findall(spoken)) - CONSTANTS
    if read:
        raise ArgumentError(
            f"{what} reads {sorted(read)}; it may read its operands and attributes in braces, and "
            f"{', '.join(sorted(CONSTANTS))}"
        )
    called = set(_CALLED.findall(spoken)) - scalar_functions()
    if called:
        raise ArgumentError(
            f"{what} calls {sorted(called)}; there are {', '.join(sorted(scalar_functions()))}"
        )


def _fields(what: str, form: str) -> set[str]:
    """What stands in a form's braces; raises ArgumentError if it is more than names."""
    plain = "operands stand there as {0}, {1}, …, and nothing else in the braces"
    try:
        parts = list(string.Formatter().parse(form))
    except ValueError as error:
        raise ArgumentError(f"{what} has {error}; {plain}") from None
    if any(spec or conversion for _, _, spec, conversion in parts) or re.search("[{}]{2}", form):
        raise ArgumentError(f"{what}: {plain}")
    return {part for _, part, _, _ in parts if part is not None}


@cache
def scalar_functions() -> frozenset[str]:
    """The functions of real numbers that a scalar form may call: those of the house's own forms."""
    house = [c for c in OPS.values() if issubclass(c, Elementwise) and c.kinds >= FLOATS]
    return frozenset(name for cls in house for name in _CALLED.findall(cls.scalar))
