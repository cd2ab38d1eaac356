"""Arrays shared with PyTorch and JAX by DLPack, both ways, uncopied where nothing forces it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.backends.cpu.compiler import find_compiler
from staticnet.errors import FeedError
from staticnet.feeds import convert
from staticnet.ir.dlpack import from_dlpack

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
DEVICES = ["numpy", pytest.param("cpu", marks=needs_compiler)]


def torch_side() -> tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], int]]:
    torch = pytest.importorskip("torch")
    return torch.from_numpy, torch.from_dlpack, lambda x: int(x.data_ptr())


def jax_side() -> tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], int]]:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_platforms", "cpu")
    return jax.numpy.asarray, jax.numpy.from_dlpack, lambda x: int(x.unsafe_buffer_pointer())


SIDES = pytest.mark.parametrize("side", [torch_side, jax_side])


@SIDES
@pytest.mark.parametrize("device", DEVICES)
def test_their_arrays_are_fed_and_ours_are_read(side: Any, device: str) -> None:
    there, back, _ = side()
    x, w = sn.placeholder(("batch", 3), name="x"), sn.variable(np.ones((3, 2), "f"), "w")
    step = sn.function(x, [x @ w, sn.sum(x)], updates={w: w + 1}, device=device)
    feed = np.arange(12, dtype="f").reshape(4, 3)
    for turn in (1, 2):
        product, total = step(x=there(feed))
        np.testing.assert_array_equal(np.asarray(back(product)), feed @ np.full((3, 2), turn, "f"))
        assert float(back(total)) == feed.sum()
    many = step.run(2, there(feed), batch_size=2)
    assert back(many[0]).shape == (2, 2, 2)


@SIDES
def test_a_feed_is_not_copied(side: Any) -> None:
    there, _, address = side()
    x = sn.placeholder((256,), name="x")
    tensor = there(np.arange(256, dtype="f"))
    assert convert(x, tensor).ctypes.data == address(tensor)


@SIDES
@pytest.mark.parametrize("device", DEVICES)
def test_an_output_is_not_copied_and_stays(side: Any, device: str) -> None:
    _, back, address = side()
    x = sn.placeholder((4096,), name="x")
    step = sn.function(x, x * 2, device=device)
    first = step(np.ones(4096, "f"))
    shared = back(first)
    if first.ctypes.data % 64 == 0:  # JAX copies what is not aligned so
        assert address(shared) == first.ctypes.data
    step(np.full(4096, 5, "f"))
    np.testing.assert_array_equal(np.asarray(shared), np.full(4096, 2, "f"))


def test_a_strided_tensor() -> None:
    torch = pytest.importorskip("torch")
    x = sn.placeholder((3, 4), name="x")
    tensor = torch.arange(12.0).reshape(4, 3).T
    got = sn.function(x, x + 0.5)(x=tensor)
    np.testing.assert_array_equal(got, tensor.numpy() + 0.5)


def test_dtypes_that_they_share() -> None:
    torch = pytest.importorskip("torch")
    for name in ("bool", "int8", "uint8", "int32", "int64", "float16", "float64"):
        x = sn.placeholder((3,), name, "x")
        tensor = torch.tensor([0, 1, 1], dtype=getattr(torch, name))
        got = torch.from_dlpack(sn.function(x, sn.where(True, x, x))(tensor))
        assert got.dtype == tensor.dtype
        assert torch.equal(got, tensor)


def test_what_cannot_be_shared_is_told() -> None:
    torch = pytest.importorskip("torch")
    x = sn.placeholder((3,), name="x")
    f = sn.function(x, x * 2)
    with pytest.raises(sn.errors.FeedError, match="x: .* is fed Tensor: "):
        f(torch.ones(3, requires_grad=True))
    with pytest.raises(sn.errors.FeedError, match="is fed float64"):
        f(torch.ones(3, dtype=torch.float64))
    with pytest.raises(sn.errors.FeedError, match="is fed Tensor: "):
        f(torch.ones(3, device="meta"))


def bfloat16_of(library: str, values: np.ndarray[Any, Any]) -> Any:
    module = pytest.importorskip("jax.numpy" if library == "jax" else library)
    made = module.asarray(values)
    return made.astype("bfloat16") if library == "jax" else made.to(module.bfloat16)


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3)])
def test_bfloat16_comes_over(library: str, shape: tuple[int, ...]) -> None:
    values = np.linspace(-2, 3, int(np.prod(shape)), dtype="float32").reshape(shape)
    there = bfloat16_of(library, values)
    x = sn.placeholder(shape, "bfloat16", name="x")
    rounded = values.astype(sn.bfloat16)
    double = sn.function(x, x * 2, device="numpy")
    for _ in range(2):
        np.testing.assert_array_equal(double(there), rounded * 2)
    np.testing.assert_array_equal(sn.dynamic.tensor(there).numpy(), rounded)
    held = sn.variable(there)
    assert held.dtype == sn.bfloat16
    np.testing.assert_array_equal(held.value, rounded)


def test_bfloat16_is_shared_with_its_strides_and_kept_alive() -> None:
    torch = pytest.importorskip("torch")
    whole = torch.arange(24, dtype=torch.bfloat16).reshape(4, 6)
    view = whole.T[1:]
    shared = from_dlpack(view)
    assert shared.ctypes.data == view.data_ptr()
    expected = np.arange(24.0).reshape(4, 6).T[1:]
    del view, whole
    np.testing.assert_array_equal(shared.astype("float64"), expected)
    assert not shared.flags.writeable


def test_what_no_dtype_holds_is_told() -> None:
    torch = pytest.importorskip("torch")
    x = sn.placeholder((2,), name="x")
    for tensor in (torch.zeros(2, dtype=torch.float8_e4m3fn), torch.zeros(2, requires_grad=True)):
        with pytest.raises(FeedError, match="placeholder x.*does not convert to an array"):
            sn.function(x, x, device="numpy")(tensor)
