"""How a kernel is called: the types of its indices, its parameters, and what they are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from staticnet.codegen.commands import Address, Argument, Number
from staticnet.codegen.cuda.call import Call
from staticnet.codegen.cuda.part import Part
from staticnet.codegen.cuda.routines import SCRATCH
from staticnet.codegen.cuda.statements import PACK_BYTES, Writer
from staticnet.codegen.kernel import Kernel
from staticnet.codegen.scope import c_type
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.plan.fusion import Group

LARGEST_NARROW = 1 << 30  # elements; more are told by 64-bit indices


def writer_of(
    group: Group, kernel: Kernel, buffers: Sequence[Node], addresses: Sequence[Address]
) -> Writer:
    """What writes a kernel's statements: its indices' type, and which buffers it may not pack."""
    triples = list(zip(kernel.parameters, buffers, addresses, strict=True))
    empty = frozenset(p.name for p, node, _ in triples if node.type.size == 0)
    single = frozenset(p.name for p, _, at in triples if not at.is_aligned(PACK_BYTES))
    return Writer(_index_type(group), empty, single)


def _index_type(group: Group) -> str:
    """C's type of indices into all that a group reads and makes, and into views on the way."""
    nodes = {x for node in group.nodes for x in (node, *node.inputs)}
    largest = max(int(x.type.size) for node in nodes for x in _views(node))
    points = 1
    for n in fixed(group.domain):
        points *= n
    return "int" if max(largest, points) < LARGEST_NARROW else "int64_t"


def _views(node: Node) -> Iterator[Node]:
    """A node, what it is a view of, and so on to what lies in memory."""
    yield node
    while node.op.moves:
        (node,) = node.inputs
        yield node


def call_of(
    kernel: Kernel, part: Part, writer: Writer, addresses: Sequence[Address], nbytes: int = 0
) -> Call:
    """The call of a kernel's part. A buffer whose memory no other has is `__restrict__`."""
    written = {a for p, a in zip(kernel.parameters, addresses, strict=True) if p.written}
    parameters, arguments = [], list[Argument](addresses)
    for p, address in zip(kernel.parameters, addresses, strict=True):
        alone = p.written or address not in written
        alone = alone and addresses.count(address) == 1 if p.written else alone
        const = "" if p.written else "const "
        restrict = "__restrict__ " if alone else ""
        parameters.append(f"{const}{c_type(p.dtype)} *{restrict}{p.name}")
    if part.scratch:
        parameters.append("char *scratch")
        arguments.append(SCRATCH)
    if part.n is not None:
        parameters.append(f"{writer.index} n")
        arguments.append(Number(part.n, 4 if writer.index == "int" else 8))
    return Call(
        tuple(parameters), part.body, tuple(arguments), part.blocks, part.threads,
        kernel.may_fail, nbytes if part.scratch else 0, part.together, part.points,
    )  # fmt: skip
