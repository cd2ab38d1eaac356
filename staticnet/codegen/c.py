"""Kernels as C functions `name(begin, end, buffers…, error)` over a range of their outer space."""

from __future__ import annotations

import numpy as np

from staticnet.codegen.kernel import At, Keep, Kernel, Let, Loop, Reduce, Statement, Store
from staticnet.codegen.scope import HALVES, c_type, literal
from staticnet.ir.dtype import DType, short_name
from staticnet.ir.index import Symbol

BLOCK = 1024  # a float sum is kept in blocks of so many, so that its error grows slowly
COLUMNS = 256  # columns that a column kernel sums at a time, in registers and level-1 cache
_CLAUSE = {"sum": "+", "prod": "*", "any": "|", "all": "&", "max": "max", "min": "min"}


def function(kernel: Kernel, name: str) -> str:
    """The C function of a kernel."""
    parameters = ["int64_t begin", "int64_t end"]
    for p in kernel.parameters:
        const = "" if p.written else "const "
        parameters.append(f"{const}{c_type(p.dtype)} *{p.name}")
    parameters += ["volatile int *error", "int site"]
    body = _columns(kernel) if kernel.kind == "columns" else _over_outer(kernel)
    return "\n".join([f"static void {name}({', '.join(parameters)}) {{", *_indent(body), "}"])


def _indent(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _positions(symbols: tuple[Symbol, ...], flat: str) -> list[str]:
    """The loop variables of a flattened index space."""
    lines, size = [], 1
    for symbol in reversed(symbols):
        place = f"{flat} / {size}" if size > 1 else flat
        text = f"({place}) % {symbol.extent}" if symbol is not symbols[0] else place
        lines.append(f"const int64_t {symbol.text} = {text};")
        size *= symbol.extent
    return lines[::-1]


def _over_outer(kernel: Kernel) -> list[str]:
    body: list[str] = []
    for name, dtype, size in kernel.keeps:
        body.append(f"{c_type(dtype)} {name}[{size}];")
    simple = len(kernel.loops) == 1 and not kernel.loops[0].symbols
    if simple and len(kernel.outer) == 1 and not kernel.after:
        statements = _statements(kernel.loops[0].body)
        i = kernel.outer[0].text
        head = f"for (int64_t {i} = begin; {i} < end; ++{i}) {{"
        simd = [] if kernel.may_fail else ["#pragma omp simd"]
        return [*simd, head, *_indent(statements), "}"]
    inside = _positions(kernel.outer, "o")
    for loop in kernel.loops:
        inside += _loop(loop, kernel)
    inside += _statements(kernel.after)
    return [*body, "for (int64_t o = begin; o < end; ++o) {", *_indent(inside), "}"]


def _loop(loop: Loop, kernel: Kernel) -> list[str]:
    lines = _statements(loop.before)
    reduces = [s for s in loop.body if isinstance(s, Reduce)]
    for r in reduces:
        lines.append(f"{c_type(r.dtype)} {r.name} = {initial(r.combine, r.dtype)};")
        if _watches_nan(r):
            lines.append(f"int {r.name}_nan = 0;")
    if not loop.symbols:
        return lines + _statements(loop.body)
    lines += _nest(loop, reduces, kernel)
    for r in reduces:
        if _watches_nan(r):
            lines.append(f"{r.name} = {r.name}_nan ? SN_NAN : {r.name};")
    return lines


def _nest(loop: Loop, reduces: list[Reduce], kernel: Kernel) -> list[str]:
    *before, last = loop.symbols
    sums = [r for r in reduces if r.combine == "sum" and r.dtype.kind == "f"]
    blocked = bool(sums) and last.extent > 2 * BLOCK
    body = _statements(loop.body, {r.name: f"{r.name}_block" for r in sums} if blocked else {})
    names = {r.name: f"{r.name}_block" if blocked and r in sums else r.name for r in reduces}
    clauses = [f"reduction({_CLAUSE[r.combine]}:{names[r.name]})" for r in reduces]
    clauses += [f"reduction(|:{r.name}_nan)" for r in reduces if _watches_nan(r)]
    pragma = [] if kernel.may_fail else [" ".join(["#pragma omp simd", *clauses])]
    v = last.text
    if blocked:
        inner = [
            f"for (int64_t {v}_0 = 0; {v}_0 < {last.extent}; {v}_0 += {BLOCK}) {{",
            f"  const int64_t {v}_1 = SN_MIN({v}_0 + {BLOCK}, {last.extent});",
            *(f"  {c_type(r.dtype)} {r.name}_block = 0;" for r in sums),
            *_indent(pragma),
            f"  for (int64_t {v} = {v}_0; {v} < {v}_1; ++{v}) {{",
            *_indent(_indent(body)),
            "  }",
            *(f"  {r.name} += {r.name}_block;" for r in sums),
            "}",
        ]
    else:
        head = f"for (int64_t {v} = 0; {v} < {last.extent}; ++{v}) {{"
        inner = [*pragma, head, *_indent(body), "}"]
    for symbol in reversed(before):
        v = symbol.text
        head = f"for (int64_t {v} = 0; {v} < {symbol.extent}; ++{v}) {{"
        inner = [head, *_indent(inner), "}"]
    return inner


def _columns(kernel: Kernel) -> list[str]:
    (loop,) = kernel.loops
    reduces = [s for s in loop.body if isinstance(s, Reduce)]
    sums = {r.name: f"{r.name}_row[c]" for r in reduces}
    position = _positions(kernel.outer, "o")
    rows = 1
    for symbol in loop.symbols:
        rows *= symbol.extent
    inner = [
        *([] if kernel.may_fail else ["#pragma omp simd"]),
        "for (int64_t c = 0; c < width; ++c) {",
        "  const int64_t o = first + c;",
        *_indent(position),
        *_indent(_statements(loop.body, sums)),
        "}",
    ]
    block: list[str] = []
    for r in reduces:
        block.append(f"{c_type(r.dtype)} {r.name}_row[{COLUMNS}] = {{0}};")
    block += [
        f"for (int64_t r = r0; r < SN_MIN(r0 + {BLOCK}, {rows}); ++r) {{",
        *_indent(_positions(loop.symbols, "r")),
        *_indent(inner),
        "}",
        *(
            f"for (int64_t c = 0; c < width; ++c) {r.name}_sum[c] += {r.name}_row[c];"
            for r in reduces
        ),
    ]
    finish = [f"const {c_type(r.dtype)} {r.name} = {r.name}_sum[c];" for r in reduces]
    return [
        f"for (int64_t first = begin; first < end; first += {COLUMNS}) {{",
        f"  const int64_t width = SN_MIN({COLUMNS}, end - first);",
        *(f"  {c_type(r.dtype)} {r.name}_sum[{COLUMNS}] = {{0}};" for r in reduces),
        f"  for (int64_t r0 = 0; r0 < {rows}; r0 += {BLOCK}) {{",
        *_indent(_indent(block)),
        "  }",
        "  for (int64_t c = 0; c < width; ++c) {",
        "    const int64_t o = first + c;",
        *_indent(_indent([*position, *finish, *_statements(kernel.after)])),
        "  }",
        "}",
    ]


def _watches_nan(r: Reduce) -> bool:
    return r.combine in ("max", "min") and r.dtype.kind == "f"


def initial(combine: str, dtype: DType) -> str:
    """What a reduction starts from."""
    if combine in ("max", "min"):
        if dtype.kind == "f":
            return "-SN_INF" if combine == "max" else "SN_INF"
        limits = np.iinfo(dtype)
        return literal(limits.min if combine == "max" else limits.max, dtype)
    return "1" if combine in ("prod", "all") else "0"


def _statements(
    statements: tuple[Statement, ...], renamed: dict[str, str] | None = None
) -> list[str]:
    return [line for s in statements for line in _statement(s, renamed or {})]


def _statement(s: Statement, renamed: dict[str, str]) -> list[str]:
    match s:
        case Let(name, dtype, text):
            return [f"const {c_type(dtype)} {name} = {text};"]
        case At(name, text):
            return [f"const int64_t {name} = {text};"]
        case Keep(name, at, _, text):
            return [f"{name}[{at}] = {text};"]
        case Store(buffer, at, dtype, text):
            if dtype in HALVES:
                text = f"sn_store_{short_name(dtype)}({text})"
            return [f"{buffer}[{at}] = {text};"]
        case Reduce():
            return _combine(s, renamed.get(s.name, s.name))


def _combine(r: Reduce, name: str) -> list[str]:
    if r.combine in ("max", "min"):
        sign = ">" if r.combine == "max" else "<"
        lines = [f"{name} = {r.text} {sign} {name} ? {r.text} : {name};"]
        return [*lines, f"{r.name}_nan |= {r.text} != {r.text};"] if _watches_nan(r) else lines
    operator = _CLAUSE[r.combine]
    return [f"{name} {operator}= {r.text};"]
