"""A frame as bytes: numbers, parameters, gradients, and surfaces as one signed byte a cell.

Little-endian, in this order, with nothing between:

    float64 [len(NUMBERS)]   NUMBERS
    float32 [parameters]     weights [out, in] and biases [out], layer by layer
    float32 [parameters]     the gradient of each
    uint8   [hidden units]   1 where the unit is dead: it gives the same for all training points
    int8    [hidden units + 1, SMALL²]   each unit's surface and the output's, 127 for 1 and more
    int8    [side²]          the surface of the output, or of the unit that is shown
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from staticnet.playground.model import SMALL, Look, Model

Array = np.ndarray[Any, Any]
NUMBERS = (
    "generation", "steps", "epoch", "train_loss", "test_loss", "train_accuracy", "test_accuracy",
    "seconds_per_step", "steps_per_second", "playing", "side",
)  # fmt: skip
CONSTANT = 1e-3  # a unit that varies by less is dead
AHEAD = 2  # frames that a tab may ask for: one is on its way while another is drawn


def pack(
    numbers: Sequence[float], model: Model, look: Look, shown: tuple[int, int] | None
) -> bytes:
    """The bytes of a frame; `shown` is (hidden layer, unit), or None for the output."""
    *hidden, output = model.surfaces()
    parameters = [parameter.value for parameter in model.parameters]
    units = [_small(layer, model.side) for layer in (*hidden, output)]
    main = output[:, 0] if shown is None else hidden[shown[0]][:, shown[1]]
    parts = [
        np.array(numbers, "<f8"),
        *(np.asarray(x, "<f4").ravel() for x in (*parameters, *look.gradients)),
        *((spread < CONSTANT).astype(np.uint8) for spread in look.spread),
        *map(quantised, units),
        quantised(main),
    ]
    return b"".join(part.tobytes() for part in parts)


def quantised(values: Array) -> Array:
    """Numbers from -1 to 1 as bytes from -127 to 127; what lies outside is at the ends."""
    scaled = np.clip(np.nan_to_num(values, nan=0.0), -1, 1) * 127
    return np.rint(scaled).astype(np.int8)


def _small(layer: Array, side: int) -> Array:
    """Some cells of the plane, unit by unit.  [side², units] -> [units, SMALL²]"""
    stride = side // SMALL
    cells = layer.reshape(side, side, -1)[stride // 2 :: stride, stride // 2 :: stride]
    return cells.reshape(SMALL * SMALL, -1).T
