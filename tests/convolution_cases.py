"""Convolutions of any options, drawn at random: arrays, arguments, and PyTorch's values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import staticnet as sn

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A call `conv2d(x, weight, bias, **options)` or of its like, and a cotangent of its result."""

    name: str
    arrays: tuple[Array, ...]
    options: dict[str, Any]

    def __str__(self) -> str:
        shapes = " ".join(str(list(a.shape)) for a in self.arrays)
        return f"{self.name} {shapes} {self.options}"

    def call(self, functional: Any, operands: Any) -> Any:
        """The result of `sn.nn.functional` or PyTorch's on their operands."""
        return getattr(functional, self.name)(*operands, **self.options)


def _some(rng: np.random.Generator, axes: int, values: list[int]) -> Any:
    """One int for all axes, or one for each."""
    if rng.random() < 0.4:
        return int(rng.choice(values))
    return tuple(int(v) for v in rng.choice(values, axes))


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else value


def convolution(rng: np.random.Generator) -> Case:
    """A convolution."""
    axes = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    each = int(rng.integers(1, 4)) if rng.random() < 0.7 else 1  # 1: depthwise
    outputs = groups * int(rng.integers(1, 4))
    kernel = rng.choice([1, 2, 3], axes)
    options: dict[str, Any] = {"groups": groups, "dilation": _some(rng, axes, [1, 1, 2, 3])}
    dilation = _each(options["dilation"], axes)
    padded = 0
    if rng.random() < 0.25:
        options["padding"] = str(rng.choice(["same", "valid"]))
    else:
        options["padding"] = _some(rng, axes, [0, 1, 2])
        options["stride"] = _some(rng, axes, [1, 1, 2, 3])
        padded = 2 * np.array(_each(options["padding"], axes))
    least = np.maximum(np.array(dilation) * (kernel - 1) + 1 - padded, 1)
    spatial = least + rng.integers(0, 5 if axes < 3 else 3, axes)
    x = rng.normal(size=(int(rng.integers(1, 4)), groups * each, *spatial))
    weight = rng.normal(size=(outputs, each, *kernel))
    return _drawn(rng, f"conv{axes}d", x, weight, outputs, options)


def transposed(rng: np.random.Generator) -> Case:
    """A transposed convolution."""
    axes = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    each, inputs = int(rng.integers(1, 4)), groups * int(rng.integers(1, 3))
    kernel = rng.choice([1, 2, 3], axes)
    stride, dilation = _some(rng, axes, [1, 2, 3]), _some(rng, axes, [1, 1, 2, 3])
    padding = _some(rng, axes, [0, 0, 1, 2])
    most = np.maximum(_each(stride, axes), _each(dilation, axes))
    more = tuple(int(v) for v in rng.integers(0, most))
    options = {"stride": stride, "padding": padding, "output_padding": more, "groups": groups}
    options["dilation"] = dilation
    reach = np.array(_each(dilation, axes)) * (kernel - 1) + 1
    missing = 1 - (reach - 2 * np.array(_each(padding, axes)) + more)  # for one element of y
    least = 1 + np.maximum(0, -(-missing // np.array(_each(stride, axes))))
    spatial = least + rng.integers(0, 4 if axes < 3 else 2, axes)
    x = rng.normal(size=(int(rng.integers(1, 3)), inputs, *spatial))
    weight = rng.normal(size=(inputs, each, *kernel))
    return _drawn(rng, f"conv_transpose{axes}d", x, weight, groups * each, options)


def _drawn(
    rng: np.random.Generator, name: str, x: Array, weight: Array, outputs: int, options: Any
) -> Case:
    bias = [rng.normal(size=outputs)] if rng.random() < 0.5 else []
    if rng.random() < 0.15:
        x = x[0]  # a single example
    return Case(name, (x, weight, *bias), options)


def cases(count: int, seed: int) -> Iterator[Case]:
    """So many cases, a third of them transposed."""
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        yield transposed(rng) if i % 3 == 2 else convolution(rng)


def weights(shapes: list[Any]) -> list[Array]:
    """Cotangents of values of these shapes, the same for both libraries."""
    rng = np.random.default_rng(99)
    return [rng.normal(size=tuple(shape)) for shape in shapes]


def ours(case: Case, operands: Any) -> list[Any]:
    """The result, its gradients by all operands, and the gradients of those by all operands."""

    def value(*xs: Any) -> Any:
        return case.call(sn.nn.functional, xs)

    def first(*xs: Any) -> Any:
        y = value(*xs)
        (g,) = weights([y.shape])
        return sn.sum(sn.sin(y) * g)

    by = tuple(range(len(operands)))

    def second(*xs: Any) -> Any:
        made = sn.grad(first, by)(*xs)
        parts = zip(made, weights([m.shape for m in made]), strict=True)
        return sum((sn.sum(m * g) for m, g in parts), start=sn.constant(0.0, operands[0].dtype))

    return [value(*operands), *sn.grad(first, by)(*operands), *sn.grad(second, by)(*operands)]


def theirs(torch: Any, case: Case) -> list[Array]:
    """The same by PyTorch."""
    xs = [torch.tensor(a, requires_grad=True) for a in case.arrays]
    y = case.call(torch.nn.functional, xs)
    (g,) = weights([y.shape])
    made = torch.autograd.grad((y.sin() * torch.tensor(g)).sum(), xs, create_graph=True)
    parts = zip(made, weights([m.shape for m in made]), strict=True)
    total = sum((m * torch.tensor(g)).sum() for m, g in parts)
    second = torch.autograd.grad(total, xs)
    return [t.detach().numpy() for t in (y, *made, *second)]
