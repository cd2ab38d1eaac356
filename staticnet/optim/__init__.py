"""Optimizers, schedules, clipping and averaging: all of it graph nodes, nothing hidden.

updates = sn.optim.Adam(lr=1e-3).minimize(loss)
step = sn.function([x, y], loss, updates=updates)
"""

from typing import TYPE_CHECKING

from staticnet.ir.hints import lookup
from staticnet.optim.adam import Adam, Adamax, AdamW, AMSGrad, NAdam, RAdam
from staticnet.optim.adaptive import Adadelta, Adagrad, RMSprop
from staticnet.optim.base import Optimizer, UpdateRule
from staticnet.optim.clip import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from staticnet.optim.cycles import CyclicLR, OneCycleLR
from staticnet.optim.evolution import CMAES, DE, PGPE, OpenES
from staticnet.optim.large_batch import LAMB, Lion
from staticnet.optim.lbfgs import LBFGS
from staticnet.optim.matrices import Adafactor, Muon
from staticnet.optim.plateau import ReduceLROnPlateau
from staticnet.optim.rprop import Rprop
from staticnet.optim.scaling import LossScaling
from staticnet.optim.schedule import (
    Constant,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    Schedule,
    SequentialLR,
    StepLR,
)
from staticnet.optim.sgd import ASGD, SGD, Momentum, Nesterov
from staticnet.optim.updates import Updates
from staticnet.optim.wrappers import (
    Accumulate,
    Averaged,
    Clipped,
    decoupled_weight_decay,
    ema,
    skip_nonfinite,
)

__all__ = [
    "ASGD",
    "CMAES",
    "DE",
    "LAMB",
    "LBFGS",
    "PGPE",
    "SGD",
    "AMSGrad",
    "Accumulate",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Averaged",
    "Clipped",
    "Constant",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "LossScaling",
    "Momentum",
    "MultiStepLR",
    "Muon",
    "NAdam",
    "Nesterov",
    "OneCycleLR",
    "OpenES",
    "Optimizer",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "Rprop",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "UpdateRule",
    "Updates",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "decoupled_weight_decay",
    "ema",
    "global_norm",
    "skip_nonfinite",
]

if not TYPE_CHECKING:
    _SCHEDULES = "schedules are here, as sn.optim.StepLR; a rule takes one as its lr"
    __getattr__ = lookup(__name__, __all__, {"lr_scheduler": _SCHEDULES})
