"""Loops written out on a GPU: carries that are stacked are read where they are, and not copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import Gpu

import staticnet as sn
from staticnet.backends.cuda import CudaBackend
from staticnet.codegen.commands import Copy
from staticnet.codegen.cuda import control
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import Compilation

STEPS = 6


def recurrence(width: int, reverse: bool, precision: str, **options: Any) -> Any:
    """Two carries, of which one is stacked, and the gradients of all."""
    rng = np.random.default_rng(2)
    w = sn.variable(rng.normal(0, width**-0.5, (width, width)).astype("f"))
    x = sn.placeholder((STEPS, 8, width), name="x")

    def step(carry: Any, row: Any) -> Any:
        h, c = carry
        c = 0.5 * c + sn.tanh(h @ w + row)
        h = sn.tanh(c)
        return (h, c), h

    zeros = sn.zeros((8, width))
    (h, c), ys = sn.scan(step, (zeros, zeros), x, reverse=reverse)
    loss = sn.mean(ys * ys) + sn.mean(h * c)
    return sn.function([x], [loss, *sn.grad(loss, [x, w])], precision=precision, **options)


def copies(f: Any) -> int:
    made = Compilation(f.graph, CudaBackend(), "fast", f.precision, (), None)
    program = write_cuda_program(made.plan(made.compile({})[0], {}))
    return sum(isinstance(command, Copy) for command in program.launches)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_copies_do_not_grow_with_the_steps(reverse: bool, precision: str) -> None:
    """Into the first steps' carries, and out of the last steps'; rows of 24 bytes are copied."""
    assert copies(recurrence(64, reverse, precision, device="numpy")) <= 6
    assert copies(recurrence(3, reverse, precision, device="numpy")) >= STEPS


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.usefixtures("launch_by_launch")
@pytest.mark.parametrize(
    ("most", "width"),
    [
        pytest.param(4096, 64, id="written out"),
        pytest.param(4096, 3, id="rows that are copied", marks=pytest.mark.slow),
        pytest.param(0, 64, id="launched by the host", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_it_follows_numpy(
    gpu: Gpu, reverse: bool, width: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MOST_COMMANDS", most)
    feed = np.random.default_rng(3).normal(size=(STEPS, 8, width)).astype("f")
    f = recurrence(width, reverse, "float32", device="cuda")
    wanted = recurrence(width, reverse, "float32", device="numpy")(feed)
    for _ in range(2):
        for mine, theirs in zip(f(feed), wanted, strict=True):
            np.testing.assert_allclose(mine.get(), theirs, rtol=2e-4, atol=1e-6)
