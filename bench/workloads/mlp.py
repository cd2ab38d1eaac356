"""`mlp`: 784-256-128-10 ReLU, batch 64, cross entropy, Adam: the size of a first MNIST network."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench import adam_rule
from bench.adam_steps import adam_in_jax, adam_reference
from bench.program import Array, Arrays, Program, Workload
from bench.training import (
    parameter_names,
    staticnet_network,
    staticnet_program,
    torch_descent,
    torch_network,
    torch_program,
    weights,
)

WIDTHS = (784, 256, 128, 10)
LAYERS = len(WIDTHS) - 1
NAMES = parameter_names(LAYERS)
ACTIVATIONS = ("ReLU", "ReLU")
BATCH, STEPS = 64, 100


def make_data(size: int) -> dict[str, Array]:
    """Noisy class prototypes in [0, 1].  x: [n, 784], y: int64 [n]"""
    rng = np.random.default_rng(3)
    y = rng.integers(0, WIDTHS[-1], BATCH * STEPS)
    prototypes = rng.random((WIDTHS[-1], WIDTHS[0]), np.float32)
    noise = rng.random((len(y), WIDTHS[0]), np.float32)
    return {"x": 0.3 * prototypes[y] + 0.7 * noise, "y": y} | weights(4, *WIDTHS)


def staticnet_step(data: Arrays, device: str, batch: int = BATCH) -> Any:
    """One function of the batch: forward, backward and Adam are one graph."""
    import staticnet as sn

    x = sn.placeholder((batch, WIDTHS[0]), name="x")
    y = sn.placeholder((batch,), "int64", name="y")
    loss = sn.nn.cross_entropy(staticnet_network(ACTIVATIONS, WIDTHS, data)(x), y)
    updates = sn.optim.Adam(**adam_rule.OPTIONS).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device)


def staticnet(data: Arrays, device: str) -> Program:
    """A call of the step, and epochs of it over data that lies where it runs."""
    return staticnet_program(staticnet_step(data, device), data, BATCH, STEPS)


def torch(data: Arrays, device: str) -> Program:
    """Eager, with the fused optimizer."""
    import torch

    model = torch_network(ACTIVATIONS, WIDTHS, data)
    optimizer = torch.optim.Adam(model.parameters(), **adam_rule.OPTIONS, fused=True)

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x), y)

    return torch_program(torch_descent(objective, optimizer), data, BATCH)


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

    @torch.no_grad()
    @torch.compile(fullgraph=True, dynamic=False)
    def descend(x: Any, y: Any) -> Any:
        grads, loss = torch.func.grad_and_value(objective)(params, x, y)
        adam_rule.update_tensors(t, params, grads, firsts, seconds)
        return loss

    return torch_program(descend, data, BATCH)


def jax(data: Arrays, device: str) -> Program:
    """One jitted step, all state donated."""
    import jax
    import jax.numpy as jnp

    def objective(p: Any, x: Any, y: Any) -> Any:
        for i in range(LAYERS):
            x = x @ p[f"w{i}"].T + p[f"b{i}"]
            x = jax.nn.relu(x) if i + 1 < LAYERS else x
        chosen = jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1)
        return -jnp.mean(chosen)

    return adam_in_jax(objective, NAMES, data, BATCH)


def reference(data: Arrays) -> Any:
    """The same steps in float64, the gradients by hand."""
    return adam_reference(_gradients, NAMES, data, BATCH)


def _gradients(p: Arrays, x: Array, y: Array) -> tuple[float, dict[str, Array]]:
    hidden = [x.astype(np.float64)]
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
    parameters=NAMES,
)
