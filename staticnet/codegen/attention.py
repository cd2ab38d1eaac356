"""Statements that call `kernels/attention.h`: attention by blocks, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.layout import heads_first, widths
from staticnet.attention.op import Attention
from staticnet.attention.operands import split_operands
from staticnet.codegen.resources import kernel_text
from staticnet.codegen.scope import c_type
from staticnet.errors import CompileError
from staticnet.ir.dtype import BOOL, HALVES, as_dtype, compute_dtype, short_name
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.attention import attention_rooms
from staticnet.plan.layouts import strided_layout
from staticnet.plan.results import results_of

Pointer = Callable[[Node], str]
ATTENTION = frozenset({"attention", "attention_gradient"})
HELPERS = ("masks", "drops", "few", "attention")
"""The helpers of this file, in order: parts, and the routines that have them."""
FEW = 4  # queries that are computed one by one, as a decoder has them


class Laid(NamedTuple):
    """The node whose memory holds an operand, its first element's place, and its axes' steps."""

    below: Node
    first: int
    steps: tuple[int, ...]


def attention_routine(
    node: Node, pointer: Pointer, in_memory: Callable[[Node], bool], scratch: str
) -> list[str]:
    """The C statements of an attention or its gradient, which works in `scratch`."""
    if node.op.attributes().get("given") == "result":
        raise CompileError(
            f"{node.op.name}: on the CPU it is given delta ({node.provenance}); leave the pass "
            "cudnn in, which has it so"
        )
    name = short_name(node.inputs[0].dtype)
    laid = [laid_out(x, in_memory) for x in node.inputs]
    own, mask, drops = attention_parts(node, [f"{pointer(x.below)} + {x.first}" for x in laid])
    made = [f"{pointer(x.below)} + {x.first}" for x in results_laid(node)]
    rest = [*(mask or ["0"]), *(drops or ["0"] * 3), *made, scratch]
    given = ", ".join(["&sizes", *own, *rest])
    rooms = attention_rooms(node)
    return [
        f"const sn_attention_sizes_{name} sizes = {{{attention_sizes(node, laid)}, "
        f"{int(node.op.attributes()['causal'])}, {mask_kind(node)}, {rooms.threads}, "
        f"{rooms.room}}};",
        f"sn_{node.op.name}_{name}({given});",
    ]


def attention_parts(node: Node, operands: Sequence[Any]) -> tuple[Any, Any, Any]:
    """What stands for the operands: those there always are, the mask, and what names a dropout."""
    op = node.op
    assert isinstance(op, Attention | AttentionGradient), op
    return split_operands(op, operands)


def laid_out(x: Node, in_memory: Callable[[Node], bool]) -> Laid:
    """How an operand lies: in memory of its own, or as a view that is read where it lies."""
    if in_memory(x):
        return Laid(x, 0, _steps(fixed(x.shape)))
    layout = strided_layout(x)
    assert layout is not None, x
    return Laid(*layout)


def results_laid(node: Node) -> list[Laid]:
    """How the results lie: y and l, or dq, dk and dv, with the steps of batches, heads and rows."""
    op, results = node.op, results_of(node)
    if isinstance(op, Attention):
        y, lse = results
        return [Laid(y, 0, _with_heads(y, op.layout)), Laid(lse, 0, _steps(fixed(lse.shape)))]
    assert isinstance(op, AttentionGradient), op
    laid = [Laid(x, 0, _with_heads(x, op.layout)) for x in results[: 3 - op.joined]]
    own = [fixed(x.shape) for x in node.inputs[:3]]
    (whole, *_), first = results[::-1], 0
    for shape, width in zip(own[3 - op.joined :], widths(op, own), strict=False):
        _, rows, row = fixed(whole.shape)
        steps = heads_first(op.layout, (rows * row, row, shape[3], 1))
        laid.append(Laid(whole, first, _only(shape, steps)))
        first += width
    return laid


def _with_heads(x: Node, layout: str) -> tuple[int, ...]:
    """The steps of an array of four axes as if heads came before tokens."""
    return heads_first(layout, _steps(fixed(x.shape)))


def attention_dims(node: Node) -> list[int]:
    """Batch, heads of queries and of keys, queries, keys, features of keys and of values."""
    q, k, v = (fixed(x.shape) for x in node.inputs[:3])
    return [q[0], q[1], k[1], q[2], k[2], q[3], v[3]]


def attention_sizes(node: Node, laid: Sequence[Laid]) -> str:
    """What `sn_attention_sizes` begins with: dims, and steps of the mask and of all rows.

    The rows are those of q, k, v, of y or its cotangent, and of dq, dk and dv.
    """
    masks = [x.steps for x in attention_parts(node, laid)[1]] or [(0,) * 4]
    made = [x.steps[:3] for x in results_laid(node)]
    if node.op.name == "attention":
        rows, made = [*(x.steps[:3] for x in laid[:3]), made[0]], [(0,) * 3] * 3
    else:
        rows = [x.steps[:3] for x in laid[:4]]
    steps = [_braced(masks[0]), _braced(map(_braced, rows)), _braced(map(_braced, made))]
    return ", ".join([*map(str, attention_dims(node)), *steps])


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements between neighbours along each axis, 0 along one of a single element."""
    steps, step = [0] * len(shape), 1
    for axis, dim in reversed(list(enumerate(shape))):
        steps[axis] = step
        step *= dim
    return _only(shape, steps)


def _only(shape: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    """Steps, 0 along an axis of a single element."""
    return tuple(step if dim > 1 else 0 for dim, step in zip(shape, steps, strict=True))


def _braced(parts: Iterable[Any]) -> str:
    return f"{{{', '.join(map(str, parts))}}}"


def mask_kind(node: Node) -> int:
    """0: there is no mask, 1: a bool one, 2: one of the operands' dtype, 3: one of the sums'."""
    for x in attention_parts(node, node.inputs)[1]:
        return 1 if x.dtype == BOOL else 2 if x.dtype == node.inputs[0].dtype else 3
    return 0


def attention_needs(node: Node) -> tuple[str, ...]:
    """The helpers that such a node calls: the routines, and what those are not compiled without."""
    name = short_name(node.inputs[0].dtype)
    _, mask, drops = attention_parts(node, node.inputs)
    few = node.op.name == "attention" and fixed(node.inputs[0].shape)[2] <= FEW
    parts = {"masks": mask, "drops": drops, "few": few}
    return "tiles", *(f"{part} {name}" for part in parts if parts[part]), f"attention {name}"


def attention_helper(need: str) -> str:
    """The C that defines the routines for a dtype, after that of the parts which they have."""
    part, _, name = need.partition(" ")
    if part != "attention":
        return f"#define SN_{part.upper()}_{name} {FEW if part == 'few' else 1}"
    dtype = as_dtype(name)
    wide = compute_dtype(dtype)
    real, half = short_name(wide), dtype in HALVES
    weight = "sn_exp_nonpositive_f32" if real == "f32" else "sn_exp_f64"
    absent = [f"SN_{part.upper()}_{name}" for part in HELPERS[:-1]]
    head = [
        *(f"#ifndef {part}\n#define {part} 0\n#endif" for part in absent),
        f"typedef {c_type(dtype)} sn_cell_{name};",
        f"typedef {c_type(wide)} sn_real_{name};",
        f"#define SN_HALF_{name} {int(half)}",
        f"#define sn_get_{name}(x) {f'sn_load_{name}(x)' if half else '(x)'}",
        f"#define sn_put_{name}(x) {f'sn_store_{name}(x)' if half else '(x)'}",
        f"#define sn_weight_{name}(x) {weight}(x)",
    ]
    text = kernel_text("attention_dropout.h", "attention.h").replace("_f32", f"_{name}")
    for of_sums in ("sn_log", "SN_MIXED"):
        text = text.replace(f"{of_sums}_{name}", f"{of_sums}_{real}")
    return "\n".join([*head, text])
