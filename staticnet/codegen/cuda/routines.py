"""Calls of the device code's routines: scans, scatters, sorts, arg-extrema, copies, products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from staticnet.codegen.attention import ATTENTION
from staticnet.codegen.commands import Address, Argument, Number, Product
from staticnet.codegen.cuda.attention import attention_routine
from staticnet.codegen.cuda.call import Call, Locate
from staticnet.codegen.cuda.convolution import convolution_routine
from staticnet.codegen.cuda.matrices import matrix_routine
from staticnet.codegen.cuda.moments import moments_routine
from staticnet.codegen.cuda.part import MAX_BLOCKS, THREADS, ceil_div
from staticnet.codegen.cuda.pooling import pooling_routine
from staticnet.codegen.cuda.statements import PACK_BYTES
from staticnet.codegen.routines import SCANS, SCATTERS, neutral, parts_of
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import DType, short_name
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.implicit import Implicit
from staticnet.ops.library import ACTIVATIONS
from staticnet.ops.matrices import MatrixOp
from staticnet.ops.moments import ChannelOp
from staticnet.ops.scattering import Scatter
from staticnet.spatial.convolution import ConvolutionOp
from staticnet.spatial.epilogue import ConvolutionEpilogue
from staticnet.spatial.pooling import WindowOp

SCAN_LINE = 64  # elements from which a block shares the line of a scan
SHARED_ROW = 32  # elements of a row from which a block shares the row of a scatter
SCATTER_ROWS = 32  # rows of a scatter's result that one block adds to
WARP = 32
MAX_PARTS = 128  # of a concatenation that one launch copies
LONG_LINE = 2048  # elements from which a block shares the line of an arg-extremum
SCRATCH = Address("scratch", 0)  # the beginning of a call's scratch memory
_Operand = tuple[str, DType, Address, bool]


def routine(
    node: Node, locate: Locate, in_memory: Callable[[Node], bool], tf32: bool
) -> list[Call]:
    """The calls of one opaque node, in order; what they add to is in its memory already.

    tf32: whether matrix units may take float32 operands so
    """
    if node.op.name == "concat":
        return _concat(node, locate, in_memory)
    if isinstance(node.op, Implicit):
        return []  # it starts from its value
    if isinstance(node.op, MatrixOp):
        return matrix_routine(node, locate)
    if isinstance(node.op, ConvolutionOp | ConvolutionEpilogue):
        return convolution_routine(node, locate, tf32)
    if isinstance(node.op, WindowOp):
        return [pooling_routine(node, locate)]
    if isinstance(node.op, ChannelOp):
        return [moments_routine(node, locate)]
    if node.op.name in ATTENTION:
        return attention_routine(node, locate, in_memory)
    return _ROUTINES[node.op.name](node, node.op, locate)


def headers_of(node: Node) -> tuple[str, ...]:
    """The files of kernels that a routine is in, unless every program has them."""
    if isinstance(node.op, MatrixOp):
        return ("linalg.cuh",)
    if isinstance(node.op, WindowOp):
        return "windows.h", "pooling.cuh"
    if isinstance(node.op, ChannelOp):
        return ("moments.cuh",)
    if node.op.name in ATTENTION:
        return "mma.cuh", "attention.cuh"
    if isinstance(node.op, ConvolutionOp | ConvolutionEpilogue):
        return "mma.cuh", "convolution_places.cuh", "convolution.cuh"
    return ()


def starts_from(node: Node) -> Node | None:
    """The operand that a routine's result begins as a copy of."""
    return None if node.op.begins_as is None else node.inputs[node.op.begins_as]


def copy(source: Address, target: Address, nbytes: int) -> Call:
    """A copy by a kernel, which can look first whether the step has failed."""
    return Call(
        ("const unsigned char *x", "unsigned char *y", "int64_t bytes"),
        ("sn_copy(x, y, bytes);",),
        (source, target, Number(nbytes, 8)),
        _blocks(ceil_div(nbytes, 16)),
        THREADS,
    )


def product(p: Product, batch: int) -> Call:
    """A product that no library computes: of integers, or of no elements. `batch` is its number."""
    name = short_name(p.dtype)
    activation = ACTIVATIONS.index(p.epilogue.replace("_bias", "").replace("bias", "none"))
    places, rest = [0, 0, 0], batch
    for axis in reversed(range(len(p.batch))):
        rest, i = divmod(rest, p.batch[axis])
        for k, matrix in enumerate((p.left, p.right, p.result)):
            places[k] += i * matrix.strides[axis]
    addresses = [
        x.address.further(place * p.dtype.itemsize)
        for x, place in zip((p.left, p.right, p.result), places, strict=True)
    ]
    steps = [(1, x.leading) if x.transposed else (x.leading, 1) for x in (p.left, p.right)]
    sizes = [p.m, p.n, p.k, *steps[0], *steps[1]]
    bias = [("bias", p.dtype, p.bias, False)] if p.bias else []
    operands: list[_Operand] = [
        ("x", p.dtype, addresses[0], False), ("y", p.dtype, addresses[1], False), *bias,
        ("z", p.dtype, addresses[2], True),
    ]  # fmt: skip
    call = (
        f"sn_product<sn_of_{name}, {activation}>(x, y, {'bias' if p.bias else '0'}, z, "
        "m, n, k, xr, xc, yr, yc);"
    )
    numbers = dict(zip(("m", "n", "k", "xr", "xc", "yr", "yc"), sizes, strict=True))
    return _call(operands, numbers, call, _blocks(p.m * p.n))


def _blocks(threads: int) -> int:
    return max(1, min(MAX_BLOCKS, ceil_div(threads, THREADS)))


def _call(
    operands: list[_Operand], numbers: dict[str, int], body: str, blocks: int,
    may_fail: bool = False, scratch_bytes: int = 0,
) -> Call:  # fmt: skip
    """A call with pointers `name`, typed, const unless written, and 64-bit numbers."""
    parameters, arguments = [], list[Argument]()
    for name, dtype, address, written in operands:
        parameters.append(f"{'' if written else 'const '}{c_type(dtype)} *{name}")
        arguments.append(address)
    parameters += [f"int64_t {name}" for name in numbers]
    arguments += [Number(value, 8) for value in numbers.values()]
    return Call(
        tuple(parameters), (body,), tuple(arguments), blocks, THREADS, may_fail, scratch_bytes
    )


def _around(node: Node, axis: int) -> dict[str, int]:
    """Elements before, along and after an axis."""
    shape = fixed(node.shape)
    return {
        "before": math.prod(shape[:axis]), "n": shape[axis], "after": math.prod(shape[axis + 1 :])
    }  # fmt: skip


def _lines(sizes: dict[str, int]) -> int:
    return sizes["before"] * sizes["after"]


def _concat(node: Node, locate: Locate, in_memory: Callable[[Node], bool]) -> list[Call]:
    """Calls that each copy some of the parts; a thread finds its piece's part by bisection."""
    before, parts = parts_of(node, in_memory)
    size, kind = node.dtype.itemsize, c_type(node.dtype)
    row, first = sum(run for *_, run in parts), 0
    pack = _piece(node, before, parts, locate)
    piece = f"sn_pack<{kind}, {pack}>"
    calls = []
    for some in (parts[i : i + MAX_PARTS] for i in range(0, len(parts), MAX_PARTS)):
        ends = [0]
        for *_, run in some:
            ends.append(ends[-1] + run // pack)
        steps = ", ".join(str(step // pack) for _, _, step, _ in some)
        operands: list[_Operand] = [
            (f"x{k}", node.dtype, locate(x).further(place * size), False)
            for k, (x, place, _, _) in enumerate(some)
        ]
        call = _call(
            [*operands, ("y", node.dtype, locate(node).further(first * size), True)],
            {"before": before, "row": row // pack},
            f"sn_concat(part, step, end, {len(some)}, ({piece} *)y, before, row);",
            _blocks(before * ends[-1]),
        )
        tables = (
            f"__shared__ const {piece} *part[{len(some)}];",  # a thread's own would be 1 KiB each
            f"static const int64_t step[] = {{{steps}}};",
            f"static const int64_t end[] = {{{', '.join(map(str, ends))}}};",
            "if (threadIdx.x == 0) {",
            *(f"  part[{k}] = (const {piece} *)x{k};" for k in range(len(some))),
            "}",
            "__syncthreads();",
        )
        calls.append(replace(call, body=(*tables, *call.body)))
        first += ends[-1] * pack
    return calls


def _piece(
    node: Node, before: int, parts: Sequence[tuple[Node, int, int, int]], locate: Locate
) -> int:
    """How many elements a thread copies at once: 16 bytes, where all runs and places are so."""
    size = node.dtype.itemsize
    pack = PACK_BYTES // size
    steps = [step for _, _, step, _ in parts] if before > 1 else []
    whole = all(n % pack == 0 for n in (*steps, *(run for *_, run in parts)))
    places = [locate(node), *(locate(x).further(at * size) for x, at, _, _ in parts)]
    return pack if whole and all(x.is_aligned(PACK_BYTES) for x in places) else 1


def _scan(node: Node, op: Any, locate: Locate) -> list[Call]:
    (x,) = node.inputs
    sizes = _around(x, op.axis)
    name = short_name(x.dtype)
    start = neutral(op.combine, node.dtype)
    kind = f"sn_of_{name}, sn_{op.combine}<sn_of_{name}::value>"
    shared = sizes["n"] >= SCAN_LINE and _lines(sizes) < MAX_BLOCKS * THREADS
    if shared:
        body = f"sn_scan_blocks<{kind}, {THREADS}>(x, y, before, n, after, {start});"
    else:
        body = f"sn_scan_lines<{kind}>(x, y, before, n, after, {start});"
    blocks = min(MAX_BLOCKS, _lines(sizes)) if shared else _blocks(_lines(sizes))
    operands: list[_Operand] = [
        ("x", x.dtype, locate(x), False), ("y", node.dtype, locate(node), True)
    ]  # fmt: skip
    return [_call(operands, sizes, body, blocks)]


def _scatter(node: Node, op: Any, locate: Locate) -> list[Call]:
    x, _, indices = node.inputs
    sizes = _around(x, op.axis)
    count = math.prod(fixed(indices.shape))
    kind = f"sn_of_{short_name(x.dtype)}, sn_of_{short_name(indices.dtype)}"
    if sizes["after"] >= SHARED_ROW or sizes["n"] == 0:
        kind = f"{kind}, {THREADS}, {SCATTER_ROWS}"
        blocks = sizes["before"] * max(1, ceil_div(sizes["n"], SCATTER_ROWS))
        return [_scatter_call("rows", kind, node, sizes, count, min(blocks, 65535), locate)]
    blocks = _blocks(math.prod(sizes.values()))
    return [_scatter_call("elements", kind, node, sizes, count, blocks, locate)]


def _scatter_along(node: Node, op: Any, locate: Locate) -> list[Call]:
    x, _, indices = node.inputs
    sizes = _around(x, op.axis)
    count = fixed(indices.shape)[op.axis]
    name = short_name(x.dtype)
    how = f"sn_{op.combine if isinstance(op, Scatter) else 'sum'}<sn_of_{name}::value>"
    kind = f"sn_of_{name}, sn_of_{short_name(indices.dtype)}, {how}"
    return [_scatter_call("lines", kind, node, sizes, count, _blocks(_lines(sizes)), locate)]


def _scatter_call(
    how: str, kind: str, node: Node, sizes: dict[str, int], count: int, blocks: int, locate: Locate
) -> Call:
    _, updates, indices = node.inputs
    operands: list[_Operand] = [
        ("updates", updates.dtype, locate(updates), False),
        ("indices", indices.dtype, locate(indices), False),
        ("y", node.dtype, locate(node), True),
    ]
    numbers = {**sizes, "count": count}
    body = f"sn_scatter_{how}<{kind}>(updates, indices, y, {', '.join(numbers)}, error, site);"
    return _call(operands, numbers, body, max(1, blocks), may_fail=True)


def _argsort(node: Node, op: Any, locate: Locate) -> list[Call]:
    """A pass for each doubling of the runs, from one half of the scratch memory to the other.

    Of a line its beginning is the result.
    """
    (x,) = node.inputs
    sizes = _around(x, op.axis)
    nbytes = int(x.type.size) * node.dtype.itemsize
    kept = {**sizes, "count": fixed(node.shape)[op.axis]}
    halves = [Address("scratch", 0), Address("scratch", 0, nbytes)]
    blocks = _blocks(math.prod(sizes.values()))
    body = (
        f"sn_merge_pass<sn_of_{short_name(x.dtype)}>(x, from, to, before, n, after, width, "
        f"{'true' if op.descending else 'false'});"
    )
    calls, width, turn = list[Call](), 1, 0
    while width < sizes["n"]:
        operands: list[_Operand] = [
            ("x", x.dtype, locate(x), False),
            ("from", node.dtype, halves[1 - turn], False),
            ("to", node.dtype, halves[turn], True),
        ]
        calls.append(_call(operands, {**sizes, "width": width}, body, blocks, False, 2 * nbytes))
        width, turn = 2 * width, 1 - turn
    result: _Operand = ("y", node.dtype, locate(node), True)
    if calls:
        source: _Operand = ("from", node.dtype, halves[1 - turn], False)
        last = "sn_unline(from, y, before, n, after, count);"
        return [*calls, _call([source, result], kept, last, blocks, False, 2 * nbytes)]
    return [_call([result], kept, "sn_unline(0, y, before, n, after, count);", blocks)]


def _extremum(node: Node, op: Any, locate: Locate) -> list[Call]:
    (x,) = node.inputs
    sizes = _around(x, op.axis)
    greatest = "true" if op.name == "argmax" else "false"
    lanes = 1 if sizes["after"] >= WARP else THREADS if sizes["n"] >= LONG_LINE else WARP
    body = f"sn_extremum<sn_of_{short_name(x.dtype)}, {greatest}, {lanes}>(x, y, before, n, after);"
    operands: list[_Operand] = [
        ("x", x.dtype, locate(x), False), ("y", node.dtype, locate(node), True)
    ]  # fmt: skip
    return [_call(operands, sizes, body, _blocks(_lines(sizes) * lanes))]


_ROUTINES: dict[str, Callable[[Node, Any, Locate], list[Call]]] = {
    **dict.fromkeys(SCANS, _scan),
    "scatter_add": _scatter,
    "scatter_add_along_axis": _scatter_along,
    **dict.fromkeys(SCATTERS, _scatter_along),
    "argsort": _argsort,
    "top_k": _argsort,
    "argmax": _extremum,
    "argmin": _extremum,
}
