"""What numbers and lists become beside arrays, and what arrays promote to, wherever they meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, FeedError, StateError
from staticnet.ir.dtype import as_dtype
from staticnet.ops.promotion import as_array

TENTHS = [0.1, 0.2, 0.7]
WEAK: dict[str, Any] = {
    "float": 0.1,
    "list": TENTHS,
    "tuple": tuple(TENTHS),
    "float64": np.float64(0.1),
    "0-d array": np.array(0.1),
    "list of scalars": [np.float64(x) for x in TENTHS],
}
MEETINGS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, w: x + w,
    "reflected": lambda x, w: w - x,
    "divide": lambda x, w: x / w,
    "less": lambda x, w: sn.where(x < w, x, w),
    "where": lambda x, w: sn.where([True, False, True], x, w),
    "clip": lambda x, w: sn.clip(x, w, None),
    "clip of a constant": lambda x, w: sn.clip(w, None, x),
    "maximum": lambda x, w: sn.maximum(w, x),
    "full_like": lambda x, w: x * sn.full_like(x, w),
}
VECTORS: dict[str, Callable[[Any, Any], Any]] = {
    "concat": lambda x, w: sn.concat([x, w]),
    "stack": lambda x, w: sn.stack([w, x]),
    "matmul": lambda x, w: sn.matmul(w, x),
    "vecdot": lambda x, w: sn.vecdot(x, w),
    "outer": lambda x, w: sn.outer(w, x),
    "tensordot": lambda x, w: sn.tensordot(x, w, 1),
    "einsum": lambda x, w: sn.einsum("i,i->i", x, w),
    "scatter_add": lambda x, w: sn.scatter_add(x, [0, 2, 1], w),
    "mse_loss": lambda x, w: sn.nn.mse_loss(x, w, "none"),
    "linear": lambda x, w: sn.nn.linear(x, [w, w], [0.1, 0.3]),
    "cross_entropy": lambda x, w: sn.nn.cross_entropy(x, w),
    "weighted": lambda x, w: sn.nn.binary_cross_entropy_with_logits(x, x, w),
}  # fmt: skip
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def compute(device: str, f: Callable[[Any], Any], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if device == "dynamic":
        return np.asarray(f(sn.dynamic.tensor(x)).numpy())
    node = sn.placeholder(x.shape, x.dtype, "x")
    return np.asarray(sn.function([node], f(node), device=device)(x))


def sample(dtype: str) -> np.ndarray[Any, Any]:
    return np.array([0.3, -1.25, 2.5]).astype(sn.zeros((), dtype).dtype)


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
@pytest.mark.parametrize("dtype", DTYPES)
class TestWeakOperands:
    """Each equals the same with an array that was made in the dtype."""

    @pytest.mark.parametrize("weak", list(WEAK))
    def test_elementwise(self, weak: str, dtype: str, device: str) -> None:
        x = sample(dtype)
        for name, f in MEETINGS.items():
            exact = np.broadcast_to(np.asarray(WEAK[weak]), (3,)).astype(x.dtype)
            got = compute(device, lambda v, f=f: f(v, WEAK[weak]), x)
            wanted = compute(device, lambda v, f=f, exact=exact: f(v, exact), x)
            assert got.dtype == x.dtype, name
            np.testing.assert_array_equal(got, wanted, name)

    @pytest.mark.parametrize("name", list(VECTORS))
    def test_vectors(self, name: str, dtype: str, device: str) -> None:
        x = sample(dtype)
        f = VECTORS[name]
        got = compute(device, lambda v: f(v, TENTHS), x)
        wanted = compute(device, lambda v: f(v, np.array(TENTHS).astype(x.dtype)), x)
        assert got.dtype == x.dtype
        np.testing.assert_allclose(
            got.astype("f8"), wanted.astype("f8"), rtol=0 if dtype == "float64" else 1e-2
        )


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
def test_lists_keep_their_digits_beside_float64(device: str) -> None:
    got = compute(device, lambda x: x * TENTHS, np.ones(3))
    np.testing.assert_array_equal(got, TENTHS)


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
def test_scalars_of_numpy_do_not_widen(device: str) -> None:
    x = np.ones(3, "f")
    for scalar in (np.sqrt(3), np.array(2.0), np.int64(3), np.float16(0.5), np.uint8(3)):
        for f in (lambda v, s=scalar: v / s, lambda v, s=scalar: s * v, lambda v, s=scalar: v**s):
            assert compute(device, f, x).dtype == np.float32
    assert compute(device, lambda v: v + np.int64(3), np.ones(3, "i1")).dtype == np.int8


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
def test_arrays_with_axes_promote(device: str) -> None:
    assert compute(device, lambda v: v * np.ones(1), np.ones(3, "f")).dtype == np.float64
    assert compute(device, lambda v: v * np.ones(1, "f2"), np.ones(3, "f")).dtype == np.float32
    assert compute(device, lambda v: v * sn.constant(np.float64(2)), np.ones(3, "f")).dtype == "f8"


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
def test_numbers_out_of_range_are_refused(device: str) -> None:
    x = np.ones(2, "i1")
    for wrong, message in (
        (300, "300 is out of the range of int8"),
        ([1, 300], "out of the range of int8"),
        (np.int64(-129), "out of the range of int8"),
        (2**70, "out of the range of int8"),
        ([2**70, 1], "out of the range of int8"),
        (1j, "complex128 is not supported"),
        ("1", "is not supported"),
    ):
        with pytest.raises(DTypeError, match=message):
            compute(device, lambda v, wrong=wrong: v + wrong, x)
    with pytest.raises(DTypeError, match="bits is too large for a float"):
        compute(device, lambda v: sn.add(v, [10**400, 1]), np.ones(2))


@pytest.mark.parametrize("device", ["numpy", "dynamic"])
def test_numbers_past_the_range_of_a_float(device: str) -> None:
    assert compute(device, lambda v: sn.add(v, [1e300]), np.ones(1, "f")) == np.inf
    assert compute(device, lambda v: v * -1e300, np.ones(1, "f")) == -np.inf
    assert compute(device, lambda v: sn.add(v, [2**70]), np.zeros(1)) == 2.0**70
    assert compute(device, lambda v: sn.concat([v, []]), np.ones(1, "i4")).dtype == np.int32


class TestMaking:
    def test_a_given_dtype_takes_the_digits(self) -> None:
        for made in (
            sn.constant(TENTHS, "float64"),
            sn.astype(TENTHS, "float64"),
            sn.full((3,), TENTHS, "float64"),
            sn.full_like(np.ones(3), TENTHS),
        ):
            np.testing.assert_array_equal(sn.function([], made, device="numpy")(), TENTHS)
        for tensor in (
            sn.dynamic.tensor(TENTHS, "float64"),
            sn.dynamic.as_tensor(TENTHS, "float64"),
        ):
            np.testing.assert_array_equal(tensor.numpy(), TENTHS)

    def test_alone_a_list_is_float32_and_numpy_keeps_its_own(self) -> None:
        assert sn.constant(TENTHS).dtype == np.float32
        assert sn.constant(np.float64(0.1)).dtype == np.float64
        assert sn.full((2,), np.float16(1)).dtype == np.float16
        assert sn.add(np.float64(0.1), 1).dtype == np.float64
        assert sn.add(0.1, 1).dtype == np.float32

    @pytest.mark.parametrize("make", [sn.constant, sn.dynamic.tensor, sn.dynamic.as_tensor])
    def test_numbers_out_of_range(self, make: Callable[..., Any]) -> None:
        for value in (300, [1, 300], np.int64(300), np.array(-129), [np.nan, 1.0]):
            with pytest.raises(DTypeError, match="out of the range of int8"):
                make(value, "int8")

    def test_ranges_of_numpy_scalars(self) -> None:
        def value(x: Any) -> Any:
            return sn.function([], x, device="numpy")()

        ramp = value(sn.arange(np.int64(1), np.int32(7), np.int64(2)))
        np.testing.assert_array_equal(ramp, [1, 3, 5])
        assert ramp.dtype == np.int64
        assert sn.arange(np.float64(3)).dtype == np.float32
        even = value(sn.linspace(np.float64(0), np.array(0.3), np.int64(4), "float64"))
        np.testing.assert_array_equal(even, np.linspace(0, 0.3, 4))
        k = sn.random.key(3)
        for draw in (sn.random.uniform, sn.random.normal):
            assert draw(k, (2,), "float32", np.float64(0), np.float64(3)).dtype == np.float32


class TestState:
    def test_values_of_variables(self) -> None:
        w = sn.variable(np.zeros(3))
        w.value = TENTHS
        np.testing.assert_array_equal(w.value, TENTHS)
        n = sn.variable(np.zeros(2, "i1"))
        for wrong in ([1, 300], np.array([1, 300]), [1, 2**70]):
            with pytest.raises(DTypeError, match="cannot hold this value"):
                n.value = wrong
        with pytest.raises(StateError, match="cannot hold float32"):
            n.value = [1.0, 2.0]
        np.testing.assert_array_equal(n.value, [0, 0])

    def test_copies_to_a_leaf(self) -> None:
        leaf = sn.dynamic.tensor(np.zeros(3), requires_grad=True)
        with sn.dynamic.no_grad():
            leaf.copy_(TENTHS)
        np.testing.assert_array_equal(leaf.numpy(), TENTHS)
        (leaf * 2).backward(TENTHS)
        np.testing.assert_array_equal(leaf.grad.numpy(), np.array(TENTHS) * 2)

    def test_feeds(self) -> None:
        x = sn.placeholder((3,), "float64", "x")
        s = sn.placeholder((), "float32", "s")
        f = sn.function([x, s], [x, s], device="numpy")
        for scalar in (0.1, np.float64(0.1), np.array(0.1), np.int64(0)):
            vector, number = f(TENTHS, scalar)
            np.testing.assert_array_equal(vector, TENTHS)
            assert number == np.float32(scalar)
        with pytest.raises(FeedError, match="is fed float64"):
            f(TENTHS, np.ones(1))
        with pytest.raises(FeedError, match="is fed bool"):
            f(TENTHS, np.True_)

    @pytest.mark.parametrize("number", [0.25, np.float64(0.25), np.float16(0.25), np.array(0.25)])
    def test_hyperparameters(self, number: Any) -> None:
        w = sn.variable(np.ones(2, "f"))
        for lr in (number, lambda step: number):
            updates = sn.optim.SGD(lr=lr, momentum=number, weight_decay=number).minimize(sn.sum(w))
            assert updates[w].dtype == np.float32
        (clipped,) = sn.optim.clip_by_value([w], number)
        assert clipped.dtype == np.float32
        assert sn.nn.huber_loss(w, w, delta=number).dtype == np.float32
        made = sn.nn.init.normal((2,), 0.0, number)
        assert made.dtype == np.float32
        with pytest.raises(ArgumentError):
            sn.optim.SGD(lr=np.True_)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    "number", [0, 1, -1, 127, 300, 2**40, 2**200, 2.5, -3.75, 1e30, float("nan")]
)
def test_a_number_becomes_what_a_list_of_it_does(number: float, dtype: str) -> None:
    try:
        listed = as_array([number], as_dtype(dtype))
    except DTypeError:
        with pytest.raises(DTypeError, match="out of the range"):
            as_array(number, as_dtype(dtype))
    else:
        array = as_array(number, as_dtype(dtype))
        assert array.dtype == listed.dtype
        assert array.tobytes() == listed[0].tobytes()


@pytest.mark.parametrize(("given", "dtype"), [(float, "float64"), (int, "int64"), (bool, "bool")])
def test_pythons_types_name_the_dtypes_that_numpy_takes_them_for(given: type, dtype: str) -> None:
    x = sn.constant(np.arange(3, dtype="float32"))
    for made in (sn.zeros((2,), dtype=given), sn.astype(x, given), sn.placeholder((), given)):
        assert made.dtype == np.dtype(given) == dtype
