"""Training loops: a step that is called, and an epoch that is run.

- `call`: NumPy arrays in, the loss out as a Python float, every step.
- `run`: a whole epoch at once, over data that is already where the framework wants it; the losses
  come back at its end. The batches are in the order of the examples, for every contender.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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

    return Mode(repeat, lambda n: on_host(epoch())[:n], steps)


def on_host(array: Any) -> Array:
    """The array itself, or a copy of what lies on a GPU."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def resident(step: Any, data: Arrays) -> list[Any]:
    """x and y where staticnet's step runs: for a GPU they are copied there, once."""
    return step.specialize().executable.place([data["x"], data["y"]])


def staticnet_program(step: Any, data: Arrays, size: int, steps: int) -> Program:
    """A call of the step, and epochs of it over data that lies where it runs."""
    sets = resident(step, data)

    def memory() -> dict[str, int]:
        analysis = step.memory_analysis()
        return {"planned peak": analysis.peak, "feeds": analysis.feeds, "arena": analysis.arena}

    return training_program(
        lambda x, y: float(step(x, y)),
        lambda: step.run(steps, *sets, batch_size=size),
        batches(data, size),
        memory,
    )


def torch_descent(objective: Callable[[Any, Any], Any], optimizer: Any) -> Callable[..., Any]:
    """A step of PyTorch's on the loss `objective(x, y)`."""

    def descend(x: Any, y: Any) -> Any:
        loss = objective(x, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return descend


def torch_program(descend: Callable[[Any, Any], Any], data: Arrays, size: int) -> Program:
    """`descend` takes a batch of tensors and gives its loss, a tensor without a gradient."""
    import torch

    feeds = batches(data, size)
    resident = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in feeds]
    return training_program(
        lambda x, y: descend(torch.from_numpy(x), torch.from_numpy(y)).item(),
        lambda: torch.stack([descend(x, y) for x, y in resident]).numpy(),
        feeds,
    )


def jax_program(descend: Callable[[Any, Any], Any], state: Any, data: Arrays, size: int) -> Program:
    """`descend(state, (x, y))` gives the next state, which is donated, and the loss.

    A step is jitted; an epoch is a scan over batches on the device.
    """
    import jax

    one = jax.jit(descend, donate_argnums=0)
    many = jax.jit(functools.partial(jax.lax.scan, descend), donate_argnums=0)
    feeds = [(_narrow(x), _narrow(y)) for x, y in batches(data, size)]
    resident = jax.device_put(tuple(np.stack(column) for column in zip(*feeds, strict=True)))

    def step(x: Array, y: Array) -> float:
        nonlocal state
        state, loss = one(state, (x, y))
        return float(loss)

    def epoch() -> Array:
        nonlocal state
        state, losses = many(state, resident)
        return np.asarray(losses)

    def memory() -> dict[str, int]:
        analysis = one.lower(state, feeds[0]).compile().memory_analysis()
        names = ("argument", "output", "temp", "alias")
        return {name: getattr(analysis, f"{name}_size_in_bytes") for name in names}

    return training_program(step, epoch, feeds, memory)


def _narrow(a: Array) -> Array:
    """An array of integers as JAX has them."""
    return a.astype(np.int32) if a.dtype == np.int64 else a


def staticnet_network(layers: Sequence[str], widths: Sequence[int], data: Arrays) -> Any:
    """`sn.nn.Linear` of these widths, and a layer after each as long as one is named."""
    import staticnet as sn

    model = _sequential(sn.nn, layers, widths)
    for parameter, name in zip(model.parameters(), parameter_names(len(widths) - 1), strict=True):
        parameter.value = data[name]
    return model


def torch_network(layers: Sequence[str], widths: Sequence[int], data: Arrays) -> Any:
    """`torch.nn.Linear` of these widths, and a layer after each as long as one is named."""
    import torch

    model = _sequential(torch.nn, layers, widths)
    for parameter, name in zip(model.parameters(), parameter_names(len(widths) - 1), strict=True):
        parameter.data = torch.from_numpy(data[name].copy())
    return model


def _sequential(nn: Any, layers: Sequence[str], widths: Sequence[int]) -> Any:
    made: list[Any] = []
    for i, (n, m) in enumerate(itertools.pairwise(widths)):
        made.append(nn.Linear(n, m))
        made += [getattr(nn, layer)() for layer in layers[i : i + 1]]
    return nn.Sequential(*made)


def reference_losses(
    descend: Callable[[Array, Array], float], feeds: Batches, steps: int = CHECK_STEPS
) -> Mapping[str, Array]:
    """What the checks must give: the first steps called, then the first steps of an epoch."""

    def take(source: Iterator[tuple[Array, Array]]) -> Array:
        return np.array([descend(x, y) for x, y in itertools.islice(source, steps)])

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


def parameter_names(layers: int) -> tuple[str, ...]:
    """The weights' names in the order in which the frameworks list their parameters."""
    return tuple(f"{kind}{i}" for i in range(layers) for kind in "wb")
