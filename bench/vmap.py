"""Derivatives by example: `sn.vmap` and `sn.jacobian` on the CPU beside PyTorch's and JAX's, in
turns in one process.

    python -m bench.vmap [--rounds 100] [--out bench/results/vmap.json]

`gradients`: of the cross-entropy of an mlp of 784, 256, 128 and 10 units by all weights, for each
of 64 examples. `jacobian`: of a net of 256 units, 256 tanh and 256 units by its input. All give the
same, which is checked first. Each round times all in an order drawn anew; a line a case has the
medians, their quartiles and the ratios of the medians with their 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from bench import environment
from bench.concat import race
from bench.report import duration
from staticnet.compare import stats
from staticnet.compare.environment import usable_cores

SIZES = (784, 256, 128, 10)
EXAMPLES = 64
UNITS = 256
Ways = dict[str, Callable[[], Any]]


def gradients() -> Ways:
    """The gradient of each example, three ways."""
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(SIZES))
    weights = [rng.normal(size=pair).astype("f4") / np.float32(pair[0]) ** 0.5 for pair in pairs]
    points = rng.normal(size=(EXAMPLES, SIZES[0])).astype("f4")
    labels = rng.integers(0, SIZES[-1], EXAMPLES)
    return {
        "staticnet": _our_gradients(weights, points, labels),
        "torch": _torch_gradients(weights, points, labels),
        "jax": _jax_gradients(weights, points, labels),
    }


def _our_gradients(weights: Any, points: Any, labels: Any) -> Callable[[], Any]:
    variables = [sn.variable(w) for w in weights]

    def loss(x: Any, label: Any) -> Any:
        for w in variables[:-1]:
            x = sn.relu(x @ w)
        return sn.nn.cross_entropy(x @ variables[-1], label)

    x, y = sn.placeholder(points.shape, name="x"), sn.placeholder(labels.shape, "int64", "y")
    many = sn.vmap(lambda x, y: sn.grad(loss(x, y), variables))(x, y)
    f = sn.function([x, y], many, device="cpu")
    return lambda: f(points, labels)


def _torch_gradients(weights: Any, points: Any, labels: Any) -> Callable[[], Any]:
    import torch

    given = [torch.tensor(w) for w in weights]
    x, y = torch.tensor(points), torch.tensor(labels)

    def loss(weights: Any, x: Any, label: Any) -> Any:
        for w in weights[:-1]:
            x = torch.relu(x @ w)
        return torch.nn.functional.cross_entropy(x @ weights[-1], label)

    many = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))
    return lambda: many(given, x, y)


def _jax_gradients(weights: Any, points: Any, labels: Any) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    def loss(weights: Any, x: Any, label: Any) -> Any:
        for w in weights[:-1]:
            x = jax.nn.relu(x @ w)
        return -jax.nn.log_softmax(x @ weights[-1])[label]

    many = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))
    given = [jnp.asarray(w) for w in weights], jnp.asarray(points), jnp.asarray(labels)
    return lambda: jax.block_until_ready(many(*given))


def jacobian() -> Ways:
    """The Jacobian of a net of two layers, three ways."""
    import jax
    import jax.numpy as jnp
    import torch

    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(UNITS, UNITS)).astype("f4") / 16 for _ in range(2))
    point = rng.normal(size=UNITS).astype("f4")
    v, w, x = sn.variable(first), sn.variable(second), sn.placeholder((UNITS,), name="x")
    f = sn.function([x], sn.jacobian(sn.tanh(x @ v) @ w, x), device="cpu")
    a, b, c = (torch.tensor(each) for each in (first, second, point))
    rows = torch.func.jacrev(lambda x: torch.tanh(x @ a) @ b)
    p, q, r = (jnp.asarray(each) for each in (first, second, point))
    columns = jax.jit(jax.jacfwd(lambda x: jnp.tanh(x @ p) @ q))
    reverse = jax.jit(jax.jacrev(lambda x: jnp.tanh(x @ p) @ q))
    return {
        "staticnet": lambda: f(point),
        "torch": lambda: rows(c),
        "jax": lambda: jax.block_until_ready(columns(r)),
        "jax reverse": lambda: jax.block_until_ready(reverse(r)),
    }


def check(ways: Ways) -> None:
    """Raise AssertionError unless all give the same, to what float32 rounds."""
    wanted, *others = ([np.asarray(y) for y in _listed(way())] for way in ways.values())
    for other in others:
        for a, b in zip(wanted, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * np.abs(b).max())


def _listed(result: Any) -> Any:
    return result if isinstance(result, list | tuple) else [result]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    os.environ["JAX_PLATFORMS"] = "cpu"
    import torch

    torch.set_num_threads(usable_cores())
    about = environment.describe(usable_cores())
    records = []
    for case in (gradients, jacobian):
        ways = case()
        check(ways)
        race(ways, max(3, options.rounds // 10))  # a warm-up
        times = race(ways, options.rounds)
        rounds = {name: [[seconds] for seconds in samples] for name, samples in times.items()}
        print(f"{case.__name__}:")
        for name, each in rounds.items():
            low, middle, high = stats.quartiles(each)
            ratio = stats.ratio_to_best(rounds["staticnet"], [each])
            bounds = f"[{ratio.low:.2f}, {ratio.high:.2f}]"
            print(f"  {name:12} {duration(middle)} ({duration(low)} to {duration(high)}), "
                  f"staticnet / it {ratio.value:.2f} {bounds}")  # fmt: skip
        records.append({"case": case.__name__, "seconds": times})
    if options.out:
        options.out.write_text(json.dumps({"about": about, "records": records}) + "\n")


if __name__ == "__main__":
    main()
