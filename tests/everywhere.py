"""One computation on every device: NumPy, the CPU's C, define-by-run, and CUDA through the shim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower

import staticnet as sn

Build = Callable[..., Any]
Arrays = list[Any]
DEVICES = ("numpy", "cpu", "dynamic", "cuda")


def on(device: str, folder: Path, build: Build, *arrays: Any) -> Arrays:
    """The values of `build(*inputs)`, one or a list, on one device.

    Skips a test of "cuda" where there is no compiler for the shim.

    Raises:
        ExecutionError: if the run fails.
    """
    feeds = [np.asarray(a) for a in arrays]
    if device == "dynamic":
        made = _listed(build(*[sn.dynamic.tensor(a) for a in feeds]))
        return [sn.dynamic.as_tensor(y).numpy() for y in made]
    xs = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(feeds)]
    outputs = _listed(build(*xs))
    f = sn.function(xs, outputs, device="cpu" if device == "cpu" else "numpy")
    if device != "cuda":
        return list(f(*feeds))
    if CXX is None:
        pytest.skip("no g++ on this machine")
    machine = Machine(lower(f), folder)
    failed, values, _ = machine.run(feeds, [v.value for v in machine.graph.variables])
    if failed:
        raise sn.errors.ExecutionError(f"the kernels failed at site {failed}")
    return values


def _listed(made: Any) -> list[Any]:
    return list(made) if isinstance(made, list | tuple) else [made]


def grad_of(build: Build) -> Build:
    """`build`, followed by the gradients of the sum of its result by all floating inputs."""

    def both(*xs: Any) -> list[Any]:
        floating = [i for i, x in enumerate(xs) if x.dtype.kind in "fV"]
        if xs and xs[0].is_symbolic:
            y = build(*xs)
            return [y, *sn.grad(_total(y), [xs[i] for i in floating])]
        leaves = [sn.dynamic.tensor(x, requires_grad=x.dtype.kind in "fV") for x in xs]
        y = build(*leaves)
        return [y, *sn.dynamic.grad(_total(y), [leaves[i] for i in floating])]

    return both


def _total(y: Any) -> Any:
    return y if y.ndim == 0 else sn.sum(y)
