"""`char_gpt`: which character follows, by a GPT of 4 layers, 4 heads and 128 units, AdamW.

The model is GPT-2's (Radford et al., "Language models are unsupervised multitask learners", 2019)
without dropout; its output layer is the embedding's weight.
"""

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
from bench.workloads.char_gpt_reference import gradients
from staticnet.cli.text_networks import CHARACTERS, character_gpt

WIDTH, HEADS, LAYERS = 128, 4, 4
LENGTH, BATCH, STEPS = 64, 12, 10
CHECKED = 3  # steps: the reference takes seconds for one
DECAY = 1e-2
SHAPES = {
    "ln_1.weight": (WIDTH,),
    "ln_1.bias": (WIDTH,),
    "qkv.weight": (3 * WIDTH, WIDTH),
    "qkv.bias": (3 * WIDTH,),
    "projection.weight": (WIDTH, WIDTH),
    "projection.bias": (WIDTH,),
    "ln_2.weight": (WIDTH,),
    "ln_2.bias": (WIDTH,),
    "up.weight": (4 * WIDTH, WIDTH),
    "up.bias": (4 * WIDTH,),
    "down.weight": (WIDTH, 4 * WIDTH),
    "down.bias": (WIDTH,),
}
NAMES = (
    "wte.weight",
    "wpe.weight",
    *(f"blocks.{i}.{name}" for i in range(LAYERS) for name in SHAPES),
    "ln_f.weight",
    "ln_f.bias",
)


def make_data(size: int) -> dict[str, Array]:
    """Pieces of text, and weights by their names in both libraries.  x, y: int64 [n, 64]"""
    rng = np.random.default_rng(7)
    shapes = {"wte.weight": (CHARACTERS, WIDTH), "wpe.weight": (LENGTH, WIDTH)}
    drawn = {}
    for name in NAMES:
        shape = shapes.get(name) or SHAPES.get(name.split(".", 2)[-1], (WIDTH,))
        mean = 1 if "ln_" in name and name.endswith("weight") else 0
        drawn[name] = rng.normal(mean, 0.02, shape).astype(np.float32)
    return windows(STEPS * BATCH, LENGTH) | drawn


def staticnet_step(data: Arrays, device: str, batch: int = BATCH) -> Any:
    """One function of the batch: forward, backward and AdamW are one graph."""
    import staticnet as sn

    model = character_gpt(sn.nn)
    model.load_state_dict({name: data[name] for name in NAMES})
    x, y = (sn.placeholder((batch, LENGTH), "int64", name) for name in "xy")
    logits = sn.reshape(model(x), (batch * LENGTH, CHARACTERS))
    loss = sn.nn.cross_entropy(logits, sn.reshape(y, (batch * LENGTH,)))
    updates = sn.optim.AdamW(**adam_rule.OPTIONS, weight_decay=DECAY).minimize(loss)
    return sn.function([x, y], loss, updates=updates, device=device)


def staticnet(data: Arrays, device: str) -> Program:
    """A call of the step, and epochs of it over data that lies where it runs."""
    return staticnet_program(staticnet_step(data, device), data, BATCH, STEPS)


def _torch(data: Arrays, compiles: bool) -> Program:
    import torch

    model = character_gpt(torch.nn)
    model.load_state_dict({name: torch.from_numpy(data[name]) for name in NAMES})
    options = adam_rule.OPTIONS | {"weight_decay": DECAY, "fused": True}
    optimizer = torch.optim.AdamW(model.parameters(), **options)

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())

    objective = torch.compile(objective, dynamic=False) if compiles else objective
    return torch_program(torch_descent(objective, optimizer), data, BATCH)


def torch(data: Arrays, device: str) -> Program:
    """Eager, with its own attention and the fused optimizer."""
    return _torch(data, compiles=False)


def torch_compile(data: Arrays, device: str) -> Program:
    """Model and loss compiled, with the fused optimizer."""
    return _torch(data, compiles=True)


def jax(data: Arrays, device: str) -> Program:
    """One jitted step, all state donated; `jax.nn.dot_product_attention`."""
    import jax
    import jax.numpy as jnp

    def norm(p: Any, name: str, x: Any) -> Any:
        x = x - jnp.mean(x, -1, keepdims=True)
        scaled = x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    def linear(p: Any, name: str, x: Any) -> Any:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def block(p: Any, name: str, x: Any) -> Any:
        parts = linear(p, f"{name}.qkv", norm(p, f"{name}.ln_1", x))
        q, k, v = jnp.moveaxis(parts.reshape(*x.shape[:2], 3, HEADS, WIDTH // HEADS), 2, 0)
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
        x = x + linear(p, f"{name}.projection", y)
        return x + linear(
            p, f"{name}.down", jax.nn.gelu(linear(p, f"{name}.up", norm(p, f"{name}.ln_2", x)))
        )

    def objective(p: Any, x: Any, y: Any) -> Any:
        h = p["wte.weight"][x] + p["wpe.weight"]
        for i in range(LAYERS):
            h = block(p, f"blocks.{i}", h)
        logits = norm(p, "ln_f", h) @ p["wte.weight"].T
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], 2)
        return -jnp.mean(chosen)

    return adam_in_jax(objective, NAMES, data, BATCH, DECAY)


def reference(data: Arrays) -> Any:
    """The same steps in float64, the gradients by hand."""

    def by_hand(p: Arrays, x: Array, y: Array) -> tuple[float, Arrays]:
        return gradients(p, LAYERS, HEADS, x, y)

    return adam_reference(by_hand, NAMES, data, BATCH, CHECKED, DECAY)


CHAR_GPT = Workload(
    name="char_gpt",
    about="GPT of 4 layers, 4 heads, 128, 64 tokens, batch 12, cross entropy, AdamW",
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
