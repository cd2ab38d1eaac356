"""The array API standard's functions that make tensors, or take `copy` and `device`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from staticnet.dynamic.creation import as_tensor, tensor
from staticnet.dynamic.operands import array_module
from staticnet.dynamic.tensor import Tensor
from staticnet.errors import CopyError, MissingNameError
from staticnet.ir.dtype import FLOAT32
from staticnet.ops import creation, selection
from staticnet.ops import shape as shapes
from staticnet.ops.base import apply
from staticnet.ops.selection import Cast


def _made(make: Callable[..., Any], device: Any, *args: Any, **options: Any) -> Tensor:
    """The value of a function that needs no feeds, on a device."""
    made: Tensor = tensor(make(*args, **options)).to_device("cpu" if device is None else device)
    return made


def _like(make: Callable[..., Any], x: Any, device: Any, *args: Any, dtype: Any) -> Tensor:
    x = as_tensor(x)
    return _made(make, x.device if device is None else device, x.detach(), *args, dtype=dtype)


def arange(
    start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """y[i] = start + i * step, as long as it is before stop, as `sn.arange`."""
    return _made(creation.arange, device, start, stop, step, dtype)


def linspace(
    start: Any,
    stop: Any,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: Any = True,
) -> Tensor:
    """y[i] = start + i * (stop - start) / (num - 1), as `sn.linspace`.  -> y: [num]"""
    target = FLOAT32 if dtype is None else dtype
    return _made(creation.linspace, device, start, stop, num, target, endpoint)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """y, whose values mean nothing, as `sn.empty`.  -> y: [*shape]"""
    return zeros(shape, dtype=dtype, device=device)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """y = 0 everywhere.  -> y: [*shape]"""
    return full(shape, 0, dtype=FLOAT32 if dtype is None else dtype, device=device)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """y = 1 everywhere.  -> y: [*shape]"""
    return full(shape, 1, dtype=FLOAT32 if dtype is None else dtype, device=device)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """y = fill_value everywhere, as `sn.full`.  -> y: [*shape]"""
    return _made(creation.full, device, shape, fill_value, dtype)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Tensor:
    """y[i, j] = 1 where j - i == k, else 0.  -> y: [n_rows, n_cols]"""
    target = FLOAT32 if dtype is None else dtype
    return _made(creation.eye, device, n_rows, n_cols, k, target)


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """y, whose values mean nothing, with x's shape and, unless given, dtype and device."""
    return zeros_like(x, dtype=dtype, device=device)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """y = 0 everywhere, with x's shape and, unless given, dtype and device."""
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """y = 1 everywhere, with x's shape and, unless given, dtype and device."""
    return full_like(x, 1, dtype=dtype, device=device)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """y = fill_value everywhere, with x's shape and, unless given, dtype and device."""
    return _like(creation.full_like, x, device, fill_value, dtype=dtype)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Tensor:
    """`obj`, a number, list, array or tensor, as a tensor, by the rules of `sn.constant`.

    Its memory is shared where it can be, never if `copy`.

    Raises:
        CopyError: if `copy` is False and a copy is needed.
        DTypeError: if the dtype is not supported.
    """
    shared = as_tensor(obj, dtype)
    if copy is False and not _shares(shared, obj):
        raise CopyError(f"asarray: {obj!r:.60} needs a copy; leave out copy=False")
    return _copied(shared, device, copy)


def _shares(made: Tensor, obj: Any) -> Any:
    return hasattr(obj, "dtype") and hasattr(obj, "__dlpack__") and made.dtype == obj.dtype


def _copied(x: Tensor, device: Any, copy: Any) -> Tensor:
    """x on a device; with `copy` in memory of its own, and False forbids that."""
    here = x.device if device is None else device
    moved: Tensor = x.to_device(here)
    if copy is False and moved is not x:
        raise CopyError(f"from {x.device} to {device} is a copy; leave out copy=False")
    return apply(Cast(x.dtype), x) if copy and moved is x else moved


def from_dlpack(x: Any, /, *, device: Any = None, copy: Any = None) -> Tensor:
    """The array of another library as a tensor, in the same memory where it can be.

    Raises:
        MissingNameError: if x has no `__dlpack__`.
        CopyError: if `copy` is False and a copy is needed.
    """
    if not hasattr(x, "__dlpack__"):
        raise MissingNameError(f"from_dlpack: {type(x).__name__} has no __dlpack__")
    return _copied(as_tensor(x), device, copy)


def astype(x: Any, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Tensor:
    """y = x converted to `dtype`, as `sn.astype`.  [*s] -> [*s]"""
    y: Any = selection.astype(x, dtype)
    return _copied(y, device, True if copy and y is x else None)


def reshape(x: Any, /, shape: Any, *, copy: Any = None) -> Tensor:
    """y = x's elements in C order in another shape, one dim may be -1.  x: [*s] -> y: [*shape]

    Raises:
        ShapeError: if the number of elements differs.
        CopyError: if `copy` is False and a copy is needed.
    """
    x = as_tensor(x)
    y: Any = shapes.reshape(x, shape)
    memory = array_module([x.data])
    shared = memory.may_share_memory(x.data, y.data)
    if copy is False and x.size and not shared:
        raise CopyError(f"reshape: {list(x.shape)} to {list(y.shape)} needs a copy here")
    return _copied(y, None, True if copy and shared else None)
