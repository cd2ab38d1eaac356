"""One family of exceptions: every error staticnet raises on purpose is a `StaticnetError`.

Each member is also the builtin error that a caller would expect, so `except ValueError` works.
Messages follow one order: what was asked, with which operands, on which line, and the remedy.
"""

from __future__ import annotations

import numpy as np


class StaticnetError(Exception):
    """The base of the family.

    `located` says that the message names the operation, its operands and the user's line already;
    `line` is that line, `told` what the innermost operation tells, and `operands` what it took.
    """

    located = False
    line = told = operands = ""


class ShapeError(StaticnetError, ValueError):
    """Shapes, ranks or dimensions do not fit an operation."""


class DTypeError(StaticnetError, TypeError):
    """A dtype is unknown or does not fit an operation."""


class ArgumentError(StaticnetError, ValueError, TypeError):
    """An argument of an operation, layer or optimizer has the wrong type or value."""


class CopyError(ArgumentError, BufferError):
    """A copy is needed, and `copy=False` forbids it."""


class MissingNameError(StaticnetError, AttributeError):
    """A module or object has no such attribute; the message says what is near."""


class GraphError(StaticnetError, ValueError):
    """A graph is not well formed: an input is missing, a name doubled, a target no variable."""


class GradientError(StaticnetError, ValueError):
    """A derivative was asked for where there is none."""


class SymbolicValueError(StaticnetError, TypeError):
    """Python asked a symbolic node for a value that only a run can give."""


class MixedValueError(SymbolicValueError):
    """A value that only a run of a graph can give met a tensor of dynamic execution."""


class ParseError(StaticnetError, ValueError):
    """A text form could not be read back."""


class ExpressionError(ParseError):
    """An expression that a user typed is none; `pointed` is it with a caret below the place."""

    pointed = ""


class VerifyError(StaticnetError, RuntimeError):
    """The verifier found a broken graph: a defect of the pass it names, not of the program."""


class FeedError(StaticnetError, ValueError, TypeError):
    """What was fed to a function does not fit its placeholders; nothing was run or updated."""


class StateError(StaticnetError, ValueError, RuntimeError):
    """A variable, state dict or checkpoint does not fit."""


class DeviceError(StaticnetError, RuntimeError):
    """A device was asked for that is not there."""


class CompileError(StaticnetError, RuntimeError):
    """A C compiler is unusable, refused a source, or built what cannot be loaded."""


class ExecutionError(StaticnetError, RuntimeError):
    """An operation failed while running; nothing was updated."""


class OutOfRangeError(ShapeError, ExecutionError, IndexError):
    """An index or an axis lies outside of what it indexes, where it is written or when it runs."""


class LinAlgError(ExecutionError, np.linalg.LinAlgError):
    """A matrix has no such factorisation or solution: it is singular, not positive definite, …"""


class MemoryLimitError(StaticnetError, RuntimeError, MemoryError):
    """A program does not fit the memory it was given.

    `limit` is the peak of `memory_analysis` that would fit, if a device told what it has free.
    """

    limit: int | None = None


class FlagError(StaticnetError, ValueError):
    """An environment variable of staticnet is unknown or has an illegal value."""


class DataError(StaticnetError, ValueError, OSError):
    """A data set is not where it was looked for, or its files are damaged."""


class OnnxError(StaticnetError, ValueError):
    """An ONNX file is damaged, or holds what has no meaning here; names the node and the reason.

    `inputs` are the model's inputs on whose values a shape depends, if that is the reason: given
    as arrays they are known.
    """

    inputs: tuple[str, ...] = ()


class ComparisonError(StaticnetError, ValueError):
    """Two ways of running one model gave different losses; nothing was timed."""


class DependencyError(StaticnetError, ImportError):
    """An optional dependency is not installed."""
