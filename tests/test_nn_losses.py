"""Losses, distances and activations over all their options: PyTorch in float64 is the oracle.

Each case is a layer or function of `torch.nn.functional` by its name, with the same arguments.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everywhere import grad_of, on

import staticnet as sn
from staticnet import nn
from staticnet.errors import ArgumentError, DTypeError, ExecutionError, ShapeError, StaticnetError

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


def one_of_each() -> list[Case]:
    """A case of each function, with derivatives."""
    found = {case.name: case for kind in CASES.values() for case in kind() if case.wrt}
    return list(found.values())


def total(cases: list[Case]) -> Callable[..., Any]:
    """The weighted sum of all cases, of their differentiated arrays one after the other."""

    def build(*xs: Any) -> Any:
        rest, result = iter(xs), None
        for case in cases:
            own = [next(rest) if i in case.wrt else a for i, a in enumerate(case.arrays)]
            y = getattr(nn.functional, case.name)(*own, **case.options)
            term = sn.sum(y * weights(y.shape))
            result = term if result is None else result + term
        return result

    return build


@pytest.mark.parametrize("device", ["cpu", "dynamic", pytest.param("cuda", marks=pytest.mark.slow)])
def test_devices_agree(device: str, tmp_path: Path) -> None:
    cases = one_of_each()
    feeds = [case.arrays[i] for case in cases for i in case.wrt]
    wanted = on("numpy", tmp_path, grad_of(total(cases)), *feeds)
    for got, want in zip(on(device, tmp_path, grad_of(total(cases)), *feeds), wanted, strict=True):
        np.testing.assert_allclose(got, want, 1e-9, 1e-12)


def test_probabilities_of_0_and_1_cost_100() -> None:
    """And have PyTorch's slopes where they are wrong."""
    p, t = np.array([0.0, 0, 1, 1, 0.5, 1e-30]), np.array([0.0, 1, 0, 1, 1, 1])
    case = Case("binary_cross_entropy", (p, t), {"reduction": "sum"})
    xs, outputs = ours(case)
    wrong = abs(p - t) > 0.1
    for device in ("numpy", "cpu"):
        loss, slope = sn.function(xs, outputs, device=device)(p, t)
        wanted = theirs(case)
        np.testing.assert_allclose(loss, wanted[0], 1e-12)
        np.testing.assert_allclose(slope[wrong], wanted[1][wrong], 1e-8)


CORNERS = [-np.inf, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, np.inf, np.nan]
AT_CORNERS = ("relu6", "hardsigmoid", "hardswish", "softshrink", "hardshrink", "celu", "logsigmoid",
              "softsign", "tanhshrink", "threshold")  # fmt: skip


@pytest.mark.parametrize("name", AT_CORNERS)
def test_activations_at_their_corners(name: str) -> None:
    options = {"threshold": 0.5, "value": 7.0} if name == "threshold" else {}
    for x, wrt in ((np.array(CORNERS), ()), (np.array(CORNERS[1:-2]), (0,))):
        case = Case(name, (x,), options, wrt)
        xs, outputs = ours(case)
        found = sn.function(xs, outputs[:2], device="numpy")(x)
        for got, want in zip(found, theirs(case), strict=False):
            if name == "hardswish" and not wrt:  # PyTorch's is NaN at -∞
                want[0] = 0
            np.testing.assert_allclose(got, want, 1e-7, 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrow_floats_are_rounded_once(dtype: str) -> None:
    """Computed in float32: as near to float64 as one rounding is."""
    cases = [case for case in one_of_each() if case.name not in ("rrelu",)]
    for case in cases:
        arrays = [sn.constant(a, dtype) if a.dtype == float else a for a in case.arrays]
        wide = [sn.astype(a, "float64") if isinstance(a, type(arrays[0])) else a for a in arrays]
        f = getattr(nn.functional, case.name)
        options = {k: sn.astype(sn.constant(v, dtype), dtype) if isinstance(v, np.ndarray) else v
                   for k, v in case.options.items()}  # fmt: skip
        got, want = sn.function([], [f(*arrays, **options), f(*wide, **options)], device="numpy")()
        assert got.dtype == dtype, case
        rtol = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5}[dtype]
        np.testing.assert_allclose(got.astype("f8"), want, rtol, rtol, err_msg=str(case))


def test_zero_batches_and_symbolic_ones() -> None:
    x = sn.placeholder(("n", 4), "float64", "x")
    t = sn.placeholder(("n", 4), "float64", "t")
    labels = sn.placeholder(("n",), "int64", "labels")
    F = nn.functional
    ys = [
        F.smooth_l1_loss(x, t, "none"), F.gaussian_nll_loss(x, t, sn.exp(t), reduction="none"),
        F.poisson_nll_loss(x, t), F.multi_margin_loss(x, labels, reduction="none"),
        F.triplet_margin_loss(x, t, x + 1, reduction="none"), F.soft_margin_loss(x, t, "sum"),
        F.cosine_embedding_loss(x, t, labels, reduction="none"), F.normalize(x),
        F.cosine_similarity(x, t), F.pairwise_distance(x, t), F.glu(x), F.prelu(x, [0.1]),
        F.multilabel_soft_margin_loss(x, t, reduction="none"),
    ]  # fmt: skip
    f = sn.function([x, t, labels], ys, device="numpy")
    for n in (0, 3):
        found = f(np.ones((n, 4)), np.ones((n, 4)), np.ones(n, int))
        assert all(y.ndim == 0 or len(y) == n for y in found)


WRONG: list[tuple[Callable[[Any], Any], type[StaticnetError], str]] = [
    (lambda x: nn.functional.glu(x, 0), ShapeError, "glu: the length of axis 0 must be even"),
    (lambda x: nn.functional.prelu(x, [1.0, 2]), ShapeError, "prelu: weight"),
    (lambda x: nn.functional.celu(x, 0), ArgumentError, "celu: alpha must not be 0"),
    (lambda x: nn.functional.softshrink(x, -1), ArgumentError, "softshrink: lambd"),
    (lambda x: nn.functional.rrelu(x, 2, 1), ArgumentError, "rrelu: lower"),
    (lambda x: nn.functional.smooth_l1_loss(x, x, beta=-1), ArgumentError, "beta"),
    (lambda x: nn.functional.smooth_l1_loss(x, x[0]), ShapeError, "must have the input's shape"),
    (lambda x: nn.functional.multi_margin_loss(x, [0, 1, 2], p=3), ArgumentError, "1 or 2"),
    (lambda x: nn.functional.multi_margin_loss(x, [0.5, 1, 2]), DTypeError, "labels must be"),
    (lambda x: nn.functional.gaussian_nll_loss(x, x, -1.0), ArgumentError, "var"),
    (lambda x: nn.functional.triplet_margin_loss(x, x[0], x), ShapeError, "as many axes"),
    (lambda x: nn.functional.cosine_embedding_loss(x, x, 1.0), ShapeError, "for a target"),
    (lambda x: nn.functional.cdist(x, x[:, :2]), ShapeError, "rows of one length"),
    (lambda x: nn.functional.cdist(x, x, -1), ArgumentError, "cdist: p"),
    (lambda x: nn.functional.pdist(x[0]), ShapeError, "pdist: .*must be a matrix"),
    (lambda x: nn.Softmax2d()(x), ShapeError, "Softmax2d"),
    (lambda x: nn.GLU(axis=1), ArgumentError, "GLU: there is no argument 'axis'; it is called dim"),
]


@pytest.mark.parametrize(("act", "error", "message"), WRONG)
def test_errors(act: Callable[[Any], Any], error: type[StaticnetError], message: str) -> None:
    with pytest.raises(error, match=message):
        act(sn.placeholder((3, 4), "float64"))


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_label_that_is_no_class_fails_the_run(device: str) -> None:
    x, labels = sn.placeholder((2, 3), "float64"), sn.placeholder((2,), "int64")
    f = sn.function([x, labels], nn.functional.multi_margin_loss(x, labels), device=device)
    for bad in (-1, 3):
        with pytest.raises(ExecutionError):
            f(np.ones((2, 3)), np.array([0, bad]))


LAYERS: list[tuple[str, dict[str, Any], tuple[Array, ...]]] = [
    ("SmoothL1Loss", {"beta": 0.5}, (X, T)), ("BCELoss", {"reduction": "sum"}, (P, Q)),
    ("GaussianNLLLoss", {"full": True}, (X, T, W)), ("PoissonNLLLoss", {"full": True}, (X, W)),
    ("MarginRankingLoss", {"margin": 0.2}, (X, T, np.sign(W - 1))), ("SoftMarginLoss", {}, (X, T)),
    ("MultiMarginLoss", {"p": 2}, (X, np.array([0, 1, 2, 0]))), ("Softmin", {"dim": 0}, (X,)),
    ("MultiLabelMarginLoss", {}, (X, np.array([[1, -1, 0]] * 4))), ("Softmax", {"dim": 0}, (X,)),
    ("MultiLabelSoftMarginLoss", {}, (X, Q)), ("TripletMarginLoss", {"swap": True}, (X, T, W)),
    ("TripletMarginWithDistanceLoss", {"margin": 2.0}, (X, T, W)), ("LogSoftmax", {"dim": 0}, (X,)),
    ("CosineEmbeddingLoss", {}, (X, T, np.array([1.0, -1, 1, -1]))), ("CELU", {"alpha": 2.0}, (X,)),
    ("CosineSimilarity", {"dim": 0}, (X, T)), ("PairwiseDistance", {"p": 1.0}, (X, T)),
    ("ReLU6", {"inplace": True}, (X,)), ("Threshold", {"threshold": 0.1, "value": 9.0}, (X,)),
    ("LogSigmoid", {}, (X,)), ("Hardsigmoid", {}, (X,)), ("Hardswish", {}, (X,)),
    ("Softsign", {}, (X,)), ("Softshrink", {"lambd": 0.3}, (X,)), ("Hardshrink", {}, (X,)),
    ("Tanhshrink", {}, (X,)), ("GLU", {"dim": 0}, (X,)), ("PReLU", {"num_parameters": 3}, (X,)),
    ("Softmax2d", {}, (n(2, 3, 4, 5),)), ("ReLU", {"inplace": True}, (X,)),
    ("Unflatten", {"dim": 0, "unflattened_size": (2, -1)}, (X,)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "arrays"), LAYERS)
def test_layers_are_pytorchs(name: str, options: dict[str, Any], arrays: tuple[Array, ...]) -> None:
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    theirs.double()
    got = sn.function([], ours.double()(*map(sn.constant, arrays)), device="numpy")()
    wanted = theirs(*map(torch.tensor, arrays)).detach().numpy()
    np.testing.assert_allclose(got, wanted, 1e-9, 1e-12)
