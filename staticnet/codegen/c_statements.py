"""Statements of a kernel as lines of C, and how reductions start, combine and end."""

from __future__ import annotations

import numpy as np

from staticnet.codegen.kernel import At, Keep, Let, Load, Loop, Reduce, Statement, Store
from staticnet.codegen.scope import HALVES, c_type, compute_dtype, literal
from staticnet.ir.dtype import DType, short_name

_CLAUSE = {"sum": "+", "prod": "*", "any": "|", "all": "&", "max": "max", "min": "min"}


def combined(r: Reduce, target: str, text: str) -> str:
    """A statement that combines a value into `target`; of extrema, NaN stays."""
    if r.combine in ("max", "min"):
        sign = ">" if r.combine == "max" else "<"
        return f"{target} = ({text} {sign} {target}) | ({text} != {text}) ? {text} : {target};"
    return f"{target} {_CLAUSE[r.combine]}= {text};"


def reduces_of(loop: Loop) -> tuple[Reduce, ...]:
    """The reductions of a loop."""
    return tuple(s for s in loop.body if isinstance(s, Reduce))


def starts(reduces: tuple[Reduce, ...]) -> list[str]:
    """Declarations of accumulators."""
    lines = []
    for r in reduces:
        lines.append(f"{c_type(r.dtype)} {r.name} = {initial(r.combine, r.dtype)};")
        if watches_nan(r):
            lines.append(f"int {r.name}_nan = 0;")
    return lines


def nan_ends(reduces: tuple[Reduce, ...]) -> list[str]:
    """An extremum of values among which there was NaN is NaN."""
    return [f"{r.name} = {r.name}_nan ? SN_NAN : {r.name};" for r in reduces if watches_nan(r)]


def clauses(reduces: tuple[Reduce, ...], renamed: dict[str, str] | None) -> list[str]:
    """The reduction clauses of a vector loop."""
    names = renamed or {}
    clauses = [f"reduction({_CLAUSE[r.combine]}:{names.get(r.name, r.name)})" for r in reduces]
    return clauses + [f"reduction(|:{r.name}_nan)" for r in reduces if watches_nan(r)]


def watches_nan(r: Reduce) -> bool:
    """Whether a reduction needs that flag."""
    return r.combine in ("max", "min") and r.dtype.kind == "f"


def initial(combine: str, dtype: DType) -> str:
    """What a reduction starts from."""
    if combine in ("max", "min"):
        if dtype.kind == "f":
            return "-SN_INF" if combine == "max" else "SN_INF"
        limits = np.iinfo(dtype)
        return literal(limits.min if combine == "max" else limits.max, dtype)
    return "1" if combine in ("prod", "all") else "0"


def statements(
    statements: tuple[Statement, ...], renamed: dict[str, str] | None = None
) -> list[str]:
    """Statements in order; `renamed` says what accumulators are called here."""
    return [line for s in statements for line in statement(s, renamed or {})]


def statement(s: Statement, renamed: dict[str, str]) -> list[str]:
    """The lines of one statement."""
    match s:
        case Let(name, dtype, text):
            return [f"const {c_type(dtype)} {name} = {text};"]
        case Load(name, _, _, dtype):
            return [f"const {c_type(compute_dtype(dtype))} {name} = {loaded(s)};"]
        case At(name, text):
            return [f"const int64_t {name} = {text};"]
        case Keep(name, at, _, text):
            return [f"{name}[{at}] = {text};"]
        case Store(buffer, at, _, _):
            return [f"{buffer}[{at}] = {stored(s)};"]
        case Reduce():
            return accumulate(s, renamed.get(s.name, s.name))


def loaded(s: Load) -> str:
    """An element in the dtype that the kernel computes in."""
    element = f"{s.buffer}[{s.at}]"
    return f"sn_load_{short_name(s.dtype)}({element})" if s.dtype in HALVES else element


def stored(s: Store) -> str:
    """A value as it lies in memory."""
    return f"sn_store_{short_name(s.dtype)}({s.text})" if s.dtype in HALVES else s.text


def accumulate(r: Reduce, name: str) -> list[str]:
    """A value combined into an accumulator; beside an extremum a flag notes NaN."""
    if r.combine in ("max", "min"):
        sign = ">" if r.combine == "max" else "<"
        lines = [f"{name} = {r.text} {sign} {name} ? {r.text} : {name};"]
        return [*lines, f"{r.name}_nan |= {r.text} != {r.text};"] if watches_nan(r) else lines
    operator = _CLAUSE[r.combine]
    return [f"{name} {operator}= {r.text};"]
