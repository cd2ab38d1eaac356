"""The array API standard's namespace of tensors: names, information, interchange, spot values.

The standard's own suite is not part of this one; docs/array_api.md says how to run it.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import (
    ArgumentError,
    CopyError,
    DeviceError,
    DTypeError,
    GradientError,
    OutOfRangeError,
    ShapeError,
)

COMPILES = True
xp = sn.dynamic.array_api
NAMES = """
e inf nan newaxis pi arange asarray empty empty_like eye from_dlpack full full_like linspace
meshgrid ones ones_like tril triu zeros zeros_like astype can_cast finfo iinfo isdtype result_type
bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 abs acos acosh add asin
asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
bitwise_right_shift bitwise_xor ceil clip conj imag real copysign cos cosh divide equal exp expm1
floor
floor_divide greater greater_equal hypot isfinite isinf isnan less less_equal log log1p log2 log10
logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply negative
nextafter not_equal positive pow reciprocal remainder round sign signbit sin sinh square sqrt
subtract tan tanh trunc take take_along_axis __array_namespace_info__ __array_api_version__ matmul
matrix_transpose tensordot vecdot broadcast_arrays broadcast_to concat expand_dims flip moveaxis
permute_dims repeat reshape roll squeeze stack tile unstack argmax argmin count_nonzero nonzero
searchsorted where unique_all unique_counts unique_inverse unique_values argsort sort
cumulative_prod cumulative_sum max mean min prod std sum var all any diff linalg
""".split()  # noqa: SIM905


def t(value: Any, dtype: Any = None) -> Any:
    return sn.dynamic.tensor(value, dtype)


def same(got: Any, wanted: Any) -> None:
    wanted = np.asarray(wanted)
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_array_equal(got.numpy(), wanted)


class TestNamespace:
    def test_names(self) -> None:
        assert [name for name in NAMES if not hasattr(xp, name)] == []
        assert sorted(NAMES) == sorted(xp.__all__)

    def test_a_tensor_names_it(self) -> None:
        x = t([1.0])
        for version in (None, "2021.12", "2024.12"):
            assert x.__array_namespace__(api_version=version) is xp
        with pytest.raises(ArgumentError, match="no revision '1999.1'"):
            x.__array_namespace__(api_version="1999.1")
        assert xp.__array_api_version__ == "2024.12"

    def test_symbolic_names_are_staticnets_own(self) -> None:
        for name in sorted(set(NAMES) & set(sn.__all__)):
            assert hasattr(sn, name)
        made = {"asarray", "from_dlpack", "nonzero"}  # need a value
        assert made <= set(sn.dynamic.__all__)
        missing = {name for name in NAMES if not name.startswith(("_", "unique"))} - set(sn.__all__)
        assert missing == made

    def test_constants(self) -> None:
        assert (sn.pi, sn.e, sn.inf, sn.newaxis) == (math.pi, math.e, math.inf, None)
        assert math.isnan(sn.nan)
        assert (xp.pi, xp.e, xp.inf, xp.newaxis) == (math.pi, math.e, math.inf, None)

    def test_information(self) -> None:
        info = xp.__array_namespace_info__()
        assert info.capabilities()["boolean indexing"] is True
        assert info.capabilities()["data-dependent shapes"] is True
        assert info.default_device() in info.devices()
        assert info.default_dtypes() == {
            "real floating": sn.float32,
            "integral": sn.int64,
            "indexing": sn.int64,
        }
        assert set(info.dtypes()) == {name for name in NAMES if name in info.dtypes()}
        assert info.dtypes(kind="unsigned integer") == {
            f"uint{n}": np.dtype(f"uint{n}") for n in (8, 16, 32, 64)
        }
        assert info.dtypes(kind=("bool", "real floating")) == {
            "bool": np.dtype(bool), "float32": np.dtype("f4"), "float64": np.dtype("f8")
        }  # fmt: skip
        with pytest.raises(DeviceError, match="no device 'tpu'"):
            info.dtypes(device="tpu")

    def test_everything_is_documented(self) -> None:
        for name in NAMES:
            if callable(getattr(xp, name)) and not isinstance(getattr(xp, name), np.dtype):
                assert inspect.getdoc(getattr(xp, name)), name


class TestMaking:
    def test_as_numpy(self) -> None:
        for name, args, options in (
            ("zeros", ((2, 3),), {}),
            ("ones", (4,), {"dtype": sn.int8}),
            ("full", ((2,), 0.1), {"dtype": sn.float64}),
            ("eye", (2, 3), {"k": 1}),
            ("arange", (1, 7, 2), {}),
            ("linspace", (0, 1, 5), {"endpoint": False}),
        ):
            wanted = np.asarray(getattr(np, name)(*args, **options))
            dtype = (
                np.float32 if not options.get("dtype") and wanted.dtype == "f8" else wanted.dtype
            )
            same(getattr(xp, name)(*args, **options), wanted.astype(dtype))
            assert getattr(xp, name)(*args, device="cpu", **options).device == "cpu"
        x = t(np.ones((2, 3), "i2"))
        for name in ("zeros_like", "ones_like", "empty_like"):
            assert getattr(xp, name)(x).shape == (2, 3)
            assert getattr(xp, name)(x, dtype=sn.uint8, device="cpu").dtype == np.uint8
        same(xp.full_like(x, 5), np.full((2, 3), 5, "i2"))
        with pytest.raises(DeviceError, match="no device 'tpu'"):
            xp.zeros(3, device="tpu")

    def test_asarray_shares_and_copies(self) -> None:
        array = np.arange(3.0)
        shared, copy = xp.asarray(array, copy=False), xp.asarray(array, copy=True)
        array[0] = 7
        assert (float(shared[0]), float(copy[0])) == (7, 0)
        assert xp.asarray(shared) is shared
        assert not np.shares_memory(xp.asarray(shared, copy=True).data, shared.data)
        same(xp.asarray([0.1, 0.2], dtype=sn.float64), [0.1, 0.2])
        same(xp.asarray([1, 2]), np.array([1, 2]))
        for wrong in ([1.0], 2, np.zeros(2, "f4")):
            with pytest.raises(ArgumentError, match="needs a copy"):
                xp.asarray(wrong, dtype=sn.float64, copy=False)

    def test_copies_of_shapes_and_dtypes(self) -> None:
        x = t(np.arange(6.0).reshape(2, 3))
        assert np.shares_memory(xp.reshape(x, (3, 2)).data, x.data)
        assert not np.shares_memory(xp.reshape(x, (3, 2), copy=True).data, x.data)
        assert not np.shares_memory(xp.astype(x, sn.float64).data, x.data)
        assert xp.astype(x, sn.float64, copy=False) is x
        with pytest.raises(ArgumentError, match="needs a copy"):
            xp.reshape(x.T, (6,), copy=False)

    def test_copies_keep_the_gradient(self) -> None:
        w = sn.dynamic.tensor([1.0, 2.0], requires_grad=True)
        y = xp.sum(xp.astype(xp.reshape(xp.asarray(w, copy=True), (2, 1), copy=True), sn.float64))
        y.backward()
        same(w.grad, np.ones(2, "f"))


class TestInterchange:
    @pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64"])
    def test_dlpack(self, dtype: str) -> None:
        x = t(np.array([[1, 0], [3, 4]]).astype(dtype))
        assert x.__dlpack_device__() == (1, 0)
        for copy in (None, True, False):
            np.testing.assert_array_equal(np.from_dlpack(x, copy=copy), x.numpy())
            same(xp.from_dlpack(x, copy=copy), x.numpy())
        assert not np.from_dlpack(x).flags.writeable
        same(xp.from_dlpack(np.arange(3)), np.arange(3))
        same(xp.from_dlpack(xp.broadcast_to(t(1.0), (3,))), np.ones(3, "f"))
        with pytest.raises(AttributeError, match="list has no __dlpack__"):
            xp.from_dlpack([1])

    def test_pytorch_and_jax(self) -> None:
        torch = pytest.importorskip("torch", reason="a library with DLPack tensors")
        x = t([[1.0, 2.0], [3.0, 4.0]])
        np.testing.assert_array_equal(torch.from_dlpack(x).numpy(), x.numpy())
        jax = pytest.importorskip("jax", reason="another one")
        np.testing.assert_array_equal(jax.dlpack.from_dlpack(x), x.numpy())
        same(xp.from_dlpack(jax.numpy.arange(3, dtype="int32")), np.arange(3, dtype="i4"))
        same(xp.from_dlpack(torch.arange(3)), np.arange(3))

    def test_a_copy_to_a_device_is_none_that_was_forbidden(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x = t([1.0, 2.0])
        monkeypatch.setattr(sn.dynamic.Tensor, "to_device", lambda self, _: t(self.numpy()))
        same(xp.astype(x, xp.float64, device="cuda"), np.array([1.0, 2.0]))
        same(xp.astype(x, xp.float32, device="cuda"), np.array([1.0, 2.0], "f4"))
        same(xp.reshape(x, (2, 1), copy=True), np.array([[1.0], [2.0]], "f4"))
        with pytest.raises(CopyError):
            xp.asarray(x, device="cuda", copy=False)

    def test_bfloat16_has_no_dlpack_and_needs_none_here(self) -> None:
        x = t([1.5, 2.0], "bfloat16")
        with pytest.raises(BufferError):
            x.__dlpack__()
        assert sn.dynamic.as_tensor(x) is x
        assert sn.variable(x).dtype == x.dtype

    def test_devices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x = t([1.0])
        assert x.device == "cpu"
        assert x.to_device("cpu") is x
        for wrong in ("gpu", 3, None, "cuda:x"):
            with pytest.raises(DeviceError, match=r"there are \"cpu\", \"cuda\""):
                x.to_device(wrong)
        with pytest.raises(DeviceError, match="no streams"):
            x.to_device("cpu", stream=1)
        monkeypatch.setitem(sys.modules, "cupy", None)
        with pytest.raises(DeviceError, match="needs CuPy"):
            x.to_device("cuda")

    def test_a_gradient_ends_at_a_device(self) -> None:
        x = sn.dynamic.tensor([1.0], requires_grad=True)
        assert x.to_device("cpu") is x
        with pytest.raises(GradientError, match=r"copy its \.detach\(\)"):
            x.to_device("cuda")

    def test_numbers(self) -> None:
        assert complex(t(2.5)) == 2.5
        same(t([[1.0, 2.0]]).mT, np.array([[1], [2]], "f"))
        assert t(np.zeros((2, 3, 4))).mT.shape == (2, 4, 3)
        same(1 << t([1, 2]), [2, 4])
        same(8 >> t([1, 2]), [4, 2])


class TestIndexing:
    def test_masks(self) -> None:
        array = np.arange(24.0).reshape(2, 3, 4)
        x = t(array)
        masks: list[Any] = [
            array > 5, array[:, :, 0] > 5, [True, False], np.array(True), False, np.True_
        ]  # fmt: skip
        for mask in masks:
            same(x[mask], array[mask])
            same(x[t(mask)], array[mask])
        same(x[1, [True, False, True]], array[1, [True, False, True]])
        same(x[..., array[0, 0] > 1], array[..., array[0, 0] > 1])
        same(t(3.0)[t(True)], np.array(3.0, "f")[np.array(True)])
        same(t(3.0)[t(False)], np.array(3.0, "f")[np.array(False)])

    @pytest.mark.parametrize(
        "mask", [[True], [True] * 3, np.ones((2, 4), bool), (slice(None), [True, False])]
    )
    def test_masks_of_another_length(self, mask: Any) -> None:
        with pytest.raises(IndexError, match="mask"):
            t(np.zeros((2, 3)))[mask]

    def test_no_indices(self) -> None:
        x = t([1.0, 2.0])
        for y in (x[[]], sn.take(x, []), x[t([], "int64")]):
            same(y, np.zeros(0, "f"))
        assert sn.placeholder((3, 2))[[]].shape == (0, 2)

    def test_gradients_through_masks(self) -> None:
        w = sn.dynamic.tensor([1.0, 2.0, 3.0], requires_grad=True)
        sn.sum(w[w > 1.5] ** 2).backward()
        same(w.grad, np.array([0, 4, 6], "f"))

    @pytest.mark.parametrize("key", [3, -4, (0, 0), np.int64(5)])
    def test_out_of_range(self, key: Any) -> None:
        x = t([1.0, 2.0, 3.0])
        with pytest.raises(IndexError):
            x[key]
        with pytest.raises(IndexError):
            sn.placeholder((3,))[key]
        assert issubclass(OutOfRangeError, ShapeError)

    def test_arrays_out_of_range(self) -> None:
        x = t([1.0, 2.0, 3.0])
        for indices in ([0, 3], np.array([-4]), t([7])):
            with pytest.raises(IndexError, match="out of bounds"):
                x[indices]
            with pytest.raises(sn.errors.ExecutionError, match="out of bounds"):
                sn.take(x, indices)

    def test_axes_out_of_range(self) -> None:
        with pytest.raises(IndexError, match="axis 2 is out of range for 1 axes"):
            sn.sum(t([1.0]), axis=2)


class TestValuesDecideTheLength:
    def test_nonzero(self) -> None:
        array = np.array([[1, 0, 2], [0, 0, 3]])
        for got, wanted in zip(xp.nonzero(t(array)), np.nonzero(array), strict=True):
            same(got, wanted)
        with pytest.raises(ShapeError, match="nonzero: takes at least 1 axis"):
            xp.nonzero(t(1.0))

    @pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float32", "bfloat16"])
    def test_unique(self, dtype: str) -> None:
        x = t(np.array([[3, 1, 3], [0, 1, 1]]).astype(sn.zeros((), dtype).dtype))
        found = xp.unique_all(x)
        values = np.unique(x.numpy())
        same(found.values, values)
        same(found.counts, [np.count_nonzero(x.numpy() == v) for v in values])
        same(found.indices, [np.flatnonzero(x.numpy() == v)[0] for v in values])
        np.testing.assert_array_equal(values[found.inverse_indices.numpy()], x.numpy())
        same(xp.unique_values(x), values)
        same(xp.unique_counts(x).counts, found.counts.numpy())
        same(xp.unique_inverse(x).inverse_indices, found.inverse_indices.numpy())

    def test_each_nan_is_one(self) -> None:
        found = xp.unique_counts(t([np.nan, 1.0, np.nan]))
        same(found.values, np.array([1, np.nan, np.nan], "f"))
        same(found.counts, [1, 1, 1])


class TestDtypes:
    def test_objects(self) -> None:
        for name in ("bool", "int8", "uint16", "float16", "bfloat16", "float64"):
            dtype = getattr(sn, name)
            assert dtype.name == name
            assert sn.zeros((2,), dtype).dtype == dtype
            assert sn.placeholder((2,), dtype).dtype == dtype

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_finfo(self, dtype: str) -> None:
        wanted, got = np.finfo(dtype), sn.finfo(dtype)
        for name in ("bits", "eps", "max", "min", "smallest_normal", "dtype"):
            assert getattr(got, name) == getattr(wanted, name)
        assert type(got.eps) is float
        assert sn.finfo(t([1.0], dtype)) == got
        with pytest.raises(DTypeError, match="int32 is not floating-point"):
            sn.finfo(sn.int32)

    def test_finfo_of_bfloat16(self) -> None:
        info = sn.finfo("bfloat16")
        assert (info.bits, info.eps, info.smallest_normal) == (16, 2.0**-7, 2.0**-126)
        assert (info.max, info.min) == (2.0**127 * (2 - 2.0**-7), -(2.0**127) * (2 - 2.0**-7))

    @pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64"])
    def test_iinfo(self, dtype: str) -> None:
        wanted, got = np.iinfo(dtype), sn.iinfo(dtype)
        assert (got.bits, got.max, got.min) == (wanted.bits, wanted.max, wanted.min)
        assert got.dtype == wanted.dtype
        with pytest.raises(DTypeError, match="float32 is no integer"):
            sn.iinfo(t([1.0]))

    def test_isdtype(self) -> None:
        assert sn.isdtype(sn.int8, "signed integer")
        assert sn.isdtype(sn.bfloat16, "real floating")
        assert sn.isdtype(sn.uint8, ("bool", "integral"))
        assert sn.isdtype("float32", (sn.float64, sn.float32))
        assert not sn.isdtype(sn.bool, "numeric")
        assert not sn.isdtype(sn.float32, "complex floating")
        with pytest.raises(ArgumentError, match="'floats' is no dtype and no kind"):
            sn.isdtype(sn.float32, "floats")

    def test_promotion(self) -> None:
        assert sn.result_type(sn.int8, sn.uint8) == np.int16
        assert sn.result_type(t([1], "int8"), 3, np.int64(2)) == np.int8
        assert sn.result_type(sn.float16, sn.bfloat16) == np.float32
        assert sn.result_type(sn.placeholder((2,), "float64"), [0.5]) == np.float64
        assert sn.can_cast(sn.int8, sn.int16)
        assert sn.can_cast(t([1], "uint8"), sn.int64)
        assert not sn.can_cast(sn.int16, sn.int8)
        assert sn.can_cast(sn.int8, sn.float32)
        assert not sn.can_cast(sn.float32, sn.int64)
        assert sn.result_type(sn.int64, sn.float16, sn.bool) == np.float16
        with pytest.raises(DTypeError, match="do not promote"):
            sn.result_type(sn.int8, sn.uint64)
        with pytest.raises(ArgumentError, match="at least one"):
            sn.result_type()
        assert sn.result_type(sn.int8, 0.5) == np.float32
        assert sn.result_type(sn.bool, 1) == np.int64


DEVICES = ["numpy", "cpu", "dynamic"]
Case = tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]
X = np.array([[3, 1, -4, 1], [5, -9, 2, 6], [5, 3, 5, -8]])
SORTED = np.array([-1.0, 0.0, 0.0, 2.0, np.inf, np.nan])
PLACES = np.array([[0.0, -0.0, 2.0], [np.nan, -np.inf, 1.5]])
CASES: dict[str, Case] = {
    "diff": (sn.diff, np.diff, (X,)),
    "diff twice": (lambda x: sn.diff(x, 2, 0), lambda x: np.diff(x, 2, 0), (X,)),
    "diff of all": (lambda x: sn.diff(x, 6), lambda x: np.diff(x, 6), (X,)),
    "diff between": (
        lambda x, p: sn.diff(x, prepend=p, append=[[1], [2], [3]]),
        lambda x, p: np.diff(x, prepend=p, append=[[1], [2], [3]]),
        (X, X[:, :2]),
    ),
    "diff of unsigned": (sn.diff, np.diff, (X.astype("u1"),)),
    "meshgrid": (
        lambda x, y: sn.meshgrid(x, y, [7, 8, 9]),
        lambda x, y: np.meshgrid(x, y, [7, 8, 9]),
        (X[0], X[1, :2]),
    ),
    "meshgrid ij": (
        lambda x, y: sn.meshgrid(x, y, indexing="ij"),
        lambda x, y: np.meshgrid(x, y, indexing="ij"),
        (X[0], X[1, :3]),
    ),
    "meshgrid of one": (lambda x: sn.meshgrid(x), lambda x: np.meshgrid(x), (X[0],)),
    "searchsorted": (sn.searchsorted, np.searchsorted, (SORTED, PLACES)),
    "searchsorted right": (
        lambda x, y: sn.searchsorted(x, y, side="right"),
        lambda x, y: np.searchsorted(x, y, "right"),
        (SORTED, PLACES),
    ),
    "searchsorted by": (
        lambda x, y: sn.searchsorted(x, y, sorter=[2, 0, 1]),
        lambda x, y: np.searchsorted(x, y, sorter=[2, 0, 1]),
        (np.array([5, 9, 2], "i2"), np.array([0, 5, 6, 9, 10], "i2")),
    ),
    "searchsorted of none": (
        sn.searchsorted, np.searchsorted, (np.zeros(0), np.zeros(3))
    ),
    "repeat each": (
        lambda x: sn.repeat(x, [0, 2, 1], 0), lambda x: np.repeat(x, [0, 2, 1], 0), (X,)
    ),
    "repeat flat": (
        lambda x: sn.repeat(x, np.arange(12)), lambda x: np.repeat(x, np.arange(12)), (X,)
    ),
    "pad of bools": (lambda x: sn.pad(x > 2, (1, 2)), lambda x: np.pad(x > 2, (1, 2)), (X,)),
    "pad of bools with true": (
        lambda x: sn.pad(x > 2, ((1, 0), (0, 2)), True),
        lambda x: np.pad(x > 2, ((1, 0), (0, 2)), constant_values=True),
        (X,),
    ),
    "einsum of bools": (
        lambda x: sn.einsum("ij,kj->ik", x > 2, x > 3),
        lambda x: np.einsum("ij,kj->ik", x > 2, x > 3),
        (X,),
    ),
    "einsum of bools, one": (
        lambda x: sn.einsum("ij->j", x > 4), lambda x: np.einsum("ij->j", x > 4), (X,)
    ),
    "softmax of none": (
        lambda x: sn.nn.softmax(x[:, :0]), lambda x: x[:, :0], (X.astype("f4"),)
    ),
    "log_softmax of none": (
        lambda x: sn.nn.log_softmax(x[:0], 0), lambda x: x[:0], (X.astype("f4"),)
    ),
    "logsumexp of none": (
        lambda x: sn.logsumexp(x[:, :0], 1), lambda x: np.full(3, -np.inf, "f4"), (X.astype("f4"),)
    ),
    "repeat by one": (lambda x: sn.repeat(x, [3], 1), lambda x: np.repeat(x, [3], 1), (X,)),
    "isfinite": (sn.isfinite, np.isfinite, (X,)),
    "isnan": (sn.isnan, np.isnan, (X.astype("u2"),)),
    "isinf": (sn.isinf, np.isinf, (X,)),
    "prod": (
        lambda x: sn.prod(x, 1, dtype="float64"), lambda x: np.prod(x, 1, dtype="f8"), (X,)
    ),
    "prod in 8 bits": (
        lambda x: sn.prod(x, dtype=sn.int8), lambda x: np.prod(x, dtype="i1"), (X.astype("i1"),)
    ),
    "cumulative_sum": (
        lambda x: sn.cumulative_sum(x, 1, dtype="float32"),
        lambda x: np.cumsum(x, 1, dtype="f4"),
        (X,),
    ),
    "cumulative_prod": (
        lambda x: sn.cumulative_prod(x, 0, dtype=sn.int32),
        lambda x: np.cumprod(x, 0, dtype="i4"),
        (X,),
    ),
    "vecdot": (sn.vecdot, lambda x, y: np.sum(x * y, -1, dtype="i4"), (X.astype("i4"),) * 2),
    "vecdot along": (
        lambda x, y: sn.vecdot(x, y, axis=-2), lambda x, y: np.sum(x * y, -2), (X, X[:, :1])
    ),
}  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", list(CASES))
def test_functions_against_numpy(name: str, device: str) -> None:
    f, reference, args = CASES[name]
    if device == "dynamic":
        got = f(*map(sn.dynamic.tensor, args))
        got = [y.numpy() for y in got] if isinstance(got, list) else got.numpy()
    else:
        nodes = [sn.placeholder(a.shape, a.dtype, f"x{i}") for i, a in enumerate(args)]
        got = sn.function(nodes, f(*nodes), device=device)(*args)
    wanted = reference(*args)
    several = isinstance(wanted, list | tuple)
    for g, w in zip(got if several else [got], wanted if several else [wanted], strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_array_equal(g, w)


def test_what_they_refuse() -> None:
    x, v = sn.placeholder((2, 3)), sn.placeholder(("n",))
    for f, error, message in (
        (lambda: sn.vecdot(x, sn.placeholder((2, 1))), ShapeError, "differ: 3 and 1"),
        (lambda: sn.diff(x, n=-1), ArgumentError, "n must be an int >= 0"),
        (lambda: sn.diff(x > 0), DTypeError, "not bool"),
        (lambda: sn.meshgrid(x), ShapeError, "takes vectors"),
        (lambda: sn.meshgrid(v, sn.constant([1])), DTypeError, "one dtype"),
        (lambda: sn.meshgrid(v, indexing="yx"), ArgumentError, '"xy" or "ij"'),
        (lambda: sn.searchsorted(x, v), ShapeError, "sorted vector"),
        (lambda: sn.searchsorted(v, x, side="mid"), ArgumentError, '"left" or "right"'),
        (lambda: sn.repeat(x, [1, 2], 1), ShapeError, "must be 3 numbers"),
        (lambda: sn.repeat(x, [1, -2, 3], 1), ShapeError, "numbers >= 0"),
        (lambda: sn.repeat(x, [1.5, 2, 3], 1), ArgumentError, "integers"),
        (lambda: sn.repeat(v, [1, 2]), ShapeError, "must be n numbers"),
        (lambda: sn.repeat(x, sn.placeholder((3,), "int64"), 1), ArgumentError, "no graph knows"),
    ):
        with pytest.raises(error, match=message):
            f()


def test_symbolic_dims() -> None:
    v, w = sn.placeholder(("n",), "float64", "v"), sn.placeholder(("m",), "float64", "w")
    grid = sn.meshgrid(v, w)
    f = sn.function([v, w], [sn.diff(v), *grid, sn.searchsorted(v, w)], device="numpy")
    a, b = np.array([1.0, 2.0, 5.0, 7.0]), np.array([6.0, 0.0])
    wanted = (np.diff(a), *np.meshgrid(a, b), np.searchsorted(a, b))
    for y, z in zip(f(a, b), wanted, strict=True):
        np.testing.assert_array_equal(y, z)


def test_gradients() -> None:
    x = sn.placeholder((4,), "float64", "x")
    loss = sn.sum(sn.diff(x, n=2) ** 2) + sn.sum(sn.repeat(x, [0, 2, 1, 3]) ** 3)
    (gradient,) = sn.grad(loss, [x])
    at = np.array([0.5, -1.0, 2.0, 0.25])
    value = sn.function([x], [loss, gradient], device="numpy")
    step = 1e-6
    for i, unit in enumerate(np.eye(4)):
        slope = (value(at + step * unit)[0] - value(at - step * unit)[0]) / (2 * step)
        np.testing.assert_allclose(value(at)[1][i], slope, rtol=1e-6)


def test_tensors_have_as_many_axes_as_the_namespace_says() -> None:
    most = xp.__array_namespace_info__().capabilities()["max dimensions"]
    assert xp.zeros((1,) * most).ndim == most
    with pytest.raises(ShapeError):
        xp.zeros((1,) * (most + 1))


def test_a_gpu_is_listed_without_an_import_of_cupy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cupy.py").write_text(
        "class cuda:\n    class runtime:\n        getDeviceCount = staticmethod(lambda: 2)\n\n\n"
        "def is_available():\n    return True\n"
    )
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert xp.__array_namespace_info__().devices() == ["cpu", "cuda:0", "cuda:1"]
    sys.modules.pop("cupy", None)
