"""Losses and distances as layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from staticnet.ir.dtype import FLOAT32, is_floating
from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.arguments import check_reduction
from staticnet.nn.functional.classification import IGNORE_INDEX
from staticnet.nn.functional.linear_cross_entropy import LinearCrossEntropyOptions
from staticnet.nn.layers.functional import FunctionLayer, layer
from staticnet.nn.layers.linear import Linear
from staticnet.nn.module import Module
from staticnet.ops.arguments import as_size
from staticnet.ops.promotion import as_array
from staticnet.ops.shape import reshape
from staticnet.ops.state import variable


class _Weighted(FunctionLayer):
    """A loss whose weights, if they are arrays, are buffers: in `state_dict`, as PyTorch's are."""

    def __post_init__(self) -> None:
        for name in ("weight", "pos_weight"):
            given = getattr(self, name, None)
            if given is not None and not isinstance(given, Value):
                setattr(self, name, _buffer(given))


def _buffer(weight: Any) -> Any:
    """An array as a Variable that is not trained; integers and lists as float32."""
    found = as_array(weight)
    held = variable(found if is_floating(found.dtype) else found.astype(FLOAT32), trainable=False)
    held.buffer = True
    return held


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
class BCEWithLogitsLoss(_Weighted):
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
class NLLLoss(_Weighted):
    """y = -weight[target] * input[target]"""

    function = staticmethod(F.nll_loss)
    weight: Any = None
    ignore_index: int = IGNORE_INDEX
    reduction: str = "mean"


@layer
class CrossEntropyLoss(_Weighted):
    """y = -sum over classes of weight * t * ln softmax(logits)"""

    function = staticmethod(F.cross_entropy)
    weight: Any = None
    ignore_index: int = IGNORE_INDEX
    reduction: str = "mean"
    label_smoothing: float = 0.0


class LinearCrossEntropyLoss(Module):
    """y = cross_entropy(x @ W.T + b, target): `functional.linear_cross_entropy` of a layer `linear`

    x: [n, in_features], target: [n, *out_features], or a distribution [n, c, *out_features] -> y:
    [], or [n, *out_features] if not reduced; c is num_classes. `linear` has a weight [c * the
    product of out_features, in_features], and a bias if asked.

    Raises:
        ArgumentError: if a size is not a positive int, or an option is out of range.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        dtype: Any = "float32",
        reduction: str = "mean",
        weight: Any = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
        seed: int | None = None,
    ) -> None:
        check_reduction(reduction)
        sizes = [as_size(n, "LinearCrossEntropyLoss: out_features") for n in out_features]
        self.num_classes = as_size(num_classes, "LinearCrossEntropyLoss: num_classes")
        self.out_features = tuple(sizes)
        rows = math.prod((self.num_classes, *sizes))
        self.linear = Linear(in_features, rows, bias, dtype, seed=seed)
        self.reduction = reduction
        is_node = weight is None or isinstance(weight, Value)
        self.weight = weight if is_node else _buffer(weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.options = options

    def forward(self, input: Any, target: Any) -> Value:
        """The loss of logits input @ weight.T + bias."""
        outputs = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            reshape(self.linear.weight, (*outputs, self.linear.in_features)),
            target,
            linear_bias=None if bias is None else reshape(bias, outputs),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )


@layer
class SmoothL1Loss(FunctionLayer):
    """y = d**2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = input - target"""

    function = staticmethod(F.smooth_l1_loss)
    reduction: str = "mean"
    beta: float = 1.0


@layer
class BCELoss(_Weighted):
    """y = -weight * (t * ln p + (1 - t) * ln(1 - p)); p = input, t = target"""

    function = staticmethod(F.binary_cross_entropy)
    weight: Any = None
    reduction: str = "mean"


@dataclass(eq=False, repr=False, kw_only=True)
class GaussianNLLLoss(FunctionLayer):
    """y = (ln v + (input - target)**2 / v) / 2, v = max(var, eps)"""

    function = staticmethod(F.gaussian_nll_loss)
    full: bool = False
    eps: float = 1e-6
    reduction: str = "mean"


@layer
class PoissonNLLLoss(FunctionLayer):
    """y = e**x - t * x, x = input, the ln of a rate, t = target, a count"""

    function = staticmethod(F.poisson_nll_loss)
    log_input: bool = True
    full: bool = False
    eps: float = 1e-8
    reduction: str = "mean"


@layer
class MarginRankingLoss(FunctionLayer):
    """y = max(0, margin - target * (input1 - input2))"""

    function = staticmethod(F.margin_ranking_loss)
    margin: float = 0.0
    reduction: str = "mean"


@layer
class SoftMarginLoss(FunctionLayer):
    """y = ln(1 + e**(-target * input)), target -1 or 1"""

    function = staticmethod(F.soft_margin_loss)
    reduction: str = "mean"


@layer
class MultiMarginLoss(_Weighted):
    """y = sum over i != t of weight[t] * max(0, margin - input[t] + input[i])**p / c"""

    function = staticmethod(F.multi_margin_loss)
    p: int = 1
    margin: float = 1.0
    weight: Any = None
    reduction: str = "mean"


@layer
class MultiLabelMarginLoss(FunctionLayer):
    """y = sum over labels j, other i of max(0, 1 - (input[j] - input[i])) / c"""

    function = staticmethod(F.multilabel_margin_loss)
    reduction: str = "mean"


@layer
class MultiLabelSoftMarginLoss(_Weighted):
    """y = -mean over classes of weight * (t * ln s + (1 - t) * ln(1 - s)); s = sigmoid(input)"""

    function = staticmethod(F.multilabel_soft_margin_loss)
    weight: Any = None
    reduction: str = "mean"


@layer
class TripletMarginLoss(FunctionLayer):
    """y = max(0, margin + d(anchor, positive) - d(anchor, negative))"""

    function = staticmethod(F.triplet_margin_loss)
    margin: float = 1.0
    p: float = 2.0
    eps: float = 1e-6
    swap: bool = False
    reduction: str = "mean"


@dataclass(eq=False, repr=False, kw_only=True)
class TripletMarginWithDistanceLoss(FunctionLayer):
    """y = max(0, margin + d(anchor, positive) - d(anchor, negative)), d a given function"""

    function = staticmethod(F.triplet_margin_with_distance_loss)
    distance_function: Any = None
    margin: float = 1.0
    swap: bool = False
    reduction: str = "mean"


@layer
class CosineEmbeddingLoss(FunctionLayer):
    """y = 1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1"""

    function = staticmethod(F.cosine_embedding_loss)
    margin: float = 0.0
    reduction: str = "mean"


@layer
class CosineSimilarity(FunctionLayer):
    """y = x1 . x2 / (max(|x1|, eps) * max(|x2|, eps)) along `dim`"""

    function = staticmethod(F.cosine_similarity)
    dim: int = 1
    eps: float = 1e-8


@layer
class PairwiseDistance(FunctionLayer):
    """y = the p-norm of x1 - x2 + eps along the last axis"""

    function = staticmethod(F.pairwise_distance)
    p: float = 2.0
    eps: float = 1e-6
    keepdim: bool = False
