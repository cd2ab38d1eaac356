"""`Value`: what an operation applies to, with Python's operators.

A graph `Node` is a Value; so are the other things that the same operations run on (pattern
variables of the rewriter, tensors of the dynamic executor). `FUNCTIONS` is the registry of public
operations; the rooms above fill it, so that the operators need no import upwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from staticnet.errors import ArgumentError, ShapeError, SymbolicValueError
from staticnet.ir import location
from staticnet.ir.hints import METHODS, missing_name
from staticnet.ir.types import Shape

if TYPE_CHECKING:
    from staticnet.ir.dtype import DType
    from staticnet.ir.op import Op

FUNCTIONS: dict[str, Callable[..., Any]] = {}
Method = Callable[..., "Value"]  # the room above makes methods of functions
_DYNAMIC = "or compute with sn.dynamic, where values are known"
_RETURN = f"return it from sn.function and convert the result, {_DYNAMIC}"


class Elsewhere:
    """A name that other libraries' arrays have: to read it is an error that says what to use.

    A descriptor each, and no `__getattr__` of all, which makes every attribute three times slower.
    """

    def __init__(self, name: str, remedy: str) -> None:
        self.name = name
        self.remedy = remedy

    def __get__(self, value: Any, owner: Any = None) -> NoReturn:
        what = f"the {type(value).__name__} {value!r:.60}" if value is not None else str(owner)
        raise missing_name(what, self.name, (), {self.name: self.remedy})


def is_elsewhere(owner: type, name: str) -> bool:
    """Whether a class has a name only to say what to use instead."""
    return isinstance(inspect.getattr_static(owner, name, None), Elsewhere)


def register(name: str, f: Callable[..., Any]) -> None:
    """Make a function public; it is no method of values, and they say so."""
    FUNCTIONS[name] = f
    if inspect.getattr_static(Value, name, None) is None or is_elsewhere(Value, name):
        setattr(Value, name, Elsewhere(name, f"use sn.{name}(x)"))


def tell(space: str, names: Iterable[str]) -> None:
    """Say of functions that are no methods in which namespace they are: `sn.linalg.inv`."""
    for name in names:
        if name in FUNCTIONS and is_elsewhere(Value, name):
            setattr(Value, name, Elsewhere(name, f"use sn.{space}.{name}(x)"))


class Value:
    """An array that a computation will have: `.shape`, `.dtype`, `.ndim`, operators, indexing.

    `is_symbolic` says that there is no value yet. `requires_grad` says whether a derivative by it
    may be asked for: a graph cannot know and says yes; where it is False, a `vjp` may give None.
    """

    __slots__ = ()
    __array_ufunc__ = None  # until ops/numpy_protocol.py says what NumPy's functions are here
    apply_priority = 0
    is_symbolic = True
    requires_grad = True

    @classmethod
    def apply(cls, op: Op, operands: Sequence[Any]) -> Any:
        """The value of `op` on `operands`, of which at least one is of this class."""
        raise NotImplementedError

    def lift(self, x: Any) -> Any:
        """`x` as a value that computes where this one does; a graph's need nothing done."""
        return x

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not is_elsewhere(type(self), name)]

    @property
    def shape(self) -> Shape:
        """The dims, each an int or a `Dim`."""
        raise NotImplementedError

    @property
    def dtype(self) -> DType:
        """The element type."""
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    all: Method
    any: Method
    argmax: Method
    argmin: Method
    argsort: Method
    astype: Method
    clip: Method
    conj: Method
    cumprod: Method
    cumsum: Method
    diagonal: Method
    dot: Method
    flatten: Method
    matmul: Method
    max: Method
    mean: Method
    min: Method
    prod: Method
    ravel: Method
    reshape: Method
    round: Method
    squeeze: Method
    std: Method
    sum: Method
    swapaxes: Method
    trace: Method
    transpose: Method
    var: Method

    @property
    def T(self) -> Value:
        """The transpose of a matrix; a vector or a scalar is its own.

        Raises:
            ShapeError: of more axes, which NumPy reverses and others do not.
        """
        if self.ndim > 2:
            raise ShapeError(
                f"T: {self!r:.60} has {self.ndim} axes ({location.user_line()}); x.mT transposes "
                "each matrix of a stack, x.transpose() reverses the axes"
            )
        return FUNCTIONS["matrix_transpose"](self) if self.ndim == 2 else self

    @property
    def mT(self) -> Value:
        """The transpose of each matrix of a stack: the last two axes exchanged."""
        return FUNCTIONS["matrix_transpose"](self)

    def __add__(self, other: Any) -> Value:
        return FUNCTIONS["add"](self, other)

    def __radd__(self, other: Any) -> Value:
        return FUNCTIONS["add"](other, self)

    def __sub__(self, other: Any) -> Value:
        return FUNCTIONS["subtract"](self, other)

    def __rsub__(self, other: Any) -> Value:
        return FUNCTIONS["subtract"](other, self)

    def __mul__(self, other: Any) -> Value:
        return FUNCTIONS["multiply"](self, other)

    def __rmul__(self, other: Any) -> Value:
        return FUNCTIONS["multiply"](other, self)

    def __truediv__(self, other: Any) -> Value:
        return FUNCTIONS["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return FUNCTIONS["divide"](other, self)

    def __floordiv__(self, other: Any) -> Value:
        return FUNCTIONS["floor_divide"](self, other)

    def __rfloordiv__(self, other: Any) -> Value:
        return FUNCTIONS["floor_divide"](other, self)

    def __divmod__(self, other: Any) -> tuple[Value, Value]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Value, Value]:
        return other // self, other % self

    def __mod__(self, other: Any) -> Value:
        return FUNCTIONS["remainder"](self, other)

    def __rmod__(self, other: Any) -> Value:
        return FUNCTIONS["remainder"](other, self)

    def __pow__(self, other: Any) -> Value:
        return FUNCTIONS["pow"](self, other)

    def __rpow__(self, other: Any) -> Value:
        return FUNCTIONS["pow"](other, self)

    def __matmul__(self, other: Any) -> Value:
        return FUNCTIONS["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Value:
        return FUNCTIONS["matmul"](other, self)

    def __and__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_and"](self, other)

    def __rand__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_and"](other, self)

    def __or__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_or"](self, other)

    def __ror__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_or"](other, self)

    def __xor__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_xor"](self, other)

    def __rxor__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_xor"](other, self)

    def __lshift__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_left_shift"](self, other)

    def __rshift__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_right_shift"](self, other)

    def __rlshift__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_left_shift"](other, self)

    def __rrshift__(self, other: Any) -> Value:
        return FUNCTIONS["bitwise_right_shift"](other, self)

    def __neg__(self) -> Value:
        return FUNCTIONS["negative"](self)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return FUNCTIONS["abs"](self)

    def __round__(self, decimals: int = 0) -> Value:
        return FUNCTIONS["round"](self, decimals)

    def __invert__(self) -> Value:
        return FUNCTIONS["bitwise_invert"](self)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return FUNCTIONS["equal"](self, other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return FUNCTIONS["not_equal"](self, other)

    def __lt__(self, other: Any) -> Value:
        return FUNCTIONS["less"](self, other)

    def __le__(self, other: Any) -> Value:
        return FUNCTIONS["less_equal"](self, other)

    def __gt__(self, other: Any) -> Value:
        return FUNCTIONS["greater"](self, other)

    def __ge__(self, other: Any) -> Value:
        return FUNCTIONS["greater_equal"](self, other)

    def __getitem__(self, key: Any) -> Value:
        return FUNCTIONS["getitem"](self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise ArgumentError(
            f"setitem: {self!r:.60} is a value, which nothing changes ({location.current()}); "
            "take sn.where(mask, new, x) or sn.scatter_add, or set a variable's .value"
        )

    __hash__ = object.__hash__

    def _no_value(self, act: str, remedy: str) -> NoReturn:
        made = getattr(self, "provenance", None)
        written = f", written on {made}," if made is not None else ""
        raise SymbolicValueError(
            f"{act}: {self!r}{written} is a node of a graph and has no value until a function "
            f"runs, but {location.current()} depends on it; {remedy}"
        )

    def __len__(self) -> int:
        length = self.shape[0] if self.ndim else None
        if length is None:
            raise ShapeError(f"len: {self!r:.60} has no axes ({location.user_line()})")
        if not isinstance(length, int):
            self._no_value(f"len, of the dimension {length}", f"x.shape[0] is {length}, a number "
                           "beside values; or declare the dimension as an int")  # fmt: skip
        return length

    def __bool__(self) -> bool:
        self._no_value("bool", f"choose with sn.where(condition, a, b) or a mask, {_DYNAMIC}")

    def __contains__(self, element: Any) -> bool:
        return bool(FUNCTIONS["any"](self == element))

    def __iter__(self) -> Any:
        """Its slices along the first axis, as `sn.unstack` gives them."""
        return iter(FUNCTIONS["unstack"](self))

    def __float__(self) -> float:
        self._no_value("float", _RETURN)

    def __int__(self) -> int:
        self._no_value("int", _RETURN)

    def __index__(self) -> int:
        self._no_value("index", f"index with sn.take(x, indices, axis=...), {_DYNAMIC}")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        remedy = f"use staticnet's functions, run it with sn.function, {_DYNAMIC}"
        self._no_value("numpy.asarray", remedy)


for _name, _remedy in METHODS.items():
    if not hasattr(Value, _name):
        setattr(Value, _name, Elsewhere(_name, _remedy))
