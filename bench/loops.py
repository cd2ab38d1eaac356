"""Loops on the CPU beside PyTorch and JAX, in turns in one process.

    python -m bench.loops [--rounds 20] [--lengths 50 1000] [--batches 50] [--compile] [--out FILE]

`ode` are 10,000 Euler steps of float32 scalars: of x' = 1 - x, of logistic growth, and of van der
Pol's oscillator, whose carry are two. `lstm` is a training step (forward, gradient, SGD) of an LSTM
of 128 units on a batch, written with `sn.scan`; its peers are `torch.nn.LSTM`, with `--compile`
under `torch.compile` too, and `jax.jit` of a `lax.scan`, all with the same weights. All give the
same loss, to rounding. Each round times all in an order drawn anew. To hold all to one core:
`OMP_NUM_THREADS=1 taskset -c 0 python …`; `--cpu-time` then counts a process' seconds on it, where
others want the core, too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import staticnet as sn
from bench import environment
from bench.concat import race
from bench.report import duration
from staticnet.compare import stats

STEPS, UNITS = 10_000, 128
RATE = 0.1
Ways = dict[str, Callable[[], Any]]


def _oscillator(x: Any, y: Any) -> Any:
    return x + 0.01 * y, y + 0.01 * (1.5 * (1 - x * x) * y - x)


EQUATIONS: dict[str, tuple[Callable[..., Any], list[float]]] = {
    "relaxation": (lambda x: (x + 0.01 * (1 - x),), [0.1]),
    "logistic growth": (lambda x: (x + 0.01 * x * (1 - x),), [0.1]),
    "van der Pol": (_oscillator, [1.0, 0.5]),
}


def ode(name: str) -> Ways:
    """Ways to make all steps of an equation; each gives where it ends."""
    import jax

    next_of, first = EQUATIONS[name]

    def step(carry: Any, _: Any) -> Any:
        return next_of(*carry), None

    start = tuple(map(np.float32, first))
    given = tuple(sn.placeholder((), name=letter) for letter, _ in zip("ab", first, strict=False))
    ours = sn.function(given, list(sn.scan(step, given, length=STEPS)[0]), device="cpu")
    theirs = jax.jit(lambda *c: jax.lax.scan(step, c, None, length=STEPS)[0])
    np.testing.assert_allclose(ours(*start), theirs(*start), rtol=1e-3)
    return {
        "staticnet": lambda: ours(*start),
        "jax.jit": lambda: jax.block_until_ready(theirs(*start)),
    }


def weights() -> dict[str, Any]:
    """Weights as `torch.nn.LSTM` draws them, for x W + h U + b with the gates i, f, g, o."""
    rng, bound = np.random.default_rng(0), 1 / np.sqrt(UNITS)
    shapes = {"w": (UNITS, 4 * UNITS), "u": (UNITS, 4 * UNITS), "b": (4 * UNITS,)}
    return {k: rng.uniform(-bound, bound, s).astype(np.float32) for k, s in shapes.items()}


def cell(lib: Any, p: dict[str, Any]) -> Callable[[Any, Any], Any]:
    """The cell's function of (h, c) and x, in a library's names."""

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        z = x @ p["w"] + h @ p["u"] + p["b"]
        i, f, g, o = (z[:, k * UNITS : (k + 1) * UNITS] for k in range(4))
        c = lib.sigmoid(f) * c + lib.sigmoid(i) * lib.tanh(g)
        h = lib.sigmoid(o) * lib.tanh(c)
        return (h, c), h

    return step


def ours(x: Any) -> tuple[Callable[[], Any], dict[str, Any]]:
    """A training step, and what it took to compile it."""
    start = time.perf_counter()
    variables = {name: sn.variable(value) for name, value in weights().items()}
    feed = sn.placeholder(x.shape, name="x")
    zero = np.zeros((x.shape[1], UNITS), np.float32)
    _, states = sn.scan(cell(sn, variables), (zero, zero), feed)
    loss = sn.mean(states * states)
    grads = sn.grad(loss, list(variables.values()))
    updates = {v: v - RATE * g for v, g in zip(variables.values(), grads, strict=True)}
    step = sn.function([feed], loss, updates=updates, device="cpu")
    losses = [float(step(x)) for _ in range(2)]
    told = {
        "compile_seconds": time.perf_counter() - start,
        "nodes": len(step.graph.nodes),
        "peak_bytes": step.memory_analysis().peak,
        "losses": losses,
    }
    return lambda: step(x), told


def torch_steps(x: Any, compiled: bool) -> Ways:
    """A training step of `nn.LSTM`, and the same compiled."""
    import torch

    p = {name: torch.from_numpy(value) for name, value in weights().items()}
    threads = os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(int(threads) if threads else torch.get_num_threads())

    def make(compiles: bool) -> Callable[[], Any]:
        model = torch.nn.LSTM(UNITS, UNITS)
        with torch.no_grad():
            model.weight_ih_l0.copy_(p["w"].T)
            model.weight_hh_l0.copy_(p["u"].T)
            model.bias_ih_l0.copy_(p["b"])
            model.bias_hh_l0.zero_()
        optimizer = torch.optim.SGD(model.parameters(), RATE)
        feed = torch.from_numpy(x)

        def loss_of(feed: Any) -> Any:
            states, _ = model(feed)
            return (states * states).mean()

        f = torch.compile(loss_of) if compiles else loss_of

        def step() -> float:
            optimizer.zero_grad()
            loss = f(feed)
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        return step

    return {"nn.LSTM": make(False)} | ({"torch.compile": make(True)} if compiled else {})


def jax_step(x: Any) -> Callable[[], Any]:
    """A training step by `jax.jit` of a `lax.scan`."""
    import jax
    import jax.numpy as jnp

    class Names:
        sigmoid, tanh = jax.nn.sigmoid, jnp.tanh

    def loss_of(p: Any, x: Any) -> Any:
        zero = jnp.zeros((x.shape[1], UNITS), jnp.float32)
        _, states = jax.lax.scan(cell(Names, p), (zero, zero), x)
        return jnp.mean(states * states)

    @jax.jit
    def update(p: Any, x: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(p, x)
        return jax.tree.map(lambda v, g: v - RATE * g, p, grads), loss

    state = {"p": jax.tree.map(jnp.asarray, weights())}
    feed = jnp.asarray(x)

    def step() -> float:
        state["p"], loss = update(state["p"], feed)
        jax.block_until_ready(state["p"])
        return float(loss)

    return step


def lstm(length: int, batch: int, compiled: bool) -> tuple[Ways, dict[str, Any]]:
    """Ways to make a training step over so many time steps, and what is told of ours."""
    x = np.random.default_rng(1).normal(size=(length, batch, UNITS)).astype(np.float32)
    step, told = ours(x)
    others = {**torch_steps(x, compiled), "jax.jit": jax_step(x)}
    for other in others.values():
        np.testing.assert_allclose([other() for _ in range(2)], told["losses"], rtol=1e-3)
    return {"staticnet": step, **others}, told


def tell(name: str, per: int, times: dict[str, list[float]]) -> None:
    """Print the medians of a step of the loop, and the ratio to the best other."""
    rounds = {way: [[seconds / per] for seconds in each] for way, each in times.items()}
    others = [each for way, each in rounds.items() if way != "staticnet"]
    ratio = stats.ratio_to_best(rounds["staticnet"], others)
    told = ", ".join(
        f"{way} {duration(middle)} ({duration(low)} to {duration(high)})"
        for way, each in rounds.items()
        for low, middle, high in [stats.quartiles(each)]
    )
    bounds = f"[{ratio.low:.2f}, {ratio.high:.2f}]"
    print(f"{name}, a step: {told}; ratio to the best {ratio.value:.2f} {bounds}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--lengths", type=int, nargs="*", default=[50, 1000])
    parser.add_argument("--batches", type=int, nargs="*", default=[50])
    parser.add_argument("--cpu-time", action="store_true", help="seconds of CPU, not of the clock")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    clock = time.process_time if options.cpu_time else time.perf_counter
    about = environment.describe(2) | {"load": os.getloadavg(), "clock": clock.__name__}
    records: list[dict[str, Any]] = []
    for name in EQUATIONS:
        times = race(ode(name), options.rounds, clock)
        tell(f"{name} of {STEPS:,}", STEPS, times)
        records.append({"workload": "ode", "of": name, "steps": STEPS, "seconds": times})
    for length, batch in itertools.product(options.lengths, options.batches):
        ways, told = lstm(length, batch, options.compile)
        times = race(ways, max(3, options.rounds * 50 // length), clock)
        print(f"lstm of {length:,}, batch {batch}: {told}")
        tell(f"lstm of {length:,}, batch {batch}", length, times)
        record = {"workload": "lstm", "steps": length, "batch": batch, "seconds": times}
        records.append(record | told)
    if options.out:
        options.out.write_text(json.dumps({"about": about, "records": records}) + "\n")


if __name__ == "__main__":
    main()
