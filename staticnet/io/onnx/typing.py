"""What an operator takes by its schema: how many operands, which may be missing, their types."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from staticnet.errors import OnnxError
from staticnet.io.onnx.library import newest, schema
from staticnet.ir.value import Value


def check_operands(known: Any, operands: Sequence[Any]) -> None:
    """Raise OnnxError unless the operands fit an operator's schema."""
    if known is None:
        return
    least, most, formals = _formals(known)
    if not least <= len(operands) <= most:
        raise OnnxError(f"it takes {least} to {most} operands, not {len(operands)}")
    seen: dict[str, Any] = {}
    for i, value in enumerate(operands):
        name, letter, is_needed, is_alike = formals[min(i, len(formals) - 1)]
        if value is None:
            if is_needed:
                raise OnnxError(f"the operand {name} is missing")
            continue
        if not isinstance(value, Value):
            continue
        own = f"tensor({_spelled(value.dtype.name)})"
        allowed = _allowed(known.domain, known.name, known.since_version, min(i, len(formals) - 1))
        if allowed and own not in allowed:
            raise OnnxError(f"the operand {name} is {own}; it may be {', '.join(sorted(allowed))}")
        if is_alike and seen.setdefault(letter, own) != own:
            raise OnnxError(f"the operand {name} is {own} beside {seen[letter]}")


def _spelled(name: str) -> str:
    return {"float32": "float", "float64": "double"}.get(name, name)


_cache: dict[tuple[str, str, int], Any] = {}


def _formals(known: Any) -> tuple[int, int, list[tuple[str, str, bool, bool]]]:
    key = (known.domain, known.name, known.since_version)
    if key not in _cache:
        option: Any = type(known.inputs[0].option) if known.inputs else None
        constraints = {c.type_param_str for c in known.type_constraints}
        rows = [
            (
                x.name,
                x.type_str,
                x.option == option.Single,
                x.type_str in constraints and (x.is_homogeneous or x.option != option.Variadic),
            )
            for x in known.inputs
        ]
        _cache[key] = known.min_input, known.max_input, rows
    found: tuple[int, int, list[tuple[str, str, bool, bool]]] = _cache[key]
    return found


@cache
def _allowed(domain: str, name: str, version: int, place: int) -> frozenset[str]:
    """The types of an operand in this version of an operator or in the newest; any, if none."""
    found: set[str] = set()
    for each in {version, newest(domain)}:
        known = schema(domain, name, each)
        if known is None or place >= len(known.inputs):
            continue
        letter = known.inputs[place].type_str
        types = {c.type_param_str: c.allowed_type_strs for c in known.type_constraints}
        found |= set(types.get(letter, [letter]))
    return frozenset(found)
