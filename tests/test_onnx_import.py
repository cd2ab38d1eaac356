"""Models of others, read from ONNX files: what they compute, and what a call is given."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import staticnet as sn

onnx = pytest.importorskip("onnx")
RNG = np.random.default_rng(0)


def exported(model: Any, args: Any, **kwargs: Any) -> bytes:
    """A PyTorch model as the older exporter writes it."""
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, args, buffer, dynamo=False, **kwargs)
    return buffer.getvalue()


def run(model: Any, *feeds: Any, device: str = "numpy") -> Any:
    """The model's outputs."""
    xs = [sn.placeholder(x.shape, x.dtype, f"x{i}") for i, x in enumerate(feeds)]
    return sn.function(xs, model(*xs), device=device)(*feeds)


@pytest.fixture(scope="module")
def mlp() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


def test_an_mlp_of_pytorch_with_a_symbolic_batch(mlp: Any) -> None:
    import torch

    x = RNG.normal(size=(5, 4)).astype("f")
    data = exported(mlp, (torch.zeros(2, 4),), input_names=["x"], output_names=["y"],
                    dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}})  # fmt: skip
    model = sn.io.onnx.load(data)
    assert (model.input_names, model.output_names) == (("x",), ("y",))
    assert set(model.state_dict()) == set(mlp.state_dict())
    node = model(*model.placeholders())
    assert node.shape == (sn.Dim("batch"), 3)
    wanted = mlp(torch.from_numpy(x)).detach().numpy()
    f = sn.function(model.placeholders(), node, device="numpy")
    np.testing.assert_allclose(f(x), wanted, rtol=1e-5, atol=1e-6)
    model.load_state_dict(mlp.state_dict())


def test_a_convolutional_network_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.SiLU(),
        torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 4, 3, stride=2), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 2), torch.nn.Softmax(-1),
    ).eval()  # fmt: skip
    x = torch.randn(2, 3, 16, 16)
    model = sn.io.onnx.load(exported(net, (x,)))
    np.testing.assert_allclose(run(model, x.numpy()), net(x).detach().numpy(), rtol=1e-4)


def trained(model: Any, batches: Any, labels: Any, steps: int) -> dict[str, Any]:
    """The weights after some steps of SGD on the cross entropy."""
    x, t = (
        sn.placeholder(batches[0].shape, name="x"),
        sn.placeholder((len(labels[0]),), "int64", "t"),
    )
    loss = sn.nn.cross_entropy(model(x), t)
    step = sn.function([x, t], loss, updates=sn.optim.SGD(0.1).minimize(loss), device="numpy")
    for i in range(steps):
        step(batches[i], labels[i])
    return model.state_dict()


def test_ten_steps_of_training_follow_pytorch() -> None:
    """Batch norms too, whose statistics move, when the model is told to train."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(64, 3),
    )  # fmt: skip
    before = copy.deepcopy(net.state_dict())
    data = exported(net, (torch.zeros(8, 1, 6, 6),), do_constant_folding=False,
                    training=torch.onnx.TrainingMode.TRAINING)  # fmt: skip
    net.load_state_dict(copy.deepcopy(before))
    model = sn.io.onnx.load(data).train()
    model.load_state_dict(before, strict=False)  # the exporter has run the network once
    own = {name: v for name, v in net.state_dict().items() if "num_batches" not in name}
    assert set(model.state_dict()) == set(own)
    assert {name for name, _ in model.named_parameters()} == {n for n, _ in net.named_parameters()}
    xs = RNG.normal(size=(10, 8, 1, 6, 6)).astype("f")
    ts = RNG.integers(0, 3, (10, 8))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for x, t in zip(xs, ts, strict=True):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(t))
        loss.backward()
        optimizer.step()
    found = trained(model, xs, ts, 10)
    for name, value in net.state_dict().items():
        if name in found:
            np.testing.assert_allclose(found[name], value.numpy(), rtol=2e-4, atol=1e-5)


def test_a_shape_that_an_input_gives() -> None:
    """Known where it is given as an array; else the error says which input."""
    helper, types = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "s"], ["y"], "there")], "g",
        [helper.make_tensor_value_info("x", types.FLOAT, ["n", 6]),
         helper.make_tensor_value_info("s", types.INT64, [2])],
        [helper.make_tensor_value_info("y", types.FLOAT, None)],
    )  # fmt: skip
    model = sn.io.onnx.load(helper.make_model(graph))
    x, s = model.placeholders()
    assert model(x, s=np.array([-1, 3])).shape == (2 * sn.Dim("n"), 3)
    assert model(x, [0, -1]).shape == (sn.Dim("n"), 6)
    with pytest.raises(sn.errors.OnnxError, match="'there'.*the shape.*'s'"):
        model(x, s)
    with pytest.raises(sn.errors.OnnxError, match="'x' has the shape"):
        model(sn.placeholder((2, 5)), [1])
    with pytest.raises(sn.errors.OnnxError, match="'x' is float32, not float64"):
        model(sn.placeholder((2, 6), "float64"), [1])
    with pytest.raises(sn.errors.OnnxError, match="missing"):
        model(x)
    with pytest.raises(sn.errors.OnnxError, match="no other input 'z'"):
        model(x, z=1)


def test_dims_of_a_computed_shape_stay_symbolic() -> None:
    """x.view(x.size(0) * 2, -1, x.size(1) // 2 + 1), as exporters write it."""
    helper, types = onnx.helper, onnx.TensorProto
    make = helper.make_node
    nodes = [
        make("Shape", ["x"], ["d"]),
        make("Gather", ["d", "zero"], ["n"]),
        make("Mul", ["n", "two"], ["n2"]),
        make("Unsqueeze", ["n2", "axes"], ["a"]),
        make("Concat", ["a", "minus"], ["s"], axis=0),
        make("Reshape", ["x", "s"], ["r"]),
        make("Cast", ["n"], ["f"], to=types.FLOAT),
        make("Div", ["r", "f"], ["y"]),
    ]
    given = {"zero": 0, "two": 2, "axes": [0], "minus": [-1]}
    arrays = [onnx.numpy_helper.from_array(np.array(v, np.int64), k) for k, v in given.items()]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", types.FLOAT, ["batch", "width"])],
        [helper.make_tensor_value_info("y", types.FLOAT, None)], initializer=arrays,
    )  # fmt: skip
    model = sn.io.onnx.load(helper.make_model(graph))
    x = sn.placeholder(("batch", 4), name="x")
    y = model(x)
    assert y.shape == (2 * sn.Dim("batch"), 2)
    feed = np.arange(12, dtype="f").reshape(3, 4)
    got = sn.function(x, y, device="numpy")(feed)
    np.testing.assert_allclose(got, feed.reshape(6, 2) / 3, rtol=1e-6)


def test_it_computes_at_once_on_tensors(mlp: Any) -> None:
    import torch

    model = sn.io.onnx.load(exported(mlp, (torch.zeros(2, 4),)))
    x = RNG.normal(size=(2, 4)).astype("f")
    wanted = mlp(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model(sn.dynamic.tensor(x)).numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_a_model_is_copied_pickled_and_frozen(mlp: Any) -> None:
    import torch

    model = sn.io.onnx.load(exported(mlp, (torch.zeros(2, 4),)), trainable=False)
    assert model.parameters() == []
    x = RNG.normal(size=(2, 4)).astype("f")
    wanted = run(model, x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(run(other, x), wanted)


@pytest.mark.parametrize(
    "name", ["QuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul"]
)
def test_integers_of_quantised_models_are_exact(name: str) -> None:
    """The definition, in NumPy's integers; sums beyond what float32 holds among them."""
    make = onnx.helper.make_node
    a = RNG.integers(0, 256, (3, 5000)).astype("u1")
    b = RNG.integers(-128, 128, (5000, 2)).astype("i1")
    za, zb = np.uint8(7), np.int8(-3)
    whole = (a.astype(int) - 7) @ (b.astype(int) + 3)
    backend, one = sn.io.onnx.Backend, np.float32(1)
    if name == "MatMulInteger":
        node = make(name, ["a", "b", "za", "zb"], ["y"])
        (got,) = backend.run_node(node, [a, b, za, zb], "numpy")
        np.testing.assert_array_equal(got, whole)
    elif name == "ConvInteger":
        node = make(name, ["x", "w", "zx", "zw"], ["y"])
        x, w = a[:, :, None], np.ascontiguousarray(b.T)[:, :, None]
        (got,) = backend.run_node(node, [x, w, za, zb], "numpy")
        np.testing.assert_array_equal(got[:, :, 0], whole)
    elif name == "QLinearMatMul":
        node = make(name, ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"], ["y"])
        fed = [a, one, za, b, one, zb, np.float32(2**14), np.uint8(100)]
        (got,) = backend.run_node(node, fed, "numpy")
        wanted = np.clip(np.rint(whole / 2**14) + 100, 0, 255)
        np.testing.assert_array_equal(got, wanted)
    else:
        node = make(name, ["x", "s", "z"], ["y"])
        x = np.float32([-1e9, -1.5, -0.5, 0.5, 1.5, 2.5, 300, np.inf])
        (got,) = backend.run_node(node, [x, one, np.int8(0)], "numpy")
        np.testing.assert_array_equal(got, [-128, -2, 0, 0, 2, 2, 127, 127])


def test_features_are_scaled() -> None:
    """As scikit-learn's StandardScaler is written, of integers too."""
    x = np.array([[1, 2, 3], [4, 5, 7]])
    node = onnx.helper.make_node(
        "Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0, 2.0, 0.5], scale=[2.0, 0.5, 0.1]
    )
    (got,) = sn.io.onnx.Backend.run_node(node, [x], "numpy")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, (x - [1, 2, 0.5]) * [2, 0.5, 0.1], rtol=1e-6)
