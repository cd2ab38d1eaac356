"""Nodes of a CUDA graph that run theirs while, or if, the device says so: CUDA 12.4 and later.

A stream that captures is asked for its graph; a node is put there whose body is a graph of its own,
and what comes next on the stream comes after it. CuPy has no calls for that, so they are the
driver's, by ctypes. Only device code can say whether a body runs: `cudaGraphSetConditional` is an
external function, which the driver links as it compiles PTX. See the CUDA driver API, "Graph
management", and docs/adr/0066-a-graph-asks-the-device.md.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

LEAST_VERSION = 12040
IF, WHILE = 0, 1  # CUgraphConditionalNodeType
_CONDITIONAL = 13  # CU_GRAPH_NODE_TYPE_CONDITIONAL
_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: as CuPy captures
_SET = 1  # CU_STREAM_SET_CAPTURE_DEPENDENCIES
SETTER = "sn_set_conditional"
# handle, address of a bool, address of the flag of failures, the bool's value for which it holds
PTX = """\
.version 7.0
.target sm_80
.address_size 64
.extern .func cudaGraphSetConditional(.param .b64 handle, .param .b32 value);
.visible .entry sn_set_conditional(
  .param .u64 handle, .param .u64 told, .param .u64 failed, .param .u32 side)
{
  .reg .pred %p<3>;
  .reg .b32 %r<5>;
  .reg .b64 %d<4>;
  .param .b64 given;
  .param .b32 holds;
  ld.param.u64 %d1, [handle];
  ld.param.u64 %d2, [told];
  ld.param.u64 %d3, [failed];
  ld.param.u32 %r1, [side];
  ld.global.u8 %r2, [%d2];
  ld.global.u32 %r3, [%d3];
  setp.eq.u32 %p1, %r2, %r1;
  setp.eq.and.u32 %p2, %r3, 0, %p1;
  selp.u32 %r4, 1, 0, %p2;
  st.param.b64 [given], %d1;
  st.param.b32 [holds], %r4;
  call.uni cudaGraphSetConditional, (given, holds);
  ret;
}
"""


_REFUSALS = (
    "NotSupported", "NotPermitted", "InvalidValue", "NotFound", "StreamCapture", "CapturedEvent",
    "PTX", "JITCompil", "InvalidImage", "InvalidKernelImage", "InvalidSource", "NoBinaryForGPU",
    "NoKernelImage", "CallRequiresNewerDriver",
)  # fmt: skip


class DriverError(RuntimeError):
    """A call of the driver's fails; the text begins with the error's name, as CuPy's do."""


class Refused(DriverError):
    """The driver does not make a conditional node."""


def is_refusal(error: Exception) -> bool:
    """Whether an error of CUDA's says that it does not do a thing: not that something is broken."""
    name = str(error).partition(":")[0].replace("_", "").lower()
    return isinstance(error, Refused) or any(known.lower() in name for known in _REFUSALS)


class NodeParams(ctypes.Structure):
    """CUgraphNodeParams with CUDA_CONDITIONAL_NODE_PARAMS, and zeros up to its size."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("reserved", ctypes.c_int * 3),
        ("handle", ctypes.c_uint64),
        ("kind", ctypes.c_int),
        ("size", ctypes.c_uint),
        ("graphs", ctypes.POINTER(ctypes.c_void_p)),
        ("context", ctypes.c_void_p),
        ("padding", ctypes.c_int64 * 26),
    )


class Driver:
    """The driver's calls on graphs that are being captured. Graphs and nodes are addresses.

    Its functions are those of CUDA 12.4, which later drivers have under the same names.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            told = ctypes.c_char_p()
            self._library.cuGetErrorName(ctypes.c_int(status), ctypes.byref(told))
            error = DriverError(f"{(told.value or b'').decode()}: {name}: error {status}")
            raise Refused(*error.args) if is_refusal(error) else error

    def captured(self, stream: Any) -> tuple[int, Any]:
        """The graph that a stream captures, and the nodes that its next one comes after."""
        status, graph = ctypes.c_int(), ctypes.c_void_p()
        nodes, count = ctypes.POINTER(ctypes.c_void_p)(), ctypes.c_size_t()
        given = (status, None, graph, nodes, count)
        references = (x if x is None else ctypes.byref(x) for x in given)
        self._call("cuStreamGetCaptureInfo_v2", ctypes.c_void_p(stream.ptr), *references)
        found = [nodes[i] for i in range(count.value)]
        return int(graph.value or 0), (ctypes.c_void_p * max(1, len(found)))(*found)[: len(found)]

    def handle(self, graph: int) -> int:
        """What tells a node to be put in a graph, or in a body of its nodes, whether it runs."""
        made = ctypes.c_uint64()
        self._call(
            "cuGraphConditionalHandleCreate", ctypes.byref(made), ctypes.c_void_p(graph),
            self._context(), ctypes.c_uint(0), ctypes.c_uint(0),
        )  # fmt: skip
        return made.value

    def add(self, graph: int, after: Any, handle: int, kind: int) -> tuple[int, int]:
        """A conditional node, and the graph that is its body."""
        node = ctypes.c_void_p()
        given = NodeParams(type=_CONDITIONAL, handle=handle, kind=kind, size=1)
        given.context = self._context()
        nodes = (ctypes.c_void_p * max(1, len(after)))(*after)
        self._call(
            "cuGraphAddNode", ctypes.byref(node), ctypes.c_void_p(graph), nodes,
            ctypes.c_size_t(len(after)), ctypes.byref(given),
        )  # fmt: skip
        return int(node.value or 0), int(given.graphs[0] or 0)

    def follow(self, stream: Any, node: int) -> None:
        """Have what a stream captures next come after a node alone."""
        nodes = (ctypes.c_void_p * 1)(node)
        self._call(
            "cuStreamUpdateCaptureDependencies", ctypes.c_void_p(stream.ptr), nodes,
            ctypes.c_size_t(1), ctypes.c_uint(_SET),
        )  # fmt: skip

    def begin(self, stream: Any, graph: int) -> None:
        """Have a stream capture to a graph."""
        self._call(
            "cuStreamBeginCaptureToGraph", ctypes.c_void_p(stream.ptr), ctypes.c_void_p(graph),
            None, None, ctypes.c_size_t(0), ctypes.c_int(_RELAXED),
        )  # fmt: skip

    def end(self, stream: Any) -> None:
        """End what `begin` began."""
        graph = ctypes.c_void_p()
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream.ptr), ctypes.byref(graph))

    def _context(self) -> ctypes.c_void_p:
        context = ctypes.c_void_p()
        self._call("cuCtxGetCurrent", ctypes.byref(context))
        return context


class Conditionals:
    """Puts conditional nodes into what streams of a device capture."""

    def __init__(self, cupy: Any, driver: Driver) -> None:
        self._cupy = cupy
        self._driver = driver
        self._streams: list[Any] = []  # one for each depth of bodies
        self._depth = 0
        self._setter: Any = None

    def prepare(self) -> None:
        """Load what must not be loaded while a stream captures.

        Raises:
            CUDADriverError: if the driver does not compile or load it; see `is_refusal`.
        """
        if self._setter is None:
            module = self._cupy.cuda.function.Module()
            module.load(PTX.encode())
            self._setter = module.get_function(SETTER)

    def handle(self, stream: Any) -> int:
        """What tells a node of what a stream captures whether its body runs.

        Raises:
            Refused: if the driver has none.
        """
        return self._driver.handle(self._driver.captured(stream)[0])

    def tell(self, handle: int, told: int, failed: int, side: bool, stream: Any) -> None:
        """Have a body run if the bool at `told` is `side`, and the flag at `failed` is down."""
        one, numbers = (1, 1, 1), (np.uint64(handle), np.uint64(told), np.uint64(failed))
        self._setter(one, one, (*numbers, np.uint32(side)), 0, stream)

    @contextmanager
    def body(self, handle: int, kind: int, stream: Any) -> Iterator[Any]:
        """A stream that captures the body of a new node, which comes next on `stream`.

        Raises:
            Refused: if the driver makes none.
            DriverError: if it fails. What comes from inside goes before what ending it then says.
        """
        graph, before = self._driver.captured(stream)
        node, inside = self._driver.add(graph, before, handle, kind)
        self._driver.follow(stream, node)
        if self._depth == len(self._streams):
            self._streams.append(self._cupy.cuda.Stream(non_blocking=True))
        own = self._streams[self._depth]
        self._driver.begin(own, inside)
        self._depth += 1
        try:
            yield own
        except BaseException:
            with suppress(DriverError):
                self._driver.end(own)
            raise
        else:
            self._driver.end(own)
        finally:
            self._depth -= 1


@functools.cache
def find_driver() -> Driver | None:
    """The driver, if it knows conditional nodes."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
        version = ctypes.c_int()
        known = library.cuDriverGetVersion(ctypes.byref(version)) == 0
    except (OSError, AttributeError):
        return None
    return Driver(library) if known and version.value >= LEAST_VERSION else None
