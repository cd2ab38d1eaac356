"""`adam`: one update of a parameter vector: reads p, g, m, v and writes p, m, v; nothing is fed."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench import adam_rule
from bench.kernels import ITEM, QUICK_SIZES, SIZES, kernel_mode, rows, uniform
from bench.program import Array, Arrays, Program, Workload

WIDTH = 128
STEPS = 5


def make_data(size: int) -> dict[str, Array]:
    """A parameter and its gradient, which stays.  p, g: [size / 4]"""
    return {"p": uniform(1, size // ITEM), "g": uniform(2, size // ITEM)}


def staticnet(data: Arrays, device: str) -> Program:
    """A function of nothing that updates variables."""
    import staticnet as sn

    # a variable copies its value
    p = sn.variable(data.pop("p"), "p")
    g = sn.variable(data.pop("g"), "g", trainable=False)
    updates = sn.optim.Adam(**adam_rule.OPTIONS).apply({p: g})
    update = sn.function([], [], updates=updates, device=device)

    return Program({"into": kernel_mode(update, WIDTH, lambda _: p.value)})


def torch(data: Arrays, device: str) -> Program:
    """The fused optimizer."""
    import torch

    p = torch.nn.Parameter(torch.from_numpy(data["p"].copy()))
    p.grad = torch.from_numpy(data["g"])
    optimizer = torch.optim.Adam([p], **adam_rule.OPTIONS, fused=True)

    def call() -> Any:
        optimizer.step()
        return p.detach()

    return Program({"into": kernel_mode(call, WIDTH)})


def torch_compile(data: Arrays, device: str) -> Program:
    """The formula, compiled; all state changes in place."""
    import torch

    p, g = torch.from_numpy(data["p"].copy()), torch.from_numpy(data["g"])
    m, v, t = torch.zeros_like(p), torch.zeros_like(p), torch.zeros(())

    @torch.no_grad()
    @torch.compile(fullgraph=True, dynamic=False)
    def update(p: Any, g: Any, m: Any, v: Any, t: Any) -> None:
        adam_rule.update_tensors(t, [p], [g], [m], [v])

    def call() -> Any:
        update(p, g, m, v, t)
        return p

    return Program({"into": kernel_mode(call, WIDTH)})


def jax(data: Arrays, device: str) -> Program:
    """The formula, jitted, with p, m, v and the count donated."""
    import functools

    import jax
    import jax.numpy as jnp

    g = [jax.device_put(data["g"])]
    p = [jnp.copy(data["p"])]
    state = (p, [jnp.zeros_like(p[0])], [jnp.zeros_like(p[0])], jnp.zeros(()))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, g: Any) -> Any:
        p, m, v, t = state
        return *adam_rule.updated(jnp, t + 1, p, g, m, v), t + 1

    def call() -> Any:
        nonlocal state
        state = jax.block_until_ready(update(state, g))
        return state[0][0]

    return Program({"into": kernel_mode(call, WIDTH)})


def reference(data: Arrays) -> Any:
    """The parameter in float64 after the first update, and after STEPS of them."""
    p, g = ([rows(data[name], WIDTH).astype(np.float64).ravel()] for name in "pg")
    m, v = [np.zeros_like(g[0])], [np.zeros_like(g[0])]
    seen = []
    for t in range(1, STEPS + 1):
        p, m, v = adam_rule.updated(np, t, p, g, m, v)
        seen += p
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
    },
    rtol=1e-4,
    atol=1e-5,
    check_steps=STEPS,
    sizes=SIZES,
    quick_sizes=QUICK_SIZES,
    bytes_moved=bytes_moved,
    working_set=lambda size: 4 * size,
    footprint=lambda size: 4 * size,
    scratch=lambda size: 2 * size,
)
