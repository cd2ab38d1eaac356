"""`mlp`: 784-256-128-10 ReLU, batch 64, cross entropy, Adam: the size of a first MNIST network."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from bench.program import Array, Arrays, Program, Workload
from bench.training import (
    batches,
    parameter_names,
    reference_losses,
    training_program,
    weights,
)

WIDTHS = (784, 256, 128, 10)
LAYERS = len(WIDTHS) - 1
NAMES = parameter_names(LAYERS)
BATCH, STEPS = 64, 100
LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


def make_data(size: int) -> dict[str, Array]:
    """Noisy class prototypes in [0, 1].  x: [n, 784], y: int64 [n]"""
    rng = np.random.default_rng(3)
    y = rng.integers(0, WIDTHS[-1], BATCH * STEPS)
    prototypes = rng.random((WIDTHS[-1], WIDTHS[0]), np.float32)
    noise = rng.random((len(y), WIDTHS[0]), np.float32)
    return {"x": 0.3 * prototypes[y] + 0.7 * noise, "y": y} | weights(4, *WIDTHS)


def staticnet(data: Arrays, device: str) -> Program:
    """One function of the batch: forward, backward and Adam are one graph."""
    import staticnet as sn

    x = sn.placeholder((BATCH, WIDTHS[0]), name="x")
    y = sn.placeholder((BATCH,), "int64", name="y")
    layers: list[Any] = []
    for n, m in itertools.pairwise(WIDTHS):
        layers += [sn.nn.Linear(n, m), sn.nn.ReLU()]
    model = sn.nn.Sequential(*layers[:-1])
    for parameter, name in zip(model.parameters(), NAMES, strict=True):
        parameter.value = data[name]
    loss = sn.nn.cross_entropy(model(x), y)
    updates = sn.optim.Adam(lr=LR, betas=(BETA1, BETA2), eps=EPS).minimize(loss)
    step = sn.function([x, y], loss, updates=updates, device=device)

    def memory() -> dict[str, int]:
        analysis = getattr(step, "memory_analysis", None)
        planned = getattr(analysis(), "peak", None) if analysis else None
        return {"planned peak": planned} if isinstance(planned, int) else {}

    return training_program(
        lambda x, y: float(step(x, y)),
        lambda: step.run(STEPS, data["x"], data["y"], batch_size=BATCH),
        batches(data, BATCH),
        memory,
    )


def torch(data: Arrays, device: str) -> Program:
    """Eager, with the fused optimizer."""
    import torch

    layers: list[Any] = []
    for n, m in itertools.pairwise(WIDTHS):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, name in zip(model.parameters(), NAMES, strict=True):
            parameter.copy_(torch.from_numpy(data[name]))
    optimizer = torch.optim.Adam(
        model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True
    )

    def descend(x: Any, y: Any) -> Any:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    feeds = batches(data, BATCH)
    resident = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in feeds]
    return training_program(
        lambda x, y: descend(torch.from_numpy(x), torch.from_numpy(y)).item(),
        lambda: torch.stack([descend(x, y) for x, y in resident]).numpy(),
        feeds,
    )


def torch_compile(data: Arrays, device: str) -> Program:
    """Forward, backward and Adam traced as one graph; parameters and moments change in place."""
    import torch

    params = [torch.from_numpy(data[name].copy()) for name in NAMES]
    firsts = [torch.zeros_like(p) for p in params]
    seconds = [torch.zeros_like(p) for p in params]
    t = torch.zeros(())

    def objective(params: list[Any], x: Any, y: Any) -> Any:
        for i in range(LAYERS):
            x = torch.nn.functional.linear(x, params[2 * i], params[2 * i + 1])
            x = torch.relu(x) if i + 1 < LAYERS else x
        return torch.nn.functional.cross_entropy(x, y)

    @torch.compile(fullgraph=True, dynamic=False)
    def descend(x: Any, y: Any) -> Any:
        grads, loss = torch.func.grad_and_value(objective)(params, x, y)
        t.add_(1)
        rate, root = LR / (1 - BETA1**t), torch.sqrt(1 - BETA2**t)
        for p, g, m, v in zip(params, grads, firsts, seconds, strict=True):
            m.lerp_(g, 1 - BETA1)
            v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            p.sub_(rate * (m / (torch.sqrt(v) / root + EPS)))
        return loss

    feeds = batches(data, BATCH)
    resident = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in feeds]

    def step(x: Array, y: Array) -> float:
        with torch.no_grad():
            return descend(torch.from_numpy(x), torch.from_numpy(y)).item()

    def epoch() -> Array:
        with torch.no_grad():
            return torch.stack([descend(x, y) for x, y in resident]).numpy()

    return training_program(step, epoch, feeds)


def jax(data: Arrays, device: str) -> Program:
    """One jitted step, all state donated; an epoch is a scan over batches on the device."""
    import functools

    import jax
    import jax.numpy as jnp

    params = [jax.device_put(data[name]) for name in NAMES]
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = (params, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(()))

    def objective(params: Any, x: Any, y: Any) -> Any:
        for i in range(LAYERS):
            x = x @ params[2 * i].T + params[2 * i + 1]
            x = jax.nn.relu(x) if i + 1 < LAYERS else x
        chosen = jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1)
        return -jnp.mean(chosen)

    def descend(state: Any, batch: Any) -> Any:
        params, m, v, t = state
        loss, grads = jax.value_and_grad(objective)(params, *batch)
        t = t + 1
        rate, root = LR / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, grads)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, grads)
        params = jax.tree.map(
            lambda p, m, v: p - rate * (m / (jnp.sqrt(v) / root + EPS)), params, m, v
        )
        return (params, m, v, t), loss

    one = jax.jit(descend, donate_argnums=0)
    many = jax.jit(functools.partial(jax.lax.scan, descend), donate_argnums=0)
    feeds = [(x, y.astype(np.int32)) for x, y in batches(data, BATCH)]
    resident = jax.device_put(tuple(np.stack(column) for column in zip(*feeds, strict=True)))

    def step(x: Array, y: Array) -> float:
        nonlocal state
        state, loss = one(state, (x, y))
        return float(loss)

    def epoch() -> Array:
        nonlocal state
        state, losses = many(state, resident)
        return np.asarray(losses)

    def memory() -> dict[str, int]:
        analysis = one.lower(state, feeds[0]).compile().memory_analysis()
        names = ("argument", "output", "temp", "alias")
        return {name: getattr(analysis, f"{name}_size_in_bytes") for name in names}

    return training_program(step, epoch, feeds, memory)


def reference(data: Arrays) -> Any:
    """The same steps in float64, the gradients by hand."""
    p = {name: data[name].astype(np.float64) for name in NAMES}
    m = {name: np.zeros_like(p[name]) for name in NAMES}
    v = {name: np.zeros_like(p[name]) for name in NAMES}
    t = 0

    def descend(x: Array, y: Array) -> float:
        nonlocal t
        t += 1
        loss, grads = _gradients(p, x.astype(np.float64), y)
        rate, root = LR / (1 - BETA1**t), np.sqrt(1 - BETA2**t)
        for name, g in grads.items():
            m[name] = BETA1 * m[name] + (1 - BETA1) * g
            v[name] = BETA2 * v[name] + (1 - BETA2) * g * g
            p[name] = p[name] - rate * (m[name] / (np.sqrt(v[name]) / root + EPS))
        return loss

    return reference_losses(descend, batches(data, BATCH))


def _gradients(p: Arrays, x: Array, y: Array) -> tuple[float, dict[str, Array]]:
    hidden = [x]
    for i in range(LAYERS):
        z = hidden[-1] @ p[f"w{i}"].T + p[f"b{i}"]
        hidden.append(np.maximum(z, 0) if i + 1 < LAYERS else z)
    shifted = np.exp(z - z.max(1, keepdims=True))
    g = shifted / shifted.sum(1, keepdims=True)
    rows = np.arange(len(y))
    loss = -np.mean(np.log(g[rows, y]))
    g[rows, y] -= 1
    g /= len(y)
    grads: dict[str, Array] = {}
    for i in reversed(range(LAYERS)):
        grads[f"w{i}"], grads[f"b{i}"] = g.T @ hidden[i], g.sum(0)
        g = (g @ p[f"w{i}"]) * (hidden[i] > 0)
    return float(loss), grads


MLP = Workload(
    name="mlp",
    about="784-256-128-10 ReLU, batch 64, cross entropy, Adam",
    make_data=make_data,
    reference=reference,
    contenders={
        "staticnet": staticnet,
        "torch": torch,
        "torch.compile": torch_compile,
        "jax": jax,
    },
    rtol=1e-3,
    atol=1e-5,
)
