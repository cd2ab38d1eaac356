"""The table of operators: a small function each, by domain, name and the opset it is from.

The modules of the room `operators` fill it when they are imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Rule = Callable[..., Any]
F = TypeVar("F", bound=Rule)
_TABLE: dict[tuple[str, str], list[tuple[int, Rule]]] = {}
TRAINING = "ai.onnx.preview.training"


def operator(*names: str, since: int = 1, domain: str = "") -> Callable[[F], F]:
    """Register what computes operators: `f(call, *operands) -> value or tuple of values`."""

    def add(f: F) -> F:
        for name in names:
            entries = _TABLE.setdefault((domain, name), [])
            entries.append((since, f))
            entries.sort(key=lambda entry: entry[0])
        return f

    return add


def find(domain: str, name: str, version: int) -> Rule | None:
    """The rule of an operator as of an opset; None if there is none."""
    found = None
    for since, rule in _TABLE.get((domain, name), ()):
        if since <= version:
            found = rule
    return found


def is_known(domain: str, name: str) -> bool:
    """Whether an operator has a rule, as of whatever opset."""
    return (domain, name) in _TABLE


def names() -> list[tuple[str, str]]:
    """Each operator that has a rule: (domain, name)."""
    return sorted(_TABLE)
