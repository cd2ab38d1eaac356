"""Layers without state: a function and its arguments. The docstring of the function is theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.functional.classification import IGNORE_INDEX
from staticnet.nn.module import Module
from staticnet.ops import shape


class FunctionLayer(Module):
    """y = function(*inputs, **fields): the fields of a subclass are the function's arguments."""

    function: ClassVar[Callable[..., Value]]

    def forward(self, *inputs: Any) -> Value:
        """The function of the inputs and the fields."""
        return type(self).function(*inputs, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """The numbers and strings among the arguments."""
        shown = (int, float, str)
        return ", ".join(f"{k}={v!r}" for k, v in self._arguments().items() if isinstance(v, shown))


# `eq=False`: two layers are never the same layer. `repr=False`: a Module prints itself.
layer = dataclass(eq=False, repr=False)


@layer
class ReLU(FunctionLayer):
    """y = max(x, 0)"""

    function = staticmethod(F.relu)


@layer
class LeakyReLU(FunctionLayer):
    """y = x where x > 0, else negative_slope * x"""

    function = staticmethod(F.leaky_relu)
    negative_slope: float = 0.01


@layer
class ELU(FunctionLayer):
    """y = x where x > 0, else alpha * (e**x - 1)"""

    function = staticmethod(F.elu)
    alpha: float = 1.0


@layer
class SELU(FunctionLayer):
    """y = scale * elu(x, alpha), which keeps mean 0 and variance 1"""

    function = staticmethod(F.selu)


@layer
class GELU(FunctionLayer):
    """y = x * Phi(x), Phi the normal distribution function or its "tanh" approximation"""

    function = staticmethod(F.gelu)
    approximate: str = "none"


@layer
class SiLU(FunctionLayer):
    """y = x * sigmoid(x)"""

    function = staticmethod(F.silu)


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
class Softmax(FunctionLayer):
    """y = e**x / sum(e**x) along `axis`"""

    function = staticmethod(F.softmax)
    axis: int = -1


@layer
class LogSoftmax(FunctionLayer):
    """y = x - ln(sum(e**x)) along `axis`"""

    function = staticmethod(F.log_softmax)
    axis: int = -1


@layer
class Hardtanh(FunctionLayer):
    """y = x limited to [min_val, max_val]"""

    function = staticmethod(F.hardtanh)
    min_val: float = -1.0
    max_val: float = 1.0


@layer
class Mish(FunctionLayer):
    """y = x * tanh(softplus(x))"""

    function = staticmethod(F.mish)


@layer
class Flatten(FunctionLayer):
    """y = x with the axes start_dim … end_dim made one.  x: [n, *s] -> y: [n, prod(s)]"""

    function = staticmethod(shape.flatten)
    start_dim: int = 1
    end_dim: int = -1


@layer
class MSELoss(FunctionLayer):
    """y = (input - target)**2"""

    function = staticmethod(F.mse_loss)
    reduction: str = "mean"


@layer
class L1Loss(FunctionLayer):
    """y = |input - target|"""

    function = staticmethod(F.l1_loss)
    reduction: str = "mean"


@layer
class HuberLoss(FunctionLayer):
    """y = d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2); d = input - target"""

    function = staticmethod(F.huber_loss)
    reduction: str = "mean"
    delta: float = 1.0


@layer
class HingeLoss(FunctionLayer):
    """y = max(0, margin - target * input), target -1 or 1"""

    function = staticmethod(F.hinge_loss)
    margin: float = 1.0
    reduction: str = "mean"


@layer
class HingeEmbeddingLoss(FunctionLayer):
    """y = input where target is 1, max(0, margin - input) where it is -1"""

    function = staticmethod(F.hinge_embedding_loss)
    margin: float = 1.0
    reduction: str = "mean"


@layer
class BCEWithLogitsLoss(FunctionLayer):
    """y = -weight * (pos_weight * t * ln s + (1 - t) * ln(1 - s)); s = sigmoid(input)"""

    function = staticmethod(F.binary_cross_entropy_with_logits)
    weight: Any = None
    reduction: str = "mean"
    pos_weight: Any = None


@layer
class KLDivLoss(FunctionLayer):
    """y = t * (ln t - input): the divergence of e**input from t"""

    function = staticmethod(F.kl_div)
    reduction: str = "mean"
    log_target: bool = False


@layer
class NLLLoss(FunctionLayer):
    """y = -weight[target] * input[target]"""

    function = staticmethod(F.nll_loss)
    weight: Any = None
    ignore_index: int = IGNORE_INDEX
    reduction: str = "mean"


@layer
class CrossEntropyLoss(FunctionLayer):
    """y = -sum over classes of weight * t * ln softmax(logits)"""

    function = staticmethod(F.cross_entropy)
    weight: Any = None
    ignore_index: int = IGNORE_INDEX
    reduction: str = "mean"
    label_smoothing: float = 0.0
