"""A file -> a checked `Model`: its size, its parts, its opsets and its operators."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staticnet.errors import OnnxError
from staticnet.io.onnx.graphs import Body, Function, Reader, Step, opsets, word
from staticnet.io.onnx.library import newest, onnx, schema
from staticnet.io.onnx.registry import find
from staticnet.io.onnx.tensors import Folder

MAX_FILE = 2**31 - 1
MAX_STEPS = 10_000_000
MAX_DEPTH = 64
KINDS = ("staticnet.kind", "pkg.torch.export.graph_signature.InputSpec.kind")
"""Under these keys `save` and PyTorch's exporter say what an initialiser is."""
PARAMETER, BUFFER, CONSTANT = "PARAMETER", "BUFFER", "CONSTANT"
_DAMAGED = "not a readable ONNX model"


@dataclass
class Model:
    """A model's graph, its functions by (domain, name), and the opsets that it is of.

    `kinds` are those of initialisers whose exporter tells: PARAMETER, BUFFER and others.
    """

    body: Body
    functions: dict[tuple[str, str], Function]
    opsets: dict[str, int]
    name: str
    kinds: dict[str, str]


def read_model(source: Any) -> Model:
    """The model of a file, of its bytes, or of a `ModelProto`.

    Raises:
        OnnxError: if it is damaged, too large, or has what is not supported.
        OSError: if the file cannot be read.
    """
    if isinstance(source, onnx().ModelProto):
        return _checked(source, None)
    if isinstance(source, bytes | bytearray | memoryview):
        return _checked(_parse(bytes(source), "the bytes"), None)
    if not isinstance(source, str | os.PathLike):
        raise OnnxError(
            f"load: expected a path, the bytes of a file, or a ModelProto, not {source!r:.60}"
        )
    path = Path(source)
    with open(path, "rb", opener=lambda file, flags: os.open(file, flags | _WAITLESS)) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OnnxError(f"{path}: {_DAMAGED}: it is no file")
        if status.st_size > MAX_FILE:
            raise OnnxError(f"{path}: {_DAMAGED}: {status.st_size} bytes are more than 2 GiB")
        data = stream.read()
    return _checked(_parse(data, str(path)), path.parent)


_WAITLESS = getattr(os, "O_NONBLOCK", 0)


def _parse(data: bytes, what: str) -> Any:
    from google.protobuf.message import DecodeError

    proto = onnx().ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError, RecursionError) as error:
        raise OnnxError(f"{what}: {_DAMAGED}: {error}") from None
    return proto


def _checked(proto: Any, folder: Path | None) -> Model:
    if not proto.HasField("graph"):
        raise OnnxError(f"{_DAMAGED}: it has no graph")
    versions = opsets(proto.opset_import)
    if not versions:
        raise OnnxError(f"{_DAMAGED}: it imports no opset")
    for domain, version in versions.items():
        if newest(domain) and not 1 <= version <= newest(domain):
            raise OnnxError(
                f"opset {version} of the domain {domain!r:.60} is not between 1 and "
                f"{newest(domain)}, the newest that the installed onnx {onnx().__version__} knows"
            )
    reader = Reader(None if folder is None else Folder(folder))
    functions: dict[tuple[str, str], Function] = {}
    for each in proto.functions:
        overload, name = word(each.overload), word(each.name)
        key = (word(each.domain), f"{name}:{overload}" if overload else name)
        if key in functions:
            raise OnnxError(f"there are two functions {each.name!r:.60} of {each.domain!r:.60}")
        functions[key] = reader.function(each)
    body = reader.body(proto.graph)
    model = Model(body, functions, versions, word(proto.graph.name), _kinds(proto.graph, body))
    _check_size(model)
    return model


def _kinds(proto: Any, body: Body) -> dict[str, str]:
    """The kinds of a graph's initialisers, as far as its values' descriptions tell them."""
    described = [*proto.value_info, *proto.input]
    if not body.initializers or not hasattr(onnx().ValueInfoProto(), "metadata_props"):
        return {}
    return {
        word(value.name): word(entry.value)
        for value in described
        if word(value.name) in body.initializers
        for entry in value.metadata_props
        if entry.key in KINDS
    }


def _check_size(model: Model) -> None:
    """Raise OnnxError unless functions end, and all operators are known."""
    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    pending: list[tuple[str, str]] = list(model.functions)
    under_way: set[tuple[str, str]] = set()
    while pending:
        key = pending[-1]
        if key in sizes:
            pending.pop()
            continue
        steps = list(_all_steps(model.functions[key].steps))
        called = {(s.domain, s.op) for s in steps if (s.domain, s.op) in model.functions}
        missing = [each for each in called if each not in sizes]
        if missing and key in under_way:
            raise OnnxError(f"the function {key[1]!r:.60} of {key[0]!r:.60} calls itself")
        under_way.add(key)
        if missing:
            pending += missing
        else:
            sizes[key] = _size(model, steps, model.functions[key].opsets, sizes)
            _check_limits(*sizes[key], f"the function {key[1]!r:.60}")
    steps = list(_all_steps(model.body.steps))
    _check_limits(*_size(model, steps, model.opsets, sizes), "the model")


def _size(
    model: Model,
    steps: list[Step],
    versions: dict[str, int],
    sizes: dict[tuple[str, str], tuple[int, int]],
) -> tuple[int, int]:
    """How many steps these are when functions are called, and how deep calls go."""
    count, depth = 0, 0
    known: set[tuple[str, str]] = set()
    for step in steps:
        key = (step.domain, step.op)
        own = sizes.get(key)
        if own is None:
            if key not in known:
                check_known(step, versions)
                known.add(key)
            own = (1, 0)
        count, depth = count + own[0], max(depth, own[1] + 1)
    return count, depth


def _check_limits(count: int, depth: int, what: str) -> None:
    if count > MAX_STEPS or depth > MAX_DEPTH:
        raise OnnxError(f"{what} makes {count} steps, {depth} calls deep; that is too much")


def _all_steps(steps: Iterable[Step]) -> Iterable[Step]:
    for step in steps:
        yield step
        if step.attributes:
            for body in step.bodies:
                yield from _all_steps(body.steps)


def check_known(step: Step, versions: dict[str, int]) -> None:
    """Raise OnnxError unless an operator has a rule or is made of others."""
    if step.domain not in versions:
        raise OnnxError(f"{step}: the model imports no opset of the domain {step.domain!r:.60}")
    version = versions[step.domain]
    if find(step.domain, step.op, version) is not None:
        return
    found = schema(step.domain, step.op, version)
    if found is None:
        raise OnnxError(
            f"{step}: opset {version} of {step.domain or 'ai.onnx'!r:.60} has no such operator"
        )
    if not (found.has_function or found.has_context_dependent_function):
        raise OnnxError(f"{step}: the operator is not supported; docs/onnx.md lists those that are")
