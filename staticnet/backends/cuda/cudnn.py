"""cuDNN by its front end, `nvidia-cudnn-frontend`, which is optional: attention and convolutions.

A signature becomes a graph of the front end, and that has plans: ways in which an engine of the
library computes it. Only the library's own engines are taken, deterministic ones, with sums in
float32. Graphs and plans can be made without a GPU, for one that is described by its properties.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staticnet.backends import cache
from staticnet.codegen.commands import Operand, Signature
from staticnet.errors import ExecutionError
from staticnet.ir.dtype import FLOAT32

log = logging.getLogger("staticnet")
TYPES = {"float16": "HALF", "bfloat16": "BFLOAT16", "float32": "FLOAT", "bool": "UINT8"}
EPILOGUE = "convolution_epilogue"
INEXACT = ("NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION", "WINOGRAD", "FFT")
SUFFIX = ".plan"
_ENGINE = "eng"  # how the library's own plans are called; others are the front end's


@dataclass(frozen=True)
class CallPlan:
    """A way to compute a signature: its name, its workspace, and the graph that has it.

    `data` is what it can be made of again; `index` is its number, None if the graph has no other.
    Where it is of a part alone, `apart`, launches of our own make the rest.
    """

    name: str
    workspace: int
    graph: Any = field(repr=False)
    data: bytes = field(default=b"", repr=False)
    index: int | None = None
    apart: bool = False


@dataclass
class CallGraph:
    """A signature as a graph of the front end, and the plans of it that were built.

    `names` are those of all plans, the one expected to be fastest first; where an engine is not the
    library's own, nothing is built.
    """

    signature: Signature
    graph: Any
    names: list[str]
    built: dict[str, CallPlan | None] = field(default_factory=dict)

    def plan(self, name: str) -> CallPlan | None:
        """The plan of a name; None if the library does not build it after all."""
        if name not in self.built:
            own = name.startswith(_ENGINE) and name in self.names
            self.built[name] = self._build(name) if own else None
        return self.built[name]

    def plans(self, count: int, seconds: float = math.inf) -> list[CallPlan]:
        """Up to `count` plans, the one expected to be fastest first; fewer if they take longer."""
        found: list[CallPlan] = []
        start = time.perf_counter()
        for name in dict.fromkeys(self.names):
            late = found and time.perf_counter() - start > seconds
            if len(found) == count or late:
                break
            plan = self.plan(name)
            found += [] if plan is None else [plan]
        return found

    def _build(self, name: str) -> CallPlan | None:
        index, graph = self.names.index(name), self.graph
        try:
            graph.build_plan_at_index(index)
            nbytes = int(graph.get_workspace_size_plan_at_index(index))
        except Exception as error:  # of a plan that was left out, or that needs what is not there
            log.debug("cuda: %s: plan %s: %s", self.signature, name, error)
            return None
        try:
            data = bytes(graph.serialize())  # of the plan that was built last
        except Exception as error:
            log.debug("cuda: %s: plan %s is not kept: %s", self.signature, name, error)
            data = b""
        return CallPlan(name, nbytes, graph, data, index)


class Cudnn:
    """The loaded front end. Its handle, which needs a device, is made for the first graph.

    With `properties` plans are made for the device that they describe, and nothing runs.
    """

    def __init__(self, module: Any, properties: Any = None) -> None:
        self.module = module
        self.version = int(module.backend_version())
        self.properties = properties
        self._graphs: dict[Signature, CallGraph | None] = {}
        self._plans: dict[tuple[Signature, str], CallPlan | None] = {}

    @functools.cached_property
    def _handle(self) -> Any:
        return self.module.create_handle()

    def plan(self, signature: Signature, name: str, device: str) -> CallPlan | None:
        """The plan of a name, the first of an own engine if it is ""; None if there is none.

        Built plans, whose kernels may take seconds to compile, are kept on disk for a device.
        """
        key = signature, name
        if key not in self._plans:
            version = f"{self.version} {getattr(self.module, '__version__', '')}"
            told = cache.digest("cudnn plan", version, device, repr(signature), name)
            file = cache.open_cache().find(told, SUFFIX)
            plan = self._read(file) if file else None
            self._plans[key] = plan or self._built(signature, name, told)
        return self._plans[key]

    def _built(self, signature: Signature, name: str, key: str) -> CallPlan | None:
        graph = self.graph(signature)
        if graph is None:
            return None
        plan = graph.plan(name) if name else next(iter(graph.plans(1)), None)
        if plan and plan.data:
            content = plan.name.encode() + b"\n" + plan.data

            def make(output: Path) -> None:
                output.write_bytes(content)

            cache.build(key, SUFFIX, make)
        return plan

    def _read(self, file: Path) -> CallPlan | None:
        """The plan that a file has; None if the library does not take it."""
        try:
            name, _, data = file.read_bytes().partition(b"\n")  # unless a sweep was faster
            own = () if self.properties else (self._handle,)
            graph = self.module.pygraph(**self._placed())
            graph.deserialize(*own, list(data))
            return CallPlan(name.decode(), int(graph.get_workspace_size()), graph)
        except Exception as error:
            log.info("cuda: cuDNN %d: %s: %s", self.version, file, error)
            return None

    def graph(self, signature: Signature) -> CallGraph | None:
        """A signature's graph, made once; None if the library does not support it."""
        if signature not in self._graphs:
            try:
                self._graphs[signature] = self._make(signature)
            except Exception as error:  # the front end has classes for few of its refusals
                log.info("cuda: cuDNN %d: %s: %s", self.version, signature, error)
                self._graphs[signature] = None
        return self._graphs[signature]

    def _make(self, signature: Signature) -> CallGraph:
        cudnn = self.module
        made = _Writer(cudnn, signature, self._placed()).write()
        made.validate()
        made.build_operation_graph()
        made.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        notes = [*INEXACT, "DOWN_CONVERT_INPUTS"] if _is_narrow(signature) else INEXACT
        made.deselect_numeric_notes([getattr(cudnn.numerical_note, note) for note in notes])
        made.check_support()
        count = made.get_execution_plan_count()
        return CallGraph(signature, made, [made.get_plan_name_at_index(i) for i in range(count)])

    def _placed(self) -> dict[str, Any]:
        """For which device a graph is."""
        if self.properties is None:
            return {"handle": self._handle}
        told = json.loads(self.properties.serialize())
        return {"device_property": self.properties, "sm_version": told["deviceVer"]}

    def execute(
        self, plan: CallPlan, addresses: Sequence[int], workspace: int, stream: int
    ) -> None:
        """Enqueue a call on a stream; all but `plan` are addresses.

        Raises:
            ExecutionError: if cuDNN refuses it.
        """
        given, handle = dict(enumerate(addresses, 1)), self._handle
        try:
            self.module.set_stream(handle=handle, stream=stream)
            if plan.index is None:
                plan.graph.execute(given, workspace, handle=handle)
            else:
                plan.graph.execute_plan_at_index(given, workspace, plan.index, handle=handle)
        except Exception as error:
            raise ExecutionError(f"cuDNN {self.version}: plan {plan.name}: {error}") from error


class _Writer:
    """Writes a signature as a graph, whose arrays have the numbers of their places, from 1."""

    def __init__(self, cudnn: Any, signature: Signature, placed: Mapping[str, Any]) -> None:
        self._cudnn, self._signature = cudnn, signature
        wide = cudnn.data_type.FLOAT
        io = self._dtype(signature.arrays[0])
        self._graph = cudnn.pygraph(
            io_data_type=io, intermediate_data_type=wide, compute_data_type=wide, **placed
        )
        self._uids = {x.name: uid for uid, x in enumerate(signature.arrays, 1)}
        self._arrays = {x.name: x for x in signature.arrays}

    def write(self) -> Any:
        """The graph."""
        kind = self._signature.kind
        if kind == "attention":
            self._attention()
        elif kind == "attention_gradient":
            self._attention_gradient()
        else:
            self._convolution(kind)
        return self._graph

    def _dtype(self, x: Operand) -> Any:
        return getattr(self._cudnn.data_type, TYPES[x.dtype.name])

    def _read(self, name: str) -> Any:
        x = self._arrays[name]
        return self._graph.tensor(
            dim=list(x.shape), stride=list(x.steps), data_type=self._dtype(x), name=name,
            uid=self._uids[name],
        )  # fmt: skip

    def _written(self, name: str, made: Any) -> None:
        x = self._arrays[name]
        made.set_output(True).set_dim(list(x.shape)).set_stride(list(x.steps))
        made.set_data_type(self._dtype(x)).set_uid(self._uids[name])

    def _attention(self) -> None:
        told, keeps = self._signature, "l" in self._signature.results
        rows = [self._read(name) for name in "qkv"]
        y, logarithms = self._graph.sdpa(
            *rows, attn_scale=told.option("scale"),
            use_causal_mask=told.option("causal"), generate_stats=keeps, **self._mask(),
        )  # fmt: skip
        self._written("y", y)
        if keeps:
            self._written("l", logarithms)

    def _mask(self) -> dict[str, Any]:
        """What is added to the scores, if anything is."""
        return {"bias": self._read("mask")} if "mask" in self._arrays else {}

    def _attention_gradient(self) -> None:
        told = self._signature
        rows = [self._read(name) for name in "qkvyal"]
        made = self._graph.sdpa_backward(
            *rows, attn_scale=told.option("scale"),
            use_causal_mask=told.option("causal"), use_deterministic_algorithm=True,
            **self._mask(),
        )  # fmt: skip
        for name, x in zip(("dq", "dk", "dv"), made, strict=True):
            self._written(name, x)

    def _convolution(self, kind: str) -> None:
        options = {
            "pre_padding": "low", "post_padding": "high", "stride": "strides",
            "dilation": "dilations",
        }  # fmt: skip
        told = self._signature
        given = {name: list(told.option(own)) for name, own in options.items()}
        act = {
            "convolution": "conv_fprop", "convolution_input": "conv_dgrad",
            "convolution_weight": "conv_wgrad",
        }[told.option("of") if kind == EPILOGUE else kind]  # fmt: skip
        first, second, *_, result = told.arrays
        made = getattr(self._graph, act)(self._read(first.name), self._read(second.name), **given)
        if kind == EPILOGUE:
            made.set_dim(list(result.shape)).set_stride(list(result.steps))
            made = self._after(made)
        self._written(result.name, made)

    def _after(self, made: Any) -> Any:
        """What follows a convolution; the backward of relu keeps what is above 0, also of bools."""
        acts = {
            "scale": "mul", "shift": "add", "beside": "add", "mask": "relu_backward",
            "gate": "relu_backward",
        }  # fmt: skip
        for name, act in acts.items():
            if name in self._arrays:
                made = getattr(self._graph, act)(made, self._read(name))
        return self._graph.relu(made) if self._signature.option("relu") else made


def _is_narrow(signature: Signature) -> bool:
    """Whether operands have 16 bits, which must not become fewer; TF32 makes fewer of 32."""
    return signature.arrays[0].dtype != FLOAT32


@functools.cache
def find_cudnn() -> Cudnn | None:
    """The installed front end with its library; None if one of them is missing."""
    if importlib.util.find_spec("cudnn") is None:
        return None
    try:
        module = importlib.import_module("cudnn")
        return Cudnn(module) if hasattr(module, "pygraph") else None
    except Exception as error:  # of a library that is missing, or of another version
        log.info("cuda: nvidia-cudnn-frontend: %s", error)
        return None
