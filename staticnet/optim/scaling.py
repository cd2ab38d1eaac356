"""Scaling of the loss, so that gradients in float16 neither vanish nor overflow; all of it nodes.

updates = sn.optim.LossScaling(sn.optim.Adam(lr=1e-3)).minimize(loss)
step = sn.function([x, y], loss, updates=updates, precision="float16")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from staticnet.errors import ArgumentError
from staticnet.ir.dtype import compute_dtype
from staticnet.ir.node import Node, topological
from staticnet.ir.value import Value
from staticnet.ops.arguments import as_size
from staticnet.ops.comparison import isfinite
from staticnet.ops.selection import astype, where
from staticnet.ops.state import Variable, variable
from staticnet.optim.base import Optimizer, check_inner
from staticnet.optim.numbers import checked_number
from staticnet.optim.parameters import Parameters, check_gradients
from staticnet.optim.updates import Updates
from staticnet.optim.wrappers import all_finite, skip_nonfinite


@dataclass(frozen=True)
class LossScaling(Optimizer):
    """Updates with d(scale * loss) / scale; a run with a gradient that is not finite is skipped.

    Such a run changes nothing but `scale`, which becomes scale * backoff_factor, and the count of
    skipped runs, `.skipped` of the updates. After `growth_interval` runs without one `scale`
    becomes scale * growth_factor, unless that overflows. `growth_tracker` counts those runs.
    Rule and defaults are those of PyTorch's `torch.amp.GradScaler`; Micikevicius et al., "Mixed
    precision training", 2018. Inside `Accumulate` one bad gradient skips the whole round.

    Both are variables of this object: an object is for one `minimize` or `apply`.

    Raises:
        ArgumentError: if `optimizer` is none, or a number is out of its range.
    """

    optimizer: Optimizer
    init_scale: float = 65536.0
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000
    scale: Variable = field(init=False, compare=False, repr=False)
    growth_tracker: Variable = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        what = "LossScaling"
        check_inner(what, self.optimizer)
        for name in ("init_scale", "growth_factor", "backoff_factor"):
            object.__setattr__(self, name, checked_number(what, name, getattr(self, name)))
        interval = as_size(self.growth_interval, f"{what}: growth_interval")
        object.__setattr__(self, "growth_interval", interval)
        first = np.float32(self.init_scale)
        object.__setattr__(self, "scale", variable(first, "loss_scale", trainable=False))
        tracker = variable(0, "loss_scale.growth_tracker", trainable=False)
        object.__setattr__(self, "growth_tracker", tracker)

    def gradients(self, loss: Value, wrt: Sequence[Variable]) -> dict[Variable, Value]:
        """d loss / dw of each variable, by way of the scaled loss; at least float32.

        What is not finite there is NaN here, which no clipping hides from `apply`.

        loss: [] -> each as its variable: [*s]
        """
        wide = compute_dtype(loss.dtype)
        scaled = astype(loss, wide) * astype(self.scale, wide)
        return {w: self._unscaled(g) for w, g in super().gradients(scaled, wrt).items()}

    def _unscaled(self, g: Value) -> Value:
        wide = compute_dtype(g.dtype)
        unscaled = astype(g, wide) * (1 / astype(self.scale, wide))
        return where(isfinite(g), unscaled, float("nan"))

    def apply(self, grads: Mapping[Variable, Value], wrt: Parameters | None = None) -> Updates:
        """The updates for what `gradients` gave, so that it can be clipped in between.

        Raises:
            ArgumentError: if the gradients are not of a loss that this object scaled.
        """
        check_gradients(grads, wrt)
        if self.scale not in set(topological([g for g in grads.values() if isinstance(g, Node)])):
            raise ArgumentError(
                "LossScaling: these gradients are of a loss that it did not scale; take "
                "minimize(loss), or apply(gradients(loss, wrt))"
            )
        updates = skip_nonfinite(self.optimizer.apply(grads, wrt), grads)
        finite = all_finite("LossScaling", grads)
        successful = self.growth_tracker + 1
        grow = successful == self.growth_interval
        grown = self.scale * self.growth_factor
        kept = where(grow & isfinite(grown), grown, self.scale)
        updates[self.scale] = where(finite, kept, self.scale * self.backoff_factor)
        updates[self.growth_tracker] = where(finite & ~grow, successful, 0)
        return updates
