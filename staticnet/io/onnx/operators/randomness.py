"""Random numbers: other bits than those of other runtimes, of the same distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

import staticnet as sn
from staticnet.io.onnx.call import Call
from staticnet.io.onnx.operators.arithmetic import target
from staticnet.io.onnx.registry import operator
from staticnet.nn.seed import next_seed
from staticnet.ops.random import Key


def random_key(call: Call) -> Key:
    """The step's draw: the same in each run if it has a seed, else another one in each."""
    seed = call.attribute("seed")
    if seed is None:
        return sn.random.Generator(next_seed()).key()
    bits = int(np.float32(seed).view(np.uint32))
    return sn.random.fold_in(sn.random.key(bits), call.execution.draw())


def _dtype(call: Call, x: Any = None) -> Any:
    """The dtype that the step names; else x's or float32."""
    if call.attribute("dtype") is not None:
        return target(call, "dtype")
    return sn.float32 if x is None else x.dtype


@operator("RandomUniform")
def random_uniform(call: Call) -> Any:
    """Uniform between `low` and `high`."""
    return _uniform(call, call.ints("shape"), _dtype(call))


@operator("RandomUniformLike")
def random_uniform_like(call: Call, x: Any) -> Any:
    """Uniform between `low` and `high`, in x's shape."""
    return _uniform(call, x.shape, _dtype(call, x))


def _uniform(call: Call, shape: Any, dtype: Any) -> Any:
    low, high = call.number("low"), call.number("high")
    return sn.random.uniform(random_key(call), shape, dtype, low, high)


@operator("RandomNormal")
def random_normal(call: Call) -> Any:
    """Normal, of a mean and a scale."""
    return _normal(call, call.ints("shape"), _dtype(call))


@operator("RandomNormalLike")
def random_normal_like(call: Call, x: Any) -> Any:
    """Normal, of a mean and a scale, in x's shape."""
    return _normal(call, x.shape, _dtype(call, x))


def _normal(call: Call, shape: Any, dtype: Any) -> Any:
    return sn.random.normal(
        random_key(call), shape, dtype, call.number("mean"), call.number("scale")
    )


@operator("Bernoulli")
def bernoulli(call: Call, x: Any) -> Any:
    """1 with probability x, else 0."""
    return sn.astype(sn.random.bernoulli(random_key(call), x, x.shape), _dtype(call, x))


@operator("Multinomial")
def multinomial(call: Call, x: Any) -> Any:
    """Draws of a class, by logarithms of probabilities.  x: [n, c] -> y: [n, sample_size]"""
    count = call.integer("sample_size")
    unit = sn.random.uniform(random_key(call), (x.shape[0], count, 1), x.dtype)
    share = sn.cumulative_sum(sn.nn.softmax(x, -1), axis=-1)
    drawn = sn.sum(sn.expand_dims(share, 1) < unit, axis=-1)
    return sn.astype(sn.minimum(drawn, x.shape[1] - 1), _multinomial_dtype(call))


def _multinomial_dtype(call: Call) -> Any:
    return target(call, "dtype") if call.has("dtype") else sn.int32
