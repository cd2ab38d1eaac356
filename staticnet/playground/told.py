"""What a session says beside its frames, as JSON."""

from __future__ import annotations

import math
import sys
from functools import cache
from typing import Any

import numpy as np

from staticnet.compilation import FUSION, PASSES, PERSISTENT, PIPELINE
from staticnet.playground.config import (
    ACTIVATIONS,
    ENGINES,
    FIELDS,
    LOSSES,
    MOST_LAYERS,
    MOST_UNITS,
    OPTIMIZERS,
    PACES,
    PENALTIES,
    Config,
)
from staticnet.playground.data import DATASETS, EDGE, Array, Points, sample
from staticnet.playground.engines import Engine
from staticnet.playground.fields import Number, Whole
from staticnet.playground.frames import AHEAD, NUMBERS, quantised
from staticnet.playground.messages import VALUE
from staticnet.playground.model import LABELS, SMALL, feature_surfaces, formula_of


def as_json(told: Any) -> Any:
    """The same with None for numbers that are not finite: JSON has no name for them."""
    if isinstance(told, dict):
        return {name: as_json(each) for name, each in told.items()}
    if isinstance(told, list | tuple):
        return [as_json(each) for each in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


def config_told(config: Config) -> dict[str, Any]:
    """The state, its address, and what the page shows of it."""
    return {
        "kind": "config",
        "config": config.to_json(),
        "query": config.to_query(),
        "classifies": config.classifies,
        "formula": formula_of(config.optimizer),
    }


def points_told(points: Points) -> dict[str, Any]:
    """The points as flat lists x, y, label, to three decimals."""
    return {
        "kind": "points",
        "train": _rows(points.train, points.train_labels),
        "test": _rows(points.test, points.test_labels),
    }


def _rows(points: Array, labels: Array) -> list[float]:
    rows = np.concatenate([points, labels], 1).astype(np.float64)
    flat: list[float] = rows.round(3).ravel().tolist()
    return flat


def compiled_told(engine: Engine, generation: int, seconds: float) -> dict[str, Any]:
    """What a step became."""
    told: dict[str, Any] = {"kind": "compiled", "generation": generation, "seconds": seconds}
    function = engine.function
    if function is not None:
        plan = function.plan
        told |= {
            "device": function.device,
            "before": len(function.graph.nodes),
            "after": len(plan.graph.nodes),
            "kernels": len(plan.numbers),
            "arena": plan.arena_bytes,
            "passes": {record.name: [record.before, record.after] for record in function.passes()},
        }
    return told


_ABOUT = {
    FUSION: "one kernel computes many nodes",
    PERSISTENT: "a small step, or a loop of small ones, is one kernel, on a GPU",
}


def _of_module(name: str) -> str:
    """What a pass does: the first sentence of its module."""
    (found,) = (each for each in PIPELINE if each.name == name)
    text = " ".join((sys.modules[found.run.__module__].__doc__ or "").split("\n\n")[0].split())
    return text.replace("`", "").partition(": ")[2].partition(". ")[0].rstrip(".")


def welcome(key: str) -> dict[str, Any]:
    """What a page needs once: its key, what there is to choose, and the features' surfaces."""
    return {"kind": "welcome", "key": key, **_same_for_all()}


@cache
def _same_for_all() -> dict[str, Any]:
    surfaces = feature_surfaces()
    return {
        "small": SMALL,
        "edge": EDGE,
        "numbers": NUMBERS,
        "ahead": AHEAD,
        "bounds": _bounds(),
        "classes": [name for name, kind in DATASETS.items() if kind.classes],
        "choices": {
            "dataset": list(DATASETS),
            "activation": ACTIVATIONS,
            "loss": LOSSES,
            "optimizer": OPTIMIZERS,
            "penalty": PENALTIES,
            "engine": ENGINES,
            "pace": list(PACES),
            "without": [[name, _ABOUT.get(name) or _of_module(name)] for name in PASSES],
        },
        "thumbs": {name: _thumb(name) for name in DATASETS},
        "features": [
            {"name": name, "label": label, "surface": quantised(surfaces[name]).tolist()}
            for name, label in LABELS.items()
        ],
    }


def _bounds() -> dict[str, tuple[float, float]]:
    """The least and the largest value of what is a number."""
    fields = {name: f for name, f in FIELDS.items() if isinstance(f, Whole | Number)}
    told: dict[str, tuple[float, float]] = {name: (f.low, f.high) for name, f in fields.items()}
    told |= {"layers": (0, MOST_LAYERS), "units": (1, MOST_UNITS)}
    return told | {"value": (VALUE.low, VALUE.high)}


def _thumb(dataset: str) -> list[float]:
    """Some points of a data set, for its button."""
    points = sample(dataset, 0, 20, 0)
    return _rows(points.train[:160], points.train_labels[:160])
