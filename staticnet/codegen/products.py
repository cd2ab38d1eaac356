"""Statements that multiply matrices: by BLAS or loops, or with panels packed before a loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from staticnet.codegen.regions import BARRIER, ROWS, Way, cut_in_rows, cut_of
from staticnet.ir.dtype import FLOAT32, FLOAT64, DType, short_name
from staticnet.ir.index import Index, Symbol
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.library import MatmulAdd
from staticnet.ops.linalg import Matmul
from staticnet.plan.held import FEWEST_ROWS, SMALL_PRODUCT, Held, held_in
from staticnet.plan.layouts import matrix_layout

_OF_BLAS = (FLOAT32, FLOAT64)
SLAB_WORK = 1 << 19  # multiply-adds of a slab of a product, of which a thread makes one or more
Pointer = Callable[[Node], str]


def right_of(
    node: Node, pointer: Pointer, in_memory: Callable[[Node], bool]
) -> tuple[object, ...] | None:
    """What products have in common whose right operand is one, so that it is packed for the first.

    None of stacks, and of a product that is not our own.
    """
    way, _ = product_way(node)
    if way is not Way.SHARED or node.ndim != 2 or node.dtype != FLOAT32:
        return None
    shape, inner = fixed(node.shape), fixed(node.inputs[0].shape)[-1]
    return (*shape, inner, *_matrix(node.inputs[1], shape, pointer, in_memory))


def matmul_routine(
    node: Node, pointer: Pointer, in_memory: Callable[[Node], bool], same: bool = False
) -> list[str]:
    """The statements of a product, one or a loop over the matrices of stacks; it may be added.

    same: its right operand is that of the product just before, as `right_of` says
    """
    shape = fixed(node.shape)
    adds = isinstance(node.op, MatmulAdd)
    rows, columns = shape[-2:]
    way, _ = product_way(node)
    cut = _shared_axis(node) if way is Way.SHARED else None
    inner = fixed(node.inputs[0].shape)[-1]
    out = f"{pointer(node)} + ({_batch_place(shape)})*{rows * columns}"
    left, right = (_matrix(x, shape, pointer, in_memory) for x in node.inputs[:2])
    if inner == 0:
        call = "" if adds else f"memset({out}, 0, {rows * columns * node.dtype.itemsize});"
    elif adds or (node.dtype in _OF_BLAS and rows * columns * inner > SMALL_PRODUCT):
        who = "share, shares" if cut is None else "0, 1"
        flags = int(adds) + 2 * int(same)
        call = _blas(node.dtype, (rows, columns, inner), left, right, out, flags, who)
    else:
        call = _small(node.dtype, (rows, columns, inner), left, right, out)
    lines = [call] if call and 0 not in shape else []
    if adds:
        first = begun_together if way is Way.SHARED else begun
        return [*first(node, pointer), *lines]
    for axis in reversed(range(len(shape) - 2)):
        i, n = f"i{axis}", shape[axis]
        low, high = "0", str(n)
        if axis == cut:
            low, high = (f"SN_CUT({n}, {share}, 1)" for share in ("share", "share + 1"))
        head = f"for (int64_t {i} = {low}; {i} < {high}; ++{i}) {{"
        lines = [head, *(f"  {line}" for line in lines), "}"]
    return lines


def _shared_axis(node: Node) -> int | None:
    """The axis of a stack whose products threads share, if each is too small to be cut."""
    shape, inner = fixed(node.shape), fixed(node.inputs[0].shape)[-1]
    if shape[-1] * shape[-2] * inner >= 2 * SLAB_WORK:
        return None
    return next((axis for axis, n in enumerate(shape[:-2]) if n > 1), None)


def product_way(node: Node) -> tuple[Way, bool]:
    """How threads make a product, and whether it is worth them."""
    shape, inner = fixed(node.shape), fixed(node.inputs[0].shape)[-1]
    own = shape[-1] * shape[-2] * inner
    by_blas = isinstance(node.op, MatmulAdd) or (node.dtype in _OF_BLAS and own > SMALL_PRODUCT)
    if inner == 0 or not (by_blas or _shared_axis(node) is not None):
        return Way.FIRST, False
    return Way.SHARED, math.prod(shape) * inner >= 2 * SLAB_WORK


def begun(node: Node, pointer: Pointer) -> list[str]:
    """The statement that copies what a result begins as to where it lies, if that is not there."""
    assert node.op.begins_as is not None
    target, source = pointer(node), pointer(node.inputs[node.op.begins_as])
    return [f"memcpy({target}, {source}, {node.type.nbytes});"] if target != source else []


def product_cuts(node: Node, held: bool) -> tuple[str, str]:
    """How threads cut a product's result, and its left operand; nothing if each needs all of it."""
    if node.ndim != 2:
        return "", ""
    rows = fixed(node.shape)[0]
    if held and rows >= ROWS:
        return cut_in_rows(rows), cut_in_rows(rows)
    return f"{'panels' if held else 'slabs'} of {node.type} by {node.inputs[0].shape[-1]}", ""


def begun_together(node: Node, pointer: Pointer) -> list[str]:
    """The same by all threads, who cut the product otherwise than the copy."""
    assert node.op.begins_as is not None
    target, source = pointer(node), pointer(node.inputs[node.op.begins_as])
    return [copied_together(target, source, node), BARRIER] if target != source else []


def copied_together(target: str, source: str, node: Node) -> str:
    """The statement by which all threads copy an array."""
    _, piece = cut_of(fixed(node.shape), node.dtype.itemsize)
    return f"sn_copy(share, shares, {target}, {source}, {node.type.nbytes}, {piece});"


def held_product(
    node: Node,
    pointer: Pointer,
    in_memory: Callable[[Node], bool],
    inputs: Mapping[Node, int],
    held: Mapping[Held, int],
) -> list[str]:
    """The statements of a product in a loop whose right operand is packed; none if it is not.

    inputs: the loop's operands, and held: where behind the address `held` their panels or lines lie
    """
    if node.ndim != 2:
        return []
    (m, n), k = fixed(node.shape), fixed(node.inputs[0].shape)[-1]
    found = held_in(node, inputs)
    at = None if found is None else held.get(found.sized(m))
    lines = m < FEWEST_ROWS
    if at is None or (lines and not isinstance(node.op, Matmul)):
        return []
    packed = f"(const float *)(held + {at})"
    if not lines:
        return _held_call(node, pointer, in_memory, packed)[0]
    left = _matrix(node.inputs[0], (m, n), pointer, in_memory)
    return [_small(node.dtype, (m, n, k), left, (packed, False, n), pointer(node))]


def held_weight_product(
    node: Node, pointer: Pointer, in_memory: Callable[[Node], bool], held: str
) -> list[str]:
    """The statements of a product by a weight whose panels stay at `held`; none if of few rows."""
    if fixed(node.shape)[0] < FEWEST_ROWS:
        return []
    call, packed = _held_call(node, pointer, in_memory, "panels")
    return [
        f"float *const panels = (float *)({held});",
        "if (*(const int64_t *)weights) {",
        f"  sn_hold_f32(share, shares, {packed}, panels);",
        BARRIER,
        "}",
        *call,
    ]


def _held_call(
    node: Node, pointer: Pointer, in_memory: Callable[[Node], bool], panels: str
) -> tuple[list[str], str]:
    """The statements of a product by panels; sizes, address and steps of what is packed."""
    (m, n), k = fixed(node.shape), fixed(node.inputs[0].shape)[-1]
    left, right = (_matrix(x, (m, n), pointer, in_memory) for x in node.inputs[:2])
    (a, a_turned, lda), (b, b_turned, ldb) = left, right
    left_steps = f"1, {lda}" if a_turned else f"{lda}, 1"
    packed = f"{b}, 1, {ldb}" if b_turned else f"{b}, {ldb}, 1"
    adds = isinstance(node.op, MatmulAdd)
    first = begun_together(node, pointer) if adds else []
    call = f"sn_call_held_f32(share, shares, {m}, {n}, {k}, {a}, {left_steps}, {packed}, {panels}, "
    return [*first, f"{call}{pointer(node)}, {int(adds)});"], f"{n}, {k}, {packed}"


def _batch_place(shape: tuple[int, ...]) -> Index:
    place, stride = Index(), 1
    for axis in reversed(range(len(shape) - 2)):
        place = place + Index.of(Symbol(f"i{axis}", shape[axis])) * stride
        stride *= shape[axis]
    return place


def _matrix(
    x: Node, shape: tuple[int, ...], pointer: Pointer, in_memory: Callable[[Node], bool]
) -> tuple[str, bool, int]:
    """The address of an operand's matrix, whether it lies transposed, its leading dimension."""
    own = fixed(x.shape)
    extra = len(shape) - len(own)
    names = {f"i{k}": f"i{k + extra}" for k in range(len(own) - 2)}
    if in_memory(x):
        below, transposed, leading = x, False, own[-1]
        first, stride = Index(), own[-1] * own[-2]
        for axis in reversed(range(len(own) - 2)):
            first = first + Index.of(Symbol(f"i{axis}", own[axis])) * stride
            stride *= own[axis]
    else:
        layout = matrix_layout(x)
        assert layout is not None
        below, first, transposed, leading = layout
    renamed = Index(
        tuple((Symbol(names[s.text], s.extent), c) for s, c in first.terms), first.constant
    )
    return f"{pointer(below)} + ({renamed})", transposed, max(1, leading)


def _blas(
    dtype: DType, sizes: tuple[int, int, int], left: Any, right: Any, out: str, adds: int, who: str
) -> str:
    """Row-major c = a b is column-major c' = b' a': the operands change places."""
    m, n, k = sizes
    flags = "".join("T" if transposed else "N" for _, transposed, _ in (right, left))
    name = f"sn_call_gemm_{short_name(dtype)}"
    (a, _, lda), (b, _, ldb) = left, right
    given = f"{n}, {m}, {k}, {b}, {ldb}, {a}, {lda}"
    return f"{name}({who}, '{flags[0]}', '{flags[1]}', {given}, {out}, {adds});"


def _small(dtype: DType, sizes: tuple[int, int, int], left: Any, right: Any, out: str) -> str:
    m, n, k = sizes
    (a, at, lda), (b, bt, ldb) = left, right
    a_steps = f"1, {lda}" if at else f"{lda}, 1"
    b_steps = f"1, {ldb}" if bt else f"{ldb}, 1"
    name = f"sn_product_{short_name(dtype)}"
    return f"{name}({m}, {n}, {k}, {a}, {a_steps}, {b}, {b_steps}, {out});"
