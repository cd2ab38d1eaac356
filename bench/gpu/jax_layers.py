"""Layers in JAX with PyTorch's names: what the networks of the suite are made of for JAX.

A layer's weights are its attributes, which `bind` sets to arrays that a step differentiates, or to
tracers. Matrices and kernels come in the type that products are computed in; norms and the biases
are float32, and results have the type of what they are computed from, as Flax's modules with a
16-bit `dtype` do. Images are told with channels first; XLA lays them out as its library likes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

BUFFERS = ("running_mean", "running_var")
EPSILON = 1e-5  # of norms


class Module:
    """What computes `forward` when it is called."""

    def __call__(self, *inputs: Any) -> Any:
        """What `forward` gives."""
        return self.forward(*inputs)

    def forward(self, *inputs: Any) -> Any:
        """Its results."""
        raise NotImplementedError


def bind(model: Module, values: Mapping[str, Any]) -> None:
    """Set each weight by its name, as `blocks.0.ln_1.weight`."""
    for name, value in values.items():
        *path, last = name.split(".")
        holder: Any = model
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, last, value)


def read(model: Module, names: Iterable[str]) -> dict[str, Any]:
    """Weights by their names."""
    found = {}
    for name in names:
        value: Any = model
        for part in name.split("."):
            value = getattr(value, part)
        found[name] = value
    return found


class Sequential(Module):
    """One layer after the other."""

    def __init__(self, *layers: Any) -> None:
        self._names = [str(i) for i in range(len(layers))]
        for name, layer in zip(self._names, layers, strict=True):
            setattr(self, name, layer)

    def forward(self, x: Any) -> Any:
        """See above."""
        for name in self._names:
            x = getattr(self, name)(x)
        return x


class Linear(Module):
    """x W^T + b.  x: [..., n] -> [..., m]"""

    def __init__(self, n: int, m: int) -> None:
        self.weight: Any
        self.bias: Any

    def forward(self, x: Any) -> Any:
        """See above."""
        y = x.astype(self.weight.dtype) @ self.weight.T
        return y + self.bias.astype(y.dtype)


class Embedding(Module):
    """Rows of a table.  x: int [...] -> [..., m]"""

    def __init__(self, n: int, m: int) -> None:
        self.weight: Any

    def forward(self, x: Any) -> Any:
        """See above."""
        return jnp.take(self.weight, x, axis=0)


class Conv2d(Module):
    """A square kernel's correlation.  x: [b, n, h, w] -> [b, m, h', w']"""

    def __init__(
        self, n: int, m: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        self.weight: Any
        self.bias: Any = None
        self._stride, self._padding = stride, padding

    def forward(self, x: Any) -> Any:
        """See above."""
        y = jax.lax.conv_general_dilated(
            x.astype(self.weight.dtype), self.weight, (self._stride,) * 2,
            [(self._padding,) * 2] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )  # fmt: skip
        return y if self.bias is None else y + self.bias.astype(y.dtype)[:, None, None]


class BatchNorm2d(Module):
    """By the batch's moments, of which it keeps running ones.  x: [b, n, h, w] -> the same"""

    def __init__(self, n: int) -> None:
        self.weight: Any
        self.bias: Any
        self.running_mean: Any
        self.running_var: Any

    def forward(self, x: Any) -> Any:
        """See above."""
        z = x.astype(jnp.float32)
        mean = z.mean((0, 2, 3))
        var = jnp.maximum((z * z).mean((0, 2, 3)) - mean * mean, 0)
        count = z.size // z.shape[1]
        self.running_mean = 0.9 * self.running_mean + 0.1 * mean
        self.running_var = 0.9 * self.running_var + 0.1 * var * (count / (count - 1))
        scale = jax.lax.rsqrt(var + EPSILON) * self.weight
        y = (z - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]
        return y.astype(x.dtype)


class LayerNorm(Module):
    """By each row's moments.  x: [..., n] -> the same"""

    def __init__(self, n: int) -> None:
        self.weight: Any
        self.bias: Any

    def forward(self, x: Any) -> Any:
        """See above."""
        z = x.astype(jnp.float32)
        z = z - z.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt((z * z).mean(-1, keepdims=True) + EPSILON)
        return (z * scale * self.weight + self.bias).astype(x.dtype)


class LSTM(Module):
    """Hochreiter and Schmidhuber, 1997, the batch first.  x: [b, t, n] -> ([b, t, m], None)

    The products with what comes in are one for all steps; a scan makes those with what it carries.
    """

    def __init__(self, n: int, m: int, layers: int, batch_first: bool) -> None:
        self._layers = layers

    def forward(self, x: Any) -> Any:
        """See above."""
        x = x.swapaxes(0, 1)
        for i in range(self._layers):
            kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            w, u, b, c = (getattr(self, f"{kind}_l{i}") for kind in kinds)
            x = _recurrent((x @ w.T).astype(jnp.float32) + (b + c), u)
        return x.swapaxes(0, 1), None


def _recurrent(given: Any, weight: Any) -> Any:
    """The hidden values of all steps.  given: [t, b, 4 m], weight: [4 m, m] -> [t, b, m]"""
    turned = weight.T

    def step(carry: Any, gates: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(gates + (h @ turned).astype(jnp.float32), 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = (jax.nn.sigmoid(o) * jnp.tanh(c)).astype(weight.dtype)
        return (h, c), h

    shape = given.shape[1], weight.shape[1]
    first = jnp.zeros(shape, weight.dtype), jnp.zeros(shape, jnp.float32)
    return jax.lax.scan(step, first, given)[1]


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, x: Any) -> Any:
        """See above."""
        return jax.nn.relu(x)


class MaxPool2d(Module):
    """The largest of each square.  x: [b, n, h, w] -> [b, n, h', w']"""

    def __init__(self, kernel: int, stride: int = 0, padding: int = 0) -> None:
        self._kernel, self._stride, self._padding = kernel, stride or kernel, padding

    def forward(self, x: Any) -> Any:
        """See above."""
        padding = [(0, 0)] * 2 + [(self._padding,) * 2] * 2
        steps = (1, 1, self._stride, self._stride)
        window = (1, 1, self._kernel, self._kernel)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, steps, padding)


class AdaptiveAvgPool2d(Module):
    """The mean of each channel.  x: [b, n, h, w] -> [b, n, 1, 1]"""

    def __init__(self, size: int) -> None:
        assert size == 1

    def forward(self, x: Any) -> Any:
        """See above."""
        return x.mean((2, 3), keepdims=True)


class Flatten(Module):
    """[b, ...] -> [b, n]"""

    def forward(self, x: Any) -> Any:
        """See above."""
        return x.reshape((x.shape[0], -1))


def _gelu(x: Any, approximate: str) -> Any:
    return jax.nn.gelu(x, approximate=approximate == "tanh")


def _attention(q: Any, k: Any, v: Any, is_causal: bool) -> Any:
    """softmax(q k^T / sqrt(d)) v, on a GPU in 16 bits by cuDNN.  q, k, v: [b, heads, t, d]"""
    half = q.dtype == jnp.bfloat16 and jax.default_backend() == "gpu"
    how = "cudnn" if half else "xla"
    parts = (x.swapaxes(1, 2) for x in (q, k, v))
    y = jax.nn.dot_product_attention(*parts, is_causal=is_causal, implementation=how)
    return y.swapaxes(1, 2)


functional = SimpleNamespace(gelu=_gelu, scaled_dot_product_attention=_attention)
