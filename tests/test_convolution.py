"""Convolutions against PyTorch in float64, over their options, on every device."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convolution_cases import Case, cases, ours, theirs
from everywhere import DEVICES, grad_of, on
from tolerance import close

import staticnet as sn
from staticnet import nn
from staticnet.backends.cpu import convolutions
from staticnet.backends.cpu.blas import PROTOTYPES
from staticnet.backends.cpu.compiler import Compiler, find_compiler
from staticnet.codegen.program import Program, write_program
from staticnet.errors import ArgumentError, DTypeError, ShapeError

COMPILES = True
F = nn.functional
rng = np.random.default_rng(0)
X, W, B = rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(6, 2, 3, 2)), rng.normal(size=6)
# PyTorch says that it copies an input to pad it on one side
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


@pytest.fixture
def torch() -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    yield torch
    torch.set_num_threads(threads)


def compute(build: Any, *arrays: Any, device: str = "numpy") -> Any:
    nodes = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]
    return sn.function(nodes, build(*nodes), device=device)(*arrays)


def check_against_pytorch(torch: Any, chosen: list[Case], devices: list[str]) -> None:
    """Values, gradients and their gradients of many convolutions in one function."""
    inputs, outputs, feeds, names, wanted = [], [], [], [], []
    for number, case in enumerate(chosen):
        xs = [
            sn.placeholder(a.shape, "float64", f"x{number}_{i}") for i, a in enumerate(case.arrays)
        ]
        made = ours(case, xs)
        inputs, outputs, feeds = inputs + xs, outputs + made, feeds + list(case.arrays)
        names += [f"{case}: {i}" for i in range(len(made))]
        wanted += theirs(torch, case)
    for device in devices:
        got = sn.function(inputs, outputs, device=device)(*feeds)
        for name, y, z in zip(names, got, wanted, strict=True):
            close(y, z, 1e-11, name)


def test_any_options_give_pytorch_s_values_and_derivatives(torch: Any) -> None:
    check_against_pytorch(torch, list(cases(15, 0)), ["numpy", "cpu"])


@pytest.mark.slow
def test_hundreds_of_options(torch: Any) -> None:
    check_against_pytorch(torch, list(cases(400, 1)), ["numpy"])
    check_against_pytorch(torch, list(cases(60, 2)), ["cpu"])


@pytest.mark.parametrize("device", ["dynamic", "cuda"])
def test_other_devices(device: str, tmp_path: Path) -> None:
    def build(*xs: Any) -> Any:
        y = sn.sin(F.conv2d(xs[0], xs[1], xs[2], (2, 1), (1, 2), (1, 2), 2))
        z = sn.sin(F.conv_transpose2d(y, xs[1], None, 2, 1, 1, 2))
        return sn.sum(z * z)

    wanted = on("numpy", tmp_path, grad_of(build), X, W, B)
    for y, z in zip(on(device, tmp_path, grad_of(build), X, W, B), wanted, strict=True):
        close(y, z, 1e-11)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_sums_of_narrow_floats_are_rounded_once(dtype: str) -> None:
    x, w = (sn.placeholder(a.shape, dtype, n) for a, n in ((X, "x"), (W, "w")))
    y = F.conv2d(x, w, padding=1, groups=2)
    back = F.conv_transpose2d(y, w, groups=2)
    outputs = [y, *sn.grad(sn.sum(sn.sin(y)), [x, w]), back]
    feeds = [np.asarray(a).astype(x.dtype) for a in (X, W)]
    wide = [f.astype(np.float64) for f in feeds]
    exact = compute(lambda x, w: F.conv2d(x, w, padding=1, groups=2), *wide)
    per_device = [sn.function([x, w], outputs, device=d)(*feeds) for d in ("numpy", "cpu")]
    for got in per_device:
        close(got[0], exact.astype(x.dtype))
    for a, b in zip(*per_device, strict=True):
        close(a, b, 3e-2 if dtype != "float32" else 1e-5)


def test_convolutions_take_the_precision_s_type() -> None:
    """With it both gradients; their sums stay float32, and so does what comes of them."""
    x, w = sn.placeholder(X.shape, name="x"), sn.variable(W.astype("f"), "w")
    updates = sn.optim.SGD(0.1).minimize(sn.sum(sn.sin(F.conv2d(sn.tanh(x), w, groups=2))))
    f = sn.function(x, sn.grad(sn.sum(sn.sin(F.conv2d(sn.tanh(x), w, groups=2))), x), updates,
                    device="numpy", precision="bfloat16")  # fmt: skip
    after = sn.parse(f.as_text(after="precision")).nodes
    made = [node for node in after if node.op.name.startswith("convolution")]
    assert {node.op.name for node in made} == {
        "convolution", "convolution_input", "convolution_weight"
    }  # fmt: skip
    assert {v.dtype.name for node in made for v in (node, *node.inputs)} == {"bfloat16"}
    exact = sn.function(x, f.graph.outputs, device="numpy")(X.astype("f"))[0]
    (got,) = f(X.astype("f"))
    close(got, exact, 3e-2)
    assert got.dtype == w.dtype == "float32"


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_symbolic_sizes(device: str) -> None:
    x = sn.placeholder(("n", 4, "h", "w"), "float64", "x")
    w = sn.placeholder(W.shape, "float64", "k")
    y = F.conv2d(x, w, stride=2, padding=1, groups=2)
    up = F.conv_transpose2d(y, w, None, (1, 2), 1, (0, 1), 2)
    f = sn.function([x, w], [y, up, *sn.grad(sn.sum(sn.sin(up)), [x, w])], device=device)
    for n, h, width in ((2, 5, 6), (0, 3, 7), (1, 1, 1)):
        arrays = rng.normal(size=(n, 4, h, width)), W

        def build(x: Any, w: Any) -> Any:
            y = F.conv2d(x, w, stride=2, padding=1, groups=2)
            up = F.conv_transpose2d(y, w, None, (1, 2), 1, (0, 1), 2)
            return [y, up, *sn.grad(sn.sum(sn.sin(up)), [x, w])]

        for a, b in zip(f(*arrays), compute(build, *arrays), strict=True):
            close(a, b, 1e-11)
    with pytest.raises(ShapeError, match="is larger than"):
        f(np.zeros((1, 4, 0, 5)), W)


def test_the_size_of_a_symbolic_axis() -> None:
    x = sn.placeholder(("n", 4, "h"), name="x")
    w = sn.zeros((3, 4, 3))
    assert str(F.conv1d(x, w, stride=2, padding=1).shape[2]) == "((h+1)//2)"
    assert F.conv1d(x, w, padding="same").shape == (x.shape[0], 3, x.shape[2])
    up = F.conv_transpose1d(x, sn.zeros((4, 3, 2)), stride=2)
    assert up.shape[2] == 2 * x.shape[2]


@pytest.mark.parametrize("over", [(0, None), (None, 0), (0, 0), (1, 2)])
def test_vmap_gives_what_a_loop_gives(over: tuple[Any, Any]) -> None:
    """Of examples with inputs, weights or both of their own, with their gradients."""
    xs = np.moveaxis(rng.normal(size=(3, *X.shape)), 0, over[0]) if over[0] is not None else X
    ws = np.moveaxis(rng.normal(size=(3, *W.shape)), 0, over[1]) if over[1] is not None else W

    def one(x: Any, w: Any) -> Any:
        y = F.conv2d(x, w, None, (1, 2), 1, groups=2)
        return sn.sum(sn.sin(y) + y * y)

    def each(x: Any, w: Any) -> list[Any]:
        made = sn.vmap(sn.grad(one, (0, 1)), in_axes=over)(x, w)
        return [sn.vmap(lambda x, w: F.conv2d(x, w, groups=2), in_axes=over)(x, w), *made]

    got = compute(each, xs, ws)
    for i in range(3):
        x = xs if over[0] is None else np.take(xs, i, over[0])
        w = ws if over[1] is None else np.take(ws, i, over[1])
        wanted = compute(lambda x, w: [F.conv2d(x, w, groups=2), *sn.grad(one, (0, 1))(x, w)], x, w)
        for a, b in zip(got, wanted, strict=True):
            close(a[i], b, 1e-11)


def test_single_examples_under_two_vmaps() -> None:
    xs, ws = rng.normal(size=(3, *X.shape[1:])), rng.normal(size=(2, *W.shape))

    def each(xs: Any, ws: Any) -> Any:
        return sn.vmap(lambda w: sn.vmap(lambda x: F.conv2d(x, w, groups=2))(xs))(ws)

    wanted = np.stack([compute(lambda x, w: F.conv2d(x, w, groups=2), xs, w) for w in ws])
    close(compute(each, xs, ws), wanted, 1e-12)


def test_the_hessian_is_pytorch_s(torch: Any) -> None:
    x, w = X[:1, :2, :, 0], W[:2, :, :, 0]
    got = compute(lambda w: sn.hessian(lambda w: sn.sum(sn.sin(F.conv1d(x, w))))(w), w)

    def loss(w: Any) -> Any:
        return torch.nn.functional.conv1d(torch.tensor(x), w).sin().sum()

    close(got, torch.autograd.functional.hessian(loss, torch.tensor(w)).numpy(), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_a_loop_of_convolutions(torch: Any, device: str, tmp_path: Path) -> None:
    x, w = X[..., 0], rng.normal(size=(4, 4, 3))

    def loop(x: Any, w: Any) -> Any:
        def body(h: Any, _: Any) -> Any:
            h = sn.tanh(F.conv1d(h, w, padding=1))
            return h, sn.sum(h)

        h, sums = sn.scan(body, x, None, length=3)
        return sn.sum(h * h) + sn.sum(sums)

    a, b = (torch.tensor(v, requires_grad=True) for v in (x, w))
    h, total = a, 0
    for _ in range(3):
        h = torch.tanh(torch.nn.functional.conv1d(h, b, padding=1))
        total = total + h.sum()
    total = total + (h * h).sum()
    total.backward()
    wanted = [v.detach().numpy() for v in (total, a.grad, b.grad)]
    for y, z in zip(on(device, tmp_path, grad_of(loop), x, w), wanted, strict=True):
        close(np.asarray(y), z, 1e-11)


def test_gradients_of_each_example_of_a_symbolic_batch() -> None:
    x = sn.placeholder(("n", 4, 5, 6), "float64", "x")
    w = sn.constant(W)

    def loss(w: Any, x: Any) -> Any:
        return sn.sum(sn.sin(F.conv2d(x, w, groups=2)))

    f = sn.function(x, sn.vmap(sn.grad(loss), in_axes=(None, 0))(w, x), device="numpy")
    for n in (2, 0, 3):
        arrays = rng.normal(size=(n, 4, 5, 6))
        got = f(arrays)
        assert got.shape == (n, *W.shape)
        for a, example in zip(got, arrays, strict=True):
            close(a, compute(lambda x: sn.grad(loss)(w, x), example), 1e-11)


def test_forward_mode() -> None:
    arrays = X, W, rng.normal(size=X.shape), rng.normal(size=W.shape)

    def moved(x: Any, w: Any, dx: Any, dw: Any) -> Any:
        return sn.jvp([F.conv2d(x, w, stride=2, groups=2)], [x, w], [dx, dw])[0]

    def parts(x: Any, w: Any, dx: Any, dw: Any) -> Any:
        return sum(F.conv2d(a, b, stride=2, groups=2) for a, b in ((dx, w), (x, dw)))

    close(compute(moved, *arrays), compute(parts, *arrays), 1e-12)


EMPTY = [((0, 4, 5), (3, 4, 2)), ((2, 0, 5), (3, 0, 2)), ((2, 4, 5), (0, 4, 2))]


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_to_sum(device: str, tmp_path: Path) -> None:
    """No examples, no channels, no outputs: sums of nothing are 0."""

    def build(*xs: Any) -> Any:
        return [y for i in (0, 2, 4) for y in grad_of(F.conv1d)(*xs[i : i + 2])]

    got = on(device, tmp_path, build, *(np.ones(shape) for pair in EMPTY for shape in pair))
    shapes = [shape for x, w in EMPTY for shape in ((x[0], w[0], 4), x, w)]
    assert [y.shape for y in got] == shapes
    assert not any(y.any() for y in got)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_arrays_that_do_not_lie_in_order(device: str) -> None:
    def build(x: Any, w: Any) -> Any:
        return F.conv2d(x.transpose(), w[::-1], groups=2)

    whole = compute(lambda x, w: F.conv2d(x, w, groups=2), X, W[::-1].copy())
    close(compute(build, np.ascontiguousarray(X.T), W, device=device), whole, 1e-12)
    x, w = (sn.placeholder(a.shape, "float64", n) for a, n in ((X, "x"), (W, "w")))
    f = sn.function([x, w], F.conv2d(x, w, groups=2), device=device)
    strided = np.zeros((2, 4, 5, 12))[..., ::2]
    strided[...] = X
    close(f(strided, np.asfortranarray(W[::-1])), whole, 1e-12)


def test_an_output_that_no_element_reaches_is_the_bias(torch: Any) -> None:
    x, w = rng.normal(size=(1, 3, 1)), rng.normal(size=(3, 2, 1))
    bias = rng.normal(size=2)
    for padding, more in ((1, 2), (2, 5), (2, 4)):
        options = {"padding": padding, "output_padding": more, "dilation": 6}
        arrays = map(torch.tensor, (x, w, bias))
        wanted = torch.nn.functional.conv_transpose1d(*arrays, **options).numpy()
        close(compute(lambda *v, o=options: F.conv_transpose1d(*v, **o), x, w, bias), wanted)


def test_a_memory_limit_has_convolutions_computed_again() -> None:
    x = sn.placeholder((4, 8, 16, 16), name="x")
    weights = [
        sn.variable(rng.normal(size=(8, 8, 3, 3)).astype("f") / 8, f"w{i}") for i in range(4)
    ]

    def step(**options: Any) -> Any:
        y = x
        for w in weights:
            y = sn.tanh(F.conv2d(y, w, padding=1))
        return sn.function(x, sn.grad(sn.sum(y * y), weights), device="numpy", **options)

    whole = step()
    limit = int(whole.memory_analysis().peak * 0.85)
    less = step(memory_limit=limit)
    assert less.memory_analysis().peak <= limit
    text = less.as_text(after="remat")
    assert text.count("= convolution(") > len(weights)
    arrays = rng.normal(size=x.shape).astype("f")
    for a, b in zip(less(arrays), whole(arrays), strict=True):
        np.testing.assert_array_equal(a, b)


def test_infinities_stay_where_the_kernel_meets_them() -> None:
    """What is padded is 0 and meets no infinity; each device says so."""
    x = np.zeros((1, 1, 5))
    x[0, 0, 0] = np.inf
    for device in ("numpy", "cpu"):
        got = compute(
            lambda x: F.conv1d(x, sn.ones((1, 1, 3), "float64"), padding=1), x, device=device
        )
        np.testing.assert_array_equal(got, [[[np.inf, np.inf, 0, 0, 0]]])


def test_a_gradient_of_weights_meets_no_element_beyond_its_pixels() -> None:
    x = np.zeros((1, 1, 5))
    x[0, 0, 4] = np.inf
    for device in ("numpy", "cpu"):
        *_, got = compute(grad_of(F.conv1d), x, np.ones((1, 1, 3)), device=device)
        np.testing.assert_array_equal(got, [[[0, 0, np.inf]]])


WRONG: list[tuple[str, Any, type[Exception], str]] = [
    ("channels", lambda: F.conv2d(sn.zeros((1, 3, 8, 8)), sn.zeros((4, 5, 3, 3))), ShapeError,
     "conv2d: x [1,3,8,8] has 3 channels, and the weight [4,5,3,3] in 1 groups takes 5"),
    ("groups of outputs", lambda: F.conv1d(sn.zeros((1, 4, 8)), sn.zeros((3, 2, 3)), groups=2),
     ShapeError, "conv1d: 3 channels cannot be cut into 2 groups"),
    ("large kernel", lambda: F.conv2d(sn.zeros((1, 3, 8, 2)), sn.zeros((4, 3, 3, 3))), ShapeError,
     "conv2d: a kernel of [3,3] that reaches over 3 elements is larger than [8,2]"),
    ("rank", lambda: F.conv2d(sn.zeros((3, 8)), sn.zeros((4, 3, 3, 3))), ShapeError,
     "conv2d: x [3,8] must have 4 axes, or 3 for a single example, and the weight [4,3,3,3] 4"),
    ("weight's rank", lambda: F.conv1d(sn.zeros((3, 8)), sn.zeros((4, 3))), ShapeError,
     "conv1d: x [3,8] must have 3 axes"),
    ("no kernel", lambda: F.conv1d(sn.zeros((1, 3, 8)), sn.zeros((4, 3, 0))), ShapeError,
     "conv1d: the kernel [0] has no elements"),
    ("same", lambda: F.conv1d(sn.zeros((1, 3, 8)), sn.zeros((4, 3, 3)), None, 2, "same"),
     ArgumentError, 'conv1d: padding "same" is for stride 1, not (2,)'),
    ("padding", lambda: F.conv1d(sn.zeros((1, 3, 8)), sn.zeros((4, 3, 3)), None, 1, "full"),
     ArgumentError, "conv1d: padding must be one of 'same', 'valid', not 'full'"),
    ("negative", lambda: F.conv1d(sn.zeros((1, 3, 8)), sn.zeros((4, 3, 3)), None, 1, -1),
     ArgumentError, "conv1d: padding must be an int or 1 ints of at least 0, not -1"),
    ("stride", lambda: F.conv2d(sn.zeros((1, 3, 8, 8)), sn.zeros((4, 3, 3, 3)), None, (1, 2, 3)),
     ArgumentError, "conv2d: stride must be an int or 2 ints, not (1, 2, 3)"),
    ("zero stride", lambda: F.conv1d(sn.zeros((1, 3, 8)), sn.zeros((4, 3, 3)), stride=0),
     ArgumentError, "conv1d: stride must be an int or 1 ints of at least 1, not 0"),
    ("groups", lambda: F.conv1d(sn.zeros((1, 3, 8)), sn.zeros((4, 3, 3)), groups=0),
     ArgumentError, "conv1d: groups must be a positive int, not 0"),
    ("bias", lambda: F.conv1d(sn.zeros((1, 3, 8)), sn.zeros((4, 3, 3)), sn.zeros(3)), ShapeError,
     "conv1d: bias [3] must be [4]"),
    ("integers", lambda: F.conv1d(sn.zeros((1, 3, 8), "int64"), sn.zeros((4, 3, 3), "int64")),
     DTypeError, "conv1d: takes floating-point operands, not int64"),
    ("transposed channels", lambda: F.conv_transpose1d(sn.zeros((1, 3, 8)), sn.zeros((4, 3, 3))),
     ShapeError, "conv_transpose1d: f32[1,3,8] has 3 channels, and the weight f32[4,3,3] takes 4"),
    ("transposed groups",
     lambda: F.conv_transpose1d(sn.zeros((1, 3, 8)), sn.zeros((3, 3, 3)), groups=2),
     ShapeError, "conv_transpose1d: 3 channels cannot be cut into 2 groups"),
    ("output_padding",
     lambda: F.conv_transpose1d(sn.zeros((1, 3, 8)), sn.zeros((3, 3, 3)), None, 2, 0, 2),
     ArgumentError, "conv_transpose1d: output_padding (2,) must be less than the stride (2,)"),
    ("nothing left",
     lambda: F.conv_transpose1d(sn.zeros((1, 3, 1)), sn.zeros((3, 3, 3)), padding=2),
     ShapeError, "conv_transpose1d: padding 2 leaves nothing of y, which has -1 elements"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "call", "kind", "message"), WRONG, ids=[w[0] for w in WRONG])
def test_what_does_not_fit(what: str, call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)) as caught:
        call()
    assert "test_convolution.py:" in str(caught.value)


FEW_PIXELS: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "padded": ((1, 5, 4, 4), (64, 5, 3, 3), 2, {"padding": 1}),
    "of one tap": ((1, 9, 7, 7), (70, 9, 1, 1), 2, {}),
    "strides past the last": ((1, 6, 6, 6), (64, 6, 1, 1), 2, {"stride": 2}),
    "dilated": ((2, 3, 9, 5), (65, 3, 3, 2), 2, {"stride": 2, "padding": (2, 1), "dilation": 2}),
    "of one axis": ((1, 8, 8), (64, 8, 3), 1, {"padding": 1}),
    "of three": ((1, 3, 3, 4, 5), (64, 3, 2, 3, 3), 3, {"padding": (1, 1, 2)}),
    "along the last": ((1, 2, 1, 1, 6), (64, 2, 1, 1, 3), 3, {"padding": (0, 0, 3)}),
    "along the first": ((2, 2, 6, 1), (64, 2, 3, 1), 2, {"padding": (2, 1)}),
    "beyond the source": ((1, 2, 2, 2), (64, 2, 3, 3), 2, {"padding": 3, "dilation": 2}),
}


def test_convolutions_of_few_pixels(torch: Any) -> None:
    chosen = [
        Case(f"conv{axes}d", (rng.normal(size=x), rng.normal(size=w)), options)
        for x, w, axes, options in FEW_PIXELS.values()
    ]
    x, w = (sn.placeholder(a.shape, "float64") for a in chosen[0].arrays)
    y = F.conv2d(x, w, padding=1)
    gradient = sn.grad(sn.sum(y * y), [w])[0]
    assert program_of([x, w], gradient).convolutions == ("patches_f64",)
    check_against_pytorch(torch, chosen, ["cpu"])


def test_one_column_beside_padding(torch: Any) -> None:
    shapes = ((3, 2, 6, 1), (64, 2, 3, 1), 2, (2, 1)), ((1, 1, 5, 1), (1, 1, 1, 1), 2, (0, 2))
    chosen = [
        Case(f"conv{axes}d", (rng.normal(size=x), rng.normal(size=w)), {"padding": padding})
        for x, w, axes, padding in (*shapes, ((2, 2, 4, 1, 1), (3, 2, 2, 1, 1), 3, (1, 1, 2)))
    ]
    check_against_pytorch(torch, chosen, ["cpu"])


def test_scratch_memory_of_few_pixels_is_within_that_of_any_number() -> None:
    for inputs, size, kernel in ((3, 4, 3), (40, 2, 3), (512, 4, 3), (600, 7, 1)):
        x, w = (
            sn.placeholder(("n", inputs, size, size)),
            sn.placeholder((64, inputs, kernel, kernel)),
        )
        y = F.conv2d(x, w, padding=kernel // 2)
        step = sn.function([x, w], [y, *sn.grad(sn.sum(y * y), [w])])
        formula = step.memory_analysis()
        for examples in (1, 2, 4, 16, 64):
            assert step.memory_analysis(n=examples).peak <= formula.peak.at(n=examples)


def test_a_program_builds_only_the_libraries_that_it_calls() -> None:
    x, w = sn.placeholder((2, 32, 6, 6)), sn.placeholder((32, 32, 3, 3))
    few, each = sn.placeholder((3, 32, 3, 3)), sn.placeholder((32, 1, 3, 3))
    near, many = sn.placeholder((1, 32, 6, 6)), sn.placeholder((64, 32, 3, 3))
    wide = sn.placeholder((2, 32, 6, 6), "float64"), sn.placeholder((32, 32, 1, 1), "float64")
    large = sn.placeholder((2, 32, 28, 28))
    made = {
        (): ([x], x + 1),
        ("product_f32",): ([x, w], F.conv2d(x, w, stride=2)),
        ("planes_f32",): ([x, few], F.conv2d(x, few)),
        ("singles_f32",): ([x, each], F.conv2d(x, each, groups=32)),
        ("product_f64",): (list(wide), F.conv2d(*wide)),
        ("patches_f32",): ([near, many], F.conv2d(near, many)),
        ("depthwise_f32",): ([large, each], F.conv2d(large, each, groups=32)),
    }
    for ways, (inputs, y) in made.items():
        program = program_of(inputs, y)
        assert program.convolutions == ways
        assert not program.multiplies
        assert [program.convolution_routines(way) for way in ways] == [[0] for _ in ways]
    square = sn.placeholder((64, 64))
    assert program_of([square], square @ square).multiplies
    gradient = sn.grad(sn.sum(F.conv2d(x, w, stride=2)), [w])[0]
    program = program_of([x, w], gradient)
    assert program.convolution_routines("product_f32") == [1]


def test_ways_that_are_not_built_share_a_library_where_cores_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, w = sn.placeholder((2, 32, 28, 28)), sn.placeholder((32, 32, 3, 3))
    few, each = sn.placeholder((3, 32, 3, 3)), sn.placeholder((32, 1, 3, 3))
    wide = sn.placeholder((2, 32, 6, 6), "float64"), sn.placeholder((32, 32, 1, 1), "float64")
    convolved = [F.conv2d(x, w, stride=2), F.conv2d(x, few), F.conv2d(x, each, groups=32)]
    program = program_of([x, w, few, each, *wide], [*convolved, F.conv2d(*wide)])
    assert len(program.convolutions) == 4
    compiler = Compiler(("gcc",), "gcc", (), openmp=False)
    built: set[str] = set()
    monkeypatch.setattr(convolutions, "is_built", lambda text, _: text in built)

    def shared(cores: int) -> set[frozenset[str]]:
        monkeypatch.setattr(convolutions, "CORES", cores)
        texts = convolutions.sources(program, compiler)
        return {frozenset(w for w in texts if texts[w] == text) for text in texts.values()}

    alone = {frozenset([way]) for way in program.convolutions}
    few_cores = {
        frozenset(["product_f32", "planes_f32"]),
        frozenset(["depthwise_f32"]),
        frozenset(["product_f64"]),
    }
    assert shared(64) == alone
    assert shared(2) == few_cores
    monkeypatch.setattr(convolutions, "CORES", 64)
    built.add(convolutions.sources(program, compiler)["planes_f32"])
    assert shared(2) == alone


@pytest.mark.skipif(find_compiler() is None, reason="needs a C compiler")
def test_a_library_holds_what_its_program_calls() -> None:
    compiler = find_compiler()
    assert compiler is not None
    x, w = sn.placeholder((2, 3, 6, 6)), sn.placeholder((3, 3, 3, 3))
    y = F.conv2d(x, w)
    for fetched, wanted in ((y, [True, False]), (sn.grad(sn.sum(y), [w])[0], [False, True])):
        program = program_of([x, w], fetched)
        text = convolutions.sources(program, compiler)["planes_f32"]
        addresses = convolutions.routines(text, "planes_f32", compiler)
        assert [bool(address) for address in addresses][:2] == wanted


def program_of(inputs: list[sn.Tensor], y: sn.Tensor | list[sn.Tensor]) -> Program:
    """The C program of a value, which nothing compiles."""
    return write_program(sn.function(inputs, y).specialize().plan, PROTOTYPES)
