"""The `onnx` package, which knows the format and its operators' schemas."""

from __future__ import annotations

from functools import cache
from typing import Any

from staticnet.errors import DependencyError
from staticnet.ir.hints import install


@cache
def onnx() -> Any:
    """The package itself.

    Raises:
        DependencyError: if it is not installed.
    """
    try:
        import onnx as package
    except ImportError as error:
        raise DependencyError(
            f"onnx, which reads the format, not found; {install('onnx')}"
        ) from error
    return package


@cache
def schema(domain: str, name: str, version: int) -> Any:
    """An operator's schema as of an opset; None if there is none."""
    package = onnx()
    try:
        return package.defs.get_schema(name, version, domain)
    except package.defs.SchemaError:
        return None


def newest(domain: str) -> int:
    """The greatest opset of a domain that the installed package knows; 0 of an unknown one."""
    return int(_versions().get(domain, 0))


@cache
def _versions() -> dict[str, int]:
    found: dict[str, int] = {}
    for each in onnx().defs.get_all_schemas():
        found[each.domain] = max(found.get(each.domain, 0), each.since_version)
    found[""] = onnx().defs.onnx_opset_version()
    return found
