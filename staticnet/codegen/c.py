"""Kernels as C functions `name(share, shares, buffers…, scratch, error, site)`.

`shares` threads call a kernel, each with its number `share`. It takes its part of the outer space;
where threads share a reduction, they meet at a barrier between the blocks and their combination.
The order of a float sum depends on the shapes that it sums over, and on nothing else.
"""

from __future__ import annotations

from staticnet.codegen.c_columns import Columns
from staticnet.codegen.c_loops import STREAM, Printer, indent
from staticnet.codegen.c_maps import Maps
from staticnet.codegen.c_rows import Rows
from staticnet.codegen.kernel import Kernel
from staticnet.codegen.scope import c_type

_PRINTERS: dict[str, type[Printer]] = {"map": Maps, "rows": Rows, "columns": Columns}


def function(kernel: Kernel, name: str, inline: bool = False) -> str:
    """The C function of a kernel; with `inline` a part of what calls it."""
    parameters = ["int64_t share", "int64_t shares"]
    for p in kernel.parameters:
        const = "" if p.written else "const "
        parameters.append(f"{const}{c_type(p.dtype)} *{p.name}")
    if kernel.blocks:
        parameters.append("char *scratch")
    parameters += ["volatile int *error", "int site"]
    streams = [p for p in kernel.parameters if p.name in kernel.streams]
    body = [
        *(f"{c_type(p.dtype)} {p.name}_line[{STREAM}] SN_ALIGNED;" for p in streams),
        *_PRINTERS[kernel.kind](kernel).lines(),
        *(["SN_FENCE"] if streams else []),
    ]
    head = "SN_SMALL" if inline else "SN_KERNEL"
    return "\n".join([f"{head} void {name}({', '.join(parameters)}) {{", *indent(body), "}"])
