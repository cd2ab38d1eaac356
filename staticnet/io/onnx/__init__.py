"""Models of others, in the ONNX format: read, written, and run for ONNX's own test suite.

The `onnx` package, which reads the format, is imported where it is used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from staticnet.io.onnx.backend import Backend
    from staticnet.io.onnx.model import OnnxModel
    from staticnet.io.onnx.parameters import Choice

__all__ = ["Backend", "load", "save"]


def load(path: str | os.PathLike[str] | bytes | Any, trainable: Choice = True) -> OnnxModel:
    """The model of an ONNX file as a `Module`: call it on nodes, one for each of `input_names`.

    `path` may also be the file's bytes, or an `onnx.ModelProto`. Floating initialisers with axes
    become Variables under their own names; everything else is constant. A call builds the graph:
    what is given as an array is known to it, so that shapes may depend on it, and dims of the
    operands may be symbolic.

    Those Variables train that are parameters: as the exporter tells, or because an operator takes
    them as its weights, as docs/onnx.md says. `trainable` may be the names of those that are to
    train instead, or a function of a name; with False none does.

    Raises:
        ArgumentError: if `trainable` names what is no floating initialiser.
        OnnxError: if the file is no well-formed model, or has an operator that has no meaning
            here; names the node and the reason. Nothing outside the model's folder is read.
        DependencyError: if `onnx` is not installed.
        OSError: if the file cannot be read.
    """
    from staticnet.io.onnx.model import read

    return read(path, trainable)


def save(
    path: str | os.PathLike[str],
    model: Any,
    opset: int | None = None,
    *,
    inputs: Any = None,
    external: bool | None = None,
) -> None:
    """Write a graph, what `sn.function` made of one, or a module, as an ONNX file.

    Names are kept: those of inputs, of outputs that have one, and of variables, which are the
    file's initialisers. A variable that the graph updates is an input with a default, too, and its
    next value is the output `<name>.next`. A graph is written as it was declared, before passes.
    Symbolic dims keep their names.

    A module is called on `inputs`: placeholders, or arrays whose shapes and dtypes are taken. A
    model that `load` gave needs none. `opset` is from 13 to the newest that `onnx` knows, and 18
    if it is not given. With `external` large tensors lie in `<path>.data`, beside the file; so do
    those of more than 1 GiB in all unless it is False. Either file is complete or as it was.

    Raises:
        OnnxError: if a node has no counterpart in ONNX, or none as of that opset; names its op and
            the user's line.
        ArgumentError: if `model` is none, `inputs` are missing or the opset is not known.
        DependencyError: if `onnx` is not installed.
        StateError: if a variable has no value.
        OSError: if the file cannot be written.
    """
    from staticnet.io.onnx.writing.model import write
    from staticnet.io.onnx.writing.target import target_of

    write(path, target_of(model, inputs), opset, external)


def __getattr__(name: str) -> Any:
    if name == "Backend":
        from staticnet.io.onnx.backend import Backend

        return Backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
