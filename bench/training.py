"""Training loops: a step that is called, and an epoch that is run.

- `call`: NumPy arrays in, the loss out as a Python float, every step.
- `run`: a whole epoch at once, over data that is already where the framework wants it; the losses
  come back at its end. The batches are in the order of the examples, for every contender.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from bench.program import CHECK_STEPS, Array, Arrays, Mode, Program

Batches = list[tuple[Array, Array]]


def batches(data: Arrays, size: int) -> Batches:
    """The examples in order, as views.  x: [n, *s] -> n // size of [size, *s]"""
    starts = range(0, len(data["x"]) - size + 1, size)
    return [(data["x"][i : i + size], data["y"][i : i + size]) for i in starts]


def training_program(
    step: Callable[[Array, Array], float],
    epoch: Callable[[], Array] | None,
    feeds: Batches,
    memory: Callable[[], dict[str, int]] = dict,
) -> Program:
    """The modes of a step, and of an epoch over the same batches."""
    endless = itertools.cycle(feeds)

    def repeat(n: int) -> None:
        for x, y in itertools.islice(endless, n):
            step(x, y)

    def losses(n: int) -> Array:
        return np.array([step(x, y) for x, y in itertools.islice(endless, n)])

    modes = {"call": Mode(repeat, losses)}
    if epoch is not None:
        modes["run"] = _epochs(epoch, len(feeds))
    return Program(modes, memory)


def _epochs(epoch: Callable[[], Array], steps: int) -> Mode:
    def repeat(n: int) -> None:
        for _ in range(n):
            epoch()

    return Mode(repeat, lambda n: np.asarray(epoch())[:n], steps)


def reference_losses(
    descend: Callable[[Array, Array], float], feeds: Batches
) -> Mapping[str, Array]:
    """What the checks must give: the first steps called, then the first steps of an epoch."""

    def take(source: Iterator[tuple[Array, Array]]) -> Array:
        return np.array([descend(x, y) for x, y in itertools.islice(source, CHECK_STEPS)])

    called = take(iter(feeds))
    return {"call": called, "run": take(iter(feeds))}


def weights(seed: int, *widths: int) -> dict[str, Array]:
    """w0 [out, in], b0 [out], w1, ...: uniform within 1 / sqrt(in), float32."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for i, (n, m) in enumerate(itertools.pairwise(widths)):
        bound = 1 / np.sqrt(n)
        made[f"w{i}"] = rng.uniform(-bound, bound, (m, n)).astype(np.float32)
        made[f"b{i}"] = rng.uniform(-bound, bound, m).astype(np.float32)
    return made


def parameter_names(layers: int) -> list[str]:
    """The weights' names in the order in which the frameworks list their parameters."""
    return [f"{kind}{i}" for i in range(layers) for kind in "wb"]
