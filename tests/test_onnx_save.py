"""`sn.io.onnx.save`: what ONNX's checker says of the files, and what onnxruntime computes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import SAMPLES

import staticnet as sn
from staticnet.errors import ArgumentError, OnnxError, StaticnetError
from staticnet.ir.dtype import as_dtype

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

nn = sn.nn
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "onnx.md"
rng = np.random.default_rng(0)


def session(path: Path) -> Any:
    onnx.checker.check_model(str(path), full_check=True)
    ort.set_default_logger_severity(4)
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def computed(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """What onnxruntime makes of a file, by output."""
    runs = session(path)
    given = {name: np.asarray(x) for name, x in feeds.items()}
    return dict(zip([o.name for o in runs.get_outputs()], runs.run(None, given), strict=True))


def agrees(path: Path, f: sn.Function, *feeds: Any, tol: float = 2e-5, **options: Any) -> Any:
    """The file computes what the function does, next values of the state included."""
    sn.io.onnx.save(path, f, **options)
    names = [node.name for node in f.graph.inputs]
    got = computed(path, dict(zip(names, feeds, strict=True)))
    wanted = f(*feeds)
    wanted = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
    wanted += [target.value for target, _ in f.graph.updates]  # type: ignore[attr-defined]
    for (name, x), y in zip(got.items(), wanted, strict=True):
        y = np.asarray(y)
        assert (x.shape, x.dtype) == (y.shape, y.dtype), name
        scale = np.max(np.abs(y.astype(float)), initial=1)
        np.testing.assert_allclose(x, y, rtol=50 * tol, atol=tol * scale, err_msg=name)
    return onnx.load(str(path))


def normal(*shape: int) -> Any:
    return rng.normal(size=shape).astype("f")


def refused() -> dict[str, str]:
    """The table of ops without a counterpart in the document."""
    text = DOCUMENT.read_text(encoding="utf-8").split("## What is refused")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))


def test_each_op_is_equal_in_onnxruntime_or_refused_as_the_document_says(tmp_path: Path) -> None:
    inputs, outputs, feeds, seen = [], [], [], {}
    for n, sample in enumerate(SAMPLES):
        xs = [sn.placeholder(a.shape, "float32", f"x{n}_{i}") for i, a in enumerate(sample.args)]
        try:
            y = sample.build(*xs)
        except StaticnetError:
            continue
        try:
            sn.io.onnx.save(tmp_path / "one.onnx", sn.Graph("one", xs, [y]))
        except OnnxError as error:
            seen[sample.op] = str(error)
            continue
        inputs += xs
        outputs.append(y)
        feeds += [np.asarray(a, "f") for a in sample.args]
    f = sn.function(inputs, outputs, device="numpy")
    agrees(tmp_path / "all.onnx", f, *feeds)
    assert seen.keys() == refused().keys()
    assert all(re.match(r"save: \w+ \(.*\.py:\d+", told) for told in seen.values())


@pytest.mark.parametrize(
    "opset", [pytest.param(n, marks=pytest.mark.slow) for n in (13, 16, 21)] + [None]
)
def test_older_and_newer_opsets(opset: int | None, tmp_path: Path) -> None:
    x = sn.placeholder(("n", 3, 8, 8), name="image")
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 4), nn.GELU(), nn.LayerNorm(4), nn.Softmax(-1),
    ).eval()  # fmt: skip
    y = net(x)
    model = agrees(
        tmp_path / "net.onnx", sn.function(x, [y, sn.max(y, 1)], device="numpy"),
        normal(2, 3, 8, 8), opset=opset,
    )  # fmt: skip
    assert model.opset_import[0].version == (opset or 18)
    kinds = [node.op_type for node in model.graph.node]
    found = {"Conv", "Softmax", "Gemm", "MaxPool", "AveragePool", "BatchNormalization"}
    assert found | ({"LayerNormalization"} if (opset or 18) >= 17 else set()) <= set(kinds)
    assert not {"Exp", "MatMul"} & set(kinds)


def test_a_norm_by_hand_may_have_an_eps_of_any_shape(tmp_path: Path) -> None:
    x = sn.placeholder(("n", 6), name="x")
    d = x - sn.mean(x, -1, keepdims=True)
    for eps in (np.float32([1e-5]), np.full((1, 1), 1e-5, "f"), np.full(6, 1e-5, "f")):
        y = d * sn.rsqrt(sn.mean(d * d, -1, keepdims=True) + eps)
        agrees(tmp_path / "eps.onnx", sn.function(x, y, device="numpy"), normal(3, 6))


def test_groups_become_one_operator_where_nothing_reads_their_inside(tmp_path: Path) -> None:
    x, w, b = sn.placeholder(("n", 6), name="x"), sn.variable(normal(6), "w"), sn.variable(normal(6), "b")  # noqa: E501 # fmt: skip
    image = sn.placeholder(("n", 2, 5), name="image")
    F = nn.functional
    kernel, shift = sn.variable(normal(3, 2, 2), "kernel"), sn.variable(normal(3), "shift")
    bare = nn.BatchNorm1d(6, affine=False).eval()
    outputs = [
        F.softmax(x, 1), F.log_softmax(image, 1), sn.mean(image, (0, 2)),
        F.layer_norm(image, (2, 5), eps=0.1), F.layer_norm(x * 3, (6,), w, b),
        F.layer_norm(x * 2, (6,)), F.layer_norm(x, (6,), w),
        F.linear(x, sn.variable(normal(4, 6), "dense"), sn.variable(normal(4), "bias")),
        F.conv1d(image, kernel, shift, stride=2, padding=1), bare(x),
        x @ sn.variable(normal(6, 3)) + b[:3],
    ]  # fmt: skip
    f = sn.function([x, image], outputs, device="numpy")
    model = agrees(tmp_path / "groups.onnx", f, normal(3, 6), normal(3, 2, 5))
    kinds = {node.op_type for node in model.graph.node}
    wanted = {"Softmax", "LogSoftmax", "ReduceMean", "LayerNormalization", "Gemm", "Conv"}
    wanted |= {"BatchNormalization"}
    assert kinds == wanted | {"Mul", "Slice"}  # what is given to some of them
    y = F.softmax(x, 1)
    powers = y.inputs[0]
    g = sn.function(x, [y, sn.sum(powers)], device="numpy")
    kept = agrees(tmp_path / "read.onnx", g, normal(3, 6))
    assert "Softmax" not in [node.op_type for node in kept.graph.node]
    steep = F.layer_norm(x, (6,), eps=1e-3) + sn.mean(x, 1, keepdims=True)
    agrees(tmp_path / "shared.onnx", sn.function(x, steep, device="numpy"), normal(3, 6))


def test_attention_with_and_without_masks(tmp_path: Path) -> None:
    q, k, v = (sn.placeholder(("n", h, t, 4), name=c) for c, h, t in (("q", 4, 3), ("k", 2, 5), ("v", 2, 5)))  # noqa: E501 # fmt: skip
    keep, more = sn.placeholder((3, 5), "bool", "keep"), sn.placeholder((3, 5), name="more")
    attend = nn.functional.scaled_dot_product_attention
    outputs = [
        attend(q, k, v, enable_gqa=True),
        attend(q, k, v, is_causal=True, scale=0.3, enable_gqa=True),
        attend(q, k, v, keep, enable_gqa=True), attend(q, k, v, more, enable_gqa=True),
    ]  # fmt: skip
    f = sn.function([q, k, v, keep, more], outputs, device="numpy")
    mask = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    feeds = normal(2, 4, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4), mask, normal(3, 5)
    model = agrees(tmp_path / "attention.onnx", f, *feeds)
    assert [node.op_type for node in model.graph.node].count("Softmax") == 2


def test_a_training_step_gives_the_next_values_of_its_variables(tmp_path: Path) -> None:
    sn.manual_seed(0)
    image, label = (
        sn.placeholder(("n", 3, 9, 9), name="image"),
        sn.placeholder(("n",), "int64", "label"),
    )
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, stride=2, groups=2, padding=1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    loss = nn.cross_entropy(net(image), label)
    updates = sn.optim.SGD(lr=0.1, momentum=0.9).minimize(loss)
    f = sn.function([image, label], loss, updates=updates, device="numpy")
    first = {v.name: v.value for v in f.graph.variables}  # type: ignore[attr-defined]
    path, feeds = tmp_path / "step.onnx", [(normal(5, 3, 9, 9), np.arange(5) % 4) for _ in range(3)]
    model = agrees(path, f, *feeds[0])
    names = [x.name for x in model.graph.initializer]
    assert set(first) <= set(names)
    assert {"0.weight", "1.running_mean"} <= {x.name for x in model.graph.input}
    runs, state = session(path), {}
    for variable in f.graph.variables:
        variable.value = first[variable.name]  # type: ignore[attr-defined]
    for x, y in feeds:  # fed its own next values, it trains
        got = dict(zip(
            [o.name for o in runs.get_outputs()],
            runs.run(None, {"image": x, "label": y, **state}), strict=True,
        ))  # fmt: skip
        np.testing.assert_allclose(got["output"], f(x, y), rtol=1e-4)
        state = {k.removesuffix(".next"): v for k, v in got.items() if k.endswith(".next")}


@pytest.mark.slow
def test_transformers_and_recurrent_layers(tmp_path: Path) -> None:
    sn.manual_seed(0)
    t = sn.placeholder(("b", "t", 16), name="tokens")
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    y = layer(t)
    loss = sn.mean(sn.tanh(y * sn.constant(normal(16))))
    f = sn.function(t, [y, loss], updates=sn.optim.SGD(lr=0.1).minimize(loss), device="numpy")
    model = agrees(tmp_path / "layer.onnx", f, normal(3, 5, 16))
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["b", "t", 16]  # noqa: E501 # fmt: skip
    assert any(node.name.startswith("self_attn/") for node in model.graph.node)
    outputs, (h, c) = nn.LSTM(16, 4, num_layers=2, bidirectional=True, batch_first=True)(t)
    f = sn.function(t, [outputs, h, c], device="numpy")
    model = agrees(tmp_path / "lstm.onnx", f, normal(3, 5, 16))
    assert [node.op_type for node in model.graph.node].count("Scan") == 4


def test_loops_branches_and_their_gradients(tmp_path: Path) -> None:
    s, v, m = sn.placeholder((), "int64", "s"), sn.placeholder((3,), name="v"), sn.placeholder(("n", 3), name="m")  # noqa: E501 # fmt: skip

    def step(c: Any, x: Any) -> Any:
        return sn.tanh(c * v + x), c

    last, rows = sn.scan(step, v, m, reverse=True)
    counted = sn.scan(lambda c, _: (c * 2, c + v), v, None, length=4, reverse=True)
    loop = sn.while_loop(
        lambda c: c[0] < s, lambda c: (c[0] + 1, c[1] * 1.5 + v), (sn.constant(0), v)
    )
    nested = sn.map(lambda x: sn.cond(s > 2, lambda a: sn.sin(a) * x, lambda a: a - x, v), m)
    outputs = [last, rows, *counted, *loop, nested, sn.fori_loop(0, 5, lambda i, a: a * 2 + i, v)]
    outputs += sn.grad(sn.sum(rows) + sn.sum(last) + sn.sum(nested), [v, m])
    outputs.append(sn.checkpoint(sn.exp)(v))
    f = sn.function([s, v, m], outputs, device="numpy")
    for steps, n in ((1, 4), (4, 4), (4, 1)):
        agrees(tmp_path / "loops.onnx", f, np.array(steps), normal(3), normal(n, 3))


def test_shapes_are_computed_from_those_of_inputs(tmp_path: Path) -> None:
    x, y = sn.placeholder(("a", "b"), name="x"), sn.placeholder(("c", 4), name="y")
    a, b = x.shape
    outputs = [
        sn.reshape(x, (b, a)), sn.reshape(x, (-1,)), sn.broadcast_to(y, (a, *y.shape)),
        sn.arange(a * b),
        sn.ones((a + b,)), sn.mean(x), sn.pad(x, ((1, 2), (0, 1)), 3.0), x[: a // 2, 1:],
        sn.reshape(sn.concat([x, x]), (a, 2, b)), sn.flip(x), sn.zeros((a, 0)),
    ]  # fmt: skip
    f = sn.function([x, y], outputs, device="numpy")
    for shape in ((5, 3), (1, 1), (4, 6)):
        agrees(tmp_path / "shapes.onnx", f, normal(*shape), normal(2, 4))
    z = sn.placeholder((2 * sn.Dim("n"),), name="z")
    with pytest.raises(OnnxError, match="the dim n is the size of no input's axis alone"):
        sn.io.onnx.save(tmp_path / "no.onnx", sn.Graph("g", [z], [sn.ones(sn.Dim("n"))]))


def test_dtypes(tmp_path: Path) -> None:
    inputs, outputs, feeds = [], [], []
    for name in ("float64", "int8", "uint8", "int32", "int64", "bool"):
        x = sn.placeholder((2, 3), name, f"x_{name}")
        inputs.append(x)
        outputs += [x[:, ::-1], sn.astype(x, "float32"), x.T]
        outputs += (
            [sn.sum(x, 1), sn.max(x, 0), x + x, x @ x.T] if name != "bool" else [sn.any(x, 1), ~x]
        )
        feeds.append(rng.integers(0, 2, (2, 3)).astype(as_dtype(name)))
    f = sn.function(inputs, outputs, device="numpy")
    agrees(tmp_path / "dtypes.onnx", f, *feeds)
    w = sn.variable(np.ones((2, 2), as_dtype("bfloat16")), "w")
    h = sn.placeholder((2, 2), "bfloat16", "h")
    sn.io.onnx.save(tmp_path / "bf16.onnx", sn.function(h, h @ w, device="numpy"))
    onnx.checker.check_model(str(tmp_path / "bf16.onnx"), full_check=True)
    saved = onnx.load(str(tmp_path / "bf16.onnx"))
    assert saved.graph.initializer[0].data_type == onnx.TensorProto.BFLOAT16


def test_names_of_outputs_that_are_inputs_or_one_value(tmp_path: Path) -> None:
    x, w = sn.placeholder((3,), name="x"), sn.variable(np.ones(3, "f"), "w")
    f = sn.function(x, [x, x, x + w, x + w, w], device="numpy")
    model = agrees(tmp_path / "same.onnx", f, normal(3))
    assert [o.name for o in model.graph.output] == [f"output{i}" for i in range(5)]
    clash = sn.placeholder((3,), name="output")
    got = agrees(tmp_path / "clash.onnx", sn.function(clash, clash + 1, device="numpy"), normal(3))
    assert [o.name for o in got.graph.output] == ["output_1"]


def test_weights_beside_the_file(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3))
    x = sn.placeholder(("n", 40), name="x")
    f = sn.function(x, net(x), device="numpy")
    agrees(tmp_path / "net.onnx", f, normal(2, 40), external=True)
    assert (tmp_path / "net.onnx.data").stat().st_size >= 40 * 40 * 4
    assert (tmp_path / "net.onnx").stat().st_size < 40 * 40 * 4
    loaded = sn.io.onnx.load(tmp_path / "net.onnx")
    feed = normal(2, 40)
    np.testing.assert_allclose(sn.function(x, loaded(x), device="numpy")(feed), f(feed), rtol=1e-5)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "net.onnx", tmp_path / "net.onnx.data"]


def test_modules_are_called_on_their_inputs_and_come_back(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    sn.io.onnx.save(tmp_path / "a.onnx", net, inputs=normal(2, 4))
    sn.io.onnx.save(tmp_path / "b.onnx", net, inputs=[sn.placeholder(("n", 4), name="in_1")])
    feed = normal(2, 4)
    x = sn.placeholder((2, 4), name="x")
    wanted = sn.function(x, net(x), device="numpy")(feed)
    np.testing.assert_allclose(
        computed(tmp_path / "a.onnx", {"input": feed})["output"], wanted, rtol=1e-5
    )
    loaded = sn.io.onnx.load(tmp_path / "b.onnx")
    assert set(loaded.state_dict()) == {"0.weight", "0.bias"}
    sn.io.onnx.save(tmp_path / "c.onnx", loaded)
    got = computed(tmp_path / "c.onnx", {"in_1": feed})
    np.testing.assert_allclose(got["output"], wanted, rtol=1e-5)


def test_what_cannot_be_saved_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    x = sn.placeholder((3,), name="x")
    f = sn.function(x, nn.functional.dropout(x), device="numpy")
    with pytest.raises(OnnxError, match=r"save: random_bits \(.*test_onnx_save.py:\d+"):
        sn.io.onnx.save(tmp_path / "a.onnx", f)
    with pytest.raises(ArgumentError, match="inputs="):
        sn.io.onnx.save(tmp_path / "a.onnx", nn.Linear(3, 3))
    with pytest.raises(ArgumentError, match="expected a graph"):
        sn.io.onnx.save(tmp_path / "a.onnx", 5)
    with pytest.raises(ArgumentError, match="inputs are for modules"):
        sn.io.onnx.save(tmp_path / "a.onnx", f, inputs=[x])
    for opset in (12, 1000, "18", True):
        with pytest.raises(ArgumentError, match="opset must be from 13"):
            sn.io.onnx.save(tmp_path / "a.onnx", f, opset=opset)  # type: ignore[arg-type]
    g = sn.function(x, sn.astype(x, "int32") & 3, device="numpy")
    with pytest.raises(OnnxError, match="bitwise logic needs opset 18; this is 17"):
        sn.io.onnx.save(tmp_path / "a.onnx", g, opset=17)
    with pytest.raises(OSError, match="none"):
        sn.io.onnx.save(tmp_path / "none" / "a.onnx", sn.function(x, x + 1, device="numpy"))
    assert not list(tmp_path.iterdir())
