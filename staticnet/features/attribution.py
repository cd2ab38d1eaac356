"""Which elements of an input a score depends on: gradients, and what was made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.autodiff.reverse import grad
from staticnet.control.vmap import vmap
from staticnet.errors import ArgumentError, ShapeError
from staticnet.features.layers import layer_output, scores_of, targets_of
from staticnet.ir.types import format_shape
from staticnet.ir.value import Value
from staticnet.nn.arguments import as_number
from staticnet.nn.functional.activation import relu
from staticnet.nn.functional.upsampling import interpolate
from staticnet.nn.module import Module
from staticnet.ops import random
from staticnet.ops.arguments import as_size
from staticnet.ops.arithmetic import abs
from staticnet.ops.base import as_value, constant, named
from staticnet.ops.reduction import max as max_of
from staticnet.ops.reduction import mean
from staticnet.ops.reduction import min as min_of
from staticnet.ops.shape import reshape, sum


@named
def gradient(model: Module, x: Any, target: Any = None) -> Value:
    """d score of the target / d x, for each example by itself.

    x: [n, *s], target: a class, one an example, or None for the likeliest -> [n, *s]

    Raises:
        ShapeError: if the model does not give scores [n, classes], or targets do not fit.
    """
    x = as_value(x)
    scores = model(x)
    return grad(sum(scores_of(scores, targets_of(scores, target))), [x])[0]


@named
def saliency(model: Module, x: Any, target: Any = None) -> Value:
    """|d score / d x|, of images the greatest over channels (Simonyan et al., "Deep inside
    convolutional networks", 2014).

    x: [n, c, h, w] -> [n, h, w]; other x: [n, *s] -> [n, *s]; target and errors as `gradient` has
    """
    found = abs(gradient(model, x, target))
    return max_of(found, axis=1) if found.ndim == 4 else found


@named
def smooth_grad(
    model: Module, x: Any, target: Any = None, *, samples: int = 32, noise: float = 0.15,
    key: random.Key | None = None,
) -> Value:  # fmt: skip
    """The mean gradient of x with noise (Smilkov et al., "SmoothGrad", 2017), all in one vmap.

    noise: its standard deviation, as a share of the range of each example's elements

    x: [n, *s] -> [n, *s]; target as `gradient` has, None being the likeliest class without noise

    Raises:
        ArgumentError: if there is no sample, or the noise is negative.
        ShapeError: as `gradient` has.
    """
    count = as_size(samples, "samples")
    share = as_number(noise, "noise", 0, float("inf"))
    x = as_value(x)
    targets = targets_of(model(x), target)
    axes = tuple(range(1, x.ndim))
    spread = max_of(x, axis=axes, keepdims=True) - min_of(x, axis=axes, keepdims=True)

    def one(key: random.Key) -> Value:
        drawn = random.normal(key, x.shape, x.dtype)
        return gradient(model, x + share * spread * drawn, targets)

    keys = random.split(random.key(0) if key is None else key, count)
    return mean(vmap(one)(keys), axis=0)


@named
def integrated_gradients(
    model: Module, x: Any, target: Any = None, *, baseline: Any = 0.0, steps: int = 32
) -> Value:
    """(x - b) * the mean gradient on the way from b to x (Sundararajan et al., "Axiomatic
    attribution for deep networks", 2017): their sum is score(x) - score(b), but for what `steps`
    points of Gauss and Legendre's rule miss, which `completeness_gap` tells.

    x: [n, *s], baseline: a number, or what broadcasts to x -> [n, *s]; target as `gradient` has

    Raises:
        ArgumentError: if there are no steps.
        ShapeError: as `gradient` has, or if the baseline does not broadcast to x.
    """
    count = as_size(steps, "steps")
    x, start = _with_baseline(x, baseline)
    targets = targets_of(model(x), target)
    places, weights = np.polynomial.legendre.leggauss(count)
    shares, weights = ((a / 2).astype(x.dtype) for a in (places + 1, weights))
    way = x - start
    found = vmap(lambda share: gradient(model, start + share * way, targets))(constant(shares))
    return way * sum(found * reshape(constant(weights), (-1, *[1] * x.ndim)), axis=0)


@named
def completeness_gap(
    model: Module, x: Any, attribution: Any, target: Any = None, *, baseline: Any = 0.0
) -> Value:
    """sum(attribution) - (score(x) - score(baseline)), for each example: 0 of a complete one.

    x, attribution: [n, *s] -> [n]; target and errors as `integrated_gradients` has
    """
    x, start = _with_baseline(x, baseline)
    scores = model(x)
    targets = targets_of(scores, target)
    gained = scores_of(scores, targets) - scores_of(model(start), targets)
    return sum(as_value(attribution), axis=tuple(range(1, x.ndim))) - gained


@named
def grad_cam(model: Module, x: Any, layer: Module | str, target: Any = None) -> Value:
    """relu(Σ_c w_c a_c), w the mean gradient of each channel of a layer's output a, as large as x
    (Selvaraju et al., "Grad-CAM", 2017).

    x: [n, c, h, w], a: [n, d, i, j] -> [n, h, w]

    Raises:
        ArgumentError: as `layer_output` has.
        ShapeError: as `gradient` has, or if the layer does not give images.
    """
    x = as_value(x)
    scores, given = layer_output(model, x, layer)
    shape = getattr(given, "shape", ())
    if x.ndim != 4 or len(shape) != 4:
        raise ShapeError(
            f"x and what the layer gives must be images [n, c, h, w], not {format_shape(x.shape)} "
            f"and {format_shape(shape)}"
        )
    total = sum(scores_of(scores, targets_of(scores, target)))
    weights = mean(grad(total, [given])[0], axis=(2, 3), keepdims=True)
    heat = relu(sum(weights * given, axis=1, keepdims=True))
    return interpolate(heat, size=x.shape[2:], mode="bilinear")[:, 0]


def _with_baseline(x: Any, baseline: Any) -> tuple[Value, Value]:
    """x and the baseline as values of one shape."""
    x = as_value(x)
    if isinstance(baseline, str) or baseline is None:
        raise ArgumentError(f"the baseline must be a number or an array, not {baseline!r:.60}")
    start = x * 0 + baseline
    if start.shape != x.shape:
        raise ShapeError(f"the baseline {start.type} does not broadcast to x {x.type}")
    return x, start
