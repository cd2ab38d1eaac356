"""`adam`: one update of a parameter vector: reads p, g, m, v and writes p, m, v; nothing is fed."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.kernels import ITEM, QUICK_SIZES, SIZES, copies, kernel_mode, rows, uniform
from bench.program import CHECK_STEPS, Array, Arrays, Program, Workload

WIDTH = 128
LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


def make_data(size: int) -> dict[str, Array]:
    """A parameter and its gradient, which stays.  p, g: [size / 4]"""
    return {"p": uniform(1, size // ITEM), "g": uniform(2, size // ITEM)}


def staticnet(data: Arrays, device: str) -> Program:
    """A function of nothing that updates variables."""
    import staticnet as sn

    p = sn.variable(data["p"], "p")
    g = sn.variable(data["g"], "g", trainable=False)
    optimizer = sn.optim.Adam(lr=LR, betas=(BETA1, BETA2), eps=EPS)
    update = sn.function([], [], updates=optimizer.apply({p: g}), device=device)

    return Program({"into": kernel_mode(update, WIDTH, lambda _: p.value)})


def torch(data: Arrays, device: str) -> Program:
    """The fused optimizer."""
    import torch

    p = torch.nn.Parameter(torch.from_numpy(data["p"].copy()))
    p.grad = torch.from_numpy(data["g"])
    optimizer = torch.optim.Adam([p], lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True)

    def call() -> Any:
        optimizer.step()
        return p.detach()

    return Program({"into": kernel_mode(call, WIDTH)})


def torch_compile(data: Arrays, device: str) -> Program:
    """The formula, compiled; all state changes in place."""
    import torch

    p, g = torch.from_numpy(data["p"].copy()), torch.from_numpy(data["g"])
    m, v, t = torch.zeros_like(p), torch.zeros_like(p), torch.zeros(())

    @torch.compile(fullgraph=True, dynamic=False)
    def update(p: Any, g: Any, m: Any, v: Any, t: Any) -> None:
        t.add_(1)
        rate, root = LR / (1 - BETA1**t), torch.sqrt(1 - BETA2**t)
        m.lerp_(g, 1 - BETA1)
        v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        p.sub_(rate * (m / (torch.sqrt(v) / root + EPS)))

    def call() -> Any:
        with torch.no_grad():
            update(p, g, m, v, t)
        return p

    return Program({"into": kernel_mode(call, WIDTH)})


def jax(data: Arrays, device: str) -> Program:
    """The formula, jitted, with p, m, v and the count donated."""
    import functools

    import jax
    import jax.numpy as jnp

    g = jax.device_put(data["g"])
    p = jnp.copy(data["p"])
    state = (p, jnp.zeros_like(p), jnp.zeros_like(p), jnp.zeros(()))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, g: Any) -> Any:
        p, m, v, t = state
        t = t + 1
        rate, root = LR / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g * g
        return p - rate * (m / (jnp.sqrt(v) / root + EPS)), m, v, t

    def call() -> Any:
        nonlocal state
        state = jax.block_until_ready(update(state, g))
        return state[0]

    return Program({"into": kernel_mode(call, WIDTH)})


def reference(data: Arrays) -> Any:
    """The parameter in float64 after the first update, and after CHECK_STEPS of them."""
    p, g = (rows(data[name], WIDTH).astype(np.float64).ravel() for name in "pg")
    m, v = np.zeros_like(p), np.zeros_like(p)
    seen = []
    for t in range(1, CHECK_STEPS + 1):
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g * g
        rate, root = LR / (1 - BETA1**t), np.sqrt(1 - BETA2**t)
        p = p - rate * (m / (np.sqrt(v) / root + EPS))
        seen.append(p)
    return {"into": np.concatenate([seen[0], seen[-1]])}


def bytes_moved(size: int) -> int:
    """p, g, m, v in; p, m, v out."""
    return 7 * size


ADAM = Workload(
    name="adam",
    about="one Adam update of a vector, in place",
    make_data=make_data,
    reference=reference,
    contenders={
        "staticnet": staticnet,
        "torch": torch,
        "torch.compile": torch_compile,
        "jax": jax,
        **copies(bytes_moved),
    },
    rtol=1e-4,
    atol=1e-5,
    sizes=SIZES,
    quick_sizes=QUICK_SIZES,
    bytes_moved=bytes_moved,
    footprint=lambda size: 5 * size,
)
