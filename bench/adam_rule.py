"""Adam's update (Kingma and Ba, 2015), for those who are given a formula, and for the reference.

With `decay` it is AdamW's (Loshchilov and Hutter, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
OPTIONS: dict[str, Any] = {"lr": LR, "betas": (BETA1, BETA2), "eps": EPS}
Arrays = Sequence[Any]


def updated(
    xp: Any, t: Any, params: Arrays, grads: Arrays, ms: Arrays, vs: Arrays, decay: float = 0.0,
    lr: float = LR,
) -> list[Any]:  # fmt: skip
    """The next parameters, first and second moments as three lists; t counts from 1."""
    rate, root = lr / (1 - BETA1**t), xp.sqrt(1 - BETA2**t)
    new = []
    for p, g, m, v in zip(params, grads, ms, vs, strict=True):
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g * g
        p = (1 - lr * decay) * p
        new.append((p - rate * (m / (xp.sqrt(v) / root + EPS)), m, v))
    return [list(column) for column in zip(*new, strict=True)]


def update_tensors(t: Any, params: Arrays, grads: Arrays, ms: Arrays, vs: Arrays) -> None:
    """The same in place, on torch's tensors; t is counted up, too."""
    import torch

    t.add_(1)
    rate, root = LR / (1 - BETA1**t), torch.sqrt(1 - BETA2**t)
    for p, g, m, v in zip(params, grads, ms, vs, strict=True):
        m.lerp_(g, 1 - BETA1)
        v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        p.sub_(rate * (m / (torch.sqrt(v) / root + EPS)))
