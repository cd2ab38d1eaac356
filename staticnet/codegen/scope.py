"""Expressions: the elements of nodes at indices, as statements of a loop's body."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from staticnet.codegen.kernel import At, Let, Load, Statement
from staticnet.codegen.ranges import never_positive
from staticnet.errors import CompileError
from staticnet.ir.dim import size_of
from staticnet.ir.dtype import (
    FLOAT16,
    FLOAT32,
    FLOAT64,
    HALVES,
    DType,
    compute_dtype,
    is_floating,
    short_name,
)
from staticnet.ir.index import Index, Symbol, linear
from staticnet.ir.node import Node
from staticnet.ir.types import fixed
from staticnet.ops.base import Constant, Elementwise, Size
from staticnet.ops.creation import Iota
from staticnet.ops.indexing import Take, TakeAlongAxis
from staticnet.ops.movement import Concat, Pad
from staticnet.ops.random import RandomBits
from staticnet.ops.selection import Cast
from staticnet.ops.transcendental import Exp
from staticnet.plan.roles import Role, operand_index, role

At_ = tuple[Index, ...]
_REAL = re.compile(r"(?<![\w.])(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?(?![\w.])")
_CALL = re.compile(r"\b([a-z_][a-z_0-9]*)\(")


def literal(value: Any, dtype: DType) -> str:
    """A number as C spells it, to the bit."""
    if dtype.kind == "b":
        return "1" if value else "0"
    if dtype.kind in "iu":
        number = int(value)
        if number == -(2**63):
            return "(-9223372036854775807LL-1)"
        suffix = "" if dtype.itemsize < 8 else "ULL" if dtype.kind == "u" else "LL"
        return f"({number}{suffix})" if number < 0 else f"{number}{suffix}"
    real = float(value)
    if np.isnan(real):
        return "SN_NAN"
    if np.isinf(real):
        return "SN_INF" if real > 0 else "(-SN_INF)"
    text = repr(real) if dtype == FLOAT64 else f"{np.float32(real)!s}f"
    return f"({text})" if text.startswith("-") else text


class Scope:
    """A sequence of statements and the values they name. A row's scope is its loops' parent."""

    def __init__(
        self, load: Callable[[Node], str], inside: Callable[[Node], bool], prefix: str,
        parent: Scope | None = None,
    ) -> None:  # fmt: skip
        self.statements: list[Statement] = []
        self.may_fail = False
        self._load = load
        self._inside = inside
        self._prefix = prefix
        self._parent = parent
        self._known: dict[tuple[Node, At_], str] = {}
        self._fixed: dict[Node, str] = {}

    def define(self, node: Node, text: str) -> None:
        """From here on `node` is `text`, at whatever index: a row value or a reduction's result."""
        self._fixed[node] = text

    def know(self, node: Node, index: At_, text: str) -> None:
        """From here on the element of `node` at this index is `text`; others are not."""
        self._known[node, index] = text

    def value(self, node: Node, index: At_) -> str:
        """The text of a node's element; statements that it needs are added."""
        known = self._find(node, index)
        if known is not None:
            return known
        text = self._make(node, index)
        self._known[node, index] = text
        return text

    def _find(self, node: Node, index: At_) -> str | None:
        found = self._fixed.get(node) or self._known.get((node, index))
        if found is None and self._parent is not None:
            return self._parent._find(node, index)
        return found

    def _make(self, node: Node, index: At_) -> str:
        if 0 in fixed(node.shape):
            return literal(0, node.dtype)  # an array without elements: no loop comes here
        kind = role(node)
        if kind is Role.INLINE:
            return self._inline(node, index)
        if kind is Role.VIEW:
            (operand,) = node.inputs
            return self.value(operand, node.op.source(index, fixed(operand.shape)))
        return self._compute(node, index) if self._inside(node) else self._read(node, index)

    def _inline(self, node: Node, index: At_) -> str:
        op = node.op
        if isinstance(op, Constant):
            return literal(op.value.scalar, op.value.type.dtype)
        if isinstance(op, Size):
            return literal(size_of(op.shape), node.dtype)
        assert isinstance(op, Iota)
        return self.let(node.dtype, f"({index[op.axis]})")

    def _read(self, node: Node, index: At_) -> str:
        place = linear(index, fixed(node.shape))
        name = self._name()
        self.statements.append(Load(name, self._load(node), place, node.dtype))
        return name

    def let(self, dtype: DType, text: str) -> str:
        """A new name for an expression."""
        if dtype in HALVES:
            text = f"sn_round_{short_name(dtype)}({text})"
        name = self._name()
        self.statements.append(Let(name, compute_dtype(dtype), text))
        return name

    def _name(self) -> str:
        return f"{self._prefix}{len(self.statements)}"

    def at(self, text: str, extent: int) -> Index:
        """A computed index with values in [0, extent)."""
        name = self._name()
        self.statements.append(At(name, text))
        return Index.of(Symbol(name, extent)) if extent > 1 else Index()

    def _compute(self, node: Node, index: At_) -> str:
        op = node.op
        if isinstance(op, Elementwise):
            operands = [self.value(x, operand_index(index, x)) for x in node.inputs]
            return self.let(node.dtype, scalar_text(node, operands))
        if isinstance(op, Pad):
            return self._pad(node, op, index)
        if isinstance(op, Concat):
            return self._concat(node, op, index)
        if isinstance(op, Take | TakeAlongAxis):
            return self._take(node, op, index)
        assert isinstance(op, RandomBits), op.name
        drawn = len(node.shape) - len(op.shape)  # the axes before are the keys'
        key, counter = (self.value(x, operand_index(index[:drawn], x)) for x in node.inputs)
        place = linear(index[drawn:], fixed(op.shape))
        return self.let(node.dtype, f"sn_philox4x32({key}, {counter}, (uint64_t)({place}))")

    def _pad(self, node: Node, op: Pad, index: At_) -> str:
        x, value = node.inputs
        shape = fixed(x.shape)
        filler = self.value(value, ())
        if 0 in shape:
            return filler
        inside, at = [], []
        for position, low, n, gap in zip(index, fixed(op.low), shape, op.interior, strict=True):
            place = position + -low
            step = gap + 1
            if place.least < 0:
                inside.append(f"{place} >= 0")
            if place.greatest > (n - 1) * step:
                inside.append(f"{place} <= {(n - 1) * step}")
            if step > 1:
                inside.append(f"({place}) % {step} == 0")
            clamped = f"sn_clamp({place}, 0, {(n - 1) * step})"
            exact = place.least >= 0 and place.greatest <= (n - 1) * step and step == 1
            at.append(
                place if exact else self.at(f"{clamped} / {step}" if step > 1 else clamped, n)
            )
        element = self.value(x, tuple(at))
        if not inside:
            return element
        return self.let(node.dtype, f"({' && '.join(inside)}) ? {element} : {filler}")

    def _concat(self, node: Node, op: Concat, index: At_) -> str:
        place = index[op.axis]
        text = ""
        start = 0
        parts = [x for x in node.inputs if 0 not in fixed(x.shape)]
        for number, x in enumerate(parts, 1):
            n = fixed(x.shape)[op.axis]
            local = place + -start
            if local.least < 0 or local.greatest >= n:
                local = self.at(f"sn_clamp({local}, 0, {n - 1})", n)
            element = self.value(x, (*index[: op.axis], local, *index[op.axis + 1 :]))
            start += n
            text += f"({place}) < {start} ? {element} : " if number < len(parts) else element
        return self.let(node.dtype, text)

    def _take(self, node: Node, op: Take | TakeAlongAxis, index: At_) -> str:
        x, indices = node.inputs
        n = fixed(x.shape)[op.axis]
        if isinstance(op, Take):
            end = op.axis + indices.ndim
            chosen = self.value(indices, index[op.axis : end])
        else:
            end = op.axis + 1
            chosen = self.value(indices, index)
        self.may_fail = True
        at = self.at(f"sn_index({chosen}, {n}, error, site)", n)
        return self.value(x, (*index[: op.axis], at, *index[end:]))


def spelled(form: str, dtype: DType) -> str:
    """A scalar form with the functions and numbers of a dtype."""
    text = _CALL.sub(lambda call: f"sn_{call[1]}_{short_name(dtype)}(", form)
    return _REAL.sub(r"\g<0>f", text) if dtype == FLOAT32 else text


def scalar_text(node: Node, operands: list[str]) -> str:
    """An elementwise op's C expression on operands."""
    op = node.op
    assert isinstance(op, Elementwise)
    own = node.inputs[op.same_dtype][0].dtype
    inner = compute_dtype(own)
    if isinstance(op, Cast):
        return _cast(operands[0], inner, node.dtype)
    if isinstance(op, Exp) and inner == FLOAT32 and never_positive(node.inputs[0]):
        return f"sn_exp_nonpositive_f32({operands[0]})"
    text = spelled(op.scalar, inner if op.widens else own)
    try:
        text = text.format(*operands, **{k: _attribute(v) for k, v in op.attributes().items()})
    except (LookupError, ValueError) as error:  # of a user's class
        raise CompileError(
            f"{op.name}: its scalar form {op.scalar!r:.60} does not fit {len(operands)} operands: "
            f"{type(error).__name__}: {error} (declared on {op.where})"
        ) from error
    if inner.kind == "b" and op.name == "bitwise_invert":
        return f"!{operands[0]}"
    return text


def _attribute(value: Any) -> Any:
    """A negative number has a sign of its own, whatever is before it; a bool is 0 or 1."""
    value = int(value) if isinstance(value, bool) else value
    return f"({value})" if isinstance(value, int) and value < 0 else value


def _cast(operand: str, source: DType, target: DType) -> str:
    if target.kind == "b":
        return f"{operand} != 0"
    if target.kind in "iu" and is_floating(source):
        return f"sn_to_{short_name(target)}_{short_name(source)}({operand})"
    if target == FLOAT16 and source == FLOAT64:
        return f"sn_odd_f32({operand})"
    if source.kind == "b" and is_floating(target):
        return f"{operand} ? 1.0f : 0.0f"  # gcc 12 does not vectorise a loop with a cast of a bool
    return f"({c_type(compute_dtype(target))}){operand}"


C_TYPES = {
    "bool": "uint8_t",
    "i8": "int8_t",
    "i16": "int16_t",
    "i32": "int32_t",
    "i64": "int64_t",
    "u8": "uint8_t",
    "u16": "uint16_t",
    "u32": "uint32_t",
    "u64": "uint64_t",
    "f16": "uint16_t",
    "bf16": "uint16_t",
    "f32": "float",
    "f64": "double",
}


def c_type(dtype: DType) -> str:
    """The C type that holds an element in memory; a 16-bit float is its bits."""
    return C_TYPES[short_name(dtype)]
