"""A GPU of Python's making: CuPy's and cuBLASLt's calls on host memory, kernels by the host shim.

Work on a stream is deferred until something waits for it, so that what relies on a wait that is not
there fails. All that happens is in `log`, in the order in which the host asks for it.
"""

from __future__ import annotations

import ctypes
import random
import re
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from cuda_shim import build
from fake_cublaslt import FakeCublasLt

from staticnet.backends.cuda.conditional import IF, PTX, SETTER, Refused
from staticnet.errors import CompileError

ALIGNMENT = 512
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([\d, ]+\)\s*)?(\w+)\(')
MACRO = re.compile(r"^SN_RUN_KERNELS\((\d+), \w+\)$", re.MULTILINE)
H2D, D2H, D2D = 1, 2, 3
SHARED = 163 << 10  # bytes that a block may ask for


class CUDARuntimeError(RuntimeError):
    """What CuPy raises for an error of the runtime."""


class CUDADriverError(RuntimeError):
    """What CuPy raises for an error of the driver."""


class OutOfMemoryError(MemoryError):
    """What CuPy's pool raises."""


class Pointer:
    """CuPy's MemoryPointer, to memory that stays as long as the GPU."""

    def __init__(self, gpu: Gpu, nbytes: int) -> None:
        self._gpu, self._nbytes = gpu, nbytes
        room = np.full(nbytes + ALIGNMENT, 0xFF, np.uint8)
        gpu.rooms.append(room)
        self.ptr = -(-room.ctypes.data // ALIGNMENT) * ALIGNMENT

    def __del__(self) -> None:
        self._gpu.used -= self._nbytes


class Pinned(bytearray):
    """Pinned memory: a buffer with an address. What is freed is something else's: here zeros."""

    freed: ClassVar[list[Any]] = []

    def __del__(self) -> None:
        self[:] = bytes(len(self))
        self.freed.append(self)

    @property
    def ptr(self) -> int:
        return np.frombuffer(self, np.uint8).ctypes.data


class Stream:
    """Work that waits for somebody to wait for it; while it captures, work that is only noted."""

    def __init__(self, gpu: Gpu, null: bool = False) -> None:
        self.gpu = gpu
        self.ptr = 0 if null else len(gpu.streams) + 100
        gpu.streams[self.ptr] = self
        self.queue: list[Callable[[], None]] = []
        self.made = 0
        self.capture: Capture | None = None

    def put(self, work: Callable[[], None]) -> None:
        if self.capture is None:
            self.queue.append(work)
        else:
            self.capture.add(self, work)

    def run_until(self, count: int) -> None:
        while self.made < count:
            self.made += 1
            self.queue[self.made - 1]()
            self.queue[self.made - 1] = lambda: None

    @property
    def done(self) -> bool:
        """The device does one more thing while the host asks."""
        self.run_until(min(self.made + 1, len(self.queue)))
        if self.gpu.fault:
            raise CUDARuntimeError(self.gpu.fault)
        return self.made == len(self.queue)

    def is_capturing(self) -> bool:
        return self.capture is not None

    def synchronize(self) -> None:
        if self.capture is not None:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: it synchronizes")
        self.gpu.log.append(("synchronize",))
        self.run_until(len(self.queue))
        if self.gpu.fault:
            raise CUDARuntimeError(self.gpu.fault)

    def wait_event(self, event: Event) -> None:
        if event.captured is not None:
            event.captured[0].join(self, event.captured[1])
            return
        if self.capture is not None:
            raise CUDARuntimeError("cudaErrorStreamCaptureIsolation: an event from outside")
        stream, count = event.stream, event.count
        self.put(lambda: stream.run_until(count))

    def begin_capture(self) -> None:
        assert self.ptr != 0, "the default stream cannot capture"
        assert self.capture is None
        self.gpu.log.append(("begin capture",))
        self.capture = Capture(self)

    def end_capture(self) -> Graph:
        assert self.capture is not None
        assert not self.capture.is_body, "who began to capture a body ends it"
        capture = self.capture
        self.gpu.log.append(("end capture", len(capture.nodes)))
        capture.end(self)
        return Graph(self.gpu, capture.nodes)


class Capture:
    """What one stream captured, and those that waited for it: work, and what that follows."""

    def __init__(self, origin: Stream | None, parent: Capture | None = None) -> None:
        self.nodes: list[tuple[Callable[[], None], frozenset[int]]] = []
        self.tails: dict[Stream, frozenset[int]] = {origin: frozenset()} if origin else {}
        self.parent = parent

    @property
    def is_body(self) -> bool:
        return self.parent is not None

    def add(self, stream: Stream, work: Callable[[], None]) -> None:
        self.nodes.append((work, self.tails[stream]))
        self.tails[stream] = frozenset([len(self.nodes) - 1])

    def join(self, stream: Stream, after: frozenset[int]) -> None:
        assert stream.capture in (None, self)
        stream.capture = self
        self.tails[stream] = self.tails.get(stream, frozenset()) | after

    def end(self, origin: Stream) -> None:
        joined, todo = set(), list(self.tails[origin])
        while todo:
            number = todo.pop()
            if number not in joined:
                joined.add(number)
                todo += self.nodes[number][1]
        for stream, tail in self.tails.items():
            stream.capture = None
            if not tail <= joined:
                raise CUDARuntimeError("cudaErrorStreamCaptureUnjoined: a stream was left behind")


class Graph:
    """What was captured; it can be launched on any stream, and runs in any order that it allows."""

    def __init__(self, gpu: Gpu, nodes: list[tuple[Callable[[], None], frozenset[int]]]) -> None:
        self.gpu, self.nodes = gpu, nodes
        self.chance = random.Random(len(nodes))

    def upload(self, stream: Stream) -> None:
        self.gpu.log.append(("upload",))

    def launch(self, stream: Stream) -> None:
        self.gpu.log.append(("graph", len(self.nodes)))
        stream.put(self._run)

    def _run(self) -> None:
        run(self.nodes, self.chance)


def run(nodes: list[tuple[Callable[[], None], frozenset[int]]], chance: random.Random) -> None:
    """Run the nodes of a graph in an order that they allow."""
    followers: dict[int, list[int]] = {}
    for number, (_, before) in enumerate(nodes):
        for other in before:
            followers.setdefault(other, []).append(number)
    left = [len(before) for _, before in nodes]
    free = [number for number, count in enumerate(left) if count == 0]
    while free:
        chosen = free.pop(chance.randrange(len(free)))
        nodes[chosen][0]()
        for number in followers.get(chosen, ()):
            left[number] -= 1
            if left[number] == 0:
                free.append(number)


class Event:
    """A place in a stream, or in a capture."""

    def __init__(self, disable_timing: bool = False) -> None:
        self.stream: Any = None
        self.count = 0
        self.captured: tuple[Capture, frozenset[int]] | None = None

    def record(self, stream: Stream) -> None:
        self.captured = stream.capture and (stream.capture, stream.capture.tails[stream])
        self.stream, self.count = stream, len(stream.queue)

    def synchronize(self) -> None:
        assert self.captured is None, "an event of a capture cannot be waited for"
        self.stream.gpu.log.append(("wait for event",))
        self.stream.run_until(self.count)

    @property
    def done(self) -> bool:
        """The device gets there while the host asks."""
        self.stream.run_until(self.count)
        return True


class FakeArray:
    """cupy.ndarray: an array that NumPy does not take for one of its own."""

    gpu: Gpu

    def __init__(self, shape: tuple[int, ...], dtype: Any, host: Any = None) -> None:
        self.data: Any = None
        if host is None:
            nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            self.data = self.gpu.alloc(nbytes)
            buffer = (ctypes.c_char * nbytes).from_address(self.data.ptr)
            host = np.frombuffer(buffer, np.dtype(dtype)) if nbytes else np.empty(0, dtype)
            host = host.reshape(shape)
        else:
            self.data = types.SimpleNamespace(ptr=self.gpu.keep(host).ctypes.data)
        self.host = host
        self.shape, self.dtype, self.nbytes = host.shape, host.dtype, host.nbytes
        self.ndim, self.flags = host.ndim, host.flags

    def get(self) -> np.ndarray[Any, Any]:
        self.gpu.current.synchronize()
        return self.host.copy()

    def astype(self, dtype: Any, copy: bool = True) -> FakeArray:
        if not copy and self.dtype == dtype:
            return self
        self.gpu.current.synchronize()
        return type(self)((), None, self.host.astype(dtype))

    def __float__(self) -> float:
        return float(self.get())

    def __len__(self) -> int:
        return len(self.host)

    def __getitem__(self, index: Any) -> FakeArray:
        return type(self)((), None, self.host[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.gpu.current.synchronize()
        self.host[index] = value.host

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        assert function is np.concatenate
        whole = np.concatenate([x.get() for x in args[0]], *args[1:], **options)
        return type(self)((), None, whole)


class Function:
    """A kernel of the shim's library."""

    def __init__(self, gpu: Gpu, name: str, run: Any) -> None:
        self.gpu, self.name, self.run = gpu, name, run
        self.ptr, self.most_shared = self, 48 << 10
        run.restype = ctypes.c_char_p

    def __call__(
        self, grid: Any, block: Any, arguments: tuple[np.generic, ...], shared: int, stream: Stream,
        cooperative: bool = False,
    ) -> None:  # fmt: skip
        assert all(isinstance(x, np.generic) for x in arguments), "kernels take typed scalars"
        given = [ctypes.create_string_buffer(x.tobytes()) for x in arguments]
        table = (ctypes.c_void_p * max(1, len(given)))(*map(ctypes.addressof, given))
        sizes = [(ctypes.c_uint * 3)(*x) for x in (grid, block)]
        assert shared <= self.most_shared, "a kernel asks for what it was not allowed"
        self.gpu.log.append(("kernel", self.name))

        def work(keep: Any = given) -> None:
            message = self.run(*sizes, table, 0, int(cooperative), shared)
            assert not message, f"{self.name}: {message.decode()}"

        stream.put(work)


def _allow(function: Function, attribute: int, value: int) -> None:
    assert attribute == 8, "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES"
    assert value <= SHARED
    function.most_shared = value


class FakeDriver:
    """The driver's calls on graphs that are captured, see `backends/cuda/conditional.py`.

    A handle is one graph's, and of one node in it or in a body of its nodes; a node runs its body
    as long as its handle says so, or once. What says so must have run before.
    """

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.owners: dict[int, Capture] = {}
        self.unused: set[int] = set()

    def captured(self, stream: Stream) -> tuple[Capture, frozenset[int]]:
        if stream.capture is None:
            raise Refused("cuStreamGetCaptureInfo_v2: it does not capture")
        return stream.capture, stream.capture.tails[stream]

    def handle(self, graph: Capture) -> int:
        if "handle" in self.gpu.refuses:
            raise Refused("cuGraphConditionalHandleCreate: error 801")
        handle = 1000 + len(self.owners)
        self.owners[handle] = graph
        self.unused.add(handle)
        return handle

    def add(
        self, graph: Capture, after: frozenset[int], handle: int, kind: int
    ) -> tuple[int, Capture]:
        above: Capture | None = graph
        while above is not None and above is not self.owners[handle]:
            above = above.parent
        assert above is not None, "a handle is of a graph or of one around it"
        self.unused.remove(handle)
        body, told, chance = Capture(None, graph), self.gpu.told, random.Random(handle)

        def work() -> None:
            self.gpu.log.append(("asked", handle))
            while told.pop(handle):  # which must have been told, again in each body of a while
                run(body.nodes, chance)
                if kind == IF:
                    break

        graph.nodes.append((work, after))
        return len(graph.nodes) - 1, body

    def follow(self, stream: Stream, node: int) -> None:
        assert stream.capture is not None
        stream.capture.tails[stream] = frozenset([node])

    def begin(self, stream: Stream, graph: Capture) -> None:
        assert stream.capture is None, "a stream captures one graph at a time"
        assert graph.is_body
        stream.capture, graph.tails = graph, {stream: frozenset()}

    def end(self, stream: Stream) -> None:
        assert stream.capture is not None
        stream.capture.end(stream)


class Setter:
    """The kernel of `conditional.PTX`."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu

    def __call__(
        self, grid: Any, block: Any, arguments: tuple[np.generic, ...], shared: int, stream: Stream
    ) -> None:
        kinds = [np.uint64, np.uint64, np.uint64, np.uint32]
        assert [type(x) for x in arguments] == kinds
        handle, told, failed, side = map(int, arguments)

        def work() -> None:
            holds = ctypes.c_uint8.from_address(told).value == side
            self.gpu.told[handle] = holds and not ctypes.c_int32.from_address(failed).value

        stream.put(work)


class Module:
    """A loaded cubin, which here is the path of a library, or the PTX that tells nodes to run."""

    gpu: Gpu

    def load(self, cubin: bytes) -> None:
        if self.gpu.load_fault:
            raise CUDADriverError(self.gpu.load_fault)
        assert not any(stream.capture for stream in self.gpu.streams.values())
        self.gpu.log.append(("load",))
        self.library = None if cubin == PTX.encode() else ctypes.CDLL(cubin.decode())

    def get_function(self, name: str) -> Function | Setter:
        if self.library is None:
            assert name == SETTER
            return Setter(self.gpu)
        return Function(self.gpu, name, getattr(self.library, f"shim_{name}"))


class FakeNvrtc:
    """Compiles with g++ and the shim's header."""

    version = (13, 0)

    def __init__(self, gpu: Gpu, folder: Path) -> None:
        self.gpu, self.folder = gpu, folder

    def compile(self, source: str, architecture: str, options: Any = ()) -> bytes:
        if "error" in self.gpu.refuses:
            raise CompileError("NVRTC for sm_90: it is refused")
        self.gpu.log.append(("compile", architecture))
        names = KERNEL.findall(source)
        names = [name for name in names if "##" not in name and not name.endswith("_")]
        names += [f"sn_{act}_{n}" for n in MACRO.findall(source) for act in ("gather", "keep")]
        folder = self.folder / f"module{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        return str(build(source, names, folder)._name).encode()


class Gpu:
    """The machine, and `cupy`, the module that stands for CuPy on it."""

    def __init__(self, folder: Path, free: int = 1 << 40) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.asked: Counter[str] = Counter()  # calls that change nothing
        self.told: dict[int, bool] = {}  # what conditional nodes are to do
        self.rooms: list[Any] = []
        self.streams: dict[int, Stream] = {}
        self.free, self.used = free, 0
        self.fault = self.load_fault = self.refuses = ""
        self.current = Stream(self, null=True)
        self.nvrtc = FakeNvrtc(self, folder)
        self.blas = FakeCublasLt(self)
        self.driver = FakeDriver(self)
        self.cupy = self._module()

    def alloc(self, nbytes: int) -> Pointer:
        if self.used + nbytes > self.free:
            raise OutOfMemoryError
        self.used += nbytes
        self.log.append(("alloc", nbytes))
        return Pointer(self, nbytes)

    def keep(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.rooms.append(array)
        return array

    def _tell(self, what: str, answer: Any) -> Any:
        self.asked[what] += 1
        return answer

    def count(self, *what: str) -> int:
        return sum(entry[0] in what for entry in self.log)

    def _copy(self, to: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        self.log.append(("copy", kind, nbytes))
        self.streams[stream].put(lambda: ctypes.memmove(to, source, nbytes))

    def _fill(self, to: int, value: int, nbytes: int, stream: int) -> None:
        self.streams[stream].put(lambda: ctypes.memset(to, value, nbytes))

    def _module(self) -> Any:
        space = types.SimpleNamespace
        properties = {
            "name": b"Fake GPU",
            "major": 9,
            "minor": 0,
            "multiProcessorCount": 3,
            "sharedMemPerBlockOptin": SHARED,
        }
        runtime = space(
            CUDARuntimeError=CUDARuntimeError, memcpyHostToDevice=H2D, memcpyDeviceToHost=D2H,
            memcpyDeviceToDevice=D2D, memcpyAsync=self._copy, memsetAsync=self._fill,
            memGetInfo=lambda: (self.free - self.used, self.free),
            getDevice=lambda: self._tell("device", 0),
            getDeviceProperties=lambda number: properties, getDeviceCount=lambda: 1,
            runtimeGetVersion=lambda: 13000,
        )  # fmt: skip
        array = type("ndarray", (FakeArray,), {"gpu": self})
        FakeArray.gpu = self
        pool = space(free_bytes=lambda: 0, free_all_blocks=lambda: None)
        driver = space(CUDADriverError=CUDADriverError, funcSetAttribute=_allow)
        cuda = space(
            runtime=runtime, driver=driver, alloc=self.alloc,
            memory=space(OutOfMemoryError=OutOfMemoryError),
            alloc_pinned_memory=lambda nbytes: Pinned(nbytes),
            Stream=lambda non_blocking: Stream(self), Event=Event,
            get_current_stream=lambda: self._tell("stream", self.current),
            get_elapsed_time=lambda a, b: float(b.count - a.count),
            function=space(Module=type("Module", (Module,), {"gpu": self})),
        )  # fmt: skip
        return space(
            cuda=cuda, ndarray=array, get_default_memory_pool=lambda: pool,
            ascontiguousarray=lambda x: array((), None, np.ascontiguousarray(x.host)),
            from_dlpack=lambda x: x.array,
        )  # fmt: skip
