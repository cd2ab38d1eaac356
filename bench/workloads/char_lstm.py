"""`char_lstm`: which character follows, by two LSTM layers of 128 units over 50 steps, Adam."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench import adam_rule
from bench.adam_steps import adam_in_jax, adam_reference
from bench.program import Array, Arrays, Program, Workload
from bench.text import windows
from bench.training import (
    staticnet_program,
    torch_descent,
    torch_program,
)
from staticnet.cli.text_networks import CHARACTERS, character_lstm

UNITS, LAYERS = 128, 2
LENGTH, BATCH, STEPS = 50, 50, 40
CHECKED = 5  # steps: the reference takes a second for one
GATES = 4 * UNITS
NAMES = (
    "embedding.weight",
    *(
        f"lstm.{kind}_l{layer}"
        for layer in range(LAYERS)
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ),
    "head.weight",
    "head.bias",
)


def make_data(size: int) -> dict[str, Array]:
    """Pieces of text, and weights by their names in both libraries.  x, y: int64 [n, 50]"""
    rng, bound = np.random.default_rng(4), 1 / np.sqrt(UNITS)
    shapes = {"head.weight": (CHARACTERS, UNITS), "head.bias": (CHARACTERS,)}
    drawn = {}
    for name in NAMES[1:]:
        shape = (GATES, UNITS) if "weight" in name else (GATES,)
        values = rng.uniform(-bound, bound, shapes.get(name, shape))
        drawn[name] = values.astype(np.float32)
    embedding = rng.normal(size=(CHARACTERS, UNITS)).astype(np.float32)
    return windows(STEPS * BATCH, LENGTH) | {NAMES[0]: embedding} | drawn


def staticnet_step(data: Arrays, device: str, batch: int = BATCH) -> Any:
    """One function of the batch: forward, backward and Adam are one graph."""
    import staticnet as sn

    model = character_lstm(sn.nn)
    model.load_state_dict({name: data[name] for name in NAMES})
    x, y = (sn.placeholder((batch, LENGTH), "int64", name) for name in "xy")
    logits = sn.reshape(model(x), (batch * LENGTH, CHARACTERS))
    loss = sn.nn.cross_entropy(logits, sn.reshape(y, (batch * LENGTH,)))
    updates = sn.optim.Adam(**adam_rule.OPTIONS).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device)


def staticnet(data: Arrays, device: str) -> Program:
    """A call of the step, and epochs of it over data that lies where it runs."""
    return staticnet_program(staticnet_step(data, device), data, BATCH, STEPS)


def _torch(data: Arrays, compiles: bool) -> Program:
    import torch

    model = character_lstm(torch.nn)
    model.load_state_dict({name: torch.from_numpy(data[name]) for name in NAMES})
    optimizer = torch.optim.Adam(model.parameters(), **adam_rule.OPTIONS, fused=True)

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())

    objective = torch.compile(objective, dynamic=False) if compiles else objective
    return torch_program(torch_descent(objective, optimizer), data, BATCH)


def torch(data: Arrays, device: str) -> Program:
    """Eager, with the fused optimizer."""
    return _torch(data, compiles=False)


def torch_compile(data: Arrays, device: str) -> Program:
    """What is around `nn.LSTM` compiled: PyTorch leaves the layer itself to its own kernels."""
    return _torch(data, compiles=True)


def jax(data: Arrays, device: str) -> Program:
    """One jitted step, all state donated; a `lax.scan` a layer, its input product before it."""
    import jax
    import jax.numpy as jnp

    def layer(p: Any, number: int, x: Any) -> Any:
        w, u, b, c = (p[name] for name in NAMES[1 + 4 * number : 5 + 4 * number])
        rows = x @ w.T + (b + c)

        def step(carry: Any, row: Any) -> Any:
            h, c = carry
            i, f, g, o = jnp.split(row + h @ u.T, 4, 1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((x.shape[1], UNITS))
        return jax.lax.scan(step, (zero, zero), rows)[1]

    def objective(p: Any, x: Any, y: Any) -> Any:
        h = p["embedding.weight"][x.T]
        for number in range(LAYERS):
            h = layer(p, number, h)
        logits = h @ p["head.weight"].T + p["head.bias"]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y.T[..., None], 2)
        return -jnp.mean(chosen)

    return adam_in_jax(objective, NAMES, data, BATCH)


def reference(data: Arrays) -> Any:
    """The same steps in float64, the gradients by hand."""
    return adam_reference(_gradients, NAMES, data, BATCH, CHECKED)


def _gradients(p: Arrays, x: Array, y: Array) -> tuple[float, Arrays]:
    """The loss and the gradients of all weights.  x, y: [n, t]"""
    x, y = x.T, y.T
    hidden, kept = p["embedding.weight"][x], []
    for layer in range(LAYERS):
        steps = _forward(p, layer, hidden)
        kept.append((hidden, steps))
        hidden = steps[0][1:]
    logits = hidden @ p["head.weight"].T + p["head.bias"]
    g = np.exp(logits - logits.max(2, keepdims=True))
    g /= g.sum(2, keepdims=True)
    chosen = np.take_along_axis(g, y[..., None], 2)
    np.put_along_axis(g, y[..., None], chosen - 1, 2)
    g /= y.size
    grads = {"head.weight": np.einsum("tno,tni->oi", g, hidden), "head.bias": g.sum((0, 1))}
    g = g @ p["head.weight"]
    for layer in reversed(range(LAYERS)):
        g = _backward(p, layer, *kept[layer], g, grads)
    grads["embedding.weight"] = np.zeros_like(p["embedding.weight"])
    np.add.at(grads["embedding.weight"], x, g)
    return -float(np.mean(np.log(chosen))), grads


def _weights(p: Arrays, layer: int) -> tuple[Array, Array, Array]:
    w, u, b, c = (p[name] for name in NAMES[1 + 4 * layer : 5 + 4 * layer])
    return w, u, b + c


def _forward(p: Arrays, layer: int, x: Array) -> tuple[Array, Array, Array]:
    """(h, c, gates) of a layer: h and c from the first state on, gates after their functions."""
    w, u, b = _weights(p, layer)
    h, c = (np.zeros((len(x) + 1, x.shape[1], UNITS)) for _ in range(2))
    gates = x @ w.T + b
    for t, z in enumerate(gates):
        z += h[t] @ u.T
        i, f, g, o = np.split(z, 4, 1)
        g[:] = np.tanh(g)
        for gate in (i, f, o):
            gate[:] = 1 / (1 + np.exp(-gate))
        c[t + 1] = f * c[t] + i * g
        h[t + 1] = o * np.tanh(c[t + 1])
    return h, c, gates


def _backward(
    p: Arrays, layer: int, x: Array, steps: tuple[Array, Array, Array], gy: Array, grads: Arrays
) -> Array:
    """The gradient by x from that by the layer's h; those by its weights come into `grads`."""
    w, u, _ = _weights(p, layer)
    h, c, gates = steps
    gz, gh, gc = np.zeros_like(gates), np.zeros_like(h[0]), np.zeros_like(h[0])
    for t in reversed(range(len(x))):
        i, f, g, o = np.split(gates[t], 4, 1)
        gh = gh + gy[t]
        out = np.tanh(c[t + 1])
        gc = gc + gh * o * (1 - out**2)
        slopes = (gc * g * i * (1 - i), gc * c[t] * f * (1 - f), gc * i * (1 - g**2))
        gz[t] = np.concatenate([*slopes, gh * out * o * (1 - o)], 1)
        gh, gc = gz[t] @ u, gc * f
    weight, hidden, bias, other = NAMES[1 + 4 * layer : 5 + 4 * layer]
    grads[weight] = np.einsum("tng,tni->gi", gz, x, optimize=True)
    grads[hidden] = np.einsum("tng,tni->gi", gz, h[:-1], optimize=True)
    grads[bias] = grads[other] = gz.sum((0, 1))
    return gz @ w


CHAR_LSTM = Workload(
    name="char_lstm",
    about="2 LSTM layers of 128, 50 steps, batch 50, cross entropy, Adam",
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
    check_steps=CHECKED,
    parameters=NAMES,
)
