"""CMA-ES beside its peers: how often a function is asked for, and generations a second.

    python -m bench.cmaes evaluations [--dims 5 10 40] [--seeds 15] [--only rastrigin] [--out FILE]
    python -m bench.cmaes speed [--evosax PYTHON] [--rounds 7] [--out FILE]

`evaluations` searches to 1e-9 by `cma` and by `sn.optim.CMAES`, with negative weights and one run,
and with BIPOP restarts; a line has the medians over the seeds and their ratio. A search that does
not come so far within the budget counts as all of it. What FILE has is kept, search by search, so
that a run goes on where one before it was ended.

`speed` times generations of 64 points in 1,000 variables, each contender in a process of its own,
in turns. evosax may be in another environment: PYTHON is its interpreter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import environment
from staticnet.compare import stats

TARGET = 1e-9
DIMENSION, POPSIZE, GENERATIONS = 1000, 64, 45
REST = 0.5  # s between turns: threads of OpenBLAS and XLA spin for a while after their last product
Array = np.ndarray[Any, Any]


def sphere(xp: Any, x: Any) -> Any:
    """Σ x²"""
    return xp.sum(x * x)


def rosenbrock(xp: Any, x: Any) -> Any:
    """Σ 100 (x[i + 1] - x[i]²)² + (1 - x[i])²"""
    return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rastrigin(xp: Any, x: Any) -> Any:
    """Σ x² - 10 cos 2πx + 10"""
    return xp.sum(x * x - 10 * xp.cos(2 * np.pi * x) + 10)


def ellipsoid(xp: Any, x: Any) -> Any:
    """Σ s x² of scales s from 1 to 1e6"""
    return xp.sum(10 ** np.linspace(0, 6, x.shape[0]) * x * x)


FUNCTIONS: dict[str, tuple[Callable[[Any, Any], Any], float, float]] = {
    "sphere": (sphere, 1.0, 0.5),
    "rosenbrock": (rosenbrock, 0.1, 0.5),
    "ellipsoid": (ellipsoid, 1.0, 0.5),
    "rastrigin": (rastrigin, 3.0, 2.0),
}
"""Each with where it is begun, along every coordinate, and the first deviation."""
RESTARTS = {"active": 0, "bipop": 9}
CASES = [
    *(("active", name) for name in ("sphere", "rosenbrock", "ellipsoid")),
    *(("bipop", name) for name in FUNCTIONS),
]
"""A single run does not find Rastrigin's optimum."""
BEGUN = {("rastrigin", 40): 480}
"""Points of the first run: of 15, BIPOP would have to make 480 before it finds the optimum."""


def asked_by_cma(name: str, setting: str, n: int, seed: int, budget: int) -> int:
    """Evaluations of a search by `cma`."""
    import cma

    f, start, sigma = FUNCTIONS[name]
    asked, best = 0, float("inf")

    def counted(x: Array) -> float:
        nonlocal asked, best
        asked += 1
        value = float(f(np, x))
        best = min(best, value)
        return value

    options = {"verbose": -9, "seed": seed + 1, "ftarget": TARGET, "maxfevals": budget}
    if (name, n) in BEGUN:
        options["popsize"] = BEGUN[name, n]
    bipop = setting == "bipop"
    cma.fmin2(counted, np.full(n, start), sigma, options, restarts=RESTARTS[setting], bipop=bipop)
    return asked if best < TARGET else budget


def asked_by_us(name: str, setting: str, n: int, seed: int, budget: int) -> int:
    """Evaluations of a search by `sn.optim.CMAES`."""
    import staticnet as sn

    f, start, sigma = FUNCTIONS[name]
    bipop = setting == "bipop"
    popsize, restarts = BEGUN.get((name, n)), RESTARTS[setting]
    es = sn.optim.CMAES(sigma, popsize, seed=seed, restarts=restarts, bipop=bipop)
    step = es.minimize(lambda x: f(sn, x), np.full(n, start), device="cpu")
    asked = 0
    while asked < budget and not (step.stopped and not step.restarts_left):
        best = step()
        asked += step.popsize
        if best < TARGET:
            return asked
    return budget


def evaluations(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A record for each setting, function and dimension; what FILE has is not made again."""
    records = []
    if options.out and options.out.exists():
        records = json.loads(options.out.read_text(encoding="utf-8"))["records"]
    known = {(each["setting"], each["function"], each["n"]): each for each in records}
    for n in options.dims:
        for setting, name in CASES:
            if options.only and name not in options.only:
                continue
            record = known.get((setting, name, n))
            if record is None:
                record = {"setting": setting, "function": name, "n": n, "staticnet": [], "cma": []}
                records.append(record)
            if complete(record, records, options):
                print(row(record), flush=True)
    return records


def complete(record: dict[str, Any], records: Any, options: argparse.Namespace) -> bool:
    """Make the searches that a record lacks, each written as it ends: were there any?"""
    ways = {"staticnet": asked_by_us, "cma": asked_by_cma}
    case = record["function"], record["setting"], record["n"]
    missing = [
        (seed, who) for seed in range(options.seeds) for who in ways if seed >= len(record[who])
    ]
    for seed, who in missing:
        record[who].append(ways[who](*case, seed, options.budget))
        write(records, options)
    return bool(missing)


def row(record: dict[str, Any]) -> str:
    """The medians of a record, and their ratio."""
    ours, theirs = np.median(record["staticnet"]), np.median(record["cma"])
    return (
        f"{record['setting']} {record['function']} {record['n']}-d: {ours:,.0f} evaluations, "
        f"cma {theirs:,.0f}, ratio {ours / theirs:.2f}"
    )


def write(records: Any, options: argparse.Namespace) -> None:
    """Keep the samples in FILE, if one was named."""
    if options.out:
        made = {"about": environment.describe(2), "records": records}
        beside = options.out.with_suffix(".new")
        beside.write_text(json.dumps(made) + "\n", encoding="utf-8")
        beside.replace(options.out)


def stepper(name: str) -> Callable[[], Any]:
    """Makes `GENERATIONS` generations of a contender at each call."""
    if name.startswith("staticnet"):
        import staticnet as sn

        start = np.ones(DIMENSION, name.split()[1])
        es = sn.optim.CMAES(0.5, POPSIZE)
        step = es.minimize(lambda x: sphere(sn, x), start, device="cpu")
        return lambda: step.run(GENERATIONS)
    return _of_cma() if name == "cma" else _of_evosax()


def _of_cma() -> Callable[[], Any]:
    import cma

    options = {"popsize": POPSIZE, "verbose": -9, "seed": 1}
    es = cma.CMAEvolutionStrategy(np.ones(DIMENSION), 0.5, options)

    def many() -> None:
        for _ in range(GENERATIONS):
            points = es.ask()
            es.tell(points, [float(x @ x) for x in points])

    return many


def _of_evosax() -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp
    from evosax.algorithms import CMA_ES

    es = CMA_ES(population_size=POPSIZE, solution=jnp.ones(DIMENSION))
    params = es.default_params

    @jax.jit
    def generation(state: Any, key: Any) -> Any:
        asked, told = jax.random.split(key)
        points, state = es.ask(asked, state, params)
        return es.tell(told, points, jnp.sum(points**2, axis=1), state, params)[0]

    state = es.init(jax.random.key(0), jnp.ones(DIMENSION), params)
    keys = iter(jax.random.split(jax.random.key(1), 100_000))

    def many() -> None:
        nonlocal state
        for _ in range(GENERATIONS):
            state = generation(state, next(keys))
        jax.block_until_ready(state)

    return many


def serve(name: str) -> None:
    """Time a call for each line that is read."""
    step = stepper(name)
    step()
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print((time.perf_counter() - start) / GENERATIONS, flush=True)


def speed(options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of a generation of each contender, round by round."""
    names = {"staticnet float32": sys.executable, "staticnet float64": sys.executable}
    names["cma"] = sys.executable
    if options.evosax:
        names["evosax"] = options.evosax
    command = ["-W", "ignore", "-m", "bench.cmaes", "serve", "--name"]
    running = {
        name: subprocess.Popen(
            [python, *command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, python in names.items()
    }
    times: dict[str, list[float]] = {name: [] for name in names}
    rng = np.random.default_rng(0)
    for _ in range(options.rounds):
        for name in rng.permutation(list(names)):
            process = running[name]
            assert process.stdin is not None
            assert process.stdout is not None
            time.sleep(REST)
            process.stdin.write("\n")
            process.stdin.flush()
            times[name].append(float(process.stdout.readline()))
    for process in running.values():
        process.communicate()
    for name, each in times.items():
        low, middle, high = np.quantile(each, [0.25, 0.5, 0.75]) * 1e3
        print(f"{name}: {middle:.2f} ms a generation ({low:.2f} to {high:.2f})")
    for name in names:
        for peer in ("cma", "evosax"):
            if name.startswith("staticnet") and peer in times:
                rounds = [[[x] for x in times[each]] for each in (peer, name)]
                ratio = stats.ratio_to_best(rounds[0], [rounds[1]])
                bounds = f"{ratio.low:.1f} to {ratio.high:.1f}"
                print(f"{name}: {ratio.value:.1f} times as many as {peer} ({bounds})")
    return times


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=["evaluations", "speed", "serve"])
    parser.add_argument("--dims", type=int, nargs="+", default=[5, 10, 40])
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--budget", type=int, default=2_000_000, help="evaluations of a search")
    parser.add_argument("--only", nargs="+", choices=list(FUNCTIONS))
    parser.add_argument("--evosax", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if options.way == "serve":
        serve(options.name)
        return
    write(evaluations(options) if options.way == "evaluations" else speed(options), options)


if __name__ == "__main__":
    main()
