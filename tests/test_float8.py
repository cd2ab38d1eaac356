"""`precision="float8"`: rounding to 8 bits, delayed scales as state, products and training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.backends.cuda import CudaBackend
from staticnet.backends.cuda.descriptor import MatmulDescriptor, describe
from staticnet.codegen.commands import Product
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import Compilation
from staticnet.errors import ArgumentError, DTypeError, StateError
from staticnet.ops.barrier import OptimizationBarrier
from staticnet.ops.base import apply
from staticnet.ops.float8 import FORMATS, GREATEST, Float8, Float8Matmul, Float8Scale, Float8Value
from staticnet.passes.float8 import HISTORY, STATE, linear_products
from staticnet.plan.roles import Role, role

nn, F = sn.nn, sn.nn.functional
E4M3, E5M2 = False, True
needs_cc = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
DEVICES = ["numpy", pytest.param("cpu", marks=needs_cc), "cuda"]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda":
        request.getfixturevalue("gpu")
    return str(request.param)


def host(x: Any) -> Any:
    return x.get() if hasattr(x, "get") else x


def call(device: str, op: Any, *arrays: Any) -> Any:
    """What an op gives on a device."""
    xs = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]
    return host(sn.function(xs, apply(op, *xs), device=device)(*arrays))


def edges(e5m2: bool) -> Any:
    """All bfloat16 numbers; of the format all numbers, what lies between two, and neighbours."""
    every = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(ml_dtypes.bfloat16)
    own = np.arange(256, dtype=np.uint8).view(FORMATS[e5m2]).astype("f")
    own = np.unique(own[np.isfinite(own)])
    ties = (own[1:] + own[:-1]) / 2
    near = np.concatenate([own, ties, [GREATEST[e5m2] * 1.07, 1e30]]).astype("f")
    near = np.concatenate([near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)])
    return np.concatenate([every.astype("f"), near.astype("f")])


class TestNumbers:
    @pytest.mark.parametrize("e5m2", [E4M3, E5M2])
    def test_rounding_is_that_of_other_libraries(self, device: str, e5m2: bool) -> None:
        """Beyond the greatest number it saturates, where they give NaN or infinity."""
        torch = pytest.importorskip("torch", reason="PyTorch is an oracle")
        x, limit = edges(e5m2), np.float32(GREATEST[e5m2])
        got = call(device, Float8(e5m2), x, np.ones((), "f"))
        clipped, number = np.clip(x, -limit, limit), ~np.isnan(x)
        np.testing.assert_array_equal(
            got[number], clipped[number].astype(FORMATS[e5m2]).view(np.uint8)
        )
        assert set(got[~number]) == {0x7F}
        dtype = torch.float8_e5m2 if e5m2 else torch.float8_e4m3fn
        theirs = torch.tensor(clipped[number]).to(dtype).view(torch.uint8).numpy()
        np.testing.assert_array_equal(got[number], theirs)

    def test_what_is_infinite_becomes_the_greatest_and_zero_keeps_its_sign(
        self, device: str
    ) -> None:
        x = np.array([np.inf, -np.inf, np.nan, -np.nan, 0.0, -0.0, 1e-30, -1e-30], "f")
        got = [call(device, Float8(e), x, np.float32(1).reshape(())) for e in (E4M3, E5M2)]
        assert got[0].tolist() == [0x7E, 0xFE, 0x7F, 0x7F, 0, 0x80, 0, 0x80]
        assert got[1].tolist() == [0x7B, 0xFB, 0x7F, 0x7F, 0, 0x80, 0, 0x80]

    @pytest.mark.parametrize("e5m2", [E4M3, E5M2])
    def test_bytes_are_the_numbers_of_ml_dtypes(self, device: str, e5m2: bool) -> None:
        q = np.arange(256, dtype=np.uint8)
        got = call(device, Float8Value(e5m2), q, np.float32(4).reshape(()))
        np.testing.assert_array_equal(got, q.view(FORMATS[e5m2]).astype("f") * 4)

    def test_scales(self, device: str) -> None:
        """Powers of 2 that bring a magnitude near a limit and never beyond it."""
        rng = np.random.default_rng(0)
        amax = (2.0 ** rng.uniform(-100, 100, 4000)).astype("f")
        exact = np.array([448, 224, 7, 1.75, 1.7500001, 448 * 2**20, 1], "f")
        for limit in GREATEST:
            got = call(device, Float8Scale(), amax, np.float32(limit).reshape(()))
            assert np.all(np.frexp(got)[0] == 0.5)
            scaled = amax.astype("d") * got
            assert np.all((scaled <= limit * (1 + 2**-23)) & (scaled > limit / 2 * (1 - 2**-23)))
        got = call(device, Float8Scale(), exact, np.float32(448).reshape(()))
        assert got.tolist() == [1, 2, 64, 256, 128, 2.0**-20, 256]
        nothing = np.array([0, np.inf, np.nan, 1e-45, 1e-37, 3e38], "f")
        got = call(device, Float8Scale(), nothing, np.float32(448).reshape(()))
        assert got.tolist() == [1, 1, 1, 2.0**126, 2.0**126, 2.0**-120]

    def test_operands_that_are_none(self) -> None:
        x, q = sn.placeholder((2, 2), "float64", "x"), sn.placeholder((2, 2), "uint8", "q")
        one = sn.constant(np.ones(1, "f"))
        with pytest.raises(DTypeError, match=r"float8: .*takes float32, not float64"):
            apply(Float8(E4M3), x, 1.0)
        with pytest.raises(DTypeError, match=r"of which one is e5m2 at most"):
            apply(Float8Matmul(E5M2, E5M2, 0, 0), q, q, one, one)


def numbers(shape: Any, e5m2: bool, seed: int) -> Any:
    """Bytes of random numbers."""
    x = np.random.default_rng(seed).normal(size=shape)
    return x.astype("f").astype(FORMATS[e5m2]).view(np.uint8)


class TestProducts:
    @pytest.mark.parametrize("formats", [(E4M3, E4M3), (E5M2, E4M3), (E4M3, E5M2)])
    @pytest.mark.parametrize("sizes", [(32, 48, 64), (5, 7, 19)])
    def test_a_product_is_that_of_pytorch(self, device: str, formats: Any, sizes: Any) -> None:
        torch = pytest.importorskip("torch", reason="PyTorch is an oracle")
        m, n, k = sizes
        x, y = numbers((m, k), formats[0], 1), numbers((n, k), formats[1], 2)
        a, b = np.array([9, 0.5], "f"), np.array([2.0**-7], "f")
        got = call(device, Float8Matmul(*formats, 1, 0), x, y, a, b).astype("f")
        dtypes = [torch.float8_e5m2 if e else torch.float8_e4m3fn for e in formats]
        u, v = (torch.tensor(q).view(d) for q, d in zip((x, y), dtypes, strict=True))
        exact = (u.double() @ v.double().T).numpy() * 2.0**-8
        ulp = np.spacing(np.abs(exact).astype(ml_dtypes.bfloat16)).astype("d")
        assert np.all(np.abs(got - exact) <= 0.51 * ulp)
        if m % 16 == 0:
            factors = (torch.tensor(0.5), torch.tensor(2.0**-7))
            theirs = torch._scaled_mm(u, v.t(), *factors, out_dtype=torch.bfloat16)
            assert np.all(np.abs(got - theirs.float().numpy()) <= ulp)

    def test_a_transposed_operand_is_copied_for_the_library_and_no_other(self, gpu: Any) -> None:
        x = sn.placeholder((32, 64), "uint8", "x")
        one = sn.constant(np.ones(1, "f"))
        plain = apply(Float8Matmul(E4M3, E4M3, 0, 0), x, x, one, one)
        turned = apply(Float8Matmul(E4M3, E4M3, 0, 0), x.T, x.T, one, one)
        sliced = apply(Float8Matmul(E4M3, E4M3, 0, 0), x[:16, 16:32], x[:, :16], one, one)
        copies = []
        for y in (plain, turned, sliced):
            f = sn.function(x, y, device="cuda")
            told = f.explain()
            copies.append(Counter(k.nodes[0].op.name for k in told.kernels)["permute_dims"])
            q = numbers((32, 64), E4M3, 3)
            wanted = sn.function(x, y, device="numpy")(q)
            np.testing.assert_array_equal(host(f(q)), wanted)
        assert copies == [0, 1, 0]


def descriptor(**changes: Any) -> tuple[Any, MatmulDescriptor]:
    """A product of 8 bits as cuBLASLt is told of it."""
    x, y = sn.placeholder((32, 64), "uint8", "x"), sn.placeholder((48, 64), "uint8", "y")
    one = sn.placeholder((2,), name="one")
    z = apply(Float8Matmul(E5M2, E4M3, 1, 0), x, y, one, one)
    f = sn.function([x, y, one], z, device="numpy")
    made = Compilation(f.graph, CudaBackend(), "fast", "float8", (), None)
    program = write_cuda_program(made.plan(made.compile({})[0], {}))
    (product,) = (c for c in program.launches if isinstance(c, Product))
    return product, describe(product)


class TestTheLibrary:
    def test_what_it_is_told(self) -> None:
        """As the manual has it: A is transposed, B is not, and both come with a factor."""
        product, told = descriptor()
        assert (told.transpose_a, told.transpose_b) == (1, 0)
        assert (told.a.dtype, told.b.dtype, told.d.dtype) == (28, 29, 14)
        assert (told.compute, told.scale, told.epilogue) == (68, 0, 1)
        assert (told.a.rows, told.a.columns, told.a.leading) == (64, 48, 64)
        assert (told.b.rows, told.b.columns, told.d.rows, told.d.columns) == (64, 32, 48, 32)
        left, right = product.factors
        assert (left.offset, right.offset) == (4, 0)
        assert product.operand_bytes == 1

    def test_a_gpu_without_such_units_multiplies_the_same_numbers(
        self, gpu: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from staticnet.backends import cuda

        feeds = [np.random.default_rng(0).normal(size=(16, 32)).astype("f")]
        f, _ = network("cuda")
        narrow = host(f(*feeds))
        monkeypatch.setattr(cuda.open_device(), "capability", (8, 6))
        g, _ = network("cuda")
        names = {n.op.name for n in g.specialize(batch=16).graph.nodes}
        assert "float8" in names
        assert "float8_matmul" not in names
        np.testing.assert_allclose(host(g(*feeds)), narrow, rtol=1e-2)


def network(device: str, batch: Any = "batch", **options: Any) -> tuple[Any, Any]:
    """A training step of two layers, of sizes that the library takes, and its model."""
    rng = np.random.default_rng(0)
    x = sn.placeholder((batch, 32), name="x")
    model = nn.Sequential(nn.Linear(32, 48), nn.Tanh(), nn.Linear(48, 16))
    for w in model.parameters():
        w.value = (rng.normal(size=w.shape) / 6).astype("f")
    loss = sn.mean(sn.square(model(x) - 1))
    updates = sn.optim.SGD(lr=0.5, momentum=0.9).minimize(loss)
    options = {"precision": "float8"} | options
    return sn.function([x], loss, updates, device=device, **options), model


def batches(count: int, size: int = 16) -> Any:
    return np.random.default_rng(7).normal(size=(count, size, 32)).astype("f")


def matmuls(graph: Any) -> list[Any]:
    return [n for n in graph.nodes if n.op.name in ("matmul", "float8_matmul")]


def formats_of(graph: Any) -> Counter[str]:
    """How often products take which formats."""
    names = {E4M3: "e4m3", E5M2: "e5m2"}
    return Counter(
        f"{names[n.op.left_e5m2]} x {names[n.op.right_e5m2]}"
        if n.op.name == "float8_matmul"
        else n.dtype.name
        for n in matmuls(graph)
    )


class TestWhatIsRounded:
    def test_activations_weights_and_cotangents(self) -> None:
        f, _ = network("numpy")
        assert formats_of(f.graph) == {"e4m3 x e4m3": 2, "e5m2 x e4m3": 1, "e4m3 x e5m2": 2}
        rounded = [n for n in f.graph.nodes if n.op.name == "float8"]
        assert len(rounded) == 6, "each operand once, whoever multiplies it"
        told = {r.name: r.told() for r in f.passes()}
        assert "matmul in float8 ×5" in told["precision"]

    @pytest.mark.parametrize("transposed", [False, True])
    @pytest.mark.parametrize("left", [False, True])
    def test_weights_however_they_lie(self, transposed: bool, left: bool) -> None:
        x = sn.placeholder((16, 16), name="x")
        w = sn.variable(np.eye(16, dtype="f"))
        v = w.T if transposed else w
        y = sn.tanh(v @ x if left else x @ v)
        f = sn.function(x, y, {w: w - sn.grad(sn.sum(y * y), [w])[0]}, precision="float8")
        assert "bfloat16" not in formats_of(f.graph)
        assert "float32" not in formats_of(f.graph)
        assert formats_of(f.graph).total() == 2

    def test_where_operands_are_rounded(self) -> None:
        """A cotangent of three parts with its bias' sum; attention's result as products read it."""
        x = sn.placeholder((2, 128, 128), name="x")
        layer = nn.MultiheadAttention(128, 2, batch_first=True)
        y, _ = layer(x, x, x, need_weights=False)
        loss = sn.mean(sn.square(y))
        f = sn.function(x, loss, updates=sn.optim.SGD(lr=0.1).minimize(loss), precision="float8")
        made = Compilation(f.graph, CudaBackend(), "fast", "float8", (), None)
        plan = made.plan(made.compile({})[0], {})
        rounding = {
            x.shape: (group.kind, {n.op.name for n in group.nodes} & {"float8_amax", "sum"})
            for _, group in plan.launched
            for x in group.nodes
            if x.op.name == "float8"
        }
        rows, columns = ("rows", {"float8_amax"}), ("columns", {"float8_amax", "sum"})
        weights = dict.fromkeys([(384, 128), (128, 128)], rows)
        assert (
            rounding.items() >= ({(2, 128, 2, 64): rows, (2, 128, 384): columns} | weights).items()
        )

    def test_a_text_says_it_too(self) -> None:
        """Where nothing tells what differentiation made, the first product of a weight does."""
        f, _ = network("numpy", precision="float32")
        own = linear_products(f.graph)
        read = sn.parse(f.as_text())
        again = linear_products(read)
        named = [[tuple(p.e5m2 for p in pair) for pair in x.values()] for x in (own, again)]
        assert named[0] == named[1]
        assert len(named[0]) == 5

    def test_attention_stays_as_it_is(self) -> None:
        """Of its scores and values none is a weight; its projections are slices of one or not."""
        layer = nn.MultiheadAttention(32, 2, batch_first=True)
        x = sn.placeholder((2, 16, 32), name="x")
        loss = sn.mean(sn.square(layer(x, x, x, need_weights=False)[0]))
        f = sn.function(x, loss, sn.optim.SGD(lr=0.1).minimize(loss), precision="float8")
        assert formats_of(f.graph) == {"e4m3 x e4m3": 2, "e4m3 x e5m2": 2, "e5m2 x e4m3": 1}
        kept = [n for n in f.graph.nodes if n.op.name == "attention"]
        assert kept
        assert np.isfinite(f(np.ones((2, 16, 32), "f")))

    def test_tied_weights_and_embeddings(self) -> None:
        tokens = sn.placeholder((4, 8), "int64", "tokens")
        table = sn.variable(np.random.default_rng(0).normal(size=(32, 16)).astype("f"), "table")
        h = sn.tanh(sn.take(table, tokens, 0))
        loss = nn.cross_entropy(sn.reshape(h @ table.T, (32, 32)), sn.reshape(tokens, (32,)))
        f = sn.function(tokens, loss, sn.optim.SGD(lr=0.1).minimize(loss), precision="float8")
        assert formats_of(f.graph) == {"e4m3 x e4m3": 1, "e5m2 x e4m3": 1, "e4m3 x e5m2": 1}

    def test_what_no_weight_multiplies_is_bfloat16(self) -> None:
        x, y = (sn.placeholder((16, 16), name=n) for n in "xy")
        fixed = sn.variable(np.eye(16, dtype="f"), trainable=False)
        f = sn.function([x, y], [x @ y, x @ fixed], precision="float8", device="numpy")
        assert formats_of(sn.parse(f.as_text(after="precision"))) == {"bfloat16": 2}
        assert STATE not in f.state_dict()

    def test_a_checkpoint_computes_with_the_same_bits_again(self) -> None:
        found = []
        for wrap in (lambda g: g, sn.checkpoint):
            rng = np.random.default_rng(0)
            u, v, w = (sn.variable(rng.normal(size=(16, 16)).astype("f") / 4, n) for n in "uvw")
            x = sn.placeholder((16, 16), name="x")
            block = wrap(lambda x, u=u, v=v: x + sn.tanh(x @ u.T) @ v.T)
            loss = sn.mean(sn.square(block(x) @ w.T))
            updates = sn.optim.SGD(lr=0.3).minimize(loss, [u, v, w])
            f = sn.function([x], loss, updates, precision="float8", device="numpy")
            again = [n for n in f.graph.nodes if isinstance(n.op, OptimizationBarrier)]
            kinds = formats_of(f.graph)
            assert kinds["e4m3 x e4m3"] == 3 + bool(again), kinds
            assert kinds["e4m3 x e5m2"] == 3
            found.append([f(x) for x in batches(4)[:, :, :16]])
        np.testing.assert_array_equal(*found)

    def test_loops_and_choices_take_bfloat16_inside(self, device: str) -> None:
        rng = np.random.default_rng(0)
        w, u = (sn.variable(rng.normal(size=(16, 16)).astype("f") / 4, n) for n in "wu")
        x = sn.placeholder((16, 16), name="x")
        h, _ = sn.scan(lambda h, _: (sn.tanh(h @ u), None), x @ w, None, length=3)
        y = sn.cond(sn.sum(x) > 0, lambda h: h @ u, lambda h: h, h)
        loss = sn.mean(sn.square(y))
        updates = sn.optim.SGD(lr=0.1).minimize(loss)
        f = sn.function([x], loss, updates, precision="float8", device=device)
        assert formats_of(f.graph)["e4m3 x e4m3"] == 1
        exact = sn.function([x], loss, precision="float32", device="numpy")
        feed = batches(1)[0, :, :16]
        first = exact(feed)
        losses = [float(host(f(feed))) for _ in range(6)]
        np.testing.assert_allclose(losses[0], first, rtol=0.1)
        assert losses[-1] < losses[0]

    def test_names_of_passes_leave_it_out(self) -> None:
        f, _ = network("numpy", disabled_passes=["float8"])
        assert STATE not in f.state_dict()
        assert formats_of(sn.parse(f.as_text(after="precision"))) == {"bfloat16": 5}
        mine = tuple(p for p in sn.PIPELINE if p.name != "float8")
        g, _ = network("numpy", passes=mine)
        assert STATE not in g.state_dict()

    def test_errors_name_the_way_out(self) -> None:
        for name in ("fp8", "float8_e4m3", "e4m3", "int8"):
            with pytest.raises(ArgumentError, match=rf"precision '{name}': use one of .*float8"):
                network("numpy", precision=name)
        with pytest.raises(ArgumentError, match=r"use numerics='fast' or precision='float32'"):
            network("numpy", numerics="exact")


def by_hand(x: Any, target: float, weights: Any, history: Any) -> tuple[Any, dict[str, float]]:
    """The gradients of a layer `mean((x wᵀ - t)²)` by the definition, and magnitudes that it saw.

    In float64 on numbers rounded by ml_dtypes, and products rounded to bfloat16.
    """

    def rounded(name: str, value: Any, e5m2: bool) -> Any:
        seen[name] = float(np.abs(value.astype("f")).max())
        amax = max(history[name][-HISTORY:], default=0.0)
        scale = 2.0 ** np.floor(np.log2(GREATEST[e5m2] / amax)) if amax else 1.0
        limit = GREATEST[e5m2]
        narrow = np.clip(value.astype("f") * scale, -limit, limit).astype("f").astype(FORMATS[e5m2])
        return narrow.astype("d") / scale

    def bf16(z: Any) -> Any:
        return z.astype("f").astype(ml_dtypes.bfloat16).astype("f")

    seen: dict[str, float] = {}
    qx, qw = rounded("x", x, E4M3), rounded("w", weights, E4M3)
    error = bf16(qx @ qw.T) - np.float32(target)
    g = (2 * error / error.size).astype("f")
    return bf16(rounded("g", g, E5M2).T @ qx), seen


class TestDelayedScaling:
    def test_it_is_that_of_the_definition(self, device: str) -> None:
        """Steps of one layer whose inputs grow and shrink, beyond what scales expect, too."""
        rng = np.random.default_rng(3)
        w = sn.variable(rng.normal(size=(16, 32)).astype("f"), "w")
        x = sn.placeholder((16, 32), name="x")
        loss = sn.mean(sn.square(x @ w.T - 0.5))
        (dw,) = sn.grad(loss, [w])
        f = sn.function([x], [loss, dw], {w: w - 0.125 * dw}, precision="float8", device=device)
        history: dict[str, list[float]] = {"x": [], "w": [], "g": []}
        for step in range(HISTORY + 4):
            feed = (rng.normal(size=(16, 32)) * 2.0 ** (3 * np.sin(step))).astype("f")
            before = w.value.astype("f")
            wanted, seen = by_hand(feed, 0.5, before, history)
            got = host(f(feed)[1])
            np.testing.assert_allclose(got, wanted, rtol=2**-7, atol=2**-7 * np.abs(wanted).max())
            for name, amax in seen.items():
                history[name].append(amax)
            kept = f.state_dict()[STATE]
            assert kept.shape == (3, HISTORY)
            latest = [history[name][::-1][:HISTORY] for name in ("x", "w", "g")]
            for row, known in zip(kept, latest, strict=True):
                np.testing.assert_allclose(row[: len(known)], known, rtol=1e-2)
                assert not row[len(known) :].any()

    def test_what_is_not_finite_is_not_remembered(self, device: str) -> None:
        f, _ = network(device)
        good, bad = batches(2)
        bad[0, 0] = np.inf
        f(good)
        before = f.state_dict()[STATE][:, 0]
        f(bad)
        after = f.state_dict()[STATE]
        assert np.isfinite(after).all()
        assert after[0, 0] == 0
        np.testing.assert_array_equal(after[:, 1], before)
        bad[0, 0] = np.nan
        assert np.isnan(host(f(bad)))

    def test_a_batch_of_no_rows_moves_nothing(self, device: str) -> None:
        """As in bfloat16; what was rounded of it has no magnitude, and the weights have."""
        f, model = network(device)
        f(batches(1)[0])
        before = model.state_dict(), f.state_dict()[STATE]
        assert np.isnan(host(f(np.zeros((0, 32), "f"))))
        known = f.state_dict()[STATE]
        np.testing.assert_array_equal(known[:, 1:], before[1][:, :-1])
        assert np.count_nonzero(known[:, 0]) == 2
        x = sn.placeholder(("batch", 32), name="x")
        predict = sn.function(x, model(x), device=device, precision="float8")
        assert host(predict(np.zeros((0, 32), "f"))).shape == (0, 16)
        for _ in range(2):  # with 16 rows, and on a GPU as a graph with none
            assert np.isfinite(host(f(batches(1)[0])))
            f(np.zeros((0, 32), "f"))
        unmoved, _ = network(device, batch=0)
        unmoved(np.zeros((0, 32), "f"))
        assert not unmoved.state_dict()[STATE][[0, 2], 0].all()

    def test_a_run_makes_the_steps_of_calls(self, device: str) -> None:
        f, _ = network(device)
        g, _ = network(device)
        data = batches(6)
        ran = host(f.run(6, data.reshape(-1, 32), batch_size=16))
        called = [float(host(g(x))) for x in data]
        np.testing.assert_array_equal(ran, np.array(called, "f"))
        np.testing.assert_array_equal(f.state_dict()[STATE], g.state_dict()[STATE])

    def test_a_run_goes_on_bit_for_bit(self, device: str) -> None:
        f, _ = network(device)
        data = batches(8)
        for x in data[:4]:
            f(x)
        kept = f.state_dict()
        wanted = [float(host(f(x))) for x in data[4:]]
        g, _ = network(device)
        with pytest.raises(StateError, match=r"missing: .*float8\.amax_history"):
            g.load_state_dict({k: v for k, v in kept.items() if k != STATE})
        g.load_state_dict(kept)
        np.testing.assert_array_equal([float(host(g(x))) for x in data[4:]], wanted)

    def test_a_trainer_keeps_it_in_its_checkpoints(self, tmp_path: Path) -> None:
        def trainer() -> Any:
            rng = np.random.default_rng(0)
            model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 16))
            for w in model.parameters():
                w.value = (rng.normal(size=w.shape) / 4).astype("f")
            return sn.train.Trainer(
                model, nn.cross_entropy, optimizer=sn.optim.Adam(lr=1e-2), precision="float8",
                device="numpy",
            )  # fmt: skip

        data = batches(4).reshape(-1, 32), np.arange(64) % 16
        options: dict[str, Any] = {"batch_size": 16, "progress": False}
        whole, half, again = trainer(), trainer(), trainer()
        whole.fit(data, epochs=4, **options)
        half.fit(data, epochs=2, out=tmp_path, **options)
        again.fit(data, epochs=4, out=tmp_path, resume=True, **options)
        again.evaluate(data)
        assert again.named_state()[f"state.{STATE}"].value.any()
        for name, variable in whole.named_state().items():
            np.testing.assert_array_equal(again.named_state()[name].value, variable.value, name)
        assert whole.predict(data[0]).shape == (64, 16)

    def test_without_updates_there_is_no_state_and_scales_are_of_now(self, device: str) -> None:
        """A model that only predicts has no history, and needs none: of any magnitude."""
        for size in (1e-6, 1.0, 1e6):
            rng = np.random.default_rng(0)
            w = sn.variable((rng.normal(size=(16, 32)) * size).astype("f"))
            x = sn.placeholder(("batch", 32), name="x")
            f = sn.function(x, x @ w.T, precision="float8", device=device)
            assert STATE not in f.state_dict()
            feed = batches(1)[0] * np.float32(size)
            exact = feed.astype("d") @ w.value.astype("d").T
            error = np.abs(host(f(feed)) - exact).max() / np.abs(exact).max()
            assert 1e-4 < error < 0.06


class TestTraining:
    def test_devices_agree(self, device: str) -> None:
        f, model = network(device)
        g, other = network("numpy")
        for x in batches(8):
            np.testing.assert_allclose(host(f(x)), g(x), rtol=2e-2)
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
            np.testing.assert_allclose(mine.value, theirs.value, atol=3e-2)

    @needs_cc
    def test_a_classifier_reaches_the_loss_of_bfloat16(self) -> None:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 16, 512)
        points = rng.normal(size=(16, 32))[labels] + 0.6 * rng.normal(size=(512, 32))
        final = {}
        for precision in ("bfloat16", "float8"):
            draw = np.random.default_rng(1)
            x, y = sn.placeholder(("batch", 32), name="x"), sn.placeholder(("batch",), "int64", "y")
            model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))
            for w in model.parameters():
                w.value = (draw.normal(size=w.shape) / w.shape[-1] ** 0.5).astype("f")
            loss = nn.cross_entropy(model(x), y)
            updates = sn.optim.Adam(lr=1e-2).minimize(loss)
            f = sn.function([x, y], loss, updates, precision=precision, device="cpu")
            losses = f.run(160, points.astype("f"), labels, batch_size=64, shuffle=True, seed=1)
            final[precision] = float(np.mean(losses[-8:]))
            assert losses[0] > 2
        assert final["bfloat16"] < 0.1
        assert final["float8"] == pytest.approx(final["bfloat16"], rel=0.3, abs=0.01)

    def test_operands_of_8_bits_halve_what_products_read(self) -> None:
        made = {}
        for precision in ("bfloat16", "float8"):
            f, _ = network("numpy", 512, precision=precision)
            compiled = Compilation(f.graph, CudaBackend(), "fast", precision, (), None)
            plan = compiled.plan(compiled.compile({})[0], {})
            read = [n.inputs[:2] for n in plan.graph.nodes if role(n) is Role.LIBRARY]
            made[precision] = sum(int(x.type.nbytes) for pair in read for x in pair)
        assert made["float8"] * 2 == made["bfloat16"]
