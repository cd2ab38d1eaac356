"""Whatever an op is given, it makes a node or raises one of staticnet's errors that names it."""

from __future__ import annotations

import inspect
import random
import tracemalloc
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.control.call import Derivative
from staticnet.errors import ArgumentError, DTypeError, ShapeError, StaticnetError
from staticnet.ir.dtype import DTYPES
from staticnet.ir.literal import Literal
from staticnet.ir.op import OPS
from staticnet.ir.value import FUNCTIONS
from staticnet.ops.base import apply

SIZES = [-2, -1, 0, 1, 2**31, 2**63]
WRONG = [1.5, "a", None, [1], True, object()]
SHAPES = [
    (),
    (-2,),
    (0,),
    (1, -1),
    (2**31,),
    (2**31, 2**31),
    (2**63,),
    (3, 4),
    (sn.Dim("n"), 3),
    (1,) * 40,
]
OPERANDS = [
    sn.placeholder(shape, dtype, "operand")
    for shape in [(), (0,), (3,), (3, 4), (2, 3, 4), (2**31,), (2**31, 2**20), (sn.Dim("n"), 3)]
    for dtype in ["float32", "int64", "bool"]
] + [sn.placeholder((2**62,), "int8", "operand"), sn.placeholder((3, 4), "bfloat16", "operand")]
X = sn.placeholder((3, 4), "float32", "x0")
BY_KIND: dict[str, list[Any]] = {
    "int": [*SIZES, *WRONG],
    "bool": [True, False, 0, *WRONG],
    "str": ["x", "2x", "", *WRONG],
    "DType": [*DTYPES.values(), np.dtype("complex64"), "float32", *WRONG],
    "Shape": [*SHAPES, *WRONG],
    "Axes": [(), (0,), (1, 0), (-1,), (0, 0), (2**63,), (5,), *WRONG],
    "Literal": [Literal.of(np.ones((2, 3), np.float32)), *WRONG],
    "Derivative": [Derivative("a_rule", None), *WRONG],
    "Graph": [sn.Graph("held", [X], outputs) for outputs in ([], [X], [X * 2, X > 0])] + WRONG,
}
MAX_BYTES = 4 << 20
several = pytest.mark.parametrize("trials", [40, pytest.param(400, marks=pytest.mark.slow)])


def attempt(what: str, act: Any) -> str:
    """Run `act`; the message of the staticnet error it raised, or nothing."""
    tracemalloc.start()
    try:
        act()
        message = ""
    except StaticnetError as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MAX_BYTES, f"{what} took {peak} bytes"
    return message


@several
@pytest.mark.parametrize("name", sorted(OPS))
def test_op_classes(name: str, trials: int) -> None:
    rng = random.Random(name)
    cls = OPS[name]
    for _ in range(trials):
        attributes = {f.name: rng.choice(BY_KIND[str(f.type)]) for f in fields(cls)}
        operands = rng.choices(OPERANDS, k=rng.choice([0, 1, 1, 2, 2, 3]))
        what = f"{name}({attributes}) on {operands}"
        message = attempt(what, lambda a=attributes, o=operands: apply(cls(**a), *o))
        assert not message or message.startswith(f"{name}: "), f"{what}: {message}"
        made = not any(f"{key} must be" in message for key in attributes)
        for operand in operands if message and made else ():
            assert str(operand.type) in message, f"{what}: {message}"


def arguments(f: Any, rng: random.Random) -> list[Any]:
    """A random argument for each required parameter and some of the optional ones."""
    result: list[Any] = []
    pool = [
        *OPERANDS,
        *SIZES,
        *SHAPES,
        *WRONG,
        [OPERANDS[9], OPERANDS[9]],
        np.ones((3, 4), "f"),
        ...,
    ]
    for parameter in inspect.signature(f).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            result += rng.choices(OPERANDS, k=rng.randrange(3))
        elif parameter.default is parameter.empty or rng.random() < 0.5:
            tensor = not result and rng.random() < 0.8
            result.append(rng.choice(OPERANDS if tensor else pool))
        else:
            break
    return result


@several
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions(name: str, trials: int) -> None:
    rng = random.Random(name)
    f = FUNCTIONS[name]
    parameters = inspect.signature(f).parameters.values()
    required = sum(p.default is p.empty for p in parameters)
    failures = bool(attempt(name, lambda: f(*[object()] * required)))
    for _ in range(trials):
        args = arguments(f, rng)
        what = f"{name}{tuple(args)!r}"
        message = attempt(what, lambda a=args: f(*a))
        failures += bool(message)
        assert ": " in message or not message, what
    assert failures


@pytest.mark.parametrize("size", SIZES)
def test_declaring(size: int) -> None:
    for declare in (
        lambda: sn.placeholder((size,), name="x"),
        lambda: sn.placeholder((size, size), name="x"),
        lambda: sn.zeros((size, 3)),
        lambda: sn.eye(size),
        lambda: sn.linspace(0, 1, size),
        lambda: sn.random.uniform(sn.random.key(0), (size,)),
    ):
        message = attempt(str(size), declare)
        assert bool(message) or size >= 0


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda x, w: x + w, ShapeError, r"add: shapes do not broadcast: \[batch,3\] and \[3,2\]: x f32\[batch,3\] with w f32\[3,2\] \(.*test_bad_input.py:\d+\)"),
        (lambda x, w: w @ x, ShapeError, r"matmul: inner dimensions differ: 2 and batch: w f32\[3,2\] with x f32\[batch,3\]"),
        (lambda x, w: sn.sum(x, 2), ShapeError, r"sum: axis 2 is out of range for 2 axes: x f32\[batch,3\] \(.*test_bad"),
        (lambda x, w: sn.reshape(w, (4, -1)), ShapeError, r"reshape: -1 in \[4,-1\] has no whole value: w f32\[3,2\]"),
        (lambda x, w: sn.concat([x, w]), ShapeError, r"concat: .*differ outside axis 0"),
        (lambda x, w: w[3], ShapeError, r"getitem: index 3 is out of range for a dimension of 3: w f32"),
        (lambda x, w: w[0, 0, 0], ShapeError, r"getitem: 3 indices"),
        (lambda x, w: w["a"], ArgumentError, r"getitem: 'a' is not an index"),
        (lambda x, w: w + "a", DTypeError, r"add: "),
        (lambda x, w: ~w, DTypeError, r"bitwise_invert: takes .* not float32; cast with sn.astype.*: w f32\[3,2\]"),
        (lambda x, w: sn.cov(x, x), ArgumentError, "cov: correction must be a number"),
        (lambda x, w: sn.var(x, 0, np.float64), ArgumentError, "var: correction must be a number"),
        (lambda x, w: sn.std(x, ddof=1), ArgumentError, "'ddof'; it is called correction"),
        (lambda x, w: sn.astype(w, "complex64"), DTypeError, r"astype: dtype 'complex64' is not supported; use one of bool, int8"),
        (lambda x, w: sn.max(w[:0], 0), ShapeError, r"max: has no value on an empty axis"),
    ],
)  # fmt: skip
def test_messages(act: Any, error: type[Exception], message: str) -> None:
    x = sn.placeholder(("batch", 3), name="x")
    w = sn.variable(np.ones((3, 2), np.float32), "w")
    with pytest.raises(error, match=message):
        act(x, w)


def test_gradients_that_do_not_exist() -> None:
    x = sn.placeholder((3,), name="x")
    other = sn.placeholder((3,), name="other")
    i = sn.placeholder((), "int64", "i")
    with pytest.raises(ShapeError, match=r"grad: the loss must be a scalar, not sin f32\[3\]"):
        sn.grad(sn.sin(x), [x])
    with pytest.raises(
        sn.errors.GradientError, match=r"does not depend on other f32.*allow_unused"
    ):
        sn.grad(sn.sum(x), [other])
    (zero,) = sn.grad(sn.sum(x), [other], allow_unused=True)
    np.testing.assert_array_equal(sn.function([], zero)(), np.zeros(3))
    with pytest.raises(DTypeError, match="i i64.* is not floating-point"):
        sn.grad(i, [x])
    with pytest.raises(ShapeError, match="one cotangent for each output"):
        sn.vjp([x], [x], [sn.sum(x)])
    with pytest.raises(ShapeError, match="one tangent for each w"):
        sn.jvp([x], [x], [sn.sum(x)])
    with pytest.raises(sn.errors.GradientError, match="expected graph nodes, got 3"):
        sn.grad(sn.sum(x), [3])  # type: ignore[list-item]


def test_errors_are_the_builtin_ones_too() -> None:
    for error, builtins in [
        (ShapeError, (ValueError,)),
        (DTypeError, (TypeError,)),
        (sn.errors.FeedError, (ValueError, TypeError)),
        (sn.errors.ExecutionError, (RuntimeError,)),
    ]:
        assert issubclass(error, (StaticnetError, *builtins))
        for builtin in builtins:
            assert issubclass(error, builtin)


LONG = sn.placeholder((2**31, 2), "float32", "long")


@pytest.mark.parametrize(
    "act",
    [
        lambda: sn.nn.functional.pdist(LONG),
        lambda: sn.nn.functional.interpolate(LONG[:4].T[None], size=2**31, mode="linear"),
        lambda: sn.repeat(LONG[:2], [2**40, 1], axis=0),
        lambda: sn.nn.utils.rnn.pack_sequence(LONG),
    ],
    ids=["pairs", "places", "repeats", "parts"],
)
def test_what_would_grow_with_an_axis_is_refused_beforehand(act: Any) -> None:
    assert "at most" in (message := attempt("a table", act)) or "too many" in message
