"""Dynamic execution: the same ops, layers, losses and optimizers, run as they are written.

    model = sn.nn.Sequential(sn.nn.Linear(2, 16), sn.nn.Tanh(), sn.nn.Linear(16, 2))
    optimizer = sn.dynamic.Optimizer(sn.optim.Adam(lr=0.05), model.parameters())
    for points, labels in batches:
        loss = sn.nn.cross_entropy(model(sn.dynamic.tensor(points)), sn.dynamic.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

An operation on a tensor computes at once, with NumPy, or with CuPy where the arrays are CuPy's, and
is remembered on a tape if a gradient may be asked for. Python may look at values: `if`, `while` and
`float` work. A model made once runs both ways: where one of its variables meets a tensor, the
variable's present value takes part, and `loss.backward()` adds to the variable's `grad`.
"""

from typing import TYPE_CHECKING

from staticnet.control.trace import Eager
from staticnet.dynamic import array_api
from staticnet.dynamic.creation import as_tensor, grad, tensor
from staticnet.dynamic.extra import Handle
from staticnet.dynamic.making import asarray, from_dlpack
from staticnet.dynamic.mode import enable_grad, is_grad_enabled, no_grad, trace
from staticnet.dynamic.optimizer import Optimizer
from staticnet.dynamic.sets import (
    nonzero,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from staticnet.dynamic.tensor import Tensor
from staticnet.ir.hints import lookup

__all__ = [
    "Handle",
    "Optimizer",
    "Tensor",
    "array_api",
    "as_tensor",
    "asarray",
    "enable_grad",
    "from_dlpack",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "nonzero",
    "tensor",
    "trace",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]

Eager.tensor = as_tensor

if not TYPE_CHECKING:
    __getattr__ = lookup(__name__, __all__, {})
