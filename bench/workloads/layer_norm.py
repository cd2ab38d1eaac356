"""`layer_norm`: rows of 1024 with gain and bias; one read and one write at best."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.kernels import (
    CHECKS,
    ITEM,
    QUICK_SIZES,
    SIZES,
    WIDTH,
    jax_kernel,
    rows,
    staticnet_kernel,
    torch_compiled_kernel,
    torch_kernel,
    twice,
    uniform,
)
from bench.program import Array, Arrays, Workload

EPS = 1e-5


def make_data(size: int) -> dict[str, Array]:
    """x: [size / 4 / 1024, 1024], gain, bias: [1024]"""
    x = uniform(1, size // ITEM // WIDTH, WIDTH)
    return {"x": x, "gain": uniform(2, WIDTH), "bias": uniform(3, WIDTH)}


def staticnet(x: Any, gain: Any, bias: Any) -> Any:
    """The formula, from means."""
    import staticnet as sn

    centred = x - sn.mean(x, axis=-1, keepdims=True)
    variance = sn.mean(centred * centred, axis=-1, keepdims=True)
    return centred * sn.rsqrt(variance + EPS) * gain + bias


def torch(x: Any, gain: Any, bias: Any) -> Any:
    """The library's kernel."""
    import torch

    return torch.nn.functional.layer_norm(x, (WIDTH,), gain, bias, EPS)


def torch_into(out: Any, x: Any, gain: Any, bias: Any) -> None:
    """The library's kernel in its `out=` form, which has no public name; also gives mean, rstd."""
    import torch

    mean = torch.empty((len(x), 1))
    rstd = torch.empty((len(x), 1))
    torch.ops.aten.native_layer_norm.out(
        x, (WIDTH,), gain, bias, EPS, out0=out, out1=mean, out2=rstd
    )


def jax(x: Any, gain: Any, bias: Any) -> Any:
    """The formula, from means."""
    import jax
    import jax.numpy as jnp

    centred = x - jnp.mean(x, -1, keepdims=True)
    variance = jnp.mean(centred * centred, -1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + EPS) * gain + bias


def reference(data: Arrays) -> Any:
    """The formula in float64."""
    x = rows(data["x"], WIDTH).astype(np.float64)
    centred = x - x.mean(1, keepdims=True)
    variance = (centred**2).mean(1, keepdims=True)
    y = twice(centred / np.sqrt(variance + EPS) * data["gain"] + data["bias"])
    return {"into": y, "fresh": y}


def bytes_moved(size: int) -> int:
    """x in, y out, gain and bias once."""
    return 2 * size + 2 * WIDTH * ITEM


LAYER_NORM = Workload(
    name="layer_norm",
    about="layer norm over rows of 1024, with gain and bias",
    make_data=make_data,
    reference=reference,
    contenders={
        "staticnet": staticnet_kernel(staticnet),
        "torch": torch_kernel(torch, torch_into),
        "torch.compile": torch_compiled_kernel(torch),
        "jax": jax_kernel(jax),
    },
    rtol=1e-4,
    atol=1e-5,
    check_steps=CHECKS,
    sizes=SIZES[1:],
    quick_sizes=QUICK_SIZES,
    bytes_moved=bytes_moved,
    working_set=bytes_moved,
    footprint=lambda size: 2 * size,
    scratch=lambda size: size,
)
