"""`pointwise`: y = relu(2 * x + z) * 0.5 + x, two arrays read and one written: bandwidth-bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.kernels import (
    CHECKS,
    ITEM,
    QUICK_SIZES,
    SIZES,
    jax_kernel,
    rows,
    staticnet_kernel,
    torch_compiled_kernel,
    torch_kernel,
    twice,
    uniform,
)
from bench.program import Array, Arrays, Workload

WIDTH = 128


def make_data(size: int) -> dict[str, Array]:
    """x, z: [size / 4]"""
    return {"x": uniform(1, size // ITEM), "z": uniform(2, size // ITEM)}


def staticnet(x: Any, z: Any) -> Any:
    """One fused kernel."""
    import staticnet as sn

    return sn.relu(2.0 * x + z) * 0.5 + x


def torch(x: Any, z: Any) -> Any:
    """As it is written; also what torch.compile is given."""
    import torch

    return torch.relu(2.0 * x + z) * 0.5 + x


def torch_into(out: Any, x: Any, z: Any) -> None:
    """Three passes over memory instead of four, and nothing allocated."""
    import torch

    torch.add(z, x, alpha=2.0, out=out)
    torch.relu_(out)
    torch.add(x, out, alpha=0.5, out=out)


def jax(x: Any, z: Any) -> Any:
    """One fused kernel."""
    import jax

    return jax.nn.relu(2.0 * x + z) * 0.5 + x


def reference(data: Arrays) -> Any:
    """The formula in float64."""
    x, z = (rows(data[name], WIDTH).astype(np.float64) for name in "xz")
    y = twice(np.maximum(2 * x + z, 0) * 0.5 + x)
    return {"into": y, "fresh": y}


def bytes_moved(size: int) -> int:
    """x and z in, y out."""
    return 3 * size


POINTWISE = Workload(
    name="pointwise",
    about="y = relu(2x + z) / 2 + x, two arrays in, one out",
    make_data=make_data,
    reference=reference,
    contenders={
        "staticnet": staticnet_kernel(staticnet, WIDTH),
        "torch": torch_kernel(torch, torch_into, WIDTH),
        "torch.compile": torch_compiled_kernel(torch, WIDTH),
        "jax": jax_kernel(jax, WIDTH),
    },
    rtol=1e-5,
    atol=1e-6,
    check_steps=CHECKS,
    sizes=SIZES,
    quick_sizes=QUICK_SIZES,
    bytes_moved=bytes_moved,
    working_set=lambda size: 3 * size,
    footprint=lambda size: 3 * size,
    scratch=lambda size: 2 * size,
)
