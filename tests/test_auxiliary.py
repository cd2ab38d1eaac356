"""Products with a second result: what becomes one, what does not, and that the numbers stay.

The library's part is a fake that computes column-major products with NumPy; networks' gradients are
PyTorch's in float64.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from fake_gpu import Gpu
from tolerance import close

import staticnet as sn
from staticnet.backends.cuda import tuning
from staticnet.backends.cuda.commands import BoundProduct
from staticnet.backends.cuda.cublaslt import CublasLt, Operation
from staticnet.backends.cuda.descriptor import EPILOGUES as NUMBERS
from staticnet.backends.cuda.descriptor import MatmulDescriptor, MatrixLayout
from staticnet.errors import ArgumentError, ExecutionError, ShapeError
from staticnet.ops.auxiliary import (
    AUXILIARY,
    MatmulActivationGradient,
    MatmulAuxiliary,
    MatmulBiasGradient,
    mask_bytes,
)
from staticnet.ops.base import apply, items
from staticnet.ops.library import EPILOGUES
from staticnet.passes import auxiliary as module
from staticnet.passes.manager import run_passes

needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
F = sn.nn.functional
OFFERED = EPILOGUES | AUXILIARY
ROWS, WIDTHS = 24, (8, 16, 40, 8)
BEFORE = tuple(p for p in sn.PIPELINE if p.name not in ("scatter_updates", "remat"))


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products pay, too."""
    monkeypatch.setattr(module, "LEAST_ELEMENTS", 1)


def weights(dtype: str = "float32", layout: str = "torch") -> list[np.ndarray[Any, Any]]:
    rng, made = np.random.default_rng(5), []
    for n, m in itertools.pairwise(WIDTHS):
        shape = (m, n) if layout == "torch" else (n, m)
        made += [rng.normal(0, n**-0.5, shape).astype(dtype), rng.normal(size=m).astype(dtype)]
    return made


def network(activation: str, layout: str = "torch", rows: tuple[int, ...] = (ROWS,)) -> Any:
    """A network's input, its weights, and the gradients of the mean of its squares by all."""
    x = sn.placeholder((*rows, WIDTHS[0]), name="x")
    variables = [sn.variable(a, name=f"w{i}") for i, a in enumerate(weights(layout=layout))]
    h: Any = x
    for i in range(0, len(variables), 2):
        w, b = variables[i : i + 2]
        h = h @ (w.T if layout == "torch" else w) + b
        if i < len(variables) - 2:
            h = sn.relu(h) if activation == "relu" else F.gelu(h, "tanh")
    return x, variables, sn.grad(sn.mean(h * h), variables)


def gradients_of_torch(activation: str, x: Any, layout: str = "torch") -> list[Any]:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    given = [torch.tensor(a.astype("float64"), requires_grad=True) for a in weights(layout=layout)]
    h = torch.tensor(x.astype("float64"))
    for i in range(0, len(given), 2):
        h = h @ (given[i].T if layout == "torch" else given[i]) + given[i + 1]
        if i < len(given) - 2:
            gelu = torch.nn.functional.gelu
            h = torch.relu(h) if activation == "relu" else gelu(h, approximate="tanh")
    (h * h).mean().backward()
    return [a.grad.numpy() for a in given]


def fused(graph: sn.Graph, **options: Any) -> list[str]:
    """The auxiliary epilogues of an optimised graph, in order."""
    after, _ = run_passes(graph, BEFORE, **{"epilogues": OFFERED, **options})
    found = [node for node in after.nodes if hasattr(node.op, "epilogue")]
    names = [node.op.epilogue(len(node.inputs)) for node in found]
    return [name for name in names if name in AUXILIARY]


OF_LAYERS = {
    "gelu": ["gelu_aux_bias"] * 2 + ["bgradb"] + ["dgelu_bgrad"] * 2,
    "relu": ["relu_aux_bias"] * 2 + ["bgradb"] + ["drelu_bgrad"] * 2,
}


@pytest.mark.usefixtures("any_size")
def test_what_would_need_itself_leaves_the_others() -> None:
    """A covariance: the sums for the mean are not to be had with the product that takes it off."""
    x, _, gradients = network("gelu")
    y = sn.tanh(x)
    centred = y - sn.sum(y, 0) / ROWS
    graph = sn.Graph("g", [x], [*gradients, centred.T @ y])
    assert sorted(fused(graph)) == sorted(OF_LAYERS["gelu"])


@pytest.mark.usefixtures("any_size")
class TestNetworks:
    @pytest.mark.parametrize("activation", OF_LAYERS)
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_what_is_had_beside_products(self, activation: str, precision: str) -> None:
        """The last layer has no activation: the gradient of its bias comes with its weight's."""
        x, _, gradients = network(activation)
        got = fused(sn.Graph("g", [x], gradients), precision=precision)
        assert sorted(got) == sorted(OF_LAYERS[activation])
        x, _, gradients = network(activation, "rows")
        got = fused(sn.Graph("g", [x], gradients), precision=precision)
        assert sorted(got) == sorted(n.replace("bgradb", "bgrada") for n in OF_LAYERS[activation])

    def test_sums_that_float16_may_not_hold_stay_float32s(self) -> None:
        x, w = sn.placeholder((8, 16), name="x"), sn.placeholder((8, 24), name="w")
        for precision, found in (("float16", []), ("bfloat16", ["bgrada"])):
            graph = sn.Graph("g", [x, w], [x.T @ w, sn.sum(sn.astype(w, precision), 0)])
            wide = sn.Graph("g", [x, w], [x.T @ w, sn.sum(w, 0)])
            assert fused(wide, precision=precision) == found
            assert fused(graph, precision=precision) == ["bgrada"]

    @pytest.mark.parametrize(
        "options",
        [
            {"numerics": "exact"},
            {"epilogues": EPILOGUES},
            {"disabled": ["auxiliary"]},
        ],
        ids=["exact", "not offered", "left out"],
    )
    def test_where_there_is_none(self, options: dict[str, Any]) -> None:
        x, _, gradients = network("gelu")
        assert fused(sn.Graph("g", [x], gradients), **options) == []

    def test_rows_that_the_library_does_not_take(self) -> None:
        """Of 23 rows sums over them have 23 terms; the other matrices are as before."""
        x, _, gradients = network("gelu", rows=(23,))
        assert fused(sn.Graph("g", [x], gradients)) == []

    def test_axes_before_the_rows(self) -> None:
        x, _, gradients = network("gelu", rows=(3, 8))
        assert len(fused(sn.Graph("g", [x], gradients))) == 5

    def test_symbolic_rows_are_known_by_then(self) -> None:
        x, _, gradients = network("gelu", rows=(sn.Dim("batch"),))  # type: ignore[arg-type]
        graph = sn.Graph("g", [x], gradients)
        assert len(fused(graph, dims={"batch": 16})) == 5
        assert fused(graph, dims={"batch": 0}) == []

    def test_a_value_that_others_need_is_computed_once(self) -> None:
        x, w = sn.placeholder((8, 8), name="x"), sn.placeholder((8, 8), name="w")
        g = sn.placeholder((8, 8), name="g")
        z = x @ w
        (slope,) = sn.vjp([F.gelu(z, "tanh")], [z], [g @ w])
        assert fused(sn.Graph("g", [x, w, g], [slope])) == ["dgelu_bgrad"]
        assert fused(sn.Graph("g", [x, w, g], [slope, g @ w])) == []
        total = sn.sum(x, 0)
        assert fused(sn.Graph("g", [x, w], [x.T @ w, total])) == ["bgradb"]
        assert fused(sn.Graph("g", [x, w], [x.T @ (w * total), total])) == []


def test_small_products_are_left_to_what_may_be_one_kernel() -> None:
    x, _, gradients = network("gelu")
    assert fused(sn.Graph("g", [x], gradients)) == []


@needs_shim
@pytest.mark.usefixtures("any_size", "launch_by_launch")
class TestOnTheGpu:
    @pytest.mark.parametrize("layout", ["torch", "rows"])
    @pytest.mark.parametrize("activation", OF_LAYERS)
    def test_gradients(self, gpu: Gpu, activation: str, layout: str) -> None:
        x, _, gradients = network(activation, layout)
        feed = np.random.default_rng(6).normal(size=x.shape).astype("float32")
        f = sn.function([x], gradients, device="cuda")
        got = f(feed)
        for mine, wanted in zip(got, gradients_of_torch(activation, feed, layout), strict=True):
            np.testing.assert_allclose(mine.get(), wanted, rtol=1e-4, atol=2e-6)
        products = [c for c in f.specialize().executable.commands if isinstance(c, BoundProduct)]
        names = [c.product.epilogue for c in products if c.product.epilogue in AUXILIARY]
        wanted = [
            n.replace("bgradb", "bgrada" if layout == "rows" else n) for n in OF_LAYERS[activation]
        ]
        assert sorted(names) == sorted(wanted)
        assert all(c.descriptor.epilogue == NUMBERS[c.product.epilogue] for c in products)

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    @pytest.mark.parametrize("activation", OF_LAYERS)
    def test_halves_follow_numpy(self, gpu: Gpu, activation: str, precision: str) -> None:
        x, _, gradients = network(activation)
        feed = np.random.default_rng(6).normal(size=x.shape).astype("float32")
        got = sn.function([x], gradients, device="cuda", precision=precision)(feed)
        tolerance = 0.05 if precision == "bfloat16" else 0.01
        for mine, wanted in zip(got, gradients_of_torch(activation, feed), strict=True):
            error = np.linalg.norm(mine.get() - wanted) / np.linalg.norm(wanted)
            assert error < tolerance

    def test_training_follows_numpy(self, gpu: Gpu) -> None:
        """Sums of rows that are a variable's new value, and measured algorithms beside them."""
        feed = np.random.default_rng(6).normal(size=(ROWS, WIDTHS[0])).astype("float32")
        losses = []
        for device in ("numpy", "cuda"):
            x, variables, gradients = network("gelu")
            updates = {v: v - 0.1 * g for v, g in zip(variables, gradients, strict=True)}
            sums = sn.variable(np.zeros(WIDTHS[-1], "float32"), name="sums")
            f = sn.function([x], gradients[-1], {**updates, sums: gradients[-1]}, device=device)
            for _ in range(3):
                last = f(feed)
            close(sums.value, last if device == "numpy" else last.get(), 1e-6)
            losses.append([v.value for v in variables])
        for a, b in zip(*losses, strict=True):
            close(a, b, 1e-4)

    def test_measuring_writes_beside_what_is_kept(
        self, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("STATICNET_TUNE")
        monkeypatch.setattr(tuning, "_time", lambda act, *_: act() or 1.0)
        gpu.blas.algorithms = 2
        x = sn.placeholder((8, 8), name="x")
        kept = sn.variable(np.full(8, 3.0, "float32"), name="kept")
        f = sn.function([x], [x @ x, kept + 0], {kept: sn.sum(x, 0)}, device="cuda")
        _, before = f(np.ones((8, 8), "float32"))
        np.testing.assert_array_equal(before.get(), 3)


def test_the_fake_refuses_what_lies_badly_beside(gpu: Gpu) -> None:
    blas = CublasLt(gpu.blas)  # type: ignore[arg-type]
    square = MatrixLayout(0, 12, 12, 12)
    memory = gpu.alloc(4096).ptr
    for epilogue, leading in (("gelu_aux", 12), ("gelu_aux", 8), ("relu_aux", 64)):
        told = MatmulDescriptor(68, 0, 0, 0, NUMBERS[epilogue], square, square, square, leading)
        with pytest.raises(
            ExecutionError, match=r"no algorithm .* disabled_passes=\('auxiliary',\)"
        ):
            blas.algorithms(Operation(blas, told, 0, memory), (16, 16, 16))
    told = MatmulDescriptor(68, 0, 0, 0, NUMBERS["gelu_aux"], square, square, square, 16)
    operation = Operation(blas, told, 0, 0)
    (algorithm,) = blas.algorithms(operation, (16, 16, 16))
    with pytest.raises(ExecutionError, match="INVALID_VALUE"):
        blas.multiply(operation, algorithm, memory, memory, memory + 1024, 0, 0)


X, W, B = (sn.placeholder(s, name=n) for s, n in [((4, 3), "x"), ((3, 5), "w"), ((5,), "b")])
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "activation": (lambda: MatmulAuxiliary("tanh"), ArgumentError, "one of relu, gelu"),
    "operands": (lambda: apply(MatmulAuxiliary("gelu"), X), ArgumentError, "2 matrices and"),
    "bias": (lambda: apply(MatmulAuxiliary("gelu"), X, W, X), ShapeError, "the bias must be"),
    "axes": (lambda: apply(MatmulAuxiliary("gelu"), X, B), ShapeError, "takes matrices"),
    "saved": (
        lambda: apply(MatmulActivationGradient("gelu"), X, W, X), ShapeError, "third operand must"
    ),
    "of two": (
        lambda: apply(MatmulActivationGradient("gelu"), X, W), ArgumentError, "third operand, not 2"
    ),
    "which": (lambda: MatmulBiasGradient("both"), ArgumentError, "left or right"),
    "of three": (lambda: apply(MatmulBiasGradient("left"), X, W, B), ArgumentError, "2 matrices"),
    "symbolic": (
        lambda: apply(MatmulAuxiliary("relu"), X, sn.placeholder((3, sn.Dim("n")))),
        ShapeError, "a number of columns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_they_refuse(what: str) -> None:
    build, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        build()


def test_a_mask_has_the_lowest_bit_first() -> None:
    assert [mask_bytes(n) for n in (0, 1, 128, 129)] == [0, 16, 16, 32]
    x = sn.placeholder((2, 1), name="x")
    y, mask = items(apply(MatmulAuxiliary("relu"), x, np.ones((1, 9), "float32")))
    ones, bits = sn.function([x], [y, mask])(np.array([[2.0], [-1.0]], "float32"))
    np.testing.assert_array_equal(ones, [[2.0] * 9, [0.0] * 9])
    np.testing.assert_array_equal(bits, [[255, 1, *[0] * 14], [0] * 16])
