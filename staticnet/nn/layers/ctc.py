"""The layer of `ctc_loss`."""

from __future__ import annotations

from typing import Any

from staticnet.ir.value import Value
from staticnet.nn import functional as F
from staticnet.nn.layers.functional import FunctionLayer, layer


@layer
class CTCLoss(FunctionLayer):
    """y = -ln of the probability of all ways to write the targets into the steps."""

    function = staticmethod(F.ctc_loss)
    blank: int = 0
    reduction: str = "mean"
    zero_infinity: bool = False

    def forward(
        self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any
    ) -> Value:
        """The loss of the targets."""
        return super().forward(log_probs, targets, input_lengths, target_lengths)
