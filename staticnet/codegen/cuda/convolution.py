"""Calls of the device code's convolution and its gradients."""

from __future__ import annotations

from itertools import chain

from staticnet.codegen.convolution import sizes_of
from staticnet.codegen.cuda.call import Call, Locate
from staticnet.codegen.cuda.part import MAX_BLOCKS, THREADS, ceil_div
from staticnet.codegen.launches import Number
from staticnet.codegen.scope import c_type
from staticnet.ir.dtype import short_name
from staticnet.ir.node import Node


def convolution_routine(node: Node, locate: Locate) -> Call:
    """The call that computes a node of `kernels/convolution.cuh`."""
    sizes = sizes_of(node)
    names = [name if len(values) == 1 else f"{name}{i}" for name, values in sizes.items()
             for i in range(len(values))]  # fmt: skip
    numbers = list(chain.from_iterable(sizes.values()))
    kind = c_type(node.dtype)
    return Call(
        (f"const {kind} *a", f"const {kind} *b", f"{kind} *z", *(f"int64_t {n}" for n in names)),
        (
            f"const sn_convolution_sizes sizes = {{{', '.join(names)}}};",
            f"sn_{node.op.name}<sn_of_{short_name(node.dtype)}>(sizes, a, b, z);",
        ),
        (*map(locate, (*node.inputs, node)), *(Number(value, 8) for value in numbers)),
        max(1, min(MAX_BLOCKS, ceil_div(int(node.type.size), THREADS))),
        THREADS,
    )
