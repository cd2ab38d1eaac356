"""What follows a convolution where its sums are stored: found, left alone, and computed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine

import staticnet as sn
from staticnet import nn
from staticnet.backends.cuda import CudaBackend
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.compilation import Compilation
from staticnet.errors import ArgumentError, CompileError, DTypeError, ShapeError
from staticnet.nn import functional as F
from staticnet.ops.base import apply
from staticnet.spatial.epilogue import ConvolutionEpilogue

PLAIN = ((1, 1), (0, 0), (0, 0), (1, 1), (1,), "first", ())
ROUGH = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2, "tf32": 2e-3}
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TURNED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
Case = dict[str, Any]
CASES: dict[str, Case] = {
    "plain": {},
    "grouped": {"x": (2, 8, 6, 5), "w": (12, 4, 3, 3), "groups": 2, "padding": 1},
    "depthwise": {"x": (2, 9, 6, 5), "w": (9, 1, 3, 3), "groups": 9, "padding": 1},
    "strided": {"x": (2, 8, 9, 7), "w": (16, 8, 3, 3), "stride": (2, 3), "padding": (1, 2)},
    "dilated": {"x": (2, 8, 9, 9), "w": (10, 8, 3, 2), "dilation": (2, 3), "padding": 2},
    "line": {"x": (3, 5, 17), "w": (11, 5, 4), "stride": 3},
    "volume": {"x": (2, 8, 4, 5, 3), "w": (8, 8, 2, 3, 3), "padding": 1},
    "deep": {"x": (1, 64, 5, 5), "w": (9, 64, 5, 5), "padding": 2},
}
DEFAULT = ("grouped", "strided")


def lowered(inputs: Any, outputs: Any, precision: str = "float32", **options: Any) -> Any:
    """The graph of a function for a GPU, and what the pass says it did."""
    graph = sn.function(inputs, outputs, device="numpy", **options).graph
    made = Compilation(graph, CudaBackend(), "fast", precision, (), None)
    after, records = made.compile({})
    notes = next(r.notes for r in records if r.name == "convolution_epilogues")
    return after, {name: n for name, n in notes.items() if name.startswith("fused")}


def check(made: Any, folder: Path, precision: str = "float32") -> dict[str, int]:
    """What the pass did to a function, whose values on the shim must be NumPy's."""
    if CXX is None:
        pytest.skip("no g++ on this machine")
    inputs, outputs = made
    rng = np.random.default_rng(3)
    feeds = [rng.standard_normal(v.shape).astype(v.dtype) for v in inputs]
    graph, notes = lowered(inputs, outputs, precision)
    failed, found, _ = Machine(graph, folder, tf32=precision == "tf32").run(feeds, [])
    assert not failed
    wanted = sn.function(inputs, outputs, device="numpy")(*feeds)
    half = inputs[0].dtype.name if inputs[0].dtype.itemsize == 2 else precision
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        a, b = a.astype("f"), b.astype("f")
        np.testing.assert_allclose(a, b, 0, ROUGH[half] * max(1, np.abs(b).max(initial=0)))
    return notes


def placeholders(dtype: str, *shapes: tuple[int, ...]) -> list[Any]:
    return [sn.placeholder(s, dtype, name=f"x{i}") for i, s in enumerate(shapes)]


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=[] if x in DEFAULT else pytest.mark.slow) for x in CASES]
)
def test_forwards_with_everything_and_backwards(name: str, tmp_path: Path) -> None:
    """A bias, a normalisation's scale, a shortcut and relu; and the gradients, behind its mask."""
    case = {"x": (2, 8, 7, 6), "w": (16, 8, 3, 3)} | CASES[name]
    shapes = case.pop("x"), case.pop("w")
    conv = CONV[len(shapes[0]) - 2]
    y = conv(*placeholders("float16", *shapes), **case).shape
    column = (y[1], *(1,) * (len(y) - 2))
    x, w, bias, scale, r = placeholders("float16", *shapes, y[1:2], y[1:2], y)
    z = conv(x, w, bias, **case) * sn.reshape(scale, column)
    z = F.relu(z + r)
    loss = sn.sum(sn.astype(z, "float32") ** 2)
    notes = check(([x, w, bias, scale, r], [z, *sn.grad(loss, [x, w])]), tmp_path, "float16")
    assert notes["fused convolution scale shift add relu"] == 1


@pytest.mark.parametrize(
    "precision",
    ["bfloat16", *(pytest.param(x, marks=pytest.mark.slow) for x in ("float32", "tf32"))],
)
def test_a_block_in_each_precision(precision: str, tmp_path: Path) -> None:
    """Two convolutions with a shortcut: biases, relu, the shortcut's gradient and both masks."""
    x, v, w, a, b = placeholders("float32", (2, 8, 6, 6), (8, 8, 3, 3), (8, 8, 3, 3), (8,), (8,))
    h = F.relu(x * 2)
    y = F.relu(F.conv2d(h, v, a, padding=1))
    z = F.relu(F.conv2d(y, w, b, padding=1) + h)
    outputs = [z, *sn.grad(sn.sum(z * z), [x, v, w, a, b])]
    notes = check(([x, v, w, a, b], outputs), tmp_path, precision)
    kept = "gate" if precision == "bfloat16" else "mask"
    assert notes == {
        "fused convolution shift relu": 1, "fused convolution shift add relu": 1,
        f"fused convolution_input {kept}": 1, f"fused convolution_input add {kept}": 1,
    }  # fmt: skip


OVER = np.float32(1e5)


def over(kind: str) -> tuple[Any, dict[str, int]]:
    """What float16 does not hold, though it holds the convolution; and what is taken in."""
    x, w, b, r = placeholders("float32", (2, 8, 6, 6), (8, 8, 1, 1), (8,), (2, 8, 6, 6))
    y, column = F.conv2d(x, w), sn.reshape(b, (8, 1, 1))
    outputs: list[Any] = {
        "shift": [y + (column + OVER)], "scale": [y * (column * 1e-9)],
        "add": [F.relu(y + r + OVER)], "shortcut": [F.conv2d(F.relu(y + r * OVER) * 1e-5, w)],
        "cancelled": [F.conv2d(F.relu(y + (r * OVER)) - F.relu(r * OVER), w)],
        "relu alone": [F.relu(y) * OVER],
        "bias between": [F.conv2d(F.relu(y + column), w)],
    }[kind]  # fmt: skip
    found = {"relu alone": "convolution relu", "bias between": "convolution shift relu"}.get(kind)
    return ([x, w, b, r], outputs), {f"fused {found}": 1} if found else {}


@pytest.mark.parametrize(
    "kind",
    ["shift", "scale", "add", "shortcut", "cancelled", "relu alone", "bias between"],
)
def test_a_sum_that_float32_holds_is_not_float16s(kind: str, tmp_path: Path) -> None:
    made, found = over(kind)
    assert check(made, tmp_path, "float16") == found


def test_a_small_number_is_above_zero(tmp_path: Path) -> None:
    """A gate of float16 would be 0 where what was cast to it is not."""
    u, w, v = placeholders("float32", (2, 8, 6, 6), (8, 8, 3, 3), (8, 8, 1, 1))
    y = F.relu(u * np.float32(1e-9))
    for precision, kept in (("float16", "mask"), ("bfloat16", "gate")):
        gradient = sn.grad(sn.sum(F.conv2d(y, w, padding=1)), [y])[0]
        outputs = [sn.where(y > 0, gradient, 0), F.conv2d(y, v)]
        folder = tmp_path / precision
        folder.mkdir()
        notes = check(([u, w, v], outputs), folder, precision)
        assert notes == {f"fused convolution_input {kept}": 1}


def test_a_transposed_convolution(tmp_path: Path) -> None:
    for ndim, more in ((1, {}), (2, {"stride": 2, "padding": 1}), (3, {"padding": 1})):
        x, w, b = placeholders("float32", (2, 8, *(4, 3, 3)[:ndim]), (8, 10, *(3,) * ndim), (10,))
        y = F.relu(TURNED[ndim](x, w, b, **more))
        folder = tmp_path / str(ndim)
        folder.mkdir()
        notes = check(([x, w, b], [y]), folder)
        assert notes == {"fused convolution_input shift relu": 1}


def test_fixed_statistics_are_part_of_it(tmp_path: Path) -> None:
    """Inference: a normalisation is a scale and a shift, where operands have 16 bits."""
    x, w, r, mean, var, g, b = placeholders(
        "float32", (2, 8, 6, 6), (16, 8, 1, 1), (2, 16, 6, 6), *[(16,)] * 4
    )
    y = F.batch_norm(F.conv2d(x, w), mean, var * var + 0.5, g, b, training=False)
    z = F.relu(y + r)
    made = [x, w, r, mean, var, g, b], [z]
    assert check(made, tmp_path, "bfloat16") == {"fused convolution scale shift add relu": 1}
    assert lowered(*made)[1] == {}, "in float32 the mean would cancel later"


@pytest.mark.parametrize("biased", [False, True])
def test_kernels_do_not_depend_on_the_number_of_channels(biased: bool) -> None:
    """So that a network's layers share them: a compiler takes half a second for each."""
    kernels = ((16, 8, 3, 3), (24, 16, 3, 3), (32, 24, 3, 3))
    x, *given = placeholders("float32", (2, 8, 6, 6), *kernels, *[(k[0],) for k in kernels])
    y, inputs = x, [x, *given] if biased else [x, *given[:3]]
    for w, b in zip(given[:3], given[3:], strict=True):
        y = F.relu(F.conv2d(y, w, b if biased else None, padding=1))
    f = sn.function(inputs, y, device="numpy")
    made = Compilation(f.graph, CudaBackend(), "fast", "float32", (), None)
    program = write_cuda_program(made.plan(made.compile({})[0], {}))
    assert len(set(re.findall(" after = {.*", program.body))) == 1


def two_uses(kind: str) -> Any:
    """A convolution, or what follows it, that others use, too."""
    x, w, b = placeholders("float32", (2, 8, 6, 6), (8, 8, 3, 3), (8,))
    y = F.conv2d(x, w, padding=1)
    s = y + sn.reshape(b, (8, 1, 1))
    z = F.relu(s)
    outputs = {
        "convolution": [z, sn.sum(y)], "sum": [z, sn.exp(s)], "relu": [z * z, z + 1],
        "itself": [y + y], "output": [y, F.relu(y)],
        "turned": [sn.reshape(b, (8, 1, 1)) - y], "not zero": [sn.where(x > 0, y, 1)],
        "kept where false": [sn.where(x > 0, 0, y)],
    }[kind]  # fmt: skip
    return [x, w, b], outputs


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("convolution", {}), ("sum", {"fused convolution shift": 1}), ("itself", {}),
        ("relu", {"fused convolution shift relu": 1}), ("output", {}), ("turned", {}),
        ("not zero", {}), ("kept where false", {}),
    ],
)  # fmt: skip
def test_what_others_use_is_computed_once(kind: str, found: Any, tmp_path: Path) -> None:
    assert check(two_uses(kind), tmp_path) == found


def test_a_row_is_no_channel(tmp_path: Path) -> None:
    """What is added along another axis of as many elements stays a kernel of its own."""
    x, w, row = placeholders("float32", (2, 8, 8, 8), (8, 8, 1, 1), (8,))
    assert check(([x, w, row], [F.conv2d(x, w) + row]), tmp_path) == {}


def test_two_convolutions_are_added_by_one_of_them(tmp_path: Path) -> None:
    x, v, w, a = placeholders("float32", (2, 8, 6, 6), (8, 8, 3, 3), (8, 8, 1, 1), (8,))
    z = F.relu(F.conv2d(x, v, a, padding=1) + F.conv2d(x, w))
    assert check(([x, v, w, a], [z]), tmp_path) == {"fused convolution shift add relu": 1}


def test_no_examples(tmp_path: Path) -> None:
    x, w, b = placeholders("float32", (0, 8, 6, 6), (8, 8, 1, 1), (8,))
    assert check(([x, w, b], [F.relu(F.conv2d(x, w, b))]), tmp_path) == {}


def test_a_symbolic_batch_and_its_second_derivative(tmp_path: Path) -> None:
    """The op has its own derivatives and rule for many examples, by the plain ops."""
    op = ConvolutionEpilogue("convolution", *PLAIN, True, True, True, "relu")
    args = [np.random.default_rng(i).standard_normal(s) for i, s in enumerate(
        ((2, 3, 4, 4), (5, 3, 2, 2), (5,), (5,), (2, 5, 3, 3))
    )]  # fmt: skip
    xs = [sn.placeholder(a.shape, "float64", name=f"a{i}") for i, a in enumerate(args)]
    fused, plain = apply(op, *xs), op.expand(*xs)
    many = [sn.placeholder((3, *a.shape), "float64", name=f"m{i}") for i, a in enumerate(args)]
    for y, z in (
        (fused, plain),
        (sn.grad(sn.sum(fused**2), xs), sn.grad(sn.sum(plain**2), xs)),
    ):
        got, wanted = (sn.function(xs, v, device="numpy")(*args) for v in (y, z))
        for a, b in zip(*(v if isinstance(v, list) else [v] for v in (got, wanted)), strict=True):
            np.testing.assert_allclose(a, b, 1e-10, 1e-12)
    feeds = [np.stack([a, a * 2, -a]) for a in args]
    for axes in ((0,) * 5, (0, None, None, None, None), (None, None, None, 0, 0)):
        given = [m if axis == 0 else x for axis, m, x in zip(axes, many, xs, strict=True)]
        fed = [f if axis == 0 else a for axis, f, a in zip(axes, feeds, args, strict=True)]
        mapped = sn.vmap(lambda *v: apply(op, *v), in_axes=axes)(*given)
        got = sn.function(given, mapped, device="numpy")(*fed)
        one = sn.function(xs, plain, device="numpy")
        for i in range(3):
            own = [f[i] if axis == 0 else f for axis, f in zip(axes, fed, strict=True)]
            np.testing.assert_allclose(got[i], one(*own), 1e-10, 1e-12)


def test_what_does_not_fit_is_named() -> None:
    x, w, b = placeholders("float16", (2, 8, 6, 6), (8, 8, 1, 1), (7,))
    op = ConvolutionEpilogue("convolution", *PLAIN, False, True, False, "none")
    with pytest.raises(ShapeError, match="shift must have 8 elements"):
        apply(op, x, w, b)
    with pytest.raises(DTypeError, match="must both be"):
        apply(op, x, w, sn.placeholder((8,), "float64"))
    with pytest.raises(ArgumentError, match="takes 3 operands, not 2"):
        apply(op, x, w)
    with pytest.raises(ArgumentError, match="activation must be one of none, relu, mask, gate"):
        ConvolutionEpilogue("convolution", *PLAIN, False, True, False, "tanh")


def test_a_network_that_trains_has_them(tmp_path: Path) -> None:
    """Of batch norms, masks alone; exact compilation and the disabled pass have none."""
    x = sn.placeholder((2, 4, 8, 8), name="x")
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ReLU(),
        nn.Conv2d(4, 4, 1),
    )  # fmt: skip
    loss = sn.mean(model(x) ** 2)
    updates = sn.optim.SGD(0.1).minimize(loss)
    notes = lowered(x, loss, "bfloat16", updates=updates)[1]
    assert notes == {
        "fused convolution shift": 2, "fused convolution shift relu": 1,
        "fused convolution_input gate": 2,
    }  # fmt: skip
    graph = sn.function(x, loss, updates=updates, device="numpy").graph
    for numerics, left_out in (("exact", ()), ("fast", ("convolution_epilogues",))):
        made = Compilation(graph, CudaBackend(), numerics, "float32", left_out, None)
        after = made.compile({})[0]
        assert not any(isinstance(node.op, ConvolutionEpilogue) for node in after.nodes)


def test_the_cpu_says_that_it_needs_the_pass() -> None:
    file = Path(__file__).parent / "golden" / "convolution_epilogues" / "expanded.sn"
    graph = sn.parse(file.read_text(encoding="utf-8").partition("// after ")[0])
    x, w, b = (np.ones(x.shape, "f4") for x in graph.inputs)
    left_out = ("convolution_epilogues",)
    with pytest.raises(CompileError, match="take 'convolution_epilogues' out of disabled_passes"):
        sn.function(graph.inputs, graph.outputs, device="cpu", disabled_passes=left_out)(x, w, b)
