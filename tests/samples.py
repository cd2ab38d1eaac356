"""One line a sample: how to call an op, on which float64 inputs, and PyTorch's name for it.

`torch` is a function of the torch module and tensors, or a sentence that says why there is none.
Inputs keep clear of points where a derivative jumps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.attention.gradient import AttentionGradient
from staticnet.ops.auxiliary import (
    MatmulActivationGradient,
    MatmulAuxiliary,
    MatmulBiasGradient,
)
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import apply, items
from staticnet.ops.float8 import Float8, Float8Amax, Float8Matmul, Float8Scale, Float8Value
from staticnet.ops.held import Held
from staticnet.ops.library import MatmulAdd, MatmulEpilogue
from staticnet.ops.moments import CenteredSums, Moments, Normalize
from staticnet.ops.random import random_words
from staticnet.ops.with_update import WithUpdate
from staticnet.spatial.convolution import Convolution, ConvolutionInput, ConvolutionWeight
from staticnet.spatial.epilogue import ConvolutionEpilogue
from staticnet.spatial.pooling import MaxPool, MaxPoolGradient, WindowSpread, WindowSum

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sample:
    """A call `build(*nodes)` of the op named `op`, its inputs, and its oracle."""

    op: str
    build: Callable[..., Any]
    args: tuple[Array, ...]
    torch: Callable[..., Any] | str


def r(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> Array:
    """Random float64 values in [low, high), each at least 1/16 away from whole and half numbers."""
    rng = np.random.default_rng([seed, *shape])
    quarters = rng.integers(int(low * 2), int(high * 2), shape) / 2
    return quarters + rng.uniform(1 / 16, 7 / 16, shape)


def pos(*shape: int, seed: int = 0) -> Array:
    """Random float64 values in (0, 2)."""
    return r(*shape, low=0.0, seed=seed)


def unit(*shape: int, seed: int = 0) -> Array:
    """Random float64 values in (-0.9, 0.9)."""
    return np.random.default_rng([seed, *shape]).uniform(-0.9, 0.9, shape)


def distinct(*shape: int, seed: int = 0) -> Array:
    """A random order of distinct values 0.5 apart."""
    n = int(np.prod(shape))
    return (np.random.default_rng([seed, n]).permutation(n) * 0.5 - n / 4).reshape(shape)


def regular(x: Any, t: Any = sn) -> Any:
    """Matrices of any numbers whose singular values lie apart, positive definite if square."""
    y, (m, n) = t.sin(x), x.shape[-2:]
    return y + (5 + 5 * t.arange(n)) * t.eye(m, n, dtype=y.dtype)


def columns(vectors: Any, values: Any) -> Any:
    """The squares of vectors, whose signs are left open, times what they belong to."""
    if values.ndim < vectors.ndim:
        return vectors * vectors * values[..., None, :]
    return (vectors * vectors) @ (values * values)


def apply_to(op: Any) -> Callable[..., Any]:
    """An op as a function of its operands."""
    return lambda *operands: apply(op, *operands)


def last_to_first(x: Any) -> Any:
    """PyTorch's tensor with its channels first."""
    return x.movedim(-1, 1)


def first_to_last(x: Any) -> Any:
    """PyTorch's tensor with its channels last."""
    return x.movedim(1, -1)


PAIRS = (2, 2), (2, 2), (0, 0), (0, 0), (1, 1)
BESIDE = (3, 2), (2, 1), (1, 1), (1, 0), (1, 1)
APART = (2,), (1,), (1,), (1,), (2,)
"""Windows: disjoint ones, some that overlap and reach into padding, and some with gaps."""


def greatest(windows: Any, layout: str, x: Any) -> tuple[Any, Any]:
    """The greatest elements of windows, and their places."""
    found: tuple[Any, Any] = items(apply(MaxPool(*windows, layout), x))
    return found


def put(t: Any, pool: Any, x: Any, g: Any) -> Any:
    """PyTorch's gradient of a pooling, as a function of x and of the gradient of its result."""
    _, places = pool(x)
    flat = t.zeros_like(x).flatten(2).scatter_add(2, places.flatten(2), g.flatten(2))
    return flat.reshape(x.shape)


def gelu_sloped(t: Any, x: Any, y: Any, z: Any) -> Any:
    """Squares of a product times gelu's derivative at z, times the sums of the rows."""
    slope = t.func.vmap(
        t.func.vmap(t.func.grad(lambda u: t.nn.functional.gelu(u, approximate="tanh")))
    )
    d = x @ y * slope(z)
    return columns(d, d.sum(0))


def to_keys(q: Any, k: Any, v: Any, a: Any) -> Any:
    """What causal attention gives for its keys, of weights e**(scores - 1); scores are below 1."""
    q, k, v, a = (sn.tanh(x) for x in (q, k, v, a))
    one = sn.ones_like(sn.sum(q, -1), dtype="float64" if q.dtype == "float64" else "float32")
    scale = sn.sum(one * 0) + 0.5
    return items(apply(AttentionGradient(True), q, k, v, a, scale, one, 2 * one))[1]


def dropped_by_torch(t: Any, q: Any, k: Any) -> Any:
    """Attention of which the numbers under key (1, 2) that are below a half keep weights."""
    words = random_words(1, 2, 2 * 3 * 5).reshape(1, 2, 3, 5)
    factors = t.tensor(2.0 * ((words >> 8) * 2.0**-24 < 0.5), dtype=q.dtype)
    return (t.softmax(q @ k.mT / 2, -1) * factors) @ k


def to_keys_of_torch(t: Any, q: Any, k: Any, v: Any, a: Any) -> Any:
    """The same by its definition."""
    q, k, v, a = (t.tanh(x) for x in (q, k, v, a))
    q, a = (x.unflatten(1, (2, 2)) for x in (q, a))
    kept = t.ones(3, 5, dtype=t.bool).tril()
    w = t.where(kept, t.exp(0.5 * q @ k[:, :, None].mT - 1), 0)
    return (0.5 * (w * (a @ v[:, :, None].mT - 2)).mT @ q).sum(2)


def ints(x: Any) -> Any:
    """x rounded to integers, as int32."""
    return sn.astype(sn.round(x * 4), "int32")


X, Y = r(3, 4), r(3, 4, seed=1)
ROW = r(4, seed=2)
CUBE = r(2, 3, 4, seed=3)
I1 = np.array([2, 0, -1, 2])
I2 = np.array([[0, 3, 1], [2, 2, -4], [1, 0, 0]])
KEYS = np.array([3, 2**64 - 1, 2**32 + 7], np.uint64)
BYTES = np.random.default_rng(8).integers(
    0, 120, (7, 5), np.uint8
)  # small numbers of either format
FACTORS = np.array([2.0**-6, 0.5], np.float32)
NONE = "PyTorch has no such op"


def S(op: str, build: Callable[..., Any], *args: Array, torch: Any = NONE) -> Sample:
    return Sample(op, build, args, torch)


def _unary() -> list[Sample]:
    same = "abs sign ceil floor trunc round exp expm1 sin cos tan sinh cosh tanh asinh atan erf"
    cases: list[tuple[str, Array, str]] = [(name, X, name) for name in same.split()]
    cases += [
        (name, pos(3, 4), name) for name in ["sqrt", "rsqrt", "log", "log1p", "log2", "log10"]
    ]
    cases += [(name, unit(3, 4), name) for name in ["asin", "acos", "atanh"]]
    cases += [("negative", X, "neg"), ("sigmoid", X, "sigmoid"), ("relu", X, "relu")]
    cases += [("acosh", 1 + pos(3, 4), "acosh")]
    cases += [("erfc", X, "erfc"), ("erfinv", unit(3, 4), "erfinv")]
    cases += [("lgamma", X, "lgamma")]
    cases += [(name, X, name) for name in ["isnan", "isinf", "isfinite", "signbit"]]
    return [
        S(name, getattr(sn, name), x, torch=lambda t, x, n=torch_name: getattr(t, n)(x))
        for name, x, torch_name in cases
    ]


def _binary() -> list[Sample]:
    same = "add subtract multiply divide remainder atan2 hypot copysign logaddexp"
    same += " maximum minimum"
    comparisons = {"equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le"}
    comparisons |= {"greater": "gt", "greater_equal": "ge"}
    cases = [(name, name) for name in same.split()] + list(comparisons.items())
    samples = [
        S(name, getattr(sn, name), X, y, torch=lambda t, x, y, n=torch_name: getattr(t, n)(x, y))
        for name, torch_name in cases
        for y in (Y, ROW)
    ]
    return [
        *samples,
        S("nextafter", sn.nextafter, X, ROW, torch=lambda t, x, y: t.nextafter(x, y).detach()),
        S("pow", sn.pow, pos(3, 4), ROW, torch=lambda t, x, y: t.pow(x, y)),
        S("floor_divide", sn.floor_divide, X, ROW, torch=lambda t, x, y: (x / y).floor().detach()),
    ]


def _logic() -> list[Sample]:
    def on_bools(name: str) -> Callable[..., Any]:
        return lambda x, y: getattr(sn, name)(x > 0, y > 0)

    def on_ints(name: str) -> Callable[..., Any]:
        return lambda x, y: getattr(sn, name)(ints(x), sn.abs(ints(y)))

    def torch_ints(t: Any, x: Any, y: Any, f: str) -> Any:
        a, b = (x * 4).round().to(t.int32), (y * 4).round().to(t.int32).abs()
        return getattr(t, f)(a, b)

    samples = [
        S(n, on_bools(n), X, Y, torch=lambda t, x, y, n=n: getattr(t, n)(x > 0, y > 0))
        for n in ("logical_and", "logical_or", "logical_xor", "bitwise_and")
    ]
    samples += [
        S(n, on_ints(n), X, Y, torch=lambda t, x, y, n=n: torch_ints(t, x, y, n))
        for n in ("bitwise_and", "bitwise_or", "bitwise_xor")
    ]
    samples += [
        S(n, on_ints(n), X, Y, torch=lambda t, x, y, n=n: torch_ints(t, x, y, n))
        for n in ("bitwise_left_shift", "bitwise_right_shift")
    ]
    return [
        *samples,
        S("logical_not", lambda x: sn.logical_not(x > 0), X, torch=lambda t, x: ~(x > 0)),
        S(
            "bitwise_invert",
            lambda x: sn.bitwise_invert(ints(x)),
            X,
            torch=lambda t, x: ~(x * 4).round().to(t.int32),
        ),
        S("all", lambda x: sn.all(x > -1, 0), X, torch=lambda t, x: t.all(x > -1, 0)),
        S("any", lambda x: sn.any(x > 1, 1), X, torch=lambda t, x: t.any(x > 1, 1)),
    ]


OTHERS = [
    S("fma", sn.fma, X, Y, ROW, torch=lambda t, x, y, z: x * y + z),
    S("where", lambda x, y: sn.where(x > y, x, y), X, ROW, torch=lambda t, x, y: t.where(x > y, x, y)),
    S("cast", lambda x: sn.astype(x, "int32"), X, torch=lambda t, x: x.to(t.int32)),
    S("cast", lambda x: sn.astype(sn.astype(x, "bool"), "float64"), X, torch=lambda t, x: (x != 0) * 1.0),
    S("stop_gradient", lambda x: sn.stop_gradient(x) * x, X, torch=lambda t, x: x.detach() * x),
    S("constant", lambda x: x * sn.constant(Y), X, torch=lambda t, x: x * t.tensor(Y)),
    S("iota", lambda x: x * sn.arange(4, dtype="float64"), X, torch=lambda t, x: x * t.arange(4)),
    S("size", lambda x: sn.mean(x, 0), X, torch=lambda t, x: t.mean(x, 0)),
    S("placeholder", lambda x: x, X, torch=lambda t, x: x * 1),
    S("variable", lambda x: x + sn.variable(Y), X, torch=lambda t, x: x + t.tensor(Y)),
    S("reshape", lambda x: sn.reshape(x, (2, -1)), X, torch=lambda t, x: x.reshape(2, -1)),
    S("permute_dims", lambda x: sn.permute_dims(x, (2, 0, 1)), CUBE, torch=lambda t, x: x.permute(2, 0, 1)),
    S("broadcast_to", lambda x: sn.broadcast_to(x, (2, 3, 4)), ROW, torch=lambda t, x: x.expand(2, 3, 4)),
    S("slice", lambda x: x[1:, ::2], X, torch=lambda t, x: x[1:, ::2]),
    S("slice", lambda x: x[..., -1], CUBE, torch=lambda t, x: x[..., -1]),
    S("slice", lambda x: x[0, None, 3:0:-2], X, torch=lambda t, x: x.flip(1)[0, None, 0:3:2]),
    S("slice", lambda x: x[:, 2:2], X, torch=lambda t, x: x[:, 2:2]),
    S("pad", lambda x: sn.pad(x, ((1, 0), (2, 3)), 7.0), X, torch=lambda t, x: t.nn.functional.pad(x, (2, 3, 1, 0), value=7.0)),
    S("concat", lambda x, y: sn.concat([x, y, x], 1), X, Y, torch=lambda t, x, y: t.cat([x, y, x], 1)),
    S("flip", lambda x: sn.flip(x, (0, 2)), CUBE, torch=lambda t, x: t.flip(x, (0, 2))),
    S("sum", lambda x: sn.sum(x, (0, 2)), CUBE, torch=lambda t, x: t.sum(x, (0, 2))),
    S("sum", lambda x: sn.sum(x, 1, keepdims=True), CUBE, torch=lambda t, x: t.sum(x, 1, keepdim=True)),
    S("max", lambda x: sn.max(x, (0, 2)), distinct(2, 3, 4), torch=lambda t, x: t.amax(x, (0, 2))),
    S("min", lambda x: sn.min(x, 1, keepdims=True), distinct(2, 3, 4), torch=lambda t, x: t.amin(x, 1, keepdim=True)),
    S("prod", lambda x: sn.prod(x, 1), X, torch=lambda t, x: t.prod(x, 1)),
    S("prod", lambda x: sn.prod(x * sn.constant(np.array([1.0, 0.0, 1.0, 1.0]))), r(4), torch=lambda t, x: t.prod(x * t.tensor([1.0, 0, 1, 1], dtype=t.float64))),
    S("argmax", lambda x: sn.argmax(x, 1), distinct(3, 4), torch=lambda t, x: t.argmax(x, 1)),
    S("argmin", lambda x: sn.argmin(x, 0, keepdims=True), distinct(3, 4), torch=lambda t, x: t.argmin(x, 0, keepdim=True)),
    S("cumulative_sum", lambda x: sn.cumulative_sum(x, 1), CUBE, torch=lambda t, x: t.cumsum(x, 1)),
    S("cumulative_prod", lambda x: sn.cumulative_prod(x, 1), CUBE, torch=lambda t, x: t.cumprod(x, 1)),
    S("cummax", lambda x: sn.cummax(x, 1), distinct(2, 3, 4), torch=lambda t, x: t.cummax(x, 1).values),
    S("cummin", lambda x: sn.cummin(x, 2), distinct(2, 3, 4), torch=lambda t, x: t.cummin(x, 2).values),
    S("logcumsumexp", lambda x: sn.logcumsumexp(x, 1), CUBE, torch=lambda t, x: t.logcumsumexp(x, 1)),
    S("top_k", lambda x: sn.top_k(x, 2, 1)[1], distinct(3, 4), torch=lambda t, x: t.topk(x, 2, 1)[1]),
    S("argsort", lambda x: sn.argsort(x, 1, descending=True), distinct(3, 4), torch=lambda t, x: t.argsort(x, 1, descending=True)),
    S("digamma", sn.digamma, X, torch="its derivative has nine digits there; see test_special"),
    S("polygamma", lambda x: sn.polygamma(1, x), X, torch="has nine digits; see test_special"),
    S("polygamma", lambda x: sn.polygamma(2, x), pos(3, 4), torch=lambda t, x: t.polygamma(2, x)),
    S("take", lambda x: sn.take(x, sn.constant(I1), 0), X, torch=lambda t, x: x[t.tensor(I1)]),
    S("take", lambda x: x[:, sn.constant(I2[:, :2] % 3)], CUBE, torch=lambda t, x: x[:, t.tensor(I2[:, :2] % 3)]),
    S("scatter_add", lambda x, u: sn.scatter_add(x, sn.constant(I1 % 3), u, 0), X, r(4, 4, seed=5), torch=lambda t, x, u: x.index_add(0, t.tensor(I1 % 3), u)),
    S("take_along_axis", lambda x: sn.take_along_axis(x, sn.constant(I2), 1), X, torch=lambda t, x: t.gather(x, 1, t.tensor(I2 % 4))),
    S("scatter_add_along_axis", lambda x, u: sn.scatter_add_along_axis(x, sn.constant(I2), u, 1), X, r(3, 3, seed=6), torch=lambda t, x, u: t.scatter_add(x, 1, t.tensor(I2 % 4), u)),
    S("scatter_along_axis", lambda x, u: sn.scatter(x, 1, sn.constant(I2), u), X, r(3, 3, seed=6), torch="of equal indices the last sets, and PyTorch gives each the derivative"),
    S("scatter_max_along_axis", lambda x, u: sn.scatter_reduce(x, 1, sn.constant(I2), u, "amax"), X, r(3, 3, seed=6), torch=lambda t, x, u: t.scatter_reduce(x, 1, t.tensor(I2 % 4), u, "amax")),
    S("scatter_min_along_axis", lambda x, u: sn.scatter_reduce(x, 1, sn.constant(I2), u, "amin"), X, r(3, 3, seed=6), torch=lambda t, x, u: t.scatter_reduce(x, 1, t.tensor(I2 % 4), u, "amin")),
    S("scatter_prod_along_axis", lambda x, u: sn.scatter_reduce(x, 1, sn.constant(I2), u, "prod"), X, r(3, 3, seed=6), torch=lambda t, x, u: t.scatter_reduce(x, 1, t.tensor(I2 % 4), u, "prod")),
    S("matmul", sn.matmul, r(3, 4), r(4, 2), torch=lambda t, x, y: x @ y),
    S("matmul", sn.matmul, r(2, 3, 4), r(4, 2), torch=lambda t, x, y: x @ y),
    S("matmul", sn.matmul, r(5, 1, 3, 4), r(2, 4, 2), torch=lambda t, x, y: x @ y),
    S("matmul", sn.matmul, r(4), r(2, 4, 3), torch=lambda t, x, y: x @ y),
    S("held", lambda x: sn.tanh(apply(Held(), x)), X, torch=lambda t, x: x.tanh()),
    S("optimization_barrier", lambda x: sn.tanh(apply(OptimizationBarrier(0), x)) + sn.tanh(x), X, torch=lambda t, x: 2 * x.tanh()),
    S("matmul_epilogue", lambda x, y, b: apply(MatmulEpilogue("relu"), x, y, b), r(3, 4), r(4, 2), r(2), torch=lambda t, x, y, b: t.relu(x @ y + b)),
    S("matmul_epilogue", lambda x, y, b: apply(MatmulEpilogue("gelu"), x, y, b), r(5, 1, 3, 4), r(2, 4, 2), r(2), torch=lambda t, x, y, b: t.nn.functional.gelu(x @ y + b, approximate="tanh")),
    S("matmul_epilogue", lambda x, y: apply(MatmulEpilogue("gelu"), x, y), r(3, 4), r(4, 2), torch=lambda t, x, y: t.nn.functional.gelu(x @ y, approximate="tanh")),
    S("matmul_epilogue", lambda x, y, b: apply(MatmulEpilogue("none"), x, y, b), r(2, 3, 4), r(4, 2), r(2), torch=lambda t, x, y, b: x @ y + b),
    S("matmul_auxiliary", lambda x, y, b: columns(*items(apply(MatmulAuxiliary("gelu"), x, y, b))[::-1]), r(3, 4), r(4, 3), r(3), torch=lambda t, x, y, b: columns(x @ y + b, t.nn.functional.gelu(x @ y + b, approximate="tanh"))),
    S("matmul_auxiliary", lambda x, y: items(apply(MatmulAuxiliary("relu"), x, y))[0], r(3, 4), r(4, 3), torch=lambda t, x, y: t.relu(x @ y)),
    S("matmul_activation_gradient", lambda x, y, z: columns(*items(apply(MatmulActivationGradient("gelu"), x, y, z))), r(3, 4), r(4, 2), r(3, 2), torch=gelu_sloped),
    S("matmul_activation_gradient", lambda x, y: items(apply(MatmulActivationGradient("relu"), x, y, np.array([[1] + [0] * 15, [3] + [0] * 15], "uint8")))[1], r(2, 4), r(4, 3), torch=lambda t, x, y: (x @ y * t.tensor([[1, 0, 0], [1, 1, 0]])).sum(0)),
    S("matmul_bias_gradient", lambda x, y: columns(*items(apply(MatmulBiasGradient("right"), x, y))), r(3, 4), r(4, 2), torch=lambda t, x, y: columns(x @ y, y.sum(0))),
    S("matmul_bias_gradient", lambda x, y: columns(*items(apply(MatmulBiasGradient("left"), x, y))), r(2, 4), r(4, 2), torch=lambda t, x, y: columns(x @ y, x.sum(1))),
    S("matmul_add", lambda x, y, c: apply(MatmulAdd(), x, y, c), r(3, 4), r(4, 2), r(3, 2), torch=lambda t, x, y, c: c + x @ y),
    S("convolution", apply_to(Convolution((1, 1), (1, 0), (1, 0), (1, 1), (1,), "first")), r(2, 3, 4, 5), r(4, 3, 3, 2), torch=lambda t, x, w: t.conv2d(x, w, padding=(1, 0))),
    S("convolution", apply_to(Convolution((2, 1), (1, 2), (1, 2), (1, 2), (2,), "last")), r(2, 5, 4, 4), r(6, 2, 3, 2), torch=lambda t, x, w: first_to_last(t.conv2d(last_to_first(x), w, None, (2, 1), (1, 2), (1, 2), 2))),
    S("convolution_epilogue", apply_to(ConvolutionEpilogue("convolution", (2, 1), (1, 0), (1, 0), (1, 1), (1,), "first", (), True, True, True, "relu")), r(2, 3, 4, 5), r(4, 3, 3, 2), r(4), r(4), r(2, 4, 2, 4), torch=lambda t, x, w, s, b, z: t.relu(t.conv2d(x, w, None, (2, 1), (1, 0)) * s.reshape(-1, 1, 1) + b.reshape(-1, 1, 1) + z)),
    S("convolution_epilogue", lambda y, w, m: apply(ConvolutionEpilogue("convolution_input", (1,), (1,), (1,), (1,), (2,), "last", (3,), False, False, False, "mask"), y, w, m > 0), r(2, 3, 4), r(4, 1, 3), r(2, 3, 2), torch=lambda t, y, w, m: t.where(m > 0, first_to_last(t.conv_transpose1d(last_to_first(y), w, None, 1, 1, 0, 2)), 0)),
    S("convolution_input", apply_to(ConvolutionInput((3,), (1,), (0,), (2,), (2,), "first", (9,))), r(2, 4, 3), r(4, 1, 2), torch=lambda t, y, w: t.conv_transpose1d(y, w, None, 3, 0, 1, 2, 2)[..., 1:]),
    S("convolution_input", apply_to(ConvolutionInput((1, 2, 1), (0, 1, 0), (0, 1, 0), (1, 1, 1), (1,), "last", (3, 3, 2))), r(2, 2, 2, 1, 3), r(3, 2, 2, 3, 2), torch=lambda t, y, w: first_to_last(t.conv_transpose3d(last_to_first(y), w, None, (1, 2, 1), (0, 1, 0)))),
    S("convolution_weight", apply_to(ConvolutionWeight((2, 1), (1, 0), (1, 0), (1, 2), (2,), "first", (2, 3))), r(2, 4, 3, 6), r(2, 2, 2, 2), torch=lambda t, x, y: t.nn.grad.conv2d_weight(x, (2, 2, 2, 3), y, (2, 1), (1, 0), (1, 2), 2)),
    S("convolution_weight", apply_to(ConvolutionWeight((2, 1), (1, 0), (1, 0), (1, 2), (2,), "last", (2, 3))), r(2, 3, 6, 4), r(2, 2, 2, 2), torch=lambda t, x, y: t.nn.grad.conv2d_weight(last_to_first(x), (2, 2, 2, 3), last_to_first(y), (2, 1), (1, 0), (1, 2), 2)),
    S("attention", lambda q, k, v: sn.nn.scaled_dot_product_attention(q, k, v, scale=0.5), r(1, 4, 3, 2), r(1, 2, 5, 2)[:, :1], r(1, 1, 5, 3), torch=lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.5)),
    S("attention", lambda q, k, m: sn.nn.scaled_dot_product_attention(q, k, k, m), r(2, 2, 3, 4), r(2, 2, 5, 4), r(3, 5), torch=lambda t, q, k, m: t.nn.functional.scaled_dot_product_attention(q, k, k, m)),
    S("attention", lambda q, k: sn.nn.scaled_dot_product_attention(q, k, k, dropout_p=0.5, dropout_key=sn.random.key(1, 2)), r(1, 2, 3, 4), r(1, 2, 5, 4), torch=dropped_by_torch),
    S("attention_gradient", lambda q, k, v, a: to_keys(q, k, v, a), r(1, 4, 3, 2), r(1, 2, 5, 2), r(1, 2, 5, 3), r(1, 4, 3, 3), torch=to_keys_of_torch),
    S("max_pool", lambda x: greatest(PAIRS, "first", x)[0], distinct(2, 3, 4, 5), torch=lambda t, x: t.nn.functional.max_pool2d(x, 2)),
    S("max_pool", lambda x: greatest(APART, "last", x)[0], distinct(2, 7, 3), torch=lambda t, x: t.nn.functional.max_pool1d(x.mT, 2, 1, 1, 2).mT),
    S("max_pool_gradient", lambda x, g: apply(MaxPoolGradient(*PAIRS, "first", (4, 5)), g, greatest(PAIRS, "first", x)[1]), distinct(2, 3, 4, 5), r(2, 3, 2, 2), torch=lambda t, x, g: put(t, lambda x: t.nn.functional.max_pool2d(x, 2, return_indices=True), x, g)),
    S("max_pool_gradient", lambda x, g: apply(MaxPoolGradient(*APART, "last", (7,)), g, greatest(APART, "last", x)[1]), distinct(2, 7, 3), r(2, 7, 3), torch=lambda t, x, g: put(t, lambda x: t.nn.functional.max_pool1d(x, 2, 1, 1, 2, return_indices=True), x.mT, g.mT).mT),
    S("window_sum", lambda x: apply(WindowSum(*PAIRS, "last"), x), r(2, 4, 5, 3), torch=lambda t, x: 4 * t.nn.functional.avg_pool2d(x.movedim(3, 1), 2).movedim(1, 3)),
    S("window_sum", lambda x: apply(WindowSum(*BESIDE, "first"), x), r(2, 3, 6, 5), torch=lambda t, x: 6 * t.nn.functional.avg_pool2d(x, (3, 2), (2, 1), 1)[..., :5]),
    S("window_spread", lambda g: apply(WindowSpread(*PAIRS, "first", (4, 5)), g), r(2, 3, 2, 2), torch=lambda t, g: t.nn.functional.pad(g.repeat_interleave(2, 2).repeat_interleave(2, 3), (0, 1))),
    S("window_spread", lambda g: apply(WindowSpread(*APART, "last", (7,)), g), r(2, 7, 3), torch=lambda t, g: t.nn.functional.conv_transpose1d(g.mT.reshape(6, 1, 7), t.ones(1, 1, 2, dtype=g.dtype), padding=1, dilation=2).reshape(2, 3, 7).mT),
    S("moments", lambda x: columns(*items(apply(Moments(1), x))), CUBE, torch=lambda t, x: columns(x.mean((0, 2)), x.var((0, 2), correction=0))),
    S("moments", lambda x: columns(*items(apply(Moments(2), x))), CUBE, torch=lambda t, x: columns(x.mean((0, 1)), x.var((0, 1), correction=0))),
    S("centered_sums", lambda g, x, m: columns(*items(apply(CenteredSums(1), g, x, m))), CUBE, r(2, 3, 4, seed=1), r(3), torch=lambda t, g, x, m: columns(g.sum((0, 2)), (g * (x - m[:, None])).sum((0, 2)))),
    S("normalize_channels", apply_to(Normalize(1)), CUBE, r(1, 3, 1), r(1, 3, 1, seed=1), r(1, 3, 1, seed=2), torch=lambda t, x, m, a, b: (x - m) * a + b),
    S("with_update", lambda x: sn.tanh(apply(WithUpdate(), x, v := sn.variable(Y), x, v + x)), X, torch=lambda t, x: x.tanh()),
    S("cholesky", lambda x: sn.linalg.cholesky(regular(x)), CUBE[..., :3], torch=lambda t, x: t.linalg.cholesky((regular(x, t) + regular(x, t).mT) / 2)),
    S("triangular_solve", lambda a, b: sn.linalg.solve_triangular(regular(a), b, upper=True), CUBE[..., :3], r(2, 3, 2), torch=lambda t, a, b: t.linalg.solve_triangular(regular(a, t).triu(), b, upper=True)),
    S("triangular_solve", lambda a, b: sn.linalg.solve_triangular(a, b, upper=False, left=False, unitriangular=True), X[:, :3], r(2, 4, 3), torch=lambda t, a, b: t.linalg.solve_triangular(a.tril(), b, upper=False, left=False, unitriangular=True)),
    S("lu", lambda x: sn.linalg.inv(regular(x)), CUBE[..., :3], torch=lambda t, x: t.linalg.inv(regular(x, t))),
    S("lu_solution", lambda a, b: sn.linalg.solve(regular(a), b), X[:, :3], r(2, 3, 2), torch=lambda t, a, b: t.linalg.solve(regular(a, t), b)),
    S("determinant", lambda x: sn.linalg.det(regular(x)), CUBE[..., :3], torch=lambda t, x: t.linalg.det(regular(x, t))),
    S("log_determinant", lambda x: sn.linalg.slogdet(regular(x)).logabsdet, CUBE[..., :3], torch=lambda t, x: t.linalg.slogdet(regular(x, t))[1]),
    S("pseudo_inverse", lambda x: sn.linalg.pinv(regular(x)), CUBE, torch=lambda t, x: t.linalg.pinv(regular(x, t))),
    S("qr", lambda x: columns(*sn.linalg.qr(regular(x).mT)), CUBE, torch=lambda t, x: columns(*t.linalg.qr(regular(x, t).mT))),
    S("qr", lambda x: sn.abs(sn.linalg.qr(regular(x), mode="complete").R), r(4, 3), torch=lambda t, x: t.nn.functional.pad(t.linalg.qr(regular(x, t)).R.abs(), (0, 0, 0, 1))),
    S("eigh", lambda x: columns(*sn.linalg.eigh(regular(x))[::-1]), CUBE[..., :3], torch=lambda t, x: columns(*t.linalg.eigh((regular(x, t) + regular(x, t).mT) / 2)[::-1])),
    S("svd", lambda x: columns(*sn.linalg.svd(regular(x), full_matrices=False)[:2]), CUBE, torch=lambda t, x: columns(*t.linalg.svd(regular(x, t), full_matrices=False)[:2])),
    S("svd", lambda x: columns(sn.linalg.svd(regular(x), full_matrices=False).Vh.mT, sn.linalg.svdvals(regular(x))), CUBE, torch=lambda t, x: columns(t.linalg.svd(regular(x, t), full_matrices=False).Vh.mT, t.linalg.svdvals(regular(x, t)))),
    S("svd", lambda x: sn.linalg.svd(regular(x)).S, CUBE, torch=lambda t, x: t.linalg.svdvals(regular(x, t))),
    S("float8", lambda x: x * sn.astype(apply(Float8(False), np.linspace(-600, 600, 12, dtype="f").reshape(3, 4), np.float32(0.5)), "float64"), X, torch="its products are scaled: see test_float8.py"),
    S("float8", lambda x: x * sn.astype(apply(Float8(True), np.geomspace(1e-6, 9e4, 12, dtype="f").reshape(3, 4), np.float32(1)), "float64"), X, torch="its products are scaled: see test_float8.py"),
    S("float8_value", lambda x: x * sn.astype(apply(Float8Value(True), np.arange(12, dtype="uint8").reshape(3, 4) * 10, np.float32(2)), "float64"), X, torch="its products are scaled: see test_float8.py"),
    S("float8_scale", lambda x: x * sn.astype(apply(Float8Scale(), np.array([0, 1, 3, np.inf], "f"), np.float32(448)), "float64"), X, torch="no function of PyTorch's"),
    S("float8_amax", lambda x: x * apply(Float8Amax((1,), False), np.array([[0, 1], [3, 2], [4, 4], [5, 7]], "d")), X, torch="of a constant"),
    S("float8_matmul", lambda x: x * sn.astype(apply(Float8Matmul(False, True, 0, 1), BYTES[:3], BYTES[3:], FACTORS, FACTORS), "float64"), X, torch="see test_float8.py"),
    S("float8_matmul", lambda x: x * sn.astype(apply(Float8Matmul(True, False, 1, 0), BYTES[:3], BYTES[3:], FACTORS, FACTORS, sn.constant(FACTORS[[0, 1, 0, 1]], "bfloat16")), "float64"), X, torch="see test_float8.py"),
    S("random_bits", lambda x: x * sn.random.uniform(sn.random.key(3), (3, 4), "float64"), X, torch="another generator"),
    S("random_bits", lambda x: x * sn.random.uniform(sn.random.Key(sn.constant(KEYS), sn.constant(KEYS[::-1].copy())), (4,), "float64"), X, torch="another generator"),
]  # fmt: skip

SAMPLES = [*_unary(), *_binary(), *_logic(), *OTHERS]
