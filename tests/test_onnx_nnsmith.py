"""Models that nnsmith draws agree with onnxruntime, or with onnx's own where it lacks a kernel."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")  # a module of its own to import
torch = pytest.importorskip("torch")
pytest.importorskip("nnsmith")
runtime = pytest.importorskip("onnxruntime")
COMPILES = True
GROUP = 20  # models in one program
TOLERANCE = {2: 1e-2, 4: 1e-3, 8: 1e-6}  # by the size of a float


@pytest.fixture
def older_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """nnsmith was written for the exporter that was the default then."""
    export = torch.onnx.export
    monkeypatch.setattr(
        torch.onnx, "export", lambda *args, **kwargs: export(*args, **kwargs, dynamo=False)
    )


def drawn(seed: int, folder: Any) -> Any:
    """A model of some nodes; None if it is none, for some draws have dtypes that ONNX forbids.

    nnsmith itself raises whatever its parts do; that most draws are models is asserted below.
    """
    from nnsmith.graph_gen import model_gen
    from nnsmith.materialize import Model

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    kind = Model.init("onnx")
    try:
        made = model_gen(
            opset=kind.operators(), method="symbolic-cinit", seed=seed,
            max_nodes=random.choice([4, 6, 8, 10]), timeout_ms=10_000,
        )  # fmt: skip
        model = kind.from_gir(made.make_concrete())
        model.refine_weights()
        model.dump(str(folder / "model.onnx"))
    except Exception:
        return None
    return onnx.load(folder / "model.onnx")


def fed(model: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Inputs: floats between 0 and 1, where most functions are defined."""
    feeds = {}
    for x in model.graph.input:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type)
        shape = [d.dim_value for d in x.type.tensor_type.shape.dim]
        values = rng.uniform(0.05, 0.95, shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        feeds[x.name] = values.astype(dtype)
    return feeds


def expected(model: Any, feeds: dict[str, Any]) -> list[Any] | None:
    """The outputs; None where a value in between is not finite, and a cast of it anything."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    names = {x.name for x in model.graph.output}
    inner = onnx.shape_inference.infer_shapes(model).graph.value_info
    whole.graph.output.extend(x for x in inner if x.name not in names)
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(whole.SerializeToString(), options)
        found = session.run(None, feeds)
    except Exception:  # it has no kernel for the dtype
        try:
            found = onnx.reference.ReferenceEvaluator(whole).run(None, feeds)
        except Exception:
            return None
    floats = [np.asarray(x) for x in found if np.asarray(x).dtype.kind == "f"]
    if not all(np.isfinite(x).all() for x in floats):
        return None
    return [np.asarray(x) for x in found[: len(names)]]


def check(own: Any, wanted: Any, what: str, of_halves: bool = False) -> None:
    """Of what is made of halves, 2 % of the integers may differ: values before them tie."""
    assert (own.shape, own.dtype) == (wanted.shape, wanted.dtype), what
    if wanted.dtype.kind != "f":
        if np.count_nonzero(own != wanted) > (0.02 * own.size if of_halves else 0):
            np.testing.assert_array_equal(own, wanted, err_msg=what)
        return
    tolerance = TOLERANCE[2 if of_halves else wanted.dtype.itemsize]
    scale = float(np.abs(wanted).max(initial=0))
    np.testing.assert_allclose(
        own.astype("d"),
        wanted.astype("d"),
        tolerance,
        1e-6 + 0.01 * tolerance * scale,
        err_msg=what,
    )


def check_all(got: list[Any], wanted: list[Any], model: Any, feeds: Any, what: str) -> None:
    """Compare with onnxruntime and, of float16, else with onnx's own evaluator.

    onnxruntime keeps float32 between operators of float16: where a comparison, an argmax or a cast
    follows, it decides otherwise than who rounds every value, as the format says. The evaluator
    rounds within an operator, too.
    """
    try:
        for own, value in zip(got, wanted, strict=True):
            check(own, value, what)
    except AssertionError:
        if onnx.TensorProto.FLOAT16 not in {
            x.type.tensor_type.elem_type
            for x in onnx.shape_inference.infer_shapes(model).graph.value_info
        }:
            raise
        second = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
        for own, value in zip(got, second, strict=True):
            check(own, np.asarray(value), what, of_halves=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("older_exporter")
@pytest.mark.parametrize("group", range(50))
def test_models_agree(group: int, tmp_path: Any) -> None:
    rows: list[Any] = []
    models = 0
    for seed in range(group * GROUP, (group + 1) * GROUP):
        model = drawn(seed, tmp_path)
        if model is None:
            continue
        models += 1
        feeds = fed(model, np.random.default_rng(seed))
        wanted = expected(model, feeds)
        if wanted is not None:
            prepared = sn.io.onnx.Backend.prepare(model, "numpy")
            traced = prepared.traced(feeds, f"m{seed}_")
            rows.append((seed, traced, traced.fed(feeds), (wanted, model, feeds)))
    assert len(rows) > GROUP // 5, f"{models} models, {len(rows)} of them with finite values"
    placeholders = [x for _, traced, _, _ in rows for x in traced.placeholders]
    fetches = [x for _, traced, _, _ in rows for x in traced.fetches]
    device = "cpu" if find_compiler() is not None else "numpy"
    f = sn.function(placeholders, fetches, device=device)
    arrays = iter(f(*(x for _, _, given, _ in rows for x in given)))
    for seed, traced, _, (wanted, model, feeds) in rows:
        check_all(traced.outputs(arrays), wanted, model, feeds, f"seed {seed}")
