"""What a network has learned to look at: attributions, maximised activations, neighbours.

Each function makes nodes of a graph, which `sn.function` compiles: a whole batch of images, all
noisy copies of them or all steps of an ascent are one call. The model is asked as it is: call
`model.eval()` first, or its dropouts drop.
"""

from staticnet.features.ascent import maximise
from staticnet.features.attribution import (
    completeness_gap,
    grad_cam,
    gradient,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from staticnet.features.embedding import nearest, pca, tsne
from staticnet.features.layers import layer_output

__all__ = [
    "completeness_gap",
    "grad_cam",
    "gradient",
    "integrated_gradients",
    "layer_output",
    "maximise",
    "nearest",
    "pca",
    "saliency",
    "smooth_grad",
    "tsne",
]
