"""Operators whose operands became attributes, or the reverse, in opsets 7 to the newest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn

onnx = pytest.importorskip("onnx")
X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("f")
I64 = np.int64


def ints(*values: int) -> Any:
    return np.array(values, I64)


def softmax(x: Any, axes: Any) -> Any:
    e = np.exp(x - x.max(axes, keepdims=True))
    return e / e.sum(axes, keepdims=True)


STATISTICS = np.array([[1, 2, 3], [0, 1, 0], [1, 0, 0], [4, 1, 1]], "f")
NORMALIZED = (X - STATISTICS[2][:, None]) / np.sqrt(STATISTICS[3])[:, None]
NORMALIZED = NORMALIZED * STATISTICS[0][:, None] + STATISTICS[1][:, None]

# name, opsets, operands, attributes, what it is by its definition
CASES: list[tuple[str, tuple[int, ...], list[Any], dict[str, Any], Any]] = [
    ("Softmax", (7, 11), [X], {}, softmax(X, (1, 2))),
    ("Softmax", (7, 12), [X], {"axis": 2}, softmax(X, 2)),
    ("Softmax", (13, 20), [X], {}, softmax(X, 2)),
    ("LogSoftmax", (8, 11), [X], {}, np.log(softmax(X, (1, 2)))),
    ("Hardmax", (13,), [X[:, :, 0]], {}, (X[:, :, 0] == X[:, :, 0].max(1, keepdims=True)) * 1.0),
    ("Clip", (7, 10), [X], {"min": -0.5, "max": 0.25}, np.clip(X, -0.5, 0.25)),
    ("Clip", (7, 10), [X], {"max": 0.25}, np.minimum(X, 0.25)),
    ("Clip", (11, 13), [X, np.float32(-0.5), np.float32(0.25)], {}, np.clip(X, -0.5, 0.25)),
    ("Clip", (12,), [X, None, np.float32(0.25)], {}, np.minimum(X, 0.25)),
    ("Slice", (7, 9), [X], {"starts": [1, -3], "ends": [9, 2**63 - 1], "axes": [2, 1]},
     X[:, :, 1:]),
    ("Slice", (10, 13), [X, ints(-1), ints(-9), ints(1), ints(-2)], {}, X[:, ::-2]),
    ("Pad", (7, 10), [X], {"pads": [0, 1, 0, 0, 0, 2], "value": 2.0},
     np.pad(X, ((0, 0), (1, 0), (0, 2)), constant_values=2)),
    ("Pad", (11, 13), [X, ints(0, 1, 0, 0, 0, -2), np.float32(2)], {},
     np.pad(X[:, :, :2], ((0, 0), (1, 0), (0, 0)), constant_values=2)),
    ("Pad", (18, 19), [X, ints(1, 2), None, ints(-1)], {"mode": "reflect"},
     np.pad(X, ((0, 0), (0, 0), (1, 2)), "reflect")),
    ("Squeeze", (7, 11), [X[:1]], {"axes": [0]}, X[0]),
    ("Squeeze", (13, 21), [X[:1], ints(-3)], {}, X[0]),
    ("Unsqueeze", (7, 11), [X], {"axes": [0, 2]}, X[None, :, None]),
    ("Unsqueeze", (13, 21), [X, ints(-1)], {}, X[..., None]),
    ("ReduceSum", (7, 11), [X], {"axes": [1], "keepdims": 0}, X.sum(1)),
    ("ReduceSum", (13, 18), [X, ints(1)], {}, X.sum(1, keepdims=True)),
    ("ReduceSum", (13,), [X], {"noop_with_empty_axes": 1}, X),
    ("ReduceMean", (7, 13), [X], {"axes": [-1]}, X.mean(-1, keepdims=True)),
    ("ReduceMean", (18, 20), [X, ints(0, 2)], {"keepdims": 0}, X.mean((0, 2))),
    ("ReduceMax", (11,), [X], {"keepdims": 0}, X.max()),
    ("ReduceL2", (18,), [X, ints(1)], {"keepdims": 0}, np.sqrt((X**2).sum(1))),
    ("Split", (7, 11), [X], {"axis": 2, "split": [1, 3]}, [X[..., :1], X[..., 1:]]),
    ("Split", (13, 18), [X, ints(3, 1)], {"axis": -1}, [X[..., :3], X[..., 3:]]),
    ("Split", (18,), [X], {"axis": 1, "num_outputs": 2}, [X[:, :2], X[:, 2:]]),
    ("TopK", (7, 9), [X], {"k": 2}, [np.sort(X)[..., ::-1][..., :2],
                                     np.argsort(-X, kind="stable")[..., :2]]),
    ("TopK", (10, 11, 24), [X, ints(1)], {"axis": 1}, [X.max(1, keepdims=True),
                                                       X.argmax(1)[:, None]]),
    ("TopK", (11,), [X, ints(1)], {"axis": 1, "largest": 0}, [X.min(1, keepdims=True),
                                                              X.argmin(1)[:, None]]),
    ("Upsample", (7, 8), [X[None]], {"scales": [1.0, 1.0, 2.0, 1.0]}, X[None].repeat(2, 2)),
    ("Upsample", (9,), [X[None], np.float32([1, 1, 1, 3])], {}, X[None].repeat(3, 3)),
    ("Resize", (10,), [X[None], np.float32([1, 1, 2, 1])], {}, X[None].repeat(2, 2)),
    ("Resize", (11, 13), [X[None], np.zeros(0, "f"), np.float32([1, 1, 1, 2])], {},
     X[None].repeat(2, 3)),
    ("Resize", (18, 19), [X[None], None, None, ints(6)], {"axes": [2]}, X[None].repeat(2, 2)),
    ("Dropout", (7, 10), [X], {"ratio": 0.25}, X),
    ("Dropout", (12, 22), [X, np.float32(0.25)], {}, X),
    ("BatchNormalization", (7, 9, 14, 15), [X, *STATISTICS], {"epsilon": 0.0}, NORMALIZED),
    ("Gemm", (7, 9, 11, 13), [X[0], X[0], np.float32(1)], {"transB": 1, "alpha": 0.5},
     0.5 * X[0] @ X[0].T + 1),
    ("Scatter", (9, 10), [X[0], ints(1, 0)[:, None], np.float32([[7], [8]])], {"axis": 1}, None),
    ("ScatterElements", (11, 18), [X[0], ints(1, 0)[:, None], np.float32([[7], [8]])], {"axis": 1},
     None),
    ("CumSum", (11, 14), [X, I64(1)], {"exclusive": 1}, X.cumsum(1) - X),
    ("Div", (7, 13), [ints(-7, 7), ints(2, -2)], {}, ints(-3, -3)),
    ("Mod", (10, 13), [ints(-7, 7), ints(3, -3)], {}, ints(2, -2)),
    ("Mod", (13,), [X, X[::-1]], {"fmod": 1}, np.fmod(X, X[::-1])),
    ("Pow", (7, 12), [X, np.float32(2)], {}, X**2),
    ("Equal", (7, 13), [ints(1, 2), ints(1, 3)], {}, np.array([True, False])),
    ("Flatten", (7, 13), [X], {"axis": 2}, X.reshape(6, 4)),
    ("Shape", (7, 13), [X], {}, ints(2, 3, 4)),
    ("Shape", (15, 21), [X], {"start": 1, "end": -1}, ints(3)),
    ("MaxPool", (7, 8, 12), [X], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]},
     np.stack([X[..., :2].max(-1), X[..., 1:4].max(-1)], -1)),
    ("AveragePool", (7, 10, 19), [X], {"kernel_shape": [2], "pads": [1, 0]},
     np.stack([X[..., 0], *((X[..., i] + X[..., i + 1]) / 2 for i in range(3))], -1)),
    ("OneHot", (9, 11), [ints(1, -1), I64(3), np.float32([0, 5])], {}, 5 * np.eye(3)[[1, 2]]),
    ("Expand", (8, 13), [X[:, :1], ints(3, 1)], {}, X[:, :1].repeat(3, 1)),
    ("Reshape", (7, 13), [X, ints(0, -1)], {}, X.reshape(2, 12)),
    ("GatherND", (12, 13), [X, ints(1, 0)[:, None]], {"batch_dims": 1}, X[[0, 1], [1, 0]]),
    ("Celu", (12,), [X], {"alpha": 2.0}, np.where(X > 0, X, 2 * np.expm1(X / 2))),
    ("Trilu", (14,), [X, I64(-1)], {"upper": 0}, np.tril(X, -1)),
]  # fmt: skip


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_an_operator_of_each_opset(number: int) -> None:
    name, opsets, operands, attributes, wanted = CASES[number]
    if wanted is None:
        wanted = X[0].copy()
        wanted[[0, 1], [1, 0]] = 7, 8
    wanted = wanted if isinstance(wanted, list) else [wanted]
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(operands)]
    outputs = [f"y{i}" for i in range(len(wanted))]
    node = onnx.helper.make_node(name, names, outputs, **attributes)
    given = [np.asarray(x) for x in operands if x is not None]
    for opset in opsets:
        got = sn.io.onnx.Backend.run_node(node, given, "numpy", opset_version=opset)
        for own, value in zip(got, wanted, strict=True):
            np.testing.assert_allclose(own, value, rtol=1e-5, atol=1e-6, err_msg=f"opset {opset}")
