"""`save`: a graph, a function or a module as an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from staticnet import files
from staticnet.errors import ArgumentError, OnnxError
from staticnet.io.onnx.library import newest, onnx
from staticnet.io.onnx.reading import BUFFER, CONSTANT, KINDS, PARAMETER
from staticnet.io.onnx.writing import arrays as of_arrays
from staticnet.io.onnx.writing import control, elementwise, layers, plainer
from staticnet.io.onnx.writing.body import Model
from staticnet.io.onnx.writing.target import Target
from staticnet.io.onnx.writing.tensors import described, little, tensor, value_info
from staticnet.ir.dtype import as_dtype, is_floating
from staticnet.ir.graph import Graph
from staticnet.ir.types import TensorType
from staticnet.ops.state import Variable

FAMILIES = (of_arrays, control, elementwise, layers, plainer)
"""What fills the table."""
DEFAULT_OPSET = 18
"""The newest that most tools read: reductions take their axes as an operand, as all later ones."""
OLDEST_OPSET = 13
LARGE = 1 << 31  # bytes, of which a file of the format has fewer
ALIGNMENT = 4096  # of external data, so that it can be mapped

Array = np.ndarray[Any, Any]


def write(
    path: str | os.PathLike[str], target: Target, opset: int | None, external: bool | None
) -> None:
    """What `save` does with a graph."""
    file = Path(path)
    proto, arrays = model_proto(target, _checked(opset))
    size = sum(array.nbytes for array in arrays.values())
    if external is None:
        external = size >= LARGE // 2
    data = file.with_name(f"{file.name}.data")
    if external:
        with files.written(data) as stream:
            _write_external(proto, arrays, stream, data.name)
    else:
        if size >= LARGE:
            raise OnnxError(f"save: {size} bytes of weights do not fit one file; external=True")
        proto.graph.initializer.extend(tensor(name, a) for name, a in arrays.items())
    files.write(file, proto.SerializeToString())


def _checked(opset: int | None) -> int:
    if opset is None:
        return DEFAULT_OPSET
    most = newest("")
    if isinstance(opset, bool) or not isinstance(opset, int) or not OLDEST_OPSET <= opset <= most:
        raise ArgumentError(f"save: opset must be from {OLDEST_OPSET} to {most}, not {opset!r:.60}")
    return opset


def model_proto(target: Target, opset: int) -> tuple[Any, dict[str, Array]]:
    """The ModelProto of a graph without its tensors, and those by name.

    Raises:
        OnnxError: naming the op and the user's line, if a node cannot be written.
    """
    graph = target.graph
    model = Model(graph, opset)
    body = model.root
    inputs = []
    names = target.inputs or [node.name for node in graph.inputs]
    for node, name in zip(graph.inputs, names, strict=True):
        body.named[node] = model.fresh(name)
        inputs.append(value_info(body.named[node], node.type))
    updated = {variable for variable, _ in graph.updates}
    for variable in graph.variables:
        assert isinstance(variable, Variable)
        body.named[variable] = model.tensors.add_named(variable.name or "variable", variable.value)
        if variable in updated:
            inputs.append(value_info(body.named[variable], variable.type))
    outputs = _outputs(model, target.outputs)
    header = onnx().helper
    proto = header.make_model(
        body.graph(graph.name, inputs, outputs),
        opset_imports=[header.make_opsetid("", opset)],
        producer_name="staticnet", producer_version=_version(),
    )  # fmt: skip
    proto.ir_version = header.find_min_ir_version_for(proto.opset_import)
    used = _names(proto.graph)
    kept = {x.name for x in inputs}
    arrays = {k: a for k, a in model.tensors.arrays.items() if k in used or k in kept}
    _tell_kinds(proto.graph, arrays, {body.named[v]: v for v in graph.variables})
    return proto, arrays


def _tell_kinds(graph: Any, arrays: Mapping[str, Array], variables: Mapping[str, Any]) -> None:
    """Say of each floating tensor whether it is a parameter; `load` reads it."""
    if not hasattr(onnx().ValueInfoProto(), "metadata_props"):
        return
    described = {x.name: x for x in graph.input}
    for name, array in arrays.items():
        type_ = TensorType(as_dtype(array.dtype), array.shape)
        if not is_floating(type_.dtype):
            continue
        variable = variables.get(name)
        kind = CONSTANT if variable is None else BUFFER if variable.buffer else PARAMETER
        if name not in described:
            graph.value_info.append(value_info(name, type_))
            described[name] = graph.value_info[-1]
        described[name].metadata_props.add(key=KINDS[0], value=kind)


def _outputs(model: Model, names: Sequence[str] | None) -> list[Any]:
    """Write what the roots need; -> the descriptions of outputs, then of variables' next values."""
    graph, body = model.graph, model.root
    names = names or _output_names(graph)
    roots = list(zip(graph.outputs, names, strict=True))
    roots += [(value, f"{target.name}.next") for target, value in graph.updates]
    named = [(node, model.fresh(name)) for node, name in roots]
    for node, name in reversed(named):
        if body.known(node) is None:
            body.wanted[node] = name
    body.write(node for node, _ in named)
    found = []
    for node, name in named:
        if body.known(node) != name:
            made = body("Identity", node)
            last = body.nodes[-1]
            assert list(last.output) == [made]
            last.output[0] = last.name = name
        found.append(value_info(name, node.type))
    return found


def _output_names(graph: Graph) -> list[str]:
    """Their own names, else `output`, or `output0` and so on where there are several."""
    several = len(graph.outputs) > 1
    return [
        node.name if node.name and not node.op.is_input else f"output{i}" if several else "output"
        for i, node in enumerate(graph.outputs)
    ]


def _names(graph: Any) -> set[str]:
    """All operands of a graph's nodes and of those in them, and its outputs."""
    names = {output.name for output in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names |= _names(attribute.g)
    return names


def _write_external(
    proto: Any, arrays: Mapping[str, Array], stream: BinaryIO, location: str
) -> None:
    """Write the bytes of tensors, and tell the model where they lie."""
    for name, array in arrays.items():
        entry = described(name, array)
        if array.nbytes >= ALIGNMENT:
            stream.write(bytes(-stream.tell() % ALIGNMENT))
            place = {"location": location, "offset": stream.tell(), "length": array.nbytes}
            entry.data_location = onnx().TensorProto.EXTERNAL
            for key, value in place.items():
                entry.external_data.add(key=key, value=str(value))
            stream.write(little(array))
        else:
            entry.raw_data = little(array)
        proto.graph.initializer.append(entry)


def _version() -> str:
    from staticnet import __version__

    return __version__
