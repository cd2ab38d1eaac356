"""Functions with derivative rules of a user's own: what is the same for both kinds of rule."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from staticnet.control.call import CallOp, Derivative, called
from staticnet.control.eager import Pull, recorded
from staticnet.control.trace import check_functions, flattened, is_eager, leaves_of
from staticnet.errors import ArgumentError, GradientError, StaticnetError
from staticnet.ir.location import current, user_line, written_at
from staticnet.ir.node import with_context
from staticnet.ir.tree import Tree
from staticnet.ir.types import TensorType
from staticnet.ir.user_functions import call_rule, guarded

Function = Callable[..., Any]


@dataclass(frozen=True)
class Signature:
    """The structures of the arguments that are differentiated, and the others themselves.

    `static` has the positions of the latter among all `count`.
    """

    trees: tuple[Tree, ...]
    static: tuple[tuple[int, Any], ...]
    count: int

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """All arguments, with these leaves for those that are differentiated."""
        rest, static = iter(self.moving(leaves)), dict(self.static)
        return [static[i] if i in static else next(rest) for i in range(self.count)]

    def moving(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments that are differentiated, with these leaves."""
        made, at = [], 0
        for tree in self.trees:
            made.append(tree.unflatten(leaves[at : at + tree.leaves]))
            at += tree.leaves
        return tuple(made)

    @property
    def before(self) -> tuple[Any, ...]:
        """The arguments that are not differentiated, in order."""
        return tuple(x for _, x in self.static)


class Custom:
    """A function with a derivative rule; `kind` and `define` are how messages name it."""

    kind = ""
    define = ""

    def __init__(self, f: Function, nondiff_argnums: int | Sequence[int] = ()) -> None:
        if not callable(f):
            raise ArgumentError(f"{self.kind}: takes a function, not {f!r:.60} ({user_line()})")
        functools.update_wrapper(self, f, updated=())
        self.f = guarded(f"{self.kind}: f", f)
        self.name = getattr(f, "__name__", type(f).__name__)
        self.what = f"{self.kind} {self.name} ({written_at(f)})"
        self._rules: WeakValueDictionary[Any, Derivative] = WeakValueDictionary()
        numbers = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else nondiff_argnums
        try:
            self.nondiff = frozenset(int(i) for i in numbers)
        except (TypeError, ValueError):
            raise ArgumentError(
                f"{self.kind}: nondiff_argnums must be positions, not {nondiff_argnums!r:.60}"
            ) from None

    def __repr__(self) -> str:
        return f"<{self.what}>"

    @property
    def functions(self) -> tuple[Function | None, ...]:
        """What defines the rule; None before it is there."""
        raise NotImplementedError

    def rule(self, signature: Signature, tree: Tree, types: Sequence[TensorType]) -> Pull:
        """The rule for arguments of a signature, whose results are a tree of these types."""
        raise NotImplementedError

    def op(self, body: Any, rule: Derivative, arguments: int) -> CallOp:
        """The op that has a rule."""
        raise NotImplementedError

    def pull(self, rule: Pull) -> Pull:
        """From the rule that which gives cotangents."""
        raise NotImplementedError

    def call_rule(self, name: str, rule: Function, *args: Any) -> Any:
        """What one of the rule's functions gives; raises ArgumentError if it fails."""
        try:
            check_functions(len(args), **{name: rule})
        except ArgumentError as error:
            raise with_context(error, self.what, []) from error.__cause__
        where = written_at(rule)
        return call_rule(f"{self.what}: {name}", where, rule, *args) if where else rule(*args)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives; its derivative is the rule's.

        Raises:
            ArgumentError: if there is no rule yet, or the arguments do not fit.
        """
        if None in self.functions:
            raise ArgumentError(f"{self.what}: it has no rule yet; give it one by {self.define}")
        signature, leaves = self._bound(args, kwargs)
        if is_eager(leaves):
            return self._on_tape(signature, leaves)

        def make(body: Any, tree: Tree) -> CallOp:
            types = tuple(node.type for node in body.outputs)
            return self.op(body, self._derivative(signature, tree, types), len(leaves))

        return called(self.name, lambda own: self.f(*signature.arguments(own)), leaves, make)

    def _derivative(
        self, signature: Signature, tree: Tree, types: tuple[TensorType, ...]
    ) -> Derivative:
        """The rule as ops hold it: one for all calls that are alike, so that those are equal."""
        key = (self.functions, signature, tree, types)
        try:
            known = self._rules.get(key)
        except TypeError:  # a static argument that cannot be compared
            return Derivative(self.name, self.rule(signature, tree, types))
        if known is None:
            known = Derivative(self.name, self.rule(signature, tree, types))
            self._rules[key] = known
        return known

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Signature, list[Any]]:
        """The arguments by position: their signature, and the leaves that are differentiated."""
        try:
            bound = inspect.signature(self.f).bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{self.what}: {error} ({user_line()})") from None
        bound.apply_defaults()
        if bound.kwargs:
            raise ArgumentError(
                f"{self.what}: {sorted(bound.kwargs)} have no position; a rule is given arguments "
                "by their positions"
            )
        wrong = [i for i in self.nondiff if not 0 <= i < len(bound.args)]
        if wrong:
            raise ArgumentError(
                f"{self.what}: nondiff_argnums names argument {wrong[0]} of {len(bound.args)} "
                f"({user_line()})"
            )
        leaves: list[Any] = []
        trees: list[Tree] = []
        static: list[tuple[int, Any]] = []
        for i, x in enumerate(bound.args):
            if i in self.nondiff:
                static.append((i, x))
                continue
            own, tree = leaves_of(f"{self.what}: argument {i}", x)
            leaves += own
            trees.append(tree)
        return Signature(tuple(trees), tuple(static), len(bound.args)), leaves

    def _on_tape(self, signature: Signature, leaves: Sequence[Any]) -> Any:
        """The function of tensors of dynamic execution, with its rule on their tape."""
        like = next(x for x in leaves if not x.is_symbolic)
        lifted = [like.lift(x) for x in leaves]
        outputs, tree = flattened(
            self.name, self.f(*signature.arguments([x.detach() for x in lifted]))
        )
        types = tuple(TensorType(y.dtype, y.shape) for y in outputs)
        pull = self.pull(self.rule(signature, tree, types))
        return tree.unflatten(recorded(self.name, outputs, pull, lifted))


def as_told(what: str, given: Any, types: Sequence[Any], tree: Tree) -> list[Any]:
    """The leaves of what a rule gives in place of what the function gave.

    That was a tree of `types`, or of values of these types.

    Raises:
        GradientError: if it is not of the same structure and types.
    """
    try:
        leaves, structure = leaves_of(what, given)
    except StaticnetError as error:
        raise GradientError(f"{what}: {error}") from None
    if structure != tree:
        raise GradientError(f"{what} is {structure}, and the function gives {tree} ({current()})")
    for leaf, like in zip(leaves, types, strict=True):
        own, wanted = (TensorType(x.dtype, x.shape) for x in (leaf, like))
        if own != wanted:
            raise GradientError(f"{what} is {own}, and the function gives {wanted} ({current()})")
    return leaves
