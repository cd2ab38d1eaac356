"""Places in arrays are counted in 64 bits, whatever the dtype of the indices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX
from everywhere import DEVICES, grad_of, on

import staticnet as sn
from staticnet.errors import ArgumentError, DTypeError, ExecutionError, OutOfRangeError

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
TABLE = np.arange(320, dtype="float32").reshape(16, 20)


@pytest.mark.parametrize("device", DEVICES)
def test_several_index_arrays_of_every_dtype(device: str, tmp_path: Path) -> None:
    arrays: list[Any] = [TABLE]
    for dtype in INTEGERS:
        rows, columns = [15, 0, 7, 15], [19, 0, 3, 19]
        if dtype.startswith("int"):
            rows, columns = [15, -16, 7, -1], [19, -20, 3, -1]
        arrays += [np.array(rows, dtype), np.array(columns, dtype)]

    def build(x: Any, *indices: Any) -> Any:
        pairs = list(zip(indices[::2], indices[1::2], strict=True))
        found = [x[i, j] for i, j in pairs]
        found += [sn.gather(x, sn.stack([i, j], -1)) for i, j in pairs]
        return sn.stack(found)

    got, gradient = on(device, tmp_path, grad_of(build), *arrays)
    np.testing.assert_array_equal(got, np.tile([319.0, 0.0, 143.0, 319.0], (16, 1)))
    wanted = np.zeros((16, 20))
    wanted[15, 19], wanted[0, 0], wanted[7, 3] = 32, 16, 16
    np.testing.assert_array_equal(gradient, wanted)


def _out_of_range(device: str) -> type[Exception]:
    """What a step raises; kernels on the shim tell only that they failed."""
    return ExecutionError if device == "cuda" else OutOfRangeError


@pytest.mark.parametrize("device", DEVICES)
def test_an_index_outside_its_axis_fails(device: str, tmp_path: Path) -> None:
    """It does not become another axis's: [1, 25] of [16, 20] is not [2, 5]."""
    for dtype in ("int64", "uint8") if device in ("cpu", "cuda") else INTEGERS:
        i, j = np.array([1], dtype), np.array([25], dtype)
        with pytest.raises(_out_of_range(device)):
            on(device, tmp_path, lambda x, i, j: x[i, j], TABLE, i, j)


@pytest.mark.parametrize("device", DEVICES)
def test_unsigned_indices_do_not_become_negative(device: str, tmp_path: Path) -> None:
    top = np.array([2**64 - 1], "uint64")
    uses: list[Any] = [
        lambda x, i: x[i],
        lambda x, i: sn.take(x, i, 0),
        lambda x, i: sn.take_along_axis(x, sn.reshape(i, (1, 1)), 0),
        lambda x, i: sn.scatter_add(x, i, x[:1]),
        lambda x, i: sn.scatter_add_along_axis(x, sn.reshape(i, (1, 1)), x[:1, :1], 0),
        lambda x, i: sn.nn.nll_loss(x[0], i[0]),
    ]
    for use in uses[:1] if device in ("cpu", "cuda") else uses:
        with pytest.raises(_out_of_range(device)):
            on(device, tmp_path, use, TABLE[:, :1], top)


@pytest.mark.parametrize("device", DEVICES)
def test_one_hot_of_more_classes_than_the_dtype_counts(device: str, tmp_path: Path) -> None:
    labels = [np.array([0, 1, 44, min(299, np.iinfo(t).max)], t) for t in INTEGERS]
    found = on(device, tmp_path, lambda *xs: [sn.one_hot(x, 300) for x in xs], *labels)
    for got, wanted in zip(found, labels, strict=True):
        np.testing.assert_array_equal(got, np.eye(300)[wanted.astype(int)])


def values(x: Any) -> Any:
    return sn.function([], x)()


def test_ramps_have_their_numbers_or_are_refused() -> None:
    for dtype in ("int8", "uint8", "float16", "float32", "uint64"):
        np.testing.assert_array_equal(values(sn.arange(0, 120, 7, dtype)), np.arange(0, 120, 7))
        np.testing.assert_array_equal(values(sn.arange(9, 0, -2, dtype)), np.arange(9, 0, -2))
    np.testing.assert_array_equal(values(sn.arange(-100, 100, dtype="int8")), np.arange(-100, 100))
    big = 2**63
    assert values(sn.arange(big, big + 2, dtype="uint64")).tolist() == [big, big + 1]
    assert values(sn.arange(0, 2**60 + 1, 2**59)).tolist() == [0, 2**59, 2**60]
    for start, stop, dtype in [
        (0, 300, "uint8"),
        (0, 129, "int8"),
        (-3, 4, "uint32"),
        (1, 129, "int8"),
    ]:
        with pytest.raises(DTypeError, match=rf"{dtype} does not hold -?\d+; pass a wider dtype"):
            sn.arange(start, stop, dtype=dtype)
    n = sn.placeholder(("n",), name="x").shape[0]
    with pytest.raises(DTypeError, match=r"use sn.astype\(sn.arange"):
        sn.arange(1, n, dtype="int8")


def test_a_symbolic_ramp_is_refused_where_it_does_not_fit() -> None:
    x = sn.placeholder(("n",), name="x")
    f = sn.function(x, sn.arange(x.shape[0], dtype="uint8"))
    np.testing.assert_array_equal(f(np.zeros(256, "f")), np.arange(256))
    with pytest.raises(DTypeError, match="uint8 does not hold 256"):
        f(np.zeros(257, "f"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floating_ramps_round_once(device: str, dtype: str, tmp_path: Path) -> None:
    """Where the dtype does not have the place itself: above 2048 in float16, 256 in bfloat16."""
    target = sn.zeros((), dtype).dtype

    def build() -> Any:
        return [sn.arange(0, 1, 1 / 3000, dtype), sn.linspace(-1, 1, 3001, dtype)]

    ramp, line = on(device, tmp_path, build)
    i = np.arange(3000, dtype="float64")
    for got, wanted in ((ramp, i * (1 / 3000)), (line, np.linspace(-1, 1, 3001))):
        if dtype == "float64":  # a fused multiply-add rounds once where NumPy rounds twice
            np.testing.assert_allclose(got, wanted, rtol=0, atol=2.0**-52)
        else:
            np.testing.assert_array_equal(got, wanted.astype(target))


@pytest.mark.parametrize("device", DEVICES)
def test_randint_at_the_ends_of_each_dtype(device: str, tmp_path: Path) -> None:
    key, ends = sn.random.key(3), []
    for dtype in INTEGERS:
        least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        ends += [(least, least + 2, dtype), (most - 1, most + 1, dtype)]

    def build() -> Any:
        return [sn.random.randint(key, low, high, (64,), t) for low, high, t in ends]

    for got, (low, high, dtype) in zip(on(device, tmp_path, build), ends, strict=True):
        assert got.dtype == dtype
        assert {int(x) for x in got} == {low, high - 1}


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (0, 300, "uint8"),
        (-1, 3, "uint64"),
        (-129, 0, "int8"),
        (0, 2**16, "float16"),
        (0, 3, "bool"),
    ],
)
def test_randint_refuses_what_the_dtype_does_not_hold(low: int, high: int, dtype: str) -> None:
    with pytest.raises(DTypeError, match=f"randint: {dtype} does not hold"):
        sn.random.randint(sn.random.key(1), low, high, (3,), dtype)


def test_linspace_is_of_floats() -> None:
    with pytest.raises(DTypeError, match="takes floating-point"):
        sn.linspace(0, 4, 5, "int32")
    with pytest.raises(ArgumentError, match="randint: low must be an int"):
        sn.random.randint(sn.random.key(1), 0.5, 3)  # type: ignore[arg-type]


@pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_views_of_more_elements_than_32_bits_count(device: str, tmp_path: Path) -> None:
    """Little lies in memory and little is made, but the view between has 2**32 elements."""
    rows, step = np.arange(65536) % 251, 2**22 + 1

    def build(x: Any) -> Any:
        wide = sn.reshape(sn.broadcast_to(x, (65536, 65536)), (-1,))
        return [wide[::step] + 1, sn.arange(2**33)[:: 2**30 + 1] + 1]

    found, ramp = on(device, tmp_path, build, rows.astype("uint8").reshape(-1, 1))
    places = np.arange(found.size, dtype="int64") * step
    np.testing.assert_array_equal(found, rows[places // 65536] + 1)
    np.testing.assert_array_equal(ramp, np.arange(8) * (2**30 + 1) + 1)


@pytest.mark.parametrize("device", DEVICES)
def test_axes_put_together_after_a_turn(device: str, tmp_path: Path) -> None:
    """Heads behind lengths, and slices of them: parts of an axis lie side by side."""
    x = np.arange(2 * 4 * 6 * 32, dtype="float32").reshape(2, 4, 6, 32)
    turns = [((0, 2, 1, 3), (12, 128)), ((2, 0, 1, 3), (6, 256)), ((1, 0, 2, 3), (8, 192)),
             ((0, 1, 3, 2), (8, 192)), ((3, 2, 0, 1), (32, 48))]  # fmt: skip

    def build(x: Any) -> Any:
        moved = [sn.reshape(sn.permute_dims(x, axes), shape) for axes, shape in turns]
        return [*(2 * y for y in moved), moved[0][1:, 8:] + 1, moved[0][:, ::-1] + moved[0]]

    whole = [np.transpose(x, axes).reshape(shape) for axes, shape in turns]
    wanted = [*(2 * y for y in whole), whole[0][1:, 8:] + 1, whole[0][:, ::-1] + whole[0]]
    for got, want in zip(on(device, tmp_path, build, x), wanted, strict=True):
        np.testing.assert_array_equal(got, want)
