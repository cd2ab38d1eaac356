"""Statements that call `kernels/attention.h`: attention by blocks, and its gradient."""

from __future__ import annotations

from collections.abc import Callable

from staticnet.codegen.resources import kernel_text
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import BOOL, HALVES, as_dtype, compute_dtype, short_name
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.attention import attention_rooms
from staticnet.plan.results import results_of

Pointer = Callable[[Node], str]
ATTENTION = {"attention": 4, "attention_gradient": 7}
"""The ops, and how many operands they have before the mask."""


def attention_routine(node: Node, pointer: Pointer, scratch: str) -> list[str]:
    """The C statements of an attention or its gradient, which works in `scratch`."""
    own = ATTENTION[node.op.name]
    name, mask = short_name(node.inputs[0].dtype), node.inputs[own:]
    sizes = ", ".join(map(str, attention_sizes(node)))
    steps = ", ".join(map(str, mask_steps(node)))
    causal = int(node.op.attributes()["causal"])
    operands = [pointer(x) for x in node.inputs[:own]]
    at = pointer(mask[0]) if mask else "0"
    given = ", ".join(["&sizes", *operands, at, *map(pointer, results_of(node)), scratch])
    rooms = attention_rooms(node)
    return [
        f"const sn_attention_sizes_{name} sizes = {{{sizes}, {{{steps}}}, {causal}, "
        f"{mask_kind(node)}, {rooms.threads}, {rooms.room}}};",
        f"sn_{node.op.name}_{name}({given});",
    ]


def attention_sizes(node: Node) -> list[int]:
    """Batch, heads of queries and of keys, queries, keys, features of keys and of values."""
    q, k, v = (fixed(x.shape) for x in node.inputs[:3])
    return [q[0], q[1], k[1], q[2], k[2], q[3], v[3]]


def mask_steps(node: Node) -> list[int]:
    """Elements between neighbours of the mask along its axes, 0 along one that is broadcast."""
    steps, step = [0, 0, 0, 0], 1
    for x in node.inputs[ATTENTION[node.op.name] :]:
        for axis, dim in reversed(list(enumerate(fixed(x.shape)))):
            steps[axis] = step if dim > 1 else 0
            step *= dim
    return steps


def mask_kind(node: Node) -> int:
    """0: there is no mask, 1: a bool one, 2: one of the operands' dtype, 3: one of the sums'."""
    for x in node.inputs[ATTENTION[node.op.name] :]:
        return 1 if x.dtype == BOOL else 2 if x.dtype == node.inputs[0].dtype else 3
    return 0


def attention_helper(name: str) -> str:
    """The C that defines the routines for a dtype."""
    dtype = as_dtype(name)
    wide = compute_dtype(dtype)
    real, half = short_name(wide), dtype in HALVES
    weight = "sn_exp_nonpositive_f32" if real == "f32" else "sn_exp_f64"
    head = [
        f"typedef {c_type(dtype)} sn_cell_{name};",
        f"typedef {c_type(wide)} sn_real_{name};",
        f"#define SN_HALF_{name} {int(half)}",
        f"#define sn_get_{name}(x) {f'sn_load_{name}(x)' if half else '(x)'}",
        f"#define sn_put_{name}(x) {f'sn_store_{name}(x)' if half else '(x)'}",
        f"#define sn_weight_{name}(x) {weight}(x)",
    ]
    text = kernel_text("attention.h").replace("sn_log_f32", f"sn_log_{real}")
    if name != "f32":
        text = text.replace("_f32", f"_{name}").replace(f"sn_log_{name}", f"sn_log_{real}")
    return "\n".join([*head, text])
