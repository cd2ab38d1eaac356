"""The peers' programs for `staticnet compare`: those of the workloads, on its feeds and weights."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence

import numpy as np

from bench.program import Array
from bench.workloads import WORKLOADS
from staticnet.compare import Steps
from staticnet.compare.environment import usable_cores


def build(
    feeds: Sequence[tuple[Array, Array]],
    weights: dict[str, Array],
    device: str,
    *,
    workload: str,
    peer: str,
) -> Steps:
    """A peer's training steps, called one by one; the weights are by name, or in their order."""
    if peer == "jax" and device != "cuda":
        os.environ["JAX_PLATFORMS"] = "cpu"
    if peer.startswith("torch"):
        importlib.import_module("torch").set_num_threads(usable_cores())
    x, y = (np.concatenate(column) for column in zip(*feeds, strict=True))
    names = WORKLOADS[workload].parameters
    if set(names) != set(weights):
        weights = dict(zip(names, weights.values(), strict=True))
    data = {"x": x, "y": y} | weights
    mode = WORKLOADS[workload].contenders[peer](data, device).modes["call"]
    return Steps(mode.repeat, lambda n: mode.check(n).tolist())
