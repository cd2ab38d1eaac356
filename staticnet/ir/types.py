"""`TensorType`: what is known of a value before it exists, its dtype and its shape.

`TupleType` is that of an op with several results, whose values `item(k)` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.dim import Dim, integer, size_of, substitute, symbols_of
from staticnet.ir.dtype import DType, as_dtype, short_name

Shape = tuple[int | Dim, ...]
MAX_BYTES = 2**63 - 1
MAX_RANK = 32


class TensorType:
    """A dtype and a shape, printed `f32[batch,784]`; immutable and compared by value.

    Raises:
        ShapeError: on a negative dim, more than 32 axes, or more than 2**63 - 1 bytes.
    """

    __slots__ = ("_hash", "dtype", "shape")
    dtype: DType
    shape: Shape

    def __init__(self, dtype: DType, shape: Shape) -> None:
        self.dtype = dtype
        self.shape = shape
        self._hash = hash((dtype, shape))
        if len(shape) > MAX_RANK:
            raise ShapeError(f"a shape has at most {MAX_RANK} axes, not {len(shape)}")
        size = dtype.itemsize
        for dim in shape:
            if isinstance(dim, int):
                if dim < 0:
                    raise ShapeError(f"the shape {format_shape(shape)} has a negative dimension")
                size *= dim or 1
        if size > MAX_BYTES:
            raise ShapeError(
                f"{short_name(dtype)}{format_shape(shape)} is larger than 2**63-1 bytes"
            )

    def __reduce__(self) -> Any:
        return tensor_type, (self.shape, self.dtype)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, TensorType)
            and self.dtype == other.dtype
            and self.shape == other.shape
        )

    def __str__(self) -> str:
        return f"{short_name(self.dtype)}{format_shape(self.shape)}"

    def __repr__(self) -> str:
        return f"TensorType({self})"

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int | Dim:
        """The number of elements."""
        return size_of(self.shape)

    @property
    def nbytes(self) -> int | Dim:
        """Bytes of a dense array of this type."""
        return self.size * self.dtype.itemsize

    @property
    def symbols(self) -> frozenset[str]:
        """The names of the symbolic dims."""
        return symbols_of(self.shape)

    def with_shape(self, shape: Shape) -> TensorType:
        """The same dtype in another shape."""
        return TensorType(self.dtype, shape if type(shape) is tuple else as_shape(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape in another dtype."""
        return self if dtype == self.dtype else TensorType(as_dtype(dtype), self.shape)

    def substitute(self, values: Mapping[str, int]) -> TensorType:
        """The type with symbolic dims replaced by numbers."""
        return TensorType(self.dtype, tuple(substitute(d, values) for d in self.shape))


class TupleType(TensorType):
    """The types of several results, printed `(f32[3],i64[])`; immutable and compared by value.

    It has bytes and symbols as any type. What asks it for a dtype or a shape takes a tuple for a
    tensor, and is told so.
    """

    __slots__ = ("types",)
    types: tuple[TensorType, ...]

    def __init__(self, types: Iterable[TensorType]) -> None:
        self.types = tuple(types)
        self._hash = hash(self.types)

    def __reduce__(self) -> Any:
        return TupleType, (self.types,)

    __hash__ = TensorType.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, TupleType) and self.types == other.types)

    def __str__(self) -> str:
        return f"({','.join(map(str, self.types))})"

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        """A tuple has none; raises ArgumentError."""
        raise ArgumentError(f"{self} is several values and has no dtype; read one with item(k)")

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """A tuple has none; raises ArgumentError."""
        raise ArgumentError(f"{self} is several values and has no shape; read one with item(k)")

    @property
    def nbytes(self) -> int | Dim:
        """Bytes of dense arrays of these types."""
        return sum((type_.nbytes for type_ in self.types), 0)

    @property
    def symbols(self) -> frozenset[str]:
        """The names of the symbolic dims."""
        return frozenset[str]().union(*(type_.symbols for type_ in self.types))

    def substitute(self, values: Mapping[str, int]) -> TensorType:
        """The types with symbolic dims replaced by numbers."""
        return TupleType(type_.substitute(values) for type_ in self.types)


def members(type_: TensorType) -> tuple[TensorType, ...]:
    """The types of the arrays of a value: itself, or those of a tuple."""
    return type_.types if isinstance(type_, TupleType) else (type_,)


def fixed(shape: Shape) -> tuple[int, ...]:
    """A shape without symbolic dims; raises ShapeError where there is one."""
    return tuple(int(dim) for dim in shape)


def format_shape(shape: Any) -> str:
    """`[batch,784]`."""
    return f"[{','.join(str(d) for d in shape)}]"


def as_shape(value: Any, what: str = "shape") -> Shape:
    """A shape from a sequence of ints, Dims and names, or from one of them alone.

    Raises:
        ShapeError: if an entry is neither, is negative, or does not fit 63 bits.
    """
    single = isinstance(value, str | Dim) or integer(value) is not None
    entries = (value,) if single else value
    try:
        return tuple(_as_dim(entry) for entry in entries)
    except TypeError:
        raise ShapeError(f"{what}: expected dims (int, Dim or name), got {value!r:.80}") from None
    except ShapeError as error:
        raise ShapeError(f"{what}: {error}") from None


def _as_dim(entry: Any) -> int | Dim:
    if isinstance(entry, Dim) or (type(entry) is int and 0 <= entry <= MAX_BYTES):
        return entry
    if isinstance(entry, str):
        return Dim(entry)
    if isinstance(entry, bool | float) or not hasattr(entry, "__index__"):
        raise TypeError(entry)
    number = entry.__index__()
    if not 0 <= number <= MAX_BYTES:
        raise ShapeError(f"dimension {number} is not between 0 and 2**63-1")
    return int(number)


def tensor_type(shape: Any, dtype: Any, what: str = "shape") -> TensorType:
    """A `TensorType` from what a user writes.

    Raises:
        ShapeError, DTypeError: as `as_shape` and `as_dtype` say.
    """
    return TensorType(as_dtype(dtype), as_shape(shape, what))
