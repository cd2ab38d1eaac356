"""Graphs of a model in a mode that is not its own, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from staticnet.nn.module import Module


@contextmanager
def in_mode(model: Module, training: bool) -> Iterator[None]:
    """What is built inside is for training, or for evaluation; each module's mode is kept.

    For training a model that trains is taken as it is, so that parts set to `eval()` stay so. No
    function is told, for none changes its mode.
    """
    modules = model.modules()
    before = [module._training for module in modules]
    try:
        if not (training and model._training):
            for module in modules:
                object.__setattr__(module, "_training", training)
        yield
    finally:
        for module, mode in zip(modules, before, strict=True):
            object.__setattr__(module, "_training", mode)
