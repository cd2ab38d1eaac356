"""Generations by one compiled step, where nothing but the state of the search decides on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticnet.function import Function, function
from staticnet.ops.arguments import as_size
from staticnet.ops.state import Variable
from staticnet.optim.evolution.strategy import Seen

Array = np.ndarray[Any, Any]


class Generations:
    """A search: `step()` makes a generation of it, `step.run(n)` n of them.

    `function` is the compiled generation, `state` its variables.
    """

    def __init__(self, state: Seen, best: Any, updates: dict[Variable, Any], device: str) -> None:
        self.state = state
        self.function: Function = function([], best, updates=updates, device=device)

    @property
    def popsize(self) -> int:
        """How many points a generation has."""
        return int(self.state.values.shape[0])

    def __call__(self) -> Array:
        """One generation.  -> its best value: []"""
        return on_host(self.function())

    def run(self, generations: int) -> Array:
        """So many generations.  -> the best value of each: [generations]

        Raises:
            ArgumentError: if that is no positive int.
        """
        return on_host(self.function.run(as_size(generations, "run: generations")))


def on_host(array: Any) -> Array:
    """An output as NumPy's array, also of a GPU's."""
    return np.asarray(array.get() if hasattr(array, "get") else array)
