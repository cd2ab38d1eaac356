"""Statements of a kernel as lines of C, and how reductions start, combine and end."""

from __future__ import annotations

import numpy as np

from staticnet.codegen.kernel import At, Keep, Let, Load, Loop, Reduce, Statement, Store
from staticnet.codegen.scope import c_type, literal
from staticnet.ir.dtype import HALVES, DType, compute_dtype, short_name
from staticnet.plan.partials import SLOT

_CLAUSE = {"sum": "+", "prod": "*", "any": "|", "all": "&", "max": "max", "min": "min"}


def combined(r: Reduce, target: str, text: str) -> str:
    """A statement that combines a value into `target`; of extrema, NaN stays."""
    if r.combine not in ("max", "min"):
        return f"{target} {_CLAUSE[r.combine]}= {text};"
    if r.dtype.kind == "f":
        return f"{target} = sn_{r.combine}imum_{short_name(r.dtype)}({target}, {text});"
    return f"{target} = {text} {'>' if r.combine == 'max' else '<'} {target} ? {text} : {target};"


def reduces_of(loop: Loop) -> tuple[Reduce, ...]:
    """The reductions of a loop."""
    return tuple(s for s in loop.body if isinstance(s, Reduce))


def starts(reduces: tuple[Reduce, ...]) -> list[str]:
    """Declarations of accumulators."""
    return [f"{c_type(r.dtype)} {r.name} = {initial(r.combine, r.dtype)};" for r in reduces]


def is_gathered(r: Reduce) -> bool:
    """Whether the order of a reduction's elements shows in its bits: of floats it does."""
    return r.dtype.kind == "f"


def clauses(reduces: tuple[Reduce, ...]) -> list[str]:
    """The reduction clauses of a vector loop."""
    return [f"reduction({_CLAUSE[r.combine]}:{r.name})" for r in reduces]


def room(r: Reduce, slot: int) -> str:
    """The scratch memory of a reduction's partial results."""
    return f"(({c_type(r.dtype)} *)(scratch + {slot * SLOT}))"


def initial(combine: str, dtype: DType) -> str:
    """What a reduction starts from."""
    if combine in ("max", "min"):
        if dtype.kind == "f":
            return "-SN_INF" if combine == "max" else "SN_INF"
        limits = np.iinfo(dtype)
        return literal(limits.min if combine == "max" else limits.max, dtype)
    return "1" if combine in ("prod", "all") else "0"


def statements(statements: tuple[Statement, ...]) -> list[str]:
    """Statements in order."""
    return [line for s in statements for line in statement(s)]


def statement(s: Statement) -> list[str]:
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
            return [combined(s, s.name, s.text)]


def loaded(s: Load) -> str:
    """An element in the dtype that the kernel computes in."""
    element = f"{s.buffer}[{s.at}]"
    return f"sn_load_{short_name(s.dtype)}({element})" if s.dtype in HALVES else element


def stored(s: Store) -> str:
    """A value as it lies in memory."""
    return f"sn_store_{short_name(s.dtype)}({s.text})" if s.dtype in HALVES else s.text
