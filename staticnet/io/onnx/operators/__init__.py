"""Operators by family: importing this room fills the table."""

from staticnet.io.onnx.operators import (
    activations,
    arithmetic,
    control,
    movement,
    normalization,
    quantization,
    randomness,
    recurrent,
    reductions,
    resampling,
    selection,
    sequences,
    shapes,
    spectral,
    training,
    windows,
)

FAMILIES = (
    activations,
    arithmetic,
    control,
    movement,
    normalization,
    quantization,
    randomness,
    recurrent,
    reductions,
    resampling,
    selection,
    sequences,
    shapes,
    spectral,
    training,
    windows,
)
