"""Normalisation layers: statistics of the input, and a scale and a shift that are trained."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from staticnet.errors import ArgumentError, ShapeError
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.arguments import as_floating, as_number, as_parameter_dtype
from staticnet.nn.functional.normalization import Running, by_batch, by_statistics, running_of
from staticnet.nn.layers.functional import FunctionLayer, layer
from staticnet.nn.module import Module
from staticnet.ops.arguments import as_bool, as_size, as_tuple
from staticnet.ops.selection import astype
from staticnet.ops.shape import reshape
from staticnet.ops.state import Variable, variable

LARGEST = float(np.finfo(np.float64).max)


class _Affine(Module):
    """What has a weight of ones and a bias of zeros, or None where there is none."""

    weight: Variable | None
    bias: Variable | None

    def _make_parameters(self, shape: Any, dtype: Any, weight: bool, bias: bool) -> None:
        dtype = as_parameter_dtype(dtype)
        self.weight = variable(np.ones(shape, dtype)) if weight else None
        self.bias = variable(np.zeros(shape, dtype)) if bias else None


class _RunningNorm(_Affine):
    """What batch and instance norms share: channels, and statistics over batches."""

    _ranks: ClassVar[tuple[int, ...]] = ()
    _takes: ClassVar[str] = ""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = "float32",
        *,
        bias: bool = True,
    ) -> None:
        what = type(self).__name__
        self.num_features = as_size(num_features, f"{what}: num_features")
        self.eps = as_number(eps, f"{what}: eps", 0, LARGEST)
        self.momentum = None if momentum is None else as_number(momentum, f"{what}: momentum", 0, 1)
        self.affine = as_bool(affine, f"{what}: affine")
        self.track_running_stats = as_bool(track_running_stats, f"{what}: track_running_stats")
        has_bias = as_bool(bias, f"{what}: bias") and self.affine
        self._make_parameters(num_features, dtype, self.affine, has_bias)
        own = as_parameter_dtype(dtype) if self.track_running_stats else None
        self.register_buffer("running_mean", None if own is None else np.zeros(num_features, own))
        self.register_buffer("running_var", None if own is None else np.ones(num_features, own))
        self.register_buffer("num_batches_tracked", None if own is None else np.int64(0))

    def reset_running_stats(self) -> None:
        """Forget the batches: mean 0, variance 1, count 0."""
        if self.running_mean is not None:
            self.running_mean.value = np.zeros(self.num_features, self.running_mean.dtype)
            self.running_var.value = np.ones(self.num_features, self.running_var.dtype)
            self.num_batches_tracked.value = np.int64(0)

    def forward(self, input: Any) -> Value:
        """The input, normalised as the mode is now."""
        input = as_floating(input)
        if input.ndim not in self._ranks:
            raise ShapeError(f"takes {self._takes}, not {format_shape(input.shape)}")
        return self._normalized(input)

    def _normalized(self, x: Value) -> Value:
        raise NotImplementedError

    def _check_features(self, x: Value, axis: int) -> None:
        if x.shape[axis] != self.num_features:
            raise ShapeError(
                f"axis {axis} of {format_shape(x.shape)} must have the {self.num_features} "
                "channels of num_features"
            )

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    """What batch norms share; in training the running statistics are updates of their graph.

    Raises:
        ArgumentError: if an argument is out of its range.
        ShapeError: if x has other axes, or in training one value a channel.
    """

    def _normalized(self, x: Value) -> Value:
        self._check_features(x, 1)
        parameters = (self.weight, self.bias, self.eps)
        tracks = self.running_mean is not None
        if not self.training and tracks:
            return by_statistics(x, self.running_mean, self.running_var, *parameters)
        return by_batch(x, self._running() if tracks else None, *parameters)

    def _running(self) -> Running | None:
        factor: Any = self.momentum
        if factor is None:
            factor = 1 / astype(self.num_batches_tracked + 1, self.running_mean.dtype)
        return running_of(self.running_mean, self.running_var, factor, self.num_batches_tracked)


class BatchNorm1d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel.

    x: [n, c] or [n, c, l] -> y: as x; weight, bias: [num_features]
    In training mean and var are the batch's, and each run moves `running_mean` and `running_var`
    towards them by `momentum`, or if that is None makes them the mean over all batches; in
    evaluation they are the running ones, unless `track_running_stats=False`.
    """

    _ranks, _takes = (2, 3), "[n, c] or [n, c, l]"


class BatchNorm2d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel.

    x: [n, c, h, w] -> y: as x; weight, bias: [num_features]
    In training mean and var are the batch's, and each run moves `running_mean` and `running_var`
    towards them by `momentum`, or if that is None makes them the mean over all batches; in
    evaluation they are the running ones, unless `track_running_stats=False`.
    """

    _ranks, _takes = (4,), "[n, c, h, w]"


class BatchNorm3d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel.

    x: [n, c, d, h, w] -> y: as x; weight, bias: [num_features]
    In training mean and var are the batch's, and each run moves `running_mean` and `running_var`
    towards them by `momentum`, or if that is None makes them the mean over all batches; in
    evaluation they are the running ones, unless `track_running_stats=False`.
    """

    _ranks, _takes = (5,), "[n, c, d, h, w]"


class _InstanceNorm(_RunningNorm):
    """What instance norms share.

    Raises:
        ArgumentError: if an argument is out of its range.
        ShapeError: if x has other axes, or one value a channel.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = "float32",
        *,
        bias: bool = True,
    ) -> None:
        options = (eps, momentum, affine, track_running_stats, dtype)
        super().__init__(num_features, *options, bias=bias)

    def _normalized(self, x: Value) -> Value:
        single = x.ndim == self._ranks[0]
        self._check_features(x, 0 if single else 1)
        batch = reshape(x, (1, *x.shape)) if single else x
        y = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return reshape(y, x.shape) if single else y


class InstanceNorm1d(_InstanceNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel of each example.

    x: [n, c, l] or [c, l] -> y: as x; weight, bias: [num_features]
    With `track_running_stats` each run in training moves `running_mean` and `running_var` towards
    the batch's means of mean and var, and in evaluation they are used.
    """

    _ranks, _takes = (2, 3), "[n, c, l] or [c, l]"


class InstanceNorm2d(_InstanceNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel of each example.

    x: [n, c, h, w] or [c, h, w] -> y: as x; weight, bias: [num_features]
    With `track_running_stats` each run in training moves `running_mean` and `running_var` towards
    the batch's means of mean and var, and in evaluation they are used.
    """

    _ranks, _takes = (3, 4), "[n, c, h, w] or [c, h, w]"


class InstanceNorm3d(_InstanceNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel of each example.

    x: [n, c, d, h, w] or [c, d, h, w] -> y: as x; weight, bias: [num_features]
    With `track_running_stats` each run in training moves `running_mean` and `running_var` towards
    the batch's means of mean and var, and in evaluation they are used.
    """

    _ranks, _takes = (4, 5), "[n, c, d, h, w] or [c, d, h, w]"


class LayerNorm(_Affine):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, over the last axes.

    x: [*b, *normalized_shape] -> y: as x; weight, bias: [*normalized_shape]

    Raises:
        ArgumentError: if an argument is out of its range.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = "float32",
    ) -> None:
        self.normalized_shape = _as_sizes(normalized_shape, "LayerNorm: normalized_shape")
        self.eps = as_number(eps, "LayerNorm: eps", 0, LARGEST)
        self.elementwise_affine = as_bool(elementwise_affine, "LayerNorm: elementwise_affine")
        has_bias = as_bool(bias, "LayerNorm: bias") and self.elementwise_affine
        self._make_parameters(self.normalized_shape, dtype, self.elementwise_affine, has_bias)

    def forward(self, input: Any) -> Value:
        """The input, normalised."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """y = x / sqrt(mean(x**2) + eps) * weight, over the last axes; eps is the dtype's if None.

    x: [*b, *normalized_shape] -> y: as x; weight: [*normalized_shape]

    Raises:
        ArgumentError: if an argument is out of its range.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = "float32",
    ) -> None:
        self.normalized_shape = _as_sizes(normalized_shape, "RMSNorm: normalized_shape")
        self.eps = None if eps is None else as_number(eps, "RMSNorm: eps", 0, LARGEST)
        self.elementwise_affine = as_bool(elementwise_affine, "RMSNorm: elementwise_affine")
        self._make_parameters(self.normalized_shape, dtype, self.elementwise_affine, False)

    def forward(self, input: Any) -> Value:
        """The input, normalised."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each group of channels of an example.

    x: [n, num_channels, *s] -> y: as x; weight, bias: [num_channels]

    Raises:
        ArgumentError: if an argument is out of its range, or the groups do not divide the channels.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = "float32",
        *,
        bias: bool = True,
    ) -> None:
        self.num_groups = as_size(num_groups, "GroupNorm: num_groups")
        self.num_channels = as_size(num_channels, "GroupNorm: num_channels")
        if num_channels % num_groups:
            raise ArgumentError(
                f"GroupNorm: {num_groups} groups do not divide the {num_channels} channels"
            )
        self.eps = as_number(eps, "GroupNorm: eps", 0, LARGEST)
        self.affine = as_bool(affine, "GroupNorm: affine")
        has_bias = as_bool(bias, "GroupNorm: bias") and self.affine
        self._make_parameters(num_channels, dtype, self.affine, has_bias)

    def forward(self, input: Any) -> Value:
        """The input, normalised."""
        input = as_floating(input)
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise ShapeError(f"takes [n, {self.num_channels}, *s], not {format_shape(input.shape)}")
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


@layer
class LocalResponseNorm(FunctionLayer):
    """y = x / (k + alpha * mean of x**2 over `size` channels around)**beta"""

    function = staticmethod(F.local_response_norm)
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _as_sizes(shape: Any, what: str) -> tuple[int, ...]:
    sizes = tuple(as_size(size, what) for size in as_tuple(shape))
    if not sizes:
        raise ArgumentError(f"{what} must have an axis")
    return sizes
