"""What the kernels of all kinds are printed with: loops, threads' parts, the innermost loop."""

from __future__ import annotations

import re

from staticnet.codegen.c_statements import clauses, statements, stored
from staticnet.codegen.kernel import Kernel, Load, Reduce, Statement, Store, fixed_in, may_fail
from staticnet.ir.index import Index, Symbol

STREAM = 256  # elements that are gathered before they go around the caches


def indent(lines: list[str]) -> list[str]:
    """The lines of a body."""
    return [f"  {line}" for line in lines]


def for_(
    variable: str, low: str | int, high: str | int, body: list[str], step: int = 1
) -> list[str]:
    """A loop from `low` to `high`."""
    advance = f"++{variable}" if step == 1 else f"{variable} += {step}"
    head = f"for (int64_t {variable} = {low}; {variable} < {high}; {advance}) {{"
    return [head, *indent(body), "}"]


def positions(symbols: tuple[Symbol, ...], flat: str) -> list[str]:
    """The loop variables of a flattened index space."""
    lines, size = [], 1
    for symbol in reversed(symbols):
        place = f"{flat} / {size}" if size > 1 else flat
        text = f"({place}) % {symbol.extent}" if symbol is not symbols[0] else place
        lines.append(f"const int64_t {symbol.text} = {text};")
        size *= symbol.extent
    return lines[::-1]


def share_of(count: int, unit: int = 1) -> list[str]:
    """The part of a thread, `begin` to `end`, which starts at a multiple of `unit`."""
    cuts = (f"SN_CUT({count}, {share}, {unit})" for share in ("share", "share + 1"))
    return ["const int64_t begin = {}, end = {};".format(*cuts)]


class Printer:
    """What prints the body of a kernel's function; each kind of kernel has its own."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.simd = not kernel.may_fail

    def lines(self) -> list[str]:
        """The body."""
        raise NotImplementedError

    def innermost(
        self, v: Symbol, low: str, high: str, body: tuple[Statement, ...],
        reduces: tuple[Reduce, ...] = (), ahead: tuple[Load, ...] = (),
    ) -> list[str]:  # fmt: skip
        """The vector loop over one axis.

        In lines where stores are streamed, which gather there first, or where loads go ahead: what
        they read of the next row is fetched. What is the same at all its points stands before it.
        """
        before, body = fixed_in(body, {v.text}) if v.extent > 1 else ((), body)
        if before:
            inside = self.innermost(v, low, high, body, reduces, ahead)
            return ["{", *indent([*statements(before), *inside]), "}"]
        simd = self.simd or not any(map(may_fail, body))
        pragma = [" ".join(["#pragma omp simd", *clauses(reduces)])] if simd else []
        streamed = [s for s in body if isinstance(s, Store) and self._streams(s, v)]
        if not streamed and not ahead:
            return [*pragma, *for_(v.text, low, high, statements(body))]
        start = f"{v.text}_line"
        texts = statements(tuple(s for s in body if s not in streamed))
        texts += [f"{s.buffer}_line[{v.text} - {start}] = {stored(s)};" for s in streamed]
        inside = [
            f"const int64_t {v.text}_end = SN_MIN({start} + {STREAM}, {high});",
            *(
                f"if (o + 1 < end) sn_prefetch({load.buffer} + "
                f"{renamed_symbol(load.at, v, start) + self._row_step(load)}, "
                f"({v.text}_end - {start}) * sizeof *{load.buffer});"
                for load in ahead
            ),
            *pragma,
            *for_(v.text, start, f"{v.text}_end", texts),
            *(
                f"sn_stream({s.buffer} + {renamed_symbol(s.at, v, start)}, {s.buffer}_line, "
                f"({v.text}_end - {start}) * sizeof *{s.buffer});"
                for s in streamed
            ),
        ]
        return for_(start, low, high, inside, STREAM)

    def _streams(self, store: Store, v: Symbol) -> bool:
        along = dict(store.at.terms).get(v) == 1
        others = (s.text for s, _ in store.at.terms if s != v)
        return along and store.buffer in self.kernel.streams and not any(
            re.search(rf"\b{v.text}\b", text) for text in others
        )  # fmt: skip

    def _row_step(self, load: Load) -> int:
        """How far from a row's element the next row's lies."""
        return dict(load.at.terms).get(self.kernel.outer[-1], 0) if self.kernel.outer else 0


def renamed_symbol(at: Index, symbol: Symbol, name: str) -> Index:
    """An index with another name for a symbol."""
    return Index(
        tuple((Symbol(name, s.extent) if s == symbol else s, c) for s, c in at.terms), at.constant
    )
