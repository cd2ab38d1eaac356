"""A layer that iterates until it has settled: dynamic as it is written, compiled with a bound.

    python examples/static_vs_dynamic.py

How often the layer iterates depends on values (a small deep equilibrium model: Bai, Kolter and
Koltun, 2019). Dynamic execution trains it as it stands. A graph has no values, so `sn.function`
says which line asked for one; with a bound and `sn.where` in its place the same layer compiles, to
the same losses, and `sn.compare` shows what that buys.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

import staticnet as sn
from staticnet.cli import ending
from staticnet.errors import SymbolicValueError

WIDTH, BATCH = 16, 32
MOST, SETTLED = 12, 1e-2  # iterations, and the change that ends them


class Equilibrium(sn.nn.Module):
    """z = tanh(inner(z) + outer(x)), from 0 until z changes by less than SETTLED.

    x: [n, 2] -> y: [n, 2]
    """

    def __init__(self, bounded: bool) -> None:
        self.inner = sn.nn.Linear(WIDTH, WIDTH)
        self.outer = sn.nn.Linear(2, WIDTH)
        self.head = sn.nn.Linear(WIDTH, 2)
        self.bounded = bounded
        self.iterations = 0

    def forward(self, x: Any) -> Any:
        """The head's logits."""
        fixed = self.outer(x)
        z = sn.tanh(fixed)
        for i in range(MOST):
            self.iterations = i + 1
            new = sn.tanh(0.5 * self.inner(z) + fixed)
            moves = sn.max(sn.abs(new - z)) > SETTLED
            if self.bounded:
                z = sn.where(moves, new, z)
            elif moves:
                z = new
            else:
                break
        return self.head(z)


def build(bounded: bool = True) -> tuple[Callable[..., Any], sn.optim.Optimizer]:
    """The loss, as `sn.compare` takes it, and the rule."""
    model = Equilibrium(bounded)

    def loss(x: Any, y: Any) -> Any:
        return sn.nn.cross_entropy(model(x), y)

    return loss, sn.optim.Adam(lr=0.01)


def batches(count: int) -> list[tuple[Any, Any]]:
    """Points of a square and whether their signs agree.  x: [32, 2], y: int64 [32]"""
    x = np.random.default_rng(0).uniform(-1, 1, (count, BATCH, 2)).astype(np.float32)
    return [(points, (points.prod(1) > 0).astype(np.int64)) for points in x]


def train(model: Equilibrium, feeds: list[tuple[Any, Any]]) -> tuple[list[float], set[int]]:
    """Losses of dynamic training, and how many iterations there were."""
    optimizer = sn.dynamic.Optimizer(sn.optim.Adam(lr=0.01), model.parameters())
    losses, counts = [], set()
    for x, y in feeds:
        loss = sn.nn.cross_entropy(model(sn.dynamic.tensor(x)), sn.dynamic.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
        counts.add(model.iterations)
    return losses, counts


def main(count: int = 300, **options: Any) -> None:
    """Train dynamically, fail to compile, bound the loop, compare."""
    feeds = batches(count)
    sn.manual_seed(0)
    losses, counts = train(Equilibrium(bounded=False), feeds)
    print(
        "Dynamic execution runs each operation where Python meets it, so a loop may ask for values."
    )
    print(f"dynamic: loss {losses[0]:.3f} to {losses[-1]:.3f}, iterations {sorted(counts)}\n")
    print("A static graph is made before there are values, and refuses to answer.")
    try:
        sn.compare(lambda: build(bounded=False), feeds)
    except SymbolicValueError as error:
        print(f"compiled as it stands: {error}\n")
    print(
        f"With {MOST} iterations and sn.where in place of the break there is a graph to compile:\n"
    )
    print(sn.compare(build, feeds, name="the bounded layer", **options))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()  # for --help
    ending.script(main)
