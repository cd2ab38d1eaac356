"""Dynamic execution against PyTorch eager: single operations, and training steps of workloads.

    python -m bench.dynamic [--rounds 20] [--out FILE]

Each contender is a process of its own, on two threads; their rounds alternate, and a ratio is the
median over rounds of one by the other, with its quartiles. Losses are compared before anything is
timed. The file gets the environment and each round's microseconds a call, as lines of JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import adam_rule
from bench.environment import describe
from bench.training import batches, staticnet_network, torch_network
from bench.workloads import mlp, playground

Case = tuple[Callable[[], Any], int]
CASES = (
    "add of 16",
    "add of 16, recorded",
    "matmul of 64 x 64",
    "playground, a step",
    "mlp, a step",
)
THREADS = "2"
CHECKED = 20
WARM_UP = 2  # rounds that are not counted


def staticnet_cases() -> dict[str, Case]:
    """What is timed, and how often in a round."""
    import staticnet as sn

    dyn = sn.dynamic
    small, leaf, matrix, weight = _arrays()
    a, b = dyn.tensor(small), dyn.tensor(leaf)
    c = dyn.tensor(leaf, requires_grad=True)
    m, w = dyn.tensor(matrix), dyn.tensor(weight)
    sgd, adam = sn.optim.SGD(playground.LR), sn.optim.Adam(**adam_rule.OPTIONS)

    def trainer(workload: Any, rule: Any, loss_of: Any) -> Callable[[], float]:
        data = workload.make_data(0)
        model = staticnet_network(workload.ACTIVATIONS, workload.WIDTHS, data)
        optimizer = dyn.Optimizer(rule, model.parameters())
        feeds = itertools.cycle(batches(data, workload.BATCH))

        def step() -> float:
            x, y = next(feeds)
            loss = loss_of(model(dyn.as_tensor(x)), dyn.as_tensor(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return float(loss)

        return step

    return {
        "add of 16": (lambda: a + b, 20000),
        "add of 16, recorded": (lambda: c + b, 20000),
        "matmul of 64 x 64": (lambda: m @ w, 5000),
        "playground, a step": (trainer(playground, sgd, sn.nn.mse_loss), 200),
        "mlp, a step": (trainer(mlp, adam, sn.nn.cross_entropy), 50),
    }


def torch_cases() -> dict[str, Case]:
    """The same, eager, with the fused optimizer."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(int(THREADS))
    small, leaf, matrix, weight = map(torch.from_numpy, _arrays())
    c = leaf.clone().requires_grad_()

    def trainer(workload: Any, rule: Any, loss_of: Any) -> Callable[[], float]:
        data = workload.make_data(0)
        model = torch_network(workload.ACTIVATIONS, workload.WIDTHS, data)
        optimizer = rule(model.parameters())
        feeds = itertools.cycle(batches(data, workload.BATCH))

        def step() -> float:
            x, y = next(feeds)
            loss = loss_of(model(torch.from_numpy(x)), torch.from_numpy(y))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return step

    def sgd(parameters: Any) -> Any:
        return torch.optim.SGD(parameters, lr=playground.LR, fused=True)

    def adam(parameters: Any) -> Any:
        return torch.optim.Adam(parameters, **adam_rule.OPTIONS, fused=True)

    return {
        "add of 16": (lambda: small + leaf, 20000),
        "add of 16, recorded": (lambda: c + leaf, 20000),
        "matmul of 64 x 64": (lambda: matrix @ weight, 5000),
        "playground, a step": (trainer(playground, sgd, F.mse_loss), 200),
        "mlp, a step": (trainer(mlp, adam, F.cross_entropy), 50),
    }


CONTENDERS = {"staticnet": staticnet_cases, "torch": torch_cases}


def _arrays() -> list[Any]:
    rng = np.random.default_rng(0)
    shapes = ((16,), (16,), (64, 64), (64, 64))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def numbers(result: Any) -> Any:
    """A tensor of either library, or a number, as an array."""
    detached = result.detach() if hasattr(result, "detach") else result
    return np.asarray(detached, float)


def serve(name: str, connection: Any) -> None:
    """Answer requests of the parent: results of the first steps, then seconds a call."""
    cases = CONTENDERS[name]()
    for case, checked in iter(connection.recv, None):  # None ends it
        call, times = cases[case]
        if checked:
            connection.send([numbers(call()) for _ in range(CHECKED)])
            continue
        start = time.perf_counter()
        for _ in range(times):
            call()
        connection.send((time.perf_counter() - start) / times)


def main() -> None:
    """Print a table of medians and ratios, and write the samples if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = THREADS
    records: list[dict[str, Any]] = [describe(int(THREADS))]
    context = multiprocessing.get_context("spawn")
    ends = {}
    for name in CONTENDERS:
        ends[name], theirs = context.Pipe()
        context.Process(target=serve, args=(name, theirs), daemon=True).start()

    def ask(name: str, case: str, checked: bool = False) -> Any:
        ends[name].send((case, checked))
        return ends[name].recv()

    print(f"{'':24}{'staticnet':>14}{'torch':>14}{'ratio':>8}  quartiles")
    for case in CASES:
        ours, theirs = (ask(name, case, checked=True) for name in CONTENDERS)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        rounds = [
            {name: ask(name, case) * 1e6 for name in CONTENDERS}
            for _ in range(WARM_UP + arguments.rounds)
        ][WARM_UP:]
        samples = {name: [each[name] for each in rounds] for name in CONTENDERS}
        records.append({"kind": "result", "case": case, "microseconds": samples})
        print(row(case, samples), flush=True)
    for end in ends.values():
        end.send(None)
    if arguments.out is not None:
        lines = [json.dumps(record) for record in records]
        arguments.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


def row(case: str, samples: dict[str, list[float]]) -> str:
    """The medians of a case, and the median of the rounds' ratios between its quartiles."""
    ours, theirs = samples["staticnet"], samples["torch"]
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    medians = "".join(f"{statistics.median(each):11.2f} µs" for each in (ours, theirs))
    return f"{case:24}{medians}{middle:8.2f}  {low:.2f} - {high:.2f}"


if __name__ == "__main__":
    main()
