"""`playground`: 2-4-2-1 tanh, batch 10, SGD on the mean squared error, as in a browser's demo.

Nothing here is large enough to take time, so this measures what a step costs beyond its arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.program import Array, Arrays, Program, Workload
from bench.training import (
    batches,
    jax_program,
    parameter_names,
    reference_losses,
    staticnet_network,
    staticnet_program,
    torch_descent,
    torch_network,
    torch_program,
    weights,
)

WIDTHS = (2, 4, 2, 1)
NAMES = parameter_names(len(WIDTHS) - 1)
ACTIVATIONS = ("Tanh", "Tanh", "Tanh")
BATCH, STEPS = 10, 1000
LR = 0.03


def make_data(size: int) -> dict[str, Array]:
    """Points of a square, labelled by the signs' product.  x: [n, 2], y: [n, 1]"""
    x = np.random.default_rng(1).uniform(-1, 1, (BATCH * STEPS, 2)).astype(np.float32)
    y = np.sign(x[:, :1] * x[:, 1:])
    return {"x": x, "y": y} | weights(2, *WIDTHS)


def staticnet_step(data: Arrays, device: str) -> Any:
    """One function of the batch, its updates in place."""
    import staticnet as sn

    x = sn.placeholder((BATCH, 2), name="x")
    y = sn.placeholder((BATCH, 1), name="y")
    loss = sn.nn.mse_loss(staticnet_network(ACTIVATIONS, WIDTHS, data)(x), y)
    return sn.function([x, y], loss, updates=sn.optim.SGD(lr=LR).minimize(loss), device=device)


def staticnet(data: Arrays, device: str) -> Program:
    """A call of the step, and epochs of it over data that lies where it runs."""
    return staticnet_program(staticnet_step(data, device), data, BATCH, STEPS)


def torch(data: Arrays, device: str) -> Program:
    """Eager, with the fused optimizer."""
    import torch

    model = torch_network(ACTIVATIONS, WIDTHS, data)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, fused=True)

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.mse_loss(model(x), y)

    return torch_program(torch_descent(objective, optimizer), data, BATCH)


def torch_compile(data: Arrays, device: str) -> Program:
    """Forward, backward and update traced as one graph; the parameters change in place."""
    import torch

    params = [torch.from_numpy(data[name].copy()) for name in NAMES]

    def objective(params: list[Any], x: Any, y: Any) -> Any:
        for w, b in zip(params[::2], params[1::2], strict=True):
            x = torch.tanh(torch.nn.functional.linear(x, w, b))
        return torch.nn.functional.mse_loss(x, y)

    @torch.no_grad()
    @torch.compile(fullgraph=True, dynamic=False)
    def descend(x: Any, y: Any) -> Any:
        grads, loss = torch.func.grad_and_value(objective)(params, x, y)
        for parameter, grad in zip(params, grads, strict=True):
            parameter.sub_(LR * grad)
        return loss

    return torch_program(descend, data, BATCH)


def jax(data: Arrays, device: str) -> Program:
    """One jitted step, the parameters donated."""
    import jax
    import jax.numpy as jnp

    def objective(params: Any, x: Any, y: Any) -> Any:
        for w, b in zip(params[::2], params[1::2], strict=True):
            x = jnp.tanh(x @ w.T + b)
        return jnp.mean((x - y) ** 2)

    def descend(params: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(objective)(params, *batch)
        return [p - LR * g for p, g in zip(params, grads, strict=True)], loss

    return jax_program(descend, [jax.device_put(data[name]) for name in NAMES], data, BATCH)


def reference(data: Arrays) -> Any:
    """The same steps in float64, the gradients by hand."""
    p = {name: data[name].astype(np.float64) for name in NAMES}

    def descend(x: Array, y: Array) -> float:
        hidden = [x.astype(np.float64)]
        for i in range(len(WIDTHS) - 1):
            hidden.append(np.tanh(hidden[-1] @ p[f"w{i}"].T + p[f"b{i}"]))
        loss = np.mean((hidden[-1] - y) ** 2)
        g = 2 * (hidden[-1] - y) / y.size
        for i in reversed(range(len(WIDTHS) - 1)):
            g = g * (1 - hidden[i + 1] ** 2)
            below = g @ p[f"w{i}"]
            p[f"w{i}"] -= LR * g.T @ hidden[i]
            p[f"b{i}"] -= LR * g.sum(0)
            g = below
        return float(loss)

    return reference_losses(descend, batches(data, BATCH))


PLAYGROUND = Workload(
    name="playground",
    about="2-4-2-1 tanh, batch 10, SGD, mean squared error",
    make_data=make_data,
    reference=reference,
    contenders={
        "staticnet": staticnet,
        "torch": torch,
        "torch.compile": torch_compile,
        "jax": jax,
    },
    rtol=1e-4,
    atol=1e-6,
    parameters=NAMES,
)
