"""`staticnet inspect`, `run`, `export` and `compare` on ONNX models, graphs and saved tensors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import build, start

import staticnet as sn
from staticnet.cli import compare_model
from staticnet.cli.main import main
from staticnet.cli.torch_model import TorchModel
from staticnet.errors import ArgumentError, ComparisonError
from staticnet.io import safetensors

pytest.importorskip("onnx", reason="onnx is not installed")
nn = sn.nn
FEED = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype("f")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx: image [n, 3, 8, 8] -> scores [n, 5]; and what it gives for x.npy."""
    here = tmp_path_factory.mktemp("models")
    sn.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5)
    )
    x = sn.placeholder(("n", 3, 8, 8), name="image")
    sn.io.onnx.save(here / "model.onnx", net, inputs=[x])
    np.save(here / "x.npy", FEED)
    np.save(here / "wanted.npy", sn.function(x, net(x), device="numpy")(FEED))
    safetensors.save(here / "net.safetensors", net.state_dict())
    return here


def said(capsys: Any, *arguments: Any) -> str:
    """What a command prints that succeeds."""
    assert main([*map(str, arguments)]) == 0, capsys.readouterr().err
    return str(capsys.readouterr().out)


def refused(capsys: Any, *arguments: Any) -> str:
    """The one line of a command that fails."""
    assert main([*map(str, arguments)]) == 2
    told = str(capsys.readouterr().err)
    assert told.count("\n") == 1
    return told


def test_inspect_shows_layers_cost_and_memory(folder: Path, tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "model.html"
    shown = said(capsys, "inspect", folder / "model.onnx", "--html", page)
    lines = shown.splitlines()
    assert lines[0].startswith("model.onnx: ")
    assert lines[1:3] == ["input image: f32[n,3,8,8]", "output output: f32[n,5]"]
    assert any(line.startswith("0.conv") and " 112 " in line for line in lines)
    totals = [line for line in lines if line.startswith("all ")]
    assert totals[0].split()[1] == str(4 * 27 + 4 + 64 * 5 + 5)
    assert any(line.split()[0] == "peak" and "*n bytes" in line for line in lines if line)
    assert lines[-1] == f"wrote {page}"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    short = said(capsys, "inspect", folder / "model.onnx", "--depth", 1, "--text")
    assert "graph Sequential(%image" in short
    assert "\n4  " in short
    assert said(capsys, "inspect", folder / "model.onnx", "--dot").startswith("digraph")
    assert "depth" in refused(capsys, "inspect", folder / "model.onnx", "--depth", 0)


def test_inspect_lists_saved_tensors(folder: Path, tmp_path: Path, capsys: Any) -> None:
    lines = said(capsys, "inspect", folder / "net.safetensors").splitlines()
    assert lines[0].split() == ["tensor", "dtype", "shape", "elements", "bytes"]
    assert ["0.weight", "float32", "[4,3,3,3]", "108", "432"] in [line.split() for line in lines]
    assert lines[-1].split() == ["all", "437", "1,748"]
    told = refused(capsys, "inspect", folder / "net.safetensors", "--html", tmp_path / "a.html")
    assert "no graph to draw" in told
    damaged = tmp_path / "bad.safetensors"
    damaged.write_bytes(b"12345678")
    assert "bad.safetensors" in refused(capsys, "inspect", damaged)


def test_run_gives_the_outputs(folder: Path, tmp_path: Path, capsys: Any) -> None:
    wanted = np.load(folder / "wanted.npy")
    for given in (folder / "x.npy", f"image={folder / 'x.npy'}"):
        out = tmp_path / "y.npy"
        command = ("run", folder / "model.onnx", "--device", "numpy", "--input", given)
        lines = said(capsys, *command, "--output", out).splitlines()
        assert lines[0].startswith("output float32 [2, 5] mean ")
        assert lines[1] == f"wrote {out}"
        np.testing.assert_allclose(np.load(out), wanted, rtol=1e-5, atol=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == ["y.npy"]


def test_run_takes_graphs_and_archives(tmp_path: Path, capsys: Any) -> None:
    x, y, w = sn.placeholder((2,), name="x"), sn.placeholder((2,), name="y"), sn.variable(np.ones(2, "f"), "w")  # noqa: E501 # fmt: skip
    file = tmp_path / "graph.sn"
    file.write_text(str(sn.Graph("g", [x, y], [x + w, sn.sum(x * y)])), encoding="utf-8")
    np.savez(tmp_path / "in.npz", y=np.array([3, 4], "f"), x=np.array([1, 2], "f"))
    safetensors.save(tmp_path / "w.safetensors", {"w": np.array([10, 20], "f")})
    out = tmp_path / "out.npz"
    command = ("run", file, "--device", "numpy", "--input", tmp_path / "in.npz")
    shown = said(capsys, *command, "--state", tmp_path / "w.safetensors", "--output", out)
    assert "output1 float32 [] 11.0" in shown
    with np.load(out) as found:
        assert found["output0"].tolist() == [11, 22]
    assert "2 outputs go into a .npz" in refused(capsys, *command, "--output", tmp_path / "o.npy")
    assert "must end in .npy or .npz" in refused(capsys, *command, "--output", tmp_path / "o.txt")


def test_what_is_wrong_with_inputs_is_told(folder: Path, tmp_path: Path, capsys: Any) -> None:
    model, x = folder / "model.onnx", folder / "x.npy"
    run = ("run", model, "--device", "numpy")
    assert "give image=FILE; the model wants image f32[n,3,8,8]" in refused(capsys, *run)
    assert "there are no more inputs" in refused(capsys, *run, "--input", x, "--input", x)
    assert "no input 'z'; the inputs are ['image']" in refused(capsys, *run, "--input", f"z={x}")
    shutil.copy(model, tmp_path / "model")
    told = refused(capsys, "inspect", tmp_path / "model")
    assert "the name of an ONNX model ends in .onnx" in told
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"nothing")
    assert "no .npy or .npz file" in refused(capsys, *run, "--input", bad)
    assert "none.npy" in refused(capsys, *run, "--input", tmp_path / "none.npy")
    np.savez(tmp_path / "named.npz", other=FEED)
    told = refused(capsys, *run, "--input", tmp_path / "named.npz")
    assert "there is no input 'other' to give; the inputs are ['image']" in told
    np.save(bad, FEED[0])
    told = refused(capsys, *run, "--input", bad)
    assert "image" in told
    assert "model.onnx:1" in told  # no line of the package
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model.read_bytes()[:-9])
    for command in ("inspect", "run", "export", "compare"):
        assert "broken.onnx" in refused(capsys, command, broken)
        assert "none.onnx" in refused(capsys, command, tmp_path / "none.onnx")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on this machine")
def test_export_writes_the_whole_inference_as_c(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "net.c"
    export = ("export", folder / "model.onnx", "-o", out)
    shown = said(capsys, *export, "--dim", "n=2", "--name", "classify")
    assert shown.startswith(f"wrote {out} and {tmp_path / 'net.h'}\n")
    assert "zeros" not in shown
    assert "int classify(classify_state *state" in (tmp_path / "net.h").read_text()
    feeds, results = tmp_path / "feeds", tmp_path / "results"
    feeds.write_bytes(FEED.tobytes())
    done = start(build(out, "-O1"), feeds, "--outputs", results)
    assert done.returncode == 0, done.stderr
    got = np.frombuffer(results.read_bytes(), "f").reshape(2, 5)
    np.testing.assert_allclose(got, np.load(folder / "wanted.npy"), rtol=1e-5, atol=1e-6)
    assert "wants --dim n=N" in refused(capsys, *export)
    assert "free in C" in refused(capsys, *export, "--dim", "n=2", "--name", "int")


def test_compare_checks_and_times(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.setattr(compare_model, "SECONDS", 1e-3)
    compare = ("compare", folder / "model.onnx", "--device", "numpy", "--rounds", "2")
    lines = said(capsys, *compare, "--dim", "n=3", "--peer", "onnxruntime").splitlines()
    assert lines[0].startswith("contender    time a run")
    assert [line.split()[0] for line in lines[2:4]] == ["staticnet", "onnxruntime"]
    assert "on image float32[3, 3, 8, 8]; medians of 2 interleaved rounds" in lines
    alone = said(capsys, *compare, "--input", folder / "x.npy", "--peer")
    assert "onnxruntime" not in alone
    assert "wants --dim n=N" in refused(capsys, *compare)
    assert "use one of onnxruntime" in refused(capsys, *compare, "--peer", "jax")
    assert "--rounds 0" in refused(capsys, *compare[:-1], 0)
    assert "--out" in refused(capsys, *compare, "--out", "here")
    with pytest.raises(ComparisonError, match="theirs gives another 'y' than staticnet"):
        compare_model.check("theirs", ["y"], [FEED], [FEED + 1])


@pytest.mark.slow
def test_pytorch_runs_graphs_as_a_contender(folder: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    t, ids = sn.placeholder((2, 5, 8), name="t"), sn.placeholder((2, 3), "int32", "ids")
    image = sn.placeholder((2, 4, 7, 7), name="image")
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    net = nn.Sequential(
        nn.Conv2d(4, 4, 3, stride=2, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2, 1),
        nn.MaxPool2d(2, 1, padding=1), nn.Flatten(), nn.Linear(36, 3), nn.GELU(),
    ).eval()  # fmt: skip
    outputs = [layer(t), net(image), nn.Embedding(9, 4)(ids), nn.functional.log_softmax(t, 1)]
    outputs += [sn.concat([t, sn.flip(t)[:, 1:]], 1), sn.mean(image, (2, 3)), sn.arange(3) + ids]
    f = sn.function([t, ids, image], outputs, device="numpy")
    rng = np.random.default_rng(1)
    feeds = [np.asarray(rng.normal(size=x.shape) * 2).astype(x.dtype) for x in f.graph.inputs]
    feeds[1] = np.abs(feeds[1])
    got = TorchModel(f.graph)(*map(torch.from_numpy, feeds))
    for x, y in zip(got, f(*feeds), strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y, rtol=1e-4, atol=1e-5)
    with pytest.raises(ArgumentError, match="no function of PyTorch's for argsort"):
        TorchModel(sn.Graph("g", [t], [sn.argsort(t)]))


def test_a_model_whose_shapes_depend_on_values(tmp_path: Path, capsys: Any) -> None:
    import onnx

    helper, number = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])], "g",
        [helper.make_tensor_value_info("x", number.FLOAT, ["n", 6]),
         helper.make_tensor_value_info("shape", number.INT64, [2])],
        [helper.make_tensor_value_info("y", number.FLOAT, None)],
    )  # fmt: skip
    file = tmp_path / "reshape.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), file)
    np.save(tmp_path / "x.npy", np.arange(12, dtype="f").reshape(2, 6))
    np.save(tmp_path / "shape.npy", np.array([3, 4]))
    run = ("run", file, "--device", "numpy", "--input", tmp_path / "x.npy")
    shape = ("--input", f"shape={tmp_path / 'shape.npy'}")
    assert "y float32 [3, 4] mean 5.5" in said(capsys, *run, *shape)
    assert "--input shape=FILE" in refused(capsys, "inspect", file)


def test_names_that_begin_with_a_digit_are_read(tmp_path: Path) -> None:
    text = "graph f() {\n  %0.weight: f32[2] = variable(id=99402, dtype=f32, shape=[2])\n"
    text += "  %0: f32[2] = tanh(%0.weight)\n  return %0\n}"
    (variable,) = sn.parse(text).variables
    assert variable.name == "0.weight"
    assert sn.parse(text).outputs[0].name == ""
