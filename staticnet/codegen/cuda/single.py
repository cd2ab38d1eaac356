"""Elements of arrays that a kernel reads at one place: it is told where they lie.

So the kernels of layers that differ in such a place alone, that of their scale among all, are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from staticnet.codegen.commands import Address
from staticnet.codegen.kernel import Kernel, Load, Loop, Statement
from staticnet.ir.index import Index


def told_where(kernel: Kernel, addresses: Sequence[Address]) -> tuple[Kernel, list[Address]]:
    """The kernel and its addresses, those that it reads one element of being the element's."""
    places: dict[str, set[Index]] = {}
    for s in _statements(kernel):
        if isinstance(s, Load):
            places.setdefault(s.buffer, set()).add(s.at)
    written = {x for p, x in zip(kernel.parameters, addresses, strict=True) if p.written}
    moved: set[str] = set()
    found = list(addresses)
    for i, p in enumerate(kernel.parameters):
        at = places.get(p.name, set())
        (place,) = at if len(at) == 1 else (Index(),)
        if place.constant and not place.terms and found[i] not in written:
            moved.add(p.name)
            found[i] = found[i].further(place.constant * p.dtype.itemsize)
    if not moved:
        return kernel, found

    def at_first(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
        return tuple(
            replace(s, at=Index()) if isinstance(s, Load) and s.buffer in moved else s
            for s in statements
        )

    loops = tuple(
        Loop(at_first(loop.before), loop.symbols, at_first(loop.body)) for loop in kernel.loops
    )
    return replace(kernel, loops=loops, after=at_first(kernel.after)), found


def _statements(kernel: Kernel) -> list[Statement]:
    inside = [s for loop in kernel.loops for s in (*loop.before, *loop.body)]
    return [*inside, *kernel.after]
