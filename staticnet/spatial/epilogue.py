"""A convolution, or its gradient by the input, and what follows it before its result is stored.

The pass `convolution_epilogues` makes these nodes where a backend's kernels do, and expands them
elsewhere. 16-bit results are rounded once; where a library
computes the convolution alone, which it does of no 16-bit one that is scaled, also before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from staticnet.errors import ArgumentError, DTypeError, ShapeError
from staticnet.ir.dim import Dim
from staticnet.ir.dtype import BOOL, compute_dtype
from staticnet.ir.op import Axes
from staticnet.ir.types import Shape, TensorType
from staticnet.ops.base import TensorOp, apply
from staticnet.ops.selection import astype, relu, where
from staticnet.ops.shape import reshape
from staticnet.ops.shape import sum as total
from staticnet.spatial.convolution import Convolution, ConvolutionInput, ConvolutionOp

ACTIVATIONS = ("none", "relu", "mask", "gate")
_KINDS: dict[str, type[ConvolutionOp]] = {
    "convolution": Convolution,
    "convolution_input": ConvolutionInput,
}


@dataclass(frozen=True)
class ConvolutionEpilogue(TensorOp, name="convolution_epilogue"):
    """z = activation(of(a, b) * scale + shift + beside), or 0 where a mask or a gate says so.

    `of` is "convolution" or "convolution_input", with that op's attributes; `scaled`, `shifted` and
    `added` say which of scale, shift and beside there are. `activation` is "none", "relu", "mask",
    which is false where z is 0, or "gate", which is not above 0 there.
    a, b: as `of` takes them, scale, shift: [channels of z], both in the dtype of a or in that of
    its sums, beside: as z, mask: bool, as z, gate: as z -> z: as `of` gives it
    """

    of: str
    strides: Axes
    low: Axes
    high: Axes
    dilations: Axes
    groups: Shape
    layout: str
    spatial: Shape
    scaled: bool
    shifted: bool
    added: bool
    activation: str
    arity = None
    same_dtype: ClassVar[slice] = slice(0, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("of", tuple(_KINDS)), ("activation", ACTIVATIONS)):
            if getattr(self, name) not in known:
                raise ArgumentError(f"{self.name}: {name} must be one of {', '.join(known)}")

    @property
    def core(self) -> ConvolutionOp:
        """What comes before."""
        own = (self.strides, self.low, self.high, self.dilations, self.groups, self.layout)
        kind = _KINDS[self.of]
        return kind(*own, self.spatial) if kind is ConvolutionInput else kind(*own)

    def parts(self, operands: Sequence[Any]) -> dict[str, Any]:
        """The operands that follow the first two, by name: scale, shift, beside, mask, gate.

        Raises:
            ArgumentError: if there are more or fewer.
        """
        there = {
            "scale": self.scaled, "shift": self.shifted, "beside": self.added,
            "mask": self.activation == "mask", "gate": self.activation == "gate",
        }  # fmt: skip
        names = [name for name, is_there in there.items() if is_there]
        if len(operands) != 2 + len(names):
            raise ArgumentError(f"takes {2 + len(names)} operands, not {len(operands)}")
        return dict(zip(names, operands[2:], strict=True))

    def infer(self, *operands: TensorType) -> TensorType:
        parts = self.parts(operands)
        z = self.core.infer(*operands[:2])
        channels = z.shape[self.axis(z.ndim)]
        for name in ("scale", "shift"):
            if name in parts and parts[name].shape != (channels,):
                raise ShapeError(f"{name} must have {channels} elements, and is {parts[name]}")
        wanted = {z.dtype, compute_dtype(z.dtype)}
        dtypes = {parts[name].dtype for name in ("scale", "shift") if name in parts}
        if len(dtypes) > 1 or not dtypes <= wanted:
            raise DTypeError(f"scale and shift must both be {z.dtype} or {compute_dtype(z.dtype)}")
        for name in ("beside", "gate"):
            if parts.get(name, z) != z:
                raise ShapeError(f"{name} must be {z}, not {parts[name]}")
        mask = z.with_dtype(BOOL)
        if parts.get("mask", mask) != mask:
            raise ShapeError(f"the mask must be {mask}, not {parts['mask']}")
        return z

    def axis(self, ndim: int) -> int:
        """Which axis of the result channels are."""
        return 1 if self.layout == "first" else ndim - 1

    def across(self, v: Any, ndim: int) -> Any:
        """A number for each channel, to broadcast against the result.  v: [c] -> [1, c, 1, …]"""
        shape = [1] * ndim
        shape[self.axis(ndim)] = v.shape[-1]
        return reshape(v, (*v.shape[:-1], *shape))

    def expand(self, *operands: Any) -> Any:
        """The plain ops that this stands for, with the bits of `eval`."""
        wide = compute_dtype(operands[0].dtype)
        z = apply(self.core, *(astype(x, wide) for x in operands[:2]))
        return self._after(z, self.parts(operands), z.ndim, operands[0].dtype)

    def _after(self, z: Any, parts: dict[str, Any], ndim: int, dtype: Any) -> Any:
        """What follows z, which may have one axis more."""
        wide = compute_dtype(dtype)
        if "scale" in parts:
            z = z * self.across(astype(parts["scale"], wide), ndim)
        if "shift" in parts:
            z = z + self.across(astype(parts["shift"], wide), ndim)
        if "beside" in parts:
            z = z + astype(parts["beside"], wide)
        z = relu(z) if self.activation == "relu" else z
        return astype(self._kept(z, parts), dtype)

    def _kept(self, z: Any, parts: dict[str, Any]) -> Any:
        """z, and 0 where the mask or the gate says so."""
        mask = parts["gate"] > 0 if "gate" in parts else parts.get("mask")
        return z if mask is None else where(mask, z, 0)

    def eval(self, xp: Any, *operands: Any) -> Any:
        parts = self.parts(operands)
        z = self.core.eval(xp, *operands[:2])
        column = [-1 if i == self.axis(z.ndim) else 1 for i in range(z.ndim)]
        z = z * parts["scale"].reshape(column) if "scale" in parts else z
        z = z + parts["shift"].reshape(column) if "shift" in parts else z
        z = z + parts["beside"] if "beside" in parts else z
        z = xp.maximum(z, 0) if self.activation == "relu" else z
        mask = parts["gate"] > 0 if "gate" in parts else parts.get("mask")
        return z if mask is None else xp.where(mask, z, xp.zeros((), z.dtype))

    def vjp(self, y: Any, g: Any, *operands: Any) -> tuple[Any, ...]:
        parts, wide = self.parts(operands), compute_dtype(operands[0].dtype)
        g = astype(g, wide)
        g = where(y > 0, g, 0) if self.activation == "relu" else g
        g = self._kept(g, parts)
        a, b = (astype(x, wide) for x in operands[:2])
        made, others = {"beside": g}, tuple(i for i in range(y.ndim) if i != self.axis(y.ndim))
        made["shift"] = total(g, others)
        to_core = g
        if "scale" in parts:
            made["scale"] = total(g * apply(self.core, a, b), others)
            to_core = g * self.across(astype(parts["scale"], wide), y.ndim)
        own = self.core.vjp(None, to_core, a, b)
        given = [*own, *(made.get(name) for name in parts)]
        return tuple(
            None if v is None else astype(v, x.dtype) for v, x in zip(given, operands, strict=True)
        )

    def batch(self, size: int | Dim, batched: tuple[bool, ...], *operands: Any) -> Any:
        wide = compute_dtype(operands[0].dtype)
        a, b = (astype(x, wide) for x in operands[:2])
        own = batched[:2]
        z = self.core.batch(size, own, a, b) if any(own) else apply(self.core, a, b)
        ndim = z.ndim - any(own)
        return self._after(z, self.parts(operands), ndim, operands[0].dtype)

    def flops(self, result: TensorType, *operands: TensorType) -> int | Dim:
        after = len(operands) - 2 + (self.activation == "relu")
        return self.core.flops(result, *operands[:2]) + result.size * after
