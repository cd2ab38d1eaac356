"""The gradient of attention as one op, which makes the scores again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from staticnet.attention import plain
from staticnet.attention.blocks import by_groups, drop, flat, scores_by_rows, turned, wide
from staticnet.attention.layout import (
    JOINED,
    LAYOUTS,
    arranged,
    arranged_arrays,
    result_shapes,
    taken_apart,
)
from staticnet.attention.operands import (
    check_types,
    factors_of_examples,
    merge,
    part,
    split_operands,
)
from staticnet.attention.scores import by_logsumexp, grouped, products, scores, ungrouped
from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, size_of
from staticnet.ir.dtype import BOOL, compute_dtype
from staticnet.ir.types import TensorType, TupleType
from staticnet.ops.arguments import FLOATS
from staticnet.ops.base import TensorOp, apply, items
from staticnet.ops.batching import align
from staticnet.ops.creation import zeros_like
from staticnet.ops.linalg import matmul
from staticnet.ops.movement import matrix_transpose
from staticnet.ops.selection import astype
from staticnet.ops.shape import expand_dims, sum, sum_to_shape
from staticnet.ops.widening import widened

GIVEN = ("delta", "result")


@dataclass(frozen=True)
class AttentionGradient(TensorOp, name="attention_gradient"):
    """(dq, dk, dv) of `attention`, whose weights w = e**(scores - l) are computed again.

    With a the cotangent of y, ds = w (a vᵀ - delta): dq = scale ds k, dk = scale dsᵀ q, dv = wᵀ a;
    dk and dv are summed over the heads that share them.

    q, k, v, scale, mask: as in `attention`, a: [n, h, t, e], l: [n, h, t], delta: [n, h, t], the
    sum of a y less l's cotangent; and what follows if it `drops` -> as q, k, v

    Where `given` is "result", y: [n, h, t, e] stands in delta's place, and l has no cotangent.

    Where `layout` is "last", the results have heads behind tokens, [n, t, h, d], and where it is
    "tokens" [t, n, h, d]; the last `joined` of them are one array, [n, t, (h + g) d + g e] if all
    are.
    """

    causal: bool
    drops: bool = field(default=False, kw_only=True)
    given: str = field(default="delta", kw_only=True)
    layout: str = field(default="first", kw_only=True)
    joined: int = field(default=0, kw_only=True)
    arity = None
    names: ClassVar[tuple[str, ...]] = ("q", "k", "v", "a", "scale", "l", "delta")
    same_dtype: ClassVar[slice] = slice(0, 4)
    kinds: ClassVar[frozenset[str]] = FLOATS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.given not in GIVEN:
            raise ArgumentError(f"{self.name}: given must be one of {GIVEN}")
        if self.layout not in LAYOUTS:
            raise ArgumentError(f"{self.name}: layout must be one of {tuple(LAYOUTS)}")
        if self.joined not in JOINED or (self.joined and self.layout == "first"):
            raise ArgumentError(
                f'{self.name}: joined must be one of {JOINED}, and with layout="first" 0'
            )

    @property
    def rows(self) -> tuple[int, ...]:
        """Which operands are rows of features."""
        return (0, 1, 2, 3, 6) if self.given == "result" else (0, 1, 2, 3)

    def infer(self, *operands: TensorType) -> TensorType:
        (q, k, v, a, scale, lse, delta), mask, drops = split_operands(self, operands)
        wide = check_types((q, k, v, scale), mask, drops)
        if a != q.with_shape((*q.shape[:3], v.shape[3])):
            raise ShapeError(f"the cotangent {a} must have v's features for each query of {q}")
        last = delta if self.given == "delta" else lse
        if lse != q.with_shape(q.shape[:3]).with_dtype(wide) or last != lse:
            raise ShapeError(f"l and delta must have a number for each query of {q}")
        if self.given == "result" and delta != a:
            raise ShapeError(f"the result {delta} must be as its cotangent {a}")
        own = (q, k, v)
        return TupleType(tuple(map(q.with_shape, result_shapes(self, [x.shape for x in own]))))

    def by_delta(self, *operands: Any) -> Sequence[Any]:
        """The same given delta, which is computed here if the result is given."""
        own = list(operands)
        if self.given == "result":
            own[6] = delta_of(own[3], own[6])
        return items(apply(replace(self, given="delta"), *own))

    def eval(self, xp: Any, *operands: Any) -> Any:
        (q, k, v, a, scale, lse, delta), mask, drops = split_operands(self, operands)
        if self.given == "result":
            delta = xp.sum(wide(a) * wide(delta), -1)
        g = k.shape[1]
        dq = xp.empty(q.shape, q.dtype)
        dk, dv = (xp.zeros(x.shape, compute_dtype(q.dtype)) for x in (k, v))
        for at, s in scores_by_rows(xp, self.causal, q, k, scale, mask):
            lse_at, delta_at = (by_groups(x[:, :, at], g)[..., None] for x in (lse, delta))
            q_at, a_at = (by_groups(wide(x)[:, :, at], g) for x in (q, a))
            w = xp.exp(s - lse_at)
            to_w = drop(xp, xp.matmul(a_at, turned(wide(v)[:, :, None])), at, q, drops)
            ds = w * (to_w - delta_at) * scale
            dq[:, :, at] = flat(xp.matmul(ds, wide(k)[:, :, None]))
            dk += xp.sum(xp.matmul(turned(ds), q_at), 2)
            dv += xp.sum(xp.matmul(turned(drop(xp, w, at, q, drops)), a_at), 2)
        return tuple(arranged_arrays(self, xp, (dq, dk.astype(k.dtype), dv.astype(v.dtype))))

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        """In plain ops, which have derivatives of any order."""
        (q, k, v, a, scale, lse, delta), mask, drops = split_operands(self, operands)
        if self.given == "result":
            return self._vjp_by_result(g, *operands)
        groups, factors = k.shape[1], plain.factors_of(q, k, drops)
        to_q, to_k, to_v = (
            zeros_like(widened(x)) if c is None else widened(c)
            for c, x in zip(taken_apart(self, g, (q, k, v)), (q, k, v), strict=True)
        )
        to_q, to_k, to_v = grouped(to_q, groups), expand_dims(to_k, 2), expand_dims(to_v, 2)
        queries, keys = grouped(widened(q), groups), expand_dims(widened(k), 2)
        values, a5 = expand_dims(widened(v), 2), grouped(widened(a), groups)
        w = by_logsumexp(scores(self.causal, q, k, scale, mask), lse)
        to_w = plain.dropped(matmul(a5, matrix_transpose(values)), factors)
        rest = to_w - expand_dims(grouped(delta, groups), -1)
        ds = w * rest
        unscaled = matmul(to_q, matrix_transpose(keys)) + matmul(queries, matrix_transpose(to_k))
        to_ds = unscaled * scale
        through = to_ds * w  # to the weights' cotangents, and negative to delta
        to_s = w * (to_ds * rest + plain.dropped(matmul(a5, matrix_transpose(to_v)), factors))
        to_products = plain.dropped(through, factors)  # a vᵀ
        to_a = matmul(to_products, values) + matmul(plain.dropped(w, factors), to_v)
        to_queries = (matmul(to_s, keys) + matmul(ds, to_k)) * scale
        to_keys = sum(
            (matmul(matrix_transpose(to_s), queries) + matmul(matrix_transpose(ds), to_q)) * scale,
            2,
        )
        dtypes = [x.dtype for x in operands]
        return (
            astype(ungrouped(to_queries), dtypes[0]),
            astype(to_keys, dtypes[1]),
            astype(sum(matmul(matrix_transpose(to_products), a5), 2), dtypes[2]),
            astype(ungrouped(to_a), dtypes[3]),
            sum(to_s * products(q, k)) + sum(ds * unscaled),
            -ungrouped(sum(to_s, -1)),
            -ungrouped(sum(through, -1)),
            *(_of_mask(to_s, m) for m in mask),
            *(None for _ in drops),
        )

    def _vjp_by_result(self, g: Any, *operands: Any) -> tuple[Any, ...]:
        """Through delta, the sum of a y."""
        a, y = operands[3], operands[6]
        plain_op = replace(self, given="delta")
        made = list(plain_op.vjp(None, g, *operands[:6], delta_of(a, y), *operands[7:]))
        to_delta = expand_dims(made[6], -1)
        made[3] = astype(widened(made[3]) + to_delta * widened(y), a.dtype)
        made[6] = astype(to_delta * widened(a), y.dtype)
        return tuple(made)

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        if self.given == "result":
            a, y = align((batched[3], batched[6]), (operands[3], operands[6]))
            own = (*batched[:6], batched[3] or batched[6], *batched[7:])
            plain_op = replace(self, given="delta")
            return plain_op.batch(size, own, *operands[:6], delta_of(a, y), *operands[7:])
        count = len(operands) - 3 * self.drops
        (q, k, v, a, lse, delta, *mask), scale, factor = merge(
            size, batched[:count], operands[:count], 4
        )
        n = operands[0].shape[int(batched[0])]
        given: Sequence[Any] = (q, k, v, a, scale, lse, delta)
        made: Sequence[Any]
        if self.drops:
            factors = factors_of_examples(size, n, batched[count:], q, k, operands[count:])
            made = plain.attention_gradient(self.causal, given, mask, factors)
        else:
            made = items(apply(replace(self, layout="first", joined=0), *given, *mask))
        dq, dk, dv = (part(x, size, n) for x in made)
        dq = dq if factor is None else astype(dq * factor, dq.dtype)
        return arranged(self, (dq, dk, dv), 1)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        q, k, v = operands[:3]
        pairs = size_of((*q.shape[:3], k.shape[2]))
        return pairs * (6 * q.shape[3] + 4 * v.shape[3] + 5) // (2 if self.causal else 1)


def of_scale_and_mask(
    causal: bool, q: Any, k: Any, v: Any, a: Any, scale: Any, lse: Any, delta: Any,
    mask: Sequence[Any], drops: Sequence[Any],
) -> tuple[Any, ...]:  # fmt: skip
    """The products with an attention's derivatives by scale and mask, which hold all scores."""
    if not (scale.requires_grad or any(m.requires_grad for m in mask)):
        return (None,) * (1 + len(mask))
    groups = k.shape[1]
    w = by_logsumexp(scores(causal, q, k, scale, mask), lse)
    to_w = matmul(grouped(widened(a), groups), matrix_transpose(expand_dims(widened(v), 2)))
    to_w = plain.dropped(to_w, plain.factors_of(q, k, drops))
    ds = w * (to_w - expand_dims(grouped(delta, groups), -1))
    to_scale = sum(ds * products(q, k)) if scale.requires_grad else None
    return (to_scale, *(_of_mask(ds, m) for m in mask))


def _of_mask(ds: Any, mask: Any) -> Any:
    """The product for a mask that is added to the scores."""
    if mask.dtype == BOOL or not mask.requires_grad:
        return None
    return astype(sum_to_shape(ungrouped(ds), mask.shape), mask.dtype)


def delta_of(a: Any, y: Any) -> Any:
    """The sum of a y along the features: what a result's cotangent has of each query's weights."""
    return sum(widened(a) * widened(y), -1)
