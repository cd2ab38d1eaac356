"""What Python and other libraries see of a tensor: numbers, NumPy's arrays, DLPack, devices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from staticnet.errors import DeviceError, DTypeError, GradientError, ShapeError, StaticnetError
from staticnet.ir.dtype import is_integer
from staticnet.ir.hints import install
from staticnet.ir.node import with_context
from staticnet.ir.value import Value

ndarray = np.ndarray


class Exchange(Value):
    """A value whose array, `data`, is there: NumPy's, or CuPy's on a GPU."""

    __slots__ = ()
    is_symbolic = False
    data: Any

    def numpy(self) -> np.ndarray[Any, Any]:
        """The value as a NumPy array that cannot be written to; a GPU's is copied to the host."""
        if not isinstance(self.data, ndarray):
            return np.asarray(self.data.get())
        view = self.data.view()
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The one element, as a Python number.

        Raises:
            ShapeError: if there are none or several.
        """
        if self.data.size != 1:
            self._refuse("item", ShapeError, "has no single element; index or reduce it first")
        return self.data.item()

    def _refuse(self, act: str, error: type[StaticnetError], why: str) -> NoReturn:
        raise with_context(error(f"the tensor {why}"), act, [self])

    @property
    def device(self) -> str:
        """Where the array lies: "cpu", or "cuda:0" and so on."""
        return "cpu" if isinstance(self.data, ndarray) else f"cuda:{self.data.device.id}"

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """The tensor on a device, "cpu", "cuda" or "cuda:1": itself if it lies there.

        Raises:
            DeviceError: if the device is not known or not there.
            GradientError: if a copy is needed and the tensor requires a gradient.
        """
        number = device_number(device)
        if stream is not None and number is None:
            raise DeviceError(f'to_device: "cpu" has no streams, not {stream!r:.60}')
        here = None if isinstance(self.data, ndarray) else self.data.device.id
        if number == here:
            return self
        if self.requires_grad:
            self._refuse("to_device", GradientError, "requires a gradient; copy its .detach()")
        if number is None:
            return type(self)(self.data.get())  # type: ignore[call-arg]
        cupy = _cupy()
        with cupy.cuda.Device(number):
            return type(self)(cupy.asarray(self.data))  # type: ignore[call-arg]

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """The array for another library: not to be written to, a copy for those that might.

        Raises:
            BufferError: if DLPack has no such dtype or device, or a copy is needed and forbidden.
        """
        array: Any = self.data
        if isinstance(array, ndarray) and copy is not False:
            knows = max_version is not None and max_version[0] >= 1  # that nobody may write
            array = self.numpy() if knows else array.copy()
        return array.__dlpack__(
            stream=stream, max_version=max_version, dl_device=dl_device, copy=copy
        )

    def __dlpack_device__(self) -> tuple[Any, int]:
        """DLPack's kind of device, and its number."""
        found: tuple[Any, int] = self.data.__dlpack_device__()
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __bool__(self) -> bool:
        if self.data.size != 1:
            why = "has no single truth value; take sn.any(x) or sn.all(x)"
            self._refuse("bool", ShapeError, why)
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if not is_integer(self.data.dtype):
            self._refuse("index", DTypeError, "is no integer; convert it with int(x)")
        return int(self.item())

    def __len__(self) -> int:
        if not self.data.ndim:
            self._refuse("len", ShapeError, "has no axes")
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec else str(self), spec)


def device_number(device: Any) -> int | None:
    """The number of a GPU, or None for the host.

    Raises:
        DeviceError: if it is no device's name.
    """
    if device == "cpu":
        return None
    found = re.fullmatch(r"cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if found is None:
        raise DeviceError(f'no device {device!r:.60}; there are "cpu", "cuda" and "cuda:1"')
    return int(found[1] or 0)


def gpus() -> list[str]:
    """The names of the GPUs that CuPy can use, none without it."""
    try:
        cupy = _cupy()
    except DeviceError:
        return []
    if not cupy.is_available():
        return []
    return [f"cuda:{i}" for i in range(cupy.cuda.runtime.getDeviceCount())]


def _cupy() -> Any:
    try:
        import cupy
    except ImportError:
        raise DeviceError(f'"cuda" needs CuPy; {install("cuda13")}') from None
    return cupy
