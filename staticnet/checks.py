"""`sn.check_op`: holds an op of a user's own to what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from staticnet.autodiff import jvp, vjp
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import PIPELINE
from staticnet.control.vmap import vmap
from staticnet.errors import (
    ArgumentError,
    CompileError,
    DTypeError,
    GradientError,
    ParseError,
    StaticnetError,
    VerifyError,
)
from staticnet.function import BACKENDS, function
from staticnet.ir.dim import parse_dim, substitute
from staticnet.ir.dtype import DTYPES, FLOAT64, DType, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.location import user_line
from staticnet.ir.node import Node, topological
from staticnet.ir.op import Op
from staticnet.ir.text import parse
from staticnet.ir.user_functions import guarded
from staticnet.ops.base import constant
from staticnet.ops.own_rules import written
from staticnet.ops.state import placeholder
from staticnet.oracle.arithmetic import epsilon
from staticnet.passes.manager import run_passes
from staticnet.plan.planner import make_plan

ULPS = 64  # by which C's functions may differ from NumPy's
SLOPE = 30  # times eps ** (2/3), by which finite differences with steps of eps ** (1/3) may be off
EXAMPLES = 3
ARCHITECTURE = "sm_90"
Array = np.ndarray[Any, Any]


def check_op(op: Callable[..., Any], *operands: Any) -> None:
    """Hold an op to what it says of itself, on arrays of your choice.

    `op` is what `custom_op` made, an op of a class of your own, or a function of them; it may have
    several results. Its eval is held to its shape rule, in each floating dtype and for dims that
    are not known; compiled C, where it has a scalar form and there is a compiler, to eval, and for
    a GPU it is compiled where NVRTC is installed; its vjp
    and jvp to finite differences of eval in float64, and the derivatives of the vjp to those of the
    vjp; many examples at once, of all or of one operand, to each alone; its text to itself.

    Raises:
        VerifyError: naming what does not agree, with the op, the rule and their lines.
        ExecutionError: if eval fails, or gives another type than the shape rule says.
        ArgumentError: if `op` is no function of nodes, or there is no array.
    """
    arrays = [np.asarray(x) for x in operands]
    if not callable(op) or not arrays:
        raise ArgumentError(
            f"check_op: takes an op and arrays for its operands, not {op!r:.60} ({user_line()})"
        )
    check = _Check(guarded("check_op: op", op), arrays)
    check.types()
    check.text()
    check.code()
    check.examples()
    check.derivatives()


class _Check:
    """The op on placeholders for the arrays, and what it gives for them."""

    def __init__(self, op: Callable[..., Any], arrays: Sequence[Array]) -> None:
        self.op = op
        self.arrays = arrays
        self.inputs = _placeholders(arrays)
        self.outputs = self.on(self.inputs)
        self.values = _run(self.inputs, self.outputs, arrays)

    def on(self, operands: Sequence[Any], f: Callable[..., Any] | None = None) -> list[Any]:
        """The results of the op, or of what `f` is made of it, as a list."""
        made = (f or self.op)(*operands)
        listed = list(made) if isinstance(made, tuple | list) else [made]
        if not listed or not all(isinstance(y, Node) for y in listed):
            raise ArgumentError(
                f"check_op: {self.op!r:.60} must give a node or a tuple of nodes, not {made!r:.60} "
                f"({user_line()})"
            )
        return listed

    @property
    def checked(self) -> Op:
        """The op that is meant: the user's own, the last one of a function of several."""
        own = [node.op for node in topological(self.outputs) if node.op.where]
        return own[-1] if own else self.outputs[0].op

    def fail(self, what: str, rule: str = "eval") -> VerifyError:
        """The error that names the op, and the rule's line."""
        op = self.checked
        where = f" (declared on {op.where})" if op.where else ""
        place = written(op, rule) if op.where else None
        told = f" ({rule} on {place})" if place not in (None, op.where) else ""
        return VerifyError(f"{op.name}{where}: {what}{told}")

    def types(self) -> None:
        """The shape rule beside eval in each floating dtype, and beside itself for unknown dims."""
        for dtype in DTYPES.values():
            if is_floating(dtype) and any(is_floating(x.dtype) for x in self.arrays):
                cast = [x.astype(dtype) if is_floating(x.dtype) else x for x in self.arrays]
                xs = _placeholders(cast)
                try:
                    ys = self.on(xs)
                except DTypeError:
                    continue  # it says itself that it does not take them
                with np.errstate(all="ignore"):
                    _run(xs, ys, cast)
        sizes = sorted({n for x in self.arrays for n in x.shape})
        names = {n: parse_dim(f"n{i}") for i, n in enumerate(sizes)}
        try:
            shapes = [tuple(names[n] for n in x.shape) for x in self.arrays]
            pairs = zip(shapes, self.arrays, strict=True)
            open_ = self.on([placeholder(s, x.dtype, f"x{i}") for i, (s, x) in enumerate(pairs)])
        except StaticnetError:
            return  # it says itself that it needs numbers
        bound = {str(name): n for n, name in names.items()}
        for y, told in zip(self.outputs, open_, strict=True):
            shape = tuple(substitute(dim, bound) for dim in told.shape)
            if shape != y.shape or told.dtype != y.dtype:
                raise self.fail(
                    f"its shape rule gives {y.type}, and {told.type} where {bound} are not known",
                    "infer",
                )

    def text(self) -> None:
        """What it prints, read back."""
        graph = Graph("checked", self.inputs, self.outputs)
        try:
            same = parse(str(graph)) is graph
        except ParseError as error:
            raise self.fail(f"its text cannot be read back: {error}") from error
        if not same:
            raise self.fail("its text is read back as something else: are its attributes fields?")

    def code(self) -> None:
        """The compiled op beside eval; for a GPU, whether it compiles."""
        if self.checked.on_host:
            return
        if not BACKENDS["cpu"].missing():
            self._compiled()
        compiler = find_nvrtc()
        if compiler is not None:
            graph = run_passes(Graph("checked", self.inputs, self.outputs), PIPELINE)[0]
            program = write_cuda_program(make_plan(graph))
            try:
                compiler.compile(program.source, ARCHITECTURE)
            except CompileError as error:
                raise self.fail(f"its scalar form is no CUDA: {error}") from error

    def _compiled(self) -> None:
        got = _run(self.inputs, self.outputs, self.arrays, "cpu")
        for i, (y, wanted) in enumerate(zip(got, self.values, strict=True)):
            if not _close(y, wanted, ULPS * epsilon(self.outputs[i].dtype)):
                raise self.fail(f"its scalar form is not its eval: {_differ(y, wanted)}")

    def derivatives(self) -> None:
        """vjp and jvp beside finite differences along a random direction, and the vjp's own."""
        moving = [i for i, x in enumerate(self.arrays) if is_floating(x.dtype)]
        told = [i for i, y in enumerate(self.outputs) if is_floating(y.dtype)]
        if moving and told and self.checked.differentiable:
            _Derivatives(self, moving, told).check()

    def examples(self) -> None:
        """Three examples at once beside each alone: no two have the same sum, or the same order."""
        count = len(self.arrays)
        masks = [(True,) * count, *(tuple(i == j for j in range(count)) for i in range(count))]
        for mask in dict.fromkeys(masks):
            self._examples(mask)

    def _examples(self, mask: Sequence[bool]) -> None:
        """Of some operands, the others being every example's."""
        pairs = list(zip(self.arrays, mask, strict=True))
        many = [_three(x) if own else x for x, own in pairs]
        xs = _placeholders(many)
        axes = tuple(0 if own else None for own in mask)
        got = _run(xs, self.on(xs, vmap(self.op, in_axes=axes)), many)
        for i in range(EXAMPLES):
            one = [x[i] if own else x for x, own in zip(many, mask, strict=True)]
            for y, wanted in zip(got, _run(self.inputs, self.outputs, one), strict=True):
                if not _close(y[i], wanted, ULPS * epsilon(wanted.dtype)):
                    raise self.fail(
                        f"with examples along a first axis{_which(mask)} it is not what it is of "
                        f"each: {_differ(y[i], wanted)}"
                    )


def _which(mask: Sequence[bool]) -> str:
    return "" if all(mask) else f" of operand {mask.index(True)}"


class _Derivatives:
    """An op's derivatives in float64, along one random direction of its operands."""

    def __init__(self, check: _Check, moving: Sequence[int], told: Sequence[int]) -> None:
        self.fail = check.fail
        self.on = check.on
        self.op = check.op
        self.told = told
        self.wide = [x.astype(FLOAT64) if i in moving else x for i, x in enumerate(check.arrays)]
        self.moving = moving
        rng = np.random.default_rng(0)
        shapes = [self.wide[i].shape for i in moving]
        self.ways = [np.asarray(rng.normal(size=shape)) for shape in shapes]
        self.others = [np.asarray(rng.normal(size=shape)) for shape in shapes]
        self.xs = _placeholders(self.wide)
        outputs = check.on(self.xs)
        self.ys = [outputs[i] for i in told]
        self.dtype: DType = min((y.dtype for y in self.ys), key=lambda d: d.itemsize)
        self.gs = [np.asarray(rng.normal(size=y.shape), y.dtype) for y in self.ys]
        self.wrt = [self.xs[i] for i in moving]

    def check(self) -> None:
        """Compare them; an op that says itself that it has none is left alone."""
        given = [placeholder(g.shape, g.dtype, f"g{i}") for i, g in enumerate(self.gs)]
        products = _if_any(lambda: vjp(self.ys, self.wrt, given, allow_unused=True))
        if products is None:
            return
        slopes = _run([*self.xs, *given], products, [*self.wide, *self.gs])
        found = _inner(slopes, self.ways)
        difference = self._difference(self.ys, self.gs)
        self._compare("vjp is not the derivative of its eval", found, difference, "vjp")
        steps = [placeholder(w.shape, FLOAT64, f"d{i}") for i, w in enumerate(self.ways)]
        moved = _if_any(lambda: jvp(self.ys, self.wrt, steps))
        if moved is not None:
            tangents = _run([*self.xs, *steps], moved, [*self.wide, *self.ways])
            along = _inner(tangents, self.gs)
            self._compare("jvp is not the derivative of its eval", along, found, "jvp")
        self._second()
        self._examples([*self.xs, *given], products)

    def _second(self) -> None:
        """The derivative of the vjp, by its own nodes and by differences of it."""
        fixed = [constant(g) for g in self.gs]
        products = vjp(self.ys, self.wrt, fixed, allow_unused=True)
        others = [constant(other) for other in self.others]
        again = _if_any(lambda: vjp(products, self.wrt, others, allow_unused=True))
        if again is None:
            return
        found = _inner(_run(self.xs, again, self.wide), self.ways)
        difference = self._difference(products, self.others)
        self._compare("vjp has another derivative than its values", found, difference, "vjp")

    def _examples(self, inputs: Sequence[Any], products: Sequence[Any]) -> None:
        """The products for many examples at once, beside those of each."""
        many, gs = [_three(x) for x in self.wide], [_three(g) for g in self.gs]
        xs, cotangents = _placeholders(many), [constant(g) for g in gs]
        outputs = self.on(xs, vmap(self.op))
        wrt = [xs[i] for i in self.moving]
        at_once = vjp([outputs[i] for i in self.told], wrt, cotangents, allow_unused=True)
        got = _run(xs, at_once, many)
        for i in range(EXAMPLES):
            each = _run(inputs, products, [x[i] for x in (*many, *gs)])
            for y, wanted in zip(got, each, strict=True):
                if not _close(y[i], wanted, ULPS * epsilon(self.dtype)):
                    raise self.fail(
                        "with examples along a first axis its vjp is not what it is of each: "
                        f"{_differ(y[i], wanted)}",
                        "vjp",
                    )

    def _difference(self, ys: Sequence[Any], weights: Sequence[Array]) -> Any:
        """The slope of a weighted sum of ys along the direction."""
        step = epsilon(self.dtype) ** (1 / 3)
        ends = []
        for h in (step, -step):
            feeds = list(self.wide)
            for i, way in zip(self.moving, self.ways, strict=True):
                feeds[i] = feeds[i] + h * way
            ends.append(_run(self.xs, ys, feeds))
        change = [a.astype(FLOAT64) - b for a, b in zip(*ends, strict=True)]
        return _inner(change, weights) / (2 * step)

    def _compare(self, what: str, found: Any, wanted: Any, rule: str) -> None:
        tolerance = SLOPE * epsilon(self.dtype) ** (2 / 3)
        if not abs(found - wanted) <= tolerance * max(1.0, abs(found), abs(wanted)):
            raise self.fail(
                f"its {what}: along a direction it is {found:.9g}, and should be {wanted:.9g}", rule
            )


def _if_any(derive: Callable[[], list[Any]]) -> list[Any] | None:
    """A derivative; None of an op, or of one in a rule, that says itself that it has none."""
    try:
        return derive()
    except GradientError as error:
        if "has no vjp" in str(error):
            return None
        raise


def _inner(a: Sequence[Array], b: Sequence[Array]) -> Any:
    return sum(np.sum(x * y) for x, y in zip(a, b, strict=True))


def _three(x: Array) -> Array:
    """An array, its rows in the other order, and other numbers within the range of x's and 0."""
    halved = ~x if x.dtype == np.bool_ else (x / 2).astype(x.dtype)
    return np.stack([x, x[::-1] if x.ndim else x, halved])


def _placeholders(arrays: Sequence[Array]) -> list[Any]:
    return [placeholder(x.shape, x.dtype, f"x{i}") for i, x in enumerate(arrays)]


def _run(
    inputs: Sequence[Any], outputs: Sequence[Any], feeds: Sequence[Any], device: str = "numpy"
) -> list[Array]:
    return list(function(inputs, outputs, device=device)(*feeds))


def _close(got: Array, wanted: Array, tolerance: float) -> bool:
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True))


def _differ(got: Array, wanted: Array) -> str:
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore"):
        at = np.unravel_index(int(np.argmax(np.nan_to_num(abs(a - b), nan=np.inf))), a.shape)
    place = f" at {list(map(int, at))}" if at else ""
    return f"{got[at]!s} for {wanted[at]!s}{place}"
