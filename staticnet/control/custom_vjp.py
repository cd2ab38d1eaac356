"""`sn.custom_vjp`: a function with reverse-mode rules of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticnet.control.call import CallOp, CustomVjp, Derivative
from staticnet.control.custom import Custom, Function, Signature, as_told
from staticnet.control.eager import Pull
from staticnet.errors import ArgumentError, GradientError, StaticnetError
from staticnet.ir.dtype import is_floating
from staticnet.ir.location import current, written_at
from staticnet.ir.tree import Tree, spread_prefix
from staticnet.ir.types import TensorType
from staticnet.ops.base import as_value
from staticnet.ops.creation import zeros_like
from staticnet.ops.selection import astype


class custom_vjp(Custom):
    """A function with reverse-mode rules of its own, as JAX's.

        @sn.custom_vjp
        def f(x, y): return sn.sin(x) * y

        f.defvjp(lambda x, y: (f(x, y), (sn.cos(x), sn.sin(x), y)),   # fwd: result, residuals
                 lambda res, g: (res[0] * g * res[2], res[1] * g))    # bwd: a cotangent an argument

    Arguments and results are trees. Those at `nondiff_argnums` are no values: fwd takes them where
    f does, bwd before the residuals. A cotangent of None is zero. It is differentiated as often as
    fwd and bwd can be, and forward too: bwd, which is linear, is transposed.

    Raises:
        ArgumentError: if f is no function, or nondiff_argnums are no positions.
    """

    kind = "custom_vjp"
    define = "f.defvjp(fwd, bwd)"

    def __init__(self, f: Function, nondiff_argnums: int | Sequence[int] = ()) -> None:
        super().__init__(f, nondiff_argnums)
        self.fwd: Function | None = None
        self.bwd: Function | None = None

    def defvjp(self, fwd: Function, bwd: Function) -> None:
        """fwd(*args) -> (result, residuals) and bwd(residuals, g) -> a cotangent an argument.

        Raises:
            ArgumentError: if one is no function.
        """
        for name, f in (("fwd", fwd), ("bwd", bwd)):
            if not callable(f):
                raise ArgumentError(f"{self.what}: {name} must be a function, not {f!r:.60}")
        self.fwd, self.bwd = fwd, bwd

    @property
    def functions(self) -> tuple[Function | None, ...]:
        """fwd and bwd."""
        return self.fwd, self.bwd

    def pull(self, rule: Pull) -> Pull:
        """The rule itself."""
        return rule

    def op(self, body: Any, rule: Derivative, arguments: int) -> CallOp:
        """y = body(x) with this rule."""
        return CustomVjp(body, rule, arguments)

    def rule(self, signature: Signature, tree: Tree, types: Sequence[TensorType]) -> Pull:
        """From operands and cotangents the products, by fwd and bwd."""
        fwd, bwd, what = self.fwd, self.bwd, self.what
        assert fwd is not None
        assert bwd is not None

        def pull(operands: Sequence[Any], gs: Sequence[Any]) -> list[Any]:
            made = self.call_rule("fwd", fwd, *signature.arguments(operands))
            if not (isinstance(made, tuple | list) and len(made) == 2):
                raise GradientError(
                    f"{what}: fwd ({written_at(fwd)}) must give (result, residuals), not "
                    f"{made!r:.60} ({current()})"
                )
            leaves = as_told(f"{what}: fwd ({written_at(fwd)})", made[0], types, tree)
            pairs = zip(leaves, gs, strict=True)
            cotangent = tree.unflatten([zeros_like(y) if g is None else g for y, g in pairs])
            given = self.call_rule("bwd", bwd, *signature.before, made[1], cotangent)
            return _products(f"{what}: bwd ({written_at(bwd)})", given, signature, operands)

        return pull


def _products(what: str, given: Any, signature: Signature, operands: Sequence[Any]) -> list[Any]:
    """A product or None for each operand, from a bwd's cotangents of the arguments.

    Raises:
        GradientError: if they do not fit the arguments.
    """
    trees = signature.trees
    if given is None and trees:
        raise GradientError(
            f"{what} gives None ({current()}); return a cotangent for each argument, and (None,) "
            "for zero"
        )
    listed = list(given) if isinstance(given, tuple | list) else [given]
    if len(listed) != len(trees):
        raise GradientError(
            f"{what} gives {len(listed)} cotangents for {len(trees)} arguments ({current()}); give "
            "a tuple with one for each, or None"
        )
    leaves = [
        leaf for tree, x in zip(trees, listed, strict=True) for leaf in _leaves(what, tree, x)
    ]
    found: list[Any] = []
    for i, (leaf, x) in enumerate(zip(leaves, operands, strict=True)):
        if leaf is None or not is_floating(x.dtype):
            found.append(None)
            continue
        wanted = TensorType(x.dtype, x.shape)
        try:
            value = as_value(leaf)
        except StaticnetError:
            raise GradientError(
                f"{what} gives {leaf!r:.60} as cotangent {i} of {wanted} ({current()})"
            ) from None
        if value.shape != x.shape or not is_floating(value.dtype):
            own = TensorType(value.dtype, value.shape)
            raise GradientError(f"{what} gives {own} as cotangent {i} of {wanted} ({current()})")
        found.append(astype(value, x.dtype))
    return found


def _leaves(what: str, tree: Tree, given: Any) -> list[Any]:
    """A cotangent's leaves along an argument's tree; None stands for zeros of a whole tree."""
    leaves = spread_prefix(given, tree, lambda entry: entry is None)
    if leaves is None:
        raise GradientError(f"{what} gives {given!r:.60} as the cotangent of {tree} ({current()})")
    return leaves
