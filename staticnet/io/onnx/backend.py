"""staticnet as a backend of the `onnx` package: what its own test suite asks of one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from staticnet.errors import DeviceError, OnnxError
from staticnet.function import BACKENDS, Function, function
from staticnet.io.onnx.library import newest, onnx
from staticnet.io.onnx.model import OnnxModel, read
from staticnet.ir.types import tensor_type
from staticnet.ir.value import Value
from staticnet.ops.promotion import as_array
from staticnet.ops.state import placeholder

MAX_PROGRAMS = 16


class Backend:
    """`prepare(model).run(inputs)` and its short forms, for `onnx.backend.test`.

    ONNX's devices are "CPU" and "CUDA"; staticnet's own names serve too.
    """

    devices: ClassVar[dict[str, str]] = {
        "CPU": "cpu", "CUDA": "cuda", "cpu": "cpu", "cuda": "cuda", "numpy": "numpy",
    }  # fmt: skip

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether a model can be prepared."""
        try:
            read(model)
        except OnnxError:
            return False
        return True

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
        """A model made ready to run: a path, bytes or a `ModelProto`.

        Raises:
            OnnxError: as `load`.
            DeviceError: if there is no such device.
        """
        return Prepared(read(model, trainable=False), cls._device(device))

    @classmethod
    def run_model(
        cls, model: Any, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """The outputs of a model from its inputs, in order or by name."""
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node from its inputs; `opset_version` says of which opset it is."""
        given = (
            [inputs[name] for name in node.input if name] if isinstance(inputs, Mapping) else inputs
        )
        package = onnx()
        names = [name for name in node.input if name]
        version = kwargs.get("opset_version") or newest(node.domain)
        graph = package.helper.make_graph(
            [node], "node",
            [package.helper.make_tensor_value_info(n, _number(as_array(x)), np.shape(x))
             for n, x in zip(names, given, strict=True)],
            [package.helper.make_empty_tensor_value_info(n) for n in node.output if n],
        )  # fmt: skip
        opset = package.helper.make_operatorsetid(node.domain, version)
        return cls.run_model(package.helper.make_model(graph, opset_imports=[opset]), given, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether a device is there."""
        name = cls.devices.get(device.partition(":")[0])
        return name is not None and not BACKENDS[name].missing()

    @classmethod
    def _device(cls, device: str) -> str:
        name = cls.devices.get(device.partition(":")[0])
        if name is None:
            raise DeviceError(f"device {device!r:.40}: use one of {', '.join(cls.devices)}")
        return name


def _number(array: Any) -> int:
    return int(onnx().helper.np_dtype_to_tensor_dtype(array.dtype))


class Prepared:
    """A model on a device. Programs are kept by shapes, and by values that shapes depend on."""

    def __init__(self, model: OnnxModel, device: str) -> None:
        self.model = model
        self.device = device
        self.known: set[str] = set()
        self._programs: dict[Any, tuple[Traced, Function | None]] = {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, as arrays or lists of them, from inputs in order or by name.

        Raises:
            OnnxError: if the inputs do not fit.
        """
        given = self._named(inputs)
        key = tuple((name, _key(x, name in self.known)) for name, x in given.items())
        if key not in self._programs:
            traced = self.traced(given)
            key = tuple((name, _key(x, name in self.known)) for name, x in given.items())
            if len(self._programs) >= MAX_PROGRAMS:
                self._programs.pop(next(iter(self._programs)))
            compiled = None
            if traced.fetches:
                compiled = function(traced.placeholders, traced.fetches, device=self.device)
            self._programs[key] = traced, compiled
        traced, compiled = self._programs[key]
        arrays = compiled(*traced.fed(given)) if compiled is not None else ()
        return traced.outputs(iter(arrays))

    def traced(self, inputs: Any, prefix: str = "") -> Traced:
        """The graph for inputs of these types; what shapes depend on is known from then on."""
        given = self._named(inputs)
        while True:
            try:
                return Traced(self.model, given, self.known, prefix)
            except OnnxError as error:
                if set(error.inputs) <= self.known:
                    raise
                self.known |= set(error.inputs)

    def _named(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            return dict(inputs)
        if not isinstance(inputs, list | tuple):
            inputs = [inputs]
        names = self.names(inputs)
        if len(inputs) > len(names):
            raise OnnxError(f"the model takes {len(names)} inputs, not {len(inputs)}")
        return dict(zip(names, inputs, strict=False))

    def names(self, inputs: Sequence[Any]) -> list[str]:
        """The names of inputs in order: those of initializers too, if there are as many."""
        needed = self.model.input_names
        if len(inputs) <= len(needed):
            return list(needed)
        return [x.name for x in self.model.model.body.inputs]


def _key(value: Any, known: bool) -> Any:
    """What tells programs apart: the type of an input or, where it is known, its value."""
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(_key(x, known) for x in value)
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        return tuple(array.ravel().tolist()), array.shape
    return array.dtype.name, array.shape, array.tobytes() if known else None


class Traced:
    """The graph of a model for inputs of these types: what is fed, and what is fetched."""

    def __init__(
        self, model: OnnxModel, given: Mapping[str, Any], known: Collection[str], prefix: str = ""
    ) -> None:
        self.prefix = prefix
        self.feeds: list[tuple[str, int | None]] = []
        self.placeholders: list[Any] = []
        values = {
            name: [self._value(name, i, each, known) for i, each in enumerate(x)]
            if isinstance(x, list)
            else self._value(name, None, x, known)
            for name, x in given.items()
        }
        results = model(**values)
        self.results = results if len(model.outputs) != 1 else (results,)
        self.fetches: list[Value] = []
        for result in self.results:
            self._collect(result)

    def _value(self, name: str, i: int | None, x: Any, known: Collection[str]) -> Any:
        """A placeholder for an array; what is known, and strings, as they are."""
        if x is None or name in known or np.asarray(x).dtype.kind in "OUS":
            return x
        array = as_array(x)
        type_ = tensor_type(array.shape, array.dtype)
        label = f"{self.prefix}input_{len(self.feeds)}"
        node = placeholder(type_.shape, type_.dtype, label)
        self.feeds.append((name, i))
        self.placeholders.append(node)
        return node

    def _collect(self, result: Any) -> None:
        if isinstance(result, list):
            for each in result:
                self._collect(each)
        elif isinstance(result, Value):
            self.fetches.append(result)

    def fed(self, given: Mapping[str, Any]) -> list[Any]:
        """What the placeholders are fed."""
        return [given[name] if i is None else given[name][i] for name, i in self.feeds]

    def outputs(self, arrays: Iterator[Any]) -> tuple[Any, ...]:
        """The model's outputs, once what is fetched has arrays."""
        return tuple(self._filled(result, arrays) for result in self.results)

    def _filled(self, result: Any, arrays: Iterator[Any]) -> Any:
        if isinstance(result, list):
            return [self._filled(each, arrays) for each in result]
        return np.asarray(next(arrays)) if isinstance(result, Value) else result
