"""`matmul`: c = a @ b, square, float32.

A size is the bytes of one matrix; it ends at 2048 x 2048, from where on nothing new is learnt.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bench.kernels import (
    CHECKS,
    ITEM,
    KIB,
    MIB,
    jax_kernel,
    rows,
    staticnet_kernel,
    torch_compiled_kernel,
    torch_kernel,
    twice,
    uniform,
)
from bench.program import Array, Arrays, Workload


def side(size: int) -> int:
    """n of an [n, n] matrix of `size` bytes."""
    return math.isqrt(size // ITEM)


def make_data(size: int) -> dict[str, Array]:
    """a, b: [n, n]"""
    n = side(size)
    return {"a": uniform(1, n, n), "b": uniform(2, n, n)}


def staticnet(a: Any, b: Any) -> Any:
    """a @ b"""
    return a @ b


def torch(a: Any, b: Any) -> Any:
    """a @ b"""
    return a @ b


def torch_into(out: Any, a: Any, b: Any) -> None:
    """a @ b"""
    import torch

    torch.mm(a, b, out=out)


def jax(a: Any, b: Any) -> Any:
    """a @ b"""
    return a @ b


def reference(data: Arrays) -> Any:
    """Some rows of the product in float64."""
    n = len(data["a"])
    y = twice(rows(data["a"], n).astype(np.float64) @ data["b"].astype(np.float64))
    return {"into": y, "fresh": y}


MATMUL = Workload(
    name="matmul",
    about="square matrix product",
    make_data=make_data,
    reference=reference,
    contenders={
        "staticnet": staticnet_kernel(staticnet, 0),
        "torch": torch_kernel(torch, torch_into, 0),
        "torch.compile": torch_compiled_kernel(torch, 0),
        "jax": jax_kernel(jax, 0),
    },
    rtol=1e-4,
    atol=1e-4,
    check_steps=CHECKS,
    sizes=(KIB, 16 * KIB, 256 * KIB, 4 * MIB, 16 * MIB),
    quick_sizes=(16 * KIB,),
    bytes_moved=lambda size: 3 * size,
    flops=lambda size: 2 * side(size) ** 3,
    footprint=lambda size: 3 * size,
    scratch=lambda size: 2 * size,
)
