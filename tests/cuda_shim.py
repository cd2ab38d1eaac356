"""Runs a launch list on the CPU: kernels through the host shim, products through NumPy."""

from __future__ import annotations

import atexit
import ctypes
import functools
import math
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from staticnet.backends.cache import Cache, digest
from staticnet.backends.host import host_values
from staticnet.codegen.commands import (
    Address,
    Branch,
    Command,
    Copy,
    HostCall,
    Launch,
    Loop,
    Matrix,
    Number,
    Product,
    Size,
    While,
    walk,
)
from staticnet.codegen.cuda.parts import ANY_CHIP, Chip
from staticnet.codegen.cuda.program import write_cuda_program
from staticnet.codegen.launches import CudaProgram
from staticnet.ir.graph import Graph
from staticnet.ops.library import gelu_tanh
from staticnet.plan.plan import Plan
from staticnet.plan.planner import make_plan
from staticnet.plan.results import results_of

SHIM = Path(__file__).parent / "shim" / "cuda_shim.h"
RACES = SHIM.with_name("races.h")
CXX = shutil.which("g++")
FLAGS = ["-std=c++17", "-O1", "-fwrapv", "-ffp-contract=off", "-fPIC", "-w",
         "-fdata-sections", "-ftrivial-auto-var-init=pattern",
         "-fsanitize=alignment,bounds", "-fsanitize-undefined-trap-on-error"]  # fmt: skip
WATCHED = [
    "-fsanitize=thread",
    "-fno-exceptions",
    "-fno-gnu-unique",
    "-DSHIM_RACES",
]  # each access is told; the runtime is the shim's
LINK = ["-shared", "-nodefaultlibs", "-Wl,--sort-section=name", "-lm", "-lc", "-lgcc"]
PAGE = mmap.PAGESIZE
NARROW = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}
TOGETHER = 3  # blocks of a cooperative launch
_libc = ctypes.CDLL(None, use_errno=True)
Key = tuple[str, int]


class KernelFailure(AssertionError):
    """What the shim says of a kernel that it had to stop."""


class Guarded:
    """A buffer of bytes that ends where memory does: an access behind it faults."""

    def __init__(self, nbytes: int) -> None:
        pages = -(-max(nbytes, 1) // PAGE) + 2
        self._map = mmap.mmap(-1, pages * PAGE)
        whole = np.frombuffer(self._map, np.uint8)
        start = whole.ctypes.data
        end = start + (pages - 1) * PAGE
        self.at = (end - nbytes) // 16 * 16
        whole[...] = 0xFF
        self.bytes = whole[self.at - start : self.at - start + nbytes]
        for guard in (start, end):
            assert _libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0) == 0

    def view(self, dtype: Any, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        return self.bytes[: np.dtype(dtype).itemsize * math.prod(shape)].view(dtype).reshape(shape)


def build(source: str, kernels: Sequence[str], folder: Path, watched: bool = False) -> ctypes.CDLL:
    """The library of a CUDA source for the CPU; `watched`: one that tells races."""
    assert CXX is not None
    text = "\n".join([source, *(f"SHIM_KERNEL({name})" for name in kernels)]) + "\n"
    own = Path(tempfile.mkdtemp(dir=folder))  # the loader knows a library by its file
    flags = [*FLAGS, *WATCHED] if watched else FLAGS
    made = _cached(".so", text, flags, functools.partial(_compile, text, flags))
    return ctypes.CDLL(shutil.copy(made, own / "kernels.so"))


def _cached(suffix: str, text: str, flags: Sequence[str], make: Callable[[Path], None]) -> Path:
    """What is made of a text and the shim's headers, kept for all tests."""
    headers = (file.read_text(encoding="utf-8") for file in (SHIM, RACES))
    key = digest(text, *headers, *flags, *LINK, _version())
    return Cache(_folder()).build(key, suffix, make)[0]


@functools.cache
def _folder() -> Path:
    if kept := os.environ.get("SHIM_CACHE"):
        return Path(kept)
    made = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, made)
    return Path(made)


def _compile(text: str, flags: Sequence[str], library: Path) -> None:
    file, unit = library.with_suffix(".cu"), library.with_suffix(".o")
    file.write_text(text, encoding="utf-8")
    header = ("-include", str(_header(tuple(flags)).with_suffix("")))
    command = [str(CXX), *flags, *header, "-xc++", "-c", str(file), "-o", str(unit)]
    subprocess.run(command, check=True)
    subprocess.run([str(CXX), str(unit), "-o", str(library), *LINK], check=True)
    unit.unlink()


@functools.cache
def _header(flags: tuple[str, ...]) -> Path:
    """The shim's header compiled: parsing it is a third of the time that a small kernel takes."""

    def make(file: Path) -> None:
        command = [str(CXX), *flags, "-xc++-header", str(SHIM), "-o", str(file)]
        subprocess.run(command, check=True)

    return _cached(".gch", "", flags, make)


@functools.cache
def _version() -> str:
    return subprocess.run([str(CXX), "--version"], capture_output=True, text=True).stdout


def run_kernel(
    library: ctypes.CDLL, name: str, grid: Size, block: Size, values: Sequence[Any],
    reverse: bool = False, cooperative: bool = False, shared: int = 0,
) -> None:  # fmt: skip
    """Run a kernel of a library on addresses and ctypes numbers.

    Raises:
        KernelFailure: if it hung, or touched what is no buffer's.
    """
    held = [ctypes.c_void_p(x) if isinstance(x, int) else x for x in values]
    table = (ctypes.c_void_p * max(1, len(held)))(*map(ctypes.addressof, held))
    sizes = [(ctypes.c_uint * 3)(*x) for x in (grid, block)]
    run = getattr(library, f"shim_{name}")
    run.restype = ctypes.c_char_p
    message = run(*sizes, table, int(reverse), int(cooperative), shared)
    if message:
        raise KernelFailure(f"{name}: {message.decode()}")


class Machine:
    """A plan's CUDA program, and memory for it: state and constants from the graph's own values.

    The arena is one buffer, or else each value has one of its own and none may leave it. The step
    may be `persistent`: then it is one kernel, where the estimate for `chip` says so. If `watched`,
    kernels tell races.
    """

    def __init__(
        self, graph: Graph, folder: Path, arena: bool = False, tf32: bool = False,
        persistent: bool = False, chip: Chip = ANY_CHIP, watched: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        self.graph, self.watched = graph, watched
        self.plan: Plan = make_plan(graph, **options)
        self.program: CudaProgram = write_cuda_program(self.plan, tf32, persistent, chip)
        # where an op holds graphs, what lies in the scratch memory of its step is not told apart
        self.arena = arena or any(group.bodies for _, group in self.plan.launched)
        self.library = build(self.program.source, self._kernels(), folder, watched)

    def rewritten(self, source: str, folder: Path) -> Machine:
        """The same with another source of the same kernels."""
        other = copy(self)
        other.library = build(source, self._kernels(), folder)
        return other

    def _kernels(self) -> list[str]:
        launches = (c for c in walk(self.program.launches) if isinstance(c, Launch))
        return list(dict.fromkeys(c.function for c in launches))

    def run(
        self, feeds: Sequence[Any], state: Sequence[Any], reverse: bool = False
    ) -> tuple[int, list[Any], list[Any]]:
        """One step. -> the site of a failure or 0, outputs, and the state after it"""
        memory = self._memory(feeds, state)
        for command in self.program.launches:
            self._run(command, memory, reverse)
        failed = int(memory["failed", 0].view(np.int32, (1,))[0])
        graph = self.graph
        return (
            failed,
            _read(memory, "output", graph.outputs),
            _read(memory, "state", graph.variables),
        )

    def is_told_from(
        self, source: str, folder: Path, feeds: Sequence[Any], state: Sequence[Any]
    ) -> bool:
        """Whether another source's step fails or gives other bytes, in one order of threads."""
        other = self.rewritten(source, folder)
        _, outputs, after = self.run(feeds, state)
        right = [a.tobytes() for a in (*outputs, *after)]
        for reverse in (False, True):
            try:
                _, outputs, after = other.run(feeds, state, reverse)
            except KernelFailure:
                return True
            if [a.tobytes() for a in (*outputs, *after)] != right:
                return True
        return False

    def race(
        self, feeds: Sequence[Any], state: Sequence[Any], reverse: bool = False, without: int = 0
    ) -> str:
        """What two threads do to one byte in no order, "" if nothing; `without` a barrier's order.

        The machine is watched; a barrier is one of `barriers`.
        """
        ctypes.c_int.in_dll(self.library, "shim_without").value = without
        try:
            self.run(feeds, state, reverse)
        except KernelFailure as failure:
            if "race: " not in str(failure):
                raise
            return str(failure)
        return ""

    def barriers(self) -> list[int]:
        """The barriers that threads have met at: see `shim/races.h`."""
        count = ctypes.c_int.in_dll(self.library, "shim_count").value
        return list((ctypes.c_int * count).in_dll(self.library, "shim_seen"))

    def _memory(self, feeds: Sequence[Any], state: Sequence[Any]) -> dict[Key, Guarded]:
        memory = {("failed", 0): Guarded(4), ("barrier", 0): Guarded(4)}
        for flag in memory.values():
            flag.bytes[...] = 0
        if self.watched:
            ignored = ctypes.c_void_p.in_dll(self.library, "shim_ignored")
            ignored.value = memory["failed", 0].at
        constants = [node.op.value.array for node in self.plan.constants]  # type: ignore[attr-defined]
        for kind, arrays in (("feed", feeds), ("state", state), ("constant", constants)):
            for i, array in enumerate(arrays):
                memory[kind, i] = Guarded(array.nbytes)
                memory[kind, i].view(array.dtype, array.shape)[...] = array
        for i, node in enumerate(self.graph.outputs):
            memory["output", i] = Guarded(int(node.type.nbytes))
        if self.arena:
            memory["arena", 0] = Guarded(self.program.arena_bytes)
        else:
            memory |= {("arena", at): Guarded(n) for at, n in self.pieces().items()}
        return memory

    def pieces(self) -> dict[int, int]:
        """The bytes of what lies at each offset of the arena."""
        sizes: dict[int, int] = {}
        found = [
            (p.at, int(n.type.nbytes)) for n, p in self.plan.places.items() if p.kind == "arena"
        ]
        found += [(block.offset, block.size) for block in self.plan.saved.values()]
        for command in self.program.commands:
            if isinstance(command, Launch) and command.scratch is not None:
                found.append((command.scratch.at, command.scratch_bytes))
            if isinstance(command, Product) and command.result.address.kind == "arena":
                found.append((command.result.address.at, int(command.node.type.nbytes)))
        for at, nbytes in found:
            sizes[at] = max(sizes.get(at, 0), nbytes)
        return sizes

    def _run(self, command: Command, memory: Mapping[Key, Guarded], reverse: bool) -> None:
        if isinstance(command, Copy):
            source, target = (
                self._bytes(memory, x)[: command.nbytes] for x in (command.source, command.target)
            )
            target[...] = source
        elif isinstance(command, Product):
            _multiply(command, {x: self._bytes(memory, x) for x in _addresses(command)})
        elif isinstance(command, HostCall):
            self._call(command, memory)
        elif isinstance(command, Launch):
            self._launch(command, memory, reverse)
        else:
            self._control(command, memory, reverse)

    def _control(
        self, command: Loop | While | Branch, memory: Mapping[Key, Guarded], reverse: bool
    ) -> None:
        def run(commands: Iterable[Command]) -> None:
            for each in commands:
                self._run(each, memory, reverse)

        if isinstance(command, Loop):
            for t in command.order:
                run(command.at_step(t))
        elif isinstance(command, Branch):
            run(command.then if self._bytes(memory, command.taken)[0] else command.other)
        else:
            failed = memory["failed", 0].bytes
            run(command.test)
            while self._bytes(memory, command.going)[0] and not failed.any():
                run(command.body)
                run(command.test)

    def _call(self, command: HostCall, memory: Mapping[Key, Guarded]) -> None:
        if memory["failed", 0].view(np.int32, (1,))[0]:
            return
        node = command.node
        pairs = zip(command.operands, node.inputs, strict=True)
        arrays = [self._array(memory, address, x) for address, x in pairs]
        values = host_values(node, arrays)
        for address, x, value in zip(command.results, results_of(node), values, strict=True):
            self._array(memory, address, x)[...] = value

    def _array(self, memory: Mapping[Key, Guarded], address: Address, node: Any) -> Any:
        held = self._bytes(memory, address)[: int(node.type.nbytes)]
        return held.view(node.dtype).reshape(node.shape)

    def _launch(self, command: Launch, memory: Mapping[Key, Guarded], reverse: bool) -> None:
        values: list[Any] = []
        for argument in command.arguments:
            if isinstance(argument, Number):
                kind = ctypes.c_int32 if argument.itemsize == 4 else ctypes.c_int64
                values.append(kind(argument.value))
            else:
                values.append(self._place(memory, argument))
        grid = (min(command.grid[0], TOGETHER), 1, 1) if command.cooperative else command.grid
        run_kernel(
            self.library, command.function, grid, command.block, values, reverse,
            command.cooperative, command.shared_bytes,
        )  # fmt: skip

    def _key(self, address: Address) -> tuple[Key, int]:
        """The buffer of an address, and bytes from its beginning."""
        if self.arena and address.kind == "arena":
            return ("arena", 0), address.at + address.offset
        return (address.kind, address.at), address.offset

    def _place(self, memory: Mapping[Key, Guarded], address: Address) -> int:
        key, offset = self._key(address)
        return memory[key].at + offset

    def _bytes(self, memory: Mapping[Key, Guarded], address: Address) -> np.ndarray[Any, Any]:
        key, offset = self._key(address)
        return memory[key].bytes[offset:]


def _read(memory: Mapping[Key, Guarded], kind: str, nodes: Sequence[Any]) -> list[Any]:
    return [memory[kind, i].view(n.dtype, n.shape).copy() for i, n in enumerate(nodes)]


def _addresses(p: Product) -> list[Address]:
    found = [p.left.address, p.right.address, p.result.address, *p.factors]
    return [*found, p.bias] if p.bias else found


def _matrices(
    p: Product, matrix: Matrix, rows: int, columns: int, memory: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The stack of matrices that lies in memory, as a view. -> [*batch, rows, columns]"""
    steps = (1, matrix.leading) if matrix.transposed else (matrix.leading, 1)
    dtype = p.dtype
    if p.formats and matrix is not p.result:
        dtype = np.dtype(NARROW[p.formats[matrix is p.right]])
    strides = [x * dtype.itemsize for x in (*matrix.strides, *steps)]
    return np.ndarray((*p.batch, rows, columns), dtype, memory.data, 0, strides)


def _multiply(p: Product, memory: Mapping[Address, np.ndarray[Any, Any]]) -> None:
    assert p.k > 0
    x = _matrices(p, p.left, p.m, p.k, memory[p.left.address])
    y = _matrices(p, p.right, p.k, p.n, memory[p.right.address])
    z = _matrices(p, p.result, p.m, p.n, memory[p.result.address])
    wide = np.float32 if p.dtype.itemsize == 2 else p.dtype
    with np.errstate(invalid="ignore", over="ignore"):
        result = x.astype(wide) @ y.astype(wide)
    for factor in p.factors:
        result = result * memory[factor][:4].view(np.float32)
    if p.bias:
        size = p.n * p.dtype.itemsize
        result = result + memory[p.bias][:size].view(p.dtype).astype(wide)
    if "relu" in p.epilogue:
        result = np.maximum(result, 0)
    if "gelu" in p.epilogue:
        result = gelu_tanh(result, lambda u: 1 / (1 + np.exp(-u)), np.minimum)
    with np.errstate(over="ignore"):  # float16 has infinity there
        z[...] = result.astype(p.dtype)
