"""`sn.custom_jvp`: a function with a forward-mode rule of its own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from staticnet.control.call import CallOp, CustomJvp, Derivative
from staticnet.control.custom import Custom, Function, Signature, as_told
from staticnet.control.eager import Pull, transposed
from staticnet.control.trace import leaves_of
from staticnet.errors import ArgumentError, GradientError
from staticnet.ir.dtype import is_floating
from staticnet.ir.location import current, written_at
from staticnet.ir.tree import Tree
from staticnet.ir.types import TensorType
from staticnet.ops.creation import zeros_like


class custom_jvp(Custom):
    """A function with a forward-mode rule of its own, as JAX's.

        @sn.custom_jvp
        def f(x, y): return sn.sin(x) * y

        @f.defjvp
        def f_jvp(primals, tangents):
            (x, y), (dx, dy) = primals, tangents
            return f(x, y), sn.cos(x) * dx * y + sn.sin(x) * dy

    The tangent must be linear in the tangents: it is transposed for reverse mode. Arguments at
    `nondiff_argnums` are no values, and come first in the rule.

    Raises:
        ArgumentError: if f is no function, or nondiff_argnums are no positions.
    """

    kind = "custom_jvp"
    define = "f.defjvp(rule)"

    def __init__(self, f: Function, nondiff_argnums: int | Sequence[int] = ()) -> None:
        super().__init__(f, nondiff_argnums)
        self.jvp: Function | None = None

    def defjvp(self, rule: Function) -> Function:
        """rule(primals, tangents) -> (result, its tangent); -> the rule

        Raises:
            ArgumentError: if it is no function.
        """
        if not callable(rule):
            raise ArgumentError(f"{self.what}: the rule must be a function, not {rule!r:.60}")
        self.jvp = rule
        return rule

    def defjvps(self, *rules: Function | None) -> None:
        """For each argument rule(tangent, result, *primals) -> its part of the tangent, or None.

        Raises:
            ArgumentError: if one is no function, or some arguments are not differentiated.
        """
        if self.nondiff:
            raise ArgumentError(f"{self.what}: defjvps does not take nondiff_argnums; use defjvp")
        for rule in rules:
            if rule is not None and not callable(rule):
                raise ArgumentError(f"{self.what}: a rule must be a function, not {rule!r:.60}")

        def together(primals: Any, tangents: Any) -> Any:
            y = self(*primals)
            own = leaves_of(self.what, y)
            if len(rules) != len(primals):
                raise ArgumentError(
                    f"{self.what}: defjvps has {len(rules)} rules for {len(primals)} arguments; "
                    f"give one for each, or None ({current()})"
                )
            parts = []
            for i, (rule, t) in enumerate(zip(rules, tangents, strict=True)):
                if rule is not None:
                    made = self.call_rule(f"rule {i}", rule, t, y, *primals)
                    as_told(f"{self.what}: rule {i} ({written_at(rule)})", made, *own)
                    parts.append(made)
            return y, functools.reduce(_plus, parts) if parts else zeros_like(y)

        self.jvp = together

    @property
    def functions(self) -> tuple[Function | None, ...]:
        """The rule of tangents."""
        return (self.jvp,)

    def pull(self, rule: Pull) -> Pull:
        """The rule of tangents, transposed."""
        return transposed(rule)

    def op(self, body: Any, rule: Derivative, arguments: int) -> CallOp:
        """y = body(x) with this rule."""
        return CustomJvp(body, rule, arguments)

    def rule(self, signature: Signature, tree: Tree, types: Sequence[TensorType]) -> Pull:
        """From operands and their tangents those of the results."""
        jvp, what = self.jvp, self.what
        assert jvp is not None

        def push(operands: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
            pairs = zip(operands, tangents, strict=True)
            moved = [zeros_like(x) if t is None else t for x, t in pairs]
            primals, given = signature.moving(operands), signature.moving(moved)
            made = self.call_rule("rule", jvp, *signature.before, primals, given)
            if not (isinstance(made, tuple | list) and len(made) == 2):
                raise GradientError(
                    f"{what}: its rule ({written_at(jvp)}) must give (result, tangent), not "
                    f"{made!r:.60} ({current()})"
                )
            said = f"{what}: its rule ({written_at(jvp)})"
            as_told(f"{said}'s result", made[0], types, tree)
            leaves = as_told(f"{said}'s tangent", made[1], types, tree)
            return [t if is_floating(t.dtype) else None for t in leaves]

        return push


def _plus(x: Any, y: Any) -> Any:
    return x + y
