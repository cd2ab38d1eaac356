"""Activations as layers: those of a function and its arguments, and PReLU with its weight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from staticnet.errors import ShapeError
from staticnet.ir.dtype import as_dtype
from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.arguments import as_number
from staticnet.nn.layers.functional import FunctionLayer, layer
from staticnet.nn.module import Module
from staticnet.nn.seed import next_seed
from staticnet.ops.arguments import as_bool, as_size
from staticnet.ops.base import as_value
from staticnet.ops.random import Generator
from staticnet.ops.state import variable


@layer
class ReLU(FunctionLayer):
    """y = max(x, 0)"""

    function = staticmethod(F.relu)
    inplace: bool = False


@layer
class LeakyReLU(FunctionLayer):
    """y = x where x > 0, else negative_slope * x"""

    function = staticmethod(F.leaky_relu)
    negative_slope: float = 0.01
    inplace: bool = False


@layer
class ELU(FunctionLayer):
    """y = x where x > 0, else alpha * (e**x - 1)"""

    function = staticmethod(F.elu)
    alpha: float = 1.0
    inplace: bool = False


@layer
class SELU(FunctionLayer):
    """y = scale * elu(x, alpha), which keeps mean 0 and variance 1"""

    function = staticmethod(F.selu)
    inplace: bool = False


@layer
class GELU(FunctionLayer):
    """y = x * Phi(x), Phi the normal distribution function or its "tanh" approximation"""

    function = staticmethod(F.gelu)
    approximate: str = "none"


@layer
class SiLU(FunctionLayer):
    """y = x * sigmoid(x)"""

    function = staticmethod(F.silu)
    inplace: bool = False


@layer
class Softplus(FunctionLayer):
    """y = ln(1 + e**(beta * x)) / beta, or x where beta * x > threshold"""

    function = staticmethod(F.softplus)
    beta: float = 1.0
    threshold: float = 20.0


@layer
class Sigmoid(FunctionLayer):
    """y = 1 / (1 + e**-x)"""

    function = staticmethod(F.sigmoid)


@layer
class Tanh(FunctionLayer):
    """y = tanh(x)"""

    function = staticmethod(F.tanh)


@layer
class _Along(FunctionLayer):
    """A function along `axis`, which PyTorch calls `dim`."""

    axis: int = -1
    dim: int | None = None

    def __post_init__(self) -> None:
        if self.dim is not None:
            self.axis, self.dim = self.dim, None


@layer
class Softmax(_Along):
    """y = e**x / sum(e**x) along `axis`"""

    function = staticmethod(F.softmax)


@layer
class LogSoftmax(_Along):
    """y = x - ln(sum(e**x)) along `axis`"""

    function = staticmethod(F.log_softmax)


@layer
class Hardtanh(FunctionLayer):
    """y = x limited to [min_val, max_val]"""

    function = staticmethod(F.hardtanh)
    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False


@layer
class Mish(FunctionLayer):
    """y = x * tanh(softplus(x))"""

    function = staticmethod(F.mish)
    inplace: bool = False


@layer
class CELU(FunctionLayer):
    """y = x where x > 0, else alpha * (e**(x / alpha) - 1)"""

    function = staticmethod(F.celu)
    alpha: float = 1.0
    inplace: bool = False


@layer
class ReLU6(FunctionLayer):
    """y = x limited to [0, 6]"""

    function = staticmethod(F.relu6)
    inplace: bool = False


@layer
class Threshold(FunctionLayer):
    """y = x where x > threshold, else value"""

    function = staticmethod(F.threshold)
    threshold: float
    value: float
    inplace: bool = False


@layer
class LogSigmoid(FunctionLayer):
    """y = ln sigmoid(x)"""

    function = staticmethod(F.logsigmoid)


@layer
class Hardsigmoid(FunctionLayer):
    """y = (x + 3) / 6 limited to [0, 1]"""

    function = staticmethod(F.hardsigmoid)
    inplace: bool = False


@layer
class Hardswish(FunctionLayer):
    """y = x * hardsigmoid(x)"""

    function = staticmethod(F.hardswish)
    inplace: bool = False


@layer
class Softsign(FunctionLayer):
    """y = x / (1 + |x|)"""

    function = staticmethod(F.softsign)


@layer
class Softshrink(FunctionLayer):
    """y = x less lambd where x > lambd, plus it where x < -lambd, else 0"""

    function = staticmethod(F.softshrink)
    lambd: float = 0.5


@layer
class Hardshrink(FunctionLayer):
    """y = x where |x| > lambd, else 0"""

    function = staticmethod(F.hardshrink)
    lambd: float = 0.5


@layer
class Tanhshrink(FunctionLayer):
    """y = x - tanh(x)"""

    function = staticmethod(F.tanhshrink)


@layer
class GLU(FunctionLayer):
    """y = a * sigmoid(b), a and b the halves of x along `dim`"""

    function = staticmethod(F.glu)
    dim: int = -1


@layer
class Softmin(_Along):
    """y = softmax(-x) along `axis`"""

    function = staticmethod(F.softmin)


class Softmax2d(Module):
    """y = softmax over the channels at each place.  x: [n, c, h, w] or [c, h, w] -> y: the same

    Raises:
        ShapeError: if x has another number of axes.
    """

    def forward(self, input: Any) -> Value:
        """softmax along the axis of channels."""
        input = as_value(input)
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: takes [n, c, h, w] or [c, h, w], not {input.type}")
        return F.softmax(input, -3)


class PReLU(Module):
    """y = x where x > 0, else weight * x.  x: [n, c, *s] -> y: the same

    weight [num_parameters] starts from `init`; it has one entry, or one for each channel.

    Raises:
        ArgumentError: if num_parameters is not a positive int.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = "float32") -> None:
        self.num_parameters = as_size(num_parameters, "PReLU: num_parameters")
        start = as_number(init, "PReLU: init", -math.inf, math.inf)
        self.weight = variable(np.full(self.num_parameters, start, as_dtype(dtype)))

    def forward(self, input: Any) -> Value:
        """The input, its negative elements times the weight."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """The number of parameters."""
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """y = x where x > 0, else a * x: a ~ U(lower, upper) while training, their mean otherwise.

    x: [*s] -> y: [*s]. Each call in a graph and each run of the graph draws other slopes. The
    buffer `counter` counts the runs, as a Dropout's.

    Raises:
        ArgumentError: if lower > upper.
    """

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        inplace: bool = False,
        *,
        seed: int | None = None,
    ) -> None:
        as_bool(inplace, "RReLU: inplace")
        self.upper = as_number(upper, "RReLU: upper", -math.inf, math.inf)
        self.lower = as_number(lower, "RReLU: lower", -math.inf, self.upper)
        self._generator = Generator(next_seed(seed))
        self._generator.counter.name = ""  # to be named after its place here
        self.register_buffer("counter", self._generator.counter, persistent=False)

    def forward(self, input: Any) -> Value:
        """The input with random slopes, as the mode is now."""
        training = self.training
        key = self._generator.key(like=input) if training else None
        return F.rrelu(input, self.lower, self.upper, training, key=key)

    def extra_repr(self) -> str:
        """The range of the slopes."""
        return f"lower={self.lower}, upper={self.upper}"
