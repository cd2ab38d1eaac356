"""What of a file's floats trains: what its exporter tells, where they go, names, or a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError

onnx = pytest.importorskip("onnx")
make = onnx.helper.make_node
KEY = "pkg.torch.export.graph_signature.InputSpec.kind"
HEAD = {"w": (3, 4), "b": (4,), "/grid": (2, 4), "/scale": (1,)}
"""y = ((x w + b) scale) + grid: no name but those of w and b is a module's."""


def head() -> list[Any]:
    return [
        make("MatMul", ["x", "w"], ["0"]), make("Add", ["0", "b"], ["1"]),
        make("Mul", ["1", "/scale"], ["2"]), make("Add", ["2", "/grid"], ["y"]),
    ]  # fmt: skip


def model_of(
    nodes: Any, dims: dict[str, Any], kinds: dict[str, str] | None = None, x: Any = (2, 3),
    functions: Any = (),
) -> Any:  # fmt: skip
    """A model of nodes, whose initialisers have these dims, and those kinds if they are told."""
    rng, helper = np.random.default_rng(0), onnx.helper
    arrays = [
        onnx.numpy_helper.from_array(np.float32(rng.normal(size=d)), name)
        for name, d in dims.items()
    ]
    told = []
    for name, kind in (kinds or {}).items():
        told.append(helper.make_tensor_value_info(name, 1, dims[name]))
        told[-1].metadata_props.add(key=KEY, value=kind)
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, x)],
        [helper.make_tensor_value_info("y", 1, None)], initializer=arrays, value_info=told,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 16), helper.make_opsetid("f", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions)


def trained(source: Any, **kwargs: Any) -> set[str]:
    """The names of what trains."""
    return {name for name, _ in sn.io.onnx.load(source, **kwargs).named_parameters()}


def renamed(nodes: Any, dims: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The same with names that say nothing."""
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = f"onnx::{name}" if name in dims else name
    return nodes, {f"onnx::{name}": d for name, d in dims.items()}


def test_constants_of_arithmetic_do_not_train() -> None:
    model = sn.io.onnx.load(model_of(head(), HEAD))
    assert {name for name, _ in model.named_parameters()} == {"w", "b"}
    assert set(model.state_dict()) == set(HEAD)
    assert "weights: 2 trained, 2 constant" in repr(model)
    model.requires_grad_(False)
    assert "weights: 2 frozen, 2 constant" in repr(model)
    model.requires_grad_()
    x = sn.placeholder((2, 3), name="x")
    loss = sn.sum(model(x))
    before = model.state_dict()
    step = sn.function(x, loss, updates=sn.optim.SGD(lr=0.1).minimize(loss), device="numpy")
    step(np.ones((2, 3), "f"))
    moved = {name for name, a in model.state_dict().items() if (a != before[name]).any()}
    assert moved == {"w", "b"}
    assert trained(model_of(*renamed(head(), HEAD))) == {"onnx::w", "onnx::b"}


def test_names_as_modules_give_them_train_where_nothing_is_told() -> None:
    names = ["blocks.0.gamma", "pos_embed", "val_7", "const_fold_1", "9", "/a/b", "pixel.mean"]
    nodes = [make("Mul", [f"t{i}", name], [f"t{i + 1}"]) for i, name in enumerate(names)]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    dims = dict.fromkeys(names, (2, 3))
    assert trained(model_of(nodes, dims)) == {"blocks.0.gamma", "pos_embed", "pixel.mean"}
    told = {"blocks.0.gamma": "PARAMETER", "pixel.mean": "BUFFER"}
    assert trained(model_of(nodes, dims, told)) == {"blocks.0.gamma"}


def test_a_parameter_trains_through_the_curve_that_keeps_it_in_range() -> None:
    """As Swin's `exp(clip(logit_scale))` and gates `tanh(gate)` are."""
    nodes = [
        make("Clip", ["attn.logit_scale", "", "most"], ["c"]), make("Exp", ["c"], ["e"]),
        make("Mul", ["x", "e"], ["0"]), make("Tanh", ["gate"], ["t"]),
        make("Mul", ["0", "t"], ["1"]),
        make("Exp", ["/grid"], ["g"]), make("Add", ["1", "g"], ["y"]),
    ]  # fmt: skip
    model = model_of(nodes, {"attn.logit_scale": (2, 3), "gate": (3,), "/grid": (2, 3)})
    most = onnx.numpy_helper.from_array(np.array(4.6, "f"), "most")
    model.graph.initializer.append(most)
    assert trained(model) == {"attn.logit_scale", "gate"}


def test_an_exporter_that_tells_is_believed() -> None:
    dims = {**HEAD, "temperature": ()}
    nodes = [*head()[:-1], make("Mul", ["2", "temperature"], ["3"]), make("Add", ["3", "/grid"], ["y"])]  # noqa: E501 # fmt: skip
    told = {"w": "BUFFER", "b": "PARAMETER", "temperature": "PARAMETER", "/grid": "CONSTANT"}
    model = sn.io.onnx.load(model_of(nodes, dims, told))
    assert {name for name, _ in model.named_parameters()} == {"b", "temperature"}
    assert {name for name, _ in model.named_buffers()} == {"w", "/grid", "/scale"}


def lstm() -> tuple[list[Any], dict[str, Any]]:
    return [make("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y"], hidden_size=2)], {
        "w": (1, 8, 3), "r": (1, 8, 2), "b": (1, 16), "h": (1, 2, 2), "c": (1, 2, 2),
    }  # fmt: skip


def layer_norm() -> tuple[list[Any], dict[str, Any]]:
    """As exporters write it before there was an operator."""
    return [
        make("ReduceMean", ["x"], ["m"], axes=[-1]), make("Sub", ["x", "m"], ["d"]),
        make("Mul", ["d", "d"], ["s"]), make("ReduceMean", ["s"], ["v"], axes=[-1]),
        make("Add", ["v", "eps"], ["e"]), make("Sqrt", ["e"], ["r"]),
        make("Div", ["d", "r"], ["u"]),
        make("Mul", ["u", "g"], ["p"]), make("Add", ["p", "b"], ["q"]),
        make("Mul", ["q", "grid"], ["y"]),
    ], {"eps": (1,), "g": (3,), "b": (3,), "grid": (2, 3)}  # fmt: skip


def linear_moved() -> tuple[list[Any], dict[str, Any]]:
    """y = reshape(x wᵀ) + b, the weight cast and turned first, and half of it joined."""
    return [
        make("Concat", ["w1", "w2"], ["w"], axis=0), make("Identity", ["w"], ["i"]),
        make("Transpose", ["i"], ["t"]), make("MatMul", ["x", "t"], ["0"]),
        make("Unsqueeze", ["0", "axes"], ["1"]), make("Add", ["b", "1"], ["2"]),
        make("Add", ["2", "table"], ["y"]),
    ], {"w1": (2, 3), "w2": (3, 3), "b": (5,), "table": (1, 2, 5)}  # fmt: skip


def linear_dropped() -> tuple[list[Any], dict[str, Any]]:
    """y = x dropout(w) + (b, b): of a model that was exported in training."""
    return [
        make("Dropout", ["w"], ["d", "mask"]), make("MatMul", ["x", "d"], ["0"]),
        make("Tile", ["b", "twice"], ["t"]), make("Add", ["0", "t"], ["1"]),
        make("Mul", ["1", "scale"], ["y"]),
    ], {"w": (3, 4), "b": (2,), "scale": (1,)}  # fmt: skip


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (lstm, {"w", "r", "b"}),
        (layer_norm, {"g", "b"}),
        (linear_moved, {"w1", "w2", "b"}),
        (linear_dropped, {"w", "b"}),
    ],
)
def test_weights_without_names_are_known_by_their_place(made: Any, wanted: set[str]) -> None:
    nodes, dims = renamed(*made())
    counts = [
        onnx.numpy_helper.from_array(np.array([i]), n) for i, n in ((0, "axes"), (2, "twice"))
    ]
    model = model_of(nodes, dims, x=(2, 2, 3) if made is lstm else (2, 3))
    model.graph.initializer.extend(counts)
    assert trained(model) == {f"onnx::{name}" for name in wanted}
    loaded = sn.io.onnx.load(model)
    assert loaded(*loaded.placeholders()) is not None


def test_weights_of_functions_and_of_scans() -> None:
    function = onnx.helper.make_function(
        "f", "Linear", ["a", "k", "c", "s"], ["z"],
        [make("MatMul", ["a", "k"], ["0"]), make("Add", ["0", "c"], ["1"]),
         make("Mul", ["1", "s"], ["z"])],
        [onnx.helper.make_opsetid("", 16)],
    )  # fmt: skip
    body = onnx.helper.make_graph(
        [make("MatMul", ["h", "k"], ["n"]), make("MatMul", ["n", "//q"], ["o"])], "body",
        [onnx.helper.make_tensor_value_info(n, 1, d) for n, d in (("h", (2, 4)), ("k", (4, 4)))],
        [onnx.helper.make_tensor_value_info("o", 1, (2, 4))],
    )  # fmt: skip
    nodes = [
        make("Linear", ["x", "//w", "//b", "//s"], ["h0"], domain="f"),
        make("Scan", ["h0", "//stack"], ["y"], num_scan_inputs=1, body=body),
    ]
    dims = {"//w": (3, 4), "//b": (4,), "//s": (1,), "//stack": (5, 4, 4), "//q": (4, 4)}
    model = model_of(nodes, dims, functions=[function])
    assert trained(model) == {"//w", "//b", "//stack", "//q"}


def test_the_caller_says_what_trains() -> None:
    model = model_of(head(), HEAD)
    assert trained(model, trainable=False) == set()
    assert trained(model, trainable=["/grid", "b"]) == {"/grid", "b"}
    assert trained(model, trainable=lambda name: "/" in name) == {"/grid", "/scale"}
    frozen = sn.io.onnx.load(model, trainable=["b"])
    assert "weights: 1 trained, 1 frozen, 2 constant" in repr(frozen)
    with pytest.raises(ArgumentError, match="no floating initialiser 'c'"):
        sn.io.onnx.load(model, trainable=["c"])
    for wrong in ("w", 3, [["w"]], [3]):
        with pytest.raises(ArgumentError, match="trainable must (be|hold)"):
            sn.io.onnx.load(model, trainable=wrong)  # type: ignore[arg-type]
    dims = {"s": (3,), "b": (3,), "m": (3,), "v": (3,)}
    norm = model_of([make("BatchNormalization", ["x", *dims], ["y"])], dims)
    assert trained(norm) == {"s", "b"}
    assert trained(norm, trainable=lambda name: True) == {"s", "b"}
    with pytest.raises(ArgumentError, match="'m' is a running statistic"):
        sn.io.onnx.load(norm, trainable=["m"])


def test_what_is_saved_tells(tmp_path: Path) -> None:
    """Constants stay so where a weight could stand, and names need say nothing."""
    x = sn.placeholder((2, 3), name="x")
    w = sn.variable(np.ones((3, 4), "f"), "layer.w")
    mean = sn.variable(np.ones((3, 4), "f"), "layer.mean", trainable=False)
    fixed = np.float32(np.random.default_rng(0).normal(size=(4, 400)))
    y = sn.matmul(sn.matmul(x, w) + sn.matmul(x, mean), fixed)
    sn.io.onnx.save(tmp_path / "m.onnx", sn.function(x, y, device="numpy"))
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    model = sn.io.onnx.load(tmp_path / "m.onnx")
    assert {name for name, _ in model.named_parameters()} == {"layer.w"}
    assert len(model.named_buffers()) == 2


def test_a_loop_that_ends_by_a_condition_trains_where_its_steps_are_bounded() -> None:
    """h is doubled by w until it is 8: of 1, three times; more steps are allowed."""
    helper = onnx.helper
    body = helper.make_graph(
        [make("Mul", ["h", "w"], ["n"]), make("ReduceMax", ["n"], ["m"], keepdims=0),
         make("Less", ["m", "most"], ["on"])], "body",
        [helper.make_tensor_value_info("i", 7, ()), helper.make_tensor_value_info("c", 9, ()),
         helper.make_tensor_value_info("h", 1, (2,))],
        [helper.make_tensor_value_info("on", 9, ()), helper.make_tensor_value_info("n", 1, (2,))],
    )  # fmt: skip
    graph = model_of([make("Loop", ["trips", "go", "x"], ["y"], body=body)], {"w": (1,)}, x=(2,))
    given = {"trips": np.array(9), "go": np.array(True), "most": np.float32(7.5)}
    graph.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in given.items())
    model = sn.io.onnx.load(graph, trainable=["w"])
    model.load_state_dict({"w": np.float32([2])})
    x = sn.placeholder((2,), name="x")
    feed = np.float32([1, 0.5])
    assert sn.function(x, model(x), device="numpy")(feed).tolist() == [8, 4]
    model.train()
    y = model(x)
    f = sn.function(x, [y, sn.grad(sn.sum(y), model.parameters())[0]], device="numpy")
    value, slope = f(feed)
    assert value.tolist() == [8, 4]
    assert slope.tolist() == [3 * 4 * 1.5]


def function_of(inputs: list[str], outputs: list[str], nodes: Any) -> Any:
    """The function `Own` of the domain f."""
    opset = [onnx.helper.make_opsetid("", 16)]
    return onnx.helper.make_function("f", "Own", inputs, outputs, nodes, opset)


def branch(nodes: Any) -> Any:
    """A graph of nodes that gives r."""
    return onnx.helper.make_graph(nodes, "branch", [], [value("r", None)])


def value(name: str, dims: Any, kind: int = 1) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, dims)


def test_a_mask_that_is_added_to_scaled_scores_is_no_parameter() -> None:
    """softmax(x w / √d + mask): d is a constant, or of a shape, or made of one in a function."""
    nodes = [
        make("MatMul", ["x", "w"], ["s"]), make("Sqrt", ["/d"], ["r"]),
        make("Div", ["s", "r"], ["q"]), make("Add", ["q", "/mask"], ["a"]),
        make("Softmax", ["a"], ["y"]),
    ]  # fmt: skip
    dims = {"w": (3, 4), "/d": (), "/mask": (1, 4)}
    assert trained(model_of(nodes, dims)) == {"w"}
    of_shape = [make("Shape", ["x"], ["n"]), make("Cast", ["n"], ["/d"], to=1),
                make("ReduceMax", ["/d"], ["m"], keepdims=0)]  # fmt: skip
    nodes[1].input[0] = "m"
    del dims["/d"]
    assert trained(model_of([*of_shape, *nodes], dims)) == {"w"}
    own = function_of(["a", "k", "d", "c"], ["z"], [
        make("MatMul", ["a", "k"], ["s"]), make("Sqrt", ["d"], ["r"]),
        make("Div", ["s", "r"], ["q"]), make("Add", ["q", "c"], ["z"]),
    ])  # fmt: skip
    call = make("Own", ["x", "w", "/d", "/mask"], ["y"], domain="f")
    assert trained(model_of([call], {**dims, "/d": ()}, functions=[own])) == {"w"}


def statistics_inside(where: str) -> Any:
    """A batch norm of s, b, m, v somewhere in a model."""
    dims = dict.fromkeys("sbmv", (3,))
    norm = make("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])
    if where == "function":
        own = function_of(["a", "c", "e", "g", "i"], ["z"], [
            make("Identity", ["g"], ["j"]),
            make("BatchNormalization", ["a", "c", "e", "j", "i"], ["z"]),
        ])  # fmt: skip
        return model_of([make("Own", ["x", *"sbmv"], ["y"], domain="f")], dims, functions=[own])
    if where == "moved":
        norm.input[3], norm.input[4] = "i", "j"
        taken = [make("Identity", ["m"], ["i"]), make("Reshape", ["v", "three"], ["j"])]
        model = model_of([*taken, norm], dims)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([3]), "three"))
        return model
    if where == "told":
        return model_of([norm], dims, dict.fromkeys(dims, "PARAMETER"))
    if where == "shared":
        return model_of([make("Mul", ["x", "m"], ["h"]), make("Add", ["h", "v"], ["k"]),
                         make("BatchNormalization", ["k", *"sbmv"], ["y"])], dims)  # fmt: skip
    given = {"on": np.array(True), "trips": np.array(2)}
    norm.output[0] = "r"
    if where == "branch":
        node = make("If", ["on"], ["y"], then_branch=branch([norm]),
                    else_branch=branch([make("Relu", ["x"], ["r"])]))  # fmt: skip
    else:
        norm.input[0], norm.input[3] = "h", "n"
        body = onnx.helper.make_graph(
            [norm, make("Identity", ["n"], ["o"]), make("Identity", ["c"], ["d"])], "body",
            [value("i", (), 7), value("c", (), 9), value("h", (2, 3)), value("n", (3,))],
            [value("d", (), 9), value("r", (2, 3)), value("o", (3,))],
        )  # fmt: skip
        node = make("Loop", ["trips", "on", "x", "m"], ["y", "last"], body=body)
    model = model_of([node], dims)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in given.items())
    return model


@pytest.mark.parametrize("where", ["function", "moved", "told", "shared", "branch", "loop"])
def test_running_statistics_never_train(where: str) -> None:
    model = statistics_inside(where)
    assert trained(model) == {"s", "b"}
    assert trained(model, trainable=lambda name: True) == {"s", "b"}
    for name in "mv":
        with pytest.raises(ArgumentError, match=f"'{name}' is a running statistic"):
            sn.io.onnx.load(model, trainable=[name])


@pytest.mark.parametrize("calls", [True, False])
def test_a_function_follows_the_rule_that_it_follows_inline(calls: bool) -> None:
    """A row added to a product is a bias inside or behind; a table is none, nor at another call."""
    steps = [make("MatMul", ["a", "k"], ["0"]), make("Add", ["0", "c"], ["z"])]
    own = function_of(["a", "k", "c"], ["z"], steps)
    nodes = []
    for a, k, c, z in [("x", "//w", "//table", "h"), ("h", "//v", "//b", "g")]:
        names = {"a": a, "k": k, "c": c, "z": z}
        inline = [
            make(n.op_type, [names.get(i, z + i) for i in n.input],
                 [names.get(o, z + o) for o in n.output]) for n in steps
        ]  # fmt: skip
        nodes += [make("Own", [a, k, c], [z], domain="f")] if calls else inline
    nodes += [make("Add", ["g", "//after"], ["f"]), make("Add", ["f", "//grid"], ["y"])]
    dims = {"//w": (3, 4), "//table": (2, 4), "//v": (4, 4), "//b": (4,), "//after": (4,),
            "//grid": (2, 4)}  # fmt: skip
    model = model_of(nodes, dims, functions=[own])
    assert trained(model) == {"//w", "//v", "//b", "//after"}


def test_a_bias_behind_a_branch_or_a_loop_is_known() -> None:
    """y = (x w or x v) + b, after a weight that one of two functions' results is."""
    taken = function_of(
        ["a"], ["z", "t"], [make("Relu", ["a"], ["z"]), make("Identity", ["a"], ["t"])]
    )
    nodes = [
        make("Own", ["//w"], ["unused", "k"], domain="f"),
        make("If", ["on"], ["p"], then_branch=branch([make("MatMul", ["x", "k"], ["r"])]),
             else_branch=branch([make("MatMul", ["x", "//v"], ["r"])])),
        make("Add", ["p", "//b"], ["y"]),
    ]  # fmt: skip
    model = model_of(nodes, {"//w": (3, 4), "//v": (3, 4), "//b": (4,)}, functions=[taken])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "on"))
    assert trained(model) == {"//w", "//v", "//b"}
