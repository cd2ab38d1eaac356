"""All samples and golden graphs through the CUDA backend on a fake GPU, warm-up and replay."""

from __future__ import annotations

from pathlib import Path

import pytest
from cuda_shim import CXX
from fake_gpu import Gpu
from gpu_cases import BATCHES, GOLDEN, golden_graph, samples_of_all_dtypes
from test_gpu import agree, agree_at
from test_gpu import test_float8_products as float8_products

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CXX is None, reason="no g++ on this machine")]


@pytest.mark.parametrize("number", range(len(BATCHES)))
def test_every_op_and_dtype(number: int, gpu: Gpu) -> None:
    agree(*samples_of_all_dtypes(BATCHES[number]))


@pytest.mark.parametrize("file", GOLDEN, ids=[f"{f.parent.name}/{f.stem}" for f in GOLDEN])
def test_golden_graphs(file: Path, gpu: Gpu) -> None:
    f, feeds, dims = golden_graph(file)
    agree_at(f, feeds) if dims else agree(f, feeds)


@pytest.mark.parametrize("formats", [(False, False), (True, False), (False, True)])
def test_float8_products(formats: tuple[bool, bool], gpu: Gpu) -> None:
    float8_products(formats)
    assert gpu.count("product")
