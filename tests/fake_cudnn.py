"""cuDNN's front end of Python's making: graphs whose calls NumPy computes on the fake GPU's memory.

It refuses what the real one does: arrays without a number, results without sizes, heads that do not
divide, workspaces that are too small or not aligned; and what must not be asked for: an algorithm
that depends on chance, sums of 16 bits. What asks for it takes that for a refusal, also an
`AssertionError`; so which plans were built, and for which device, tests look up here.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any

import ml_dtypes
import numpy as np

ALIGNED = 16
WORKSPACE = 4096
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class data_type(enum.Enum):
    HALF, BFLOAT16, FLOAT = np.dtype("float16"), BFLOAT16, np.dtype("float32")
    UINT8 = np.dtype("uint8")


class heur_mode(enum.Enum):
    A, FALLBACK = 0, 1


class numerical_note(enum.Enum):
    TENSOR_CORE, DOWN_CONVERT_INPUTS, REDUCED_PRECISION_REDUCTION = 0, 1, 2
    FFT, NONDETERMINISTIC, WINOGRAD = 3, 4, 5


class NotSupportedError(RuntimeError):
    """What the front end raises for a graph that no engine computes."""


class Array:
    """A tensor of a graph."""

    def __init__(self) -> None:
        self.dim: list[int] = []
        self.stride: list[int] = []
        self.dtype: Any = None
        self.uid = 0
        self.output = False

    def set_output(self, value: bool) -> Array:
        self.output = value
        return self

    def set_dim(self, dim: list[int]) -> Array:
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> Array:
        self.stride = stride
        return self

    def set_data_type(self, dtype: Any) -> Array:
        self.dtype = dtype
        return self

    def set_uid(self, uid: int) -> Array:
        self.uid = uid
        return self

    def at(self, address: int) -> Any:
        """The array in memory, as NumPy sees it."""
        assert address % ALIGNED == 0, "cuDNN's arrays are aligned"
        dtype = self.dtype.value
        count = 1 + sum(s * (n - 1) for s, n in zip(self.stride, self.dim, strict=True))
        buffer = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
        steps = [s * dtype.itemsize for s in self.stride]
        flat = np.frombuffer(buffer, dtype)
        return np.lib.stride_tricks.as_strided(flat, self.dim, steps)


_ACTS: dict[str, Any] = {
    "add": np.add, "mul": np.multiply, "relu": lambda x: np.maximum(x, 0),
    "relu_backward": lambda loss, x: np.where(x > 0, loss, 0),
}  # fmt: skip


class pygraph:
    """A graph of one op and of what follows it elementwise."""

    def __init__(self, owner: FakeCudnn, **options: Any) -> None:
        self.owner = owner
        names = [x for x in ("handle", "device_property", "sm_version") if x in options]
        owner.placed.append({name: options.pop(name) for name in names})
        if options:  # a graph that is read has its own
            inner = options["compute_data_type"], options["intermediate_data_type"]
            assert inner == (data_type.FLOAT, data_type.FLOAT)
        self.arrays: list[Array] = []
        self.results: list[Array] = []
        self.after: list[tuple[str, list[Array], Array]] = []
        self.kind = ""
        self.options: dict[str, Any] = {}
        self.steps: list[str] = []
        self.built: set[int] = set()

    def tensor(self, dim: Any, stride: Any, data_type: Any, name: str, uid: int) -> Array:
        assert len(dim) == len(stride) >= 4
        assert all(s > 0 for s in stride)
        made = Array().set_dim(dim).set_stride(stride).set_data_type(data_type).set_uid(uid)
        self.arrays.append(made)
        return made

    def _op(self, kind: str, count: int, options: dict[str, Any]) -> list[Array]:
        self.kind, self.options = kind, options
        self.results = [Array() for _ in range(count)]
        self.owner.asked.append((kind, options))
        return self.results

    def sdpa(self, q: Array, k: Array, v: Array, **options: Any) -> list[Any]:
        self._check_bias(options, q, k)
        y, stats = self._op("sdpa", 2, options)
        if options["generate_stats"]:
            return [y, stats]
        self.results = [y]
        return [y, None]

    def _check_bias(self, options: dict[str, Any], q: Array, k: Array) -> None:
        bias = options.get("bias")
        if bias:
            assert bias is self.arrays[-1], "what is added comes last"
            assert bias.dim[2:] == [q.dim[2], k.dim[2]]
            assert all(n in (1, m) for n, m in zip(bias.dim[:2], q.dim[:2], strict=True))

    def sdpa_backward(self, *operands: Array, **options: Any) -> list[Array]:
        assert options["use_deterministic_algorithm"]
        self._check_bias(options, *operands[:2])
        return self._op("sdpa_backward", 3, options)

    def conv_fprop(self, image: Array, weight: Array, **options: Any) -> Array:
        return self._op("convolution", 1, options)[0]

    def conv_dgrad(self, loss: Array, filter: Array, **options: Any) -> Array:
        return self._op("convolution_input", 1, options)[0]

    def conv_wgrad(self, image: Array, loss: Array, **options: Any) -> Array:
        return self._op("convolution_weight", 1, options)[0]

    def _follow(self, act: str, *operands: Array) -> Array:
        """One more elementwise op, whose first operand is what the one before it makes."""
        last = self.results[-1]
        assert operands[0] is last
        assert last.dim, "a gradient's sizes cannot be inferred"
        assert not last.output
        made = Array().set_dim(last.dim).set_stride(last.stride)
        self.after.append((act, list(operands[1:]), made))
        self.results = [made]
        self.owner.asked.append((act, {}))
        return made

    def add(self, a: Array, b: Array) -> Array:
        return self._follow("add", a, b)

    def mul(self, a: Array, b: Array) -> Array:
        return self._follow("mul", a, b)

    def relu(self, a: Array) -> Array:
        return self._follow("relu", a)

    def relu_backward(self, loss: Array, input: Array) -> Array:
        return self._follow("relu_backward", loss, input)

    def validate(self) -> None:
        every = [*self.arrays, *self.results]
        assert sorted(x.uid for x in every) == list(range(1, len(every) + 1))
        assert all(x.output and x.dim and x.stride for x in self.results)
        if self.kind.startswith("sdpa"):
            q, k = self.arrays[:2]
            if q.dtype is data_type.FLOAT or q.dim[3] % 8 or q.dim[1] % k.dim[1]:
                raise NotSupportedError("no engine for this attention")
        self.steps.append("validate")

    def build_operation_graph(self) -> None:
        self.steps.append("build")

    def create_execution_plans(self, modes: list[Any]) -> None:
        assert modes == [heur_mode.A, heur_mode.FALLBACK]
        self.steps.append("plans")

    def deselect_numeric_notes(self, notes: list[Any]) -> None:
        assert self.steps[-1] == "plans", "earlier it is lost"
        self.left_out = set(notes)
        assert numerical_note.NONDETERMINISTIC in self.left_out

    def check_support(self) -> None:
        if self.owner.refuses:
            raise NotSupportedError(self.owner.refuses)
        if self.after and self.owner.refuses_more:
            raise NotSupportedError("no engine for what follows")
        self.steps.append("support")

    def get_execution_plan_count(self) -> int:
        return len(self.owner.engines)

    def get_plan_name_at_index(self, index: int) -> str:
        return self.owner.engines[index]

    def build_plan_at_index(self, index: int) -> None:
        assert self.steps == ["validate", "build", "plans", "support"]
        self.owner.built.append(self.owner.engines[index])
        if self.owner.engines[index] == "eng7":
            raise NotSupportedError("excluded by a note filter")
        self.built.add(index)
        self.latest = index

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        assert index in self.built
        return WORKSPACE * index

    def serialize(self) -> list[int]:
        """The plan that was built last."""
        self.owner.serialized.append((self, self.latest))
        return list(f"plan {len(self.owner.serialized) - 1}".encode())

    def deserialize(self, *given: Any) -> None:
        *handles, data = given
        assert handles == list(self.owner.placed[-1].values())[: len(handles)]
        word, _, number = bytes(data).decode().partition(" ")
        if word != "plan":
            raise RuntimeError("not a plan")
        self.owner.read += 1
        self.alone = self.owner.serialized[int(number)]

    def get_workspace_size(self) -> int:
        return WORKSPACE * self.alone[1]

    def execute(self, addresses: dict[int, int], workspace: int, handle: Any) -> None:
        graph, index = self.alone
        graph.execute_plan_at_index(addresses, workspace, index, handle)

    def execute_plan_at_index(
        self, addresses: dict[int, int], workspace: int, index: int, handle: Any
    ) -> None:
        assert index in self.built
        assert workspace % ALIGNED == 0
        assert workspace
        told = " ".join([self.kind, *(act for act, *_ in self.after)])
        self.owner.gpu.log.append(("cudnn", told, index))
        ctypes.memset(workspace, 0, WORKSPACE * index)  # it must be there

        def work() -> None:
            ctypes.memset(workspace, 0x5A, WORKSPACE * index)
            given = [x.at(addresses[x.uid]).astype(np.float64) for x in self.arrays]
            values = dict(zip(map(id, self.arrays), given, strict=True))
            own = given[: len(given) - sum(len(more) for _, more, _ in self.after)]
            made = getattr(self, f"_{self.kind}")(*own)
            for act, more, _ in self.after:
                made = [_ACTS[act](made[0], *(values[id(x)] for x in more))]
            for x, value in zip(self.results, made, strict=False):
                x.at(addresses[x.uid])[...] = value.astype(x.dtype.value)

        self.owner.gpu.streams[self.owner.stream].put(work)

    def _scores(self, q: Any, k: Any, bias: Any) -> Any:
        each = q.shape[1] // k.shape[1]
        s = self.options["attn_scale"] * q @ np.repeat(k, each, 1).swapaxes(2, 3) + bias
        if self.options["use_causal_mask"]:
            s = np.where(np.tri(*s.shape[2:]) > 0, s, -np.inf)
        return s

    def _sdpa(self, q: Any, k: Any, v: Any, bias: Any = 0.0) -> list[Any]:
        s = self._scores(q, k, bias)
        top = s.max(-1, keepdims=True)
        assert not np.any(top == -np.inf), "of a row without keys nothing is said"
        stats = np.log(np.exp(s - top).sum(-1, keepdims=True)) + top
        return [np.exp(s - stats) @ np.repeat(v, q.shape[1] // v.shape[1], 1), stats]

    def _sdpa_backward(
        self, q: Any, k: Any, v: Any, y: Any, a: Any, stats: Any, bias: Any = 0.0
    ) -> list[Any]:
        each = q.shape[1] // k.shape[1]
        keys, values = (np.repeat(x, each, 1) for x in (k, v))
        w = np.exp(self._scores(q, k, bias) - stats)
        to_w = a @ values.swapaxes(2, 3)
        ds = w * (to_w - (a * y).sum(-1, keepdims=True)) * self.options["attn_scale"]
        dk, dv = ds.swapaxes(2, 3) @ q, w.swapaxes(2, 3) @ a
        shared = [x.reshape(x.shape[0], -1, each, *x.shape[2:]).sum(2) for x in (dk, dv)]
        return [ds @ keys, *shared]

    def _places(self, x: Any, w: Any, t: Any) -> Any:
        """Of each element of the kernel its place, and where it meets a padded x."""
        low, high = self.options["pre_padding"], self.options["post_padding"]
        padded = np.pad(x, [(0, 0), (0, 0), *zip(low, high, strict=True)])
        for place in np.ndindex(*w[2:]):
            steps = zip(place, self.options["dilation"], self.options["stride"], t[2:], strict=True)
            cuts = [slice(p * d, p * d + (n - 1) * s + 1, s) for p, d, s, n in steps]
            yield place, padded, (slice(None), slice(None), *cuts)

    def _groups(self, x: Any, w: Any) -> Any:
        """The channels of x, and the outputs of w, of each group."""
        groups = x[1] // w[1]
        for g in range(groups):
            each = w[0] // groups
            yield slice(g * w[1], (g + 1) * w[1]), slice(g * each, (g + 1) * each)

    def _convolution(self, x: Any, w: Any) -> list[Any]:
        t = self.results[0].dim
        y = np.zeros(t)
        for place, padded, cut in self._places(x, w.shape, t):
            for c, o in self._groups(x.shape, w.shape):
                part = padded[cut][:, c]
                y[:, o] += np.einsum("nc...,oc->no...", part, w[(o, slice(None), *place)])
        return [y]

    def _convolution_input(self, y: Any, w: Any) -> list[Any]:
        shape = self.results[0].dim
        dx = None
        for place, padded, cut in self._places(np.zeros(shape), w.shape, y.shape):
            dx = np.zeros(padded.shape) if dx is None else dx
            for c, o in self._groups(shape, w.shape):
                part = np.einsum("no...,oc->nc...", y[:, o], w[(o, slice(None), *place)])
                dx[cut][:, c] += part
        assert dx is not None
        inner = zip(self.options["pre_padding"], shape[2:], strict=True)
        return [dx[(slice(None), slice(None), *(slice(p, p + n) for p, n in inner))]]

    def _convolution_weight(self, x: Any, y: Any) -> list[Any]:
        shape = self.results[0].dim
        dw = np.zeros(shape)
        for place, padded, cut in self._places(x, shape, y.shape):
            for c, o in self._groups(x.shape, shape):
                part = padded[cut][:, c].reshape(len(x), shape[1], -1)
                rows = y[:, o].reshape(len(x), part.shape[1] and y[:, o].shape[1], -1)
                dw[(o, slice(None), *place)] = np.einsum("nct,not->oc", part, rows)
        return [dw]


class FakeCudnn:
    """The module `cudnn`. `asked` are the ops that graphs were made of, `refuses` why none runs,
    `refuses_more` that none runs in which something follows.

    `engines` are the names of plans, of which "eng7" is refused; `built` are those that were asked
    for, `placed` for what graphs were.
    """

    data_type, heur_mode, numerical_note = data_type, heur_mode, numerical_note

    def __init__(self, gpu: Any) -> None:
        self.gpu = gpu
        self.stream = 0
        self.refuses, self.refuses_more = "", False
        self.engines = ("python_engine", "eng7", "eng1_k2=3", "eng5", "cutlass_engine")
        self.built: list[str] = []
        self.placed: list[dict[str, Any]] = []
        self.serialized: list[Any] = []
        self.read = 0
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def backend_version(self) -> int:
        return 92801

    def create_handle(self) -> Any:
        return "handle"

    def set_stream(self, handle: Any, stream: int) -> None:
        assert handle == "handle"
        self.stream = stream

    def pygraph(self, **options: Any) -> pygraph:
        return pygraph(self, **options)
