"""Operators by family: importing this room fills the table."""

from staticnet.io.onnx.operators import (
    activations,
    arithmetic,
    movement,
    normalization,
    randomness,
    reductions,
    shapes,
    windows,
)

FAMILIES = (
    activations,
    arithmetic,
    movement,
    normalization,
    randomness,
    reductions,
    shapes,
    windows,
)
