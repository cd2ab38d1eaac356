"""Losses, distances and activations over all their options: PyTorch in float64 is the oracle.

Each case is a layer or function of `torch.nn.functional` by its name, with the same arguments.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet import nn

COMPILES = True
torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
Array = np.ndarray[Any, Any]
rng = np.random.default_rng(0)
REDUCTIONS = ("mean", "sum", "none")


@dataclass
class Case:
    """A function of both libraries, its arrays, those differentiated, and its options."""

    name: str
    arrays: tuple[Array, ...]
    options: dict[str, Any] = field(default_factory=dict)
    wrt: tuple[int, ...] = (0,)

    @property
    def reduced(self) -> bool:
        """Whether the second derivative says nothing that "none" does not say."""
        return self.options.get("reduction", "none") != "none"

    def __str__(self) -> str:
        shown = {k: v.shape if isinstance(v, np.ndarray) else v for k, v in self.options.items()}
        return f"{self.name}{[a.shape for a in self.arrays]}{shown}"


def n(*shape: int, scale: float = 1.5) -> Array:
    return rng.normal(0, scale, shape)


def signs(*shape: int) -> Array:
    return np.where(rng.random(shape) < 0.5, 1.0, -1.0)


def over(**options: Any) -> Iterator[dict[str, Any]]:
    """All combinations of options."""
    for values in itertools.product(*options.values()):
        yield dict(zip(options, values, strict=True))


X, T = n(4, 3), n(4, 3)
P, Q = rng.uniform(0.05, 0.95, (4, 3)), rng.uniform(0, 1, (4, 3))
W = rng.uniform(0.5, 2, (4, 3))


def likelihoods() -> Iterator[Case]:
    x, t, p, q, w = X, T, P, Q, W
    for o in over(reduction=REDUCTIONS, weight=(None, w, w[0])):
        yield Case("binary_cross_entropy", (p, q), o)
    for o in over(reduction=REDUCTIONS, weight=(None, w)):
        for name in ("mse_loss", "l1_loss", "huber_loss"):
            yield Case(name, (x, t), o, (0, 1))
    for o in over(reduction=REDUCTIONS, beta=(0.0, 0.3, 1.0, 2.5)):
        yield Case("smooth_l1_loss", (x, t), o, (0, 1))
    for o in over(reduction=REDUCTIONS, full=(False, True), eps=(1e-6, 0.7)):
        for var in (w, w[:, :1], w[:, 0], w[:1]):
            yield Case("gaussian_nll_loss", (x, t, var), o, (0, 1, 2))
    counts = rng.integers(0, 6, (4, 3)).astype(float)
    for o in over(reduction=REDUCTIONS, full=(False, True), log_input=(True, False)):
        for eps in (1e-8, 1e-2):
            yield Case("poisson_nll_loss", (w, counts), o | {"eps": eps})


def margins() -> Iterator[Case]:
    x, t, q, w = X, T, Q, W
    for o in over(reduction=REDUCTIONS, margin=(0.0, 0.7)):
        yield Case("margin_ranking_loss", (x, t, signs(4, 3)), o, (0, 1))
        yield Case("margin_ranking_loss", (x[0], t[0], signs(3)), o, (0, 1))
        yield Case("hinge_embedding_loss", (x, signs(4, 3)), o)
        yield Case("cosine_embedding_loss", (x, t, signs(4)), o, (0, 1))
        yield Case("cosine_embedding_loss", (x[0], t[0], signs(1)[0]), o, (0, 1))
    for o in over(reduction=REDUCTIONS):
        yield Case("soft_margin_loss", (x, signs(4, 3)), o)
        labels = np.array([[2, 0, -1], [1, -1, 2], [-1, 0, 0], [0, 1, 2]])
        yield Case("multilabel_margin_loss", (x, labels), o)
        yield Case("multilabel_margin_loss", (x[0], labels[0]), o)
    for o in over(reduction=REDUCTIONS, weight=(None, w[0])):
        yield Case("multilabel_soft_margin_loss", (x, (q > 0.5) * 1.0), o)
        for power, margin in ((1, 1.0), (2, 1.0), (2, 0.4)):
            more = o | {"p": power, "margin": margin}
            yield Case("multi_margin_loss", (x, np.array([0, 2, 1, 1])), more)
            yield Case("multi_margin_loss", (x[0], np.array(2)), more)


def triplets() -> Iterator[Case]:
    x, t = X, T
    for o in over(reduction=REDUCTIONS, swap=(False, True), p=(1.0, 2.0, 3.0), margin=(0.5, 3.0)):
        yield Case("triplet_margin_loss", (x, t, n(4, 3)), o, (0, 1, 2))
    for o in over(reduction=REDUCTIONS, swap=(False, True)):
        yield Case("triplet_margin_with_distance_loss", (x, t, n(4, 3)), o, (0, 1, 2))
    yield Case("triplet_margin_loss", (x[0], t[0], n(3)), {}, (0, 1, 2))


def distances() -> Iterator[Case]:
    x, y = n(3, 4, 5), n(3, 4, 5)
    for o in over(p=(1.0, 2.0, 3.5, np.inf), dim=(0, 1, -1)):
        yield Case("normalize", (x,), o)
    for dim in (0, 1, -1):
        yield Case("cosine_similarity", (x, y), {"dim": dim}, (0, 1))
        yield Case("cosine_similarity", (x, y), {"dim": dim, "eps": 4.0}, ())
    yield Case("cosine_similarity", (x, y[:1, :, :]), {}, (0, 1))
    for o in over(p=(1.0, 2.0, 3.5, np.inf, 0.0), eps=(1e-6, 0.1), keepdim=(False, True)):
        yield Case("pairwise_distance", (x, y), o, (0, 1) if o["p"] else ())
    yield Case("pairwise_distance", (x[0, 0], y[0, 0]), {}, (0, 1))
    for p in (1.0, 2.0, 3.5, np.inf, 0.0):
        yield Case("cdist", (x, n(3, 2, 5)), {"p": p}, (0, 1) if p else ())
        yield Case("pdist", (x[0],), {"p": p}, (0,) if p else ())
    yield Case("bilinear", (n(2, 3, 4), n(2, 3, 5), n(6, 4, 5), n(6)), {}, (0, 1, 2, 3))
    yield Case("bilinear", (n(4), n(5), n(6, 4, 5)), {}, (0, 1, 2))


def activations() -> Iterator[Case]:
    x = n(3, 4, 6, scale=3.0)
    for name in (
        *("relu6", "logsigmoid", "hardsigmoid", "hardswish", "softsign", "softshrink"),
        *("hardshrink", "tanhshrink", "celu", "glu", "rrelu"),
    ):
        yield Case(name, (x,))
    for o in over(dim=(0, 1, -1)):
        yield Case("softmin", (x,), o)
        yield Case("softmax", (x,), o)
        yield Case("log_softmax", (x,), o)
    for o in over(dim=(1, -1)):
        yield Case("glu", (x,), o)
    for o in over(threshold=(-1.0, 0.5), value=(-2.0, 7.0)):
        yield Case("threshold", (x,), o)
    for lambd in (0.0, 1.3):
        yield Case("softshrink", (x,), {"lambd": lambd})
        yield Case("hardshrink", (x,), {"lambd": lambd})
    yield Case("celu", (x,), {"alpha": 2.5})
    yield Case("rrelu", (x,), {"lower": 0.1, "upper": 0.5})
    for weight in (n(1), n(4)):
        yield Case("prelu", (x, weight), {}, (0, 1))
    yield Case("prelu", (x[0, 0], n(1)), {}, (0, 1))


CASES = {f.__name__: f for f in (likelihoods, margins, triplets, distances, activations)}
RTOL = {"hardsigmoid": 1e-7}  # PyTorch's derivative of it has a float32 in it


def wrapped(options: dict[str, Any]) -> dict[str, Any]:
    return {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}


def reference(name: str) -> Callable[..., Any]:
    return getattr(torch.nn.functional, name, None) or getattr(torch, name)


def weights(shape: Any) -> Array:
    """A fixed cotangent, so that a mistake does not cancel in a sum."""
    return np.cos(np.arange(np.prod(shape, dtype=int), dtype=np.float64)).reshape(tuple(shape)) + 2


def ours(case: Case) -> tuple[list[Any], list[Any]]:
    """Placeholders, and the value with its first and second derivatives."""
    xs = [sn.placeholder(a.shape, str(a.dtype)) for a in case.arrays]
    y = getattr(nn.functional, case.name)(*xs, **case.options)
    wrt = [xs[i] for i in case.wrt]
    if not wrt:
        return xs, [y]
    first = sn.grad(sn.sum(y * weights(y.shape)), wrt)
    if case.reduced:
        return xs, [y, *first]
    scalar = sum((sn.sum(g * weights(g.shape)) for g in first), start=sn.constant(0.0, "float64"))
    return xs, [y, *first, *sn.grad(scalar, wrt, allow_unused=True)]


def theirs(case: Case) -> list[Any]:
    xs = [torch.tensor(a) for a in case.arrays]
    wrt = [xs[i].requires_grad_() for i in case.wrt]
    y = reference(case.name)(*xs, **wrapped(case.options))
    if not wrt:
        return [y.numpy()]
    loss = (y * torch.tensor(weights(y.shape))).sum()
    first = torch.autograd.grad(loss, wrt, create_graph=True)
    if case.reduced:
        return [t.numpy(force=True) for t in (y, *first)]
    scalar = sum((g * torch.tensor(weights(tuple(g.shape)))).sum() for g in first)
    second = [torch.zeros_like(x) for x in wrt]
    if scalar.requires_grad:
        try:
            second = torch.autograd.grad(scalar, wrt, allow_unused=True, materialize_grads=True)
        except RuntimeError:  # it has no second derivative of this
            second = [None] * len(wrt)
    return [t if t is None else t.numpy(force=True) for t in (y, *first, *second)]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", CASES)
def test_values_and_two_derivatives_are_pytorchs(kind: str, step: int) -> None:
    """All cases or every fifth of them, in one function."""
    cases = list(CASES[kind]())[::step]
    feeds, inputs, outputs, wanted = list[Array](), list[Any](), list[Any](), list[Any]()
    names = list[tuple[str, str]]()
    for case in cases:
        xs, ys = ours(case)
        inputs += xs
        feeds += case.arrays
        outputs += ys
        names += [(case.name, f"{case} result {i}") for i in range(len(ys))]
        wanted += theirs(case)
    for (name, what), got, want in zip(
        names, sn.function(inputs, outputs, device="numpy")(*feeds), wanted, strict=True
    ):
        if want is not None:
            np.testing.assert_allclose(got, want, RTOL.get(name, 1e-9), 1e-11, err_msg=what)
