"""Training steps of networks made of `jax_layers`: forward, backward and the optimizer's rule.

Weights are kept in float32; matrices and kernels are cast once a step to what products take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bench import adam_rule
from bench.gpu.jax_layers import BUFFERS, Module, bind, read
from bench.program import Arrays, Program
from bench.training import jax_program

DECAY = 0.01  # of AdamW in PyTorch, if nothing is said
Tree = Mapping[str, Any]
Rule = Callable[[Any, Tree, Tree, tuple[Tree, ...]], tuple[Tree, tuple[Tree, ...]]]


def adamw(lr: float) -> tuple[Rule, int]:
    """Its rule of (t, weights, gradients, state), and how many arrays a weight has for it."""

    def update(t: Any, params: Tree, grads: Tree, state: tuple[Tree, ...]) -> Any:
        names = list(params)
        columns = ([tree[name] for name in names] for tree in (params, grads, *state))
        new = adam_rule.updated(jnp, t, *columns, decay=DECAY, lr=lr)
        first, *rest = (dict(zip(names, column, strict=True)) for column in new)
        return first, tuple(rest)

    return update, 2


def sgd(lr: float, momentum: float) -> tuple[Rule, int]:
    """The same of descent with momentum."""

    def update(t: Any, params: Tree, grads: Tree, state: tuple[Tree, ...]) -> Any:
        moved = {name: momentum * state[0][name] + g for name, g in grads.items()}
        return {name: p - lr * moved[name] for name, p in params.items()}, (moved,)

    return update, 1


RULES: dict[str, Callable[..., tuple[Rule, int]]] = {"AdamW": adamw, "SGD": sgd}


def program(
    model: Module, data: Arrays, batch: int, classes: int, precision: str, rule: str,
    options: Mapping[str, float],
) -> Program:  # fmt: skip
    """One jitted step of the batch, its state donated, and epochs of it as a scan."""
    update, many = RULES[rule](**options)
    given = {name: jnp.asarray(a) for name, a in data.items() if name not in "xy"}
    buffers = {name: a for name, a in given.items() if name.rpartition(".")[2] in BUFFERS}
    params = {name: a for name, a in given.items() if jnp.issubdtype(a.dtype, jnp.floating)}
    params = {name: a for name, a in params.items() if name not in buffers}
    of_products = jnp.dtype("bfloat16" if precision == "bfloat16" else "float32")

    def objective(params: Tree, buffers: Tree, x: Any, y: Any) -> Any:
        bind(model, buffers)
        bind(model, {n: p.astype(of_products) if p.ndim > 1 else p for n, p in params.items()})
        scores = model(x).reshape(-1, classes).astype(jnp.float32)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(scores), y.reshape(-1, 1), 1)
        return -jnp.mean(chosen), read(model, buffers)

    def descend(state: Any, feeds: Any) -> Any:
        params, buffers, moments, t = state
        slope = jax.value_and_grad(objective, has_aux=True)
        (loss, buffers), grads = slope(params, buffers, *feeds)
        params, moments = update(t + 1, params, grads, moments)
        return (params, buffers, moments, t + 1), loss

    moments = tuple({n: jnp.zeros_like(p) for n, p in params.items()} for _ in range(many))
    return jax_program(descend, (params, buffers, moments, jnp.zeros(())), data, batch)
