"""Normalisation against PyTorch in float64: values, gradients, second derivatives, all options."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine

import staticnet as sn
from staticnet import nn
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.errors import ArgumentError, ShapeError
from staticnet.nn import functional as F
from staticnet.ops.base import apply, items
from staticnet.ops.moments import CenteredSums, Moments
from staticnet.plan.planner import make_plan

COMPILES = True
Array = np.ndarray[Any, Any]
Case = tuple[str, list[Array], Callable[..., Any]]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def vectors(c: int, affine: str) -> list[Array]:
    """A weight and a bias, as far as `affine` names them."""
    return [numbers(c, seed=i) for i, name in enumerate("wb") if name in affine]


def named(affine: str, given: Any) -> dict[str, Any]:
    """Parameters by name; beside a bias alone PyTorch's derivatives need a weight, of ones."""
    names = {"w": "weight", "b": "bias"}
    found = {names[letter]: value for letter, value in zip(affine, given, strict=True)}
    if affine == "b" and hasattr(given[0], "new_ones"):
        found["weight"] = given[0].new_ones(given[0].shape)
    return found


def calling(*fixed: Any, affine: str = "", **options: Any) -> Any:
    """From a library's function: the call with fixed operands and options, on x and parameters."""
    return lambda f: lambda x, *p: f(x, *fixed, **options, **named(affine, p))


def evaluating(c: int, affine: str, eps: float) -> Any:
    """The call with running statistics, which PyTorch has no derivative by."""
    mean, var = numbers(c, seed=7), numbers(c, seed=8) ** 2 + 0.5

    def of(x: Any, v: Array) -> Any:
        return x.new_tensor(v) if hasattr(x, "new_tensor") else v

    return lambda f: lambda x, *p: f(x, of(x, mean), of(x, var), eps=eps, **named(affine, p))


def channel_cases(shape: tuple[int, ...], affine: str, eps: float) -> Iterator[tuple[Any, ...]]:
    c, inputs = shape[1], [numbers(*shape), *vectors(shape[1], affine)]
    batch = calling(None, None, training=True, eps=eps, affine=affine)
    yield "batch_norm", inputs, batch
    yield "batch_norm", inputs, evaluating(c, affine, eps)
    if len(shape) > 2:
        yield "instance_norm", inputs, calling(eps=eps, affine=affine)
        for groups in (1, 2, c):
            if c % groups == 0:
                yield "group_norm", inputs, calling(groups, eps=eps, affine=affine)


def row_cases(shape: tuple[int, ...], own: Any, affine: str, eps: float) -> Iterator[Any]:
    parameters = [numbers(*own, seed=i) for i, name in enumerate("wb") if name in affine]
    inputs = [numbers(*shape), *parameters]
    yield "layer_norm", inputs, calling(own, eps=eps, affine=affine)
    if "b" not in affine:
        yield "rms_norm", inputs, calling(own, eps=None if eps < 0.01 else eps, affine=affine)


def cases() -> Iterator[Case]:
    """Name, inputs, and what makes of a library's function one of the inputs."""
    shapes = [(4, 3), (2, 3, 5), (3, 4, 2, 3), (2, 2, 2, 1, 3)]
    for shape, affine, eps in itertools.product(shapes, ("", "w", "b", "wb"), (1e-5, 0.1)):
        yield from channel_cases(shape, affine, eps)
        for last in (1, 2):
            yield from row_cases(shape, shape[-last:], affine, eps)
    for shape, size in itertools.product(shapes[1:], (1, 2, 3, 7)):
        for options in ({}, {"alpha": 0.5, "beta": 1.5, "k": 2.0}):
            yield "local_response_norm", [numbers(*shape)], calling(size, **options)


def of_theirs(torch: Any, f: Callable[..., Any], inputs: list[Array]) -> list[Array | None]:
    """The result, its gradients and theirs; None where PyTorch has no second derivative."""
    xs = [torch.tensor(x, requires_grad=True) for x in inputs]
    y = f(*xs)
    weights = torch.tensor(numbers(*y.shape, seed=3))
    first = torch.autograd.grad((y * weights).sum(), xs, create_graph=True)
    again = sum((g * torch.tensor(numbers(*g.shape, seed=4))).sum() for g in first)
    try:
        second = torch.autograd.grad(again, xs, allow_unused=True)
    except RuntimeError:
        second = [None] * len(xs)
    return [None if z is None else z.detach().numpy() for z in (y, *first, *second)]


def of_ours(f: Callable[..., Any], xs: list[Any]) -> list[Any]:
    y = f(*xs)
    first = sn.grad(sn.sum(y * numbers(*y.shape, seed=3)), xs)
    again = 0.0 * sn.sum(xs[0])
    for g in first:
        again = again + sn.sum(g * numbers(*g.shape, seed=4))
    second = sn.grad(again, xs, allow_unused=True)
    return [y, *first, *second]


@pytest.mark.parametrize(
    ("device", "every"),
    [
        ("numpy", 11),
        ("cpu", 29),
        pytest.param("numpy", 1, marks=pytest.mark.slow),
        pytest.param("cpu", 3, marks=pytest.mark.slow),
    ],
)
def test_functions_are_pytorchs(torch: Any, device: str, every: int) -> None:
    """Many cases in one function, so that it is compiled once."""
    chosen = list(cases())[::every]
    inputs, outputs, feeds, expected = [], [], [], []
    for i, (name, arrays, make) in enumerate(chosen):
        xs = [sn.placeholder(a.shape, "float64", f"x{i}_{j}") for j, a in enumerate(arrays)]
        inputs += xs
        outputs += of_ours(make(getattr(F, name)), xs)
        feeds += arrays
        theirs = make(getattr(torch.nn.functional, name))
        expected += [(f"{name} {i}", e) for e in of_theirs(torch, theirs, arrays)]
    found = sn.function(inputs, outputs, device=device)(*feeds)
    assert len(chosen) >= 9
    for y, (name, e) in zip(found, expected, strict=True):
        if e is not None:
            np.testing.assert_allclose(y, e, 1e-7, 1e-9, err_msg=name)


LAYERS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = {
    f"{name}{args}{options}": (name, args, options, shape)
    for name, args, options, shape in [
        ("BatchNorm1d", (3,), {}, (4, 3)),
        ("BatchNorm1d", (3,), {"momentum": None}, (4, 3, 2)),
        ("BatchNorm2d", (3,), {"affine": False, "momentum": 0.3}, (2, 3, 2, 3)),
        ("BatchNorm2d", (3,), {"track_running_stats": False, "eps": 0.1}, (2, 3, 2, 3)),
        ("BatchNorm3d", (2,), {}, (2, 2, 2, 1, 3)),
        ("InstanceNorm1d", (3,), {}, (2, 3, 4)),
        ("InstanceNorm1d", (3,), {"track_running_stats": True}, (3, 4)),
        ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, (2, 3, 2, 3)),
        ("InstanceNorm2d", (3,), {"track_running_stats": True, "momentum": 0.4}, (3, 2, 3)),
        ("InstanceNorm3d", (2,), {"affine": True}, (2, 2, 2, 1, 3)),
        ("LayerNorm", (3,), {}, (4, 3)),
        ("LayerNorm", ((2, 3),), {"bias": False}, (4, 2, 3)),
        ("LayerNorm", ((3,),), {"elementwise_affine": False, "eps": 0.1}, (2, 4, 3)),
        ("GroupNorm", (2, 4), {}, (3, 4, 2)),
        ("GroupNorm", (4, 4), {"affine": False, "eps": 0.1}, (3, 4, 2, 2)),
        ("RMSNorm", (3,), {}, (4, 3)),
        ("RMSNorm", ((2, 3),), {"eps": 0.1, "elementwise_affine": False}, (4, 2, 3)),
        ("LocalResponseNorm", (3,), {}, (2, 5, 3)),
        ("LocalResponseNorm", (2,), {"alpha": 0.1, "beta": 0.5, "k": 2.0}, (2, 5, 3, 2)),
    ]
}


def layers(torch: Any, name: str, args: Any, options: Any) -> tuple[Any, Any]:
    """Ours and theirs, in float64, with the same random parameters."""
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    return ours.double(), theirs.double()


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS.values(), ids=LAYERS)
def test_layers_are_pytorchs(
    torch: Any, name: str, args: Any, options: Any, shape: tuple[int, ...]
) -> None:
    ours, theirs = layers(torch, name, args, options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    batches = [numbers(*shape, seed=i) for i in range(3)]
    x = sn.placeholder(shape, "float64")
    step = sn.function(x, ours(x), device="numpy")
    for batch in batches:
        np.testing.assert_allclose(
            step(batch), theirs(torch.from_numpy(batch)).detach().numpy(), 1e-9, 1e-12
        )
    for batch in batches[:2]:
        y = ours(sn.dynamic.tensor(batch))
        np.testing.assert_allclose(
            y.numpy(), theirs(torch.from_numpy(batch)).detach().numpy(), 1e-9, 1e-12
        )
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), 1e-9, err_msg=key)
    y = sn.function(x, ours.eval()(x), device="numpy")(batches[0])
    expected = theirs.eval()(torch.from_numpy(batches[0])).detach().numpy()
    np.testing.assert_allclose(y, expected, 1e-9, 1e-12)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_float32(torch: Any, dtype: str) -> None:
    """Also beside parameters of float32, and where sums in 16 bits would overflow."""
    wide = numbers(64, 4, 8).astype("float32") * 200 + 300
    x = sn.placeholder(wide.shape, dtype)
    w = numbers(4, seed=1).astype("float32")
    for parameter in (w, w.astype(x.dtype)):
        outputs = [
            F.batch_norm(x, None, None, parameter, training=True),
            F.batch_norm(x, parameter, abs(w).astype(parameter.dtype) + 1, parameter),
            F.instance_norm(x, None, None, parameter, parameter),
            F.group_norm(x, 2, parameter, parameter),
            F.layer_norm(x, 8),
            F.rms_norm(x, (8,)),
            F.local_response_norm(x, 3),
        ]
        values = sn.function(x, outputs, device="numpy")(wide.astype(x.dtype))
        z = sn.placeholder(wide.shape)
        p = parameter.astype("float32")
        exact = sn.function(
            z,
            [
                F.batch_norm(z, None, None, p, training=True),
                F.batch_norm(z, p, (abs(w).astype(parameter.dtype) + 1).astype("float32"), p),
                F.instance_norm(z, None, None, p, p),
                F.group_norm(z, 2, p, p),
                F.layer_norm(z, 8),
                F.rms_norm(z, (8,)),
                F.local_response_norm(z, 3),
            ],
            device="numpy",
        )(wide.astype(x.dtype).astype("float32"))
        for y, e in zip(values, exact, strict=True):
            assert y.dtype == x.dtype
            np.testing.assert_allclose(y.astype("float32"), e, 1e-2, 1e-2)
    layer = nn.BatchNorm1d(4).to(dtype)
    y = sn.function(x, layer(x), device="numpy")(wide.astype(x.dtype))
    assert y.dtype == layer.running_mean.dtype == x.dtype
    assert np.isfinite(layer.running_var.value.astype("float32")).all()


def test_symbolic_and_empty_sizes() -> None:
    x = sn.placeholder(("n", 4, "length"), "float64")
    outputs = [
        F.batch_norm(x, None, None, training=True),
        F.instance_norm(x),
        F.group_norm(x, 2),
        F.local_response_norm(x, 3),
    ]
    f = sn.function(x, outputs, device="numpy")
    for shape in ((2, 4, 3), (3, 4, 5)):
        batch = numbers(*shape)
        z = sn.placeholder(shape, "float64")
        fixed = [
            F.batch_norm(z, None, None, training=True),
            F.instance_norm(z),
            F.group_norm(z, 2),
            F.local_response_norm(z, 3),
        ]
        for y, e in zip(f(batch), sn.function(z, fixed, device="numpy")(batch), strict=True):
            np.testing.assert_allclose(y, e, 1e-12)
    for y in f(np.zeros((0, 4, 3))):
        assert y.shape == (0, 4, 3)


def test_wrong_operands_say_what_is_wrong() -> None:
    x = sn.placeholder((2, 3, 4), name="norm_x")
    three, four = np.ones(3, "float32"), np.ones(4, "float32")
    one = sn.placeholder((1, 3), name="norm_one")
    shape_errors = [
        lambda: F.batch_norm(x, four, three),
        lambda: F.batch_norm(x, None, None, four, training=True),
        lambda: F.batch_norm(one, None, None, training=True),
        lambda: F.batch_norm(sn.placeholder((3,)), three, three),
        lambda: F.instance_norm(sn.placeholder((2, 3, 1))),
        lambda: F.layer_norm(x, 3),
        lambda: F.layer_norm(x, (3, 4), four),
        lambda: F.rms_norm(x, (2, 3)),
        lambda: F.group_norm(x, 2),
        lambda: F.local_response_norm(one, 2),
        lambda: nn.BatchNorm2d(3)(x),
        lambda: nn.BatchNorm1d(4)(x),
        lambda: nn.InstanceNorm1d(4)(x),
        lambda: nn.GroupNorm(2, 4)(x),
        lambda: nn.LayerNorm(3)(x),
    ]
    for act in shape_errors:
        with pytest.raises(ShapeError, match=r"test_normalization\.py:\d+"):
            act()
    argument_errors = [
        lambda: F.batch_norm(x, None, None),
        lambda: F.batch_norm(x, three, three, training=True),
        lambda: F.batch_norm(x, three, None),
        lambda: F.batch_norm(x, three, three, eps=-1),
        lambda: F.instance_norm(x, use_input_stats=False),
        lambda: F.group_norm(x, 0),
        lambda: nn.BatchNorm1d(0),
        lambda: nn.BatchNorm1d(3, momentum=2.0),
        lambda: nn.GroupNorm(2, 3),
        lambda: nn.LayerNorm(()),
        lambda: nn.LayerNorm(3, eps="small"),
        lambda: nn.BatchNorm1d(3, device="cuda"),  # type: ignore[call-arg]
    ]
    for act in argument_errors:
        with pytest.raises(ArgumentError):
            act()


def test_moments_are_exact_in_one_pass() -> None:
    """Of odd sizes, channels anywhere, and means far from 0, where sums of squares would cancel."""
    shapes = [((3, 5, 7), 1), ((4, 37), 1), ((2, 3, 40, 50), 1), ((130, 70), 1), ((5, 6, 7, 33), 3)]
    inputs, outputs, feeds, expected = [], [], [], []
    for i, ((shape, axis), far, dtype) in enumerate(
        itertools.product([*shapes, ((1, 1, 5000), 1), ((4,), 0)], (0, 1e4), ("float32", "float64"))
    ):
        x = sn.placeholder(shape, dtype, f"moments_{i}")
        g = sn.placeholder(shape, dtype, f"weights_{i}")
        mean, var = items(apply(Moments(axis), x))
        inputs += [x, g]
        outputs += [mean, var, *items(apply(CenteredSums(axis), g, x, mean))]
        feed, weights = (numbers(*shape, seed=s).astype(dtype) for s in (1, 2))
        feed = (feed / 10 + far).astype(dtype)
        feeds += [feed, weights]
        axes = tuple(k for k in range(len(shape)) if k != axis)
        wide = feed.astype("float64")
        m = wide.mean(axes).astype(dtype).astype("float64")
        centred = wide - m.reshape([-1 if k == axis else 1 for k in range(len(shape))])
        own = [wide.mean(axes), wide.var(axes), weights.sum(axes, "float64")]
        expected += [(e, dtype) for e in (*own, (weights * centred).sum(axes))]
    found = sn.function(inputs, outputs, device="cpu")(*feeds)
    for y, (e, dtype) in zip(found, expected, strict=True):
        scale = 1e-5 if dtype == "float32" else 1e-10
        np.testing.assert_allclose(y, e, scale * 10, scale * max(1, np.abs(e).max()))


def test_a_batch_norm_reads_its_input_twice_and_so_does_its_gradient() -> None:
    shape = (8, 16, 12, 12)
    x, g = sn.placeholder(shape, name="norm_plan_x"), sn.placeholder(shape, name="norm_plan_g")
    w, b = (sn.placeholder((16,), name=f"norm_plan_{n}") for n in "wb")
    y = F.batch_norm(x, None, None, w, b, training=True)
    f = sn.function([x, g, w, b], [y, *sn.vjp(y, [x, w, b], g)], device="cpu")
    whole = 4 * int(np.prod(shape))
    assert f.explain().bytes_moved < 8.1 * whole  # x, x -> y; x, g; x, g -> dx


def trained(shape: tuple[int, ...]) -> Any:
    """A training step of a small model of norms, and its plan's graph."""
    x = sn.placeholder(shape, name="norm_cuda")
    model = nn.Sequential(nn.BatchNorm2d(shape[1]), nn.GroupNorm(2, shape[1]), nn.Tanh())
    loss = sn.mean(model(x) ** 2)
    step = sn.function(x, loss, updates=sn.optim.SGD(0.1).minimize(loss), device="numpy")
    return step


@pytest.mark.skipif(CXX is None, reason="needs g++")
def test_the_shim_agrees_and_its_bits_do_not_depend_on_order(tmp_path: Path) -> None:
    step = trained((3, 4, 5, 7))
    graph = step.passes()[-1].graph
    state = [v.value for v in graph.variables]
    machine = Machine(graph, tmp_path)
    feed = numbers(3, 4, 5, 7).astype("float32")
    failed, outputs, after = machine.run([feed], state)
    _, _, again = machine.run([feed], state, reverse=True)
    assert not failed
    np.testing.assert_allclose(outputs[0], step(feed), 1e-5)
    for v, own, same in zip(graph.variables, after, again, strict=True):
        np.testing.assert_allclose(own, v.value, 1e-5, 1e-6)
        np.testing.assert_array_equal(own, same)


@pytest.mark.parametrize("architecture", [pytest.param("sm_80", marks=pytest.mark.slow), "sm_90"])
def test_cuda_compiles(architecture: str) -> None:
    nvrtc = find_nvrtc()
    if nvrtc is None:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc")
    graph = trained((8, 16, 12, 12)).passes()[-1].graph
    program = write_cuda_program(make_plan(graph))
    assert "sn_moments<" in program.source
    assert "sn_centered_sums<" in program.source
    assert nvrtc.compile(program.source, architecture)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1, 3)])
def test_special_values_are_numpys(shape: tuple[int, ...]) -> None:
    """Infinities and NaN in single channels, on the CPU as on NumPy; other channels are as ever."""
    feed = numbers(*shape).astype("float32")
    feed[0, 0], feed[1, 1], feed[2, 2] = np.inf, np.nan, 1e30
    x = sn.placeholder(shape, name=f"special_{len(shape)}")
    mean, var = items(apply(Moments(1), x))
    y = F.batch_norm(x, None, None, training=True)
    fixed = F.batch_norm(x, np.full(4, np.inf, "float32"), np.ones(4, "float32"))
    results = [
        sn.function(x, [mean, var, y, fixed], device=device)(feed) for device in ("numpy", "cpu")
    ]
    assert np.isinf(results[0][0][0])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-6)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("numerics", ["fast", "exact"])
def test_one_vector_and_one_number_keep_their_axes(device: Any, numerics: Any) -> None:
    """What simplifies ops on views of vectors and of scalars does not lose a channel's axis."""
    v = sn.placeholder((6,), name="one_vector")
    u = sn.placeholder((1,), name="one_channel")
    s = sn.placeholder((), name="one_number")
    own = np.linspace(0.5, 2, 24, dtype="f").reshape(4, 6)
    outputs, wanted = [], []
    a = np.linspace(-1, 1, 6, dtype="f")
    for x, at, c in (
        *((sn.reshape(v, (1, 6, *(1,) * n)) * 2, 2 * a, 6) for n in range(4)), (v[None], a, 6),
        (sn.expand_dims(u, (0, 2)), np.float32([3]), 1),
        *((sn.broadcast_to(s, (n, 6, 3)), np.full(6, 5, "f"), 6) for n in (1, 2)),
    ):  # fmt: skip
        mean, var, scale, shift = own[:, :c]
        y = F.batch_norm(x, mean, var, scale, shift, training=False)
        outputs.append(y)
        flat = (at - mean) / np.sqrt(var + 1e-5) * scale + shift
        column = flat.reshape(1, c, *(1,) * (x.ndim - 2))
        wanted.append(np.broadcast_to(column, y.shape))
    f = sn.function([v, u, s], outputs, device=device, numerics=numerics)
    for y, right in zip(f(a, np.float32([3]), np.float32(5)), wanted, strict=True):
        np.testing.assert_allclose(y, right, 1e-5, 1e-6)
