"""Models of the neighbours, by their own exporters: the same values here, and back."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn

onnx = pytest.importorskip("onnx", reason="onnx is not installed")


def digits(n: int = 300) -> tuple[Any, Any]:
    """x: [n, 8], y: [n], with a rule that can be learned."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 8)).astype("f")
    return x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int) + (x[:, 3] > 1)


def called(model: Any, x: Any) -> list[Any]:
    """What a model that was read gives for an array, as outputs in order."""
    (node,) = model.placeholders()
    made = model(node)
    outputs = list(made) if isinstance(made, tuple) else [made]
    return [np.asarray(y) for y in sn.function(node, outputs, device="numpy")(x)]


def from_sklearn(estimator: Any, x: Any, **options: Any) -> Any:
    convert = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        return convert.to_onnx(estimator, x[:1], options=options, target_opset=18)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_the_regressor_of_scikit_learn(activation: str, tmp_path: Path) -> None:
    network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    x, y = digits()
    net = network.MLPRegressor(
        hidden_layer_sizes=(12, 7), activation=activation, max_iter=20, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(x, y)
    proto = from_sklearn(net, x)
    got = called(sn.io.onnx.load(proto), x)[0]
    np.testing.assert_allclose(got.reshape(-1), net.predict(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_pipeline_of_scikit_learn() -> None:
    pipeline = pytest.importorskip("sklearn.pipeline", reason="scikit-learn is not installed")
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    x, y = digits()
    net = MLPRegressor(hidden_layer_sizes=(7,), max_iter=20, random_state=0)
    made = pipeline.make_pipeline(StandardScaler(), net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.fit(5 * x + 3, y)
    got = called(sn.io.onnx.load(from_sklearn(made, 5 * x + 3)), 5 * x + 3)[0]
    np.testing.assert_allclose(got.reshape(-1), made.predict(5 * x + 3), rtol=1e-4, atol=1e-4)


def test_the_classifier_of_scikit_learn_and_back(tmp_path: Path) -> None:
    network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    x, y = digits()
    net = network.MLPClassifier((12,), max_iter=30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.fit(x, y)
    model = sn.io.onnx.load(from_sklearn(net, x, zipmap=False))
    labels, chances = called(model, x)
    assert np.mean(labels == net.predict(x)) > 0.99  # what is even may fall to either side
    np.testing.assert_allclose(chances, net.predict_proba(x), rtol=1e-3, atol=1e-5)
    sn.io.onnx.save(tmp_path / "again.onnx", model)
    onnx.checker.check_model(str(tmp_path / "again.onnx"), full_check=True)
    again = called(sn.io.onnx.load(tmp_path / "again.onnx"), x)
    np.testing.assert_array_equal(again[0], labels)
    np.testing.assert_allclose(again[1], chances, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_torch_exports_what_is_read_and_written_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(64, 5), torch.nn.GELU(),
        torch.nn.LayerNorm(5), torch.nn.Softmax(-1),
    ).eval()  # fmt: skip
    x = torch.randn(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), str(tmp_path / "t.onnx"), verbose=False, dynamo=True)
    wanted = net(x).detach().numpy()
    model = sn.io.onnx.load(tmp_path / "t.onnx")
    np.testing.assert_allclose(called(model, x.numpy())[0], wanted, rtol=1e-4, atol=1e-6)
    sn.io.onnx.save(tmp_path / "again.onnx", model)
    again = sn.io.onnx.load(tmp_path / "again.onnx")
    np.testing.assert_allclose(called(again, x.numpy())[0], wanted, rtol=1e-4, atol=1e-6)
    trained = {"0.weight", "5.weight"}
    assert trained <= set(model.state_dict())
    assert trained <= set(again.state_dict())
