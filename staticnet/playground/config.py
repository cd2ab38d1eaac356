"""What a tab of the playground is set to: checked, bounded, and written in its address."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from staticnet.compilation import PASSES
from staticnet.errors import ArgumentError
from staticnet.playground.data import DATASETS
from staticnet.playground.fields import Field, Flag, Number, OneOf, Sizes, SomeOf, Whole

FEATURES = ("x", "y", "x2", "y2", "xy", "sinx", "siny")
ACTIVATIONS = ("tanh", "relu", "sigmoid", "linear", "leaky_relu", "elu", "gelu", "silu")
LOSSES = ("square", "huber", "logistic")
PENALTIES = ("none", "l1", "l2")
ENGINES = ("static", "dynamic")
PACES = {"epoch": 1, "ten": 10, "hundred": 100, "full": 0}
"""Epochs between two frames; 0 is as many as there is time for."""
OPTIMIZERS = (
    *("SGD", "Momentum", "Nesterov", "Adam", "AMSGrad", "AdamW", "Adamax", "NAdam", "RAdam"),
    *("RMSprop", "Adagrad", "Adadelta", "Adafactor", "LAMB", "Lion", "Muon", "Rprop", "ASGD"),
)
MOST_LAYERS, MOST_UNITS = 6, 8
MOST_CHARS = 2000  # of an address


@dataclass(frozen=True)
class Config:
    """The state of a tab. `Config()` is the well-known playground's start."""

    dataset: str = "circle"
    noise: int = 0
    split: int = 50
    features: tuple[str, ...] = ("x", "y")
    layers: tuple[int, ...] = (4, 2)
    activation: str = "tanh"
    loss: str = "square"
    optimizer: str = "SGD"
    lr: float = 0.03
    penalty: str = "none"
    rate: float = 0.0
    batch: int = 10
    seed: int = 0
    engine: str = "static"
    without: tuple[str, ...] = ()
    pace: str = "epoch"
    discrete: bool = False
    test: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields, tuples as lists."""
        told = dataclasses.asdict(self)
        return {name: list(x) if isinstance(x, tuple) else x for name, x in told.items()}

    @classmethod
    def from_json(cls, given: Any) -> Config:
        """Fields by name; those that are left out are as at the start.

        Raises:
            ArgumentError: if it is no mapping, or a name or a value is none of the playground's.
        """
        if not isinstance(given, Mapping):
            raise ArgumentError(f"playground: a state is an object of fields, not {given!r:.60}")
        read = {name: _known(name).check(name, value) for name, value in given.items()}
        return cls(**read).checked()

    def to_query(self) -> str:
        """The fields that are not as at the start, as the text after an address' `#`."""
        first = Config()
        pairs = [
            (name, field.write(value))
            for name, field in FIELDS.items()
            if (value := getattr(self, name)) != getattr(first, name)
        ]
        return urlencode(pairs)

    @classmethod
    def from_query(cls, text: str) -> Config:
        """What `to_query` wrote.

        Raises:
            ArgumentError: if it is too long, or a name or a value is none of the playground's.
        """
        if len(text) > MOST_CHARS:
            raise ArgumentError(f"playground: an address has at most {MOST_CHARS} characters")
        read = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            read[name] = _known(name).read(name, value)
        return cls(**read).checked()

    def checked(self) -> Config:
        """Itself, if its fields fit each other.

        Raises:
            ArgumentError: if a loss of two classes is asked for numbers.
        """
        if self.loss == "logistic" and not self.classifies:
            raise ArgumentError(
                f"playground: the logistic loss is for two classes, and {self.dataset} has "
                "numbers; use square or huber"
            )
        return self

    @property
    def classifies(self) -> bool:
        """Whether the labels are the classes -1 and 1."""
        return DATASETS[self.dataset].classes


FIELDS: dict[str, Field[Any]] = {
    "dataset": OneOf(tuple(DATASETS)),
    "noise": Whole(0, 50),
    "split": Whole(10, 90),
    "features": SomeOf(FEATURES, least=1),
    "layers": Sizes(MOST_LAYERS, MOST_UNITS),
    "activation": OneOf(ACTIVATIONS),
    "loss": OneOf(LOSSES),
    "optimizer": OneOf(OPTIMIZERS),
    "lr": Number(0.0, 100.0),
    "penalty": OneOf(PENALTIES),
    "rate": Number(0.0, 100.0),
    "batch": Whole(1, 30),
    "seed": Whole(0, 2**31 - 1),
    "engine": OneOf(ENGINES),
    "without": SomeOf(PASSES),
    "pace": OneOf(tuple(PACES)),
    "discrete": Flag(),
    "test": Flag(),
}


def _known(name: Any) -> Field[Any]:
    if name not in FIELDS:
        raise ArgumentError(f"playground: no field {name!r:.60}; there are {', '.join(FIELDS)}")
    return FIELDS[name]
