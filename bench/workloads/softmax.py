"""`softmax`: over rows of 1024; one read and one write if the row stays on the chip."""

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


def make_data(size: int) -> dict[str, Array]:
    """x: [size / 4 / 1024, 1024]"""
    return {"x": uniform(1, size // ITEM // WIDTH, WIDTH, scale=4)}


def staticnet(x: Any) -> Any:
    """softmax along the last axis"""
    import staticnet as sn

    return sn.nn.softmax(x, -1)


def torch(x: Any) -> Any:
    """softmax along the last axis"""
    import torch

    return torch.softmax(x, -1)


def torch_into(out: Any, x: Any) -> None:
    """softmax along the last axis"""
    import torch

    torch.softmax(x, -1, out=out)


def jax(x: Any) -> Any:
    """softmax along the last axis"""
    import jax

    return jax.nn.softmax(x, -1)


def reference(data: Arrays) -> Any:
    """exp(x - max) / sum in float64."""
    x = rows(data["x"], WIDTH).astype(np.float64)
    e = np.exp(x - x.max(1, keepdims=True))
    y = twice(e / e.sum(1, keepdims=True))
    return {"into": y, "fresh": y}


def bytes_moved(size: int) -> int:
    """x in, y out."""
    return 2 * size


SOFTMAX = Workload(
    name="softmax",
    about="softmax over rows of 1024",
    make_data=make_data,
    reference=reference,
    contenders={
        "staticnet": staticnet_kernel(staticnet),
        "torch": torch_kernel(torch, torch_into),
        "torch.compile": torch_compiled_kernel(torch),
        "jax": jax_kernel(jax),
    },
    rtol=1e-5,
    atol=1e-8,
    check_steps=CHECKS,
    sizes=SIZES[1:],
    quick_sizes=QUICK_SIZES,
    bytes_moved=bytes_moved,
    working_set=bytes_moved,
    footprint=lambda size: 2 * size,
    scratch=lambda size: size,
)
