"""`grad` and `value_and_grad`, `jacobian`, `hessian` and `linearize`, of nodes and of functions.

Each takes nodes, or a function and gives another, as JAX's do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from staticnet.autodiff import reverse
from staticnet.autodiff.forward import jvp
from staticnet.autodiff.reverse import as_nodes, check_reached, vjp
from staticnet.control.batching import batch_nodes
from staticnet.control.trace import leaves_of, parameters
from staticnet.control.traced import Traced, nodes_of, substitute
from staticnet.errors import ArgumentError, DTypeError, GradientError, ShapeError
from staticnet.ir import location
from staticnet.ir.dim import Dim
from staticnet.ir.node import Node, describe, topological
from staticnet.ir.value import Value
from staticnet.ops.batching import spread
from staticnet.ops.creation import eye, ones_like
from staticnet.ops.movement import moveaxis
from staticnet.ops.shape import reshape


def jacobian(y: Any, wrt: Any = None, *, argnums: Any = 0, allow_unused: bool = False) -> Any:
    """J[i, j] = d y[i] / d w[j], as a node; for a tree of y or of w, a tree of them, y's outside.

    Of a function y, the function of its Jacobian by the arguments whose numbers are `wrt` or, by
    its name in JAX, `argnums`. All rows are computed at once, by `vmap` of a `vjp`, or all columns
    by that of a `jvp`: whichever is fewer, or the other where an op has a derivative only so.

    y: [*t], w: [*s] -> J: [*t, *s]

    Raises:
        DTypeError: if y or w is not floating-point.
        GradientError: if y does not depend on a w, unless `allow_unused` gives zeros then.
    """
    if callable(y):
        return _of_function("jacobian", y, argnums if wrt is None else wrt, allow_unused)
    ys, y_tree = nodes_of("jacobian", y)
    ws, w_tree = nodes_of("jacobian", wrt)
    rows = _jacobians(ys, ws, allow_unused)
    return y_tree.unflatten([w_tree.unflatten(row) for row in rows])


def hessian(y: Any, wrt: Any = None, *, argnums: Any = 0, allow_unused: bool = False) -> Any:
    """H[i, j] = d2 y / d w[i] d w[j], as a node; for a tree of w, a tree of trees of them.

    Of a function y, the function of its Hessian by the arguments whose numbers are `wrt` or
    `argnums`. It is the Jacobian of the gradient.

    y: [], w: [*s] -> H: [*s, *s]

    Raises:
        ShapeError: if y is not a scalar.
        DTypeError, GradientError: as `jacobian` does.
    """
    if callable(y):
        return _of_function("hessian", y, argnums if wrt is None else wrt, allow_unused)
    ws, tree = nodes_of("hessian", wrt)
    rows = _hessian(y, ws, allow_unused)
    return tree.unflatten([tree.unflatten(row) for row in rows])


def _hessian(y: Any, ws: list[Node], allow_unused: bool) -> list[list[Any]]:
    gradients = reverse.gradient("hessian", y, ws, allow_unused)
    return _jacobians(as_nodes(gradients, "hessian"), ws, allow_unused=True)


def _of_function(what: str, f: Callable[..., Any], argnums: Any, allow_unused: bool) -> Any:
    def derivative(*args: Any, **kwargs: Any) -> Any:
        traced = Traced.of(what, f, argnums, args, kwargs)
        ys, ws = as_nodes(traced.results, what), as_nodes(traced.stand_ins, what)
        if what == "jacobian":
            traced.some(what)
            rows = _jacobians(ys, ws, allow_unused)
            made = [traced.by_argument(traced.made(row)) for row in rows]
            return traced.structure.unflatten(made)
        if len(ys) != 1:
            raise ShapeError(
                f"hessian: the function must give one scalar, not {traced.structure} "
                f"({location.user_line()})"
            )
        made = [traced.by_argument(traced.made(row)) for row in _hessian(ys[0], ws, allow_unused)]
        return traced.by_argument(made)

    return derivative


def _jacobians(ys: list[Node], ws: list[Node], allow_unused: bool) -> list[list[Any]]:
    """For each y its Jacobian by each w."""
    if not allow_unused:
        check_reached(ys, ws, set(topological(ys)))
    return [[_jacobian(y, w) for w in ws] for y in ys]


def _jacobian(y: Node, w: Node) -> Value:
    """By rows or by columns, whichever are fewer; an op may have a derivative one way alone."""
    ways = (_rows, _columns) if _is_less(y.type.size, w.type.size) else (_columns, _rows)
    try:
        return ways[0](y, w)
    except GradientError as error:
        try:
            return ways[1](y, w)
        except GradientError:
            raise error from None


def _is_less(a: int | Dim, b: int | Dim) -> bool:
    """Whether a < b; of a number and an unknown the number is."""
    gap = a - b
    return gap < 0 if isinstance(gap, int) else not isinstance(a, Dim) or isinstance(b, Dim)


def _rows(y: Node, w: Node) -> Value:
    """The Jacobian by reverse mode, an element of y each.  -> [*t, *s]"""
    if y.shape == ():
        return vjp([y], [w], [ones_like(y)], allow_unused=True)[0]
    (g,) = parameters("cotangent", [y.type])
    (product,) = vjp([y], [w], [g], allow_unused=True)
    return reshape(_for_each_element(y, g, product), (*y.shape, *w.shape))


def _columns(y: Node, w: Node) -> Value:
    """The Jacobian by forward mode, an element of w each.  -> [*t, *s]"""
    if w.shape == ():
        return jvp([y], [w], [ones_like(w)])[0]
    (t,) = parameters("tangent", [w.type])
    (product,) = jvp([y], [w], [t])
    return reshape(moveaxis(_for_each_element(w, t, product), 0, -1), (*y.shape, *w.shape))


def _for_each_element(x: Node, direction: Node, product: Any) -> Value:
    """A product with `direction`, for that along each element of x: [*p] -> [x.size, *p]"""
    n = x.type.size
    unit = reshape(eye(n, dtype=x.dtype), (n, *x.shape))
    (many,) = batch_nodes([product], {direction: unit}, n)
    result: Value = spread(n, False, product) if many is None else many
    return result


def grad(
    loss: Any,
    wrt: Any = None,
    has_aux: bool = False,
    *,
    argnums: Any = 0,
    allow_unused: bool = False,
) -> Any:
    """d loss / d w for each w of `wrt`, as nodes: printable, and differentiable again.

    Of a function, the function of its gradient by the argument whose number is `wrt` or, by its
    name in JAX, `argnums`, in that argument's structure; of a tuple of numbers, a tuple. With
    `has_aux` the function gives (loss, more), and the result is (gradient, more).

    loss: [], w: [*s] -> gradient: [*s]

    Raises:
        ShapeError: if the loss is not a scalar.
        DTypeError: if the loss or a w is not floating-point.
        GradientError: if the loss does not depend on a w, unless `allow_unused` gives zeros then.
        ArgumentError: if the function does not give what `has_aux` says.
    """
    if not callable(loss):
        return _of_node("grad", loss, wrt, allow_unused)
    both = _of_scalar("grad", loss, argnums if wrt is None else wrt, has_aux, allow_unused)

    def derivative(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return derivative


def value_and_grad(
    loss: Any,
    wrt: Any = None,
    has_aux: bool = False,
    *,
    argnums: Any = 0,
    allow_unused: bool = False,
) -> Any:
    """(loss, d loss / d w for each w of `wrt`), or of a function the function of both: see `grad`.

    With `has_aux` the function gives (loss, more), and the result is ((loss, more), gradient).

    loss: [], w: [*s] -> [], [*s]

    Raises:
        ShapeError, DTypeError, GradientError, ArgumentError: as `grad` does.
    """
    if not callable(loss):
        return loss, _of_node("value_and_grad", loss, wrt, allow_unused)
    by = argnums if wrt is None else wrt
    return _of_scalar("value_and_grad", loss, by, has_aux, allow_unused)


def _of_node(what: str, loss: Any, wrt: Any, allow_unused: bool) -> list[Value]:
    if wrt is None:
        raise GradientError(
            f"{what}: by what? wrt names nodes, as in sn.{what}(loss, [w]) ({location.user_line()})"
        )
    return reverse.gradient(what, loss, wrt, allow_unused)


def _of_scalar(
    what: str, f: Callable[..., Any], argnums: Any, has_aux: bool, allow_unused: bool
) -> Callable[..., tuple[Any, Any]]:
    """The function of what f gives and of its gradient."""

    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        traced = Traced.of(what, f, argnums, args, kwargs)
        _check_scalar(what, traced, has_aux)
        loss = traced.results[0]
        gradients = reverse.gradient(what, loss, traced.stand_ins, allow_unused)
        made = traced.made([*traced.results, *as_nodes(gradients, what)])
        results = traced.structure.unflatten(made[: len(traced.results)])
        return results, traced.by_argument(made[len(traced.results) :])

    return both


def _check_scalar(what: str, traced: Traced, has_aux: bool) -> None:
    children = traced.structure.children
    if has_aux and (len(children) != 2 or children[0].kind is not None):
        raise ArgumentError(
            f"{what}: with has_aux the function must give (loss, more), not {traced.structure} "
            f"({location.user_line()})"
        )
    if not has_aux and traced.structure.kind is not None:
        raise ArgumentError(
            f"{what}: the function must give a scalar, not {traced.structure} "
            f"({location.user_line()}); with has_aux=True it gives (loss, more)"
        )


def linearize(y: Any, *primals: Any) -> Any:
    """The function of tangents t -> the sum over w of dy/dw * t, where `primals` are w.

    Of a function y, (y(*primals), that function): it takes a tangent of each primal's structure,
    and gives one of the result's. It is linear, and shares what y computes.

    y: [*t], w and tangent: [*s] -> [*t]

    Raises:
        DTypeError: if y or a w is not floating-point, or a tangent is of another dtype than its w.
        ShapeError: if it is of another shape.
    """
    if not primals:
        raise ArgumentError(f"linearize: needs primals ({location.user_line()})")
    if callable(y):
        traced = Traced.of("linearize", y, tuple(range(len(primals))), primals)
        value = traced.structure.unflatten(traced.made(traced.some("linearize")))
        return value, _linear(traced.results, traced.stand_ins, traced.given, traced.structure)
    ys, y_tree = nodes_of("linearize", y)
    ws, _ = nodes_of("linearize", primals)
    return _linear(ys, ws, ws, y_tree)


def _linear(ys: list[Any], ws: list[Any], given: list[Any], tree: Any) -> Callable[..., Any]:
    nodes = as_nodes(ws, "linearize")
    directions = parameters("tangent", (w.type for w in nodes))
    moved = as_nodes(jvp(ys, nodes, directions), "linearize")

    def linear(*tangents: Any) -> Any:
        leaves, _ = leaves_of("linearize: tangents", tangents)
        if len(leaves) != len(nodes):
            raise ArgumentError(
                f"linearize: takes {len(nodes)} tangents, not {len(leaves)} "
                f"({location.user_line()})"
            )
        for w, t in zip(nodes, leaves, strict=True):
            if (t.dtype, t.shape) != (w.dtype, w.shape):
                differ = DTypeError if t.dtype != w.dtype else ShapeError
                raise differ(
                    f"linearize: the tangent of {describe(w)} must be of its type, not "
                    f"{describe(t)} ({location.user_line()})"
                )
        values = dict(zip([*nodes, *directions], [*given, *leaves], strict=True))
        return tree.unflatten(substitute(moved, values))

    return linear
