"""What a graph is fed and what it keeps: placeholders and variables."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from staticnet.errors import ArgumentError, DTypeError, StateError, SymbolicValueError
from staticnet.ir import location
from staticnet.ir.arrays import own
from staticnet.ir.dtype import FLOAT32, DType
from staticnet.ir.node import Node, build, describe, recipe, remake
from staticnet.ir.op import Op
from staticnet.ir.types import Shape, TensorType, tensor_type
from staticnet.ir.value import Elsewhere
from staticnet.ops.base import TensorOp
from staticnet.ops.promotion import adapted, as_array, in_range, is_lesser
from staticnet.ops.turns import Turns

_input_numbers = itertools.count(1)


@dataclass(frozen=True)
class Placeholder(TensorOp, name="placeholder"):
    """An input of a graph, named `label`.  -> y: [*shape]"""

    label: str
    dtype: DType
    shape: Shape
    arity = 0
    is_input = True

    def infer(self) -> TensorType:
        return TensorType(self.dtype, self.shape)

    def vjp(self, y: Any, g: Any) -> tuple[Any, ...]:
        return ()


def placeholder(shape: Any, dtype: Any = FLOAT32, name: str | None = None) -> Node:
    """An input to feed. A string or `Dim` in the shape is symbolic; equal names are equal dims.

    Two placeholders of equal name, shape and dtype are the same node. -> y: [*shape]

    Raises:
        ShapeError, DTypeError: if the shape or dtype is not one.
        ArgumentError: if the name is not an identifier.
    """
    name = f"input_{next(_input_numbers)}" if name is None else name
    if not isinstance(name, str) or not name.isidentifier():
        raise ArgumentError(
            f"placeholder: the name must be an identifier, not {name!r:.60}; the shape comes "
            "first, then dtype and name"
        )
    if isinstance(dtype, tuple | list):
        raise ArgumentError(
            f"placeholder: the shape comes first, then dtype and name: placeholder({dtype!r:.60}, "
            f"name={shape!r:.60})"
        )
    type_ = tensor_type(shape, dtype, f"placeholder {name}")
    return build(Placeholder(name, type_.dtype, type_.shape), ())


class Variable(Node):
    """State that lives on the device between runs; `.value` reads and sets it from the host.

    `trainable` says whether optimizers update it, and `buffer` that it was made not to train;
    `default_update`, if set, is the value it takes after each run of a function that reads it and
    whose `updates` do not name it. `turns` has one step or copy at a time.

    Dynamic execution leaves the gradient in `grad`, and keeps in `tensor` the tensor that shares
    this array. Once a variable is `watched` so, functions count in `version` what they overwrite.

    A variable with an `origin` is that one's value in another dtype: `copy_of` made it.
    """

    __slots__ = (
        "array", "buffer", "default_update", "grad", "origin", "tensor", "trainable", "turns",
        "version",
    )  # fmt: skip
    watched: ClassVar[bool] = False
    array: Any
    buffer: bool
    trainable: bool
    default_update: Node | None
    grad: Any
    origin: Variable | None
    tensor: Any
    turns: Turns
    version: int

    numpy, item, tolist, data, detach = (
        Elsewhere(name, "its .value is an array of what it holds now")
        for name in ("numpy", "item", "tolist", "data", "detach")
    )

    def __init__(self, op: Op, inputs: tuple[Node, ...], type: TensorType) -> None:
        super().__init__(op, inputs, type)
        self.array = None
        self.buffer = False
        self.trainable = True
        self.default_update = None
        self.grad = None
        self.origin = None
        self.tensor = None
        self.turns = Turns()
        self.version = 0

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """A copy of the present value, on the host; read-only, for to write to it sets nothing.

        Raises:
            StateError: if it was read from text and never set.
        """
        array = self.copied()
        array.flags.writeable = False
        return array

    @value.setter
    def value(self, new: Any) -> None:
        array = self.check(new)
        self.turns.alone(setattr, self, "array", array)

    def copied(self) -> np.ndarray[Any, Any]:
        """A copy of the present value, on the host, that may be written to.

        Raises:
            StateError: if it was read from text and never set.
        """
        return self.turns.alone(self._copied)

    def _copied(self) -> np.ndarray[Any, Any]:
        array = self.device_array()
        return np.array(array.get() if hasattr(array, "get") else array)

    def _no_value(self, act: str, remedy: str) -> NoReturn:
        raise SymbolicValueError(
            f"{act}: {describe(self)} ({self.provenance}) stands for a value in graphs; what it "
            f"holds now is its .value, an array ({location.current()})"
        )

    def __copy__(self) -> Variable:
        return copy.deepcopy(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        """Other state of equal value, name and options; its gradient is not copied."""
        make, arguments, _ = self._reduce()
        memo[id(self)] = new = make(*arguments)
        new.default_update = copy.deepcopy(self.default_update, memo)
        return new

    def __reduce__(self) -> Any:
        return self._reduce()

    def _reduce(self) -> tuple[Callable[..., Variable], tuple[Any, ...], Any]:
        """How another variable like this is made, and the recipe of its update, for pickle."""
        value = None if self.array is None else self.value
        update = None if self.default_update is None else recipe(self.default_update)
        return _restored, (self.type, value, self.name, self.trainable, self.buffer), update

    def __setstate__(self, update: list[tuple[Any, tuple[int, ...]]]) -> None:
        self.default_update = remake(update)

    def check(self, new: Any) -> np.ndarray[Any, Any]:
        """`new` as a fresh array of this variable's type.

        Raises:
            StateError: if the shape differs, or the dtype is of a greater kind.
            DTypeError: if the dtype is not supported, or a number is out of its range.
        """
        try:
            array = adapted(new, self.dtype)
            fitting = in_range(new, array, self.dtype)
        except DTypeError as error:
            raise DTypeError(f"{describe(self)} cannot hold this value: {error}") from None
        if array.shape != self.shape:
            raise StateError(f"{describe(self)} cannot hold an array of shape {list(array.shape)}")
        if not is_lesser(array.dtype, self.dtype):
            raise StateError(f"{describe(self)} cannot hold {array.dtype}; convert it first")
        return own(np.asarray(fitting))

    def host_array(self) -> np.ndarray[Any, Any]:
        """The array itself, brought to the host if a GPU holds it.

        Raises:
            StateError: if it was read from text and never set.
        """
        array = self.device_array()
        if not isinstance(array, np.ndarray):
            array = self.array = array.get()
        return array

    def device_array(self) -> Any:
        """The array itself, on whatever device holds it.

        Raises:
            StateError: if it was read from text and never set.
        """
        if self.array is None:
            raise StateError(f"{describe(self)} has no value yet: set its .value")
        return self.array


@dataclass(frozen=True)
class VariableOp(TensorOp, name="variable"):
    """State, told apart by `id` and, where one is another's copy, by `dtype`.  -> y: [*shape]"""

    id: int
    dtype: DType
    shape: Shape
    node_class = Variable
    arity = 0
    is_input = True

    def infer(self) -> TensorType:
        _Ids.last = max(_Ids.last, self.id)
        return TensorType(self.dtype, self.shape)

    def vjp(self, y: Any, g: Any) -> tuple[Any, ...]:
        return ()


class _Ids:
    """The greatest id in use, those read from text included."""

    last = 0
    lock = threading.Lock()


def _new(dtype: DType, shape: Shape) -> Variable:
    """A variable that no other is, made by whatever thread."""
    with _Ids.lock:
        node = build(VariableOp(_Ids.last + 1, dtype, shape), ())
    assert isinstance(node, Variable)
    return node


def _restored(type: TensorType, value: Any, name: str, trainable: bool, buffer: bool) -> Variable:
    """A variable as it was when it was copied or pickled."""
    node = _new(type.dtype, type.shape)
    node.array = None if value is None else own(np.asarray(value, type.dtype))
    node.name, node.trainable, node.buffer = name, trainable, buffer
    return node


def variable(value: Any, name: str | None = None, trainable: bool = True) -> Variable:
    """State that lives on the device, with `value` as its first value.  -> y: value's shape

    A name is for reading; it need not be unique.

    Raises:
        DTypeError: if the value has no supported dtype.
        ArgumentError: if the name is no printable text on one line.
    """
    if name is not None and not (isinstance(name, str) and name.isprintable()):
        raise ArgumentError(
            f"variable: the name must be printable text on one line, not {name!r:.60}; the value "
            "comes first, then the name"
        )
    array = as_array(value)
    node = _new(array.dtype, array.shape)
    node.name = name or ""
    node.trainable = bool(trainable)
    node.buffer = not node.trainable
    node.array = own(array)
    return node


def copy_of(origin: Variable, dtype: DType) -> Variable:
    """The state that holds a variable's value in another dtype; whoever runs a step keeps it so."""
    assert isinstance(origin.op, VariableOp)
    node = build(VariableOp(origin.op.id, dtype, origin.shape), ())
    assert isinstance(node, Variable)
    node.name = f"{origin.name}.{dtype.name}" if origin.name else dtype.name
    node.trainable = False
    node.origin = origin
    return node
