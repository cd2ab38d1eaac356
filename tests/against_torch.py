"""Many calls of ours beside PyTorch's, in one compiled function: values and derivatives.

The cotangents are fixed and different, so that a mistake does not cancel in a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn

Array = Any
PLAIN = ("inline", "infer_shape")  # passes without which there is nothing to run


@dataclass
class Case:
    """Our function and PyTorch's, on arrays; derivatives are by those that are floating-point."""

    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    arrays: tuple[Array, ...]
    second: bool = True
    """Whether PyTorch has second derivatives of it."""


def weights(shape: Sequence[int]) -> Array:
    """A fixed cotangent."""
    return np.cos(np.arange(np.prod(shape, dtype=int), dtype=np.float64)).reshape(tuple(shape)) + 2


def _several(made: Any) -> list[Any]:
    return list(made) if isinstance(made, tuple | list) else [made]


def outputs(case: Case, inputs: Sequence[Any]) -> list[Any]:
    """The nodes of a case: results, first derivatives and, if there are any, second ones."""
    results = _several(case.ours(*inputs))
    by = [x for x in inputs if x.dtype == "float64"]
    of = [y for y in results if y.dtype == "float64"]
    if not by or not of:
        return results
    total = sum(sn.sum(y * weights(y.shape)) for y in of)
    first = sn.grad(total, by)
    if not case.second:
        return [*results, *first]
    total = sum(sn.sum(g * g * weights(g.shape)) for g in first) + sn.sum(by[0] * by[0])
    return [*results, *first, *sn.grad(total, by, allow_unused=True)]


def wanted(case: Case, torch: Any) -> list[Array]:
    """The same from PyTorch."""
    inputs = [torch.tensor(a) for a in case.arrays]
    by = [x.requires_grad_() for x in inputs if x.dtype == torch.float64]
    results = _several(case.theirs(*inputs))
    of = [y for y in results if y.requires_grad]
    arrays = [y.numpy(force=True) for y in results]
    if not by or not of:
        return arrays
    total = sum((y * torch.tensor(weights(y.shape))).sum() for y in of)
    first = torch.autograd.grad(total, by, create_graph=case.second)
    arrays += [g.numpy(force=True) for g in first]
    if not case.second:
        return arrays
    total = sum((g * g * torch.tensor(weights(g.shape))).sum() for g in first)
    total = total + (by[0] * by[0]).sum()
    second = torch.autograd.grad(total, by, allow_unused=True, materialize_grads=True)
    return arrays + [g.numpy(force=True) for g in second]


def agree(
    cases: Sequence[Case], torch: Any, device: str = "numpy", rtol: float = 1e-9, atol: float = 1e-9
) -> None:
    """All cases, compiled as one function for the device, give what PyTorch gives."""
    nodes, found, feeds, counts = list[Any](), list[Any](), list[Array](), []
    for case in cases:
        inputs = [sn.placeholder(a.shape, str(a.dtype)) for a in case.arrays]
        made = outputs(case, inputs)
        nodes += inputs
        feeds += case.arrays
        found += made
        counts.append(len(made))
    passes: Any = (
        [p for p in sn.PIPELINE if p.name in PLAIN] if device == "numpy" else sn.PIPELINE
    )  # the definitions, as they are
    values = iter(sn.function(nodes, found, device=device, passes=passes)(*feeds))
    for case, count in zip(cases, counts, strict=True):
        expected = wanted(case, torch)
        mine = [next(values) for _ in range(count)]
        assert len(mine) == len(expected), case.name
        for i, (value, right) in enumerate(zip(mine, expected, strict=True)):
            assert value.shape == right.shape, (case.name, i, value.shape, right.shape)
            assert value.dtype == right.dtype, (case.name, i)
            np.testing.assert_allclose(value, right, rtol, atol, err_msg=f"{case.name} [{i}]")
