"""Calls of `kernels/attention.cuh`: attention, and its gradient by queries and by keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from staticnet.attention.gradient import AttentionGradient
from staticnet.codegen.attention import (
    Laid,
    attention_dims,
    attention_parts,
    attention_sizes,
    laid_out,
    mask_kind,
    results_laid,
)
from staticnet.codegen.commands import Address
from staticnet.codegen.cuda.call import Call, Locate
from staticnet.codegen.cuda.part import MAX_BLOCKS, THREADS, ceil_div
from staticnet.codegen.cuda.statements import PACK_BYTES
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import FLOAT32, FLOAT64, HALVES, compute_dtype, short_name
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.attention import delta_bytes
from staticnet.plan.memory import padded
from staticnet.plan.results import results_of

FEATURES = 64  # of a result that a block computes
TOGETHER = 8  # blocks of float32, which take 27 KiB of shared memory each
TOGETHER_BY_KEYS = 6  # of those by keys, which take 36 KiB
WARP = 32
DELTA = 6  # which operand of the gradient it is, or what it is made of


def attention_routine(node: Node, locate: Locate, in_memory: Callable[[Node], bool]) -> list[Call]:
    """The calls that compute an attention or its gradient."""
    n, heads, groups, queries, keys, d, e = attention_dims(node)
    laid = [laid_out(x, in_memory) for x in node.inputs]
    results = results_laid(node)
    if node.op.name == "attention":
        return [_call(node, "attention", results, laid, (n * heads, queries, e), locate)]
    by_queries, by_keys = (n * heads, queries, d), (n * groups, keys, max(d, e))
    return [
        *_delta(node, laid, locate),
        _call(node, "attention_to_queries", results[:1], laid, by_queries, locate),
        _call(node, "attention_to_keys", results[1:], laid, by_keys, locate),
    ]


def _call(
    node: Node, name: str, results: Sequence[Laid], laid: Sequence[Laid],
    task: tuple[int, int, int], locate: Locate,
) -> Call:  # fmt: skip
    """A call for tasks of (heads, rows, features); a block has a tile of rows of one head."""
    dtype = node.inputs[0].dtype
    tile = 64 if dtype in HALVES else 16 if dtype == FLOAT64 else 32
    heads, rows, width = task
    tasks = heads * ceil_div(rows, tile) * max(1, ceil_div(width, FEATURES))
    parameters = [f"const {c_type(x.dtype)} *x{i}" for i, x in enumerate(node.inputs)]
    own, mask, drops = attention_parts(node, [f"x{i}" for i in range(len(node.inputs))])
    given = [*own, *(mask or ["(const unsigned char *)0"]), f"{{{', '.join(drops)}}}"]
    parameters += [f"{c_type(y.below.dtype)} *y{i}" for i, y in enumerate(results)]
    given += [f"y{i}" for i in range(len(results))]
    read = _addresses(node, laid, locate)
    packed = str(_is_packed(node, laid, read)).lower()
    if _by_result(node):
        parameters[DELTA] = f"const {c_type(compute_dtype(dtype))} *x{DELTA}"
        read[DELTA] = _delta_address(node, locate)
    together = TOGETHER_BY_KEYS if name == "attention_to_keys" else TOGETHER
    causal = str(node.op.attributes()["causal"]).lower()
    options = f"sn_of_{short_name(dtype)}, {tile}, {causal}, {mask_kind(node)}, {int(bool(drops))}"
    return Call(
        tuple(parameters),
        (
            f"constexpr sn_attention_sizes sizes = {{{attention_sizes(node, laid)}, {packed}}};",
            f"sn_{name}<{options}>(sizes, {tasks}, block, blocks, {', '.join(given)});",
        ),
        (*read, *(locate(y.below).further(y.first * y.below.dtype.itemsize) for y in results)),
        max(1, min(MAX_BLOCKS, tasks)),
        2 * tile,
        scratch_bytes=_scratch_bytes(node, locate),
        together=together if dtype == FLOAT32 else 0,
    )


def _delta(node: Node, laid: Sequence[Laid], locate: Locate) -> list[Call]:
    """The call that makes delta of the result, where that is given."""
    if not _by_result(node):
        return []
    dtype, read = node.inputs[0].dtype, _addresses(node, laid, locate)
    n, heads, _, queries, *_ = attention_dims(node)
    cell, wide = c_type(dtype), c_type(compute_dtype(dtype))
    apart = ", ".join(map(str, laid[DELTA].steps[:3]))
    call = Call(
        (f"const {cell} *a", f"const {cell} *y", f"{wide} *delta"),
        (
            f"constexpr sn_attention_sizes sizes = {{{attention_sizes(node, laid)}, false}};",
            f"constexpr int64_t apart[3] = {{{apart}}};",
            f"sn_attention_delta<sn_of_{short_name(dtype)}>(sizes, apart, block, blocks, a, y, "
            "delta);",
        ),
        (read[3], read[DELTA], _delta_address(node, locate)),
        max(1, min(MAX_BLOCKS, ceil_div(n * heads * queries, THREADS // WARP))),
        THREADS,
    )
    return [replace(call, scratch_bytes=_scratch_bytes(node, locate))]


def _by_result(node: Node) -> bool:
    return isinstance(node.op, AttentionGradient) and node.op.given == "result"


def _addresses(node: Node, laid: Sequence[Laid], locate: Locate) -> list[Address]:
    """Where the operands begin."""
    pairs = zip(laid, node.inputs, strict=True)
    return [locate(x.below).further(x.first * of.dtype.itemsize) for x, of in pairs]


def _unread_bytes(node: Node, locate: Locate) -> int:
    """Bytes of the results that nobody reads, with which the routine's scratch memory begins."""
    unread = (y for y in results_of(node) if locate(y).kind == "scratch")
    return sum(int(padded(y.type.nbytes)) for y in unread)


def _delta_address(node: Node, locate: Locate) -> Address:
    return Address("scratch", 0, _unread_bytes(node, locate))


def _scratch_bytes(node: Node, locate: Locate) -> int:
    return _unread_bytes(node, locate) + delta_bytes(node)


def _is_packed(node: Node, laid: Sequence[Laid], addresses: Sequence[Address]) -> bool:
    """Whether all rows lie so that they can be read 16 bytes at a time."""
    rows = 3 if node.op.name == "attention" else 4
    pack = PACK_BYTES // node.inputs[0].dtype.itemsize
    widths = [fixed(x.shape)[-1] for x in node.inputs[:rows]]
    steps = [step for x in laid[:rows] for step in x.steps[:3]]
    whole = all(n % pack == 0 for n in (*widths, *steps))
    return whole and all(x.is_aligned(PACK_BYTES) for x in addresses[:rows])
