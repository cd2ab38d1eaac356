"""Single kernels: the loop that is timed, the same for all; a workload supplies the mathematics.

- `into`: the result is written to memory that exists: an updated variable of staticnet, `out=` of
  torch, a donated buffer of JAX.
- `fresh`: the result is a new array, as when nothing is said.

Inputs are where the framework wants them: NumPy arrays for staticnet, tensors, JAX arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.program import Array, Arrays, Build, Mode, Program

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = (*tuple(KIB * 8**i for i in range(7)), GIB)
QUICK_SIZES = (64 * KIB,)
ITEM = 4
WIDTH = 1024
BLOCK = 2**22 - 3
CHECKS = 2


def rows(array: Array, width: int) -> Array:
    """Up to eight rows, evenly spread; a vector is cut into rows of `width`.  -> [<= 8, width]"""
    table = array if array.ndim == 2 else array.reshape(-1, min(width, array.size))
    return table[np.unique(np.linspace(0, len(table) - 1, 8).astype(int))]


def twice(result: Array) -> Array:
    """What a pure kernel's two checks give: the same."""
    return np.concatenate([result.ravel(), result.ravel()])


def kernel_mode(
    call: Callable[[], Any], width: int, read: Callable[[Any], Array] = np.asarray
) -> Mode:
    """A call, and how to read what it gives."""

    def repeat(n: int) -> None:
        for _ in range(n):
            call()

    def check(n: int) -> Array:
        repeat(n - 1)
        return rows(read(call()), width).ravel()

    return Mode(repeat, check)


def staticnet_kernel(formula: Callable[..., Any], width: int = WIDTH) -> Build:
    """`formula` of placeholders: as the next value of a variable, and as an output."""

    def build(data: Arrays, device: str) -> Program:
        import staticnet as sn

        inputs = [sn.placeholder(a.shape, name=name) for name, a in data.items()]
        result = formula(*inputs)
        out = sn.variable(np.zeros(result.shape, np.float32), "out")
        update = sn.function(inputs, [], updates={out: result}, device=device)
        output = sn.function(inputs, result, device=device)
        feeds = list(data.values())

        return Program(
            {
                "into": kernel_mode(lambda: update(*feeds), width, lambda _: out.value),
                "fresh": kernel_mode(lambda: output(*feeds), width),
            }
        )

    return build


def torch_kernel(fresh: Callable[..., Any], into: Callable[..., Any], width: int = WIDTH) -> Build:
    """Eager: `fresh(*tensors)`, and `into(out, *tensors)` by `out=` arguments."""

    def build(data: Arrays, device: str) -> Program:
        import torch

        tensors = [torch.from_numpy(a) for a in data.values()]
        out = _torch_out(fresh, tensors)

        def call_into() -> Any:
            with torch.no_grad():
                into(out, *tensors)
            return out

        def call_fresh() -> Any:
            with torch.no_grad():
                return fresh(*tensors)

        return _program(call_into, call_fresh, width)

    return build


def torch_compiled_kernel(fresh: Callable[..., Any], width: int = WIDTH) -> Build:
    """Compiled for these shapes; `into` ends in a copy to `out`, which the compiler fuses."""

    def build(data: Arrays, device: str) -> Program:
        import torch

        tensors = [torch.from_numpy(a) for a in data.values()]
        out = _torch_out(fresh, tensors)

        @torch.compile(fullgraph=True, dynamic=False)
        def compiled_into(out: Any, *tensors: Any) -> None:
            out.copy_(fresh(*tensors))

        compiled_fresh = torch.compile(fresh, fullgraph=True, dynamic=False)

        def call_into() -> Any:
            with torch.no_grad():
                compiled_into(out, *tensors)
            return out

        def call_fresh() -> Any:
            with torch.no_grad():
                return compiled_fresh(*tensors)

        return _program(call_into, call_fresh, width)

    return build


def _torch_out(formula: Callable[..., Any], tensors: list[Any]) -> Any:
    """Memory for the result; on the `meta` device only its shape is computed."""
    import torch

    shape = formula(*(x.to("meta") for x in tensors)).shape
    return torch.empty(shape)


def _program(into: Callable[[], Any], fresh: Callable[[], Any], width: int) -> Program:
    return Program({"into": kernel_mode(into, width), "fresh": kernel_mode(fresh, width)})


def jax_kernel(formula: Callable[..., Any], width: int = WIDTH) -> Build:
    """Jitted; `into` donates the last result's buffer to the next. Each call waits for its end."""

    def build(data: Arrays, device: str) -> Program:
        import jax
        import jax.numpy as jnp

        arrays = [jax.device_put(a) for a in data.values()]
        output = jax.jit(formula)
        donated = jax.jit(lambda out, *xs: formula(*xs), donate_argnums=0, keep_unused=True)
        shape = jax.eval_shape(formula, *arrays)
        out = jnp.zeros(shape.shape, shape.dtype)

        def into() -> Any:
            nonlocal out
            out = donated(out, *arrays).block_until_ready()
            return out

        def fresh() -> Any:
            return output(*arrays).block_until_ready()

        return _program(into, fresh, width)

    return build


def uniform(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Numbers in [-scale, scale), float32; after BLOCK of them they begin again.

    BLOCK is a prime, so no two rows are alike, and a GiB is drawn in a fraction of a second.
    """
    drawn = np.empty(math.prod(shape), np.float32)
    first = np.random.default_rng(seed).random(min(drawn.size, BLOCK), np.float32)
    first *= 2 * scale
    first -= scale
    for start in range(0, drawn.size, BLOCK):
        drawn[start : start + BLOCK] = first[: drawn.size - start]
    return drawn.reshape(shape)
