"""Calls of the device code's convolution and its gradients: which tiles, how many, what sums.

What follows a convolution is computed where its sums are stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from staticnet.codegen.commands import Address, Argument, Number
from staticnet.codegen.convolution import sizes_of
from staticnet.codegen.cuda.call import Call, Locate
from staticnet.codegen.cuda.part import MAX_BLOCKS, THREADS, ceil_div
from staticnet.codegen.scope import c_type
from staticnet.ir.dim import size_of
from staticnet.ir.dtype import FLOAT32, HALVES, compute_dtype, short_name
from staticnet.ir.node import Node, build
from staticnet.ir.types import fixed
from staticnet.plan.memory import padded
from staticnet.spatial.epilogue import ConvolutionEpilogue

NARROW = 8  # rows or columns of a group below which tiles would be mostly empty
PACK_BYTES = 16
ENOUGH_BLOCKS = 264  # two for each multiprocessor of an H100
LEAST_TILES = 8  # of the depth that a block sums
MOST_PARTIAL = 32 << 20  # bytes of partial sums
READERS = 8  # tiles of rows that read each weight: from so many on channels are put side by side
TURNING = ("convolution", "convolution_input")  # which read weights
SCRATCH = Address("scratch", 0)
_FORMS = {
    "convolution": "sn_forward",
    "convolution_input": "sn_input",
    "convolution_weight": "sn_weight",
}


@dataclass(frozen=True)
class _Method:
    """How a block multiplies tiles, as `kernels/convolution.cuh` has it."""

    text: str
    rows: int
    columns: int
    depth: int
    threads: int


@dataclass(frozen=True)
class _Problem:
    """A node as a product: its sizes in a group and phase, at most, and how operands are read.

    `reading`: for each operand whether neighbours are along the depth, and how many lie in a pack.
    """

    sizes: dict[str, tuple[int, ...]]
    groups: int
    phases: int
    rows: int
    columns: int
    depth: int
    reading: tuple[tuple[bool, int], tuple[bool, int]]


@dataclass(frozen=True)
class _After:
    """What follows a sum, as `sn_after` of `kernels/convolution.cuh` is told."""

    parameters: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    lines: tuple[str, ...] = ()

    def given(self, call: str) -> str:
        """The call of a routine, which takes it last."""
        return f"{call[:-2]}, after);" if self.lines else call

    def on(self, call: Call) -> Call:
        """A call with what it needs."""
        return replace(
            call, parameters=(*call.parameters, *self.parameters),
            body=(*self.lines, *call.body), arguments=(*call.arguments, *self.arguments),
        )  # fmt: skip


def core_of(node: Node) -> Node:
    """The convolution that an epilogue follows; of any other node itself."""
    op = node.op
    return build(op.core, node.inputs[:2]) if isinstance(op, ConvolutionEpilogue) else node


def convolution_routine(node: Node, locate: Locate, tf32: bool) -> list[Call]:
    """The calls that compute a node of `kernels/convolution.cuh`."""
    core, after = core_of(node), _after(node, locate)
    a, b = core.inputs[::-1] if core.op.name == "convolution_weight" else core.inputs
    addresses = (locate(a), locate(b), locate(node))
    problem = _problem(core, sizes_of(core), addresses)
    if min(problem.rows, problem.columns) < NARROW:
        return [_each(core, problem, addresses, after)]
    method = _method(core, problem, tf32)
    if not _turns(core, problem, method):
        return _tiled(core, problem, addresses, method, after)
    sizes, room = _turned(problem.sizes), int(partial_bytes(node))
    place = SCRATCH.further(room - int(padded(b.type.nbytes)))
    to = (addresses[0], place, addresses[2])
    turn = _turn(problem.sizes, b, addresses[1], place)
    calls = [turn, *_tiled(core, _problem(core, sizes, to), to, method, after)]
    return [replace(call, scratch_bytes=room) for call in calls]


def _after(node: Node, locate: Locate) -> _After:
    op = node.op
    if not isinstance(op, ConvolutionEpilogue):
        return _After()
    parts = op.parts(node.inputs)
    kinds = {name: f"const {c_type(x.dtype)} *" for name, x in parts.items()}
    if "mask" in parts:
        kinds["mask"] = "const unsigned char *"
    shape = fixed(node.shape)
    axis = op.axis(len(shape))
    names = ("scale", "shift", "beside")
    how = sum(1 << i for i, name in enumerate(names) if name in parts)
    how += {"none": 0, "relu": 8, "mask": 16, "gate": 32}[op.activation]
    of_channels = [parts[name] for name in names[:2] if name in parts] or [node]
    made = f"sn_after<{', '.join(f'sn_of_{short_name(x.dtype)}' for x in (node, *of_channels[:1]))}"
    members = [name if name in parts else "0" for name in (*names, "mask", "gate")]
    by_channel = bool(how & 3)  # else the text is that of all sizes
    members += [str(math.prod(shape[axis + 1 :])), "channels"] if by_channel else ["1", "1"]
    return _After(
        (*(f"{kinds[name]}{name}" for name in parts), *["int64_t channels"] * by_channel),
        (*(locate(x) for x in parts.values()), *[Number(shape[axis], 8)] * by_channel),
        (f"const {made}, {how}> after = {{{', '.join(members)}}};",),
    )


def may_be_apart(node: Node) -> bool:
    """Whether a convolution may be stored before what follows it: not as a half that is scaled."""
    return not (node.dtype in HALVES and node.op.attributes()["scaled"])


def finish_routine(node: Node, locate: Locate) -> Call:
    """The call that makes of a convolution, where it lies, what it is with what follows it.

    It has been rounded once by then, and is once more.
    """
    elements = int(node.type.size)
    body = f"sn_finish<sn_of_{short_name(node.dtype)}>(z, elements, after);"
    blocks = max(1, min(MAX_BLOCKS, ceil_div(elements, THREADS)))
    call = Call(
        (f"{c_type(node.dtype)} *z", "int64_t elements"), (body,),
        (locate(node), Number(elements, 8)), blocks, THREADS,
    )  # fmt: skip
    return _after(node, locate).on(call)


def _turns(node: Node, problem: _Problem, method: _Method) -> bool:
    """Whether weights are made anew, with their channels side by side: read in packs, and often.

    What they are multiplied with has its channels last, and a kernel of more than an element.
    """
    sizes, pack = problem.sizes, PACK_BYTES // node.dtype.itemsize
    last = sizes["x"][1] == sizes["y"][1] == 1
    often = _tiles(problem, method)[0] >= READERS
    reads = node.op.name in TURNING
    return reads and last and often and sizes["w"][1] > 1 and sizes["inputs"][0] % pack == 0


def _turned(sizes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The sizes with the steps of weights whose channels lie side by side."""
    (inputs,), (_, second, third) = sizes["inputs"], sizes["k"]
    steps = inputs * math.prod(sizes["k"]), 1, second * third * inputs, third * inputs, inputs
    return {**sizes, "w": steps}


def _turn(
    sizes: dict[str, tuple[int, ...]], weight: Node, source: Address, target: Address
) -> Call:
    """The call that writes weights [o, i, k] as [o, k, i]."""
    kind, (inputs,), places = c_type(weight.dtype), sizes["inputs"], math.prod(sizes["k"])
    elements = int(weight.type.size) // places
    return Call(
        (f"const {kind} *w", f"{kind} *turned", "int64_t elements", "int64_t inputs",
         "int64_t places"),
        ("sn_turn_weights(w, turned, elements, inputs, places);",),
        (source, target, Number(elements, 8), Number(inputs, 8), Number(places, 8)),
        max(1, min(MAX_BLOCKS, ceil_div(elements, THREADS))), THREADS,
    )  # fmt: skip


def partial_bytes(node: Node, size: Callable[[Any], int] = int) -> int:
    """Bytes that a convolution works in, whether or not matrix units take float32.

    They are partial sums, and behind them weights made anew; `size` gives a dim's.
    """
    elements = math.prod(map(size, node.shape))
    node = core_of(node)
    problem = _problem(node, sizes_of(node, size), (SCRATCH,) * 3) if elements else None
    if problem is None or min(problem.rows, problem.columns) < NARROW:
        return 0
    nbytes = elements * compute_dtype(node.dtype).itemsize
    methods = [_method(node, problem, tf32) for tf32 in (False, True)]
    most = max(_parts(problem, method, nbytes) for method in methods)
    partial = most * nbytes if most > 1 else 0
    if not any(_turns(node, problem, method) for method in methods):
        return partial
    weights = math.prod(map(size, node.inputs[1].shape)) * node.dtype.itemsize
    return int(padded(partial) + padded(weights))


def most_partial_bytes(node: Node) -> Any:
    """A bound of `partial_bytes` where dims are symbolic."""
    core = core_of(node)
    reads = core.op.name in TURNING
    weight = padded(size_of(core.inputs[1].shape) * node.dtype.itemsize) if reads else 0
    return MOST_PARTIAL + weight


def _problem(
    node: Node, sizes: dict[str, tuple[int, ...]], addresses: Sequence[Address]
) -> _Problem:
    (n,), (groups,), (outputs,), (inputs,) = (
        sizes[k] for k in ("n", "groups", "outputs", "inputs")
    )
    kernel, places = math.prod(sizes["k"]), n * math.prod(sizes["t"])
    last = sizes["x"][1] == sizes["y"][1] == 1
    pack = PACK_BYTES // node.dtype.itemsize

    def packed(count: int, address: Address, of_weight: bool = False) -> int:
        beside = last and (not of_weight or sizes["w"][1] == 1)
        return pack if beside and count % pack == 0 and address.is_aligned(PACK_BYTES) else 1

    a, b = addresses[:2]
    if node.op.name == "convolution":
        shape = 1, places, outputs, inputs * kernel
        deep = last and inputs % pack == 0  # few channels are read along places
        reading = (deep, packed(inputs, a)), (True, packed(inputs, b, of_weight=True))
    elif node.op.name == "convolution_input":
        within = (ceil_div(s, step) for s, step in zip(sizes["s"], sizes["stride"], strict=True))
        met = (ceil_div(k, step) for k, step in zip(sizes["k"], sizes["stride"], strict=True))
        depth = outputs * math.prod(met)
        shape = math.prod(sizes["stride"]), n * math.prod(within), inputs, depth
        deep = last and outputs % pack == 0
        reading = (deep, packed(outputs, a)), (False, packed(inputs, b, of_weight=True))
    else:
        shape = 1, outputs, inputs * kernel, places
        reading = (not last, packed(outputs, a)), (not last, packed(inputs, b))
    return _Problem(sizes, groups, *shape, reading)


def _method(node: Node, problem: _Problem, tf32: bool) -> _Method:
    """16-bit floats go to the matrix units, and float32 if TF32 is asked for."""
    name = short_name(node.dtype)
    if node.dtype not in HALVES and not (tf32 and node.dtype == FLOAT32):
        return _Method(f"sn_by_threads<sn_of_{name}>", 64, 64, 16, 256)
    depth = 64 // node.dtype.itemsize
    large = _Method(f"sn_by_units<sn_of_{name}, 128, 128, 64, 32>", 128, 128, depth, 256)
    if _tiles(problem, large)[2] >= ENOUGH_BLOCKS // 2 and min(problem.rows, problem.columns) > 64:
        return large
    return _Method(f"sn_by_units<sn_of_{name}, 64, 64, 32, 32>", 64, 64, depth, 128)


def _tiles(problem: _Problem, method: _Method) -> tuple[int, int, int]:
    """Tiles of rows, of columns, and of the whole result."""
    rows = max(1, ceil_div(problem.rows, method.rows))
    columns = ceil_div(problem.columns, method.columns)
    return rows, columns, problem.groups * problem.phases * rows * columns


def _parts(problem: _Problem, method: _Method, nbytes: int) -> int:
    """How many parts of the depth are summed by themselves, for a result of so many bytes."""
    blocks = _tiles(problem, method)[2]
    wanted = ceil_div(ENOUGH_BLOCKS, blocks)
    deep = ceil_div(problem.depth, method.depth * LEAST_TILES)
    return max(1, min(wanted, deep, MOST_PARTIAL // nbytes))


def _tiled(
    node: Node, problem: _Problem, addresses: Sequence[Address], method: _Method, after: _After
) -> list[Call]:
    """A block a tile and, where those would be few, a part of its depth; then parts are summed."""
    rows, columns, blocks = _tiles(problem, method)
    elements = int(node.type.size)
    wide = compute_dtype(node.dtype)
    nbytes = elements * wide.itemsize
    parts = _parts(problem, method, nbytes)
    reading = ", ".join(f"{str(deep).lower()}, {pack}" for deep, pack in problem.reading)
    form = f"sn_of_{short_name(node.dtype)}, {_FORMS[node.op.name]}, {method.text}, {reading}"
    counts = {
        "phases": problem.phases, "row_tiles": rows, "column_tiles": columns, "parts": parts,
        "elements": elements,
    }  # fmt: skip
    partial = "partial" if parts > 1 else "0"
    body = f"sn_convolve<{form}>(sizes, a, b, z, {partial}, {', '.join(counts)});"
    if parts == 1:
        body = after.given(body)
    call = _call(node, problem, addresses, counts, body, blocks * parts, method.threads)
    call = replace(call, together=_together(node, problem, method))
    if parts == 1:
        return [after.on(call)]
    kind = c_type(wide)
    call = Call(
        (f"{kind} *partial", *call.parameters), call.body, (SCRATCH, *call.arguments), call.blocks,
        call.threads, False, parts * nbytes,
    )  # fmt: skip
    body = f"sn_sum_parts<sn_of_{short_name(node.dtype)}>(partial, z, parts, elements);"
    total = Call(
        (f"const {kind} *partial", f"{c_type(node.dtype)} *z", "int64_t parts",
         "int64_t elements"),
        (after.given(body),),
        (SCRATCH, addresses[2], Number(parts, 8), Number(elements, 8)),
        max(1, min(MAX_BLOCKS, ceil_div(elements, THREADS))), THREADS, False, parts * nbytes,
    )  # fmt: skip
    return [call, after.on(total)]


def _together(node: Node, problem: _Problem, method: _Method) -> int:
    """How many blocks a multiprocessor has at once, or 0 for what the compiler expects.

    Two large tiles find registers where both operands are read in packs, but for a gradient. Of
    small ones that are not, to have one more of its own accord the compiler may spill.
    """
    if "units" not in method.text:
        return 0
    packed = min(pack for _, pack in problem.reading) > 1
    if method.threads == THREADS:
        return 2 if packed and node.op.name == "convolution" else 0
    return 0 if packed else 2


def _each(node: Node, problem: _Problem, addresses: Sequence[Address], after: _After) -> Call:
    """An element of the result a thread, a warp or a block, whose sum is as long."""
    elements = int(node.type.size)
    lanes = 1
    if problem.depth >= 64 and elements < MAX_BLOCKS * THREADS:
        lanes = 32 if problem.depth < THREADS * 8 else THREADS
    form = f"sn_of_{short_name(node.dtype)}, {_FORMS[node.op.name]}, {lanes}"
    counts = {"phases": problem.phases, "rows": problem.rows}
    body = f"sn_convolve_each<{form}>(sizes, a, b, z, {', '.join(counts)});"
    blocks = min(MAX_BLOCKS, ceil_div(elements * lanes, THREADS))
    call = _call(node, problem, addresses, counts, after.given(body), blocks, THREADS)
    return after.on(call)


def _call(
    node: Node, problem: _Problem, addresses: Sequence[Address], counts: dict[str, int], body: str,
    blocks: int, threads: int,
) -> Call:  # fmt: skip
    """A call with pointers a, b, z, the members of `sizes`, and counts."""
    members = [
        name if len(values) == 1 else f"{name}{i}"
        for name, values in problem.sizes.items()
        for i in range(len(values))
    ]
    kind = c_type(node.dtype)
    numbers = chain(chain.from_iterable(problem.sizes.values()), counts.values())
    arguments: list[Argument] = [*addresses, *(Number(value, 8) for value in numbers)]
    return Call(
        (
            f"const {kind} *a", f"const {kind} *b", f"{kind} *z",
            *(f"int64_t {name}" for name in (*members, *counts)),
        ),
        (f"const sn_convolution_sizes sizes = {{{', '.join(members)}}};", body),
        tuple(arguments), max(1, blocks), threads,
    )  # fmt: skip
