"""Arrays of more than 2**31 elements: the last blocks of their kernels, in sparse memory."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_shim import CXX, Machine
from gpu_cases import lower

import staticnet as sn
from staticnet.backends.cuda.nvrtc import find_nvrtc
from staticnet.codegen.commands import Launch
from staticnet.codegen.cuda import maps, rows
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.plan.planner import make_plan

MORE = (1 << 31) + 777
NO_RESERVE = 0x4000  # Linux's MAP_NORESERVE, which Python 3.11 does not name
nvrtc: Any = find_nvrtc()
needs_shim = pytest.mark.skipif(CXX is None, reason="no g++ on this machine")
needs_nvrtc = pytest.mark.skipif(nvrtc is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc")
Case = tuple[Any, Any, tuple[Any, ...], Callable[[Any], Any]]


class Sparse:
    """Zeros of which only what is touched takes memory."""

    def __init__(self, nbytes: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
        self.bytes = np.frombuffer(mmap.mmap(-1, max(nbytes, 1), flags=flags), np.uint8)
        self.at = self.bytes.ctypes.data

    def view(self, dtype: Any, shape: Any) -> Any:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.bytes[:size].view(dtype).reshape(shape)


class Huge(Machine):
    """A machine whose memory is sparse, and which runs a kernel's last block alone."""

    def last_block(self, fill: Callable[[Mapping[str, Any]], None]) -> Any:
        """The first output, after its kernel's last block."""
        memory: dict[Any, Any] = {("failed", 0): Sparse(4)}
        for kind, nodes in (("feed", self.graph.inputs), ("output", self.graph.outputs)):
            for i, node in enumerate(nodes):
                memory[kind, i] = Sparse(int(node.type.nbytes))
        feeds = {
            node.name: memory["feed", i].view(node.dtype, node.shape)
            for i, node in enumerate(self.graph.inputs)
        }
        fill(feeds)
        (command,) = self.program.launches
        assert isinstance(command, Launch)
        first = ctypes.c_uint.in_dll(self.library, "shim_first_block")
        first.value = command.grid[0] - 1
        self._run(command, memory, False)
        (node,) = self.graph.outputs
        return memory["output", 0].view(node.dtype, node.shape)


def flat() -> Any:
    return sn.placeholder((MORE,), "uint8", "x")


def table() -> Any:
    return sn.placeholder((MORE // 48 + 1, 48), "uint8", "x")


def wide() -> Any:
    return sn.placeholder((16, MORE // 16 + 1), "uint8", "x")


# a feed, an output of it, what is compared, and the same of a small part of the feed
CASES: dict[str, Callable[[], Case]] = {
    "map in packs": lambda: (
        x := flat(), x * 3, np.s_[-9:-1], lambda x: x[-9:-1] * np.uint8(3)
    ),
    "map of two axes": lambda: (
        x := table(), x + x[:, :1], np.s_[-1:, -8:], lambda x: x[-1:, -8:] + x[-1:, :1]
    ),
    "map through tiles": lambda: (
        x := wide(), x.T + x[0][:, None], np.s_[-2:],
        lambda x: x[:, -2:].T + x[0, -2:, None],
    ),
    "rows": lambda: (
        x := table(), sn.max(x, 1), np.s_[-1:], lambda x: x[-1:].max(1)
    ),
    "columns": lambda: (
        x := wide(), sn.max(x, 0), np.s_[-4:], lambda x: x[:, -4:].max(0)
    ),
    "slice": lambda: (
        x := flat(), x[-70:] * 2, np.s_[:], lambda x: x[-70:] * np.uint8(2)
    ),
}  # fmt: skip


def filled(feeds: Mapping[str, Any]) -> None:
    """Random numbers at the end of each row or of all."""
    x = feeds["x"]
    end = np.s_[-4096:] if len(x) > 16 else np.s_[:, -4096:]
    x[end] = np.random.default_rng(0).integers(0, 80, x[end].shape)


@needs_shim
@pytest.mark.parametrize("name", CASES)
def test_the_last_block(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for family in (maps, rows):  # a grid in which no thread has to go around the whole array
        monkeypatch.setattr(family, "MAX_BLOCKS", 1 << 27)
    x, y, where, small = CASES[name]()
    machine = Huge(lower(sn.function(x, y, device="numpy")), tmp_path)
    seen: dict[str, Any] = {}

    def fill(feeds: Mapping[str, Any]) -> None:
        filled(feeds)
        seen.update(feeds)

    got = machine.last_block(fill)
    wanted = small(seen["x"])
    assert wanted.any()
    np.testing.assert_array_equal(got[where], wanted)
    assert "int64_t" in machine.program.body


@needs_shim
@pytest.mark.parametrize("op", ["take", "take_along_axis"])
def test_indices_beyond_32_bits(op: str, tmp_path: Path) -> None:
    x, i = flat(), sn.placeholder((5,), "int64", "i")
    machine = Huge(lower(sn.function([x, i], getattr(sn, op)(x, i, 0), device="numpy")), tmp_path)
    indices = np.array([MORE - 1, -1, MORE - 700, 1 << 31, 5 - MORE])
    seen: dict[str, Any] = {}

    def fill(feeds: Mapping[str, Any]) -> None:
        filled(feeds)
        feeds["i"][...] = indices
        seen.update(feeds)

    got = machine.last_block(fill)
    np.testing.assert_array_equal(got, seen["x"][indices])
    assert got[:4].any()


@needs_nvrtc
@pytest.mark.parametrize("name", CASES)
def test_it_compiles(name: str) -> None:
    x, y, *_ = CASES[name]()
    program = write_cuda_program(make_plan(lower(sn.function(x, y, device="numpy"))))
    assert nvrtc.compile(program.source, "sm_90").startswith(b"\x7fELF")
    assert all(c.grid[0] < 1 << 31 for c in program.launches if isinstance(c, Launch))
