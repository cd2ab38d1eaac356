"""Attention, forward and its gradient, on the CPU beside PyTorch's and JAX's, in turns in one
process.

    python -m bench.attention [--rounds 30] [--lengths 64 256 1024] [--out FILE.json]

8 heads of 64 features in float32, causal and not. `torch` is `scaled_dot_product_attention`, `torch
composed` and `jax` a softmax between two products, the latter compiled. All give the same, which is
checked first. Each round times all in an order drawn anew; a line a way has the median, its
quartiles and the ratio of the medians with its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from bench import environment
from bench.concat import race
from bench.report import duration
from bench.vmap import check
from staticnet.compare import stats
from staticnet.compare.environment import usable_cores

HEADS, FEATURES = 8, 64
Ways = dict[str, Callable[[], Any]]


def ways(length: int, causal: bool) -> Ways:
    """The result and its gradients by query, key and value, each way."""
    rng = np.random.default_rng(0)
    shape = (1, HEADS, length, FEATURES)
    arrays = [rng.normal(size=shape).astype("f4") for _ in range(4)]
    return {
        "staticnet": _ours(arrays, causal),
        "torch": _torch(arrays, causal, composed=False),
        "torch composed": _torch(arrays, causal, composed=True),
        "jax": _jax(arrays, causal),
    }


def _ours(arrays: list[Any], causal: bool) -> Callable[[], Any]:
    nodes = [sn.placeholder(x.shape) for x in arrays]
    q, k, v, g = nodes
    y = sn.nn.scaled_dot_product_attention(q, k, v, is_causal=causal)
    f = sn.function(nodes, [y, *sn.grad(sn.sum(y * g), [q, k, v])], device="cpu")
    return lambda: f(*arrays)


def _torch(arrays: list[Any], causal: bool, composed: bool) -> Callable[[], Any]:
    import torch

    *given, g = (torch.tensor(x) for x in arrays)
    for x in given:
        x.requires_grad_()
    length = arrays[0].shape[2]
    later = torch.ones(length, length, dtype=torch.bool).triu(1)

    def attend(q: Any, k: Any, v: Any) -> Any:
        if not composed:
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        scores = q @ k.mT / math.sqrt(FEATURES)
        scores = scores.masked_fill(later, -math.inf) if causal else scores
        return torch.softmax(scores, -1) @ v

    def run() -> list[Any]:
        y = attend(*given)
        return [x.detach() for x in (y, *torch.autograd.grad(y, given, g))]

    return run


def _jax(arrays: list[Any], causal: bool) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    def attend(q: Any, k: Any, v: Any) -> Any:
        scores = q @ jnp.swapaxes(k, -1, -2) / math.sqrt(FEATURES)
        if causal:
            scores = jnp.where(jnp.tri(q.shape[2], dtype=bool), scores, -jnp.inf)
        return jax.nn.softmax(scores) @ v

    def both(q: Any, k: Any, v: Any, g: Any) -> Any:
        y, back = jax.vjp(attend, q, k, v)
        return [y, *back(g)]

    f, given = jax.jit(both), [jnp.asarray(x) for x in arrays]
    return lambda: jax.block_until_ready(f(*given))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    os.environ["JAX_PLATFORMS"] = "cpu"
    import torch

    torch.set_num_threads(usable_cores())
    records = []
    for length in options.lengths:
        for causal in (False, True):
            each = ways(length, causal)
            check(each)
            race(each, max(2, options.rounds // 10))  # a warm-up
            times = race(each, options.rounds)
            print(f"{length} queries and keys{', causal' if causal else ''}:")
            _report(times)
            records.append({"length": length, "causal": causal, "seconds": times})
    if options.out:
        about = environment.describe(usable_cores())
        options.out.write_text(json.dumps({"about": about, "records": records}) + "\n")


def _report(times: dict[str, list[float]]) -> None:
    rounds = {name: [[seconds] for seconds in samples] for name, samples in times.items()}
    for name, each in rounds.items():
        low, middle, high = stats.quartiles(each)
        ratio = stats.ratio_to_best(rounds["staticnet"], [each])
        bounds = f"[{ratio.low:.2f}, {ratio.high:.2f}]"
        print(f"  {name:15} {duration(middle)} ({duration(low)} to {duration(high)}), "
              f"staticnet / it {ratio.value:.2f} {bounds}")  # fmt: skip


if __name__ == "__main__":
    main()
