"""Statements that call `kernels/linalg.h`: factorisations of matrices, triangular systems."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from staticnet.codegen.resources import kernel_text
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import short_name
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.factors import FACTORS, factor_rooms
from staticnet.plan.results import results_of

Pointer = Callable[[Node], str]
LAPACK = ("potrf", "trsm", "getrf", "gelqf", "orglq", "syevd", "gesdd")
"""The routines of BLAS and LAPACK that `sn_set_lapack_<dtype>` takes, in this order."""


def matrix_routine(node: Node, pointer: Pointer, scratch: str) -> list[str]:
    """The C statement of a node that LAPACK computes, which works in `scratch`."""
    return [_call(node, _SIZES[node.op.name](node, node.op), pointer, scratch)]


def matrix_helper(dtype: str) -> str:
    """The C that defines the routines for a dtype."""
    text = kernel_text("linalg.h")
    return text if dtype == "f64" else text.replace("f64", "f32").replace("double", "float")


def _call(node: Node, sizes: list[int], pointer: Pointer, scratch: str) -> str:
    """A call with sizes, operands, results, memory and, where it may fail, where to tell that."""
    dtype = node.inputs[0].dtype
    room = []
    if node.op.name in FACTORS:
        rooms = factor_rooms(node)
        room = [f"(sn_room_{short_name(dtype)}){{({c_type(dtype)} *)({scratch}), {rooms.threads}, "
                f"{rooms.copied}, {rooms.numbers}, {rooms.integers}}}"]  # fmt: skip
    failing = ["error", "site"] if node.op.may_fail else []
    places = map(pointer, (*node.inputs, *results_of(node)))
    given = ", ".join([*map(str, sizes), *places, *room, *failing])
    return f"sn_{node.op.name}_{short_name(dtype)}({given});"


def _batch(x: Node) -> int:
    return math.prod(fixed(x.shape)[:-2])


def _square(node: Node, op: Any) -> list[int]:
    (x,) = node.inputs
    return [_batch(x), fixed(x.shape)[-1]]


def _triangular_solve(node: Node, op: Any) -> list[int]:
    b = node.inputs[1]
    return [_batch(b), *fixed(b.shape)[-2:], int(op.upper), int(op.transposed), int(op.unit)]


def _qr(node: Node, op: Any) -> list[int]:
    (x,) = node.inputs
    m, n = fixed(x.shape)[-2:]
    return [_batch(x), m, n, m if op.complete else n]


def _svd(node: Node, op: Any) -> list[int]:
    (x,) = node.inputs
    return [_batch(x), *fixed(x.shape)[-2:], int(op.full)]


_SIZES: dict[str, Callable[[Node, Any], list[int]]] = {
    "cholesky": _square,
    "triangular_solve": _triangular_solve,
    "lu": _square,
    "qr": _qr,
    "eigh": _square,
    "svd": _svd,
}
