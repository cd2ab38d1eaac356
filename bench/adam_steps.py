"""Training by Adam's formula: JAX's program of a loss, and the reference of its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bench import adam_rule
from bench.program import CHECK_STEPS, Array, Arrays, Program
from bench.training import batches, jax_program, reference_losses


def adam_in_jax(
    objective: Callable[[Any, Any, Any], Any],
    names: Sequence[str],
    data: Arrays,
    size: int,
    decay: float = 0.0,
) -> Program:
    """One jitted step on the loss `objective(weights, x, y)`, all state donated."""
    import jax
    import jax.numpy as jnp

    params = {name: jax.device_put(data[name]) for name in names}
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = (params, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(()))

    def descend(state: Any, batch: Any) -> Any:
        params, m, v, t = state
        loss, grads = jax.value_and_grad(objective)(params, *batch)
        columns = ([tree[name] for name in names] for tree in (params, grads, m, v))
        new = adam_rule.updated(jnp, t + 1, *columns, decay=decay)
        return (*(dict(zip(names, column, strict=True)) for column in new), t + 1), loss

    return jax_program(descend, state, data, size)


def adam_reference(
    gradients: Callable[[Arrays, Array, Array], tuple[float, Arrays]],
    names: Sequence[str],
    data: Arrays,
    size: int,
    steps: int = CHECK_STEPS,
    decay: float = 0.0,
) -> Mapping[str, Array]:
    """The same steps in float64; `gradients(weights, x, y)` gives the loss and its gradients."""
    p = [data[name].astype(np.float64) for name in names]
    m, v = ([np.zeros_like(x) for x in p] for _ in range(2))
    t = 0

    def descend(x: Array, y: Array) -> float:
        nonlocal t
        t += 1
        loss, grads = gradients(dict(zip(names, p, strict=True)), x, y)
        columns = (p, [grads[name] for name in names], m, v)
        p[:], m[:], v[:] = adam_rule.updated(np, t, *columns, decay=decay)
        return loss

    return reference_losses(descend, batches(data, size), steps)
