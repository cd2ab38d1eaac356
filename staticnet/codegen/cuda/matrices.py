"""Calls of the device code's factorisations of stacks of matrices, and triangular systems."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from staticnet.codegen.commands import Address, Argument, Number
from staticnet.codegen.cuda.call import Call, Locate
from staticnet.codegen.cuda.part import THREADS
from staticnet.codegen.scope import c_type
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.memory import padded
from staticnet.plan.results import results_of

MAX_MATRICES = 1024  # that are worked on at once, a block each
MAX_ROOMS = 64  # of those that need room to work in


def matrix_routine(node: Node, locate: Locate) -> list[Call]:
    """The call that computes a node of `kernels/linalg.cuh`."""
    return [_ROUTINES[node.op.name](node, node.op, locate)]


def room_of(name: str, m: Any, n: Any) -> Any:
    """Elements that the block of a matrix works in; a bound where m or n is symbolic."""
    if name == "eigh":
        return n * n + 3 * n + 2
    if name != "svd":
        return 0
    known = isinstance(m, int) and isinstance(n, int)
    return m * n + (min(m, n) ** 2 if known else m * n) + m + n + 1


def room_bytes(node: Node, size: Callable[[Any], int] = int) -> int:
    """Bytes that all blocks work in; `size` gives a dim's."""
    x = node.inputs[0]
    *batch, m, n = map(size, x.shape)
    blocks = max(1, min(math.prod(batch), MAX_ROOMS))
    return int(blocks * room_of(node.op.name, m, n) * x.dtype.itemsize)


def most_room_bytes(node: Node) -> Any:
    """A bound of `room_bytes` where dims are symbolic."""
    x = node.inputs[0]
    return MAX_ROOMS * room_of(node.op.name, *x.shape[-2:]) * x.dtype.itemsize


def _call(
    node: Node, options: list[Any], sizes: dict[str, int], locate: Locate, room: int = 0
) -> Call:
    """A call of `sn_<op><type, *options>(operands, results, room, sizes)`.

    `room` elements of scratch memory are for each block, after the results that nobody reads.
    """
    results = results_of(node)
    dtype = node.inputs[0].dtype
    parameters = [f"const {c_type(x.dtype)} *x{i}" for i, x in enumerate(node.inputs)]
    parameters += [f"{c_type(y.dtype)} *y{i}" for i, y in enumerate(results)]
    places = [locate(x) for x in (*node.inputs, *results)]
    unread = (y for y, at in zip(results, places[len(node.inputs) :], strict=True)
              if at.kind == "scratch")  # fmt: skip
    scratch = sum(int(padded(y.type.nbytes)) for y in unread)
    arguments: list[Argument] = [*places]
    blocks = max(1, min(sizes["batch"], MAX_ROOMS if room else MAX_MATRICES))
    if room:
        parameters.append(f"{c_type(dtype)} *room")
        arguments.append(Address("scratch", 0, scratch))
        scratch += blocks * room * dtype.itemsize
    parameters += [f"int64_t {name}" for name in sizes]
    arguments += [Number(value, 8) for value in sizes.values()]
    given = [parameter[max(map(parameter.rfind, " *")) + 1 :] for parameter in parameters]
    given += ["error", "site"] if node.op.may_fail else []
    kinds = [c_type(dtype), *(str(x).lower() for x in options)]
    return Call(
        tuple(parameters),
        (f"sn_{node.op.name}<{', '.join(kinds)}>({', '.join(given)});",),
        tuple(arguments), blocks, THREADS, node.op.may_fail, scratch,
    )  # fmt: skip


def _batch(x: Node) -> int:
    return math.prod(fixed(x.shape)[:-2])


def _square(node: Node, op: Any, locate: Locate) -> Call:
    (x,) = node.inputs
    return _call(node, [THREADS], {"batch": _batch(x), "n": fixed(x.shape)[-1]}, locate)


def _triangular_solve(node: Node, op: Any, locate: Locate) -> Call:
    b = node.inputs[1]
    n, k = fixed(b.shape)[-2:]
    options = [op.upper, op.transposed, op.unit]
    return _call(node, options, {"batch": _batch(b), "n": n, "k": k}, locate)


def _qr(node: Node, op: Any, locate: Locate) -> Call:
    (x,) = node.inputs
    m, n = fixed(x.shape)[-2:]
    sizes = {"batch": _batch(x), "m": m, "n": n, "k": m if op.complete else n}
    return _call(node, [THREADS], sizes, locate)


def _eigh(node: Node, op: Any, locate: Locate) -> Call:
    (x,) = node.inputs
    n = fixed(x.shape)[-1]
    return _call(node, [THREADS], {"batch": _batch(x), "n": n}, locate, room_of("eigh", n, n))


def _svd(node: Node, op: Any, locate: Locate) -> Call:
    (x,) = node.inputs
    m, n = fixed(x.shape)[-2:]
    least = min(m, n)
    across, down = (m, n) if op.full else (least, least)
    sizes = {"batch": _batch(x), "m": m, "n": n, "across": across, "down": down}
    return _call(node, [THREADS], sizes, locate, room_of("svd", m, n))


_ROUTINES: dict[str, Callable[[Node, Any, Locate], Call]] = {
    "cholesky": _square,
    "triangular_solve": _triangular_solve,
    "lu": _square,
    "qr": _qr,
    "eigh": _eigh,
    "svd": _svd,
}
