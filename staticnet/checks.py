"""`sn.check_op`: holds an op of a user's own to what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from staticnet.autodiff import jvp, vjp
from staticnet.control.vmap import vmap
from staticnet.errors import ArgumentError, GradientError, VerifyError
from staticnet.function import BACKENDS, function
from staticnet.ir.dtype import FLOAT64, DType, is_floating
from staticnet.ir.location import user_line
from staticnet.ir.node import Node
from staticnet.ir.user_functions import guarded
from staticnet.ops.state import placeholder
from staticnet.oracle.arithmetic import epsilon

ULPS = 64  # by which C's functions may differ from NumPy's
SLOPE = 30  # times eps ** (2/3), by which finite differences with steps of eps ** (1/3) may be off
Array = np.ndarray[Any, Any]


def check_op(op: Callable[..., Any], *operands: Any) -> None:
    """Hold an op to what it says of itself, on arrays of your choice.

    `op` is what `custom_op` made, an op of a class of your own, or a function of them. Its eval is
    held to its shape rule; compiled C, where it has a scalar form and there is a compiler, to eval;
    its vjp and jvp to finite differences of eval in float64; many examples at once to each alone.

    Raises:
        VerifyError: naming what does not agree, with the op and its line.
        ExecutionError: if eval fails, or gives another type than the shape rule says.
        ArgumentError: if `op` is no function of nodes, or there is no array.
    """
    arrays = [np.asarray(x) for x in operands]
    if not callable(op) or not arrays:
        raise ArgumentError(
            f"check_op: takes an op and arrays for its operands, not {op!r:.60} ({user_line()})"
        )
    check = _Check(guarded("check_op: op", op), arrays)
    check.code()
    check.derivatives()
    check.examples()


class _Check:
    def __init__(self, op: Callable[..., Any], arrays: Sequence[Array]) -> None:
        self.op = op
        self.arrays = arrays
        self.inputs = _placeholders(arrays)
        made = op(*self.inputs)
        if not isinstance(made, Node):
            raise ArgumentError(
                f"check_op: {op!r:.60} must give a node, not {made!r:.60} ({user_line()})"
            )
        self.output = made
        (self.value,) = _run(self.inputs, [made], arrays)

    def fail(self, what: str) -> VerifyError:
        """The error that names the op."""
        where = self.output.op.where
        written = f" (declared on {where})" if where else ""
        return VerifyError(f"{self.output.op.name}{written}: {what}")

    def code(self) -> None:
        """The compiled op beside eval."""
        if self.output.op.on_host or BACKENDS["cpu"].missing():
            return
        (got,) = _run(self.inputs, [self.output], self.arrays, "cpu")
        tolerance = ULPS * epsilon(self.output.dtype)
        if not _close(got, self.value, tolerance):
            raise self.fail(f"its scalar form is not its eval: {_differ(got, self.value)}")

    def derivatives(self) -> None:
        """vjp and jvp beside finite differences along a random direction."""
        moving = [i for i, x in enumerate(self.arrays) if is_floating(x.dtype)]
        if not moving or not self.output.op.differentiable or not is_floating(self.output.dtype):
            return
        wide = [x.astype(FLOAT64) if i in moving else x for i, x in enumerate(self.arrays)]
        rng = np.random.default_rng(0)
        ways = [rng.normal(size=x.shape) if i in moving else None for i, x in enumerate(wide)]
        xs = _placeholders(wide)
        y = self.op(*xs)
        g: Array = np.asarray(rng.normal(size=self.value.shape), y.dtype)
        given = placeholder(g.shape, g.dtype, "g")
        wrt = [xs[i] for i in moving]
        try:
            products = vjp([y], wrt, [given], allow_unused=True)
        except GradientError as error:
            if "has no vjp" in str(error):
                return  # it says itself that it has none
            raise
        slopes = _run([*xs, given], products, [*wide, g])
        found = sum(np.sum(s * ways[i]) for s, i in zip(slopes, moving, strict=True))
        self._compare("vjp", found, self._difference(xs, y, wide, ways, g), y.dtype)
        steps = [placeholder(wide[i].shape, FLOAT64, f"d{i}") for i in moving]
        (moved,) = jvp([y], wrt, steps)
        (tangent,) = _run([*xs, *steps], [moved], [*wide, *(ways[i] for i in moving)])
        self._compare("jvp", np.sum(g * tangent), found, y.dtype)

    def _difference(
        self, xs: Sequence[Node], y: Any, wide: Sequence[Array], ways: Sequence[Any], g: Array
    ) -> Any:
        step = epsilon(y.dtype) ** (1 / 3)
        after, before = (
            _run(xs, [y], [x if d is None else x + h * d for x, d in zip(wide, ways, strict=True)])
            for h in (step, -step)
        )
        return np.sum(g * (after[0].astype(FLOAT64) - before[0])) / (2 * step)

    def _compare(self, what: str, found: Any, wanted: Any, dtype: DType) -> None:
        tolerance = SLOPE * epsilon(dtype) ** (2 / 3)
        if not abs(found - wanted) <= tolerance * max(1.0, abs(found), abs(wanted)):
            raise self.fail(
                f"its {what} is not the derivative of its eval: along a direction it is "
                f"{found:.9g}, and should be {wanted:.9g}"
            )

    def examples(self) -> None:
        """Three examples at once beside each alone: no two have the same sum, or the same order."""
        three = [np.stack([x, x[::-1] if x.ndim else x, _halved(x)]) for x in self.arrays]
        xs = _placeholders(three)
        (got,) = _run(xs, [vmap(self.op)(*xs)], three)
        for i in range(3):
            (wanted,) = _run(self.inputs, [self.output], [x[i] for x in three])
            if not _close(got[i], wanted, ULPS * epsilon(self.output.dtype)):
                raise self.fail(
                    f"with examples along a first axis it is not what it is of each: "
                    f"{_differ(got[i], wanted)}"
                )


def _halved(x: Array) -> Array:
    """Other numbers, within the range of x's and 0; of bools their opposites."""
    return ~x if x.dtype == np.bool_ else (x / 2).astype(x.dtype)


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
