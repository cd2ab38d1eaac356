"""Models of others, in the ONNX format: read, written, and run for ONNX's own test suite.

The `onnx` package, which reads the format, is imported where it is used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from staticnet.io.onnx.backend import Backend
    from staticnet.io.onnx.model import OnnxModel

__all__ = ["Backend", "load"]


def load(path: str | os.PathLike[str] | bytes | Any, trainable: bool = True) -> OnnxModel:
    """The model of an ONNX file as a `Module`: call it on nodes, one for each of `input_names`.

    `path` may also be the file's bytes, or an `onnx.ModelProto`. Floating initialisers with axes
    become Variables under their own names, trained unless `trainable` is False or they are running
    statistics; everything else is constant. A call builds the graph: what is given as an array is
    known to it, so that shapes may depend on it, and dims of the operands may be symbolic.

    Raises:
        OnnxError: if the file is no well-formed model, or has an operator that has no meaning
            here; names the node and the reason. Nothing outside the model's folder is read.
        DependencyError: if `onnx` is not installed.
        OSError: if the file cannot be read.
    """
    from staticnet.io.onnx.model import read

    return read(path, trainable)


def __getattr__(name: str) -> Any:
    if name == "Backend":
        from staticnet.io.onnx.backend import Backend

        return Backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
