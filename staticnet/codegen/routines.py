"""Steps that are no loop nest of elements: products, scans, scatters, sorts, many parts in one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from staticnet.codegen.attention import (
    ATTENTION,
    HELPERS,
    attention_helper,
    attention_needs,
    attention_routine,
)
from staticnet.codegen.c_statements import initial
from staticnet.codegen.convolution import (
    convolution_helper,
    convolution_needs,
    convolution_routine,
)
from staticnet.codegen.lapack import matrix_helper, matrix_routine
from staticnet.codegen.moments import MOMENTS, moments_helper, moments_needs, moments_routine
from staticnet.codegen.pooling import POOLING, pooling_helper, pooling_needs, pooling_routine
from staticnet.codegen.products import begun, begun_together, matmul_routine, product_way
from staticnet.codegen.regions import LINE, PARALLEL_WORK, Way
from staticnet.codegen.resources import kernel_text
from staticnet.codegen.scope import c_type, literal, spelled
from staticnet.ir.dtype import (
    HALVES,
    DType,
    as_dtype,
    compute_dtype,
    is_floating,
    short_name,
)
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.implicit import Implicit
from staticnet.ops.indexing import ScatterAdd
from staticnet.ops.matrices import MatrixOp
from staticnet.ops.moments import ChannelOp
from staticnet.ops.scattering import Scatter, ScatterMax, ScatterMin, ScatterProd, ScatterSet
from staticnet.ops.sorting import Argsort, TopK
from staticnet.plan.layouts import part_layout
from staticnet.plan.sorting import HALVES as ROOM_HALVES
from staticnet.plan.sorting import sort_rooms
from staticnet.spatial.convolution import ConvolutionOp
from staticnet.spatial.pooling import WindowOp

SCANS = ("cumulative_sum", "cumulative_prod", "cummax", "cummin", "logcumsumexp")
SCATTERS = tuple(op.name for op in (ScatterSet, ScatterMax, ScatterMin, ScatterProd))
SCATTERED = 1 << 17  # elements that are added to others, from which two threads are faster
SORTED = 8  # times the work of looking at an element
Pointer = Callable[[Node], str]


def routine(
    node: Node, pointer: Pointer, in_memory: Callable[[Node], bool], scratch: str, held: str = ""
) -> list[str]:
    """The C statements of one opaque node; `pointer` spells a node's memory, `scratch` its own.

    `held` is what it keeps from step to step.
    """
    if node.op.name in ("matmul", "matmul_add"):
        return matmul_routine(node, pointer, in_memory)
    if node.op.name == "concat":
        return _concat(node, pointer, in_memory)
    if isinstance(node.op, Implicit):
        return begun(node, pointer)
    if isinstance(node.op, Argsort):
        return _sort(node, pointer, scratch)
    if isinstance(node.op, MatrixOp):
        return matrix_routine(node, pointer, scratch)
    if isinstance(node.op, ConvolutionOp):
        return convolution_routine(node, pointer, scratch, held)
    if isinstance(node.op, WindowOp):
        return pooling_routine(node, pointer)
    if isinstance(node.op, ChannelOp):
        return moments_routine(node, pointer)
    if node.op.name in ATTENTION:
        return attention_routine(node, pointer, in_memory, scratch)
    return _ROUTINES[node.op.name](node, node.op, pointer)


def routine_way(node: Node) -> tuple[Way, bool]:
    """How threads make a routine, and whether it is worth them; some have threads of their own."""
    if node.op.name in ("matmul", "matmul_add"):
        return product_way(node)
    if _is_cut(node):
        return Way.SHARED, node.inputs[1].type.size >= SCATTERED
    if isinstance(node.op, Argsort):
        work = int(node.inputs[0].type.size) * (1 if isinstance(node.op, TopK) else SORTED)
        return Way.SHARED, sort_rooms(node).threads > 1 and work >= PARALLEL_WORK
    alone = isinstance(node.op, Implicit) or node.op.name in _ROUTINES
    return Way.FIRST if alone else Way.APART, False


def _load(dtype: DType, text: str) -> str:
    return f"sn_load_{short_name(dtype)}({text})" if dtype in HALVES else text


def _save(dtype: DType, text: str) -> str:
    return f"sn_store_{short_name(dtype)}({text})" if dtype in HALVES else text


def _around(node: Node, axis: int) -> tuple[int, int, int]:
    """Elements before, along and after an axis."""
    shape = fixed(node.shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def parts_of(
    node: Node, in_memory: Callable[[Node], bool]
) -> tuple[int, list[tuple[Node, int, int, int]]]:
    """How a concatenation reads its parts, those without elements left out.

    -> runs of each part; and of each the node in memory, the place of its first element, the
    elements between its runs, and the elements of a run.
    """
    axis = node.op.attributes()["axis"]
    parts = []
    for x in node.inputs:
        if x.type.size == 0:
            continue
        run = math.prod(fixed(x.shape)[axis:])
        layout = (x, 0, run) if in_memory(x) else part_layout(x, axis)
        assert layout is not None
        parts.append((*layout, run))
    return math.prod(fixed(node.shape)[:axis]), parts


def _concat(node: Node, pointer: Pointer, in_memory: Callable[[Node], bool]) -> list[str]:
    before, parts = parts_of(node, in_memory)
    if not parts:
        return []
    size = node.dtype.itemsize
    runs = [run * size for *_, run in parts]
    ends = [0]
    for run in runs:
        ends.append(ends[-1] + run)
    starts = ", ".join(f"(const char *)({pointer(x)} + {first})" for x, first, _, _ in parts)
    unit = runs[0] if len(set(runs)) == 1 else 0
    return [
        f"const char *const part[] = {{{starts}}};",
        f"static const int64_t step[] = {{{', '.join(str(s * size) for _, _, s, _ in parts)}}};",
        f"static const int64_t end[] = {{{', '.join(map(str, ends))}}};",
        f"sn_concat({before}, {len(parts)}, {unit}, part, step, end, (char *){pointer(node)});",
    ]


COMBINATIONS = {
    "sum": "{0} + {1}",
    "prod": "{0} * {1}",
    "max": "maximum({0}, {1})",
    "min": "minimum({0}, {1})",
    "logaddexp": "{0} == -SN_INF ? {1} : logaddexp({0}, {1})",  # of -0.0 alone that is -0.0
}
"""How a scan combines what it has with the next element."""


def neutral(combine: str, dtype: DType) -> str:
    """What a scan starts from, which leaves the first element as it is: -0.0 + x is x, of -0.0 too.

    dtype: of the elements
    """
    if combine == "sum":
        return "-0.0" if is_floating(dtype) else "0"
    return initial("max" if combine == "logaddexp" else combine, compute_dtype(dtype))


def _scan(node: Node, op: Any, pointer: Pointer) -> list[str]:
    (x,) = node.inputs
    before, n, after = _around(x, op.axis)
    inner = c_type(compute_dtype(node.dtype))
    load = _load(node.dtype, f"{pointer(x)}[at]")
    form = spelled(COMBINATIONS[op.combine], compute_dtype(node.dtype))
    return [
        f"for (int64_t b = 0; b < {before}; ++b)",
        f"  for (int64_t a = 0; a < {after}; ++a) {{",
        f"    {inner} total = {neutral(op.combine, node.dtype)};",
        f"    for (int64_t i = 0; i < {n}; ++i) {{",
        f"      const int64_t at = (b*{n} + i)*{after} + a;",
        f"      total = {form.format('total', load)};",
        f"      {pointer(node)}[at] = {_save(node.dtype, 'total')};",
        "    }",
        "  }",
    ]


def _scatter(node: Node, op: Any, pointer: Pointer) -> list[str]:
    x, updates, indices = node.inputs
    before, n, after = _around(x, op.axis)
    count = math.prod(fixed(indices.shape))
    low, high, start = "0", str(after), begun(node, pointer)
    if _is_cut(node):
        cuts = (f"SN_CUT({after}, {share}, {LINE})" for share in ("share", "share + 1"))
        cut = "const int64_t first = {}, last = {};".format(*cuts)
        low, high, start = "first", "last", [*begun_together(node, pointer), cut]
    return [
        *start,
        f"for (int64_t b = 0; b < {before}; ++b)",
        f"  for (int64_t j = 0; j < {count}; ++j) {{",
        f"    const int64_t i = sn_index({pointer(indices)}[j], {n}, error, site);",
        f"    const int64_t to = (b*{n} + i)*{after};",
        f"    for (int64_t a = {low}; a < {high}; ++a) {{",
        f"      const int64_t from = (b*{count} + j)*{after} + a;",
        *_add(node, updates, "to + a", "from", pointer),
        "    }",
        "  }",
    ]


def _is_cut(node: Node) -> bool:
    """Whether threads cut a scatter along what lies behind its axis: rows of it are added."""
    return isinstance(node.op, ScatterAdd) and _around(node, node.op.axis)[2] >= 2 * LINE


def _scatter_along(node: Node, op: Any, pointer: Pointer) -> list[str]:
    x, updates, indices = node.inputs
    before, n, after = _around(x, op.axis)
    count = fixed(indices.shape)[op.axis]
    return [
        *begun(node, pointer),
        f"for (int64_t b = 0; b < {before}; ++b)",
        f"  for (int64_t j = 0; j < {count}; ++j)",
        f"    for (int64_t a = 0; a < {after}; ++a) {{",
        f"      const int64_t from = (b*{count} + j)*{after} + a;",
        f"      const int64_t i = sn_index({pointer(indices)}[from], {n}, error, site);",
        *_combined(op, node, updates, f"(b*{n} + i)*{after} + a", pointer),
        "    }",
    ]


def _combined(op: Any, node: Node, updates: Node, to: str, pointer: Pointer) -> list[str]:
    """What a scatter does with one element, which lies at `from`."""
    if not isinstance(op, Scatter):
        return _add(node, updates, to, "from", pointer)
    update = f"{pointer(updates)}[from]"
    if op.combine != "set":
        form = spelled(COMBINATIONS[op.combine], node.dtype)
        update = form.format(f"{pointer(node)}[{to}]", update)
    return [f"      {pointer(node)}[{to}] = {update};"]


def _add(node: Node, updates: Node, to: str, source: str, pointer: Pointer) -> list[str]:
    return [f"      {pointer(node)}[{to}] += {pointer(updates)}[{source}];"]


def _sort(node: Node, pointer: Pointer, scratch: str) -> list[str]:
    """Rows are sorted by as many threads as have a room in `scratch`."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Argsort), op
    before, n, after = _around(x, op.axis)
    count, rooms = fixed(node.shape)[op.axis], sort_rooms(node)
    if node.type.size == 0:
        return []
    rows = before * after
    room = f"(sn_sorted *)({scratch}) + share*{ROOM_HALVES * rooms.elements}"
    given = [
        n, count, f"{pointer(x)} + b*{n * after} + a", f"{pointer(node)} + b*{count * after} + a",
        after, int(op.descending), room, rooms.elements,
    ]  # fmt: skip
    return [
        f"const int64_t cut = SN_MIN(shares, {rooms.threads});",
        f"for (int64_t r = {rows}*share/cut; share < cut && r < {rows}*(share + 1)/cut; ++r) {{",
        f"  const int64_t b = r/{after}, a = r%{after};",
        f"  sn_first_{short_name(x.dtype)}({', '.join(map(str, given))});",
        "}",
    ]


def _extremum(node: Node, op: Any, pointer: Pointer) -> list[str]:
    (x,) = node.inputs
    before, n, after = _around(x, op.axis)
    sign = ">" if op.name == "argmax" else "<"
    inner = c_type(compute_dtype(x.dtype))
    load = _load(x.dtype, f"{pointer(x)}[(b*{n} + i)*{after} + a]")
    first = load.replace("+ i)", "+ 0)")
    return [
        f"for (int64_t b = 0; b < {before}; ++b)",
        f"  for (int64_t a = 0; a < {after}; ++a) {{",
        f"    {inner} best = {first};",
        "    int64_t place = 0;",
        f"    for (int64_t i = 1; i < {n}; ++i) {{",
        f"      const {inner} value = {load};",
        f"      if (best == best && (value {sign} best || value != value)) {{",
        "        best = value;",
        "        place = i;",
        "      }",
        "    }",
        f"    {pointer(node)}[b*{after} + a] = place;",
        "  }",
    ]


_ROUTINES: dict[str, Callable[[Node, Any, Pointer], list[str]]] = {
    **dict.fromkeys(SCANS, _scan),
    "scatter_add": _scatter,
    "scatter_add_along_axis": _scatter_along,
    **dict.fromkeys(SCATTERS, _scatter_along),
    "argmax": _extremum,
    "argmin": _extremum,
}


def needs(node: Node) -> tuple[str, ...]:
    """The helpers that a routine's C calls and the prelude must define, in order."""
    if isinstance(node.op, Argsort):
        return (f"sort {short_name(node.inputs[0].dtype)}",)
    if node.op.name == "matmul":
        return (f"product {short_name(node.dtype)}",)
    if isinstance(node.op, MatrixOp):
        return (f"lapack {short_name(node.inputs[0].dtype)}",)
    if isinstance(node.op, ConvolutionOp):
        return convolution_needs(node)
    if isinstance(node.op, WindowOp):
        return pooling_needs(node)
    if isinstance(node.op, ChannelOp):
        return moments_needs(node)
    if node.op.name in ATTENTION:
        return attention_needs(node)
    return ("concat",) if node.op.name == "concat" else ()


def _sort_helper(name: str) -> str:
    """The C that sorts a dtype: its numbers in order are unsigned ones of as many bytes."""
    dtype = as_dtype(name)
    bytes_ = compute_dtype(dtype).itemsize
    if dtype in HALVES:
        order = f"#define sn_order_{name}(x) sn_order_f32(sn_load_{name}(x))"
    elif dtype.kind == "f":
        order = ""
    else:
        least = np.iinfo(dtype).min if dtype.kind == "i" else 0
        order = f"#define sn_order_{name}(x) ((uint64_t)(x) - (uint64_t){literal(least, dtype)})"
    sort = f"SN_FIRST(sn_first_{name}, {c_type(dtype)}, sn_order_{name}, uint{8 * bytes_}_t)"
    return "\n".join([order, sort]) if order else sort


def helper(need: str) -> str:
    """The C that defines a helper."""
    if need in ("concat", "convolution_sizes", "tiles"):
        return kernel_text(f"{need}.h")
    kind, _, name = need.partition(" ")
    if kind in POOLING:
        return pooling_helper(need)
    if kind in MOMENTS:
        return moments_helper(need)
    if kind == "lapack":
        return matrix_helper(name)
    if kind == "convolution":
        return convolution_helper(name)
    if kind in HELPERS:
        return attention_helper(need)
    dtype = as_dtype(name)
    if kind == "sort":
        return _sort_helper(name)
    product, kind = f"sn_product_{name}", c_type(dtype)
    if dtype not in HALVES:
        return f"SN_PRODUCT_IN_VECTORS({product}, {kind})"
    inner = c_type(compute_dtype(dtype))
    return f"SN_PRODUCT({product}, {kind}, {inner}, sn_load_{name}, sn_store_{name})"
