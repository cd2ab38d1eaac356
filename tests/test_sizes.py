"""Sizes of memory: ints of bytes, and strings with decimal and binary units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import staticnet as sn
from staticnet.errors import ArgumentError, MemoryLimitError
from staticnet.plan.sizes import as_bytes

SIZES = {
    "1GB": 10**9,
    "512 MiB": 512 * 2**20,
    "1.5 GB": 1_500_000_000,
    " 2 kb ": 2000,
    "1KiB": 1024,
    "0.5TiB": 2**39,
    "3 PB": 3 * 10**15,
    "100 B": 100,
    0: 0,
    4096: 4096,
    np.int32(7): 7,
    np.uint8(7): 7,
}
NONSENSE = [
    -1,
    "-1 GB",
    1e9,
    1.5,
    True,
    "lots",
    "",
    "GB",
    "1 XB",
    "1 GB 2",
    "1e9",
    "nan",
    [],
    b"1GB",
]


@pytest.mark.parametrize(("given", "size"), SIZES.items())
def test_a_size_is_a_number_of_bytes(given: Any, size: int) -> None:
    assert as_bytes(given, "x") == size


@pytest.mark.parametrize("given", NONSENSE)
def test_nonsense_is_refused_at_once(given: Any) -> None:
    x = sn.placeholder(("batch",), name="x")
    with pytest.raises(ArgumentError, match="memory_limit must be an int .* '512 MiB'"):
        sn.function(x, x, memory_limit=given)
    with pytest.raises(ArgumentError, match="max_dim: bytes must be an int .* '512 MiB'"):
        sn.function(x, x + 1).max_dim("batch", bytes=given)


def test_a_limit_with_a_unit_is_a_limit() -> None:
    x = sn.placeholder((1024,), name="x")
    assert sn.function(x, x * 2, memory_limit="1 GB").memory_limit == 10**9
    with pytest.raises(MemoryLimitError, match="the limit is 1024"):
        sn.function(x, x * 2, memory_limit="1 KiB")
    batch = sn.placeholder(("batch", 256), name="y")
    twice = sn.function(batch, batch * 2)
    assert twice.max_dim("batch", bytes="1 MiB") == twice.max_dim("batch", bytes=2**20)
