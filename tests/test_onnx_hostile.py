"""Files that are damaged or mean harm: an error of the family, soon, and nothing else is read."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import OnnxError, StateError, StaticnetError
from staticnet.io import safetensors

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

FLOAT = TensorProto.FLOAT


def model_of(
    nodes: Any, inputs: Any = None, outputs: Any = ("y",), initializers: Any = (), opset: int = 20,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """A model whose inputs and outputs are float32 [2, 3], unless they are given."""
    inputs = {"x": [2, 3]} if inputs is None else inputs
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(n, FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, None) for n in outputs],
        initializer=list(initializers),
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **kwargs)


def small() -> Any:
    """A model with a product, a branch, a constant and weights."""
    then = helper.make_graph(
        [helper.make_node("Exp", ["h"], ["t"])], "then", [],
        [helper.make_tensor_value_info("t", FLOAT, None)],
    )  # fmt: skip
    other = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["e"])], "other", [],
        [helper.make_tensor_value_info("e", FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Constant", [], ["s"], "c", value_ints=[3, -1]),
        helper.make_node("Reshape", ["x", "s"], ["r"], "reshape"),
        helper.make_node("Gemm", ["r", "w", "b"], ["h"], "gemm", alpha=0.5),
        helper.make_node("ReduceMax", ["h"], ["m"], "max", keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["p"], "greater"),
        helper.make_node("If", ["p"], ["k"], "if", then_branch=then, else_branch=other),
        helper.make_node("Softmax", ["k"], ["y"], "softmax"),
    ]
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(2, 4)), "b": np.zeros(4), "zero": np.zeros(())}
    weights = [numpy_helper.from_array(v.astype("f"), k) for k, v in arrays.items()]
    return model_of(nodes, initializers=weights)


def outcome(data: bytes) -> Any:
    """What a file's model gives for declared inputs, or the error of the family."""
    try:
        model = sn.io.onnx.load(data)
        return model(*model.placeholders())
    except StaticnetError as error:
        return error


def test_the_model_itself_runs() -> None:
    model = sn.io.onnx.load(small().SerializeToString())
    x = sn.placeholder((2, 3), name="x")
    assert sn.function(x, model(x), device="numpy")(np.ones((2, 3), "f")).shape == (3, 4)


def test_every_truncation_is_an_error() -> None:
    data = small().SerializeToString()
    for length in range(len(data)):
        found = outcome(data[:length])
        assert isinstance(found, StaticnetError), length


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut out, doubled, or put elsewhere."""
    array = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(array)))
        kind, length = int(rng.integers(4)), int(rng.integers(1, 9))
        if kind == 0:
            array[at] = int(rng.integers(256))
        elif kind == 1 and len(array) > length:
            del array[at : at + length]
        elif kind == 2:
            array[at:at] = array[at : at + length]
        else:
            array[at : at + length] = rng.bytes(length)
    return bytes(array)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 40))]
)
def test_mutated_models_are_read_or_refused(seed: int) -> None:
    """250 files a seed: nothing but an error of the family leaves a load or a call."""
    data, rng = small().SerializeToString(), np.random.default_rng(seed)
    for _ in range(250):
        outcome(mutated(data, rng))


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 10))]
)
def test_mutated_safetensors_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    file, rng = tmp_path / "w", np.random.default_rng(seed)
    safetensors.save(file, {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros(4, "i1")}, {"k": "v"})
    data = file.read_bytes()
    for _ in range(1000):
        file.write_bytes(mutated(data, rng))
        with suppress(StateError):
            safetensors.load(file)


def node(op: str, *names: str, out: str = "y", **attributes: Any) -> Any:
    return helper.make_node(op, list(names), [out], f"the_{op.lower()}", **attributes)


def weight(name: str = "w", dims: Any = (2, 3), **fields: Any) -> Any:
    """An initializer of float32 with fields of its own."""
    tensor = numpy_helper.from_array(np.zeros((2, 3), "f"), name)
    del tensor.dims[:]
    tensor.dims.extend(dims)
    for key, value in fields.items():
        setattr(tensor, key, value)
    return tensor


def ints(name: str, values: Any) -> Any:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def declared(dim: int) -> Any:
    model = model_of([node("Relu", "x")])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = dim
    return model


STRUCTURES: dict[str, tuple[Callable[[], Any], str]] = {
    "a circle": (
        lambda: model_of([node("Relu", "y", out="a"), node("Relu", "a")]),
        "the_relu.*circle",
    ),
    "a node of itself": (lambda: model_of([node("Relu", "y")]), "the_relu.*circle"),
    "a missing value": (lambda: model_of([node("Relu", "none")]), "the_relu.*'none'"),
    "a missing output": (lambda: model_of([node("Relu", "x", out="z")]), "output 'y'"),
    "a doubled output": (lambda: model_of([node("Relu", "x"), node("Exp", "x")]), "the_exp.*'y'"),
    "a doubled initializer": (
        lambda: model_of([node("Add", "x", "w")], initializers=[weight(), weight()]),
        "two initializers 'w'",
    ),
    "an unknown operator": (lambda: model_of([node("Frobnicate", "x")]), "the_frobnicate"),
    "an unknown domain": (
        lambda: model_of([helper.make_node("Relu", ["x"], ["y"], "n", domain="a.b")]), "'n'.*'a.b'",
    ),
    "an opset to come": (lambda: model_of([node("Relu", "x")], opset=9999), "opset 9999"),
    "opset 0": (lambda: model_of([node("Relu", "x")], opset=0), "opset 0"),
    "too many operands": (lambda: model_of([node("Relu", "x", "x")]), "the_relu.*operands"),
    "too few operands": (lambda: model_of([node("Add", "x")]), "the_add.*operands"),
    "a dim of -1": (
        lambda: model_of([node("Add", "x", "w")], initializers=[weight(dims=(-1, 3))]), "'w'.*-1",
    ),
    "a dim of 2**62": (
        lambda: model_of([node("Add", "x", "w")], initializers=[weight(dims=(2**62, 3))]), "'w'",
    ),
    "a product of dims": (
        lambda: model_of([node("Add", "x", "w")], initializers=[weight(dims=(2**32,) * 4)]), "'w'",
    ),
    "too few bytes": (
        lambda: model_of([node("Add", "x", "w")], initializers=[weight(dims=(2, 4))]), "'w'.*bytes",
    ),
    "too many bytes": (
        lambda: model_of([node("Add", "x", "w")], initializers=[weight(dims=(2,))]), "'w'.*bytes",
    ),
    "an unknown dtype": (
        lambda: model_of([node("Add", "x", "w")], initializers=[weight(data_type=77)]), "'w'.*77",
    ),
    "a declared dim of -2**62": (lambda: declared(-(2**62)), "'x'"),
    "a wrong dtype": (
        lambda: model_of([node("Add", "x", "w")], initializers=[ints("w", [[1, 2, 3]])]), "the_add",
    ),
    "a wrong attribute": (
        lambda: model_of([node("Concat", "x", "x", axis="one")]), "the_concat.*axis",
    ),
    "an axis out of range": (lambda: model_of([node("Concat", "x", "x", axis=7)]), "the_concat"),
    "shapes that differ": (
        lambda: model_of([node("MatMul", "x", "w")], initializers=[weight()]), "the_matmul",
    ),
    "a shape of an input": (
        lambda: model_of([node("NonZero", "x")]), "the_nonzero.*'x'",
    ),
    "a huge reshape": (
        lambda: model_of([node("Reshape", "x", "s")], initializers=[ints("s", [2**40, 2**40])]),
        "the_reshape",
    ),
    "a huge fill": (
        lambda: model_of([node("ConstantOfShape", "s")], initializers=[ints("s", [2**40, 2**40])]),
        "the_constantofshape",
    ),
    "a huge reflection": (
        lambda: model_of(
            [node("Pad", "x", "s", mode="reflect")], initializers=[ints("s", [0, 2**40, 0, 0])]
        ),
        "the_pad",
    ),
    "a huge resize": (
        lambda: model_of(
            [node("Resize", "x", "", "", "s", mode="linear")],
            initializers=[ints("s", [2**40, 3])],
        ),
        "the_resize",
    ),
    "a huge split": (
        lambda: model_of([node("Split", "x", num_outputs=2**40)]), "the_split",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURES)
def test_what_does_not_fit_is_named(name: str) -> None:
    make, message = STRUCTURES[name]
    data = make().SerializeToString()
    tracemalloc.start()
    found = outcome(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, OnnxError), found
    with pytest.raises(OnnxError, match=f"(?s){message}"):
        raise found
    assert peak < 100 << 20


def test_numbers_that_grow_with_each_node_are_given_up() -> None:
    """A dim squared again and again has a polynomial as long as a universe."""
    nodes = [node("Shape", "x", out="s0")]
    nodes += [node("Mul", f"s{i}", f"s{i}", out=f"s{i + 1}") for i in range(60)]
    nodes += [node("ConstantOfShape", "s60")]
    assert isinstance(outcome(model_of(nodes, {"x": ["n"]}).SerializeToString()), OnnxError)


def test_functions_that_call_themselves_or_grow() -> None:
    opset = [helper.make_opsetid("", 20), helper.make_opsetid("f", 1)]

    def function(name: str, *calls: str) -> Any:
        names = ["a", *(f"t{i}" for i in range(len(calls) - 1)), "b"]
        nodes = [
            helper.make_node(c, [names[i]], [names[i + 1]], domain="" if c == "Relu" else "f")
            for i, c in enumerate(calls)
        ]
        return helper.make_function("f", name, ["a"], ["b"], nodes, opset)

    def outcome_of(*functions: Any) -> Any:
        graph = model_of([helper.make_node("F0", ["x"], ["y"], domain="f")]).graph
        return outcome(
            helper.make_model(graph, functions=functions, opset_imports=opset).SerializeToString()
        )

    assert "calls itself" in str(outcome_of(function("F0", "F1"), function("F1", "F0")))
    grown = [function(f"F{i}", *[f"F{i + 1}"] * 10) for i in range(9)]
    assert "too much" in str(outcome_of(*grown, function("F9", "Relu")))
    chain = [function(f"F{i}", f"F{i + 1}") for i in range(500)]
    assert "too much" in str(outcome_of(*chain, function("F500", "Relu")))
    assert outcome_of(function("F0", "Relu", "Relu")).shape == (2, 3)


@pytest.mark.slow
def test_a_chain_of_100000_nodes() -> None:
    """It is built; a circle as long is refused."""
    names = ["x", *(f"t{i}" for i in range(100_000)), "y"]
    nodes = [helper.make_node("Neg", [a], [b]) for a, b in itertools.pairwise(names)]
    assert outcome(model_of(nodes).SerializeToString()).shape == (2, 3)
    nodes[0].input[0] = "y"
    assert "circle" in str(outcome(model_of(nodes).SerializeToString()))


class TestExternalData:
    """It lies in the model's folder, or is not read."""

    def saved(self, folder: Path, location: str, **entries: Any) -> Path:
        folder.mkdir(exist_ok=True)
        tensor = weight()
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=str(value))
        model = model_of([node("Add", "x", "w")], initializers=[tensor])
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        return folder / "model.onnx"

    def test_data_beside_the_model(self, tmp_path: Path) -> None:
        file = self.saved(tmp_path / "m", "data/w.bin", offset=4, length=24)
        (tmp_path / "m" / "data").mkdir()
        values = np.arange(7, dtype="<f4")
        (tmp_path / "m" / "data" / "w.bin").write_bytes(values.tobytes())
        model = sn.io.onnx.load(file)
        np.testing.assert_array_equal(model.state_dict()["w"].ravel(), values[1:])

    @pytest.mark.parametrize(
        "location",
        ["../secret", "a/../../secret", "/etc/hostname", "", "C:\\secret", "..\\secret", "."],
    )
    def test_paths_that_lead_elsewhere(self, location: str, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(bytes(24))
        file = self.saved(tmp_path / "m", location)
        with pytest.raises(OnnxError, match="'w'"):
            sn.io.onnx.load(file)

    @pytest.mark.parametrize("is_folder", [False, True])
    def test_symbolic_links(self, is_folder: bool, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "w.bin").write_bytes(bytes(24))
        file = self.saved(tmp_path / "m", "d/w.bin" if is_folder else "w.bin")
        source = tmp_path / "outside"
        os.symlink(source if is_folder else source / "w.bin",
                   tmp_path / "m" / ("d" if is_folder else "w.bin"))  # fmt: skip
        with pytest.raises(OnnxError, match="'w'.*symbolic link"):
            sn.io.onnx.load(file)

    @pytest.mark.parametrize(
        "entries",
        [{"offset": 1}, {"length": 25}, {"offset": -1}, {"offset": "x"}, {"length": 2**62}],
    )
    def test_bytes_that_are_not_there(self, entries: dict[str, Any], tmp_path: Path) -> None:
        file = self.saved(tmp_path / "m", "w.bin", **entries)
        (tmp_path / "m" / "w.bin").write_bytes(bytes(24))
        with pytest.raises(OnnxError, match="'w'"):
            sn.io.onnx.load(file)

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        file = self.saved(tmp_path / "m", "pipe")
        os.mkfifo(tmp_path / "m" / "pipe")
        with pytest.raises(OnnxError, match="'w'"):
            sn.io.onnx.load(file)
        with pytest.raises(OSError):  # noqa: PT011
            sn.io.onnx.load(tmp_path / "none.onnx")
        with pytest.raises((OSError, OnnxError)):
            sn.io.onnx.load(tmp_path)
        with pytest.raises(OnnxError, match="folder"):
            sn.io.onnx.load(file.read_bytes())
