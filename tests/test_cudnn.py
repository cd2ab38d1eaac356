"""What cuDNN computes: on a fake one beside the fake GPU, and by the graph what it is asked for."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from everywhere import on
from fake_cudnn import FakeCudnn
from fake_gpu import Gpu

import staticnet as sn
import staticnet.backends.cuda as backend
from staticnet import nn
from staticnet.attention.gradient import AttentionGradient
from staticnet.attention.op import Attention
from staticnet.backends.cache import Cache
from staticnet.backends.cuda import device as device_module
from staticnet.backends.cuda.cublaslt import CublasLt
from staticnet.backends.cuda.cudnn import Cudnn
from staticnet.codegen.commands import LibraryCall
from staticnet.errors import CompileError, ExecutionError
from staticnet.ops.base import apply, items

pytestmark = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
RNG = np.random.default_rng(3)
MORE = ("dropout", "float32", "disabled", "odd")
OPTIONS: dict[str, Any] = {"device": "cuda", "precision": "bfloat16"}


def attention(
    heads: int = 4, groups: int = 2, causal: bool = True, width: int = 8, mask: Any = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """Inputs, outputs and feeds: rows that are projected, cut in heads, joined, and gradients."""
    x = sn.placeholder((2, 12, 16), name="x")
    shapes = [(16, heads * width), *[(16, groups * width)] * 2]
    weights = [sn.placeholder(shape, name=f"w{i}") for i, shape in enumerate(shapes)]

    def cut(w: Any, count: int) -> Any:
        return sn.permute_dims(sn.reshape(x @ w, (2, 12, count, width)), (0, 2, 1, 3))

    q, k, v = map(cut, weights, (heads, groups, groups))
    if mask is not None and causal:  # PyTorch's function takes one of them
        scale = sn.constant(np.float32(width**-0.5))
        whole = sn.constant(mask.reshape((1,) * (4 - mask.ndim) + mask.shape))
        y, _ = items(apply(Attention(True), q, k, v, scale, whole))
    else:
        y = nn.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True
        )
    joined = sn.reshape(sn.permute_dims(y, (0, 2, 1, 3)), (2, 12, heads * width))
    loss = sn.sum(sn.tanh(joined @ sn.permute_dims(weights[0], (1, 0))) ** 2)
    inputs = [x, *weights]
    rng = np.random.default_rng(5)
    feeds = [rng.normal(scale=0.4, size=a.shape).astype("f") for a in inputs]
    return inputs, [loss, *sn.grad(loss, inputs)], feeds


def convolution(ndim: int = 2, groups: int = 1) -> tuple[list[Any], list[Any], list[Any]]:
    """A convolution with everything, and its gradients."""
    x = sn.placeholder((2, 8, *(9, 7, 5)[:ndim]), name="x")
    w = sn.placeholder((12, 8 // groups, *(3, 3, 3)[:ndim]), name="w")
    function = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}[ndim]
    y = function(x, w, stride=2, padding=1, groups=groups)
    loss = sn.sum(sn.tanh(y) ** 2)
    feeds = [RNG.normal(size=a.shape).astype("f") for a in (x, w)]
    return [x, w], [loss, *sn.grad(loss, [x, w])], feeds


def run(made: Any, **options: Any) -> tuple[Any, list[Any]]:
    inputs, outputs, feeds = made
    f = sn.function(inputs, outputs, **options)
    return f, [getattr(y, "get", lambda y=y: y)() for y in f(*feeds)]


def check(made: Any, rough: float = 3e-2, **options: Any) -> Any:
    """The function on the fake GPU, whose results must be NumPy's; it runs twice, once captured."""
    _, wanted = run(made, device="numpy", precision=options.get("precision", "float32"))
    f, got = run(made, **options)
    for again in (got, [y.get() for y in f(*made[2])]):
        for a, b in zip(again, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=rough * np.abs(b).max())
    return f


def calls(gpu: Gpu) -> list[str]:
    return [entry[1] for entry in gpu.log if entry[0] == "cudnn"]


@pytest.mark.parametrize("causal", [True, False])
def test_attention_and_its_gradient(causal: bool, gpu: Gpu, cudnn: FakeCudnn) -> None:
    f = check(attention(causal=causal), **OPTIONS)
    assert set(calls(gpu)) == {"sdpa", "sdpa_backward"}
    assert [options["use_causal_mask"] for _, options in cudnn.asked] == [causal] * 2
    (record,) = (r for r in f.passes() if r.name == "cudnn")
    assert record.notes == {"attention_gradient given the result": 1}
    told = str(f.explain())
    assert "cuDNN computes 2 of 2 calls: attention by eng1_k2=3 ×1 (its first, not timed); " in told
    assert "cuDNN, or k" in str(f.specialize().executable.program)


@pytest.mark.parametrize("tokens_first", [False, True])
def test_gradients_are_written_side_by_side(tokens_first: bool, gpu: Gpu, cudnn: FakeCudnn) -> None:
    """As one projection of all three, or of keys and values, takes them."""
    x = sn.placeholder((12, 2, 96) if tokens_first else (2, 12, 96), name="x")
    m = sn.placeholder((*x.shape[:2], 64), name="m")
    axes = (1, 2, 0, 3) if tokens_first else (0, 2, 1, 3)
    parts, pairs = (sn.reshape(a * 2, (*a.shape[:2], -1, 4, 8)) for a in (x, m))
    q, k, v = (sn.permute_dims(parts[:, :, i], axes) for i in range(3))
    keys, values = (sn.permute_dims(pairs[:, :, i], axes) for i in range(2))
    y = nn.scaled_dot_product_attention(q, k, v) + nn.scaled_dot_product_attention(q, keys, values)
    loss = sn.sum(sn.tanh(y) ** 2)
    feeds = [RNG.normal(scale=0.4, size=a.shape).astype("f") for a in (x, m)]
    f = check(([x, m], [loss, *sn.grad(loss, [x, m])], feeds), **OPTIONS)
    nodes = f.specialize().graph.nodes
    joined = {n.op.joined for n in nodes if isinstance(n.op, AttentionGradient)}
    assert joined == {0, 2}, "queries are of both"
    loss = sn.sum(sn.tanh(nn.scaled_dot_product_attention(q, k, v)) ** 2)
    f = check(([x], [loss, *sn.grad(loss, [x])], feeds[:1]), **OPTIONS)
    (op,) = (n.op for n in f.specialize().graph.nodes if isinstance(n.op, AttentionGradient))
    assert (op.joined, op.layout) == (3, "tokens" if tokens_first else "last")
    assert calls(gpu).count("sdpa_backward") >= 3


def test_only_a_result_needs_no_logarithms(gpu: Gpu, cudnn: FakeCudnn) -> None:
    inputs, outputs, feeds = attention()
    check((inputs, outputs[:1], feeds), **OPTIONS)
    assert [options["generate_stats"] for _, options in cudnn.asked] == [False]


MASKS: dict[str, Any] = {
    "bool": np.tri(12, 12, 2) > 0, "keys": np.arange(12)[None] < 9,
    "heads": RNG.normal(size=(4, 12, 12)).astype("f"),
    "infinite": np.where(np.tri(12, 12, 2) > 0, RNG.normal(size=(2, 1, 12, 12)), -np.inf)
    .astype("f"),
    "both": np.where(np.tri(12, 12, 2) > 0, 0, -np.inf).astype("f")
    + np.where(np.arange(12) % 5 == 2, np.finfo("f").min, 0).astype("f"),
}  # fmt: skip
PADDED = np.where(np.tri(12) > 0, np.where(np.arange(12) < 3, np.finfo("f").min, 0), -np.inf)
LEFT_OUT: dict[str, Any] = {
    "padded on the left": PADDED.astype("f"),
    "padded, causal": np.maximum(PADDED, np.finfo("f").min).astype("f"),
    "no number": np.where(np.tri(12, 12, 3) > 0, 0, -np.inf).astype("f")
    + np.where(np.eye(12, k=5) > 0, np.nan, 0).astype("f"),
}


@pytest.mark.parametrize(
    ("kind", "causal"),
    [
        ("bool", False),
        ("both", False),
        *(pytest.param(x, c, marks=pytest.mark.slow) for x in MASKS for c in (0, 1)),
    ],
)
def test_constant_masks_are_added(kind: str, causal: bool, gpu: Gpu, cudnn: FakeCudnn) -> None:
    made = attention(causal=bool(causal), mask=MASKS[kind])
    cudnn.refuses = "no engine"
    check(made, **OPTIONS)
    assert not calls(gpu)
    cudnn.refuses = ""
    backend.open_device().cudnn = Cudnn(cudnn)
    f = check(made, **OPTIONS)
    assert set(calls(gpu)) == {"sdpa", "sdpa_backward"}
    assert all("bias" in options for _, options in cudnn.asked)
    (record,) = (r for r in f.passes() if r.name == "cudnn")
    assert record.notes["attention_gradient given the result"] == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_is_left_out_is_so_beside_any_score(dtype: str, gpu: Gpu, cudnn: FakeCudnn) -> None:
    """Of 16-bit rows whose scores are further apart than float16's least number is from 0."""
    shape, mask = (1, 1, 2, 64), np.array([[True, False], [True, True]])
    q, k, v = (sn.placeholder(shape, dtype, name=name) for name in "qkv")
    y = nn.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    rows = np.broadcast_to(np.array([[-100.0], [100.0]]), shape)
    made = [q, k, v], [y], [x.astype(q.dtype) for x in (np.full(shape, 100.0), rows, rows)]
    _, (got,) = run(made, device="cuda")
    assert set(calls(gpu)) == {"sdpa"}
    np.testing.assert_array_equal(got[0, 0, :, 0].astype("f"), [-100, 100])


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_keys_that_all_masks_leave_out_are_told_apart(
    kind: str, gpu: Gpu, cudnn: FakeCudnn
) -> None:
    """Where a query's own keys are far from 0, what is below depends on how far that is."""
    mask, causal = LEFT_OUT[kind], kind == "padded, causal"
    inputs, outputs, feeds = attention(causal=causal, mask=mask)
    if kind == "no number":
        _, (got,) = run((inputs, outputs[:1], feeds), **OPTIONS)
        assert np.isnan(got)
    else:
        check((inputs, outputs, feeds), **OPTIONS)
    assert not calls(gpu)


@pytest.mark.parametrize("kind", ["without keys", "of a run", "variable"])
def test_masks_that_may_leave_no_key_do_not(kind: str, gpu: Gpu, cudnn: FakeCudnn) -> None:
    """A query without keys has 0, which cuDNN does not say of itself."""
    mask: Any = np.tri(12, 12, -1) > 0
    if kind == "of a run":
        mask = sn.placeholder((12, 12), "bool", name="mask")
    if kind == "variable":
        mask = sn.variable(np.zeros((12, 12), "f"), "mask")
    inputs, outputs, feeds = attention(causal=False, mask=mask)
    if kind == "of a run":
        inputs, feeds = [*inputs, mask], [*feeds, np.tri(12, 12, -1) > 0]
    check((inputs, outputs, feeds), **OPTIONS)
    assert not calls(gpu)


@pytest.mark.parametrize(("ndim", "groups"), [(1, 1), (2, 1), (2, 4), (3, 2)])
def test_convolutions(ndim: int, groups: int, gpu: Gpu, cudnn: FakeCudnn) -> None:
    check(convolution(ndim, groups), **OPTIONS)
    assert set(calls(gpu)) == {"convolution", "convolution_input", "convolution_weight"}


def block(ndim: int, channels: int = 8, dtype: str = "float32") -> Any:
    """Two convolutions with biases and a shortcut, as inference and training have them."""
    shape = (2, channels, *(7, 6, 4)[:ndim])
    weights = [(channels, channels, *(3,) * ndim), (channels,)] * 2
    inputs = [sn.placeholder(s, dtype, name=f"b{i}") for i, s in enumerate([shape, *weights])]
    x, v, a, w, b = inputs
    function = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}[ndim]
    h = nn.relu(x * 2)
    y = nn.relu(function(h, v, a, padding=1))
    z = nn.relu(function(y, w, b, padding=1) + h)
    feeds = [RNG.normal(scale=0.2, size=s.shape).astype(s.dtype) for s in inputs]
    return inputs, [z, *sn.grad(sn.sum(sn.astype(z, "float32") ** 2), inputs)], feeds


@pytest.mark.parametrize(
    ("ndim", "precision"),
    [(2, "bfloat16"), *(pytest.param(*x, marks=pytest.mark.slow) for x in (
        (1, "float16"), (3, "float16"), (2, "tf32"), (2, "float16"),
    ))],
)  # fmt: skip
def test_what_follows_convolutions(ndim: int, precision: str, gpu: Gpu, cudnn: FakeCudnn) -> None:
    """In one call, with its sizes told between; and by own kernels, if cuDNN has no plan."""
    made, options = block(ndim), {"rough": 2e-2, "device": "cuda", "precision": precision}
    if precision == "float16":  # a sum of it that is used in float32 stays apart
        made, options["precision"] = block(ndim, dtype="float16"), "float32"
    cudnn.refuses = "no engine"
    told = str(check(made, **options).explain())
    assert "cuDNN computes 0 of 6 calls: convolution_epilogue by own ×4 (it has no plan)" in told
    assert not calls(gpu)
    cudnn.refuses = ""
    backend.open_device().cudnn = Cudnn(cudnn)
    told = str(check(made, **options).explain())
    assert "cuDNN computes 6 of 6 calls: convolution_epilogue by eng1_k2=3 ×4" in told
    assert set(calls(gpu)) == {
        "convolution add relu", "convolution add add relu", "convolution_weight",
        "convolution_input relu_backward", "convolution_input add relu_backward",
    }  # fmt: skip


@pytest.mark.parametrize("ndim", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_a_convolution_alone_may_be_cudnns(ndim: int, gpu: Gpu, cudnn: FakeCudnn) -> None:
    """Where no engine takes what follows: a kernel does that where the convolution lies."""
    cudnn.refuses_more = True
    f = check(block(ndim), rough=2e-2, device="cuda", precision="bfloat16")
    assert set(calls(gpu)) == {"convolution", "convolution_input", "convolution_weight"}
    told = str(f.explain())
    assert "cuDNN computes 6 of 6 calls: convolution_epilogue by eng1_k2=3, own ×4" in told


def test_halves_are_not_stored_before_they_are_scaled(gpu: Gpu, cudnn: FakeCudnn) -> None:
    """What float16 does not hold may be what it holds then, whoever computes it."""
    x, w, s = (sn.placeholder(v, "float16") for v in ((1, 8, 4, 4), (16, 8, 1, 1), (16,)))
    y = nn.conv2d(x, w) * sn.reshape(s, (16, 1, 1))
    feeds = [np.full(x.shape, 200, "e"), np.full(w.shape, 200, "e"), np.full(16, 1e-3, "e")]
    for more, told in ((True, set()), (False, {"convolution mul"})):
        cudnn.refuses_more = more
        backend.open_device().cudnn = Cudnn(cudnn)
        gpu.log.clear()
        _, (got,) = run(([x, w, s], [y], feeds), device="cuda")
        assert set(calls(gpu)) == told
        np.testing.assert_allclose(got.astype("f"), 320, rtol=1e-3)


@pytest.mark.parametrize("best", ["eng5, own", "eng5", "own"])
def test_three_ways_are_timed(
    best: str, gpu: Gpu, cudnn: FakeCudnn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In one call, by a convolution and a kernel, and by own kernels; the best one is kept."""
    monkeypatch.setenv("STATICNET_TUNE", "60")

    def timed(act: Any, device: Any, stream: Any) -> float:
        before = len(gpu.log)
        act()
        first, *more = gpu.log[before:]
        way = "own"
        if first[0] == "cudnn":
            way = {2: "eng1_k2=3", 3: "eng5"}[first[2]] + ", own" * bool(more)
        return 1.0 if way == best else 2.0

    monkeypatch.setattr("staticnet.backends.cuda.tuning._time", timed)
    x, w, b = (sn.placeholder(v, "float16") for v in ((2, 8, 6, 6), (8, 8, 3, 3), (8,)))
    feeds = [RNG.normal(size=v.shape).astype("e") for v in (x, w, b)]
    made = [x, w, b], [nn.relu(nn.conv2d(x, w, b, padding=1))], feeds
    for _ in range(2):
        f = check(made, rough=1e-2, device="cuda")
        assert f"convolution_epilogue by {best} ×1 ({best} 1000.0 µs, " in str(f.explain())
    kept = [json.loads(file.read_text()) for file in tmp_path.rglob("*.json")]
    assert [x["plan"] for x in kept] == [best]
    assert set(kept[0]["milliseconds"]) == {
        "own", "eng1_k2=3", "eng5", "eng1_k2=3, own", "eng5, own",
    }  # fmt: skip


def test_numbers_of_channels_have_their_own_dtype(gpu: Gpu, cudnn: FakeCudnn) -> None:
    """A bias of 16 bits goes as it is; with a scale both are of float32."""
    f = check(block(2, dtype="float16"), rough=1e-2, device="cuda")
    signatures = [c.signature for c in program(f) if isinstance(c, LibraryCall)]
    assert {v.dtype.name for c in signatures for v in c.arrays if v.name == "shift"} == {"float16"}
    x, w, s, b = (sn.placeholder(v, "float16") for v in ((2, 8, 6, 6), (16, 8, 1, 1), (16,), (16,)))
    y = nn.conv2d(x, w) * sn.reshape(s, (16, 1, 1)) + sn.reshape(b, (16, 1, 1))
    feeds = [RNG.normal(size=v.shape).astype("e") for v in (x, w, s, b)]
    f = check(([x, w, s, b], [y], feeds), rough=1e-2, device="cuda")
    assert [v.dtype.name for v in signature_of(f).arrays] == [
        "float16", "float16", "float32", "float32", "float16",
    ]  # fmt: skip
    assert calls(gpu)[-1] == "convolution mul add"


def test_tf32_goes_to_cudnn_and_float32_does_not(gpu: Gpu, cudnn: FakeCudnn) -> None:
    check(convolution(), rough=1e-5, device="cuda")
    assert not calls(gpu)
    check(convolution(), rough=1e-5, device="cuda", precision="tf32")
    assert len(set(calls(gpu))) == 3


def test_images_between_convolutions_have_channels_last(gpu: Gpu, cudnn: FakeCudnn) -> None:
    x, v, w = (sn.placeholder(s) for s in ((2, 8, 6, 6), (8, 8, 3, 3), (8, 8, 3, 3)))
    y = nn.conv2d(nn.relu(nn.conv2d(x, v, padding=1)), w, padding=1)
    f = sn.function([x, v, w], sn.sum(y), **OPTIONS)
    signatures = [c.signature for c in program(f) if isinstance(c, LibraryCall)]
    assert [s.arrays[2].steps[1] for s in signatures] == [1, 1]


def test_gradients_that_come_after_a_failure_may_be_told(gpu: Gpu, cudnn: FakeCudnn) -> None:
    """Nothing that cuDNN writes is state then; the weights are as they were before a bad label."""
    rng = np.random.default_rng(1)
    x, label = sn.placeholder((4, 8, 6, 6), name="x"), sn.placeholder((4,), "int64", name="label")
    v, w = (
        sn.variable(rng.normal(scale=0.1, size=s).astype("f"), name)
        for s, name in (((8, 8, 3, 3), "v"), ((8, 8, 1, 1), "w"))
    )
    y = nn.conv2d(nn.relu(nn.conv2d(x, v, padding=1)), w)
    loss = nn.cross_entropy(sn.mean(y, (2, 3)), label)
    updates = sn.optim.SGD(lr=0.1).minimize(loss)
    f = sn.function([x, label], loss, updates=updates, **OPTIONS)
    made = [c for c in program(f) if isinstance(c, LibraryCall)]
    assert Counter(c.signature.kind for c in made) == {
        "convolution": 1, "convolution_weight": 2, "convolution_epilogue": 2,
    }  # fmt: skip
    weights = [x for c in made for x in c.signature.arrays if x.name == "w" and x.shape[2] == 1]
    assert {x.steps for x in weights} == {(8, 1, 8, 8)}, "the order of axes of channels last"
    images = rng.normal(size=x.shape).astype("f")
    before = [z.value for z in (v, w)]
    f(images, np.array([0, 1, 99, 2]))
    with pytest.raises(sn.errors.ExecutionError):
        f.synchronize()
    for z, value in zip((v, w), before, strict=True):
        np.testing.assert_array_equal(z.value, value)
    start = [z.value for z in (v, w)]
    losses = [float(f(images, np.arange(4)).get()) for _ in range(20)]
    assert losses[-1] < 0.95 * losses[0]
    for z, value in zip((v, w), start, strict=True):
        z.value = value
    again = f.run(20, images, np.arange(4), batch_size=4)
    np.testing.assert_array_equal(again.get(), np.float32(losses))


def program(f: Any) -> Any:
    return f.specialize().executable.program.launches


class TestWhatIsLeftToOwnKernels:
    @pytest.mark.parametrize(
        "what",
        ["refused", *(pytest.param(x, marks=pytest.mark.slow) for x in MORE)],
    )
    def test_is(self, what: str, gpu: Gpu, cudnn: FakeCudnn) -> None:
        options = dict(OPTIONS)
        made = attention(width=6 if what == "odd" else 8)
        if what == "dropout":
            q = sn.placeholder((1, 2, 8, 8), name="q")
            more: dict[str, Any] = {"dropout_p": 0.5, "dropout_key": sn.random.key(1, 2)}
            y = nn.scaled_dot_product_attention(q, q, q, **more)
            loss = sn.sum(y * y)
            made = [q], [loss, *sn.grad(loss, [q])], [RNG.normal(size=q.shape).astype("f")]
        elif what == "float32":
            del options["precision"]
        elif what == "disabled":
            options["disabled_passes"] = ("cudnn",)
        elif what == "refused":
            cudnn.refuses = "no engine"
        f = check(made, **options)
        if what == "refused":
            assert "attention_gradient by own ×1 (it has no plan)" in str(f.explain())
        assert not calls(gpu)

    def test_also_when_compilation_is_exact(self, gpu: Gpu, cudnn: FakeCudnn) -> None:
        x, w = sn.placeholder((1, 8, 5, 5), "float16"), sn.placeholder((8, 8, 3, 3), "float16")
        f = sn.function([x, w], nn.conv2d(x, w), device="cuda", numerics="exact")
        f(np.ones(x.shape, "e"), np.ones(w.shape, "e"))
        assert not calls(gpu)

    def test_a_cotangent_of_the_logarithms_keeps_delta(self, gpu: Gpu, cudnn: FakeCudnn) -> None:
        q = sn.placeholder((1, 2, 8, 8), "float16", name="q")
        scale = sn.constant(np.float32(0.3))
        y, lse = items(apply(Attention(True), q, q, q, scale))
        loss = sn.sum(sn.astype(y, "float32") ** 2) + sn.sum(lse)
        f = sn.function(q, sn.grad(loss, [q]), device="cuda")
        assert 'given="delta"' in f.as_text(after="cudnn")
        f(RNG.normal(size=q.shape).astype("e"))
        assert set(calls(gpu)) == {"sdpa"}


def test_ways_are_timed_and_the_fastest_is_kept(
    gpu: Gpu, cudnn: FakeCudnn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STATICNET_TUNE", "60")
    seconds = {"eng1_k2=3": 3.0, "eng5": 2.0, "own": 1.0}
    fastest: list[str] = []

    def timed(act: Any, device: Any, stream: Any) -> float:
        before = len(gpu.log)
        act()
        entry = gpu.log[before]
        name = {2: "eng1_k2=3", 3: "eng5"}[entry[2]] if entry[0] == "cudnn" else "own"
        fastest.append(name)
        return seconds[name]

    monkeypatch.setattr("staticnet.backends.cuda.tuning._time", timed)
    inputs, outputs, feeds = attention()
    made = inputs, outputs[:1], feeds
    f = check(made, **OPTIONS)
    assert (
        "cuDNN computes 0 of 1 calls: attention by own ×1 "
        "(own 1000.0 µs, eng5 2000.0 µs, eng1_k2=3 3000.0 µs)"
    ) in str(f.explain())
    assert {"eng1_k2=3", "eng5", "own"} <= set(fastest)
    kept = [json.loads(f.read_text()) for f in tmp_path.rglob("*.json")]
    assert [x["plan"] for x in kept if "plan" in x] == ["own"]
    tried = len(fastest)
    check(made, **OPTIONS)
    assert len(fastest) == tried, "what was measured is on disk"


@pytest.mark.parametrize("tune", ["0", "60"])
def test_plans_are_built_once_a_machine(
    tune: str, gpu: Gpu, cudnn: FakeCudnn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another process takes them from disk; what is damaged is built again."""
    monkeypatch.setenv("STATICNET_TUNE", tune)

    def timed(act: Any, device: Any, stream: Any) -> float:
        before = len(gpu.log)
        act()
        return 1.0 if gpu.log[before][0] == "cudnn" else 9.0

    monkeypatch.setattr("staticnet.backends.cuda.tuning._time", timed)
    made = convolution()
    check(made, **OPTIONS)
    asked = len(cudnn.asked)
    assert (asked, cudnn.read) == (3, 0)
    for damaged in (False, True):
        device = backend.open_device()
        device.cudnn = Cudnn(cudnn)
        for file in tmp_path.rglob("*.plan") if damaged else ():
            file.write_bytes(b"eng5\nnothing")
        check(made, **OPTIONS)
        assert len(cudnn.asked) == asked + 3 * damaged
    assert set(calls(gpu)) == {"convolution", "convolution_input", "convolution_weight"}


def signature_of(f: Any) -> Any:
    """That of the function's one call."""
    (call,) = (c for c in program(f) if isinstance(c, LibraryCall))
    return call.signature


def forwards() -> Any:
    """A function with one convolution alone."""
    inputs, _, _ = convolution()
    return sn.function(inputs, nn.conv2d(*inputs, stride=2, padding=1), **OPTIONS)


def test_plans_are_those_of_the_librarys_own_engines(gpu: Gpu, cudnn: FakeCudnn) -> None:
    """Others are not built, by no name and for no first one, and without them none is left."""
    signature = signature_of(forwards())
    cudnn.built.clear()
    graph = Cudnn(cudnn).graph(signature)
    assert graph is not None
    assert [(x.name, x.index) for x in graph.plans(4)] == [("eng1_k2=3", 2), ("eng5", 3)]
    assert [graph.plan(name) for name in ("", "python_engine", "eng7")] == [None] * 3
    assert cudnn.built == ["eng7", "eng1_k2=3", "eng5"]
    cudnn.engines = ("python_engine", "cutlass_engine")
    assert Cudnn(cudnn).plan(signature, "", "another GPU") is None


@pytest.mark.parametrize("tune", ["0", "60"])
def test_kernels_of_our_own_are_left_where_engines_are_the_front_ends(
    tune: str, gpu: Gpu, cudnn: FakeCudnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATICNET_TUNE", tune)
    cudnn.engines = ("python_engine", "cutlass_engine")
    assert "cuDNN computes 0 of 1 calls: convolution by own ×1" in str(forwards().explain())
    assert not cudnn.built


def test_a_plan_that_is_evicted_before_it_is_read_is_built_again(
    gpu: Gpu, cudnn: FakeCudnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Cache.find

    def evicted(self: Cache, key: str, suffix: str) -> Path | None:
        file = find(self, key, suffix)
        if file and suffix == ".plan":
            file.unlink()
        return file

    signature = signature_of(forwards())
    monkeypatch.setattr(Cache, "find", evicted)
    for _ in range(2):
        plan = Cudnn(cudnn).plan(signature, "eng5", "GPU")
        assert plan is not None
        assert plan.name == "eng5"
    assert not cudnn.read


def test_a_plan_that_fails_has_no_time(
    gpu: Gpu, cudnn: FakeCudnn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is kept is JSON as others read it, and the choice tells of what ran."""
    monkeypatch.setenv("STATICNET_TUNE", "60")

    def timed(act: Any, device: Any, stream: Any) -> float:
        before = len(gpu.log)
        act()
        if gpu.log[before] == ("cudnn", "convolution", 3):
            raise ExecutionError("CUDNN_STATUS_EXECUTION_FAILED")
        return 2.0 if gpu.log[before][0] == "cudnn" else 3.0

    monkeypatch.setattr("staticnet.backends.cuda.tuning._time", timed)
    told = str(forwards().explain())
    assert "convolution by eng1_k2=3 ×1 (eng1_k2=3 2000.0 µs, own 3000.0 µs)" in told
    (text,) = (file.read_text() for file in tmp_path.rglob("*.json"))
    kept = json.loads(text, parse_constant=pytest.fail)
    assert kept["milliseconds"] == {"own": 3.0, "eng1_k2=3": 2.0}


def test_plans_are_for_the_gpu_that_is_described(gpu: Gpu, cudnn: FakeCudnn) -> None:
    signature, module = signature_of(forwards()), FakeCudnn(gpu)
    properties = SimpleNamespace(serialize=lambda: '{"deviceVer": 800}')
    assert Cudnn(module, properties).plan(signature, "", "A100") is not None
    assert Cudnn(module, properties).plan(signature, "", "A100") is not None
    assert module.read == 1
    assert module.placed == [{"device_property": properties, "sm_version": 800}] * 2


def test_what_is_timed_writes_nowhere_else(
    gpu: Gpu, cudnn: FakeCudnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATICNET_TUNE", "60")
    w = sn.variable(np.zeros((8, 8, 3, 3), "e"), "w")
    x, y = sn.placeholder((1, 8, 5, 5), "float16"), sn.placeholder((1, 8, 3, 3), "float16")
    gradient = sn.grad(sn.sum(nn.conv2d(x, w) * y), [w])[0]
    f = sn.function([x, y], [], updates={w: gradient}, device="cuda").specialize()
    assert np.all(w.value == 0)
    assert f is not None


def test_workspaces_are_planned(gpu: Gpu, cudnn: FakeCudnn) -> None:
    f, _ = run(attention(), **OPTIONS)
    executable = f.specialize().executable
    assert executable.workspace_bytes >= 2 * 4096


def test_the_result_in_deltas_place(tmp_path: Path) -> None:
    """By the shim: delta is made by a kernel; and by NumPy, after expansion, and its derivative."""
    args = [RNG.normal(size=s).astype("f") for s in ((2, 4, 5, 3), (2, 2, 6, 3), (2, 2, 6, 5))]

    def build(q: Any, k: Any, v: Any) -> list[Any]:
        scale = sn.sum(q) * 0 + np.float32(0.4)
        y, lse = items(apply(Attention(True), q, k, v, scale))
        a = sn.tanh(y * 2)
        op = AttentionGradient(True)
        delta = sn.sum(a * y, -1)
        plain = items(apply(op, q, k, v, a, scale, lse, delta))
        given = items(apply(replace(op, given="result"), q, k, v, a, scale, lse, y))
        return [x for pair in zip(plain, given, strict=True) for x in pair]

    def second(*xs: Any) -> list[Any]:
        made = build(*xs)
        totals = (sn.sum(sn.sin(x)) for x in made)
        return [g for total in totals for g in sn.grad(total, list(xs))]

    for device in ("numpy", "cuda", "cpu"):
        values = on(device, tmp_path, build, *args)
        for plain, given in zip(values[::2], values[1::2], strict=True):
            np.testing.assert_allclose(given, plain, rtol=1e-5, atol=1e-6)
    many = [np.stack([x, x[::-1] / 2, x * 0.3]) for x in args]
    for axes in ((0, 0, 0), (None, 0, 0)):
        some = [x if axis is None else y for axis, x, y in zip(axes, args, many, strict=True)]
        mapped = sn.vmap(lambda *xs: tuple(build(*xs)), in_axes=axes)
        values = on("numpy", tmp_path, lambda *xs, f=mapped: list(f(*xs)), *some)
        for number in range(3):
            one = [x if axis is None else x[number] for axis, x in zip(axes, some, strict=True)]
            for got, want in zip(values, on("numpy", tmp_path, build, *one), strict=True):
                np.testing.assert_allclose(got[number], want, rtol=1e-4, atol=1e-6)
    values = on("numpy", tmp_path, second, *args)
    for at in range(0, 18, 6):
        for plain, given in zip(values[at : at + 3], values[at + 3 : at + 6], strict=True):
            np.testing.assert_allclose(given, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_nvidias_cudnn_makes_plans_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    """Its engines take what they are told, and its kernels compile: nothing runs."""
    if importlib.util.find_spec("cudnn") is None:
        pytest.skip("no cuDNN: pip install --no-deps nvidia-cudnn-frontend nvidia-cudnn-cu13")
    wheels = importlib.util.find_spec("nvidia")
    places = (wheels and wheels.submodule_search_locations) or ()
    folders = [str(x.parent) for place in places for x in Path(place).rglob("lib*.so.*")]
    paths = [*dict.fromkeys(folders), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = os.environ | {
        "LD_LIBRARY_PATH": ":".join(filter(None, paths)),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    script = Path(__file__).with_name("cudnn_plans.py")
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    *told, first, second = map(json.loads, ran.stdout.splitlines())
    counts = Counter(x["kind"] for x in told)
    assert counts == {
        "attention": 6, "attention_gradient": 6, "convolution": 7, "convolution_input": 7,
        "convolution_weight": 11, "convolution_epilogue": 20,
    }  # fmt: skip
    assert sum(x["last"] for x in told if x["kind"].startswith("convolution")) == 33
    apart = [x["apart"]["dv"] for x in told if x["kind"] == "attention_gradient"]
    assert apart[-2:] == [[256 * 2304, 64, 2304, 1], [2304, 64, 2 * 2304, 1]], "of one array"
    followed = {tuple(x["names"][2:-1]) for x in told if x["kind"] == "convolution_epilogue"}
    assert followed == {
        (), ("gate",), ("mask",), ("shift",), ("scale", "shift"), ("scale", "shift", "beside"),
    }  # fmt: skip
    for x in told:
        assert x["plans"], x
        assert all(name.startswith("eng") for name, _ in x["plans"]), x
        assert x["read"] == [*x["plans"][0], None], "as it comes from disk"
        if x["last"] and x["kind"].startswith("convolution") and x["kind"][-6:] != "weight":
            assert x["plans"][0][1] < x["images"] // 4, "images are turned in a workspace"
    assert not first["plans"] + second["plans"], "heads of 7 features"


def test_the_cpu_says_what_it_is_not_given() -> None:
    text = (Path(__file__).parent / "golden/cudnn/given_delta.sn").read_text().partition("//")[0]
    graph = sn.parse(text)
    with pytest.raises(CompileError, match="leave the pass cudnn in"):
        sn.function(graph.inputs, graph.outputs, device="cpu", disabled_passes=("cudnn",))


def test_each_device_has_a_handle_of_its_own(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Cudnn(FakeCudnn(gpu))
    for name, made in (("cudnn", found), ("nvrtc", gpu.nvrtc), ("library", CublasLt(gpu.blas))):
        monkeypatch.setattr(device_module, f"find_{name}", lambda made=made: made)
    devices = [device_module._open.__wrapped__(number) for number in range(2)]
    assert len({id(x.cudnn) for x in (found, *devices) if hasattr(x, "cudnn")}) == 2
    assert all(device.cudnn.module is found.module for device in devices)
